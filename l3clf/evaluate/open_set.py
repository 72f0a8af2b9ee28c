"""How well a classifier tells sounds of classes that it never learned: classes are left out, and asked about.

Rule: known clips and left-out clips are scored by the model that saw neither their fold nor the left-out classes, so
that clips of one recording or speaker never help in telling them.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from l3clf.classifier.estimators import ClipClassifier
from l3clf.errors import DatasetError, ParameterError
from l3clf.evaluate.fold_warnings import fold_warnings
from l3clf.evaluate.scoring import resampling_weights
from l3clf.evaluate.splits import Labels, Split
from l3clf.networks.threads import in_parallel, n_threads, one_blas_thread

__all__ = ["OPEN_SET_METRICS", "OpenSet", "OpenSetDraw", "leave_out", "open_set"]

OPEN_SET_METRICS = ("auroc", "unknown_accepted", "accuracy_accepted", "accuracy")
MAX_DRAWS = 20
N_RESAMPLES = 1000
CURVE = np.linspace(0.05, 1, 39)  # coverages


@dataclass(frozen=True, eq=False)
class OpenSetDraw:
    """Answers for all clips by models that had not learned some of the classes.

    Attributes
    ----------
    left_out : tuple
        The classes that were not learned.
    known : array of shape (n_clips,), bool
        Whether a clip is of a class that was learned.
    right : array of shape (n_clips,), bool
        Whether the most probable class is that of the clip; False for clips of left-out classes.
    unknown_scores : array of shape (n_clips,), float64
        As of `ClipClassifier.unknown_score`.
    """

    left_out: tuple[Any, ...]
    known: NDArray[np.bool_]
    right: NDArray[np.bool_]
    unknown_scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OpenSet:
    """What leaving classes out showed.

    Attributes
    ----------
    draws : tuple of OpenSetDraw
    accept : float
        The share of known clips that are accepted where a metric says so.
    groups : array of shape (n_clips,) or None
        Clips of one group are not independent of each other, so intervals resample whole groups.
    """

    draws: tuple[OpenSetDraw, ...]
    accept: float
    groups: Labels | None = None

    def scores(self, n_resamples: int = N_RESAMPLES, seed: int = 0) -> dict[str, float]:
        """Return means over the draws, with 95 % intervals.

        Returns
        -------
        dict
            auroc: how probably a left-out clip has a higher unknown score than a known one; unknown_accepted: the
            share of left-out clips that are accepted where `accept` of the known ones are (false positives);
            accuracy_accepted: of the known clips that are accepted then; accuracy: of all known clips. For each,
            NAME_low and NAME_high (percentile bootstrap over clips or groups).
        """
        ranked = [_Ranked.of(draw) for draw in self.draws]
        n = len(self.draws[0].known)

        def means(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(np.nanmean([one.metrics(weights, self.accept) for one in ranked], axis=0))

        with warnings.catch_warnings():  # a resample may hold no clip of a left-out class: it says nothing of the draw
            warnings.simplefilter("ignore", RuntimeWarning)
            drawn = [means(weights) for weights in resampling_weights(self.groups, n, n_resamples, seed)]
            low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
        out: dict[str, float] = {}
        for i, (name, value) in enumerate(zip(OPEN_SET_METRICS, means(np.ones(n)), strict=True)):
            out |= {name: float(value), f"{name}_low": float(low[i]), f"{name}_high": float(high[i])}
        return out

    def curve(self) -> list[dict[str, float]]:
        """Return, for rising shares of known clips that are accepted, what that gives; means over the draws.

        Returns
        -------
        list of dict
            coverage (share of known clips accepted), accuracy_accepted, unknown_accepted.
        """
        ranked = [_Ranked.of(draw) for draw in self.draws]
        ones = np.ones(len(self.draws[0].known))
        points = []
        for coverage in CURVE.tolist():
            _, unknown, accuracy, _ = np.mean([one.metrics(ones, coverage) for one in ranked], axis=0)
            points.append(
                {"coverage": coverage, "accuracy_accepted": float(accuracy), "unknown_accepted": float(unknown)}
            )
        return points


@dataclass(frozen=True, eq=False)
class _Ranked:
    """The clips of a draw in the order of their scores, the least unknown first; equal scores have one rank."""

    rank: NDArray[np.intp]
    known: NDArray[np.bool_]
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, draw: OpenSetDraw) -> "_Ranked":
        rank = np.unique(draw.unknown_scores, return_inverse=True)[1].reshape(-1)
        return cls(rank, draw.known, draw.right)

    def metrics(self, weights: NDArray[np.float64], accept: float) -> tuple[float, float, float, float]:
        """The metrics in the order of `OPEN_SET_METRICS`, with each clip counted by its weight."""
        size = int(self.rank.max()) + 1
        known = np.bincount(self.rank, weights * self.known, size)
        unknown = np.bincount(self.rank, weights * ~self.known, size)
        right = np.bincount(self.rank, weights * self.right, size)
        n_known, n_unknown = known.sum(), unknown.sum()
        if not n_known or not n_unknown:
            return (np.nan,) * 4
        up_to = np.cumsum(known)
        auroc = float((unknown * (up_to - known / 2)).sum() / (n_known * n_unknown))
        last = int(np.searchsorted(up_to, accept * n_known - 1e-9))  # the first rank that accepts enough
        accepted = slice(0, min(last, size - 1) + 1)
        n_right = right[accepted].sum()
        return (
            auroc,
            float(unknown[accepted].sum() / n_unknown),
            float(n_right / known[accepted].sum()),
            float(right.sum() / n_known),
        )


def leave_out(labels: Labels, n_out: int = 1, draws: int | None = None, seed: int = 0) -> list[tuple[Any, ...]]:
    """Return which classes are left out in each draw.

    Parameters
    ----------
    labels : array of shape (n_clips,)
    n_out : int, default=1
        How many classes are left out at once.
    draws : int or None, default=None
        How often; None leaves out each class in turn, or draws 20 times if there are more than 20 classes or several
        are left out at once.
    seed : int, default=0

    Raises
    ------
    DatasetError
        If fewer than two classes would be left to learn.
    ParameterError
        If a number is below 1.
    """
    for name, value in (("n_out", n_out), ("draws", draws)):
        if value is not None and value < 1:
            raise ParameterError(f"{name}={value!r}; expected a whole number above 0")
    classes = np.unique(labels)
    if len(classes) < n_out + 2:
        raise DatasetError(
            f"labels: {len(classes)} classes, of which {n_out} would be left out; give at least {n_out + 2}, so that "
            "two are left to learn"
        )
    if draws is None and n_out == 1 and len(classes) <= MAX_DRAWS:
        return [(label,) for label in classes.tolist()]
    rng = np.random.default_rng(seed)
    drawn = (rng.choice(len(classes), n_out, replace=False) for _ in range(MAX_DRAWS if draws is None else draws))
    return [tuple(classes[np.sort(chosen)].tolist()) for chosen in drawn]


def open_set(
    model: ClipClassifier,
    windows: Sequence[Any],
    labels: Labels,
    split: Split,
    left_out: Sequence[tuple[Any, ...]] | None = None,
    *,
    accept: float = 0.95,
    groups: Labels | None = None,
    n_jobs: int | None = None,
) -> OpenSet:
    """Leave classes out of the training, and see how well their clips are told from those of the known classes.

    Parameters
    ----------
    model : ClipClassifier
        Is cloned; its parameter `unknown` says how it tells.
    windows : sequence of WindowEmbeddings, or anything else that the classifier takes as X
    labels : array of shape (n_clips,)
    split : Split
        Every fold is tested in every draw.
    left_out : sequence of tuple, optional
        The classes that are left out in each draw; default: what `leave_out` returns.
    accept : float, default=0.95
        The share of known clips to accept.
    groups : array of shape (n_clips,), optional
    n_jobs : int or None
        Number of models to fit at once; None means one for each core.

    Returns
    -------
    OpenSet

    Raises
    ------
    DatasetError
        If fewer than two classes would be left to learn, in a draw or in a fold.
    ParameterError
        If a parameter is out of range.
    """
    if not 0 < accept < 1:
        raise ParameterError(f"accept={accept!r}; expected a number between 0 and 1, such as 0.95")
    chosen = leave_out(labels) if left_out is None else left_out
    out = [np.isin(labels, each) for each in chosen]
    jobs = [(d, train[~out[d][train]], test) for d in range(len(chosen)) for train, test in split if len(test)]
    for d, train, _ in jobs:
        if len(np.unique(labels[train])) < 2:
            raise DatasetError(
                f"without {', '.join(map(str, chosen[d]))} a fold has one class to train on; leave out fewer"
            )
    scores, right = np.zeros((len(chosen), len(labels))), np.zeros((len(chosen), len(labels)), np.bool_)

    def job(d: int, train: NDArray[np.intp], test: NDArray[np.intp]) -> None:
        fitted = clone(model).fit([windows[i] for i in train], labels[train])
        answers = fitted.clip_answers([windows[i] for i in test])
        probabilities, scores[d, test] = answers.probabilities, answers.unknown_scores
        named = fitted.classes_[probabilities.argmax(axis=1)] == labels[test]
        right[d, test] = named & (probabilities.max(axis=1) > 0)  # zeros: no window counts

    with fold_warnings(), one_blas_thread():  # the models already use every core
        calls = (partial(job, *each) for each in jobs)
        for _ in in_parallel(calls, min(n_threads(n_jobs), len(jobs)), wait_when_left=False):
            pass
    found = zip(chosen, out, right, scores, strict=True)
    return OpenSet(tuple(OpenSetDraw(each, ~o, r & ~o, s) for each, o, r, s in found), accept, groups)
