"""Cross-validation: each clip is predicted by a model that did not see its fold.

Rule: everything that is fitted, including the scaling, is fitted on the training folds alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from l3clf.classifier.decision import PROBABILITY_POOLINGS, accepted, decide
from l3clf.classifier.estimators import ClipClassifier
from l3clf.errors import ParameterError
from l3clf.evaluate.fold_warnings import fold_warnings
from l3clf.evaluate.scoring import scores
from l3clf.evaluate.splits import Labels, Split
from l3clf.networks.threads import one_blas_thread
from l3clf.pipeline import in_parallel, n_threads

__all__ = ["CrossValidation", "cross_validate", "cross_validate_poolings", "learning_curve_points"]

LEAST = float(np.finfo(float).tiny)  # a threshold that all but 0 reach
CURVE_KEYS = ("accuracy", "accuracy_low", "accuracy_high")


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Predictions for each clip by the model that did not see its fold.

    Attributes
    ----------
    predictions : array of shape (n_clips,)
        As of `ClipClassifier.predict`: with "unknown" for clips below the model's gate or threshold.
    probabilities : array of shape (n_clips, n_classes), float64
        Zero for classes that were not in the training folds.
    classes : array of shape (n_classes,)
    """

    predictions: Labels
    probabilities: NDArray[np.float64]
    classes: Labels


def cross_validate(
    model: ClipClassifier, windows: Sequence[Any], labels: Labels, split: Split, n_jobs: int | None = None
) -> CrossValidation:
    """Cross-validate a classifier; scaling, pooling and head are fitted on the training folds alone.

    Parameters
    ----------
    model : ClipClassifier
    windows : sequence of WindowEmbeddings, or anything else that the classifier takes as X
    labels : array of shape (n_clips,)
    split : Split
    n_jobs : int or None
        Number of folds to fit at once; None means one for each core.

    Returns
    -------
    CrossValidation
    """
    return cross_validate_poolings(model, [model.pooling], windows, labels, split, n_jobs)[0]


def cross_validate_poolings(
    model: ClipClassifier,
    poolings: Sequence[str],
    windows: Sequence[Any],
    labels: Labels,
    split: Split,
    n_jobs: int | None = None,
) -> list[CrossValidation]:
    """Cross-validate several poolings of the same head, which is fitted once in each fold.

    Parameters
    ----------
    model : ClipClassifier
    poolings : sequence of {"probability", "vote"}, or one pooling alone
        Only these two train the head on the same windows.
    windows, labels, split, n_jobs
        See `cross_validate`.

    Returns
    -------
    list of CrossValidation
        One for each pooling, equal to those of `cross_validate`.

    Raises
    ------
    ParameterError
        If the poolings do not share a head.
    """
    if len(poolings) > 1 and not set(poolings) <= set(PROBABILITY_POOLINGS):
        raise ParameterError(f"poolings={list(poolings)!r}: they do not train the same head; give one at a time")
    folds = [(train, test) for train, test in split if len(test)]
    results = _fit_folds(model, poolings, windows, labels, folds, n_jobs)
    return [_joined(labels, folds, [(known, each[k]) for known, each in results]) for k in range(len(poolings))]


Found: TypeAlias = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""The probabilities of the classes for the test clips, and which of these are not "unknown"."""
FoldResult: TypeAlias = tuple[Labels, list[Found]]
"""The classes in the training folds, and what was found with each pooling."""
Folds: TypeAlias = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]


def _fit_folds(
    model: ClipClassifier,
    poolings: Sequence[str],
    windows: Sequence[Any],
    labels: Labels,
    folds: Folds,
    n_jobs: int | None,
) -> list[FoldResult]:
    def job(fold: int) -> tuple[int, FoldResult]:
        train, test = folds[fold]
        found: list[Found] = []
        for pooling in poolings:
            if not found or model.unknown is not None:  # a threshold is learned for one pooling
                fitted = clone(model).set_params(pooling=pooling).fit([windows[i] for i in train], labels[train])
            found.append(_found(fitted.set_params(pooling=pooling), test))
        return fold, (fitted.classes_, found)

    def _found(fitted: ClipClassifier, test: NDArray[np.intp]) -> Found:
        answers = fitted.clip_answers([windows[i] for i in test])
        return answers.probabilities, accepted(answers, fitted.threshold_in_force())

    jobs = (partial(job, fold) for fold in range(len(folds)))
    with fold_warnings(), one_blas_thread():  # the folds already use every core
        # A forest takes minutes and cannot be interrupted: Ctrl-C must not wait for it.
        by_fold = dict(in_parallel(jobs, min(n_threads(n_jobs), len(folds)), wait_when_left=False))
    return [by_fold[fold] for fold in range(len(folds))]


def learning_curve_points(
    model: ClipClassifier,
    windows: Sequence[Any],
    labels: Labels,
    split: Split,
    groups: Labels | None = None,
    n_jobs: int | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Cross-validate with fewer clips of each class in training, to see whether more data would help.

    Parameters
    ----------
    model, windows, labels, split, n_jobs
        See `cross_validate`.
    groups : array of shape (n_clips,), optional
        See `scores`.
    seed : int, default=0

    Returns
    -------
    list of dict
        clips_per_class (the mean number in training), accuracy, accuracy_low and accuracy_high, from one clip
        of each class to all; the sizes double.
    """
    folds = [(train, test) for train, test in split if len(test)]
    largest = max(int(np.unique(labels[train], return_counts=True)[1].max()) for train, _ in folds)
    sizes = [2**k for k in range(largest.bit_length()) if 2**k < largest] + [largest]
    points = []
    for size in sizes:
        fewer = [(_some_of_each(labels, train, size, seed), test) for train, test in folds]
        results = _fit_folds(model, [model.pooling], windows, labels, fewer, n_jobs)
        joined = _joined(labels, fewer, [(known, each) for known, (each,) in results])
        spread = scores(labels, joined.predictions, split.test_fold, groups)
        per_class = float(np.mean([len(train) / len(np.unique(labels[train])) for train, _ in fewer]))
        points.append({"clips_per_class": per_class} | {key: spread[key] for key in CURVE_KEYS})
    return points


def _some_of_each(labels: Labels, train: NDArray[np.intp], size: int, seed: int) -> NDArray[np.intp]:
    """Return at most `size` clips of each class."""
    # One permutation for all sizes: each smaller set is part of the larger ones, which makes the curve smoother.
    order = np.random.default_rng(seed).permutation(train)
    kept = [order[labels[order] == label][:size] for label in np.unique(labels[train])]
    return np.sort(np.concatenate(kept))


def _joined(labels: Labels, folds: Folds, results: Sequence[tuple[Labels, Found]]) -> CrossValidation:
    classes = np.unique(labels)
    probabilities = np.zeros((len(labels), len(classes)))  # stays 0 for classes that a fold did not train
    known_shares = np.zeros(len(labels))
    for (_, test), (known, (found, is_known)) in zip(folds, results, strict=True):
        probabilities[np.ix_(test, np.searchsorted(classes, known))] = found
        known_shares[test] = is_known  # each fold's model decided, by a threshold that may be its own
    return CrossValidation(decide(probabilities, classes, LEAST, known_shares), probabilities, classes)
