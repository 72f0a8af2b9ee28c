"""An int8 network as plain data: tensors, and operators in the order in which they run.

Rule: an `Int8Model` holds everything that is needed to compute it, in integers, already checked; the interpreter
(`l3clf.networks.int8_run`) and generated C only multiply, add, shift and clamp. Shapes are those of TFLite: the first
dimension is the batch and always 1, channels come last.

The arithmetic is that of "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (Jacob et al., CVPR 2018), with the roundings of TFLite's kernels.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

INT8_MIN, INT8_MAX = -128, 127
ADD_LEFT_SHIFT = 20  # bits by which ADD widens its inputs before it brings them to a common scale
_MULTIPLIER_BITS = 31  # an int32 multiplier: a fraction from 1/2 to 1 in fixed point
_MIN_SHIFT = -31  # smaller factors count as zero, as in TFLite


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the file.

    Attributes
    ----------
    index : int
        Number in the file.
    name : str
        Name in the file, printable and cut to 100 characters.
    shape : tuple of int
        Dimensions; channels last.
    dtype : numpy dtype
        int8 or int32, in native byte order.
    scales : float32 array, shape (k,)
        Real value of one integer step: one for the tensor, or one per channel; empty if the file gives none.
    zero_points : int64 array, shape (k,)
        The integers that represent 0.0.
    axis : int
        Dimension of the channels that `scales` belong to.
    data : array or None
        Values of a constant; None for a tensor that is computed.
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
        """Scale of a tensor quantised as a whole."""
        return np.float32(self.scales[0])

    @property
    def zero_point(self) -> int:
        """Zero point of a tensor quantised as a whole."""
        return int(self.zero_points[0])

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Requantisation:
    """How 32-bit sums become int8: ``clamp(round(sum * multiplier * 2 ** (shift - 31)) + zero_point)``.

    With a shift to the right there are two roundings, as in every kernel of `tflite-micro`: first
    ``high = (sum * multiplier + 2 ** 30) >> 31``, halves upwards; then ``high * 2 ** shift``, halves away from zero.
    A shift to the left is applied to the sum, before the first rounding.

    Attributes
    ----------
    multipliers : int32 array, shape (channels,)
        0, or above 2^29 and below 2^31.
    shifts : int32 array, shape (channels,)
        Exponents of two; negative ones shift to the right.
    zero_point : int
        Zero point of the output.
    low, high : int
        Smallest and largest output, including the fused activation.
    """

    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int32]
    zero_point: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Window:
    """How a kernel moves over a feature map; every pair is (height, width).

    Attributes
    ----------
    size, stride, dilation : pair of int
        Size and step of the kernel, and distance between its neighbouring taps.
    before, after : pair of int
        Rows and columns of padding around the map.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Unary:
    """Reads tensor `source` and writes tensor `target` (indices into `Int8Model.tensors`)."""

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
    """Dense layer on rows of `depth` values, whatever the input's shape; weights (units, depth) int8, bias int32."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    out: Requantisation


@dataclass(frozen=True, eq=False)
class AveragePool2D(_Unary):
    """Mean over a window without its padding, halves away from zero, clamped to low..high."""

    window: Window
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class MaxPool2D(_Unary):
    """Maximum over a window without its padding, clamped to low..high."""

    window: Window
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Mean(_Unary):
    """Mean over `axes` of TFLite's shape, never axis 0: ``sum(x) - count * input zero point``, requantised."""

    axes: tuple[int, ...]
    out: Requantisation


@dataclass(frozen=True, eq=False)
class Add:
    """Sum of two tensors of the same shape.

    Each input, minus its zero point, is shifted left by `ADD_LEFT_SHIFT` and scaled with its entry of `multipliers`
    and `shifts` (with two roundings); the sum is requantised by `out`.
    """

    sources: tuple[int, int]
    target: int
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    out: Requantisation


@dataclass(frozen=True, eq=False)
class Pad(_Unary):
    """Padding with the zero point; `widths` holds (before, after) for every dimension, (0, 0) for the first."""

    widths: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Reshape(_Unary):
    """The same values in the same order, in another shape."""


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
        All tensors of the file, by index.
    operators : tuple of Operator
        In an order in which the inputs of each are computed before it.
    source, target : int
        Index of the input and of the output tensor.
    macs : int
        Multiply-accumulates per window of all convolutions and dense layers, including padding.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    source: int
    target: int
    macs: int

    @property
    def input(self) -> Tensor:
        """The input tensor."""
        return self.tensors[self.source]

    @property
    def output(self) -> Tensor:
        """The output tensor."""
        return self.tensors[self.target]


def requantisation(factors: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Express real factors as 31-bit multipliers and powers of two, as TFLite does.

    Parameters
    ----------
    factors : float64 array, shape (n,)
        Finite and not negative.

    Returns
    -------
    multipliers, shifts : int32 array, shape (n,)
        ``factor = multiplier * 2 ** (shift - 31)``, up to rounding.

    Examples
    --------
    >>> requantisation(np.array([0.75, 1 / 512]))
    (array([1610612736, 1073741824], dtype=int32), array([ 0, -8], dtype=int32))
    """
    fractions, shifts = np.frexp(factors)
    # Halves away from zero, as in C; factors are not negative, and fractions have 53 bits, so the sum is exact.
    multipliers = np.floor(fractions * 2.0**_MULTIPLIER_BITS + 0.5).astype(np.int64)
    full = multipliers == 1 << _MULTIPLIER_BITS  # a fraction that rounded up to 1 does not fit into int32
    multipliers[full] >>= 1
    shifts = shifts + full
    small = shifts < _MIN_SHIFT
    multipliers[small] = shifts[small] = 0
    return multipliers.astype(np.int32), shifts.astype(np.int32)
