"""The graph of an int8 network: equal to the interpreter in NumPy for networks and windows of all kinds."""

import numpy as np
import pytest
from helpers import GOLDEN
from helpers.tflite_editor import randomised
from helpers.tflite_micro_oracle import windows_for

from l3clf.networks import int8_graph, int8_run
from l3clf.networks.int8_model import (
    Add,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Int8Model,
    Requantisation,
    Tensor,
    Window,
    requantisation,
)
from l3clf.networks.int8_run import Int8Network
from l3clf.networks.tflite_read import read_tflite


class Maker:
    """Draws a network of the operators that have a graph, layer by layer."""

    def __init__(self, seed, largest_weights=False, ties=False):
        self.rng = np.random.default_rng(seed)
        self.largest_weights, self.ties = largest_weights, ties
        self.operators, self.tensors = [], []
        self.last = self.tensor(tuple(self.rng.integers(5, 12, 2)), int(self.rng.choice([1, 3])))

    def tensor(self, size, channels):
        shape = (1, *(int(n) for n in size), channels)
        zero = np.array([self.rng.choice([-128, 127, 0, self.rng.integers(-128, 128)])])
        index = len(self.tensors)
        self.tensors.append(Tensor(index, "", shape, np.dtype(np.int8), np.ones(1, np.float32), zero, 3, None))
        return self.tensors[-1]

    def weights(self, shape):
        if self.largest_weights:
            return self.rng.choice([-128, 127], shape).astype(np.int8)
        return np.clip(self.rng.normal(0, 40, shape), -128, 127).astype(np.int8)

    def scaling(self, weights_by_channel, target):
        """What brings sums of these weights into the range of int8, or somewhat beyond it."""
        rng, channels = self.rng, len(weights_by_channel)
        spread = np.sqrt((weights_by_channel.reshape(channels, -1).astype(float) ** 2).sum(axis=1) + 1) * 80
        multipliers, shifts = requantisation(rng.uniform(5, 300, channels) / spread)
        if self.ties:  # factors that are powers of two: many sums lie halfway between two results
            multipliers[:] = 1 << 30
        bias = rng.normal(0, spread).astype(np.int32)
        zero = target.zero_point
        low = zero if rng.random() < 0.5 else -128
        high = 127 if zero > 100 or rng.random() < 0.7 else int(rng.integers(max(low, zero), 128))
        return bias, Requantisation(multipliers, shifts, zero, low, high)

    def window(self, size):
        rng, source = self.rng, np.array(self.last.shape[1:3])
        dilation = np.where(source > 2 * size, rng.integers(1, 3, 2), 1)
        stride, before = rng.integers(1, 3, 2), rng.integers(0, 3, 2)
        after = np.maximum(rng.integers(0, 3, 2), (size - 1) * dilation + 1 - source - before)
        rows = (source + before + after - (size - 1) * dilation - 1) // stride + 1
        pairs = (tuple(int(n) for n in pair) for pair in (size, stride, dilation, before, after))
        return Window(*pairs), rows

    def convolution(self):
        size = self.rng.integers(1, 4, 2)
        window, rows = self.window(size)
        channels = int(self.rng.integers(1, 13))
        source, self.last = self.last, self.tensor(rows, channels)
        weights = self.weights((channels, *size, source.shape[-1]))
        bias, out = self.scaling(weights, self.last)
        self.operators.append(Conv2D(source.index, self.last.index, weights, bias, window, out))

    def depthwise(self):
        size, times = self.rng.integers(1, 5, 2), int(self.rng.integers(1, 3))
        window, rows = self.window(size)
        source, self.last = self.last, self.tensor(rows, self.last.shape[-1] * times)
        weights = self.weights((*size, source.shape[-1] * times))
        bias, out = self.scaling(weights.transpose(2, 0, 1), self.last)
        self.operators.append(DepthwiseConv2D(source.index, self.last.index, weights, bias, times, window, out))

    def addition(self):
        """Of the last tensor, and a pointwise convolution of it, in either order."""
        source, channels = self.last, self.last.shape[-1]
        branch = self.tensor(source.shape[1:3], channels)
        weights = self.weights((channels, 1, 1, channels))
        bias, out = self.scaling(weights, branch)
        point = Window(*(((1, 1),) * 3), *(((0, 0),) * 2))
        self.operators.append(Conv2D(source.index, branch.index, weights, bias, point, out))
        self.last = self.tensor(source.shape[1:3], channels)
        pair = self.rng.permutation([source.index, branch.index]).tolist()
        multipliers, shifts = requantisation(self.rng.uniform(0.2, 1, 2))
        up, right = requantisation(self.rng.uniform(0.3, 2, 1) / 2**20)
        _, out = self.scaling(weights, self.last)
        out = Requantisation(up, right, out.zero_point, out.low, out.high)
        both = [tuple(int(n) for n in numbers) for numbers in (pair, multipliers, shifts)]
        self.operators.append(Add(both[0], self.last.index, both[1], both[2], out))

    def dense(self):
        source = self.last
        self.last = self.tensor((), 7)
        weights = self.weights((7, source.size))
        bias, out = self.scaling(weights, self.last)
        self.operators.append(FullyConnected(source.index, self.last.index, weights, bias, out))

    def model(self):
        layers = (self.convolution, self.depthwise, self.addition)
        for number in self.rng.integers(0, 3, 6):
            layers[number]()
        if self.last.size <= 250 and self.rng.random() < 0.9:  # more may be too many for float32
            self.dense()
        return Int8Model(tuple(self.tensors), tuple(self.operators), 0, self.last.index, 0)


def assert_run_equals_layers(network, x):
    layers = network.layers(x)
    np.testing.assert_array_equal(network.run(x), layers[network.model.target].reshape(len(x), -1))
    return layers


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_have_the_values_of_the_interpreter(seed):
    network = Int8Network(Maker(seed, largest_weights=seed % 5 == 4, ties=seed % 5 == 3).model())
    assert network.graph is not None
    x = windows_for(network.model.input.shape[1:], 24, seed)
    found = assert_run_equals_layers(network, x)
    assert sum(len(np.unique(values)) for values in found.values()) > 100  # not all clamped


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(100, 106))
def test_a_student_with_other_scales_has_the_values_of_the_interpreter(seed, ties):
    content = randomised((GOLDEN / "int8_separable.tflite").read_bytes(), seed, ties=ties)
    network = Int8Network(read_tflite(content, "model"))
    assert_run_equals_layers(network, windows_for(network.model.input.shape[1:], 40, seed))


def changed(model, **how):
    """The network with its first operator changed."""
    first = model.operators[0]
    content = {name: how.get(name, getattr(first, name)) for name in type(first).__annotations__}
    op = type(first)(first.source, first.target, **content)
    return Int8Model(model.tensors, (op, *model.operators[1:]), model.source, model.target, model.macs)


def separable():
    return read_tflite((GOLDEN / "int8_separable.tflite").read_bytes(), "model")


def test_scales_that_float64_cannot_hold_have_no_graph():
    model = separable()
    out = model.operators[0].out
    tiny = Requantisation(out.multipliers, np.full_like(out.shifts, -28), out.zero_point, out.low, out.high)
    network = Int8Network(changed(model, out=tiny))
    assert network.graph is None
    assert_run_equals_layers(network, windows_for(model.input.shape[1:], 8, 0))


def test_sums_beyond_float32_have_no_graph():
    maker = Maker(0, largest_weights=True)
    maker.last = maker.tensors[0] = Tensor(
        0, "", (1, 25, 25, 1), np.dtype(np.int8), np.ones(1, np.float32), np.array([0]), 3, None
    )
    maker.last = maker.tensors[0]
    maker.dense()
    network = Int8Network(Int8Model(tuple(maker.tensors), tuple(maker.operators), 0, 1, 0))
    assert network.graph is not None  # 625 * 128 * 128 < 2^24
    wide = Tensor(0, "", (1, 33, 33, 1), np.dtype(np.int8), np.ones(1, np.float32), np.array([0]), 3, None)
    maker.tensors, maker.operators, maker.last = [wide], [], wide
    maker.dense()
    network = Int8Network(Int8Model(tuple(maker.tensors), tuple(maker.operators), 0, 1, 0))
    assert network.graph is None
    assert_run_equals_layers(network, windows_for((33, 33, 1), 8, 0))


@pytest.mark.parametrize("name", ["pools", "means"])
def test_networks_with_other_operators_have_no_graph(name):
    model = read_tflite((GOLDEN / f"int8_{name}.tflite").read_bytes(), "model")
    assert int8_graph.int8_graph(model) is None


def test_an_engine_that_computes_something_else_is_not_used(monkeypatch):
    """As one would that takes 16-bit floats for speed; here, another network stands in for it."""
    model = separable()
    other = int8_graph.int8_graph(changed(model, weights=-model.operators[0].weights))
    monkeypatch.setattr(int8_run, "int8_graph", lambda model: other)
    network = Int8Network(model)
    assert network.graph is None
    assert_run_equals_layers(network, windows_for(model.input.shape[1:], 8, 0))
