"""Embedding clips on several threads.

Rule: threads do the work, each running a single-threaded network: decoding, the front-end and the network all release
the interpreter's lock, so every core stays busy. The batches of a large file depend on nothing but its content, so that
an interrupted run that is continued gives the same bits.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np

from l3clf.audio.clip import FloatArray, Samples, Source
from l3clf.audio.levels import LevelNote, collecting
from l3clf.embedders.base import Embedder
from l3clf.embedders.clip_parts import WHOLE, Part, UnembeddedPart, UnfinishedClip
from l3clf.errors import AudioError, L3clfError
from l3clf.networks.threads import in_parallel, one_blas_thread
from l3clf.storage.atomic import file_state
from l3clf.storage.cache_database import StoredWindows

__all__ = ["CLIPS_AT_ONCE", "LARGE_FILE_BYTES", "PIECE_WINDOWS", "Found", "Run", "is_large", "piece_parts"]

CLIPS_AT_ONCE = 4  # several short clips fill a batch; few, so that all threads stay busy to the end
LARGE_FILE_BYTES = 4_000_000  # below this, sharing one file between cores costs more than it saves
MIN_JOBS = 8  # if there are as many clips
PIECE_WINDOWS = 1024  # an interruption costs this much: nine minutes of sound with hops of half a second

Found: TypeAlias = StoredWindows | Mapping[int, StoredWindows]
"""What is known of a clip: all of its windows, or those of some of its pieces."""
Job: TypeAlias = Callable[[], list[Part]]


def _nothing(indices: Sequence[int]) -> Mapping[int, Found]:
    return {}


def _ignore(*values: object) -> None:
    pass


@dataclass
class Run:
    """Embeds clips on several threads.

    Small clips are handed out a few at a time; one thread reads and embeds them. A large file is read in
    the thread that consumes the results, and its windows are handed out to the others, so that one file
    keeps every core busy and never has to fit in memory.

    Parameters
    ----------
    embedder : Embedder
    hop_s, center
        See `Embedder.embed`.
    threads : int
    look_up : callable
        Given the indices of clips, returns by index what is known of them.
    keep_piece : callable
        Called with the index of a large clip, the place of a piece of it that has just been computed, and its windows.
    tell_windows : callable
        Called with the index of a large clip and the number of its windows that have just been found or computed.

    Attributes
    ----------
    notes : dict of int to list of LevelNote
        What is doubtful about the level of each clip that was read.
    """

    embedder: Embedder
    hop_s: float
    center: bool
    threads: int
    look_up: Callable[[Sequence[int]], Mapping[int, Found]] = _nothing
    keep_piece: Callable[[int, int, StoredWindows], None] = _ignore
    tell_windows: Callable[[int, int], None] = _ignore
    notes: dict[int, list[LevelNote]] = field(default_factory=dict)

    def embed(
        self, clips: Sequence[tuple[int, Source]], at_once: int | None = None
    ) -> Generator[tuple[int, StoredWindows | L3clfError], None, None]:
        """Yield (index, result) as clips finish: about in their order, but in any.

        Parameters
        ----------
        clips : sequence of (int, Source)
        at_once : int or None
            How many clips are looked up together, whose windows are then in memory together; None is all of them.
        """
        if os.environ.get("L3CLF_PROVIDERS"):  # mostly not, and ONNX Runtime takes longer to import than all else here
            from l3clf.networks.providers import chosen_providers

            chosen_providers()  # a name that is wrong is not the fault of a clip
        unfinished: dict[int, UnfinishedClip] = {}
        with one_blas_thread():  # our threads already use every core; BLAS threads would compete
            for parts in in_parallel(self._jobs(clips, at_once or max(1, len(clips)), unfinished), self.threads):
                for part in parts:
                    if part.span == WHOLE and part.content is not None:
                        yield part.clip, part.content
                    # Parts of a clip may still arrive after one of them failed.
                    elif part.clip in unfinished and self._add(unfinished[part.clip], part):
                        yield part.clip, unfinished.pop(part.clip).result()

    def _add(self, clip: UnfinishedClip, part: Part) -> bool:
        """Add a part to its clip; return whether that is finished."""
        piece = clip.add(part)
        if piece is not None:
            self.keep_piece(part.clip, part.number // clip.piece_parts, piece)
        if clip.piece_parts and isinstance(part.content, StoredWindows):
            self.tell_windows(part.clip, len(part.content.vectors))
        return clip.is_finished

    def _jobs(
        self, clips: Sequence[tuple[int, Source]], at_once: int, unfinished: dict[int, UnfinishedClip]
    ) -> Iterator[Job]:
        size = clips_of_a_job(self.embedder, len(clips))
        for first in range(0, len(clips), at_once):
            chunk = clips[first : first + at_once]
            found = dict(self.look_up([i for i, _ in chunk]))
            known = [Part(i, 0, each, WHOLE) for i, each in found.items() if isinstance(each, StoredWindows)]
            if known:
                yield partial(list, known)
            group: list[tuple[int, Source]] = []
            for i, source in chunk:
                pieces = found.pop(i, {})
                if isinstance(pieces, StoredWindows):
                    continue
                large = is_large(source)
                unfinished[i] = UnfinishedClip(self.embedder, str(source), piece_parts(self.embedder) if large else 0)
                if large:
                    yield from self._large_file_jobs(i, source, dict(pieces))
                    continue
                group.append((i, source))
                if len(group) == size:
                    yield partial(self._embed_group, group)
                    group = []
            if group:
                yield partial(self._embed_group, group)

    def _large_file_jobs(self, i: int, source: Source, pieces: dict[int, StoredWindows]) -> Iterator[Job]:
        """Read a large file; what an earlier run computed of it is read too, for its checks, but not embedded."""
        n = 0
        failure: L3clfError | None = None
        size = piece_parts(self.embedder)
        try:
            for windows in self._full_batches(i, source):
                piece, place = divmod(n, size)
                if piece not in pieces:
                    yield partial(self._embed_parts, [UnembeddedPart(i, n, windows)])
                elif place == size - 1 and len(windows) == self.embedder.batch_windows:  # the whole piece has been read
                    yield partial(list, [Part(i, n - place, pieces.pop(piece), size)])
                n += 1
            if any(piece * size < n for piece in pieces):  # begun, but not read to its end
                failure = AudioError(
                    f"{source}: ends earlier than it did before; wait until it is complete and try again"
                )
        except L3clfError as error:
            failure = error
        yield partial(list, [Part(i, n, failure)])

    def _full_batches(self, i: int, source: Source) -> Iterator[FloatArray]:
        """Yield the windows of a clip in batches that are full, all but the last."""
        size = self.embedder.batch_windows
        waiting: list[FloatArray] = []
        for windows in self._windows(i, source):
            waiting.append(windows)
            if sum(map(len, waiting)) >= size:
                joined = np.concatenate(waiting)
                yield joined[:size]
                waiting = [joined[size:]] if len(joined) > size else []
        if waiting:
            yield np.concatenate(waiting)

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


def piece_parts(embedder: Embedder) -> int:
    """Return the number of full batches in a piece of a large file."""
    return max(1, PIECE_WINDOWS // embedder.batch_windows)


def clips_of_a_job(embedder: Embedder, n_clips: int) -> int:
    """Return how many clips fill batches together; a few clips are shared between threads instead.

    The number of threads does not matter: the last bits of vectors depend on what they are computed with.
    """
    return 1 if embedder.batch_windows == 1 else min(CLIPS_AT_ONCE, max(1, n_clips // MIN_JOBS))


def is_large(source: Source) -> bool:
    """Return whether a clip is embedded as a large file; copies of it are, too."""
    if isinstance(source, Samples):
        return bool(source.samples.nbytes > LARGE_FILE_BYTES)
    try:
        return file_state(source.path).size_bytes > LARGE_FILE_BYTES
    except (OSError, ValueError):
        return False
