"""l3clf predict: the output equals the library, on any stream and under any file name."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.tones import rows, write_tone

import l3clf
from l3clf.cli import main as cli


def test_predict_prints_paths_as_given(model, data, capsys, monkeypatch):
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


def test_failed_files_are_named_and_the_others_predicted(model, data, tmp_path, capsys):
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


def test_predictions_replace_a_file_only_when_complete(model, data, tmp_path, monkeypatch):
    out = tmp_path / "answers.csv"
    out.write_text("path,label,probability\n")  # of an earlier run

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("l3clf.cli.predict_outputs.Rows.clip", stop)
        assert cli.main(["predict", str(model), str(data), "--out", str(out)]) == 130
    assert out.read_text() == "path,label,probability\n"
    assert cli.main(["predict", str(model), str(data), "--out", str(out)]) == 0
    assert len(rows(out.read_text())) == 10
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_any_file_name_is_printed_where_the_code_page_lacks_it(model, data):
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


def test_a_reader_that_stops_early_is_no_error(model, data):
    command = f"{sys.executable} -m l3clf predict {model} {data} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "path,label,probability\n"
    assert "Traceback" not in done.stderr
