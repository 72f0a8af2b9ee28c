"""From clips to the vectors that are compared: windows as they are embedded, and the means of stretches of them.

Rule: windows of digital silence count for nothing: they would make any two clips with silence alike.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.audio.levels import SILENT_DBFS
from l3clf.classifier.clip_estimator import ClipEstimator
from l3clf.classifier.inputs import Item
from l3clf.embedders import WindowEmbeddings
from l3clf.pipeline import Outcome

__all__ = ["embed_items", "sound_windows", "stretches"]

WINDOWS_AT_ONCE = 4096  # of a recording, in double precision


def embed_items(estimator: ClipEstimator, items: Sequence[Item]) -> Iterator[tuple[int, Outcome]]:
    """Yield the place and the windows of each clip, or its error, with few of them in memory; in any order.

    Parameters
    ----------
    estimator : ClipEstimator
        What embeds them.
    items : sequence of Clip, Samples or WindowEmbeddings
        The last are embedded already.
    """
    todo = []
    for i, item in enumerate(items):
        if isinstance(item, WindowEmbeddings):
            yield i, item
        else:
            todo.append(i)
    if todo:
        with closing(estimator.embed_each([items[i] for i in todo])) as finished:
            for k, outcome in finished:
                yield todo[k], outcome


def stretches(windows: WindowEmbeddings, length: int | None) -> tuple[FloatArray, NDArray[np.float64]]:
    """Return the mean embedding of every stretch of consecutive windows, and its times.

    Parameters
    ----------
    windows : WindowEmbeddings
        Of one clip.
    length : int or None
        In windows; a clip that has fewer is one stretch. None means the whole clip.

    Returns
    -------
    vectors : array of shape (n, embedding_size), float32
        None for a stretch of digital silence.
    times_s : array of shape (n, 2), float64
        Start and end, as in `windows`.
    """
    n = len(windows)
    length = n if length is None else min(length, n)
    sounds = ~(windows.levels_dbfs < SILENT_DBFS)
    vectors, times_s = [windows.vectors[:0]], [windows.times_s[:0]]
    for first in range(0, n - length + 1 if n else 0, WINDOWS_AT_ONCE):
        last = min(first + WINDOWS_AT_ONCE, n - length + 1)  # stretches that begin before it
        part = slice(first, last + length - 1)
        heard = sounds[part]
        sums = _moving_sums(np.where(heard[:, np.newaxis], windows.vectors[part], 0), length)
        counts = _moving_sums(heard[:, np.newaxis], length)
        kept = counts[:, 0] > 0
        vectors.append((sums[kept] / counts[kept]).astype(np.float32))
        starts = np.arange(first, last)[kept]
        times_s.append(np.stack([windows.times_s[starts, 0], windows.times_s[starts + length - 1, 1]], axis=1))
    return np.concatenate(vectors), np.concatenate(times_s)


def sound_windows(windows: WindowEmbeddings) -> int:
    """Return how many windows the sound of a clip takes, without digital silence before and after it."""
    heard = np.flatnonzero(~(windows.levels_dbfs < SILENT_DBFS))
    return int(heard[-1] - heard[0] + 1) if len(heard) else 0


def _moving_sums(values: NDArray[np.generic], length: int) -> NDArray[np.float64]:
    if length == len(values):
        return np.asarray(np.sum(values, axis=0, dtype=np.float64, keepdims=True))
    if length == 1:
        return np.asarray(values, np.float64)
    sums = np.cumsum(np.concatenate([np.zeros_like(values[:1]), values]), axis=0, dtype=np.float64)
    return np.asarray(sums[length:] - sums[:-length])
