"""How sums of an int8 network become int8 values: in fixed point, and in floating point without one of them changing.

Rule: `Scaling` is exact for every sum up to the bound for which it was asked; where none is, None is returned.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.networks.int8_model import ADD_LEFT_SHIFT, INT8_MAX, INT8_MIN, Add, Requantisation, Tensor

__all__ = [
    "ABS_MAX",
    "FLOAT32_EXACT",
    "FLOAT64_EXACT",
    "LEVELS",
    "Scaling",
    "add_table",
    "float64_scaling",
    "requantise",
]

Array: TypeAlias = NDArray[Any]

FLOAT32_EXACT, FLOAT64_EXACT = 1 << 24, 1 << 53  # integers up to these are exact
ABS_MAX = 128  # of an int8 value
LEVELS = 256  # values of int8


def requantise(sums: NDArray[np.int64], out: Requantisation) -> NDArray[np.int64]:
    """Bring integer sums to int8 in fixed point, as TFLite defines it.

    Parameters
    ----------
    sums : int64 array, shape (channels, ...)
        Sums that fit into 32 bits.
    out : Requantisation
        Scale, zero point and limits of the output.

    Returns
    -------
    int64 array, shape (channels, ...)
        Values from -128 to 127.
    """
    columns = (-1, *[1] * (sums.ndim - 1))
    multipliers, shifts = (array.astype(np.int64).reshape(columns) for array in (out.multipliers, out.shifts))
    scaled = _scale(sums, multipliers, shifts) + out.zero_point
    return np.clip(scaled, np.int64(out.low), np.int64(out.high))


def _scale(sums: NDArray[np.int64], multipliers: NDArray[np.int64], shifts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``sums * multipliers * 2 ** (shifts - 31)``, rounded as `Requantisation` says."""
    left, right = np.maximum(shifts, 0), np.maximum(-shifts, 0)
    high = ((sums << left) * multipliers + (1 << 30)) >> 31
    half = (1 << right) >> 1
    # Halves away from zero: below zero, a half must round down, so one is taken off before the shift.
    rounded: Array = (high + half - ((high < 0) & (right > 0))) >> right
    return rounded


def add_table(op: Add, tensors: tuple[Tensor, ...]) -> Array:
    """Return the int8 results of an addition, (256, 256), by its two inputs plus 128."""
    levels = np.arange(INT8_MIN, INT8_MAX + 1)
    one, two = (
        _scale((levels - tensors[i].zero_point) << ADD_LEFT_SHIFT, np.array(multiplier), np.array(shift))
        for i, multiplier, shift in zip(op.sources, op.multipliers, op.shifts, strict=True)
    )
    return requantise((one[:, np.newaxis] + two).reshape(1, -1), op.out).reshape(LEVELS, LEVELS)


@dataclass(frozen=True, eq=False)
class Scaling:
    """``floor(sum * factor + start)`` is the result for a sum, before it is clamped.

    Unless `one_sided`, ``2 * tie`` is to be added before the floor wherever ``sum * factor + start >= zero``.

    Attributes
    ----------
    factors, start, tie, zero : float64 array, shape (channels,)
    one_sided : bool
    """

    factors: Array
    start: Array
    tie: Array
    zero: Array
    one_sided: bool


def float64_scaling(out: Requantisation, bias: Array, bound: Array | int, zero_point: int) -> Scaling | None:
    """Return how sums are scaled exactly in float64; None if they may be too large for that.

    Let v be the sum with its bias times its factor. Without a shift to the right, the rounding is ``floor(v + 1/2)``.
    With a shift by e, both roundings together are ``floor(v + 1/2 + t)`` for v >= 0 and ``floor(v + 1/2 - t)`` for
    v < 0, with t = 2^-(e+1). If the clamp cuts off everything below the zero point, as a ReLU does, the second case
    does not matter.

    Parameters
    ----------
    out : Requantisation
    bias : int64 array, shape (channels,)
        What is added to the sums first.
    bound : int or int64 array, shape (channels,)
        The largest magnitude of a sum without this bias.
    zero_point : int
        Of the result: that of `out`, or 0 for results from which it is still to be subtracted.
    """
    right = np.maximum(-out.shifts, 0).astype(np.float64)
    factors = np.ldexp(out.multipliers.astype(np.float64), out.shifts - 31)
    # All terms are multiples of 2^(shift - 31): exact in float64 while the sum of their numerators stays below 2^53.
    # As Python's integers (dtype object), because the products may exceed 64 bits.
    largest = (bound + np.abs(bias)).astype(object) * out.multipliers.astype(object)
    ones = [1 << max(0, 31 - int(shift)) for shift in out.shifts]
    if not bias.any():  # a product that is beyond all results is clamped, whatever it is rounded to
        largest = np.minimum(largest, [(LEVELS + 2) * one for one in ones])
    largest += [(abs(zero_point) + 2) * one for one in ones]
    if max(largest) >= FLOAT64_EXACT:
        return None
    tie = np.where(right > 0, 0.5 ** (right + 1), 0.0)
    one_sided = bool(out.low >= out.zero_point or not tie.any())
    # What does not depend on the sums is added up beforehand: half, zero point, bias and the tie's correction.
    # Where sums are below zero, -t counts; `start` assumes that of two-sided results.
    start = bias * factors + 0.5 + zero_point + (tie if one_sided else -tie)
    return Scaling(factors, start, tie, 0.5 + zero_point - tie, one_sided)
