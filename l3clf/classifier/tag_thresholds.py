"""From which probability on a clip has a tag: the threshold of each, from answers for clips that were not learned.

Rule: pure functions of out-of-fold probabilities; a tag with too few clips to tell its own has the common one.
"""

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.inputs import check_number
from l3clf.classifier.thresholds import FALLBACK_THRESHOLD

__all__ = ["MIN_CLIPS_FOR_THRESHOLD", "best_f1_threshold", "check_threshold", "learn_tag_thresholds"]

Floats = NDArray[np.float64]

MIN_CLIPS_FOR_THRESHOLD = 5
"""Clips with a tag (with groups, in two of them) that have an answer, for a threshold of its own: one a fold."""


def check_threshold(threshold: object) -> None:
    """Raise ParameterError for a threshold that is neither "auto" nor a number from 0 to 1."""
    if not (isinstance(threshold, str) and threshold == "auto"):
        check_number("threshold", threshold, 0.0, 1.0, "'auto' or {}")


def best_f1_threshold(scores: Floats, truth: NDArray[np.bool_]) -> float:
    """Return the threshold with the largest F1, in the middle between the scores that it divides.

    Parameters
    ----------
    scores : array of shape (n,)
        0 to 1.
    truth : array of shape (n,), bool
        At least one is true.

    Returns
    -------
    float
        From 0 to 1. Of several with the same F1 the largest: an answer less rather than one more.

    Examples
    --------
    >>> best_f1_threshold(np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, False, True, True]))
    0.4
    """
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(truth[order])
    ends = np.append(ranked[1:] < ranked[:-1], True)  # equal scores are on the same side
    f1 = np.where(ends, 2 * right / (np.arange(len(order)) + 1 + right[-1]), -1.0)
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best]
    return float((ranked[best] + below) / 2)


def learn_tag_thresholds(
    scores: Floats, indicator: NDArray[np.int64], groups: NDArray[np.intp] | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Learn the threshold of each tag.

    Parameters
    ----------
    scores : array of shape (n_clips, n_tags)
        Out-of-fold probabilities; NaN where there is none.
    indicator : array of shape (n_clips, n_tags)
    groups : array of shape (n_clips,), int, optional

    Returns
    -------
    thresholds : array of shape (n_tags,), float64
        The one with the largest F1, for tags of `MIN_CLIPS_FOR_THRESHOLD` or more; for others the one with the largest
        F1 of all answers together, or 0.5 where no clip with any tag has an answer.
    has_own : array of shape (n_tags,), bool
        Which tags have a threshold of their own.
    """
    answered, truth = np.isfinite(scores), indicator.astype(np.bool_)
    with_tag = answered & truth
    common = best_f1_threshold(scores[answered], truth[answered]) if with_tag.any() else FALLBACK_THRESHOLD
    thresholds = np.full(scores.shape[1], common)
    has_own = np.zeros(scores.shape[1], np.bool_)
    for tag in range(scores.shape[1]):
        members = np.flatnonzero(with_tag[:, tag])
        apart = groups is None or len(np.unique(groups[members])) > 1
        has_own[tag] = apart and len(members) >= MIN_CLIPS_FOR_THRESHOLD
        if has_own[tag]:
            own = answered[:, tag]
            thresholds[tag] = best_f1_threshold(scores[own, tag], truth[own, tag])
    return thresholds, has_own
