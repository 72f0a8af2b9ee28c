"""Scores of several labels at once: average precision and F1, with their spread over folds and their intervals.

Rule: a score is computed on all predictions together, by scikit-learn's definition; tags without a clip have none.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from l3clf.errors import ParameterError
from l3clf.evaluate.scoring import resampling_weights
from l3clf.evaluate.splits import Labels

__all__ = [
    "TAG_METRICS",
    "average_precisions",
    "every_tag_floor",
    "f1_by_tag",
    "precision_intervals",
    "score_of_tags",
    "scores_of_tags",
]

TAG_METRICS = ("map", "micro_f1", "macro_f1")
MAX_CELLS = 4_000_000  # weights held at once: resamples x clips, 32 MB
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


def average_precisions(truth: ArrayLike, probabilities: ArrayLike) -> Numbers:
    """Return the average precision of each tag: the mean precision over its clips, each at its own rank.

    Parameters
    ----------
    truth : array of shape (n_clips, n_tags)
        1 or True where a clip has a tag, 0 or False elsewhere.
    probabilities : array of shape (n_clips, n_tags)
        Scores, not necessarily from 0 to 1: only their order matters.

    Returns
    -------
    array of shape (n_tags,)
        From 0 to 1, equal to scikit-learn's ``average_precision_score``; NaN for a tag that no clip has. The
        same score for all clips gives the share of the clips that have the tag, its base rate.

    Raises
    ------
    ParameterError
        If the shapes differ, the truth is not 0 or 1, or a score is not a number.

    Examples
    --------
    >>> average_precisions([[1], [0], [1]], [[0.9], [0.8], [0.7]]).round(3).tolist()
    [0.833]
    """
    true, scores = _checked(truth, probabilities)
    precisions: Numbers = _precisions(true, scores, np.ones((1, len(true))))[0]
    return precisions


def precision_intervals(
    truth: ArrayLike,
    probabilities: ArrayLike,
    groups: Labels | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Numbers:
    """Return the 95 % intervals of the average precisions.

    Parameters
    ----------
    truth, probabilities : array of shape (n_clips, n_tags)
        See `average_precisions`.
    groups, n_resamples, seed
        See `scores_of_tags`.

    Returns
    -------
    array of shape (n_tags, 2)
        NaN for a tag that no clip has.

    Raises
    ------
    ParameterError
        See `average_precisions`.
    """
    true, scores = _checked(truth, probabilities)
    drawn = np.concatenate(
        [_precisions(true, scores, weights) for weights in _resamples(groups, len(true), n_resamples, seed)]
    )
    intervals = np.full((true.shape[1], 2), np.nan)
    seen = true.any(axis=0)
    intervals[seen] = np.nanpercentile(drawn[:, seen], [2.5, 97.5], axis=0).T
    return intervals


def f1_by_tag(truth: ArrayLike, predictions: ArrayLike) -> Numbers:
    """Return the F1 of each tag.

    Parameters
    ----------
    truth, predictions : array of shape (n_clips, n_tags)
        1 or True where a clip has a tag, or is predicted to.

    Returns
    -------
    array of shape (n_tags,)
        From 0 to 1; NaN for a tag that no clip has and that is predicted for none.

    Raises
    ------
    ParameterError
        If the shapes differ, or a value is neither 0 nor 1.
    """
    true, found = _checked_flags(truth, predictions)
    hits, either = _counts(true, found, np.ones((1, len(true))))
    f1: Numbers = _shares(2 * hits, either)[0]
    return f1


def score_of_tags(truth: ArrayLike, probabilities: ArrayLike, predictions: ArrayLike, metric: str) -> float:
    """Return one score.

    Parameters
    ----------
    truth, probabilities, predictions : array of shape (n_clips, n_tags)
        See `average_precisions` and `f1_by_tag`.
    metric : {"map", "micro_f1", "macro_f1"}
        "map" is the mean of the average precisions of the tags that a clip has; "micro_f1" is the F1 of all pairs
        of a clip and a tag together; "macro_f1" is the mean F1 of the tags that a clip has or is predicted to have.

    Returns
    -------
    float
        From 0 to 1; NaN if no clip has a tag.

    Raises
    ------
    ParameterError
        If the metric is unknown, or see `average_precisions` and `f1_by_tag`.
    """
    if metric not in TAG_METRICS:
        raise ParameterError(f"metric={metric!r}; expected one of {', '.join(map(repr, TAG_METRICS))}")
    true, scores = _checked(truth, probabilities)
    _, found = _checked_flags(truth, predictions)
    return float(_all_metrics(true, scores, found, np.ones((1, len(true))))[0, TAG_METRICS.index(metric)])


def scores_of_tags(
    truth: ArrayLike,
    probabilities: ArrayLike,
    predictions: ArrayLike,
    test_fold: NDArray[np.intp],
    groups: Labels | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return every metric with its standard deviation over folds and a 95 % interval.

    Parameters
    ----------
    truth, probabilities, predictions : array of shape (n_clips, n_tags)
        See `score_of_tags`. The predictions are given as such, because each fold has thresholds of its own.
    test_fold : array of shape (n_clips,)
        The fold in which each clip was tested.
    groups : array of shape (n_clips,), optional
        Clips of one group are not independent of each other, so the interval resamples whole groups.
    n_resamples : int, default=1000
    seed : int, default=0

    Returns
    -------
    dict
        For each metric in `TAG_METRICS`: NAME (on all predictions together), NAME_std (standard deviation over
        folds), NAME_low and NAME_high (percentile bootstrap over clips or groups, as in `scores`).

    Raises
    ------
    ParameterError
        See `score_of_tags`.
    """
    true, scores = _checked(truth, probabilities)
    _, found = _checked_flags(truth, predictions)
    whole = _all_metrics(true, scores, found, np.ones((1, len(true))))[0]
    folds = np.unique(test_fold)
    # A fold is all clips with those of the others weighing nothing: tags without a clip in it are left out of it.
    each = _all_metrics(true, scores, found, (test_fold == folds[:, np.newaxis]).astype(np.float64))
    resamples = _resamples(groups, len(true), n_resamples, seed)
    drawn = np.concatenate([_all_metrics(true, scores, found, weights) for weights in resamples])
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    spread = np.nanstd(each, axis=0)
    return {
        f"{metric}{end}": float(values[k])
        for k, metric in enumerate(TAG_METRICS)
        for end, values in (("", whole), ("_std", spread), ("_low", low), ("_high", high))
    }


def every_tag_floor(truth: ArrayLike) -> dict[str, float]:
    """Return the scores of predicting every tag for every clip, all equally sure: mAP is then the mean base rate."""
    same = np.ones(np.shape(truth))
    return {metric: score_of_tags(truth, same, same, metric) for metric in TAG_METRICS}


def _checked(truth: ArrayLike, probabilities: ArrayLike) -> tuple[Flags, Numbers]:
    scores = np.asarray(probabilities, np.float64)
    true = _flags(truth, "truth")
    _check_shapes(true, scores, "probabilities")
    if np.isnan(scores).any():
        raise ParameterError(
            f"probabilities: {int(np.isnan(scores).any(axis=1).sum()):,} rows have a value that is not a number; "
            "leave out clips that failed"
        )
    return true, scores


def _checked_flags(truth: ArrayLike, predictions: ArrayLike) -> tuple[Flags, Flags]:
    true, found = _flags(truth, "truth"), _flags(predictions, "predictions")
    _check_shapes(true, found, "predictions")
    return true, found


def _flags(values: ArrayLike, name: str) -> Flags:
    array = np.asarray(values)
    if array.ndim != 2 or not array.size or not np.isin(array, (0, 1)).all():
        raise ParameterError(f"{name}: shape {array.shape}; expected 0 or 1 for each clip (row) and tag (column)")
    return array.astype(np.bool_)


def _check_shapes(true: Flags, other: NDArray[np.generic], name: str) -> None:
    if true.shape != other.shape:
        raise ParameterError(f"{name}: shape {other.shape}, and truth has {true.shape}; give both for the same clips")


def _resamples(groups: Labels | None, n: int, n_resamples: int, seed: int) -> Iterator[Numbers]:
    """Yield the weights of some resamples at a time: arrays of shape (n_at_once, n)."""
    rows = resampling_weights(groups, n, n_resamples, seed)
    while block := list(islice(rows, max(1, MAX_CELLS // n))):
        yield np.stack(block)


def _all_metrics(true: Flags, scores: Numbers, found: Flags, weights: Numbers) -> Numbers:
    """Return the metrics for each row of weights: array of shape (n_weightings, 3)."""
    precisions = _precisions(true, scores, weights)
    hits, either = _counts(true, found, weights)
    micro = _shares(2 * hits.sum(axis=1), either.sum(axis=1))
    return np.stack([_mean_of_known(precisions), micro, _mean_of_known(_shares(2 * hits, either))], axis=1)


def _precisions(true: Flags, scores: Numbers, weights: Numbers) -> Numbers:
    """Return the average precision of each tag with each row of weights: array of shape (n_weightings, n_tags)."""
    by_clip = np.ascontiguousarray(weights.T)
    columns = [_precision(true[:, tag], scores[:, tag], by_clip) for tag in range(true.shape[1])]
    return np.stack(columns, axis=1)


def _precision(true: Flags, scores: Numbers, by_clip: Numbers) -> Numbers:
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], true[order]
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True)) + 1  # clips with equal scores are found together
    n_true = np.append(0, np.cumsum(right))[ends]
    new = np.diff(n_true, prepend=0) > 0  # precision counts only where a clip with the tag is found
    found = _sums(order, ends[new], by_clip)
    hits = _sums(order[right], n_true[new], by_clip)
    n_found, n_hits = np.cumsum(found, axis=0), np.cumsum(hits, axis=0)
    precision = np.divide(n_hits, n_found, out=np.zeros_like(n_hits), where=n_found > 0)
    return _shares((hits * precision).sum(axis=0), hits.sum(axis=0))


def _sums(rows: NDArray[np.intp], ends: NDArray[np.intp], by_clip: Numbers) -> Numbers:
    """Return the sums of pieces of `rows` of the weights; a sparse product needs no sorted copy of them."""
    kept = rows[: ends.max(initial=0)]
    pieces = csr_array((np.ones(len(kept)), kept, np.append(0, ends)), shape=(len(ends), len(by_clip)))
    return np.asarray(pieces @ by_clip, np.float64)


def _counts(true: Flags, found: Flags, weights: Numbers) -> tuple[Numbers, Numbers]:
    """Return for each row of weights and each tag what was found rightly, and what there is plus what was found."""
    hits = weights @ (true & found).astype(np.float64)
    return hits, weights @ (true.astype(np.float64) + found)


def _shares(part: Numbers, whole: Numbers) -> Numbers:
    """Divide; NaN where the whole is nothing."""
    shares: Numbers = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return shares


def _mean_of_known(values: Numbers) -> Numbers:
    known = ~np.isnan(values)
    return _shares(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))
