"""`ClipTable`, which every loader returns.

Rule: a table holds what it was given and opens no files, except when it is described, checked or saved.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l3clf.audio.clip import Clip
from l3clf.datasets.csv_rows import LINE_BREAK, SURROGATE, check_text, is_file
from l3clf.datasets.csv_table import read_table
from l3clf.datasets.describe import FEW_CLIPS, Description, describe, problems, warn_of_labels
from l3clf.errors import DatasetError, MissingDependencyError
from l3clf.storage.atomic import replacing
from l3clf.storage.csv_text import csv_line, escaped_path
from l3clf.storage.outputs import Kind, check_kind, text_begins

if TYPE_CHECKING:
    import pandas

__all__ = ["ClipTable"]

TIMES = ("start_s", "end_s")
SHOWN_CHARACTERS = 80  # of the origin
_TABLE = Kind("a table of clips", text_begins("path,label"))


@dataclass(frozen=True, eq=False)
class ClipTable:
    """Clips with their labels, and folds or groups where they are known.

    Parameters
    ----------
    clips : sequence of Clip or path
    labels : sequence of n labels
        None may be missing; text has at most 1,000 characters and no line breaks.
    folds : sequence of n labels, optional
        The fold of each clip in a predefined cross-validation.
    groups : sequence of n labels, optional
        Clips with the same value (a recording, a speaker) are never split between training and test.
    origin : str, default=""
        Source of the table, its folds and its groups, shown by `describe`.

    Raises
    ------
    DatasetError
        If the lengths differ, or a label, fold or group is missing or cannot be one.

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
            object.__setattr__(self, name, None if values is None else _as_column(name, values, len(listed)))
        object.__setattr__(self, "origin", origin)

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        counts = [("class", "classes", self.labels), ("fold", "folds", self.folds), ("group", "groups", self.groups)]
        known = [(one, many, len(set(values.tolist()))) for one, many, values in counts if values is not None]
        parts = [f"{n:,} {one if n == 1 else many}" for one, many, n in known]
        origin = self.origin if self.origin.isprintable() else repr(self.origin)
        shown = origin if len(origin) <= SHOWN_CHARACTERS else f"{origin[: SHOWN_CHARACTERS - 1]}…"
        clips = f"{len(self):,} clip{'' if len(self) == 1 else 's'}"
        return f"<ClipTable: {', '.join([clips, *parts])}{'; ' * bool(shown)}{shown}>"

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

    def to_csv(self, path: str | os.PathLike[str], *, escape_formulas: bool = False, force: bool = False) -> None:
        """Write the table as CSV, with paths relative to the file's folder.

        Parameters
        ----------
        path : path
            The file to write. Its columns are path, label and, where they are known, fold, group, start_s
            and end_s.
        escape_formulas : bool, default=False
            Whether text that a spreadsheet would compute (``=cmd``) gets an apostrophe in front, and a path ``./``.
            The apostrophes are read back as part of the labels, folds and groups.
        force : bool, default=False
            Whether to replace an existing file that is no table of clips.

        Raises
        ------
        DatasetError
            If the file cannot be written or is of another kind, or a value would be read back differently: it is
            empty, or has line breaks or spaces at its ends. Paths of existing files may have line breaks and bytes
            that are not UTF-8.
        """
        target = check_kind(path, _TABLE, force=force, error=DatasetError)
        columns = self._columns()
        columns["path"] = [_unstripped(os.path.relpath(clip.path, target.parent)) for clip in self.clips]
        if escape_formulas:
            columns["path"] = [escaped_path(each) for each in columns["path"]]
        lines = [csv_line(columns, end="\r\n")]
        for row in zip(*columns.values(), strict=True):
            values = [
                # repr of a float has the fewest digits that read back exactly.
                ("" if value is None else repr(value)) if name in TIMES else _readable(target, name, str(value))
                for name, value in zip(columns, row, strict=True)
            ]
            lines.append(csv_line(values, end="\r\n", escape_formulas=escape_formulas))
        with replacing(target, DatasetError, newline="", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(lines)

    def _columns(self) -> dict[str, Any]:
        """Return the columns of a table of this content; times only if some clips are pieces of files."""
        columns = {
            "path": [clip.path for clip in self.clips],
            "label": self.labels,
            "fold": self.folds,
            "group": self.groups,
        }
        if any(not clip.is_whole for clip in self.clips):
            times = [[clip.start_s for clip in self.clips], [clip.end_s for clip in self.clips]]
            columns |= dict(zip(TIMES, times, strict=True))
        return {name: values for name, values in columns.items() if values is not None}

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table as a pandas data frame, with the columns of `to_csv`.

        Returns
        -------
        pandas.DataFrame
            One row for each clip: path (as in the clip), label and, where they are known, fold, group, start_s and
            end_s (NaN: the end of the file). `l3clf.datasets.load` takes it back.

        Raises
        ------
        MissingDependencyError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MissingDependencyError("to_pandas: pandas is not installed; run `pip install pandas`") from None
        columns = self._columns()
        if TIMES[1] in columns:
            columns[TIMES[1]] = np.array(columns[TIMES[1]], np.float64)  # None is NaN
        return pandas.DataFrame(columns)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], group: str | None = None) -> "ClipTable":
        """Read a table written by `to_csv`; the same as `load_csv`."""
        table = cls(**read_table(Path(path), group))
        warn_of_labels(path, table, stacklevel=2)
        return table


def _readable(table: Path, name: str, value: str) -> str:
    """Return `value`, or raise if reading the table would not give it back unchanged."""
    if name == "path" and (LINE_BREAK.search(value) or SURROGATE.search(value)):
        # Read back only where the file exists: else they come from stray quotes and other encodings.
        if value != value.strip() or not is_file(table, value):
            raise DatasetError(f"{table}: {name} {value!r} cannot be stored in a CSV; rename the file")
        return value
    check_text(f"{table}", name, value)
    if value == "" and name == "label":  # no tag: `load` with tags=True reads it back
        return value
    if SURROGATE.search(value) or not value or value != value.strip():
        what = "the file" if name == "path" else "it"
        raise DatasetError(f"{table}: {name} {value!r} cannot be stored in a CSV; rename {what}")
    return value


def _unstripped(path: str) -> str:
    """Return a path whose spaces in front are read back."""
    return path if path == path.lstrip() else f"{os.curdir}{os.sep}{path}"


def _as_column(name: str, values: ArrayLike, n_clips: int) -> NDArray[Any]:
    """Return labels, folds or groups as an array, or raise if they are not one for each clip."""
    # As objects first: NumPy would turn ["dog", nan] into strings, and store every label at the longest one's length.
    given = values if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)
    if given.shape != (n_clips,):
        raise DatasetError(f"{name}: found shape {given.shape}; expected one for each of {n_clips} clips")
    if given.dtype.kind not in "OUf":
        return given
    for i, value in enumerate(given.tolist()):
        if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
            raise DatasetError(f"{name}[{i}]: missing ({value}); fill it in or leave the clip out")
        if isinstance(value, str):
            check_text(f"{name}[{i}]", "label" if name == "labels" else "text", value)
    return np.asarray(given.tolist()) if given.dtype == object else given
