"""From the windows of training clips to a fitted head of a tagger, and the probabilities that tell its thresholds.

Rule: a probability that tells a threshold is of a clip that its head had not learned, nor others of its group.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.classifier.cross_fitting import pooled
from l3clf.classifier.tag_folds import tag_folds
from l3clf.classifier.tag_heads import fit_tag_head, tag_probabilities
from l3clf.classifier.tag_labels import TagTargets
from l3clf.classifier.tag_thresholds import MIN_CLIPS_FOR_THRESHOLD, learn_tag_thresholds
from l3clf.classifier.thresholds import N_FOLDS
from l3clf.datasets.describe import some
from l3clf.errors import ClipWarning

__all__ = ["fit_clips", "learned_thresholds", "out_of_fold"]

MAX_LISTED_TAGS = 5


def fit_clips(head: Any, clips: Sequence[FloatArray], indicator: NDArray[np.int64]) -> Any:
    """Fit a head on the rows of clips, each of which has the tags of its clip.

    Parameters
    ----------
    head : classifier
        Of `make_tag_head`.
    clips : sequence of arrays of shape (n_rows, n_features)
        One row for each clip, or one for each window where the pooling is of probabilities.
    indicator : array of shape (n_clips, n_tags), int64

    Returns
    -------
    classifier
    """
    return fit_tag_head(head, np.concatenate(clips), np.repeat(indicator, [len(rows) for rows in clips], axis=0))


def out_of_fold(
    make: Callable[[], Any],
    clips: Sequence[FloatArray],
    indicator: NDArray[np.int64],
    pooling: str,
    groups: NDArray[Any] | None,
) -> NDArray[np.float64]:
    """Return the probabilities of clips by heads that had learned neither them nor others of their groups.

    Parameters
    ----------
    make : callable
        Returns an unfitted head.
    clips, indicator
        See `fit_clips`.
    pooling : str
        How the head's answers for a clip's rows become one.
    groups : array of shape (n_clips,), or None

    Returns
    -------
    array of shape (n_clips, n_tags), float64
        NaN where there is none: the clips of the other folds all have the tag, or none has.
    """
    found = np.full(indicator.shape, np.nan)
    n_units = len(clips) if groups is None else len(np.unique(groups))
    folds = tag_folds(indicator, N_FOLDS, groups) if n_units > 1 else np.zeros(len(clips), np.intp)
    for fold in range(int(folds.max()) + 1) if folds.max() else ():
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        counts = indicator[train].sum(axis=0)
        learnable = np.flatnonzero((counts > 0) & (counts < len(train)))
        if not len(learnable):
            continue
        head = fit_clips(make(), [clips[i] for i in train.tolist()], indicator[np.ix_(train, learnable)])
        asked = [clips[i] for i in test.tolist()]
        rows = tag_probabilities(head, np.concatenate(asked), len(learnable))
        found[np.ix_(test, learnable)] = pooled(rows, [len(each) for each in asked], pooling)
        del head  # a forest may be large, and the next one grows before the name is free
    return found


def learned_thresholds(
    probabilities: NDArray[np.float64], targets: TagTargets, groups: NDArray[Any] | None
) -> NDArray[np.float64]:
    """Return the threshold of each tag, and warn of tags with too few clips for one of their own.

    Parameters
    ----------
    probabilities : array of shape (n_clips, n_tags)
        Of `out_of_fold`.
    targets : TagTargets
    groups : array of shape (n_clips,), or None

    Returns
    -------
    array of shape (n_tags,), float64
    """
    codes = None if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    thresholds, has_own = learn_tag_thresholds(probabilities, targets.indicator, codes)
    if not has_own.all():
        rare = [repr(name) for name in targets.classes[~has_own].tolist()]
        apart = "" if groups is None else ", or all of them in one group"
        warnings.warn(
            f"{some(rare, MAX_LISTED_TAGS)}: fewer than {MIN_CLIPS_FOR_THRESHOLD} clips with the tag{apart}, too few "
            f"to tell its threshold; {thresholds[~has_own][0]:.2f} is used, that of all tags together",
            ClipWarning,
            stacklevel=4,
        )
    return thresholds
