"""Audacity label tracks: text files that label pieces of a recording, read and written.

Rule: a line that cannot be parsed is an error with its line number; it is never skipped, and what is written is read
back as it was, by this module and by Audacity. The exceptions are empty lines, and what may follow the frequency range
of a label: further lines that start with a backslash, which Audacity ignores too.

The format is Audacity's: start, end and text of a label, separated by tabs; then, if the label has a frequency range, a
line of a backslash, the low and the high frequency. Times are in seconds and frequencies in Hz, with six decimals, and
-1 stands for a frequency that is not given.
"""

import codecs
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l3clf.errors import DatasetError

__all__ = ["MAX_HZ", "Label", "decimal", "is_track", "label_lines", "label_problem", "parse_times", "read_labels",
           "text_of"]  # fmt: skip

MAX_HZ = 1e9  # a larger frequency is a mistake
CONTINUES = "\\"
NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?(?:[eE][+-]?[0-9]+)?")  # decimal commas occur in some locales
# Audacity writes UTF-8; editors on Windows save UTF-16 or add a byte order mark.
ENCODINGS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Label:
    """One label of a track.

    Parameters
    ----------
    start_s, end_s : float
        Seconds from the start of the recording; equal for a point label.
    text : str
        Text of the label, stripped.
    line : int, default=0
        Line number in the track, from 1; 0 for a label that was not read.
    low_hz, high_hz : float or None, default=None
        The frequency range in Hz, where one was marked.
    """

    start_s: float
    end_s: float
    text: str
    line: int = 0
    low_hz: float | None = None
    high_hz: float | None = None

    @property
    def is_point(self) -> bool:
        """Whether the label marks a point in time instead of a region."""
        return self.start_s == self.end_s


def read_labels(path: str | os.PathLike[str]) -> list[Label]:
    """Read a label track.

    Parameters
    ----------
    path : path
        In UTF-8 or, with a byte order mark, UTF-16; see the module for its lines. Empty lines are ignored.

    Returns
    -------
    list of Label
        In the order of the lines.

    Raises
    ------
    DatasetError
        If the file cannot be read or decoded, a line has no label, its times or frequencies are not numbers, are
        negative, or times end before they start.
    """
    labels: list[Label] = []
    last = 0  # the line above, if a frequency range may follow it
    for number, line in _lines(text_of(path, "label track")):
        if not line.startswith(CONTINUES):
            labels.append(_label(path, number, line))
            last = number
        elif not labels:
            raise DatasetError(
                f"{path}, line {number}: a frequency range without a label above it; delete the line or add the label"
            )
        elif last:
            labels[-1] = _with_range(path, number, line, labels[-1])
            last = 0
    return labels


def is_track(path: str | os.PathLike[str]) -> bool:
    """Return whether a text file looks like a label track: its first label begins with two numbers and tabs."""
    try:
        lines = [line for _, line in _lines(text_of(path, "label track")) if not line.startswith(CONTINUES)]
    except DatasetError:
        return False
    return bool(lines) and parse_times(lines[0].split("\t")[:2]) is not None


def label_lines(labels: Iterable[Label]) -> str:
    r"""Return the text of a label track: what `read_labels` and Audacity read as these labels.

    Times that six decimals hold, as all have that Audacity wrote, are written with six; others with as many as they
    need, so that each comes back as the same number.

    Parameters
    ----------
    labels : iterable of Label

    Returns
    -------
    str
        To be written in UTF-8.

    Raises
    ------
    DatasetError
        If a label cannot be written: its text is empty, or holds a tab or a line break, or a time is not a number, is
        negative or ends before it starts.

    Examples
    --------
    >>> label_lines([Label(0.5, 1.25, "dog", low_hz=200.0, high_hz=4000.0)])
    '0.500000\t1.250000\tdog\n\\\t200.000000\t4000.000000\n'
    """
    return "".join(_written(label, i) for i, label in enumerate(labels, 1))


def _written(label: Label, number: int) -> str:
    if problem := label_problem(label):
        raise DatasetError(f"label {number}: {problem}")
    line = f"{decimal(label.start_s)}\t{decimal(label.end_s)}\t{label.text}\n"
    if label.low_hz is None and label.high_hz is None:
        return line
    low, high = (decimal(-1.0 if hz is None else hz) for hz in (label.low_hz, label.high_hz))
    return f"{line}{CONTINUES}\t{low}\t{high}\n"


def label_problem(label: Label) -> str:
    """Return why a label cannot be written, or an empty string."""
    if not 0 <= label.start_s <= label.end_s < math.inf:
        return (
            f"from {label.start_s:g} s to {label.end_s:g} s; expected times of 0 or more, the end not before the start"
        )
    low, high = label.low_hz or 0.0, math.inf if label.high_hz is None else label.high_hz
    known = [hz for hz in (label.low_hz, label.high_hz) if hz is not None]
    if not (low <= high and all(0 <= hz <= MAX_HZ for hz in known)):
        return f"from {label.low_hz} Hz to {label.high_hz} Hz; expected frequencies of 0 or more, the lower one first"
    if not label.text.strip():
        return "the text is empty; fill in a class"
    if label.text != label.text.strip() or re.search("[\t\n\r]", label.text):
        return f"the text {label.text[:60]!r} has a tab, a line break or a space at its ends; remove it"
    try:
        label.text.encode("utf-8")
    except UnicodeEncodeError:
        return f"the text {label.text[:60]!r} has half a character in it; correct it"
    return ""


def decimal(value: float) -> str:
    """Return a number as Audacity writes it, with six decimals, or more where it has more; never an exponent.

    Examples
    --------
    >>> decimal(0.5), decimal(1 / 3), decimal(1e-9)
    ('0.500000', '0.3333333333333333', '0.000000001')
    """
    text = f"{value:.6f}"
    return text if float(text) == value else str(np.format_float_positional(value, trim="-"))


def text_of(path: str | os.PathLike[str], what: str) -> str:
    """Return the text of a file in UTF-8 or, with a byte order mark, UTF-16.

    Raises
    ------
    DatasetError
        If it cannot be read or decoded; `what` was expected.
    """
    encoding = "UTF-8"
    try:
        raw = Path(path).read_bytes()
        encoding = next((name for mark, name in ENCODINGS if raw.startswith(mark)), encoding)
        return raw.decode(encoding)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); give a {what}") from None
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: is not {encoding.removesuffix('-sig').upper()} text (byte {error.object[error.start]:#04x} "
            f"at {error.start}); export the labels again, or save the file as UTF-8"
        ) from None


def parse_times(fields: Iterable[str]) -> tuple[float, float] | None:
    """Return the two numbers in two fields, or None if they are not two numbers."""
    values = [field.strip() for field in fields]
    if len(values) < 2 or not all(map(NUMBER.fullmatch, values)):
        return None
    first, second = (float(value.replace(",", ".")) for value in values)
    return first, second


def _lines(text: str) -> list[tuple[int, str]]:
    """Return the numbers and texts of the lines that are not empty."""
    # Not splitlines(): a label may hold the characters that Unicode counts as line ends.
    return [(number, line) for number, line in enumerate(re.split("\r\n|\n|\r", text), 1) if line.strip()]


def _label(path: str | os.PathLike[str], number: int, line: str) -> Label:
    where, times = f"{path}, line {number}", parse_times(line.split("\t")[:2])
    if times is None:
        raise DatasetError(
            f"{where}: found {line[:60]!r}; expected start, end (in seconds) and label, separated by tabs"
        )
    start_s, end_s = times
    if not 0 <= start_s <= end_s < math.inf:
        raise DatasetError(
            f"{where}: from {start_s:g} s to {end_s:g} s; expected times of 0 or more, the end not before the start"
        )
    text = "".join(line.split("\t", 2)[2:]).strip()
    if not text:
        raise DatasetError(f"{where}: the label at {start_s:g} s is empty; fill in a class or delete the line")
    return Label(start_s + 0.0, end_s + 0.0, text, number)  # + 0.0 turns minus zero into zero


def _with_range(path: str | os.PathLike[str], number: int, line: str, label: Label) -> Label:
    """Return a label with the frequency range of the line below it."""
    fields = line.split("\t")
    band = parse_times(fields[1:3]) if fields[0].strip() == CONTINUES else None
    if band is None:
        raise DatasetError(
            f"{path}, line {number}: found {line[:60]!r}; expected a backslash, the low and the high frequency (in "
            "Hz), separated by tabs"
        )
    if max(band) > MAX_HZ:
        raise DatasetError(
            f"{path}, line {number}: from {band[0]:g} Hz to {band[1]:g} Hz; expected frequencies up to {MAX_HZ:g} Hz"
        )
    low, high = (hz + 0.0 if hz >= 0 else None for hz in band)  # Audacity's -1, as it takes any negative number
    if low is not None and high is not None and high < low:
        low, high = high, low  # as Audacity takes them
    return Label(label.start_s, label.end_s, label.text, label.line, low, high)
