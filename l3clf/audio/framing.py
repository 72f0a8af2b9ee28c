"""How a clip becomes windows, and how loud each of them is.

Rule: a clip gives the same windows whether it is read at once or in blocks, and each window has a start and end time.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.errors import ParameterError

__all__ = ["SILENCE_DBFS", "Cutter", "Framing", "level_dbfs"]

SILENCE_DBFS = -200.0
"""The level given to digital silence, whose logarithm is minus infinity."""

MAX_HOP_S = 1e6  # eleven days: larger values are mistakes, and infinity has no number of samples


@dataclass(frozen=True)
class Framing:
    """How a clip is cut into windows: the rule of the openl3 package, for any window and hop.

    With `center`, half a window of zeros precedes the clip, so that the first window is centred on the start of the
    clip. The end is padded with zeros to a whole number of hops, so that no sample is lost; a clip shorter than one
    window is padded to one window.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    window : int
        Samples in a window.
    hop : int
        Samples from the start of one window to the start of the next.
    center : bool
        Whether the first window is centred on the start of the clip.
    """

    sample_rate: int
    window: int
    hop: int
    center: bool

    @classmethod
    def of(cls, sample_rate: int, window_s: float, hop_s: float, center: bool) -> "Framing":
        """Make a framing from a window and a hop in seconds; both are rounded to whole samples.

        Raises
        ------
        ParameterError
            If `hop_s` is not a number, is shorter than one sample or longer than 1e6 s.
        """
        if not isinstance(hop_s, int | float | np.number) or isinstance(hop_s, bool):
            raise ParameterError(f"hop_s={hop_s!r}; expected a number of seconds, such as 0.5")
        if not (hop_s <= MAX_HOP_S and round(hop_s * sample_rate) >= 1):  # false for NaN, too
            raise ParameterError(f"hop_s={hop_s}; expected a positive number of seconds up to 1e6, such as 0.5")
        return cls(sample_rate, round(window_s * sample_rate), round(hop_s * sample_rate), bool(center))

    @property
    def lead(self) -> int:
        """Number of zeros before the clip, in samples."""
        return self.window // 2 if self.center else 0

    def count(self, n_samples: int) -> int:
        """Return the number of windows in a clip of `n_samples` samples."""
        rest = n_samples + self.lead - self.window
        return 1 + max(0, math.ceil(rest / self.hop))

    def times_s(self, n_windows: int, first: int = 0) -> NDArray[np.float64]:
        """Return the start and end of windows in seconds from the start of the clip, shape (n_windows, 2).

        Those of the first windows, or from the window with the number `first` on.

        Examples
        --------
        >>> Framing.of(48000, 1.0, 0.5, center=True).times_s(2).tolist()
        [[-0.5, 0.5], [0.0, 1.0]]
        """
        times = np.empty((n_windows, 2))
        times[:, 0] = np.arange(first, first + n_windows) * self.hop - self.lead
        np.add(times[:, 0], self.window, out=times[:, 1])
        times /= self.sample_rate
        return times

    def windows(self, blocks: Iterable[FloatArray], max_windows: int = 64) -> Iterator[FloatArray]:
        """Cut blocks of one clip into windows.

        Parameters
        ----------
        blocks : iterable of arrays of shape (n,)
            The clip's samples in order, mono, at `sample_rate`.
        max_windows : int, default=64
            Largest number of windows in one yielded array, which bounds the memory needed.

        Yields
        ------
        array of shape (n_windows, window), float32
            Consecutive windows; the arrays together hold all windows of the clip.
        """
        cutter = Cutter(self)
        for block in blocks:
            yield from cutter.push(block, max_windows)
        if len(last := cutter.finish()):
            yield last


class Cutter:
    """Cuts the samples of one clip or stream into windows as they come; it keeps less than a window and a block.

    Parameters
    ----------
    framing : Framing
    """

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._blocks = [np.zeros(framing.lead, np.float32)]  # not yet joined: a stream may come in tiny ones
        self._held = framing.lead
        self._skip = 0  # samples still to be dropped, where a hop is longer than a window
        self._n_samples = self._n_windows = 0

    def push(self, block: FloatArray, max_windows: int = 64) -> Iterator[FloatArray]:
        """Take a block; yield the windows that it completes, at most `max_windows` in one array.

        Parameters
        ----------
        block : array of shape (n,), float32
            A copy is not made: it must not be changed later.
        max_windows : int, default=64

        Yields
        ------
        array of shape (n_windows, window), float32
        """
        framing = self._framing
        self._n_samples += len(block)
        dropped = min(self._skip, len(block))
        self._skip -= dropped
        self._blocks.append(block[dropped:])
        self._held += len(block) - dropped
        if self._held < framing.window:
            return
        pending = np.concatenate(self._blocks)
        ready = (len(pending) - framing.window) // framing.hop + 1
        self._n_windows += ready
        rest = pending[ready * framing.hop :].copy()  # else a long block would stay in memory
        self._skip = max(0, ready * framing.hop - len(pending))
        self._blocks, self._held = [rest], len(rest)  # before the windows, which the caller may not all take
        for first in range(0, ready, max_windows):
            yield self._cut(pending, first, min(max_windows, ready - first))

    def finish(self) -> FloatArray:
        """Return the last window, padded with zeros, if samples are left that no window holds; shape (0 or 1, window).

        A clip without any window has one.
        """
        window = self._framing.window
        if self._n_windows >= self._framing.count(self._n_samples):
            return np.zeros((0, window), np.float32)
        # At most one window is left: the one that needs padding at the end.
        return np.pad(np.concatenate(self._blocks), (0, window - self._held))[np.newaxis]

    def _cut(self, pending: FloatArray, first: int, n: int) -> FloatArray:
        # Windows overlap in the view; inference engines need contiguous memory, hence the copy.
        view = np.lib.stride_tricks.sliding_window_view(pending, self._framing.window)
        return np.ascontiguousarray(view[first * self._framing.hop :: self._framing.hop][:n])


def level_dbfs(windows: FloatArray) -> FloatArray:
    """Return the RMS level of each window in dB relative to full scale.

    A constant 1.0 has 0 dBFS and a full-scale sine -3.01 dBFS; digital silence is reported as -200 dBFS.

    Parameters
    ----------
    windows : array of shape (n_windows, n_samples)
        Full scale at 1.0.

    Returns
    -------
    array of shape (n_windows,), float32
    """
    # einsum sums the squares in double precision without a second array as large as the windows.
    power = np.einsum("ij,ij->i", windows, windows, dtype=np.float64) / windows.shape[1]
    floor = 10 ** (SILENCE_DBFS / 10)
    return np.asarray(10 * np.log10(np.maximum(power, floor)), np.float32)
