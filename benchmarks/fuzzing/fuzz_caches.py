"""The target that is an embedding cache: it may lose an entry, but never returns a wrong vector or content id."""

import random
import sqlite3
import time
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.fuzzing.damage import damaged
from benchmarks.fuzzing.fuzz_target import RIGHT, Mutation, Target, require
from l3clf.storage.embedding_cache import EmbeddingCache, StoredWindows, cache_key, file_digest

__all__ = ["Caches"]

N_CLIPS, SIZE = 5, 12
PAGE = 16384
DAYS_S = 86_400
VALUES = ("NULL", "0", "-1", "1", "2.5", "9223372036854775807", "''", "'x'", "x''", "x'00'", "zeroblob(5000)", "1e999")
TABLES = ("embedders", "entries", "windows", "files")


class Caches(Target):
    """A cache with a few clips, damaged in its pages or through SQL."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rng = np.random.default_rng(0)
        self.sounds = [folder / f"{i}.raw" for i in range(N_CLIPS)]
        for path in self.sounds:
            path.write_bytes(rng.bytes(100))
        self.ids = [file_digest(path) for path in self.sounds]
        self.keys = [cache_key(content, 0.0, None, "fuzz", 0.5, True) for content in self.ids]
        arrays = [rng.normal(size=(2 + i, SIZE + 1)).astype(np.float32) for i in range(N_CLIPS)]
        self.windows = {k: StoredWindows(a[:, 1:], a[:, 0]) for k, a in zip(self.keys, arrays, strict=True)}
        self.path = folder / "cache.sqlite"
        cache = EmbeddingCache(self.path)
        cache.put_many(self.windows, fingerprint="fuzz", embedder="fuzz")
        time.sleep(2.1)  # files younger than that are not recorded
        cache.content_ids(self.sounds)
        self.file = self._content()

    def _content(self) -> bytes:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # so that all of it is in one file
        return self.path.read_bytes()

    def good(self) -> list[bytes]:
        return [self.file]

    def mutated(self, rng: random.Random) -> Mutation:
        if rng.random() < 0.55:
            pages = range(0, len(self.file), PAGE)
            places = [*range(100), *(page + i for page in pages for i in range(24))]
            # Cells grow from the end of a page, the list of them from its start.
            places += [page + PAGE - 1 - i for page in pages for i in range(0, 400, 3)]
            return Mutation(damaged(rng, self.file, places), strict=True)
        return Mutation(self._by_sql(rng), strict=True)

    def _by_sql(self, rng: random.Random) -> bytes:
        path = self._placed(self.file)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = OFF")
            for _ in range(rng.choice((1, 1, 2, 3))):
                try:
                    connection.execute(self._statement(rng, connection))
                except (sqlite3.Error, sqlite3.Warning):  # not possible with this schema, or no longer
                    continue
        return path.read_bytes()

    @staticmethod
    def _statement(rng: random.Random, connection: sqlite3.Connection) -> str:
        table = rng.choice(TABLES)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] or ["key"]
        column, other, value = rng.choice(columns), rng.choice(columns), rng.choice(VALUES)
        which = f"(SELECT {columns[0]} FROM {table} ORDER BY 1 LIMIT 1 OFFSET {rng.randrange(N_CLIPS)})"
        return rng.choice(
            (
                f"UPDATE {table} SET {column} = {value} WHERE {columns[0]} = {which}",
                f"UPDATE {table} SET {column} = {value}",
                f"UPDATE {table} SET {column} = {column} || x'00' WHERE {columns[0]} = {which}",
                f"UPDATE {table} SET {column} = CAST({column} AS TEXT)",
                f"UPDATE {table} SET {column} = {other}",
                # The value of another row.
                f"UPDATE {table} SET {column} = (SELECT {column} FROM {table} ORDER BY 1 DESC LIMIT 1)"
                f" WHERE {columns[0]} = {which}",
                f"DELETE FROM {table} WHERE {columns[0]} = {which}",
                f"DELETE FROM {table}",
                f"DROP TABLE {table}",
                f"ALTER TABLE {table} RENAME TO x",
                f"ALTER TABLE {table} ADD COLUMN x",
                f"ALTER TABLE {table} RENAME COLUMN {column} TO y",
                f"CREATE TRIGGER t{rng.randrange(9)} AFTER INSERT ON {table} BEGIN DELETE FROM windows; END",
                f"CREATE TRIGGER u{rng.randrange(9)} BEFORE DELETE ON {table} BEGIN SELECT RAISE(IGNORE); END",
                f"CREATE VIEW {table} AS SELECT 1 AS {column}",
                f"CREATE INDEX i{rng.randrange(9)} ON {table} ({column})",
                f"PRAGMA user_version = {rng.choice((0, 1, 2, 3, 99, -1))}",
                f"PRAGMA application_id = {rng.choice((0, 1, 1815307116))}",
                f"CREATE TABLE {rng.choice(('x', 'sounds'))} (a)",
            )
        )

    def _placed(self, content: bytes) -> Path:
        """Write the cache, and remove what was left beside it."""
        for path in self.folder.glob("cache.sqlite*"):
            path.unlink()
        self.path.write_bytes(content)
        return self.path

    def outcome(self, content: bytes) -> str:
        self._placed(content)
        cache = EmbeddingCache(self.path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ids = cache.content_ids(self.sounds)
            require(ids == self.ids, "a wrong content id")
            found = cache.get_many(self.keys)
            for key, windows in found.items():
                right = self.windows[key]
                same = np.array_equal(windows.vectors, right.vectors)
                require(same and np.array_equal(windows.levels_dbfs, right.levels_dbfs), "a wrong vector")
            cache.info()
            cache.verify()
            cache.prune(older_than_s=400 * DAYS_S)
            cache.put_many(self.windows, fingerprint="fuzz", embedder="fuzz")
            again = cache.get_many(self.keys)
            require(
                all(np.array_equal(again[k].vectors, self.windows[k].vectors) for k in again), "a wrong vector again"
            )
        return RIGHT  # entries may be lost: they are computed again
