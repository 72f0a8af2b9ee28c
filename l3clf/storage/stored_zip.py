"""ZIP files whose members are stored as they are, read from memory without trusting them.

Rule: nothing is unpacked or copied, members do not overlap, and each has its checksum: a file of n bytes holds at most
n bytes, whatever it announces. PyTorch writes such files, with ZIP64 records that `safezip` does not allow.
"""

import struct
import zlib
from typing import NamedTuple

__all__ = ["UnusableZipError", "stored_members"]

# As in the specification of the format, PKWARE's APPNOTE.
_END = struct.Struct("<4s4H2LH")  # 4.3.16: signature, disks (2), entries (2), size and place of directory, comment
_ENTRY = struct.Struct("<4s4xHH4x3L4H6xL")  # 4.3.12: signature, flags, method, CRC, sizes (2), lengths (3), disk, place
_LOCAL = struct.Struct("<4s2xHH16x2H")  # 4.3.7: signature, flags, method, lengths (2); the rest is in the directory
_ENCRYPTED = 0x2041  # bits 0, 6 and 13 of the flags


class UnusableZipError(Exception):
    """What is wrong with the file, in words that follow its name."""


class _Member(NamedTuple):
    name: str
    header: int
    start: int
    end: int
    crc: int


def stored_members(content: bytes, most: int) -> dict[str, memoryview]:
    """Return the members of a ZIP file by name, in the order of its directory.

    Parameters
    ----------
    content : bytes
        The whole file.
    most : int
        How many members it may have.

    Raises
    ------
    UnusableZipError
        If it is damaged, has too many members, or one that is compressed, encrypted or there twice.
    """
    members = _directory(content, most)
    end = 0
    for member in sorted(members, key=lambda member: member.header):
        if member.header < end:
            raise UnusableZipError(f"is damaged (its member {member.name[:80]!r} overlaps another)")
        end = member.end
    found: dict[str, memoryview] = {}
    for member in members:
        if member.name in found:
            raise UnusableZipError(f"has two members called {member.name[:80]!r}")
        found[member.name] = memoryview(content)[member.start : member.end]
        if zlib.crc32(found[member.name]) != member.crc:
            raise UnusableZipError(f"is damaged (the checksum of its member {member.name[:80]!r} is wrong)")
    return found


def _directory(content: bytes, most: int) -> list[_Member]:
    if not content.startswith(b"PK\x03\x04"):
        raise UnusableZipError(f"is not a ZIP file (it begins with {content[:8]!r})" if content else "is empty")
    place = len(content) - _END.size
    if place < 0:
        raise UnusableZipError("is damaged or truncated (it has no ZIP directory)")
    sign, disk, first, count, total, size, at, comment = _END.unpack_from(content, place)
    # The ZIP64 records in front of it say the same, except in files of more than 4 GiB.
    if sign != b"PK\x05\x06" or disk or first or comment or count != total or at + size > place:
        raise UnusableZipError("is damaged or truncated (its ZIP directory does not end where the file ends)")
    if count > most:
        raise UnusableZipError(f"has {count} members, more than the {most} allowed")
    members, end, limit = [], at + size, at
    for _ in range(count):
        member, at = _entry(content, at, end, limit)
        members.append(member)
    return members


def _entry(content: bytes, at: int, end: int, limit: int) -> tuple[_Member, int]:
    """Return a member, and where the next entry of the directory begins; members end before `limit`."""
    name_at = at + _ENTRY.size
    if name_at > end:
        raise UnusableZipError("is damaged (its ZIP directory is shorter than announced)")
    sign, flags, method, crc, packed, size, length, extra, comment, disk, header = _ENTRY.unpack_from(content, at)
    following = name_at + length + extra + comment
    if sign != b"PK\x01\x02" or disk or following > end:
        raise UnusableZipError("is damaged (its ZIP directory is not one)")
    raw = content[name_at : name_at + length]
    name = raw.decode("ascii", "backslashreplace")
    if method or packed != size or flags & _ENCRYPTED:
        raise UnusableZipError(f"has a member {name[:80]!r} that is compressed or encrypted")
    start = _start(content, header, raw, limit)
    if start is None or start + size > limit:
        raise UnusableZipError(f"is damaged (its member {name[:80]!r} is not where the ZIP directory says)")
    return _Member(name, header, start, start + size, crc), following


def _start(content: bytes, header: int, name: bytes, limit: int) -> int | None:
    """Return where the content of a member starts; None if its own header is another's or none."""
    if header + _LOCAL.size > limit:
        return None
    sign, flags, method, length, extra = _LOCAL.unpack_from(content, header)
    name_at = header + _LOCAL.size
    if sign != b"PK\x03\x04" or method or flags & _ENCRYPTED or content[name_at : name_at + length] != name:
        return None
    return int(name_at + length + extra)
