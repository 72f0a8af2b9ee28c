"""The tables of an embedding cache, letter for letter, and how a file of an older version gets them.

Rule: a file is used only if it holds exactly these tables. A view or a trigger in a stranger's file would decide what
our queries return and do, so it is refused before the first query.
"""

import sqlite3
from pathlib import Path

from l3clf.errors import CacheError

__all__ = ["APPLICATION_ID", "VERSION", "RefusedError", "check", "create", "malformed", "pragma", "upgrade"]

APPLICATION_ID = 0x6C33636C  # "l3cl", at byte 68 of the file
VERSION = 2
"""Version 2 checks the table of files with a checksum, and records in it how a file is decoded."""

# last_used_s changes often and data is large, so they are in different tables: noting a use rewrites no vectors.
_SHARED = {
    "embedders": "CREATE TABLE embedders (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL)",
    "entries": "CREATE TABLE entries (key BLOB NOT NULL PRIMARY KEY, embedder_id INTEGER NOT NULL,"
    " stored_bytes INTEGER NOT NULL, last_used_s REAL NOT NULL) WITHOUT ROWID",
    "windows": "CREATE TABLE windows (key BLOB NOT NULL PRIMARY KEY, n_windows INTEGER NOT NULL,"
    " embedding_size INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL)",
}
_FILES = {
    1: "CREATE TABLE files (path BLOB NOT NULL PRIMARY KEY, state TEXT NOT NULL, content BLOB NOT NULL) WITHOUT ROWID",
    2: "CREATE TABLE files (path BLOB NOT NULL PRIMARY KEY, state BLOB NOT NULL, content BLOB NOT NULL,"
    " decoder BLOB NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID",
}
_INDICES = {"sqlite_autoindex_embedders_1": "embedders", "sqlite_autoindex_windows_1": "windows"}  # made by SQLite
_MAX_OBJECTS = 100  # read from a file that holds more than it should


class RefusedError(CacheError):
    """The file is not ours to use: another program's, a newer l3clf's, or one that somebody changed."""


def create(connection: sqlite3.Connection) -> None:
    """Create the tables, in the caller's transaction."""
    if connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() != (0,):
        raise malformed("a file without a version has tables")
    for statement in (*_SHARED.values(), _FILES[VERSION]):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def upgrade(connection: sqlite3.Connection) -> None:
    """Give a file of version 1 the tables of today, in the caller's transaction.

    The embeddings stay. The files are forgotten and read once more when they are met: their records have no checksum,
    so that a damaged one could not be told from a sound one.
    """
    if pragma(connection, "user_version") == VERSION:
        return
    connection.execute("DROP TABLE files")
    connection.execute(_FILES[VERSION])
    connection.execute(f"PRAGMA user_version = {VERSION}")


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise an error unless the file holds exactly the tables of its version.

    Raises
    ------
    RefusedError
        If it is of a newer version, or holds a view, a trigger, or anything besides our tables.
    sqlite3.DatabaseError
        If the tables are damaged.
    """
    connection.execute("BEGIN")  # another process may upgrade the file between two questions
    version = pragma(connection, "user_version")
    found = set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT ?", [_MAX_OBJECTS]))
    connection.execute("COMMIT")
    if version > VERSION:
        raise RefusedError(
            f"embedding cache {path}: was made by a newer l3clf (its format is {version}, this version "
            f"reads {VERSION}); update l3clf, or name another cache"
        )
    if version not in _FILES:
        raise malformed(f"version {version}")
    expected = _objects(version)
    if found == expected:
        return
    names = {name for _, name, _, _ in expected}
    acting = [row for row in found if row[0] in (b"view", b"trigger")]
    # A damaged name looks like a table too many, but then one of ours is missing.
    if alien := acting or [row for row in found if row[1] not in names and names <= {name for _, name, *_ in found}]:
        kind, name = (_printable(value) for value in min(alien, key=repr)[:2])
        raise RefusedError(
            f"embedding cache {path}: holds the {kind} {name!r}, which l3clf does not write, so somebody changed it; "
            "delete it, or name another cache"
        )
    raise malformed("its tables are not those of an embedding cache")


def malformed(found: str) -> sqlite3.DatabaseError:
    """Return the error that SQLite raises for a malformed file."""
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return a number that SQLite keeps about the file."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _objects(version: int) -> set[tuple[bytes | None, ...]]:
    tables = {**_SHARED, "files": _FILES[version]}
    rows: list[tuple[str, str, str, str | None]] = [("table", name, name, sql) for name, sql in tables.items()]
    rows += [("index", name, table, None) for name, table in _INDICES.items()]
    return {tuple(None if value is None else value.encode() for value in row) for row in rows}


def _printable(value: object) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text.encode("unicode_escape").decode()[:80]
