"""Loading sounds from folders and from CSV tables.

Rule: folders are read in sorted order, so that a table is the same on every machine.
"""

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l3clf.audio.clip import printable_path
from l3clf.audio.ffmpeg import FFMPEG_SUFFIXES
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.csv_table import read_table
from l3clf.datasets.describe import rows_of_clips, some, warn_of_labels
from l3clf.datasets.tag_columns import normal_text
from l3clf.datasets.tag_text import joined_tags, split_tags
from l3clf.errors import DatasetError, DatasetWarning, counted

__all__ = [
    "SOUND_SUFFIXES",
    "entries",
    "find_sounds",
    "is_sound",
    "load_csv",
    "load_folder",
    "warn_left_out",
    "warn_of_unknown",
    "with_doubts",
]

SNDFILE_SUFFIXES = frozenset(
    ".8svx .aif .aifc .aiff .au .avr .bwf .bw64 .caf .flac .htk .ircam .mp1 .mp2 .mp3 .mpga .nist .oga .ogg .opus .paf "  # noqa: SIM905
    ".pvf .rf64 .sd2 .sds .sf .snd .sph .svx .voc .w64 .wav .wave".split()
)
# Recordings that nothing here reads: each is a failure that says so.
UNREADABLE_SUFFIXES = frozenset(".aa .aax .at3 .dff .gsm .oma .shn .tak .vox".split())  # noqa: SIM905
# Also where ffmpeg is not installed: each is a failure that says so then, instead of vanishing.
SOUND_SUFFIXES = SNDFILE_SUFFIXES | FFMPEG_SUFFIXES | UNREADABLE_SUFFIXES

# What lies beside sounds and is none: texts and tables, pictures, programs, arrays and models, files of sound editors.
OTHER_SUFFIXES = frozenset(
    ".bib .cfg .conf .csv .doc .docx .htm .html .ini .json .jsonl .log .md .odt .ods .pdf .ppt .pptx .rst .rtf .tex "  # noqa: SIM905
    ".toml .tsv .txt .xls .xlsx .xml .yaml .yml "
    ".bmp .eps .gif .heic .ico .jpeg .jpg .png .svg .tif .tiff .webp "
    ".bat .c .cpp .css .elf .h .ipynb .js .m .o .ps1 .py .pyc .r .sh "
    ".arrow .db .feather .ckpt .h5 .hdf5 .joblib .keras .l3clf .mat .npy .npz .onnx .parquet .pb .pickle .pkl .pt .pth "
    ".safetensors .sqlite .sqlite-shm .sqlite-wal .sqlite3 .tflite "
    ".asd .ass .aup .cue .eaf .lab .lbl .lock .lrc .m3u .m3u8 .md5 .nfo .pek .pls .reapeaks .sfk .sha1 .sha256 .srt "
    ".textgrid .tmp .trs .url .vtt".split()
)
OTHER_NAMES = frozenset(
    "authors changelog changes citation contributing copying copyright description licence license makefile manifest "  # noqa: SIM905
    "notice readme sha256sums md5sums source todo version".split()
)


def find_sounds(folder: str | os.PathLike[str]) -> list[str]:
    """Return the sound files in a folder and below, sorted; hidden files are left out."""
    return [str(file) for file in _files(Path(folder), frozenset()) if is_sound(file)]


def _files(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    inside = above | {os.path.realpath(folder)}
    for entry in entries(folder):
        if not entry.is_dir():
            yield entry
        elif os.path.realpath(entry) not in inside:  # a link to one of its parent folders would never end
            yield from _files(entry, inside)


def warn_of_unknown(folder: str | os.PathLike[str], within: Iterable[Path] | None = None, stacklevel: int = 2) -> None:
    """Warn once about the files of a folder that are neither known as sounds nor as something else.

    Parameters
    ----------
    folder : path
        Named in the warning.
    within : iterable of path, optional
        The folders that are searched, if not all of it is.
    stacklevel : int, default=2
        Of the caller, as in `warnings.warn`.
    """
    searched = [Path(folder)] if within is None else within
    unknown = [file for part in searched for file in _files(part, frozenset()) if not is_sound(file) and _is_odd(file)]
    if not unknown:
        return
    counts = Counter(file.suffix.lower() or "without a suffix" for file in unknown).most_common()
    listed = some(f"{n:,} {suffix}" for suffix, n in counts)
    files = "1 file was" if len(unknown) == 1 else f"{len(unknown):,} files were"
    warnings.warn(
        f"{printable_path(os.fspath(folder))}: {files} left out, because the suffix is none of a sound ({listed}), the "
        f"first {printable_path(str(unknown[0]))}; convert or rename what is a sound",
        DatasetWarning,
        stacklevel=stacklevel + 1,
    )


def _is_odd(file: Path) -> bool:
    """Return whether a file that is no sound by its name may still be one."""
    suffix = file.suffix.lower().rstrip("~")
    return suffix not in OTHER_SUFFIXES and (bool(suffix) or file.name.lower() not in OTHER_NAMES)


def is_sound(entry: Path) -> bool:
    """Return whether this is a sound file, judged by its suffix."""
    return entry.suffix.lower() in SOUND_SUFFIXES and not entry.is_dir()


def entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted; hidden ones are left out."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed ({error.strerror}); give a readable folder") from None


def warn_left_out(folder: Path, what: str, sounds: Sequence[str], stacklevel: int = 4) -> None:
    """Warn about sounds that were left out of a table."""
    shown = some(os.path.relpath(sound, folder) for sound in sounds)
    # stacklevel: the line of the user that called the loader.
    warnings.warn(f"{folder}: {what} were left out ({len(sounds):,}): {shown}", DatasetWarning, stacklevel=stacklevel)


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
    DatasetWarning
        If files were left out that may be sounds, because their suffix is unknown.
    LabelWarning
        If names of folders are not those of classes (``train``), or differ only in case or spaces.
    """
    root = Path(folder)
    classes = [entry for entry in entries(root) if entry.is_dir()]
    found = [(clip, entry.name) for entry in classes for clip in find_sounds(entry)]
    warn_of_unknown(root, classes)
    if not found:
        raise DatasetError(
            f"{root}: no sound files in subfolders; make one subfolder for each class, with files of type "
            ".wav, .flac, .ogg, .mp3, .m4a..."
        )
    clips, labels = zip(*found, strict=True)
    return with_doubts(root, ClipTable(clips, labels, origin="a folder for each class"))


def load_csv(
    path: str | os.PathLike[str],
    group: str | None = None,
    *,
    path_column: str = "path",
    label_column: str = "label",
    tags: bool = False,
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
    tags : bool, default=False
        Whether clips may have several labels or none; see `l3clf.datasets.load`.

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
    table = ClipTable(**read_table(Path(path), group, path_column, label_column, tags))
    return with_tags(path, table) if tags else with_doubts(path, table)


def with_tags(source: object, table: ClipTable) -> ClipTable:
    """Return a table whose labels are text of sorted tags, such as ``dog|rain``, with a row for each clip."""
    texts = list(map(normal_text, table.labels.tolist()))
    rows = rows_of_clips(table.clips)
    for same in rows:
        labels = _different(texts, same)
        if len(labels) > 1 and not all(len(split_tags(text)) == 1 for text in labels):
            raise DatasetError(
                f"{source}: {table.clips[same[0]]} is listed with the labels {some(map(repr, labels))}; give each of "
                "its rows one label, or one row all of them"
            )
        for name, column in (("fold", table.folds), ("group", table.groups)):
            found = [] if column is None else _different(column.tolist(), same)
            if len(found) > 1:
                raise DatasetError(
                    f"{source}: {table.clips[same[0]]} is listed with the {name}s {some(map(repr, found))}; give all "
                    "rows of a clip the same"
                )
    first = table.subset(np.array([same[0] for same in rows], np.intp))
    tags = [joined_tags(frozenset().union(*(split_tags(texts[i]) for i in same))) for same in rows]
    joined = len(table) - len(first)
    origin = table.origin + (f"; {counted(joined, 'row')} joined with others of the same clip" if joined else "")
    return ClipTable(first.clips, tags, first.folds, first.groups, origin)


def _different(values: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    return list(dict.fromkeys(values[i] for i in rows))
