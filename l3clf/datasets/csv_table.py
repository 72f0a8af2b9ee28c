"""The columns of a `ClipTable` from a CSV: our own layout, and those published with data sets.

Rule: columns are returned as the arguments of `ClipTable`, so that nothing here imports that class.
"""

import re
import warnings
from pathlib import Path
from typing import Any

from l3clf.audio.clip import Clip, printable_path
from l3clf.datasets.csv_columns import Columns, check_pieces, find_columns, numeric_columns
from l3clf.datasets.csv_rows import (
    Row,
    Sheet,
    check_unique,
    check_utf8,
    column,
    read_sheet,
    require_columns,
    require_values,
)
from l3clf.datasets.describe import some
from l3clf.datasets.layouts import layout_columns, layout_of
from l3clf.datasets.tag_columns import binary_columns, tag_columns, tag_texts_of
from l3clf.errors import DatasetError, DatasetWarning, L3clfError

__all__ = ["UNFILLED", "read_table"]

UNFILLED = "?"
"""The label of a clip that is still to be labelled, as in a table of `l3clf.search.suggest`."""

DECIMAL_COMMA = re.compile(r"([0-9]+),([0-9]+)")


def read_table(
    table: Path, group: str | None = None, path_column: str = "path", label_column: str = "label", tags: bool = False
) -> dict[str, Any]:
    """Read a table of clips; see `l3clf.datasets.load_csv`.

    Returns
    -------
    dict
        The arguments of `ClipTable`.
    """
    wanted = [path_column, label_column]
    sheet = read_sheet(table)
    columns, rows = sheet.columns, sheet.rows
    published = layout_of(columns)
    # Our own layout takes precedence, and so do columns that the caller names.
    layout = published if wanted == ["path", "label"] and "path" not in columns else None
    if layout:
        check_utf8(table, sheet, layout.columns[0])
        _require(table, columns, [*layout.columns, *([group] if group else [])], rows)
        return layout_columns(table, columns, rows, layout, group)
    # The times in a published table are those in its sources.
    values = {name: [row.values[name] for row in rows] for name in columns}
    binary = binary_columns(values) if tags else []
    found = find_columns(
        str(table),
        columns,
        path_column,
        label_column,
        group,
        times=published is None,
        numeric=numeric_columns(values) - set(binary),
    )
    check_utf8(table, sheet, found.path)
    named = tag_columns(str(table), found, columns, binary) if tags else ()
    used = [found.path, *(named or [found.label]), *filter(None, (found.fold, found.group, found.start, found.end))]
    _require(table, columns, used, rows)
    require_values(table, rows, [found.path], found.path)
    labelled = [row for row in rows if row.values[found.label]] if tags and not named else rows  # no label is no tag
    require_values(table, labelled, named or [found.label])
    if not named:
        _require_filled(table, found.label, rows)
    check_pieces(str(table), found, values[found.path], values)
    if found.said:
        warnings.warn(f"{table}: {found.said}; rename the columns if that is wrong", DatasetWarning, stacklevel=4)
    return {
        "clips": [_clip(table, row, found, sheet) for row in rows],
        "labels": tag_texts_of(named, values) if named else [row.values[found.label] for row in rows],
        "folds": column(table, rows, found.fold),
        "groups": column(table, rows, found.group),
        "origin": f"the table {table.name}"
        + (f", its column {group!r} as groups" if group else "")
        + (f" ({found.said})" if found.said else ""),
    }


def _require(table: Path, columns: list[str], used: list[str], rows: list[Row]) -> None:
    require_columns(table, columns, used)
    check_unique(table, columns, used)
    if not rows:
        raise DatasetError(f"{table}: no clips; expected a header and one line for each clip")


def _require_filled(table: Path, label: str, rows: list[Row]) -> None:
    lines = [row.line for row in rows if row.values[label] == UNFILLED]
    if lines:
        n = len(rows) - len(lines)
        raise DatasetError(
            f"{table}: {printable_path(label)} {UNFILLED!r} in line {some(lines, 10)} ({n:,} of {len(rows):,} are "
            "filled in); fill in the others or delete their lines"
        )


def _clip(table: Path, row: Row, columns: Columns, sheet: Sheet) -> Clip:
    start, end = (row.values[name] if name else "" for name in (columns.start, columns.end))
    if sheet.separator != ",":  # written where the comma is the decimal point
        start, end = (DECIMAL_COMMA.sub(r"\1.\2", text) for text in (start, end))
    try:
        return Clip(table.parent / row.values[columns.path], _seconds(start) or 0.0, _seconds(end))
    except (ValueError, L3clfError) as error:
        found = str(error)[:300]
        raise DatasetError(f"{table}, line {row.line}: {found}; expected times in seconds, such as 12.5") from None


def _seconds(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:  # Python's sentence is about its own types
        raise ValueError(repr(text[:40])) from None
