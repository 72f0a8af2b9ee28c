"""A head with a background, cross-fitted: its answers for clips it had not learned tell thresholds and calibration.

Rule: the background is the last class of the head, and weighs what `Unknown` says; every number that is learned beside
the head comes from clips that a head was asked about without having learned them, or others of their group.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import compute_sample_weight
from sklearn.utils.validation import has_fit_parameter

from l3clf.audio.clip import FloatArray
from l3clf.classifier.decision import VECTOR_POOLINGS, Answers, pool_probabilities
from l3clf.classifier.heads import make_head
from l3clf.classifier.thresholds import (
    FALLBACK_THRESHOLD,
    Thresholds,
    assigned_folds,
    best_temperature,
    learn_thresholds,
)
from l3clf.classifier.typicality import Typicality, fit_typicality
from l3clf.classifier.unknown import Unknown
from l3clf.errors import ClipWarning, ParameterError
from l3clf.networks.threads import one_blas_thread

__all__ = ["BACKGROUND_C", "Learned", "Lesson", "fit_rows", "learn", "pooled", "split_answers", "taught"]

# Both were chosen on clips of the open pools from other collections than the bank's: benchmarks/background/README.md.
BACKGROUND_C = 0.03
"""Of the head "logistic" where it learns a background."""
BACKGROUND_CLASSES = 7.0
"""How many average classes the background weighs as much as, if its weight is 1."""
MIN_CLIPS_FOR_DISTANCES = 5  # of the smallest class: the spread of fewer says too little
MAX_CLIPS_FOR_DISTANCES = 5000  # of all classes; more would take minutes and tell nothing new

Codes: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a head learns from.

    Attributes
    ----------
    clips : sequence of arrays of shape (n_rows, n_features)
        The rows of each clip of a known class: one, or one for each window where the pooling is of probabilities.
    labels : array of shape (n_clips,)
    background : array of shape (n, n_features)
        The rows of the background; none if there is no background.
    pooling : str
        How the head's answers for a clip's rows become one.
    windows : sequence of arrays of shape (n_windows, embedding_size)
        The windows of each clip.
    copies : sequence of arrays of shape (n_rows, n_features)
        The rows of changed copies of each clip, which are learned with it; a head is never asked about them. None if
        there are no copies.
    """

    clips: Sequence[FloatArray]
    labels: NDArray[Any]
    background: FloatArray
    pooling: str
    windows: Sequence[FloatArray]
    copies: Sequence[FloatArray] = ()

    @property
    def lengths(self) -> NDArray[np.intp]:
        """The number of rows of each clip, (n_clips,)."""
        return np.array([len(rows) for rows in self.clips], np.intp)


@dataclass(frozen=True, eq=False)
class Learned:
    """A fitted head and what was learned beside it.

    Attributes
    ----------
    head : classifier
        With the background as its last class, if there is one.
    thresholds : Thresholds
    temperature : float
        By which the head's logits were divided; 1 where they were not.
    typicality : Typicality or None
        The distances by which known shares are multiplied.
    """

    head: Any
    thresholds: Thresholds
    temperature: float
    typicality: Typicality | None

    @property
    def threshold(self) -> float | NDArray[np.float64]:
        """The common threshold, or one for each class, (n_classes,)."""
        values = self.thresholds.values
        return values if self.thresholds.per_class else float(values[0])

    @property
    def interval(self) -> NDArray[np.float64]:
        """The interval of the threshold, (2,), or of each, (n_classes, 2)."""
        intervals = self.thresholds.intervals
        return intervals if self.thresholds.per_class else intervals[0]


def learn(
    lesson: Lesson,
    head: Any,
    unknown: Unknown,
    *,
    distances: bool = False,
    class_weight: Any = None,
    random_state: Any = 0,
    groups: NDArray[Any] | None = None,
) -> Learned:
    """Fit a head, and learn from cross-fitting how sure its answers are and from which score on a clip is known.

    Parameters
    ----------
    lesson : Lesson
    head : str or classifier
        See `ClipClassifier`; ``class_weight`` and ``random_state`` too.
    unknown : Unknown
    distances : bool, default=False
        Whether distances are to serve where there is no background.
    groups : array of shape (n_clips,), optional
        Clips of one group are not learned while others of it are asked about.

    Raises
    ------
    ParameterError
        If there is a background, and the head takes no sample weights.
    """
    classes, codes = np.unique(lesson.labels, return_inverse=True)
    codes = codes.reshape(-1)
    group_codes = None if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    has_background = len(lesson.background) > 0
    make, clip_weights = _head_maker(head, class_weight, random_state, lesson.labels, has_background)

    learned = taught(lesson.clips, lesson.copies)

    def fit(chosen: NDArray[np.intp]) -> Any:
        if not has_background:  # labels, because the head's class_weight may name them
            return fit_rows(make(), learned, lesson.clips, lesson.labels, chosen.tolist())
        rows = np.concatenate([learned[i] for i in chosen.tolist()])
        lengths = [len(learned[i]) for i in chosen.tolist()]
        weights = np.repeat(clip_weights[chosen] * lesson.lengths[chosen] / lengths, lengths)
        weight = unknown.weight * BACKGROUND_CLASSES * weights.sum() / len(np.unique(codes[chosen]))
        share = weight / len(lesson.background)
        return _fit_weighted(
            make(),
            np.concatenate([rows, lesson.background]),
            np.concatenate([np.repeat(codes[chosen], lengths), np.full(len(lesson.background), len(classes))]),
            np.concatenate([weights, np.full(len(lesson.background), share)]),
        )

    distances = distances and not has_background and np.bincount(codes).min() >= MIN_CLIPS_FOR_DISTANCES
    measure = partial(_fit_distances, lesson, codes) if distances else None
    everything = np.arange(len(codes))
    # Our own heads solve many small systems, on which several BLAS threads are eight times slower than one.
    with one_blas_thread() if isinstance(head, str) else nullcontext():
        fitted = fit(everything)
        held_out = _cross_fit(lesson, classes, codes, group_codes, fit, measure)
    judged = _judged(fitted, held_out, head, unknown, group_codes, len(classes))
    return replace(judged, typicality=measure(everything)) if measure and len(held_out.clips) else judged


def _fit_distances(lesson: Lesson, codes: Codes, chosen: NDArray[np.intp]) -> Typicality:
    """Return the distances to the chosen clips, or to some of them where they are many."""
    most = max(MIN_CLIPS_FOR_DISTANCES, MAX_CLIPS_FOR_DISTANCES // len(np.unique(codes)))
    order = np.random.default_rng(0).permutation(chosen)
    some = np.concatenate([order[codes[order] == code][:most] for code in np.unique(codes[chosen])])
    rows, windows = zip(*((lesson.clips[i], lesson.windows[i]) for i in some.tolist()), strict=True)
    return fit_typicality(np.concatenate(rows), codes[some], windows)


def _head_maker(
    head: Any, class_weight: Any, random_state: Any, labels: NDArray[Any], has_background: bool
) -> tuple[Callable[[], Any], NDArray[np.float64]]:
    """Return what makes an unfitted head, and the weight of each clip."""
    if not has_background:
        return lambda: make_head(head, class_weight, random_state), np.ones(len(labels))
    probe = make_head(head, class_weight, random_state)  # refuses what cannot be
    if _weight_parameter(probe) is None:
        raise ParameterError(
            f"head={type(head).__name__}: its fit takes no sample_weight, which a background needs; give another head, "
            "or Unknown(background=None)"
        )
    named = [value for name, value in probe.get_params().items() if name.endswith("class_weight")]
    if not isinstance(head, str) and (dicts := [value for value in named if isinstance(value, dict)]):
        raise ParameterError(
            f"head={type(head).__name__}: class_weight={dicts[0]!r} names classes, which are numbers beside a "
            "background; leave it out, or give a named head and the classifier's own class_weight"
        )
    # The background is no class of the user's, so what classes weigh is said by the weights of their clips.
    weights = compute_sample_weight(class_weight, labels) if isinstance(head, str) else np.ones(len(labels))

    def make() -> Any:
        made = make_head(head, None if isinstance(head, str) else class_weight, random_state)
        return made.set_params(logisticregression__C=BACKGROUND_C) if head == "logistic" else made

    return make, np.asarray(weights, np.float64)


def _weight_parameter(head: Any) -> str | None:
    """Return the name under which the fit of a head takes the weights of its rows; None if it takes none."""
    if isinstance(head, BaseSearchCV):
        return _weight_parameter(head.estimator)
    if isinstance(head, Pipeline):
        name, last = head.steps[-1]
        inner = _weight_parameter(last)
        return None if inner is None else f"{name}__{inner}"
    return "sample_weight" if has_fit_parameter(head, "sample_weight") else None


def _fit_weighted(head: Any, rows: FloatArray, codes: NDArray[Any], weights: NDArray[np.float64]) -> Any:
    # A head's steps need not have asked for weights by scikit-learn's metadata routing: these are ours.
    with config_context(enable_metadata_routing=False):
        return head.fit(rows, codes, **{str(_weight_parameter(head)): weights})


def fit_rows(
    head: Any,
    learned: Sequence[FloatArray],
    own: Sequence[FloatArray],
    labels: NDArray[Any],
    chosen: Sequence[int],
) -> Any:
    """Fit a head on the rows of clips, which weigh as much with copies as without, if the head takes weights.

    Parameters
    ----------
    head : classifier
    learned, own : sequence of arrays of shape (n_rows, n_features)
        The rows of each clip with those of its copies, and without; see `taught`.
    labels : array of shape (n_clips,)
    chosen : sequence of int
        The clips to learn.
    """
    lengths = [len(learned[i]) for i in chosen]
    rows, targets = np.concatenate([learned[i] for i in chosen]), np.repeat(labels[list(chosen)], lengths)
    shares = [len(own[i]) / len(learned[i]) for i in chosen]
    if min(shares) == 1 or _weight_parameter(head) is None:
        return head.fit(rows, targets)
    return _fit_weighted(head, rows, targets, np.repeat(shares, lengths))


def taught(rows: Sequence[FloatArray], copies: Sequence[FloatArray]) -> list[FloatArray]:
    """Return for each clip its own rows and then those of its copies; the clips' own where there are no copies."""
    return [np.concatenate(each) for each in zip(rows, copies, strict=True)] if len(copies) else list(rows)


# --- cross-fitting --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Answers of heads for clips that they had not learned, of classes that they had.

    Attributes
    ----------
    clips : array of shape (n,), int
        Which clips.
    codes : array of shape (n,), int
        Their classes.
    rows : sequence of arrays of shape (n_rows, n_columns)
        The heads' probabilities for the rows of each; the background's last, if there is one.
    shares : array of shape (n_clips,), float64, or None
        How typical each clip is of what was learned, by its number; None where distances do not serve.
    n_classes : int
    pooling : str
    """

    clips: NDArray[np.intp]
    codes: Codes
    rows: Sequence[NDArray[np.float64]]
    shares: NDArray[np.float64] | None
    n_classes: int
    pooling: str

    def answers(self, temperature: float = 1.0) -> Answers:
        """Return the answers for the clips, had the heads' logits been divided by a temperature."""
        rows = np.concatenate(self.rows)
        if temperature != 1:
            logs = np.log(np.maximum(rows, 1e-300)) / temperature
            powers = np.exp(logs - logs.max(axis=1, keepdims=True))
            rows = powers / powers.sum(axis=1, keepdims=True)
        found = split_answers(pooled(rows, [len(each) for each in self.rows], self.pooling), self.n_classes)
        return found if self.shares is None else with_distances(found, self.shares[self.clips], temperature)


def _cross_fit(
    lesson: Lesson,
    classes: NDArray[Any],
    codes: Codes,
    groups: Codes | None,
    fit: Callable[[NDArray[np.intp]], Any],
    measure: Callable[[NDArray[np.intp]], Typicality] | None,
) -> _HeldOut:
    """Answer for each clip by a head that learned neither it nor others of its group."""
    has_background = len(lesson.background) > 0
    folds = assigned_folds(codes, groups)
    found: dict[int, NDArray[np.float64]] = {}
    shares = None if measure is None else np.ones(len(codes))
    for fold in range(int(folds.max()) + 1) if folds.max() else ():
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        # A class that was not learned says nothing about those that were.
        test = test[np.isin(codes[test], codes[train])]
        if not len(test) or len(np.unique(codes[train])) + has_background < 2:
            continue
        head = fit(train)
        asked = np.concatenate([lesson.clips[i] for i in test.tolist()])
        rows = np.zeros((len(asked), len(classes) + has_background))
        known = head.classes_ if has_background else np.searchsorted(classes, head.classes_)
        rows[:, known.astype(np.intp)] = head.predict_proba(asked)
        del head  # a forest may be large, and the next one grows before the name is free
        if measure is not None and shares is not None:
            shares[test] = measure(train).shares(asked, [len(lesson.windows[i]) for i in test.tolist()])
        ends = np.cumsum(lesson.lengths[test])[:-1]
        found.update(zip(test.tolist(), np.split(rows, ends), strict=True))
    clips = np.array(sorted(found), np.intp)
    return _HeldOut(clips, codes[clips], [found[i] for i in clips.tolist()], shares, len(classes), lesson.pooling)


def _judged(
    fitted: Any, held_out: _HeldOut, head: Any, unknown: Unknown, groups: Codes | None, n_classes: int
) -> Learned:
    """Return the head, calibrated, with its thresholds."""
    if not len(held_out.clips):
        warnings.warn(
            f"unknown: too few clips to learn a threshold from; {FALLBACK_THRESHOLD:g} is used, give at least two "
            "clips (with groups, of two groups) of each class",
            ClipWarning,
            stacklevel=4,
        )
        thresholds = learn_thresholds(np.zeros(0), np.zeros(0, np.intp), n_classes, unknown.accept, unknown.per_class)
        return Learned(fitted, thresholds, 1.0, None)
    temperature = 1.0
    if head == "logistic" and held_out.pooling != "vote":  # votes do not depend on it
        temperature = best_temperature(lambda value: held_out.answers(value).probabilities, held_out.codes)
        _divide_logits(fitted, temperature)
    answers = held_out.answers(temperature)
    thresholds = learn_thresholds(
        1 - answers.unknown_scores,
        answers.probabilities.argmax(axis=1),
        n_classes,
        unknown.accept,
        bool(unknown.per_class),
        None if groups is None else groups[held_out.clips],
    )
    return Learned(fitted, thresholds, temperature, None)


def _divide_logits(fitted: Any, temperature: float) -> None:
    """Divide the logits of the head "logistic" for good, so that whoever reads its coefficients need not know."""
    logistic = fitted[-1]
    logistic.coef_ = logistic.coef_ / temperature
    logistic.intercept_ = logistic.intercept_ / temperature


# --- answers --------------------------------------------------------------------------------------------


def pooled(rows: NDArray[np.float64], lengths: Sequence[int], pooling: str) -> NDArray[np.float64]:
    """Pool the head's probabilities for the rows of clips, (n_rows, n_columns), into one row for each clip."""
    if pooling in VECTOR_POOLINGS:
        return rows
    ends = np.cumsum(lengths)[:-1]
    return np.stack([pool_probabilities(part, pooling) for part in np.split(rows, ends)])


def split_answers(rows: NDArray[np.float64], n_classes: int) -> Answers:
    """Return the answers that a head's pooled rows stand for.

    Parameters
    ----------
    rows : array of shape (n, n_classes) or (n, n_classes + 1)
        The last column is that of the background, if there is one.
    n_classes : int

    Returns
    -------
    Answers
        Zeros as the probabilities of a clip that is nothing but background.
    """
    if rows.shape[1] == n_classes:
        return Answers(rows, np.ones(len(rows)))
    known = rows[:, :n_classes]
    shares = known.sum(axis=1)
    return Answers(known / np.where(shares > 0, shares, 1.0)[:, None], np.minimum(shares, 1.0))


def with_distances(found: Answers, shares: NDArray[np.float64], temperature: float) -> Answers:
    """Return answers whose known shares are those of distances, and less where the head was not sure.

    Calibration makes the head's answers sharper: they then say better how often the best class is right, and worse
    whether the sound is of any class. So what is multiplied by the shares is the head's probability before it.

    Parameters
    ----------
    found : Answers
        Of a head without a background.
    shares : array of shape (n,), float64
        See `Typicality.shares`.
    temperature : float
        By which the head's logits were divided.
    """
    best, before = found.probabilities.max(axis=1), found.probabilities**temperature
    less_sure = before.max(axis=1) / (before.sum(axis=1) * best)
    return Answers(found.probabilities, shares * np.minimum(less_sure, 1.0))
