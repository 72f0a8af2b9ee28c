"""A band limit on windows of sound: what is below or above the band is taken out of each window on its own.

Rule: no sample moves in time, and a window's answer depends on nothing but its samples and the band.
"""

import math
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray

__all__ = ["band_gain", "band_limited"]

ORDER = 8  # of the slopes, 6 dB each in an octave: a Butterworth filter of order 4 forwards and backwards
RINGING = 4.2  # of the filter, in periods of an edge, until it has faded by 87 dB


def band_gain(frequencies_hz: NDArray[np.float64], band_hz: tuple[float, float]) -> NDArray[np.float64]:
    """Return what the amplitude of each frequency is multiplied with.

    Half (-6 dB) at both edges, 48 dB less with each octave beyond them: the squared magnitudes of Butterworth filters
    of order 4, ``1 / (1 + (low / f)**8)`` and ``1 / (1 + (f / high)**8)``.

    Parameters
    ----------
    frequencies_hz : array of any shape
        At least 0.
    band_hz : (low, high)
        A low edge of 0 is none, and so is an infinite high one.

    Returns
    -------
    array of the same shape, float64

    Examples
    --------
    >>> band_gain(np.array([0.0, 500, 1000, 2000, 8000]), (1000, np.inf)).round(3).tolist()
    [0.0, 0.004, 0.5, 0.996, 1.0]
    """
    low, high = band_hz
    powers = np.asarray(frequencies_hz, np.float64)
    below = powers**ORDER / (powers**ORDER + low**ORDER) if low else 1.0
    return np.asarray(below / (1 + (powers / high) ** ORDER))


def band_limited(windows: FloatArray, sample_rate: int, band_hz: tuple[float, float]) -> FloatArray:
    """Return windows without what is outside a band.

    A window is cut out of sound that goes on, and a cut is a click: so each end is extended by what follows it turned
    about its last sample, which keeps the value and the slope, and the filter starts and ends out there.

    Parameters
    ----------
    windows : array of shape (n_windows, window samples), float32
    sample_rate : int
        In Hz.
    band_hz : (low, high)
        In Hz, at least 0; from half the sample rate on, the high edge is none.

    Returns
    -------
    array of shape (n_windows, window samples), float32
    """
    low, high = band_hz
    n = windows.shape[1]
    edge = low or high
    side = min(n - 1, math.ceil(RINGING * sample_rate / edge))
    size = scipy.fft.next_fast_len(n + 2 * side, real=True)
    extended = np.pad(windows, ((0, 0), (side, side)), mode="reflect", reflect_type="odd")
    spectrum = scipy.fft.rfft(extended.astype(np.float32, copy=False), size, axis=1)
    spectrum *= _gains(size, sample_rate, low, high if 2 * high < sample_rate else math.inf)
    limited = scipy.fft.irfft(spectrum, size, axis=1)
    return np.ascontiguousarray(limited[:, side : side + n], np.float32)


@lru_cache(maxsize=16)
def _gains(size: int, sample_rate: int, low: float, high: float) -> FloatArray:
    return band_gain(scipy.fft.rfftfreq(size, 1 / sample_rate), (low, high)).astype(np.float32)
