"""An int8 network on the PC, value for value as the chip computes it with `tflite-micro`.

Rule: every number is an integer and every operation exact, whatever its type. What a network returns is computed by
ONNX Runtime, from a graph of which that is known (`int8_graph`); its layers, and networks without such a graph, by
NumPy. There, products and sums are computed in float32 if none can reach 2^24, else in float64; a product with a 31-bit
multiplier in float64 if it stays below 2^53, else in int64. `Int8Network` chooses the types when it is made, from the
largest sum that the weights allow.

In NumPy, a tensor of TFLite's shape (1, ..., channels) is a float32 array (channels, ..., windows): per-channel
parameters then apply to long rows, which NumPy processes fastest, and a 1 x 1 convolution is one matrix product.
"""

import math
import threading
from collections.abc import Callable, Iterator
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from l3clf.errors import ParameterError
from l3clf.networks.int8_graph import int8_graph
from l3clf.networks.int8_model import (
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
)
from l3clf.networks.int8_scaling import (
    ABS_MAX,
    FLOAT32_EXACT,
    LEVELS,
    Scaling,
    add_table,
    float64_scaling,
    requantise,
)
from l3clf.networks.onnx_build import session

__all__ = ["Int8Network", "requantise"]

Array: TypeAlias = NDArray[Any]
Step: TypeAlias = Callable[..., Array]

_CHUNK_BYTES = 2 << 20  # of the largest tensor of a chunk: about what the cache of a core holds
_GRAPH_CHUNK_BYTES = 1 << 19  # of the same in float64, in a graph
_CHECKED_WINDOWS = 2  # of noise, which an engine must compute as NumPy does
_MATRIX_BYTES = 16 << 20  # of the matrix that a convolution builds for a chunk


class Int8Network:
    """Computes an `Int8Model`; several threads may use the same object.

    Parameters
    ----------
    model : Int8Model
        The network, as returned by `l3clf.networks.tflite_read.read_tflite`.
    """

    def __init__(self, model: Int8Model) -> None:
        self.model = model
        self._steps = [(op, _sources(op), _step(op, model.tensors)) for op in model.operators]
        self._last_use = {index: place for place, (_, sources, _) in enumerate(self._steps) for index in sources}
        # As many windows at once as the largest tensor and the largest convolution leave room for.
        tensor = max(model.tensors[i].size for op in model.operators for i in (*_sources(op), op.target))
        matrix = max(_matrix_size(op, model.tensors) for op in model.operators)
        self._chunk = max(1, min(_CHUNK_BYTES // (4 * tensor), _MATRIX_BYTES // (4 * matrix)))
        self._graph_chunk = max(1, _GRAPH_CHUNK_BYTES // (8 * tensor))
        self._opening = threading.Lock()
        self._opened = False
        self._session: onnxruntime.InferenceSession | None = None

    @property
    def graph(self) -> onnxruntime.InferenceSession | None:
        """The session that `run` takes, opened on first use; None if NumPy computes this network."""
        with self._opening:
            if not self._opened:
                self._session, self._opened = self._checked_session(), True
        return self._session

    def _checked_session(self) -> onnxruntime.InferenceSession | None:
        """Open the network's graph, and compare what it makes of some windows: an engine may have its own ideas."""
        graph = int8_graph(self.model)
        if graph is None:
            return None
        shape = (_CHECKED_WINDOWS, *self.model.input.shape[1:])
        windows = np.random.default_rng(0).integers(INT8_MIN, INT8_MAX + 1, shape).astype(np.int8)
        opened = session(graph)
        return opened if np.array_equal(_run(opened, windows), self._interpret(windows)) else None

    def run(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """Compute the output of the network.

        Parameters
        ----------
        x : int8 array, shape (n, ...)
            Windows; the dimensions after the first are ``model.input.shape[1:]``.

        Returns
        -------
        int8 array, shape (n, size)
            ``size`` is ``model.output.size``.

        Raises
        ------
        ParameterError
            If `x` has another type or shape.
        """
        self._check(x)
        graph = self.graph
        if graph is None:
            return self._interpret(x)
        out = np.empty((len(x), self.model.output.size), np.int8)
        for chunk in _chunks(len(x), self._graph_chunk):
            out[chunk] = _run(graph, x[chunk])
        return out

    def _interpret(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """Compute the output of the network in NumPy."""
        out = np.empty((len(x), self.model.output.size), np.int8)
        for chunk in _chunks(len(x), self._chunk):
            for index, array in self._compute(x[chunk], keep=False):
                if index == self.model.target:
                    out[chunk] = _to_tflite(array).reshape(array.shape[-1], -1)
        return out

    def layers(self, x: NDArray[np.int8]) -> dict[int, NDArray[np.int8]]:
        """Compute every tensor of the network.

        Parameters
        ----------
        x : int8 array, shape (n, ...)
            As for `run`.

        Returns
        -------
        dict of int to int8 array
            Arrays of shape ``(n, *tensor.shape[1:])`` by the index of the tensor, including the input, in the order in
            which they are computed.

        Raises
        ------
        ParameterError
            If `x` has another type or shape.
        """
        self._check(x)
        tensors = [self.model.input, *(self.model.tensors[op.target] for op in self.model.operators)]
        found = {tensor.index: np.empty((len(x), *tensor.shape[1:]), np.int8) for tensor in tensors}
        for chunk in _chunks(len(x), self._chunk):
            for index, array in self._compute(x[chunk], keep=True):
                found[index][chunk] = _to_tflite(array)
        return found

    def _check(self, x: NDArray[np.int8]) -> None:
        expected = self.model.input.shape[1:]
        if not isinstance(x, np.ndarray) or x.dtype != np.int8 or x.shape[1:] != expected or x.ndim == 0:
            found = f"{x.dtype} array of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
            shape = f"(n, {', '.join(map(str, expected))})"
            raise ParameterError(f"x: {found}; expected an int8 array of shape {shape}")

    def _compute(self, x: NDArray[np.int8], keep: bool) -> Iterator[tuple[int, Array]]:
        """Yield the index and values of every tensor, in order; unless `keep`, drop those no longer needed."""
        live = {self.model.source: _from_tflite(x)}
        yield self.model.source, live[self.model.source]
        for place, (op, sources, step) in enumerate(self._steps):
            live[op.target] = step(*(live[index] for index in sources))
            yield op.target, live[op.target]
            for index in sources:
                if self._last_use[index] == place and not keep:
                    live.pop(index, None)  # None, because Add may read the same tensor twice


def _run(graph: onnxruntime.InferenceSession, x: NDArray[np.int8]) -> NDArray[np.int8]:
    out: NDArray[np.int8] = graph.run(None, {"input": np.ascontiguousarray(x)})[0]
    return out


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))


def _sources(op: Operator) -> tuple[int, ...]:
    return op.sources if isinstance(op, Add) else (op.source,)


def _matrix_size(op: Operator, tensors: tuple[Tensor, ...]) -> int:
    """Return the elements per window of an operator's padded input, or of the matrix that a convolution builds."""
    if not isinstance(op, Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D):
        return 1
    _, rows, columns, channels = tensors[op.source].shape
    (top, left), (bottom, right) = op.window.before, op.window.after
    padded = (top + rows + bottom) * (left + columns + right) * channels
    # Places in the output times the elements that a kernel covers at each.
    taps = tensors[op.target].size // len(op.weights) * op.weights[0].size if isinstance(op, Conv2D) else 0
    return max(padded, taps)


def _from_tflite(x: NDArray[np.int8]) -> Array:
    """Return int8 (n, ..., channels) as float32 (channels, ..., n)."""
    return np.swapaxes(x, 0, -1).astype(np.float32, order="C")


def _to_tflite(array: Array) -> NDArray[np.int8]:
    """Return float32 (channels, ..., n) as int8 (n, ..., channels)."""
    return np.swapaxes(array.astype(np.int8), 0, -1)


def _output(out: Requantisation, bias: NDArray[np.int64], bound: int) -> Callable[[Array], Array]:
    """Return the function that turns sums without bias, of magnitude up to `bound`, into int8 values as float32.

    It takes one multiplication and one addition in float64 where these are exact.
    """
    scaling = float64_scaling(out, bias, bound, out.zero_point)
    return _slow_output(out, bias) if scaling is None else _fast_output(out, scaling)


def _slow_output(out: Requantisation, bias: NDArray[np.int64]) -> Callable[[Array], Array]:
    def finish(sums: Array) -> Array:
        return requantise(sums.astype(np.int64) + bias[:, np.newaxis], out).astype(np.float32)

    return finish


def _fast_output(out: Requantisation, scaling: Scaling) -> Callable[[Array], Array]:
    factors, start, tie, zero = (
        array.reshape(-1, 1) for array in (scaling.factors, scaling.start, scaling.tie, scaling.zero)
    )

    def finish(sums: Array) -> Array:
        scaled = np.multiply(sums, factors, dtype=np.float64)
        scaled += start
        if not scaling.one_sided:  # `start` assumed a sum below zero; for the others, -t becomes +t
            scaled += (scaled >= zero) * (2 * tie)
        np.clip(scaled, out.low, out.high, out=scaled)
        return np.floor(scaled, out=np.empty(scaled.shape, np.float32), casting="same_kind")

    return finish


# --- one step per kind of operator ----------------------------------------------------------------


@singledispatch
def _step(op: Any, tensors: tuple[Tensor, ...]) -> Step:
    """Return the function that computes an operator from its inputs, with all constants prepared."""
    raise NotImplementedError(type(op).__name__)


def _exact_type(weights: Array) -> type[np.float32] | type[np.float64]:
    """Return the smallest float type in which every partial sum of rows of weights times int8 values is exact."""
    largest = int(np.abs(weights.astype(np.int64)).sum(axis=-1).max()) * ABS_MAX
    return np.float32 if largest < FLOAT32_EXACT else np.float64


def _linear(weights: Array, bias: NDArray[np.int32], source: Tensor, out: Requantisation) -> Callable[[Array], Array]:
    """Return what follows the products ``weights @ x``: subtract the zero point, add the bias, requantise."""
    # sum(w * (x - zero)) = sum(w * x) - zero * sum(w): the second term is constant and joins the bias.
    wide = weights.astype(np.int64)
    bound = int(np.abs(wide).sum(axis=1).max()) * ABS_MAX
    return _output(out, bias.astype(np.int64) - source.zero_point * wide.sum(axis=1), bound)


def _padded(x: Array, window: Window, value: float) -> Array:
    """Return a map (channels, rows, columns, n) padded with `value`."""
    if not any(window.before + window.after):
        return x  # np.pad would copy it
    widths = ((0, 0), *zip(window.before, window.after, strict=True), (0, 0))
    return np.pad(x, widths, constant_values=value)


def _taps(x: Array, window: Window) -> Iterator[Array]:
    """Yield, for each tap of a kernel, row by row, a view of the part of a padded map that it multiplies."""
    rows, columns = (
        (extent - (size - 1) * dilation - 1) // stride + 1
        for extent, size, stride, dilation in zip(
            x.shape[1:3], window.size, window.stride, window.dilation, strict=True
        )
    )
    for i in range(window.size[0]):
        for j in range(window.size[1]):
            top, left = i * window.dilation[0], j * window.dilation[1]
            yield x[
                :,
                top : top + (rows - 1) * window.stride[0] + 1 : window.stride[0],
                left : left + (columns - 1) * window.stride[1] + 1 : window.stride[1],
            ]


@_step.register
def _(op: Conv2D, tensors: tuple[Tensor, ...]) -> Step:
    source, channels = tensors[op.source], len(op.weights)
    flat = op.weights.reshape(channels, -1)
    kernel, finish = flat.astype(_exact_type(flat)), _linear(flat, op.bias, source, op.out)
    pointwise = op.window.size == (1, 1)

    def step(x: Array) -> Array:
        taps = list(_taps(_padded(x, op.window, source.zero_point), op.window))
        columns = taps[0] if pointwise else np.stack(taps)  # (taps, in, rows, columns, n)
        sums = kernel @ columns.reshape(kernel.shape[1], -1).astype(kernel.dtype, copy=False)
        return finish(sums).reshape(channels, *taps[0].shape[1:])

    return step


@_step.register
def _(op: DepthwiseConv2D, tensors: tuple[Tensor, ...]) -> Step:
    source, channels = tensors[op.source], op.weights.shape[2]
    flat = op.weights.reshape(-1, channels).T  # (channels, taps)
    kernel, finish = flat.astype(_exact_type(flat)), _linear(flat, op.bias, source, op.out)
    taps = kernel.T.reshape(-1, channels, 1, 1, 1)

    # Output channel c reads input channel c // depth_multiplier.
    def repeated(parts: Iterator[Array]) -> Iterator[Array]:
        return (np.repeat(p, op.depth_multiplier, axis=0) for p in parts) if op.depth_multiplier > 1 else parts

    def step(x: Array) -> Array:
        parts = zip(repeated(_taps(_padded(x, op.window, source.zero_point), op.window)), taps, strict=True)
        sums = np.multiply(*next(parts))
        product = np.empty_like(sums)
        for part, weight in parts:
            sums += np.multiply(part, weight, out=product)
        return finish(sums.reshape(channels, -1)).reshape(sums.shape)

    return step


@_step.register
def _(op: FullyConnected, tensors: tuple[Tensor, ...]) -> Step:
    units, depth = op.weights.shape
    kernel = op.weights.astype(_exact_type(op.weights))
    finish = _linear(op.weights, op.bias, tensors[op.source], op.out)
    reshape = _reshaper(tensors[op.source].shape, (1, tensors[op.source].size // depth, depth))
    target = tensors[op.target].shape

    def step(x: Array) -> Array:
        rows = reshape(x)
        sums = kernel @ rows.reshape(depth, -1).astype(kernel.dtype, copy=False)
        return finish(sums).reshape(units, *target[1:-1], x.shape[-1])

    return step


@_step.register
def _(op: MaxPool2D, tensors: tuple[Tensor, ...]) -> Step:
    def step(x: Array) -> Array:
        taps = _taps(_padded(x, op.window, INT8_MIN), op.window)  # padding never wins
        out: Array = next(taps).clip(op.low, op.high)  # a copy; at least low now, and so is the maximum
        for tap in taps:
            np.maximum(out, tap, out=out)
        return np.minimum(out, np.float32(op.high), out=out)

    return step


@_step.register
def _(op: AveragePool2D, tensors: tuple[Tensor, ...]) -> Step:
    ones = np.ones((1, *tensors[op.source].shape[1:3], 1))
    counts: Array = sum(_taps(_padded(ones, op.window, 0), op.window), np.zeros(()))

    def step(x: Array) -> Array:
        taps = _taps(_padded(x, op.window, 0), op.window)
        sums = next(taps).astype(np.float64)  # TFLite averages the values themselves: both zero points are equal
        for tap in taps:
            sums += tap
        sums += np.copysign(counts // 2, sums)  # as the kernel does in integers, before a division that truncates
        mean = np.trunc(sums / counts)  # both are small integers: the quotient never rounds up to an integer
        clipped: Array = np.clip(mean, op.low, op.high).astype(np.float32)
        return clipped

    return step


@_step.register
def _(op: Mean, tensors: tuple[Tensor, ...]) -> Step:
    source, target = tensors[op.source], tensors[op.target]
    rank = len(source.shape)
    axes = tuple(0 if axis == rank - 1 else axis for axis in op.axes)  # channels come first internally
    count = math.prod(source.shape[axis] for axis in op.axes)
    finish = _output(op.out, np.array([-count * source.zero_point]), count * ABS_MAX)

    def step(x: Array) -> Array:
        sums = np.sum(x, axis=axes, dtype=np.float64, keepdims=True)
        kept = _to_first(finish(sums.reshape(1, -1)).reshape(sums.shape))
        return _to_last(kept.reshape(*target.shape[1:], x.shape[-1]))

    return step


@_step.register
def _(op: Add, tensors: tuple[Tensor, ...]) -> Step:
    # Two int8 values form 65,536 pairs, few enough for a table of all results.
    table = add_table(op, tensors).ravel().astype(np.float32)

    def step(one: Array, two: Array) -> Array:
        index = one * np.float32(LEVELS)
        index += two
        index -= np.float32(INT8_MIN * LEVELS + INT8_MIN)  # so that the first pair has index 0
        return table[index.astype(np.intp)]

    return step


@_step.register
def _(op: Rectify, tensors: tuple[Tensor, ...]) -> Step:
    finish = _output(op.out, np.array([-tensors[op.source].zero_point]), ABS_MAX)
    return lambda x: finish(x.reshape(1, -1)).reshape(x.shape)


@_step.register
def _(op: Pad, tensors: tuple[Tensor, ...]) -> Step:
    widths = (op.widths[-1], *op.widths[1:-1], (0, 0))
    return lambda x: np.pad(x, widths, constant_values=tensors[op.source].zero_point)


@_step.register
def _(op: Reshape, tensors: tuple[Tensor, ...]) -> Step:
    return _reshaper(tensors[op.source].shape, tensors[op.target].shape)


def _reshaper(old: tuple[int, ...], new: tuple[int, ...]) -> Callable[[Array], Array]:
    """Return the function that brings an array (channels, ..., n) from one TFLite shape into another."""
    if math.prod(old) == old[-1] == new[-1]:  # only channels: nothing moves in memory
        return lambda x: x.reshape(new[-1], *new[1:-1], x.shape[-1])
    # TFLite's order of values has channels last, so they move there for the reshape.
    return lambda x: _to_last(_to_first(x).reshape(*new[1:], x.shape[-1]))


def _to_first(x: Array) -> Array:
    """Return (channels, ..., n) as (..., channels, n)."""
    return np.moveaxis(x, 0, -2)


def _to_last(x: Array) -> Array:
    """Return (..., channels, n) as (channels, ..., n)."""
    return np.moveaxis(x, -2, 0)
