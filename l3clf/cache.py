"""The embedding cache: one SQLite file that remembers what an embedder said about each clip.

Rule: the cache may lose an entry, but never answers with a wrong one. Entries are found by the content
of the audio, never by its name; every entry carries a checksum; a batch is written completely or not
at all. SQLite's write-ahead log gives this for several processes at once and under `kill -9`.

A connection lives for one call, and a process has one at a time. SQLite's locks belong to the process
and do not survive `fork()`, so a fork waits until no connection is open; that also makes threads,
pickling and a deleted cache file ordinary cases.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
import platformdirs
from numpy.typing import NDArray

from l3clf.errors import AudioError, CacheError, CacheWarning, L3clfError, ParameterError

__all__ = [
    "CacheCheck",
    "CacheKey",
    "EmbeddingCache",
    "StoredWindows",
    "array_digest",
    "cache_key",
    "default_cache_path",
    "file_digest",
]

CacheKey = bytes
T = TypeVar("T")

_KEY_BYTES = 32
_APPLICATION_ID = 0x6C33636C  # "l3cl", at byte 68 of the file
_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 60.0
_SETTLED_NS = 2_000_000_000  # file systems stamp times as coarsely as this (FAT: two seconds)
_NOTE_USE_EVERY_S = 3600.0  # so that reading does not become writing
_CHUNK = 500  # SQL parameters in one statement; old SQLite libraries take 999

_PAGE_SIZE = "PRAGMA page_size = 16384"  # an entry of 22 kB reads fastest and wastes least with these
_AUTO_VACUUM = "PRAGMA auto_vacuum = INCREMENTAL"  # prune gives space back without a second copy
_CONNECTION_PRAGMAS = ("PRAGMA synchronous = NORMAL", "PRAGMA journal_size_limit = 16777216")
# What changes (last_used_s) lies apart from what is large (data): noting a use rewrites no vectors.
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
_GET_EMBEDDER_ID = "SELECT id FROM embedders WHERE fingerprint = ?"
_PUT_ENTRY = "REPLACE INTO entries (key, embedder_id, stored_bytes, last_used_s) VALUES (?, ?, ?, ?)"
_PUT_WINDOWS = "REPLACE INTO windows (key, n_windows, embedding_size, checksum, data) VALUES (?, ?, ?, ?, ?)"
_GET_ROWS = (
    "SELECT w.key, w.n_windows, w.embedding_size, w.checksum, w.data, e.last_used_s < ?"
    " FROM windows AS w JOIN entries AS e ON e.key = w.key WHERE w.key IN ({})"
)
_GET_ROW = "SELECT n_windows, embedding_size, checksum, data FROM windows WHERE key = ?"
_WALK_ROWS = (
    "SELECT rowid, key, n_windows, embedding_size, checksum, data FROM windows WHERE rowid > ? ORDER BY rowid LIMIT 100"
)
_NOTE_USE = "UPDATE entries SET last_used_s = ? WHERE key = ?"
_DROP_ENTRY = "DELETE FROM entries WHERE key = ?"
_DROP_WINDOWS = "DELETE FROM windows WHERE key = ?"
_FIND_HALVES = (
    "SELECT key FROM windows WHERE key NOT IN (SELECT key FROM entries)"
    " UNION ALL SELECT key FROM entries WHERE key NOT IN (SELECT key FROM windows)"
)
_COUNT_KEYS = "SELECT COUNT(*) FROM (SELECT key FROM windows UNION SELECT key FROM entries)"
_SELECT_KEYS = (
    "SELECT key FROM entries WHERE last_used_s < ? AND"
    " (? OR embedder_id IN (SELECT id FROM embedders WHERE fingerprint = ?))"
)
_OLDEST_FIRST = "SELECT key, stored_bytes FROM entries ORDER BY last_used_s, key"
_DROP_UNUSED_EMBEDDERS = "DELETE FROM embedders WHERE id NOT IN (SELECT embedder_id FROM entries)"
_GET_FILES = "SELECT path, state, content FROM files WHERE path IN ({})"
_PUT_FILE = "REPLACE INTO files (path, state, content) VALUES (?, ?, ?)"
_SUMMARY = (
    "SELECT fingerprint, name, COUNT(*), SUM(stored_bytes), MAX(last_used_s)"
    " FROM embedders JOIN entries ON embedder_id = id GROUP BY id ORDER BY MAX(last_used_s) DESC"
)

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space there, or name a cache on another disk",
    sqlite3.SQLITE_READONLY: "it is read-only: make it writable, or name another cache",
    sqlite3.SQLITE_BUSY: "other processes kept it locked for a minute: wait for them, or name another cache",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: make its folder readable and writable, or name another",
    sqlite3.SQLITE_IOERR: "the disk reports an error: check its space and health, or name another cache",
}

_one_call = threading.Lock()
if hasattr(os, "register_at_fork"):  # at import: a fork during the first call must wait as well
    os.register_at_fork(before=_one_call.acquire, after_in_parent=_one_call.release, after_in_child=_one_call.release)


class _OutOfServiceError(CacheError):
    """The file is fine, but cannot be written (or read) at present."""


class _MalformedError(CacheError):
    """The structure of the database with this inode is damaged."""

    inode: int = 0


@dataclass(frozen=True, eq=False)
class StoredWindows:
    """What is kept of one clip.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n_windows, embedding_size)
        The embedding of each window.
    levels_dbfs : ndarray of float32, shape (n_windows,)
        The RMS level of each window, in dB relative to full scale.
    """

    vectors: NDArray[np.float32]
    levels_dbfs: NDArray[np.float32]


class CacheCheck(NamedTuple):
    """What `EmbeddingCache.verify` found.

    Attributes
    ----------
    checked : int
        Entries looked at.
    damaged : int
        Entries that were damaged and have been dropped.
    moved_to : Path or None
        Where the whole file went, when the database itself was malformed.
    """

    checked: int
    damaged: int
    moved_to: Path | None = None


def default_cache_path() -> Path:
    """Return the file named by the environment's `L3CLF_CACHE`, or else one in the user's cache folder."""
    named = os.environ.get("L3CLF_CACHE")
    if named:
        return Path(named).expanduser()
    return platformdirs.user_cache_path("l3clf", appauthor=False) / "embeddings.sqlite"


def file_digest(path: str | os.PathLike[str]) -> bytes:
    """Return 32 bytes that identify what a file contains, whatever its name.

    Raises
    ------
    AudioError
        If the file cannot be read.
    """
    _file_state(path)  # a folder is named as such, and a pipe would wait for ever
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        _refuse_file(path, error)


def array_digest(samples: NDArray[Any], sample_rate: int) -> bytes:
    """Return 32 bytes that identify audio in memory: its values, type, shape and sample rate.

    Raises
    ------
    ParameterError
        If the array holds Python objects, which have no bytes of their own.
    """
    if samples.dtype.hasobject:
        raise ParameterError(f"samples has dtype {samples.dtype}; give it as an array of numbers.")
    described = f"l3clf array {samples.dtype.str} {samples.shape} {float(sample_rate).hex()}\n"
    digest = hashlib.sha256(described.encode("ascii"))
    digest.update(np.ascontiguousarray(samples).data)
    return digest.digest()


def cache_key(
    content: bytes, start_s: float, end_s: float | None, fingerprint: str, hop_s: float, center: bool
) -> CacheKey:
    """Return the key of a clip's windows.

    Parameters
    ----------
    content : bytes
        What `file_digest`, `array_digest` or `EmbeddingCache.content_ids` returned.
    start_s, end_s : float, float or None
        The piece of the audio; None means its end.
    fingerprint : str
        The embedder's fingerprint.
    hop_s : float
        Seconds from one window to the next.
    center : bool
        Whether windows are centred on their times.

    Returns
    -------
    bytes
        32 bytes; they differ whenever any parameter does.
    """
    piece = (_exact(start_s), b"to the end" if end_s is None else _exact(end_s))
    framing = (fingerprint.encode("utf-8"), _exact(hop_s), b"1" if center else b"0")
    digest = hashlib.sha256(b"l3clf windows 1\n")
    for field in (content, *piece, *framing):
        digest.update(len(field).to_bytes(8, "little") + field)  # the length keeps neighbours apart
    return digest.digest()


def _exact(value: float) -> bytes:
    return (float(value) + 0.0).hex().encode("ascii")  # + 0.0: minus zero is zero


class EmbeddingCache:
    """Embeddings of clips in one SQLite file, shared by any number of processes.

    Nothing is opened or made until it is needed; the file and its folder are made by the first write.
    It pickles, and is deep-copied, as its path. A database that is itself malformed is moved aside, with
    a warning, and a new one is begun: what it held can be computed again.

    Parameters
    ----------
    path : str or path-like
        The file. A file that is not an embedding cache is refused, and left as it is.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> cache = EmbeddingCache(folder.name + "/embeddings.sqlite")
    >>> key = cache_key(b"what the file contains", 0.0, None, "openl3-1", 0.5, True)
    >>> windows = StoredWindows(np.ones((11, 512), np.float32), np.full(11, -20, np.float32))
    >>> cache.put_many({key: windows}, fingerprint="openl3-1", embedder="openl3")
    >>> cache.get_many([key])[key].vectors.shape
    (11, 512)
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()  # a worker may start in another folder

    def __repr__(self) -> str:
        return f"EmbeddingCache({str(self.path)!r})"

    def __reduce__(self) -> tuple[type[EmbeddingCache], tuple[str]]:
        return type(self), (str(self.path),)

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: no connection outlives a call, so there is never anything to close."""

    def content_ids(self, paths: Sequence[str | os.PathLike[str]]) -> list[bytes | L3clfError]:
        """Identify files by what they contain.

        A file is hashed when it is new or changed. It counts as unchanged when its path, size, both
        times and inode are those on record; a file written within two seconds of being hashed is not
        recorded, because a second change might not show in its times.

        Parameters
        ----------
        paths : sequence of str or path-like
            Audio files.

        Returns
        -------
        list of bytes or L3clfError
            In the order of `paths`: 32 bytes as from `file_digest`, or the error of a file that
            cannot be read.
        """
        names = [os.fspath(path) for path in paths]
        found: dict[str, bytes | L3clfError] = {}
        for chunk in _chunks(list(dict.fromkeys(names))):
            found.update(self._identify(chunk))
        return [found[name] for name in names]

    def get_many(self, keys: Sequence[CacheKey]) -> dict[CacheKey, StoredWindows]:
        """Read entries; the arrays are read-only.

        Parameters
        ----------
        keys : sequence of bytes
            Keys from `cache_key`.

        Returns
        -------
        dict of bytes to StoredWindows
            Entries that do not exist are left out. So are damaged ones: they are dropped from the
            file, and one `CacheWarning` says how many.
        """
        wanted = [_checked_key(key) for key in dict.fromkeys(keys)]
        found, n_damaged = self._read(lambda connection: _read_entries(connection, wanted)) or ({}, 0)
        if n_damaged:
            warnings.warn(
                f"{n_damaged} of {len(wanted)} entries asked of the embedding cache {self.path} were"
                " damaged; they are dropped and have to be computed again.",
                CacheWarning,
                stacklevel=2,
            )
        return found

    def put_many(self, entries: Mapping[CacheKey, StoredWindows], *, fingerprint: str, embedder: str) -> None:
        """Write entries, all or none of them; a key that exists already is written anew.

        Parameters
        ----------
        entries : mapping of bytes to StoredWindows
            What to keep, by keys from `cache_key`.
        fingerprint : str
            Fingerprint of the embedder that made them.
        embedder : str
            Its name, for `info`.

        Raises
        ------
        CacheError
            If the file cannot be written.
        ParameterError
            If a key or an array has the wrong type or shape.
        """
        rows = [_packed(key, windows) for key, windows in entries.items()]
        if rows:
            self._write(lambda connection: _put_rows(connection, rows, fingerprint, embedder))

    def info(self) -> dict[str, Any]:
        """Return what the cache holds.

        Returns
        -------
        dict
            `path`; `entries`; `bytes` (on disk, with SQLite's own files); `files` (recognised by path);
            `embedders`: by fingerprint, most recently used first, a dict of `embedder` (its name),
            `entries`, `bytes` (of vectors and levels), `last_used_s` (seconds since 1970, to the hour).
        """
        rows, n_files = self._read(_summary) or ([], 0)
        embedders = {
            fingerprint.decode(): {
                "embedder": name.decode(),
                "entries": n,
                "bytes": size,
                "last_used_s": used,
            }
            for fingerprint, name, n, size, used in rows
        }
        n_entries = sum(row[2] for row in rows)
        return {
            "path": self.path,
            "entries": n_entries,
            "bytes": sum(_size_and_inode(path)[0] for path in self._own_files()),
            "files": n_files,
            "embedders": embedders,
        }

    def verify(self) -> CacheCheck:
        """Check the database's structure and every entry's checksum; drop damaged entries.

        A malformed database is moved aside, since neither its entries nor its lists can be trusted;
        the next write begins a new one.

        Returns
        -------
        CacheCheck
            How many entries were checked and how many were damaged, or where the file was moved.

        Raises
        ------
        CacheError
            If the file cannot be opened, or damaged entries cannot be dropped.
        """
        try:
            return CacheCheck(0, 0) if self._is_empty() else self._call(_verified)
        except _MalformedError as error:
            return CacheCheck(0, 0, self._move_aside(error))

    def prune(
        self,
        *,
        fingerprint: str | None = None,
        max_bytes: int | None = None,
        older_than_s: float | None = None,
    ) -> int:
        """Remove entries, forget files that are gone, and give the space back to the disk.

        Parameters
        ----------
        fingerprint : str, optional
            Remove the entries of this embedder; with `older_than_s`, only those that are old as well.
        max_bytes : int, optional
            Afterwards, remove entries, longest unused first, until the file is no larger than this.
        older_than_s : float, optional
            Remove entries not used for this many seconds. A use is noted once an hour.

        Returns
        -------
        int
            How many entries were removed.
        """
        for name, value in (("max_bytes", max_bytes), ("older_than_s", older_than_s)):
            if value is not None and not value >= 0:
                raise ParameterError(f"{name} is {value!r}; give a number of at least 0, or None.")
        if self._is_empty():
            return 0
        return self._write(lambda connection: _pruned(connection, fingerprint, max_bytes, older_than_s))

    def _identify(self, names: list[str]) -> dict[str, bytes | L3clfError]:
        found: dict[str, bytes | L3clfError] = {}
        keys = {name: os.fsencode(Path(name).absolute()) for name in names}
        recorded = self._read(lambda connection: _recorded_files(connection, list(keys.values()))) or {}
        fresh: list[tuple[bytes, bytes, bytes]] = []
        for name, key in keys.items():
            try:
                state, content = recorded.get(key, (b"", b""))
                if state == _file_state(name)[0]:
                    found[name] = content
                else:
                    found[name] = _hashed(name, key, fresh)
            except AudioError as error:
                found[name] = error
        if fresh:
            with suppress(_OutOfServiceError):  # a cache that cannot be written can still be read
                self._write(lambda connection: _record_files(connection, fresh))
        return found

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        return None if self._is_empty() else self._call_or_restart(work)

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _OutOfServiceError(
                f"The folder of the embedding cache {self.path} cannot be made ({_reason(error)});"
                " name a cache somewhere else."
            ) from error
        return self._call_or_restart(work)

    def _call_or_restart(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._call(work)
        except _MalformedError as error:
            moved_to = self._move_aside(error)
        warnings.warn(
            f"The embedding cache {self.path} was malformed; it was moved to {moved_to}, which you may"
            " delete, and a new one begins: its embeddings have to be computed again.",
            CacheWarning,
            stacklevel=4,
        )
        return self._call(work)

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _one_call:
            inode = _size_and_inode(self.path)[1]
            try:
                with closing(self._open()) as connection:
                    return work(connection)
            except sqlite3.Error as error:
                _raise_as_cache_error(self.path, error, inode)

    def _open(self) -> sqlite3.Connection:
        _refuse_foreign(self.path)
        try:
            return self._connect("mode=rwc", _prepare)
        except sqlite3.OperationalError as error:
            # A folder without write permission has no place for the write-ahead log that even readers
            # need. Where there is no log nobody is writing, and SQLite can be told that nobody will.
            _, log, _ = self._own_files()
            unwritable = _primary_code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
            if not unwritable or self._is_empty() or _size_and_inode(log)[0]:
                raise
            return self._connect("mode=ro&immutable=1", _check_version)

    def _connect(self, how: str, prepare: Callable[[sqlite3.Connection, Path], object]) -> sqlite3.Connection:
        uri = f"{self.path.as_uri()}?{how}"
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        connection.text_factory = bytes  # damage can turn a blob into "text" that does not decode
        try:
            prepare(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _own_files(self) -> list[Path]:
        return [self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal", "-shm")]

    def _is_empty(self) -> bool:
        return _size_and_inode(self.path)[0] == 0

    def _move_aside(self, cause: _MalformedError) -> Path:
        moved_to = self.path.with_name(self.path.name + ".damaged")
        try:
            if _size_and_inode(self.path)[1] != cause.inode:
                return moved_to  # by another process, which may have begun a new one
            for path in reversed(self._own_files()):  # the log first: it must not meet the new database
                if path.exists():
                    path.replace(str(moved_to) + path.name[len(self.path.name) :])
        except FileNotFoundError:  # another process is doing the same
            return moved_to
        except OSError as error:
            raise CacheError(
                f"The embedding cache {self.path} is malformed and cannot be moved aside"
                f" ({_reason(error)}); delete it, or name another."
            ) from cause
        return moved_to


def _size_and_inode(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:  # other processes make and remove SQLite's own files at any time
        return 0, 0
    except OSError as error:
        raise CacheError(f"The embedding cache {path} is out of reach: {_reason(error)}.") from error
    return found.st_size, found.st_ino


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version = _pragma(connection, "user_version")
    if version > _SCHEMA_VERSION:
        raise CacheError(
            f"The embedding cache {path} was made by a newer l3clf (its format is {version}, this one"
            f" reads {_SCHEMA_VERSION}); update l3clf, or name another cache."
        )
    return version


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if _check_version(connection, path) == 0:
        connection.execute(_PAGE_SIZE)
        _insist(lambda: _create(connection))
    _insist(lambda: connection.execute("PRAGMA journal_mode = WAL"))
    for pragma in _CONNECTION_PRAGMAS:
        connection.execute(pragma)


def _create(connection: sqlite3.Connection) -> None:
    # Before the write-ahead log is switched on, so that the file says whose it is from its first byte.
    # Not BEGIN IMMEDIATE: it would settle the page layout, and auto_vacuum outside writes a file itself.
    with _transaction(connection, "BEGIN"):
        connection.execute(_AUTO_VACUUM)  # takes the write lock
        if _pragma(connection, "user_version") == 0:  # another process may have been faster
            for statement in _SCHEMA:
                connection.execute(statement)


def _insist(action: Callable[[], object]) -> None:
    """Repeat what SQLite gives up at once, not after the timeout, when another process does the same."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _read_entries(connection: sqlite3.Connection, keys: list[CacheKey]) -> tuple[dict[CacheKey, StoredWindows], int]:
    now = time.time()
    found: dict[CacheKey, StoredWindows] = {}
    damaged, unnoted = [], []
    for chunk in _chunks(keys):
        statement = _GET_ROWS.format(_marks(chunk))
        for key, *stored, is_unnoted in connection.execute(statement, [now - _NOTE_USE_EVERY_S, *chunk]):
            windows = _unpacked(key, stored)
            if windows is None:
                damaged.append(key)
                continue
            found[key] = windows
            if is_unnoted:
                unnoted.append((now, key))
    _tidy(connection, damaged, unnoted)
    return found, len(damaged)


def _tidy(connection: sqlite3.Connection, damaged: list[CacheKey], unnoted: list[tuple[float, CacheKey]]) -> None:
    with suppress(sqlite3.OperationalError):  # not while others write, nor where nobody may write
        connection.execute("PRAGMA busy_timeout = 0")
        if damaged:
            _drop_damaged(connection, damaged)
        if unnoted:
            with _transaction(connection):
                connection.executemany(_NOTE_USE, unnoted)


def _drop_damaged(connection: sqlite3.Connection, keys: Iterable[CacheKey]) -> None:
    with _transaction(connection):
        for key in keys:
            row = connection.execute(_GET_ROW, [key]).fetchone()
            if row is None or _unpacked(key, row) is None:  # or else it was written anew meanwhile
                _drop(connection, [key])


def _drop(connection: sqlite3.Connection, keys: Sequence[CacheKey]) -> None:
    for statement in (_DROP_ENTRY, _DROP_WINDOWS):
        connection.executemany(statement, [(key,) for key in keys])


def _put_rows(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], fingerprint: str, embedder: str) -> None:
    with _transaction(connection):
        connection.execute(_PUT_EMBEDDER, [fingerprint, embedder])
        (embedder_id,) = connection.execute(_GET_EMBEDDER_ID, [fingerprint]).fetchone()
        now = time.time()
        connection.executemany(_PUT_ENTRY, [(row[0], embedder_id, len(row[-1]), now) for row in rows])
        connection.executemany(_PUT_WINDOWS, rows)


def _verified(connection: sqlite3.Connection) -> CacheCheck:
    (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if answer != b"ok":
        raise _corrupt(answer)
    halves = connection.execute(_FIND_HALVES).fetchall()
    (n_checked,) = connection.execute(_COUNT_KEYS).fetchone()
    damaged: list[CacheKey] = []
    last = -1
    while rows := connection.execute(_WALK_ROWS, [last]).fetchall():
        damaged += [key for _, key, *stored in rows if _unpacked(key, stored) is None]
        last = rows[-1][0]
    if damaged or halves:
        _drop_damaged(connection, damaged)
        with _transaction(connection):
            _drop(connection, [key for (key,) in connection.execute(_FIND_HALVES).fetchall()])
    return CacheCheck(n_checked, len({*damaged, *(key for (key,) in halves)}))


def _pruned(
    connection: sqlite3.Connection,
    fingerprint: str | None,
    max_bytes: int | None,
    older_than_s: float | None,
) -> int:
    gone = [(path,) for (path,) in connection.execute("SELECT path FROM files") if not _is_there(path)]
    (before,) = connection.execute("SELECT COUNT(*) FROM entries").fetchone()
    with _transaction(connection):
        if fingerprint is not None or older_than_s is not None:
            until = np.inf if older_than_s is None else time.time() - older_than_s
            selected = connection.execute(_SELECT_KEYS, [until, fingerprint is None, fingerprint])
            _drop(connection, [key for (key,) in selected.fetchall()])
        connection.executemany("DELETE FROM files WHERE path = ?", gone)
        if max_bytes is not None:
            _drop_oldest(connection, max_bytes)
        connection.execute(_DROP_UNUSED_EMBEDDERS)
        (after,) = connection.execute("SELECT COUNT(*) FROM entries").fetchone()
    connection.executescript("PRAGMA incremental_vacuum")  # execute() would stop after one page
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return int(before - after)


def _drop_oldest(connection: sqlite3.Connection, max_bytes: int) -> None:
    while (excess := _used_bytes(connection) - max_bytes) > 0:
        oldest: list[CacheKey] = []
        for key, stored_bytes in connection.execute(_OLDEST_FIRST):
            if excess <= 0:
                break
            oldest.append(key)
            excess -= stored_bytes
        if not oldest:  # what is left is the list of files
            connection.execute("DELETE FROM files")
            return
        _drop(connection, oldest)


def _used_bytes(connection: sqlite3.Connection) -> int:
    n_pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return n_pages * _pragma(connection, "page_size")


def _summary(connection: sqlite3.Connection) -> tuple[list[tuple[Any, ...]], int]:
    (n_files,) = connection.execute("SELECT COUNT(*) FROM files").fetchone()
    return connection.execute(_SUMMARY).fetchall(), n_files


def _packed(key: CacheKey, windows: StoredWindows) -> tuple[CacheKey, int, int, int, bytes]:
    vectors, levels = np.asarray(windows.vectors, "<f4"), np.asarray(windows.levels_dbfs, "<f4")
    if vectors.ndim != 2 or levels.shape != vectors.shape[:1]:
        raise ParameterError(
            f"vectors have shape {vectors.shape} and levels_dbfs {levels.shape};"
            " give (n_windows, embedding_size) and (n_windows,)."
        )
    data = vectors.tobytes() + levels.tobytes()
    n_windows, size = vectors.shape
    return _checked_key(key), n_windows, size, _checksum(key, n_windows, size, data), data


def _unpacked(key: CacheKey, stored: Sequence[Any]) -> StoredWindows | None:
    """Return the windows, or None where anything about the row is not as it was written."""
    n_windows, size, checksum, data = stored
    if not (isinstance(key, bytes) and isinstance(data, bytes) and len(key) == _KEY_BYTES):
        return None
    if not (isinstance(n_windows, int) and isinstance(size, int) and n_windows >= 0 and size >= 0):
        return None
    if len(data) != 4 * n_windows * (size + 1) or checksum != _checksum(key, n_windows, size, data):
        return None
    values = np.frombuffer(data, "<f4").astype(np.float32, copy=False)
    values.setflags(write=False)
    n_values = n_windows * size
    return StoredWindows(values[:n_values].reshape(n_windows, size), values[n_values:])


def _checksum(key: CacheKey, n_windows: int, size: int, data: bytes) -> int:
    # A CRC finds every damage of up to 32 bits in a row and all but 1 in 4 billion of the rest, and
    # costs a tenth of the read; a cryptographic hash is for enemies, who could recompute it anyway.
    return zlib.crc32(data, zlib.crc32(b"%s %d %d" % (key, n_windows, size)))


def _checked_key(key: CacheKey) -> CacheKey:
    if not isinstance(key, bytes) or len(key) != _KEY_BYTES:
        raise ParameterError(f"{key!r} is no cache key; give the {_KEY_BYTES} bytes from cache_key().")
    return key


def _file_state(name: str | os.PathLike[str]) -> tuple[bytes, int]:
    """Return what tells that a file is unchanged, and when it was last written at the latest."""
    try:
        found = Path(name).stat()
    except (OSError, ValueError) as error:
        _refuse_file(name, error)
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise AudioError(f"{os.fspath(name)!r} is {kind}; give the path of a sound file.")
    state = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
    return state.encode(), max(found.st_mtime_ns, found.st_ctime_ns)


def _hashed(name: str, key: bytes, fresh: list[tuple[bytes, bytes, bytes]]) -> bytes:
    """Return a file's digest; add it to `fresh` if a later change is sure to show in the file's state."""
    for _ in range(3):
        now = time.time_ns()
        state, written_ns = _file_state(name)
        digest = file_digest(name)
        if _file_state(name)[0] == state:
            if now - written_ns >= _SETTLED_NS:
                fresh.append((key, state, digest))
            return digest
    raise AudioError(f"{name!r} changes while it is read; wait until it is complete and try again.")


def _recorded_files(connection: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
    rows = connection.execute(_GET_FILES.format(_marks(keys)), keys)
    return {path: (state, content) for path, state, content in rows}


def _record_files(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    with _transaction(connection):
        connection.executemany(_PUT_FILE, rows)


def _is_there(path: bytes) -> bool:
    return Path(os.fsdecode(path)).exists()


def _refuse_file(name: str | os.PathLike[str], error: OSError | ValueError) -> NoReturn:
    raise AudioError(
        f"{os.fspath(name)!r} cannot be read: {_reason(error)}; check the path and its permissions."
    ) from error


def _refuse_foreign(path: Path) -> None:
    # Read as plain bytes: SQLite itself might tidy up the log of another program's database.
    try:
        if path.exists() and not path.is_file():
            raise CacheError(f"{path} is no regular file; name a file for the embedding cache.")
        with path.open("rb") as stream:
            header = stream.read(72)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CacheError(f"The embedding cache {path} cannot be read: {_reason(error)}.") from error
    if not header or header[:16] + header[68:] == b"SQLite format 3\0" + _APPLICATION_ID.to_bytes(4, "big"):
        return
    kind = "another program's SQLite database" if header.startswith(b"SQLite format 3\0") else "something else"
    raise CacheError(f"{path} is no embedding cache of l3clf but {kind}, and is left as it is; name another file.")


def _raise_as_cache_error(path: Path, error: sqlite3.Error, inode: int) -> NoReturn:
    code = _primary_code(error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        malformed = _MalformedError(f"The embedding cache {path} is malformed ({error}).")
        malformed.inode = inode
        raise malformed from error
    kind = _OutOfServiceError if isinstance(error, sqlite3.OperationalError) else CacheError
    reason = _REASONS.get(code, "SQLite refuses: delete it, or name another cache")
    raise kind(f"The embedding cache {path} cannot be used; {reason} ({error}).") from error


def _corrupt(answer: bytes) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(answer.decode("utf-8", "replace"))
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _chunks(items: list[T]) -> Iterator[list[T]]:
    return (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))


def _marks(items: Sequence[object]) -> str:
    return ",".join("?" * len(items))


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
