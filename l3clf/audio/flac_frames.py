"""Where the frames of a FLAC file end, found from the last of them: its header may announce fewer samples.

Rule: a frame is believed only together with the one before it: a header's checksum alone is right by chance too often.
"""

import re
from itertools import pairwise
from typing import BinaryIO

__all__ = ["STREAMINFO_BYTES", "samples_at_end", "with_length"]

STREAMINFO_BYTES = 42
"""Of the file's mark, and of the block that describes the stream."""

TAIL_BYTES, MAX_TAIL_BYTES = 1 << 18, 1 << 22
MAX_HEADER = 16
SYNC = re.compile(rb"\xff[\xf8\xf9]")
BLOCKS = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608, **{code: 256 << (code - 8) for code in range(8, 16)}}
CRC_8 = 0x07
FIXED = 0xF8  # blocks of one length, which are numbered


def _table() -> bytes:
    table = bytearray()
    for byte in range(256):
        for _ in range(8):
            byte = (byte << 1 ^ (CRC_8 if byte & 0x80 else 0)) & 0xFF
        table.append(byte)
    return bytes(table)


CRCS = _table()


def samples_at_end(raw: BinaryIO, start: int, size: int) -> int:
    """Return how many samples of each channel come up to the last frame of a FLAC file, 0 if that cannot be told.

    Parameters
    ----------
    raw : file
    start, size : int
        Where the stream begins and where the file ends, in bytes.
    """
    raw.seek(start)
    info = raw.read(STREAMINFO_BYTES)
    shortest_block, longest_frame = int.from_bytes(info[8:10], "big"), int.from_bytes(info[15:18], "big")
    tail = min(max(TAIL_BYTES, 3 * longest_frame), MAX_TAIL_BYTES)
    held_at = max(start + STREAMINFO_BYTES, size - tail)
    raw.seek(held_at)
    held = raw.read(max(0, size - held_at))
    frames = [found for match in SYNC.finditer(held) if (found := _frame(held[match.start() :][:MAX_HEADER]))]
    ends = [0]
    for (kind, number, block), (next_kind, next_number, next_block) in pairwise(frames):
        if kind != next_kind:
            continue
        if kind == FIXED and next_number == number + 1:
            ends.append(next_number * (shortest_block or block) + next_block)
        elif kind != FIXED and next_number == number + block:
            ends.append(next_number + next_block)
    return max(ends) if max(ends) < 1 << 36 else 0


def _frame(head: bytes) -> tuple[int, int, int] | None:
    """Return the kind of the frame that begins here, its number (or that of its first sample), and its samples."""
    if len(head) < MAX_HEADER or head[3] & 1 or head[2] & 15 == 15 or head[3] >> 4 > 10:
        return None
    length = 1 if head[4] < 0x80 else 8 - (head[4] ^ 0xFF).bit_length()
    if length == 8 or (length == 1 and head[4] >= 0x80):
        return None
    number = head[4] & (0x7F if length == 1 else 0x7F >> length)
    for byte in head[5 : 4 + length]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    at = 4 + length
    code = head[2] >> 4
    block = BLOCKS.get(code, 0)
    if code in (6, 7):
        block = int.from_bytes(head[at : at + code - 5], "big") + 1
        at += code - 5
    at += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    checksum = 0
    for byte in head[:at]:
        checksum = CRCS[checksum ^ byte]
    return (head[1], number, block) if block and checksum == head[at] else None


def with_length(info: bytes, samples: int) -> bytes:
    """Return the first bytes of a FLAC file such that they announce so many samples, in 36 bits."""
    rest = int.from_bytes(info[21:26], "big") >> 36 << 36
    return info[:21] + (rest | samples).to_bytes(5, "big") + info[26:]
