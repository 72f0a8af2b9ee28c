"""The table of clips that everything else here returns.

Rule: a table holds what it was given and opens no file, except to write itself or to be described.
"""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l3clf.audio.clip import Clip
from l3clf.datasets.csv_table import read_table
from l3clf.datasets.describe import FEW_CLIPS, Description, describe, problems
from l3clf.errors import DatasetError
from l3clf.storage.atomic import replacing

__all__ = ["ClipTable"]


@dataclass(frozen=True, eq=False)
class ClipTable:
    """Clips with their labels, and folds or groups where they are known.

    Parameters
    ----------
    clips : sequence of Clip or path
    labels : sequence of n labels
    folds : sequence of n labels, optional
        The fold of each clip in a prearranged cross-validation.
    groups : sequence of n labels, optional
        What must not be split between training and test: the recording, the speaker...
    origin : str, default=""
        What the table was read from, and what its folds and groups are, for `describe`.

    Raises
    ------
    DatasetError
        If the lengths differ.

    Examples
    --------
    >>> table = ClipTable(["a.wav", "b.wav"], ["dog", "cat"], folds=[1, 2])
    >>> len(table), table.subset([1]).labels.tolist()
    (2, ['cat'])
    """

    clips: list[Clip]
    labels: NDArray[Any]
    folds: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None
    origin: str = ""

    def __init__(
        self,
        clips: Iterable[Clip | str | os.PathLike[str]],
        labels: ArrayLike,
        folds: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        origin: str = "",
    ) -> None:
        listed = [clip if isinstance(clip, Clip) else Clip(clip) for clip in clips]
        object.__setattr__(self, "clips", listed)
        for name, values in (("labels", labels), ("folds", folds), ("groups", groups)):
            column = None if values is None else np.asarray(values)
            if column is not None and column.shape != (len(listed),):
                raise DatasetError(f"{name}: found shape {column.shape}; expected one for each of {len(listed)} clips")
            object.__setattr__(self, name, column)
        object.__setattr__(self, "origin", origin)

    def __len__(self) -> int:
        return len(self.clips)

    def subset(self, indices: ArrayLike) -> Self:
        """Return the rows with these indices (or where a mask of booleans is true)."""
        wanted = np.asarray(indices)
        rows = np.arange(len(self))[wanted if wanted.size else wanted.astype(np.intp)]
        folds, groups = (None if column is None else column[rows] for column in (self.folds, self.groups))
        return type(self)([self.clips[i] for i in rows], self.labels[rows], folds, groups, self.origin)

    def describe(self) -> Description:
        """Count and measure what is in the table; of the sound files, only the headers are read.

        Returns
        -------
        Description
            ``str()`` of it is a short text. A file whose header cannot be read is counted, not raised.
        """
        return describe(self)

    def problems(self, fewest: int = FEW_CLIPS) -> list[str]:
        """Say what is odd about the table, without opening a sound file.

        Parameters
        ----------
        fewest : int, default=5
            Classes with fewer clips than this are named: a cross-validation needs one for each fold.

        Returns
        -------
        list of str
            One sentence for each problem: missing files, clips listed twice, labels that differ only in
            case or spaces, rare classes, folds and groups that cannot work. Empty if there is none.
        """
        return problems(self, fewest)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table; paths are written relative to its folder.

        Parameters
        ----------
        path : path
            The file to write, with a header and the columns path, label, and those that are known of
            fold, group, start_s and end_s.

        Raises
        ------
        DatasetError
            If the file cannot be written, or a value would not be read back as it is: it is empty, has
            spaces at its ends, or is a file name that is no text.
        """
        target = Path(path)
        pieces = any(not clip.is_whole for clip in self.clips)
        columns = [
            "path",
            "label",
            *(n for n, c in (("fold", self.folds), ("group", self.groups)) if c is not None),
        ]
        header = columns + (["start_s", "end_s"] if pieces else [])
        rows = [header]
        for i, clip in enumerate(self.clips):
            row = [os.path.relpath(clip.path, target.parent), self.labels[i]]
            row += [column[i] for column in (self.folds, self.groups) if column is not None]
            row = [_readable(target, name, str(value)) for name, value in zip(columns, row, strict=True)]
            rows.append(row + ([repr(clip.start_s), "" if clip.end_s is None else repr(clip.end_s)] if pieces else []))
        with replacing(target, DatasetError, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], group: str | None = None) -> "ClipTable":
        """Read a table; the same as `load_csv`."""
        return cls(**read_table(Path(path), group))


def _readable(table: Path, name: str, value: str) -> str:
    """Return a value for a table, if it can be read back as it is."""
    not_text = any("\ud800" <= character <= "\udfff" for character in value)  # bytes of a name that are no UTF-8
    if not_text or not value or value != value.strip():
        raise DatasetError(f"{table}: {name} {value!r} cannot be kept in a CSV; rename it")
    return value
