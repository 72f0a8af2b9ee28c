"""Loading sounds from folders and from CSV tables.

Rule: folders are read in sorted order, so that a table is the same on every machine.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from l3clf.audio.ffmpeg import FFMPEG_SUFFIXES
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.csv_table import read_table
from l3clf.datasets.describe import some, warn_of_labels
from l3clf.errors import DatasetError, DatasetWarning

__all__ = [
    "SOUND_SUFFIXES",
    "entries",
    "find_sounds",
    "is_sound",
    "load_csv",
    "load_folder",
    "warn_left_out",
    "with_doubts",
]

SNDFILE_SUFFIXES = frozenset(
    ".aif .aifc .aiff .au .caf .flac .mp2 .mp3 .oga .ogg .opus .rf64 .snd .w64 .wav".split()  # noqa: SIM905
)
# Also where ffmpeg is not installed: each is a failure that says so then, instead of vanishing.
SOUND_SUFFIXES = SNDFILE_SUFFIXES | FFMPEG_SUFFIXES


def find_sounds(folder: str | os.PathLike[str]) -> list[str]:
    """Return the sound files in a folder and below, sorted; hidden files are left out."""
    return _sounds(Path(folder), frozenset())


def _sounds(folder: Path, above: frozenset[str]) -> list[str]:
    inside = above | {os.path.realpath(folder)}
    found: list[str] = []
    for entry in entries(folder):
        if not entry.is_dir():
            found += [str(entry)] if is_sound(entry) else []
        elif os.path.realpath(entry) not in inside:  # a link to one of its parent folders would never end
            found += _sounds(entry, inside)
    return found


def is_sound(entry: Path) -> bool:
    """Return whether this is a sound file, judged by its suffix."""
    return entry.suffix.lower() in SOUND_SUFFIXES and not entry.is_dir()


def entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted; hidden ones are left out."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed ({error.strerror}); give a readable folder") from None


def warn_left_out(folder: Path, what: str, sounds: Sequence[str]) -> None:
    """Warn about sounds that were left out of a table."""
    shown = some(os.path.relpath(sound, folder) for sound in sounds)
    # stacklevel: the line of the user that called the loader.
    warnings.warn(f"{folder}: {what} were left out ({len(sounds):,}): {shown}", DatasetWarning, stacklevel=4)


def with_doubts(source: object, table: ClipTable) -> ClipTable:
    """Return the table, and warn once for each reason to doubt its labels."""
    warn_of_labels(source, table, stacklevel=4)
    return table


def load_folder(folder: str | os.PathLike[str]) -> ClipTable:
    """Load a folder with one subfolder for each class; each is searched at any depth.

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
        If the folder cannot be listed, or no subfolder contains a sound file.

    Warns
    -----
    LabelWarning
        If names of folders are not those of classes (``train``), or differ only in case or spaces.
    """
    root = Path(folder)
    classes = [entry for entry in entries(root) if entry.is_dir()]
    found = [(clip, entry.name) for entry in classes for clip in find_sounds(entry)]
    if not found:
        raise DatasetError(
            f"{root}: no sound files in subfolders; make one subfolder for each class, with files of type "
            f"{', '.join(sorted(SNDFILE_SUFFIXES)[:8])}..."
        )
    clips, labels = zip(*found, strict=True)
    return with_doubts(root, ClipTable(clips, labels, origin="a folder for each class"))


def load_csv(
    path: str | os.PathLike[str], group: str | None = None, *, path_column: str = "path", label_column: str = "label"
) -> ClipTable:
    """Load a table of clips.

    Parameters
    ----------
    path : path
        A CSV in UTF-8 whose header has ``path`` and ``label`` and may have ``fold``, ``group``, ``start_s``
        and ``end_s``. Paths are relative to the table's folder. Empty lines are ignored. Semicolons or tabs may
        stand for the commas. The tables published with ESC-50 and UrbanSound8K are recognised by their columns.
        Other names (``filename``, ``category``, ``onset`` and ``offset``...) are taken where only one column can be
        meant, with a warning that says so.
    group : str, optional
        Column to use as the group instead of ``group``.
    path_column, label_column : str
        Columns that hold the paths and the labels.

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If the file cannot be read, a column is missing, a row has no path, no label, or times that are not
        numbers, a quote is not closed, columns look like times but are not clear (other units than seconds,
        one of a pair, two pairs), or a path, label, fold or group has line breaks or more than 1,000 characters.

    Warns
    -----
    DatasetWarning
        If a column was taken under another name than ours.
    LabelWarning
        If labels differ only in case or spaces, are parts of a data set (``train``), look like missing values, or
        contradict each other.
    """
    return with_doubts(path, ClipTable(**read_table(Path(path), group, path_column, label_column)))
