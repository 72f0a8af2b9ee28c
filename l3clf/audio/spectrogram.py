"""Spectrograms from one frozen specification.

Rule: a `MelSpec` says everything there is to know about a front-end; the NumPy code here, the
students and the generated C are all derived from it, so that they cannot drift apart.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from l3clf.errors import ParameterError

__all__ = [
    "MelSpec",
    "absolute_level_db",
    "hann",
    "hz_to_mel",
    "log_spectrogram",
    "mel_filters",
    "mel_to_hz",
    "spectrogram",
]

FloatArray: TypeAlias = NDArray[np.float32]
MelScale: TypeAlias = Literal["slaney", "htk"]
LevelRule: TypeAlias = Literal["db", "db_below_max", "db_absolute"]

SLANEY_HZ_PER_MEL = 200 / 3
SLANEY_BREAK_HZ, SLANEY_BREAK_MEL = 1000.0, 15.0
SLANEY_LOG_STEP = np.log(6.4) / 27
POWER_FLOOR = 1e-10
ABSOLUTE_FLOOR = 1e-7  # -70 dB: noise of -75 dBFS in frames of 512 samples
RANGE_DB = 80.0


@dataclass(frozen=True)
class MelSpec:
    """A log-spectrogram, specified completely.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    frame : int
        Samples in a frame, which is also the length of the Fourier transform.
    hop : int
        Samples from one frame to the next.
    n_frames : int
        Frames in a window. The window is padded with zeros to hold them all.
    n_mels : int or None
        Mel bands; None keeps the linear bins of the Fourier transform (frame // 2 + 1).
    fmin_hz, fmax_hz : float
        Lower edge of the first band and upper edge of the last.
    scale : {"slaney", "htk"}
        The mel scale. Filters have Slaney's area norm on either.
    power : {1, 2}
        Whether the filters weight magnitudes (1) or powers (2) of the bins.
    lead : int
        Zeros before the window, so that frames can be centred.
    level : {"db_below_max", "db", "db_absolute"}
        ``db``: ``10 * log10(max(x, 1e-10))``, but no lower than 80 dB below the window's maximum;
        ``db_below_max``: the same minus that maximum, so from -80 to 0; ``db_absolute``:
        ``10 * log10(max(x, 1e-7))``, which asks nothing of the window: on a chip, each frame is computed
        once and shared by the windows that overlap in it.
    """

    sample_rate: int
    frame: int
    hop: int
    n_frames: int
    n_mels: int | None
    fmin_hz: float
    fmax_hz: float
    scale: MelScale = "slaney"
    power: Literal[1, 2] = 1
    lead: int = 0
    level: LevelRule = "db_below_max"

    def __post_init__(self) -> None:
        if not 0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate / 2:
            raise ParameterError(
                f"fmin_hz={self.fmin_hz}, fmax_hz={self.fmax_hz}; expected 0 <= fmin_hz < fmax_hz <= "
                f"{self.sample_rate / 2:g}, half the sample rate"
            )
        if min(self.frame, self.hop, self.n_frames, 1 if self.n_mels is None else self.n_mels) < 1:
            raise ParameterError(f"{self}: frame, hop, n_frames and n_mels must be at least 1")

    @property
    def n_bands(self) -> int:
        """Rows of the spectrogram: mel bands, or bins where there are none."""
        return self.frame // 2 + 1 if self.n_mels is None else self.n_mels


def hz_to_mel(hz: NDArray[np.float64] | float, scale: MelScale) -> NDArray[np.float64]:
    """Convert frequencies in Hz to mels.

    HTK: ``2595 log10(1 + f / 700)`` (Young et al., The HTK Book). Slaney: linear with 200/3 Hz a mel up to
    1 kHz, then logarithmic with a factor of 6.4 in 27 mels (Slaney, Auditory Toolbox, 1998).

    Examples
    --------
    >>> hz_to_mel(1000.0, "slaney").item()
    15.0
    """
    hz = np.asarray(hz, np.float64)
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + hz / 700))
    above = SLANEY_BREAK_MEL + np.log(np.maximum(hz, 1e-9) / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP
    return np.where(hz < SLANEY_BREAK_HZ, hz / SLANEY_HZ_PER_MEL, above)


def mel_to_hz(mel: NDArray[np.float64] | float, scale: MelScale) -> NDArray[np.float64]:
    """Convert mels to Hz: the inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return np.asarray(700 * (10 ** (mel / 2595) - 1))
    above = SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * (mel - SLANEY_BREAK_MEL))
    return np.where(mel < SLANEY_BREAK_MEL, mel * SLANEY_HZ_PER_MEL, above)


@lru_cache(maxsize=16)
def mel_filters(spec: MelSpec) -> FloatArray:
    """Return the triangular mel filters of a spec, each of unit area (Slaney's norm).

    Returns
    -------
    array of shape (frame // 2 + 1, n_mels), float32, read-only
    """
    if spec.n_mels is None:
        raise ParameterError(f"{spec}: has no mel bands (n_mels is None)")
    bins_hz = np.arange(spec.frame // 2 + 1) * (spec.sample_rate / spec.frame)
    edges = np.linspace(hz_to_mel(spec.fmin_hz, spec.scale), hz_to_mel(spec.fmax_hz, spec.scale), spec.n_mels + 2)
    lower, centre, upper = (mel_to_hz(edges, spec.scale)[i : i + spec.n_mels] for i in range(3))
    rising = (bins_hz[:, np.newaxis] - lower) / (centre - lower)
    falling = (upper - bins_hz[:, np.newaxis]) / (upper - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (upper - lower))
    out = filters.astype(np.float32)
    out.flags.writeable = False
    return out


@lru_cache(maxsize=16)
def hann(n: int) -> FloatArray:
    """Return the periodic Hann window of `n` values, float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


def spectrogram(spec: MelSpec, window: FloatArray) -> FloatArray:
    """Return the (mel) spectrogram of one window before the level rule.

    Parameters
    ----------
    spec : MelSpec
    window : array of shape (n_samples,), float32

    Returns
    -------
    array of shape (n_frames, n_bands), float32
    """
    needed = (spec.n_frames - 1) * spec.hop + spec.frame
    padded = np.zeros(max(needed, spec.lead + len(window)), np.float32)
    padded[spec.lead : spec.lead + len(window)] = window
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.frame)[:: spec.hop][: spec.n_frames]
    bins = scipy.fft.rfft(frames * hann(spec.frame), axis=1, overwrite_x=True)
    values = np.abs(bins) if spec.power == 1 else bins.real**2 + bins.imag**2
    if spec.n_mels is not None:
        values = values @ mel_filters(spec)
    return np.asarray(values)


def absolute_level_db(powers: FloatArray) -> FloatArray:
    """Return the levels of powers, no lower than -70 dB."""
    return np.asarray(10 * np.log10(np.maximum(powers, ABSOLUTE_FLOOR)), np.float32)


def log_spectrogram(spec: MelSpec, windows: FloatArray) -> FloatArray:
    """Return the log-spectrograms of windows.

    Parameters
    ----------
    spec : MelSpec
    windows : array of shape (n_windows, n_samples), float32

    Returns
    -------
    array of shape (n_windows, n_bands, n_frames), float32, in dB
    """
    out = np.empty((len(windows), spec.n_bands, spec.n_frames), np.float32)
    for i, window in enumerate(windows):  # one at a time: a window's frames fit the processor's cache
        values = spectrogram(spec, window)
        if spec.level == "db_absolute":
            out[i] = absolute_level_db(values).T
            continue
        level = 10 * np.log10(np.maximum(values, POWER_FLOOR))
        top = level.max()
        out[i] = np.maximum(level - top, -RANGE_DB).T
        if spec.level == "db":
            out[i] += top
    return out
