"""Bad input to commands: each is refused in one sentence, and in a batch it does not affect other clips."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers.bad_files import (
    EVERY_FILE,
    at_most,
    bad_files,
    check_sentence,
    make_bad,
    posix_only,
)
from helpers.sound_files import put, tone, wav, write

from l3clf.audio.clip import Clip
from l3clf.classifier.estimators import ClipEmbedder
from l3clf.cli.main import main


@pytest.fixture(autouse=True)
def _no_waiting():
    with at_most(30):
        yield


def mfcc(cache=None, **options):
    return ClipEmbedder("mfcc", cache=cache, **options)


# The command line


@pytest.fixture
def run(capsys, tmp_path):
    """Run a command; return its status, output and messages. No traceback ever."""

    def run_command(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse's
            status = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert 'File "' not in err
        return status, out, err

    return run_command


@pytest.fixture
def model_file(tmp_path, good, run):
    data = tmp_path / "train"
    for label, path in zip(("tone", "noise"), good, strict=True):
        (data / label).mkdir(parents=True)
        os.link(path, data / label / "a.wav")
    status, _, err = run("fit", data, "--embedder", "mfcc", "--out", tmp_path / "m.l3clf")
    assert status == 0, err
    return tmp_path / "m.l3clf"


def failed_lines(err):
    return [line for line in err.splitlines() if line.startswith("l3clf: failed: ")]


def path_argument(made):
    if isinstance(made, Clip):
        pytest.skip("the command line takes whole files")
    return str(made)


@bad_files
def test_predict_prints_the_good_and_names_the_bad(tmp_path, good, run, model_file, make, words):
    bad = path_argument(make_bad(make, tmp_path))
    if os.path.isdir(bad):  # noqa: PTH112
        pytest.skip("a folder is an argument of its own kind")
    status, out, err = run("predict", model_file, good[0], bad, good[1])
    assert status == 1
    assert [line.split(",")[:2] for line in out.splitlines()] == [
        ["path", "label"],
        [good[0], "tone"],
        [good[1], "noise"],
    ]
    (line,) = failed_lines(err)
    check_sentence(line, tmp_path, bad)


@bad_files
def test_embed_writes_the_good_and_names_the_bad(tmp_path, good, run, make, words):
    bad = path_argument(make_bad(make, tmp_path))
    if os.path.isdir(bad):  # noqa: PTH112
        pytest.skip("a folder is an argument of its own kind")
    status, out, err = run("embed", good[0], bad, good[1], "--embedder", "mfcc", "--out", tmp_path / "x.npz")
    assert status == 1
    assert out.startswith("Embeddings of 2 files")
    (line,) = failed_lines(err)
    check_sentence(line, tmp_path, bad)
    with np.load(tmp_path / "x.npz") as written:
        assert written["paths"].tolist() == good
        assert np.isfinite(written["vectors"]).all()


# A table with names that cannot be in one is refused as a whole (tests/datasets/test_strict_csv.py).
NOT_IN_A_CSV = ("NUL", "UTF-8", "line break", "too long")
CSV_FILES = [case for case in EVERY_FILE if not any(word in case.id for word in NOT_IN_A_CSV)]


@pytest.mark.parametrize(("make", "words"), CSV_FILES)
def test_fit_learns_the_good_and_names_the_bad(tmp_path, good, run, make, words):
    bad = make_bad(make, tmp_path)
    clip = bad if isinstance(bad, Clip) else Clip(bad)
    row = f'"{clip.path}",tone,{clip.start_s},{"" if clip.end_s is None else clip.end_s}\n'
    table = tmp_path / "table.csv"
    table.write_text(f"path,label,start_s,end_s\n{good[0]},tone,,\n{row}{good[1]},noise,,\n", encoding="utf-8")
    status, out, err = run("fit", table, "--embedder", "mfcc", "--out", tmp_path / "m")
    assert status == 1
    assert "on 2 clips of 2 classes" in out
    (line,) = failed_lines(err)
    check_sentence(line, tmp_path, bad)
    assert run("predict", tmp_path / "m", *good)[0] == 0


@posix_only
@pytest.mark.parametrize("arguments", [[], ["--format", "jsonl"], ["--out", "out.csv"]])
def test_a_name_that_is_not_utf_8_comes_out_as_it_went_in(tmp_path, model_file, arguments):
    odd = os.fsencode(put(tmp_path / "\udce9.wav", wav((tone(300) * 32767).astype("<i2").tobytes())))
    command = [sys.executable, "-m", "l3clf", "predict", model_file, odd, "--cache", "none", *arguments]
    env = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # what most systems have
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=env, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    answer = done.stdout or (tmp_path / "out.csv").read_bytes()
    assert b"tone" in answer
    if "jsonl" in arguments:  # which must be UTF-8
        assert os.fsencode(json.loads(answer.decode("utf-8"))["path"]) == odd
    else:
        assert odd in answer


def test_fit_without_two_good_classes_still_names_the_bad_files(tmp_path, good, run):
    data = tmp_path / "train"
    for label in ("tone", "noise"):
        (data / label).mkdir(parents=True)
    os.link(good[0], data / "tone" / "a.wav")
    put(data / "noise" / "broken.wav", b"no sound")
    status, _, err = run("fit", data, "--embedder", "mfcc", "--out", tmp_path / "m")
    assert status == 1
    assert "fewer than two classes" in err
    assert "broken.wav" in err
    assert not (tmp_path / "m").exists()


def test_only_bad_files_still_give_complete_output(tmp_path, run, model_file):
    bad = [put(tmp_path / f"bad{i}.wav", b"no sound") for i in range(3)]
    status, out, err = run("predict", model_file, *bad)
    assert (status, out) == (1, "path,label,probability\n")
    assert len(failed_lines(err)) == 3
    status, out, err = run("embed", *bad, "--embedder", "mfcc", "--out", tmp_path / "x.npz")
    assert status == 1
    assert out.startswith("Embeddings of 0 files, 0 windows")
    with np.load(tmp_path / "x.npz") as written:
        assert written["vectors"].shape[0] == 0


def test_an_empty_folder_fails_and_other_files_are_processed(tmp_path, good, run, model_file):
    (tmp_path / "empty").mkdir()
    status, out, err = run("predict", model_file, tmp_path / "empty", good[0])
    assert status == 1
    assert f"{tmp_path / 'empty'}: folder without sound files" in err
    assert out.count("tone") == 1
    status, out, err = run("embed", tmp_path / "empty", *good, "--embedder", "mfcc", "--out", tmp_path / "x.npz")
    assert status == 1
    assert out.startswith("Embeddings of 2 files")


def empty_folder(place):
    (place / "empty").mkdir()
    return place / "empty"


def folder_without_classes(place):
    (place / "flat").mkdir()
    write(place / "flat" / "a.wav")
    return place / "flat"


def csv_of(text):
    return lambda place: put(place / "table.csv", text if isinstance(text, bytes) else text.encode())


BAD_DATA = {
    "missing": (lambda place: place / "no data", "no such file or folder; give a CSV, or a folder"),
    "empty folder": (empty_folder, "found nothing; give a folder with a subfolder"),
    "folder without classes": (folder_without_classes, "give a folder with a subfolder of sounds"),
    "empty CSV": (csv_of(""), r"no column 'path', 'label' \(found no header"),
    "CSV without label": (csv_of("path,note\na.wav,dog\n"), r"no column 'label' \(found 'path', 'note'"),
    "CSV without path": (csv_of("place,label\na.wav,dog\n"), "no column 'path'"),
    "CSV with bars": (csv_of("path|label\na.wav|dog\n"), r"found 'path\|label'"),
    "CSV without clips": (csv_of("path,label\n\n\n"), "no clips"),
    "label left out": (csv_of("path,label\na.wav,dog\nb.wav,\n"), "no label in line 3"),
    "times that are not numbers": (csv_of("path,label,start_s\na.wav,dog,soon\n"), "line 2: .*'soon'.*expected times"),
    "not UTF-8": (csv_of("path,label\ncafé.wav,dog\n".encode("latin-1")), "is not UTF-8 text"),
    "UTF-16": (csv_of("path,label\na.wav,dog\n".encode("utf-16")), "is not UTF-8 text"),
    "a sound file": (lambda place: write(place / "a.wav"), "not UTF-8 text|no column"),
    "one class": (csv_of("path,label\na.wav,dog\nb.wav,dog\n"), "1 class"),
}


@pytest.mark.parametrize(("make", "words"), BAD_DATA.values(), ids=BAD_DATA)
def test_unusable_data_is_refused_in_one_sentence(tmp_path, run, make, words):
    status, out, err = run("fit", make(tmp_path), "--embedder", "mfcc", "--out", tmp_path / "m")
    assert (status, out) == (1, "")
    *problems, line = err.splitlines()
    assert len(problems) == (3 if "1 class" in words else 0)  # missing sounds, one class, few clips
    check_sentence(line, tmp_path)
    assert re.search(words, line)
    assert not (tmp_path / "m").exists()


BAD_COMMANDS = {
    "unknown command": (["classify"], 2, "invalid choice"),
    "fit without --out": (["fit", "DATA"], 2, "--out"),
    "unknown head": (["fit", "DATA", "--out", "OUT", "--head", "svm"], 2, "invalid choice: 'svm'"),
    "unknown pooling": (["fit", "DATA", "--out", "OUT", "--pooling", "median"], 2, "invalid choice: 'median'"),
    "hop that is not a number": (["embed", "GOOD", "--out", "OUT", "--hop", "half"], 2, "--hop"),
    "hop of 0": (["embed", "GOOD", "--out", "OUT", "--hop", "0"], 2, "greater than 0"),
    "hop of nan": (["embed", "GOOD", "--out", "OUT", "--hop", "nan"], 2, "greater than 0"),
    "hop of ages": (["embed", "GOOD", "--out", "OUT", "--hop", "1e300"], 1, "--hop 1e.300"),
    "hop below a sample": (["embed", "GOOD", "--out", "OUT", "--hop", "1e-9"], 1, "--hop 1e-09"),
    "zero jobs": (["embed", "GOOD", "--out", "OUT", "--jobs", "two"], 2, "--jobs"),
    "0 jobs": (["embed", "GOOD", "--out", "OUT", "--jobs", "0"], 1, "--jobs 0"),
    "out in a missing folder": (["embed", "GOOD", "--out", "MISSING/x.npz"], 1, "its folder does not exist"),
    "out is a folder": (["embed", "GOOD", "--out", "."], 1, "is a folder"),
    "fit, out in a missing folder": (["fit", "DATA", "--out", "MISSING/m"], 1, "its folder does not exist"),
    "predict, out in a missing folder": (["predict", "MODEL", "GOOD", "--out", "MISSING/x"], 1, "does not exist"),
    "unknown embedder": (["embed", "GOOD", "--out", "OUT", "--embedder", "vggish"], 1, "no such embedder"),
    "option without a value": (["embed", "GOOD", "--out", "OUT", "--option", "input_repr"], 1, "NAME=VALUE"),
    "unknown option": (["embed", "GOOD", "--out", "OUT", "--option", "size=3"], 1, "'size'"),
    "group that is no column": (["baseline", "TABLE", "--out", "OUT", "--group", "who"], 1, "no column 'who'"),
    "group of a folder": (["baseline", "DATA", "--out", "OUT", "--group", "who"], 1, "the folder has no meta.csv"),
    "threshold of 2": (["fit", "DATA", "--out", "OUT", "--unknown-threshold", "2"], 1, "--unknown-threshold 2"),
    "predict, threshold of 2": (["predict", "MODEL", "GOOD", "--unknown-threshold", "2"], 1, "--unknown-threshold 2"),
    "predict, gate of nan": (["predict", "MODEL", "GOOD", "--gate-dbfs", "nan"], 1, "--gate-dbfs nan"),
    "missing model": (["predict", "MISSING", "GOOD"], 1, "no such file|cannot be read|does not exist|[Nn]o such"),
    "a sound for a model": (["predict", "GOOD", "GOOD"], 1, "ZIP|not a|no l3clf model"),
    "cache in a missing drive": (["cache", "info", "--cache", "GOOD/x.sqlite"], 1, "x.sqlite"),
    "a sound for a cache": (["embed", "GOOD", "--out", "OUT", "--cache", "GOOD"], 1, "cache"),
    "cache none to look at": (["cache", "info", "--cache", "none"], 1, "no cache|none"),
    "prune by a word": (["cache", "prune", "--max-mb", "all"], 2, "--max-mb"),
    "unknown weights": (["weights", "check", "vggish"], 1, "no such weights"),
}


@pytest.mark.parametrize(("arguments", "status", "words"), BAD_COMMANDS.values(), ids=BAD_COMMANDS)
def test_impossible_commands_are_refused(tmp_path, good, run, model_file, arguments, status, words):
    table = put(tmp_path / "table.csv", f"path,label\n{good[0]},a\n{good[1]},b\n".encode())
    places = {
        "GOOD": good[0],
        "DATA": str(tmp_path / "train"),
        "TABLE": table,
        "MODEL": str(model_file),
        "OUT": str(tmp_path / "out"),
        "MISSING": str(tmp_path / "missing"),
    }
    parts = [re.sub("^[A-Z]+", lambda found: places[found[0]], argument) for argument in arguments]
    if arguments[:1] in (["fit"], ["embed"]) and "--embedder" not in arguments:
        parts += ["--embedder", "mfcc"]
    found, out, err = run(*parts)
    assert found == status
    assert re.search(words, err)
    assert out == ""
    if status == 1:
        (line,) = err.splitlines()
        check_sentence(line, tmp_path)
    assert not (tmp_path / "out").exists()
