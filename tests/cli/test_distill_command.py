"""l3clf distill: interrupted and resumed, its output, its refusals."""

import subprocess
import sys

import numpy as np
import pytest
from helpers.sound_files import put, write

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import SMALL, Bands, Stopping

import l3clf
from l3clf.cli import main as cli
from l3clf.demo.sounds import CLASSES, synthesise
from l3clf.distill.architectures import ARCHITECTURES
from l3clf.embedders.frontend import SAMPLE_RATE
from l3clf.errors import how_to_install

# --- the command -----------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """Two classes of four clips."""
    for i in range(8):
        kind = CLASSES[i % 2]
        (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
        write(tmp_path / "data" / kind / f"{i}.wav", synthesise(kind, np.random.default_rng(i), 1.0, SAMPLE_RATE))
    return tmp_path / "data"


def command(folders, *more):
    out = folders.parent / "out"
    return ["distill", str(folders), "--student", "S", "--epochs", "1", "--per-window", "2", "--out", str(out), *more]


def test_an_interrupted_command_resumes_and_prints_what_it_made(folders, capsys, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "S", SMALL["a"])
    bad = put(folders / "bad.wav", b"RIFF")
    arguments = command(
        folders, "--teacher", "band_levels", "--teacher", "mfcc", "--labels-from-folders", "--jobs", "1"
    )
    heard = Bands.embed_windows
    with monkeypatch.context() as patched:
        patched.setattr(Bands, "embed_windows", lambda self, x: Stopping(None, 0)[x])
        assert cli.main(arguments) == 130
    assert Bands.embed_windows is heard
    out, err = capsys.readouterr()
    sentence = f"l3clf: interrupted: work is kept in {folders.parent / 'out'}; run the same command again to resume"
    assert err.splitlines()[-1] == sentence
    assert out == ""
    assert cli.main(arguments) == 1  # one file failed
    out, err = capsys.readouterr()
    assert f"l3clf: failed: {bad}: is not a sound file" in err
    assert "examples: 100%" in err
    assert "epoch 1: 100%" in err
    lines = out.splitlines()
    path = folders.parent / "out" / "student.student"
    about = l3clf.load_embedder(str(path)).about
    assert lines[0] == f"Student: {path} (S, {about['parameters']:,} parameters, {about['macs']:,} MACs per window)"
    assert lines[1] == "Trained on 8 clips (0.00 h), 32 examples."
    cosines = zip(("band_levels", "mfcc"), about["held_out_cosine"], about["constant_cosine"], strict=True)
    assert lines[2:] == [f"Held-out cosine to {n}: {a:.3f} (best constant embedding: {b:.3f})" for n, a, b in cosines]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--teacher", "nobody"], "l3clf: embedder='nobody': no such embedder"),
        (["--teacher", "band_levels", "--init", "missing.student"], "missing.student: cannot be read"),
        (["--teacher", "yamnet", "--weights", "/nowhere"], "/nowhere"),
        (["--weights", "/nowhere"], "--weights /nowhere: does not exist; give mn04_as_mAP_432.pt or a folder"),
    ],
)
def test_errors_of_the_command_are_one_sentence(folders, capsys, more, message):
    assert cli.main(command(folders, *more)) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_an_empty_folder_is_one_sentence(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    assert cli.main(command(tmp_path / "data", "--teacher", "band_levels")) == 1
    assert (
        capsys.readouterr().err
        == f"l3clf: failed: {tmp_path / 'data'}: folder without sound files; name files or another folder\n"
    )


def test_labels_need_two_folders(folders, capsys):
    assert cli.main(command(folders / CLASSES[0], "--teacher", "band_levels", "--labels-from-folders")) == 1
    assert "--labels-from-folders: all files are in one folder, " in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [["--teacher"], ["--teacher", "band_levels", "--epochs", "0"], ["--teacher", "band_levels", "--student", "XL"]],
)
def test_other_arguments_are_refused(folders, capsys, more):
    with pytest.raises(SystemExit) as error:
        cli.main(command(folders, *more))
    assert error.value.code == 2


def test_a_refusal_is_the_only_output_of_a_process(folders):
    """TensorFlow, too, is silent."""
    arguments = [sys.executable, "-m", "l3clf", *command(folders, "--teacher", "mfcc", "--init", "missing.student")]
    found = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")
    assert "missing.student: cannot be read" in found.stderr
    assert len(found.stderr.splitlines()) == 1


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from l3clf.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def test_without_keras_the_command_says_what_to_install(folders):
    arguments = [sys.executable, "-c", WITHOUT, "keras", *command(folders, "--teacher", "mfcc")]
    found = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")
    needed = f"distillation needs Keras and TensorFlow; install them with: {how_to_install('distill')}"
    assert found.stderr == f"l3clf: {needed}\n"
