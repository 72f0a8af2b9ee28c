"""A stretch of a file as a file of its own, for libsndfile to decode.

Rule: nothing is copied: the bytes are read where they lie, and what libsndfile must not see lies outside the view.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["ByteView", "Part", "found_at"]

CHUNK_BYTES = 1 << 20

TAIL_BYTES = 128
"""mpg123 looks for a tag in the last bytes of a file, and gives up where it cannot read them."""


@dataclass(frozen=True)
class Part:
    """What libsndfile decodes in one go: a header of ours, if any, and the bytes of a file from start to stop.

    A file has several where files were joined. `frames` is their number where it was counted and libsndfile would
    only estimate it; `is_endless` makes the view claim to be longer than it is, so that the estimate is never too
    small: libsndfile reads no further than its own.
    """

    start: int
    stop: int
    header: bytes = b""
    frames: int | None = None
    is_endless: bool = False


class ByteView(io.RawIOBase):
    """A part of a file, read as if it were a file; it owns the file and closes it.

    An error of the system must not be raised through libsndfile: it is kept in `failure`, and the view ends there.
    """

    def __init__(self, raw: BinaryIO, part: Part) -> None:
        self._raw, self._part = raw, part
        self._held = len(part.header) + part.stop - part.start
        self._claimed = self._held + (1 << 40) if part.is_endless else self._held
        self._position = 0
        self.failure: OSError | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it."""
        self._position = max(0, offset + (0, self._position, self._claimed)[whence])
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer; return the number of bytes."""
        found = self._bytes(len(buffer))
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()

    def _bytes(self, n: int) -> bytes:
        if self._position >= self._held:
            # Zeros instead of the tag that mpg123 looks for where a view claims to end.
            tail = self._part.is_endless and self._position >= self._claimed - TAIL_BYTES
            return bytes(min(n, self._claimed - self._position)) if tail else b""
        header = self._part.header[self._position : self._position + n]
        if header:
            return header
        try:
            at = self._part.start + self._position - len(self._part.header)
            self._raw.seek(at)
            return self._raw.read(min(n, self._part.stop - at))
        except OSError as error:
            self.failure = error
            return b""


def found_at(raw: BinaryIO, pattern: re.Pattern[bytes], length: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield each place from a position on where a pattern of some length lies in a file, and what it matched."""
    raw.seek(start)
    at, held = start, b""
    while block := raw.read(CHUNK_BYTES):
        held += block
        for match in pattern.finditer(held):
            yield at + match.start(), match[0]
        kept = min(len(held), length - 1)
        at, held = at + len(held) - kept, held[len(held) - kept :]
