"""The parts in which a clip is embedded, and how they become whole again.

Rule: parts may arrive in any order, and a clip is whole only when each of them has arrived. A long clip is put together
in pieces of a fixed number of windows, each of which can be kept before the clip is whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from l3clf.audio.clip import FloatArray
from l3clf.embedders.base import Embedder
from l3clf.errors import L3clfError
from l3clf.storage.cache_database import StoredWindows

__all__ = ["WHOLE", "Part", "UnembeddedPart", "UnfinishedClip"]

WHOLE = 0
"""The span of a part that is the whole clip."""


@dataclass(frozen=True, eq=False)
class Part:
    """A finished part of one clip.

    Attributes
    ----------
    clip : int
        Index of the clip.
    number : int
        Position of the part in the clip; where `content` is None, the number of parts in the clip.
    content : StoredWindows, L3clfError or None
        The part's windows, what went wrong, or None as the end mark of the clip.
    span : int, default=1
        For how many parts it stands: a piece that was kept stands for all of its own, `WHOLE` for all of the clip.
    """

    clip: int
    number: int
    content: StoredWindows | L3clfError | None
    span: int = 1


@dataclass(frozen=True, eq=False)
class UnembeddedPart:
    """Windows of a part of one clip that wait for the network."""

    clip: int
    number: int
    windows: FloatArray


class UnfinishedClip:
    """Collects the parts of one clip, which may arrive in any order.

    Parameters
    ----------
    embedder : Embedder
    label : str
        The clip, for messages.
    piece_parts : int
        Number of parts in a piece; 0 if the clip is not put together in pieces.
    """

    def __init__(self, embedder: Embedder, label: str, piece_parts: int = 0) -> None:
        self.embedder, self.label, self.piece_parts = embedder, label, piece_parts
        self.parts: dict[int, StoredWindows] = {}  # pieces too, each under the number of its first part
        self.counts: dict[int, int] = {}  # by piece, how many parts have arrived
        self.n_arrived = 0
        self.n_parts: int | None = None
        self.error: L3clfError | None = None

    def add(self, part: Part) -> StoredWindows | None:
        """Add one part; return the piece that it completes, unless that was kept already."""
        if isinstance(part.content, L3clfError):
            self.error = part.content
        elif part.content is None:
            self.n_parts = part.number
        else:
            self.parts[part.number] = part.content
            self.n_arrived += part.span
            if self.piece_parts and part.span == 1:
                return self._completed(part.number // self.piece_parts)
        return None

    @property
    def is_finished(self) -> bool:
        """Whether each part has arrived, or one has failed."""
        return self.error is not None or self.n_arrived == self.n_parts

    def _completed(self, piece: int) -> StoredWindows | None:
        self.counts[piece] = self.counts.get(piece, 0) + 1
        if self.counts[piece] < self.piece_parts:
            return None
        first = piece * self.piece_parts
        try:
            self.parts[first] = self._joined(range(first, first + self.piece_parts))
        except L3clfError as error:
            self.error = error
            return None
        return self.parts[first]

    def result(self) -> StoredWindows | L3clfError:
        """Return the windows of the whole clip, or what went wrong; to be called once."""
        if self.error is not None:
            return self.error
        n_parts = self.n_parts or 0
        first = n_parts // self.piece_parts * self.piece_parts if self.piece_parts else 0
        try:
            if first < n_parts:  # the windows after the last whole piece
                self.parts[first] = self._joined(range(first, n_parts))
            return self.parts[first] if len(self.parts) == 1 and first in self.parts else _emptied(self.parts)
        except L3clfError as error:
            return error

    def _joined(self, numbers: Iterable[int]) -> StoredWindows:
        return self.embedder.join([self.parts.pop(number) for number in numbers], self.label)


def _emptied(parts: dict[int, StoredWindows]) -> StoredWindows:
    """Join parts, each of which is freed as soon as it is copied: the whole is never in memory twice."""
    numbers = sorted(parts)
    n_windows = sum(len(part.vectors) for part in parts.values())
    vectors = np.empty((n_windows, parts[numbers[0]].vectors.shape[1]), np.float32)
    levels = np.empty(n_windows, np.float32)
    end = 0
    for number in numbers:
        part = parts.pop(number)
        start, end = end, end + len(part.vectors)
        vectors[start:end], levels[start:end] = part.vectors, part.levels_dbfs
    return StoredWindows(vectors, levels)
