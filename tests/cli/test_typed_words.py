"""Messages of the command line hold what can be typed there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from l3clf.baselines import run as baseline_run

FIT = ["fit", "data", "--embedder", "mfcc", "--out", "m"]
LONG = "9" * 5000  # digits, of which Python makes no number
L3MINI = ["fit", "data", "--embedder", "l3mini", "--out", "m"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([*FIT, "--jobs", "0"], "--jobs 0; expected a number of threads >= 1, or -1 for all cores"),
        ([*FIT, "--unknown-threshold", "1.5"], "--unknown-threshold 1.5; expected a number from 0 to 1"),
        ([*FIT, "--gate-dbfs", "5"], "--gate-dbfs 5.0; expected a number from -200 to 0, or auto"),
        ([*L3MINI, "--option", "precision=int9"], "--option precision=int9; expected float32 or int8"),
        (
            [*L3MINI, "--option", f"revision={LONG}"],
            f"--option revision={LONG}; expected 2, or 1 for the first l3mini",
        ),
        ([*L3MINI, "--option", "revision=3"], "--option revision=3; expected 2, or 1 for the first l3mini"),
        (
            [*L3MINI, "--option", "precison=int8"],
            "embedder 'l3mini': has no option 'precison' (did you mean precision?); its options are weights, "
            "precision, frontend, revision",
        ),
    ],
)
def test_nothing_in_a_message_is_python_s(data, run, argv, words, monkeypatch):
    monkeypatch.chdir(data.parent)
    assert run(*argv) == (1, "", f"l3clf: {words}\n")


def test_max_clips_has_no_none(capsys):
    from l3clf.cli.main import main

    assert main(["verify", "nowhere", "--audio", "a.wav", "--max-clips", "0"]) == 1
    assert capsys.readouterr().err == "l3clf: --max-clips 0; expected a positive whole number\n"


def test_the_page_of_a_command_has_the_words_of_the_command(data, run, monkeypatch):
    monkeypatch.chdir(data.parent)
    monkeypatch.setattr(baseline_run, "left_out", lambda weights: ["Not tried: yamnet: pass weights=PATH."])
    assert run("baseline", "data", "--heads", "logistic", "--embedders", "mfcc", "--out", "one", "--quiet")[0] == 0
    monkeypatch.setattr(baseline_run, "ready_embedders", lambda weights: [baseline_run.chosen("mfcc")])
    assert run("baseline", "data", "--heads", "logistic", "--out", "two", "--quiet")[0] == 0
    page = Path("two", "report.html").read_text(encoding="utf-8")
    assert "pass --weights PATH" in page
    assert "weights=PATH" not in page


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["fit", "data", "--embeder", "mfcc"], "unrecognized arguments: --embeder (did you mean --embedder?); the"),
        (["fit", "data", "--folds=3"], "unrecognized arguments: --folds; the following arguments are required: --out"),
        (["fit", "data", "--embed", "mfcc"], "error: the following arguments are required: --out"),
        (["fit", "--", "--embeder"], "error: the following arguments are required: --out"),
        (["baseline", "data", "--folds", "1"], "unrecognized arguments: --folds 1\n"),
        (["baseline", "data", "--embeders", "mfcc"], "--embeders mfcc (did you mean --embedders?)\n"),
    ],
)
def test_an_unknown_option_is_named_before_what_is_missing(run, argv, words):
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert words in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("argv", [["--help"], [], ["--version"], ["fit", "--help"], ["cache"]], ids=" ".join)
def test_help_that_cannot_be_written_says_so(argv):
    code = "import sys; from l3clf.cli.main import main; sys.exit(main())"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, *argv], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == (f"l3clf: standard output: {os.strerror(28)}; free some space or choose another place\n")


def test_a_forest_too_large_for_a_model_file_is_foreseen(data, run, tmp_path, monkeypatch):
    from l3clf.baselines import cells

    monkeypatch.setattr(cells, "MAX_STORED_BYTES", 100)
    status, _, err = run("fit", data, "--embedder", "mfcc", "--head", "forest", "--out", tmp_path / "m", "--quiet")
    assert status == 0
    assert err.startswith("l3clf: Perhaps too large for a model file, which holds up to 0 MB: mfcc / forest / mean (up")
    assert "too large" not in run("fit", data, "--embedder", "mfcc", "--out", tmp_path / "m", "--quiet")[2]
