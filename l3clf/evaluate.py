"""Cross-validation that cannot leak, and scores with intervals.

Rule: a clip is answered once, by a model that was fitted without its fold; folds are those given, or whole
groups, and where neither is known the report says that leakage was not excluded. A score is computed on all
these answers together, its spread over folds and its interval stand beside it.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from l3clf.audio import Clip
from l3clf.errors import ClipWarning, DatasetError, ParameterError
from l3clf.estimators import ClipClassifier
from l3clf.pipeline import n_threads

__all__ = [
    "METRICS",
    "CrossValidation",
    "Duplicate",
    "Split",
    "cross_validate",
    "find_duplicates",
    "guess_groups",
    "learning_curve_points",
    "majority_floor",
    "make_split",
    "score",
    "scores",
]

METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
CURVE_KEYS = ("accuracy", "accuracy_low", "accuracy_high")
MOST_GROUPS_ONE_BY_ONE = 10
BLOCK_ROWS = 1000  # of the distances between all clips
NEAR_IDENTICAL = 0.15  # of the median distance between two clips: finds 9 in 10 of shifted cuts of one recording
Labels: TypeAlias = NDArray[Any]
DuplicateKind: TypeAlias = Literal["same", "overlapping", "near-identical"]


@dataclass(frozen=True, eq=False)
class Split:
    """Which fold each clip is tested in.

    Attributes
    ----------
    test_fold : array of shape (n_clips,), int
        Index into `names`.
    names : tuple of str
        What the folds are called.
    kind : {"folds", "groups", "stratified"}
        Where they come from.
    note : str
        One sentence about it for a reader.
    """

    test_fold: NDArray[np.intp]
    names: tuple[str, ...]
    kind: Literal["folds", "groups", "stratified"]
    note: str

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the indices of the training and the test clips of each fold."""
        for fold in range(len(self.names)):
            yield np.flatnonzero(self.test_fold != fold), np.flatnonzero(self.test_fold == fold)


def make_split(
    labels: Labels, folds: Labels | None = None, groups: Labels | None = None, n_splits: int = 5, seed: int = 0
) -> Split:
    """Decide on the folds: those given; else whole groups; else stratified by class.

    Parameters
    ----------
    labels : array of shape (n_clips,)
    folds, groups : array of shape (n_clips,), optional
    n_splits : int, default=5
        Folds to make where none are given. Up to ten groups are left out one at a time instead.
    seed : int, default=0

    Raises
    ------
    DatasetError
        If there are fewer than two folds, groups or classes, or some fold leaves only one class to train on.
    """
    if len(set(labels.tolist())) < 2:
        raise DatasetError(f"found only the class {str(labels[:1])[1:-1] or 'none'}; expected two or more")
    if folds is not None:
        split = _given(folds, "folds", "its own {n} folds, as given")
    elif groups is not None and len(set(groups.tolist())) <= MOST_GROUPS_ONE_BY_ONE:
        split = _given(groups, "groups", "{n} groups, one left out at a time")
    elif groups is not None:
        split = _drawn(StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed), labels, groups)
    else:
        split = _stratified(labels, n_splits, seed)
    _check_training(split, labels)
    return split


def _given(column: Labels, kind: Literal["folds", "groups"], note: str) -> Split:
    names, index = np.unique(column, return_inverse=True)
    if len(names) < 2:
        raise DatasetError(f"{kind}: found only {names.tolist()}; expected two or more different ones")
    return Split(index.reshape(-1), tuple(map(str, names)), kind, note.format(n=len(names)))


def _drawn(splitter: StratifiedGroupKFold, labels: Labels, groups: Labels) -> Split:
    test_fold = np.zeros(len(labels), np.intp)
    for fold, (_, test) in enumerate(splitter.split(labels, labels, groups)):
        test_fold[test] = fold
    n = len(set(groups.tolist()))
    note = f"{splitter.n_splits} folds that keep each of {n} groups together"
    return Split(test_fold, _numbered(splitter.n_splits), "groups", note)


def _stratified(labels: Labels, n_splits: int, seed: int) -> Split:
    largest = int(np.unique(labels, return_counts=True)[1].max())
    n = max(2, min(n_splits, largest))
    test_fold = np.zeros(len(labels), np.intp)
    with warnings.catch_warnings():  # that a class has fewer clips than folds is said by ClipTable.problems
        warnings.filterwarnings("ignore", message="The least populated class")
        splitter = StratifiedKFold(n, shuffle=True, random_state=seed)
        for fold, (_, test) in enumerate(splitter.split(labels, labels)):
            test_fold[test] = fold
    note = (
        f"{n} random folds, stratified by class: no folds or groups are known, so it was not excluded that pieces "
        "of one recording are in training and test (leakage)"
    )
    return Split(test_fold, _numbered(n), "stratified", note)


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(str(fold + 1) for fold in range(n))


def _check_training(split: Split, labels: Labels) -> None:
    for name, (train, _) in zip(split.names, split, strict=True):
        found = set(labels[train].tolist())
        if len(found) < 2:
            raise DatasetError(
                f"without fold {name!r} only the class {', '.join(map(str, found))} is left to train on; "
                "give folds or groups that each leave two classes or more"
            )


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
    folds = [(train, test) for train, test in split if len(test)]
    return _joined(labels, folds, _answers(model, windows, labels, folds, n_jobs))


Folds: TypeAlias = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]


def _answers(
    model: ClipClassifier, windows: Sequence[Any], labels: Labels, folds: Folds, n_jobs: int | None
) -> list[tuple[Labels, NDArray[np.float64]]]:
    work = joblib.Parallel(min(n_threads(n_jobs), len(folds)), backend="threading")
    with threadpool_limits(1, "blas"):  # the folds keep the cores busy
        jobs = (joblib.delayed(_answer)(model, windows, labels, train, test) for train, test in folds)
        answers: list[tuple[Labels, NDArray[np.float64]]] = work(jobs)
    return answers


def _answer(
    model: ClipClassifier, windows: Sequence[Any], labels: Labels, train: NDArray[np.intp], test: NDArray[np.intp]
) -> tuple[Labels, NDArray[np.float64]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipWarning)  # said once, for the whole set
        fitted = clone(model).fit([windows[i] for i in train], labels[train])
    return fitted.classes_, fitted.predict_proba([windows[i] for i in test])


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
        joined = _joined(labels, fewer, _answers(model, windows, labels, fewer, n_jobs))
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


def score(truth: Labels, predictions: Labels, metric: str, weights: NDArray[np.float64] | None = None) -> float:
    """Return one score, by scikit-learn's definition.

    Parameters
    ----------
    truth, predictions : array of shape (n_clips,)
    metric : {"accuracy", "balanced_accuracy", "macro_f1"}
        Balanced accuracy is the mean recall of the classes in `truth`; macro F1 the mean F1 of the classes in
        `truth` or `predictions`, 0 where it is not defined.
    weights : array of shape (n_clips,), optional

    Returns
    -------
    float
        From 0 to 1.
    """
    classes, index = np.unique(np.concatenate([truth, predictions]).astype(str), return_inverse=True)
    true, predicted = np.split(index.reshape(-1), 2)
    return _score(true, predicted, len(classes), metric, np.ones(len(true)) if weights is None else weights)


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
    """Return every metric with its spread over folds and a 95 % interval.

    Parameters
    ----------
    truth, predictions : array of shape (n_clips,)
    test_fold : array of shape (n_clips,)
        The fold in which each clip was tested.
    groups : array of shape (n_clips,), optional
        Clips that are not independent of each other: the interval resamples whole groups.
    n_resamples : int, default=1000
    seed : int, default=0

    Returns
    -------
    dict
        For each of `METRICS` NAME (on all answers together), NAME_std (standard deviation over folds), NAME_low
        and NAME_high (percentile bootstrap over clips or groups; Efron & Tibshirani, An Introduction to the
        Bootstrap, 1993).
    """
    classes, index = np.unique(np.concatenate([truth, predictions]).astype(str), return_inverse=True)
    true, predicted = np.split(index.reshape(-1), 2)
    resamples = _resampling_weights(groups, len(truth), n_resamples, seed)
    out: dict[str, float] = {}
    for metric in METRICS:
        out[metric] = _score(true, predicted, len(classes), metric, np.ones(len(true)))
        each = [score(truth[test_fold == f], predictions[test_fold == f], metric) for f in np.unique(test_fold)]
        drawn = [_score(true, predicted, len(classes), metric, weights) for weights in resamples]
        out[f"{metric}_std"] = float(np.std(each))
        out[f"{metric}_low"], out[f"{metric}_high"] = map(float, np.percentile(drawn, [2.5, 97.5]))
    return out


def _resampling_weights(groups: Labels | None, n: int, n_resamples: int, seed: int) -> list[NDArray[np.float64]]:
    """How often each clip is drawn, for every resample."""
    unit = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    n_units = int(unit.max()) + 1
    rng = np.random.default_rng(seed)
    draws = (np.bincount(rng.integers(0, n_units, n_units), minlength=n_units) for _ in range(n_resamples))
    return [counts[unit].astype(np.float64) for counts in draws]


def majority_floor(labels: Labels, split: Split) -> dict[str, float]:
    """Return the scores of always answering the training folds' largest class."""
    predictions = labels.copy()
    for train, test in split:
        classes, counts = np.unique(labels[train], return_counts=True)
        predictions[test] = classes[counts.argmax()]
    return {metric: score(labels, predictions, metric) for metric in METRICS}


# --- leakage ----------------------------------------------------------------------------------------


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
        Of the files' content; see `l3clf.pipeline.content_ids`.
    vectors : array of shape (n, size)
        Pooled embeddings. Two clips are near-identical when their standardised vectors are closer than
        `NEAR_IDENTICAL` times the median distance between two clips.
    split : Split

    Returns
    -------
    list of Duplicate
        Pairs across folds only, each once.
    """
    pairs: dict[tuple[int, int], DuplicateKind] = {(i, j): kind for i, j, kind in _same_content(clips, contents)}
    for i, j in _near_pairs(vectors):
        pairs.setdefault((i, j), "near-identical")
    fold = split.test_fold
    return [Duplicate(i, j, kind) for (i, j), kind in sorted(pairs.items()) if fold[i] != fold[j]]


def _same_content(clips: Sequence[Clip], contents: Sequence[object]) -> Iterator[tuple[int, int, DuplicateKind]]:
    by_content: dict[object, list[int]] = {}
    for i, content in enumerate(contents):
        by_content.setdefault(content, []).append(i)
    for same in by_content.values():
        for k, i in enumerate(same):
            for j in same[k + 1 :]:
                if (clips[i].start_s, clips[i].end_s) == (clips[j].start_s, clips[j].end_s):
                    yield i, j, "same"
                elif _overlap(clips[i], clips[j]):
                    yield i, j, "overlapping"


def _overlap(a: Clip, b: Clip) -> bool:
    ends = [float("inf") if clip.end_s is None else clip.end_s for clip in (a, b)]
    return a.start_s < ends[1] and b.start_s < ends[0]


def _near_pairs(vectors: NDArray[np.floating], seed: int = 0) -> list[tuple[int, int]]:
    spread = vectors.std(axis=0)
    standard = (vectors - vectors.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    if len(standard) < 3 or not standard.shape[1]:
        return []
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, len(standard), (2, 2000))
    distances = np.linalg.norm(standard[a[a != b]] - standard[b[a != b]], axis=1)
    limit = NEAR_IDENTICAL * float(np.median(distances))
    squares = np.einsum("ij,ij->i", standard, standard)
    pairs: list[tuple[int, int]] = []
    for first in range(0, len(standard), BLOCK_ROWS):
        block = slice(first, first + BLOCK_ROWS)
        between = squares[block, np.newaxis] + squares - 2 * standard[block] @ standard.T
        rows, columns = np.nonzero(between < limit**2)
        pairs += [(int(i) + first, int(j)) for i, j in zip(rows, columns, strict=True) if i + first < j]
    return pairs


def guess_groups(clips: Sequence[Clip], labels: Labels) -> tuple[str, Labels] | None:
    """Guess from file names or folders what belongs together; a guess to offer, not to take.

    Parameters
    ----------
    clips : sequence of n Clip
    labels : array of shape (n,)

    Returns
    -------
    (str, array of shape (n,)) or None
        What the guess rests on, and the groups: at least two, of two clips or more on average, that do not just
        repeat the labels.

    Examples
    --------
    >>> names = [f"{digit}_{speaker}_{k}.wav" for digit in "01" for speaker in ("ann", "bob") for k in range(3)]
    >>> guess_groups([Clip(name) for name in names], np.array([name[0] for name in names]))[0]
    "part 2 of the file names ('ann', 'bob')"
    """
    candidates = [("the file", np.array([clip.path for clip in clips]))]
    candidates.append(("the folder", np.array([str(Path(clip.path).parent) for clip in clips])))
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
    """Numbers without a gap count clips, and name nothing."""
    numbers = {int(value) for value in values.tolist() if value.isdecimal()}
    return len(numbers) == len(set(values.tolist())) == max(numbers, default=-1) - min(numbers, default=0) + 1
