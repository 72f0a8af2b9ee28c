"""Reading sound files: opening, checking, decoding, mixing to mono and resampling.

Rule: everything is read in blocks, so that ten hours need no more memory than a minute. A damaged or truncated file
raises an `AudioError` that names it, even where libsndfile does not complain: it is never read as a shorter clip.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray

from l3clf.audio.clip import Clip, FloatArray, Samples, Source, full_scale_of, printable_path
from l3clf.audio.ffmpeg import is_foreign, version
from l3clf.audio.layout import layout_of
from l3clf.audio.levels import FILE_BITS, LevelNote, Meter, check_integers, tell_note
from l3clf.audio.ogg_pages import check_pages
from l3clf.audio.resampling import Resampler
from l3clf.audio.sound_file import MAX_CHANNELS, Sound, check_rate, decoder_reason, open_sound
from l3clf.errors import AudioError, ClipWarning

__all__ = [
    "REVISION",
    "check_finite",
    "check_header",
    "check_mix",
    "check_shape",
    "decode_revision",
    "decoder_of",
    "duration_s",
    "load",
    "mono",
    "open_sound",
    "piece_frames",
    "read_blocks",
    "scaled",
]

REVISION = "soxr-VHQ/2"
"""Part of every embedder's fingerprint: change it when decoding, downmix, resampling or framing change."""

MAX_SAMPLE = 1e10  # above unscaled 32-bit integers; the powers of much larger values overflow in the front-ends
BLOCK_S = 10.0
REVISIONS = {
    "chained ogg": "ogg/2",
    "flac without length": "flac/2",
    "joined flac": "flac/2",
    "joined wav": "wav/2",
    "mp3": "mp3/2",
    "wav without length": "wav/2",
    "wrong length": "wrong length/2",
}
"""Of what was once decoded differently, by decoder: see `decode_revision`."""

MAY_BE_LONGER = ("wav without length", "flac without length")
"""Decoders of files that may hold more than their headers announce."""


def decoder_of(path: str) -> str:
    """Return a short tag of how a file is decoded, found from its bytes; empty if it cannot be read."""
    try:
        found = layout_of(path)
        if found.decoder in REVISIONS:  # also one that is refused: it was not always
            return found.decoder
        if not found.decoder and is_foreign(path):  # also where ffmpeg is missing
            return "ffmpeg"
        with open_sound(path) as file:
            return file.format.lower()
    except (OSError, ValueError):  # AudioError is a ValueError, and so is a NUL byte in a name
        return ""


def decode_revision(decoder: str) -> str:
    """Return what distinguishes samples of a decoder from those it gave before; empty where they are the same.

    Part of the key of cached embeddings, so that those of a file that was once read differently are not used.
    """
    return f"ffmpeg {version()}/1" if decoder == "ffmpeg" else REVISIONS.get(decoder, "")


def duration_s(clip: Clip) -> float:
    """Return the length of a clip in seconds, from the header of its file.

    Raises
    ------
    AudioError
        If the file cannot be opened, or the clip lies outside it.
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
        Resample to this rate in Hz; None keeps the rate of the file.

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
    """Read a clip in mono blocks at a given sample rate, with bounded memory.

    Parameters
    ----------
    source : Clip or Samples
    sample_rate : int
        Sample rate of the blocks, in Hz.
    block_s : float, default=10.0
        Approximate length of a block, in seconds.

    Yields
    ------
    array of shape (n,), float32

    Raises
    ------
    AudioError
        If the file cannot be read completely, holds no samples, or holds NaN or infinite samples.
    """
    if isinstance(source, Samples):
        check_rate(source.sample_rate, source.label)
        yield from _resampled(
            iter([mono(source.samples, source.label, source.full_scale)]), source.sample_rate, sample_rate
        )
        return
    with open_sound(source.path) as file:
        _tell_header(source, file)
        yield from _resampled(_file_blocks(source, file, block_s), file.samplerate, sample_rate)


def check_mix(clip: Clip) -> None:
    """Read a file only for what its level tells, if its channels are mixed to mono, or its integers may be narrow.

    Raises
    ------
    AudioError
        If the file cannot be read completely.
    """
    with open_sound(clip.path) as file:
        if file.channels > 1 or getattr(file, "subtype", "") in FILE_BITS:
            for _ in _file_blocks(clip, file, BLOCK_S):
                pass


def check_header(clip: Clip, decoder: str) -> None:
    """Tell what reading a clip would tell about the header of its file, if it is decoded in a way that can be so.

    Parameters
    ----------
    clip : Clip
    decoder : str
        As from `decoder_of`.

    Raises
    ------
    AudioError
        If the file cannot be opened.
    """
    if decoder in MAY_BE_LONGER:
        with open_sound(clip.path) as file:
            _tell_header(clip, file)


def mono(samples: ArrayLike, label: str = "samples", full_scale: float | None = None) -> FloatArray:
    """Check samples and mix them to mono: the mean of the channels, float32, full scale at 1.0.

    Parameters
    ----------
    samples : array of shape (n,) or (n, channels)
        Floating point with full scale at 1.0, or signed integers or uint8 with full scale at their limits.
    label : str
        The name of the samples in messages.
    full_scale : float or None, default=None
        The value of a sample at full scale, if it is another.

    Returns
    -------
    array of shape (n,), float32

    Raises
    ------
    AudioError
        If the shape or type is wrong, there is no sample, or the magnitude of one is NaN, infinite or above 1e10.
    """
    array = np.asarray(samples)
    check_shape(array, label)
    if array.shape[0] == 0:
        raise AudioError(f"{label}: holds no samples; leave it out or record it again")
    meter = Meter(label, full_scale)
    mixed = meter.mixed(scaled(array, label, full_scale))
    check_finite(mixed, label)
    meter.finish()
    return np.ascontiguousarray(mixed)


def check_shape(array: NDArray[Any], label: str) -> None:
    """Raise AudioError for an array that is neither (n,) nor (n, channels)."""
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MAX_CHANNELS):
        raise AudioError(
            f"{label}: array of shape {array.shape}; expected (n,) or (n, channels) with at most "
            f"{MAX_CHANNELS} channels (transpose it if channels come first)"
        )


def scaled(array: NDArray[Any], label: str, full_scale: float | None = None) -> FloatArray:
    """Return samples of any shape as float32 with full scale at 1.0; see `mono`."""
    if array.dtype.kind == "f":
        return _divided(array, full_scale)
    if array.dtype.kind == "i":
        if full_scale is None:
            check_integers(array, label)
            full_scale = -float(np.iinfo(array.dtype).min)  # as libsndfile scales them
        return np.asarray(array / full_scale, np.float32)
    if array.dtype == np.uint8:  # 8-bit WAV is unsigned, with its zero at 128
        return np.asarray((array.astype(np.float32) - 128) / (full_scale or 128), np.float32)
    raise AudioError(f"{label}: samples of type {array.dtype}; expected floating point, signed integers or uint8")


def _divided(samples: NDArray[np.floating], full_scale: float | None) -> FloatArray:
    with np.errstate(over="ignore"):  # infinity is refused with the clip's name
        # In double precision: a large full scale overflows half precision.
        return np.asarray(samples if full_scale is None else samples.astype(np.float64) / full_scale, np.float32)


def check_finite(samples: FloatArray, label: str, offset_s: float = 0.0, rate: float | None = None) -> None:
    """Raise AudioError for samples, shape (n,), of which one is NaN, infinite or of a magnitude above 1e10."""
    if not len(samples) or (samples.max() <= MAX_SAMPLE and samples.min() >= -MAX_SAMPLE):  # both false for NaN
        return
    first = int(np.flatnonzero(~(np.abs(samples) <= MAX_SAMPLE))[0])
    where = f"sample {first}" if rate is None else f"{offset_s + first / rate:.3f} s"
    found = f"a sample of {samples[first]:.1e}" if np.isfinite(samples[first]) else "NaN or infinite samples"
    raise AudioError(f"{label}: holds {found}, the first at {where}; repair or leave out the clip")


def piece_frames(clip: Clip, file: Sound) -> tuple[int, int]:
    """Return the first frame of a clip and the frame after its last, checked against the length of the file."""
    length_s = file.frames / file.samplerate
    if clip.start_s >= length_s:
        raise AudioError(f"{clip}: starts after the file's end at {length_s:.3f} s; correct start_s")
    start = round(clip.start_s * file.samplerate)
    # Times in label tracks are rounded: an end a few hundredths of a second past the end of the file means that end.
    if clip.end_s is not None and clip.end_s > length_s + 0.05:
        raise AudioError(f"{clip}: ends after the file's end at {length_s:.3f} s; correct end_s")
    stop = file.frames if clip.end_s is None else min(round(clip.end_s * file.samplerate), file.frames)
    if stop <= start:
        raise AudioError(f"{clip}: shorter than one sample at {file.samplerate} Hz; correct start_s or end_s")
    return start, stop


# --- reading --------------------------------------------------------------------------------------


def _file_blocks(clip: Clip, file: Sound, block_s: float) -> Iterator[FloatArray]:
    # Where the length costs a second reading, the end of a whole clip is simply where nothing more comes.
    start, stop = (0, sys.maxsize) if file.is_streamed and clip.is_whole else piece_frames(clip, file)
    label, rate = str(clip), file.samplerate
    if file.format == "OGG":
        found = Path(clip.path).stat()
        check_pages(clip.path, found.st_size, found.st_mtime_ns)
    # Integers are scaled by libsndfile to the full scale of their format.
    subtype = getattr(file, "subtype", "")
    full_scale = full_scale_of(clip) if subtype in ("FLOAT", "DOUBLE") else None
    meter = Meter(label, full_scale, subtype)
    try:
        file.skip(start)
        position = start
        while position < stop:
            block = file.read_frames(min(max(1, int(block_s * rate)), stop - position))
            if not len(block):
                break
            mixed = meter.mixed(_divided(block, full_scale))
            check_finite(mixed, label, position / rate, rate)
            position += len(block)
            yield mixed
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{label}: is damaged or cut off ({decoder_reason(error)}); copy or record it again") from None
    except OSError as error:
        raise AudioError(f"{label}: cannot be read on ({error.strerror}); copy it again") from None
    if stop < sys.maxsize:
        _check_complete(label, file, position - start, stop - start)
    meter.finish()


def _tell_header(clip: Clip, file: Sound) -> None:
    """Tell where sound was found beyond the length that a header gives."""
    announced_s = layout_of(clip.path).announced_s
    if announced_s is not None:
        found = (
            f"its header announces {announced_s:.3f} s of sound, but it holds {file.frames / file.samplerate:.3f} s, "
            "all of which is read"
        )
        advice = "listen to its end if the recorder crashed"
        tell_note(LevelNote("header", printable_path(clip.path), found, advice, ClipWarning))


def _resampled(blocks: Iterator[FloatArray], rate_in: int, rate_out: int) -> Iterator[FloatArray]:
    resampler = Resampler(rate_in, rate_out)
    for block in blocks:
        out = resampler.push(block)
        if len(out):
            yield out
    tail = resampler.finish()
    if len(tail):
        yield tail


def _check_complete(label: str, file: Sound, found: int, announced: int) -> None:
    """Refuse a file of which fewer frames could be decoded than its header announces."""
    if found < announced - file.slack or found == 0:
        raise AudioError(
            f"{label}: is damaged or cut off ({found / file.samplerate:.3f} s of "
            f"{announced / file.samplerate:.3f} s could be decoded); copy, convert or record it again"
        )
