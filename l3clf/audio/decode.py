"""Reading sound files: opening, checking, decoding, mixing to mono and resampling.

Rule: everything is read in blocks, so that ten hours need no more memory than a minute. A damaged or truncated file
raises an `AudioError` that names it, even where libsndfile does not complain: it is never read as a shorter clip.
"""

import os
import re
import stat
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

from l3clf.audio.clip import Clip, FloatArray, Samples, Source, printable_path
from l3clf.audio.layout import layout_of
from l3clf.errors import AudioError

__all__ = [
    "REVISION",
    "SoundFile",
    "decode_revision",
    "decoder_of",
    "duration_s",
    "load",
    "mono",
    "open_sound",
    "piece_frames",
    "read_blocks",
]

REVISION = "soxr-VHQ/2"
"""Part of every embedder's fingerprint: change it when decoding, downmix, resampling or framing change."""

RESAMPLE_QUALITY = "VHQ"  # soxr's best; its cost is small beside that of an embedder
MIN_RATE_HZ, MAX_RATE_HZ = 1000, 768_000  # no recorder works outside; such a header is broken
MAX_CHANNELS = 64  # more is an array with channels first
MAX_SAMPLE = 1e10  # above unscaled 32-bit integers; the powers of much larger values overflow in the front-ends
BLOCK_S = 10.0
MP3_FRAME = 1152  # samples in the longest MP3 frame
# A program that writes to a pipe does not know the length and leaves one of these values in the header.
STREAMED_SIZES = range(0x7FFF_F000, 0x1_0000_0000)
# The "RIFF" size of a WAV file is not checked: many programs get it wrong, and only the data chunk matters.
CHUNK_SIZE = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
PREROLL_S = 2.0
"""Decoded and discarded before a piece of an MP3, Vorbis or Opus file: their decoders depend on preceding frames."""
REVISIONS = {
    "chained ogg": "ogg/2",
    "flac without length": "flac/2",
    "joined wav": "wav/2",
    "mp3": "mp3/2",
    "wav without length": "wav/2",
}
"""Of what was once decoded differently, by decoder: see `decode_revision`."""
BIT_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


class SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is untyped
    """A file that is only read forwards: soundfile seeks after each read, and MP3 is not exact after a seek."""

    def seekable(self) -> bool:
        """Return False, which keeps soundfile from seeking."""
        return False

    def skip(self, frames: int) -> None:
        """Move from the start of the file to a frame."""
        preroll = round(PREROLL_S * self.samplerate) if self.format in ("MP3", "MPEG", "OGG") else 0
        position = max(0, frames - preroll) if super().seekable() else 0
        if position:
            self.seek(position)
        while position < frames and (n := len(self.read(min(1 << 16, frames - position)))):
            position += n


def decoder_of(path: str) -> str:
    """Return a short tag of how a file is decoded, found from its bytes; empty if it cannot be read."""
    try:
        found = layout_of(path)
        if found.decoder:
            return found.decoder
        with open_sound(path) as file:
            return str(file.format).lower()
    except (OSError, ValueError):  # AudioError is a ValueError, and so is a NUL byte in a name
        return ""


def decode_revision(decoder: str) -> str:
    """Return what distinguishes samples of a decoder from those it gave before; empty where they are the same.

    Part of the key of cached embeddings, so that those of a file that was once read differently are not used.
    """
    return REVISIONS.get(decoder, "")


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
        _check_rate(source.sample_rate, source.label)
        yield from _resampled(iter([mono(source.samples, source.label)]), source.sample_rate, sample_rate)
        return
    with open_sound(source.path) as file:
        yield from _resampled(_file_blocks(source, file, block_s), file.samplerate, sample_rate)


def mono(samples: ArrayLike, label: str = "samples") -> FloatArray:
    """Check samples and mix them to mono: the mean of the channels, float32, full scale at 1.0.

    Parameters
    ----------
    samples : array of shape (n,) or (n, channels)
        Floating point with full scale at 1.0, or signed integers or uint8 with full scale at their limits.
    label : str
        The name of the samples in messages.

    Returns
    -------
    array of shape (n,), float32

    Raises
    ------
    AudioError
        If the shape or type is wrong, there is no sample, or the magnitude of one is NaN, infinite or above 1e10.
    """
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MAX_CHANNELS):
        raise AudioError(
            f"{label}: array of shape {array.shape}; expected (n,) or (n, channels) with at most "
            f"{MAX_CHANNELS} channels (transpose it if channels come first)"
        )
    if array.shape[0] == 0:
        raise AudioError(f"{label}: holds no samples; leave it out or record it again")
    scaled = _full_scale(array, label)
    # The mean, not the sum, so that the mix cannot exceed full scale.
    mixed: FloatArray = scaled if scaled.ndim == 1 else scaled.mean(axis=1, dtype=np.float32)
    _check_finite(mixed, label)
    return np.ascontiguousarray(mixed)


def _full_scale(array: NDArray[Any], label: str) -> FloatArray:
    if array.dtype.kind == "f":
        return np.asarray(array, np.float32)
    if array.dtype.kind == "i":
        return np.asarray(array / -float(np.iinfo(array.dtype).min), np.float32)  # as libsndfile scales them
    if array.dtype == np.uint8:  # 8-bit WAV is unsigned, with its zero at 128
        return np.asarray((array.astype(np.float32) - 128) / 128, np.float32)
    raise AudioError(f"{label}: samples of type {array.dtype}; expected floating point, signed integers or uint8")


def _check_finite(samples: FloatArray, label: str, offset_s: float = 0.0, rate: float | None = None) -> None:
    if not len(samples) or (samples.max() <= MAX_SAMPLE and samples.min() >= -MAX_SAMPLE):  # both false for NaN
        return
    first = int(np.flatnonzero(~(np.abs(samples) <= MAX_SAMPLE))[0])
    where = f"sample {first}" if rate is None else f"{offset_s + first / rate:.3f} s"
    found = f"a sample of {samples[first]:.1e}" if np.isfinite(samples[first]) else "NaN or infinite samples"
    raise AudioError(f"{label}: holds {found}, the first at {where}; repair or leave out the clip")


def open_sound(path: str) -> SoundFile:
    """Open a sound file and check its header.

    Raises
    ------
    AudioError
        If the file is missing, unreadable or not a sound file.
    """
    name = printable_path(path)
    _check_file(path, name)
    try:
        # soundfile itself rejects names that are not UTF-8; Windows has none of those.
        file = SoundFile(path if os.name == "nt" else os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{name}: is not a sound file that libsndfile can read ({_decoder_reason(error)}); "
            "convert it to WAV, FLAC, Ogg, Opus, MP3 or AIFF"
        ) from None
    except TypeError:  # soundfile needs more arguments for RAW files
        raise AudioError(f"{name}: has no header; convert it to WAV or FLAC") from None
    try:
        _check_header(file, name)
    except AudioError:
        file.close()
        raise
    return file


def piece_frames(clip: Clip, file: SoundFile) -> tuple[int, int]:
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


def _file_blocks(clip: Clip, file: SoundFile, block_s: float) -> Iterator[FloatArray]:
    start, stop = piece_frames(clip, file)
    label, rate = str(clip), file.samplerate
    if file.format == "OGG":
        found = Path(clip.path).stat()
        _check_ogg(clip.path, found.st_size, found.st_mtime_ns)
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
            f"{label}: is damaged or cut off ({_decoder_reason(error)}); copy or record it again"
        ) from None
    _check_complete(clip.path, label, file, position - start, stop - start)


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


# --- checking -------------------------------------------------------------------------------------


def _check_file(path: str, name: str) -> None:
    """Check the file before libsndfile opens it: the operating system's reason is clearer than libsndfile's."""
    try:
        mode = Path(path).stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # reading a pipe would block forever
            raise AudioError(f"{name}: is not a regular file; give the path of a sound file")
        with Path(path).open("rb") as raw:
            empty = not raw.read(1)
    except OSError as error:
        raise AudioError(f"{name}: {_system_reason(error)}; give the path of a readable sound file") from None
    except AudioError:
        raise
    except ValueError as error:  # a NUL byte in the name
        raise AudioError(f"{name}: is not a file name ({error}); give the path of a sound file") from None
    if empty:
        raise AudioError(f"{name}: is empty (0 bytes); copy or record it again")


def _check_header(file: SoundFile, path: str) -> None:
    if file.format == "RAW":  # .vox and .gsm: libsndfile guesses the content from the name
        raise AudioError(f"{path}: has no header; convert it to WAV or FLAC")
    _check_rate(file.samplerate, path)
    cut = CHUNK_SIZE.search(file.extra_info)
    if cut and int(cut[1]) > int(cut[2]) and int(cut[1]) not in STREAMED_SIZES:
        raise AudioError(
            f"{path}: is cut off (its header announces {int(cut[1]):,} bytes, but it holds {int(cut[2]):,}); "
            "copy or record it again"
        )
    if file.frames == 0:
        raise AudioError(f"{path}: holds no samples; leave it out or record it again")


def _check_rate(rate: float, label: str) -> None:
    """Refuse a sample rate that no recording has."""
    if not (isinstance(rate, int | float | np.number) and MIN_RATE_HZ <= rate <= MAX_RATE_HZ):
        raise AudioError(
            f"{label}: sample rate of {rate!s} Hz; expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz: "
            "resample the clip, or correct its header or the sample_rate given"
        )


def _check_complete(path: str, label: str, file: SoundFile, found: int, announced: int) -> None:
    """Refuse a file of which fewer frames could be decoded than its header announces."""
    slack = _mp3_slack(path, announced) if file.format in ("MP3", "MPEG") else 0
    if found < announced - slack or found == 0:
        raise AudioError(
            f"{label}: is damaged or cut off ({found / file.samplerate:.3f} s of "
            f"{announced / file.samplerate:.3f} s could be decoded); copy, convert or record it again"
        )


def _mp3_slack(path: str, announced: int) -> int:
    """Return how many frames may be missing: the length of an MP3 that does not state it is only an estimate."""
    with Path(path).open("rb") as raw:
        head = raw.read(10)
        # An ID3 tag gives its size in four bytes of seven bits each.
        tag_bytes = sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
        raw.seek(10 + tag_bytes if head[:3] == b"ID3" else 0)
        counted = re.search(b"Xing|Info|VBRI", raw.read(400))
    return 2 * MP3_FRAME if counted else announced // 10


@lru_cache(maxsize=1024)
def _check_ogg(path: str, size: int, mtime_ns: int) -> None:
    """Walk the pages of an Ogg file: libsndfile silently skips damaged pages and a missing end.

    Size and time are part of the key of the cached result, so that a changed file is checked again.
    """
    with Path(path).open("rb") as raw:
        ended, number, damage = False, 0, ""
        while (head := raw.read(27)) and not damage:
            if head[:4] != b"OggS":  # a tag after the last page is allowed
                damage = "" if ended else f"no page where page {number} should begin"
                break
            sizes = raw.read(head[26]) if len(head) == 27 else b""
            body = raw.read(sum(sizes))
            if len(head) < 27 or len(sizes) < head[26] or len(body) < sum(sizes):
                damage = f"it ends within page {number}"
            elif _ogg_checksum(head[:22] + bytes(4) + head[26:] + sizes + body) != head[22:26]:
                damage = f"page {number} has a wrong checksum"
            ended, number = bool(len(head) > 5 and head[5] & 4), number + 1
    if damage:
        raise AudioError(f"{printable_path(path)}: is damaged or cut off ({damage}); copy or record it again")


def _ogg_checksum(page: bytes) -> bytes:
    """Return the CRC of a page (RFC 3533): zlib's with the bits of each byte reversed and without inversions."""
    reversed_crc = zlib.crc32(page.translate(BIT_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return reversed_crc.to_bytes(4, "big").translate(BIT_REVERSED)


def _decoder_reason(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's reason as part of a sentence."""
    text = str(error.error_string).strip().rstrip(".")
    # This is what libsndfile says about an MP3 file in which it finds no frame to decode.
    return "no audio found in it" if "not a regular file" in text else text


def _system_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a directory"
    return (error.strerror or str(error)).lower()
