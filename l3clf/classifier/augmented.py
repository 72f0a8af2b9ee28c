"""Changed copies of training clips: what an estimator with ``augment=`` learns from beside the clips themselves.

A copy is drawn from the content of its clip, the `Augmentation` and its number alone: it is the same whatever other
clips there are, in whatever order, in every fold of a cross-validation and after a restart, and is embedded once. If a
second clip is mixed in, it is one of the clips passed here, of the same label, or a "background"; which one, their
contents decide.

Rule: only `fit` asks for copies, and only of the clips that it was given, so that no clip that is scored is in one.
"""

import hashlib
import json
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from l3clf.audio.clip import Clip, FloatArray, Samples, Source, full_scale_of
from l3clf.audio.clip_augmentation import Augmentation
from l3clf.audio.decode import decode_revision, read_blocks
from l3clf.audio.framing import SILENCE_DBFS
from l3clf.audio.levels import all_silent, collecting
from l3clf.classifier.decision import BACKGROUND
from l3clf.classifier.inputs import Item
from l3clf.embedders.base import Embedder, WindowEmbeddings
from l3clf.embedders.clip_work import identities, warn_of_unused_cache
from l3clf.embedders.filtered import needs_whole_clips
from l3clf.embedders.wide_run import Order, delivery, lost_clip, opened, order_of
from l3clf.errors import CacheError, L3clfError, ParameterError
from l3clf.networks.threads import in_parallel, n_threads, one_blas_thread
from l3clf.networks.workers import Lost, n_workers, on_workers
from l3clf.pipeline import Outcome
from l3clf.storage.atomic import FileState, file_state
from l3clf.storage.cache_database import CacheKey, StoredWindows
from l3clf.storage.embedding_cache import EmbeddingCache, FileIdentity, RefusedError

__all__ = ["SourcedWindows", "check_augment", "check_sources", "embed_copies"]

REVISION = "l3clf rendering 1"  # raised whenever the same description gives another sound
PIECE_S = 30.0  # of a long clip, which is changed in pieces of up to twice this, each in 50 times its memory
LOOKED_UP = 256  # copies at once
STORED_AT_ONCE = 64
BATCHES_A_WORKER = 4  # of the copies that are looked up at once

_Made: TypeAlias = tuple[CacheKey, StoredWindows | L3clfError]


@dataclass(frozen=True, eq=False)
class SourcedWindows(WindowEmbeddings):
    """The embeddings of a clip that is still at hand, so that copies of it can be made.

    Attributes
    ----------
    source : Clip or Samples
    """

    source: Source


def check_augment(augment: object) -> None:
    """Raise ParameterError for a parameter `augment` that is neither None nor an `Augmentation`."""
    if augment is not None and not isinstance(augment, Augmentation):
        raise ParameterError(f"augment={augment!r}; expected None or an l3clf.Augmentation")


def check_sources(items: Sequence[Item], augment: object) -> None:
    """Raise ParameterError if copies are wanted of clips that are embedded already."""
    if augment is None:
        return
    for i, item in enumerate(items):
        if isinstance(item, WindowEmbeddings) and not isinstance(item, SourcedWindows):
            raise ParameterError(
                f"X[{i}]: WindowEmbeddings, which are embedded already, and augment changes the sound; give paths, "
                "Clips or 1-D arrays, or augment=None"
            )


def embed_copies(
    embedder: Embedder,
    items: Sequence[Item],
    outcomes: Sequence[Outcome],
    kinds: Sequence[Hashable],
    augment: Augmentation,
    *,
    hop_s: float = 0.5,
    center: bool = True,
    cache: EmbeddingCache | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> Generator[tuple[int, int, Outcome], None, None]:
    """Yield the embedded copies of clips as they finish, in any order.

    Parameters
    ----------
    embedder : Embedder
    items : sequence of Clip, Samples or SourcedWindows
        The clips.
    outcomes : sequence of WindowEmbeddings or L3clfError
        Their windows. Of a clip that failed there are no copies; those of digital silence are its own windows.
    kinds : sequence
        Their labels: clips are mixed with clips of the same kind, or with those of the kind "background".
    augment : Augmentation
    hop_s, center, cache, n_jobs, progress
        See `l3clf.pipeline.embed_sources`.

    Yields
    ------
    clip, copy : int
        Which copy, from 0, of which clip.
    outcome : WindowEmbeddings or L3clfError
        Its windows. Their levels are those before the change of level, by which a gate can judge them.
    """
    sources = {i: _source_of(items[i]) for i, outcome in enumerate(outcomes) if isinstance(outcome, WindowEmbeddings)}
    silent = {i for i in sources if all_silent(_levels(outcomes[i]))}
    for i in sorted(silent):
        yield from ((i, copy, outcomes[i]) for copy in range(augment.copies))
    audible = {i: source for i, source in sources.items() if i not in silent}
    states = {i: _state_of(source) for i, source in audible.items()}
    ids, contents = _clip_ids(audible, cache)
    for i, failed in ids.items():
        if isinstance(failed, L3clfError):
            yield i, 0, failed
    plans = _plans({i: one for i, one in ids.items() if isinstance(one, bytes)}, kinds, augment)
    framed = (embedder.fingerprint, float(hop_s).hex(), str(bool(center)))
    same: dict[CacheKey, list[_Plan]] = {}  # of clips of the same content
    for plan in plans:
        same.setdefault(_digest(plan.what, *framed), []).append(plan)
    # What a subclass does is not all in its parameters: its copies would be taken for those of another.
    kept = _Kept(embedder, cache if type(augment) is Augmentation else None)
    bar = tqdm(
        total=len(plans), desc="copies", unit="copy", disable=None if progress else True
    )  # None: on a terminal only
    with one_blas_thread(), bar, closing(kept):
        for first in range(0, len(same), LOOKED_UP):
            keys = list(islice(same, first, first + LOOKED_UP))
            found = kept.look_up(keys)
            wanted = [(key, same[key][0]) for key in keys if key not in found]
            how = (embedder, augment, hop_s, center)
            for key, result in chain(found.items(), _each_made(wanted, audible, contents, n_jobs, *how)):
                clips = same[key][0].clips
                if key not in found and all(states[i] == _state_of(audible[i]) for i in clips):
                    kept.add(key, result)
                for plan in same[key]:
                    bar.update()
                    windows = (
                        embedder.with_times(result, hop_s, center) if isinstance(result, StoredWindows) else result
                    )
                    yield plan.clip, plan.copy, windows


@dataclass(frozen=True)
class _Plan:
    """What becomes of one copy.

    Attributes
    ----------
    clip, copy : int
    what : bytes
        Digest of all that its sound depends on.
    seed : bytes
        Of what is drawn, the same whichever second clip there is.
    second : int or None
        The clip that is mixed in, `below_db` below the first.
    gain_db : float
    """

    clip: int
    copy: int
    what: bytes
    seed: bytes
    second: int | None
    below_db: float
    gain_db: float

    @property
    def clips(self) -> tuple[int, ...]:
        """The clips whose sound is in it."""
        return (self.clip,) if self.second is None else (self.clip, self.second)


def _plans(ids: Mapping[int, bytes], kinds: Sequence[Hashable], augment: Augmentation) -> list[_Plan]:
    """Return the plans of all copies of the clips, which are given by number and content."""
    of_kind: dict[Hashable, list[int]] = {}
    for i in ids:
        of_kind.setdefault(kinds[i], []).append(i)
    background = of_kind.get(BACKGROUND, [])
    partners = {kind: members + (background if kind != BACKGROUND else []) for kind, members in of_kind.items()}
    heads = {kind: np.array([int.from_bytes(ids[i][:8]) for i in each], np.uint64) for kind, each in partners.items()}
    # A copy with a number is the same however many there are, and numbers of NumPy's types are numbers too.
    described = {name: value for name, value in asdict(augment).items() if name != "copies"}
    text = json.dumps(described, sort_keys=True, default=np.generic.item)
    plans = []
    for i, content in ids.items():
        for copy in range(augment.copies):
            seed = _digest(content, text, str(copy))
            rng = _rng(seed, "whole")
            gain_db, below_db = augment.draw_gain_db(rng), augment.draw_mix_db(rng)
            second = None
            if below_db is not None:
                place = _chosen(heads[kinds[i]], seed, int.from_bytes(content[:8]))
                second = None if place is None else partners[kinds[i]][place]
            what = _digest(seed, b"" if second is None else ids[second])
            plans.append(_Plan(i, copy, what, seed, second, below_db or 0.0, gain_db))
    return plans


def _chosen(heads: NDArray[np.uint64], seed: bytes, own: int) -> int | None:
    """Return which of the clips with these contents a copy is mixed with, or None if there are no others.

    Each clip has a score that depends on nothing but its content and the seed, and the highest wins: without some of
    the clips, as in a fold, most copies have the clip that they have with all of them.
    """
    # The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input changes half of the output's.
    scores = heads ^ np.uint64(int.from_bytes(seed[:8]))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        scores = (scores ^ (scores >> np.uint64(shift))) * np.uint64(factor)
    scores ^= scores >> np.uint64(31)
    scores[heads == np.uint64(own)] = 0
    best = int(scores.argmax())
    return best if scores[best] else None


def _each_made(
    wanted: Sequence[tuple[CacheKey, _Plan]],
    sources: Mapping[int, Source],
    contents: Mapping[int, bytes],
    n_jobs: int | None,
    embedder: Embedder,
    augment: Augmentation,
    hop_s: float,
    center: bool,
) -> Iterator[_Made]:
    """Yield copies as they are made: on threads, or on the workers of joblib's backend."""
    workers = n_workers(n_jobs)
    if not workers:
        jobs = (partial(_made, key, plan, embedder, augment, hop_s, center, sources) for key, plan in wanted)
        yield from in_parallel(jobs, n_threads(n_jobs))
        return
    size = max(1, len(wanted) // (BATCHES_A_WORKER * workers))
    batches = [wanted[first : first + size] for first in range(0, len(wanted), size)]

    def job(number: int) -> tuple[object, ...]:
        clips = {i for _, plan in batches[number] for i in plan.clips}
        orders = [order_of(i, sources[i], contents.get(i)) for i in sorted(clips)]
        return batches[number], orders, embedder, embedder.fingerprint, augment, hop_s, center

    with closing(on_workers(_made_there, job, len(batches), n_jobs)) as results:
        for number, made in results:
            if isinstance(made, Lost):
                yield from ((key, lost_clip(sources[plan.clip], made)) for key, plan in batches[number])
            else:
                yield from made


def _made_there(
    batch: Sequence[tuple[CacheKey, _Plan]],
    orders: Sequence[Order],
    embedder: Embedder,
    fingerprint: str,
    augment: Augmentation,
    hop_s: float,
    center: bool,
) -> list[_Made]:
    """Render copies and embed them, on a worker."""
    embedder, by_clip = opened(embedder, fingerprint), {order.clip: order for order in orders}
    sources = {i: order.source for i, order in by_clip.items()}
    made = []
    with one_blas_thread():
        for key, plan in batch:
            _, result = _made(key, plan, embedder, augment, hop_s, center, sources)
            for i in reversed(plan.clips):  # the clip itself last: it gives its name to an error
                result = delivery(by_clip[i], result, ()).result
            made.append((key, result))
    return made


# --- rendering ------------------------------------------------------------------------------------------


def _made(
    key: CacheKey,
    plan: _Plan,
    embedder: Embedder,
    augment: Augmentation,
    hop_s: float,
    center: bool,
    sources: Mapping[int, Source],
) -> tuple[CacheKey, StoredWindows | L3clfError]:
    """Render a copy and embed it."""
    source = sources[plan.clip]
    second = None if plan.second is None else sources[plan.second]
    batches = []
    with collecting([]):  # what is doubtful about a clip was told when it was embedded itself
        try:
            blocks = _rendered(source, second, plan, augment, embedder.sample_rate)
            if needs_whole_clips(embedder):
                whole = Samples(np.concatenate(list(blocks)), embedder.sample_rate, str(source))
                windows_of = embedder.read_windows(whole, hop_s, center)
            else:
                windows_of = embedder.framing(hop_s, center).windows(blocks, embedder.batch_windows)
            for windows in windows_of:
                factors = _factors(windows, plan.gain_db)
                batch = embedder.embed_batch(windows * factors)
                levels = batch.levels_dbfs - 20 * np.log10(factors[:, 0])
                batches.append(StoredWindows(batch.vectors, np.maximum(levels, np.float32(SILENCE_DBFS))))
            return key, embedder.join(batches, str(source))
        except L3clfError as error:
            return key, error


def _rendered(
    source: Source, second: Source | None, plan: _Plan, augment: Augmentation, sample_rate: int
) -> Iterator[FloatArray]:
    other = None if second is None else next(_pieces(second, sample_rate))
    for number, piece in enumerate(_pieces(source, sample_rate)):
        yield augment.render(piece, sample_rate, _rng(plan.seed, str(number)), other, plan.below_db)


def _pieces(source: Source, sample_rate: int) -> Iterator[FloatArray]:
    """Yield a clip in pieces of `PIECE_S`; the last one, or a clip of less than twice that, is longer."""
    size = round(PIECE_S * sample_rate)
    held = np.zeros(0, np.float32)
    for block in read_blocks(source, sample_rate):
        held = np.concatenate([held, block])
        while len(held) >= 2 * size:
            yield held[:size]
            held = held[size:]
    yield held


def _factors(windows: FloatArray, gain_db: float) -> FloatArray:
    """Return what changes the level of each window by so many dB, but none beyond full scale: shape (n_windows, 1)."""
    factor = np.float32(10 ** (gain_db / 20))
    peaks = np.abs(windows).max(axis=1, keepdims=True)
    return np.asarray(np.minimum(factor, 1 / np.maximum(peaks, np.float32(1e-9))), np.float32)


def _rng(seed: bytes, part: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(_digest(seed, part)[:16]))


# --- what clips are -------------------------------------------------------------------------------------


def _source_of(item: Item) -> Source:
    if isinstance(item, SourcedWindows):
        return item.source
    if isinstance(item, WindowEmbeddings):  # `check_sources` was not called
        raise ParameterError("X: WindowEmbeddings, which are embedded already; expected paths, Clips or 1-D arrays")
    return item


def _levels(outcome: Outcome) -> FloatArray:
    return np.zeros(0, np.float32) if isinstance(outcome, L3clfError) else outcome.levels_dbfs


def _state_of(source: Source) -> FileState | None:
    try:
        return file_state(source.path) if isinstance(source, Clip) else None
    except (OSError, ValueError):
        return None


def _clip_ids(
    sources: Mapping[int, Source], cache: EmbeddingCache | None
) -> tuple[dict[int, bytes | L3clfError], dict[int, bytes]]:
    """Return digests of what is heard of each clip, whatever its name: 32 bytes, or the error of one not readable.

    Those of the whole files come beside them.
    """
    found = _identities(list(sources.values()), cache)
    ids: dict[int, bytes | L3clfError] = {}
    contents: dict[int, bytes] = {}
    for (i, source), one in zip(sources.items(), found, strict=True):
        if isinstance(one, L3clfError):
            ids[i] = one
            continue
        piece = (source.start_s, source.end_s) if isinstance(source, Clip) else (0.0, None)
        contents[i] = one.content
        ids[i] = _digest(REVISION, one.content, repr((*piece, full_scale_of(source), decode_revision(one.decoder))))
    return ids, contents


def _identities(sources: Sequence[Source], cache: EmbeddingCache | None) -> list[FileIdentity | L3clfError]:
    try:
        return identities(sources, cache)
    except RefusedError:  # another file than the one that was meant
        raise
    except CacheError:  # told when the clips themselves were embedded
        return identities(sources)


def _digest(*parts: bytes | str) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


class _Kept:
    """Copies in the cache: those that are there, and those that are added, many in one transaction."""

    def __init__(self, embedder: Embedder, cache: EmbeddingCache | None) -> None:
        self.embedder, self.cache = embedder, cache
        self.pending: dict[CacheKey, StoredWindows] = {}

    def look_up(self, keys: Sequence[CacheKey]) -> dict[CacheKey, StoredWindows]:
        """Return those that the cache has."""
        if self.cache is None:
            return {}
        try:
            found = self.cache.get_many(keys)
        except CacheError as error:
            self._do_without(error)
            return {}
        return {key: one for key, one in found.items() if np.isfinite(one.vectors).all()}

    def add(self, key: CacheKey, result: StoredWindows | L3clfError) -> None:
        """Add one that did not fail; it is written with others, or by `close`."""
        if isinstance(result, StoredWindows):
            self.pending[key] = result
        if len(self.pending) >= STORED_AT_ONCE:
            self.close()

    def close(self) -> None:
        """Write what was added."""
        if self.cache is not None and self.pending:
            try:
                self.cache.put_many(self.pending, fingerprint=self.embedder.fingerprint, embedder=self.embedder.name)
            except CacheError as error:  # what was computed is an answer, with or without a cache
                self._do_without(error)
        self.pending = {}

    def _do_without(self, error: CacheError) -> None:
        warn_of_unused_cache(error)
        self.cache = None
