"""Spectrograms from one frozen specification.

Rule: a `MelSpec` defines a front-end completely; the NumPy code here, the students and the generated C are all
derived from it, so that they cannot drift apart.
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
MelScale: TypeAlias = Literal["slaney", "htk", "kaldi"]
LevelRule: TypeAlias = Literal["db", "db_below_max", "db_absolute", "ln"]

# The constants of Slaney's Auditory Toolbox, which librosa and kapre (and so OpenL3) use as well.
SLANEY_HZ_PER_MEL = 200 / 3
SLANEY_BREAK_HZ, SLANEY_BREAK_MEL = 1000.0, 15.0
SLANEY_LOG_STEP = np.log(6.4) / 27
KALDI_MEL = 1127.0
LONG_TRANSFORM = 2048  # OpenL3's: from here on, most of the time would go into products with weights that are 0
BLOCKS, BLOCK_BANDS = 6, 16  # blocks of mel bands on Kaldi's scale, and bands of a block for long transforms
# Samples of frames at a time: they and their transform stay in a core's cache. Of fewer, operations would be so short
# that threads mostly wait for the interpreter's lock.
PIECE = 100 * 2048
POWER_FLOOR = 1e-10  # kapre's amin: silence is -100 dB, not minus infinity
ABSOLUTE_FLOOR = 1e-7  # -70 dB: noise of -75 dBFS in frames of 512 samples
RANGE_DB = 80.0  # kapre's dynamic range below the maximum of a window
LN_OFFSET = np.float32(1e-5)  # added to powers before their natural logarithm: silence is -11.5


@dataclass(frozen=True)
class MelSpec:
    """The complete specification of a log-spectrogram.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    frame : int
        Samples in a frame.
    hop : int
        Samples from one frame to the next.
    n_frames : int
        Frames in a window, which is padded to hold them all, as `edges` says.
    n_mels : int or None
        Mel bands; None keeps the linear bins of the Fourier transform (n_fft // 2 + 1).
    fmin_hz, fmax_hz : float
        Lower edge of the first band and upper edge of the last, in Hz.
    scale : {"slaney", "htk", "kaldi"}
        The mel scale. Filters are triangles over Hz of unit area (Slaney's norm) on the first two; on Kaldi's they are
        triangles over mels with a peak of 1, and the last bin of the transform has no weight.
    power : {1, 2}
        Whether the filters weight magnitudes (1) or powers (2) of the bins.
    lead : int
        Samples before the window, so that frames can be centred.
    level : {"db_below_max", "db", "db_absolute", "ln"}
        ``db``: ``10 * log10(max(x, 1e-10))``, but at least the maximum of the window minus 80 dB;
        ``db_below_max``: the same minus that maximum, so -80 to 0 dB; ``db_absolute``: ``10 * log10(max(x, 1e-7))``,
        which does not depend on the other frames of the window: a chip computes each frame once, for all
        windows that contain it; ``ln``: ``ln(x + 1e-5)``, no level in dB.
    n_fft : int or None
        Length of the Fourier transform, whose frames are padded with zeros up to it; None means that of a frame.
    hann : {"periodic", "symmetric"}
        The Hann window of a frame.
    pre_emphasis : float
        If not 0, a window first becomes ``x[n + 1] - pre_emphasis * x[n]``, one sample shorter.
    edges : {"zeros", "reflected"}
        What frames see before and after the window.

    Raises
    ------
    ParameterError
        If a size is below 1, the transform is shorter than a frame, or the band edges are out of order or above half
        the sample rate.
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
    n_fft: int | None = None
    hann: Literal["periodic", "symmetric"] = "periodic"
    pre_emphasis: float = 0.0
    edges: Literal["zeros", "reflected"] = "zeros"

    def __post_init__(self) -> None:
        if not 0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate / 2:
            raise ParameterError(
                f"fmin_hz={self.fmin_hz}, fmax_hz={self.fmax_hz}; expected 0 <= fmin_hz < fmax_hz <= "
                f"{self.sample_rate / 2:g}, half the sample rate"
            )
        if min(self.frame, self.hop, self.n_frames, 1 if self.n_mels is None else self.n_mels) < 1:
            raise ParameterError(f"{self}; expected frame, hop, n_frames and n_mels of at least 1")
        if self.transform < self.frame:
            raise ParameterError(f"n_fft={self.n_fft}; expected at least {self.frame}, the length of a frame")

    @property
    def transform(self) -> int:
        """Length of the Fourier transform."""
        return self.frame if self.n_fft is None else self.n_fft

    @property
    def n_bands(self) -> int:
        """Number of rows of the spectrogram: mel bands, or linear bins without them."""
        return self.transform // 2 + 1 if self.n_mels is None else self.n_mels


def hz_to_mel(hz: NDArray[np.float64] | float, scale: MelScale) -> NDArray[np.float64]:
    """Convert frequencies in Hz to mels.

    HTK: ``2595 log10(1 + f / 700)`` (Young et al., The HTK Book). Kaldi: ``1127 ln(1 + f / 700)``. Slaney: linear at
    200/3 Hz per mel up to 1 kHz, then logarithmic, a factor of 6.4 per 27 mels (Slaney, Auditory Toolbox, 1998).

    Examples
    --------
    >>> hz_to_mel(1000.0, "slaney").item()
    15.0
    """
    hz = np.asarray(hz, np.float64)
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + hz / 700))
    if scale == "kaldi":
        return np.asarray(KALDI_MEL * np.log(1 + hz / 700))
    # `where` evaluates both branches: the maximum avoids the warning for log(0), whose result is not used.
    above = SLANEY_BREAK_MEL + np.log(np.maximum(hz, 1e-9) / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP
    return np.where(hz < SLANEY_BREAK_HZ, hz / SLANEY_HZ_PER_MEL, above)


def mel_to_hz(mel: NDArray[np.float64] | float, scale: MelScale) -> NDArray[np.float64]:
    """Convert mels to Hz: the inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return np.asarray(700 * (10 ** (mel / 2595) - 1))
    if scale == "kaldi":
        return np.asarray(700 * (np.exp(mel / KALDI_MEL) - 1))
    above = SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * (mel - SLANEY_BREAK_MEL))
    return np.where(mel < SLANEY_BREAK_MEL, mel * SLANEY_HZ_PER_MEL, above)


@lru_cache(maxsize=16)
def mel_filters(spec: MelSpec) -> FloatArray:
    """Return the triangular mel filters of a spec: of unit area over Hz (Slaney's norm), or Kaldi's.

    Returns
    -------
    array of shape (transform // 2 + 1, n_mels), float32, read-only

    Raises
    ------
    ParameterError
        If the spec has no mel bands.
    """
    if spec.n_mels is None:
        raise ParameterError(f"{spec}: has no mel bands; set n_mels")
    bins_hz = np.arange(spec.transform // 2 + 1, dtype=np.float64) * (spec.sample_rate / spec.transform)
    edges = np.linspace(hz_to_mel(spec.fmin_hz, spec.scale), hz_to_mel(spec.fmax_hz, spec.scale), spec.n_mels + 2)
    if spec.scale == "kaldi":
        filters = _triangles(hz_to_mel(bins_hz, "kaldi"), edges)
        filters[-1] = 0
    else:
        edges = mel_to_hz(edges, spec.scale)
        filters = _triangles(bins_hz, edges) * (2 / (edges[2:] - edges[:-2]))
    out = filters.astype(np.float32)
    out.flags.writeable = False  # every caller gets this one array
    return out


def _triangles(bins: NDArray[np.floating], edges: NDArray[np.floating]) -> NDArray[np.floating]:
    """Triangles with a peak of 1, each from one edge to the next but one, at the places of the bins."""
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, np.newaxis] - lower) / (centre - lower)
    falling = (upper - bins[:, np.newaxis]) / (upper - centre)
    return np.maximum(0, np.minimum(rising, falling))


@lru_cache(maxsize=16)
def hann(n: int, kind: Literal["periodic", "symmetric"] = "periodic") -> FloatArray:
    """Return the Hann window of `n` values, float32."""
    period = n if kind == "periodic" else n - 1
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / period)).astype(np.float32)


def spectrogram(spec: MelSpec, window: FloatArray) -> FloatArray:
    """Return the spectrogram of one window, in mel bands where the spec has them, before the level rule.

    Parameters
    ----------
    spec : MelSpec
    window : array of shape (n_samples,), float32

    Returns
    -------
    array of shape (n_frames, n_bands), float32

    Raises
    ------
    ParameterError
        If the window is too short to be reflected at its edges, where the spec wants that.
    """
    return np.asarray(_spectrograms(spec, window[np.newaxis])[0])


def _spectrograms(spec: MelSpec, windows: FloatArray) -> FloatArray:
    """Return the spectrograms of windows, shape (n_windows, n_frames, n_bands)."""
    if spec.pre_emphasis:
        windows = windows[:, 1:] - np.float32(spec.pre_emphasis) * windows[:, :-1]
    padded = np.ascontiguousarray(_padded(spec, windows))  # columns stay columns where they are concatenated
    shape = (len(windows), spec.n_frames, spec.frame)
    strides = (padded.strides[0], spec.hop * padded.itemsize, padded.itemsize)
    frames = np.ndarray(shape, padded.dtype, padded, strides=strides)  # a view: sliding_window_view takes long
    out = np.empty((len(windows), spec.n_frames, spec.n_bands), np.float32)
    # The sums of a product depend on how many frames it has: those of short transforms stay together.
    step = max(1, PIECE // spec.transform) if spec.transform >= LONG_TRANSFORM else spec.n_frames
    for first in range(0, spec.n_frames, step):
        _transform(spec, frames[:, first : first + step], out[:, first : first + step])
    return out


def _transform(spec: MelSpec, frames: FloatArray, out: FloatArray) -> None:
    """Compute the rows of some frames of each window, shape (n_windows, n, frame), into `out`."""
    spectrum = scipy.fft.rfft(frames * hann(spec.frame, spec.hann), spec.transform, axis=-1, overwrite_x=True)
    values = np.abs(spectrum) if spec.power == 1 else spectrum.real**2 + spectrum.imag**2
    if spec.n_mels is None:
        out[:] = values
        return
    for bins, bands, filters in _blocks(spec):
        # A product for each window: of all at once, sums might be rounded otherwise.
        np.matmul(values[..., bins], filters, out=out[..., bands])


@lru_cache(maxsize=16)
def _blocks(spec: MelSpec) -> list[tuple[slice, slice, FloatArray]]:
    """Return groups of neighbouring filters with the bins that any of a group weights: a fifth of the products or less.

    Only on Kaldi's scale and for long transforms: elsewhere there is little to gain, sums would be rounded otherwise,
    and embeddings change with them.
    """
    filters = mel_filters(spec)
    if spec.scale != "kaldi" and spec.transform < LONG_TRANSFORM:
        return [(slice(None), slice(None), filters)]
    n_bands = filters.shape[1]
    blocks = []
    n_blocks = min(n_bands, BLOCKS) if spec.scale == "kaldi" else -(-n_bands // BLOCK_BANDS)
    for part in np.array_split(np.arange(n_bands), n_blocks):
        bands = slice(part[0], part[-1] + 1)
        used = np.flatnonzero(filters[:, bands].any(axis=1))
        bins = slice(used[0], used[-1] + 1) if len(used) else slice(0, 1)
        blocks.append((bins, bands, np.ascontiguousarray(filters[bins, bands])))
    return blocks


def _padded(spec: MelSpec, windows: FloatArray) -> FloatArray:
    """Return the buffers that frames are read from; those past a window's end see zeros, as in kapre."""
    length = windows.shape[1]
    size = max((spec.n_frames - 1) * spec.hop + spec.frame, spec.lead + length)
    if spec.edges == "reflected":
        after = size - spec.lead - length
        if max(spec.lead, after) >= length:
            raise ParameterError(
                f"window of {length} samples: too short to be reflected at its edges; give more than "
                f"{max(spec.lead, after)}"
            )
        return np.concatenate([windows[:, spec.lead : 0 : -1], windows, windows[:, -2 : -2 - after : -1]], axis=1)
    padded = np.zeros((len(windows), size), np.float32)
    padded[:, spec.lead : spec.lead + length] = windows
    return padded


def absolute_level_db(powers: FloatArray) -> FloatArray:
    """Return powers as levels in dB, with a floor at -70 dB."""
    return np.asarray(10 * np.log10(np.maximum(powers, ABSOLUTE_FLOOR)), np.float32)


def log_spectrogram(spec: MelSpec, windows: FloatArray) -> FloatArray:
    """Return the log-spectrograms of windows.

    Parameters
    ----------
    spec : MelSpec
    windows : array of shape (n_windows, n_samples), float32

    Returns
    -------
    array of shape (n_windows, n_bands, n_frames), float32, in dB (natural logarithms where the level rule is ``ln``)
    """
    out = np.empty((len(windows), spec.n_bands, spec.n_frames), np.float32)
    step = max(1, PIECE // (spec.n_frames * spec.transform))
    for first in range(0, len(windows), step):
        part = slice(first, first + step)
        out[part] = _levels(spec, _spectrograms(spec, windows[part])).swapaxes(1, 2)
    return out


def _levels(spec: MelSpec, values: FloatArray) -> FloatArray:
    """Apply the level rule to spectrograms, shape (n_windows, n_frames, n_bands), which are used up."""
    if spec.level == "db_absolute":
        return absolute_level_db(values)
    if spec.level == "ln":
        return np.asarray(np.log(values + LN_OFFSET))
    level = np.log10(np.maximum(values, POWER_FLOOR, out=values), out=values)
    level *= 10
    top = level.max(axis=(1, 2), keepdims=True)
    level -= top
    np.maximum(level, -RANGE_DB, out=level)
    if spec.level == "db":
        level += top
    return level
