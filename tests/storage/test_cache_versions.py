"""Caches that an older l3clf wrote, that somebody changed, or that lie behind a link: right answers, or none."""

import contextlib
import gzip
import json
import os
import random
import shutil
import signal
import sqlite3
import threading
import time
import zlib

import numpy as np
import pytest
from helpers import TESTS
from helpers.file_systems import make_read_only, small_disk

from l3clf import Clip, EmbeddingCache, load_embedder, load_model
from l3clf.errors import CacheError, CacheWarning, L3clfError
from l3clf.pipeline import embed_sources
from l3clf.storage import embedding_cache
from l3clf.storage.embedding_cache import CacheCheck, StoredWindows, cache_key, file_digest

OLD = TESTS / "golden" / "schema1"
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs fork, signals and symbolic links")


def key_of(number):
    return cache_key(b"%d" % number, 0.0, None, "fake-1", 0.5, True)


def entries_of(numbers):
    made = {}
    for number in numbers:
        values = np.random.default_rng(number).normal(size=(3, 9)).astype(np.float32)
        made[key_of(number)] = StoredWindows(values[:, :-1], values[:, -1])
    return made


def put(cache, numbers):
    cache.put_many(entries_of(numbers), fingerprint="fake-1", embedder="fake")


def holds(cache, numbers):
    wanted = entries_of(numbers)
    found = cache.get_many(list(wanted))
    return found.keys() == wanted.keys() and all(
        found[key].vectors.tobytes() == wanted[key].vectors.tobytes() for key in wanted
    )


def change(path, statement, *values):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def ask(path, question):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


@pytest.fixture
def old(tmp_path):
    """A cache of version 1 with the MFCC of three sounds."""
    path = tmp_path / "old.sqlite"
    path.write_bytes(gzip.decompress((OLD / "cache.sqlite.gz").read_bytes()))
    return EmbeddingCache(path)


@pytest.fixture
def filled(tmp_path):
    cache = EmbeddingCache(tmp_path / "c.sqlite")
    put(cache, range(10))
    return cache


@pytest.fixture
def later(monkeypatch):
    """Ten seconds on: what was just written counts as written long ago."""
    now = time.time_ns
    monkeypatch.setattr(embedding_cache.time, "time_ns", lambda: now() + 10_000_000_000)


# What an older l3clf wrote


def embedded_again(cache, names, monkeypatch):
    """Return the names of the files that the cache did not know, and the windows of all."""
    embedder, read = load_embedder("mfcc"), []
    original = type(embedder).read_windows
    monkeypatch.setattr(
        type(embedder), "read_windows", lambda self, source, *a: read.append(source.path) or original(self, source, *a)
    )
    windows = embed_sources(embedder, [Clip(OLD / name) for name in names], cache=cache, n_jobs=1)
    return [os.path.basename(path) for path in read], windows  # noqa: PTH119


def test_an_old_cache_gives_what_is_still_right_and_no_mp3(old, monkeypatch):
    """Sound WAV and FLAC files keep their embeddings; MP3 was decoded differently, and is embedded again, once."""
    names = ["tone.wav", "tone.flac", "tone.mp3"]
    read, windows = embedded_again(old, names, monkeypatch)
    assert read == ["tone.mp3"]
    assert ask(old.path, "PRAGMA user_version") == [(2,)]
    assert old.info()["entries"] == 4
    again, same = embedded_again(old, names, monkeypatch)
    assert again == []
    for one, other in zip(windows, same, strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)


def test_an_old_model_answers_as_it_did():
    answers = json.loads((OLD / "answers.json").read_text())
    model = load_model(OLD / "model.l3clf").set_params(cache=None)
    found = model.predict_proba([OLD / name for name in ("tone.wav", "tone.flac")])
    np.testing.assert_allclose(found, [answers["tone.wav"], answers["tone.flac"]], atol=1e-6)


def test_reading_leaves_an_old_cache_as_it_is_and_writing_upgrades_it(old):
    content = old.path.read_bytes()
    assert old.info()["entries"] == 3
    assert old.get_many([key_of(0)]) == {}
    assert old.verify() == CacheCheck(3, 0, None)
    assert old.path.read_bytes() == content
    put(old, [1])
    assert [name for _, name, *_ in ask(old.path, "PRAGMA table_info(files)")] == [
        "path",
        "state",
        "content",
        "decoder",
        "checksum",
    ]
    assert old.info()["entries"] == 4
    assert old.verify() == CacheCheck(4, 0, None)


def test_a_wrong_content_in_an_old_cache_is_not_believed(old, tmp_path, later):
    """Version 1 could not tell a damaged record from a sound one, so none is used."""
    path = tmp_path / "sound"
    path.write_bytes(b"sound")
    found = path.stat()
    state = b"%d %d %d %d" % (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    change(old.path, "INSERT INTO files VALUES (?, ?, ?)", os.fsencode(path), state, b"x" * 32)
    assert old.content_ids([path]) == [file_digest(path)]


@posix_only
def test_an_old_cache_that_cannot_be_written_is_read(old, tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", 400) as disk:
        cache = EmbeddingCache(shutil.copy(old.path, disk))
        make_read_only(disk)
        with pytest.warns(CacheWarning, match="read-only"):
            read, windows = embedded_again(cache, ["tone.wav", "tone.flac", "tone.mp3"], monkeypatch)
        assert read == ["tone.mp3"]
        assert all(len(each) for each in windows)
        assert cache.info()["entries"] == 3


@posix_only
def test_processes_that_upgrade_one_file_at_once_agree(old):
    children = []
    for n in range(6):
        child = os.fork()
        if child == 0:
            put(old, [n])
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    assert old.verify() == CacheCheck(9, 0, None)
    assert ask(old.path, "PRAGMA user_version") == [(2,)]


@posix_only
def test_killed_amid_the_upgrade_it_is_old_or_new(old, tmp_path):
    content, versions = old.path.read_bytes(), set()
    for i in range(12):
        cache = EmbeddingCache(tmp_path / f"{i}.sqlite")
        cache.path.write_bytes(content)
        child = os.fork()
        if child == 0:
            threading.Timer(i * 0.0008, os.kill, (os.getpid(), signal.SIGKILL)).start()
            put(cache, [1])
            os._exit(0)
        os.waitpid(child, 0)
        versions |= set(ask(cache.path, "PRAGMA user_version"))
        assert cache.info()["entries"] in (3, 4)
        put(cache, [1])
        assert cache.verify() == CacheCheck(4, 0, None)
    assert versions <= {(1,), (2,)}


def test_the_key_depends_on_how_the_file_is_decoded_and_stays_as_it_was_without_a_revision():
    given = (b"c" * 32, 0.0, None, "f", 0.5, True)
    plain = cache_key(*given)
    assert plain.hex() == "a23c0f518543971dc8abc776886fe9e910f100f309ebbd250717f280603ce6c5"
    assert cache_key(*given, "") == plain
    assert len({plain, cache_key(*given, "mp3/2"), cache_key(*given, "mp3/3")}) == 3


# The table of files


@pytest.fixture
def recorded(tmp_path, later):
    """A cache that knows one file, and that file."""
    cache = EmbeddingCache(tmp_path / "c.sqlite")
    path = tmp_path / "sound"
    path.write_bytes(b"sound")
    cache.content_ids([path])
    assert cache.info()["files"] == 1
    return cache, path


@pytest.mark.parametrize(
    "damage",
    [
        "content = x'00' || substr(content, 2)",
        "content = 'text of thirty-two characters...'",
        "content = 7",
        "content = zeroblob(32)",
        "content = x''",
        "state = 9",
    ],
)
def test_a_damaged_record_of_a_file_is_not_believed(recorded, damage):
    cache, path = recorded
    change(cache.path, f"UPDATE files SET {damage}")  # noqa: S608
    assert cache.content_ids([path]) == [file_digest(path)]
    assert cache.info()["files"] == 1
    change(cache.path, f"UPDATE files SET {damage}")  # noqa: S608
    assert cache.verify() == CacheCheck(0, 0, None)
    assert cache.info()["files"] == 0


def test_a_record_with_the_content_of_another_is_not_believed(recorded, tmp_path):
    cache, path = recorded
    other = tmp_path / "other"
    other.write_bytes(b"other")
    cache.content_ids([other])
    theirs = "(SELECT content FROM files WHERE path = ?)"
    change(cache.path, f"UPDATE files SET content = {theirs}", os.fsencode(other))  # noqa: S608
    assert cache.content_ids([path, other]) == [file_digest(path), file_digest(other)]


@pytest.mark.parametrize("path", [3, "x'0061'", "NULLIF(1, 2)", "zeroblob(3)"])
def test_a_path_of_another_type_is_forgotten_by_prune(recorded, path):
    cache, _ = recorded
    with contextlib.suppress(sqlite3.IntegrityError):  # a path that is NULL cannot be stored
        change(cache.path, f"UPDATE files SET path = {path}")  # noqa: S608
        assert cache.prune() == 0
        assert cache.info()["files"] == 0


# What a stranger or a disk did to it


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW more AS SELECT * FROM windows",
        "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM windows; END",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON entries (last_used_s)",
        "CREATE VIRTUAL TABLE more USING fts5(x)",
    ],
)
def test_a_file_with_more_than_our_tables_is_refused_and_left_alone(filled, statement):
    change(filled.path, statement)
    content = filled.path.read_bytes()
    for use in (lambda: filled.get_many([key_of(0)]), lambda: put(filled, [11]), filled.info, filled.verify):
        with pytest.raises(CacheError, match=r"c\.sqlite: holds the \w+ '\w+', which l3clf does not write"):
            use()
    assert filled.path.read_bytes() == content


def test_a_view_in_place_of_a_table_is_refused(filled):
    change(filled.path, "ALTER TABLE windows RENAME TO real")
    change(filled.path, "CREATE VIEW windows AS SELECT key, n_windows, embedding_size, checksum, data FROM real")
    with pytest.raises(CacheError, match="holds the view 'windows'"):
        filled.get_many([key_of(0)])


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE files", "CREATE TABLE files (path, state, content, decoder, checksum)"],
        ["DROP TABLE entries"],
        ["ALTER TABLE windows ADD COLUMN more"],
        ["PRAGMA user_version = 0"],
        ["PRAGMA user_version = -5"],
    ],
)
def test_a_file_with_other_tables_than_ours_is_set_aside(filled, statements):
    for statement in statements:
        change(filled.path, statement)
    with pytest.warns(CacheWarning, match=r"malformed and has been moved to .*\.damaged"):
        assert filled.get_many([key_of(0)]) == {}
    put(filled, range(3))
    assert holds(filled, range(3))


def forged(n_windows, size, data):
    """Return values with a valid checksum, as somebody who knows the format makes them."""
    text = b"%s %d %d" % (key_of(0), n_windows, size)
    return n_windows, size, zlib.crc32(data, zlib.crc32(text)), data


@pytest.mark.parametrize(
    ("n_windows", "size", "data"),
    [(-1, 8, bytes(108)), (-1, -2, bytes(4)), (1 << 62, 8, bytes(108)), (3.5, 8, bytes(108)), (1, 1 << 62, b"")],
)
def test_forged_numbers_are_damage(filled, n_windows, size, data):
    values = forged(n_windows, size, data)
    change(
        filled.path,
        "UPDATE windows SET n_windows=?, embedding_size=?, checksum=?, data=? WHERE key=?",
        *values,
        key_of(0),
    )
    with pytest.warns(CacheWarning, match="1 of 1 entries"):
        assert filled.get_many([key_of(0)]) == {}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE windows SET n_windows = 9e999",
        "UPDATE windows SET embedding_size = 9e999",
        "UPDATE windows SET checksum = x'00'",
        "UPDATE windows SET key = 'text'",
        "UPDATE entries SET stored_bytes = 9223372036854775807",
        "UPDATE entries SET stored_bytes = 9e999",
        "UPDATE entries SET stored_bytes = 'text', last_used_s = 'text'",
        "UPDATE entries SET last_used_s = x'ff'",
        "UPDATE entries SET embedder_id = 'text'",
        "UPDATE embedders SET name = x'ff'",
        "UPDATE embedders SET name = 7",
        "UPDATE embedders SET fingerprint = x'ff00'",
    ],
)
def test_values_of_other_types_never_reach_the_user(filled, recwarn, damage):
    with contextlib.suppress(sqlite3.IntegrityError):
        change(filled.path, damage)
    wanted = entries_of(range(10))
    for key, found in filled.get_many(list(wanted)).items():
        assert found.vectors.tobytes() == wanted[key].vectors.tobytes()
    row = next(iter(filled.info()["embedders"].values()), {"embedder": "", "bytes": 0, "last_used_s": 0.0})
    assert (type(row["embedder"]), type(row["bytes"]), type(row["last_used_s"])) == (str, int, float)
    filled.verify()
    assert filled.prune(max_bytes=0) in range(11)
    put(filled, range(3))
    assert holds(filled, range(3))
    assert {warning.category for warning in recwarn} <= {CacheWarning}


def test_random_damage_is_an_error_of_ours_or_a_right_answer(tmp_path, recwarn, later):
    """Bytes changed anywhere, mostly where the tables and their rows are described."""
    path = tmp_path / "sound"
    path.write_bytes(b"sound")
    made = EmbeddingCache(tmp_path / "made.sqlite")
    put(made, range(10))
    made.content_ids([path])
    content, wanted, rng = made.path.read_bytes(), entries_of(range(10)), random.Random(18)
    places = [i for i in range(len(content)) if content[i]]
    for i in range(40):
        cache = EmbeddingCache(tmp_path / "damaged" / f"{i}.sqlite")
        cache.path.parent.mkdir(exist_ok=True)
        damaged = bytearray(content)
        for place in rng.sample(places, rng.choice((1, 1, 2, 8))):
            damaged[place] = rng.choice((0, 255, damaged[place] ^ 1 << rng.randrange(8)))
        cache.path.write_bytes(damaged)
        for use, options in ((cache.info, {}), (cache.verify, {}), (cache.prune, {"max_bytes": 90_000})):
            with contextlib.suppress(L3clfError):
                use(**options)
        with contextlib.suppress(L3clfError):
            assert cache.content_ids([path]) == [file_digest(path)]
            for key, found in cache.get_many(list(wanted)).items():
                assert found.vectors.tobytes() == wanted[key].vectors.tobytes()
    assert {warning.category for warning in recwarn} <= {CacheWarning}


# Behind a symbolic link


@posix_only
def test_a_damaged_cache_behind_a_link_is_set_aside_as_a_file(filled, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "real.sqlite"
    filled.path.rename(target)
    link = tmp_path / "link.sqlite"
    link.symlink_to(target)
    target.write_bytes(target.read_bytes()[:100] + b"\xff" * 9999)
    damaged = target.read_bytes()
    with pytest.warns(CacheWarning, match="malformed"):
        assert EmbeddingCache(link).get_many([key_of(0)]) == {}
    assert link.is_symlink()
    aside = target.with_name("real.sqlite.damaged")
    assert not aside.is_symlink()
    assert aside.read_bytes() == damaged
    put(EmbeddingCache(link), [1])
    assert link.is_symlink()
    assert holds(EmbeddingCache(target), [1])


@posix_only
def test_the_log_of_a_damaged_cache_behind_a_link_goes_with_it(filled, tmp_path):
    link = tmp_path / "links" / "link.sqlite"
    link.parent.mkdir()
    link.symlink_to(filled.path)
    log = filled.path.with_name(filled.path.name + "-wal")
    filled.path.write_bytes(filled.path.read_bytes()[:100] + b"\xff" * 9999)
    log.write_bytes(b"a log that must not be applied to the next file")
    assert EmbeddingCache(link).info  # nothing is opened yet
    with pytest.warns(CacheWarning, match="malformed"):
        EmbeddingCache(link).get_many([key_of(0)])
    put(EmbeddingCache(link), [1])
    assert holds(EmbeddingCache(link), [1])
    assert [path.name for path in link.parent.iterdir()] == ["link.sqlite"]


@posix_only
def test_the_size_of_a_cache_behind_a_link_includes_its_log(filled, tmp_path):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.sqlite"
    link.symlink_to(filled.path)
    with contextlib.closing(sqlite3.connect(filled.path, isolation_level=None)) as other:
        other.execute("UPDATE entries SET last_used_s = 0")  # stays in the log until the last connection is closed
        assert EmbeddingCache(link).info()["bytes"] > filled.path.stat().st_size
