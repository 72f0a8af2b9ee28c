"""WAV files whose header does not tell their length: past 4 GB, after a crash, joined.

Rule: what follows the announced samples is either chunks up to the file's end, or sound that would be lost.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from l3clf.audio.byte_view import Part

__all__ = ["MAX_STRAY_S", "MPEG_CODES", "WavData", "find_data", "only_chunks", "only_zeros", "parts_of_wav"]

RIFF_IDS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
MPEG_CODES = (0x50, 0x55)
"""Format codes of MPEG audio in a WAV file."""

MAX_CHUNKS = 10_000
MAX_FORM_BYTES = 4096
MAX_STRAY_S = 0.02  # a few bytes at the end are no sound
CHUNK_BYTES = 1 << 20
PLAIN_CODES = (1, 3, 6, 7, 0xFFFE)  # PCM, float, A-law, mu-law, and any of these with more said about it
BLOCK_CODES = (2, 0x11, 0x31)  # ADPCM of two kinds and GSM: a block holds so many samples
# Of these, the last may be cut off without any loss of sound.
KNOWN_CHUNKS = frozenset(
    b"LIST bext id3  ID3  cue  smpl inst fact iXML PEAK JUNK junk FLLR PAD  _PMX acid afsp DISP cart axml".split(b" ")
)
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True)
class WavData:
    """Where the samples of a WAV file begin, how many bytes of them its header announces, and its format chunk."""

    start: int
    announced: int
    form: bytes
    big_endian: bool

    @property
    def code(self) -> int:
        """The format code."""
        return int(struct.unpack(">H" if self.big_endian else "<H", self.form[:2])[0])

    @property
    def bytes_per_s(self) -> float:
        """Bytes of samples in a second: computed where possible, because many programs state a wrong number."""
        order = ">" if self.big_endian else "<"
        channels, rate, stated, block, bits = struct.unpack(f"{order}HIIHH", self.form[2:16])
        if self.code in PLAIN_CODES:
            return float(rate * channels * max(1, (bits + 7) // 8))
        if self.code in BLOCK_CODES and len(self.form) >= 20:
            samples = struct.unpack(f"{order}H", self.form[18:20])[0]
            if samples:
                return float(block * rate / samples)
        return float(stated)


def find_data(raw: BinaryIO, base: int, size: int) -> WavData | None:
    """Return what the header at a position says, or None if libsndfile should judge it."""
    raw.seek(base)
    head = raw.read(12)
    if head[:4] not in RIFF_IDS or head[8:] != b"WAVE":
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    position, form, data_64 = base + 12, b"", None
    for _ in range(MAX_CHUNKS):
        raw.seek(position)
        head = raw.read(8)
        if len(head) < 8:
            return None
        name, length = struct.unpack(f"{order}4sI", head)
        if name == b"data":
            announced = data_64 if data_64 is not None and length == 0xFFFF_FFFF else length
            return WavData(position + 8, announced, form, order == ">") if len(form) >= 16 else None
        if name == b"ds64":
            data_64 = int.from_bytes(raw.read(16)[8:], "little")
        elif name == b"fmt ":
            form = raw.read(min(length, MAX_FORM_BYTES))
        position += 8 + length + length % 2
        if position > size:
            return None
    return None


def parts_of_wav(raw: BinaryIO, size: int) -> tuple[tuple[Part, ...], float | None]:
    """Return how to read a WAV file.

    Returns
    -------
    parts : tuple of Part
        Empty if libsndfile reads all of the file as it is.
    announced_s : float or None
        The length that the header gives, in seconds, if the file goes on after it.
    """
    parts: list[Part] = []
    base = 0
    while (data := find_data(raw, base, size)) is not None:
        stop, joined_at = _data_end(raw, data, size)
        if joined_at is None:
            announced_s = None
            if stop > data.start + data.announced:
                announced_s = data.announced / max(1, data.bytes_per_s)
                parts.append(Part(data.start, stop, _header(data, stop - data.start)))
            elif parts:
                parts.append(Part(base, size))
            return tuple(parts), announced_s
        parts.append(Part(base, joined_at))
        base = joined_at
    # What follows a joined file is none itself: libsndfile says so.
    return (*parts, Part(base, size)) if parts else (), None


def _data_end(raw: BinaryIO, data: WavData, size: int) -> tuple[int, int | None]:
    """Return where the samples end, and where another WAV file begins after them, if one does."""
    announced_end = data.start + data.announced
    if announced_end >= size:
        return announced_end, None
    order = ">" if data.big_endian else "<"
    # The length wraps at 4 GB: it may be any of these.
    for end in range(announced_end, size + 1, 1 << 32):
        # After an odd number of bytes there should be one more, which many programs leave out.
        for gap in {0, data.announced % 2}:
            complete, joined_at = only_chunks(raw, end + gap, size, order)
            if complete:
                return end, joined_at
    if size - announced_end < MAX_STRAY_S * data.bytes_per_s:
        return announced_end, None
    return size, None


def only_chunks(raw: BinaryIO, position: int, size: int, order: str) -> tuple[bool, int | None]:
    """Return whether chunks, tags or padding fill a file from a position to its end or to a file joined to it."""
    for _ in range(MAX_CHUNKS):
        raw.seek(position)
        head = raw.read(12)
        if len(head) < 8 or head.startswith(TAGS):
            return True, None
        if not any(head):
            return only_zeros(raw, position, size), None
        name, length = struct.unpack(f"{order}4sI", head[:8])
        if name in RIFF_IDS and head[8:] == b"WAVE":
            return True, position
        if name == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return False, None
        if not all(0x20 <= byte < 0x7F for byte in name):
            return False, None
        position += 8 + length + length % 2
        if position > size + 1:
            return name in KNOWN_CHUNKS, None
    return False, None


def only_zeros(raw: BinaryIO, position: int, size: int) -> bool:
    """Return whether nothing but zeros fill a file from a position to its end: padding, not sound."""
    last = max(position, size - 4096)  # first, because most files can be told by it
    for at in (last, *range(position, last, CHUNK_BYTES)):
        raw.seek(at)
        if any(raw.read(min(CHUNK_BYTES, size - at))):
            return False
    return True


def _header(data: WavData, n_bytes: int) -> bytes:
    """Return a header that announces so many bytes of samples in the format of the file."""
    order = ">" if data.big_endian else "<"
    form = b"fmt " + struct.pack(f"{order}I", len(data.form)) + data.form + bytes(len(data.form) % 2)
    if n_bytes + len(form) + 20 < 1 << 32:
        sizes = struct.pack(f"{order}I", 12 + len(form) + n_bytes), struct.pack(f"{order}I", n_bytes)
        return (b"RIFX" if data.big_endian else b"RIFF") + sizes[0] + b"WAVE" + form + b"data" + sizes[1]
    long_sizes = b"ds64" + struct.pack("<IQQQI", 28, 48 + len(form) + n_bytes, n_bytes, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + long_sizes + form + b"data\xff\xff\xff\xff"
