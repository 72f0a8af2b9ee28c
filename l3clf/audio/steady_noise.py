"""Spectral gating: what a clip holds of noise that goes on unchanged is taken out of it.

Each frequency has a noise level, which its quiet moments tell; where the sound is not above it, it is turned down.

Rule: a clip gives the same samples each time, and it is as long as it was.
"""

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray

__all__ = ["FLOOR_DB", "without_steady_noise"]

FRAME_S = 0.064
QUIET_SHARE = 0.2  # of a frequency's moments: their loudest is where its noise level is read
ABOVE_DB = 6.0  # what is so far above the noise level is sound
FLOOR_DB = -20.0  # what is not is turned down by as much, not to zero: embedders have never heard nothing
SMOOTH_HZ, SMOOTH_S = 125.0, 0.048  # power is judged, and the gate opens, for so much of a spectrogram at once
NOISE_FRAMES = 4096  # of a long clip, evenly spread, to read noise levels from
AT_ONCE = 1024  # frames


def without_steady_noise(samples: FloatArray, sample_rate: int) -> FloatArray:
    """Return a clip without its steady noise.

    Parameters
    ----------
    samples : array of shape (n,), float32
    sample_rate : int
        In Hz.

    Returns
    -------
    array of shape (n,), float32
        Steady noise is 20 dB lower. A sound that lasts for nearly all of the clip is taken for noise, too.
    """
    size = 4 * max(1, round(FRAME_S * sample_rate / 4))
    hop = size // 4
    window = scipy.signal.get_window("hann", size).astype(np.float32)
    n_frames = -(-len(samples) // hop) + 3  # each sample is in four frames
    padded = np.zeros((n_frames - 1) * hop + size, np.float32)
    padded[size - hop : size - hop + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    box = _box(sample_rate, size, hop)
    levels = _noise_power(frames, window, box)
    out = np.zeros_like(padded)
    for first in range(0, n_frames, AT_ONCE):  # with neighbours, so that the smoothing does not see the blocks
        start, stop = max(0, first - 2 * box[0]), min(n_frames, first + AT_ONCE + 2 * box[0])
        spectrum = scipy.fft.rfft(frames[start:stop] * window, axis=1)
        spectrum *= _gate(_smooth(_power(spectrum), box), levels, box)
        kept = slice(first - start, min(first + AT_ONCE, n_frames) - start)
        parts = scipy.fft.irfft(spectrum[kept], size, axis=1) * window
        for quarter in range(4):  # of the frames: those of a quarter do not overlap
            begin = (first + quarter) * hop
            some = parts[quarter::4]
            out[begin : begin + some.size] += some.ravel()
    return out[size - hop : size - hop + len(samples)] / np.float32(1.5)  # the sum of the squared windows


def _power(spectrum: NDArray[np.complex64]) -> FloatArray:
    return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)


def _box(sample_rate: int, size: int, hop: int) -> tuple[int, int]:
    """Return over how many frames and frequencies is smoothed; odd numbers."""
    return 2 * round(SMOOTH_S * sample_rate / hop / 2) + 1, 2 * round(SMOOTH_HZ * size / sample_rate / 2) + 1


def _smooth(values: FloatArray, box: tuple[int, int]) -> FloatArray:
    return np.asarray(scipy.ndimage.uniform_filter(values, box, mode="nearest"), np.float32)


def _noise_power(frames: FloatArray, window: FloatArray, box: tuple[int, int]) -> FloatArray:
    """Return the power of the noise at each frequency, (n_frequencies,)."""
    step = -(-len(frames) // NOISE_FRAMES)
    near = _smooth if step == 1 else lambda values, box: _smooth(values, (1, box[1]))  # frames apart have no neighbours
    powers = near(_power(scipy.fft.rfft(frames[::step] * window, axis=1)), box)
    heard = powers[powers.sum(axis=1) > 0]  # silence before, after and inside a recording is no noise
    if not len(heard):
        return np.zeros(powers.shape[1], np.float32)
    return np.asarray(np.quantile(heard, QUIET_SHARE, axis=0), np.float32)


def _gate(powers: FloatArray, levels: FloatArray, box: tuple[int, int]) -> FloatArray:
    """Return what each frame's frequencies are multiplied with, (n_frames, n_frequencies)."""
    is_sound = powers > levels * np.float32(10 ** (ABOVE_DB / 10))
    floor = np.float32(10 ** (FLOOR_DB / 20))
    return floor + (1 - floor) * _smooth(is_sound.astype(np.float32), box)
