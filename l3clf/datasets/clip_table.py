"""`ClipTable`, which every loader returns.

Rule: a table holds what it was given and opens no files, except when it is described, checked or saved.
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
from l3clf.storage.outputs import Kind, check_kind, text_begins

__all__ = ["ClipTable"]

_TABLE = Kind("a table of clips", text_begins("path,label"))


@dataclass(frozen=True, eq=False)
class ClipTable:
    """Clips with their labels, and folds or groups where they are known.

    Parameters
    ----------
    clips : sequence of Clip or path
    labels : sequence of n labels
    folds : sequence of n labels, optional
        The fold of each clip in a predefined cross-validation.
    groups : sequence of n labels, optional
        Clips with the same value (a recording, a speaker) are never split between training and test.
    origin : str, default=""
        Source of the table, its folds and its groups, shown by `describe`.

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
        object.__setattr__(self, "clips", listed)  # how a frozen dataclass sets its own fields
        for name, values in (("labels", labels), ("folds", folds), ("groups", groups)):
            column = None if values is None else np.asarray(values)
            if column is not None and column.shape != (len(listed),):
                raise DatasetError(f"{name}: found shape {column.shape}; expected one for each of {len(listed)} clips")
            object.__setattr__(self, name, column)
        object.__setattr__(self, "origin", origin)

    def __len__(self) -> int:
        return len(self.clips)

    def subset(self, indices: ArrayLike) -> Self:
        """Return the rows at these indices, or where a boolean mask is true."""
        wanted = np.asarray(indices)
        rows = np.arange(len(self))[wanted if wanted.size else wanted.astype(np.intp)]  # [] would be float
        folds, groups = (None if column is None else column[rows] for column in (self.folds, self.groups))
        return type(self)([self.clips[i] for i in rows], self.labels[rows], folds, groups, self.origin)

    def describe(self) -> Description:
        """Count and measure the contents of the table; only the headers of the sound files are read.

        Returns
        -------
        Description
            ``str()`` gives a short text. Files whose headers cannot be read are counted instead of raised.
        """
        return describe(self)

    def problems(self, fewest: int = FEW_CLIPS) -> list[str]:
        """List the problems of the table, without opening a sound file.

        Parameters
        ----------
        fewest : int, default=5
            Classes with fewer clips are reported: a cross-validation needs one clip for each fold.

        Returns
        -------
        list of str
            One sentence for each problem: missing files, clips listed twice, labels that differ only in
            case or spaces, rare classes, unusable folds and groups. Empty if there are none.
        """
        return problems(self, fewest)

    def to_csv(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the table as CSV, with paths relative to the file's folder.

        Parameters
        ----------
        path : path
            The file to write. Its columns are path, label and, where they are known, fold, group, start_s
            and end_s.
        force : bool, default=False
            Whether to replace an existing file that is no table of clips.

        Raises
        ------
        DatasetError
            If the file cannot be written or is of another kind, or a value would be read back differently: it is
            empty, has spaces at its ends, or is a file name that is not valid Unicode.
        """
        target = check_kind(path, _TABLE, force=force, error=DatasetError)
        pieces = any(not clip.is_whole for clip in self.clips)
        paths = [os.path.relpath(clip.path, target.parent) for clip in self.clips]
        columns: dict[str, Any] = {"path": paths, "label": self.labels, "fold": self.folds, "group": self.groups}
        known = {name: values for name, values in columns.items() if values is not None}
        rows = [[*known, *(["start_s", "end_s"] if pieces else [])]]
        for i, clip in enumerate(self.clips):
            row = [_readable(target, name, str(values[i])) for name, values in known.items()]
            # repr of a float has the fewest digits that read back exactly.
            rows.append(row + ([repr(clip.start_s), "" if clip.end_s is None else repr(clip.end_s)] if pieces else []))
        with replacing(target, DatasetError, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], group: str | None = None) -> "ClipTable":
        """Read a table written by `to_csv`; the same as `load_csv`."""
        return cls(**read_table(Path(path), group))


def _readable(table: Path, name: str, value: str) -> str:
    """Return `value`, or raise if reading the table would not give it back unchanged."""
    # File names that are not valid UTF-8 hold surrogates, which a UTF-8 file cannot.
    not_text = any("\ud800" <= character <= "\udfff" for character in value)
    if not_text or not value or value != value.strip():
        raise DatasetError(f"{table}: {name} {value!r} cannot be stored in a CSV; rename it")
    return value
