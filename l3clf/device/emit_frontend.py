"""The front-end's constants as C text: those of the Python twin in integers, or from a `MelSpec` in floating point.

Rule: the C code multiplies, adds and compares; everything that rounds (window, filters, levels) is computed in Python.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.spectrogram import MelSpec, absolute_level_db, hann, mel_filters
from l3clf.device.ctext import c_array
from l3clf.device.model import PCM_FULL_SCALE
from l3clf.embedders.fixed_frontend import constants
from l3clf.embedders.frontend import quantise_levels, student_spec
from l3clf.errors import DeviceError

__all__ = ["fixed_source", "frontend_source", "thresholds"]

# Power in the C code over power in Python: C takes int16 samples, and its transform does not halve its sums.
POWER_UNIT = np.float32(4 * PCM_FULL_SCALE**2)
MAX_FLOAT_BITS = 0x7F7FFFFF  # of FLT_MAX
_FACTOR_BITS = 32


def fixed_source(spec: MelSpec) -> str:
    """Return the C text of the constants of the front-end in integers.

    Parameters
    ----------
    spec : MelSpec
        That of a student.

    Raises
    ------
    DeviceError
        If it is another.
    """
    if replace(spec, n_frames=1) != replace(student_spec(1.0), n_frames=1):
        raise DeviceError(f"{spec}: not the front-end of students, the only one in integers; use frontend='float'")
    c = constants()
    arrays: dict[str, NDArray[Any]] = {
        "window": c.window,
        "twiddles": _by_butterfly(c.twiddles),
        "bin_twiddles": c.twiddles[1 : spec.frame // 4],
        "order": c.order,
        "n_bins": c.n_bins,
        "band_weights": c.weights,
        "logarithms": c.logarithms,
        "level_offsets": c.offsets,
    }
    return (
        "\n".join(c_array(name, values) for name, values in arrays.items())
        + f"\nconst l3clf_frontend l3clf_model_frontend = {{{', '.join(arrays)}, {c.octave}, {c.first_bin}}};\n"
    )


def _by_butterfly(twiddles: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the three twiddles of each butterfly in the order in which the C code needs them."""
    places = [step * j * np.array([1, 2, 3]) for step, n in ((2, 64), (8, 16), (32, 4)) for j in range(n)]
    return np.asarray(twiddles[np.concatenate(places)])


def frontend_source(spec: MelSpec) -> str:
    """Return the C text of the constants of the front-end in floating point.

    Parameters
    ----------
    spec : MelSpec
        That of a student: mel bands of powers, absolute levels.

    Raises
    ------
    DeviceError
        If the C code cannot compute the spectrogram.
    """
    _check(spec)
    filters = mel_filters(spec)
    first = (filters > 0).argmax(axis=0)
    count = (filters > 0).sum(axis=0)
    weights = np.concatenate([filters[i : i + n, band] for band, (i, n) in enumerate(zip(first, count, strict=True))])
    steps = thresholds()
    base, factor = _guess(steps)
    arrays = [
        c_array("window", hann(spec.frame)),
        c_array("twiddles", _twiddles(spec.frame)),
        c_array("order", _order(spec.frame // 2)),
        c_array("bands", np.stack([first, count], axis=1).astype(np.uint16), "l3clf_band"),
        c_array("band_weights", weights),
        c_array(
            "thresholds", np.append(steps, np.finfo(np.float32).max).astype(np.float32)
        ),  # a last one ends the search
    ]
    return (
        "\n".join(arrays)
        + "\nconst l3clf_frontend l3clf_model_frontend = {window, twiddles, order, bands, band_weights, thresholds, "
        + f"{base}, {factor}}};\n"
    )


def _check(spec: MelSpec) -> None:
    n = spec.frame // 2
    powers_of_four = [4**k for k in range(2, 7)]  # of the radix-4 transform
    plain = replace(spec, n_fft=None, hann="periodic", pre_emphasis=0.0, edges="zeros", lead=0)
    bands = spec.n_mels is not None and spec.power == 2 and spec.level == "db_absolute"
    if n not in powers_of_four or not bands or spec != plain:
        raise DeviceError(
            f"{spec}: not supported by the C front-end; use frames of 2 * 4^k samples as long as the transform, mel "
            "bands of powers and absolute levels"
        )
    filters = mel_filters(spec)
    inside = bool((filters[0] == 0).all() and (filters[-1] == 0).all())
    whole = all(np.flatnonzero(np.diff(np.r_[0, band > 0, 0])).size == 2 for band in filters.T)
    if not inside or not whole:
        raise DeviceError(
            f"{spec}: a mel band is empty or includes the first or last bin, which the C front-end does not compute; "
            "use fewer bands or a narrower range"
        )


def thresholds() -> NDArray[np.float32]:
    """Return the smallest power, in the units of the C code, of each level from -127 to 127.

    They are found by bisection with Python's own rounding, so that both agree for every float32.

    Returns
    -------
    array of shape (255,), float32
    """
    wanted = np.arange(-127, 128)
    low, high = np.zeros(len(wanted), np.int64), np.full(len(wanted), MAX_FLOAT_BITS, np.int64)
    while (high - low > 1).any():  # the bits of positive floats have the order of the floats
        middle = (low + high) // 2
        reached = quantise_levels(absolute_level_db(_float(middle) / POWER_UNIT)) >= wanted
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return _float(high)


def _float(bits: NDArray[np.int64]) -> NDArray[np.float32]:
    return bits.astype(np.int32).view(np.float32)


def _guess(steps: NDArray[np.float32]) -> tuple[int, int]:
    """Return base and factor of a line in the bits of a float that is never above its level, and at most two below."""
    bits = steps.view(np.int32).astype(np.int64)
    places = np.arange(len(bits))
    factor = int((len(bits) - 1) * 2.0**_FACTOR_BITS / (bits[-1] - bits[0]))
    # `bits - 1` is the last float of the level below; the line must not have reached the next integer there.
    base = int(max(np.ceil((bits - 1 - (places + 1) * 2.0**_FACTOR_BITS / factor) + 1)))
    found = ((bits - base) * factor) >> _FACTOR_BITS
    if ((((bits - 1 - base) * factor) >> _FACTOR_BITS) > places).any() or (found < places - 2).any():
        raise DeviceError("front-end: its levels are not a logarithm of the power; use a student's front-end")
    return base, factor


def _twiddles(frame: int) -> NDArray[np.float32]:
    angles = -2 * np.pi * np.arange(3 * frame // 4) / frame
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).ravel()


def _order(n: int) -> NDArray[np.uint16]:
    """Return where a radix-4 decimation-in-frequency FFT leaves each bin: at its digits in base 4, reversed."""
    order = np.zeros(1, np.int64)
    while len(order) < n:
        order = np.concatenate([4 * order + digit for digit in range(4)])
    return order.astype(np.uint16)
