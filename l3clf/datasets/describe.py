"""Summary and problems of a table of clips.

Rule: only the headers of sound files are read, each once, and only for the summary.
"""

import os
import re
import statistics
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from l3clf.audio.clip import Clip
from l3clf.audio.decode import open_sound, piece_frames
from l3clf.errors import AudioError, LabelWarning

__all__ = [
    "CLIP_PROBLEMS",
    "FEW_CLIPS",
    "NOT_A_CLASS",
    "TAG_PROBLEMS",
    "Description",
    "describe",
    "problems",
    "rare_classes",
    "some",
    "warn_of_labels",
]

FEW_CLIPS = 5  # as many as a cross-validation has folds by default
MANY_CLASSES = 1000
# Folders with these names are parts of a data set; reading them as classes would give a wrong table.
NOT_A_CLASS = re.compile(
    r"(?:fold|split|part)[ _-]?[0-9]+|train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?|dev|eval(?:uation)?", re.I
)
# How programs write a missing value; not "none", which may well be a class.
NOT_A_LABEL = frozenset(("nan", "NaN", "NAN", "<NA>", "N/A", "n/a", "#N/A", "NULL", "null", "None", "NaT"))


class _Table(Protocol):
    """The part of `ClipTable` that is used here; importing the class itself would be circular."""

    @property
    def clips(self) -> Sequence[Clip]: ...
    @property
    def labels(self) -> NDArray[Any]: ...
    @property
    def folds(self) -> NDArray[Any] | None: ...
    @property
    def groups(self) -> NDArray[Any] | None: ...
    @property
    def origin(self) -> str: ...


@dataclass(frozen=True)
class Description:
    """Summary of a table of clips; ``str()`` gives a short text.

    Parameters
    ----------
    origin : str
        Source of the table.
    clips : int
    classes : mapping of str to int
        Number of clips of each class, the largest class first.
    hours : float
        Total length of all readable clips.
    lengths_s : tuple of three floats, or None
        Shortest, median and longest clip in seconds; None if no clip can be read.
    sample_rates, channels : mapping of int to int
        Number of clips for each value, the most frequent first.
    split : str
        What separates training from test: "5 folds as given", "6 groups" or "none".
    unreadable : int
        Number of clips whose file's header cannot be read, or which lie outside their file.
    without_tag : int or None, default=None
        Number of clips without a tag, where clips have several labels; None where they have one class each.
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
    without_tag: int | None = None

    @property
    def imbalance(self) -> float:
        """Size of the largest class divided by that of the smallest; 1.0 is balanced."""
        sizes = list(self.classes.values())
        return sizes[0] / sizes[-1] if sizes else 1.0

    def items(self) -> list[tuple[str, str]]:
        """Return names and texts in display order."""
        unknown, (one, many) = "not known", ("class", "classes") if self.without_tag is None else ("tag", "tags")
        lengths = " / ".join(f"{length:.2f}" for length in self.lengths_s or ())
        shown = [
            ("read as", self.origin),
            ("clips", f"{self.clips:,}"),
            ("unreadable", f"{self.unreadable:,} of the clips" if self.unreadable else ""),
            (many, self._classes_text()),
            ("without a tag", f"{self.without_tag:,} of the clips" if self.without_tag else ""),
            ("imbalance", f"{self.imbalance:.3g} (largest {one} / smallest)"),
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
            return f"{len(sizes):,} with {next(iter(self.classes.values())):,} each: {some(self.classes, 12)}"
        if len(sizes) <= 12:
            return f"{len(sizes)}: {', '.join(sizes)}"
        return f"{len(sizes):,}: largest {', '.join(sizes[:3])}; smallest {', '.join(sizes[-3:])}"


def _tally(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return some((f"{name} ({n:,})" for name, n in counts.items()), 8)


def _channels(n: int) -> str:
    return {1: "mono", 2: "stereo"}.get(n, f"{n} channels")


def describe(table: _Table) -> Description:
    """Count and measure the contents of a table; see `ClipTable.describe`."""
    measured = _measure(table.clips)
    lengths = [length_s for _, _, length_s in measured]
    return Description(
        origin=table.origin,
        clips=len(table.clips),
        classes=_by_size(map(str, table.labels.tolist())),
        hours=sum(lengths) / 3600,
        lengths_s=(min(lengths), statistics.median(lengths), max(lengths)) if lengths else None,
        sample_rates=_by_size(rate for rate, _, _ in measured),
        channels=_by_size(channels for _, channels, _ in measured),
        split=_split_text(table),
        unreadable=len(table.clips) - len(measured),
    )


def _split_text(table: _Table) -> str:
    part, values = _parts(table)
    n = len(set(values))
    if not part:
        return "none"
    return f"{n:,} {part}{'' if n == 1 else 's'}" + (" as given" if part == "fold" else "")


def _measure(clips: Sequence[Clip]) -> list[tuple[int, int, float]]:
    """Return the rate in Hz, channels and length in seconds of each clip that can be read."""
    # One recording may have thousands of pieces: each file is opened once for all of them.
    by_path: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_path[clip.path].append(clip)
    return [found for path, pieces in by_path.items() for found in _measure_file(path, pieces)]


def _measure_file(path: str, pieces: Sequence[Clip]) -> Iterator[tuple[int, int, float]]:
    try:
        file = open_sound(path)
    except AudioError:
        return
    with file:
        for clip in pieces:
            try:
                start, stop = piece_frames(clip, file)
            except AudioError:
                continue
            yield int(file.samplerate), int(file.channels), (stop - start) / file.samplerate


Key = TypeVar("Key", bound=Hashable)


def _by_size(values: Iterable[Key]) -> dict[Key, int]:
    return dict(Counter(values).most_common())


def _parts(table: _Table) -> tuple[str, list[Any]]:
    """Return what separates training from test, and its value for each clip: folds take precedence over groups."""
    for name, column in (("fold", table.folds), ("group", table.groups)):
        if column is not None:
            return name, column.tolist()
    return "", []


def some(names: Iterable[object], most: int = 5, between: str = ", ") -> str:
    """Join the first `most` names and state how many more there are."""
    listed = [str(name) for name in names]
    space = between if "\n" in between else " "
    return between.join(listed[:most]) + (f"{space}and {len(listed) - most:,} more" if len(listed) > most else "")


def problems(table: _Table, fewest: int = FEW_CLIPS) -> list[str]:
    """List the problems of a table; see `ClipTable.problems`."""
    found = [check(table) for check in PROBLEMS]
    return [problem for problem in (*found, rare_classes(table, fewest)) if problem]


def warn_of_labels(source: object, table: _Table, stacklevel: int) -> None:
    """Warn once for each problem of a table that makes its labels doubtful, without looking for its files."""
    for problem in filter(None, (check(table) for check in LABEL_PROBLEMS)):
        warnings.warn(f"{source}: {problem}", LabelWarning, stacklevel=stacklevel + 1)


def _files_missing(table: _Table) -> str:
    missing = [path for path in dict.fromkeys(clip.path for clip in table.clips) if not Path(path).is_file()]
    return f"sound files are missing ({len(missing):,}): {some(missing, 20)}" if missing else ""


def _listed_twice(table: _Table) -> str:
    # Clips listed with different labels are reported by `_labelled_twice`.
    twice = [str(clips[0]) for clips, labels in _same_clips(table) if len(labels) == 1]
    return f"clips are listed more than once ({len(twice):,}): {some(twice)}" if twice else ""


def _labelled_twice(table: _Table) -> str:
    odd = [f"{clips[0]} ({some(map(repr, labels))})" for clips, labels in _same_clips(table) if len(labels) > 1]
    return f"clips are listed with different labels ({len(odd):,}): {some(odd)}" if odd else ""


def _same_clips(table: _Table) -> list[tuple[list[Clip], list[str]]]:
    """Return the clips that are in the table more than once, each with its different labels."""
    labels = list(map(str, table.labels.tolist()))
    return [
        ([table.clips[i] for i in rows], list(dict.fromkeys(labels[i] for i in rows)))
        for rows in rows_of_clips(table.clips)
        if len(rows) > 1
    ]


def rows_of_clips(clips: Sequence[Clip]) -> list[list[int]]:
    """Return for each clip the rows that list it, in the order of the first ones."""
    same: dict[Hashable, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        same[os.path.normpath(clip.path), clip.start_s, clip.end_s].append(i)  # a/../b.wav is b.wav
    return list(same.values())


def _two_formats(table: _Table) -> str:
    stems: dict[Path, dict[str, None]] = defaultdict(dict)  # a dict as a set that keeps its order
    for clip in table.clips:
        path = Path(os.path.normpath(clip.path))
        stems[path.with_name(unicodedata.normalize("NFC", path.stem) + ".")][path.name] = None
    twice = [" and ".join(names) for names in stems.values() if len(names) > 1]
    return f"recordings are present in more than one format ({len(twice):,}): {some(twice)}" if twice else ""


def _class_count(table: _Table) -> str:
    classes = set(map(str, table.labels.tolist()))
    if not classes:
        return "the table has no clips"
    if len(classes) == 1:
        return f"all clips are of one class, {classes.pop()!r}: a classifier needs at least two"
    if len(classes) > MANY_CLASSES:
        return (
            f"there are {len(classes):,} classes for {len(table.clips):,} clips: training needs much time and memory, "
            "and tables and pictures will be unreadable (is the right column the label?)"
        )
    return ""


def _similar_labels(table: _Table) -> str:
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(set(map(str, table.labels.tolist()))):
        alike["".join(unicodedata.normalize("NFC", label).casefold().split())].append(label)
    pairs = [" and ".join(map(repr, labels)) for labels in alike.values() if len(labels) > 1]
    return f"labels differ only in case or spaces but count as different classes: {some(pairs)}" if pairs else ""


def _labels_of_parts(table: _Table) -> str:
    parts = sorted(label for label in set(map(str, table.labels.tolist())) if NOT_A_CLASS.fullmatch(label.strip()))
    found = some(map(repr, parts))
    return (
        f"labels are parts of a data set instead of classes: {found} (is the right column the label?)" if parts else ""
    )


def _labels_missing(table: _Table) -> str:
    missing = Counter(label for label in map(str, table.labels.tolist()) if label in NOT_A_LABEL)
    found = some(f"{label!r} ({n:,})" for label, n in missing.items())
    return f"labels look like missing values but count as classes: {found}" if missing else ""


def rare_classes(table: _Table, fewest: int) -> str:
    """Return a sentence about the classes with fewer clips than `fewest`; empty if there are none."""
    sizes = Counter(map(str, table.labels.tolist()))
    rare = sorted(((n, label) for label, n in sizes.items() if n < fewest), key=lambda found: found[0])
    if not rare:
        return ""
    once = [label for n, label in rare if n == 1]
    only = f"; with a single clip ({len(once):,}): {some(map(repr, once))}" if once else ""
    shown = some(f"{label!r} ({n})" for n, label in rare)
    return f"classes have fewer than {fewest} clips ({len(rare):,} of {len(sizes):,}): {shown}{only}"


def _one_part(table: _Table) -> str:
    part, values = _parts(table)
    return f"all clips are in one {part}, {values[0]!r}: none are left to test on" if len(set(values)) == 1 else ""


def _folds_of_one_class(table: _Table) -> str:
    classes: dict[Any, set[Any]] = defaultdict(set)
    for fold, label in zip([] if table.folds is None else table.folds.tolist(), table.labels.tolist(), strict=False):
        classes[fold].add(label)
    poor = [fold for fold, labels in classes.items() if len(labels) == 1]
    if not poor or len(set(table.labels.tolist())) == 1:
        return ""
    return f"folds contain only one class ({len(poor):,} of {len(classes):,}): {some(map(repr, poor))}"


def _classes_in_one_part(table: _Table) -> str:
    part, values = _parts(table)
    if len(set(values)) < 2:
        return ""
    parts: dict[str, set[Any]] = defaultdict(set)
    for value, label in zip(values, map(str, table.labels.tolist()), strict=True):
        parts[label].add(value)
    poor = [repr(label) for label, found in parts.items() if len(found) == 1]
    text = f"classes are in one {part} only, so never in both training and test ({len(poor):,}): {some(poor)}"
    return text if poor else ""


def _groups_over_folds(table: _Table) -> str:
    if table.folds is None or table.groups is None:
        return ""
    folds: dict[Any, set[Any]] = defaultdict(set)
    for group, fold in zip(table.groups.tolist(), table.folds.tolist(), strict=True):
        folds[group].add(fold)
    split = [group for group, found in folds.items() if len(found) > 1]
    return f"groups are in more than one fold, which leaks ({len(split):,}): {some(map(repr, split))}" if split else ""


_SPELLING = (_similar_labels, _labels_of_parts, _labels_missing)
LABEL_PROBLEMS: tuple[Callable[[_Table], str], ...] = (_labelled_twice, *_SPELLING)
CLIP_PROBLEMS: tuple[Callable[[_Table], str], ...] = (
    _files_missing,
    _labelled_twice,
    _listed_twice,
    _two_formats,
    _one_part,
    _groups_over_folds,
)
"""Those that a table can have whatever its labels are."""
TAG_PROBLEMS: tuple[Callable[[_Table], str], ...] = (*_SPELLING, _classes_in_one_part)
"""Those of a table that has a row for each tag of each clip."""
PROBLEMS: tuple[Callable[[_Table], str], ...] = (
    _class_count,
    _files_missing,
    *LABEL_PROBLEMS,
    _listed_twice,
    _two_formats,
    _one_part,
    _folds_of_one_class,
    _classes_in_one_part,
    _groups_over_folds,
)
