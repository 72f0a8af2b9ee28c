"""The number of BLAS threads belongs to the whole process: calls that overlap leave it as it was."""

import threading

import numpy as np
import pytest
from helpers.fake_embedder import FakeEmbedder
from threadpoolctl import threadpool_info, threadpool_limits

from l3clf import ClipClassifier
from l3clf.audio.clip import Samples
from l3clf.embedders.parallel_run import Run

RATE = 8000


def aside(work):
    """Run in a thread that ends with it: threadpoolctl heeds one thread at a time, for as long as it lives."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.fixture
def three():
    """Three BLAS threads, whatever the number of cores."""
    if not blas_threads() or any(info.get("threading_layer") == "openmp" for info in threadpool_info()):
        pytest.skip("the number of BLAS threads does not belong to the process here")
    limits = []
    aside(lambda: limits.append(threadpool_limits(3, "blas")))
    assert blas_threads() == {3}
    yield
    aside(limits[0].restore_original_limits)


def clip(seed):
    return np.random.default_rng(seed).normal(0, 0.1, RATE)


class Meeting(FakeEmbedder):
    """All threads are in the middle of their call before one of them ends."""

    def __init__(self, n):
        super().__init__()
        object.__setattr__(self, "gate", threading.Barrier(n))
        object.__setattr__(self, "seen", [])

    def embed_windows(self, windows):
        self.gate.wait(30)
        self.seen.append(blas_threads())
        self.gate.wait(30)
        return super().embed_windows(windows)


@pytest.mark.parametrize("n", [2, 8])
def test_blas_threads_are_restored_after_predict_from_many_threads(three, n):
    fitted = ClipClassifier("fake", sample_rate=RATE, cache=None, n_jobs=1)
    fitted.fit([clip(i) for i in range(4)], ["a", "b"] * 2)
    fitted.embedder_ = Meeting(n)
    threads = [threading.Thread(target=fitted.predict, args=([clip(i)],)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert fitted.embedder_.seen == [{1}] * n
    assert blas_threads() == {3}


def embedding(seed):
    """Yield in the middle of a call."""
    results = Run(FakeEmbedder(), 0.5, True, 1).embed([(i, Samples(clip(seed + i), RATE)) for i in range(2)])
    try:
        yield next(results)
    finally:
        results.close()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_blas_has_one_thread_until_the_last_of_two_calls_ends(three, order):
    calls = [embedding(0), embedding(2)]
    for call in calls:
        next(call)
    assert blas_threads() == {1}
    calls[order[0]].close()
    assert blas_threads() == {1}
    calls[order[1]].close()
    assert blas_threads() == {3}


def test_a_call_that_ends_in_another_thread_restores_the_number(three):
    """As where a generator is closed by another thread, while the one that began it lives on."""
    call = embedding(0)
    next(call)
    assert blas_threads() == {1}
    aside(call.close)
    assert blas_threads() == {3}
