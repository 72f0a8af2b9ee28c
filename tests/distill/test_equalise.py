"""Channels brought to similar ranges: the same answers in floats, better ones in integers."""

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import answer, features, stirred

from l3clf.distill import student_tflite as quantise
from l3clf.distill.architectures import ARCHITECTURES, build_student
from l3clf.distill.equalise import _ranges, equalised
from l3clf.networks.int8_run import Int8Network
from l3clf.networks.tflite_read import read_tflite

pytestmark = pytest.mark.usefixtures("eagerly")


def uneven(name, spread):
    """A student whose channels reach as far as chance wants."""
    student, rng = stirred(name), np.random.default_rng(3)
    for layer in student.layers:
        if layer.name.endswith("_norm") and layer.name != "places_norm":
            gamma, beta, *statistics = layer.get_weights()
            factors = np.exp(rng.normal(0, spread, len(gamma)))
            layer.set_weights([gamma * factors, beta * factors, *statistics])
    return student


def unevenness(student, x):
    """How much the logarithms of the channels' ranges differ, the mean of all layers."""
    found = [np.log(reach[reach > 1e-3 * reach.max()]).std() for reach in _ranges(student, x).values()]
    return float(np.mean(found))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_function_stays_and_the_ranges_come_together(name):
    student, x = uneven(name, 1.0), features(24)
    plain = equalised(ARCHITECTURES[name], student, x)
    expected = answer(student, x)
    found = np.concatenate([answer(plain, x[i : i + 1]) for i in range(len(x))])
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    before = unevenness(student, x)
    student.set_weights(plain.get_weights())
    assert unevenness(student, x) < 0.9 * before


def int8_cosine(student, x):
    network = Int8Network(read_tflite(quantise.student_tflite(ARCHITECTURES["S"], student, x), "test"))
    output = network.model.output
    found = (network.run(x[..., np.newaxis]).astype(np.float32) - output.zero_point) * output.scale
    expected = answer(student, x)
    return np.mean((found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1))


def as_it_is(architecture, student, _):
    plain = build_student(architecture, *student.input.shape[1:3], student.output.shape[-1], fast=False)
    plain.set_weights(student.get_weights())
    return plain


def test_integers_lose_less(monkeypatch):
    student, x = uneven("S", 1.0), features(100)
    with_it = int8_cosine(student, x)
    monkeypatch.setattr(quantise, "equalised", as_it_is)
    assert 1 - with_it < 0.7 * (1 - int8_cosine(student, x))


def test_a_silent_channel_is_left_alone():
    student, x = stirred("S"), features(16)
    norm = student.get_layer("block_1_pointwise_norm")
    gamma, beta, *statistics = norm.get_weights()
    gamma[0], beta[0] = 0, -1
    norm.set_weights([gamma, beta, *statistics])
    plain = equalised(ARCHITECTURES["S"], student, x)
    assert all(np.isfinite(weight).all() for weight in plain.get_weights())
    np.testing.assert_allclose(answer(plain, x[:1]), answer(student, x[:1]), rtol=1e-3, atol=1e-4)


def test_the_examples_with_the_largest_values_may_be_left_out_of_the_ranges():
    student, x = stirred("S"), features(20)
    loud = x.copy()
    loud[3] = 127
    plain = equalised(ARCHITECTURES["S"], student, loud)
    kept = quantise._usual(plain, loud, 0.7)
    assert 3 not in kept
    assert len(kept) == 14
    assert kept.tolist() == sorted(set(kept.tolist()))
    steps = {
        share: read_tflite(quantise.student_tflite(ARCHITECTURES["S"], student, loud, usual=share), "t")
        for share in (0.7, 1.0)
    }
    assert steps[0.7].output.scale <= steps[1.0].output.scale
