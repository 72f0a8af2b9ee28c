"""Threads: how many, jobs that run on them, and those of BLAS, the library that multiplies matrices for NumPy.

Rule: our threads use every core, so BLAS computes with one meanwhile. The number of BLAS threads belongs to the whole
process: whoever limits it alone restores what another thread has set in the meantime. So all that want one thread are
counted, the first sets the limit and the last restores the number.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import TypeVar

import joblib
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from l3clf.errors import ParameterError
from l3clf.networks.workers import on_worker

__all__ = ["in_parallel", "n_threads", "one_blas_thread"]

T = TypeVar("T")
_lock = threading.RLock()  # re-entrant for the handlers of signals
_n_users = 0
_limits: threadpool_limits | None = None

if hasattr(os, "register_at_fork"):  # a child would find the lock held for ever
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def n_threads(n_jobs: int | None) -> int:
    """Return how many threads `n_jobs` means: None or -1 is one for each core this process may use.

    On a Dask worker, which has tasks like this one for its other threads, None is one.

    Raises
    ------
    ParameterError
        If `n_jobs` is not None, -1 or a positive integer.
    """
    if n_jobs is None and on_worker():
        return 1
    if n_jobs is None or n_jobs == -1:
        return int(joblib.cpu_count())
    if not isinstance(n_jobs, int | np.integer) or isinstance(n_jobs, bool) or n_jobs < 1:
        raise ParameterError(f"n_jobs={n_jobs!r}; expected a number of threads >= 1, or -1 or None for all cores")
    return int(n_jobs)


def in_parallel(jobs: Iterator[Callable[[], T]], threads: int, *, wait_when_left: bool = True) -> Iterator[T]:
    """Run jobs on threads and yield their results as they finish; `jobs` is read only a little in advance.

    Parameters
    ----------
    jobs : iterator of callables
    threads : int
    wait_when_left : bool, default=True
        Whether to wait for running jobs when the caller leaves early (Ctrl-C, or a job that failed). If not, the
        interpreter waits for them when it exits: threads that outlive it crash it, as joblib's do.

    Yields
    ------
    object
        The return value of one job.
    """
    pool = ThreadPoolExecutor(threads)
    running: set[Future[T]] = set()
    try:
        # Two jobs per thread: no thread waits for work, and few windows are in memory.
        while running := running | {pool.submit(job) for job in islice(jobs, 2 * threads - len(running))}:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            # Results first: the first failed job raises here and ends the run.
            for future in sorted(done, key=lambda future: future.exception() is not None):
                yield future.result()
    finally:
        pool.shutdown(wait_when_left, cancel_futures=True)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Compute with one BLAS thread, because threads of ours already use every core; may overlap with other calls."""
    # A BLAS on OpenMP takes the number of the thread that calls it, which no other thread restores.
    with threadpool_limits(1, "openmp") if _blas_uses_openmp() else nullcontext():
        _enter()
        try:
            yield
        finally:
            _leave()


def _blas_uses_openmp() -> bool:
    return any(info["user_api"] == "blas" and info.get("threading_layer") == "openmp" for info in threadpool_info())


def _enter() -> None:
    global _n_users, _limits
    with _lock:
        if _n_users == 0:
            _limits = _aside(lambda: threadpool_limits(1, "blas"))
        _n_users += 1


def _leave() -> None:
    global _n_users, _limits
    with _lock:
        _n_users -= 1
        if _n_users == 0 and _limits is not None:
            _aside(_limits.restore_original_limits)
            _limits = None


def _aside(work: Callable[[], T]) -> T | None:
    """Run something in a thread that ends with it.

    From version 3.8, threadpoolctl ignores all threads but the first that sets a number, for as long as it lives. The
    last of our calls may end in another thread than the one in which the first began.
    """
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(work()), name="l3clf-blas")
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        return work()
    thread.join()
    return results[0] if results else None
