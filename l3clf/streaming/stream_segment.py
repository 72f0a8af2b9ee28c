"""An unbroken piece of a stream: samples in, embedded windows out.

Rule: its windows are those of a clip of the same samples with ``center=False``, however they come; what is kept is less
than a window, and what the resampler holds.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l3clf.audio.clip import FloatArray
from l3clf.audio.decode import check_finite, check_shape, scaled
from l3clf.audio.framing import Cutter
from l3clf.audio.levels import LevelNote, Meter, collecting, warn_of
from l3clf.audio.resampling import Resampler
from l3clf.embedders import Embedder, WindowEmbeddings
from l3clf.storage.cache_database import StoredWindows

__all__ = ["STREAM", "Segment"]

STREAM = "stream"
"""The stream's name in messages."""

TOLD_AT_ONCE = ("loud", "cancelled")  # other doubts about the level are certain only at the end


class Segment:
    """A piece of a stream without gaps, at one sample rate.

    Parameters
    ----------
    embedder : Embedder
    hop_s : float
        From the start of one window to the start of the next, in seconds.
    sample_rate : float
        In Hz, of the samples that come.
    full_scale : float or None
        The value of a sample at full scale, if it is another than that of its type.
    start_s : float
        When it begins, in seconds from the start of the stream.
    """

    def __init__(
        self, embedder: Embedder, hop_s: float, sample_rate: float, full_scale: float | None, start_s: float
    ) -> None:
        self.sample_rate, self.start_s = sample_rate, start_s
        self._embedder, self._full_scale = embedder, full_scale
        self._framing = embedder.framing(hop_s, center=False)
        self._resampler, self._cutter = Resampler(sample_rate, embedder.sample_rate), Cutter(self._framing)
        self._meter = Meter(STREAM, full_scale)
        self._told: set[str] = set()
        self._n_samples = self._n_windows = 0

    @property
    def end_s(self) -> float:
        """Where the samples that came end, in seconds from the start of the stream."""
        return self.start_s + self._n_samples / self.sample_rate

    def push(self, samples: ArrayLike) -> WindowEmbeddings:
        """Take samples; return the windows that they complete, with times from the start of the stream.

        Parameters
        ----------
        samples : array of shape (n,) or (n, channels)

        Raises
        ------
        AudioError
            If their shape or type is wrong, or one is NaN, infinite or above 1e10: none of them is taken then.
        """
        array = np.asarray(samples)
        check_shape(array, STREAM)
        block = scaled(array, STREAM, self._scale_of(array))
        peaks = block if block.ndim == 1 else np.abs(block).max(axis=1)
        check_finite(peaks, STREAM, self.end_s, self.sample_rate)
        # A copy, because the caller may use its buffer again.
        mixed = np.array(self._meter.mixed(block), np.float32) if len(block) else np.zeros(0, np.float32)
        self._n_samples += len(mixed)
        return self._embedded(self._cutter.push(self._resampler.push(mixed), self._embedder.batch_windows))

    def finish(self) -> WindowEmbeddings:
        """Return the windows at the end, of which the last may be padded with zeros; nothing can be pushed later."""
        n = self._embedder.batch_windows
        last = [*self._cutter.push(self._resampler.finish(), n), self._cutter.finish()]
        found = self._embedded(windows for windows in last if len(windows))
        notes: list[LevelNote] = []
        with collecting(notes):
            self._meter.finish()
        self._tell(notes)
        return found

    def _scale_of(self, array: NDArray[Any]) -> float | None:
        """Return the full scale of samples; stated for integers too, so that they are not taken for those of a clip.

        Where it is not stated, a quiet clip of wide integers is asked about: a part of a stream may be quiet.
        """
        if self._full_scale is None and array.dtype.kind == "i":
            return -float(np.iinfo(array.dtype).min)
        return self._full_scale

    def _embedded(self, batches: Iterable[FloatArray]) -> WindowEmbeddings:
        notes: list[LevelNote] = []
        with collecting(notes):
            found = [self._embedder.embed_batch(windows) for windows in batches]
            if found:
                self._meter.finish()
        self._tell(note for note in notes if note.kind in TOLD_AT_ONCE)
        size = self._embedder.embedding_size
        empty = StoredWindows(np.zeros((0, size), np.float32), np.zeros(0, np.float32))
        stored = self._embedder.join([empty, *found], STREAM)
        n, first = len(stored.vectors), self._n_windows
        self._n_windows += n
        return WindowEmbeddings(stored.vectors, self._framing.times_s(n, first) + self.start_s, stored.levels_dbfs)

    def _tell(self, notes: Iterable[LevelNote]) -> None:
        """Warn of what is new: once in a stream, however long it is wrong."""
        new = {note.kind: note for note in reversed([*notes]) if note.kind not in self._told}
        self._told |= set(new)
        warn_of(new.values(), 1, stacklevel=5)
