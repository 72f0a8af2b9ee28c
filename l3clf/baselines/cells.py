"""The cells of a baseline: combinations of an embedder, a head and a pooling that fit into memory.

Rule: a cell that needs too much memory is left out and named before anything is fitted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.decision import PROBABILITY_POOLINGS
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.heads import FOREST_TREES, tuned_logistic
from l3clf.datasets.describe import some
from l3clf.embedders import Embedder
from l3clf.errors import DatasetError

__all__ = ["Cell", "manageable"]

MAX_BYTES = 6e9  # for one head while it is fitted: leaves room on a machine with 8 GB
NODES_PER_ROW = 1.27  # at most: a bootstrap sample has 63.2 % of the rows, and n leaves have n - 1 inner nodes
COPIES = 6  # of an array (rows, classes) for a logistic regression: folds fitted at once, and their probabilities


@dataclass(frozen=True)
class Cell:
    """One row of the table before it is computed."""

    embedder: Embedder
    head: str
    pooling: str
    tune: bool

    @property
    def head_name(self) -> str:
        """Name of the head in the table."""
        return "logistic (C tuned)" if self.tune else self.head

    @property
    def fit(self) -> tuple[str, str, str]:
        """Key of the fitted head: equal for poolings of the probabilities of one head."""
        return self.embedder.name, self.head, "windows" if self.pooling in PROBABILITY_POOLINGS else self.pooling

    def classifier(self, hop_s: float) -> ClipClassifier:
        """Return the unfitted classifier that this row cross-validates."""
        head = tuned_logistic() if self.tune else self.head
        return ClipClassifier(self.embedder, head=head, pooling=self.pooling, hop_s=hop_s)

    def bytes_needed(self, n_rows: int, n_classes: int) -> float:
        """Return an upper bound on the memory for fitting the head on this many rows."""
        # A forest stores the class probabilities of every node, in float64.
        arrays = FOREST_TREES * NODES_PER_ROW if self.head == "forest" else COPIES
        return 8.0 * arrays * n_rows * n_classes


def manageable(
    cells: Sequence[Cell], labels: NDArray[Any], windows: Mapping[str, Sequence[Any]] | None = None
) -> tuple[list[Cell], list[str]]:
    """Return the cells whose heads fit into memory, and a note about the others.

    Parameters
    ----------
    cells : sequence of Cell
    labels : array of shape (n_clips,)
    windows : mapping of str to sequences of n_clips WindowEmbeddings, optional
        By the embedder's name; if it is not known yet, one window per clip is assumed.

    Returns
    -------
    cells : list of Cell
    notes : list of str

    Raises
    ------
    DatasetError
        If no cell is left.
    """
    n_classes = len(np.unique(labels))
    needed = [cell.bytes_needed(_n_rows(cell, len(labels), windows), n_classes) for cell in cells]
    kept = [cell for cell, size in zip(cells, needed, strict=True) if size <= MAX_BYTES]
    left_out = [
        f"{cell.embedder.name} / {cell.head_name} / {cell.pooling} (up to {size / 1e9:,.0f} GB)"
        for cell, size in zip(cells, needed, strict=True)
        if size > MAX_BYTES
    ]
    many = f"{n_classes:,} classes for {len(labels):,} clips need too much memory"
    if not kept:
        raise DatasetError(
            f"{many} with every requested head: {some(left_out)}; use fewer classes (is the right column the label?)"
        )
    return kept, [f"Left out, because {many}: {some(left_out, 20)}."] if left_out else []


def _n_rows(cell: Cell, n_clips: int, windows: Mapping[str, Sequence[Any]] | None) -> int:
    if windows is None or cell.pooling not in PROBABILITY_POOLINGS:
        return n_clips
    return sum(len(clip) for clip in windows[cell.embedder.name])
