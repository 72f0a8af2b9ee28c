"""Clips with their labels, folds and groups, from what people have on disk.

Rule: nothing is guessed silently and no audio is opened: a table says which clips there are, and a
clip that cannot be read is found out when it is read.
"""

import csv
import os
import re
import statistics
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l3clf import audacity
from l3clf.audio import Clip, _open, _piece
from l3clf.errors import AudioError, DatasetError, DatasetWarning, L3clfError

__all__ = [
    "ClipTable",
    "Description",
    "find_sounds",
    "load",
    "load_audacity_labels",
    "load_csv",
    "load_esc",
    "load_folder",
    "load_fsdd",
    "load_urbansound8k",
]

SOUND_SUFFIXES = frozenset(
    ".aif .aifc .aiff .au .caf .flac .mp3 .oga .ogg .opus .rf64 .snd .w64 .wav".split()  # noqa: SIM905
)
META_NAME = "meta.csv"
KNOWN_COLUMNS = ("path", "label", "fold", "group", "start_s", "end_s")

ESC_NAME = re.compile(r"(?P<fold>[0-9]{1,2})-(?P<recording>[0-9]+)-[A-Z]+(?:-[0-9]+)?")
ESC_CLASS = re.compile(r"[0-9]+ - (?P<name>.+)")
FSDD_NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>.+)_[0-9]+")
FSDD_SOUNDS = "recordings"
# Folders with these names hold parts of a data set, and taken as classes would give a wrong table.
NO_CLASS = re.compile(r"(?:fold|split|part)[ _-]?[0-9]+|train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?|dev|eval", re.I)

FEW_CLIPS = 5
MANY_CLASSES = 1000


@dataclass(frozen=True, eq=False)
class ClipTable:
    """Clips with their labels, and folds or groups where they are known.

    Parameters
    ----------
    clips : sequence of Clip or path
    labels : sequence of n labels
    folds : sequence of n labels, optional
        The fold of each clip in a prearranged cross-validation.
    groups : sequence of n labels, optional
        What must not be split between training and test: the recording, the speaker...
    origin : str, default=""
        What the table was read from, and what its folds and groups are, for `describe`.

    Raises
    ------
    DatasetError
        If the lengths differ.

    Examples
    --------
    >>> table = ClipTable(["a.wav", "b.wav"], ["dog", "cat"], folds=[1, 2])
    >>> len(table), table.subset([1]).labels.tolist()
    (2, ['cat'])
    """

    clips: list[Clip]
    labels: NDArray[Any]
    folds: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None
    origin: str = ""

    def __init__(
        self,
        clips: Iterable[Clip | str | os.PathLike[str]],
        labels: ArrayLike,
        folds: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        origin: str = "",
    ) -> None:
        listed = [clip if isinstance(clip, Clip) else Clip(clip) for clip in clips]
        object.__setattr__(self, "clips", listed)
        for name, values in (("labels", labels), ("folds", folds), ("groups", groups)):
            column = None if values is None else np.asarray(values)
            if column is not None and column.shape != (len(listed),):
                raise DatasetError(f"{name}: found shape {column.shape}; expected one for each of {len(listed)} clips")
            object.__setattr__(self, name, column)
        object.__setattr__(self, "origin", origin)

    def __len__(self) -> int:
        return len(self.clips)

    def subset(self, indices: ArrayLike) -> Self:
        """Return the rows with these indices (or where a mask of booleans is true)."""
        wanted = np.asarray(indices)
        rows = np.arange(len(self))[wanted if wanted.size else wanted.astype(np.intp)]
        folds, groups = (None if column is None else column[rows] for column in (self.folds, self.groups))
        return type(self)([self.clips[i] for i in rows], self.labels[rows], folds, groups, self.origin)

    def describe(self) -> "Description":
        """Count and measure what is in the table; of the sound files, only the headers are read.

        Returns
        -------
        Description
            ``str()`` of it is a short text. A file whose header cannot be read is counted, not raised.
        """
        return _describe(self)

    def problems(self, fewest: int = FEW_CLIPS) -> list[str]:
        """Say what is odd about the table, without opening a sound file.

        Parameters
        ----------
        fewest : int, default=5
            Classes with fewer clips than this are named: a cross-validation needs one for each fold.

        Returns
        -------
        list of str
            One sentence for each problem: missing files, clips listed twice, labels that differ only in
            case or spaces, rare classes, folds and groups that cannot work. Empty if there is none.
        """
        found = [check(self) for check in PROBLEMS]
        return [said for said in (*found, _rare_classes(self, fewest)) if said]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table; paths are written relative to its folder.

        Parameters
        ----------
        path : path
            The file to write, with a header and the columns path, label, and those that are known of
            fold, group, start_s and end_s.

        Raises
        ------
        DatasetError
            If the file cannot be written, or a value would not be read back as it is: it is empty, has
            spaces at its ends, or is a file name that is no text.
        """
        target = Path(path)
        pieces = any(not clip.is_whole for clip in self.clips)
        columns = [
            "path",
            "label",
            *(n for n, c in (("fold", self.folds), ("group", self.groups)) if c is not None),
        ]
        header = columns + (["start_s", "end_s"] if pieces else [])
        rows = [header]
        for i, clip in enumerate(self.clips):
            row = [os.path.relpath(clip.path, target.parent), self.labels[i]]
            row += [column[i] for column in (self.folds, self.groups) if column is not None]
            row = [_readable(target, name, str(value)) for name, value in zip(columns, row, strict=True)]
            rows.append(row + ([repr(clip.start_s), "" if clip.end_s is None else repr(clip.end_s)] if pieces else []))
        try:
            with target.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(rows)
        except OSError as error:
            raise DatasetError(f"{target}: cannot be written ({error.strerror}); choose another place") from None

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], group: str | None = None) -> "ClipTable":
        """Read a table; the same as `load_csv`."""
        return load_csv(path, group)


def _readable(table: Path, name: str, value: str) -> str:
    """Return a value for a table, if it can be read back as it is."""
    not_text = any("\ud800" <= character <= "\udfff" for character in value)  # bytes of a name that are no UTF-8
    if not_text or not value or value != value.strip():
        raise DatasetError(f"{table}: {name} {value!r} cannot be kept in a CSV; rename it")
    return value


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
    tracks = [track for track in audacity.find_tracks(sounds).values() if audacity.is_track(track)]
    if tracks and classes and len(tracks) < len(sounds):  # where every sound has a track, folders are mere order
        raise DatasetError(
            f"{folder}: has subfolders with sounds ({_some(classes)}) and label tracks "
            f"({_some(os.path.relpath(track, folder) for track in tracks)}), which are not beside every sound; choose "
            "with load_folder or load_audacity_labels"
        )
    if tracks:
        return load_audacity_labels(folder)
    if (bool(loose), classes) in ((True, []), (False, [FSDD_SOUNDS])) and _fsdd_names(sounds):
        return load_fsdd(folder)
    if classes:
        return _load_classes(folder, classes, loose)
    raise DatasetError(_nothing_found(folder, loose))


def _load_classes(folder: Path, classes: Sequence[str], loose: Sequence[str]) -> ClipTable:
    if all(NO_CLASS.fullmatch(name) for name in classes):
        raise DatasetError(
            f"{folder}: its subfolders ({_some(classes)}) are parts of a data set and not classes; expected one "
            f"for each class, or {META_NAME} with the columns path, label and fold"
        )
    if loose:
        _warn_left_out(folder, "sounds beside the folders of the classes", loose)
    table = load_folder(folder)
    return _with_esc_names(table) or table


def _nothing_found(folder: Path, loose: Sequence[str]) -> str:
    others = [entry.name + "/" * entry.is_dir() for entry in _entries(folder) if str(entry) not in set(loose)]
    found = [f"sounds in the folder itself ({len(loose):,})"] if loose else []
    found += [_some(others, 3)] if others else []
    return (
        f"{folder}: no {META_NAME}, {' or '.join(layout.file for layout in LAYOUTS)}, no sound files in subfolders "
        f"(one for each class), no label tracks beside sounds, no FSDD names; found {' and '.join(found) or 'nothing'}"
    )


def _warn_left_out(folder: Path, what: str, sounds: Sequence[str]) -> None:
    shown = _some(os.path.relpath(sound, folder) for sound in sounds)
    warnings.warn(f"{folder}: {what} were left out ({len(sounds):,}): {shown}", DatasetWarning, stacklevel=4)


def load_folder(folder: str | os.PathLike[str]) -> ClipTable:
    """Load a folder with one subfolder for each class; sounds may lie deeper in these.

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
        If the folder is none, or no subfolder holds a sound file.
    """
    root = Path(folder)
    classes = [entry for entry in _entries(root) if entry.is_dir()]
    found = [(clip, entry.name) for entry in classes for clip in find_sounds(entry)]
    if not found:
        raise DatasetError(
            f"{root}: no sound files in subfolders; expected one subfolder for each class, with files such as "
            f"{', '.join(sorted(SOUND_SUFFIXES)[:8])}"
        )
    clips, labels = zip(*found, strict=True)
    return ClipTable(clips, labels, origin="a folder for each class")


def find_sounds(folder: str | os.PathLike[str]) -> list[str]:
    """Return the sound files in a folder and below, sorted; hidden files are left out."""
    return _sounds(Path(folder), frozenset())


def _sounds(folder: Path, above: frozenset[str]) -> list[str]:
    inside = above | {os.path.realpath(folder)}
    found: list[str] = []
    for entry in _entries(folder):
        if not entry.is_dir():
            found += [str(entry)] if _is_sound(entry) else []
        elif os.path.realpath(entry) not in inside:  # a link to a folder that it lies in has no end
            found += _sounds(entry, inside)
    return found


def _is_sound(entry: Path) -> bool:
    return entry.suffix.lower() in SOUND_SUFFIXES and not entry.is_dir()


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed ({error.strerror}); expected a readable folder") from None


def load_csv(
    path: str | os.PathLike[str],
    group: str | None = None,
    *,
    path_column: str = "path",
    label_column: str = "label",
) -> ClipTable:
    """Load a table of clips.

    Parameters
    ----------
    path : path
        A CSV in UTF-8 whose header has ``path`` and ``label`` and may have ``fold``, ``group``, ``start_s``
        and ``end_s``. Paths are relative to the table's folder. Empty lines are passed over. The tables
        published with ESC-50 and UrbanSound8K are recognised by their columns.
    group : str, optional
        Another column to take as the group.
    path_column, label_column : str
        Other columns to take as the paths and the labels.

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If a column is missing, or a row has no path, no label, or times that are none.
    """
    table = Path(path)
    wanted = [path_column, label_column]
    columns, rows = _read_rows(table, [*wanted, group or ""])
    layout = _layout_of(columns) if wanted == ["path", "label"] and "path" not in columns else None
    _require_columns(table, columns, [*(layout.needs if layout else wanted), *([group] if group else [])])
    if not rows:
        raise DatasetError(f"{table}: holds no clips; expected a header and one line for each clip")
    if layout:
        return _load_layout(table, columns, rows, layout, group)
    _require_values(table, rows, wanted)
    group_column = group or ("group" if "group" in columns else None)
    return ClipTable(
        [_clip(table, line, row, path_column) for line, row in rows],
        [row[label_column] for _, row in rows],
        folds=_column(table, rows, "fold" if "fold" in columns else None),
        groups=_column(table, rows, group_column),
        origin=f"the table {table.name}" + (f", its column {group!r} as groups" if group else ""),
    )


Row = tuple[int, dict[str, str]]


def _read_rows(table: Path, named: Sequence[str] = ()) -> tuple[list[str], list[Row]]:
    """Return the header, and each line's number and values."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [(name or "").strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            _check_unique(table, columns, {*KNOWN_COLUMNS, *named})
            return columns, list(_filled(table, reader))
    except OSError as error:
        raise DatasetError(f"{table}: cannot be read ({error.strerror}); expected a CSV file") from None
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{table}: is not UTF-8 text (byte {error.object[error.start]:#04x} at {error.start}); "
            "save it as CSV in UTF-8"
        ) from None
    except DatasetError:
        raise
    except ValueError as error:  # a NUL byte in the name
        raise DatasetError(f"{str(table)!r}: cannot be read ({error}); expected a CSV file") from None
    except csv.Error as error:
        raise DatasetError(f"{table}: is not a CSV file ({error})") from None


def _check_unique(table: Path, columns: Sequence[str], known: Iterable[str]) -> None:
    twice = [name for name in sorted(known) if columns.count(name) > 1]
    if twice:
        raise DatasetError(f"{table}: has more than one column {', '.join(map(repr, twice))}; rename or delete one")


def _filled(table: Path, reader: "csv.DictReader[str]") -> Iterator[Row]:
    for row in reader:
        extra = [value for value in row.get(None, []) if value.strip()]
        if extra:
            raise DatasetError(
                f"{table}, line {reader.line_num}: more values than columns ({extra[0]!r}); "
                "put quotes around values that hold a comma"
            )
        values = {
            name: (value or "").strip()
            for name, value in row.items()
            if isinstance(name, str) and not isinstance(value, list)
        }
        if any(values.values()):
            yield reader.line_num, values


def _require_columns(table: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DatasetError(
            f"{table}: has no column {', '.join(map(repr, missing))}; "
            f"found {', '.join(map(repr, columns)) or 'nothing'}"
        )


def _require_values(table: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    for name in names:
        lines = [str(line) for line, row in rows if not row[name]]
        if lines:
            more = f" and {len(lines) - 10} more" if len(lines) > 10 else ""
            raise DatasetError(
                f"{table}: no {name} in line {', '.join(lines[:10])}{more}; fill it in or delete the line"
            )


def _clip(table: Path, line: int, row: dict[str, str], path_column: str) -> Clip:
    try:
        start_s = float(row.get("start_s") or 0.0)
        end_s = float(row["end_s"]) if row.get("end_s") else None
        return Clip(table.parent / row[path_column], start_s, end_s)
    except (ValueError, L3clfError) as error:
        raise DatasetError(f"{table}, line {line}: {error}; expected times in seconds") from None


def _column(table: Path, rows: Sequence[Row], name: str | None) -> list[str] | None:
    """Return a column of folds or groups; one that is empty throughout is none."""
    if name is None or not any(row[name] for _, row in rows):
        return None
    _require_values(table, rows, [name])
    return [row[name] for _, row in rows]


@dataclass(frozen=True)
class _Layout:
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
    _Layout(
        "ESC",
        "esc50.csv",
        ("meta", ""),
        ("filename", "fold", "target", "category"),
        "category",
        "src_file",
        "{filename}",
    ),
    _Layout(
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


def _layout_of(columns: Sequence[str]) -> _Layout | None:
    return next((layout for layout in LAYOUTS if set(layout.needs) <= set(columns)), None)


def _load_layout(
    table: Path, columns: Sequence[str], rows: Sequence[Row], layout: _Layout, group: str | None
) -> ClipTable:
    _require_values(table, rows, layout.needs)
    places = [layout.place.format_map(row) for _, row in rows]
    names = _esc_names(places)
    groups = _column(table, rows, group or (layout.group if layout.group in columns else None))
    if groups is None and names:  # the first editions of ESC's table had no column for it
        groups = names[1]
    root = _sounds_root(table, places[0])
    group_is = f"column {group!r}" if group else layout.group_is
    return ClipTable(
        [Clip(root / place) for place in places],
        [row[layout.label] for _, row in rows],
        folds=[row["fold"] for _, row in rows],
        groups=groups,
        origin=f"{layout.name}: its own folds" + (f", groups from {group_is}" if groups else ""),
    )


def _sounds_root(table: Path, place: str) -> Path:
    """Where the sounds lie: as published, or as repacked with the table beside or above them."""
    published = table.parent.parent / "audio"
    roots = (published, table.parent / "audio", table.parent)
    return next((root for root in roots if (root / place).is_file()), published)


def load_esc(folder: str | os.PathLike[str]) -> ClipTable:
    """Load ESC-10 or ESC-50, with their folds, and Freesound's recording ids as groups.

    Parameters
    ----------
    folder : path
        One that holds ``meta.csv`` with a column ``fold``; or the published repository
        (``meta/esc50.csv``, ``audio``); or one subfolder for each class in which every file is named
        ``FOLD-ID-TAKE`` or ``FOLD-ID-TAKE-TARGET``. Then folds and groups are those in the names, and
        numbers before the names of classes are left out (``001 - Dog bark`` is ``Dog bark``).

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
    named = _with_esc_names(found)
    if named is None:
        odd = next(clip.path for clip in found.clips if not ESC_NAME.fullmatch(Path(clip.path).stem))
        raise DatasetError(
            f"{root}: no {META_NAME}, no {ESC.file}, and {os.path.relpath(odd, root)!r} is not named as ESC's files "
            "are; expected FOLD-ID-TAKE, such as 1-30226-A.ogg"
        )
    return named


def _esc_from_meta(meta: Path) -> ClipTable:
    table = load_csv(meta)
    if table.folds is None:
        raise DatasetError(f"{meta}: has no folds; expected a column 'fold' (or read it with load_csv)")
    names = _esc_names(clip.path for clip in table.clips)
    if table.groups is not None or names is None:
        return table
    origin = f"{table.origin}, groups from Freesound ids in the file names"
    return ClipTable(table.clips, table.labels, table.folds, names[1], origin)


def _load_published(path: Path, layout: _Layout) -> ClipTable:
    _require_columns(path, _read_rows(path)[0], layout.needs)
    return load_csv(path)


def _esc_names(paths: Iterable[str]) -> tuple[list[str], list[str]] | None:
    """Folds and recordings from the names of files, if all are ESC's."""
    found = [ESC_NAME.fullmatch(Path(path).stem) for path in paths]
    names = [name for name in found if name]
    if not names or len(names) < len(found):
        return None
    return [name["fold"] for name in names], [name["recording"] for name in names]


def _with_esc_names(table: ClipTable) -> ClipTable | None:
    """Take folds and groups from the names of files, if all are ESC's."""
    names = _esc_names(clip.path for clip in table.clips)
    if names is None:
        return None
    folds, groups = names
    several = len(set(folds)) > 1  # a part of ESC with one fold has none to be tested on
    taken = "folds and groups (Freesound ids)" if several else "groups (Freesound ids)"
    origin = f"ESC, a folder for each class: {taken} from the file names"
    return ClipTable(table.clips, _class_names(table.labels.tolist()), folds if several else None, groups, origin)


def _class_names(labels: Sequence[str]) -> list[str]:
    """Leave out the numbers that ESC-10's folders have before their names, if that keeps classes apart."""
    numbered = {label: match["name"] for label in set(labels) if (match := ESC_CLASS.fullmatch(label))}
    if len(set(numbered.values())) < len(set(labels)):
        return list(labels)
    return [numbered[label] for label in labels]


def load_urbansound8k(folder: str | os.PathLike[str]) -> ClipTable:
    """Load UrbanSound8K with its ten folds; the groups are the Freesound recordings.

    Its folds must not be shuffled: pieces of one recording lie in one fold.

    Parameters
    ----------
    folder : path
        One that holds ``metadata/UrbanSound8K.csv`` (or that table itself) and ``audio/fold1`` to
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
            f"{folder}: has no {URBANSOUND8K.file}; expected it in the folder itself or in {URBANSOUND8K.folders[0]}"
        )
    return _load_published(table, URBANSOUND8K)


def load_fsdd(folder: str | os.PathLike[str]) -> ClipTable:
    """Load spoken digits from files named ``{digit}_{speaker}_{index}``; the groups are the speakers.

    Parameters
    ----------
    folder : path
        One that holds the files, or the published repository, which has them in ``recordings``.

    Returns
    -------
    ClipTable

    Raises
    ------
    DatasetError
        If there are no sounds, or one is named otherwise.
    """
    sounds = _fsdd_sounds(Path(folder))
    names = _fsdd_names(sounds)
    if names is None:
        odd = [repr(Path(sound).name) for sound in sounds if not FSDD_NAME.fullmatch(Path(sound).stem)]
        raise DatasetError(
            f"{folder}: found {_some(odd) or 'no sounds'}; expected all sounds to be named digit_speaker_index, "
            "such as 7_theo_0.wav"
        )
    digits, speakers = names
    return ClipTable(sounds, digits, groups=speakers, origin="FSDD: digits and groups (speakers) from the file names")


def _fsdd_sounds(folder: Path) -> list[str]:
    sounds = [str(entry) for entry in _entries(folder) if _is_sound(entry)]
    return sounds or (find_sounds(folder / FSDD_SOUNDS) if (folder / FSDD_SOUNDS).is_dir() else [])


def _fsdd_names(sounds: Sequence[str]) -> tuple[list[str], list[str]] | None:
    names = [name for sound in sounds if (name := FSDD_NAME.fullmatch(Path(sound).stem))]
    if not names or len(names) < len(sounds):
        return None
    return [name["digit"] for name in names], [name["speaker"] for name in names]


def load_audacity_labels(folder: str | os.PathLike[str], point_s: float = audacity.POINT_S) -> ClipTable:
    """Load recordings with Audacity label tracks: each labelled piece is a clip, each recording a group.

    Parameters
    ----------
    folder : path
        Recordings, in it or below, with the exported labels beside: ``dawn.wav`` and ``dawn.txt``.
    point_s : float, default=1.0
        Seconds that are taken around a point label, less where the recording starts or ends. Recordings
        with such labels, and only these, have their headers read for that.

    Returns
    -------
    ClipTable
        Sorted by recording, then as the lines of the label track. Groups are the recordings' paths
        relative to the folder.

    Raises
    ------
    DatasetError
        If there are no labels, a line cannot be understood, or two recordings share a label track.
    ParameterError
        If `point_s` is not a positive number.

    Warns
    -----
    DatasetWarning
        If recordings without labels were left out.
    """
    root = Path(folder)
    audacity.check_point_s(point_s)
    sounds = find_sounds(root)
    tracks = audacity.find_tracks(sounds)
    audacity.check_owners(tracks)
    found = {sound: audacity.pieces(track, sound, point_s) for sound, track in tracks.items()}
    rows = [(sound, clip, label) for sound, pieces in found.items() for clip, label in pieces]
    if not rows:
        raise DatasetError(
            f"{root}: no labels found (sounds: {len(sounds)}, text files beside them: {len(tracks)}); expected text "
            "files exported by Audacity beside recordings of the same stem, such as dawn.wav and dawn.txt"
        )
    if unlabelled := [sound for sound in sounds if not found.get(sound)]:
        _warn_left_out(root, "recordings without labels", unlabelled)
    return ClipTable(
        [clip for _, clip, _ in rows],
        [label for _, _, label in rows],
        groups=[Path(os.path.relpath(sound, root)).as_posix() for sound, _, _ in rows],
        origin="Audacity label tracks: groups are the recordings",
    )


@dataclass(frozen=True)
class Description:
    """What is in a table of clips; ``str()`` of it is a short text.

    Parameters
    ----------
    origin : str
        What the table was read from.
    clips : int
    classes : mapping of str to int
        The clips of each class, the largest class first.
    hours : float
        Of all clips that can be read together.
    lengths_s : tuple of three floats, or None
        The shortest, the median and the longest clip; None if no clip can be read.
    sample_rates, channels : mapping of int to int
        The number of clips for each, the most frequent first.
    split : str
        What keeps training and test apart: "5 folds as given", "6 groups" or "none".
    unreadable : int
        Clips whose file's header cannot be read, or which lie outside the file.
    """

    origin: str
    clips: int
    classes: Mapping[str, int]
    hours: float
    lengths_s: tuple[float, float, float] | None
    sample_rates: Mapping[int, int]
    channels: Mapping[int, int]
    split: str
    unreadable: int

    @property
    def imbalance(self) -> float:
        """Clips in the largest class for each one in the smallest; 1.0 is balanced."""
        sizes = list(self.classes.values())
        return sizes[0] / sizes[-1] if sizes else 1.0

    def items(self) -> list[tuple[str, str]]:
        """Return names and texts, in the order in which they are to be shown."""
        unknown = "not known"
        lengths = " / ".join(f"{length:.2f}" for length in self.lengths_s or ())
        shown = [
            ("read as", self.origin),
            ("clips", f"{self.clips:,}"),
            ("unreadable", f"{self.unreadable:,} of the clips" if self.unreadable else ""),
            ("classes", self._classes_text()),
            ("imbalance", f"{self.imbalance:.3g} (largest class / smallest)"),
            ("hours", f"{self.hours:.3g}"),
            ("lengths", f"{lengths} s (shortest / median / longest)" if lengths else unknown),
            ("sample rates", _tally({f"{rate:,} Hz": n for rate, n in self.sample_rates.items()}) or unknown),
            ("channels", _tally({_channels(n): clips for n, clips in self.channels.items()}) or unknown),
            ("folds or groups", self.split),
        ]
        return [(name, text) for name, text in shown if text]

    def __str__(self) -> str:
        return "\n".join(f"{name:<17}{text}" for name, text in self.items())

    def _classes_text(self) -> str:
        sizes = [f"{label} {n:,}" for label, n in self.classes.items()]
        if self.classes and self.imbalance == 1.0:
            return f"{len(sizes):,} with {next(iter(self.classes.values())):,} each: {_some(self.classes, 12)}"
        if len(sizes) <= 12:
            return f"{len(sizes)}: {', '.join(sizes)}"
        return f"{len(sizes):,}: largest {', '.join(sizes[:3])}; smallest {', '.join(sizes[-3:])}"


def _tally(counts: Mapping[str, int]) -> str:
    """One value as it is, more with the number of clips of each."""
    if len(counts) == 1:
        return next(iter(counts))
    return _some((f"{name} ({n:,})" for name, n in counts.items()), 8)


def _channels(n: int) -> str:
    return {1: "mono", 2: "stereo"}.get(n, f"{n} channels")


def _describe(table: ClipTable) -> Description:
    measured = _measure(table.clips)
    lengths = [length_s for _, _, length_s in measured]
    return Description(
        origin=table.origin,
        clips=len(table),
        classes=_by_size(map(str, table.labels.tolist())),
        hours=sum(lengths) / 3600,
        lengths_s=(min(lengths), statistics.median(lengths), max(lengths)) if lengths else None,
        sample_rates=_by_size(rate for rate, _, _ in measured),
        channels=_by_size(channels for _, channels, _ in measured),
        split=_split_text(table),
        unreadable=len(table) - len(measured),
    )


def _split_text(table: ClipTable) -> str:
    part, values = _parts(table)
    n = len(set(values))
    if not part:
        return "none"
    return f"{n:,} {part}{'' if n == 1 else 's'}" + (" as given" if part == "fold" else "")


def _measure(clips: Sequence[Clip]) -> list[tuple[int, int, float]]:
    """Rate, channels and length in seconds of each clip that can be read; a file is opened once for all its pieces."""
    by_path: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_path[clip.path].append(clip)
    return [found for path, pieces in by_path.items() for found in _measure_file(path, pieces)]


def _measure_file(path: str, pieces: Sequence[Clip]) -> Iterator[tuple[int, int, float]]:
    try:
        file = _open(path)
    except AudioError:
        return
    with file:
        for clip in pieces:
            try:
                start, stop = _piece(clip, file)
            except AudioError:
                continue
            yield int(file.samplerate), int(file.channels), (stop - start) / file.samplerate


Key = TypeVar("Key", bound=Hashable)


def _by_size(values: Iterable[Key]) -> dict[Key, int]:
    return dict(Counter(values).most_common())


def _parts(table: ClipTable) -> tuple[str, list[Any]]:
    """What keeps training and test apart, and each clip's value of it: folds before groups."""
    for name, column in (("fold", table.folds), ("group", table.groups)):
        if column is not None:
            return name, column.tolist()
    return "", []


def _some(names: Iterable[object], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _files_missing(table: ClipTable) -> str:
    missing = [path for path in dict.fromkeys(clip.path for clip in table.clips) if not Path(path).is_file()]
    return f"sound files are missing ({len(missing):,}): {_some(missing, 20)}" if missing else ""


def _listed_twice(table: ClipTable) -> str:
    """Only with one and the same label: the others are said by `_labelled_twice`."""
    twice = [str(clips[0]) for clips, labels in _same_clips(table) if len(labels) == 1]
    return f"clips are listed more than once ({len(twice):,}): {_some(twice)}" if twice else ""


def _labelled_twice(table: ClipTable) -> str:
    odd = [f"{clips[0]} ({_some(map(repr, labels))})" for clips, labels in _same_clips(table) if len(labels) > 1]
    return f"clips are listed with different labels ({len(odd):,}): {_some(odd)}" if odd else ""


def _same_clips(table: ClipTable) -> list[tuple[list[Clip], list[str]]]:
    """Clips that are in the table more than once, with their different labels."""
    same: dict[Hashable, list[int]] = defaultdict(list)
    for i, clip in enumerate(table.clips):
        same[os.path.normpath(clip.path), clip.start_s, clip.end_s].append(i)
    labels = list(map(str, table.labels.tolist()))
    return [
        ([table.clips[i] for i in rows], list(dict.fromkeys(labels[i] for i in rows)))
        for rows in same.values()
        if len(rows) > 1
    ]


def _two_formats(table: ClipTable) -> str:
    stems: dict[Path, dict[str, None]] = defaultdict(dict)
    for clip in table.clips:
        path = Path(os.path.normpath(clip.path))
        stems[path.with_name(unicodedata.normalize("NFC", path.stem) + ".")][path.name] = None
    twice = [" and ".join(names) for names in stems.values() if len(names) > 1]
    return f"recordings are there in more than one format ({len(twice):,}): {_some(twice)}" if twice else ""


def _class_count(table: ClipTable) -> str:
    classes = set(map(str, table.labels.tolist()))
    if not classes:
        return "the table holds no clips"
    if len(classes) == 1:
        return f"all clips are of one class, {classes.pop()!r}: there is nothing to tell apart"
    if len(classes) > MANY_CLASSES:
        return (
            f"there are {len(classes):,} classes for {len(table):,} clips: that works, but takes long, and tables and "
            "pictures of so many cannot be read (is the right column the label?)"
        )
    return ""


def _similar_labels(table: ClipTable) -> str:
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(set(map(str, table.labels.tolist()))):
        alike["".join(unicodedata.normalize("NFC", label).casefold().split())].append(label)
    pairs = [" and ".join(map(repr, labels)) for labels in alike.values() if len(labels) > 1]
    return f"labels differ only in case or spaces, and count as different classes: {_some(pairs)}" if pairs else ""


def _rare_classes(table: ClipTable, fewest: int) -> str:
    sizes = Counter(map(str, table.labels.tolist()))
    rare = sorted(((n, label) for label, n in sizes.items() if n < fewest), key=lambda found: found[0])
    if not rare:
        return ""
    once = [label for n, label in rare if n == 1]
    only = f"; with a single clip ({len(once):,}): {_some(map(repr, once))}" if once else ""
    shown = _some(f"{label!r} ({n})" for n, label in rare)
    return f"classes have fewer than {fewest} clips ({len(rare):,} of {len(sizes):,}): {shown}{only}"


def _one_part(table: ClipTable) -> str:
    part, values = _parts(table)
    return f"all clips are in one {part}, {values[0]!r}: none is left to test on" if len(set(values)) == 1 else ""


def _folds_of_one_class(table: ClipTable) -> str:
    classes: dict[Any, set[Any]] = defaultdict(set)
    for fold, label in zip([] if table.folds is None else table.folds.tolist(), table.labels.tolist(), strict=False):
        classes[fold].add(label)
    poor = [fold for fold, labels in classes.items() if len(labels) == 1]
    if not poor or len(set(table.labels.tolist())) == 1:
        return ""
    return f"folds hold one class only ({len(poor):,} of {len(classes):,}): {_some(map(repr, poor))}"


def _classes_in_one_part(table: ClipTable) -> str:
    part, values = _parts(table)
    if len(set(values)) < 2:
        return ""
    parts: dict[str, set[Any]] = defaultdict(set)
    for value, label in zip(values, map(str, table.labels.tolist()), strict=True):
        parts[label].add(value)
    poor = [label for label, found in parts.items() if len(found) == 1]
    shown = _some(map(repr, poor))
    return (
        f"classes are in one {part} only, and never in both training and test ({len(poor):,}): {shown}" if poor else ""
    )


def _groups_over_folds(table: ClipTable) -> str:
    if table.folds is None or table.groups is None:
        return ""
    folds: dict[Any, set[Any]] = defaultdict(set)
    for group, fold in zip(table.groups.tolist(), table.folds.tolist(), strict=True):
        folds[group].add(fold)
    split = [group for group, found in folds.items() if len(found) > 1]
    return f"groups are in more than one fold, which leaks ({len(split):,}): {_some(map(repr, split))}" if split else ""


PROBLEMS: tuple[Callable[[ClipTable], str], ...] = (
    _class_count,
    _files_missing,
    _labelled_twice,
    _listed_twice,
    _two_formats,
    _similar_labels,
    _one_part,
    _folds_of_one_class,
    _classes_in_one_part,
    _groups_over_folds,
)
