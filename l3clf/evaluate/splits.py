"""The split of clips into folds.

Rule: folds are those given, or whole groups; if neither is known they are random, and the note says that
leakage was not excluded.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from l3clf.classifier.tag_folds import tag_folds
from l3clf.errors import DatasetError

__all__ = ["Labels", "Split", "make_split", "make_tag_split"]

MAX_GROUPS_ONE_BY_ONE = 10  # more would make a cross-validation slow
Labels: TypeAlias = NDArray[Any]
_MAY_LEAK = ": no folds or groups are known, so pieces of one recording may be in both training and test (leakage)"


@dataclass(frozen=True, eq=False)
class Split:
    """Which fold each clip is tested in.

    Attributes
    ----------
    test_fold : array of shape (n_clips,), int
        Index into `names`.
    names : tuple of str
        Names of the folds.
    kind : {"folds", "groups", "stratified"}
        Where they come from.
    note : str
        A phrase that describes the split to a reader.
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
    """Choose the folds: those given, else whole groups, else random folds stratified by class.

    Parameters
    ----------
    labels : array of shape (n_clips,)
    folds, groups : array of shape (n_clips,), optional
    n_splits : int, default=5
        Number of folds to make if none are given. Up to ten groups are left out one at a time instead.
    seed : int, default=0

    Returns
    -------
    Split

    Raises
    ------
    DatasetError
        If there are fewer than two folds, groups or classes, a fold leaves only one class to train on, or no
        class is in more than one fold.
    """
    sizes = np.unique(labels, return_counts=True)[1]
    if len(sizes) < 2:
        raise DatasetError(f"labels: only the class {str(labels[:1])[1:-1] or 'none'}; expected two or more")
    n_splits = max(
        2, min(n_splits, int(sizes.max()))
    )  # scikit-learn refuses more folds than the largest class has clips
    if folds is not None:
        split = _given(folds, "folds", "its own {n} folds, as given")
    elif groups is not None and len(set(groups.tolist())) <= MAX_GROUPS_ONE_BY_ONE:
        split = _given(groups, "groups", "{n} groups, one left out at a time")
    elif sizes.max() == 1:
        raise DatasetError(
            f"labels: each of the {len(sizes):,} classes has a single clip; give at least two clips of a class, one to "
            "train on and one to test (is the right column the label?)"
        )
    elif groups is not None:
        split = _whole_groups(labels, groups, n_splits, seed)
    else:
        split = _stratified(labels, n_splits, seed)
    _check_two_classes_to_train_on(split, labels)
    _check_a_class_in_two_folds(split, labels)
    return split


def make_tag_split(
    indicator: NDArray[Any], folds: Labels | None = None, groups: Labels | None = None, n_splits: int = 5, seed: int = 0
) -> Split:
    """Choose the folds for clips of several labels: those given, else whole groups, else random ones with even tags.

    Parameters
    ----------
    indicator : array of shape (n_clips, n_tags), bool or int
        Which clip has which tag.
    folds, groups, n_splits, seed
        See `make_split`. Folds are made by iterative stratification; see `l3clf.classifier.tag_folds`.

    Returns
    -------
    Split

    Raises
    ------
    DatasetError
        If there are fewer than two clips, folds or groups, or no tag is in the training of a fold that tests it.
    """
    if len(indicator) < 2:
        raise DatasetError(f"labels: those of {len(indicator)} clips; expected two or more")
    if folds is not None:
        split = _given(folds, "folds", "its own {n} folds, as given")
    elif groups is not None and len(set(groups.tolist())) <= MAX_GROUPS_ONE_BY_ONE:
        split = _given(groups, "groups", "{n} groups, one left out at a time")
    else:
        test_fold = tag_folds(indicator, max(2, min(n_splits, len(indicator))), groups, seed)
        n = int(test_fold.max()) + 1
        if groups is None:
            split = Split(test_fold, _numbered(n), "stratified", f"{n} random folds, stratified by tag{_MAY_LEAK}")
        else:
            note = f"{n} folds that keep each of {len(set(groups.tolist()))} groups together, stratified by tag"
            split = Split(test_fold, _numbered(n), "groups", note)
    _check_a_tag_in_two_folds(split, indicator)
    return split


def _check_a_tag_in_two_folds(split: Split, indicator: NDArray[Any]) -> None:
    for train, test in split:
        learned = indicator[train].mean(axis=0)
        if (indicator[test].any(axis=0) & (learned > 0) & (learned < 1)).any():
            return
    raise DatasetError(
        f"no tag of the {indicator.shape[1]:,} is in more than one of the {len(split)} "
        f"{'groups' if split.kind == 'groups' else 'folds'} and absent somewhere, so none could be learned and "
        "tested; give folds or groups that share tags"
    )


def _given(column: Labels, kind: Literal["folds", "groups"], note: str) -> Split:
    names, index = np.unique(column, return_inverse=True)
    if len(names) < 2:
        raise DatasetError(f"{kind}: only {names.tolist()}; expected two or more different values")
    return Split(index.reshape(-1), tuple(map(str, names)), kind, note.format(n=len(names)))


def _whole_groups(labels: Labels, groups: Labels, n_splits: int, seed: int) -> Split:
    test_fold = _drawn(StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed), labels, groups)
    # With few, large groups some folds may be empty, and are dropped.
    n = int(test_fold.max()) + 1
    note = f"{n} folds that keep each of {len(set(groups.tolist()))} groups together"
    return Split(test_fold, _numbered(n), "groups", note)


def _stratified(labels: Labels, n_splits: int, seed: int) -> Split:
    test_fold = _drawn(StratifiedKFold(n_splits, shuffle=True, random_state=seed), labels)
    note = f"{n_splits} random folds, stratified by class{_MAY_LEAK}"
    return Split(test_fold, _numbered(n_splits), "stratified", note)


def _drawn(splitter: Any, labels: Labels, groups: Labels | None = None) -> NDArray[np.intp]:
    """Return the fold of each clip, numbered without gaps."""
    test_fold = np.zeros(len(labels), np.intp)
    with warnings.catch_warnings():  # ClipTable.problems reports classes with fewer clips than folds
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, test) in enumerate(splitter.split(labels, labels, groups)):
            test_fold[test] = fold
    return np.unique(test_fold, return_inverse=True)[1].reshape(-1)


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(str(fold + 1) for fold in range(n))


def _check_two_classes_to_train_on(split: Split, labels: Labels) -> None:
    for name, (train, _) in zip(split.names, split, strict=True):
        found = set(labels[train].tolist())
        if len(found) < 2:
            raise DatasetError(
                f"fold {name!r}: the other folds have only the class {', '.join(map(str, found))} to train on; "
                "give folds or groups that each leave two classes or more"
            )


def _check_a_class_in_two_folds(split: Split, labels: Labels) -> None:
    first: dict[Any, int] = {}
    for label, fold in zip(labels.tolist(), split.test_fold.tolist(), strict=True):
        if first.setdefault(label, fold) != fold:
            return
    raise DatasetError(
        f"no class is in more than one of the {len(split)} {'groups' if split.kind == 'groups' else 'folds'}, so "
        "every clip would be tested by a model that never saw its class; give folds or groups that share classes"
    )
