"""The rows of a matrix that are nearest to a vector by cosine: blocks of a matrix product, and the best of each.

Rule: every row is compared, in float32; of rows that are equally near the first comes first.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray

__all__ = ["HIDDEN", "Found", "nearest_groups", "nearest_rows", "unit_rows"]

MAX_PRODUCT = 1 << 22  # numbers of a block of the matrix product: 16 MB
MAX_QUERIES = 256  # in a block
HIDDEN = -2.0  # below every cosine: rows that are not to be found

Found = tuple[NDArray[np.intp], FloatArray]
"""Rows, best first, and their cosines."""


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Return vectors divided by their lengths; a vector of zeros stays one.

    Parameters
    ----------
    vectors : array of shape (n, size)

    Returns
    -------
    array of shape (n, size), float32
    """
    found = np.array(vectors, np.float32)
    # The squares of very large or very small numbers are none in float32.
    found /= np.maximum(np.abs(found).max(axis=1, initial=0.0, keepdims=True), np.finfo(np.float32).tiny)
    lengths = np.sqrt(np.einsum("ij,ij->i", found, found))
    found /= np.where(lengths > 0, lengths, 1)[:, np.newaxis]
    return found


def nearest_rows(
    queries: FloatArray, rows: FloatArray, n: int, hidden: Sequence[NDArray[np.intp]] | None = None
) -> list[Found]:
    """Return the rows with the highest cosines to each query.

    Parameters
    ----------
    queries : array of shape (n_queries, size), float32
        Of length 1, as from `unit_rows`.
    rows : array of shape (n_rows, size), float32
        Of length 1.
    n : int
        How many to return; fewer where there are fewer.
    hidden : sequence of arrays of int, optional
        For each query the rows that are not to be found.

    Returns
    -------
    list of (array of shape (n,), array of shape (n,))
        For each query.
    """
    found: list[Found] = []
    for first in range(0, len(queries), MAX_QUERIES):
        some = queries[first : first + MAX_QUERIES]
        best: list[Found] = [_nothing()] * len(some)
        height = max(1, MAX_PRODUCT // max(1, len(some)))
        for start in range(0, len(rows), height):
            cosines = _cosines(some, rows, start, start + height, hidden and hidden[first : first + len(some)])
            best = [_better(old, row, start, n) for old, row in zip(best, cosines, strict=True)]
        found += best
    return found


def nearest_groups(
    queries: FloatArray,
    rows: FloatArray,
    starts: NDArray[np.intp],
    n: int,
    hidden: Sequence[NDArray[np.intp]] | None = None,
) -> list[Found]:
    """Return the best row of each group of rows, for the groups whose best rows are nearest to each query.

    Parameters
    ----------
    queries, rows, n, hidden
        See `nearest_rows`.
    starts : array of shape (n_groups,), int
        The first row of each group, ascending from 0; no group is empty.

    Returns
    -------
    list of (array of shape (n,), array of shape (n,))
        For each query the rows, at most one of each group.
    """
    found: list[Found] = []
    if not len(starts):
        return [_nothing()] * len(queries)
    ends = np.append(starts[1:], len(rows))
    at_once = int(np.clip(MAX_PRODUCT // len(rows), 1, MAX_QUERIES))
    for first in range(0, len(queries), at_once):
        some = queries[first : first + at_once]
        cosines = _cosines(some, rows, 0, len(rows), hidden and hidden[first : first + at_once])
        best = np.maximum.reduceat(cosines, starts, axis=1)
        for row, each in zip(cosines, best, strict=True):
            groups, values = _better(_nothing(), each, 0, n)
            places = [starts[k] + row[starts[k] : ends[k]].argmax() for k in groups]
            found.append((np.array(places, np.intp), values))
    return found


def _nothing() -> Found:
    return np.zeros(0, np.intp), np.zeros(0, np.float32)


def _cosines(
    queries: FloatArray, rows: FloatArray, start: int, stop: int, hidden: Sequence[NDArray[np.intp]] | None
) -> FloatArray:
    block = rows[start:stop]
    cosines = np.clip(queries @ block.T, -1, 1)
    for row, places in zip(cosines, hidden or (), strict=False):
        row[places[(places >= start) & (places < start + len(block))] - start] = HIDDEN
    return np.asarray(cosines)


def _better(old: Found, cosines: FloatArray, start: int, n: int) -> Found:
    """Return the best of what was found so far and of a block of rows that follow."""
    places, values = old
    limit = values[-1] if len(values) == n else np.float32(HIDDEN)
    # What is as good as the worst of n is not better: it comes later.
    candidates = np.flatnonzero(cosines > limit)
    if len(candidates) > n:
        worst = np.partition(cosines[candidates], len(candidates) - n)[len(candidates) - n]
        candidates = candidates[cosines[candidates] >= worst]
    places = np.concatenate([places, candidates + start])
    values = np.concatenate([values, cosines[candidates]])
    order = np.argsort(-values, kind="stable")[:n]
    return places[order], values[order]
