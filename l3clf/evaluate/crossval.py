"""Every clip answered by a model that did not see its fold.

Rule: all that is learnt, scaling included, is learnt inside the training fold.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from l3clf.classifier.decision import PROBABILITY_POOLINGS
from l3clf.classifier.estimators import ClipClassifier
from l3clf.errors import ClipWarning, ParameterError
from l3clf.evaluate.scoring import scores
from l3clf.evaluate.splits import Labels, Split
from l3clf.pipeline import in_parallel, n_threads

__all__ = ["CrossValidation", "cross_validate", "cross_validate_poolings", "learning_curve_points"]

CURVE_KEYS = ("accuracy", "accuracy_low", "accuracy_high")


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The answer to each clip by the model that did not see its fold.

    Attributes
    ----------
    predictions : array of shape (n_clips,)
    probabilities : array of shape (n_clips, n_classes), float64
        Zero for classes that the fold's training did not have.
    classes : array of shape (n_classes,)
    """

    predictions: Labels
    probabilities: NDArray[np.float64]
    classes: Labels


def cross_validate(
    model: ClipClassifier, windows: Sequence[Any], labels: Labels, split: Split, n_jobs: int | None = None
) -> CrossValidation:
    """Cross-validate a classifier; scaling, pooling and head are fitted inside each training fold.

    Parameters
    ----------
    model : ClipClassifier
    windows : sequence of WindowEmbeddings (or anything else that the classifier takes as X)
    labels : array of shape (n_clips,)
    split : Split
    n_jobs : int or None
        Folds fitted at once; None means one for each core.

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
    """Cross-validate poolings of one and the same head, which is fitted once in each fold.

    Parameters
    ----------
    model : ClipClassifier
    poolings : sequence of {"probability", "vote"}, or one pooling alone
        Poolings of the head's answers train it on the same windows; the others do not.
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
        raise ParameterError(f"poolings: {', '.join(map(repr, poolings))} do not train the same head; give them alone")
    folds = [(train, test) for train, test in split if len(test)]
    answers = _answers(model, poolings, windows, labels, folds, n_jobs)
    return [_joined(labels, folds, [(known, each[k]) for known, each in answers]) for k in range(len(poolings))]


Answers: TypeAlias = tuple[Labels, list[NDArray[np.float64]]]
"""The classes of a fold's training, and for each pooling their probabilities."""
Folds: TypeAlias = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]


def _answers(
    model: ClipClassifier,
    poolings: Sequence[str],
    windows: Sequence[Any],
    labels: Labels,
    folds: Folds,
    n_jobs: int | None,
) -> list[Answers]:
    def job(fold: int) -> tuple[int, Answers]:
        return fold, _answer(model, poolings, windows, labels, *folds[fold])

    jobs = (partial(job, fold) for fold in range(len(folds)))
    # Filters of warnings are the whole process's: set here, and not by every thread.
    with warnings.catch_warnings(), threadpool_limits(1, "blas"):  # the folds keep the cores busy
        warnings.simplefilter("ignore", ClipWarning)  # said once, for the whole set
        # A forest can take minutes, and cannot be stopped: who presses Ctrl-C need not wait for it.
        by_fold = dict(in_parallel(jobs, min(n_threads(n_jobs), len(folds)), wait_when_left=False))
    return [by_fold[fold] for fold in range(len(folds))]


def _answer(
    model: ClipClassifier,
    poolings: Sequence[str],
    windows: Sequence[Any],
    labels: Labels,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
) -> Answers:
    fitted = clone(model).set_params(pooling=poolings[0]).fit([windows[i] for i in train], labels[train])
    tested = [windows[i] for i in test]
    return fitted.classes_, [fitted.set_params(pooling=pooling).predict_proba(tested) for pooling in poolings]


def learning_curve_points(
    model: ClipClassifier,
    windows: Sequence[Any],
    labels: Labels,
    split: Split,
    groups: Labels | None = None,
    n_jobs: int | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Cross-validate with fewer and fewer clips of each class in training, to see whether more data would help.

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
        clips_per_class (the mean number in training), accuracy, accuracy_low and accuracy_high, from few clips
        to all; the sizes double.
    """
    folds = [(train, test) for train, test in split if len(test)]
    most = max(int(np.unique(labels[train], return_counts=True)[1].max()) for train, _ in folds)
    sizes = [2**k for k in range(most.bit_length()) if 2**k < most] + [most]
    points = []
    for size in sizes:
        fewer = [(_some_of_each(labels, train, size, seed), test) for train, test in folds]
        answers = _answers(model, [model.pooling], windows, labels, fewer, n_jobs)
        joined = _joined(labels, fewer, [(known, each) for known, (each,) in answers])
        spread = scores(labels, joined.predictions, split.test_fold, groups)
        per_class = float(np.mean([len(train) / len(np.unique(labels[train])) for train, _ in fewer]))
        points.append({"clips_per_class": per_class} | {key: spread[key] for key in CURVE_KEYS})
    return points


def _some_of_each(labels: Labels, train: NDArray[np.intp], size: int, seed: int) -> NDArray[np.intp]:
    """At most `size` clips of each class; those of a smaller size are among those of a larger one."""
    order = np.random.default_rng(seed).permutation(train)
    kept = [order[labels[order] == label][:size] for label in np.unique(labels[train])]
    return np.sort(np.concatenate(kept))


def _joined(labels: Labels, folds: Folds, answers: Sequence[tuple[Labels, NDArray[np.float64]]]) -> CrossValidation:
    classes = np.unique(labels)
    probabilities = np.zeros((len(labels), len(classes)))
    for (_, test), (known, answer) in zip(folds, answers, strict=True):
        probabilities[np.ix_(test, np.searchsorted(classes, known))] = answer
    return CrossValidation(classes[probabilities.argmax(axis=1)], probabilities, classes)
