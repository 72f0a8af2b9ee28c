"""Tables and vectors of a FlatBuffer, read without trusting any offset in it.

Rule: nothing is read before it is known to lie inside the buffer, and vectors are views, so that no length in a file
can make us allocate memory. The caller, who knows the schema, limits the number of tables.

The format is described in "FlatBuffers internals" (flatbuffers.dev).
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FlatBufferError", "Table"]

_HEADER_BYTES = 8  # offset of the root table, then four letters that identify the format
_FIRST_SLOT = 4  # of a vtable: its own size and the size of its table come first


class FlatBufferError(Exception):
    """What is wrong with the buffer, in words that follow its name."""


@dataclass(frozen=True)
class Table:
    """One table, whose fields are found through its vtable by slot number, in the order of the schema.

    Parameters
    ----------
    data : bytes
        The whole buffer.
    start : int
        The byte at which the table begins.

    Raises
    ------
    FlatBufferError
        If the table or its vtable does not lie inside the buffer. Every method raises it for what it reads.
    """

    data: bytes
    start: int

    def __post_init__(self) -> None:  # at once, so that no method needs to check the table again
        size = self._at("<H", self._vtable)
        if size < _FIRST_SLOT or self._vtable + size > len(self.data) or self.start + self._bytes > len(self.data):
            raise FlatBufferError(f"has a table at byte {self.start} that extends beyond the end")

    @classmethod
    def root(cls, data: bytes, identifier: bytes) -> "Table":
        """Return the root table of a buffer.

        Parameters
        ----------
        data : bytes
            The whole buffer.
        identifier : bytes
            The four letters that identify the format.
        """
        if data[4:_HEADER_BYTES] != identifier:
            raise FlatBufferError(f"lacks the format identifier {identifier.decode()!r}")
        (start,) = struct.unpack_from("<I", data)
        return cls(data, start)

    def scalar(self, slot: int, code: str, default: int = 0) -> int:
        """Return an integer, or its default if the table omits it.

        Parameters
        ----------
        slot : int
            Number of the field.
        code : str
            Its type in the notation of `struct`: ``"b"``, ``"B"``, ``"i"``, ``"I"``, ``"Q"``.
        default : int
            The default in the schema.
        """
        where = self._field(slot, struct.calcsize("<" + code))
        return default if where is None else self._at("<" + code, where)

    def vector(self, slot: int, dtype: str) -> NDArray[Any]:
        """Return a vector of numbers as a view of the buffer; it is empty if the table omits it.

        Parameters
        ----------
        slot : int
            Number of the field.
        dtype : str
            Type of an element, little-endian, such as ``"<i4"`` or ``"<f4"``.
        """
        where = self._target(slot)
        if where is None:
            return np.empty(0, dtype)
        count, itemsize = self._at("<I", where), np.dtype(dtype).itemsize
        if count * itemsize > len(self.data) - where - 4:
            raise FlatBufferError(f"has a vector of {count} elements at byte {where} that extends beyond the end")
        return np.frombuffer(self.data, dtype, count, where + 4)

    def text(self, slot: int) -> str:
        """Return a string, cut to 100 characters, with unprintable characters replaced."""
        # 400 bytes hold 100 characters of UTF-8; names end up in messages, hence the limit.
        text = bytes(self.vector(slot, "<u1")[:400]).decode(errors="replace")
        return "".join(c if c.isprintable() else "?" for c in text[:100])

    def table(self, slot: int) -> "Table | None":
        """Return the table that a field points to; None if it is omitted."""
        where = self._target(slot)
        return None if where is None else Table(self.data, where)

    def tables(self, slot: int, limit: int) -> "list[Table]":
        """Return a vector of at most `limit` tables; it is empty if it is omitted."""
        offsets = self.vector(slot, "<u4")
        if len(offsets) > limit:
            raise FlatBufferError(f"has {len(offsets)} tables in one list, more than the {limit} allowed")
        where = self._target(slot) or 0
        # Each offset counts from its own place in the vector, which follows the four bytes of its length.
        return [Table(self.data, where + 4 + 4 * i + int(offset)) for i, offset in enumerate(offsets)]

    @property
    def _vtable(self) -> int:
        return self.start - self._at("<i", self.start)  # a table begins with the signed distance to its vtable

    @property
    def _bytes(self) -> int:
        return self._at("<H", self._vtable + 2)

    def _field(self, slot: int, size: int) -> int | None:
        """Return the byte at which a field begins; None if it has its default, or the schema was older."""
        entry = _FIRST_SLOT + 2 * slot
        if entry + 2 > self._at("<H", self._vtable):
            return None
        offset = self._at("<H", self._vtable + entry)
        if offset and not 4 <= offset <= self._bytes - size:
            raise FlatBufferError(f"has field {slot} outside its table at byte {self.start}")
        return self.start + offset if offset else None

    def _target(self, slot: int) -> int | None:
        where = self._field(slot, 4)
        return None if where is None else where + self._at("<I", where)  # offsets count from the field itself

    def _at(self, code: str, where: int) -> int:
        if not 0 <= where <= len(self.data) - struct.calcsize(code):
            raise FlatBufferError(f"points to byte {where}, which is outside the file")
        value: int = struct.unpack_from(code, self.data, where)[0]
        return value
