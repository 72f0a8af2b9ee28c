"""Folds for clips of several labels: each tag spread evenly, and the clips of one group kept together.

Rule: the same labels, groups and seed give the same folds; nothing but them decides.
"""

import numpy as np
from numpy.typing import NDArray

from l3clf.errors import ParameterError

__all__ = ["tag_folds"]

Floats = NDArray[np.float64]


def tag_folds(
    indicator: NDArray[np.integer] | NDArray[np.bool_],
    n_folds: int = 5,
    groups: NDArray[np.generic] | None = None,
    seed: int = 0,
) -> NDArray[np.intp]:
    """Return the fold of each clip, by iterative stratification of whole groups.

    The tag in the fewest groups that are not in a fold yet comes first. Each of its groups, those with most of its
    clips first, goes to the fold that lacks most clips of this tag; among equals, to the one that lacks most clips.
    Groups without a tag come last. So rare tags are spread while there is still a choice.

    Parameters
    ----------
    indicator : array of shape (n_clips, n_tags), bool or int
        Which clip has which tag.
    n_folds : int, default=5
        There are fewer where there are fewer groups.
    groups : array of shape (n_clips,), optional
        The recording, speaker, ... of each clip: all clips of a group are in one fold. Without groups each clip is one.
    seed : int, default=0
        Of the order of groups that are alike.

    Returns
    -------
    array of shape (n_clips,), int
        Numbers from 0, without gaps.

    Raises
    ------
    ParameterError
        If there are fewer than two folds or groups.

    References
    ----------
    Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, ECML PKDD 2011; for single clips. That
    groups are moved as one is ours.

    Examples
    --------
    >>> tags = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [1, 1]])
    >>> folds = tag_folds(tags, n_folds=2)
    >>> [tags[folds == fold].sum(axis=0).tolist() for fold in (0, 1)]
    [[2, 2], [2, 2]]
    """
    table = np.asarray(indicator, np.float64)
    codes = np.arange(len(table)) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    n_groups = int(codes.max()) + 1 if len(codes) else 0
    if n_folds < 2 or n_groups < 2:
        found = f"n_folds={n_folds}" if n_folds < 2 else f"groups: {n_groups}"
        raise ParameterError(f"{found}; expected two or more to divide clips into folds")
    sizes = np.bincount(codes, minlength=n_groups).astype(np.float64)
    counts = np.stack([np.bincount(codes, column, n_groups) for column in table.T], axis=1, dtype=np.float64)
    of_group = _assigned(counts, sizes, min(n_folds, n_groups), np.random.default_rng(seed))
    return np.unique(of_group[codes], return_inverse=True)[1].reshape(-1)


def _assigned(counts: Floats, sizes: Floats, n_folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the fold of each group, from its clips of each tag (n_groups, n_tags) and its size (n_groups,)."""
    fold = np.full(len(counts), -1, np.intp)
    order = rng.permutation(len(counts))
    lacking_tags = np.tile(counts.sum(axis=0) / n_folds, (n_folds, 1))
    lacking = np.full(n_folds, sizes.sum() / n_folds)

    def assign(group: int, wanted: Floats) -> None:
        best = np.lexsort((-lacking, -wanted))[0]
        fold[group] = best
        lacking_tags[best] -= counts[group]
        lacking[best] -= sizes[group]

    while (left := np.where(fold < 0, 1.0, 0.0) @ (counts > 0)).any():
        tag = int(np.where(left > 0, left, np.inf).argmin())
        members = order[(fold[order] < 0) & (counts[order, tag] > 0)]
        for group in members[np.argsort(-counts[members, tag], kind="stable")]:
            assign(int(group), lacking_tags[:, tag])
    rest = order[fold[order] < 0]
    for group in rest[np.argsort(-sizes[rest], kind="stable")]:
        assign(int(group), lacking)
    return fold
