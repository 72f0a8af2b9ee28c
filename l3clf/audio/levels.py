"""Whether the level of a clip can be right: its scale, its channels against their mix, digital silence.

Rule: a check changes no sample, and is complete only at the end of a clip, however it is read. What is found is told
with one warning for all clips of a call, which names the first: inside `collecting`, notes are kept for `warn_of`.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.errors import ClipWarning, LevelWarning, ParameterError

__all__ = [
    "FILE_BITS",
    "SILENT_DBFS",
    "LevelNote",
    "Meter",
    "all_silent",
    "check_full_scale",
    "check_integers",
    "check_levels",
    "collecting",
    "tell_note",
    "warn_of",
]

SILENT_DBFS = -100.0
"""A window below it is digital silence: the last bit of 16-bit samples alone is at -90 dBFS."""

MAX_PEAK = 8.0  # times full scale: 18 dB more than any recorder or decoder leaves above it
MAX_CANCELLED_DB = 40.0  # channels that differ in more than their sign do not cancel as far as this
MIN_CHANNEL_POWER = 1e-10  # -100 dBFS: nothing was there to be cancelled
MIN_SAMPLES = 100  # fewer say nothing about their scale
MIN_INTEGER = 4  # an integer peak below it is the dither of silence, at any scale
INTEGER_BITS = (16, 24, 32)
BYTE = 256  # 24-bit samples are kept in the upper three bytes of 32
FAINT = 10 ** (-90 / 20)  # no recording is as faint: 16-bit samples read as 32-bit ones have peaks below it
MIN_FAINT_INTEGER = 64  # a smaller peak in the lowest bits of a file is its converter's noise
FILE_BITS = {"PCM_24": 24, "PCM_32": 32}
MIN_INTEGER_SCALE = 128.0  # the smallest full scale of integers, that of eight bits


@dataclass(frozen=True)
class LevelNote:
    """What is doubtful about one clip.

    Attributes
    ----------
    kind : str
        Notes of one kind share a warning.
    label : str
        The clip.
    found, advice : str
        Two parts of a message.
    category : type
        Of the warning.
    """

    kind: str
    label: str
    found: str
    advice: str
    category: type[ClipWarning] = LevelWarning


_notes: ContextVar[list[LevelNote] | None] = ContextVar("l3clf_level_notes", default=None)


@contextmanager
def collecting(notes: list[LevelNote]) -> Iterator[None]:
    """Collect notes of this thread in a list; without it, each is a warning at once."""
    token = _notes.set(notes)
    try:
        yield
    finally:
        _notes.reset(token)


def warn_of(notes: Iterable[LevelNote], n_clips: int, stacklevel: int = 2) -> None:
    """Give one warning for each kind of note, with the number of clips and the first of them.

    Parameters
    ----------
    notes : iterable of LevelNote
    n_clips : int
        Number of clips in the call.
    stacklevel : int, default=2
        Of the caller, as in `warnings.warn`.
    """
    by_kind: dict[str, list[LevelNote]] = {}
    for note in notes:
        by_kind.setdefault(note.kind, []).append(note)
    for same in by_kind.values():
        first = same[0]
        what = first.label if len(same) == 1 else f"{len(same)} of {n_clips} clips, the first {first.label}"
        warnings.warn(f"{what}: {first.found}; {first.advice}", first.category, stacklevel=stacklevel + 1)


def tell_note(note: LevelNote) -> None:
    """Keep a note for `warn_of`, or warn at once where notes are not collected."""
    _tell(note)


def _tell(note: LevelNote) -> None:
    notes = _notes.get()
    if notes is None:
        warn_of([note], 1, stacklevel=4)
    else:
        notes.append(note)


def check_full_scale(full_scale: object) -> None:
    """Raise ParameterError for a full scale that is neither None nor a positive finite number."""
    number = isinstance(full_scale, int | float | np.number) and not isinstance(full_scale, bool)
    if full_scale is not None and not (number and 0 < full_scale < float("inf")):  # type: ignore[operator]
        raise ParameterError(f"full_scale={full_scale!r}; expected None or a positive number, such as 32768")


def all_silent(levels_dbfs: FloatArray) -> bool:
    """Return whether every window is below -100 dBFS; False for no window.

    Parameters
    ----------
    levels_dbfs : array of shape (n_windows,)
    """
    return len(levels_dbfs) > 0 and bool((levels_dbfs < SILENT_DBFS).all())


class Meter:
    """Mixes the blocks of one clip to mono, and tells at its end if the level cannot be right.

    Parameters
    ----------
    label : str
        The clip's name in messages.
    full_scale : float or None, default=None
        What the samples were divided by, if the user stated it.
    subtype : str, default=""
        How the samples are stored in a file, as libsndfile names it.
    """

    def __init__(self, label: str, full_scale: float | None = None, subtype: str = "") -> None:
        self._label, self._full_scale = label, full_scale
        self._bits, self._has_low_bits = FILE_BITS.get(subtype, 0), False
        self._peak = 0.0
        self._n = self._n_channels = 0
        self._channels_energy = self._mix_energy = 0.0

    def mixed(self, block: FloatArray) -> FloatArray:
        """Return the mean of the channels.

        Parameters
        ----------
        block : array of shape (n,) or (n, channels), float32
            With full scale at 1.0.

        Returns
        -------
        array of shape (n,), float32
        """
        if block.size:  # two passes without a third array of this size
            self._peak = max(self._peak, float(block.max()), -float(block.min()))
        self._n += len(block)
        if self._bits and self._peak < FAINT and not self._has_low_bits:  # such integers are exact in float32
            self._has_low_bits = bool((block * 2.0 ** (self._bits - 1) % BYTE).any())
        if block.ndim == 1:
            return block
        if block.shape[1] == 1:
            return np.asarray(block[:, 0])
        mix = _mean(block)
        self._n_channels = block.shape[1]
        self._channels_energy += _energy(block) / block.shape[1]
        self._mix_energy += _energy(mix)
        return mix

    def finish(self) -> None:
        """Tell what is doubtful about the clip, whose samples are finite."""
        if self._n >= MIN_SAMPLES:
            self._check_peak()
            self._check_mix()

    def _check_peak(self) -> None:
        scale = self._full_scale
        peak = self._peak * (scale or 1.0)
        if self._peak > MAX_PEAK:
            _tell(_too_loud(self._label, f"samples of up to {peak:,.{0 if peak > 100 else 1}f}", peak, scale))
        elif scale is not None and scale >= MIN_INTEGER_SCALE and 0 < peak <= 1:
            found = f"no sample exceeds {peak:.3g}, but full_scale={scale:g} was stated"
            _tell(LevelNote("faint", self._label, found, "leave full_scale out for clips whose full scale is 1"))
        elif self._has_low_bits and MIN_FAINT_INTEGER / 2 ** (self._bits - 1) <= self._peak < FAINT:
            found = (
                f"{self._bits}-bit samples of at most {self._peak * 2 ** (self._bits - 1):,.0f}: either samples of "
                "fewer bits were saved without scaling, or next to nothing was recorded"
            )
            advice = "save it again with the bits that its samples have (16-bit samples as PCM_16), or record it again"
            _tell(LevelNote("narrow file", self._label, found, advice))

    def _check_mix(self) -> None:
        if self._channels_energy < MIN_CHANNEL_POWER * self._n:
            return
        if self._mix_energy * 10 ** (MAX_CANCELLED_DB / 10) >= self._channels_energy:
            return
        left = "silent"
        if self._mix_energy > 0:
            left = f"{10 * np.log10(self._channels_energy / self._mix_energy):.0f} dB below them"
        found = f"its {self._n_channels} channels cancel each other, their mix to mono is {left}"
        _tell(LevelNote("cancelled", self._label, found, "invert one channel, or keep only one"))


def _too_loud(label: str, found: str, peak: float, full_scale: float | None) -> LevelNote:
    if full_scale is not None:
        return LevelNote("loud", label, f"{found} where full_scale={full_scale:g} was stated", "correct full_scale")
    advice = "pass their full scale as full_scale, or divide the samples by it"
    for bits in INTEGER_BITS:
        if MIN_INTEGER_SCALE < peak <= 2 ** (bits - 1):
            advice = f"pass full_scale={2 ** (bits - 1)} if they are {bits}-bit samples, or divide the samples by it"
            break
    return LevelNote("loud", label, f"{found} where full scale is 1", advice)


def check_levels(levels_dbfs: FloatArray, label: str, full_scale: float | None = None) -> None:
    """Tell if windows are so loud that the samples cannot be at full scale 1: all that is known of a cached clip.

    Parameters
    ----------
    levels_dbfs : array of shape (n_windows,)
    label : str
    full_scale : float or None, default=None
        What the samples were divided by, if the user stated it.
    """
    rms = 10 ** (float(levels_dbfs.max(initial=-np.inf)) / 20)  # no sample need reach the RMS exactly
    if rms > MAX_PEAK:
        peak = rms * (full_scale or 1.0)
        _tell(_too_loud(label, f"samples of {peak:,.{0 if peak > 100 else 1}f} and more", peak, full_scale))


def check_integers(array: NDArray[Any], label: str) -> None:
    """Tell if integers use so little of their type that they are samples of fewer bits.

    An int64 array holds samples of at most 32 bits: no recorder has more. An int32 array that fits 16 bits would be
    below -96 dBFS. One that fits 24 bits may be a quiet recording, unless its lowest byte is in use; then it may still
    be one, but the user is asked.

    Parameters
    ----------
    array : array of integers
    label : str
    """
    own_bits = 8 * array.dtype.itemsize
    if own_bits <= INTEGER_BITS[0] or array.size < MIN_SAMPLES:
        return
    peak = max(-int(array.min()), int(array.max()))
    bits = next((bits for bits in INTEGER_BITS if peak <= 2 ** (bits - 1)), own_bits)
    if peak < MIN_INTEGER or bits >= own_bits:
        return
    if (bits, own_bits) == (24, 32) and not (array % BYTE).any():
        return
    found = f"{array.dtype} samples of at most {peak:,} fit {bits} bits but are read as {own_bits}-bit samples"
    ways = [f"full_scale={2 ** (bits - 1)} if they have {bits} bits"]
    if own_bits in INTEGER_BITS:
        ways.append(f"full_scale={2 ** (own_bits - 1)} if not")
    else:  # nobody records 64 bits
        wider = [each for each in INTEGER_BITS if each > bits]
        ways += [f"full_scale={2 ** (each - 1)} if {each}" for each in wider] or ["divide them by their full scale"]
    advice = f"pass {', '.join(ways[:-1])}, or {ways[-1]}"
    _tell(LevelNote("narrow", label, found, advice))


def _mean(block: FloatArray) -> FloatArray:
    # Not the sum, so that the mix cannot exceed full scale.
    if block.shape[1] != 2:
        return np.asarray(block.mean(axis=1, dtype=np.float32))
    mix = block[:, 0] + block[:, 1]  # the same bits; NumPy's mean over two values takes 30 times as long
    mix *= np.float32(0.5)
    return np.asarray(mix)


def _energy(samples: FloatArray) -> float:
    flat = samples.ravel("K")
    with np.errstate(over="ignore"):  # samples as large are refused with the clip's name
        return float(np.dot(flat, flat))
