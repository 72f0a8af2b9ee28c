"""Data sets as published: ESC, UrbanSound8K and FSDD.

Rule: folds and groups are those of the data set, from its table or its file names.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.csv_rows import check_utf8, read_sheet, require_columns
from l3clf.datasets.describe import some
from l3clf.datasets.folders import entries, find_sounds, is_sound, load_csv, load_folder, warn_of_unknown
from l3clf.datasets.layouts import ESC, ESC_NAME, URBANSOUND8K, Layout, esc_names
from l3clf.errors import DatasetError

__all__ = ["FSDD_SOUNDS", "META_NAME", "fsdd_names", "load_esc", "load_fsdd", "load_urbansound8k", "with_esc_names"]

META_NAME = "meta.csv"
ESC_CLASS = re.compile(r"[0-9]+ - (?P<name>.+)")  # 001 - Dog bark
FSDD_NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>.+)_[0-9]+")  # 7_theo_0: the last is the take
FSDD_SOUNDS = "recordings"


def load_esc(folder: str | os.PathLike[str]) -> ClipTable:
    """Load ESC-10 or ESC-50 with their folds, and Freesound's recording ids as groups.

    Parameters
    ----------
    folder : path
        A folder with ``meta.csv`` that has a column ``fold``; or the published repository
        (``meta/esc50.csv``, ``audio``); or one subfolder for each class in which every file is named
        ``FOLD-ID-TAKE`` or ``FOLD-ID-TAKE-TARGET``. In the last case folds and groups come from the
        file names, and numbers before class names are dropped (``001 - Dog bark`` becomes ``Dog bark``).

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If the folder is none of these, or its table cannot be read.
    """
    root = Path(folder)
    if (root / META_NAME).is_file():
        return _esc_from_meta(root / META_NAME)
    if table := ESC.table_in(root):
        return _load_published(table, ESC)
    found = load_folder(root)
    named = with_esc_names(found)
    if named is None:
        odd = next(clip.path for clip in found.clips if not ESC_NAME.fullmatch(Path(clip.path).stem))
        raise DatasetError(
            f"{root}: no {META_NAME}, no {ESC.file}, and {os.path.relpath(odd, root)!r} does not follow ESC's naming; "
            "expected FOLD-ID-TAKE, such as 1-30226-A.ogg"
        )
    return named


def _esc_from_meta(meta: Path) -> ClipTable:
    table = load_csv(meta)
    if table.folds is None:
        raise DatasetError(f"{meta}: no folds; add a column 'fold', or read the table with load_csv")
    names = esc_names(clip.path for clip in table.clips)
    if table.groups is not None or names is None:
        return table
    origin = f"{table.origin}, groups from Freesound ids in the file names"
    return ClipTable(table.clips, table.labels, table.folds, names[1], origin)


def _load_published(path: Path, layout: Layout) -> ClipTable:
    sheet = read_sheet(path)
    check_utf8(path, sheet, layout.columns[0])
    require_columns(path, sheet.columns, layout.columns)
    return load_csv(path)


def with_esc_names(table: ClipTable) -> ClipTable | None:
    """Return the table with folds and groups from its file names, or None if some are not named as ESC's are."""
    names = esc_names(clip.path for clip in table.clips)
    if names is None:
        return None
    folds, groups = names
    several = len(set(folds)) > 1  # a single fold of ESC leaves nothing to train on
    taken = "folds and groups (Freesound ids)" if several else "groups (Freesound ids)"
    origin = f"ESC, a folder for each class: {taken} from the file names"
    return ClipTable(table.clips, _class_names(table.labels.tolist()), folds if several else None, groups, origin)


def _class_names(labels: Sequence[str]) -> list[str]:
    """Drop the numbers before ESC-10's class names, unless two classes would get the same name."""
    numbered = {label: match["name"] for label in set(labels) if (match := ESC_CLASS.fullmatch(label))}
    if len(set(numbered.values())) < len(set(labels)):
        return list(labels)
    return [numbered[label] for label in labels]


def load_urbansound8k(folder: str | os.PathLike[str]) -> ClipTable:
    """Load UrbanSound8K with its ten folds; the groups are the Freesound recordings.

    The folds must not be reshuffled: they keep all pieces of one recording together.

    Parameters
    ----------
    folder : path
        A folder with ``metadata/UrbanSound8K.csv`` (or the table itself) and ``audio/fold1`` to
        ``audio/fold10``.

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If there is no such table, or it cannot be read.
    """
    table = URBANSOUND8K.table_in(Path(folder))
    if table is None:
        raise DatasetError(
            f"{folder}: no {URBANSOUND8K.file}; expected it in the folder itself or in {URBANSOUND8K.folders[0]}"
        )
    return _load_published(table, URBANSOUND8K)


def load_fsdd(folder: str | os.PathLike[str]) -> ClipTable:
    """Load spoken digits from files named ``{digit}_{speaker}_{index}``; the groups are the speakers.

    Parameters
    ----------
    folder : path
        A folder with the files, or the published repository, which has them in ``recordings``.

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If there are no sounds, or one is named differently.
    """
    sounds = _fsdd_sounds(Path(folder))
    names = fsdd_names(sounds)
    if names is None:
        odd = [repr(Path(sound).name) for sound in sounds if not FSDD_NAME.fullmatch(Path(sound).stem)]
        raise DatasetError(
            f"{folder}: found {some(odd) or 'no sounds'}; expected every sound to be named digit_speaker_index, "
            "such as 7_theo_0.wav"
        )
    warn_of_unknown(folder, {Path(sound).parent for sound in sounds})
    digits, speakers = names
    return ClipTable(sounds, digits, groups=speakers, origin="FSDD: digits and groups (speakers) from the file names")


def _fsdd_sounds(folder: Path) -> list[str]:
    sounds = [str(entry) for entry in entries(folder) if is_sound(entry)]
    return sounds or (find_sounds(folder / FSDD_SOUNDS) if (folder / FSDD_SOUNDS).is_dir() else [])


def fsdd_names(sounds: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Return the digits and speakers in the file names, or None if some are not named as FSDD's are."""
    names = [name for sound in sounds if (name := FSDD_NAME.fullmatch(Path(sound).stem))]
    if not names or len(names) < len(sounds):
        return None
    return [name["digit"] for name in names], [name["speaker"] for name in names]
