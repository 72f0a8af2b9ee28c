"""Embedding clips on the workers of joblib's backend, such as those of a Dask cluster.

Rule: sounds are read where they lie, by the workers, and only vectors travel. The cache belongs to the caller: workers
are told what the caller has hashed and never open it. What a worker read of another file, or computed with another
l3clf, is an error and no answer.
"""

import os
import platform
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from l3clf.audio.clip import Clip, Samples, ScaledClip, Source, printable_path
from l3clf.audio.levels import LevelNote
from l3clf.embedders.base import Embedder
from l3clf.embedders.parallel_run import Found, Run, is_large, piece_parts
from l3clf.errors import AudioError, L3clfError, ParameterError
from l3clf.networks.workers import Lost, on_workers
from l3clf.storage.atomic import FileState, file_state
from l3clf.storage.cache_database import StoredWindows
from l3clf.storage.embedding_cache import file_digest

__all__ = [
    "CLIPS_A_BATCH",
    "Delivery",
    "Order",
    "WideRun",
    "delivery",
    "embed_orders",
    "lost_clip",
    "opened",
    "order_of",
    "other_file",
]

CLIPS_A_BATCH = 32  # at most: many, so that a batch takes longer than sending it
BATCHES_A_WORKER = 16  # at least: few clips are left to the last worker
SENT_BYTES = 8_000_000  # of samples in memory in a batch
LOOKED_UP = 512  # clips at once
MAX_KEPT = 4  # embedders in a worker: a search may try several


@dataclass(frozen=True)
class Order:
    """What a worker needs to know of one clip.

    Attributes
    ----------
    clip : int
        Its index.
    source : Clip or Samples
        With an absolute path: a worker may run in another folder.
    name : str
        Its path as the caller named it.
    state : FileState or None
        Of the file, as the caller sees it; None if the caller sees none.
    content : bytes or None
        Digest of the file that the caller has, if that is known.
    """

    clip: int
    source: Source
    name: str = ""
    state: FileState | None = None
    content: bytes | None = None


@dataclass(frozen=True, eq=False)
class Delivery:
    """What a worker returns of one clip."""

    clip: int
    result: StoredWindows | L3clfError
    notes: Sequence[LevelNote] = ()


@dataclass
class WideRun:
    """Embeds clips on workers, a batch of them at a time; a large file is a batch of its own.

    Parameters
    ----------
    embedder : Embedder
    hop_s, center
        See `Embedder.embed`.
    workers : int
        Number of batches that they can do at once.
    n_jobs : int or None
        See `l3clf.networks.workers.on_workers`.
    look_up, keep_piece, notes
        See `Run`.
    content_of : callable
        Given the index of a clip, returns the digest of its file, if that is known.
    """

    embedder: Embedder
    hop_s: float
    center: bool
    workers: int
    n_jobs: int | None
    look_up: Callable[[Sequence[int]], Mapping[int, Found]]
    keep_piece: Callable[[int, int, StoredWindows], None]
    content_of: Callable[[int], bytes | None]
    notes: dict[int, list[LevelNote]] = field(default_factory=dict)

    def embed(
        self, clips: Sequence[tuple[int, Source]], at_once: int | None = None
    ) -> Generator[tuple[int, StoredWindows | L3clfError], None, None]:
        """Yield (index, result) as clips finish: first those that are known, then the others in any order.

        Parameters
        ----------
        clips : sequence of (int, Source)
        at_once : int or None
            How many clips are looked up together.
        """
        unknown: list[tuple[int, Source]] = []
        for first in range(0, len(clips), at_once or LOOKED_UP):
            chunk = clips[first : first + (at_once or LOOKED_UP)]
            found = self.look_up([i for i, _ in chunk])
            for i, source in chunk:
                known = found.get(i)
                if isinstance(known, StoredWindows):
                    yield i, known
                else:  # the pieces of a large file are computed again, to the same bits
                    unknown.append((i, source))
        batches, large = self._batches(unknown)

        def job(number: int) -> tuple[object, ...]:
            orders = [order_of(i, source, self.content_of(i)) for i, source in batches[number]]
            return self.embedder, self.embedder.fingerprint, self.hop_s, self.center, orders

        with closing(on_workers(embed_orders, job, len(batches), self.n_jobs)) as results:
            for number, deliveries in results:
                if isinstance(deliveries, Lost):
                    yield from ((i, lost_clip(source, deliveries)) for i, source in batches[number])
                    continue
                for one in deliveries:
                    self.notes[one.clip] = list(one.notes)
                    if one.clip in large and isinstance(one.result, StoredWindows):
                        self._keep_pieces(one.clip, one.result)
                    yield one.clip, one.result

    def _batches(self, clips: Sequence[tuple[int, Source]]) -> tuple[list[list[tuple[int, Source]]], set[int]]:
        """Return the batches, large files first, so that none of them is left to the end; and which clips these are."""
        large = {i for i, source in clips if is_large(source)}
        small = [(i, source) for i, source in clips if i not in large]
        size = max(1, min(CLIPS_A_BATCH, len(small) // (BATCHES_A_WORKER * self.workers)))
        return [[(i, source)] for i, source in clips if i in large] + _grouped(small, size), large

    def _keep_pieces(self, i: int, whole: StoredWindows) -> None:
        size = piece_parts(self.embedder) * self.embedder.batch_windows
        for number in range(len(whole.vectors) // size):
            place = slice(number * size, (number + 1) * size)
            self.keep_piece(i, number, StoredWindows(whole.vectors[place], whole.levels_dbfs[place]))


def _grouped(clips: Sequence[tuple[int, Source]], size: int) -> list[list[tuple[int, Source]]]:
    """Return clips in groups of a size at most, those in memory in smaller ones."""
    groups: list[list[tuple[int, Source]]] = []
    n_bytes = 0
    for clip in clips:
        weight = clip[1].samples.nbytes if isinstance(clip[1], Samples) else 0
        if not groups or len(groups[-1]) == size or n_bytes + weight > SENT_BYTES:
            groups.append([])
            n_bytes = 0
        groups[-1].append(clip)
        n_bytes += weight
    return groups


def order_of(i: int, source: Source, content: bytes | None) -> Order:
    """Return what a worker is told of a clip."""
    if isinstance(source, Samples):
        return Order(i, source)
    try:
        state = file_state(source.path)
    except (OSError, ValueError):
        state = None
    return Order(i, _absolute(source), source.path, state, content)


def _absolute(clip: Clip) -> Clip:
    there = Clip(os.path.abspath(clip.path), clip.start_s, clip.end_s)  # noqa: PTH100  # links stay as they are
    return ScaledClip(there, clip.full_scale) if isinstance(clip, ScaledClip) else there


def lost_clip(source: Source, lost: Lost) -> AudioError:
    """Return the error of a clip whose batch was lost."""
    return AudioError(
        f"{source}: the worker that embedded its batch died, twice ({lost.reason}); embed it on its own to see whether "
        "it is the cause, and give workers more memory if none is"
    )


# --- on a worker ----------------------------------------------------------------------------------

_kept: dict[tuple[type[Embedder], str], Embedder] = {}
_keeping = threading.Lock()


def embed_orders(
    embedder: Embedder, fingerprint: str, hop_s: float, center: bool, orders: Sequence[Order]
) -> list[Delivery]:
    """Embed a batch of clips; this is what a worker does, with one thread.

    Parameters
    ----------
    embedder : Embedder
    fingerprint : str
        That of the embedder in the process that asks.
    hop_s, center
        See `Embedder.embed`.
    orders : sequence of Order

    Returns
    -------
    list of Delivery

    Raises
    ------
    L3clfError
        If the embedder cannot run, or would not give the numbers that it gives in the process that asks.
    """
    run = Run(opened(embedder, fingerprint), hop_s, center, threads=1)
    with closing(run.embed([(order.clip, order.source) for order in orders])) as results:
        found = dict(results)
    return [delivery(order, found[order.clip], run.notes.get(order.clip, [])) for order in orders]


def opened(embedder: Embedder, fingerprint: str) -> Embedder:
    """Return the embedder that this process has with a fingerprint, so that its network is loaded once.

    Raises
    ------
    ParameterError
        If the one that was sent has another fingerprint here.
    """
    key = type(embedder), fingerprint
    with _keeping:
        if key not in _kept:
            if embedder.fingerprint != fingerprint:
                raise ParameterError(
                    f"embedder {embedder.name!r}: gives other numbers on the worker {platform.node()}, where l3clf or "
                    "the weights are others; install the same l3clf, extras and weights on every machine"
                )
            for old in list(_kept)[: 1 - MAX_KEPT]:
                del _kept[old]
            _kept[key] = embedder
        return _kept[key]


def delivery(order: Order, result: StoredWindows | L3clfError, notes: Sequence[LevelNote]) -> Delivery:
    """Return what becomes of a clip: an error if another file was read, and the names that the caller gave."""
    if not isinstance(order.source, Clip):
        return Delivery(order.clip, result, notes)
    problem = other_file(order, order.source.path)
    if problem:
        result = AudioError(f"{printable_path(order.name)}: {problem}")
    elif isinstance(result, L3clfError):
        result.args = tuple(_as_named(order, str(part)) for part in result.args)
    return Delivery(order.clip, result, [replace(note, label=_as_named(order, note.label)) for note in notes])


def _as_named(order: Order, text: str) -> str:
    path = order.source.path if isinstance(order.source, Clip) else ""
    return text.replace(printable_path(path), printable_path(order.name))


def other_file(order: Order, path: str) -> str:
    """Return how the file that a worker has differs from that of the process that asks; an empty string if it does not.

    Files with equal states are the same one; of others the contents count.
    """
    if order.state is None:
        return ""
    place = f"on the worker {platform.node()}"
    everywhere = "give every machine the same sounds under the same path"
    try:
        state = file_state(path)
    except (OSError, ValueError):
        return f"is not there {place}; {everywhere}"
    if state == order.state:
        return ""
    if state.size_bytes != order.state.size_bytes or (order.content and file_digest(path) != order.content):
        return f"is another file {place}, or changed while it was read; {everywhere}"
    return ""
