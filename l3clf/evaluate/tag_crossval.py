"""Cross-validation of taggers: each clip is tagged by a model that did not see its fold.

Rule: everything that is fitted, the thresholds included, is fitted on the training folds alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from l3clf.classifier.tag_labels import as_tag_targets
from l3clf.classifier.tagger import ClipTagger
from l3clf.evaluate.crossval import CrossValidation
from l3clf.evaluate.fold_warnings import fold_warnings
from l3clf.evaluate.splits import Labels, Split
from l3clf.networks.threads import one_blas_thread
from l3clf.pipeline import in_parallel, n_threads

__all__ = ["cross_validate_tags", "threshold_groups"]


def cross_validate_tags(
    model: ClipTagger,
    windows: Sequence[Any],
    tags: Any,
    split: Split,
    groups: Labels | None = None,
    n_jobs: int | None = None,
) -> CrossValidation:
    """Cross-validate a tagger; scaling, pooling, head and thresholds are fitted on the training folds alone.

    Parameters
    ----------
    model : ClipTagger
    windows : sequence of WindowEmbeddings, or anything else that the tagger takes as X
    tags : as y of `ClipTagger.fit`
        The tags of each clip.
    split : Split
    groups : array of shape (n_clips,), optional
        Clips that belong together, for the thresholds; see `threshold_groups`.
    n_jobs : int or None
        Number of folds to fit at once; None means one for each core.

    Returns
    -------
    CrossValidation
        Its predictions are an indicator matrix (n_clips, n_tags). A tag that all clips of the training folds have,
        or none, could not be learned there: its probability is then 1 or 0.
    """
    targets = as_tag_targets(tags, len(windows))
    groups = threshold_groups(split, groups)
    probabilities = np.zeros(targets.indicator.shape)
    predictions = np.zeros(targets.indicator.shape, np.int64)

    def job(train: NDArray[np.intp], test: NDArray[np.intp]) -> None:
        learned = targets.indicator[train]
        share = learned.mean(axis=0)
        known = np.flatnonzero((share > 0) & (share < 1))
        probabilities[test] = predictions[test] = share == 1
        if not len(known):
            return
        fitted = clone(model).fit([windows[i] for i in train], learned[:, known], groups=_of(groups, train))
        answers = fitted.clip_answers([windows[i] for i in test])
        probabilities[np.ix_(test, known)] = answers.probabilities
        predictions[np.ix_(test, known)] = fitted.indicator_of(answers)

    folds = [partial(job, train, test) for train, test in split if len(test)]
    with fold_warnings(), one_blas_thread():  # the folds already use every core
        for _ in in_parallel(iter(folds), min(n_threads(n_jobs), len(folds)), wait_when_left=False):
            pass
    return CrossValidation(predictions, probabilities, targets.classes)


def threshold_groups(split: Split, groups: Labels | None = None) -> Labels | None:
    """Return which clips belong together when thresholds are learned: the groups, or else the folds that were given.

    Parameters
    ----------
    split : Split
    groups : array of shape (n_clips,), optional

    Returns
    -------
    array of shape (n_clips,), or None
        None where neither is known.
    """
    if groups is not None:
        return groups
    return split.test_fold if split.kind == "folds" else None


def _of(groups: Labels | None, rows: NDArray[np.intp]) -> Labels | None:
    """Return the groups of some clips; None where they are all in one, which cannot be divided."""
    some = None if groups is None else groups[rows]
    return None if some is None or len(np.unique(some)) < 2 else some
