"""Recordings with label tracks as data sets: labelled pieces, and unlabelled time as background on request.

Rule: a piece of a recording carries the recording as its group, so that none is in training and test at once.
"""

import math
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from l3clf.audio.clip import Clip
from l3clf.audio.decode import duration_s
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.folders import entries, find_sounds, warn_left_out, warn_of_unknown, with_doubts
from l3clf.datasets.label_tracks import Label, read_labels
from l3clf.errors import AudioError, DatasetError, L3clfError, ParameterError

__all__ = [
    "BACKGROUND",
    "POINT_S",
    "TrackKind",
    "background_clips",
    "find_tracks",
    "load_audacity_labels",
    "load_tracks",
    "pieces",
    "texts_of",
]

POINT_S = 1.0  # about one window of the embedders
BACKGROUND = "background"
"""The label of pieces of unlabelled time, which is no class where a classifier learns what is unknown."""
MARGIN_S = 1.0  # of a label, which is seldom set where its sound begins and ends
MIN_BACKGROUND_S, MAX_BACKGROUND_S = 0.1, 3600.0
MAX_BACKGROUND = 1_000_000  # pieces of one recording
TRACK_SUFFIX = ".txt"


def load_audacity_labels(
    folder: str | os.PathLike[str], point_s: float = POINT_S, background_s: float | None = None
) -> ClipTable:
    """Load recordings with Audacity label tracks: each labelled piece is a clip, each recording a group.

    Parameters
    ----------
    folder : path
        Searched for recordings at any depth, each with its exported labels beside it: ``dawn.wav`` and
        ``dawn.txt``.
    point_s : float, default=1.0
        Seconds to take around a point label, less where the recording starts or ends. Only recordings
        with point labels have their headers read.
    background_s : float or None, default=None
        Length in seconds of the pieces into which unlabelled time is cut, which get the label "background"; None
        leaves it out. A second on either side of a label is left out, and so is a rest shorter than a piece. A
        recording with an empty label track is background throughout; one without a track is left out as ever.

    Returns
    -------
    ClipTable
        Sorted by recording, then in the order of the label track, the background last. Groups are the recordings' paths
        relative to the folder.

    Raises
    ------
    DatasetError
        If there are no labels, a line cannot be parsed, or two recordings share a label track.
    ParameterError
        If `point_s` is not a positive number, or `background_s` is not None or a number from 0.1 to 3600.

    Warns
    -----
    DatasetWarning
        If recordings without labels, or files with an unknown suffix, were left out.
    """
    return load_tracks(folder, AUDACITY, point_s, background_s)


class TrackKind(NamedTuple):
    """A kind of files that label pieces of recordings.

    Attributes
    ----------
    name : str
        Of several, for messages and the table's origin.
    find : callable
        Returns the file that belongs to each sound.
    read : callable
        Returns the labels in a file.
    advice : str
        What to do where none is found.
    """

    name: str
    find: Callable[[Iterable[str]], dict[str, str]]
    read: Callable[[str | os.PathLike[str]], list[Label]]
    advice: str


def load_tracks(
    folder: str | os.PathLike[str], kind: TrackKind, point_s: float = POINT_S, background_s: float | None = None
) -> ClipTable:
    """Load recordings with labels of one kind; see `load_audacity_labels`."""
    root = Path(folder)
    _check_point_s(point_s)
    _check_background_s(background_s)
    sounds = find_sounds(root)
    warn_of_unknown(root)
    tracks = kind.find(sounds)
    owners: dict[str, str] = {}
    for sound, track in tracks.items():
        if owners.setdefault(track, sound) != sound:
            raise DatasetError(
                f"{track}: belongs to both {Path(owners[track]).name!r} and {Path(sound).name!r}; "
                "remove or rename one of the recordings"
            )
    found = {sound: pieces(track, sound, point_s, kind.read) for sound, track in tracks.items()}
    if background_s is not None:
        for sound, labelled in found.items():
            clips = background_clips(sound, [clip for clip, _ in labelled], background_s)
            labelled += [(clip, BACKGROUND) for clip in clips]
    rows = [(sound, clip, label) for sound, labelled in found.items() for clip, label in labelled]
    if not rows:
        raise DatasetError(
            f"{root}: no labels found (sounds: {len(sounds)}, text files beside them: {len(tracks)}); {kind.advice}"
        )
    if unlabelled := [sound for sound in sounds if not found.get(sound)]:
        warn_left_out(root, "recordings without labels", unlabelled, stacklevel=5)
    table = ClipTable(
        [clip for _, clip, _ in rows],
        [label for _, _, label in rows],
        groups=[Path(os.path.relpath(sound, root)).as_posix() for sound, _, _ in rows],
        origin=f"{kind.name}: groups are the recordings",
    )
    return with_doubts(root, table)


def find_tracks(sounds: Iterable[str]) -> dict[str, str]:
    """Return the text file beside each sound that has the same stem, by the sound's path.

    Raises
    ------
    DatasetError
        If a folder cannot be listed.
    """
    tracks = texts_of(sounds)
    found = {sound: [text for text in texts if _stem(text) == _stem(Path(sound))] for sound, texts in tracks.items()}
    return {sound: str(texts[-1]) for sound, texts in found.items() if texts}


def texts_of(sounds: Iterable[str]) -> dict[str, list[Path]]:
    """Return the text files beside each sound whose names begin with its stem, sorted.

    Raises
    ------
    DatasetError
        If a folder cannot be listed.
    """
    found: dict[str, list[Path]] = {}
    by_folder: dict[Path, dict[str, list[Path]]] = {}
    for sound in sounds:
        folder = Path(sound).parent
        if folder not in by_folder:  # listed once, however many sounds it has
            by_beginning: dict[str, list[Path]] = {}
            by_folder[folder] = by_beginning
            for path in entries(folder):
                if path.suffix.lower() == TRACK_SUFFIX and path.is_file():
                    for beginning in _beginnings(_normal(path.name)):
                        by_beginning.setdefault(beginning, []).append(path)
        texts = by_folder[folder].get(_stem(Path(sound)))
        if texts:
            found[sound] = texts
    return found


def _beginnings(name: str) -> Iterator[str]:
    """Yield a name up to each of its dots: "a.b.txt" gives "a" and "a.b"."""
    return (name[:i] for i, character in enumerate(name) if character == "." and i)


def pieces(
    track: str | os.PathLike[str],
    sound: str,
    point_s: float = POINT_S,
    read: Callable[[str | os.PathLike[str]], list[Label]] = read_labels,
) -> list[tuple[Clip, str]]:
    """Return the labelled pieces of a recording, each with its label.

    Parameters
    ----------
    track : path
        The label track.
    sound : str
        The recording. Its header is read only if the track has point labels.
    point_s : float, default=1.0
        Seconds to take around a point label, less where the recording starts or ends.
    read : callable
        Returns the labels in the track.

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
    labels = read(track)
    length_s = _length_s(sound) if any(label.is_point for label in labels) else math.inf
    return [(_piece(track, sound, label, length_s, point_s), label.text) for label in labels]


def background_clips(sound: str, labelled: Sequence[Clip], background_s: float) -> list[Clip]:
    """Return the unlabelled time of a recording in pieces of one length.

    Parameters
    ----------
    sound : str
        The recording, whose header is read. One that cannot be read has none.
    labelled : sequence of Clip
        Its labelled pieces, in any order; they may overlap.
    background_s : float
        Length of a piece in seconds.

    Returns
    -------
    list of Clip
        At least a second away from every label, in the order of their times.

    Raises
    ------
    DatasetError
        If there would be more than a million.
    """
    length_s = _length_s(sound)
    if length_s == math.inf:
        return []
    taken = sorted(
        (clip.start_s - MARGIN_S, length_s if clip.end_s is None else clip.end_s + MARGIN_S) for clip in labelled
    )
    gaps, free_s = [], 0.0
    for start_s, end_s in [*taken, (length_s, length_s)]:
        gaps.append((free_s, min(start_s, length_s)))
        free_s = max(free_s, end_s)
    if length_s / background_s > MAX_BACKGROUND:
        raise DatasetError(
            f"{sound}: {length_s:g} s in pieces of {background_s:g} s; choose longer pieces of background"
        )
    counts = (math.floor((end_s - start_s) / background_s + 1e-9) for start_s, end_s in gaps)
    found = [(start_s, max(0, n)) for (start_s, _), n in zip(gaps, counts, strict=True)]
    return [
        Clip(sound, start_s + i * background_s, min(start_s + (i + 1) * background_s, length_s))
        for start_s, n in found
        for i in range(n)
    ]


def _check_point_s(point_s: float) -> None:
    if isinstance(point_s, bool) or not isinstance(point_s, int | float) or not 0 < point_s < math.inf:
        raise ParameterError(f"point_s={point_s!r}; expected a positive number of seconds, such as 1.0")


def _check_background_s(value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and MIN_BACKGROUND_S <= value <= MAX_BACKGROUND_S):  # type: ignore[operator]
        raise ParameterError(
            f"background_s={value!r}; expected None or a number of seconds from {MIN_BACKGROUND_S} to "
            f"{MAX_BACKGROUND_S:g}, such as 5.0"
        )


def _stem(path: Path) -> str:
    return _normal(path.stem)


def _normal(name: str) -> str:
    # macOS may store an accent as a character of its own (NFD), other systems as part of its letter (NFC).
    return unicodedata.normalize("NFC", name)


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


AUDACITY = TrackKind(
    "Audacity label tracks",
    find_tracks,
    read_labels,
    "put the exported labels of a recording beside it under the same name, such as dawn.wav and dawn.txt",
)
