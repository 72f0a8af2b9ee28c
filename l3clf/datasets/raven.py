"""Raven selection tables: tab-separated tables that mark sounds in time and frequency, read and written.

Rule: columns are found by their names, wherever they are; a row that cannot be parsed is an error with its line number.

The format is that of Raven Pro and Raven Lite: a row for each selection in each view, so that a sound that was marked
once may be listed twice, for the waveform and for the spectrogram. It is read once.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from l3clf.datasets.audacity import POINT_S, TrackKind, load_tracks, texts_of
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.describe import some
from l3clf.datasets.label_tracks import MAX_HZ, Label, decimal, label_problem, parse_times, text_of
from l3clf.errors import DatasetError

__all__ = [
    "ANNOTATIONS",
    "find_tables",
    "is_selection_table",
    "load_raven_tables",
    "read_selections",
    "selection_lines",
]

START, END = "Begin Time (s)", "End Time (s)"
LOW, HIGH = "Low Freq (Hz)", "High Freq (Hz)"
COLUMNS = ("Selection", "View", "Channel", START, END, LOW, HIGH)
ANNOTATIONS = ("Annotation", "Species", "Common Name", "Label", "Class", "Call Type", "Tags")
"""Names of the column that holds the class, the first of which is used; the first is written."""


def read_selections(path: str | os.PathLike[str], column: str | None = None) -> list[Label]:
    """Read a selection table.

    Parameters
    ----------
    path : path
        A table with the columns ``Begin Time (s)`` and ``End Time (s)``; ``Low Freq (Hz)`` and ``High Freq (Hz)`` are
        read where they are. In UTF-8 or, with a byte order mark, UTF-16.
    column : str or None, default=None
        The column that holds the class; None is the first of ``Annotation``, ``Species``, ``Common Name``, ``Label``,
        ``Class``, ``Call Type`` and ``Tags`` that the table has.

    Returns
    -------
    list of Label
        In the order of the rows.

    Raises
    ------
    DatasetError
        If the file cannot be read, a column is missing, or a row has no class or no valid times.
    """
    lines = [(i, line) for i, line in enumerate(re.split("\r\n|\n|\r", text_of(path, "selection table")), 1) if line]
    names = [name.strip() for name in lines[0][1].split("\t")] if lines else []
    wanted = next((name for name in ANNOTATIONS if name in names), ANNOTATIONS[0]) if column is None else column
    if missing := [name for name in (START, END, wanted) if name not in names]:
        found = some(map(repr, names)) if names else "nothing"
        raise DatasetError(
            f"{path}: found the columns {found}, and not {some(map(repr, missing))}; export the table from Raven with "
            "the times and a column that holds the class"
        )
    labels: list[Label] = []
    seen: set[str] = set()
    for number, line in lines[1:]:
        values = dict(zip(names, (value.strip() for value in line.split("\t")), strict=False))
        selection = values.get("Selection", "")
        if not line.strip() or (selection and selection in seen):
            continue
        seen.add(selection)
        labels.append(_label(f"{path}, line {number}", values, wanted, number))
    return labels


def load_raven_tables(
    folder: str | os.PathLike[str],
    column: str | None = None,
    point_s: float = POINT_S,
    background_s: float | None = None,
) -> ClipTable:
    """Load recordings with Raven's selection tables: each selection is a clip, each recording a group.

    Parameters
    ----------
    folder : path
        Searched for recordings at any depth, each with its table beside it: ``dawn.wav`` and
        ``dawn.Table.1.selections.txt``, ``dawn.selections.txt`` or ``dawn.txt``.
    column : str or None, default=None
        The column that holds the class; see `read_selections`.
    point_s, background_s
        See `load_audacity_labels`.

    Returns
    -------
    ClipTable
        Sorted by recording, then in the order of the table, the background last.

    Raises
    ------
    DatasetError
        If there are no selections, a row cannot be parsed, or a recording has several tables.
    ParameterError
        If `point_s` or `background_s` is out of its range.

    Warns
    -----
    DatasetWarning
        If recordings without selections, or files with an unknown suffix, were left out.
    """
    kind = TrackKind(
        "Raven selection tables",
        find_tables,
        lambda path: read_selections(path, column),
        "put the selection table of a recording beside it, such as dawn.wav and dawn.Table.1.selections.txt",
    )
    return load_tracks(folder, kind, point_s, background_s)


def find_tables(sounds: Iterable[str]) -> dict[str, str]:
    """Return the selection table beside each sound, by the sound's path.

    Raises
    ------
    DatasetError
        If a folder cannot be listed, or a sound has several tables.
    """
    found: dict[str, str] = {}
    for sound, texts in texts_of(sounds).items():
        tables = [str(text) for text in texts if is_selection_table(text)]
        if len(tables) > 1:
            names = some(Path(table).name for table in tables)
            raise DatasetError(f"{sound}: has {len(tables)} selection tables ({names}); keep the one to be used")
        if tables:
            found[sound] = tables[0]
    return found


def is_selection_table(path: str | os.PathLike[str]) -> bool:
    """Return whether a text file is a selection table: its first line names the columns of the times."""
    try:
        first = re.split("\r\n|\n|\r", text_of(path, "selection table"), maxsplit=1)[0].split("\t")
    except DatasetError:
        return False
    return {START, END} <= {name.strip() for name in first}


def selection_lines(
    labels: Sequence[Label], high_hz: float, columns: Mapping[str, Iterable[float]] | None = None
) -> str:
    r"""Return the text of a selection table.

    Parameters
    ----------
    labels : sequence of Label
    high_hz : float
        The upper end of selections without a frequency range, in Hz: half the sample rate, say. The lower end is 0.
    columns : mapping of str to iterable of float, optional
        Further columns of numbers, one for each label.

    Returns
    -------
    str
        To be written in UTF-8.

    Raises
    ------
    DatasetError
        If a label cannot be written; see `l3clf.datasets.label_tracks.label_lines`.

    Examples
    --------
    >>> selection_lines([Label(0.5, 1.25, "dog")], 8000.0).splitlines()[1].split("\t")
    ['1', 'Spectrogram 1', '1', '0.500000', '1.250000', '0.000000', '8000.000000', 'dog']
    """
    more = columns or {}
    lines = [[*COLUMNS, ANNOTATIONS[0], *more]]
    for number, (label, *values) in enumerate(zip(labels, *more.values(), strict=True), 1):
        if problem := label_problem(label):
            raise DatasetError(f"label {number}: {problem}")
        low = 0.0 if label.low_hz is None else label.low_hz
        high = max(high_hz, low) if label.high_hz is None else label.high_hz
        numbers = [decimal(value) for value in (label.start_s, label.end_s, low, high)]
        lines.append([str(number), "Spectrogram 1", "1", *numbers, label.text, *(f"{value:.6f}" for value in values)])
    return "".join("\t".join(line) + "\n" for line in lines)


def _label(where: str, values: Mapping[str, str], column: str, number: int) -> Label:
    times = parse_times([values.get(START, ""), values.get(END, "")])
    if times is None or not 0 <= times[0] <= times[1] < math.inf:
        raise DatasetError(
            f"{where}: from {values.get(START, '')[:30]!r} to {values.get(END, '')[:30]!r}; expected two times in "
            "seconds, 0 or more, the end not before the start"
        )
    if not values.get(column):
        raise DatasetError(f"{where}: no {column!r} at {times[0]:g} s; fill in a class or delete the row")
    low, high = (_hz(where, values.get(name, "")) for name in (LOW, HIGH))
    return Label(times[0] + 0.0, times[1] + 0.0, values[column], number, low, high)


def _hz(where: str, value: str) -> float | None:
    if not value:
        return None
    found = parse_times([value, "0"])
    if found is None or not 0 <= found[0] <= MAX_HZ:
        raise DatasetError(f"{where}: a frequency of {value[:30]!r}; expected a number of Hz, or nothing")
    return found[0] + 0.0
