"""The file behind the embedding cache: one SQLite database, safe under several processes and `kill -9`.

Rule: a connection lives for one call, and a process has one at a time. SQLite's locks belong to the process and do not
survive `fork()`, so a fork waits until no connection is open; threads, pickling and a deleted cache file need no
special treatment then. The only exception is the handler of a signal, which interrupts a call of its own thread: it
gets a second connection and never waits for the call that waits for it.

SQLite's write-ahead log ensures that a batch is written completely or not at all; a checksum in every entry
detects later damage on the disk.
"""

import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from l3clf.errors import CacheError, CacheWarning
from l3clf.storage import cache_schema
from l3clf.storage.cache_schema import RefusedError, pragma

__all__ = ["CacheKey", "MalformedError", "StoredWindows", "read", "size_on_disk", "write"]

CacheKey = bytes
T = TypeVar("T")

_BUSY_TIMEOUT_S = 60.0

# FULL would flush the disk at every commit; with NORMAL and the log, a power cut loses the last batches at most.
# In a file, what SQLite keeps to undo each REPLACE would be 20 kB of writing an entry; a crash is undone by the log.
_CONNECTION_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",
    "PRAGMA journal_size_limit = 16777216",
    "PRAGMA temp_store = MEMORY",
)
# A stranger may have made the file, and nothing in it is run.
_SAFETY_PRAGMAS = ("PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON")
_LIMITS = (
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 4096),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    (sqlite3.SQLITE_LIMIT_COLUMN, 20),
)

_REASONS = {  # what was found, and what to do
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space there, or name a cache on another disk"),
    sqlite3.SQLITE_READONLY: ("is read-only", "make it writable, or name another cache"),
    sqlite3.SQLITE_BUSY: ("other processes locked it for a minute", "wait for them, or name another cache"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "make its folder readable and writable, or name another cache"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "check its space and health, or name another cache"),
    sqlite3.SQLITE_TOOBIG: (
        "a clip has more windows than an entry can hold",
        "embed it in pieces",
    ),
}
_IN_A_HANDLER = ("is in use by the call that a signal interrupted", "use it outside the signal's handler")

_one_call = threading.RLock()  # re-entrant for the handlers of signals, which run in the thread that they interrupt
_in_use: list[Path] = []  # files with an open connection: more than one only in the handler of a signal
_forked_in_use = False


def _after_fork_in_child() -> None:
    global _forked_in_use
    _forked_in_use = bool(_in_use)  # the handler of a signal forked amid a call
    _one_call.release()


if hasattr(os, "register_at_fork"):  # registered at import, because a fork during the first call must wait as well
    os.register_at_fork(
        before=_one_call.acquire, after_in_parent=_one_call.release, after_in_child=_after_fork_in_child
    )


class MalformedError(CacheError):
    """The structure of the database was damaged; its file has been moved aside."""

    moved_to: Path | None = None


@dataclass(frozen=True, eq=False)
class StoredWindows:
    """What the cache stores for one clip.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n_windows, embedding_size)
        The embedding of each window.
    levels_dbfs : ndarray of float32, shape (n_windows,)
        The RMS level of each window, in dB relative to full scale.
    """

    vectors: NDArray[np.float32]
    levels_dbfs: NDArray[np.float32]


def read(path: Path, work: Callable[[sqlite3.Connection], T], *, restart: bool = True) -> T | None:
    """Return what `work` reads from the file, or None if there is no file.

    A file of an older version is read as it is. With `restart`, a malformed file is moved aside with a warning and a
    new one is begun; without it, `MalformedError` is raised.
    """
    path = _target(path)
    if _size_and_inode(path)[0] == 0:
        return None
    return _restarting(path, work) if restart else _call(path, work)


def write(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do `work` in one transaction, after creating or upgrading the file, and its folder, if necessary."""
    path = _target(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(
            f"embedding cache {path}: its folder cannot be created ({error.strerror}); name a cache somewhere else"
        ) from error

    def transaction(connection: sqlite3.Connection) -> T:
        with connection:  # commits, or rolls back
            connection.execute("BEGIN IMMEDIATE")
            cache_schema.upgrade(connection)
            return work(connection)

    return _restarting(path, transaction, writing=True)


def size_on_disk(path: Path) -> int:
    """Return the size in bytes of the file and of those that SQLite keeps beside it."""
    return sum(_size_and_inode(own)[0] for own in _own_files(_target(path)))


def _target(path: Path) -> Path:
    """Follow symbolic links, as SQLite does: it keeps its other files beside the file itself, not beside the link."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:  # a NUL byte in the name
        raise CacheError(f"embedding cache {path}: cannot be reached ({error}); name another cache") from error


def _restarting(path: Path, work: Callable[[sqlite3.Connection], T], *, writing: bool = False) -> T:
    try:
        return _call(path, work, writing=writing)
    except MalformedError as error:
        warnings.warn(str(error), CacheWarning, stacklevel=4)
    return _call(path, work, writing=writing)


def _call(path: Path, work: Callable[[sqlite3.Connection], T], *, writing: bool = False) -> T:
    with _one_call:
        if _forked_in_use:
            raise CacheError(
                f"embedding cache {path}: is in use by the call amid which this process was forked; "
                "start processes outside the handlers of signals"
            )
        _, inode = _size_and_inode(path)
        depth = len(_in_use)
        try:
            _in_use.append(path)
            with closing(_open(path, writing=writing)) as connection:
                return work(connection)
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where a damaged name is part of a message
            code = _primary_code(error)
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) and depth == 0:
                raise _moved_aside(path, inode) from error
            found, action = _REASONS.get(code, ("SQLite cannot use it", "delete it, or name another cache"))
            if depth and code == sqlite3.SQLITE_BUSY:
                found, action = _IN_A_HANDLER
            raise CacheError(f"embedding cache {path}: {found} ({error}); {action}") from error
        finally:
            del _in_use[depth:]


def _open(path: Path, *, writing: bool) -> sqlite3.Connection:
    # Closing any descriptor of a file drops this process's locks on it, so a file in use is not opened a second time.
    if path not in _in_use[:-1]:
        _refuse_foreign(path)
    try:
        return _connect(path)
    except sqlite3.OperationalError as error:
        # Even readers need the write-ahead log, and a folder without permission or space has no place for it.
        # Where there is no log, nothing is being written, and SQLite may treat the file as immutable.
        size, log_size, _ = (_size_and_inode(own)[0] for own in _own_files(path))
        code = _primary_code(error)
        unwritable = code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
        full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) and not writing
        if not (unwritable or full) or not size or log_size:
            raise
        return _connect(path, immutable=True)


def _refuse_foreign(path: Path) -> None:
    # Read as plain bytes: SQLite might write the log of another program's database back into it.
    try:
        if path.exists() and not path.is_file():
            raise RefusedError(f"embedding cache {path}: is not a regular file; name another file")
        with path.open("rb") as stream:
            header = stream.read(72)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CacheError(f"embedding cache {path}: cannot be read ({error.strerror}); name another cache") from error
    expected = cache_schema.APPLICATION_ID.to_bytes(4, "big")
    if not header or header[:16] + header[68:] == b"SQLite format 3\0" + expected:
        return
    kind = "the SQLite database of another program" if header.startswith(b"SQLite format 3\0") else "another file"
    raise RefusedError(f"{path}: is not an embedding cache but {kind}, which is left unchanged; name another file")


def _connect(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?{'mode=ro&immutable=1' if immutable else 'mode=rwc'}"
    connection = sqlite3.connect(uri, uri=True, timeout=_patience_s(), isolation_level=None)
    connection.text_factory = bytes  # damage can turn a blob into "text" that cannot be decoded
    try:
        for limit, value in _LIMITS:
            connection.setlimit(limit, value)
        for statement in _SAFETY_PRAGMAS:
            connection.execute(statement)
        is_new = pragma(connection, "user_version") == 0
        if not is_new:
            cache_schema.check(connection, path)
        if not immutable:
            _prepare(connection)
        if is_new:
            cache_schema.check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _patience_s() -> float:
    """Return how long to wait for others; the handler of a signal must not wait for the call that it interrupts."""
    return 0.0 if len(_in_use) > 1 else _BUSY_TIMEOUT_S


def _prepare(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _patience_s()
    while True:
        try:
            _create_if_new(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:  # raised at once if another process switches the mode as well
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    for statement in _CONNECTION_PRAGMAS:
        connection.execute(statement)


def _create_if_new(connection: sqlite3.Connection) -> None:
    # Before the write-ahead log is switched on, so that the file bears our application id from its first byte.
    # Not BEGIN IMMEDIATE, after which auto_vacuum cannot be set; set outside, it would write the file by itself.
    if pragma(connection, "user_version"):
        return
    connection.execute("PRAGMA page_size = 16384")  # an entry of 22 kB reads fastest and wastes least
    with connection:
        connection.execute("BEGIN")
        connection.execute("PRAGMA auto_vacuum = FULL")  # deleting shrinks the file; takes the write lock
        if pragma(connection, "user_version") == 0:  # unless another process was faster
            cache_schema.create(connection)


def _moved_aside(path: Path, inode: int) -> MalformedError:
    """Move the malformed file with this inode aside, and return the error that says so."""
    moved_to = path.with_name(path.name + ".damaged")
    try:
        if _size_and_inode(path)[1] == inode:  # else another process moved it, and may have begun a new one
            for own in reversed(_own_files(path)):  # the log first: it must not be applied to the new database
                with suppress(FileNotFoundError):  # there is no log, or another process is doing the same
                    own.replace(str(moved_to) + own.name[len(path.name) :])
    except OSError as error:
        raise CacheError(
            f"embedding cache {path}: is malformed and cannot be moved aside ({error.strerror}); "
            "delete it, or name another cache"
        ) from error
    malformed = MalformedError(
        f"embedding cache {path}: was malformed and has been moved to {moved_to}; "
        "you may delete that file; its embeddings will be computed again"
    )
    malformed.moved_to = moved_to
    return malformed


def _own_files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def _size_and_inode(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:  # other processes create and remove SQLite's own files at any time
        return 0, 0
    except OSError as error:
        raise CacheError(f"embedding cache {path}: cannot be reached ({error.strerror}); name another cache") from error
    return found.st_size, found.st_ino


def _primary_code(error: Exception) -> int:
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
