"""Which clips are done, what the cache has of them, and what it gets.

Rule: what was computed is stored only for the content that it was computed from: a file that changed meanwhile is not.
"""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from l3clf.audio.clip import Clip, Samples, Source, full_scale_of
from l3clf.audio.decode import check_header, check_mix, decode_revision, mono
from l3clf.audio.levels import LevelNote, check_levels, collecting
from l3clf.embedders.base import Embedder
from l3clf.embedders.parallel_run import Found, is_large, piece_parts
from l3clf.errors import AudioError, CacheError, CacheWarning, L3clfError
from l3clf.storage.atomic import FileState, file_state
from l3clf.storage.embedding_cache import (
    CacheKey,
    EmbeddingCache,
    FileIdentity,
    StoredWindows,
    array_digest,
    cache_key,
    file_identity,
)
from l3clf.storage.long_clips import last_entries, piece_entry, read_long, read_pieces

__all__ = ["Store", "Work", "identities", "warn_of_unused_cache"]

FAINT_DBFS = -60.0  # of a clip from the cache: few are below it, so that these can be read again for their channels
STORE_EVERY_S = 0.5  # a transaction per clip is slow; a crash loses about this much work


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


def warn_of_unused_cache(error: CacheError) -> None:
    """Warn that the cache cannot be used."""
    warnings.warn(f"{error}; this run goes on without storing what it computes", CacheWarning, stacklevel=4)


class Work:
    """Which clips are done, and which have the same content and are embedded only once.

    Parameters
    ----------
    sources : sequence of Clip or Samples
    embedder : Embedder
    """

    def __init__(self, sources: Sequence[Source], embedder: Embedder) -> None:
        self.sources, self.embedder = sources, embedder
        self.cache: EmbeddingCache | None = None
        self.hop_s = 0.0
        self.keys: dict[int, CacheKey] = {}
        self.same: dict[int, list[int]] = {i: [i] for i in range(len(sources))}
        self.states: dict[int, FileState | None] = {}
        self.decoders: dict[int, str] = {}
        self.contents: dict[int, bytes] = {}
        self.unidentified: dict[int, L3clfError] = {}
        self.known: set[int] = set()  # found in the cache
        self.failed: set[int] = set()
        self.done: set[int] = set()
        self.notes: dict[int, list[LevelNote]] = {}

    def identify(self, cache: EmbeddingCache, hop_s: float, center: bool) -> None:
        """Find out the keys of the clips, and which share one."""
        states = {i: _state_of(source) for i, source in enumerate(self.sources)}
        found = identities(self.sources, cache)
        self.cache, self.hop_s, self.states, self.same = cache, hop_s, states, {}
        first: dict[CacheKey, int] = {}
        revisions = {each.decoder: decode_revision(each.decoder) for each in found if isinstance(each, FileIdentity)}
        for i, identity in enumerate(found):
            if isinstance(identity, L3clfError):
                self.unidentified[i], self.same[i] = identity, [i]
                self.done.add(i)
                self.failed.add(i)
                continue
            self.decoders[i], self.contents[i] = identity.decoder, identity.content
            source = self.sources[i]
            start_s, end_s = (source.start_s, source.end_s) if isinstance(source, Clip) else (0.0, None)
            revision = revisions[identity.decoder]
            scale = full_scale_of(source)
            fingerprint = self.embedder.fingerprint
            key = cache_key(identity.content, start_s, end_s, fingerprint, hop_s, center, revision, scale)
            leader = first.setdefault(key, i)  # embedded once; its copies share the result
            self.keys[leader] = key
            self.same.setdefault(leader, []).append(i)

    def look_up(self, indices: Sequence[int]) -> dict[int, Found]:
        """Return what the cache has of some clips: their windows, or the pieces of a large one."""
        if self.cache is None:
            return {}
        try:
            found = self._looked_up(self.cache, [i for i in indices if i in self.keys])
        except CacheError as error:
            warn_of_unused_cache(error)
            self.cache = None
            return {}
        whole = {i: each for i, each in found.items() if isinstance(each, StoredWindows)}
        self.known |= set(whole)
        for i, stored in whole.items():
            self.notes[i] = self._level_notes(i, stored)
        return found

    def _looked_up(self, cache: EmbeddingCache, indices: Sequence[int]) -> dict[int, Found]:
        stored = cache.get_many([self.keys[i] for i in indices])
        size, width = piece_parts(self.embedder) * self.embedder.batch_windows, self.embedder.embedding_size
        found: dict[int, Found] = {}
        for i in indices:
            one = stored.pop(self.keys[i], None)
            if one is not None and np.isfinite(one.vectors).all():  # earlier versions stored what is now rejected
                found[i] = one
            if one is None and self._may_be_long(self.sources[i], size):
                long = read_long(cache, self.keys[i])
                found[i] = read_pieces(cache, self.keys[i], size, width) if long is None else long
        return found

    def _may_be_long(self, source: Source, size: int) -> bool:
        """Return whether a clip can have pieces of so many windows: not if it is a short piece of a large file."""
        if isinstance(source, Clip) and source.end_s is not None:
            length_s = source.end_s - source.start_s + self.embedder.window_s
            if length_s < (size - 1) * self.hop_s:
                return False
        return is_large(source)

    def _level_notes(self, i: int, stored: StoredWindows) -> list[LevelNote]:
        """Return what is doubtful about the level and header of a clip that comes from the cache."""
        notes: list[LevelNote] = []
        source = self.sources[i]
        with collecting(notes):
            if isinstance(source, Samples):
                mono(source.samples, source.label, source.full_scale)
            else:
                check_levels(stored.levels_dbfs, str(source), full_scale_of(source))
                with suppress(AudioError):  # it was good when it was embedded
                    check_header(source, self.decoders[i])
                    if stored.levels_dbfs.max(initial=-np.inf) < FAINT_DBFS:
                        check_mix(source)
        return notes

    def for_each_clip(self) -> Iterator[LevelNote]:
        """Yield the notes in the order of the clips, and those of a clip again for each of its copies."""
        return (note for i in sorted(self.notes) for note in self.notes[i] for _ in self.same.get(i, ()))

    def to_do(self) -> list[int]:
        """Return the clips that are not done, one for each content."""
        return [i for i in self.same if i not in self.done]

    def settle(self, i: int, result: StoredWindows | L3clfError) -> list[int]:
        """Record that a clip is done; return the clips that this finishes: it and its copies.

        If it failed, or its file changed while it was read, the clips that shared it are embedded on their own.
        """
        self.done.add(i)
        failed = isinstance(result, L3clfError)
        if failed:
            self.failed.add(i)
        if failed or self._has_changed(i):
            for other in self.same[i][1:]:
                self.same[other], self.keys[other] = [other], self.keys[i]
            self.same[i] = [i]
        return self.same[i]

    def key_to_store(self, i: int) -> CacheKey | None:
        """Return the key to store a clip under, or None if it is not to be stored."""
        # A file that changed while it was read has embeddings that may belong to neither content.
        return None if i in self.known or self._has_changed(i) else self.keys.get(i)

    def _has_changed(self, i: int) -> bool:
        return i in self.states and i not in self.known and _state_of(self.sources[i]) != self.states[i]


def _state_of(source: Source) -> FileState | None:
    if isinstance(source, Samples):
        return None
    try:
        return file_state(source.path)
    except (OSError, ValueError):
        return None


@dataclass
class Store:
    """Collects finished clips, and pieces of large ones, and writes them to the cache, many in one transaction.

    Parameters
    ----------
    embedder : Embedder
    work : Work
        Has the cache, and the keys.
    """

    embedder: Embedder
    work: Work
    pending: dict[CacheKey, StoredWindows] = field(default_factory=dict)
    last_s: float = field(default_factory=time.monotonic)

    def add(self, i: int, result: StoredWindows | L3clfError) -> None:
        """Add a finished clip: of a long one whose pieces were added, only the rest."""
        size = piece_parts(self.embedder) * self.embedder.batch_windows
        key = self.work.key_to_store(i)
        if key is None or isinstance(result, L3clfError):
            return
        long = len(result.vectors) >= size and is_large(self.work.sources[i])
        self._put(last_entries(key, size, result) if long else {key: result})

    def add_piece(self, i: int, number: int, piece: StoredWindows) -> None:
        """Add a piece of a large clip that is not finished."""
        size = piece_parts(self.embedder) * self.embedder.batch_windows
        key = self.work.key_to_store(i)
        if key is not None:
            self._put(piece_entry(key, size, number, piece))

    def _put(self, entries: Mapping[CacheKey, StoredWindows]) -> None:
        if self.work.cache is not None:
            self.pending |= entries
            if time.monotonic() - self.last_s > STORE_EVERY_S:
                self.flush()

    def flush(self) -> None:
        """Write what was added."""
        cache = self.work.cache
        if cache is not None and self.pending:
            try:
                cache.put_many(self.pending, fingerprint=self.embedder.fingerprint, embedder=self.embedder.name)
            except CacheError as error:  # what was computed is an answer, with or without a cache
                warn_of_unused_cache(error)
                self.work.cache = None
            self.pending = {}
        self.last_s = time.monotonic()
