"""What lies in a sound file, found from its bytes: which decoder reads it, and in how many parts.

Rule: libsndfile is trusted with a file as it is only where it reads all of it; every other file is described here.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from l3clf.audio.byte_view import Part
from l3clf.audio.wav_header import MPEG_CODES, find_data, parts_of_wav

__all__ = ["Layout", "layout_of"]

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Layout:
    """How a file is read.

    Parameters
    ----------
    decoder : str
        A short tag; empty if nothing is known about the file.
    parts : tuple of Part
        Decoded one after another; empty if libsndfile reads the file as it is.
    announced_s : float or None
        The length that a header gives, in seconds, if it is wrong.
    """

    decoder: str = ""
    parts: tuple[Part, ...] = ()
    announced_s: float | None = None


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
        head = raw.read(12)
        if head[8:] == b"WAVE":
            return _layout_of_wav(raw, size)
        if head[:4] == b"OggS":
            starts = list(_link_starts(raw))
            return Layout("ogg" if len(starts) < 2 else "chained ogg")
        at = 0
        if head[:3] == b"ID3":
            at = id3_bytes(head)
            raw.seek(at)
            head = raw.read(12)
        if head[:4] == b"fLaC":
            raw.seek(at + 8)
            return Layout("flac" if _flac_frames(raw.read(18)) else "flac without length")
        if at or _is_mpeg(head):
            return Layout("mp3")
    return Layout()


def _layout_of_wav(raw: BinaryIO, size: int) -> Layout:
    data = find_data(raw, 0, size)
    if data is not None and data.code in MPEG_CODES:
        return Layout("mp3")
    parts, announced_s = parts_of_wav(raw, size)
    if not parts:
        return Layout("wav")
    return Layout("joined wav" if announced_s is None else "wav without length", parts, announced_s)


def id3_bytes(head: bytes) -> int:
    """Return the length of an ID3v2 tag in bytes: four bytes of seven bits each, and its header and footer."""
    length = sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return 10 + length + (10 if head[5] & 0x10 else 0)


def _is_mpeg(head: bytes) -> bool:
    """Return whether an MPEG audio frame begins here; 00 as the layer is AAC's."""
    return len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 != 0


def _flac_frames(info: bytes) -> int:
    """Return the number of frames that a STREAMINFO block gives; 0 is unknown."""
    return int.from_bytes(info[13:18], "big") & 0xF_FFFF_FFFF


def _link_starts(raw: BinaryIO) -> Iterator[int]:
    """Yield where the links of an Ogg file begin: with one or several pages marked as first."""
    was_first = False
    for at, flags in _pages(raw):
        is_first = bool(flags & 2)
        if is_first and not was_first:
            yield at
        was_first = is_first


def _pages(raw: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield the position and flags of whatever looks like a page."""
    raw.seek(0)
    at, held = 0, b""
    while block := raw.read(CHUNK_BYTES):
        held += block
        for match in re.finditer(rb"OggS\0(.)", held, re.DOTALL):
            yield at + match.start(), match[1][0]
        at, held = at + len(held) - 5, held[-5:]
