"""Clips with their labels, folds and groups, from what people have on disk.

Rule: nothing is guessed silently and no audio is opened: a table says which clips there are, and a
clip that cannot be read is found out when it is read.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l3clf.audio import Clip
from l3clf.errors import DatasetError, L3clfError

__all__ = ["ClipTable", "find_sounds", "load", "load_csv", "load_folder"]

SOUND_SUFFIXES = frozenset(
    ".aif .aifc .aiff .au .caf .flac .mp3 .oga .ogg .opus .rf64 .snd .w64 .wav".split()  # noqa: SIM905
)
META_NAME = "meta.csv"
KNOWN_COLUMNS = ("path", "label", "fold", "group", "start_s", "end_s")


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

    def __init__(
        self,
        clips: Iterable[Clip | str | os.PathLike[str]],
        labels: ArrayLike,
        folds: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> None:
        listed = [clip if isinstance(clip, Clip) else Clip(clip) for clip in clips]
        object.__setattr__(self, "clips", listed)
        for name, values in (("labels", labels), ("folds", folds), ("groups", groups)):
            column = None if values is None else np.asarray(values)
            if column is not None and column.shape != (len(listed),):
                raise DatasetError(f"{name}: found shape {column.shape}; expected one for each of {len(listed)} clips")
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.clips)

    def subset(self, indices: ArrayLike) -> Self:
        """Return the rows with these indices (or where a mask of booleans is true)."""
        rows = np.arange(len(self))[np.asarray(indices)]
        columns = [None if c is None else c[rows] for c in (self.labels, self.folds, self.groups)]
        return type(self)([self.clips[i] for i in rows], columns[0], *columns[1:])  # type: ignore[arg-type]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table; paths are written relative to its folder.

        Parameters
        ----------
        path : path
            The file to write, with a header and the columns path, label, and those that are known of
            fold, group, start_s and end_s.
        """
        target = Path(path)
        pieces = any(not clip.is_whole for clip in self.clips)
        columns = [
            "path",
            "label",
            *(n for n, c in (("fold", self.folds), ("group", self.groups)) if c is not None),
        ]
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns + (["start_s", "end_s"] if pieces else []))
            for i, clip in enumerate(self.clips):
                row = [os.path.relpath(clip.path, target.parent), self.labels[i]]
                row += [column[i] for column in (self.folds, self.groups) if column is not None]
                writer.writerow(row + ([clip.start_s, "" if clip.end_s is None else clip.end_s] if pieces else []))

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], group: str | None = None) -> "ClipTable":
        """Read a table; the same as `load_csv`."""
        return load_csv(path, group)


def load(data: str | os.PathLike[str], group: str | None = None) -> ClipTable:
    """Load a data set, finding out what it is.

    Parameters
    ----------
    data : path
        A CSV file, a folder that holds ``meta.csv``, or a folder with one subfolder for each class.
    group : str, optional
        The CSV's column that says what must not be split between training and test.

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If it is none of these, or holds no clips.
    """
    path = Path(data)
    if path.is_file():
        return load_csv(path, group)
    if not path.is_dir():
        raise DatasetError(
            f"{path}: no such file or folder; expected a CSV, or a folder with a subfolder for each class"
        )
    if (path / META_NAME).is_file():
        return load_csv(path / META_NAME, group)
    if group is not None:
        raise DatasetError(f"{path}: group={group!r} names a column, and there is no {META_NAME} in the folder")
    return load_folder(path)


def load_folder(folder: str | os.PathLike[str]) -> ClipTable:
    """Load a folder with one subfolder for each class; sounds may lie deeper in these.

    Parameters
    ----------
    folder : path

    Returns
    -------
    ClipTable
        Sorted by class and path.

    Raises
    ------
    DatasetError
        If the folder is none, or no subfolder holds a sound file.
    """
    root = Path(folder)
    classes = [entry for entry in _entries(root) if entry.is_dir()]
    found = [(clip, entry.name) for entry in classes for clip in find_sounds(entry)]
    if not found:
        raise DatasetError(
            f"{root}: no sound files in subfolders; expected one subfolder for each class, with files such as "
            f"{', '.join(sorted(SOUND_SUFFIXES)[:8])}"
        )
    clips, labels = zip(*found, strict=True)
    return ClipTable(clips, labels)


def find_sounds(folder: str | os.PathLike[str]) -> list[str]:
    """Return the sound files in a folder and below, sorted; hidden files are left out."""
    found: list[str] = []
    for entry in _entries(Path(folder)):
        if entry.is_dir():
            found += find_sounds(entry)
        elif entry.suffix.lower() in SOUND_SUFFIXES:
            found.append(str(entry))
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed ({error.strerror}); expected a readable folder") from None


def load_csv(path: str | os.PathLike[str], group: str | None = None) -> ClipTable:
    """Load a table of clips.

    Parameters
    ----------
    path : path
        A CSV in UTF-8 whose header has ``path`` and ``label`` and may have ``fold``, ``group``, ``start_s``
        and ``end_s``. Paths are relative to the table's folder. Empty lines are passed over.
    group : str, optional
        Another column to take as the group.

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If a column is missing, or a row has no path, no label, or times that are none.
    """
    table = Path(path)
    columns, rows = _read_rows(table)
    _require_columns(table, columns, ["path", "label", *([group] if group else [])])
    if not rows:
        raise DatasetError(f"{table}: holds no clips; expected a header and one line for each clip")
    _require_values(table, rows, ["path", "label"])
    clips = [_clip(table, line, row) for line, row in rows]
    group_column = group or ("group" if "group" in columns else None)
    return ClipTable(
        clips,
        [row["label"] for _, row in rows],
        folds=_column(table, rows, "fold" if "fold" in columns else None),
        groups=_column(table, rows, group_column),
    )


Row = tuple[int, dict[str, str]]


def _read_rows(table: Path) -> tuple[list[str], list[Row]]:
    """Return the header, and each line's number and values."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [(name or "").strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            return columns, list(_filled(reader))
    except OSError as error:
        raise DatasetError(f"{table}: cannot be read ({error.strerror}); expected a CSV file") from None
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{table}: is not UTF-8 text (byte {error.object[error.start]:#04x} at {error.start}); "
            "save it as CSV in UTF-8"
        ) from None
    except csv.Error as error:
        raise DatasetError(f"{table}: is not a CSV file ({error})") from None


def _filled(reader: "csv.DictReader[str]") -> Iterator[Row]:
    for row in reader:
        values = {
            name: (value or "").strip()
            for name, value in row.items()
            if isinstance(name, str) and not isinstance(value, list)
        }
        if any(values.values()):
            yield reader.line_num, values


def _require_columns(table: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DatasetError(
            f"{table}: has no column {', '.join(map(repr, missing))}; "
            f"found {', '.join(map(repr, columns)) or 'nothing'}"
        )


def _require_values(table: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    for name in names:
        lines = [str(line) for line, row in rows if not row[name]]
        if lines:
            more = f" and {len(lines) - 10} more" if len(lines) > 10 else ""
            raise DatasetError(
                f"{table}: no {name} in line {', '.join(lines[:10])}{more}; fill it in or delete the line"
            )


def _clip(table: Path, line: int, row: dict[str, str]) -> Clip:
    try:
        start_s = float(row.get("start_s") or 0.0)
        end_s = float(row["end_s"]) if row.get("end_s") else None
        return Clip(table.parent / row["path"], start_s, end_s)
    except (ValueError, L3clfError) as error:
        raise DatasetError(f"{table}, line {line}: {error}; expected times in seconds") from None


def _column(table: Path, rows: Sequence[Row], name: str | None) -> list[str] | None:
    """Return a column of folds or groups; one that is empty throughout is none."""
    if name is None or not any(row[name] for _, row in rows):
        return None
    _require_values(table, rows, [name])
    return [row[name] for _, row in rows]
