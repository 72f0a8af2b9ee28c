"""Pairs of near vectors in different folds, found in time that grows with the clips and not with their square.

Rule: the answer is that of comparing every pair. Random projections only say which pairs are worth comparing; they
miss a pair at the limit once in `MISSED`, and a nearer one less often. Where many clips are alike, they are compared
one by one, but only until each has its partners.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_TWINS", "Indices", "first_partners", "near_pairs"]

Indices: TypeAlias = NDArray[np.intp]

MAX_TWINS = 10  # per clip: among n copies of one clip there are n²/2 pairs
COLUMNS_AT_ONCE = 4096  # of which most clips with many copies find all their partners
BLOCK_CELLS = 10_000_000  # distances held at once: about 80 MB for any number of clips
MAX_COMPARED = 10_000  # vectors: up to here, comparing every pair is faster
MISSED = 1e-6  # probability that a pair at the limit is not found; at 0.8 of it: 1e-11
# Datar et al., Locality-Sensitive Hashing Scheme Based on p-Stable Distributions, SCG 2004: a key is a vector's cell
# in a grid of random directions. With these numbers, one of 14 tables has a pair at the limit in one bucket, one of
# 2,000 a pair at 2.5 times the limit, as within a class. Cells of 6 and 10 directions, of which 50 tables are enough,
# leave too many such pairs: 9 times the time at 10,000 vectors of 20 classes.
CELL, DIRECTIONS = 4.0, 12
MAX_BUCKET = 64  # larger ones hold clips that are alike, or silent
SKETCH = 32  # numbers of a vector that tell most far pairs


def near_pairs(vectors: NDArray[np.floating], limit: float, fold: Indices, seed: int = 0) -> Iterator[tuple[int, int]]:
    """Yield pairs in different folds that are closer than a limit, for each clip those with its first partners.

    Parameters
    ----------
    vectors : array of shape (n, size)
    limit : float
        Euclidean distance.
    fold : array of shape (n,), int
    seed : int, default=0
        Of the projections.

    Yields
    ------
    (int, int)
        Some more than once: a pair is among the first `MAX_TWINS` of either clip, or of both.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors)

    def close(rows: Indices, columns: slice) -> NDArray[np.bool_]:
        # |a - b|² = |a|² + |b|² - 2ab: one matrix product instead of a large array of differences.
        between = squares[rows, np.newaxis] + squares[columns] - 2 * vectors[rows] @ vectors[columns].T
        return np.asarray(between < limit**2)

    n = len(vectors)
    crowded = np.ones(n, np.bool_)
    if n > MAX_COMPARED and limit > 0:
        found, crowded = _hashed(vectors, limit, fold, np.random.default_rng(seed))
        rows, partners = np.concatenate([found, found[::-1]], axis=1)
        order = np.lexsort([partners, rows])
        rows, partners = rows[order], partners[order]
        kept = (_ranks(rows) < MAX_TWINS) & ~crowded[rows]
        yield from zip(rows[kept].tolist(), partners[kept].tolist(), strict=True)
    yield from first_partners(np.flatnonzero(crowded), fold, close)


def first_partners(
    rows: Indices, fold: Indices, close: Callable[[Indices, slice], NDArray[np.bool_]]
) -> Iterator[tuple[int, int]]:
    """Compare some clips with all others; yield for each the first `MAX_TWINS` in other folds that are close.

    Parameters
    ----------
    rows : array of shape (n_rows,), int
        The clips.
    fold : array of shape (n,), int
        Of all clips.
    close : callable
        Takes some of the rows and a slice of all clips, and returns which are close to which.
    """
    block = BLOCK_CELLS // COLUMNS_AT_ONCE
    for first in range(0, len(rows), block):
        left = rows[first : first + block]
        missing = np.full(len(left), MAX_TWINS)
        for start in range(0, len(fold), COLUMNS_AT_ONCE):
            columns = slice(start, start + COLUMNS_AT_ONCE)
            found, partners = np.nonzero(close(left, columns) & (fold[left, np.newaxis] != fold[columns]))
            kept = _ranks(found) < missing[found]
            yield from zip(left[found[kept]].tolist(), (partners[kept] + start).tolist(), strict=True)
            missing -= np.bincount(found[kept], minlength=len(left))
            left, missing = left[missing > 0], missing[missing > 0]


def _ranks(sorted_rows: Indices) -> Indices:
    """Return how often each value occurred before."""
    return np.arange(len(sorted_rows)) - np.searchsorted(sorted_rows, sorted_rows)


def _hashed(
    vectors: NDArray[np.floating], limit: float, fold: Indices, rng: np.random.Generator
) -> tuple[Indices, NDArray[np.bool_]]:
    """Return near pairs, shape (2, n_pairs), and which clips were in a bucket too large to be searched.

    Of the other clips, all pairs are found.
    """
    n, size = vectors.shape
    found = np.zeros(0, np.intp)  # a pair as one number: first * n + second
    crowded = np.zeros(n, np.bool_)
    sketch = np.asarray(vectors @ rng.standard_normal((size, SKETCH), np.float32), np.float32)
    for _ in range(_n_tables()):
        directions = rng.standard_normal((size, DIRECTIONS), np.float32) / np.float32(CELL * limit)
        cells = np.floor(vectors @ directions + rng.random(DIRECTIONS, np.float32)).astype(np.int64)
        keys = cells @ rng.integers(-(1 << 62), 1 << 62, DIRECTIONS)  # wraps around; an equal key by chance is harmless
        pairs = [np.zeros(0, np.intp)]
        for first, second in _in_one_bucket(keys, crowded):
            apart = fold[first] != fold[second]
            first, second = _closer(sketch, _sketched(limit), first[apart], second[apart])
            pairs.append(np.minimum(first, second) * n + np.maximum(first, second))
        first, second = _closer(vectors, limit, *np.divmod(np.setdiff1d(np.concatenate(pairs), found), n))
        found = np.union1d(found, first * n + second)
    return np.stack(np.divmod(found, n)), crowded


def _n_tables() -> int:
    """Return how many tables miss a pair at the limit with the probability `MISSED`."""
    from scipy.special import ndtr

    one = 1 - 2 * ndtr(-CELL) - 2 / (np.sqrt(2 * np.pi) * CELL) * (1 - np.exp(-(CELL**2) / 2))
    return int(np.ceil(np.log(MISSED) / np.log1p(-(one**DIRECTIONS))))


def _sketched(limit: float) -> float:
    """Return the distance of sketches that a pair at the limit exceeds less often than `MISSED`."""
    from scipy.stats import chi2

    return limit * float(np.sqrt(chi2.isf(MISSED, SKETCH)))  # a sum of `SKETCH` squared normal numbers


def _in_one_bucket(keys: NDArray[np.int64], crowded: NDArray[np.bool_]) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs of equal keys; mark those that are in too large a bucket instead."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    sizes = np.diff(starts, append=len(keys))
    large = np.repeat(sizes > MAX_BUCKET, sizes)
    crowded[order[large]] = True
    order, ordered = order[~large], ordered[~large]
    for step in range(1, MAX_BUCKET):
        same = np.flatnonzero(ordered[step:] == ordered[:-step])
        if not len(same):
            return
        yield order[same], order[same + step]


def _closer(vectors: NDArray[np.floating], limit: float, first: Indices, second: Indices) -> tuple[Indices, Indices]:
    """Return the pairs that are closer than a limit."""
    near = np.zeros(len(first), np.bool_)
    at_once = max(1, BLOCK_CELLS // vectors.shape[1])
    for start in range(0, len(first), at_once):
        part = slice(start, start + at_once)
        between = vectors[first[part]] - vectors[second[part]]
        near[part] = np.einsum("ij,ij->i", between, between) < limit**2
    return first[near], second[near]
