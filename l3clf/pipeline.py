"""Clips in, window embeddings out: read from the cache, or embedded in parallel and stored as they finish.

Rule: a clip that fails does not affect other clips, and what was computed is stored before anything else can go
wrong.
"""

import os
import zipfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import IO, TypeAlias

import numpy as np

from l3clf.audio.clip import Source
from l3clf.audio.levels import warn_of
from l3clf.embedders.base import Embedder, WindowEmbeddings
from l3clf.embedders.clip_progress import ClipProgress
from l3clf.embedders.clip_work import Store, Work, identities, warn_of_unused_cache
from l3clf.embedders.parallel_run import Run
from l3clf.embedders.wide_run import WideRun
from l3clf.errors import CacheError, L3clfError
from l3clf.networks.threads import in_parallel, n_threads
from l3clf.networks.workers import n_workers
from l3clf.storage.atomic import replacing, spool
from l3clf.storage.embedding_cache import EmbeddingCache, RefusedError, StoredWindows
from l3clf.storage.outputs import Kind, check_kind, zip_member_begins
from l3clf.storage.parquet_windows import PARQUET, ParquetWriter, WindowRows, check_parquet

__all__ = [
    "EMBEDDINGS",
    "Outcome",
    "Tally",
    "content_ids",
    "embed_each",
    "embed_sources",
    "identities",
    "in_parallel",
    "n_threads",
    "save_each",
    "save_embeddings",
    "save_parquet",
]

Outcome: TypeAlias = WindowEmbeddings | L3clfError
"""The windows of one clip, or the error that explains why it has none."""

EMBEDDINGS = Kind("a file of embeddings", zip_member_begins("times_s.npy", b"NUMPY"))

CLIPS_LOOKED_UP = 32  # by `embed_each` at once, so that few clips are in memory
COPIED_BYTES = 1 << 20


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
        Number of threads; None means one for each core. Where joblib's backend has workers in other processes, as in
        ``with joblib.parallel_config("dask")``, these embed in their place.
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
    found: dict[int, Outcome] = {}
    each = _each(embedder, sources, hop_s, center, cache, n_jobs, progress, tally)
    with closing(each) as finished:
        found.update(finished)
    return [found[i] for i in range(len(sources))]


def embed_each(
    embedder: Embedder,
    sources: Sequence[Source],
    *,
    hop_s: float = 0.5,
    center: bool = True,
    cache: EmbeddingCache | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield the index and the outcome of each clip as it finishes; see `embed_sources`.

    Clips finish about in their order, but in any, and only a few are in memory at once. An interrupted run loses what
    is in flight: a large file continues at its last whole piece.
    """
    return _each(embedder, sources, hop_s, center, cache, n_jobs, progress, at_once=CLIPS_LOOKED_UP)


def _each(
    embedder: Embedder,
    sources: Sequence[Source],
    hop_s: float,
    center: bool,
    cache: EmbeddingCache | None,
    n_jobs: int | None,
    progress: bool,
    tally: Tally | None = None,
    at_once: int | None = None,
) -> Generator[tuple[int, Outcome], None, None]:
    threads, workers = n_threads(n_jobs), n_workers(n_jobs)
    embedder.framing(hop_s, center)  # reports a bad hop before any file is read
    _ = embedder.fingerprint  # reports missing weights before any file is read
    work = Work(sources, embedder)
    if cache is not None:
        try:
            work.identify(cache, hop_s, center)
        except RefusedError:  # another file than the one that was meant
            raise
        except CacheError as error:
            warn_of_unused_cache(error)
    store = Store(embedder, work)
    with ClipProgress(sources, hop_s, progress) as bar:
        if workers:
            kept = work.look_up, store.add_piece, work.contents.get
            run: Run | WideRun = WideRun(embedder, hop_s, center, workers, n_jobs, *kept, work.notes)
        else:
            run = Run(embedder, hop_s, center, threads, work.look_up, store.add_piece, bar.tell_windows, work.notes)
        try:
            for i, failure in work.unidentified.items():
                bar.settle(i, 1, known=True)
                yield i, failure
            while to_do := work.to_do():
                with closing(run.embed([(i, sources[i]) for i in to_do], at_once)) as results:
                    for i, result in results:
                        same = work.settle(i, result)
                        bar.settle(i, len(same), known=i in work.known)
                        store.add(i, result)
                        for each in same:
                            yield each, _outcome(embedder, result, hop_s, center)
        finally:  # also after an interrupt, so that no finished clip is lost
            store.flush()
    warn_of(work.for_each_clip(), len(sources), stacklevel=3)
    if tally is not None:
        _count(work, tally)


def _count(work: Work, tally: Tally) -> None:
    for i in work.done:
        n = len(work.same[i])
        if i in work.failed:
            tally.failed += n
        elif i in work.known:
            tally.cached += n
        else:
            tally.embedded += n
            tally.computed += 1


def _outcome(embedder: Embedder, found: StoredWindows | L3clfError, hop_s: float, center: bool) -> Outcome:
    return embedder.with_times(found, hop_s, center) if isinstance(found, StoredWindows) else found


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
    if len(names) != len(outcomes):
        raise ValueError(f"zip: {len(names)} names and {len(outcomes)} outcomes")
    return save_each(path, names, enumerate(outcomes), force=force)


def save_each(
    path: str | os.PathLike[str], names: Sequence[str], finished: Iterable[tuple[int, Outcome]], *, force: bool = False
) -> int:
    """Write the windows of clips to an .npz as they finish, with only one of them in memory; see `save_embeddings`.

    Parameters
    ----------
    path : path
        The file to write; while clips are still to come, their vectors are kept in a file without a name beside it.
    names : sequence of str
        Name of each clip.
    finished : iterable of (int, WindowEmbeddings or L3clfError)
        As from `embed_each`, in any order.
    force : bool, default=False
        Whether to replace an existing file that is not such an .npz.

    Returns
    -------
    int
        The number of windows written.
    """
    target = check_kind(path, EMBEDDINGS, force=force)
    with replacing(target) as file, spool(target) as kept_vectors:
        kept: dict[int, tuple[int, WindowEmbeddings]] = {}  # by clip: where its vectors are, and the rest of it
        for i, outcome in finished:
            if isinstance(outcome, WindowEmbeddings):
                kept[i] = _spooled(outcome, kept_vectors)
        order = sorted(kept)
        windows = [kept[i][1] for i in order]
        counts = [len(each) for each in windows]
        arrays = {
            "paths": np.array([names[i] for i in order], dtype=np.str_),
            "clip": np.repeat(np.arange(len(order)), counts),
            "times_s": np.concatenate([np.zeros((0, 2)), *(each.times_s for each in windows)]),
            "levels_dbfs": np.concatenate([np.zeros(0, np.float32), *(each.levels_dbfs for each in windows)]),
        }
        width = windows[0].vectors.shape[1] if windows else 0
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            with archive.open("vectors.npy", "w", force_zip64=True) as member:
                header = {"descr": "<f4", "fortran_order": False, "shape": (sum(counts), width)}
                np.lib.format.write_array_header_1_0(member, header)
                for i, n in zip(order, counts, strict=True):
                    kept_vectors.seek(kept[i][0])
                    _copy(kept_vectors, member, n * width * 4)
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    return sum(counts)


def save_parquet(
    path: str | os.PathLike[str],
    names: Sequence[str],
    finished: Iterable[tuple[int, Outcome]],
    embedder: Embedder,
    contents: Sequence[bytes | L3clfError | None],
    *,
    force: bool = False,
) -> int:
    """Write the windows of clips to a Parquet file as they finish, a row for each; see `ParquetWriter`.

    Parameters
    ----------
    path : path
        The file to write; as for `save_each`, only one clip is in memory, and rows are in the order of `names`.
    names : sequence of str
        Name of each clip.
    finished : iterable of (int, WindowEmbeddings or L3clfError)
        As from `embed_each`, in any order.
    embedder : Embedder
    contents : sequence of bytes, L3clfError or None
        Digest of each clip's file, where it is known; see `content_ids`.
    force : bool, default=False
        Whether to replace an existing file that is not such a Parquet file.

    Returns
    -------
    int
        The number of windows written.

    Raises
    ------
    MissingDependencyError
        If pyarrow is not installed.
    ParameterError
        If a name is not Unicode, or the file cannot be written.
    """
    check_parquet(names)
    target, width, n_windows = check_kind(path, PARQUET, force=force), embedder.embedding_size, 0
    with replacing(target) as file, spool(target) as kept_vectors:
        kept: dict[int, tuple[int, WindowEmbeddings]] = {}
        for i, outcome in finished:
            if isinstance(outcome, WindowEmbeddings):
                kept[i] = _spooled(outcome, kept_vectors)
        with closing(ParquetWriter(file, f"{embedder.name}:{embedder.fingerprint}", width)) as writer:
            for i in sorted(kept):
                position, windows = kept.pop(i)
                kept_vectors.seek(position)
                vectors = np.frombuffer(kept_vectors.read(len(windows) * width * 4), np.float32).reshape(-1, width)
                content = contents[i]
                digest = content.hex() if isinstance(content, bytes) else None
                writer.add(names[i], digest, WindowRows(windows.times_s, windows.levels_dbfs, vectors))
                n_windows += len(windows)
    return n_windows


def _spooled(windows: WindowEmbeddings, file: IO[bytes]) -> tuple[int, WindowEmbeddings]:
    """Write the vectors of a clip; return where they are, and the rest of it."""
    position = file.tell()
    vectors = np.ascontiguousarray(windows.vectors, np.float32)
    file.write(vectors.data)
    return position, replace(windows, vectors=np.broadcast_to(np.float32(0), vectors.shape))  # without its bytes


def _copy(source: IO[bytes], target: IO[bytes], n_bytes: int) -> None:
    while n_bytes > 0:
        block = source.read(min(n_bytes, COPIED_BYTES))
        if not block:
            raise OSError("the file of vectors is shorter than it was")
        target.write(block)
        n_bytes -= len(block)
