"""Accuracy on ESC-10 with few training clips of each class, with augmentation and without; mean over draws.

`draw_clips` draws the clips: the same ones for everything that is measured with few clips, whoever measures it.
"""

import numpy as np
from numpy.typing import NDArray

import l3clf

__all__ = ["draw_clips"]


def draw_clips(table: l3clf.ClipTable, per_class: int, draw: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which clips are learned and which are asked about in one draw.

    Parameters
    ----------
    table : ClipTable
        With folds.
    per_class : int
        Training clips of each class; all of them where there are fewer.
    draw : int
        From 0: its number chooses the fold that is asked about, in turn, and the clips from the others. Of one draw,
        fewer clips are some of more.

    Returns
    -------
    train, test : array of shape (n,)
        Places in the table, in order.
    """
    if table.folds is None:
        raise ValueError("the table has no folds")
    folds = np.unique(table.folds)
    is_test = table.folds == folds[draw % len(folds)]
    order = np.random.default_rng(draw).permutation(np.flatnonzero(~is_test))
    train = [order[table.labels[order] == label][:per_class] for label in np.unique(table.labels)]
    return np.sort(np.concatenate(train)), np.flatnonzero(is_test)
