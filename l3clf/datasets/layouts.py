"""The tables published with ESC and UrbanSound8K, and the file names of ESC.

Rule: a table is recognised by its columns, and its folds are used as published.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l3clf.audio.clip import Clip
from l3clf.datasets.csv_rows import Row, column, require_values

__all__ = ["ESC", "ESC_NAME", "LAYOUTS", "URBANSOUND8K", "Layout", "esc_names", "layout_columns", "layout_of"]

# FOLD-FREESOUND ID-TAKE, in ESC-50 followed by -TARGET.
ESC_NAME = re.compile(r"(?P<fold>[0-9]{1,2})-(?P<recording>[0-9]+)-[A-Z]+(?:-[0-9]+)?")


@dataclass(frozen=True)
class Layout:
    """A published data set: where its table is, which columns it has, where its sounds are.

    Attributes
    ----------
    name, file : str
        Name of the data set and of its table.
    folders : tuple of str
        Where the table may be, relative to the data set's folder.
    columns : tuple of str
        Columns that identify the table.
    label, group : str
        Columns of the class and of the Freesound id.
    place : str
        Path of a sound below its root folder, as a format of the columns.
    """

    name: str
    file: str
    folders: tuple[str, ...]
    columns: tuple[str, ...]
    label: str
    group: str
    place: str

    def table_in(self, folder: Path) -> Path | None:
        """Return the path of the data set's table, or None if the folder has none."""
        tables = [folder / name / self.file for name in self.folders]
        return next((table for table in tables if table.is_file()), None)


ESC = Layout(
    name="ESC",
    file="esc50.csv",
    folders=("meta", ""),
    columns=("filename", "fold", "target", "category"),  # no src_file: early editions lack it
    label="category",
    group="src_file",
    place="{filename}",
)
URBANSOUND8K = Layout(
    name="UrbanSound8K",
    file="UrbanSound8K.csv",
    folders=("metadata", ""),
    columns=("slice_file_name", "fsID", "fold", "class"),
    label="class",
    group="fsID",
    place="fold{fold}/{slice_file_name}",
)
LAYOUTS = (ESC, URBANSOUND8K)


def layout_of(columns: Sequence[str]) -> Layout | None:
    """Return the published data set whose table has these columns, or None."""
    return next((layout for layout in LAYOUTS if set(layout.columns) <= set(columns)), None)


def layout_columns(
    table: Path, columns: Sequence[str], rows: Sequence[Row], layout: Layout, group: str | None
) -> dict[str, Any]:
    """Return the columns of a published table, as the arguments of `ClipTable`."""
    require_values(table, rows, layout.columns)
    places = [layout.place.format_map(row.values) for row in rows]
    names = esc_names(places)
    groups = column(table, rows, group or (layout.group if layout.group in columns else None))
    if groups is None and names:
        groups = names[1]
    root = _sounds_root(table, places[0])
    source = f"column {group!r}" if group else "Freesound ids"
    return {
        "clips": [Clip(root / place) for place in places],
        "labels": [row.values[layout.label] for row in rows],
        "folds": [row.values["fold"] for row in rows],
        "groups": groups,
        "origin": f"{layout.name}: its own folds" + (f", groups from {source}" if groups else ""),
    }


def _sounds_root(table: Path, place: str) -> Path:
    """Return the sounds' root folder: as published, or as repacked with the table beside or above them."""
    published = table.parent.parent / "audio"
    roots = (published, table.parent / "audio", table.parent)
    return next((root for root in roots if (root / place).is_file()), published)


def esc_names(paths: Iterable[str]) -> tuple[list[str], list[str]] | None:
    """Return the folds and recordings in the file names, or None if some are not named as ESC's are."""
    found = [ESC_NAME.fullmatch(Path(path).stem) for path in paths]
    names = [name for name in found if name]
    if not names or len(names) < len(found):
        return None
    return [name["fold"] for name in names], [name["recording"] for name in names]
