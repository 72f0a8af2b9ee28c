"""How well what sounds alike is found: every clip of ESC-10 asks for clips of its class.

A clip asks among all clips of other folds, so that no other part of its own recording helps it. Average precision is
over all of these, and its mean over all clips; precision at 5 is the share of right ones among the first five. Entries
of the index are whole clips, or stretches of so many windows as the query has: what `l3clf similar` compares.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.materials import embed, esc10, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.search import EmbeddingIndex

FIRST = 5


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    embedders : tuple of str
    """

    embedders: tuple[str, ...] = ("l3mini", "l3base", "efficientat")


def run(options: Options) -> Result:
    """Ask for the clips of each class."""
    table = esc10()
    folds = np.zeros(len(table)) if table.folds is None else table.folds
    rows: list[tuple[Cell, ...]] = []
    for name in options.embedders:
        embedder = l3clf.load_embedder(name, **({"weights": weights_folder()} if name == "efficientat" else {}))
        clips, queries = embed(embedder, table.clips), embed(embedder, table.clips, center=False)
        for windows in (None, len(queries[0])):
            found = []
            for fold in np.unique(folds):
                asked, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
                index = EmbeddingIndex(embedder, windows=windows).add([clips[i] for i in others])
                matches = index.search([(queries if windows else clips)[i] for i in asked], n=len(others))
                for i, each in zip(asked, matches, strict=True):
                    right = table.labels[[others[match.index] for match in each]] == table.labels[i]
                    found.append((average_precision(right), float(right[:FIRST].mean())))
            kind = f"stretches of {windows} windows" if windows else "whole clips"
            rows.append((name, kind, *(float(np.mean(column)) for column in zip(*found, strict=True))))
    columns = ("embedder", ""), ("compared", ""), ("mAP", ".3f"), (f"precision at {FIRST}", ".3f")
    title = f"ESC-10: each of {len(table):,} clips asks among those of the other folds"
    return Result((Table(title, columns, tuple(rows)),))


def average_precision(right: NDArray[np.bool_]) -> float:
    """Return the mean precision at the places of what is right; 0 if nothing is."""
    hits = np.cumsum(right)
    return float((hits / np.arange(1, len(right) + 1))[right].mean()) if right.any() else 0.0
