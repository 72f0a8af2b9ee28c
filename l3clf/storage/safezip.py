"""A ZIP file as a container: written in one piece, read without trusting it.

Rule: `write_zip` leaves the old file or the whole new one, the same bytes for the same members. `read_zip`
knows beforehand which members there may be and how large each may get, and never unpacks more than that.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from l3clf.errors import ModelFileError
from l3clf.storage.atomic import replacing

__all__ = ["read_zip", "write_zip"]

_END = struct.Struct("<4s4H2LH")  # end of central directory, without a comment
_ZIP64_LOCATOR = 20
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
"""What zipfile raises, by version, on a file that was cut or overwritten somewhere."""


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Write `members` to a ZIP file that appears under its name only when it is complete.

    Parameters
    ----------
    path : Path
        An existing file is replaced.
    members : mapping of str to bytes
        Name and content, in the order in which they are written.

    Raises
    ------
    ModelFileError
        The file cannot be written; what was there before is still there.
    """
    with replacing(path, ModelFileError) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)  # dated 1980: the same model gives the same bytes
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 6)


def read_zip(path: Path, limits: Mapping[str, int], total: int) -> dict[str, bytes]:
    """Read the members of a ZIP file.

    Parameters
    ----------
    path : Path
        File to read.
    limits : mapping of str to int
        Names that members may have, and the size in bytes that each may have unpacked.
    total : int
        Size in bytes that the file, and all its members unpacked, may have.

    Returns
    -------
    dict of str to bytes
        The members that are there.

    Raises
    ------
    ModelFileError
        The file is missing, no ZIP, damaged, or holds anything else than `limits` allows.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelFileError(f"{path} is no regular file, expected a model file: give the file itself")
        with path.open("rb") as file:
            _check_frame(path, file, total)
            return _read_members(path, file, limits, total)
    except OSError as err:
        raise ModelFileError(f"{path} cannot be read ({err.strerror or err}): give an existing model file") from err
    except _DAMAGE as err:
        raise _damaged(path, str(err) or type(err).__name__) from err


def _damaged(path: Path, found: str) -> ModelFileError:
    return ModelFileError(f"{path} is a damaged or truncated model file ({found[:120]}): save or copy it again")


def _check_frame(path: Path, file: IO[bytes], total: int) -> None:
    """Look at both ends of the file first: what it is, and how long a directory it announces."""
    start = file.read(8)
    size = file.seek(0, 2)
    if not start:
        raise ModelFileError(f"{path} is empty, expected a model file: save or copy it again")
    if not start.startswith(b"PK\x03\x04"):
        raise ModelFileError(f"{path} {_what_it_is(start)}")
    if size > total:
        raise ModelFileError(f"{path} has {size} bytes, more than the {total} that a model file may have")
    file.seek(max(0, size - _END.size - _ZIP64_LOCATOR))
    tail = file.read()
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\x05\x06"):
        raise _damaged(path, "its ZIP directory does not end where the file ends")
    *_, directory, _offset, comment = _END.unpack(tail[-_END.size :])
    if tail.startswith(b"PK\x06\x07") or directory > _MAX_DIRECTORY or comment:
        raise _damaged(path, "its ZIP directory is larger than that of any model")


def _what_it_is(start: bytes) -> str:
    """Name a file that is no ZIP by its first bytes."""
    advice = "expected a ZIP file written by l3clf.save_model: fit the classifier again and save it with that"
    danger = "which is not opened because loading such a file can run any code in it"
    if start[0] == _PICKLE:
        return f"is a pickle (as joblib.dump writes), {danger}; {advice}"
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            return f"is {name}-compressed (as joblib.dump writes a compressed pickle), {danger}; {advice}"
    return f"is no model file (it begins with {start!r}), {advice}"


def _read_members(path: Path, file: IO[bytes], limits: Mapping[str, int], total: int) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        _check_directory(path, infos, limits, total)
        return {info.filename: _read_member(path, archive, info) for info in infos}


def _check_directory(path: Path, infos: Sequence[zipfile.ZipInfo], limits: Mapping[str, int], total: int) -> None:
    """Refuse members by name, kind and announced size, before any is unpacked."""
    names = [info.filename for info in infos]
    for info in infos:
        found = _objection(info, limits, names)
        if found:
            raise ModelFileError(f"{path} holds a member {info.filename[:80]!r} that {found}; save the model again")
    if sum(info.file_size for info in infos) > total:
        raise ModelFileError(f"{path} unpacks to more than {total} bytes, which no model needs; save the model again")


def _objection(info: zipfile.ZipInfo, limits: Mapping[str, int], names: Sequence[str]) -> str:
    """Say what is wrong with a member, or nothing."""
    if info.filename not in limits:
        return "does not belong into a model file"
    if names.count(info.filename) > 1:
        return "is there twice"
    if info.flag_bits & 0x41:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return f"is packed by method {info.compress_type}, expected stored or deflated"
    if info.file_size > limits[info.filename]:
        return f"unpacks to {info.file_size} bytes, more than the {limits[info.filename]} allowed"
    return ""


def _read_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as member:
        # One byte more than announced, so that the checksum is compared; a member that unpacks to more
        # than it announced is cut there, and fails that comparison.
        content = member.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise _damaged(path, f"member {info.filename!r} is shorter than announced")
    return content
