"""Audacity label tracks: text that says which pieces of a recording are what.

Rule: a line that cannot be understood is an error with its number, never passed over. Lines that
start with a backslash (frequencies of the label before) are the exception: nothing here needs them.
"""

import codecs
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from l3clf.audio.clip import Clip
from l3clf.audio.decode import duration_s
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.folders import entries, find_sounds, warn_left_out
from l3clf.errors import AudioError, DatasetError, L3clfError, ParameterError

__all__ = ["POINT_S", "Label", "find_tracks", "is_track", "load_audacity_labels", "pieces", "read_labels"]

POINT_S = 1.0
TRACK_SUFFIX = ".txt"
NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?(?:[eE][+-]?[0-9]+)?")  # some locales write a decimal comma
ENCODINGS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Label:
    """One label of a track.

    Parameters
    ----------
    start_s, end_s : float
        From the start of the recording; they are equal for a point label.
    text : str
        What the label says, without spaces at its ends.
    line : int
        Where it stands in the track, from 1.
    """

    start_s: float
    end_s: float
    text: str
    line: int

    @property
    def is_point(self) -> bool:
        """Whether the label marks a moment, and not a piece."""
        return self.start_s == self.end_s


def load_audacity_labels(folder: str | os.PathLike[str], point_s: float = POINT_S) -> ClipTable:
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
    _check_point_s(point_s)
    sounds = find_sounds(root)
    tracks = find_tracks(sounds)
    _check_owners(tracks)
    found = {sound: pieces(track, sound, point_s) for sound, track in tracks.items()}
    rows = [(sound, clip, label) for sound, labelled in found.items() for clip, label in labelled]
    if not rows:
        raise DatasetError(
            f"{root}: no labels found (sounds: {len(sounds)}, text files beside them: {len(tracks)}); expected text "
            "files exported by Audacity beside recordings of the same stem, such as dawn.wav and dawn.txt"
        )
    if unlabelled := [sound for sound in sounds if not found.get(sound)]:
        warn_left_out(root, "recordings without labels", unlabelled)
    return ClipTable(
        [clip for _, clip, _ in rows],
        [label for _, _, label in rows],
        groups=[Path(os.path.relpath(sound, root)).as_posix() for sound, _, _ in rows],
        origin="Audacity label tracks: groups are the recordings",
    )


def read_labels(path: str | os.PathLike[str]) -> list[Label]:
    """Read a label track.

    Parameters
    ----------
    path : path
        Lines of start, end (both in seconds) and label, separated by tabs, in UTF-8 or, with a byte
        order mark, UTF-16. Empty lines and lines that start with a backslash are passed over.

    Returns
    -------
    list of Label
        In the order of the lines.

    Raises
    ------
    DatasetError
        If the file cannot be read, is no such text, or a line has no label or times that cannot be.
    """
    # Not splitlines(): a label may hold the characters that Unicode counts as line ends.
    lines = re.split("\r\n|\n|\r", _text(Path(path)))
    return [_label(path, number, line) for number, line in enumerate(lines, 1) if _says_something(line)]


def is_track(path: str | os.PathLike[str]) -> bool:
    """Return whether a text file looks like a label track: its first line begins with two numbers and tabs."""
    try:
        lines = re.split("\r\n|\n|\r", _text(Path(path)))
    except DatasetError:
        return False
    first = next(filter(_says_something, lines), "")
    times = first.split("\t")[:2]
    return len(times) == 2 and all(NUMBER.fullmatch(time.strip()) for time in times)


def find_tracks(sounds: Iterable[str]) -> dict[str, str]:
    """Return the text files that lie beside sounds and have the same stem, by the sound's path.

    Raises
    ------
    DatasetError
        If a folder cannot be listed.
    """
    found: dict[str, str] = {}
    texts: dict[Path, dict[str, str]] = {}
    for sound in sounds:
        folder = Path(sound).parent
        if folder not in texts:
            texts[folder] = _texts(folder)
        track = texts[folder].get(_stem(Path(sound)))
        if track is not None:
            found[sound] = track
    return found


def _check_owners(tracks: Mapping[str, str]) -> None:
    """Refuse label tracks that belong to more than one recording.

    Raises
    ------
    DatasetError
        If two sounds share one track.
    """
    owners: dict[str, str] = {}
    for sound, track in tracks.items():
        if owners.setdefault(track, sound) != sound:
            raise DatasetError(
                f"{track}: belongs to both {Path(owners[track]).name!r} and {Path(sound).name!r}; "
                "expected one recording of that name (remove or rename the other)"
            )


def pieces(track: str | os.PathLike[str], sound: str, point_s: float = POINT_S) -> list[tuple[Clip, str]]:
    """Return the labelled pieces of a recording, each with its label.

    Parameters
    ----------
    track : path
        The label track.
    sound : str
        The recording. Its header is read only if the track has point labels.
    point_s : float, default=1.0
        How many seconds around a point label are taken; less where the recording starts or ends.

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
    """Refuse a length that cannot be.

    Raises
    ------
    ParameterError
        If it is not a positive, finite number.
    """
    if isinstance(point_s, bool) or not isinstance(point_s, int | float) or not 0 < point_s < math.inf:
        raise ParameterError(f"point_s={point_s!r}; expected a positive number of seconds, such as 1.0")


def _text(path: Path) -> str:
    encoding = "UTF-8"
    try:
        raw = path.read_bytes()
        encoding = next((name for mark, name in ENCODINGS if raw.startswith(mark)), encoding)
        return raw.decode(encoding)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); expected a label track") from None
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: is not {encoding.removesuffix('-sig').upper()} text (byte {error.object[error.start]:#04x} "
            f"at {error.start}); export the labels again, or save the file as UTF-8"
        ) from None


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("\\")


def _label(path: str | os.PathLike[str], number: int, line: str) -> Label:
    where, values = f"{path}, line {number}", line.split("\t", 2)
    if len(values) < 2 or not all(NUMBER.fullmatch(value.strip()) for value in values[:2]):
        raise DatasetError(
            f"{where}: found {line[:60]!r}; expected start, end (in seconds) and label, separated by tabs"
        )
    start_s, end_s = (float(value.replace(",", ".")) for value in values[:2])
    if not 0 <= start_s <= end_s < math.inf:
        raise DatasetError(
            f"{where}: from {start_s:g} s to {end_s:g} s; expected times from 0, the end after the start"
        )
    text = values[2].strip() if len(values) == 3 else ""
    if not text:
        raise DatasetError(f"{where}: the label at {start_s:g} s is empty; expected a class (fill it in or delete it)")
    return Label(start_s, end_s, text, number)


def _texts(folder: Path) -> dict[str, str]:
    return {_stem(p): str(p) for p in entries(folder) if p.suffix.lower() == TRACK_SUFFIX and p.is_file()}


def _stem(path: Path) -> str:
    """The name without its suffix; one and the same for the two ways in which systems write an accent."""
    return unicodedata.normalize("NFC", path.stem)


def _length_s(sound: str) -> float:
    """The recording's length; one that cannot be read is found out when its clips are."""
    try:
        return duration_s(Clip(sound))
    except AudioError:
        return math.inf


def _piece(track: str | os.PathLike[str], sound: str, label: Label, length_s: float, point_s: float) -> Clip:
    start_s, end_s = label.start_s, label.end_s
    if label.is_point:
        if start_s > length_s:
            raise DatasetError(
                f"{track}, line {label.line}: the label at {start_s:g} s lies after the end of {sound} "
                f"at {length_s:g} s; correct or delete it"
            )
        start_s, end_s = max(0.0, start_s - point_s / 2), min(length_s, end_s + point_s / 2)
    try:
        return Clip(sound, start_s, end_s)
    except L3clfError as error:  # a window so short that rounding leaves nothing of it
        raise DatasetError(f"{track}, line {label.line}: {error}") from None
