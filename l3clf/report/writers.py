"""The table as CSV and JSON.

Rule: numbers keep their full precision, and a file is written completely or not at all.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l3clf.errors import ParameterError
from l3clf.report.contents import Floors, Row, columns_of, metrics_of
from l3clf.storage.atomic import write_file
from l3clf.storage.csv_text import csv_line

__all__ = ["write_csv", "write_json", "write_text"]


def write_csv(rows: Sequence[Row], out: str | os.PathLike[str]) -> Path:
    """Write the table as CSV (UTF-8): fractions in full precision, missing numbers as empty fields.

    The columns are those of `columns_of`, then other keys in order of appearance.

    Raises
    ------
    ParameterError
        If the file cannot be written.
    """
    keys = _keys(rows)
    lines = [csv_line(keys), *(csv_line(_plain(row.get(key)) for key in keys) for row in rows)]
    return write_text(out, "".join(lines))


def write_json(
    rows: Sequence[Row], out: str | os.PathLike[str], *, floors: Floors = (), more: Mapping[str, Any] | None = None
) -> Path:
    """Write the table as JSON: fractions in full precision, missing numbers as null.

    Parameters
    ----------
    rows : sequence of mappings
    out : path
    floors : sequence of (name, score)
        Of the first score of the rows.
    more : mapping, optional
        Further entries of the top-level object, such as ``{"versions": {...}}``.

    Raises
    ------
    ParameterError
        If the file cannot be written, or `more` has values that JSON does not support.
    """
    keys, lead = _keys(rows), next(iter(metrics_of(rows)))
    content = {
        "rows": [{key: row.get(key) for key in keys} for row in rows],
        "floors": [{"name": name, lead: value} for name, value in floors],
        **(more or {}),
    }
    try:
        text = json.dumps(_plain(content), indent=1, allow_nan=False)  # Python would write NaN, which is not JSON
    except TypeError as error:
        raise ParameterError(f"more={more!r}: {error}; expected numbers, text, lists and mappings") from None
    return write_text(out, text + "\n")


def _plain(value: Any) -> Any:
    """Convert a value for JSON and CSV: NumPy scalars and arrays to Python's types, NaN and infinity to None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _keys(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys([*columns_of(rows), *(key for row in rows for key in row)]))


def write_text(out: str | os.PathLike[str], text: str) -> Path:
    """Write text as UTF-8; surrogates, which UTF-8 does not allow, are written as escapes."""
    return write_file(Path(out), text.encode("utf-8", "backslashreplace"))
