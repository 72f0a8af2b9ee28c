"""Leakage: clips that are in training and test at once, and groups that file names suggest.

Rule: duplicates are reported; a grouping guessed from file names is suggested but never applied.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import Clip
from l3clf.evaluate.near_pairs import Indices, first_partners, near_pairs
from l3clf.evaluate.splits import Labels, Split

__all__ = ["Duplicate", "find_duplicates", "guess_groups"]

NEAR_IDENTICAL = 0.15  # of the median distance between clips: finds 9 in 10 shifted cuts of one recording
PIECES_AT_ONCE = 1000  # of one file
_N_SAMPLED_PAIRS = 2000  # enough for a stable median distance, without computing all distances
DuplicateKind: TypeAlias = Literal["same", "overlapping", "near-identical"]


@dataclass(frozen=True)
class Duplicate:
    """Two clips in different folds that are the same, overlap, or sound the same.

    Attributes
    ----------
    first, second : int
        Indices of the clips.
    kind : {"same", "overlapping", "near-identical"}
    """

    first: int
    second: int
    kind: DuplicateKind


def find_duplicates(
    clips: Sequence[Clip], contents: Sequence[object], vectors: NDArray[np.floating], split: Split
) -> list[Duplicate]:
    """Look for clips that are in training and test at once.

    Parameters
    ----------
    clips : sequence of n Clip
    contents : sequence of n digests
        Digests of the files' content; see `l3clf.pipeline.content_ids`.
    vectors : array of shape (n, size)
        Pooled embeddings. Two clips are near-identical if their standardised vectors are closer than
        `NEAR_IDENTICAL` times the median distance between two clips.
    split : Split

    Returns
    -------
    list of Duplicate
        Pairs across folds only, each once. Every clip that has a twin is in at least one pair, but of more than
        ten twins of one clip some may be missing.
    """
    pairs: dict[tuple[int, int], DuplicateKind] = {}
    for i, j in (*_same_content(clips, contents, split.test_fold), *_near_pairs(vectors, split.test_fold)):
        i, j = min(i, j), max(i, j)
        pairs.setdefault((i, j), _kind(clips[i], clips[j]) if contents[i] == contents[j] else "near-identical")
    return [Duplicate(i, j, kind) for (i, j), kind in sorted(pairs.items())]


def _kind(a: Clip, b: Clip) -> DuplicateKind:
    if (a.start_s, a.end_s) == (b.start_s, b.end_s):
        return "same"
    # Neighbouring pieces of one file may sound the same without overlapping.
    return "overlapping" if a.start_s < _end_s(b) and b.start_s < _end_s(a) else "near-identical"


def _end_s(clip: Clip) -> float:
    return float("inf") if clip.end_s is None else clip.end_s


def _same_content(
    clips: Sequence[Clip], contents: Sequence[object], fold: NDArray[np.intp]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of clips that overlap in one file or in copies of it."""
    by_content: dict[object, list[int]] = {}
    for i, content in enumerate(contents):
        by_content.setdefault(content, []).append(i)
    for same in by_content.values():
        if len(set(fold[same].tolist())) > 1:
            start_s = np.array([clips[i].start_s for i in same])
            end_s = np.array([_end_s(clips[i]) for i in same])
            yield from ((same[i], same[j]) for i, j in _overlapping(start_s, end_s, fold[same]))


def _overlapping(
    start_s: NDArray[np.float64], end_s: NDArray[np.float64], fold: NDArray[np.intp]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of pieces of one file that overlap, comparing neighbours only."""
    order = np.argsort(start_s, kind="stable")
    for first in range(0, len(order), PIECES_AT_ONCE):
        rows = order[first : first + PIECES_AT_ONCE]
        # Ascending, so that partners are the first ones in the order of the clips.
        around = np.flatnonzero((start_s < end_s[rows].max()) & (end_s > start_s[rows].min()))
        start, end = start_s[around], end_s[around]

        def close(some: Indices, columns: slice, start: Any = start, end: Any = end) -> NDArray[np.bool_]:
            return np.asarray((start[some, np.newaxis] < end[columns]) & (start[columns] < end[some, np.newaxis]))

        found = first_partners(np.searchsorted(around, np.sort(rows)), fold[around], close)
        yield from ((int(around[i]), int(around[j])) for i, j in found)


def _near_pairs(vectors: NDArray[np.floating], fold: NDArray[np.intp], seed: int = 0) -> Iterator[tuple[int, int]]:
    """Yield pairs whose standardised vectors are near-identical."""
    spread = vectors.std(axis=0)  # dimensions that do not vary say nothing
    standard = (vectors - vectors.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    if len(standard) < 3 or not standard.shape[1]:
        return
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, len(standard), (2, _N_SAMPLED_PAIRS))
    distances = np.linalg.norm(standard[a[a != b]] - standard[b[a != b]], axis=1)
    limit = NEAR_IDENTICAL * float(np.median(distances))
    yield from near_pairs(standard, limit, fold)


def guess_groups(clips: Sequence[Clip], labels: Labels) -> tuple[str, Labels] | None:
    """Guess from file names or folders which clips belong together; a suggestion for the user to confirm.

    Parameters
    ----------
    clips : sequence of n Clip
    labels : array of shape (n,)

    Returns
    -------
    (str, array of shape (n,)) or None
        The basis of the guess, and the groups: at least two, with two or more clips on average, and different
        from the labels.

    Examples
    --------
    >>> names = [f"{digit}_{speaker}_{k}.wav" for digit in "01" for speaker in ("ann", "bob") for k in range(3)]
    >>> guess_groups([Clip(name) for name in names], np.array([name[0] for name in names]))[0]
    "part 2 of the file names ('ann', 'bob')"
    """
    candidates = [
        ("the file", np.array([clip.path for clip in clips])),
        ("the folder", np.array([str(Path(clip.path).parent) for clip in clips])),
    ]
    parts = [re.split(r"[_\-. ]+", Path(clip.path).stem) for clip in clips]
    if len({len(part) for part in parts}) == 1:
        candidates += [
            (f"part {k + 1} of the file names", np.array([part[k] for part in parts])) for k in range(len(parts[0]))
        ]
    for name, groups in candidates:
        if _is_a_grouping(groups, labels):
            shown = ", ".join(repr(str(Path(str(g)).name)) for g in np.unique(groups)[:3])
            more = ", ..." if len(np.unique(groups)) > 3 else ""
            return f"{name} ({shown}{more})", groups
    return None


def _is_a_grouping(groups: Labels, labels: Labels) -> bool:
    n = len(np.unique(groups))
    if not 2 <= n <= len(groups) / 2:
        return False
    classes_in_group = len({(str(g), str(label)) for g, label in zip(groups, labels, strict=True)})
    repeats_labels = classes_in_group == n and n <= len(np.unique(labels))
    return not (repeats_labels or _is_a_counter(groups))


def _is_a_counter(values: Labels) -> bool:
    # Consecutive numbers count clips; they do not name recordings or speakers.
    numbers = {int(value) for value in values.tolist() if value.isdecimal()}
    return len(numbers) == len(set(values.tolist())) == max(numbers, default=-1) - min(numbers, default=0) + 1
