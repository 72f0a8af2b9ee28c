"""Where a microphone's callback leaves its samples: memory of fixed size with one writer and one reader.

Rule: the writer copies and counts, and neither waits nor allocates. What does not fit is counted where it is missing.
Numbers are only ever changed by one of the two, after the samples that they speak of, so no lock is needed.
"""

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray

__all__ = ["RingBuffer"]

MAX_LOSSES = 64  # that wait for the reader; more are one with what is lost between them


class RingBuffer:
    """Samples on their way from one thread to another.

    Once it is full, nothing is taken until half of it is free again: one long gap can be understood, a thousand short
    ones would leave no window whole.

    Parameters
    ----------
    n_samples : int
        How many it holds.
    """

    def __init__(self, n_samples: int) -> None:
        self._samples = np.zeros(n_samples, np.float32)
        self._losses = np.zeros((MAX_LOSSES, 2), np.int64)  # after how many samples, and how many are missing there
        self._written = self._noted = 0  # the writer's
        self._read = self._told = 0  # the reader's
        self._is_full = self._has_lost = False
        self._lost = 0

    def lose(self, n: int) -> None:
        """Note that samples were lost before the next that are written; 0 where their number is not known."""
        self._has_lost = True
        self._lost += n

    def write(self, block: NDArray[np.float32]) -> None:
        """Take samples, shape (n,), or count them as lost."""
        n, size = len(block), len(self._samples)
        free = size - (self._written - self._read)
        self._is_full = n > free or (self._is_full and 2 * free < size)
        if self._is_full or (self._has_lost and self._noted - self._told >= MAX_LOSSES):
            self.lose(n)
            return
        if self._has_lost:
            self._losses[self._noted % MAX_LOSSES] = self._written, self._lost
            self._noted += 1
            self._has_lost, self._lost = False, 0
        at = self._written % size
        first = min(n, size - at)
        self._samples[at : at + first] = block[:first]
        self._samples[: n - first] = block[first:]
        self._written += n

    def read(self) -> FloatArray | int | None:
        """Return the next samples, how many were lost before the next ones, or None if there is nothing."""
        end, size = self._written, len(self._samples)  # before the losses: those of later samples must not be missed
        if self._told < self._noted:
            position, lost = self._losses[self._told % MAX_LOSSES].tolist()
            if position == self._read:
                self._told += 1
                return int(lost)
            end = min(end, position)
        if end == self._read:
            return None
        at = self._read % size
        n = min(end - self._read, size - at)
        samples = self._samples[at : at + n].copy()
        self._read += n
        return samples

    def lost_at_the_end(self) -> int | None:
        """Return how many samples were lost after the last that can be read; None if none were."""
        return self._lost if self._has_lost else None
