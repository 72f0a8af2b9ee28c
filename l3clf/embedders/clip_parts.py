"""The parts in which a clip is embedded, and how they become whole again.

Rule: parts may arrive in any order, and a clip is whole only when each of them has arrived.
"""

from dataclasses import dataclass

from l3clf.audio.clip import FloatArray
from l3clf.embedders.base import Embedder
from l3clf.errors import L3clfError
from l3clf.storage.cache_database import StoredWindows

__all__ = ["Part", "UnembeddedPart", "UnfinishedClip"]


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
    """

    clip: int
    number: int
    content: StoredWindows | L3clfError | None


@dataclass(frozen=True, eq=False)
class UnembeddedPart:
    """Windows of a part of one clip that wait for the network."""

    clip: int
    number: int
    windows: FloatArray


class UnfinishedClip:
    """Collects the parts of one clip, which may arrive in any order."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.batches: dict[int, StoredWindows] = {}
        self.n_parts: int | None = None
        self.error: L3clfError | None = None

    def add(self, part: Part) -> bool:
        """Add one part; return whether the clip is finished."""
        if isinstance(part.content, L3clfError):
            self.error = part.content
        elif part.content is None:
            self.n_parts = part.number
        else:
            self.batches[part.number] = part.content
        return self.error is not None or len(self.batches) == self.n_parts

    def result(self, embedder: Embedder) -> StoredWindows | L3clfError:
        """Return the windows of the whole clip, or what went wrong."""
        if self.error is not None:
            return self.error
        try:
            return embedder.join([self.batches[n] for n in range(len(self.batches))], self.label)
        except L3clfError as error:
            return error
