"""The file behind the embedding cache: one SQLite database, safe under several processes and `kill -9`.

Rule: a connection lives for one call, and a process has one at a time. SQLite's locks belong to the process and do not
survive `fork()`, so a fork waits until no connection is open; threads, pickling and a deleted cache file need no
special treatment then.

SQLite's write-ahead log ensures that a batch is written completely or not at all; a checksum in every entry
detects later damage on the disk.
"""

import os
import sqlite3
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from l3clf.errors import CacheError, CacheWarning, ParameterError

CacheKey = bytes
Row = tuple[Any, ...]
T = TypeVar("T")

_APPLICATION_ID = 0x6C33636C  # "l3cl", at byte 68 of the file
_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 60.0
_NOTE_USE_EVERY_S = 3600.0  # so that reads seldom cause writes

# FULL would flush the disk at every commit; with NORMAL and the log, a power cut loses the last batches at most.
_CONNECTION_PRAGMAS = ("PRAGMA synchronous = NORMAL", "PRAGMA journal_size_limit = 16777216")
# last_used_s changes often and data is large, so they are in different tables: noting a use rewrites no vectors.
_SCHEMA = (
    "CREATE TABLE embedders (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL)",
    "CREATE TABLE entries (key BLOB NOT NULL PRIMARY KEY, embedder_id INTEGER NOT NULL,"
    " stored_bytes INTEGER NOT NULL, last_used_s REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE windows (key BLOB NOT NULL PRIMARY KEY, n_windows INTEGER NOT NULL,"
    " embedding_size INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE files (path BLOB NOT NULL PRIMARY KEY, state TEXT NOT NULL, content BLOB NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)
_PUT_EMBEDDER = (
    "INSERT INTO embedders (fingerprint, name) VALUES (?, ?)"
    " ON CONFLICT (fingerprint) DO UPDATE SET name = excluded.name"
)
_PUT_ENTRY = (
    "REPLACE INTO entries (key, embedder_id, stored_bytes, last_used_s)"
    " SELECT ?, id, ?, ? FROM embedders WHERE fingerprint = ?"
)
_PUT_WINDOWS = "REPLACE INTO windows (key, n_windows, embedding_size, checksum, data) VALUES (?, ?, ?, ?, ?)"
_GET_ROW = (
    "SELECT n_windows, embedding_size, checksum, data, last_used_s < ?"
    " FROM windows JOIN entries USING (key) WHERE key = ?"
)
# An entry that is in only one of the two tables is returned without data.
_ALL_ROWS = (
    "SELECT key, n_windows, embedding_size, checksum, CASE WHEN key IN (SELECT key FROM entries) THEN data END"
    " FROM windows UNION ALL"
    " SELECT key, NULL, NULL, NULL, NULL FROM entries WHERE key NOT IN (SELECT key FROM windows)"
)
_SELECT_KEYS = (
    "SELECT key FROM entries WHERE last_used_s < ? AND"
    " (? OR embedder_id IN (SELECT id FROM embedders WHERE fingerprint = ?))"
)
_SELECT_OLDEST = (
    "SELECT key FROM (SELECT key, stored_bytes, SUM(stored_bytes) OVER (ORDER BY last_used_s, key) AS total"
    " FROM entries) WHERE total - stored_bytes < ?"
)
_SUMMARY = (
    "SELECT fingerprint, name, COUNT(*), SUM(stored_bytes), MAX(last_used_s)"
    " FROM embedders JOIN entries ON embedder_id = id GROUP BY id ORDER BY MAX(last_used_s) DESC"
)

_REASONS = {  # what was found, and what to do
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space there, or name a cache on another disk"),
    sqlite3.SQLITE_READONLY: ("is read-only", "make it writable, or name another cache"),
    sqlite3.SQLITE_BUSY: ("other processes locked it for a minute", "wait for them, or name another cache"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "make its folder readable and writable, or name another cache"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "check its space and health, or name another cache"),
}

_one_call = threading.Lock()
if hasattr(os, "register_at_fork"):  # registered at import, because a fork during the first call must wait as well
    os.register_at_fork(before=_one_call.acquire, after_in_parent=_one_call.release, after_in_child=_one_call.release)


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


# --- the file -------------------------------------------------------------------------------------


def read(path: Path, work: Callable[[sqlite3.Connection], T], *, restart: bool = True) -> T | None:
    """Return what `work` reads from the file, or None if there is no file.

    With `restart`, a malformed file is moved aside with a warning and a new one is begun; without it,
    `MalformedError` is raised.
    """
    if _size_and_inode(path)[0] == 0:
        return None
    return _restarting(path, work) if restart else _call(path, work)


def write(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do `work` in one transaction, after creating the file and its folder if necessary."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(
            f"embedding cache {path}: its folder cannot be created ({error.strerror}); name a cache somewhere else"
        ) from error

    def transaction(connection: sqlite3.Connection) -> T:
        with connection:  # commits, or rolls back
            connection.execute("BEGIN IMMEDIATE")
            return work(connection)

    return _restarting(path, transaction)


def _call(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    with _one_call:
        _, inode = _size_and_inode(path)
        try:
            with closing(_open(path)) as connection:
                return work(connection)
        except sqlite3.Error as error:
            code = _primary_code(error)
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise _moved_aside(path, inode) from error
            found, action = _REASONS.get(code, ("SQLite cannot use it", "delete it, or name another cache"))
            raise CacheError(f"embedding cache {path}: {found} ({error}); {action}") from error


def size_on_disk(path: Path) -> int:
    """Return the size in bytes of the file and of those that SQLite keeps beside it."""
    return sum(_size_and_inode(own)[0] for own in _own_files(path))


def _restarting(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        return _call(path, work)
    except MalformedError as error:
        warnings.warn(str(error), CacheWarning, stacklevel=4)
    return _call(path, work)


def _open(path: Path) -> sqlite3.Connection:
    _refuse_foreign(path)
    try:
        return _connect(path)
    except sqlite3.OperationalError as error:
        # Even readers need the write-ahead log, and a folder without write permission has no place for it.
        # Where there is no log, nothing is being written, and SQLite may treat the file as immutable.
        size, log_size, _ = (_size_and_inode(own)[0] for own in _own_files(path))
        unwritable = _primary_code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
        if not unwritable or not size or log_size:
            raise
        return _connect(path, immutable=True)


def _refuse_foreign(path: Path) -> None:
    # Read as plain bytes: SQLite might write the log of another program's database back into it.
    try:
        if path.exists() and not path.is_file():
            raise CacheError(f"embedding cache {path}: is not a regular file; name another file")
        with path.open("rb") as stream:
            header = stream.read(72)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CacheError(f"embedding cache {path}: cannot be read ({error.strerror}); name another cache") from error
    if not header or header[:16] + header[68:] == b"SQLite format 3\0" + _APPLICATION_ID.to_bytes(4, "big"):
        return
    kind = "the SQLite database of another program" if header.startswith(b"SQLite format 3\0") else "another file"
    raise CacheError(f"{path}: is not an embedding cache but {kind}, which is left unchanged; name another file")


def _connect(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?{'mode=ro&immutable=1' if immutable else 'mode=rwc'}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    connection.text_factory = bytes  # damage can turn a blob into "text" that cannot be decoded
    try:
        version = _pragma(connection, "user_version")
        if version > _SCHEMA_VERSION:
            raise CacheError(
                f"embedding cache {path}: was made by a newer l3clf (its format is {version}, this version "
                f"reads {_SCHEMA_VERSION}); update l3clf, or name another cache"
            )
        if not immutable:
            _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            _create_if_new(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:  # raised at once if another process switches the mode as well
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    for pragma in _CONNECTION_PRAGMAS:
        connection.execute(pragma)


def _create_if_new(connection: sqlite3.Connection) -> None:
    # Before the write-ahead log is switched on, so that the file bears our application id from its first byte.
    # Not BEGIN IMMEDIATE, after which auto_vacuum cannot be set; set outside, it would write the file by itself.
    if _pragma(connection, "user_version"):
        return
    connection.execute("PRAGMA page_size = 16384")  # an entry of 22 kB reads fastest and wastes least
    with connection:
        connection.execute("BEGIN")
        connection.execute("PRAGMA auto_vacuum = FULL")  # deleting shrinks the file; takes the write lock
        if _pragma(connection, "user_version") == 0:  # unless another process was faster
            for statement in _SCHEMA:
                connection.execute(statement)


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


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


# --- its content ----------------------------------------------------------------------------------


def read_entries(connection: sqlite3.Connection, keys: Sequence[CacheKey]) -> tuple[dict[CacheKey, StoredWindows], int]:
    """Return the undamaged entries, and how many damaged ones were dropped."""
    now = time.time()
    found: dict[CacheKey, StoredWindows] = {}
    damaged, unnoted = [], []
    connection.execute("BEGIN")  # one lock for all keys
    for key in keys:
        for *stored, is_unnoted in connection.execute(_GET_ROW, [now - _NOTE_USE_EVERY_S, key]):
            windows = _unpacked(key, stored)
            if windows is None:
                damaged.append(key)
                continue
            found[key] = windows
            if is_unnoted:
                unnoted.append((now, key))
    connection.execute("COMMIT")
    if damaged or unnoted:
        with suppress(sqlite3.OperationalError):  # this can wait until the file is writable and not locked
            connection.execute("PRAGMA busy_timeout = 0")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                _drop(connection, damaged)
                connection.executemany("UPDATE entries SET last_used_s = ? WHERE key = ?", unnoted)
    return found, len(damaged)


def put_entries(connection: sqlite3.Connection, rows: Sequence[Row], fingerprint: str, embedder: str) -> None:
    """Write entries in the form that `packed` returns."""
    now = time.time()
    connection.execute(_PUT_EMBEDDER, [fingerprint, embedder])
    connection.executemany(_PUT_ENTRY, [(row[0], len(row[-1]), now, fingerprint) for row in rows])
    connection.executemany(_PUT_WINDOWS, rows)


def read_files(connection: sqlite3.Connection, paths: Iterable[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
    """Return the recorded state and content digest of files, by path."""
    connection.execute("BEGIN")  # one lock for all paths
    rows = [connection.execute("SELECT * FROM files WHERE path = ?", [path]).fetchone() for path in paths]
    return {row[0]: row[1:] for row in rows if row}


def put_files(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Record files: path, state and content digest of each."""
    connection.executemany("REPLACE INTO files (path, state, content) VALUES (?, ?, ?)", rows)


def list_files(connection: sqlite3.Connection) -> list[bytes]:
    """Return the paths of all recorded files."""
    return [path for (path,) in connection.execute("SELECT path FROM files")]


def summary(connection: sqlite3.Connection) -> tuple[list[Row], int]:
    """Return a row for each embedder, most recently used first, and the number of recorded files."""
    (n_files,) = connection.execute("SELECT COUNT(*) FROM files").fetchone()
    return connection.execute(_SUMMARY).fetchall(), n_files


def verify(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the number of entries, and how many of them were damaged and have been dropped."""
    (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if result != b"ok":
        error = sqlite3.DatabaseError(result.decode("utf-8", "replace"))
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
    is_damaged = {key: _unpacked(key, stored) is None for key, *stored in connection.execute(_ALL_ROWS)}
    damaged = [key for key in is_damaged if is_damaged[key]]
    if damaged:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            _drop(connection, damaged)
    return len(is_damaged), len(damaged)


def prune(
    connection: sqlite3.Connection,
    files: Iterable[bytes],
    fingerprint: str | None,
    max_bytes: int | None,
    older_than_s: float | None,
) -> int:
    """Drop these files and the selected entries, and return how many entries were dropped."""
    connection.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in files])
    n_removed = 0
    if fingerprint is not None or older_than_s is not None:
        until = np.inf if older_than_s is None else time.time() - older_than_s
        n_removed += _drop_selected(connection, _SELECT_KEYS, until, fingerprint is None, fingerprint)
    while max_bytes is not None and (excess := _used_bytes(connection) - max_bytes) > 0:
        n_oldest = _drop_selected(connection, _SELECT_OLDEST, excess)
        if n_oldest == 0:  # only the list of files is left
            connection.execute("DELETE FROM files")
            break
        n_removed += n_oldest
    return n_removed


def _drop_selected(connection: sqlite3.Connection, query: str, *values: object) -> int:
    keys = [key for (key,) in connection.execute(query, values)]
    _drop(connection, keys)
    return len(keys)


def _drop(connection: sqlite3.Connection, keys: Iterable[CacheKey]) -> None:
    rows = [(key,) for key in keys]
    connection.executemany("DELETE FROM entries WHERE key = ?", rows)
    connection.executemany("DELETE FROM windows WHERE key = ?", rows)


def _used_bytes(connection: sqlite3.Connection) -> int:
    n_pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return n_pages * _pragma(connection, "page_size")


# --- one entry ------------------------------------------------------------------------------------


def checked_key(key: CacheKey) -> CacheKey:
    """Return a cache key, or raise `ParameterError` for any other value."""
    if not isinstance(key, bytes) or len(key) != 32:
        raise ParameterError(f"key={key!r}; expected the 32 bytes that cache_key() returns")
    return key


def packed(key: CacheKey, windows: StoredWindows) -> Row:
    """Return an entry as a row: key, n_windows, embedding_size, checksum and data."""
    vectors, levels = np.asarray(windows.vectors, "<f4"), np.asarray(windows.levels_dbfs, "<f4")
    if vectors.ndim != 2 or levels.shape != vectors.shape[:1]:
        raise ParameterError(
            f"vectors of shape {vectors.shape}, levels_dbfs of shape {levels.shape}; "
            "expected (n_windows, embedding_size) and (n_windows,)"
        )
    (n_windows, size), data = vectors.shape, vectors.tobytes() + levels.tobytes()
    return checked_key(key), n_windows, size, _checksum(key, n_windows, size, data), data


def _unpacked(key: CacheKey, stored: Sequence[Any]) -> StoredWindows | None:
    """Return the windows, or None if the row differs in any way from what was written."""
    n_windows, size, checksum, data = stored
    try:
        if checksum != _checksum(key, n_windows, size, data):
            return None
        values = np.frombuffer(data, "<f4")
        n_values = n_windows * size
        return StoredWindows(values[:n_values].reshape(n_windows, size), values[n_values:])
    except (TypeError, ValueError):  # damage replaced bytes or integers by another type
        return None


def _checksum(key: CacheKey, n_windows: int, size: int, data: bytes) -> int:
    # A CRC detects every burst of up to 32 wrong bits and all but 1 in 4 billion other errors, in a tenth of the
    # time of reading. A cryptographic hash would not stop an attacker, who could recompute it.
    return zlib.crc32(data, zlib.crc32(b"%s %d %d" % (key, n_windows, size)))
