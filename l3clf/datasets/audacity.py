"""Audacity label tracks: text files that label pieces of a recording.

Rule: a line that cannot be parsed is an error with its line number; it is never skipped. The exception is
lines that start with a backslash (the frequency range of the label above), which nothing here needs.
"""

import codecs
import math
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from l3clf.audio.clip import Clip
from l3clf.audio.decode import duration_s
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.folders import entries, find_sounds, warn_left_out, warn_of_unknown, with_doubts
from l3clf.errors import AudioError, DatasetError, L3clfError, ParameterError

__all__ = ["POINT_S", "Label", "find_tracks", "is_track", "load_audacity_labels", "pieces", "read_labels"]

POINT_S = 1.0  # about one window of the embedders
TRACK_SUFFIX = ".txt"
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
    line : int
        Line number in the track, from 1.
    """

    start_s: float
    end_s: float
    text: str
    line: int

    @property
    def is_point(self) -> bool:
        """Whether the label marks a point in time instead of a region."""
        return self.start_s == self.end_s


def load_audacity_labels(folder: str | os.PathLike[str], point_s: float = POINT_S) -> ClipTable:
    """Load recordings with Audacity label tracks: each labelled piece is a clip, each recording a group.

    Parameters
    ----------
    folder : path
        Searched for recordings at any depth, each with its exported labels beside it: ``dawn.wav`` and
        ``dawn.txt``.
    point_s : float, default=1.0
        Seconds to take around a point label, less where the recording starts or ends. Only recordings
        with point labels have their headers read.

    Returns
    -------
    ClipTable
        Sorted by recording, then in the order of the label track. Groups are the recordings' paths
        relative to the folder.

    Raises
    ------
    DatasetError
        If there are no labels, a line cannot be parsed, or two recordings share a label track.
    ParameterError
        If `point_s` is not a positive number.

    Warns
    -----
    DatasetWarning
        If recordings without labels, or files with an unknown suffix, were left out.
    """
    root = Path(folder)
    _check_point_s(point_s)
    sounds = find_sounds(root)
    warn_of_unknown(root)
    tracks = find_tracks(sounds)
    owners: dict[str, str] = {}
    for sound, track in tracks.items():
        if owners.setdefault(track, sound) != sound:
            raise DatasetError(
                f"{track}: belongs to both {Path(owners[track]).name!r} and {Path(sound).name!r}; "
                "remove or rename one of the recordings"
            )
    found = {sound: pieces(track, sound, point_s) for sound, track in tracks.items()}
    rows = [(sound, clip, label) for sound, labelled in found.items() for clip, label in labelled]
    if not rows:
        raise DatasetError(
            f"{root}: no labels found (sounds: {len(sounds)}, text files beside them: {len(tracks)}); put the exported "
            "labels of a recording beside it under the same name, such as dawn.wav and dawn.txt"
        )
    if unlabelled := [sound for sound in sounds if not found.get(sound)]:
        warn_left_out(root, "recordings without labels", unlabelled)
    table = ClipTable(
        [clip for _, clip, _ in rows],
        [label for _, _, label in rows],
        groups=[Path(os.path.relpath(sound, root)).as_posix() for sound, _, _ in rows],
        origin="Audacity label tracks: groups are the recordings",
    )
    return with_doubts(root, table)


def read_labels(path: str | os.PathLike[str]) -> list[Label]:
    """Read a label track.

    Parameters
    ----------
    path : path
        Lines of start, end (both in seconds) and label, separated by tabs, in UTF-8 or, with a byte
        order mark, UTF-16. Empty lines and lines that start with a backslash are ignored.

    Returns
    -------
    list of Label
        In the order of the lines.

    Raises
    ------
    DatasetError
        If the file cannot be read or decoded, a line has no label, or its times are not numbers, are negative
        or end before they start.
    """
    return [_label(path, number, line) for number, line in _lines(Path(path))]


def is_track(path: str | os.PathLike[str]) -> bool:
    """Return whether a text file looks like a label track: its first line begins with two numbers and tabs."""
    try:
        lines = _lines(Path(path))
    except DatasetError:
        return False
    return bool(lines) and _times(lines[0][1]) is not None


def find_tracks(sounds: Iterable[str]) -> dict[str, str]:
    """Return the text file beside each sound that has the same stem, by the sound's path.

    Raises
    ------
    DatasetError
        If a folder cannot be listed.
    """
    found: dict[str, str] = {}
    texts: dict[Path, dict[str, str]] = {}
    for sound in sounds:
        folder = Path(sound).parent
        if folder not in texts:  # listed once, however many sounds it has
            listed = [path for path in entries(folder) if path.suffix.lower() == TRACK_SUFFIX and path.is_file()]
            texts[folder] = {_stem(path): str(path) for path in listed}
        track = texts[folder].get(_stem(Path(sound)))
        if track is not None:
            found[sound] = track
    return found


def pieces(track: str | os.PathLike[str], sound: str, point_s: float = POINT_S) -> list[tuple[Clip, str]]:
    """Return the labelled pieces of a recording, each with its label.

    Parameters
    ----------
    track : path
        The label track.
    sound : str
        The recording. Its header is read only if the track has point labels.
    point_s : float, default=1.0
        Seconds to take around a point label, less where the recording starts or ends.

    Returns
    -------
    list of (Clip, str)

    Raises
    ------
    DatasetError
        If the track cannot be read (see `read_labels`).
    ParameterError
        If `point_s` is not a positive number.
    """
    _check_point_s(point_s)
    labels = read_labels(track)
    length_s = _length_s(sound) if any(label.is_point for label in labels) else math.inf
    return [(_piece(track, sound, label, length_s, point_s), label.text) for label in labels]


def _check_point_s(point_s: float) -> None:
    if isinstance(point_s, bool) or not isinstance(point_s, int | float) or not 0 < point_s < math.inf:
        raise ParameterError(f"point_s={point_s!r}; expected a positive number of seconds, such as 1.0")


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the numbers and texts of the lines that hold labels."""
    # Not splitlines(): a label may hold the characters that Unicode counts as line ends.
    lines = enumerate(re.split("\r\n|\n|\r", _text(path)), 1)
    return [(number, line) for number, line in lines if line.strip() and not line.startswith("\\")]


def _text(path: Path) -> str:
    encoding = "UTF-8"
    try:
        raw = path.read_bytes()
        encoding = next((name for mark, name in ENCODINGS if raw.startswith(mark)), encoding)
        return raw.decode(encoding)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); give a label track") from None
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: is not {encoding.removesuffix('-sig').upper()} text (byte {error.object[error.start]:#04x} "
            f"at {error.start}); export the labels again, or save the file as UTF-8"
        ) from None


def _times(line: str) -> tuple[float, float] | None:
    """Return the start and end that a line begins with, or None if it does not begin with two numbers."""
    values = [value.strip() for value in line.split("\t")[:2]]
    if len(values) < 2 or not all(map(NUMBER.fullmatch, values)):
        return None
    start_s, end_s = (float(value.replace(",", ".")) for value in values)
    return start_s, end_s


def _label(path: str | os.PathLike[str], number: int, line: str) -> Label:
    where, times = f"{path}, line {number}", _times(line)
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
    return Label(start_s, end_s, text, number)


def _stem(path: Path) -> str:
    # macOS may store an accent as a character of its own (NFD), other systems as part of its letter (NFC).
    return unicodedata.normalize("NFC", path.stem)


def _length_s(sound: str) -> float:
    try:
        return duration_s(Clip(sound))
    except AudioError:  # reported when its clips are read
        return math.inf


def _piece(track: str | os.PathLike[str], sound: str, label: Label, length_s: float, point_s: float) -> Clip:
    start_s, end_s = label.start_s, label.end_s
    if label.is_point:
        if start_s > length_s:
            raise DatasetError(
                f"{track}, line {label.line}: the label at {start_s:g} s is after the end of {sound} "
                f"at {length_s:g} s; correct or delete it"
            )
        start_s, end_s = max(0.0, start_s - point_s / 2), min(length_s, end_s + point_s / 2)
    try:
        return Clip(sound, start_s, end_s)
    except L3clfError as error:  # point_s is so small that rounding leaves nothing of the piece
        raise DatasetError(f"{track}, line {label.line}: {error}") from None
