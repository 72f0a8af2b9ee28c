"""--fine-tune: a student and a model out of `l3clf fit`, two rows more of `l3clf baseline`."""

import csv
import json
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import TINY

import l3clf
from l3clf.distill import FineTuned, fine_tune, fine_tuning
from l3clf.errors import how_to_install


@pytest.fixture
def quick(monkeypatch):
    """A few examples, heard once."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    monkeypatch.setattr(fine_tuning, "EXAMPLES", 1)
    monkeypatch.setattr(fine_tuning, "MIN_PER_WINDOW", 1)
    monkeypatch.setitem(fine_tune.__kwdefaults__, "epochs", 1)
    yield
    tf.config.run_functions_eagerly(False)


def test_fit_writes_a_student_and_a_model_that_needs_no_other_file(data, tmp_path, run, quick):
    model = tmp_path / "m.l3clf"
    status, out, err = run("fit", data, "--fine-tune", "--embedder", TINY, "--cache", "none", "--out", model)
    assert status == 0, err
    folder = tmp_path / "m-student"
    assert out.splitlines()[0] == f"Student: {folder / 'student.student'}"
    assert "Fitted 'logistic' on 10 clips of 2 classes (student embeddings, mean pooling)" in out
    assert f"Fine-tuning student on 10 clips: about 1 minute, in {folder}" in err
    shutil.rmtree(folder)
    assert l3clf.load_model(model).predict([data / "low" / "0.wav"]).tolist() == ["low"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--embedder", "mfcc"], "--fine-tune: mfcc is not a student; give --embedder l3mini, l3base, l3micro or a"),
        (["--embedder", "openl3"], "--fine-tune: openl3 is not a student"),
        (["--unknown"], "--fine-tune: with --unknown the threshold would be learned on the clips that the student"),
        (["--accept", "0.9"], "--fine-tune: with --unknown"),
        (["--band", "100", "4000"], "--fine-tune: a student is trained on the whole band; leave out --band, or"),
        (["--denoise"], "--fine-tune: a student is trained on sounds as they are; leave out --denoise"),
    ],
)
def test_what_does_not_go_together_is_refused(data, tmp_path, run, more, message):
    status, out, err = run("fit", data, "--fine-tune", "--out", tmp_path / "m.l3clf", *more)
    assert (status, out) == (1, "")
    assert message in err
    assert not (tmp_path / "m-student").exists()


def test_a_folder_of_the_user_is_not_written_to(data, tmp_path, run):
    (tmp_path / "m-student").mkdir()
    (tmp_path / "m-student" / "mine.txt").write_text("mine")
    status, _, err = run("fit", data, "--fine-tune", "--embedder", TINY, "--out", tmp_path / "m.l3clf")
    assert status == 1
    assert "holds other files; name a new or an empty folder" in err
    assert [path.name for path in (tmp_path / "m-student").iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_baseline_trains_two_rows_more(data, tmp_path, run, quick, monkeypatch):
    monkeypatch.setattr(FineTuned.__init__, "__defaults__", ("l3mini", False, 1, None, 0, 0.2))
    with (tmp_path / "folds.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "fold"])
        writer.writerows([f"data/{c}/{k}.wav", c, k % 2] for c in ("low", "high") for k in range(5))
    command = ["baseline", tmp_path / "folds.csv", "--fine-tune", "--embedders", "mfcc", TINY, "--heads", "logistic"]
    status, out, err = run(*command, "--cache", "none", "--out", tmp_path / "out")
    assert status == 0, err
    rows = json.loads((tmp_path / "out" / "table.json").read_text(encoding="utf-8"))["rows"]
    names = ["mfcc", "student", "student scratch", "student tuned"]
    assert sorted(row["embedder"] for row in rows) == names
    assert "student scratch" in out
    assert "student scratch: 2 of 2 folds to train, about 2 minutes or more" in err
    assert "student tuned: fold 1 of 2 in" in err


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from l3clf.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("command", ["fit", "baseline"])
def test_without_keras_it_says_what_to_install(data, tmp_path, command):
    arguments = [
        sys.executable,
        "-c",
        WITHOUT,
        "keras",
        command,
        str(data),
        "--fine-tune",
        "--out",
        str(tmp_path / "o"),
    ]
    found = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")
    needed = f"distillation needs Keras and TensorFlow; install them with: {how_to_install('distill')}"
    assert found.stderr.splitlines()[-1] == f"l3clf: {needed}"
    assert not (tmp_path / "o").exists()
