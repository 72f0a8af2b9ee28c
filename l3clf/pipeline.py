"""Clips in, window embeddings out: read from the cache, or embedded in parallel and stored as they finish.

Rule: a clip that fails does not affect other clips, and what was computed is stored before anything else can go
wrong. Threads do the work, each running a single-threaded network: decoding, the front-end and the network all
release the interpreter's lock, so every core stays busy.
"""

import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeAlias

import numpy as np
from tqdm import tqdm

from l3clf.audio.clip import Clip, FloatArray, Samples, Source, full_scale_of
from l3clf.audio.decode import check_header, check_mix, decode_revision, mono
from l3clf.audio.levels import LevelNote, check_levels, collecting, warn_of
from l3clf.embedders.base import Embedder, WindowEmbeddings
from l3clf.embedders.clip_parts import Part, UnembeddedPart, UnfinishedClip
from l3clf.errors import AudioError, CacheError, CacheWarning, L3clfError
from l3clf.networks.threads import in_parallel, n_threads, one_blas_thread
from l3clf.storage.atomic import FileState, file_state, replacing
from l3clf.storage.embedding_cache import (
    CacheKey,
    EmbeddingCache,
    FileIdentity,
    RefusedError,
    StoredWindows,
    array_digest,
    cache_key,
    file_identity,
)
from l3clf.storage.outputs import Kind, check_kind, zip_member_begins

__all__ = [
    "EMBEDDINGS",
    "Outcome",
    "Tally",
    "content_ids",
    "embed_sources",
    "identities",
    "in_parallel",
    "n_threads",
    "save_embeddings",
]

Outcome: TypeAlias = WindowEmbeddings | L3clfError
"""The windows of one clip, or the error that explains why it has none."""

EMBEDDINGS = Kind("a file of embeddings", zip_member_begins("times_s.npy", b"NUMPY"))

CLIPS_AT_ONCE = 4  # several short clips fill a batch; few, so that all threads stay busy to the end
FAINT_DBFS = -60.0  # of a clip from the cache: few are below it, so that these can be read again for their channels
STORE_EVERY_S = 0.5  # a transaction per clip is slow; a crash loses about this much work
LARGE_FILE_BYTES = 4_000_000  # below this, sharing one file between cores costs more than it saves


@dataclass
class Tally:
    """How many clips `embed_sources` embedded, took from the cache, and could not read.

    Attributes
    ----------
    embedded, cached, failed : int
        Their sum is the number of clips; copies of a clip count with it.
    computed : int
        Of those embedded, the ones that are no copies.
    """

    embedded: int = 0
    cached: int = 0
    failed: int = 0
    computed: int = 0


def content_ids(sources: Sequence[Source], cache: EmbeddingCache | None = None) -> list[bytes | L3clfError]:
    """Return a digest of each clip's content: of the file's bytes, or of the samples.

    Parameters
    ----------
    sources : sequence of Clip or Samples
    cache : EmbeddingCache or None
        Supplies the digests of unchanged files, so that they are not read again.

    Returns
    -------
    list of bytes or L3clfError
        An error for each file that cannot be read.
    """
    return [found if isinstance(found, L3clfError) else found.content for found in identities(sources, cache)]


def identities(sources: Sequence[Source], cache: EmbeddingCache | None = None) -> list[FileIdentity | L3clfError]:
    """Return a digest of each clip's content and how it is decoded; see `content_ids`."""
    # A file is hashed once, however many clips it has.
    paths = sorted({source.path for source in sources if isinstance(source, Clip)})
    found = cache.identify(paths) if cache is not None else [_identity_or_error(path) for path in paths]
    by_path = dict(zip(paths, found, strict=True))
    return [
        by_path[source.path]
        if isinstance(source, Clip)
        else FileIdentity(array_digest(source.samples, source.sample_rate), "")
        for source in sources
    ]


def _identity_or_error(path: str) -> FileIdentity | L3clfError:
    try:
        return file_identity(path)
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
    tally: Tally | None = None,
) -> list[Outcome]:
    """Embed clips, using the cache if there is one; one that cannot be used is done without, with a `CacheWarning`.

    Parameters
    ----------
    embedder : Embedder
    sources : sequence of Clip or Samples
    hop_s, center
        See `Embedder.embed`.
    cache : EmbeddingCache or None
    n_jobs : int or None
        Number of threads; None means one for each core.
    progress : bool
        Whether to show a progress bar on standard error.
    tally : Tally or None
        Counts, which are filled in.

    Returns
    -------
    list of WindowEmbeddings or L3clfError
        For each clip its windows, or the error that explains why there are none.

    Raises
    ------
    ParameterError
        If `n_jobs` is not a number of threads, or `hop_s` does not suit the embedder.
    WeightsError
        If the embedder's weights are not available: no clip can be embedded then.

    Warns
    -----
    LevelWarning
        Once for all clips whose samples cannot have the full scale that they are read with, and once for those whose
        channels cancel each other in the mix to mono.
    """
    threads = n_threads(n_jobs)
    embedder.framing(hop_s, center)  # reports a bad hop before any file is read
    _ = embedder.fingerprint  # reports missing weights before any file is read
    work = _Work(sources)
    if cache is not None:
        try:
            work.look_up(cache, embedder, hop_s, center)
        except RefusedError:  # another file than the one that was meant
            raise
        except CacheError as error:
            _warn_of_unused_cache(error)
            cache = None
    known = set(work.done)
    run = _Run(embedder, hop_s, center, threads, work.level_notes())
    with tqdm(
        total=len(sources), initial=work.n_done, unit="clip", disable=None if progress else True
    ) as bar:  # None: on a terminal only
        store = _Store(cache, embedder)
        try:
            while to_do := work.to_do():
                with closing(run.embed([(i, sources[i]) for i in to_do])) as results:
                    for i, result in results:
                        bar.update(work.settle(i, result))
                        store.add(work.key_to_store(i), result)
        finally:  # also after an interrupt, so that no finished clip is lost
            store.flush()
    warn_of(work.for_each_clip(run.notes), len(sources))
    if tally is not None:
        work.count(tally, known)
    return [
        embedder.with_times(found, hop_s, center) if isinstance(found, StoredWindows) else found
        for found in work.results()
    ]


def _warn_of_unused_cache(error: CacheError) -> None:
    warnings.warn(f"{error}; this run goes on without storing what it computes", CacheWarning, stacklevel=3)


def save_embeddings(
    path: str | os.PathLike[str], names: Sequence[str], outcomes: Sequence[Outcome], *, force: bool = False
) -> int:
    """Write the windows of clips to an .npz; clips that failed are left out.

    Parameters
    ----------
    path : path
        The file to write; it appears only once it is complete.
    names : sequence of str
        Name of each clip.
    outcomes : sequence of WindowEmbeddings or L3clfError
    force : bool, default=False
        Whether to replace an existing file that is not such an .npz.

    Returns
    -------
    int
        The number of windows written.

    Notes
    -----
    The arrays are ``paths`` (n_clips,) and, for each window, ``clip`` (index into ``paths``), ``vectors``,
    ``times_s`` (start and end) and ``levels_dbfs``.
    """
    good = [(name, out) for name, out in zip(names, outcomes, strict=True) if isinstance(out, WindowEmbeddings)]
    windows = [out for _, out in good]
    with replacing(check_kind(path, EMBEDDINGS, force=force)) as file:
        np.savez(
            file,
            paths=np.array([name for name, _ in good], dtype=np.str_),
            clip=np.repeat(np.arange(len(good)), [len(out) for out in windows]),
            vectors=np.concatenate([out.vectors for out in windows]) if windows else np.zeros((0, 0), np.float32),
            times_s=np.concatenate([np.zeros((0, 2)), *(out.times_s for out in windows)]),
            levels_dbfs=np.concatenate([np.zeros(0, np.float32), *(out.levels_dbfs for out in windows)]),
        )
    return sum(len(out) for out in windows)


class _Work:
    """Which clips are done, and which have the same content and are embedded only once."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.done: dict[int, StoredWindows | L3clfError] = {}
        self.keys: dict[int, CacheKey] = {}
        self.same: dict[int, list[int]] = {i: [i] for i in range(len(sources))}
        self.states: dict[int, FileState | None] = {}
        self.decoders: dict[int, str] = {}

    @property
    def n_done(self) -> int:
        return sum(len(self.same[i]) for i in self.done)

    def look_up(self, cache: EmbeddingCache, embedder: Embedder, hop_s: float, center: bool) -> None:
        self.states = {i: _state_of(source) for i, source in enumerate(self.sources)}
        self.same = {}
        first: dict[CacheKey, int] = {}
        found = identities(self.sources, cache)
        revisions = {each.decoder: decode_revision(each.decoder) for each in found if isinstance(each, FileIdentity)}
        for i, identity in enumerate(found):
            if isinstance(identity, L3clfError):
                self.done[i], self.same[i] = identity, [i]
                continue
            self.decoders[i] = identity.decoder
            source = self.sources[i]
            start_s, end_s = (source.start_s, source.end_s) if isinstance(source, Clip) else (0.0, None)
            revision = revisions[identity.decoder]
            scale = full_scale_of(source)
            key = cache_key(identity.content, start_s, end_s, embedder.fingerprint, hop_s, center, revision, scale)
            leader = first.setdefault(key, i)  # embedded once; its copies share the result
            self.keys[leader] = key
            self.same.setdefault(leader, []).append(i)
        for key, stored in cache.get_many(list(first)).items():
            if np.isfinite(stored.vectors).all():  # earlier versions stored non-finite embeddings, now rejected
                self.done[first[key]] = stored

    def level_notes(self) -> dict[int, list[LevelNote]]:
        """Return what is doubtful about the levels and headers of the clips that come from the cache."""
        notes: dict[int, list[LevelNote]] = {}
        for i, stored in self.done.items():
            source = self.sources[i]
            if isinstance(stored, L3clfError):
                continue
            with collecting(notes.setdefault(i, [])):
                if isinstance(source, Samples):
                    mono(source.samples, source.label, source.full_scale)
                else:
                    check_levels(stored.levels_dbfs, str(source), full_scale_of(source))
                    with suppress(AudioError):  # it was good when it was embedded
                        check_header(source, self.decoders[i])
                        if stored.levels_dbfs.max(initial=-np.inf) < FAINT_DBFS:
                            check_mix(source)
        return notes

    def for_each_clip(self, notes: Mapping[int, Sequence[LevelNote]]) -> Iterator[LevelNote]:
        """Yield the notes in the order of the clips, and those of a clip again for each of its copies."""
        return (note for i in sorted(notes) for note in notes[i] for _ in self.same.get(i, ()))

    def to_do(self) -> list[int]:
        return [i for i in self.same if i not in self.done]

    def settle(self, i: int, result: StoredWindows | L3clfError) -> int:
        """Record the result of a clip; return how many clips that finishes.

        If it failed, or its file changed while it was read, the clips that shared it are embedded on their own.
        """
        self.done[i] = result
        if isinstance(result, L3clfError) or self._has_changed(i):
            for other in self.same[i][1:]:
                self.same[other], self.keys[other] = [other], self.keys[i]
            self.same[i] = [i]
        return len(self.same[i])

    def key_to_store(self, i: int) -> CacheKey | None:
        # A file that changed while it was read has embeddings that may belong to neither content.
        return None if self._has_changed(i) else self.keys.get(i)

    def _has_changed(self, i: int) -> bool:
        return i in self.states and _state_of(self.sources[i]) != self.states[i]

    def count(self, tally: Tally, known: set[int]) -> None:
        """Fill in a tally; `known` are the clips that were done before any was embedded."""
        for i, found in self.done.items():
            if isinstance(found, L3clfError):
                tally.failed += len(self.same[i])
            elif i in known:
                tally.cached += len(self.same[i])
            else:
                tally.embedded += len(self.same[i])
                tally.computed += 1

    def results(self) -> Iterator[StoredWindows | L3clfError]:
        by_index = {i: self.done[leader] for leader, same in self.same.items() for i in same}
        return (by_index[i] for i in range(len(self.sources)))


def _state_of(source: Source) -> FileState | None:
    if isinstance(source, Samples):
        return None
    try:
        return file_state(source.path)
    except (OSError, ValueError):
        return None


@dataclass
class _Store:
    """Collects finished clips and writes them to the cache, many in one transaction."""

    cache: EmbeddingCache | None
    embedder: Embedder
    pending: dict[CacheKey, StoredWindows] = field(default_factory=dict)
    last_s: float = field(default_factory=time.monotonic)

    def add(self, key: CacheKey | None, result: StoredWindows | L3clfError) -> None:
        if self.cache is None or key is None or isinstance(result, L3clfError):
            return
        self.pending[key] = result
        if time.monotonic() - self.last_s > STORE_EVERY_S:
            self.flush()

    def flush(self) -> None:
        if self.cache is not None and self.pending:
            try:
                self.cache.put_many(self.pending, fingerprint=self.embedder.fingerprint, embedder=self.embedder.name)
            except CacheError as error:  # what was computed is an answer, with or without a cache
                _warn_of_unused_cache(error)
                self.cache = None
            self.pending = {}
        self.last_s = time.monotonic()


Job: TypeAlias = Callable[[], list[Part]]


@dataclass
class _Run:
    """Embeds clips on several threads.

    Small clips are handed out a few at a time; one thread reads and embeds them. A large file is read in
    the thread that consumes the results, and its windows are handed out to the others, so that one file
    keeps every core busy and never has to fit in memory.
    """

    embedder: Embedder
    hop_s: float
    center: bool
    threads: int
    notes: dict[int, list[LevelNote]] = field(default_factory=dict)

    def embed(
        self, clips: Sequence[tuple[int, Source]]
    ) -> Generator[tuple[int, StoredWindows | L3clfError], None, None]:
        """Yield (index, result) as clips finish, in any order."""
        if not clips:
            return
        unfinished = {i: UnfinishedClip(str(source)) for i, source in clips}
        with one_blas_thread():  # our threads already use every core; BLAS threads would compete
            for parts in in_parallel(self._jobs(clips), self.threads):
                for part in parts:
                    # Parts of a clip may still arrive after one of them failed.
                    if part.clip in unfinished and unfinished[part.clip].add(part):
                        yield part.clip, unfinished.pop(part.clip).result(self.embedder)

    def _jobs(self, clips: Sequence[tuple[int, Source]]) -> Iterator[Job]:
        large = {i: source for i, source in clips if self.threads > 1 and _is_large(source)}
        for i, source in large.items():
            yield from self._large_file_jobs(i, source)
        small = iter([clip for clip in clips if clip[0] not in large])
        while group := list(islice(small, CLIPS_AT_ONCE)):
            yield partial(self._embed_group, group)

    def _large_file_jobs(self, i: int, source: Source) -> Iterator[Job]:
        n, failure = 0, None
        try:
            for windows in self._windows(i, source):
                yield partial(self._embed_parts, [UnembeddedPart(i, n, windows)])
                n += 1
        except L3clfError as error:
            failure = error
        yield lambda: [Part(i, n, failure)]

    def _windows(self, i: int, source: Source) -> Iterator[FloatArray]:
        """Yield the windows of a clip, and keep what is noted about its level."""
        reading = iter(self.embedder.read_windows(source, self.hop_s, self.center))
        while True:
            # Around each step, because the code between two yields belongs to the caller.
            with collecting(self.notes.setdefault(i, [])):
                windows = next(reading, None)
            if windows is None:
                return
            yield windows

    def _embed_group(self, group: Iterable[tuple[int, Source]]) -> list[Part]:
        """Read some clips and embed their windows together: the network is faster on full batches."""
        parts: list[Part] = []
        waiting: list[UnembeddedPart] = []
        for i, source in group:
            n = 0
            try:
                for windows in self._windows(i, source):
                    waiting.append(UnembeddedPart(i, n, windows))
                    n += 1
                    # Never more than about a batch in memory, also for a long clip.
                    if sum(len(part.windows) for part in waiting) >= self.embedder.batch_windows:
                        parts += self._embed_parts(waiting)
                        waiting = []
                parts.append(Part(i, n, None))
            except L3clfError as error:
                parts.append(Part(i, n, error))
        return parts + self._embed_parts(waiting)

    def _embed_parts(self, waiting: Sequence[UnembeddedPart]) -> list[Part]:
        if not waiting:
            return []
        with collecting([]):  # levels are checked clip by clip, where they are read
            batch = self.embedder.embed_batch(np.concatenate([part.windows for part in waiting]))
        ends = np.cumsum([len(part.windows) for part in waiting])[:-1]
        split = zip(waiting, np.split(batch.vectors, ends), np.split(batch.levels_dbfs, ends), strict=True)
        return [Part(part.clip, part.number, StoredWindows(vectors, levels)) for part, vectors, levels in split]


def _is_large(source: Source) -> bool:
    if isinstance(source, Samples):
        return bool(source.samples.nbytes > LARGE_FILE_BYTES)
    state = _state_of(source)
    return state is not None and state.size_bytes > LARGE_FILE_BYTES
