"""Clips from a data frame (of pandas, or of any library whose frames have columns by name).

Rule: columns are found as in a CSV, and paths are relative to the current folder; no such library is imported.
"""

import os
import warnings
from collections.abc import Collection
from typing import Any, TypeGuard

from l3clf.audio.clip import Clip
from l3clf.datasets.csv_columns import Columns, check_pieces, find_columns, numeric_columns
from l3clf.datasets.csv_rows import check_unique, require_columns
from l3clf.datasets.layouts import layout_of
from l3clf.datasets.tag_columns import binary_columns, normal_text, tag_columns, tag_texts_of
from l3clf.errors import DatasetError, DatasetWarning, L3clfError

__all__ = ["frame_clips", "is_frame", "read_frame"]

FRAME = "the data frame"


def is_frame(data: object) -> TypeGuard[Any]:
    """Return whether this is a data frame."""
    return hasattr(data, "columns") and hasattr(data, "__getitem__") and len(getattr(data, "shape", ())) == 2


def read_frame(
    frame: Any, group: str | None, path_column: str, label_column: str, tags: bool = False
) -> dict[str, Any]:
    """Read a data frame of clips.

    Returns
    -------
    dict
        The arguments of `ClipTable`.
    """
    columns = [str(name) for name in frame.columns]
    values = _values(frame)
    binary = binary_columns(values) if tags else []
    found = _found(columns, path_column, label_column, group, values, binary)
    named = tag_columns(FRAME, found, columns, binary) if tags else ()
    used = [found.path, *(named or [found.label]), *filter(None, (found.fold, found.group))]
    require_columns(FRAME, columns, used)
    check_unique(FRAME, columns, used)
    clips = _clips(frame, found)
    if not clips:
        raise DatasetError(f"{FRAME}: no rows; give one for each clip")
    check_pieces(FRAME, found, [clip.path for clip in clips], values)
    if found.said:
        warnings.warn(f"{FRAME}: {found.said}; rename the columns if that is wrong", DatasetWarning, stacklevel=3)
    return {
        "clips": clips,
        "labels": _labels(frame, found, values, named, tags),
        "folds": list(frame[found.fold]) if found.fold else None,
        "groups": list(frame[found.group]) if found.group else None,
        "origin": "a data frame" + (f" ({found.said})" if found.said else ""),
    }


def frame_clips(frame: Any) -> list[Clip] | None:
    """Return the clips of a data frame, by its only column or by those of paths and times; None if it has neither.

    Raises
    ------
    DatasetError
        If the columns may be read in more than one way, or a value is no path or no time.
    """
    columns = [str(name) for name in frame.columns]
    if len(columns) == 1:
        return [_clip(i, path, None, None) for i, path in enumerate(frame[frame.columns[0]])]
    found = _found(columns, "path", "label", None, _values(frame))
    check_unique(FRAME, columns, [found.path])
    return _clips(frame, found) if found.path in columns else None


def _values(frame: Any) -> dict[str, list[Any]]:
    """Return the values of each column whose name is there once."""
    names = list(frame.columns)
    return {str(name): list(frame[name]) for name in names if names.count(name) == 1}


def _labels(frame: Any, found: Columns, values: dict[str, list[Any]], named: tuple[str, ...], tags: bool) -> list[Any]:
    if named:
        return tag_texts_of(named, values)
    labels = list(frame[found.label])
    return list(map(normal_text, labels)) if tags else labels


def _found(
    columns: list[str],
    path: str,
    label: str,
    group: str | None,
    values: dict[str, list[Any]],
    binary: Collection[str] = (),
) -> Columns:
    # The times in a published table are those in its sources.
    times, numeric = layout_of(columns) is None, numeric_columns(values) - set(binary)
    return find_columns(FRAME, columns, path, label, group, times=times, numeric=numeric)


def _clips(frame: Any, found: Columns) -> list[Clip]:
    n = len(frame)
    times = [list(frame[name]) if name else [None] * n for name in (found.start, found.end)]
    return [_clip(i, *row) for i, row in enumerate(zip(frame[found.path], *times, strict=True))]


def _clip(i: int, path: Any, start_s: Any, end_s: Any) -> Clip:
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise DatasetError(f"{FRAME}, row {i}: path {path!r}; expected the path of a sound file")
    start_s, end_s = (None if _is_missing(value) else value for value in (start_s, end_s))
    try:
        return Clip(path, 0.0 if start_s is None else start_s, end_s)
    except L3clfError as error:
        raise DatasetError(f"{FRAME}, row {i}: {error}") from None


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or bool(value != value)
