"""ZIP files as containers: written atomically, read without trusting their content.

Rule: `write_zip` leaves either the old file or the complete new one, with the same bytes for the same members.
`read_zip` gets a list of the members that may exist and of their sizes, and never unpacks more than that. Where a
member describes the others, it is read first, and the others may unpack to what it announces and no more.
"""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeAlias

from l3clf.errors import L3clfError, ModelFileError
from l3clf.storage.atomic import name_problem, replacing

__all__ = ["read_zip", "write_zip", "zip_bytes"]

_First: TypeAlias = tuple[str, Callable[[bytes], Mapping[str, int]]] | None

_END = struct.Struct("<4s4H2LH")  # end of central directory, without a comment
_ZIP64_LOCATOR = 20  # bytes; a file that needs one has more than 4 GiB or 65,535 members
_MAX_DIRECTORY = 64 << 10
_PICKLE = 0x80  # first byte of every binary pickle
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x5d\x00\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x78\x01": "zlib",
    b"\x78\x5e": "zlib",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What zipfile raises on damaged files, depending on the damage and on the version of Python."""


class _UnusableError(Exception):
    """What is wrong with the file, in words that follow its name."""


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Write members to a ZIP file that appears under its name only when it is complete.

    Parameters
    ----------
    path : Path
        The file to write; an existing one is replaced.
    members : mapping of str to bytes
        Name and content, in the order in which they are written.

    Raises
    ------
    ModelFileError
        If the file cannot be written; an existing file is unchanged then.
    """
    with replacing(path, ModelFileError) as file:
        _write(file, members)


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    """Return what `write_zip` writes."""
    file = io.BytesIO()
    _write(file, members)
    return file.getvalue()


def _write(file: IO[bytes], members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)  # dated 1980, so that the same model gives the same bytes
            info.create_system = 3  # Unix, on every system, for the same reason
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 6)


def read_zip(
    path: Path,
    limits: Mapping[str, int],
    total: int,
    *,
    first: _First = None,
    writer: str = "l3clf.save_model",
    error: type[L3clfError] = ModelFileError,
) -> dict[str, bytes]:
    """Read the members of a ZIP file.

    Parameters
    ----------
    path : Path
        The file to read.
    limits : mapping of str to int
        Names that members may have, and the size in bytes to which each may unpack.
    total : int
        Maximum size in bytes of the file, and of all its members unpacked.
    first : tuple of str and callable, optional
        A member to read before the others, and what returns, from its content, their names and sizes as in `limits`.
        What it raises is raised here. Without that member, no other is read.
    writer : str, default="l3clf.save_model"
        What writes such files, for messages; empty for no advice.
    error : type, default=ModelFileError
        The exception to raise.

    Returns
    -------
    dict of str to bytes
        The members that the file holds.

    Raises
    ------
    L3clfError
        Of type `error`, if the file is missing, damaged, not a ZIP file, or holds what `limits` does not allow.
    """
    advice = f"; give a file written by {writer}" if writer else ""
    if problem_found := name_problem(path):
        raise error(f"{str(path)!r}: is not a file name ({problem_found}){advice}")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _UnusableError("is not a regular file")
        with path.open("rb") as file:
            _check_frame(file, total)
            return _read_members(file, limits, total, first)
    except _UnusableError as problem:
        found = str(problem)
    except OSError as problem:
        found = f"cannot be read ({problem.strerror or problem})"
    except _DAMAGE as problem:
        found = f"is damaged or truncated ({(str(problem) or type(problem).__name__)[:120]})"
    raise error(f"{path}: {found}{advice}")


def _check_frame(file: IO[bytes], total: int) -> None:
    """Check both ends of the file before zipfile does: its format, and the length of the directory it announces."""
    start = file.read(8)
    size = file.seek(0, 2)
    if not start:
        raise _UnusableError("is empty")
    if not start.startswith(b"PK\x03\x04"):
        raise _UnusableError(_what_it_is(start))
    if size > total:
        raise _UnusableError(f"has {size} bytes, more than the {total} allowed")
    file.seek(max(0, size - _END.size - _ZIP64_LOCATOR))
    tail = file.read()
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\x05\x06"):
        raise _UnusableError("is damaged or truncated (its ZIP directory does not end where the file ends)")
    *_, directory, _offset, comment = _END.unpack(tail[-_END.size :])
    # zipfile allocates the announced directory at once and searches a comment for another one: neither is ours.
    if tail.startswith(b"PK\x06\x07") or directory > _MAX_DIRECTORY or comment:
        raise _UnusableError("is damaged (its ZIP directory is larger than we write)")


def _what_it_is(start: bytes) -> str:
    """Describe a file that is not a ZIP file by its first bytes."""
    danger = "which is not opened because loading a pickle can run any code in it"
    if start[0] == _PICKLE:
        return f"is a pickle (as joblib.dump writes), {danger}"
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            return f"is {name}-compressed (as joblib.dump writes a compressed pickle), {danger}"
    return f"is not a ZIP file (it begins with {start!r})"


def _read_members(file: IO[bytes], limits: Mapping[str, int], total: int, first: _First) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        infos = {info.filename: info for info in _checked(archive.infolist(), limits, total)}
        if first is None:
            return {name: _read_member(archive, info) for name, info in infos.items()}
        name, announced = first
        if name not in infos:
            return {}
        found = {name: _read_member(archive, infos.pop(name))}
        others = _checked(list(infos.values()), announced(found[name]), total)
        return found | {info.filename: _read_member(archive, info) for info in others}


def _checked(infos: Sequence[zipfile.ZipInfo], limits: Mapping[str, int], total: int) -> Sequence[zipfile.ZipInfo]:
    """Check members by name, kind and announced size, before any is unpacked."""
    names = [info.filename for info in infos]
    for info in infos:
        if found := _objection(info, limits, names):
            raise _UnusableError(f"holds a member {info.filename[:80]!r} that {found}")
    if sum(info.file_size for info in infos) > total:
        raise _UnusableError(f"unpacks to more than the {total} bytes allowed")
    return infos


def _objection(info: zipfile.ZipInfo, limits: Mapping[str, int], names: Sequence[str]) -> str:
    """Return what is wrong with a member, or an empty string."""
    if info.filename not in limits:
        return "does not belong in such a file"
    if names.count(info.filename) > 1:
        return "occurs twice"
    if info.flag_bits & 0x41:  # bit 0: encrypted, bit 6: strongly encrypted
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return f"is compressed by method {info.compress_type}, not stored or deflated"
    if info.file_size > limits[info.filename]:
        return f"unpacks to {info.file_size} bytes, more than the {limits[info.filename]} allowed"
    return ""


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as member:
        # One byte more than announced, so that zipfile compares the checksum; a member that unpacks to more
        # than it announced is cut there, and fails that comparison.
        content = member.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise _UnusableError(f"is damaged or truncated (its member {info.filename!r} is shorter than announced)")
    return content
