"""The exact int8 interpreter: equal to tflite-micro in every value of every layer."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import GOLDEN
from helpers.tflite_editor import randomised
from helpers.tflite_micro_oracle import every_tensor, windows_for

from l3clf.errors import ParameterError
from l3clf.networks import int8_run as int8
from l3clf.networks import int8_scaling
from l3clf.networks.int8_model import Requantisation, requantisation
from l3clf.networks.int8_run import Int8Network, requantise
from l3clf.networks.tflite_read import read_tflite

NAMES = ("separable", "pools", "means")


def content_of(name):
    return (GOLDEN / f"int8_{name}.tflite").read_bytes()


def network(content):
    return Int8Network(read_tflite(content, "model"))


def golden(name):
    with np.load(GOLDEN / f"int8_{name}.npz") as file:
        x = file["input"]
        return x, {int(key.removeprefix("tensor_")): file[key] for key in file if key != "input"}


def assert_layers_equal(found, expected):
    assert len(expected) > 0
    for index, values in expected.items():
        assert found[index].dtype == np.int8
        np.testing.assert_array_equal(found[index], values, err_msg=f"tensor {index}")


# --- against tflite-micro --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_equals_the_golden_values(name):
    x, expected = golden(name)
    net = network(content_of(name))
    found = net.layers(x)
    assert_layers_equal(found, expected)
    assert set(found) == {net.model.source, *expected}
    np.testing.assert_array_equal(net.run(x), expected[net.model.target].reshape(len(x), -1))


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_equals_tflite_micro_live(name):
    pytest.importorskip("tflite_micro")
    content = content_of(name)
    net = network(content)
    x = windows_for(net.model.input.shape[1:], 100, seed=5)
    assert_layers_equal(net.layers(x), every_tensor(content, x))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", NAMES)
def test_other_scales_and_weights_equal_tflite_micro_live(name, seed):
    pytest.importorskip("tflite_micro")
    content = randomised(content_of(name), seed)
    net = network(content)
    x = windows_for(net.model.input.shape[1:], 8, seed)
    found = net.layers(x)
    assert_layers_equal(found, every_tensor(content, x))
    np.testing.assert_array_equal(net.run(x), found[net.model.target].reshape(len(x), -1))
    assert sum(len(np.unique(values)) for values in found.values()) > 150  # not all clamped


@pytest.mark.parametrize("seed", range(20))
def test_halfway_sums_equal_tflite_micro_live(seed):
    """Found so: RELU and dense layers divide their scales in double precision, as convolutions do."""
    pytest.importorskip("tflite_micro")
    content = randomised(content_of("pools"), seed, ties=True)
    net = network(content)
    x = windows_for(net.model.input.shape[1:], 50, seed)
    assert_layers_equal(net.layers(x), every_tensor(content, x))


@pytest.mark.parametrize("seed", range(3))
def test_relu6_on_its_own_equals_tflite_micro_live(seed):
    pytest.importorskip("tflite_micro")
    content = randomised(content_of("pools"), seed, relu6=True)
    net = network(content)
    x = windows_for(net.model.input.shape[1:], 8, seed)
    assert_layers_equal(net.layers(x), every_tensor(content, x))


# --- fixed point -----------------------------------------------------------------------------------


def in_c(value, multiplier, shift):
    """MultiplyByQuantizedMultiplier with its two roundings, one number at a time, division by division."""
    product = value * 2 ** max(shift, 0) * multiplier
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    high = abs(product + nudge) // (1 << 31) * (1 if product + nudge >= 0 else -1)
    right = max(-shift, 0)
    mask = (1 << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))


def sums_at_ties(multiplier, shift, rng):
    """Sums whose result lies on a rounding edge or next to it, and some that do not."""
    factor = multiplier * 2.0 ** (shift - 31)
    edges = (np.arange(-140, 140) + 0.5) / factor
    near = np.concatenate([edges + d for d in (-2, -1, 0, 1, 2)])
    return np.unique(np.concatenate([np.round(near), rng.integers(-9999, 9999, 200)])).astype(np.int64)


@pytest.mark.parametrize("low", [-128, -3])  # with -3 as zero point the second is a ReLU
@pytest.mark.parametrize("shift", [1, 0, -1, -2, -7, -11])
def test_requantisation_rounds_as_c_does(shift, low):
    rng = np.random.default_rng(100 + shift)
    for multiplier in (1 << 30, (1 << 31) - 1, (1 << 30) + 1, int(rng.integers(1 << 30, 1 << 31))):
        sums = sums_at_ties(multiplier, shift, rng)
        out = Requantisation(np.array([multiplier], np.int32), np.array([shift], np.int32), -3, low, 127)
        expected = [min(127, max(low, in_c(int(value), multiplier, shift) - 3)) for value in sums]
        np.testing.assert_array_equal(requantise(sums[np.newaxis], out)[0], expected)
        bound = int(np.abs(sums).max())
        for bias in (0, -77):
            fast = int8._output(out, np.array([bias]), bound + 77)((sums - bias)[np.newaxis].astype(np.float64))
            np.testing.assert_array_equal(fast[0], expected)


def test_multipliers_are_those_of_tflite():
    factors = np.array([0.5, 0.999999999999, 1.0, 3.7e-4, 2.0**-33, 0.0])
    multipliers, shifts = requantisation(factors)
    for factor, multiplier, shift in zip(factors, multipliers.tolist(), shifts.tolist(), strict=True):
        fraction, exponent = math.frexp(factor)
        whole = math.floor(fraction * 2**31 + 0.5)
        expected = (whole // 2, exponent + 1) if whole == 2**31 else (whole, exponent)
        assert (multiplier, shift) == (expected if exponent >= -31 else (0, 0))


@pytest.mark.parametrize("name", NAMES)
def test_every_path_gives_the_same_values(name, monkeypatch):
    x, expected = golden(name)
    monkeypatch.setattr(int8, "FLOAT32_EXACT", 0)
    assert_layers_equal(network(content_of(name)).layers(x), expected)
    monkeypatch.setattr(int8_scaling, "FLOAT64_EXACT", 0)
    assert_layers_equal(network(content_of(name)).layers(x), expected)


# --- batches, threads, input -----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chunk_bytes", [1, 10_000])
def test_a_window_does_not_depend_on_its_batch(name, chunk_bytes, monkeypatch):
    x, expected = golden(name)
    monkeypatch.setattr(int8, "_CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(int8, "_GRAPH_CHUNK_BYTES", chunk_bytes)
    net = network(content_of(name))
    many = np.concatenate([x, x[::-1], x])
    np.testing.assert_array_equal(net.run(many)[: len(x)], expected[net.model.target].reshape(len(x), -1))
    np.testing.assert_array_equal(net.run(many)[len(x) : 2 * len(x)], net.run(x)[::-1])
    assert net.run(x[:0]).shape == (0, net.model.output.size)
    assert net.layers(x[:0])[net.model.target].shape == (0, *net.model.output.shape[1:])


def test_threads_share_a_network():
    x, _ = golden("separable")
    net = network(content_of("separable"))
    parts = [np.roll(x, shift, axis=0) for shift in range(len(x))]
    with ThreadPoolExecutor(4) as pool:
        for part, found in zip(parts, pool.map(net.run, parts), strict=True):
            np.testing.assert_array_equal(found, net.run(part))


@pytest.mark.parametrize(
    "x",
    [np.zeros((2, 23, 17, 1)), np.zeros((2, 23, 17), np.int8), np.zeros((23, 17, 1), np.int8), np.int8(3), [1], None],
    ids=["float", "three dimensions", "one window", "number", "list", "nothing"],
)
def test_other_inputs_are_refused(x):
    with pytest.raises(ParameterError, match=r"x: .*expected an int8 array of shape \(n, 23, 17, 1\)"):
        network(content_of("separable")).run(x)
