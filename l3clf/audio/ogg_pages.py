"""Ogg pages: damage that libsndfile passes over in silence, and where one of several joined streams begins.

Rule: every page is read and its checksum compared.
"""

import re
import zlib
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from l3clf.audio.byte_view import Part, found_at
from l3clf.audio.clip import printable_path
from l3clf.errors import AudioError

__all__ = ["check_pages", "links"]

PAGE = re.compile(rb"OggS\0.", re.DOTALL)
BIT_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def links(raw: BinaryIO, size: int) -> list[Part]:
    """Return the links of a chain: each begins with one or several pages that are marked as first."""
    starts, was_first = [], False
    for at, page in found_at(raw, PAGE, 6):
        flags = page[5]
        if flags & 2 and not was_first:
            starts.append(at)
        was_first = bool(flags & 2)
    return [Part(start, stop) for start, stop in pairwise([*starts, size])]


@lru_cache(maxsize=1024)
def check_pages(path: str, size: int, mtime_ns: int) -> None:
    """Walk the pages of an Ogg file: libsndfile silently skips damaged pages and a missing end.

    Size and time are part of the key of the cached result, so that a changed file is checked again.

    Raises
    ------
    AudioError
        If a page is damaged or cut off.
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
            elif _checksum(head[:22] + bytes(4) + head[26:] + sizes + body) != head[22:26]:
                damage = f"page {number} has a wrong checksum"
            ended, number = bool(len(head) > 5 and head[5] & 4), number + 1
    if damage:
        raise AudioError(f"{printable_path(path)}: is damaged or cut off ({damage}); copy or record it again")


def _checksum(page: bytes) -> bytes:
    """Return the CRC of a page (RFC 3533): zlib's with the bits of each byte reversed and without inversions."""
    reversed_crc = zlib.crc32(page.translate(BIT_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return reversed_crc.to_bytes(4, "big").translate(BIT_REVERSED)
