"""The command line, run in this process on real files; a few times as a process, where signals matter."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import l3clf
from l3clf.cli import main as cli

RATE = 16_000


def write_tone(path, hz, seed=0, seconds=1.2):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(seconds * RATE)) / RATE
    noise = 0.01 * np.random.default_rng(seed).standard_normal(len(t))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * t) + noise, RATE)


@pytest.fixture
def data(tmp_path):
    """A folder with two classes of five clips."""
    for k in range(5):
        write_tone(tmp_path / "data" / "low" / f"{k}.wav", 200 + 20 * k, k)
        write_tone(tmp_path / "data" / "high" / f"{k}.wav", 2000 + 200 * k, k)
    return tmp_path / "data"


@pytest.fixture
def model(data, tmp_path):
    path = tmp_path / "model.l3clf"
    assert cli.main(["fit", str(data), "--embedder", "mfcc", "--out", str(path)]) == 0
    return path


def rows(text):
    return list(csv.DictReader(text.splitlines()))


def test_fit_says_what_it_did(data, tmp_path, capsys):
    status = cli.main(["fit", str(data), "--embedder", "mfcc", "--head", "forest", "--out", str(tmp_path / "m")])
    out = capsys.readouterr().out
    assert status == 0
    assert "Fitted 'forest' on 10 clips of 2 classes (mfcc embeddings, mean pooling)" in out
    assert f"Model: {tmp_path / 'm'}" in out


def test_predict_prints_paths_as_reached(model, data, capsys, monkeypatch):
    capsys.readouterr()
    monkeypatch.chdir(data.parent)
    assert cli.main(["predict", "model.l3clf", "data", "data/low/0.wav"]) == 0
    found = rows(capsys.readouterr().out)
    assert [row["path"] for row in found][:2] == ["data/high/0.wav", "data/high/1.wav"]
    assert found[-1]["path"] == "data/low/0.wav"
    assert all(row["label"] == row["path"].split("/")[1] for row in found)
    assert all(0.5 < float(row["probability"]) <= 1 for row in found)


def test_predict_writes_json_lines_and_files(model, data, tmp_path):
    out = tmp_path / "answers.jsonl"
    assert cli.main(["predict", str(model), str(data), "--format", "jsonl", "--out", str(out)]) == 0
    answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(answers) == 10
    assert set(answers[0]["probabilities"]) == {"high", "low"}
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)


def test_predict_equals_the_library(model, data, capsys):
    capsys.readouterr()
    cli.main(["predict", str(model), str(data)])
    found = rows(capsys.readouterr().out)
    loaded = l3clf.load_model(model)
    expected = loaded.predict_proba([row["path"] for row in found]).max(axis=1)
    np.testing.assert_allclose([float(row["probability"]) for row in found], expected, atol=1e-6)


def test_predict_takes_threshold_and_gate(model, data, capsys):
    capsys.readouterr()
    cli.main(["predict", str(model), str(data / "low" / "0.wav"), "--unknown-threshold", "1"])
    assert rows(capsys.readouterr().out)[0]["label"] == "unknown"
    cli.main(["predict", str(model), str(data / "low" / "0.wav"), "--gate-dbfs", "-1"])
    assert rows(capsys.readouterr().out)[0]["label"] == "unknown"


def test_failed_files_are_named_and_the_others_answered(model, data, tmp_path, capsys):
    capsys.readouterr()
    broken = tmp_path / "broken.wav"
    broken.write_text("this is no sound")
    status = cli.main(["predict", str(model), str(broken), str(data / "low"), str(tmp_path / "missing.wav")])
    captured = capsys.readouterr()
    assert status == 1
    assert len(rows(captured.out)) == 5
    assert [line.split(": ")[1] for line in captured.err.splitlines()] == ["failed", "failed"]
    assert "broken.wav" in captured.err
    assert "missing.wav" in captured.err


def test_fit_leaves_failed_files_out_names_them_and_writes_the_model(data, tmp_path, capsys):
    (data / "low" / "bad.wav").write_bytes(b"")
    status = cli.main(["fit", str(data), "--embedder", "mfcc", "--out", str(tmp_path / "m.l3clf")])
    captured = capsys.readouterr()
    assert status == 1
    assert "on 10 clips" in captured.out
    assert captured.err.count("bad.wav") == 1
    assert len(l3clf.load_model(tmp_path / "m.l3clf").classes_) == 2


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


def test_a_csv_with_pieces_is_a_data_set(tmp_path, capsys):
    t = np.arange(4 * RATE) / RATE
    sound = np.where(t < 2, np.sin(2 * np.pi * 250 * t), np.sin(2 * np.pi * 2500 * t))
    soundfile.write(tmp_path / "both.wav", 0.3 * sound, RATE)
    lines = ["path,label,start_s,end_s"]
    lines += [f"both.wav,low,{k / 4},{k / 4 + 1}" for k in range(4)]
    lines += [f"both.wav,high,{2 + k / 4},{2 + k / 4 + 1}" for k in range(4)]
    (tmp_path / "pieces.csv").write_text("\n".join(lines))
    model = tmp_path / "m.l3clf"
    assert (
        cli.main(["fit", str(tmp_path / "pieces.csv"), "--embedder", "mfcc", "--no-center", "--out", str(model)]) == 0
    )
    loaded = l3clf.load_model(model)
    assert loaded.predict([l3clf.Clip(tmp_path / "both.wav", 0.5, 1.5)]).tolist() == ["low"]
    assert loaded.predict([l3clf.Clip(tmp_path / "both.wav", 2.5, 3.5)]).tolist() == ["high"]


def test_real_clips_of_a_held_out_fold_are_mostly_right(shared, tmp_path):
    table = l3clf.datasets.load(shared / "data" / "esc10")
    table.subset(table.folds != "5").to_csv(tmp_path / "train.csv")
    held_out = table.subset(table.folds == "5")
    model, answers = str(tmp_path / "m"), tmp_path / "answers.csv"
    assert cli.main(["fit", str(tmp_path / "train.csv"), "--embedder", "mfcc", "--out", model]) == 0
    assert cli.main(["predict", model, *(clip.path for clip in held_out.clips), "--out", str(answers)]) == 0
    found = rows(answers.read_text(encoding="utf-8"))
    assert [row["path"] for row in found] == [clip.path for clip in held_out.clips]
    assert np.mean([row["label"] for row in found] == held_out.labels) > 0.7


def test_the_same_command_again_embeds_nothing(data, tmp_path, monkeypatch):
    from l3clf.embedders.mfcc import Mfcc

    fit = ["fit", str(data), "--embedder", "mfcc", "--out"]
    cli.main([*fit, str(tmp_path / "1")])

    def refuse(self, windows):
        raise AssertionError("embedded again")

    monkeypatch.setattr(Mfcc, "embed_windows", refuse)
    assert cli.main([*fit, str(tmp_path / "2")]) == 0
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_cache_commands(data, tmp_path, capsys):
    cache = str(tmp_path / "c.sqlite")
    cli.main(["fit", str(data), "--embedder", "mfcc", "--out", str(tmp_path / "m"), "--cache", cache])
    capsys.readouterr()
    assert cli.main(["cache", "info", "--cache", cache]) == 0
    assert "10 clips" in capsys.readouterr().out
    assert cli.main(["cache", "verify", "--cache", cache]) == 0
    assert "10 entries checked, 0 damaged" in capsys.readouterr().out
    assert cli.main(["cache", "prune", "--max-mb", "1e303", "--cache", cache]) == 0
    assert "0 entries removed" in capsys.readouterr().out
    assert cli.main(["cache", "prune", "--max-mb", "0.000001", "--cache", cache]) == 0
    assert "10 entries removed" in capsys.readouterr().out


def test_weights_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("L3CLF_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("l3clf.weights.registry.user_weights_dir", lambda: tmp_path / "none")
    assert cli.main(["weights", "list"]) == 0
    out = capsys.readouterr().out
    assert "openl3_audio_mel256_env-v0_4_0.h5.gz" in out
    assert "CC-BY-4.0" in out
    assert cli.main(["weights", "check", "edgel3"]) == 1
    assert "not on this machine" in capsys.readouterr().err
    (tmp_path / "edgel3_sea64.h5").write_bytes(b"nonsense")
    assert cli.main(["weights", "check", "edgel3"]) == 1
    assert "edgel3_sea64.h5" in capsys.readouterr().err
    assert cli.main(["weights", "fetch", "nonsense"]) == 1
    assert "no such weights" in capsys.readouterr().err


def test_weights_check_looks_at_what_a_folder_holds(tmp_path, capsys):
    assert cli.main(["weights", "check", "--weights", str(tmp_path / "none")]) == 1
    assert "none: does not exist; give a weight file or a folder of them" in capsys.readouterr().err
    assert cli.main(["weights", "check", "--weights", str(tmp_path)]) == 1
    assert "found no weight file by a known name" in capsys.readouterr().err
    (tmp_path / "edgel3_sea64.h5").write_bytes(b"nonsense")
    for place in (tmp_path, tmp_path / "edgel3_sea64.h5"):
        assert cli.main(["weights", "check", "--weights", str(place)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"l3clf: failed: {tmp_path / 'edgel3_sea64.h5'}")


def test_weights_check_knows_all_real_files(shared, capsys):
    assert cli.main(["weights", "check", "--weights", str(shared / "weights")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_weights_check_knows_the_real_file(shared, capsys):
    assert cli.main(["weights", "check", "edgel3", "--weights", str(shared / "weights")]) == 0
    assert "edgel3_sea64.h5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["fit", "nowhere", "--embedder", "mfcc", "--out", "m"], "nowhere: no such file or folder"),
        (["fit", "data", "--embedder", "nonsense", "--out", "m"], "embedder='nonsense'"),
        (["fit", "data", "--embedder", "mfcc", "--option", "x", "--out", "m"], "expected NAME=VALUE"),
        (["fit", "data", "--embedder", "mfcc", "--option", "x=1", "--out", "m"], "unexpected keyword argument 'x'"),
        (["fit", "data", "--embedder", "mfcc", "--out", "no/such/m"], "its folder does not exist"),
        (["fit", "data", "--embedder", "mfcc", "--out", "data"], "is a folder"),
        (["fit", "data", "--embedder", "mfcc", "--out", "m", "--gate-dbfs", "5"], "gate_dbfs=5.0"),
        (["fit", "data", "--embedder", "mfcc", "--out", "m", "--jobs", "0"], "n_jobs=0"),
        (["predict", "nowhere.l3clf", "data"], "nowhere.l3clf"),
        (["predict", "nowhere.l3clf", "data", "--unknown-threshold", "5"], "unknown_threshold=5.0"),
        (["predict", "nowhere.l3clf", "data", "--out", os.devnull], "is not a regular file"),
        (["cache", "info", "--cache", "data/low/0.wav"], "0.wav"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(data, argv, words, capsys, monkeypatch):
    monkeypatch.chdir(data.parent)
    assert cli.main(argv) == 1
    err = capsys.readouterr().err
    assert words in err
    assert err.startswith("l3clf: ")
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this system has no folder that takes no files")
def test_a_place_that_takes_no_files_is_refused_before_the_work(data, capsys):
    assert cli.main(["fit", str(data), "--embedder", "mfcc", "--out", "/proc/m.l3clf"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("l3clf: /proc/m.l3clf: cannot be written (")


def test_answers_replace_a_file_only_when_they_are_complete(model, data, tmp_path, monkeypatch):
    out = tmp_path / "answers.csv"
    out.write_text("before")

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("l3clf.cli.predict_command._write_csv", stop)
        assert cli.main(["predict", str(model), str(data), "--out", str(out)]) == 130
    assert out.read_text() == "before"
    assert cli.main(["predict", str(model), str(data), "--out", str(out)]) == 0
    assert len(rows(out.read_text())) == 10
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_any_file_name_comes_out_where_the_code_page_lacks_it(model, data):
    """As on Windows, where a redirected stream has the machine's code page."""
    name = "\u65e5\u672c"
    write_tone(data / f"{name}.wav", 300)
    (data / f"{name} bad.wav").write_bytes(b"RIFF")
    command = [sys.executable, "-m", "l3clf", "predict", str(model), str(data), "--cache", "none"]
    found = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "cp1252"}, check=False)
    assert found.returncode == 1
    assert len(rows(found.stdout.decode())) == 11
    assert f"{name}.wav," in found.stdout.decode()
    assert f"{name} bad.wav" in found.stderr.decode()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["fit"],
        ["fit", "x"],
        ["nonsense"],
        ["fit", "x", "--out", "m", "--hop", "-1"],
    ],
)
def test_wrong_commands_exit_with_2(argv):
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2


def test_ctrl_c_keeps_what_was_done(tmp_path):
    for k in range(150):
        write_tone(tmp_path / "data" / ("low" if k % 2 else "high") / f"{k}.wav", 200 + k, k, seconds=20)
    cache = tmp_path / "c.sqlite"
    command = [sys.executable, "-m", "l3clf", "fit", str(tmp_path / "data"), "--embedder", "mfcc", "--hop", "0.05"]
    command += ["--out", str(tmp_path / "m"), "--cache", str(cache)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    wait_for_embedding(cache, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert l3clf.EmbeddingCache(cache).info()["entries"] > 0
    assert not (tmp_path / "m").exists()


def wait_for_embedding(cache, process):
    """Until the first clips are in the cache."""
    for _ in range(600):
        if process.poll() is not None or (cache.exists() and l3clf.EmbeddingCache(cache).info()["entries"]):
            return
        time.sleep(0.1)


def test_a_reader_that_stops_early_is_no_error(model, data):
    command = f"{sys.executable} -m l3clf predict {model} {data} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "path,label,probability\n"
    assert "Traceback" not in done.stderr
