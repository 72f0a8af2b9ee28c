"""Reading the int8 `.tflite` file of a student as an `Int8Model`, without trusting any byte of it.

Rule: every offset, index, length, shape, type and quantisation parameter is checked before it is used; shapes are
inferred here and compared with the declared ones; the cost of the network is bounded. Any defect and any unknown
operator raises a `WeightsError` that names the file.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.errors import WeightsError
from l3clf.networks import tflite_schema as schema
from l3clf.networks.flatbuffer import FlatBufferError, Table
from l3clf.networks.int8_model import (
    ADD_LEFT_SHIFT,
    INT8_MAX,
    INT8_MIN,
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Int8Model,
    MaxPool2D,
    Mean,
    Operator,
    Pad,
    Rectify,
    Requantisation,
    Reshape,
    Tensor,
    Window,
    requantisation,
)
from l3clf.networks.tflite_tensors import (
    MAX_RANK,
    MAX_STEP,
    MAX_TENSORS,
    Call,
    Graph,
    UnusableError,
    read_tensors,
    require,
)

__all__ = ["read_tflite"]

# A hostile file must not cost more memory or time than a large student would.
MAX_FILE_BYTES = 8 << 20
MAX_OPERATORS = 256
MAX_COLUMNS = 1 << 24  # kernel taps times outputs of one convolution: the matrix that it multiplies
MAX_PADDED = 1 << 22  # elements of an input with its padding
MAX_TAPS = 1 << 12  # height times width of one kernel
_INT8, _INT32 = np.dtype(np.int8), np.dtype(np.int32)
_RELU, _RELU6 = 1, 3  # numbers of the fused activations
_BIAS_SCALE_TOLERANCE = 1e-2  # as loose as TFLite's own check

_Pair: TypeAlias = tuple[int, int]


def read_tflite(content: bytes, label: str) -> Int8Model:
    """Read a full-integer int8 network from a `.tflite` file.

    Parameters
    ----------
    content : bytes
        The whole file.
    label : str
        Its path, for messages.

    Returns
    -------
    Int8Model
        One input and one output, int8, of batch size 1; operators CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED,
        AVERAGE_POOL_2D, MAX_POOL_2D, MEAN, ADD, PAD, RESHAPE, RELU, RELU6; RELU_N1_TO_1 if it is fused.

    Raises
    ------
    WeightsError
        If the file is damaged, too large, not full-integer int8, or has any other operator.
    """
    try:
        if len(content) > MAX_FILE_BYTES:
            raise UnusableError(f"has {len(content)} bytes, more than the {MAX_FILE_BYTES} that a student may have")
        return _read(bytes(content))
    except (UnusableError, FlatBufferError) as error:
        problem = str(error)
    raise WeightsError(f"{label}: {problem}; give an undamaged full-integer int8 .tflite file of a student")


def _read(content: bytes) -> Int8Model:
    model = Table.root(content, schema.IDENTIFIER)
    version = model.scalar(schema.ModelField.VERSION, "I")
    require(version == schema.VERSION, f"has schema version {version}, not {schema.VERSION}")
    subgraphs = model.tables(schema.ModelField.SUBGRAPHS, MAX_TENSORS)
    require(len(subgraphs) == 1, f"has {len(subgraphs)} subgraphs, not one")
    calls = _read_calls(model, subgraphs[0])
    graph = Graph(read_tensors(model, subgraphs[0]))
    source = graph.start(_only(subgraphs[0], schema.SubgraphField.INPUTS, "input"))
    # In the order of the file, so that each operator must find its inputs computed.
    operators = tuple(_BUILDERS[call.name](graph, call) for call in calls)
    target = _only(subgraphs[0], schema.SubgraphField.OUTPUTS, "output")
    require(target in graph.made, f"never computes its output, tensor {target}")
    return Int8Model(graph.tensors, operators, source, target, graph.macs)


def _only(subgraph: Table, slot: int, what: str) -> int:
    indices = subgraph.vector(slot, "<i4")
    require(len(indices) == 1, f"has {len(indices)} {what}s, not one")
    return int(indices[0])


# --- list of operators ----------------------------------------------------------------------------


def _read_calls(model: Table, subgraph: Table) -> list[Call]:
    codes = [_operator_name(code) for code in model.tables(schema.ModelField.OPERATOR_CODES, MAX_OPERATORS)]
    tables = subgraph.tables(schema.SubgraphField.OPERATORS, MAX_OPERATORS)
    require(bool(tables), "has no operators")
    return [_read_call(index, table, codes) for index, table in enumerate(tables)]


def _operator_name(code: Table) -> str:
    # Files from before the number of operators exceeded 127 have the first field only; the larger number counts.
    number = max(
        code.scalar(schema.OperatorCodeField.DEPRECATED_BUILTIN, "b"),
        code.scalar(schema.OperatorCodeField.BUILTIN, "i"),
    )
    name = schema.OPERATOR_NAMES[number] if 0 <= number < len(schema.OPERATOR_NAMES) else f"number {number}"
    return name if name != "CUSTOM" else f"CUSTOM ({code.text(schema.OperatorCodeField.CUSTOM)!r})"


def _read_call(index: int, table: Table, codes: list[str]) -> Call:
    code = table.scalar(schema.OperatorField.CODE, "I")
    require(code < len(codes), f"has operator {index} of kind {code}, but only {len(codes)} kinds")
    name, where = codes[code], f"operator {codes[code]} at place {index}"
    require(name in _BUILDERS, f"has {where}, which is not one of {', '.join(_BUILDERS)}")
    options = table.table(schema.OperatorField.OPTIONS)
    kind = table.scalar(schema.OperatorField.OPTIONS_TYPE, "B")
    expected = _OPTIONS.get(name)
    # Some converters write RESHAPE without options, because its second input gives the shape.
    if expected is None or (kind == schema.OptionsType.NONE and name == "RESHAPE"):
        options = None
    else:
        require(kind == expected and options is not None, f"has {where} without its options")
    inputs = table.vector(schema.OperatorField.INPUTS, "<i4")
    outputs = table.vector(schema.OperatorField.OUTPUTS, "<i4")
    require(len(inputs) <= 4 and len(outputs) <= 4, f"has {where} with {len(inputs)} inputs, {len(outputs)} outputs")
    return Call(where, name, inputs.tolist(), outputs.tolist(), options)


# --- one function per kind of operator ------------------------------------------------------------


def _conv(graph: Graph, call: Call) -> Conv2D:
    call.count(2, 3)
    source = graph.source(call, 0, rank=4)
    weights = _weights(graph, call, rank=4, channels=0)
    channels, *size, depth = weights.shape
    call.require(depth == source.shape[3], f"weights of shape {weights.shape} for an input of shape {source.shape}")
    steps = _conv_steps(call, schema.ConvField)
    window, rows, columns = _window(call, source, (size[0], size[1]), schema.ConvField.PADDING, steps)
    target = graph.target(call, (1, rows, columns, channels))
    call.require(rows * columns * math.prod(size) * depth <= MAX_COLUMNS, "a kernel too large for its output")
    graph.spend(call, rows * columns * weights.size, macs=True)
    bias = _bias(graph, call, source, weights, channels)
    sums = _sums(np.asarray(weights.data).reshape(channels, -1), bias, source)
    out = _product(call, source, weights, target, sums, call.option(schema.ConvField.ACTIVATION, "b"))
    return Conv2D(source.index, target.index, np.asarray(weights.data), bias, window, out)


def _depthwise(graph: Graph, call: Call) -> DepthwiseConv2D:
    call.count(2, 3)
    source = graph.source(call, 0, rank=4)
    weights = _weights(graph, call, rank=4, channels=3)
    one, *size, channels = weights.shape
    multiplier = call.option(schema.DepthwiseField.DEPTH_MULTIPLIER, "i")
    fits = one == 1 and multiplier >= 1 and channels == source.shape[3] * multiplier
    call.require(fits, f"weights of shape {weights.shape}, depth multiplier {multiplier}, input {source.shape}")
    steps = _conv_steps(call, schema.DepthwiseField)
    window, rows, columns = _window(call, source, (size[0], size[1]), schema.DepthwiseField.PADDING, steps)
    target = graph.target(call, (1, rows, columns, channels))
    graph.spend(call, rows * columns * weights.size, macs=True)
    kernel = np.asarray(weights.data)[0]
    bias = _bias(graph, call, source, weights, channels)
    sums = _sums(kernel.reshape(-1, channels).T, bias, source)
    out = _product(call, source, weights, target, sums, call.option(schema.DepthwiseField.ACTIVATION, "b"))
    return DepthwiseConv2D(source.index, target.index, kernel, bias, multiplier, window, out)


def _fully_connected(graph: Graph, call: Call) -> FullyConnected:
    call.count(2, 3)
    source = graph.source(call, 0)
    weights = _weights(graph, call, rank=2, channels=0)
    units, depth = weights.shape
    call.require(not call.option(schema.FullyConnectedField.WEIGHTS_FORMAT, "b"), "shuffled weights")
    call.require(source.size % depth == 0, f"weights of shape {weights.shape} for an input of shape {source.shape}")
    rows = source.size // depth  # TFLite flattens all dimensions but the last, whatever the shape
    keep = call.option(schema.FullyConnectedField.KEEP_DIMS)
    call.require(not keep or source.shape[-1] == depth, f"weights of shape {weights.shape}, which keep no dimensions")
    target = graph.target(call, (*source.shape[:-1], units) if keep else (rows, units))
    graph.spend(call, rows * weights.size, macs=True)
    bias = _bias(graph, call, source, weights, units)
    sums = _sums(np.asarray(weights.data), bias, source)
    activation = call.option(schema.FullyConnectedField.ACTIVATION, "b")
    out = _product(call, source, weights, target, sums, activation)
    return FullyConnected(source.index, target.index, np.asarray(weights.data), bias, out)


def _pool(kind: type[AveragePool2D] | type[MaxPool2D]) -> Callable[[Graph, Call], Operator]:
    def build(graph: Graph, call: Call) -> Operator:
        call.count(1, 1)
        source = graph.source(call, 0, rank=4)
        size = call.pair(schema.PoolField.HEIGHT, schema.PoolField.WIDTH)
        stride = call.pair(schema.PoolField.STRIDE_H, schema.PoolField.STRIDE_W)
        window, rows, columns = _window(call, source, size, schema.PoolField.PADDING, (stride, (1, 1)))
        target = graph.target(call, (1, rows, columns, source.shape[3]), like=source)
        graph.spend(call, target.size * size[0] * size[1])
        low, high = _clamp(call, target, call.option(schema.PoolField.ACTIVATION, "b"))
        return kind(source.index, target.index, window, low, high)

    return build


def _mean(graph: Graph, call: Call) -> Mean:
    call.count(2, 2)
    source = graph.source(call, 0)
    rank = len(source.shape)
    # Negative axes count from the end; an axis may be listed twice.
    axes = tuple(sorted({axis + rank * (axis < 0) for axis in graph.numbers(call, 1).ravel().tolist()}))
    call.require(bool(axes) and axes[0] > 0 and axes[-1] < rank, f"axes {axes} for an input of shape {source.shape}")
    keep = call.option(schema.ReducerField.KEEP_DIMS)
    kept = [1 if axis in axes else size for axis, size in enumerate(source.shape) if keep or axis not in axes]
    target = graph.target(call, tuple(kept))
    graph.spend(call, source.size)
    count = math.prod(source.shape[axis] for axis in axes)
    multipliers, shifts = _factors(call, np.array([float(source.scale) / float(target.scale)]))
    # TFLite divides by the count in the multiplier, which it first widens by as many bits as the shift has room for.
    bits = max(0, min(count.bit_length() - 1, 31 + int(shifts[0])))
    multipliers = ((multipliers.astype(np.int64) << bits) // count).astype(np.int32)
    out = _checked(call, target, multipliers, shifts - np.int32(bits), np.array([count * _reach(source)]))
    return Mean(source.index, target.index, axes, out)


def _add(graph: Graph, call: Call) -> Add:
    call.count(2, 2)
    one, two = graph.source(call, 0), graph.source(call, 1)
    call.require(one.shape == two.shape, f"inputs of different shapes {one.shape} and {two.shape}")
    target = graph.target(call, one.shape)
    graph.spend(call, target.size)
    # TFLite brings both inputs to twice the larger scale, so that their sum fits into 32 bits.
    scale = 2 * max(float(one.scale), float(two.scale))
    multipliers, shifts = _factors(call, np.array([float(one.scale), float(two.scale)]) / scale)
    factor, shift = _factors(call, np.array([scale / ((1 << ADD_LEFT_SHIFT) * float(target.scale))]))
    call.require(int(shift[0]) <= 0, "an output scale too small for its inputs")
    sums = np.array([(_reach(one) + _reach(two)) << ADD_LEFT_SHIFT])
    out = _checked(call, target, factor, shift, sums, call.option(schema.AddField.ACTIVATION, "b"))
    pairs = [(int(a), int(b)) for a, b in (multipliers, shifts)]
    return Add((one.index, two.index), target.index, pairs[0], pairs[1], out)


def _pad(graph: Graph, call: Call) -> Pad:
    call.count(2, 2)
    source, widths = graph.source(call, 0), graph.numbers(call, 1)
    fits = widths.shape == (len(source.shape), 2) and bool(np.all((widths >= 0) & (widths <= MAX_STEP)))
    call.require(fits and not widths[0].any(), f"invalid paddings of shape {widths.shape}")
    pairs = tuple((int(before), int(after)) for before, after in widths)
    shape = tuple(size + before + after for size, (before, after) in zip(source.shape, pairs, strict=True))
    target = graph.target(call, shape, like=source)
    graph.spend(call, target.size)
    return Pad(source.index, target.index, pairs)


def _reshape(graph: Graph, call: Call) -> Reshape:
    call.count(1, 2)
    source = graph.source(call, 0)
    if len(call.inputs) == 2:
        wanted = graph.numbers(call, 1).reshape(-1).tolist()
    else:
        call.require(call.options is not None, "no shape")
        shape_option = call.options.vector(schema.ReshapeField.NEW_SHAPE, "<i4") if call.options else np.empty(0)
        wanted = shape_option[: MAX_RANK + 1].tolist()
    known = math.prod(size for size in wanted if size != -1)  # -1 stands for the size that is left
    possible = wanted.count(-1) <= 1 and known >= 1 and source.size % known == 0
    call.require(possible, f"the invalid shape {wanted} for an input of shape {source.shape}")
    shape = tuple(source.size // known if size == -1 else size for size in wanted)
    call.require(math.prod(shape) == source.size, f"the shape {shape} for an input of shape {source.shape}")
    graph.spend(call, source.size)
    return Reshape(source.index, graph.target(call, shape, like=source).index)


def _relu(graph: Graph, call: Call) -> Rectify:
    call.count(1, 1)
    source = graph.source(call, 0)
    target = graph.target(call, source.shape)
    graph.spend(call, source.size)
    factors = _factors(call, np.array([float(source.scale) / float(target.scale)]))
    out = _checked(call, target, *factors, np.array([_reach(source)]), _RELU)
    return Rectify(source.index, target.index, out)


def _relu6(graph: Graph, call: Call) -> Rectify:
    call.count(1, 1)
    source = graph.source(call, 0)
    # The kernel on the chip only clamps: with another scale, it would not compute what the converter meant.
    target = graph.target(call, source.shape, like=source)
    graph.spend(call, source.size)
    out = _checked(call, target, *requantisation(np.ones(1)), np.array([_reach(source)]), _RELU6)
    return Rectify(source.index, target.index, out)


# --- shared by several kinds ----------------------------------------------------------------------


def _weights(graph: Graph, call: Call, rank: int, channels: int) -> Tensor:
    """Return the second input of an operator: int8, symmetric, with one scale or one per output channel."""
    tensor = graph.constant(call, 1, _INT8, rank)
    by_channel = len(tensor.scales) > 1 and tensor.axis == channels
    call.require(len(tensor.scales) == 1 or by_channel, f"{len(tensor.scales)} scales along dimension {tensor.axis}")
    call.require(not tensor.zero_points.any(), "weights whose zero point is not 0")
    return tensor


def _bias(graph: Graph, call: Call, source: Tensor, weights: Tensor, channels: int) -> NDArray[np.int32]:
    """Return the third input of an operator, or zeros if it has none."""
    if len(call.inputs) < 3 or call.inputs[2] == -1:
        return np.zeros(channels, np.int32)
    tensor = graph.constant(call, 2, _INT32, 1)
    call.require(tensor.shape == (channels,), f"a bias of shape {tensor.shape} for {channels} channels")
    call.require(not tensor.zero_points.any(), "a bias whose zero point is not 0")
    expected = source.scale * weights.scales.astype(np.float64)
    scales = tensor.scales if len(tensor.scales) else np.zeros(1)
    fits = len(scales) in (1, len(expected)) and np.allclose(scales, expected, rtol=_BIAS_SCALE_TOLERANCE, atol=0)
    call.require(bool(fits), "a bias whose scale is not the input's times the weights'")
    return np.asarray(tensor.data, np.int32)


def _conv_steps(call: Call, fields: type[schema.ConvField] | type[schema.DepthwiseField]) -> tuple[_Pair, _Pair]:
    """Return the stride and dilation of a convolution."""
    dilation = call.pair(fields.DILATION_H, fields.DILATION_W, 1)
    return call.pair(fields.STRIDE_H, fields.STRIDE_W), dilation


def _window(
    call: Call, source: Tensor, size: _Pair, padding: int, steps: tuple[_Pair, _Pair]
) -> tuple[Window, int, int]:
    """Return how a kernel moves over the input, and the numbers of rows and columns of the output."""
    mode = call.option(padding, "b")
    call.require(mode in (schema.Padding.SAME, schema.Padding.VALID), f"padding of kind {mode}")
    call.require(size[0] * size[1] <= MAX_TAPS, f"a kernel of {size[0]} x {size[1]}")
    outs, pads = [], []
    for extent, taps, stride, dilation in zip(source.shape[1:3], size, *steps, strict=True):
        reach = (taps - 1) * dilation + 1  # extent of the dilated kernel
        out = -(-extent // stride) if mode == schema.Padding.SAME else (extent - reach) // stride + 1
        call.require(out >= 1, f"a kernel of {size[0]} x {size[1]} for an input of shape {source.shape}")
        total = max(0, (out - 1) * stride + reach - extent) if mode == schema.Padding.SAME else 0
        outs.append(out)
        pads.append((total // 2, total - total // 2))  # TFLite puts the odd row or column behind
    padded = math.prod(extent + sum(pad) for extent, pad in zip(source.shape[1:3], pads, strict=True))
    call.require(padded * source.shape[3] <= MAX_PADDED, f"an input of shape {source.shape} padded to {padded} pixels")
    before, after = (pads[0][0], pads[1][0]), (pads[0][1], pads[1][1])
    return Window(size, *steps, before, after), outs[0], outs[1]


def _clamp(call: Call, target: Tensor, activation: int) -> _Pair:
    """Return the smallest and the largest output of a fused activation."""
    name = schema.ACTIVATIONS.get(activation, f"number {activation}")
    call.require(name in _RANGES, f"the fused activation {name}, which is not one of {', '.join(_RANGES)}")
    low, high = _RANGES[name]
    return max(INT8_MIN, _quantised(low, target)), min(INT8_MAX, _quantised(high, target))


def _quantised(value: float, target: Tensor) -> int:
    if math.isinf(value):
        return INT8_MIN if value < 0 else INT8_MAX
    with np.errstate(over="ignore"):  # a tiny scale gives infinity, which is clamped like any large step
        steps = float(np.float32(value) / target.scale)
    steps = max(-512.0, min(512.0, steps))  # beyond int8 on either side, whatever the zero point
    return target.zero_point + int(math.copysign(math.floor(abs(steps) + 0.5), steps))


def _reach(source: Tensor) -> int:
    """Return the largest distance of an int8 value from the zero point."""
    return max(INT8_MAX - source.zero_point, source.zero_point - INT8_MIN)


def _sums(weights: NDArray[np.int8], bias: NDArray[np.int32], source: Tensor) -> NDArray[np.int64]:
    """Return, for each row of weights, a bound on every partial sum of products and bias."""
    total: NDArray[np.int64] = np.abs(weights.astype(np.int64)).sum(axis=1) * _reach(source)
    return total + np.abs(bias.astype(np.int64))


def _product(
    call: Call, source: Tensor, weights: Tensor, target: Tensor, sums: NDArray[np.int64], activation: int
) -> Requantisation:
    """Return how sums of products become the output, with one factor per channel."""
    scales = np.broadcast_to(weights.scales, sums.shape).astype(np.float64)
    factors = _factors(call, float(source.scale) * scales / float(target.scale))
    return _checked(call, target, *factors, sums, activation)


def _factors(call: Call, factors: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    call.require(bool(np.all(np.isfinite(factors))), "scales that do not fit together")
    return requantisation(factors)


def _checked(
    call: Call,
    target: Tensor,
    multipliers: NDArray[np.int32],
    shifts: NDArray[np.int32],
    sums: NDArray[np.int64],
    activation: int = 0,
) -> Requantisation:
    """Return a requantisation after checking that no 32-bit number can overflow in it."""
    # C leaves signed overflow undefined: the generated code relies on this check.
    left = np.clip(shifts, 0, 31).astype(np.int64)
    fits = np.all(shifts <= 30) and np.all(sums < 1 << 31) and np.all(sums << left < 1 << 31)
    call.require(bool(fits), "scales or weights so large that 32-bit sums overflow")
    low, high = _clamp(call, target, activation)
    return Requantisation(multipliers, shifts, target.zero_point, low, high)


# As separate operators, the chip has no RELU_N1_TO_1, and RELU6 only without a change of scale.
_RANGES = {
    "NONE": (-math.inf, math.inf),
    "RELU": (0.0, math.inf),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
}
_OPTIONS = {
    "CONV_2D": schema.OptionsType.CONV,
    "DEPTHWISE_CONV_2D": schema.OptionsType.DEPTHWISE,
    "FULLY_CONNECTED": schema.OptionsType.FULLY_CONNECTED,
    "AVERAGE_POOL_2D": schema.OptionsType.POOL,
    "MAX_POOL_2D": schema.OptionsType.POOL,
    "MEAN": schema.OptionsType.REDUCER,
    "ADD": schema.OptionsType.ADD,
    "RESHAPE": schema.OptionsType.RESHAPE,
}
_BUILDERS: dict[str, Callable[[Graph, Call], Operator]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": _pool(AveragePool2D),
    "MAX_POOL_2D": _pool(MaxPool2D),
    "MEAN": _mean,
    "ADD": _add,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "RELU": _relu,
    "RELU6": _relu6,
}
