"""Tables and vectors of a FlatBuffer, read without trusting one offset in it.

Rule: nothing is read before it is known to lie inside the buffer, and a vector is a view, so that no length
written in a file can make us allocate. Whoever knows the schema decides how many tables may be walked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FlatBufferError", "Table"]

_HEADER_BYTES = 8  # offset of the root table, then four letters that name the format
_FIRST_SLOT = 4  # of a vtable: its own size and its table's size come first


class FlatBufferError(Exception):
    """What is wrong with the buffer, in words that follow its name."""


@dataclass(frozen=True)
class Table:
    """One table: its fields are found through the vtable by slot number, in the order of the schema.

    Parameters
    ----------
    data : bytes
        The whole buffer.
    start : int
        Where the table begins.

    Raises
    ------
    FlatBufferError
        When the table or its vtable does not lie inside the buffer; so does every method.
    """

    data: bytes
    start: int

    def __post_init__(self) -> None:
        size = self._at("<H", self._vtable)
        if size < _FIRST_SLOT or self._vtable + size > len(self.data) or self.start + self._bytes > len(self.data):
            raise FlatBufferError(f"has a table that reaches outside it at byte {self.start}")

    @classmethod
    def root(cls, data: bytes, identifier: bytes) -> Table:
        """Return the first table of a buffer.

        Parameters
        ----------
        data : bytes
            The whole buffer.
        identifier : bytes
            The four letters that name the format.
        """
        if data[4:_HEADER_BYTES] != identifier:
            raise FlatBufferError(f"does not carry the mark {identifier.decode()!r} of its format")
        (start,) = struct.unpack_from("<I", data)
        return cls(data, start)

    def scalar(self, slot: int, code: str, default: int = 0) -> int:
        """Return a whole number, or its default where the table leaves it out.

        Parameters
        ----------
        slot : int
            Number of the field.
        code : str
            Its type as `struct` writes it: ``"b"``, ``"B"``, ``"i"``, ``"I"``, ``"Q"``.
        default : int
            The schema's default.
        """
        where = self._field(slot, struct.calcsize("<" + code))
        return default if where is None else self._at("<" + code, where)

    def vector(self, slot: int, dtype: str) -> NDArray[Any]:
        """Return a vector of numbers as a view of the buffer; empty where it is left out.

        Parameters
        ----------
        slot : int
            Number of the field.
        dtype : str
            Type of an element, little-endian: ``"<i4"``, ``"<f4"``, ``"<u1"``...
        """
        where = self._target(slot)
        if where is None:
            return np.empty(0, dtype)
        count, itemsize = self._at("<I", where), np.dtype(dtype).itemsize
        if count * itemsize > len(self.data) - where - 4:
            raise FlatBufferError(f"has a vector of {count} elements at byte {where} that reaches outside it")
        return np.frombuffer(self.data, dtype, count, where + 4)

    def text(self, slot: int) -> str:
        """Return a string, cut to 100 characters and with what cannot be printed replaced."""
        text = bytes(self.vector(slot, "<u1")[:400]).decode(errors="replace")
        return "".join(c if c.isprintable() else "?" for c in text[:100])

    def table(self, slot: int) -> Table | None:
        """Return the table that a field points to; None where it is left out."""
        where = self._target(slot)
        return None if where is None else Table(self.data, where)

    def tables(self, slot: int, limit: int) -> list[Table]:
        """Return a vector of at most `limit` tables; empty where it is left out."""
        offsets = self.vector(slot, "<u4")
        if len(offsets) > limit:
            raise FlatBufferError(f"has {len(offsets)} tables in one list, more than the {limit} allowed")
        where = self._target(slot) or 0
        return [Table(self.data, where + 4 + 4 * i + int(offset)) for i, offset in enumerate(offsets)]

    @property
    def _vtable(self) -> int:
        return self.start - self._at("<i", self.start)

    @property
    def _bytes(self) -> int:
        return self._at("<H", self._vtable + 2)

    def _field(self, slot: int, size: int) -> int | None:
        """Return where a field lies; None when the table, or an older schema's vtable, leaves it out."""
        entry = _FIRST_SLOT + 2 * slot
        if entry + 2 > self._at("<H", self._vtable):
            return None
        offset = self._at("<H", self._vtable + entry)
        if offset and not 4 <= offset <= self._bytes - size:
            raise FlatBufferError(f"has field {slot} outside its table at byte {self.start}")
        return self.start + offset if offset else None

    def _target(self, slot: int) -> int | None:
        where = self._field(slot, 4)
        return None if where is None else where + self._at("<I", where)

    def _at(self, code: str, where: int) -> int:
        if not 0 <= where <= len(self.data) - struct.calcsize(code):
            raise FlatBufferError(f"points to byte {where}, outside it")
        value: int = struct.unpack_from(code, self.data, where)[0]
        return value
