"""What out-of-fold answers tell about a classifier: from which score on a clip is known, and how sure to be of a class.

Rule: pure functions of answers that a head gave for clips it had not learned; they know no head, clip or file.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

__all__ = [
    "FALLBACK_THRESHOLD",
    "MAX_TEMPERATURE",
    "MIN_CLIPS_PER_CLASS",
    "N_FOLDS",
    "Thresholds",
    "assigned_folds",
    "best_temperature",
    "learn_thresholds",
    "threshold_that_keeps",
]

Floats = NDArray[np.float64]

N_FOLDS = 5
FALLBACK_THRESHOLD = 0.5
"""Where nothing could be learned: a class has to be more probable than everything else together."""
MIN_CLIPS_PER_CLASS = 20
"""A class with fewer out-of-fold answers has the common threshold: 5 % of them would be less than one clip."""
MAX_TEMPERATURE = 5.0
_N_RESAMPLES = 200
_INTERVAL = (2.5, 97.5)  # percent


@dataclass(frozen=True, eq=False)
class Thresholds:
    """From which score on a clip is known.

    Attributes
    ----------
    values : array of shape (1,) or (n_classes,), float64
        One for all classes, or one for each.
    intervals : array of shape (1, 2) or (n_classes, 2), float64
        Between which 95 % of the thresholds are that were learned from clips drawn with replacement; whole groups where
        there are groups. NaN where nothing could be learned.
    per_class : bool
    """

    values: Floats
    intervals: Floats
    per_class: bool


def assigned_folds(codes: NDArray[np.intp], groups: NDArray[np.intp] | None) -> NDArray[np.intp]:
    """Return the fold of each clip: at most five, whole groups in one fold, classes spread evenly.

    Parameters
    ----------
    codes : array of shape (n_clips,), int
        The class of each clip.
    groups : array of shape (n_clips,), int, or None

    Returns
    -------
    array of shape (n_clips,), int
        All zeros where the clips cannot be divided.
    """
    n_folds = min(N_FOLDS, int(np.bincount(codes).max()))  # scikit-learn refuses more
    n_folds = n_folds if groups is None else min(n_folds, len(np.unique(groups)))
    folds = np.zeros(len(codes), np.intp)
    if n_folds < 2:
        return folds
    if groups is None and np.bincount(codes).min() < n_folds:
        # As StratifiedKFold does it, which warns of such classes: the k-th clip of a class, in random order.
        order = np.random.default_rng(0).permutation(len(codes))
        for code in np.unique(codes):
            members = order[codes[order] == code]
            folds[members] = (np.arange(len(members)) + code) % n_folds
        return folds
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    for fold, (_, test) in enumerate(kind(n_folds, shuffle=True, random_state=0).split(codes, codes, groups)):
        folds[test] = fold
    return folds


def threshold_that_keeps(scores: Floats, accept: float) -> float:
    """Return the score that a share `accept` of new clips is expected to reach, after those of some others.

    A new clip is as likely to fall into each of the n + 1 gaps between n scores, so the threshold is the value at the
    place ``(n + 1) * (1 - accept)`` of the sorted scores (Weibull's rule; the quantile of split conformal prediction,
    interpolated). With too few scores for that, it is the lowest.

    Parameters
    ----------
    scores : array of shape (n,)
    accept : float
        From 0 to 1.

    Examples
    --------
    >>> round(threshold_that_keeps(np.arange(1, 20) / 20, 0.95), 6)
    0.05
    """
    return float(np.quantile(scores, 1 - accept, method="weibull"))


def learn_thresholds(
    scores: Floats,
    predicted: NDArray[np.intp],
    n_classes: int,
    accept: float,
    per_class: bool,
    groups: NDArray[np.intp] | None = None,
) -> Thresholds:
    """Learn from which score on a clip is known, from out-of-fold answers for clips that are.

    Parameters
    ----------
    scores : array of shape (n,)
        1 less the unknown score of each clip.
    predicted : array of shape (n,), int
        The most probable class of each.
    n_classes : int
    accept : float
        The share of known clips to keep.
    per_class : bool
        Whether each class has a threshold of its own, which keeps that share of the clips that are taken for it. A
        class with fewer than `MIN_CLIPS_PER_CLASS` of these has the common one.
    groups : array of shape (n,), int, optional
        The recording, speaker, ... of each clip.

    Returns
    -------
    Thresholds
    """
    n_thresholds = n_classes if per_class else 1
    common = _learned(scores, accept, groups) if len(scores) else (FALLBACK_THRESHOLD, np.nan, np.nan)
    rows = np.array([common] * n_thresholds)
    for code in range(n_classes if per_class else 0):
        own = predicted == code
        if own.sum() >= MIN_CLIPS_PER_CLASS:
            rows[code] = _learned(scores[own], accept, None if groups is None else groups[own])
    return Thresholds(rows[:, 0], rows[:, 1:], per_class)


def _learned(scores: Floats, accept: float, groups: NDArray[np.intp] | None) -> tuple[float, float, float]:
    """Return a threshold and the ends of its interval."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)] if groups is not None else None
    values = []
    for _ in range(_N_RESAMPLES):
        if members is None:
            drawn = rng.integers(len(scores), size=len(scores))
        else:
            drawn = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        values.append(threshold_that_keeps(scores[drawn], accept))
    low, high = np.percentile(values, _INTERVAL)
    value = threshold_that_keeps(scores, accept)
    return value, float(min(low, value)), float(max(high, value))


def best_temperature(probabilities: Callable[[float], Floats], codes: NDArray[np.intp]) -> float:
    """Return the temperature by which the logits of a head are divided so that its probabilities mean what they say.

    It is the one with the lowest cross-entropy on out-of-fold answers. The labels are smoothed as Platt (1999) did,
    for one clip that might have been wrong in ``n + 2``: answers that are all right would ask for certainty.

    Parameters
    ----------
    probabilities : callable
        Returns the out-of-fold probabilities (n, n_classes) at a temperature.
    codes : array of shape (n,), int
        The true classes.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (temperature scaling).
    """
    n, slack = len(codes), 1 / (len(codes) + 2)

    def loss(log_temperature: float) -> float:
        logs = np.log(np.maximum(probabilities(float(np.exp(log_temperature))), 1e-300))
        return float(-(1 - slack) * logs[np.arange(n), codes].mean() - slack * logs.mean())

    bound = float(np.log(MAX_TEMPERATURE))
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-3}).x))
