"""Tables that were published with data sets, and the names that ESC gives its files.

Rule: a table is recognised by its columns, and its folds are kept as published.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l3clf.audio.clip import Clip
from l3clf.datasets.csv_rows import Row, column, require_values

__all__ = ["ESC", "ESC_NAME", "LAYOUTS", "URBANSOUND8K", "Layout", "esc_names", "layout_columns", "layout_of"]

ESC_NAME = re.compile(r"(?P<fold>[0-9]{1,2})-(?P<recording>[0-9]+)-[A-Z]+(?:-[0-9]+)?")


@dataclass(frozen=True)
class Layout:
    """A published data set: where its table lies, which columns it has, where its sounds are."""

    name: str
    file: str
    folders: tuple[str, ...]
    needs: tuple[str, ...]
    label: str
    group: str
    place: str
    group_is: str = "Freesound ids"

    def table_in(self, folder: Path) -> Path | None:
        """Return the table's path, if it is there."""
        tables = [folder / name / self.file for name in self.folders]
        return next((table for table in tables if table.is_file()), None)


LAYOUTS = (
    Layout(
        "ESC",
        "esc50.csv",
        ("meta", ""),
        ("filename", "fold", "target", "category"),
        "category",
        "src_file",
        "{filename}",
    ),
    Layout(
        "UrbanSound8K",
        "UrbanSound8K.csv",
        ("metadata", ""),
        ("slice_file_name", "fsID", "fold", "class"),
        "class",
        "fsID",
        "fold{fold}/{slice_file_name}",
    ),
)
ESC, URBANSOUND8K = LAYOUTS


def layout_of(columns: Sequence[str]) -> Layout | None:
    """Return the published data set that has these columns, if one has."""
    return next((layout for layout in LAYOUTS if set(layout.needs) <= set(columns)), None)


def layout_columns(
    table: Path, columns: Sequence[str], rows: Sequence[Row], layout: Layout, group: str | None
) -> dict[str, Any]:
    """Return the columns of a published table, as the arguments of `ClipTable`."""
    require_values(table, rows, layout.needs)
    places = [layout.place.format_map(row) for _, row in rows]
    names = esc_names(places)
    groups = column(table, rows, group or (layout.group if layout.group in columns else None))
    if groups is None and names:  # the first editions of ESC's table had no column for it
        groups = names[1]
    root = _sounds_root(table, places[0])
    group_is = f"column {group!r}" if group else layout.group_is
    return {
        "clips": [Clip(root / place) for place in places],
        "labels": [row[layout.label] for _, row in rows],
        "folds": [row["fold"] for _, row in rows],
        "groups": groups,
        "origin": f"{layout.name}: its own folds" + (f", groups from {group_is}" if groups else ""),
    }


def _sounds_root(table: Path, place: str) -> Path:
    """Where the sounds lie: as published, or as repacked with the table beside or above them."""
    published = table.parent.parent / "audio"
    roots = (published, table.parent / "audio", table.parent)
    return next((root for root in roots if (root / place).is_file()), published)


def esc_names(paths: Iterable[str]) -> tuple[list[str], list[str]] | None:
    """Folds and recordings from the names of files, if all are ESC's."""
    found = [ESC_NAME.fullmatch(Path(path).stem) for path in paths]
    names = [name for name in found if name]
    if not names or len(names) < len(found):
        return None
    return [name["fold"] for name in names], [name["recording"] for name in names]
