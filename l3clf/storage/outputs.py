"""Which files and folders a run may write to.

Rule: an output never replaces one of the run's own inputs. A file is replaced only if it is empty or of the kind that
is written, and in a folder of ours only if we wrote it and nobody has changed it since. `force` lifts the second half
of this rule, never the first.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from l3clf.errors import L3clfError, ParameterError
from l3clf.storage.atomic import check_writable, name_problem, write_file

__all__ = [
    "RECORD",
    "FolderRecord",
    "Kind",
    "check_kind",
    "check_not_input",
    "check_output",
    "text_begins",
    "zip_member_begins",
]

RECORD = ".l3clf-files.json"  # in a folder of ours: the names and digests of what we wrote
MAX_RECORD = 16 << 20  # bytes; a baseline or a demo takes some ten thousand
_HEAD = 4096  # bytes that tell what a file is


class Kind(NamedTuple):
    """What an output is.

    Attributes
    ----------
    name : str
        For messages, such as "a model file".
    holds : callable
        Whether an existing file is of this kind, given its path.
    """

    name: str
    holds: Callable[[Path], bool]


def check_output(
    path: str | os.PathLike[str],
    kind: Kind,
    inputs: Iterable[str | os.PathLike[str]] = (),
    force: bool = False,
    error: type[L3clfError] = ParameterError,
) -> Path:
    """Check that a file may be written, before hours are spent on its content.

    Parameters
    ----------
    path : path
        The file to write.
    kind : Kind
        What will be written.
    inputs : iterable of path
        The files that the run reads.
    force : bool, default=False
        Whether to replace a file of another kind.
    error : type, default=ParameterError
        The exception to raise.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    L3clfError
        Of type `error`, if `path` is an input, a folder or a device, is a file of another kind that `force` does not
        give up, or cannot be written.
    """
    if problem := name_problem(path):
        raise error(f"{os.fspath(path)!r}: is not a file name ({problem}); choose another")
    try:
        check_not_input([Path(path)], inputs, error)
        check_writable(Path(path), error)
    except OSError as found:  # a name too long, a folder without permission
        raise error(f"{path}: cannot be written ({found.strerror}); choose another place") from None
    return check_kind(path, kind, force, error)


def check_kind(
    path: str | os.PathLike[str], kind: Kind, force: bool = False, error: type[L3clfError] = ParameterError
) -> Path:
    """Check that a file is not one of another kind, which `force` would give up; otherwise return it as a Path.

    Raises
    ------
    L3clfError
        Of type `error`.
    """
    if problem := name_problem(path):
        raise error(f"{os.fspath(path)!r}: is not a file name ({problem}); choose another")
    target = Path(path)
    try:
        other = not force and target.is_file() and target.stat().st_size > 0 and not kind.holds(target)
    except OSError:  # writing it will say what is wrong with the name
        return target
    if other:
        raise error(f"{path}: exists and is not {kind.name}; name another file, or pass force=True to replace it")
    return target


def check_not_input(
    paths: Iterable[Path], inputs: Iterable[str | os.PathLike[str]], error: type[L3clfError] = ParameterError
) -> None:
    """Raise an error if an output is one of the files that are read, also by way of a symbolic or a hard link.

    Raises
    ------
    L3clfError
        Of type `error`.
    """
    own = {_identity(path): path for path in paths}
    for each in inputs:
        if found := own.get(_identity(each)):
            raise error(f"{found}: is read by the same command; name another file to write")


def _identity(path: str | os.PathLike[str]) -> object:
    """Return what is the same for two paths of one file."""
    try:
        found = os.stat(path)  # noqa: PTH116  # quicker than Path.stat where there are many clips
        return found.st_dev, found.st_ino
    except (OSError, ValueError):
        return os.path.abspath(path)  # noqa: PTH100  # of a file that does not exist, which must not appear either


# --- kinds ----------------------------------------------------------------------------------------


def zip_member_begins(member: str, text: bytes, without: str = "") -> Callable[[Path], bool]:
    """Return a test for ZIP files of ours: whether `text` is near the beginning of a member, and `without` is none."""

    def holds(path: Path) -> bool:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                return text in file.read(_HEAD) and without not in archive.namelist()
        except (OSError, KeyError, zipfile.BadZipFile, *_ZIP_DAMAGE):
            return False

    return holds


_ZIP_DAMAGE = (NotImplementedError, RuntimeError, EOFError, ValueError)


def text_begins(*starts: str) -> Callable[[Path], bool]:
    """Return a test for text files of ours: whether the file begins with one of `starts`."""

    def holds(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                return file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").startswith(tuple(s.encode() for s in starts))
        except OSError:
            return False

    return holds


# --- folders --------------------------------------------------------------------------------------


class FolderRecord:
    """The record of what we wrote into a folder: it tells our files from those that a user put or changed there.

    Parameters
    ----------
    folder : path
        An existing folder; the record is a hidden file in it.
    error : type, default=ParameterError
        The exception to raise.
    """

    def __init__(self, folder: str | os.PathLike[str], error: type[L3clfError] = ParameterError) -> None:
        self.folder, self.error = Path(folder), error
        self._written = _read_record(self.folder / RECORD)

    def check(self, names: Iterable[str], force: bool = False) -> None:
        """Check that files may be replaced.

        Parameters
        ----------
        names : iterable of str
            Paths relative to the folder; those that do not exist may be written.
        force : bool, default=False
            Whether to replace files that we did not write, or that were changed since.

        Raises
        ------
        L3clfError
            If one may not be replaced.
        """
        for name in names:
            path = self.folder / name
            for above in path.relative_to(self.folder).parents:
                if (self.folder / above).is_symlink() and above != Path():
                    raise self.error(f"{self.folder / above}: is a link to another folder; remove the link")
            if path.is_dir() and not path.is_symlink():
                raise self.error(f"{path}: is a folder where a file is to be written; move it or name another folder")
            if os.path.lexists(path) and not force and not self.has(name):
                found = "was changed since l3clf wrote it" if name in self._written else "was not written by this run"
                raise self.error(f"{path}: {found}; move it, name another folder, or pass force=True to replace it")

    def has(self, name: str) -> bool:
        """Return whether a file is as we wrote it."""
        path = self.folder / name
        return name in self._written and not path.is_symlink() and _digest(path) in self._written[name]

    def add(self, *paths: Path) -> None:
        """Record files of the folder that have just been written."""
        self._written = _read_record(self.folder / RECORD)  # another part of the run may have added to it
        self._written |= {path.relative_to(self.folder).as_posix(): [_digest(path)] for path in paths}
        self._store()

    def write(
        self, contents: Mapping[str, bytes], inputs: Iterable[str | os.PathLike[str]] = (), force: bool = False
    ) -> None:
        """Write files, all of which are checked before the first is written.

        Parameters
        ----------
        contents : mapping of str to bytes
            Content by name. Files that have it already are not touched.
        inputs : iterable of path
            Files that must not be replaced, whatever `force` says.
        force : bool, default=False
            As for `check`.

        Raises
        ------
        L3clfError
            As for `check`, and if a file is an input or cannot be written.
        """
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        new = {n: content for n, content in contents.items() if _digest(self.folder / n) != digests[n]}
        self.check(new, force)
        check_not_input((self.folder / name for name in new), inputs, self.error)
        # Recorded before they are written as well: a run that is stopped half-way leaves no file that looks foreign.
        self._written |= {name: [*self._written.get(name, []), digests[name]] for name in contents}
        self._store()
        for name, content in new.items():
            write_file(self.folder / name, content, self.error)
        self._written |= {name: [digest] for name, digest in digests.items()}
        self._store()

    def keep_only(self, names: Iterable[str]) -> None:
        """Delete the other files that we wrote, of an earlier run; those that were changed since stay, as a user's."""
        kept = set(names)
        for name in [name for name in self._written if name not in kept]:
            if self._inside(name) and self.has(name):
                with suppress(OSError):  # a file that stays does no harm
                    (self.folder / name).unlink()
            del self._written[name]
        self._store()

    def _inside(self, name: str) -> bool:
        """Return whether a recorded name is that of a file in the folder: anybody may have written the record."""
        parts = PurePosixPath(name).parts
        above = [self.folder.joinpath(*parts[:n]) for n in range(1, len(parts))]
        return ".." not in parts and not Path(name).is_absolute() and not any(path.is_symlink() for path in above)

    def _store(self) -> None:
        text = json.dumps({"files": self._written}, indent=1, sort_keys=True)
        write_file(self.folder / RECORD, text.encode("utf-8", "surrogatepass"), self.error)


def _read_record(path: Path) -> dict[str, list[str]]:
    """Return the digests by name; a record that is damaged or not ours records nothing."""
    try:
        if path.stat().st_size > MAX_RECORD:
            return {}
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {str(name): [str(digest) for digest in digests] for name, digests in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _digest(path: Path) -> str:
    """Return the SHA-256 of a regular file; an empty string if it is none or cannot be read."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
