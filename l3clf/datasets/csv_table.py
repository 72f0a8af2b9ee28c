"""The columns of a `ClipTable` from a CSV: our own layout, and those published with data sets.

Rule: columns are returned as the arguments of `ClipTable`, so that nothing here imports that class.
"""

from pathlib import Path
from typing import Any

from l3clf.audio.clip import Clip
from l3clf.datasets.csv_rows import column, read_rows, require_columns, require_values
from l3clf.datasets.layouts import layout_columns, layout_of
from l3clf.errors import DatasetError, L3clfError

__all__ = ["read_table"]


def read_table(
    table: Path, group: str | None = None, path_column: str = "path", label_column: str = "label"
) -> dict[str, Any]:
    """Read a table of clips; see `l3clf.datasets.load_csv`.

    Returns
    -------
    dict
        The arguments of `ClipTable`.
    """
    wanted = [path_column, label_column]
    columns, rows = read_rows(table, [*wanted, group or ""])
    # Our own layout takes precedence, and so do columns that the caller names.
    layout = layout_of(columns) if wanted == ["path", "label"] and "path" not in columns else None
    require_columns(table, columns, [*(layout.columns if layout else wanted), *([group] if group else [])])
    if not rows:
        raise DatasetError(f"{table}: no clips; expected a header and one line for each clip")
    if layout:
        return layout_columns(table, columns, rows, layout, group)
    require_values(table, rows, wanted)
    group_column = group or ("group" if "group" in columns else None)
    return {
        "clips": [_clip(table, line, row, path_column) for line, row in rows],
        "labels": [row[label_column] for _, row in rows],
        "folds": column(table, rows, "fold" if "fold" in columns else None),
        "groups": column(table, rows, group_column),
        "origin": f"the table {table.name}" + (f", its column {group!r} as groups" if group else ""),
    }


def _clip(table: Path, line: int, row: dict[str, str], path_column: str) -> Clip:
    try:
        start_s = float(row.get("start_s") or 0.0)
        end_s = float(row["end_s"]) if row.get("end_s") else None
        return Clip(table.parent / row[path_column], start_s, end_s)
    except (ValueError, L3clfError) as error:
        raise DatasetError(f"{table}, line {line}: {error}; expected times in seconds") from None
