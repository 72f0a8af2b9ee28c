"""Embedding on the workers of a real Dask cluster: the same numbers, one cache, and what a lost worker costs."""

import os
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import soundfile
from helpers import TESTS
from helpers.fake_embedder import FakeEmbedder

import l3clf
from l3clf.audio.clip import Clip, Samples
from l3clf.classifier.augmented import embed_copies
from l3clf.embedders import WindowEmbeddings, parallel_run, wide_run
from l3clf.errors import AudioError, L3clfError, LevelWarning, ParameterError
from l3clf.networks.threads import n_threads
from l3clf.networks.workers import n_workers
from l3clf.pipeline import Tally, embed_each, embed_sources
from l3clf.storage.embedding_cache import EmbeddingCache

distributed = pytest.importorskip("distributed", reason="Dask is not installed (the extra `dask`)")

RATE = 8000


class Deadly(FakeEmbedder):
    """Ends its process when it hears a loud window."""

    name = "deadly"

    def embed_windows(self, windows):
        if windows.max() > 0.9:
            os._exit(1)
        return super().embed_windows(windows)


class Elsewhere(FakeEmbedder):
    """Has other numbers in every process."""

    name = "elsewhere"

    def weights_digest(self):
        return str(os.getpid())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),  # what kills a worker kills but one at a time
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            env={"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS), str(TESTS / "embedders")])},
        ) as running,
        distributed.Client(running) as client,
    ):
        yield client


@pytest.fixture
def dask_workers(cluster):
    with joblib.parallel_config("dask"):
        yield cluster


def sound(seconds=1.0, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32)


def write(path, seconds=1.0, seed=0, level=1.0):
    soundfile.write(path, level * sound(seconds, seed), RATE, subtype="FLOAT")
    return Clip(str(path))


def mixed_sources(folder):
    long = write(folder / "long.wav", 12.0, seed=1)
    return [
        write(folder / "short.wav", 0.01, seed=2),
        long,
        Clip(long.path, 2.5, 4.0),
        Samples(sound(3.3, seed=3), RATE),
        Clip(str(folder / "no.wav")),
        *(write(folder / f"{i}.wav", seed=10 + i) for i in range(20)),
        Clip(long.path),
    ]


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, WindowEmbeddings):
            np.testing.assert_array_equal(one.vectors, other.vectors)
            np.testing.assert_array_equal(one.times_s, other.times_s)
            np.testing.assert_array_equal(one.levels_dbfs, other.levels_dbfs)
        else:
            assert type(one) is type(other)
            assert str(one).partition(": ")[0] == str(other).partition(": ")[0]


def test_workers_give_what_threads_give_in_order_and_one_process_has_the_cache(tmp_path, dask_workers, monkeypatch):
    monkeypatch.setattr(parallel_run, "LARGE_FILE_BYTES", 200_000)  # here: the workers need not share the opinion
    sources = mixed_sources(tmp_path)
    assert n_workers(None) == 2
    with joblib.parallel_config("threading"):
        wanted = embed_sources(FakeEmbedder(), sources)
        assert n_workers(None) == 0
    cache = EmbeddingCache(tmp_path / "cache" / "x.sqlite")
    for tally in (Tally(embedded=25, failed=1, computed=24), Tally(cached=25, failed=1)):
        found = Tally()
        assert_same(embed_sources(FakeEmbedder(), sources, cache=cache, tally=found), wanted)
        assert found == tally
    monkeypatch.undo()
    with joblib.parallel_config("threading"):  # what workers computed is found without them
        found = Tally()
        assert_same(embed_sources(FakeEmbedder(), sources, cache=cache, tally=found), wanted)
        assert found.cached == 25
    if sys.platform == "linux":
        opened = dask_workers.run(lambda: [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()])
        assert not any("sqlite" in file for files in opened.values() for file in files)


def test_paths_are_those_of_the_caller(tmp_path, dask_workers, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the workers run elsewhere
    write(tmp_path / "a.wav", level=100.0)
    with pytest.warns(LevelWarning, match=r"^a\.wav: "):
        good, bad = embed_sources(FakeEmbedder(), [Clip("a.wav"), Clip("no.wav")])
    assert len(good) == 3
    assert str(bad).startswith("no.wav: ")


def test_a_file_that_is_another_one_on_the_worker_is_refused(tmp_path, monkeypatch):
    clip = write(tmp_path / "a.wav")
    cache = EmbeddingCache(tmp_path / "x.sqlite")
    (content,) = cache.content_ids([clip.path])
    state = wide_run.file_state(clip.path)
    order = wide_run.Order(0, clip, "a.wav", state, content)
    embedder = FakeEmbedder()

    def delivered():
        (one,) = wide_run.embed_orders(embedder, embedder.fingerprint, 0.5, True, [order])
        return one.result

    assert len(delivered().vectors) == 3
    os.utime(clip.path, (1, 1))  # a copy: other times, the same content
    assert len(delivered().vectors) == 3
    write(tmp_path / "a.wav", seed=1)
    assert str(delivered()).startswith("a.wav: is another file on the worker ")
    Path(clip.path).unlink()
    assert str(delivered()).startswith("a.wav: is not there on the worker ")


def test_a_worker_with_other_weights_stops_everything(tmp_path, dask_workers):
    with pytest.raises(ParameterError, match="embedder 'elsewhere': gives other numbers on the worker"):
        embed_sources(Elsewhere(), [write(tmp_path / "a.wav")])


def test_a_batch_that_kills_its_worker_is_named_and_the_others_are_finished(tmp_path, dask_workers, monkeypatch):
    monkeypatch.setattr(wide_run, "CLIPS_A_BATCH", 2)
    sources = [write(tmp_path / f"{i}.wav", seed=i) for i in range(12)]
    write(tmp_path / "5.wav", level=30.0)
    cache = EmbeddingCache(tmp_path / "x.sqlite")
    found = embed_sources(Deadly(), sources, cache=cache)
    failed = [i for i, each in enumerate(found) if isinstance(each, AudioError)]
    assert 5 in failed
    assert len(failed) <= 2
    assert "5.wav: the worker that embedded its batch died, twice (KilledWorker)" in str(found[5])
    assert cache.info()["entries"] == 12 - len(failed)
    assert_same([found[0]], embed_sources(FakeEmbedder(), sources[:1]))


def test_a_cluster_that_is_gone_is_one_sentence(tmp_path):
    write(tmp_path / "a.wav")
    cluster = distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None)
    with distributed.Client(cluster), joblib.parallel_config("dask"):
        cluster.close()
        with pytest.raises(L3clfError, match="joblib's backend: its cluster is gone"):
            embed_sources(FakeEmbedder(), [Clip(tmp_path / "a.wav")])


def test_leaving_early_keeps_what_is_finished(tmp_path, dask_workers, monkeypatch):
    monkeypatch.setattr(wide_run, "CLIPS_A_BATCH", 2)
    sources = [write(tmp_path / f"{i}.wav", seed=i) for i in range(40)]
    cache = EmbeddingCache(tmp_path / "x.sqlite")
    each = embed_each(FakeEmbedder(), sources, cache=cache)
    assert isinstance(next(each)[1], WindowEmbeddings)
    each.close()
    assert 1 <= cache.info()["entries"] <= 2
    assert_same(embed_sources(FakeEmbedder(), sources, cache=cache), embed_sources(FakeEmbedder(), sources))


def test_augmented_copies_are_made_by_workers(tmp_path, dask_workers, monkeypatch):
    sources = [write(tmp_path / f"{i}.wav", 0.6, seed=i) for i in range(6)]
    augment = l3clf.Augmentation(copies=2)

    def copies():
        outcomes = embed_sources(FakeEmbedder(), sources)
        return {(i, k): each for i, k, each in embed_copies(FakeEmbedder(), sources, outcomes, "ababab", augment)}

    found = copies()
    with joblib.parallel_config("threading"):
        wanted = copies()
    assert len(wanted) == 12
    assert_same([found[each] for each in sorted(wanted)], [wanted[each] for each in sorted(wanted)])


def test_a_search_is_spread_and_its_tasks_take_one_thread(dask_workers):
    from sklearn.model_selection import GridSearchCV

    rng = np.random.default_rng(0)
    y = np.array(["a", "b"] * 10)
    vectors = [np.float32(rng.standard_normal((3, 4)) + 3 * (label == "b")) for label in y]
    X = [WindowEmbeddings(v, np.array([[0, 1], [1, 2], [2, 3.0]]), np.zeros(3, np.float32)) for v in vectors]
    model = l3clf.ClipClassifier(FakeEmbedder(), cache=None)
    found = GridSearchCV(model, {"pooling": ["max"]}, cv=2).fit(X, y)
    assert found.best_score_ > 0.9
    assert dask_workers.submit(n_threads, None).result() == 1
    assert n_threads(None) == joblib.cpu_count()


def test_a_batch_is_neither_too_long_nor_too_heavy():
    files = [(i, Clip(f"{i}.wav")) for i in range(7)]
    assert [len(group) for group in wide_run._grouped(files, 3)] == [3, 3, 1]
    arrays = [(i, Samples(np.zeros(500_000, np.float32), RATE)) for i in range(9)]
    assert [len(group) for group in wide_run._grouped(arrays, 100)] == [4, 4, 1]
    assert wide_run._grouped([], 3) == []


def test_embedders_pickle_without_their_networks():
    embedder = l3clf.load_embedder("l3mini")
    embedder.embed(np.zeros(RATE), RATE)  # opens the session
    assert len(pickle.dumps(embedder)) < 1000


def test_processes_of_joblib_work_too(tmp_path):
    sources = mixed_sources(tmp_path)
    wanted = embed_sources(FakeEmbedder(), sources)
    with joblib.parallel_config("loky", n_jobs=2):
        assert n_workers(None) == 2
        assert_same(embed_sources(FakeEmbedder(), sources), wanted)
