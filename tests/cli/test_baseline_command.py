"""l3clf baseline: its output, its second run, and what happens when it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import l3clf
from l3clf import datasets
from l3clf.cli import main as cli

# --- the command line, and being killed ----------------------------------------------------------------


def command(sounds, out, cache):
    return ["baseline", str(sounds), "--embedders", "mfcc", "--out", str(out), "--cache", str(cache)]


def table_of(out):
    rows = json.loads((out / "table.json").read_text(encoding="utf-8"))
    rows = rows if isinstance(rows, list) else rows["rows"]
    return [{key: value for key, value in row.items() if key not in ("seconds", "clips_per_s")} for row in rows]


def test_the_command_prints_the_table_and_where_things_are(sounds, tmp_path, capsys):
    assert cli.main(command(sounds, tmp_path / "out", tmp_path / "c.sqlite")) == 0
    out, err = capsys.readouterr()
    assert "logistic" in out
    assert "always the largest class" in out
    assert str(tmp_path / "out" / "report.html") in out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for name, value in datasets.load(sounds).describe().items():
        assert f"{name:<17}{value}" in err
        assert name in page
        assert value in page


def test_the_second_run_computes_nothing_and_gives_the_same_table(sounds, tmp_path, monkeypatch):
    cli.main(command(sounds, tmp_path / "out", tmp_path / "c.sqlite"))
    first = table_of(tmp_path / "out")

    def refuse(*args):
        raise AssertionError("computed again")

    monkeypatch.setattr("l3clf.baselines.run.cross_validate_poolings", refuse)
    monkeypatch.setattr("l3clf.embedders.mfcc.Mfcc.embed_windows", refuse)
    assert cli.main(command(sounds, tmp_path / "out", tmp_path / "c.sqlite")) == 0
    assert table_of(tmp_path / "out") == first


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("until", ["c.sqlite", "out/.cells/*.npz", "out/pictures/*"])
def test_killed_anywhere_the_same_command_finishes_with_the_same_table(sounds, tmp_path, until):
    argv = command(sounds, tmp_path / "out", tmp_path / "c.sqlite")
    start = [sys.executable, "-m", "l3clf", *argv]
    environment = {**os.environ, "PYTHONPATH": str(Path(l3clf.__file__).parent.parent)}
    process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    for _ in range(3000):
        if any(tmp_path.glob(until)) or process.poll() is not None:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert cli.main(argv) == 0
    cli.main(command(sounds, tmp_path / "whole", tmp_path / "other.sqlite"))
    assert table_of(tmp_path / "out") == table_of(tmp_path / "whole")
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send")
def test_ctrl_c_during_cross_validation_ends_at_once_and_the_same_command_goes_on(sounds, tmp_path):
    argv = [*command(sounds, tmp_path / "out", tmp_path / "c.sqlite"), "--pooling", "vote", "--hop", "0.05"]
    start = [sys.executable, "-m", "l3clf", *argv]
    environment = {**os.environ, "PYTHONPATH": str(Path(l3clf.__file__).parent.parent)}
    process = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    said = next(line for line in process.stderr if "clips embedded in" in line)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, said + err  # not -6: an interpreter that aborts
    assert err.splitlines()[-1].startswith("l3clf: interrupted")
    assert "Traceback" not in err
    assert out == ""
    assert cli.main(argv) == 0
    assert (tmp_path / "out" / "report.html").is_file()
