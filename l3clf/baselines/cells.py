"""The cells of a baseline: combinations of an embedder, a head and a pooling that fit into memory.

Rule: a cell that needs too much memory is left out and named before anything is fitted, and one whose model may be
too large for a model file is named then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.decision import PROBABILITY_POOLINGS
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.heads import FOREST_TREES, MAX_STORED_BYTES, forest_bytes, tuned_logistic
from l3clf.classifier.tag_labels import as_tags
from l3clf.classifier.tagger import ClipTagger
from l3clf.datasets.describe import some
from l3clf.embedders import Embedder
from l3clf.errors import DatasetError

__all__ = ["Cell", "manageable", "may_be_too_large", "n_rows"]

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
    tags: bool = False

    @property
    def head_name(self) -> str:
        """Name of the head in the table."""
        return "logistic (C tuned)" if self.tune else self.head

    @property
    def fit(self) -> tuple[str, str, str]:
        """Key of the fitted head: equal for poolings of the probabilities of one head."""
        return self.embedder.name, self.head, "windows" if self.pooling in PROBABILITY_POOLINGS else self.pooling

    def model(self, hop_s: float) -> Any:
        """Return the unfitted classifier or tagger that this row cross-validates."""
        head = tuned_logistic() if self.tune else self.head
        kind = ClipTagger if self.tags else ClipClassifier
        return kind(self.embedder, head=head, pooling=self.pooling, hop_s=hop_s)

    def bytes_needed(self, n_rows: int, n_classes: int) -> float:
        """Return an upper bound on the memory for fitting the head on this many rows."""
        # A forest stores the class probabilities of every node, in float64.
        arrays = FOREST_TREES * NODES_PER_ROW if self.head == "forest" else COPIES
        return 8.0 * arrays * n_rows * n_classes * (2 if self.tags else 1)  # of each tag, and of its absence

    def folds_at_once(self, n_rows: int, n_classes: int) -> int:
        """Return how many folds may be fitted at once without using more memory than one head may."""
        if self.head != "forest":  # `bytes_needed` counts all folds
            return 1 << 20
        return max(1, int(MAX_BYTES // self.bytes_needed(n_rows, n_classes)))

    def bytes_stored(self, n_rows: int, n_classes: int) -> float:
        """Return an upper bound on the size of a model file, unpacked, with this head fitted on this many rows."""
        nodes = FOREST_TREES * NODES_PER_ROW * n_rows if self.head == "forest" else 0
        return forest_bytes(nodes, n_classes * (2 if self.tags else 1))


def manageable(
    cells: Sequence[Cell], labels: NDArray[Any], windows: Mapping[str, Sequence[Any]] | None = None
) -> tuple[list[Cell], list[str]]:
    """Return the cells whose heads fit into memory, and a note about the others.

    Parameters
    ----------
    cells : sequence of Cell
    labels : array of shape (n_clips,)
        Of taggers: texts such as ``dog|rain``.
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
    n_classes = _n_classes(cells, labels)
    needed = [cell.bytes_needed(n_rows(cell, len(labels), windows), n_classes) for cell in cells]
    kept = [cell for cell, size in zip(cells, needed, strict=True) if size <= MAX_BYTES]
    left_out = [
        f"{cell.embedder.name} / {cell.head_name} / {cell.pooling} (up to {size / 1e9:,.0f} GB)"
        for cell, size in zip(cells, needed, strict=True)
        if size > MAX_BYTES
    ]
    kind = "tags" if any(cell.tags for cell in cells) else "classes"
    many = f"{n_classes:,} {kind} for {len(labels):,} clips need too much memory"
    if not kept:
        raise DatasetError(
            f"{many} with every requested head: {some(left_out)}; use fewer {kind} (is the right column the label?)"
        )
    return kept, [f"Left out, because {many}: {some(left_out, 20)}."] if left_out else []


def may_be_too_large(
    cells: Sequence[Cell], labels: NDArray[Any], windows: Mapping[str, Sequence[Any]] | None = None
) -> list[str]:
    """Return a line about the cells whose models may be too large for a model file; see `manageable`."""
    n_classes = _n_classes(cells, labels)
    sizes = [cell.bytes_stored(n_rows(cell, len(labels), windows), n_classes) for cell in cells]
    named = [
        f"{cell.embedder.name} / {cell.head_name} / {cell.pooling} (up to {size / 2**20:,.0f} MB)"
        for cell, size in zip(cells, sizes, strict=True)
        if size > MAX_STORED_BYTES
    ]
    limit = f"{MAX_STORED_BYTES / 2**20:,.0f} MB"
    return [f"Perhaps too large for a model file, which holds up to {limit}: {some(named, 20)}."] if named else []


def _n_classes(cells: Sequence[Cell], labels: NDArray[Any]) -> int:
    if any(cell.tags for cell in cells):
        return len(frozenset().union(*as_tags(map(str, labels.tolist()))))
    return len(np.unique(labels))


def n_rows(cell: Cell, n_clips: int, windows: Mapping[str, Sequence[Any]] | None) -> int:
    """Return the number of rows on which the head of a cell is fitted; see `manageable`."""
    if windows is None or cell.pooling not in PROBABILITY_POOLINGS:
        return n_clips
    return sum(len(clip) for clip in windows[cell.embedder.name])
