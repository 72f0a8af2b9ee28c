"""The command line as a whole: refusals in one sentence, exit codes, Ctrl-C."""

import os
import subprocess
from pathlib import Path

import pytest
from helpers.processes import start_l3clf
from helpers.tones import write_tone

import l3clf
from l3clf.cli import main as cli


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["fit", "nowhere", "--embedder", "mfcc", "--out", "m"], "nowhere: no such file or folder"),
        (["fit", "data", "--embedder", "nonsense", "--out", "m"], "--embedder nonsense"),
        (["fit", "data", "--embedder", "mfcc", "--option", "x", "--out", "m"], "expected NAME=VALUE"),
        (["fit", "data", "--embedder", "mfcc", "--option", "x=1", "--out", "m"], "has no option 'x'"),
        (["fit", "data", "--embedder", "mfcc", "--out", "no/such/m"], "its folder does not exist"),
        (["fit", "data", "--embedder", "mfcc", "--out", "data"], "is read by the same command"),
        (["fit", "data", "--embedder", "mfcc", "--out", "m", "--gate-dbfs", "5"], "--gate-dbfs 5.0"),
        (["fit", "data", "--embedder", "mfcc", "--out", "m", "--jobs", "0"], "--jobs 0"),
        (["predict", "nowhere.l3clf", "data"], "nowhere.l3clf"),
        (["predict", "nowhere.l3clf", "data", "--unknown-threshold", "5"], "--unknown-threshold 5.0"),
        (["predict", "nowhere.l3clf", "data", "--out", os.devnull], "is not a regular file"),
        (["cache", "info", "--cache", "data/low/0.wav"], "0.wav"),
    ],
)
def test_impossible_commands_are_refused_in_one_sentence(data, argv, words, capsys, monkeypatch):
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


@pytest.mark.parametrize(
    "argv",
    [
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


AMID_THE_EMBEDDING = """
import os, signal, time
from l3clf.embedders import clip_work
from l3clf.embedders.mfcc import Mfcc
clip_work.STORE_EVERY_S = 0.0
embed_windows, calls = Mfcc.embed_windows, []
def interrupted(self, windows):
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return embed_windows(self, windows)
Mfcc.embed_windows = interrupted
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send")
def test_ctrl_c_keeps_what_was_done(tmp_path):
    for k in range(60):
        write_tone(tmp_path / "data" / ("low" if k % 2 else "high") / f"{k}.wav", 200 + k, k, seconds=0.2)
    cache = tmp_path / "c.sqlite"
    command = ["fit", tmp_path / "data", "--embedder", "mfcc", "--jobs", 1, "--out", tmp_path / "m", "--cache", cache]
    with start_l3clf(*command, before=AMID_THE_EMBEDDING, stderr=subprocess.PIPE, text=True) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert 0 < l3clf.EmbeddingCache(cache).info()["entries"] < 60
    assert not (tmp_path / "m").exists()
