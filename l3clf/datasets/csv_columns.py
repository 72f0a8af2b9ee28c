"""Which column of a table means what, by its name.

Rule: our own names come first; another name is taken if it can mean one thing only, and that is said; columns that
look like times but are not clear are an error, because without them whole files would be learned.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from l3clf.errors import DatasetError

__all__ = ["Columns", "find_columns"]


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
    table: str, columns: Sequence[str], path: str, label: str, group: str | None, *, times: bool = True
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
    found["start_s"], found["end_s"], durations = _times(table, rest) if times else (*_own_times(rest), ())
    asked = {path, label, group}
    named = [f"{name!r} as {what}" for what, name in found.items() if name not in (None, what, *asked)]
    unused = [repr(name) for name in durations]
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
        said=", ".join(said),
    )


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


def _times(table: str, columns: Sequence[str]) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Return the columns of the start and the end, and those of durations."""
    start, end = _own_times(columns)
    if start and end:
        return start, end, ()
    times = [time for name in dict.fromkeys(columns) if (time := _time(name))]
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


def _split(word: str) -> tuple[str, ...]:
    glued = GLUED.fullmatch(word)
    return glued.groups() if glued else (word,)


def _is_pair(a: _Time, b: _Time) -> bool:
    same = a.others == b.others and a.unit == b.unit
    return same and a.is_candidate and b.word in PARTNERS.get(a.word, ())


def _is_duration(name: str) -> bool:
    first, *rest = _plain(name).split("_")
    return first in DURATIONS and set(rest) <= FILLERS | SECONDS | OTHER_UNITS
