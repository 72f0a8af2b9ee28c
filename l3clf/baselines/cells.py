"""The cells of a baseline: combinations of an embedder, a head and a pooling that fit into memory.

Rule: a cell that needs too much memory is left out and named before anything is fitted, and one whose model may be
too large for a model file is named then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip_augmentation import Augmentation
from l3clf.classifier.decision import POOLINGS, PROBABILITY_POOLINGS, TAG_POOLINGS, check_pooling
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.heads import (
    FOREST_TREES,
    HEAD_NAMES,
    LARGE_BYTES,
    MAX_STORED_BYTES,
    NODES_PER_ROW,
    forest_bytes,
    forest_memory,
    tuned_logistic,
)
from l3clf.classifier.tag_labels import as_tags
from l3clf.classifier.tagger import ClipTagger
from l3clf.datasets.describe import some
from l3clf.embedders import Embedder
from l3clf.errors import DatasetError, ParameterError, counted, did_you_mean

__all__ = ["Cell", "grid", "manageable", "may_be_too_large", "n_rows"]

MAX_BYTES = LARGE_BYTES
COPIES = 6  # of an array (rows, classes) for a logistic regression: folds fitted at once, and their probabilities


@dataclass(frozen=True)
class Cell:
    """One row of the table before it is computed."""

    embedder: Embedder
    head: str
    pooling: str
    tune: bool
    augment: Augmentation | None = None
    tags: bool = False

    @property
    def head_name(self) -> str:
        """Name of the head in the table."""
        name = "logistic (C tuned)" if self.tune else self.head
        return name if self.augment is None else f"{name} + {counted(self.augment.copies, 'copy', 'copies')}"

    @property
    def fit(self) -> tuple[str, str, str]:
        """Key of the fitted head: equal for poolings of the probabilities of one head."""
        return self.embedder.name, self.head_name, "windows" if self.pooling in PROBABILITY_POOLINGS else self.pooling

    @property
    def made_by(self) -> list[str]:
        """What a result depends on beside the data and the hop."""
        copies = [] if self.augment is None else [repr(self.augment)]
        return [self.embedder.fingerprint, self.head_name, self.pooling, *copies, *(["tags"] if self.tags else ())]

    def model(self, hop_s: float) -> Any:
        """Return the unfitted classifier or tagger that this row cross-validates."""
        head = tuned_logistic() if self.tune else self.head
        if self.tags:
            return ClipTagger(self.embedder, head=head, pooling=self.pooling, hop_s=hop_s)
        return ClipClassifier(self.embedder, head=head, pooling=self.pooling, hop_s=hop_s, augment=self.augment)

    def bytes_needed(self, n_rows: int, n_classes: int) -> float:
        """Return an upper bound on the memory for fitting the head on this many rows."""
        size = forest_memory(n_rows, n_classes) if self.head == "forest" else 8.0 * COPIES * n_rows * n_classes
        return size * (2 if self.tags else 1)  # of each tag, and of its absence

    def folds_at_once(self, n_rows: int, n_classes: int) -> int:
        """Return how many folds may be fitted at once without using more memory than one head may."""
        if self.head != "forest":  # `bytes_needed` counts all folds
            return 1 << 20
        return max(1, int(MAX_BYTES // self.bytes_needed(n_rows, n_classes)))

    def bytes_stored(self, n_rows: int, n_classes: int) -> float:
        """Return an upper bound on the size of a model file, unpacked, with this head fitted on this many rows."""
        nodes = FOREST_TREES * NODES_PER_ROW * n_rows if self.head == "forest" else 0
        return forest_bytes(nodes, n_classes)


def grid(
    embedders: Sequence[Embedder],
    heads: Sequence[str],
    poolings: Sequence[str],
    tune: bool,
    augment: Augmentation | None,
    tags: bool,
) -> list[Cell]:
    """Return the cells of all combinations, each without copies and, if `augment` is given, with them.

    Raises
    ------
    ParameterError
        If a list is empty, or a name is unknown or is given twice.
    """
    for name, values in (("embedders", embedders), ("heads", heads), ("poolings", poolings)):
        if not values or isinstance(values, str):
            raise ParameterError(f"{name}={values!r}; expected a list of at least one")
    for head in heads:
        if head not in HEAD_NAMES:
            hint = did_you_mean(head, HEAD_NAMES)
            raise ParameterError(f"heads: {head!r}{hint}; expected only {', '.join(map(repr, HEAD_NAMES))}")
    for pooling in poolings:
        check_pooling(pooling, TAG_POOLINGS if tags else POOLINGS)
    names = [embedder.name for embedder in embedders]
    if len(set(names)) < len(names):
        raise ParameterError(f"embedders: {', '.join(names)}; give each only once")
    each = (None,) if augment is None else (None, augment)
    return [
        Cell(e, h, p, tune and h == "logistic", a, tags)
        for e in embedders
        for h in heads
        for p in poolings
        for a in each
    ]


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
    each = 1 if cell.augment is None else 1 + cell.augment.copies
    if windows is None or cell.pooling not in PROBABILITY_POOLINGS:
        return each * n_clips
    return each * sum(len(clip) for clip in windows[cell.embedder.name])
