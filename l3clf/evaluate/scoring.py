"""Scores of predictions, with their standard deviation over folds and their intervals.

Rule: a score is computed on all predictions together, by scikit-learn's definition.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from l3clf.errors import ParameterError
from l3clf.evaluate.splits import Labels, Split

__all__ = ["METRICS", "majority_floor", "resampling_weights", "score", "scores"]

METRICS = ("accuracy", "balanced_accuracy", "macro_f1")


def score(truth: Labels, predictions: Labels, metric: str, weights: NDArray[np.float64] | None = None) -> float:
    """Return one score, by scikit-learn's definition.

    Parameters
    ----------
    truth, predictions : array of shape (n_clips,)
    metric : {"accuracy", "balanced_accuracy", "macro_f1"}
        Balanced accuracy is the mean recall of the classes in `truth`; macro F1 is the mean F1 of the classes in
        `truth` or `predictions`.
    weights : array of shape (n_clips,), optional

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ParameterError
        If the metric is unknown.
    """
    true, predicted, n_classes = _as_indices(truth, predictions)
    return _score(true, predicted, n_classes, metric, np.ones(len(true)) if weights is None else weights)


def _as_indices(truth: Labels, predictions: Labels) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Replace labels by their indices in all classes: counting then needs no comparison of strings."""
    classes, index = np.unique(np.concatenate([truth, predictions]).astype(str), return_inverse=True)
    true, predicted = np.split(index.reshape(-1), 2)
    return true, predicted, len(classes)


# A bootstrap computes every score a thousand times, for which scikit-learn's own functions are too slow.
def _score(
    true: NDArray[np.intp], predicted: NDArray[np.intp], n_classes: int, metric: str, weights: NDArray[np.float64]
) -> float:
    right = weights * (true == predicted)
    if metric == "accuracy":
        return float(right.sum() / weights.sum())
    hits = np.bincount(true, right, n_classes)
    n_true = np.bincount(true, weights, n_classes)
    if metric == "balanced_accuracy":
        seen = n_true > 0
        return float((hits[seen] / n_true[seen]).mean())
    if metric != "macro_f1":
        raise ParameterError(f"metric={metric!r}; expected one of {', '.join(map(repr, METRICS))}")
    either = n_true + np.bincount(predicted, weights, n_classes)
    seen = either > 0
    return float((2 * hits[seen] / either[seen]).mean())


def scores(
    truth: Labels,
    predictions: Labels,
    test_fold: NDArray[np.intp],
    groups: Labels | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return every metric with its standard deviation over folds and a 95 % interval.

    Parameters
    ----------
    truth, predictions : array of shape (n_clips,)
    test_fold : array of shape (n_clips,)
        The fold in which each clip was tested.
    groups : array of shape (n_clips,), optional
        Clips of one group are not independent of each other, so the interval resamples whole groups.
    n_resamples : int, default=1000
    seed : int, default=0

    Returns
    -------
    dict
        For each metric in `METRICS`: NAME (on all predictions together), NAME_std (standard deviation over folds),
        NAME_low and NAME_high (percentile bootstrap over clips or groups; Efron & Tibshirani, An Introduction to
        the Bootstrap, 1993).
    """
    true, predicted, n_classes = _as_indices(truth, predictions)
    resamples = resampling_weights(groups, len(truth), n_resamples, seed)
    drawn = [[_score(true, predicted, n_classes, m, weights) for m in METRICS] for weights in resamples]
    bounds = np.percentile(drawn, [2.5, 97.5], axis=0)
    out: dict[str, float] = {}
    for metric, low, high in zip(METRICS, *bounds, strict=True):
        out[metric] = _score(true, predicted, n_classes, metric, np.ones(len(true)))
        # Within a fold, macro F1 counts only the classes that occur in it.
        each = [score(truth[test_fold == f], predictions[test_fold == f], metric) for f in np.unique(test_fold)]
        out[f"{metric}_std"] = float(np.std(each))
        out[f"{metric}_low"], out[f"{metric}_high"] = float(low), float(high)
    return out


def resampling_weights(groups: Labels | None, n: int, n_resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield for each resample how often each clip is drawn; all of them at once would be large."""
    # `unit` is the number of each clip's group: what is drawn, with replacement, is a group.
    unit = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    n_units = int(unit.max()) + 1
    rng = np.random.default_rng(seed)
    for _ in range(n_resamples):
        yield np.bincount(rng.integers(0, n_units, n_units), minlength=n_units)[unit].astype(np.float64)


def majority_floor(labels: Labels, split: Split) -> dict[str, float]:
    """Return the scores of always predicting the largest class of the training folds."""
    predictions = labels.copy()
    for train, test in split:
        classes, counts = np.unique(labels[train], return_counts=True)
        predictions[test] = classes[counts.argmax()]
    return {metric: score(labels, predictions, metric) for metric in METRICS}
