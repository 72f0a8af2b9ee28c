"""Recognising the layout of a data set.

Rule: data that could be read in two ways is an error that tells how to choose.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l3clf.datasets.audacity import find_tracks, load_audacity_labels
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.describe import NOT_A_CLASS, some
from l3clf.datasets.folders import entries, find_sounds, load_csv, load_folder, warn_left_out, with_doubts, with_tags
from l3clf.datasets.frames import is_frame, read_frame
from l3clf.datasets.label_tracks import is_track
from l3clf.datasets.layouts import LAYOUTS
from l3clf.datasets.published import FSDD_SOUNDS, META_NAME, fsdd_names, load_fsdd, with_esc_names
from l3clf.datasets.raven import find_tables, load_raven_tables
from l3clf.errors import DatasetError

__all__ = ["as_table", "load"]


def as_table(data: Any, tags: bool = False) -> ClipTable:
    """Return a table of clips, or load what stands for one: a data frame, or the path of a data set; see `load`."""
    if isinstance(data, ClipTable):
        return data
    if is_frame(data) or isinstance(data, str | os.PathLike):
        return load(data, tags=tags)
    raise DatasetError(
        f"table: type {type(data).__name__}; expected a ClipTable, a data frame with the columns path and label, or "
        "the path of a data set"
    )


def load(
    data: str | os.PathLike[str] | Any,
    group: str | None = None,
    *,
    path_column: str = "path",
    label_column: str = "label",
    background_s: float | None = None,
    tags: bool = False,
) -> ClipTable:
    """Load a data set, recognising its layout.

    A file is read as CSV (see `load_csv`, which also reads the tables of ESC and UrbanSound8K). A folder is
    read as the first of these that fits:

    1. a table, if it has a ``meta.csv``;
    2. ESC or UrbanSound8K as published, if it has an ``esc50.csv`` (in it or in ``meta``) or an
       ``UrbanSound8K.csv`` (in it or in ``metadata``);
    3. recordings with Audacity label tracks, or else with Raven selection tables, if there are such text files beside
       sounds of the same stem;
    4. spoken digits, if all sounds are in the folder itself, or all are in ``recordings``, and are named as
       FSDD's are (see `load_fsdd`);
    5. a folder for each class, if subfolders contain sounds; if all of them are named as ESC's are, folds
       and groups come from the names (see `load_esc`).

    The table's `origin` states how it was read.

    Parameters
    ----------
    data : path or data frame
        A CSV file or a folder; or a pandas data frame with the columns of a CSV, paths relative to the current
        folder.
    group : str, optional
        Column of the CSV whose values must not be split between training and test.
    path_column, label_column : str
        Columns of the CSV that hold the paths and the labels.
    background_s : float or None, default=None
        Length of the pieces into which the unlabelled time of recordings with labels is cut; see
        `load_audacity_labels`.
    tags : bool, default=False
        Whether clips may have several labels or none: the labels of the table are then text such as ``dog|rain``, in
        sorted order, and the empty text is no label. A CSV or data frame has them in that form in its column of labels,
        where nothing is no label; or, if it has no such column, a column of 0 and 1 for each label. Rows of the same
        clip with one label each become one row with all of them.

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If none of these fits, two of them fit (both tables of 2, both 3 and 5), or there are no clips. With `tags`, if
        rows of the same clip differ in their fold or group, or in their labels where one names none or several.

    Warns
    -----
    DatasetWarning
        If sounds were left out: recordings without labels, or sounds beside the class folders. If columns were
        taken under other names than ours.
    LabelWarning
        See `load_csv`.
    """
    if is_frame(data):
        _refuse_background("the data frame", background_s)
        frame = ClipTable(**read_frame(data, group, path_column, label_column, tags))
        return with_tags("the data frame", frame) if tags else with_doubts("the data frame", frame)
    path = Path(data)
    if not (path.is_file() or path.is_dir()):
        raise DatasetError(f"{path}: no such file or folder; give a CSV, or a folder with a subfolder for each class")
    table = _table_in(path) if path.is_dir() else path
    if table is not None:
        _refuse_background(path, background_s)
        return load_csv(table, group, path_column=path_column, label_column=label_column, tags=tags)
    columns = (("group", group, None), ("path_column", path_column, "path"), ("label_column", label_column, "label"))
    for name, value, default in columns:
        if value != default:
            raise DatasetError(
                f"{path}: {name}={value!r} names a column, but the folder has no {META_NAME}; add one or omit {name}"
            )
    found = _load_untabled(path, background_s)
    return with_tags(path, found) if tags else found


def _refuse_background(data: object, background_s: float | None) -> None:
    if background_s is not None:
        raise DatasetError(
            f"{data}: background_s={background_s!r} cuts the unlabelled time of recordings with labels beside them, "
            "and there are none; omit it"
        )


def _table_in(folder: Path) -> Path | None:
    """Return the path of the folder's table, or None if it has none."""
    if (folder / META_NAME).is_file():
        return folder / META_NAME
    found = [table for layout in LAYOUTS if (table := layout.table_in(folder))]
    if len(found) > 1:
        raise DatasetError(
            f"{folder}: has both {' and '.join(str(table.relative_to(folder)) for table in found)}; "
            "give the path of one of these tables"
        )
    return found[0] if found else None


def _load_untabled(folder: Path, background_s: float | None) -> ClipTable:
    sounds = find_sounds(folder)
    tops = [Path(sound).relative_to(folder).parts for sound in sounds]
    loose = [sound for sound, top in zip(sounds, tops, strict=True) if len(top) == 1]
    classes = sorted({top[0] for top in tops if len(top) > 1})
    tracks = [track for track in find_tracks(sounds).values() if is_track(track)]
    if tracks and classes and len(tracks) < len(sounds):  # if every sound has a track, folders are not classes
        raise DatasetError(
            f"{folder}: has subfolders with sounds ({some(classes)}), and label tracks beside some of them "
            f"({some(os.path.relpath(track, folder) for track in tracks)}); choose load_folder or load_audacity_labels"
        )
    if tracks:
        return load_audacity_labels(folder, background_s=background_s)
    if find_tables(sounds):
        return load_raven_tables(folder, background_s=background_s)
    if background_s is not None and find_tracks(sounds):  # they are asked for: what is wrong with them is said
        return load_audacity_labels(folder, background_s=background_s)
    _refuse_background(folder, background_s)
    # Before classes: "recordings" would be read as a single class.
    if (bool(loose), classes) in ((True, []), (False, [FSDD_SOUNDS])) and fsdd_names(sounds):
        return load_fsdd(folder)
    if classes:
        return _load_classes(folder, classes, loose)
    raise DatasetError(_nothing_found(folder, loose))


def _load_classes(folder: Path, classes: Sequence[str], loose: Sequence[str]) -> ClipTable:
    if all(NOT_A_CLASS.fullmatch(name) for name in classes):
        raise DatasetError(
            f"{folder}: its subfolders ({some(classes)}) are parts of a data set instead of classes; make one for "
            f"each class, or add {META_NAME} with the columns path, label and fold"
        )
    if loose:
        warn_left_out(folder, "sounds beside the class folders", loose)
    table = load_folder(folder)
    return with_esc_names(table) or table


def _nothing_found(folder: Path, loose: Sequence[str]) -> str:
    others = [entry.name + "/" * entry.is_dir() for entry in entries(folder) if str(entry) not in set(loose)]
    found = [f"sounds in the folder itself ({len(loose):,})"] if loose else []
    found += [some(others, 3)] if others else []
    return (
        f"{folder}: found {' and '.join(found) or 'nothing'}; give a folder with a subfolder of sounds for each class, "
        f"{META_NAME}, {' or '.join(layout.file for layout in LAYOUTS)}, label tracks beside sounds, or names as FSDD's"
    )
