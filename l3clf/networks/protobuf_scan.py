"""Counting what a protobuf file would become in memory, before it is parsed.

Rule: nothing is copied or built. An empty message takes two bytes in a file and a hundred in memory, so a file within
its limit of bytes could still take a hundred times as much; whoever parses one counts first.
"""

from typing import Any

__all__ = ["too_many_fields"]

_VARINT, _I64, _BYTES, _I32 = 0, 1, 2, 5  # wire types; groups, which are obsolete, are none of ours
_FIXED = {_I64: 8, _I32: 4}
_MAX_VARINT = 10  # bytes


def too_many_fields(content: bytes, message: Any, limit: int) -> bool:
    """Return whether a message holds more fields than it may, at any depth, or cannot be followed.

    Parameters
    ----------
    content : bytes
        The whole message.
    message : descriptor
        Its type, such as ``ModelProto.DESCRIPTOR``.
    limit : int
        Fields that it may hold. A byte of packed numbers counts as one.
    """
    left, waiting = limit, [(0, len(content), message)]
    while waiting:
        at, end, kind = waiting.pop()
        while at < end:
            key, at = _varint(content, at, end)
            number, wire = key >> 3, key & 7
            length = _FIXED.get(wire, 0)
            if wire in (_VARINT, _BYTES):
                length, at = _varint(content, at, end)
                length *= wire == _BYTES
            if at < 0 or wire not in (_VARINT, _I64, _BYTES, _I32) or length > end - at:
                return True
            field = None if kind is None else kind.fields_by_number.get(number)
            if wire == _BYTES and field is not None:
                if field.message_type is not None:
                    waiting.append((at, at + length, field.message_type))
                elif field.type not in (field.TYPE_BYTES, field.TYPE_STRING):
                    left -= length
            at += length
            left -= 1
            if left < 0:
                return True
    return False


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number and where it ends; -1 if it does not end within the message."""
    value = 0
    for i, byte in enumerate(content[at : min(end, at + _MAX_VARINT)]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    return 0, -1
