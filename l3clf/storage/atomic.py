"""The one way to write a file or claim a folder.

Downloads, which resume, and the large arrays of distillation, which are filled step by step, keep their own rules.

Rule: a file appears under its name only when it is complete; until then, an existing file of that name stays.
A folder may be written to if it is new, empty, or holds the mark of an earlier run; any other belongs to the user.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from l3clf.errors import L3clfError, ParameterError

__all__ = [
    "FileState",
    "cannot_write",
    "check_folder",
    "check_writable",
    "claim_folder",
    "file_state",
    "name_problem",
    "replacing",
    "spool",
    "write_file",
]


@contextmanager
def replacing(path: Path, error: type[L3clfError] = ParameterError, **how: Any) -> Iterator[IO[Any]]:
    """Open a file that replaces `path` when the block ends without an exception.

    Parameters
    ----------
    path : Path
        The file to write; its folder must exist.
    error : type, default=ParameterError
        The exception to raise if it cannot be written.
    **how
        For `open`: ``encoding``, ``errors``, ``newline``. Without any of them, the file is binary.

    Yields
    ------
    file
        A hidden file beside `path`, which is removed if the block fails.

    Raises
    ------
    L3clfError
        Of type `error`, if permission, the folder or space is missing.
    """
    # Beside the target, because a rename is atomic only within one file system.
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        file = part.open("x" if how else "xb", **how)
    except OSError as problem:  # if it exists, it is another run's, and stays
        raise cannot_write(path, problem, error) from problem
    try:
        with file:
            yield file
        part.replace(path)
    except OSError as problem:
        raise cannot_write(path, problem, error) from problem
    finally:
        with suppress(OSError):  # already renamed
            part.unlink()


@contextmanager
def spool(beside: Path) -> Iterator[IO[bytes]]:
    """Open a file without a name beside another, for what is sorted before it is written there."""
    try:
        file = tempfile.TemporaryFile(dir=beside.parent)  # noqa: SIM115  # closed below
    except OSError as problem:
        raise cannot_write(beside, problem) from problem
    with file:
        yield file


def write_file(path: Path, content: bytes, error: type[L3clfError] = ParameterError) -> Path:
    """Write a file, and create its folder if necessary; see `replacing`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise cannot_write(path, problem, error) from problem
    with replacing(path, error) as file:
        file.write(content)
    return path


def check_writable(path: Path, error: type[L3clfError] = ParameterError) -> None:
    """Raise the error that `replacing` would raise, before hours are spent on the content.

    Raises
    ------
    L3clfError
        Of type `error`, if `path` is a folder or a device, or no file can be created beside it.
    """
    if path.exists() and not path.is_file():
        found = "is a folder" if path.is_dir() else "is not a regular file"
        raise error(f"{path}: {found}; name a file in a folder that exists")
    if not path.absolute().parent.is_dir():
        raise error(f"{path}: its folder does not exist; name a file in a folder that exists")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.touch(exist_ok=False)
        part.unlink()
    except OSError as problem:
        raise cannot_write(path, problem, error) from problem


def name_problem(path: str | os.PathLike[str]) -> str:
    """Return why a path cannot name a file on any system, or an empty string.

    Examples
    --------
    >>> name_problem("a.wav"), name_problem("a" + chr(0))
    ('', 'a NUL in it')
    """
    try:
        return "a NUL in it" if b"\0" in os.fsencode(path) else ""
    except UnicodeEncodeError:
        return "half a character in it"


def cannot_write(path: Path, problem: OSError | ValueError, error: type[L3clfError] = ParameterError) -> L3clfError:
    """Return the error that says why a file or folder cannot be written."""
    reason = getattr(problem, "strerror", None) or problem
    return error(f"{path}: cannot be written ({reason}); choose another place or free some space")


def claim_folder(
    out: str | os.PathLike[str], mark: str, error: type[L3clfError] = ParameterError, force: bool = False
) -> Path:
    """Take a folder for the output of a run: it must be new, empty, or the output of an earlier run.

    Parameters
    ----------
    out : path
        The folder; it is created if necessary.
    mark : str
        The name of a file that only such runs leave there; it is created, empty, if necessary.
    error : type, default=ParameterError
        The exception to raise.
    force : bool, default=False
        Whether to take a folder that holds other files too; which of them may be replaced is another question (see
        `l3clf.storage.outputs.FolderRecord`).

    Raises
    ------
    L3clfError
        Of type `error`, if `out` is a file, holds other files, or cannot be written.
    """
    folder = check_folder(out, mark, error, force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / mark).touch()
    except OSError as problem:
        raise cannot_write(folder, problem, error) from problem
    return folder


def check_folder(
    out: str | os.PathLike[str], mark: str, error: type[L3clfError] = ParameterError, force: bool = False
) -> Path:
    """Check that `claim_folder` would take a folder, and return it; nothing is created.

    Raises
    ------
    L3clfError
        As for `claim_folder`.
    """
    folder = Path(out)
    if found := name_problem(folder):
        raise error(f"{str(folder)!r}: is not a folder name ({found}); name a new folder")
    try:
        if folder.exists() and not folder.is_dir():
            raise error(f"{folder}: is not a folder; name a new folder")
        marked = (folder / mark).is_file() and not (folder / mark).is_symlink()
        if folder.is_dir() and not marked and not force and any(folder.iterdir()):
            raise error(
                f"{folder}: holds other files; name a new or an empty folder, or pass force=True to write into it"
            )
    except OSError as problem:
        raise cannot_write(folder, problem, error) from problem
    return folder


class FileState(NamedTuple):
    """The properties by which a file is recognised as unchanged without reading it.

    A change within the resolution of the file system's clock may go unnoticed (FAT: two seconds).

    Attributes
    ----------
    size_bytes, modified_ns, changed_ns, inode : int
    """

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int


def file_state(path: str | os.PathLike[str]) -> FileState:
    """Return the state of a file.

    Raises
    ------
    OSError, ValueError
        If the file does not exist, or its name is not valid.
    """
    found = os.stat(path)  # noqa: PTH116  # three times as fast as Path.stat, which counts when there are many clips
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
