"""Lowers a student's int8 network to a list of layers, each with the constants of its C kernel.

Rule: a `Layer` names one function of the runtime, and its `fields` are the members of that function's structure.
Whatever the runtime cannot compute exactly is refused here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.errors import DeviceError
from l3clf.networks.int8_model import (
    INT8_MIN,
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Int8Model,
    MaxPool2D,
    Mean,
    Pad,
    Rectify,
    Requantisation,
    Reshape,
    Tensor,
    Window,
)

__all__ = ["Field", "Layer", "lower"]

Field: TypeAlias = "int | tuple[int, ...] | NDArray[Any] | Mapping[str, Field]"

MAX_SUM = 1 << 30  # the kernels double a sum before SMMULR, which must not overflow 32 bits
GROUP = 4  # values that the kernels process at a time
COLUMNS = 3  # positions that a convolution processes at a time
SCALING = 8  # what the requantisation of a value takes, in multiply-accumulates
PLANE_BYTES = 4096  # scratch memory of a depthwise layer, if its rows fit
HALF = (1 << 30, 0)  # multiplier and shift
ROW_WORK = 20_000  # multiply-accumulates of the fewest rows that a depthwise layer computes at a time
ROW = 64  # values that additions and rectifiers process at least at a time
MAX_DENSE = 1 << 20  # weights of a depthwise layer that is expanded to an ordinary convolution
_ABS_MAX = -INT8_MIN


@dataclass(frozen=True, eq=False)
class Layer:
    """One call of a kernel.

    Attributes
    ----------
    kernel : str
        ``conv`` for ``l3clf_conv``, and so on.
    sources : tuple of int
        Tensors that it reads, by their index in the model.
    target : int
        Tensor that it writes.
    fields : mapping
        The members of its structure. An array becomes a C array of its own, a tuple an array member.
    places : int
        What can be computed one after another: positions, values or rows, as the kernel counts them.
    work : int
        What a place costs, in multiply-accumulates or what takes as long.
    piece : int, default=1
        Places that are computed at least at a time.
    scratch_bytes : int, default=0
        Scratch memory that the kernel needs.
    macs : int, default=0
        Multiply-accumulates, including those with padding.
    in_place : bool, default=False
        Whether the kernel may overwrite one of its sources.
    """

    kernel: str
    sources: tuple[int, ...]
    target: int
    fields: Mapping[str, Field]
    places: int
    work: int
    piece: int = 1
    scratch_bytes: int = 0
    macs: int = 0
    in_place: bool = False


def lower(model: Int8Model) -> tuple[tuple[Layer, ...], dict[int, int]]:
    """Return the layers of a network, and the tensors that are reshaped views of others.

    Parameters
    ----------
    model : Int8Model
        From `l3clf.networks.tflite_read.read_tflite`.

    Returns
    -------
    layers : tuple of Layer
        In the order of execution.
    aliases : dict of int to int
        Index of each reshaped tensor, mapped to that of the tensor whose values it has.

    Raises
    ------
    DeviceError
        If the runtime has no kernel for an operator, or a sum could exceed 30 bits.
    """
    layers: list[Layer] = []
    aliases: dict[int, int] = {}
    for place, op in enumerate(model.operators):
        if isinstance(op, Reshape):
            aliases[op.target] = aliases.get(op.source, op.source)
            continue
        try:
            layer = _lower(op, model.tensors)
        except DeviceError as error:
            raise DeviceError(f"operator {place}, {type(op).__name__}: {error}") from None
        layers.append(replace(layer, sources=tuple(aliases.get(index, index) for index in layer.sources)))
    if aliases.get(model.target, model.target) == model.source:
        raise DeviceError("network: its output is its input; give a network with at least one layer")
    return tuple(layers), aliases


@singledispatch
def _lower(op: Any, tensors: tuple[Tensor, ...]) -> Layer:
    raise DeviceError("not in the C runtime; use another layer")


@_lower.register
def _(op: Conv2D, tensors: tuple[Tensor, ...]) -> Layer:
    source, target = tensors[op.source], tensors[op.target]
    flat = op.weights.reshape(len(op.weights), -1)
    return _conv(op.source, op.target, _shape(source), _shape(target), op.window, flat, op.bias, source, op.out)


@_lower.register
def _(op: FullyConnected, tensors: tuple[Tensor, ...]) -> Layer:
    source = tensors[op.source]
    units, depth = op.weights.shape
    rows = source.size // depth
    one = Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
    shapes = _sizes(rows, 1, depth), _sizes(rows, 1, units)
    return _conv(op.source, op.target, *shapes, one, op.weights, op.bias, source, op.out)


def _conv(
    index: int,
    target: int,
    shape_in: Mapping[str, int],
    shape_out: Mapping[str, int],
    window: Window,
    weights: NDArray[np.int8],
    bias: NDArray[np.int32],
    source: Tensor,
    out: Requantisation,
) -> Layer:
    """Return a convolution with weights of shape (channels, values under a window)."""
    channels, values = weights.shape
    depth = -(-values // GROUP) * GROUP  # the kernels read whole groups
    sums = weights.astype(np.int64).sum(axis=1)  # for the bias, so that the kernels multiply values as they are stored
    fields: dict[str, Field] = {
        "depth": depth,
        "weights": _in_pairs(weights, depth),
        "output": _output(out, bias - source.zero_point * sums, np.abs(weights.astype(np.int64)).sum(axis=1)),
    }
    places = shape_out["rows"] * shape_out["columns"]
    if places == 1 and values == math.prod(shape_in.values()):
        return Layer("dense", (index,), target, fields, channels, values, 2 * GROUP, macs=weights.size)
    fields |= {"in": shape_in, "out": shape_out, "window": _window(window), "zero_point": source.zero_point}
    in_place = window.size == window.stride == (1, 1) and shape_in == shape_out and depth == values
    macs = places * weights.size
    return Layer("conv", (index,), target, fields, places, weights.size, COLUMNS, 9 * depth, macs, in_place)


def _in_pairs(weights: NDArray[np.int8], depth: int) -> NDArray[np.int8]:
    """Return weights (channels, values), padded, in the order that `l3clf_conv_layer` describes."""
    channels, values = weights.shape
    padded = np.zeros((-(-channels // 2) * 2, depth), np.int8)
    padded[:channels, :values] = weights
    return np.ascontiguousarray(padded.reshape(-1, 2, depth).transpose(0, 2, 1)).reshape(-1)


@_lower.register
def _(op: DepthwiseConv2D, tensors: tuple[Tensor, ...]) -> Layer:
    source, target = tensors[op.source], tensors[op.target]
    rows, columns, channels = op.weights.shape
    flat = op.weights.reshape(rows * columns, channels)
    if op.depth_multiplier != 1 or source.shape[-1] == 1:  # the depthwise kernel has as many channels out as in
        shapes = _shape(source), _shape(target)
        return _conv(op.source, op.target, *shapes, op.window, _dense(op), op.bias, source, op.out)
    shape = _shape(target)
    band, width, scratch = _band(op.window, shape)
    fields: dict[str, Field] = {
        "in": _shape(source),
        "out": shape,
        "window": _window(op.window),
        "band": band,
        "width": width,
        "weights": np.ascontiguousarray(flat.T),
        "zero_point": source.zero_point,
        "output": _output(
            op.out,
            op.bias - source.zero_point * flat.astype(np.int64).sum(axis=0),
            np.abs(flat.astype(np.int64)).sum(axis=0),
        ),
    }
    work, macs = shape["columns"] * flat.size, target.size * len(flat)
    piece = max(1, min(band, ROW_WORK // work))
    return Layer("depthwise", (op.source,), op.target, fields, shape["rows"], work, piece, scratch, macs)


def _band(window: Window, out: Mapping[str, int]) -> tuple[int, int, int]:
    """Return how many output rows a depthwise layer computes at a time, and the columns and bytes of their inputs."""
    taken = out["columns"] + out["columns"] % 2  # the kernels compute two places at a time, and read pairs of values
    width = (taken - 1) * window.stride[1] + (window.size[1] - 1) * window.dilation[1] + 1
    width += width % 2
    above = (window.size[0] - 1) * window.dilation[0] + 1
    row_bytes = GROUP * 2 * width
    band = max(1, min(out["rows"], (PLANE_BYTES // row_bytes - above) // window.stride[0] + 1))
    return band, width, row_bytes * ((band - 1) * window.stride[0] + above)


def _dense(op: DepthwiseConv2D) -> NDArray[np.int8]:
    """Return the weights (out, taps * in) of an equivalent ordinary convolution, zero between different channels."""
    rows, columns, channels = op.weights.shape
    size = channels * rows * columns * channels // op.depth_multiplier
    if size > MAX_DENSE:
        raise DeviceError(
            f"depth multiplier of {op.depth_multiplier} expands to {size:,} weights; use a multiplier of 1, or fewer "
            f"channels for at most {MAX_DENSE:,}"
        )
    out = np.zeros((channels, rows * columns, channels // op.depth_multiplier), np.int8)
    each = np.arange(channels)
    out[each, :, each // op.depth_multiplier] = op.weights.reshape(-1, channels).T
    return out.reshape(channels, -1)


@_lower.register
def _(op: MaxPool2D | AveragePool2D, tensors: tuple[Tensor, ...]) -> Layer:
    fields: dict[str, Field] = {
        "in": _shape(tensors[op.source]),
        "out": _shape(tensors[op.target]),
        "window": _window(op.window),
        "low": op.low,
        "high": op.high,
    }
    kernel = "max_pool" if isinstance(op, MaxPool2D) else "average_pool"
    *_, channels = tensors[op.target].shape
    places = tensors[op.target].size // channels
    return Layer(kernel, (op.source,), op.target, fields, places, 2 * channels * math.prod(op.window.size))


@_lower.register
def _(op: Mean, tensors: tuple[Tensor, ...]) -> Layer:
    source = tensors[op.source]
    first, last = op.axes[0], op.axes[-1]
    if op.axes != tuple(range(first, last + 1)):
        raise DeviceError(f"mean over axes {op.axes}; the C runtime needs adjacent axes")
    count = math.prod(source.shape[first : last + 1])
    fields: dict[str, Field] = {
        "count": count,
        "inner": math.prod(source.shape[last + 1 :]),
        "output": _output(op.out, np.array([-count * source.zero_point]), np.array([count])),
    }
    return Layer("mean", (op.source,), op.target, fields, tensors[op.target].size, 2 * count + SCALING)


@_lower.register
def _(op: Add, tensors: tuple[Tensor, ...]) -> Layer:
    # The larger scale is half of the common one. That input comes first; for it, the kernel shifts by a bit less.
    halves = [(multiplier, shift) == HALF for multiplier, shift in zip(op.multipliers, op.shifts, strict=True)]
    one, two = (0, 1) if halves[0] else (1, 0)
    if not halves[one] or op.shifts[two] > 0:
        raise DeviceError("scales that are not those of TensorFlow Lite; convert the network again")
    fields: dict[str, Field] = {
        "zero_point": tuple(tensors[op.sources[place]].zero_point for place in (one, two)),
        "unit": 1 << (21 if op.shifts[two] == 0 else 20),
        "multiplier": op.multipliers[two],
        "right": max(1, -op.shifts[two]),
        # Inputs are at most 2^28 before scaling (8 bits shifted by 20), and the factors at most one half.
        "output": _output(op.out, np.array([0]), np.array([1 << 21])),
    }
    size, sources = tensors[op.target].size, (op.sources[one], op.sources[two])
    return Layer("add", sources, op.target, fields, size, 2 * SCALING, ROW, in_place=True)


@_lower.register
def _(op: Rectify, tensors: tuple[Tensor, ...]) -> Layer:
    source = tensors[op.source]
    fields: dict[str, Field] = {"output": _output(op.out, np.array([-source.zero_point]), np.array([1]))}
    return Layer("rectify", (op.source,), op.target, fields, source.size, SCALING, ROW, in_place=True)


@_lower.register
def _(op: Pad, tensors: tuple[Tensor, ...]) -> Layer:
    source = tensors[op.source]
    if len(op.widths) != 4 or any(op.widths[3]):
        raise DeviceError(f"padding of {op.widths}; the C runtime pads rows and columns only")
    fields: dict[str, Field] = {
        "in": _shape(source),
        "out": _shape(tensors[op.target]),
        "above": op.widths[1][0],
        "left": op.widths[2][0],
        "value": source.zero_point,
    }
    rows, width = tensors[op.target].shape[1], math.prod(tensors[op.target].shape[2:])
    return Layer("pad", (op.source,), op.target, fields, rows, 2 * width)


# --- members that several structures have ---------------------------------------------------------


def _sizes(rows: int, columns: int, channels: int) -> dict[str, int]:
    return {"rows": rows, "columns": columns, "channels": channels}


def _shape(tensor: Tensor) -> dict[str, int]:
    _, *rest = tensor.shape
    *places, channels = rest
    return _sizes(math.prod(places[:-1]), places[-1] if places else 1, channels)


def _window(window: Window) -> dict[str, int]:
    names = ("rows", "columns", "row_stride", "column_stride", "row_dilation", "column_dilation", "above", "left")
    return dict(zip(names, (*window.size, *window.stride, *window.dilation, *window.before), strict=True))


def _output(out: Requantisation, bias: NDArray[Any], weights: NDArray[Any]) -> dict[str, Field]:
    """Return the requantisation of sums whose weights have the absolute sums `weights`."""
    shifts = np.maximum(out.shifts, 0).astype(np.int64)
    largest = (np.abs(bias.astype(np.int64)) + _ABS_MAX * weights.astype(np.int64)) << shifts
    if int(largest.max()) >= MAX_SUM:
        raise DeviceError(f"sums of up to {int(largest.max())}; the C runtime needs them below {MAX_SUM}")
    return {
        "factors": np.stack([bias.astype(np.int32), np.broadcast_to(out.multipliers, bias.shape)], axis=1),
        "right": -out.shifts.astype(np.int8),
        "zero_point": out.zero_point,
        "low": out.low,
        "high": out.high,
    }
