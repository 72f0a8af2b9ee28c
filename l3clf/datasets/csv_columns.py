"""Which column of a table means what, by its name.

Rule: our own names come first; another name is taken if it can mean one thing only, and that is said; columns that
look like times but are not clear are an error, because without them whole files would be learned. Names that may mean
anything (``from``, ``t0``) are those of times only in pairs, and if they hold numbers.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from l3clf.errors import DatasetError

__all__ = ["Columns", "check_pieces", "find_columns", "numeric_columns"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names as `_plain` writes them.
PATHS = _words(
    "path file filename file_name filepath file_path fname fpath audio audio_file audio_filename audio_filepath "
    "audio_path sound sound_file wav wav_file wav_path"
)
LABELS = _words("label label_name class class_name classname category category_name event_label")
NUMBERS = _words("target label_id label_index class_id class_index classid category_id")
STARTS, ENDS = ("start", "begin", "onset"), ("end", "stop", "offset")
PARTNERS = {"start": ("end", "stop"), "begin": ("end", "stop"), "onset": ("offset",)}
SECONDS = _words("s sec secs second seconds")
OTHER_UNITS = _words(
    "ms msec millis millisecond milliseconds us ns min mins minute minutes h hour hours "
    "sample samples frame frames idx index hms"
)
FILLERS = _words("t time times in at clip segment event annotation region selection call window")
DURATIONS = ("duration", "dur")
NUMBER_PAIRS = {"t_min": "t_max", "tmin": "tmax", "t0": "t1", "t_0": "t_1", "from": "to", "time_in": "time_out"}
NUMBER_PAIRS |= {"time_from": "time_to", "t_from": "t_to", "time_min": "time_max", "t_in": "t_out"}
TIME_LIKE = _words(
    "xmin xmax x_min x_max tmin tmax t_min t_max t0 t1 from to in out time_in time_out time_from time_to first last "
    "left right t time timestamp position pos"
)
ROW_NUMBERS = _words("id idx index row row_id row_index nr no number unnamed_0 sample_id clip_id event_id segment_id")
TIME_VALUE = re.compile(
    r"[-+]?(?:\d+:){0,2}\d*[.,]?\d+(?:e[-+]?\d+)?\.?", re.IGNORECASE
)  # a number, or hours:minutes:seconds
GLUED = re.compile(rf"({'|'.join((*STARTS, *ENDS))})(times?|sec|secs|seconds|ms|samples?|frames?)")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are used, and what has to be said about the choice.

    Attributes
    ----------
    path, label : str
    fold, group, start, end : str or None
    durations : tuple of str
        Columns that hold a duration, and are not used.
    numbers : tuple of str
        Other columns of numbers that are not used, of which some may be times; none where times are used.
    said : str
        Which columns were taken under another name than ours; empty if there are none.
    """

    path: str
    label: str
    fold: str | None
    group: str | None
    start: str | None
    end: str | None
    durations: tuple[str, ...]
    numbers: tuple[str, ...]
    said: str


@dataclass(frozen=True)
class _Time:
    """A column whose name is that of a time: the word for start or end, other words, and its unit."""

    name: str
    word: str
    others: frozenset[str]
    unit: str

    @property
    def is_candidate(self) -> bool:
        return self.unit in ("", "s")


def find_columns(
    table: str,
    columns: Sequence[str],
    path: str,
    label: str,
    group: str | None,
    *,
    times: bool = True,
    numeric: Collection[str] = (),
) -> Columns:
    """Find the columns to use.

    Parameters
    ----------
    table : str
        Name of the table in messages.
    columns : sequence of str
    path, label : str
        Columns that the caller names; "path" and "label" may have other names in the table.
    group : str or None
    times : bool, default=True
        Whether columns may hold times under other names than ours.
    numeric : collection of str
        The columns that hold numbers or times of the clock; see `numeric_columns`.

    Raises
    ------
    DatasetError
        If more than one column could be meant.
    """
    found = {
        "path": _one(table, columns, path, "path", PATHS),
        "label": _label(table, columns, label),
        "fold": _one(table, columns, "fold", "fold", frozenset({"fold"})),
        "group": group or _one(table, columns, "group", "group", frozenset({"group"})),
    }
    rest = [name for name in columns if name not in found.values()]
    found["start_s"], found["end_s"], durations = _times(table, rest, numeric) if times else (*_own_times(rest), ())
    asked = {path, label, group}
    named = [f"{name!r} as {what}" for what, name in found.items() if name not in (None, what, *asked)]
    whole = times and not (found["start_s"] or found["end_s"])
    numbers = tuple(name for name in rest if name in numeric and whole and not _is_known(name, durations))
    unused = [repr(name) for name in numbers if "_".join(_without_unit(name)) in TIME_LIKE]
    if found["label"] != label and _plain(str(found["label"])) in LABELS:
        unused += [repr(name) for name in rest if _plain(name) in NUMBERS]
    said = [f"read {', '.join(named)}"] if named else []
    said += [f"not used: {', '.join(unused)}"] if unused else []
    return Columns(
        path=found["path"] or path,
        label=found["label"] or label,
        fold=found["fold"],
        group=found["group"],
        start=found["start_s"],
        end=found["end_s"],
        durations=tuple(durations),
        numbers=numbers,
        said=", ".join(said),
    )


def numeric_columns(table: Mapping[str, Sequence[object]]) -> set[str]:
    """Return the columns whose values are all numbers, times of the clock or missing, and not all missing."""
    found = set()
    for name, values in table.items():
        given = [value for value in values if not _is_missing(value)]
        if given and all(_is_number(value) for value in given):
            found.add(name)
    return found


def _is_missing(value: object) -> bool:
    if isinstance(value, str):
        return value.casefold() in ("", "nan", "na", "none", "null")
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return TIME_VALUE.fullmatch(value) is not None
    return hasattr(value, "__float__") and not isinstance(value, bool)


def check_pieces(table: str, columns: Columns, paths: Sequence[str], values: Mapping[str, Sequence[object]]) -> None:
    """Raise DatasetError where files are listed more than once with numbers that may be the times of pieces.

    Parameters
    ----------
    table : str
        Name of the table in messages.
    columns : Columns
    paths : sequence of str
        The file of each row.
    values : mapping of str to sequence
        The values of each column.
    """
    if len(set(paths)) == len(paths):
        return
    if columns.durations:
        raise DatasetError(
            f"{table}: column {columns.durations[0]!r} and files that are listed more than once, but no start of each "
            "piece; give each clip's start and end in seconds as 'start_s' and 'end_s', or delete the column"
        )
    # What is the same for all rows of a file is no time of a piece.
    odd = [name for name in columns.numbers if len(set(zip(paths, values[name], strict=True))) > len(set(paths))]
    if odd:
        raise DatasetError(
            f"{table}: files are listed more than once, with columns of numbers that are not used "
            f"({', '.join(repr(name[:40]) for name in odd[:5])}); if they are times, name each clip's start and end in "
            "seconds 'start_s' and 'end_s', else delete them"
        )


def _is_known(name: str, durations: Collection[str]) -> bool:
    """Return whether a column of numbers is clearly no time of a piece: a class, the number of a row, a duration."""
    return name in durations or _plain(name) in NUMBERS | ROW_NUMBERS | {""}


def _without_unit(name: str) -> list[str]:
    words = _plain(name).split("_")
    return words[:-1] if words[-1] in SECONDS and len(words) > 1 else words


def _plain(name: str) -> str:
    """Return a name in small letters with underscores between its words: "Begin Time (s)" is "begin_time_s"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"\W+", "_", words.casefold()).strip("_")


def _one(table: str, columns: Sequence[str], wanted: str, ours: str, names: frozenset[str]) -> str | None:
    """Return the column `wanted`, or the only one with another name for it; None if there is none."""
    if wanted in columns or wanted != ours:
        return wanted if wanted in columns else None
    found = list(dict.fromkeys(name for name in columns if _plain(name) in names))
    if len(found) > 1:
        raise DatasetError(
            f"{table}: columns {', '.join(map(repr, found))} could each be the {ours}; rename the right one to {ours!r}"
        )
    return found[0] if found else None


def _label(table: str, columns: Sequence[str], label: str) -> str | None:
    # The number of a class is its label only where nothing else is.
    found = _one(table, columns, label, "label", LABELS)
    return found or (_one(table, columns, label, "label", NUMBERS) if label == "label" else None)


def _own_times(columns: Sequence[str]) -> tuple[str | None, str | None]:
    return "start_s" if "start_s" in columns else None, "end_s" if "end_s" in columns else None


def _times(
    table: str, columns: Sequence[str], numeric: Collection[str]
) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Return the columns of the start and the end, and those of durations."""
    start, end = _own_times(columns)
    if start and end:
        return start, end, ()
    times = [time for name in dict.fromkeys(columns) if (time := _time(name))]
    times += _pairs_of_numbers([name for name in dict.fromkeys(columns) if name in numeric])
    durations = tuple(name for name in columns if _is_duration(name))
    pairs = [(a, b) for a in times for b in times if _is_pair(a, b)]
    # A unit in the name tells seconds from samples; without one, nothing else may look like a time.
    if len(pairs) == 1 and (pairs[0][0].unit == "s" or len(times) == 2):
        return pairs[0][0].name, pairs[0][1].name, ()
    if not times:
        return None, None, durations
    if len(times) == 1 and (start or end) and not durations:  # our own names, of which one is enough
        return start, end, ()
    names = ", ".join(repr(name[:40]) for name in (*(time.name for time in times), *durations))
    why = (
        "more than one could be meant"
        if len(pairs) > 1
        else "are not in seconds"
        if not any(time.is_candidate for time in times)
        else "which piece of a file they mean is not clear"
    )
    raise DatasetError(
        f"{table}: columns look like times ({names}), but {why}; give each clip's start and end in seconds as "
        "'start_s' and 'end_s', or delete or rename what is no time"
    )


def _time(name: str) -> _Time | None:
    words = [part for word in _plain(name).split("_") for part in _split(word)]
    sides = [word for word in words if word in (*STARTS, *ENDS)]
    rest = frozenset(words) - set(sides)
    if len(sides) != 1 or not rest <= FILLERS | SECONDS | OTHER_UNITS:
        return None
    unit = "other" if rest & OTHER_UNITS else "s" if rest & SECONDS else ""
    return _Time(name, sides[0], rest - SECONDS - OTHER_UNITS, unit)


def _pairs_of_numbers(columns: Sequence[str]) -> list[_Time]:
    """Return the columns that are times as they hold numbers and come in pairs."""
    named = {name: "_".join(_without_unit(name)) for name in columns}
    found = {name for name, word in named.items() if NUMBER_PAIRS.get(word) in named.values()}
    found |= {name for name, word in named.items() if word in {NUMBER_PAIRS[named[start]] for start in found}}
    units = {name: "s" if named[name] != _plain(name) else "" for name in found}
    return [_Time(name, named[name], frozenset(), units[name]) for name in columns if name in found]


def _split(word: str) -> tuple[str, ...]:
    glued = GLUED.fullmatch(word)
    return glued.groups() if glued else (word,)


def _is_pair(a: _Time, b: _Time) -> bool:
    same = a.others == b.others and a.unit == b.unit
    return same and a.is_candidate and b.word in (*PARTNERS.get(a.word, ()), NUMBER_PAIRS.get(a.word))


def _is_duration(name: str) -> bool:
    first, *rest = _plain(name).split("_")
    return first in DURATIONS and set(rest) <= FILLERS | SECONDS | OTHER_UNITS
