"""Finding out what a data set is.

Rule: what could be two things is an error that says how to choose.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from l3clf.datasets.audacity import find_tracks, is_track, load_audacity_labels
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.describe import some
from l3clf.datasets.folders import entries, find_sounds, load_csv, load_folder, warn_left_out
from l3clf.datasets.layouts import LAYOUTS
from l3clf.datasets.published import FSDD_SOUNDS, META_NAME, fsdd_names, load_fsdd, with_esc_names
from l3clf.errors import DatasetError

__all__ = ["load"]

# Folders with these names hold parts of a data set, and taken as classes would give a wrong table.
NO_CLASS = re.compile(r"(?:fold|split|part)[ _-]?[0-9]+|train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?|dev|eval", re.I)


def load(
    data: str | os.PathLike[str],
    group: str | None = None,
    *,
    path_column: str = "path",
    label_column: str = "label",
) -> ClipTable:
    """Load a data set, finding out what it is.

    A file is read as CSV (see `load_csv`, which knows the tables of ESC and UrbanSound8K). A folder is,
    in this order:

    1. a table, if it holds ``meta.csv``;
    2. ESC or UrbanSound8K as published, if it holds ``esc50.csv`` (there or in ``meta``) or
       ``UrbanSound8K.csv`` (there or in ``metadata``);
    3. recordings with Audacity label tracks, if such text files lie beside sounds of the same stem;
    4. spoken digits, if all its sounds lie in it, or in ``recordings``, and are named as FSDD's are (see
       `load_fsdd`);
    5. a folder for each class, if subfolders hold sounds; where all of them are named as ESC's are, folds
       and groups are taken from the names (see `load_esc`).

    What it was read as is kept in the table's `origin`.

    Parameters
    ----------
    data : path
        A CSV file or a folder.
    group : str, optional
        The CSV's column that says what must not be split between training and test.
    path_column, label_column : str
        The CSV's columns that hold the paths and the labels.

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If it is none of these, more than one of them (both tables of 2, both 3 and 5), or holds no clips.

    Warns
    -----
    DatasetWarning
        If sounds were left out: recordings without labels, sounds beside the folders of the classes.
    """
    path = Path(data)
    if not (path.is_file() or path.is_dir()):
        raise DatasetError(
            f"{path}: no such file or folder; expected a CSV, or a folder with a subfolder for each class"
        )
    table = _table_in(path) if path.is_dir() else path
    if table is not None:
        return load_csv(table, group, path_column=path_column, label_column=label_column)
    for name, value, default in (
        ("group", group, None),
        ("path_column", path_column, "path"),
        ("label_column", label_column, "label"),
    ):
        if value != default:
            raise DatasetError(f"{path}: {name}={value!r} names a column, and there is no {META_NAME} in the folder")
    return _load_untabled(path)


def _table_in(folder: Path) -> Path | None:
    """The table of a folder, if it has one."""
    if (folder / META_NAME).is_file():
        return folder / META_NAME
    found = [table for layout in LAYOUTS if (table := layout.table_in(folder))]
    if len(found) > 1:
        raise DatasetError(
            f"{folder}: holds both {' and '.join(str(table.relative_to(folder)) for table in found)}; "
            "expected one table (name the file)"
        )
    return found[0] if found else None


def _load_untabled(folder: Path) -> ClipTable:
    sounds = find_sounds(folder)
    tops = [Path(sound).relative_to(folder).parts for sound in sounds]
    loose = [sound for sound, top in zip(sounds, tops, strict=True) if len(top) == 1]
    classes = sorted({top[0] for top in tops if len(top) > 1})
    tracks = [track for track in find_tracks(sounds).values() if is_track(track)]
    if tracks and classes and len(tracks) < len(sounds):  # where every sound has a track, folders are mere order
        raise DatasetError(
            f"{folder}: has subfolders with sounds ({some(classes)}) and label tracks "
            f"({some(os.path.relpath(track, folder) for track in tracks)}), which are not beside every sound; choose "
            "with load_folder or load_audacity_labels"
        )
    if tracks:
        return load_audacity_labels(folder)
    if (bool(loose), classes) in ((True, []), (False, [FSDD_SOUNDS])) and fsdd_names(sounds):
        return load_fsdd(folder)
    if classes:
        return _load_classes(folder, classes, loose)
    raise DatasetError(_nothing_found(folder, loose))


def _load_classes(folder: Path, classes: Sequence[str], loose: Sequence[str]) -> ClipTable:
    if all(NO_CLASS.fullmatch(name) for name in classes):
        raise DatasetError(
            f"{folder}: its subfolders ({some(classes)}) are parts of a data set and not classes; expected one "
            f"for each class, or {META_NAME} with the columns path, label and fold"
        )
    if loose:
        warn_left_out(folder, "sounds beside the folders of the classes", loose)
    table = load_folder(folder)
    return with_esc_names(table) or table


def _nothing_found(folder: Path, loose: Sequence[str]) -> str:
    others = [entry.name + "/" * entry.is_dir() for entry in entries(folder) if str(entry) not in set(loose)]
    found = [f"sounds in the folder itself ({len(loose):,})"] if loose else []
    found += [some(others, 3)] if others else []
    return (
        f"{folder}: no {META_NAME}, {' or '.join(layout.file for layout in LAYOUTS)}, no sound files in subfolders "
        f"(one for each class), no label tracks beside sounds, no FSDD names; found {' and '.join(found) or 'nothing'}"
    )
