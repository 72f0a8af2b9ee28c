"""Several labels on the command line: fit --tags, and what predict and info say of the model."""

import csv
import json

import numpy as np
import pytest
import soundfile

from l3clf.cli.main import main

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty clips of hum, hiss, both or neither, with a table and a model."""
    here = tmp_path_factory.mktemp("tags")
    rng, rows = np.random.default_rng(0), []
    for k in range(5):
        for text in ("hum", "hiss", "hum|hiss", ""):
            hum = 0.3 * np.sin(2 * np.pi * (300 + 20 * k) * np.arange(RATE) / RATE)
            clip = rng.normal(0, 1e-3, RATE) + ("hum" in text) * hum + ("hiss" in text) * rng.normal(0, 0.1, RATE)
            name = f"{k}_{text.replace('|', '_') or 'none'}.wav"
            soundfile.write(here / name, clip, RATE)
            rows.append(f"{name},{text},{k}\n")
    (here / "t.csv").write_text("path,label,group\n" + "".join(rows))
    assert main(["fit", str(here / "t.csv"), "--tags", *WORK, "--out", str(here / "m.l3clf")]) == 0
    return here


WORK = ["--embedder", "mfcc", "--cache", "none", "--quiet"]


def test_predict_writes_the_tags_and_a_probability_for_each(folder, capsys):
    sounds = [str(folder / f"0_{name}.wav") for name in ("hum_hiss", "hum", "none")]
    capsys.readouterr()
    assert main(["predict", str(folder / "m.l3clf"), *sounds, "--cache", "none", "--quiet"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert list(rows[0]) == ["path", "tags", "p_hiss", "p_hum"]
    assert [row["tags"] for row in rows] == ["hiss|hum", "hum", ""]
    assert float(rows[1]["p_hum"]) > float(rows[1]["p_hiss"])


def test_json_lines_and_windows(folder, capsys, tmp_path):
    out = tmp_path / "w.csv"
    args = [
        str(folder / "0_hum_hiss.wav"),
        "--format",
        "jsonl",
        "--windows-out",
        str(out),
        "--cache",
        "none",
        "--quiet",
    ]
    assert main(["predict", str(folder / "m.l3clf"), *args]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tags"] == ["hiss", "hum"]
    assert list(found["probabilities"]) == ["hiss", "hum"]
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["path", "start_s", "end_s", "tags", "p_hiss", "p_hum"]
    assert len(rows) == 2


def test_info_names_tags_and_thresholds(folder, capsys):
    assert main(["info", str(folder / "m.l3clf")]) == 0
    out = capsys.readouterr().out
    assert "2: hiss, hum" in out
    assert "thresholds, learned" in out


@pytest.mark.parametrize(
    "extra",
    [["--unknown"], ["--accept", "0.9"], ["--unknown-threshold", "0.5"], ["--pooling", "vote"], ["--fine-tune"]],
)
def test_what_is_of_one_label_is_refused(folder, capsys, extra):
    assert main(["fit", str(folder / "t.csv"), "--tags", *WORK, *extra, "--out", "m.l3clf"]) == 1
    assert extra[0] in capsys.readouterr().err


def test_a_threshold_of_unknown_is_refused(folder, capsys):
    args = ["predict", str(folder / "m.l3clf"), str(folder / "0_hum.wav"), "--unknown-threshold", "0.5"]
    assert main(args) == 1
    assert "--unknown-threshold" in capsys.readouterr().err


def test_labels_that_seem_to_be_several_are_doubted(folder, capsys, tmp_path):
    rows = [line for line in (folder / "t.csv").read_text().splitlines() if ",," not in line]
    (folder / "one.csv").write_text("\n".join(rows) + "\n")
    assert main(["fit", str(folder / "one.csv"), *WORK, "--out", str(tmp_path / "m.l3clf")]) == 0
    assert "'hum|hiss' are learned as one class each; add --tags" in capsys.readouterr().err


def test_a_forest_of_tags_that_may_be_too_large_is_told_before_the_fit(folder, capsys, tmp_path, monkeypatch):
    for module in ("classifier.heads", "baselines.cells"):
        monkeypatch.setattr(f"l3clf.{module}.FOREST_TREES", 2)
    nodes = 2 * 1.27 * 20  # at most, of 20 clips
    limit = nodes * (20 + 8 * 2)  # a file has one probability of each of the two tags
    args = ["fit", str(folder / "t.csv"), "--tags", "--head", "forest", *WORK, "--force", "--out"]
    for n_bytes, told in ((0.99 * limit, True), (1.01 * limit, False)):
        monkeypatch.setattr("l3clf.baselines.cells.MAX_STORED_BYTES", n_bytes)
        assert main([*args, str(tmp_path / "m.l3clf")]) == 0
        assert ("Perhaps too large for a model file" in capsys.readouterr().err) is told
