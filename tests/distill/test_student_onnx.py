"""Students as ONNX: the numbers of Keras, and the weights that another student starts from."""

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import SPEC, TINY, answer, features, one_sentence, stirred

import l3clf
from l3clf.distill.architectures import ARCHITECTURES, as_input, build_student, keras
from l3clf.distill.student_onnx import fit_embedding, start_from, student_onnx
from l3clf.embedders.frontend import INPUT_STEPS, student_spec
from l3clf.embedders.student import read_student
from l3clf.errors import ParameterError
from l3clf.networks.onnx_build import run_graph, session


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnx_equals_keras(name):
    student, x = stirred(name), features(16)
    model = student_onnx(ARCHITECTURES[name], student)
    found = run_graph(session(model), x[:, np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS))
    expected = answer(student, x)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_a_student_starts_as_another():
    other, x = stirred("S", seed=3), features()
    student = build_student(ARCHITECTURES["S"], SPEC.n_frames, SPEC.n_bands, 32)
    start_from(student, student_onnx(ARCHITECTURES["S"], other).SerializeToString(), x)
    expected = answer(other, x)
    assert np.abs(answer(student, x) - expected).max() <= 1e-3 * np.abs(expected).max()
    norms = [layer for layer in student.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(np.asarray(norm.moving_variance).min() >= 0 for norm in norms)
    training = np.asarray(student(x[..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS), training=True))
    assert np.abs(training - expected).max() <= 0.02 * np.abs(expected).max()  # statistics are those of the examples


@pytest.mark.parametrize("name", ["l3base", "l3mini", "l3micro"])
def test_the_students_in_the_package_can_be_started_from(name):
    """Their files name an architecture that is known here, and the same network comes of it."""
    shipped = l3clf.load_embedder(name)
    spec = student_spec(shipped.window_s)
    x = np.random.default_rng(0).integers(-128, 60, (4, spec.n_frames, spec.n_bands)).astype(np.int8)
    architecture = ARCHITECTURES[shipped.about["architecture"]]
    student = build_student(architecture, spec.n_frames, spec.n_bands, shipped.embedding_size)
    start_from(student, shipped.onnx, x)
    expected = run_graph(session(shipped.onnx), as_input(x).transpose(0, 3, 1, 2).copy())
    assert np.abs(answer(student, x) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_last_layer_is_solved_for_new_targets():
    student, x = stirred("S", size=6), features(300)
    wanted = answer(student, x) @ np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32) + 2
    other = build_student(ARCHITECTURES["S"], SPEC.n_frames, SPEC.n_bands, 4)
    start_from(other, student_onnx(ARCHITECTURES["S"], student).SerializeToString(), x)
    fit_embedding(other, x, wanted)
    left = ((answer(other, x) - wanted) ** 2).mean() / wanted.var(axis=0).mean()
    assert left < 0.02


def test_a_student_starts_as_one_of_another_window():
    """A sound that does not change has nearly the same embedding in a window twice as long."""
    other, x = stirred("S", seed=3), features()
    steady = np.repeat(x.mean(axis=1, keepdims=True).round().astype(np.int8), 2 * SPEC.n_frames, axis=1)
    student = build_student(ARCHITECTURES["S"], 2 * SPEC.n_frames, SPEC.n_bands, 32)
    start_from(student, student_onnx(ARCHITECTURES["S"], other).SerializeToString(), steady)
    ours, theirs = answer(student, steady), answer(other, steady[:, : SPEC.n_frames])
    cosines = (ours * theirs).sum(axis=1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    assert cosines.min() > 0.97


def test_a_student_does_not_start_as_one_of_another_size():
    student = build_student(ARCHITECTURES["M"], SPEC.n_frames, SPEC.n_bands, 32)
    with pytest.raises(ParameterError, match=r"init: .*start from a student of the same architecture") as error:
        start_from(student, read_student(TINY).onnx, features())
    one_sentence(error)
