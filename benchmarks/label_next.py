"""What it gains to label the clips that `suggest` names: accuracy on ESC-10's last fold against clips labelled.

A start is a random choice of 20 clips of the other folds. From there on 20 clips are labelled at a time, chosen by
`l3clf.search.suggest` or at random. The method was chosen on the pool, and not by these figures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.materials import embed, esc10, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.search import suggest

AT_ONCE = 20


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    embedders : tuple of str
    labelled : tuple of int
        Numbers of labelled clips that are scored, the first of which is a start.
    starts : int
    """

    embedders: tuple[str, ...] = ("l3mini", "l3base", "efficientat")
    labelled: tuple[int, ...] = (20, 40, 80)
    starts: int = 5


def run(options: Options) -> Result:
    """Label clips, and score each model on the last fold."""
    table = esc10()
    folds = np.zeros(len(table)) if table.folds is None else table.folds
    test = folds == np.unique(folds)[-1]
    rows: list[tuple[Cell, ...]] = []
    for name in options.embedders:
        embedder = l3clf.load_embedder(name, **({"weights": weights_folder()} if name == "efficientat" else {}))
        windows = np.empty(len(table), object)
        windows[:] = embed(embedder, table.clips)
        for guided in (True, False):
            scores = [_scores(embedder, windows, table.labels, test, options, s, guided) for s in range(options.starts)]
            means = (float(value) for value in np.mean(scores, axis=0))
            rows.append((name, "`suggest`" if guided else "at random", *means, float(np.std(scores, axis=0)[1])))
    columns = tuple((f"{n} labelled", ".1%") for n in options.labelled)
    spread = (f"standard deviation over starts at {options.labelled[1]}", ".1%")
    title = f"ESC-10, accuracy on the last fold, mean of {options.starts} starts"
    return Result((Table(title, (("embedder", ""), ("chosen", ""), *columns, spread), tuple(rows)),))


def _scores(
    embedder: l3clf.Embedder,
    windows: NDArray[np.object_],
    labels: NDArray[np.str_],
    test: NDArray[np.bool_],
    options: Options,
    start: int,
    guided: bool,
) -> list[float]:
    """Return the accuracy at each number of labelled clips."""
    rng = np.random.default_rng(start)
    left = rng.permutation(np.flatnonzero(~test)).tolist()
    have: list[int] = []
    scores = []
    model = l3clf.ClipClassifier(embedder, cache=None)
    while len(have) < options.labelled[-1]:
        goal = next(n for n in options.labelled if n > len(have))
        n = min(AT_ONCE, goal - len(have)) if have else goal
        new = [left[each.index] for each in suggest(model, windows[left], n)] if guided and have else left[:n]
        have, left = have + new, [i for i in left if i not in set(new)]
        model.fit(windows[have], labels[have])
        if len(have) in options.labelled:
            scores.append(float(np.mean(model.predict(windows[test]) == labels[test])))
    return scores
