"""Jobs on the workers of joblib's backend: processes here or, as those of a Dask cluster, on other machines.

Rule: nothing leaves this process unless the caller has chosen such a backend (``with joblib.parallel_config("dask")``).
A worker that dies costs no more than the jobs that were with it: each of them is tried once more, on its own.
"""

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import joblib
from joblib.parallel import get_active_backend

from l3clf.errors import L3clfError

__all__ = ["Lost", "n_workers", "on_worker", "on_workers"]

MIN_UNDER_WAY = 16  # calls: what shows a cluster that adapts to them that it is too small

T = TypeVar("T")


@dataclass(frozen=True)
class Lost:
    """In place of the result of a job that lost its worker twice.

    Attributes
    ----------
    reason : str
    """

    reason: str


def on_worker() -> bool:
    """Return whether this thread runs a task of a Dask worker, which has a share of the machine only."""
    distributed = sys.modules.get("distributed")
    if distributed is None:  # then nobody has started a worker here
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def n_workers(n_jobs: int | None) -> int:
    """Return how many jobs the workers that the caller has chosen can do at once; 0 if there are none but threads.

    Raises
    ------
    L3clfError
        If a cluster has no workers, or is gone.
    """
    backend, _ = get_active_backend(prefer="threads")
    # On a worker the cluster is busy with tasks like this one: to wait there for others would idle it.
    if getattr(backend, "supports_sharedmem", False) or not backend.supports_return_generator or on_worker():
        return 0
    client = getattr(backend, "client", None)
    if client is not None and client.status in ("closing", "closed"):
        raise _gone("its client is closed")
    try:
        return int(backend.effective_n_jobs(_asked(n_jobs)))
    except TimeoutError:
        raise L3clfError("joblib's backend: its cluster has no worker; start workers and try again") from None
    except OSError as error:  # of Dask: nobody answers
        raise _gone(error) from error


def _asked(n_jobs: int | None) -> int:
    return n_jobs or get_active_backend(prefer="threads")[1] or -1


def on_workers(
    function: Callable[..., T], job: Callable[[int], tuple[Any, ...]], n: int, n_jobs: int | None
) -> Generator[tuple[int, T | Lost], None, None]:
    """Call a function on the workers, and yield the number and the result of each call as it finishes.

    Parameters
    ----------
    function : callable
        Of a module, so that it can be pickled by its name.
    job : callable
        Returns the arguments of a call, given its number; called in any thread, a little in advance.
    n : int
        Number of calls.
    n_jobs : int or None
        For backends that take a number of workers; None means that of the backend, or one for each core.

    Yields
    ------
    int
        Number of a call.
    object
        What it returned, or `Lost`.
    """
    backend, _ = get_active_backend(prefer="threads")
    client = getattr(backend, "client", None)
    # Not by `joblib.Parallel`: its generators wait for ever for a task of Dask whose worker died (joblib 1.6).
    how = _by_joblib(n_jobs) if client is None else _by_dask(client, backend.submit_kwargs)
    lost: list[int] = []
    with closing(how(function, job, range(n))) as results:
        for number, result in results:
            if isinstance(result, Lost):
                lost.append(number)
            else:
                yield number, result
    for number in lost:  # alone: what killed a worker may have been another call that it had
        yield from how(function, job, [number])


Calls: TypeAlias = Callable[
    [Callable[..., Any], Callable[[int], tuple[Any, ...]], Sequence[int]], Generator[tuple[int, Any], None, None]
]
"""From a function, the arguments of its calls, and the numbers of those to make, to their numbers and results."""


def _by_dask(client: Any, options: Mapping[str, Any]) -> Calls:
    def call(
        function: Callable[..., Any], job: Callable[[int], tuple[Any, ...]], numbers: Sequence[int]
    ) -> Generator[tuple[int, Any], None, None]:
        from distributed import as_completed

        waiting, under_way = iter(numbers), {}
        finished = as_completed(with_results=True, raise_errors=False, loop=client.loop)

        def add(n: int) -> None:
            for number in islice(waiting, n):
                future = client.submit(function, *job(number), pure=False, **options)
                under_way[future] = number
                finished.add(future)

        try:
            add(max(MIN_UNDER_WAY, 2 * sum(client.ncores().values())))
            for future, result in finished:
                add(1)
                number = under_way.pop(future)
                if future.status == "finished":
                    yield number, result
                elif future.status == "error" and not _is_loss(result[1]):
                    raise result[1]
                elif client.status != "running":
                    raise _gone(future.status)
                else:
                    yield number, Lost("KilledWorker" if future.status == "error" else future.status)
        except OSError as error:
            raise error if client.status == "running" else _gone(error) from error
        finally:
            if client.status == "running":
                client.cancel(list(under_way))

    return call


def _gone(reason: object) -> L3clfError:
    return L3clfError(f"joblib's backend: its cluster is gone ({reason}); start it and a client anew, and try again")


def _by_joblib(n_jobs: int | None) -> Calls:
    def call(
        function: Callable[..., Any], job: Callable[[int], tuple[Any, ...]], numbers: Sequence[int]
    ) -> Generator[tuple[int, Any], None, None]:
        def calls(numbers: Sequence[int], handed_out: list[int]) -> Iterator[Any]:
            for number in numbers:
                handed_out.append(number)
                yield joblib.delayed(_numbered)(function, number, job(number))

        left = dict.fromkeys(numbers)  # in order, without those that have been yielded
        while left:
            handed_out: list[int] = []
            # Batches of our own: joblib's would grow, and a worker that dies would cost more.
            workers = joblib.Parallel(n_jobs=_asked(n_jobs), batch_size=1, return_as="generator_unordered")
            try:
                with closing(workers(calls([*left], handed_out))) as results:
                    for number, result in results:
                        del left[number]
                        yield number, result
            except BrokenExecutor as error:
                for number in [number for number in handed_out if number in left]:
                    del left[number]
                    yield number, Lost(type(error).__name__)

    return call


def _numbered(function: Callable[..., T], number: int, arguments: tuple[Any, ...]) -> tuple[int, T]:
    return number, function(*arguments)


def _is_loss(error: BaseException) -> bool:
    """Return whether Dask says that a task was given up because its workers died."""
    return type(error).__name__ == "KilledWorker"
