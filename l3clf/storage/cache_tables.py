"""What an embedding cache stores, and the questions that it is asked.

Rule: whatever a file holds, a question gets right rows or none. Every value that is read has a checksum, or is shown
and not computed with; its type and size are checked before it is used.
"""

import sqlite3
import time
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from l3clf.errors import ParameterError
from l3clf.storage.cache_database import CacheKey, StoredWindows
from l3clf.storage.cache_schema import VERSION, malformed, pragma

__all__ = [
    "Row",
    "checked_key",
    "list_files",
    "packed",
    "prune",
    "put_entries",
    "put_files",
    "read_entries",
    "read_files",
    "summary",
    "verify",
]

Row = tuple[Any, ...]

_NOTE_USE_EVERY_S = 3600.0  # so that reads seldom cause writes
_DIGEST_BYTES = 32

_PUT_EMBEDDER = (
    "INSERT INTO embedders (fingerprint, name) VALUES (?, ?)"
    " ON CONFLICT (fingerprint) DO UPDATE SET name = excluded.name"
)
_PUT_ENTRY = (
    "REPLACE INTO entries (key, embedder_id, stored_bytes, last_used_s)"
    " SELECT ?, id, ?, ? FROM embedders WHERE fingerprint = ?"
)
_PUT_WINDOWS = "REPLACE INTO windows (key, n_windows, embedding_size, checksum, data) VALUES (?, ?, ?, ?, ?)"
_PUT_FILE = "REPLACE INTO files (path, state, content, decoder, checksum) VALUES (?, ?, ?, ?, ?)"
# The length of a blob is known before it is read: one that does not fit its numbers is never loaded.
_DATA = (
    "CASE WHEN typeof(data) = 'blob' AND length(data) = 4 * n_windows * (embedding_size + 1) AND length(data) <= ?"
    " THEN data END"
)
_GET_ROW = (
    f"SELECT n_windows, embedding_size, checksum, {_DATA}, last_used_s < ?"  # noqa: S608  # no value of a user
    " FROM windows JOIN entries USING (key) WHERE key = ?"
)
# An entry that is in only one of the two tables is returned without data.
_ALL_ROWS = (
    f"SELECT key, n_windows, embedding_size, checksum, CASE WHEN key IN (SELECT key FROM entries) THEN {_DATA} END"  # noqa: S608
    " FROM windows UNION ALL"
    " SELECT key, NULL, NULL, NULL, NULL FROM entries WHERE key NOT IN (SELECT key FROM windows)"
)
_SHORT = "length(path) < 10000 AND length(state) < 200 AND length(content) < 200 AND length(decoder) < 200"
_GET_FILE = f"SELECT path, state, content, decoder, checksum FROM files WHERE path = ? AND {_SHORT}"  # noqa: S608
_ALL_FILES = f"SELECT path, state, content, decoder, checksum FROM files WHERE {_SHORT}"  # noqa: S608
_SELECT_KEYS = (
    "SELECT key FROM entries WHERE last_used_s < ? AND"
    " (? OR embedder_id IN (SELECT id FROM embedders WHERE fingerprint = ?))"
)
_SELECT_OLDEST = (
    "SELECT key FROM (SELECT key, stored_bytes, TOTAL(stored_bytes) OVER (ORDER BY last_used_s, key) AS total"
    " FROM entries) WHERE total - stored_bytes < ?"
)
# TOTAL, because SUM fails where damaged numbers are too large.
_SUMMARY = (
    "SELECT substr(fingerprint, 1, 200), substr(name, 1, 200), COUNT(*), TOTAL(stored_bytes), MAX(last_used_s)"
    " FROM embedders JOIN entries ON embedder_id = id GROUP BY id ORDER BY MAX(last_used_s) DESC"
)


def read_entries(connection: sqlite3.Connection, keys: Sequence[CacheKey]) -> tuple[dict[CacheKey, StoredWindows], int]:
    """Return the undamaged entries, and how many damaged ones were dropped."""
    now = time.time()
    found: dict[CacheKey, StoredWindows] = {}
    damaged, unnoted = [], []
    connection.execute("BEGIN")  # one lock for all keys
    room = _file_bytes(connection)
    for key in keys:
        for *stored, is_unnoted in connection.execute(_GET_ROW, [room, now - _NOTE_USE_EVERY_S, key]):
            windows = _unpacked(key, stored)
            if windows is None:
                damaged.append(key)
                continue
            found[key] = windows
            room -= windows.vectors.nbytes  # entries of a sound file share no bytes
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
    rows = sorted(rows, key=lambda row: row[0])  # neighbours share pages, which are then written once
    connection.execute(_PUT_EMBEDDER, [fingerprint, embedder])
    connection.executemany(_PUT_ENTRY, [(row[0], len(row[-1]), now, fingerprint) for row in rows])
    connection.executemany(_PUT_WINDOWS, rows)


def read_files(connection: sqlite3.Connection, paths: Iterable[bytes]) -> dict[bytes, tuple[bytes, bytes, str]]:
    """Return the recorded state, content digest and decoder of files, by path; damaged records are left out."""
    if _is_old(connection):
        return {}
    connection.execute("BEGIN")  # one lock for all paths
    rows = [connection.execute(_GET_FILE, [path]).fetchone() for path in paths]
    return {row[0]: (row[1], row[2], row[3].decode()) for row in rows if row and _is_sound(row)}


def put_files(connection: sqlite3.Connection, rows: Iterable[tuple[bytes, bytes, bytes, str]]) -> None:
    """Record files: path, state, content digest and decoder of each."""
    plain = [(path, state, content, decoder.encode()) for path, state, content, decoder in rows]
    connection.executemany(_PUT_FILE, [(*row, _file_checksum(row)) for row in plain])


def list_files(connection: sqlite3.Connection) -> list[object]:
    """Return the paths of all recorded files; a damaged one need not be bytes."""
    return [path for (path,) in connection.execute("SELECT path FROM files WHERE length(path) < 10000")]


def summary(connection: sqlite3.Connection) -> tuple[list[tuple[str, str, int, int, float]], int]:
    """Return a row for each embedder, most recently used first, and the number of recorded files.

    A row is fingerprint, name, number of entries, bytes and time of the last use.
    """
    (n_files,) = connection.execute("SELECT COUNT(*) FROM files").fetchone()
    rows = connection.execute(_SUMMARY)
    return [(_shown(f), _shown(name), n, _whole(size), _number(used)) for f, name, n, size, used in rows], n_files


def _shown(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _whole(value: float) -> int:
    return int(value) if np.isfinite(value) else 0


def verify(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the number of entries, and how many of them were damaged and have been dropped."""
    (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if result != b"ok":
        raise malformed(_shown(result))
    room = _file_bytes(connection)
    is_damaged = {key: _unpacked(key, stored) is None for key, *stored in connection.execute(_ALL_ROWS, [room])}
    damaged = [key for key in is_damaged if is_damaged[key]]
    rows = [] if _is_old(connection) else connection.execute(_ALL_FILES)
    files = [row[0] for row in rows if not _is_sound(row)]
    if damaged or files:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            _drop(connection, damaged)
            _forget(connection, files)
    return len(is_damaged), len(damaged)


def prune(
    connection: sqlite3.Connection,
    files: Iterable[object],
    fingerprint: str | None,
    max_bytes: int | None,
    older_than_s: float | None,
) -> int:
    """Drop these files and the selected entries, and return how many entries were dropped."""
    _forget(connection, files)
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
    before = connection.total_changes
    _drop(connection, keys)
    if keys and connection.total_changes == before:  # they would be selected again for ever
        raise malformed("entries that are listed cannot be found")
    return len(keys)


def _drop(connection: sqlite3.Connection, keys: Iterable[CacheKey]) -> None:
    rows = [(key,) for key in keys]
    connection.executemany("DELETE FROM entries WHERE key = ?", rows)
    connection.executemany("DELETE FROM windows WHERE key = ?", rows)


def _forget(connection: sqlite3.Connection, files: Iterable[object]) -> None:
    connection.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in files])


def _file_bytes(connection: sqlite3.Connection) -> int:
    return pragma(connection, "page_count") * pragma(connection, "page_size")


def _used_bytes(connection: sqlite3.Connection) -> int:
    return _file_bytes(connection) - pragma(connection, "freelist_count") * pragma(connection, "page_size")


def _is_old(connection: sqlite3.Connection) -> bool:
    """Return whether the file is of version 1, whose records of files have no checksum and are not used."""
    return pragma(connection, "user_version") < VERSION


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
    # Damage replaces a value by one of another type, too, and a minus sign would be a wildcard in `reshape`.
    numbers = all(type(value) is int and value >= 0 for value in (n_windows, size, checksum))
    if not numbers or type(key) is not bytes or type(data) is not bytes or len(data) != 4 * n_windows * (size + 1):
        return None
    if checksum != _checksum(key, n_windows, size, data):
        return None
    values = np.frombuffer(data, "<f4")
    return StoredWindows(values[: n_windows * size].reshape(n_windows, size), values[n_windows * size :])


def _checksum(key: CacheKey, n_windows: int, size: int, data: bytes) -> int:
    # A CRC detects every burst of up to 32 wrong bits and all but 1 in 4 billion other errors, in a tenth of the
    # time of reading. A cryptographic hash would not stop an attacker, who could recompute it.
    return zlib.crc32(data, zlib.crc32(b"%s %d %d" % (key, n_windows, size)))


# --- one file -------------------------------------------------------------------------------------


def _is_sound(row: Row) -> bool:
    """Return whether a record of a file is as it was written."""
    *values, checksum = row
    if not all(type(value) is bytes for value in values) or type(checksum) is not int:
        return False
    return checksum == _file_checksum(values) and len(values[2]) == _DIGEST_BYTES


def _file_checksum(values: Sequence[bytes]) -> int:
    checksum = 0
    for value in values:
        checksum = zlib.crc32(len(value).to_bytes(8, "little") + value, checksum)
    return checksum
