"""Networks of `onnx_build` in integers of 8 bits: static quantisation, as pairs of QuantizeLinear and DequantizeLinear.

Rule: no sum of products may overflow on any processor. Those without instructions for it (AVX2 and AVX-512 before VNNI)
add two products of an unsigned and a signed byte in 16 bits, which saturate; so the steps of the weights are as large
as the two weights that meet there need. Otherwise a file would mean one thing here and another there.

The method: activations are unsigned, one step a tensor; weights are signed, one step a channel. What the network's
channels reach is observed on sounds. Channels that a rectifier follows are scaled towards one another, and back in the
next layer (Nagel et al.: "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, with
observed ranges here); what rounding a layer's weights adds to the mean of its outputs is taken off its bias (same).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from l3clf.networks.onnx_build import as_model, session

__all__ = ["Range", "observe", "observed_tensors", "quantised"]

Float64: TypeAlias = NDArray[np.float64]

STEPS = 255  # from the lowest to the highest value of an activation
MAX_WEIGHT, MAX_BIAS = 127, 2**30
MAX_PAIR = 32_767 / STEPS  # of two neighbouring weights of the same sign
EQUALISED = 0.4  # exponent of the channels' factors: 0 leaves channels as they are, 1 gives all the same range
QUIETEST = 0.1  # of the loudest channel: no channel is taken for quieter, since other sounds may be louder in it
MIN_INPUTS = 64  # channels, a register of bytes: with fewer, floats are as fast; depthwise kernels have one
MARGIN = 0.75  # of the observed range of an output's channel, on either side
DIGITS = 10  # binary, of what is observed: other processors round otherwise, and come to nearly the same integers


class Range(NamedTuple):
    """What each channel of a tensor reached.

    Attributes
    ----------
    low, high, mean : array of shape (channels,), float64
    """

    low: Float64
    high: Float64
    mean: Float64


Observed: TypeAlias = Mapping[str, Range]
_KINDS = ("ReduceMin", "ReduceMax", "ReduceMean")


def observe(model: ModelProto, inputs: Iterable[NDArray[np.float32]], threads: int = 1) -> dict[str, Range]:
    """Return what the channels of a network reach.

    Parameters
    ----------
    model : ModelProto
        As from `GraphBuilder.build`.
    inputs : iterable of array of shape (n, 1, bands, frames)
    threads : int, default=1

    Returns
    -------
    dict of str to Range
        For each tensor that `quantised` needs, rounded to `DIGITS` binary digits.
    """
    names = observed_tensors(model)
    if not names:
        return {}
    watched = ModelProto()
    watched.CopyFrom(model)
    # Reduced in the graph: to hand out the maps themselves would take longer than to compute them.
    for name in names:
        for kind in _KINDS:
            watched.graph.node.append(helper.make_node(kind, [name], [f"{name}_{kind}"], axes=[2, 3], keepdims=0))
            watched.graph.output.append(helper.make_tensor_value_info(f"{name}_{kind}", TensorProto.FLOAT, None))
    graph = session(watched, threads)
    wanted = [f"{name}_{kind}" for name in names for kind in _KINDS]
    found = [graph.run(wanted, {"input": x}) for x in inputs]
    columns = [np.concatenate(values).astype(np.float64) for values in zip(*found, strict=True)]
    return {
        name: Range(*(_rounded(v) for v in (low.min(axis=0), high.max(axis=0), mean.mean(axis=0))))
        for name, low, high, mean in zip(names, columns[::3], columns[1::3], columns[2::3], strict=True)
    }


def observed_tensors(model: ModelProto) -> dict[str, int]:
    """Return the tensors whose ranges `quantised` needs, and the number of channels of each."""
    channels = {tensor.name: (tensor.dims[0], tensor.dims[1]) for tensor in model.graph.initializer if tensor.dims[1:]}
    layers = _Layers(model)
    names = {between: channels[first.input[1]][0] for first, _, between in layers.pairs()}
    for node in layers.quantised():
        n_out, n_in = channels[node.input[1]]
        names[node.input[0]] = n_in
        names[layers.end(node)] = n_out
    if pool := layers.output_pool():
        names[pool.output[0]] = channels[layers.quantised()[-1].input[1]][0]
    return names


def _rounded(values: Float64) -> Float64:
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 2**DIGITS), exponent - DIGITS))


def quantised(model: ModelProto, observed: Observed) -> ModelProto:
    """Return a network in integers of 8 bits.

    Convolutions of `MIN_INPUTS` channels and more, the rectifiers after them and max-pooling are in integers; what else
    there is stays in floats, and so do convolutions over a single pixel, as in a squeeze-excitation.

    Parameters
    ----------
    model : ModelProto
        As from `GraphBuilder.build`.
    observed : mapping of str to Range
        What `observe` found for it.

    Returns
    -------
    ModelProto
        With the same input and output.
    """
    writer = _Writer(model, observed)
    for node in model.graph.node:
        writer.add(node)
    return writer.built()


class _Layers:
    """Finds the way through the layers of a network."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes = nodes = list(model.graph.node)
        self._inputs = {tensor.name: tensor.dims[1] for tensor in model.graph.initializer if tensor.dims[1:]}
        self._pixels: set[str] = set()  # maps of a single pixel
        for node in nodes:
            single = node.op_type in ("Conv", "Relu", "Sigmoid") and node.input[0] in self._pixels
            if node.op_type == "GlobalAveragePool" or single:
                self._pixels.add(node.output[0])

    def quantised(self) -> list[NodeProto]:
        """Return the convolutions that are quantised."""
        convs = [node for node in self.nodes if node.op_type == "Conv" and node.input[0] not in self._pixels]
        return [conv for conv in convs if self._inputs[conv.input[1]] >= MIN_INPUTS]

    def after(self, name: str) -> list[NodeProto]:
        """Return the layers that read a tensor."""
        return [node for node in self.nodes if name in node.input]

    def end(self, conv: NodeProto) -> str:
        """Return the output of a convolution, or of the rectifier after it."""
        after = self.after(conv.output[0])
        return str(after[0].output[0] if [node.op_type for node in after] == ["Relu"] else conv.output[0])

    def pairs(self) -> list[tuple[NodeProto, NodeProto, str]]:
        """Return pairs of convolutions with nothing but a rectifier, and pooling, between; its output is the third."""
        found, quantised = [], self.quantised()
        for conv in (node for node in self.nodes if node.op_type == "Conv"):
            name = end = self.end(conv)
            while [node.op_type for node in self.after(name)] == ["MaxPool"]:
                name = self.after(name)[0].output[0]
            after = self.after(name)
            if end != conv.output[0] and len(after) == 1 and after[0] in quantised:
                found.append((conv, after[0], end))
        return found

    def output_pool(self) -> NodeProto | None:
        """Return the max-pooling between the last convolution and the output, where there is nothing else."""
        after = self.after(self.quantised()[-1].output[0]) if self.quantised() else []
        return after[0] if [node.op_type for node in after] == ["MaxPool"] else None


class _Steps(NamedTuple):
    """How a tensor is quantised: the size of a step, and the integer that stands for 0."""

    size: np.float32
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> "_Steps":
        low, high = min(low, 0.0), max(high, 0.0)
        size = np.float32(max((high - low) / STEPS, 1e-30))
        return cls(size, int(np.clip(np.rint(-low / size), 0, STEPS)))


class _Writer:
    """Writes a network again, layer by layer.

    Parameters
    ----------
    model : ModelProto
    observed : mapping of str to Range
    """

    def __init__(self, model: ModelProto, observed: Observed) -> None:
        self._graph = model.graph
        self._layers = _Layers(model)
        self._convs = {conv.output[0]: conv for conv in self._layers.quantised()}
        self._ends = {self._layers.end(conv) for conv in self._convs.values()}
        self._values = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
        self._ranges = dict(observed)
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._names: dict[str, str] = {}  # of tensors of the network that have another name here
        self._steps: dict[str, _Steps] = {}  # of tensors that are quantised
        for first, second, between in self._layers.pairs():
            self._equalise(first, second, between)
        self._pool = self._layers.output_pool()
        self._output = self._spread(self._pool.output[0]) if self._pool else None

    # --- weights before they are quantised --------------------------------------------------------

    def _equalise(self, first: NodeProto, second: NodeProto, between: str) -> None:
        """Bring the ranges of channels nearer to one another: what divides a layer's output multiplies the next."""
        high = self._ranges[between].high
        if high.max() <= 0:
            return
        factors = (np.maximum(high, QUIETEST * high.max()) / high.max()) ** EQUALISED
        self._divide(first, factors)
        self._values[second.input[1]] *= factors.reshape(-1, 1, 1)
        for name in {between, second.input[0]}:  # two tensors where a pooling comes between them
            self._ranges[name] = Range(*(part / factors for part in self._ranges[name]))

    def _divide(self, conv: NodeProto, factors: Float64) -> None:
        self._values[conv.input[1]] /= factors.reshape(-1, 1, 1, 1)
        self._values[conv.input[2]] /= factors

    def _spread(self, name: str) -> tuple[Float64, Float64]:
        """Let the last convolution give 0 to 1 in every channel, over the observed range of the output and more.

        What is lower is no loss, since the maximum over the map is taken of it.

        Returns
        -------
        low, width : array of shape (channels,)
            What makes the output of that again.
        """
        low, high, _ = self._ranges[name]
        span = np.maximum(high - low, QUIETEST * max((high - low).max(), 1e-30))
        low, width = low - MARGIN * span, (1 + 2 * MARGIN) * span
        conv = self._layers.quantised()[-1]
        self._values[conv.input[2]] -= low
        self._divide(conv, width)
        self._ranges[conv.output[0]] = Range(np.zeros_like(low), np.ones_like(low), np.zeros_like(low))
        return low, width

    # --- layers -----------------------------------------------------------------------------------

    def add(self, node: NodeProto) -> None:
        """Add a layer."""
        name, source = node.output[0], node.input[0]
        if name in self._convs:
            self._add_conv(node)
        else:
            self._copy(node)
        if name in self._ends:
            self._quantise(name, self._steps_of(name))
        elif node.op_type == "MaxPool" and source in self._steps:
            self._quantise(name, self._steps[source])
        if self._output is not None and node == self._pool:
            for op, value in (("Mul", self._output[1]), ("Add", self._output[0])):
                factor = self._constant(f"{name}_{op}_value", value.astype(np.float32).reshape(1, -1, 1, 1))
                self._names[name] = self._node(op, [self._names[name], factor], f"{name}_{op}")

    def _add_conv(self, node: NodeProto) -> None:
        source, (kernel, bias) = node.input[0], (self._values[name] for name in node.input[1:])
        if source not in self._steps:
            self._quantise(source, self._steps_of(source))
        step = steps_of_weights(kernel)
        integers = np.clip(np.rint(kernel / step.reshape(-1, 1, 1, 1)), -MAX_WEIGHT, MAX_WEIGHT)
        lost = (kernel - integers * step.reshape(-1, 1, 1, 1)).sum(axis=(2, 3))
        mean = self._ranges[source].mean
        bias = bias + lost @ mean
        sums = step * self._steps[source].size  # a float32, of which the engine makes the same product
        offsets = np.clip(np.rint(bias / sums), -MAX_BIAS, MAX_BIAS)
        name = node.output[0]
        weights = self._dequantised(f"{name}_kernel", integers.astype(np.int8), step)
        self._copy(node, weights, self._dequantised(f"{name}_bias", offsets.astype(np.int32), sums))

    def _dequantised(self, name: str, values: NDArray[np.signedinteger], step: NDArray[np.float32]) -> str:
        zero = self._constant(f"{name}_zero", np.zeros(len(step), values.dtype))
        inputs = [self._constant(name, values), self._constant(f"{name}_step", step), zero]
        return self._node("DequantizeLinear", inputs, f"{name}_values", axis=0)

    def _quantise(self, name: str, steps: _Steps) -> None:
        parts = [self._constant(f"{name}_step", steps.size), self._constant(f"{name}_zero", np.uint8(steps.zero))]
        integers = self._node("QuantizeLinear", [self._names.get(name, name), *parts], f"{name}_integers")
        self._names[name] = self._node("DequantizeLinear", [integers, *parts], f"{name}_values")
        self._steps[name] = steps

    def _steps_of(self, name: str) -> _Steps:
        low, high, _ = self._ranges[name]
        return _Steps.of(float(low.min()), float(high.max()))

    def _copy(self, node: NodeProto, *weights: str) -> None:
        """Write a layer as it is, with its first inputs under their names here, and with other weights if given."""
        inputs = [self._names.get(name, name) for name in node.input]
        if weights:
            inputs[1:] = weights
        for name in inputs:
            if name in self._values:
                self._constant(name, self._values[name].astype(np.float32))
        copied = NodeProto()
        copied.CopyFrom(node)
        copied.input[:] = inputs
        self._nodes.append(copied)

    def _node(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def built(self) -> ModelProto:
        """Return the network as far as it has been written."""
        ends = list(self._graph.input), list(self._graph.output)
        return as_model(helper.make_graph(self._nodes, "l3clf", *ends, list(self._constants.values())))


def steps_of_weights(kernel: Float64) -> NDArray[np.float32]:
    """Return the step of each output channel of a kernel: the least at which no sum of two products overflows.

    Parameters
    ----------
    kernel : array of shape (out, in, height, width)

    Returns
    -------
    array of shape (out,)
    """
    rows = kernel.reshape(len(kernel), -1)
    # Neighbouring channels meet, or neighbours in a row of the kernel, as an engine lays out its maps.
    pairs = np.maximum(_most_of_pairs(rows), _most_of_pairs(kernel.transpose(0, 2, 3, 1).reshape(len(kernel), -1)))
    step = np.maximum(np.abs(rows).max(axis=1) / MAX_WEIGHT, pairs / (MAX_PAIR - 1))  # 1: both may be rounded up
    return np.asarray(np.maximum(step, 1e-30), np.float32)


def _most_of_pairs(rows: Float64) -> Float64:
    """Return for each row the largest sum in its pairs (0, 1), (2, 3), ... of what is positive, or what is negative."""
    padded = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    first, second = padded[:, ::2], padded[:, 1::2]
    sums = [np.maximum(sign * first, 0) + np.maximum(sign * second, 0) for sign in (1, -1)]
    return np.asarray(np.maximum(*sums).max(axis=1))
