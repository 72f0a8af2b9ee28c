"""An int8 network as plain data: tensors, and operators in the order in which they run.

Rule: whoever holds an `Int8Model` has everything that computing it takes, in integers, already checked; the
interpreter (`l3clf.networks.int8_run`) and generated C only multiply, add, shift and clamp. Shapes are TFLite's:
the first dimension is the window's and always 1, channels come last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Add",
    "AveragePool2D",
    "Conv2D",
    "DepthwiseConv2D",
    "FullyConnected",
    "Int8Model",
    "MaxPool2D",
    "Mean",
    "Operator",
    "Pad",
    "Rectify",
    "Requantisation",
    "Reshape",
    "Tensor",
    "Window",
    "requantisation",
]

INT8_MIN, INT8_MAX = -128, 127
ADD_LEFT_SHIFT = 20  # bits by which ADD widens its inputs before it brings them to one scale
_MULTIPLIER_BITS = 31
_MIN_SHIFT = -31  # a scale too small for it counts as zero, as in TFLite


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the file.

    Attributes
    ----------
    index : int
        Its number in the file.
    name : str
        Its name in the file, printable and cut to 100 characters.
    shape : tuple of int
        Its dimensions; channels last.
    dtype : numpy dtype
        int8 or int32, in the machine's byte order.
    scales : float32 array, shape (k,)
        What one step means; one for all, or one a channel; empty where the file gives none.
    zero_points : int64 array, shape (k,)
        The integers that mean 0.0.
    axis : int
        Dimension of the channels that `scales` belong to.
    data : array or None
        The values of a constant; None for what is computed.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    data: NDArray[Any] | None

    @property
    def scale(self) -> np.float32:
        """Scale of a tensor that has one for all."""
        return np.float32(self.scales[0])

    @property
    def zero_point(self) -> int:
        """Zero point of a tensor that has one for all."""
        return int(self.zero_points[0])

    @property
    def size(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Requantisation:
    """How 32-bit sums become int8: ``clamp(round(sum * multiplier * 2 ** (shift - 31)) + zero_point)``.

    For a shift to the right it rounds twice, as `tflite-micro` does in every kernel: first
    ``high = (sum * multiplier + 2 ** 30) >> 31``, halves upwards; then ``high * 2 ** shift``, halves away from zero.
    A shift to the left is applied to the sum, before the first.

    Attributes
    ----------
    multipliers : int32 array, shape (channels,)
        0, or below 2^31 and above 2^29.
    shifts : int32 array, shape (channels,)
        Powers of two, negative ones to the right.
    zero_point : int
        Of the output.
    low, high : int
        Least and largest output, the fused activation included.
    """

    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int32]
    zero_point: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Window:
    """How a kernel moves over a map; every pair is (along the height, along the width).

    Attributes
    ----------
    size, stride, dilation : pair of int
        Kernel, step, and distance between a kernel's neighbouring taps.
    before, after : pair of int
        Rows and columns of zeros that are thought around the map.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Unary:
    """Takes tensor `source`, writes tensor `target` (indices of `Int8Model.tensors`)."""

    source: int
    target: int


@dataclass(frozen=True, eq=False)
class Conv2D(_Unary):
    """Convolution; weights (out, height, width, in) int8, bias (out,) int32."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    window: Window
    out: Requantisation


@dataclass(frozen=True, eq=False)
class DepthwiseConv2D(_Unary):
    """Depthwise convolution; weights (height, width, out) int8, bias (out,) int32; out = in * depth_multiplier.

    Output channel c reads input channel ``c // depth_multiplier``.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    depth_multiplier: int
    window: Window
    out: Requantisation


@dataclass(frozen=True, eq=False)
class FullyConnected(_Unary):
    """Dense layer; weights (units, depth) int8, bias (units,) int32; rows of `depth` values, whatever the shape."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    out: Requantisation


@dataclass(frozen=True, eq=False)
class AveragePool2D(_Unary):
    """Mean over a window, padding not counted, halves away from zero; then clamped to low..high."""

    window: Window
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class MaxPool2D(_Unary):
    """Maximum over a window, padding not counted; then clamped to low..high."""

    window: Window
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Mean(_Unary):
    """Mean over `axes` (of TFLite's shape, never 0): ``sum(x) - count * input zero point``, requantised."""

    axes: tuple[int, ...]
    out: Requantisation


@dataclass(frozen=True, eq=False)
class Add:
    """Sum of two tensors of one shape.

    Each input, less its zero point, is shifted left by `ADD_LEFT_SHIFT` and requantised (its entry in
    `multipliers` and `shifts`, two roundings); the sum of both goes through `out`.
    """

    sources: tuple[int, int]
    target: int
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    out: Requantisation


@dataclass(frozen=True, eq=False)
class Pad(_Unary):
    """Adds the zero point around; `widths` holds (before, after) for every dimension, none for the first."""

    widths: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Reshape(_Unary):
    """Another shape for the same values in the same order."""


@dataclass(frozen=True, eq=False)
class Rectify(_Unary):
    """RELU or RELU6 on its own: ``x - input zero point``, requantised and clamped."""

    out: Requantisation


Operator: TypeAlias = (
    Conv2D | DepthwiseConv2D | FullyConnected | AveragePool2D | MaxPool2D | Mean | Add | Pad | Reshape | Rectify
)


@dataclass(frozen=True, eq=False)
class Int8Model:
    """A checked network with one input and one output.

    Attributes
    ----------
    tensors : tuple of Tensor
        All of the file, by index.
    operators : tuple of Operator
        In the order in which they run: each finds its inputs computed.
    source, target : int
        Tensor that the network takes, and the one that it gives.
    macs : int
        Multiply-accumulates a window, convolutions and dense layers, padding included.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    source: int
    target: int
    macs: int

    @property
    def input(self) -> Tensor:
        """The tensor that the network takes."""
        return self.tensors[self.source]

    @property
    def output(self) -> Tensor:
        """The tensor that the network gives."""
        return self.tensors[self.target]


def requantisation(factors: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Write real factors as 31-bit multipliers and powers of two, as TFLite does.

    Parameters
    ----------
    factors : float64 array, shape (n,)
        Finite and not negative.

    Returns
    -------
    multipliers, shifts : int32 array, shape (n,)
        ``factor = multiplier * 2 ** (shift - 31)`` but for rounding.

    Examples
    --------
    >>> requantisation(np.array([0.75, 1 / 512]))
    (array([1610612736, 1073741824], dtype=int32), array([ 0, -8], dtype=int32))
    """
    fractions, shifts = np.frexp(factors)
    # Halves away from zero, as C rounds; factors are positive, and a fraction has 53 bits, so the sum is exact.
    multipliers = np.floor(fractions * 2.0**_MULTIPLIER_BITS + 0.5).astype(np.int64)
    full = multipliers == 1 << _MULTIPLIER_BITS
    multipliers[full] >>= 1
    shifts = shifts + full
    small = shifts < _MIN_SHIFT
    multipliers[small] = shifts[small] = 0
    return multipliers.astype(np.int32), shifts.astype(np.int32)
