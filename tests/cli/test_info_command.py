"""l3clf info: what is in a model, a student, an export and a cache."""

import json
import shutil
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import l3clf

TINY = Path(__file__).parents[1] / "golden" / "tiny.student"


def lines_of(out):
    return dict(line.split(":", 1) for line in out.splitlines())


def test_info_of_a_model_is_all_that_predict_uses(run, data, tmp_path):
    path = tmp_path / "m"
    argv = ["fit", data, "--embedder", "l3mini", "--hop", "0.25", "--pooling", "max", "--unknown-threshold", "0.4"]
    assert run(*argv, "--gate-dbfs", "-50", "--out", path)[0] == 0
    status, out, err = run("info", path)
    assert (status, err) == (0, "")
    found = {name: value.strip() for name, value in lines_of(out).items()}
    model = l3clf.load_model(path)
    assert found["classes"] == "2: high, low"
    assert found["embedder"] == "l3mini, precision=float32, revision=2"
    assert found["fingerprint"] == model.embedder_.fingerprint
    assert found["window"] == f"0.975 s at 16000 Hz, {model.embedder_.embedding_size} values"
    assert found["hop"].startswith("0.25 s")
    assert (found["head"], found["pooling"]) == ("logistic regression", "max")
    assert (found["unknown threshold"], found["gate"]) == ("0.4", "-50 dBFS")
    assert f"l3clf {l3clf.__version__}" in found["written with"]
    assert found["size"] == f"{path.stat().st_size / 1000:,.1f} kB"


def test_info_tells_the_rules_of_events_that_were_tuned(run, model, tmp_path):
    tuned = l3clf.load_model(model)
    tuned.event_rules_ = l3clf.EventRules(enter=0.7, median_s=0)
    status, out, _ = run("info", l3clf.save_model(tuned, tmp_path / "tuned"))
    assert status == 0
    assert lines_of(out)["rules of events"].strip() == "enter=0.7, median_s=0, min_duration_s=0.5, min_gap_s=2.5"
    assert "rules of events" not in run("info", model)[1]


def test_info_of_a_model_of_before_names_the_revision_that_it_uses(run):
    status, out, _ = run("info", TINY.parent / "l3mini_1" / "model.l3clf")
    assert status == 0
    assert lines_of(out)["embedder"].strip() == "l3mini, precision=float32, revision=1"


def test_the_first_l3mini_is_an_option_of_the_command_line(run, data, tmp_path):
    fit = ["fit", data, "--embedder", "l3mini", "--option", "revision=1", "--cache", "none", "--out", tmp_path / "m"]
    assert run(*fit)[0] == 0
    model = l3clf.load_model(tmp_path / "m")
    assert (model.embedder_.revision, model.embedder_.options) == (1, {"precision": "float32"})


def test_info_as_json_has_the_classes_with_their_types(run, model):
    status, out, _ = run("info", model, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["classes"] == ["high", "low"]
    assert found["unknown threshold"] is None


def test_info_of_a_student_and_of_a_cache(run, data, tmp_path):
    status, out, _ = run("info", str(files("l3clf.embedders") / "data" / "l3mini.student"))
    assert status == 0
    about = l3clf.load_embedder("l3mini").about
    assert f"{about['parameters']:,}" in lines_of(out)["parameters"]
    assert lines_of(out)["windows learned"].strip() == f"{about['windows']:,}"
    assert "clips" not in lines_of(out)  # which its file does not say
    run("embed", data, "--embedder", "mfcc", "--out", tmp_path / "x.npz", "--cache", tmp_path / "c")
    status, out, _ = run("info", tmp_path / "c")
    assert (status, lines_of(out)["clips"].strip()) == (0, "10")
    assert "mfcc" in lines_of(out)["embedders"]


@pytest.mark.parametrize(("name", "words"), [("data", "is a folder without a model"), ("gone", "no such file")])
def test_what_has_no_info_says_so(run, data, name, words):
    status, out, err = run("info", data.parent / name)
    assert (status, out) == (1, "")
    assert f"{name}: {words}; give a model, a student, embeddings, a cache, or the folder of an export" in err


@pytest.fixture
def mine(run, data, tmp_path):
    """A model on a student of the user's own, which it carries."""
    shutil.copy(TINY, tmp_path / "my.student")
    assert run("fit", data, "--embedder", tmp_path / "my.student", "--out", tmp_path / "m.l3clf")[0] == 0
    return tmp_path / "m.l3clf"


def test_info_of_a_model_that_carries_a_student_is_that_of_the_model(run, mine):
    status, out, err = run("info", mine)
    assert (status, err) == (0, "")
    assert lines_of(out)["classes"].strip() == "2: high, low"


def test_a_model_that_carries_a_student_is_no_student_file(mine):
    from l3clf.embedders.student import STUDENT

    assert STUDENT.holds(TINY)
    assert not STUDENT.holds(mine)


def test_info_of_embeddings_is_what_the_file_holds(run, data, tmp_path):
    assert run("embed", data, "--embedder", "mfcc", "--hop", "0.25", "--out", tmp_path / "x.npz")[0] == 0
    with np.load(tmp_path / "x.npz") as arrays:
        n_windows, size = arrays["vectors"].shape
    status, out, err = run("info", tmp_path / "x.npz", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["clips"], found["windows"]) == (10, n_windows)
    assert found["values"] == f"{size} for each window"


def test_info_of_parquet_is_that_of_the_same_embeddings(run, data, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (the extra `parquet`)")
    found = []
    for name in ("x.npz", "x.parquet"):
        assert run("embed", data, "--embedder", "mfcc", "--out", tmp_path / name)[0] == 0
        status, out, err = run("info", tmp_path / name, "--json")
        assert (status, err) == (0, "")
        found.append({key: value for key, value in json.loads(out).items() if key not in ("embeddings", "size")})
    assert found[0] == found[1]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 of somebody")
    status, out, err = run("info", tmp_path / "bad.parquet")
    assert (status, out) == (1, "")
    assert "bad.parquet: cannot be read as Parquet" in err


def test_damaged_embeddings_are_one_sentence(run, data, tmp_path):
    place = tmp_path / "x.npz"
    with zipfile.ZipFile(place, "w") as file:
        file.writestr("times_s.npy", b"\x93NUMPY\x01\x00")
        file.writestr("paths.npy", b"\x93NUMPY\x01\x00\xff")
    status, out, err = run("info", place)
    assert (status, out) == (1, "")
    assert err == f"l3clf: {place}: is a damaged file of embeddings; write it again with `l3clf embed`\n"


def test_info_of_an_export_says_that_it_is_one(run, mine, tmp_path):
    from l3clf.device.exporter import export

    export(l3clf.load_model(mine), tmp_path / "fw", pool_windows=7, gate_dbfs=-50.0)
    status, out, err = run("info", tmp_path / "fw")
    assert (status, err) == (0, "")
    found = {name: value.strip() for name, value in lines_of(out).items()}
    assert found["export"] == str(tmp_path / "fw")
    assert (found["pool windows"], found["gate"], found["classes"]) == ("7", "-50 dBFS", "2: high, low")
