"""Long files: bounded memory, pieces in the cache, and a run that continues where it was interrupted."""

import io
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.fake_embedder import FakeEmbedder

from l3clf.audio.clip import Clip, Samples
from l3clf.embedders import parallel_run
from l3clf.embedders.clip_progress import ClipProgress
from l3clf.errors import AudioError
from l3clf.pipeline import Tally, embed_each, embed_sources
from l3clf.storage.embedding_cache import EmbeddingCache, StoredWindows
from l3clf.storage.long_clips import list_key, piece_key, read_long

RATE = 8000
EMBEDDER = FakeEmbedder()
BATCH = EMBEDDER.batch_windows
PIECE = 2 * BATCH
original = FakeEmbedder.embed_windows


@pytest.fixture(autouse=True)
def small_is_long(monkeypatch):
    """Every file is a large one, and a piece of it has two batches."""
    monkeypatch.setattr(parallel_run, "LARGE_FILE_BYTES", 10)
    monkeypatch.setattr(parallel_run, "PIECE_WINDOWS", PIECE)


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache.sqlite")


@pytest.fixture
def heard(monkeypatch):
    counts = []

    def embed_windows(self, windows):
        counts.append(len(windows))
        return original(self, windows)

    monkeypatch.setattr(FakeEmbedder, "embed_windows", embed_windows)
    return counts


def long_file(path, n_windows, seed=0):
    """A file of so many windows, with hops of half a second and centring."""
    samples = 0.1 * np.random.default_rng(seed).standard_normal(n_windows * RATE // 2 - RATE // 4)
    soundfile.write(path, samples.astype(np.float32), RATE, subtype="FLOAT", format="WAV")
    return Clip(path)


def interrupted(monkeypatch, clip, cache, at, n_jobs=1, **framing):
    calls = []

    def embed_windows(self, windows):
        calls.append(len(windows))
        if len(calls) == at:
            raise KeyboardInterrupt
        return original(self, windows)

    with monkeypatch.context() as patched:
        patched.setattr(FakeEmbedder, "embed_windows", embed_windows)
        with pytest.raises(KeyboardInterrupt):
            embed_sources(EMBEDDER, [clip], cache=cache, n_jobs=n_jobs, **framing)


def assert_same(found, wanted):
    np.testing.assert_array_equal(found.vectors, wanted.vectors)
    np.testing.assert_array_equal(found.times_s, wanted.times_s)
    np.testing.assert_array_equal(found.levels_dbfs, wanted.levels_dbfs)


@pytest.mark.parametrize("n_windows", [5, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE - 3])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_a_long_file_comes_back_from_its_pieces(tmp_path, cache, heard, n_windows, n_jobs):
    clip = long_file(tmp_path / "a.wav", n_windows)
    wanted = EMBEDDER.embed(*soundfile.read(clip.path, dtype="float32"))
    assert len(wanted) == n_windows
    heard.clear()
    for _ in range(2):
        (found,) = embed_sources(EMBEDDER, [clip], cache=cache, n_jobs=n_jobs)
        assert_same(found, wanted)
    assert sum(heard) == n_windows
    assert max(heard) == min(BATCH, n_windows)
    n_pieces = -(-n_windows // PIECE)
    assert cache.info()["entries"] == (1 if n_windows < PIECE else n_pieces + 1)
    assert cache.verify() == (cache.info()["entries"], 0, None)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("at", [1, 2, 5, 9, 10])
def test_an_interrupted_run_continues_and_gives_the_same_bits(tmp_path, monkeypatch, cache, heard, at, n_jobs):
    clip = long_file(tmp_path / "a.wav", 5 * PIECE - 3)
    (wanted,) = embed_sources(EMBEDDER, [clip], cache=None, n_jobs=n_jobs)
    interrupted(monkeypatch, clip, cache, at, n_jobs)
    kept = cache.info()["entries"]
    assert kept >= (at - 1) // 2 - (n_jobs - 1)  # whole pieces; threads may be in two of them
    heard.clear()
    (found,) = embed_sources(EMBEDDER, [clip], cache=cache, n_jobs=n_jobs)
    assert_same(found, wanted)
    # The last piece, which is shorter, may have been finished before one above it; only whole ones are used again.
    assert sum(heard) - (len(wanted) - kept * PIECE) in ((0,) if n_jobs == 1 else (0, PIECE))
    heard.clear()
    assert_same(embed_sources(EMBEDDER, [clip], cache=cache)[0], wanted)
    assert heard == []


@pytest.mark.parametrize(
    ("embedder", "times", "framing"),
    [
        (EMBEDDER, (0.0, None), {"hop_s": 0.25}),
        (EMBEDDER, (0.0, None), {"center": False}),
        (EMBEDDER, (0.5, None), {}),
        (EMBEDDER, (0.0, 75.0), {}),
        (FakeEmbedder(2.0), (0.0, None), {}),
    ],
    ids=["hop", "centring", "start", "end", "fingerprint"],
)
def test_pieces_of_anything_else_are_not_used(tmp_path, monkeypatch, cache, heard, embedder, times, framing):
    clip = long_file(tmp_path / "a.wav", 5 * PIECE)
    interrupted(monkeypatch, clip, cache, 8)
    assert cache.info()["entries"] == 3
    other = Clip(clip.path, *times)
    (wanted,) = embed_sources(embedder, [other], cache=None, **framing)
    heard.clear()
    (found,) = embed_sources(embedder, [other], cache=cache, **framing)
    assert_same(found, wanted)
    assert sum(heard) == len(wanted)


def test_pieces_of_another_size_are_not_used(tmp_path, monkeypatch, cache, heard):
    clip = long_file(tmp_path / "a.wav", 5 * PIECE)
    interrupted(monkeypatch, clip, cache, 8)
    monkeypatch.setattr(parallel_run, "PIECE_WINDOWS", PIECE // 2)
    (wanted,) = embed_sources(EMBEDDER, [clip], cache=None)
    heard.clear()
    (found,) = embed_sources(EMBEDDER, [clip], cache=cache)
    assert_same(found, wanted)
    assert sum(heard) == len(wanted)
    monkeypatch.setattr(parallel_run, "PIECE_WINDOWS", PIECE)  # a whole clip is found whatever the size of its pieces
    heard.clear()
    assert_same(embed_sources(EMBEDDER, [clip], cache=cache)[0], wanted)
    assert heard == []


def change(cache, statement, *values):
    with sqlite3.connect(cache.path) as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def only_key(monkeypatch, clip, cache):
    """The key of the whole clip, which nothing is stored under."""
    keys = []
    get_many = EmbeddingCache.get_many
    with monkeypatch.context() as patched:
        patched.setattr(EmbeddingCache, "get_many", lambda self, wanted: keys.extend(wanted) or get_many(self, wanted))
        embed_sources(EMBEDDER, [clip], cache=cache)
    return keys[0]


@pytest.mark.parametrize("n_lost", [0, 2, 4])
@pytest.mark.parametrize("how", ["pruned", "damaged"])
@pytest.mark.filterwarnings("ignore::l3clf.errors.CacheWarning")
def test_only_a_lost_piece_is_computed_again(tmp_path, monkeypatch, cache, heard, how, n_lost):
    clip = long_file(tmp_path / "a.wav", 5 * PIECE - 3)
    (wanted,) = embed_sources(EMBEDDER, [clip], cache=cache)
    key = piece_key(only_key(monkeypatch, clip, cache), PIECE, n_lost)
    if how == "pruned":
        change(cache, "DELETE FROM windows WHERE key = ?", key)
        change(cache, "DELETE FROM entries WHERE key = ?", key)
    else:
        change(cache, "UPDATE windows SET checksum = checksum + 1 WHERE key = ?", key)
    heard.clear()
    (found,) = embed_sources(EMBEDDER, [clip], cache=cache)
    assert_same(found, wanted)
    assert sum(heard) <= 2 * PIECE  # it, and the last one, which is not a whole piece
    heard.clear()
    assert_same(embed_sources(EMBEDDER, [clip], cache=cache)[0], wanted)
    assert heard == []


@pytest.mark.parametrize("counts", [[], [PIECE] * 2, [PIECE] * 6, [1e9], [np.nan], [-1.0], [PIECE - 1] * 5, [0.0] * 5])
def test_a_list_that_does_not_fit_its_pieces_is_not_believed(tmp_path, monkeypatch, cache, counts):
    clip = long_file(tmp_path / "a.wav", 5 * PIECE - 3)
    (wanted,) = embed_sources(EMBEDDER, [clip], cache=cache)
    key = only_key(monkeypatch, clip, cache)
    false = StoredWindows(np.zeros((len(counts), 0), np.float32), np.array(counts, np.float32))
    cache.put_many({list_key(key): false}, fingerprint=EMBEDDER.fingerprint, embedder="fake")
    if counts == [PIECE] * 2:  # true of the first two pieces: nothing but a forged list says that they are all
        assert len(read_long(cache, key).vectors) == 2 * PIECE
        return
    assert read_long(cache, key) is None
    assert_same(embed_sources(EMBEDDER, [clip], cache=cache)[0], wanted)
    np.testing.assert_array_equal(read_long(cache, key).vectors, wanted.vectors)


def test_a_file_that_changes_meanwhile_leaves_no_pieces(tmp_path, monkeypatch, cache):
    clip = long_file(tmp_path / "a.wav", 5 * PIECE)
    read_windows, n = FakeEmbedder.read_windows, []

    def changing(self, source, hop_s, center):
        for windows in read_windows(self, source, hop_s, center):
            n.append(len(windows))
            if len(n) == 3:
                path = Path(clip.path)
                path.write_bytes(path.read_bytes())  # the same content, but who could tell
            yield windows

    with monkeypatch.context() as patched:
        patched.setattr(FakeEmbedder, "read_windows", changing)
        embed_sources(EMBEDDER, [clip], cache=cache, n_jobs=1)
    assert cache.info()["entries"] <= 1  # a piece that was finished before


def test_a_file_that_fails_late_fails_again_and_is_never_shorter(tmp_path, cache):
    path = tmp_path / "a.flac"
    samples = np.random.default_rng(0).standard_normal(RATE * 60) * 0.1
    soundfile.write(path, samples, RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    for _ in range(2):
        (found,) = embed_sources(EMBEDDER, [Clip(path)], cache=cache)
        assert isinstance(found, AudioError)


def test_a_piece_that_the_file_does_not_reach_is_an_error_and_not_a_shorter_clip(tmp_path):
    clip = long_file(tmp_path / "a.wav", PIECE + 5)
    longer = StoredWindows(np.zeros((PIECE, 4), np.float32), np.zeros(PIECE, np.float32))
    run = parallel_run.Run(EMBEDDER, 0.5, True, 1, look_up=lambda indices: {0: {1: longer}})
    ((_, found),) = run.embed([(0, clip)])
    assert isinstance(found, AudioError)
    assert "ends earlier than it did before" in str(found)


def test_arrays_are_long_too(tmp_path, cache, heard):
    source = Samples(np.random.default_rng(0).standard_normal(79 * RATE // 2).astype(np.float32) * 0.1, RATE)
    for _ in range(2):
        (found,) = embed_sources(EMBEDDER, [source], cache=cache)
    assert sum(heard) == len(found) == 80
    assert cache.info()["entries"] == 4


@pytest.mark.parametrize("kept", [True, False])
def test_clips_one_by_one_are_those_of_the_list(tmp_path, monkeypatch, cache, kept):
    monkeypatch.setattr(parallel_run, "LARGE_FILE_BYTES", 100_000)
    sources = [long_file(tmp_path / f"{i}.wav", n, seed=i) for i, n in enumerate([3, 80, 2, 3, 1, 40, 5])]
    sources += [Clip(sources[0].path), Clip(tmp_path / "missing.wav"), Clip(sources[1].path, 1.0)]
    wanted = embed_sources(EMBEDDER, sources)
    for _ in range(2):
        found = dict(embed_each(EMBEDDER, sources, cache=cache if kept else None, n_jobs=2))
        assert sorted(found) == list(range(len(sources)))
        assert isinstance(found.pop(8), AudioError)
        for i, each in found.items():
            assert_same(each, wanted[i])


def test_leaving_early_keeps_what_was_finished(tmp_path, cache, heard):
    clips = [long_file(tmp_path / f"{i}.wav", 3, seed=i) for i in range(8)]
    each = embed_each(EMBEDDER, clips, cache=cache, n_jobs=1)
    next(each)
    next(each)
    each.close()
    assert cache.info()["entries"] >= 2
    n = sum(heard)
    tally = Tally()
    embed_sources(EMBEDDER, clips, cache=cache, tally=tally)
    assert tally.cached == cache.info()["entries"] - tally.computed >= 2
    assert sum(heard) == n + tally.computed * 3


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_the_bar_shows_how_far_a_long_file_is(tmp_path, monkeypatch):
    clip = long_file(tmp_path / "night.wav", 360)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with ClipProgress([clip, clip], 0.5, True) as bar:
        bar.tell_windows(0, 90)
        assert bar.bar.n == 0.25
        assert bar.bar.postfix == "night.wav: 0:00:45 of 0:03:00"
        bar.tell_windows(0, 270)
        assert bar.bar.n == 0.99
        bar.settle(0, 1, known=False)
        assert bar.bar.n == 1
        bar.settle(1, 1, known=True)
        assert (bar.bar.n, bar.bar.initial) == (2, 1)
    assert "night.wav: 0:03:00 of 0:03:00" in sys.stderr.getvalue()


def test_the_name_in_the_bar_cannot_control_the_terminal(tmp_path, monkeypatch):
    clip = long_file(tmp_path / "a\x1b[2Jb.wav", 10)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with ClipProgress([clip], 0.5, True) as bar:
        bar.tell_windows(0, 5)
    assert "\x1b[2J" not in sys.stderr.getvalue()
