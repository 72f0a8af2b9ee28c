"""Which fold each clip is tested in.

Rule: folds are those given, or whole groups; where neither is known they are random, and the note says what
was not excluded then.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from l3clf.errors import DatasetError

__all__ = ["Labels", "Split", "make_split"]

MOST_GROUPS_ONE_BY_ONE = 10
Labels: TypeAlias = NDArray[Any]


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
        If there are fewer than two folds, groups or classes, some fold leaves only one class to train on, or no
        class is in more than one fold.
    """
    sizes = np.unique(labels, return_counts=True)[1]
    if len(sizes) < 2:
        raise DatasetError(f"found only the class {str(labels[:1])[1:-1] or 'none'}; expected two or more")
    n_splits = max(2, min(n_splits, int(sizes.max())))
    if folds is not None:
        split = _given(folds, "folds", "its own {n} folds, as given")
    elif groups is not None and len(set(groups.tolist())) <= MOST_GROUPS_ONE_BY_ONE:
        split = _given(groups, "groups", "{n} groups, one left out at a time")
    elif sizes.max() == 1:
        raise DatasetError(
            f"each of the {len(sizes):,} classes has a single clip; expected classes with two clips or more, one to "
            "train on and one to test (is the right column the label?)"
        )
    elif groups is not None:
        split = _whole_groups(labels, groups, n_splits, seed)
    else:
        split = _stratified(labels, n_splits, seed)
    _check_training(split, labels)
    _check_testing(split, labels)
    return split


def _given(column: Labels, kind: Literal["folds", "groups"], note: str) -> Split:
    names, index = np.unique(column, return_inverse=True)
    if len(names) < 2:
        raise DatasetError(f"{kind}: found only {names.tolist()}; expected two or more different ones")
    return Split(index.reshape(-1), tuple(map(str, names)), kind, note.format(n=len(names)))


def _whole_groups(labels: Labels, groups: Labels, n_splits: int, seed: int) -> Split:
    test_fold = _drawn(StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed), labels, groups)
    # Where groups are large and few, a fold may have got none of them.
    n = int(test_fold.max()) + 1
    note = f"{n} folds that keep each of {len(set(groups.tolist()))} groups together"
    return Split(test_fold, _numbered(n), "groups", note)


def _stratified(labels: Labels, n_splits: int, seed: int) -> Split:
    test_fold = _drawn(StratifiedKFold(n_splits, shuffle=True, random_state=seed), labels)
    note = (
        f"{n_splits} random folds, stratified by class: no folds or groups are known, so it was not excluded that "
        "pieces of one recording are in training and test (leakage)"
    )
    return Split(test_fold, _numbered(n_splits), "stratified", note)


def _drawn(splitter: Any, labels: Labels, groups: Labels | None = None) -> NDArray[np.intp]:
    """Return the fold of each clip, counted without gaps."""
    test_fold = np.zeros(len(labels), np.intp)
    with warnings.catch_warnings():  # that a class has fewer clips than folds is said by ClipTable.problems
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, test) in enumerate(splitter.split(labels, labels, groups)):
            test_fold[test] = fold
    return np.unique(test_fold, return_inverse=True)[1].reshape(-1)


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


def _check_testing(split: Split, labels: Labels) -> None:
    """Refuse folds that could only ever be answered wrongly."""
    first: dict[Any, int] = {}
    for label, fold in zip(labels.tolist(), split.test_fold.tolist(), strict=True):
        if first.setdefault(label, fold) != fold:
            return
    raise DatasetError(
        f"no class is in more than one of the {len(split)} {'groups' if split.kind == 'groups' else 'folds'}, so that "
        "every clip would be of a class that its training lacks; give folds or groups that classes share"
    )
