"""What lies in a sound file, found from its bytes: what decodes it, and in how many parts.

Rule: libsndfile is trusted with a file as it is only where it reads all of it; every other file is described here.
"""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from l3clf.audio.announced import goes_on
from l3clf.audio.byte_view import Part, found_at
from l3clf.audio.flac_frames import STREAMINFO_BYTES, samples_at_end, with_length
from l3clf.audio.mp3_frames import CONVERT, id3_bytes, is_mpeg, walk
from l3clf.audio.ogg_pages import links
from l3clf.audio.wav_header import MPEG_CODES, find_data, parts_of_wav

__all__ = ["Layout", "layout_of"]

MPEG_SUFFIXES = (".mp1", ".mp2", ".mp3", ".mpga")
FLAC = re.compile(rb"fLaC[\0\x80]\0\0\x22")
MAX_PARTS = 10_000


@dataclass(frozen=True)
class Layout:
    """How a file is read.

    Parameters
    ----------
    decoder : str
        A short tag; empty if libsndfile should say what the file is.
    parts : tuple of Part
        Decoded one after another; empty if libsndfile reads the file as it is.
    slack : int
        How many frames a part may lack: the length of an MP3 is known in frames of MPEG.
    announced_s : float or None
        The length that a header gives, in seconds, if the file goes on after it.
    refusal : str
        Why the file is refused, if it is: a sentence that follows its name.
    """

    decoder: str = ""
    parts: tuple[Part, ...] = ()
    slack: int = 0
    announced_s: float | None = None
    refusal: str = ""


def layout_of(path: str) -> Layout:
    """Return how a file is read.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    state = os.stat(path)  # noqa: PTH116  # Path refuses some names that the system takes
    return _layout_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _layout_of(path: str, size: int, mtime_ns: int) -> Layout:
    """Look into a file; size and time are part of the key, so that a changed file is looked at again."""
    with Path(path).open("rb") as raw:
        found = _look_into(raw, size, path.lower().endswith(MPEG_SUFFIXES))
    if len(found.parts) > MAX_PARTS:
        return Layout(found.decoder, refusal=f"is made of {len(found.parts):,} joined files; {CONVERT}")
    return found


def _look_into(raw: BinaryIO, size: int, named_mpeg: bool) -> Layout:
    head = raw.read(12)
    if head[8:] == b"WAVE":
        return _layout_of_wav(raw, size)
    if head[:4] == b"OggS":
        parts = tuple(links(raw, size))
        return Layout("chained ogg", parts) if len(parts) > 1 else Layout("ogg")
    tag_bytes = id3_bytes(head)
    raw.seek(tag_bytes)
    head = raw.read(12)
    if head[:4] == b"fLaC":
        return _layout_of_flac(raw, tag_bytes, size)
    if tag_bytes or named_mpeg or is_mpeg(head):
        return _layout_of_mpeg(raw, 0, size)
    raw.seek(0)
    if rest := goes_on(raw, raw.read(12), size):
        found = f"goes on for {rest:,} bytes after the sound that its header announces"
        return Layout("wrong length", refusal=f"{found}; split it, or correct its header")
    return Layout()


def _layout_of_wav(raw: BinaryIO, size: int) -> Layout:
    data = find_data(raw, 0, size)
    if data is not None and data.code in MPEG_CODES:
        return _layout_of_mpeg(raw, data.start, min(size, data.start + data.announced) if data.announced else size)
    parts, announced_s = parts_of_wav(raw, size)
    if not parts:
        return Layout("wav")
    return Layout("joined wav" if announced_s is None else "wav without length", parts, announced_s=announced_s)


def _layout_of_mpeg(raw: BinaryIO, start: int, stop: int) -> Layout:
    found = walk(raw, start, stop)
    if not found.parts and not found.refusal:
        return Layout()
    return Layout("mp3", tuple(found.parts), found.samples_per_frame, refusal=found.refusal)


def _layout_of_flac(raw: BinaryIO, start: int, size: int) -> Layout:
    starts = [at for at, _ in found_at(raw, FLAC, 8, start)]
    streams = [_flac_stream(raw, at, stop) for at, stop in pairwise([*starts, size])]
    parts = tuple(part for part, _ in streams)
    if len(parts) > 1:
        return Layout("joined flac", parts)
    if not parts or streams[0][1] is None:
        return Layout("flac")
    return Layout("flac without length", parts, announced_s=streams[0][1] or None)


def _flac_stream(raw: BinaryIO, start: int, stop: int) -> tuple[Part, float | None]:
    """Return how to read a FLAC stream, and the announced length in seconds if it is too small; 0 if it is unknown."""
    raw.seek(start)
    info = raw.read(STREAMINFO_BYTES)
    # The rate takes 20 bits; the number of samples 36, of which 0 is "unknown".
    rate, known = int.from_bytes(info[18:21], "big") >> 4, int.from_bytes(info[21:26], "big") & 0xF_FFFF_FFFF
    if len(info) < STREAMINFO_BYTES or not known:
        return Part(start, stop), 0.0
    found = samples_at_end(raw, start, stop)
    if not rate or found <= known:
        return Part(start, stop), None
    return Part(start + STREAMINFO_BYTES, stop, with_length(info, found)), known / rate
