"""Fine-tuning: a student trained on the labels of a task, its network from scratch, and both as rows of a baseline."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import TINY, sounds

import l3clf
from l3clf.audio.clip import Samples
from l3clf.distill import FineTuned, fine_tune
from l3clf.distill.corpus import _identity
from l3clf.distill.fine_tuning import START_S, _examples_per_window, expected_s
from l3clf.embedders.student import Student, StudentFile
from l3clf.errors import L3clfError

LABELS = ["even", "odd"] * 4
SMALL = {"epochs": 1, "per_window": 1}


@pytest.fixture(autouse=True)
def _eagerly(eagerly):
    """Each network runs only a few times."""


CLIPS = sounds(10, 0.6)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """What a fold of a baseline gives, and the folder in which it was trained."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    folder = tmp_path_factory.mktemp("tuned") / "fold"
    return FineTuned(str(TINY), **SMALL).fit(CLIPS[:8], np.array(LABELS), folder), folder


def kernel_of(student):
    from onnx import load_model_from_string, numpy_helper

    return numpy_helper.to_array(load_model_from_string(student.onnx).graph.initializer[0]).ravel()


def test_a_fine_tuned_student_is_an_embedder_like_the_one_before(tuned):
    model, folder = tuned
    student, before = Student(folder / "student.student"), Student(str(TINY))
    assert (student.window_s, student.embedding_size) == (before.window_s, 6)  # as many as seven examples span
    assert student.about["teachers"] == ["student"]  # its own former self
    assert student.fingerprint == model.embedder_.fingerprint != before.fingerprint
    assert np.corrcoef(kernel_of(student), kernel_of(before))[0, 1] > 0.9
    assert {"student.student", "log.csv", "curve.png", "checkpoint.npz"} <= {path.name for path in folder.iterdir()}
    assert not [path.name for path in folder.iterdir() if path.suffix in (".i8", ".i16", ".i32", ".f2", ".f4")]


def test_a_fold_hears_only_what_it_is_given(tuned):
    heard = json.loads((tuned[1] / "corpus.json").read_text())["clips"]
    assert heard == [_identity(clip) for clip in CLIPS[:8]]


def test_its_model_needs_no_file(tuned, tmp_path):
    model, _ = tuned
    assert isinstance(model.embedder.weights, StudentFile)
    l3clf.save_model(model, tmp_path / "m.l3clf")
    loaded = l3clf.load_model(tmp_path / "m.l3clf")
    np.testing.assert_allclose(loaded.predict_proba(CLIPS), model.predict_proba(CLIPS), atol=1e-6)


def test_the_same_call_gives_the_same_file(tuned):
    folder = tuned[1]
    content, log = (folder / "student.student").read_bytes(), (folder / "log.csv").stat().st_mtime_ns
    made = fine_tune(CLIPS[:8], LABELS, str(TINY), folder, **SMALL)
    assert Path(made.weights) == folder / "student.student"
    assert (folder / "student.student").read_bytes() == content
    assert (folder / "log.csv").stat().st_mtime_ns == log  # it was not trained again


def test_a_folder_of_the_user_and_one_of_other_clips_are_left_alone(tuned, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(L3clfError, match="holds other files; name a new or an empty folder"):
        fine_tune(CLIPS[:8], LABELS, str(TINY), tmp_path, **SMALL)
    content = (tuned[1] / "student.student").read_bytes()
    with pytest.raises(L3clfError, match="checkpoint of another student, schedule or set of examples"):
        fine_tune(CLIPS[1:9], LABELS, str(TINY), tuned[1], **SMALL)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tuned[1] / "student.student").read_bytes() == content


def test_from_scratch_begins_with_other_weights(tmp_path):
    options = {"from_scratch": True, "seed": 1, **SMALL}  # with seed 0 that student began
    made = fine_tune(CLIPS[:8], np.array(LABELS), Student(str(TINY), "int8"), tmp_path, **options)
    assert abs(np.corrcoef(kernel_of(made), kernel_of(Student(str(TINY))))[0, 1]) < 0.3
    assert (made.precision, made.about["architecture"]) == ("int8", "S")
    assert made.about["schedule"]["teacher_weights"] == [1e-6]  # it learns the labels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["one"] * 8}, "labels: only the class 'one'; expected two or more"),
        ({"labels": []}, "labels: only the class 'none'"),
        ({"labels": LABELS[1:]}, "labels: found 7; expected one for each of 8 clips"),
        ({"student": "mfcc"}, "init='mfcc': not a student"),
        ({"epochs": 0}, "epochs=0"),
        ({"label_weight": -1.0}, "label_weight=-1.0"),
    ],
)
def test_what_cannot_be_trained_is_refused_first(tmp_path, options, message):
    with pytest.raises(L3clfError, match=message):
        fine_tune(CLIPS[:8], **{"labels": LABELS, "student": str(TINY), "out": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_few_clips_are_heard_in_more_variations():
    second = [Samples(np.zeros(16_000), 16_000, "a")]
    assert [_examples_per_window(second * n, 0.5) for n in (1, 50, 500, 5000)] == [40, 20, 4, 4]
    assert _examples_per_window(["missing.wav"], 0.5) == 40
    few, many = (expected_s(second * n, Student(str(TINY))) - START_S for n in (500, 5000))
    assert many == pytest.approx(10 * few)


def test_rows_are_named_and_told_apart():
    rows = [
        FineTuned("l3mini"),
        FineTuned("l3mini", from_scratch=True),
        FineTuned("l3micro"),
        FineTuned(seed=1),
        FineTuned(label_weight=1),
    ]
    names = [row.name for row in rows]
    assert names[:3] == ["l3mini tuned", "l3mini scratch", "l3micro tuned"]
    assert len({row.key for row in rows}) == 5
    assert FineTuned("l3mini").key == FineTuned(l3clf.load_embedder("l3mini")).key
