"""l3clf embed writes what the library gives."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import l3clf
from l3clf.cli import main as cli


def test_embed_writes_what_the_library_gives(data, tmp_path, capsys):
    out = tmp_path / "x.npz"
    status = cli.main(["embed", str(data / "low"), str(tmp_path / "no.wav"), "--embedder", "mfcc", "--out", str(out)])
    assert status == 1
    with np.load(out) as found:
        assert found["paths"].tolist() == [str(data / "low" / f"{k}.wav") for k in range(5)]
        samples, rate = soundfile.read(found["paths"][1])
        expected = l3clf.load_embedder("mfcc").embed(samples, rate)
        np.testing.assert_allclose(found["vectors"][found["clip"] == 1], expected.vectors, rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(found["times_s"][found["clip"] == 1], expected.times_s)


@pytest.mark.filterwarnings("always::l3clf.errors.DatasetWarning")
def test_files_in_a_folder_that_may_be_sounds_are_named(data, tmp_path, capsys):
    (data / "low" / "8.xyz").write_bytes(b"sound?")
    assert cli.main(["embed", str(data / "low"), "--embedder", "mfcc", "--out", str(tmp_path / "x.npz")]) == 0
    assert capsys.readouterr().err.count("1 file was left out, because the suffix is none of a sound (1 .xyz)") == 1


def embed(capsys, *arguments):
    status = cli.main(["embed", *map(str, arguments), "--embedder", "mfcc", "--cache", "none"])
    return status, capsys.readouterr()


def test_the_shards_are_the_whole(data, tmp_path, capsys):
    both = data / "low", data / "high"
    assert embed(capsys, *both, "--out", tmp_path / "all.npz")[0] == 0
    parts = []
    for i in (1, 2, 3):
        out = tmp_path / f"{i}.npz"
        assert embed(capsys, *both[:: 1 if i == 2 else -1], "--shard", f"{i}/3", "--out", out)[0] == 0
        with np.load(out) as found:
            parts.append({path: found["vectors"][found["clip"] == k] for k, path in enumerate(found["paths"])})
    with np.load(tmp_path / "all.npz") as found:
        whole = {path: found["vectors"][found["clip"] == k] for k, path in enumerate(found["paths"])}
    assert sum(map(len, parts)) == len(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for path, vectors in whole.items():
        (part,) = [part for part in parts if path in part]
        np.testing.assert_allclose(part[path], vectors, rtol=1e-5, atol=1e-4)


def test_a_shard_without_files_is_an_empty_file(data, tmp_path, capsys):
    some = sorted((data / "low").glob("*.wav"))
    assert embed(capsys, *some, "--shard", "99/99", "--out", tmp_path / "x.npz")[0] == 0
    with np.load(tmp_path / "x.npz") as found:
        assert len(found["paths"]) == 0


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "/", "a/b", "-1/2", "1/2/3", "1/" + "9" * 99])
def test_a_shard_that_is_none_is_one_sentence(data, capsys, text):
    with pytest.raises(SystemExit):
        cli.main(["embed", str(data), "--out", "x.npz", f"--shard={text}"])
    assert f"{text}: expected which part of how many, such as 1/4" in capsys.readouterr().err


def test_parquet_has_what_npz_has_and_the_content_of_each_file(data, tmp_path, capsys):
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (the extra `parquet`)")
    low, out = data / "low", tmp_path / "x.Parquet"
    for _ in range(2):  # what it wrote itself it may replace
        status, printed = embed(capsys, low, tmp_path / "no.wav", "--out", out)
        assert status == 1
        assert "no.wav" in printed.err
    assert embed(capsys, low, "--out", tmp_path / "x.npz")[0] == 0
    found = l3clf.WindowEmbeddings.from_parquet(out)
    with np.load(tmp_path / "x.npz") as wanted:
        assert list(found) == wanted["paths"].tolist()
        for name in ("vectors", "times_s", "levels_dbfs"):
            np.testing.assert_array_equal(np.concatenate([getattr(f, name) for f in found.values()]), wanted[name])
    contents = dict(zip(*(pq.read_table(out)[name].to_pylist() for name in ("path", "content")), strict=True))
    assert contents == {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in found}


def test_another_parquet_file_is_not_replaced(data, tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (the extra `parquet`)")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 of somebody")
    status, printed = embed(capsys, data / "low", "--out", tmp_path / "x.parquet")
    assert status == 1
    assert "exists and is not a Parquet file of embeddings" in printed.err


def test_without_pyarrow_the_extra_is_named_before_any_work(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    status, printed = embed(capsys, data / "low", "--out", tmp_path / "x.parquet")
    assert status == 1
    assert "needs pyarrow; pip install" in printed.err
    assert not (tmp_path / "x.parquet").exists()
