"""Clips in, window embeddings out: looked up in the cache, or embedded in parallel and kept as they come.

Rule: a clip that fails hurts nobody else, and what was computed is stored before anything else can
go wrong. Threads do the work, each with a network of one thread: decoding, the front-end and the
network all release the interpreter's lock, so that every core does useful work all the time.
"""

import os
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import joblib
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from l3clf.audio.clip import Clip, FloatArray, Samples, Source
from l3clf.audio.framing import level_dbfs
from l3clf.embedders.base import Embedder, WindowEmbeddings
from l3clf.errors import L3clfError, ParameterError
from l3clf.storage.embedding_cache import CacheKey, EmbeddingCache, StoredWindows, array_digest, cache_key, file_digest

__all__ = ["Outcome", "content_ids", "embed_sources", "in_parallel", "n_threads", "save_embeddings"]

Outcome: TypeAlias = WindowEmbeddings | L3clfError
"""What became of one clip."""

CLIPS_AT_ONCE = 4
STORE_EVERY_S = 0.5
LARGE_FILE_BYTES = 4_000_000  # a file worth the trouble of sharing it between cores
Batch: TypeAlias = tuple[FloatArray, FloatArray]  # vectors and levels of some windows


def n_threads(n_jobs: int | None) -> int:
    """Return how many threads `n_jobs` means: None or -1 is one for each core this process may use.

    Raises
    ------
    ParameterError
        If it is neither None, -1 nor at least 1.
    """
    if n_jobs is None or n_jobs == -1:
        return int(joblib.cpu_count())
    if not isinstance(n_jobs, int | np.integer) or isinstance(n_jobs, bool) or n_jobs < 1:
        raise ParameterError(f"n_jobs={n_jobs!r}; expected a number of threads >= 1, or -1 or None for all cores")
    return int(n_jobs)


def content_ids(sources: Sequence[Source], cache: EmbeddingCache | None = None) -> list[bytes | L3clfError]:
    """Return a digest of each clip's content: of the file's bytes, or of the samples.

    Parameters
    ----------
    sources : sequence of Clip or Samples
    cache : EmbeddingCache or None
        Knows the digests of unchanged files without reading them.

    Returns
    -------
    list of bytes or L3clfError
        The error, where a file cannot be read.
    """
    paths = sorted({source.path for source in sources if isinstance(source, Clip)})
    found = cache.content_ids(paths) if cache is not None else [_digest_or_error(path) for path in paths]
    by_path = dict(zip(paths, found, strict=True))
    return [
        by_path[source.path] if isinstance(source, Clip) else array_digest(source.samples, source.sample_rate)
        for source in sources
    ]


def _digest_or_error(path: str) -> bytes | L3clfError:
    try:
        return file_digest(path)
    except L3clfError as error:
        return error


def embed_sources(
    embedder: Embedder,
    sources: Sequence[Source],
    *,
    hop_s: float = 0.5,
    center: bool = True,
    cache: EmbeddingCache | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> list[Outcome]:
    """Embed clips, through the cache where there is one.

    Parameters
    ----------
    embedder : Embedder
    sources : sequence of Clip or Samples
    hop_s, center
        See `Embedder.embed`.
    cache : EmbeddingCache or None
    n_jobs : int or None
        Threads; None means one for each core.
    progress : bool
        Whether to show a progress bar on standard error.

    Returns
    -------
    list of WindowEmbeddings or L3clfError
        For each clip its windows, or why there are none.

    Raises
    ------
    WeightsError
        If the embedder's weights cannot be had: no clip can be embedded then.
    """
    threads = n_threads(n_jobs)
    framing = embedder.framing(hop_s, center)  # a wrong hop is said before any file is read
    _ = embedder.fingerprint  # so are missing weights
    work = _Work(sources)
    if cache is not None:
        work.look_up(cache, embedder, hop_s, center)
    run = _Run(embedder, hop_s, center, threads)
    with tqdm(total=len(sources), initial=work.n_done, unit="clip", disable=None if progress else True) as bar:
        store = _Store(cache, embedder)
        try:
            while to_do := work.to_do():
                with closing(run.embed([(i, sources[i]) for i in to_do])) as results:
                    for i, outcome in results:
                        bar.update(work.settle(i, outcome))
                        store.add(work.key_to_store(i), outcome)
        finally:  # also when interrupted: nothing that was computed is lost
            store.flush()
    return [
        WindowEmbeddings(out.vectors, framing.times_s(len(out)), out.levels_dbfs)
        if isinstance(out, WindowEmbeddings)
        else out
        for out in work.outcomes()
    ]


def save_embeddings(path: str | os.PathLike[str], names: Sequence[str], outcomes: Sequence[Outcome]) -> int:
    """Write the windows of clips to an .npz; clips that failed are left out.

    Parameters
    ----------
    path : path
        The file to write. It is written beside and moved there when it is complete.
    names : sequence of str
        What each clip is called.
    outcomes : sequence of WindowEmbeddings or L3clfError

    Returns
    -------
    int
        The number of windows written.

    Notes
    -----
    The arrays: ``paths`` (n_clips,), and for each window ``clip`` (index into ``paths``), ``vectors``,
    ``times_s`` (start and end) and ``levels_dbfs``.
    """
    good = [(name, out) for name, out in zip(names, outcomes, strict=True) if isinstance(out, WindowEmbeddings)]
    windows = [out for _, out in good]
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            np.savez(
                file,
                paths=np.array([name for name, _ in good], dtype=np.str_),
                clip=np.repeat(np.arange(len(good)), [len(out) for out in windows]),
                vectors=np.concatenate([out.vectors for out in windows]) if windows else np.zeros((0, 0), np.float32),
                times_s=np.concatenate([np.zeros((0, 2)), *(out.times_s for out in windows)]),
                levels_dbfs=np.concatenate([np.zeros(0, np.float32), *(out.levels_dbfs for out in windows)]),
            )
        temporary.replace(target)
    except OSError as error:
        raise ParameterError(f"{target}: cannot be written ({error.strerror or error}); name another file") from None
    finally:
        temporary.unlink(missing_ok=True)
    return sum(len(out) for out in windows)


class _Work:
    """Which clips are done, and which are the same clip under another name."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.done: dict[int, Outcome] = {}
        self.keys: dict[int, CacheKey] = {}
        self.same: dict[int, list[int]] = {i: [i] for i in range(len(sources))}
        self.stats: dict[int, tuple[int, ...] | None] = {}

    @property
    def n_done(self) -> int:
        return sum(len(self.same[i]) for i in self.done)

    def look_up(self, cache: EmbeddingCache, embedder: Embedder, hop_s: float, center: bool) -> None:
        self.stats = {i: _file_state(source) for i, source in enumerate(self.sources)}
        self.same = {}
        first: dict[CacheKey, int] = {}
        for i, content in enumerate(content_ids(self.sources, cache)):
            if isinstance(content, L3clfError):
                self.done[i], self.same[i] = content, [i]
                continue
            start_s, end_s = _piece(self.sources[i])
            key = cache_key(content, start_s, end_s, embedder.fingerprint, hop_s, center)
            leader = first.setdefault(key, i)
            self.keys[leader] = key
            self.same.setdefault(leader, []).append(i)
        for key, stored in cache.get_many(list(first)).items():
            if np.isfinite(stored.vectors).all():  # an earlier version kept what is refused now
                self.done[first[key]] = _unstored(stored)

    def to_do(self) -> list[int]:
        return [i for i in self.same if i not in self.done]

    def settle(self, i: int, outcome: Outcome) -> int:
        """Note what became of a clip; return how many clips that finishes.

        Where it failed, or its file changed meanwhile, clips of the same content are embedded themselves.
        """
        self.done[i] = outcome
        if isinstance(outcome, L3clfError) or self._has_changed(i):
            for other in self.same[i][1:]:
                self.same[other], self.keys[other] = [other], self.keys[i]
            self.same[i] = [i]
        return len(self.same[i])

    def key_to_store(self, i: int) -> CacheKey | None:
        """Return the key, unless the file changed while it was being read."""
        return None if self._has_changed(i) else self.keys.get(i)

    def _has_changed(self, i: int) -> bool:
        return i in self.stats and _file_state(self.sources[i]) != self.stats[i]

    def outcomes(self) -> Iterator[Outcome]:
        by_index = {i: self.done[leader] for leader, same in self.same.items() for i in same}
        return (by_index[i] for i in range(len(self.sources)))


def _piece(source: Source) -> tuple[float, float | None]:
    return (source.start_s, source.end_s) if isinstance(source, Clip) else (0.0, None)


def _file_state(source: Source) -> tuple[int, ...] | None:
    if isinstance(source, Samples):
        return None
    try:
        stat = os.stat(source.path)  # noqa: PTH116  # three times as fast as Path.stat, for every clip of a set
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _unstored(stored: StoredWindows) -> WindowEmbeddings:
    return WindowEmbeddings(stored.vectors, np.zeros((len(stored.vectors), 2)), stored.levels_dbfs)


@dataclass
class _Store:
    """Collects what was computed and writes it every few seconds: a transaction for each clip is slow."""

    cache: EmbeddingCache | None
    embedder: Embedder
    pending: dict[CacheKey, StoredWindows] = field(default_factory=dict)
    last_s: float = field(default_factory=time.monotonic)

    def add(self, key: CacheKey | None, outcome: Outcome) -> None:
        if self.cache is None or key is None or isinstance(outcome, L3clfError):
            return
        self.pending[key] = StoredWindows(outcome.vectors, outcome.levels_dbfs)
        if time.monotonic() - self.last_s > STORE_EVERY_S:
            self.flush()

    def flush(self) -> None:
        if self.cache is not None and self.pending:
            self.cache.put_many(self.pending, fingerprint=self.embedder.fingerprint, embedder=self.embedder.name)
            self.pending = {}
        self.last_s = time.monotonic()


T = TypeVar("T")
Job: TypeAlias = Callable[[], list[tuple[int, int, Batch | L3clfError | None]]]
"""Returns (clip, part number, what was computed); None in place of a batch says how many parts there are."""


def in_parallel(jobs: Iterator[Callable[[], T]], threads: int, *, wait_when_left: bool = True) -> Iterator[T]:
    """Run jobs on threads and yield their results as they come; few are taken from `jobs` in advance.

    Parameters
    ----------
    jobs : iterator of callables
    threads : int
    wait_when_left : bool, default=True
        Whether the jobs that run are waited for when this is left early (Ctrl-C, or one that failed). If not, the
        interpreter waits for them at its end: threads that outlive it crash it, and joblib's do.

    Yields
    ------
    object
        What a job returned.
    """
    pool = ThreadPoolExecutor(threads)
    running: set[Future[T]] = set()
    try:
        while running := running | {pool.submit(job) for job in islice(jobs, 2 * threads - len(running))}:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=_has_failed):  # what was computed comes before what stops the run
                yield future.result()
    finally:
        pool.shutdown(wait_when_left, cancel_futures=True)


def _has_failed(future: Future[Any]) -> bool:
    return future.exception() is not None


@dataclass
class _Run:
    """Embeds clips on several threads.

    Small clips are handed out a few at a time, read and embedded by the same thread. A large file is
    read by whoever asks for work next and its windows are handed out, so that one file keeps every
    core busy and never has to fit in memory.
    """

    embedder: Embedder
    hop_s: float
    center: bool
    threads: int

    def embed(self, clips: Sequence[tuple[int, Source]]) -> Generator[tuple[int, Outcome], None, None]:
        """Yield (index, outcome) as clips are finished, in any order."""
        if not clips:
            return
        parts: dict[int, _Parts] = {i: _Parts(str(source)) for i, source in clips}
        with threadpool_limits(1, "blas"):  # the threads are ours already
            for result in in_parallel(self._jobs(clips), self.threads):
                for i, number, found in result:
                    if i in parts and parts[i].add(number, found):
                        yield i, parts.pop(i).outcome(self)

    def _jobs(self, clips: Sequence[tuple[int, Source]]) -> Iterator[Job]:
        large = [clip for clip in clips if self.threads > 1 and _is_large(clip[1])]
        names = {i for i, _ in large}
        for i, source in large:
            yield from self._large_file_jobs(i, source)
        small = iter([clip for clip in clips if clip[0] not in names])
        while group := list(islice(small, CLIPS_AT_ONCE)):
            yield lambda group=group: self._embed_group(group)  # type: ignore[misc]

    def _large_file_jobs(self, i: int, source: Source) -> Iterator[Job]:
        n = 0
        try:
            for windows in self.embedder.read_windows(source, self.hop_s, self.center):
                yield lambda windows=windows, n=n: [(i, n, self._embed_windows(windows))]  # type: ignore[misc]
                n += 1
        except L3clfError as error:
            yield lambda error=error: [(i, n, error)]  # type: ignore[misc]
            return
        yield lambda: [(i, n, None)]

    def _embed_group(self, group: Iterable[tuple[int, Source]]) -> list[tuple[int, int, Batch | L3clfError | None]]:
        """Read some clips and embed their windows together."""
        results: list[tuple[int, int, Batch | L3clfError | None]] = []
        waiting: list[tuple[int, int, FloatArray]] = []
        for i, source in group:
            n = 0
            try:
                for windows in self.embedder.read_windows(source, self.hop_s, self.center):
                    waiting.append((i, n, windows))
                    n += 1
                    if sum(len(w) for _, _, w in waiting) >= self.embedder.batch_windows:
                        results += self._embed_together(waiting)
                        waiting = []
                results.append((i, n, None))
            except L3clfError as error:
                results.append((i, n, error))
        return results + self._embed_together(waiting)

    def _embed_together(
        self, waiting: list[tuple[int, int, FloatArray]]
    ) -> list[tuple[int, int, Batch | L3clfError | None]]:
        if not waiting:
            return []
        vectors, levels = self._embed_windows(np.concatenate([windows for _, _, windows in waiting]))
        ends = np.cumsum([len(windows) for _, _, windows in waiting])[:-1]
        split = zip(waiting, np.split(vectors, ends), np.split(levels, ends), strict=True)
        return [(i, n, (v, level)) for (i, n, _), v, level in split]

    def _embed_windows(self, windows: FloatArray) -> Batch:
        most = self.embedder.batch_windows
        vectors = [self.embedder.embed_windows(windows[k : k + most]) for k in range(0, len(windows), most)]
        return np.concatenate(vectors), level_dbfs(windows)


class _Parts:
    """The parts of one clip, which may arrive in any order."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.batches: dict[int, Batch] = {}
        self.expected: int | None = None
        self.error: L3clfError | None = None

    def add(self, number: int, found: Batch | L3clfError | None) -> bool:
        """Take one part; return whether the clip is finished."""
        if isinstance(found, L3clfError):
            self.error = found
        elif found is None:
            self.expected = number
        else:
            self.batches[number] = found
        return self.error is not None or len(self.batches) == self.expected

    def outcome(self, run: _Run) -> Outcome:
        if self.error is not None:
            return self.error
        batches = [self.batches[n] for n in range(len(self.batches))]
        try:
            return run.embedder.assemble(batches, run.hop_s, run.center, self.label)
        except L3clfError as error:
            return error


def _is_large(source: Source) -> bool:
    if isinstance(source, Samples):
        return bool(source.samples.nbytes > LARGE_FILE_BYTES)
    state: Any = _file_state(source)
    return state is not None and state[0] > LARGE_FILE_BYTES
