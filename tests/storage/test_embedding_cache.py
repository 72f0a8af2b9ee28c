"""The embedding cache: right answers, or none, whatever happens to the file and the processes."""

import contextlib
import copy
import itertools
import multiprocessing
import os
import pickle
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.file_systems import without_privileges
from hypothesis import given, settings
from hypothesis import strategies as st

from l3clf.errors import AudioError, CacheError, CacheWarning, L3clfError, ParameterError
from l3clf.storage import cache_database, embedding_cache
from l3clf.storage.embedding_cache import (
    CacheCheck,
    EmbeddingCache,
    StoredWindows,
    array_digest,
    cache_key,
    default_cache_path,
    file_digest,
)

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs fork, signals and POSIX permissions")


def key_of(number, batch=0):
    return cache_key(b"%d %d" % (batch, number), 0.0, None, "fake-1", 0.5, True)


def windows_of(number, n_windows=3, size=8):
    values = np.random.default_rng(number).normal(size=(n_windows, size + 1)).astype(np.float32)
    return StoredWindows(values[:, :-1], values[:, -1])


def entries_of(numbers, **shape):
    return {key_of(number): windows_of(number, **shape) for number in numbers}


def put(cache, entries, fingerprint="fake-1", embedder="fake"):
    cache.put_many(entries, fingerprint=fingerprint, embedder=embedder)


def same(a, b):
    return all(
        x.dtype == y.dtype == np.float32 and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in ((a.vectors, b.vectors), (a.levels_dbfs, b.levels_dbfs))
    )


def holds(cache, entries):
    found = cache.get_many(list(entries))
    return found.keys() == entries.keys() and all(same(found[key], entries[key]) for key in entries)


def change(cache, statement, *values):
    with contextlib.closing(sqlite3.connect(cache.path)) as connection, connection:
        connection.execute(statement, values)


def ask(cache, question):
    with contextlib.closing(sqlite3.connect(cache.path)) as connection:
        return connection.execute(question).fetchall()


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "new folder" / "embeddings.sqlite")


@pytest.fixture
def filled(cache):
    put(cache, entries_of(range(10)))
    return cache


@pytest.fixture
def later(monkeypatch):
    """Ten seconds on: what was just written counts as written long ago."""
    now = time.time_ns
    monkeypatch.setattr(embedding_cache.time, "time_ns", lambda: now() + 10_000_000_000)


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that have been hashed."""
    names = []
    digest = file_digest
    monkeypatch.setattr(embedding_cache, "file_digest", lambda name: names.append(Path(name).name) or digest(name))
    return names


# Keys and digests


def test_key_depends_on_every_component():
    base = {"content": b"c" * 32, "start_s": 0.0, "end_s": 1.0, "fingerprint": "f", "hop_s": 0.5}
    base["center"] = True
    others = [
        {"content": b"d" * 32},
        {"start_s": np.nextafter(0.0, 1.0)},
        {"end_s": None},
        {"end_s": np.nextafter(1.0, 2.0)},
        {"fingerprint": "g"},
        {"hop_s": 0.1},
        {"center": False},
    ]
    keys = [cache_key(**{**base, **other}) for other in ({}, *others)]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {32}


def test_key_does_not_depend_on_number_types():
    assert cache_key(b"c", 0, 2, "f", 1, True) == cache_key(b"c", -0.0, np.float64(2), "f", np.float32(1), 1)


seconds = st.sampled_from([0.0, 0.5, 1.0, 10.0])
texts = st.sampled_from(["", "0", "1", "0x1.0p+0", "to the end", "f\0", "f"])
components = st.tuples(texts.map(str.encode), seconds, st.none() | seconds, texts, seconds, st.booleans())


@settings(max_examples=300, deadline=None)
@given(components, components)
def test_different_components_have_different_keys(a, b):
    assert (cache_key(*a) == cache_key(*b)) == (a == b)


def test_file_digest_is_of_content(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"sound")
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    (tmp_path / "c.wav").write_bytes(b"other")
    assert file_digest(tmp_path / "a.wav") == file_digest(str(tmp_path / "b.wav"))
    assert file_digest(tmp_path / "a.wav") != file_digest(tmp_path / "c.wav")


@pytest.mark.parametrize(("name", "found"), [("missing.wav", "No such file"), (".", "folder"), ("a\0b", "null")])
def test_file_that_cannot_be_read_is_named(tmp_path, name, found):
    with pytest.raises(AudioError, match=found) as caught:
        file_digest(f"{tmp_path}/{name}")
    assert tmp_path.name in str(caught.value)


@posix_only
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AudioError, match="not a regular file"):
        file_digest(tmp_path / "pipe")


def test_array_digest_depends_on_values_type_shape_and_rate():
    ramp = np.arange(6, dtype=np.float32)
    variants = [ramp, ramp + 1, ramp.astype(np.int32), ramp.view(np.int32), ramp.reshape(3, 2), ramp[:0]]
    digests = [array_digest(samples, 8000) for samples in variants] + [array_digest(ramp, 16000)]
    assert len(set(digests)) == len(digests)
    assert array_digest(np.repeat(ramp, 2)[::2], 8000) == digests[0]
    with pytest.raises(ParameterError, match="object"):
        array_digest(np.array([None]), 8000)


# Round trip


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n_windows=st.integers(0, 5), size=st.integers(0, 9), order=st.sampled_from("CF"))
def test_round_trip(data, n_windows, size, order):
    anything = st.integers(0, 2**32 - 1)  # any 32 bits: infinities, NaNs and denormals as well
    n = n_windows * (size + 1)
    bits = np.array(data.draw(st.lists(anything, min_size=n, max_size=n)), np.uint32).view(np.float32)
    vectors = np.asarray(bits[: n_windows * size].reshape(n_windows, size), order=order)
    windows = StoredWindows(vectors, bits[n_windows * size :])
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(Path(folder) / "c.sqlite")
        put(cache, {key_of(0): windows})
        assert holds(cache, {key_of(0): windows})


def test_two_thousand_clips(cache):
    entries = entries_of(range(2000), n_windows=11, size=64)
    put(cache, entries)
    assert holds(cache, entries)
    assert cache.info()["entries"] == 2000


def test_missing_entries_are_left_out(filled):
    assert filled.get_many([key_of(3), key_of(99), key_of(3)]).keys() == {key_of(3)}


def test_reading_makes_no_file(cache, tmp_path):
    assert cache.get_many([key_of(0)]) == {}
    assert cache.info()["entries"] == 0
    assert cache.verify() == CacheCheck(0, 0, None)
    assert cache.prune(max_bytes=0) == 0
    put(cache, {})
    assert list(tmp_path.iterdir()) == []


def test_same_key_again(filled):
    put(filled, entries_of(range(5, 15)))
    assert holds(filled, entries_of(range(15)))
    assert filled.info()["entries"] == 15


def test_returned_arrays_are_read_only(filled):
    windows = filled.get_many([key_of(0)])[key_of(0)]
    with pytest.raises(ValueError, match="read-only"):
        windows.vectors[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        windows.levels_dbfs.flags.writeable = True


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3, 8), (4,)), ((3, 8), (3, 1))])
def test_shapes_that_do_not_fit_are_refused(cache, shapes):
    bad = StoredWindows(*(np.zeros(shape, np.float32) for shape in shapes))
    with pytest.raises(ParameterError, match="n_windows"):
        put(cache, {key_of(0): windows_of(0), key_of(1): bad})
    assert cache.info()["entries"] == 0


@pytest.mark.parametrize("key", ["text", b"short"])
def test_invalid_keys_are_refused(cache, key):
    for use in (lambda: put(cache, {key: windows_of(0)}), lambda: cache.get_many([key])):
        with pytest.raises(ParameterError, match="32 bytes"):
            use()


# Files


def test_unchanged_file_is_not_hashed_again(cache, tmp_path, later, hashed):
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "a"]
    first = cache.content_ids(paths)
    assert cache.content_ids([str(path) for path in paths]) == first
    assert first == [file_digest(path) for path in paths]
    assert hashed == ["a", "b"]


def test_renamed_and_copied_files_are_recognised_by_content(cache, tmp_path, later, hashed):
    (tmp_path / "a").write_bytes(b"sound")
    (original,) = cache.content_ids([tmp_path / "a"])
    shutil.copy(tmp_path / "a", tmp_path / "copy")
    (tmp_path / "a").rename(tmp_path / "renamed")
    assert cache.content_ids([tmp_path / "copy", tmp_path / "renamed"]) == [original, original]
    assert hashed == ["a", "copy", "renamed"]  # another path is never trusted unread


@posix_only
def test_change_in_place_with_size_and_mtime_restored_is_noticed(cache, tmp_path, later):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    before = path.stat()
    (first,) = cache.content_ids([path])
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # as coarse as the kernel's clock tick
        path.write_bytes(b"two")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )
    (second,) = cache.content_ids([path])
    assert second == file_digest(path) != first


def test_file_replaced_by_another_inode_is_noticed(cache, tmp_path, later):
    for name, text in (("a", b"one"), ("b", b"two")):
        (tmp_path / name).write_bytes(text)
        os.utime(tmp_path / name, ns=(1, 1))
    (first,) = cache.content_ids([tmp_path / "a"])
    (tmp_path / "b").replace(tmp_path / "a")
    (second,) = cache.content_ids([tmp_path / "a"])
    assert second == file_digest(tmp_path / "a") != first


def test_file_written_just_now_is_hashed_again(cache, tmp_path, hashed):
    (tmp_path / "a").write_bytes(b"sound")
    cache.content_ids([tmp_path / "a"])
    cache.content_ids([tmp_path / "a"])
    assert hashed == ["a", "a"]
    assert cache.info()["files"] == 0


def test_file_that_changes_under_the_reader_is_an_error(cache, tmp_path, monkeypatch):
    path = tmp_path / "growing"
    path.write_bytes(b"")

    def grow(name):
        path.write_bytes(path.read_bytes() + b"more")
        return b"x" * 32

    monkeypatch.setattr(embedding_cache, "file_digest", grow)
    (error,) = cache.content_ids([path])
    with pytest.raises(AudioError, match=r"growing.*changes while"):
        raise error


def test_one_bad_file_does_not_stop_the_others(cache, tmp_path, later):
    (tmp_path / "good").write_bytes(b"sound")
    good, missing, folder = cache.content_ids([tmp_path / "good", tmp_path / "missing", tmp_path])
    assert good == file_digest(tmp_path / "good")
    assert isinstance(missing, L3clfError)
    assert "missing" in str(missing)
    assert "folder" in str(folder)


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        "data = x'00' || substr(data, 2)",
        "data = 'text'",
        "data = x''",
        "data = substr(data, 5)",
        "n_windows = n_windows + 1",
        "n_windows = embedding_size, embedding_size = n_windows",
        "n_windows = -1",
        "embedding_size = 'eight'",
        "checksum = checksum + 1",
    ],
)
def test_damaged_entry_is_dropped_with_one_warning(filled, damage):
    change(filled, f"UPDATE windows SET {damage} WHERE key = ?", key_of(4))  # noqa: S608
    with pytest.warns(CacheWarning, match="1 of 10 entries") as caught:
        found = filled.get_many(list(entries_of(range(10))))
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    assert found.keys() == entries_of(range(10)).keys() - {key_of(4)}
    assert filled.info()["entries"] == 9
    put(filled, entries_of([4]))
    assert holds(filled, entries_of(range(10)))


def test_entry_under_another_key_is_damaged(filled):
    change(filled, "DELETE FROM windows WHERE key = ?", key_of(5))
    change(filled, "UPDATE windows SET key = ? WHERE key = ?", key_of(5), key_of(4))
    with pytest.warns(CacheWarning, match="1 of 2"):
        assert filled.get_many([key_of(4), key_of(5)]) == {}


def test_verify_drops_damaged_entries_and_halves(filled):
    assert filled.verify() == CacheCheck(10, 0, None)
    change(filled, "UPDATE windows SET data = zeroblob(108) WHERE key = ?", key_of(0))
    change(filled, "DELETE FROM windows WHERE key = ?", key_of(1))
    change(filled, "DELETE FROM entries WHERE key = ?", key_of(2))
    assert filled.verify() == CacheCheck(10, 3, None)
    assert filled.verify() == CacheCheck(7, 0, None)
    assert holds(filled, entries_of(range(3, 10)))


def test_flipped_bytes_never_give_a_wrong_answer(cache, recwarn):
    """One byte at a time, anywhere in the file: an entry is right, or missing with a warning."""
    entries = entries_of(range(12), n_windows=11, size=512)
    put(cache, entries)
    intact = cache.path.read_bytes()
    outcomes = set()
    positions = [*range(100, 900, 100), *np.random.default_rng(0).integers(100, len(intact), 50)]
    for position in positions:
        flipped = bytearray(intact)
        flipped[position] ^= 0x55
        cache.path.write_bytes(flipped)
        recwarn.clear()
        found = {}
        with contextlib.suppress(CacheWarning):
            found = cache.get_many(list(entries))
        assert all(same(found[key], entries[key]) for key in found)
        outcomes.add(len(found))
        put(cache, entries)
        assert holds(cache, entries)
        for path in cache.path.parent.iterdir():
            path.unlink()
    assert outcomes >= {0, 12}


def malform(cache):
    content = bytearray(cache.path.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    cache.path.write_bytes(content)
    return bytes(content)


def test_malformed_database_is_moved_aside_and_a_new_one_begun(filled):
    content = malform(filled)
    with pytest.warns(CacheWarning, match=r"malformed.*sqlite\.damaged"):
        assert filled.get_many([key_of(0)]) == {}
    assert filled.path.with_name("embeddings.sqlite.damaged").read_bytes() == content
    put(filled, entries_of(range(3)))
    assert holds(filled, entries_of(range(3)))


def test_verify_moves_a_malformed_database_aside(filled):
    malform(filled)
    assert filled.verify().moved_to == filled.path.with_name("embeddings.sqlite.damaged")
    assert filled.verify() == CacheCheck(0, 0, None)


def test_a_new_database_made_meanwhile_is_not_moved_aside(filled):
    cache_database._moved_aside(filled.path, inode=filled.path.stat().st_ino + 1)
    assert holds(filled, entries_of(range(10)))


# Files that are not ours to use


def make_foreign(path, wal=False):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        connection.execute("CREATE TABLE songs (name TEXT)")
        connection.commit()


@pytest.mark.parametrize("kind", ["text", "short", "sqlite", "wal"])
def test_foreign_file_is_refused_and_left_alone(tmp_path, kind):
    path = tmp_path / "diary"
    if kind in ("text", "short"):
        path.write_text("Dear diary, " * (100 if kind == "text" else 1))
    else:
        make_foreign(path, wal=kind == "wal")
    content = path.read_bytes()
    cache = EmbeddingCache(path)
    uses = (cache.info, cache.verify, cache.prune, lambda: cache.get_many([key_of(0)]))
    for use in (*uses, lambda: put(cache, entries_of([0]))):
        with pytest.raises(CacheError, match="diary: is not an embedding cache"):
            use()
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_newer_format_is_refused_and_left_alone(filled):
    change(filled, "PRAGMA user_version = 3")
    content = filled.path.read_bytes()
    for use in (lambda: filled.get_many([key_of(0)]), lambda: put(filled, entries_of([1]))):
        with pytest.raises(CacheError, match="newer l3clf"):
            use()
    assert filled.path.read_bytes() == content


def test_folder_is_refused(tmp_path):
    with pytest.raises(CacheError, match="not a regular file"):
        put(EmbeddingCache(tmp_path), entries_of([0]))


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match=r"embeddings\.sqlite: its folder cannot be created"):
        put(EmbeddingCache(tmp_path / "file" / "embeddings.sqlite"), entries_of([0]))


def test_empty_file_becomes_a_cache(tmp_path):
    (tmp_path / "c").touch()
    cache = EmbeddingCache(tmp_path / "c")
    assert cache.get_many([key_of(0)]) == {}
    put(cache, entries_of([0]))
    assert holds(cache, entries_of([0]))


@posix_only
@pytest.mark.parametrize("what", ["file", "folder"])
def test_read_only_cache_is_read_and_not_written(what):
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    cache = EmbeddingCache(folder / "c.sqlite")
    try:
        put(cache, entries_of(range(3)))
        change(cache, "UPDATE windows SET checksum = 0 WHERE key = ?", key_of(2))
        change(cache, "UPDATE entries SET last_used_s = 0")
        (folder / "sound").write_bytes(b"sound")
        for path, mode in ((cache.path, 0o444), (folder / "sound", 0o444)):
            path.chmod(mode)
        folder.chmod(0o777 if what == "file" else 0o555)
        with without_privileges():
            assert holds(cache, entries_of(range(2)))
            with pytest.warns(CacheWarning, match="1 of 1 "):
                assert cache.get_many([key_of(2)]) == {}
            assert cache.info()["entries"] == 3
            assert cache.content_ids([folder / "sound"]) == [file_digest(folder / "sound")]
            with pytest.raises(CacheError, match="read-only"):
                put(cache, entries_of([5]))
    finally:
        folder.chmod(0o777)
        shutil.rmtree(folder)


def test_full_disk_is_one_sentence_and_leaves_the_cache_as_it_was(filled, monkeypatch):
    limit = "PRAGMA max_page_count = 20"
    monkeypatch.setattr(cache_database, "_CONNECTION_PRAGMAS", (*cache_database._CONNECTION_PRAGMAS, limit))
    with pytest.raises(CacheError, match=r"embeddings\.sqlite: the disk is full"):
        put(filled, entries_of(range(100, 200), size=1000))
    assert filled.info()["entries"] == 10
    assert holds(filled, entries_of(range(10)))


def test_locked_for_too_long_is_one_sentence(filled, monkeypatch):
    monkeypatch.setattr(cache_database, "_BUSY_TIMEOUT_S", 0.05)
    with contextlib.closing(sqlite3.connect(filled.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CacheError, match="locked"):
            put(filled, entries_of([11]))
        assert holds(filled, entries_of(range(10)))  # readers never wait


# Several processes


def start(target, *arguments):
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process


def write_all(cache, first, gate):
    gate.wait()
    for n in range(first, first + 60, 10):
        put(cache, entries_of(range(n, n + 20), n_windows=11, size=64))


def test_four_processes_write_overlapping_keys_at_once(cache):
    gate = multiprocessing.get_context("spawn").Barrier(4)  # so that they even make the file at once
    writers = [start(write_all, cache, first, gate) for first in (0, 10, 20, 30)]
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    entries = entries_of(range(100), n_windows=11, size=64)
    assert holds(cache, entries)
    assert cache.verify() == CacheCheck(100, 0, None)


def write_for_ever(cache, batch_size):
    for batch in itertools.count():
        cache.put_many(
            {key_of(i, batch): windows_of(i, n_windows=11, size=512) for i in range(batch_size)},
            fingerprint=f"batch {batch}",
            embedder="fake",
        )


@posix_only
def test_killed_writer_leaves_whole_batches(cache):
    batch_size = 25
    for round_ in range(4):
        n_before = cache.info()["entries"]
        child = os.fork()
        if child == 0:
            write_for_ever(cache, batch_size)
        while cache.info()["entries"] == n_before and round_:
            time.sleep(0.005)
        time.sleep(0.05 + 0.013 * round_)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        info = cache.info()
        assert {found["entries"] for found in info["embedders"].values()} <= {batch_size}
        assert cache.verify() == CacheCheck(info["entries"], 0, None)
    assert info["entries"] >= batch_size


def make_and_die(path, delay_s):
    threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    put(EmbeddingCache(path), entries_of(range(10)))


@posix_only
def test_killed_while_making_the_file(tmp_path):
    for i in range(15):
        cache = EmbeddingCache(tmp_path / f"{i}.sqlite")
        child = os.fork()
        if child == 0:
            make_and_die(cache.path, i * 0.0005)
            os._exit(0)
        os.waitpid(child, 0)
        assert cache.info()["entries"] in (0, 10)
        put(cache, entries_of(range(10)))
        assert holds(cache, entries_of(range(10)))


@posix_only
def test_fork_amid_the_calls_of_other_threads(filled):
    stop = threading.Event()

    def keep_busy():
        while not stop.is_set():
            put(filled, entries_of(range(10, 20)))

    threads = [threading.Thread(target=keep_busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for n in range(100, 110):
            child = os.fork()
            if child == 0:  # the child must find no lock held and no connection open
                put(filled, entries_of([n]))
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert holds(filled, entries_of([*range(20), *range(100, 110)]))


def test_deleted_cache_file_begins_anew(filled):
    filled.path.unlink()
    assert filled.get_many([key_of(0)]) == {}
    put(filled, entries_of([1]))
    assert filled.info()["entries"] == 1


def test_no_connection_outlives_a_call(filled):
    filled.get_many([key_of(0)])
    assert [path.name for path in filled.path.parent.iterdir()] == ["embeddings.sqlite"]


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_clones_share_the_file(filled, clone):
    assert clone(filled).path == filled.path
    assert holds(clone(filled), entries_of(range(10)))


def test_relative_path_is_bound_to_the_folder_it_was_given_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = EmbeddingCache("c#1 %20?.sqlite")
    monkeypatch.chdir(os.sep)
    put(cache, entries_of([0]))
    assert (tmp_path / "c#1 %20?.sqlite").is_file()


# Housekeeping


def test_info(filled, tmp_path, later):
    put(filled, {key_of(0, batch=1): windows_of(0)}, fingerprint="other-1", embedder="other")
    (tmp_path / "a").write_bytes(b"sound")
    filled.content_ids([tmp_path / "a"])
    info = filled.info()
    assert (info["path"], info["entries"], info["files"]) == (filled.path, 11, 1)
    assert info["bytes"] == filled.path.stat().st_size
    used = info["embedders"]["other-1"].pop("last_used_s")
    assert abs(used - time.time()) < 60
    assert info["embedders"]["other-1"] == {"embedder": "other", "entries": 1, "bytes": 3 * 9 * 4}
    assert info["embedders"]["fake-1"]["entries"] == 10


def test_reading_writes_at_most_once_an_hour(filled):
    change(filled, "UPDATE entries SET last_used_s = ?", time.time() - 3000)
    content = filled.path.read_bytes()
    filled.get_many([key_of(0)])
    assert filled.path.read_bytes() == content
    change(filled, "UPDATE entries SET last_used_s = ?", time.time() - 4000)
    filled.get_many([key_of(0)])
    assert len(ask(filled, f"SELECT key FROM entries WHERE last_used_s > {time.time() - 60}")) == 1  # noqa: S608


def test_prune_by_fingerprint(filled):
    other = {key_of(0, batch=1): windows_of(0)}
    put(filled, other, fingerprint="other-1", embedder="other")
    assert filled.prune(fingerprint="nobody's") == 0
    assert filled.prune(fingerprint="fake-1") == 10
    assert list(filled.info()["embedders"]) == ["other-1"]
    assert holds(filled, other)


def test_prune_by_age_and_both(filled):
    put(filled, {key_of(0, batch=1): windows_of(0)}, fingerprint="other-1", embedder="other")
    for n in (3, 4):
        change(filled, "UPDATE entries SET last_used_s = ? WHERE key = ?", time.time() - 9e5, key_of(n))
    assert filled.prune(older_than_s=8e5, fingerprint="other-1") == 0
    assert filled.prune(older_than_s=1e6) == 0
    assert filled.prune(older_than_s=8e5) == 2
    assert filled.get_many([key_of(3), key_of(4)]) == {}
    assert filled.prune(older_than_s=0) == 9


def test_prune_to_a_size_removes_the_longest_unused_and_shrinks_the_file(cache):
    entries = entries_of(range(200), n_windows=11, size=512)
    put(cache, entries)
    change(cache, "UPDATE entries SET last_used_s = 1e9")
    recent = [key_of(n) for n in range(0, 150, 10)]
    for key in recent:
        change(cache, "UPDATE entries SET last_used_s = 2e9 WHERE key = ?", key)
    n_removed = cache.prune(max_bytes=2_000_000)
    assert 100 < n_removed < 180
    assert 1_500_000 < cache.info()["bytes"] <= 2_000_000
    assert len(cache.get_many(recent)) == len(recent)
    assert cache.prune(max_bytes=2_000_000) == 0
    assert cache.prune(max_bytes=0) == 200 - n_removed
    assert cache.info()["bytes"] < 200_000
    assert cache.verify() == CacheCheck(0, 0, None)


def test_prune_forgets_files_that_are_gone(cache, tmp_path, later):
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    cache.content_ids([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "a").unlink()
    assert cache.prune() == 0
    assert cache.info()["files"] == 1


@pytest.mark.parametrize("rule", ["max_bytes", "older_than_s"])
def test_prune_refuses_negative_numbers(filled, rule):
    with pytest.raises(ParameterError, match=rule):
        filled.prune(**{rule: -1})


def test_default_path(monkeypatch, tmp_path):
    monkeypatch.setenv("L3CLF_CACHE", str(tmp_path / "mine.sqlite"))
    assert default_cache_path() == tmp_path / "mine.sqlite"
    monkeypatch.setenv("L3CLF_CACHE", "")
    assert default_cache_path().name == "embeddings.sqlite"
    assert "l3clf" in default_cache_path().parts


@pytest.mark.parametrize(
    "name",
    ["a.wav", "/a.wav", "/a//b.wav", "/a/./b.wav", "/a/.b.wav", "/a/../b.wav", "/a/", "/a/.", "//a", "/ä\udcff", "."],
)
def test_a_file_is_recorded_under_its_absolute_path(name):
    assert embedding_cache._absolute(name) == os.fsencode(Path(name).absolute())


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux's count of bytes written")
def test_entries_are_written_about_twice(tmp_path):
    def written():
        return int(Path("/proc/self/io").read_text(encoding="ascii").split("wchar: ")[1].split()[0])

    cache, entries, before = EmbeddingCache(tmp_path / "cache.sqlite"), entries_of(range(5000), size=40), written()
    put(cache, entries)
    assert written() - before < 3 * cache.info()["bytes"]  # into the log, and from it into the file
