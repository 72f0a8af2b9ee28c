"""Sound files and arrays become windows: decode, downmix, resample, frame.

Rule: everything is read in blocks, so that ten hours need no more memory than a minute, and a clip
gives the same windows whether it was read at once or in blocks. Whatever cannot be read correctly
is an `AudioError` that names the file: a short read is never passed off as a shorter clip.
"""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

from l3clf.errors import AudioError, ParameterError
from l3clf.soundfiles import SoundFile, check_complete, check_pages, check_rate, decoder_reason, open_sound, shown

__all__ = [
    "REVISION",
    "Clip",
    "Framing",
    "Samples",
    "Source",
    "duration_s",
    "level_dbfs",
    "load",
    "mono",
    "piece_frames",
    "read_blocks",
]

REVISION = "soxr-VHQ/2"
"""Part of every embedder's fingerprint: raise it when decoding, downmix, resampling or framing change."""

RESAMPLE_QUALITY = "VHQ"
MOST_CHANNELS = 64
BLOCK_S = 10.0
SILENCE_DBFS = -200.0
"""The level given to digital silence, whose logarithm is minus infinity."""

LARGEST_SAMPLE = 1e10
"""More than 32-bit integers that were never scaled; the powers of what is far beyond overflow in front-ends."""

FloatArray: TypeAlias = NDArray[np.float32]

LONGEST_HOP_S = 1e6


@dataclass(frozen=True)
class Clip:
    """A sound file, or a piece of one.

    Parameters
    ----------
    path : str or os.PathLike
        The sound file. It is not opened before it is needed.
    start_s : float, default=0.0
        Where the piece starts, in seconds from the start of the file.
    end_s : float or None, default=None
        Where the piece ends, in seconds; None means the end of the file.

    Raises
    ------
    ParameterError
        If the times are not finite, negative, or the piece would end before it starts.

    Examples
    --------
    >>> Clip("street.wav", 1.5, 4.0)
    Clip(path='street.wav', start_s=1.5, end_s=4.0)
    """

    path: str
    start_s: float = 0.0
    end_s: float | None = None

    def __init__(self, path: str | os.PathLike[str], start_s: float = 0.0, end_s: float | None = None) -> None:
        # Written out, and not left to dataclass, so that any path-like is taken and kept as a str.
        if not isinstance(path, str | os.PathLike):
            raise ParameterError(f"path={path!r}; expected a str or a path")
        object.__setattr__(self, "path", os.fsdecode(path))
        try:
            object.__setattr__(self, "start_s", float(start_s))
            object.__setattr__(self, "end_s", None if end_s is None else float(end_s))
        except (TypeError, ValueError):
            raise ParameterError(f"{self}: start_s={start_s!r}, end_s={end_s!r}; expected seconds") from None
        if not (math.isfinite(self.start_s) and self.start_s >= 0):
            raise ParameterError(f"{shown(self.path)}: start_s={start_s}; expected a finite number of seconds >= 0")
        if self.end_s is not None and not (math.isfinite(self.end_s) and self.end_s > self.start_s):
            raise ParameterError(
                f"{shown(self.path)}: end_s={end_s}; expected a number of seconds greater than start_s={start_s}"
            )

    @property
    def is_whole(self) -> bool:
        """Whether the clip is the whole file."""
        return self.start_s == 0.0 and self.end_s is None

    def __str__(self) -> str:
        if self.is_whole:
            return shown(self.path)
        return f"{shown(self.path)} [{self.start_s:g} s to {'end' if self.end_s is None else f'{self.end_s:g} s'}]"


@dataclass(frozen=True, eq=False)
class Samples:
    """A clip that is already in memory.

    Parameters
    ----------
    samples : array of shape (n,) or (n, channels)
        Floating point with full scale at 1.0, or signed/unsigned integers with their own full scale.
    sample_rate : int
        In Hz, 1,000 to 768,000.
    label : str, default="array"
        What messages call this clip.
    """

    samples: NDArray[Any]
    sample_rate: int
    label: str = "array"

    def __str__(self) -> str:
        return self.label


Source: TypeAlias = Clip | Samples


@dataclass(frozen=True)
class Framing:
    """How a clip is cut into windows: upstream OpenL3's rule, for any window and hop.

    With `center`, half a window of zeros is put before the clip, so that the first window is centred
    on the clip's start. The end is padded with zeros to a whole number of hops, so that every sample
    is heard; a clip shorter than one window is padded to one.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    window : int
        Samples in a window.
    hop : int
        Samples from the start of one window to the start of the next.
    center : bool
        See above.
    """

    sample_rate: int
    window: int
    hop: int
    center: bool

    @classmethod
    def of(cls, sample_rate: int, window_s: float, hop_s: float, center: bool) -> "Framing":
        """Make a framing from seconds; both are rounded to whole samples.

        Raises
        ------
        ParameterError
            If `hop_s` is not a positive number of at least one sample and at most 1e6 s.
        """
        if not isinstance(hop_s, int | float | np.number) or isinstance(hop_s, bool):
            raise ParameterError(f"hop_s={hop_s!r}; expected a number of seconds, such as 0.5")
        if not (hop_s <= LONGEST_HOP_S and round(hop_s * sample_rate) >= 1):
            raise ParameterError(f"hop_s={hop_s}; expected a positive number of seconds up to 1e6, such as 0.5")
        return cls(sample_rate, round(window_s * sample_rate), round(hop_s * sample_rate), bool(center))

    @property
    def lead(self) -> int:
        """Zeros put before the clip, in samples."""
        return self.window // 2 if self.center else 0

    def count(self, n_samples: int) -> int:
        """Return the number of windows in a clip of `n_samples` samples."""
        rest = n_samples + self.lead - self.window
        return 1 + max(0, math.ceil(rest / self.hop))

    def times_s(self, n_windows: int) -> NDArray[np.float64]:
        """Return start and end of each window in seconds, clip start = 0, shape (n_windows, 2).

        Examples
        --------
        >>> Framing.of(48000, 1.0, 0.5, center=True).times_s(2).tolist()
        [[-0.5, 0.5], [0.0, 1.0]]
        """
        starts = np.arange(n_windows) * self.hop - self.lead
        return np.stack([starts, starts + self.window], axis=1) / self.sample_rate

    def windows(self, blocks: Iterable[FloatArray], most: int = 64) -> Iterator[FloatArray]:
        """Cut blocks of one clip into windows.

        Parameters
        ----------
        blocks : iterable of arrays of shape (n,)
            The clip's samples in order, mono, at `sample_rate`.
        most : int, default=64
            The most windows in one yielded array, which bounds the memory needed.

        Yields
        ------
        array of shape (n_windows, window), float32
            In order; together they are all windows of the clip.
        """
        pending = np.zeros(self.lead, np.float32)
        n_samples = n_done = skip = 0
        for block in blocks:
            n_samples += len(block)
            pending, skip = self._advance(np.concatenate([pending, block]), skip)
            ready = (len(pending) - self.window) // self.hop + 1 if len(pending) >= self.window else 0
            for first in range(0, ready, most):
                yield self._cut(pending, first, min(most, ready - first))
            n_done += ready
            pending, skip = self._advance(pending, skip + ready * self.hop)
        if n_done < self.count(n_samples):
            yield np.pad(pending, (0, self.window - len(pending)))[np.newaxis]

    @staticmethod
    def _advance(pending: FloatArray, n: int) -> tuple[FloatArray, int]:
        """Drop n samples; what is still to be dropped (a hop longer than a window) comes back."""
        return pending[n:], max(0, n - len(pending))

    def _cut(self, pending: FloatArray, first: int, n: int) -> FloatArray:
        view = np.lib.stride_tricks.sliding_window_view(pending, self.window)
        return np.ascontiguousarray(view[first * self.hop :: self.hop][:n])


def level_dbfs(windows: FloatArray) -> FloatArray:
    """Return the RMS level of each window in dB relative to full scale.

    A constant 1.0 has 0 dBFS, a full-scale sine -3.01; digital silence is given -200.

    Parameters
    ----------
    windows : array of shape (n_windows, n_samples)

    Returns
    -------
    array of shape (n_windows,), float32
    """
    power = np.einsum("ij,ij->i", windows, windows, dtype=np.float64) / windows.shape[1]
    floor = 10 ** (SILENCE_DBFS / 10)
    return np.asarray(10 * np.log10(np.maximum(power, floor)), np.float32)


def duration_s(clip: Clip) -> float:
    """Return how long a clip is, in seconds, from the file's header alone.

    Raises
    ------
    AudioError
        If the file cannot be opened.
    """
    with open_sound(clip.path) as file:
        start, stop = piece_frames(clip, file)
        return float((stop - start) / file.samplerate)


def load(clip: Clip, sample_rate: int | None = None) -> tuple[FloatArray, int]:
    """Read a whole clip as mono.

    Parameters
    ----------
    clip : Clip
    sample_rate : int or None, default=None
        Resample to this rate in Hz; None keeps the file's own.

    Returns
    -------
    samples : array of shape (n,), float32
    sample_rate : int

    Raises
    ------
    AudioError
        If the file cannot be read completely.
    """
    with open_sound(clip.path) as file:
        rate = sample_rate or int(file.samplerate)
    blocks = list(read_blocks(clip, rate))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32), rate


def read_blocks(source: Source, sample_rate: int, block_s: float = BLOCK_S) -> Iterator[FloatArray]:
    """Read a clip as mono blocks at a given rate, with bounded memory.

    Parameters
    ----------
    source : Clip or Samples
    sample_rate : int
        The rate wanted, in Hz.
    block_s : float, default=10.0
        About how much is held at once, in seconds.

    Yields
    ------
    array of shape (n,), float32

    Raises
    ------
    AudioError
        If the file cannot be read completely, holds no samples, or holds NaN or infinity.
    """
    if isinstance(source, Samples):
        check_rate(source.sample_rate, str(source))
        blocks: Iterator[FloatArray] = iter([mono(source.samples, str(source))])
        own_rate = source.sample_rate
        yield from _resampled(blocks, own_rate, sample_rate)
        return
    with open_sound(source.path) as file:
        yield from _resampled(_file_blocks(source, file, block_s), file.samplerate, sample_rate)


def mono(samples: ArrayLike, label: str = "samples") -> FloatArray:
    """Check samples and mix them to mono: the mean of the channels, float32, full scale at 1.0.

    Parameters
    ----------
    samples : array of shape (n,) or (n, channels)
    label : str
        What messages call them.

    Raises
    ------
    AudioError
        If the shape or type is wrong, there is no sample, or one is NaN, infinite or above 1e10.
    """
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MOST_CHANNELS):
        raise AudioError(
            f"{label}: found an array of shape {array.shape}; expected (n,) or (n, channels) with at most "
            f"{MOST_CHANNELS} channels (transpose it if channels come first)"
        )
    if array.shape[0] == 0:
        raise AudioError(f"{label}: holds no samples; leave it out or record it again")
    scaled = _full_scale(array, label)
    mixed: FloatArray = scaled if scaled.ndim == 1 else scaled.mean(axis=1, dtype=np.float32)
    _check_finite(mixed, label)
    return np.ascontiguousarray(mixed)


def _full_scale(array: NDArray[Any], label: str) -> FloatArray:
    if array.dtype.kind == "f":
        return np.asarray(array, np.float32)
    if array.dtype.kind == "i":
        return np.asarray(array / -float(np.iinfo(array.dtype).min), np.float32)
    if array.dtype == np.uint8:  # 8-bit WAV is unsigned, with its zero at 128
        return np.asarray((array.astype(np.float32) - 128) / 128, np.float32)
    raise AudioError(f"{label}: samples of type {array.dtype}; expected floating point or signed integers")


def _check_finite(samples: FloatArray, label: str, offset_s: float = 0.0, rate: float | None = None) -> None:
    if not len(samples) or (samples.max() <= LARGEST_SAMPLE and samples.min() >= -LARGEST_SAMPLE):  # NaN is neither
        return
    first = int(np.flatnonzero(~(np.abs(samples) <= LARGEST_SAMPLE))[0])
    where = f"sample {first}" if rate is None else f"{offset_s + first / rate:.3f} s"
    found = f"a sample of {samples[first]:.1e}" if np.isfinite(samples[first]) else "NaN or infinite samples"
    raise AudioError(f"{label}: holds {found}, the first at {where}; repair or leave out the clip")


def piece_frames(clip: Clip, file: SoundFile) -> tuple[int, int]:
    """First frame and the one after the last, checked against the file's length."""
    length_s = file.frames / file.samplerate
    if clip.start_s >= length_s:
        raise AudioError(f"{clip}: starts after the file's end at {length_s:.3f} s; correct start_s")
    start = round(clip.start_s * file.samplerate)
    # Label tracks round: an end a few hundredths past the file's is its end.
    if clip.end_s is not None and clip.end_s > length_s + 0.05:
        raise AudioError(f"{clip}: ends after the file's end at {length_s:.3f} s; correct end_s")
    stop = file.frames if clip.end_s is None else min(round(clip.end_s * file.samplerate), file.frames)
    if stop <= start:
        raise AudioError(f"{clip}: shorter than one sample at {file.samplerate} Hz; correct start_s or end_s")
    return start, stop


def _file_blocks(clip: Clip, file: SoundFile, block_s: float) -> Iterator[FloatArray]:
    start, stop = piece_frames(clip, file)
    label, rate = str(clip), file.samplerate
    check_pages(clip.path, file)
    try:
        file.skip(start)
        position = start
        while position < stop:
            block = file.read(min(max(1, int(block_s * rate)), stop - position), dtype="float32", always_2d=True)
            if not len(block):
                break
            mixed = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
            _check_finite(mixed, label, position / rate, rate)
            position += len(block)
            yield mixed
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{label}: the file is damaged or cut off ({decoder_reason(error)}); copy or record it again"
        ) from None
    check_complete(clip.path, label, file, position - start, stop - start)


def _resampled(blocks: Iterator[FloatArray], rate_in: int, rate_out: int) -> Iterator[FloatArray]:
    if rate_in == rate_out:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality=RESAMPLE_QUALITY)
    for block in blocks:
        out = stream.resample_chunk(np.ascontiguousarray(block))
        if len(out):
            yield out
    tail = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    if len(tail):
        yield tail
