"""Mistakes with a player for each clip.

Rule: a clip that cannot be read gets a sentence, and the page stays whole.
"""

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from l3clf.audio.clip import Clip
from l3clf.audio.decode import duration_s, load
from l3clf.errors import AudioError
from l3clf.report.contents import percent
from l3clf.report.markup import Html, data, data_uri, join, tag

__all__ = ["Mistake", "mistakes_list"]

MOST_PLAYERS = 20
LONGEST_PLAYER_S = 10.0
PLAYER_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # what MP3 can have


@dataclass(frozen=True)
class Mistake:
    """A clip that the model took for another class.

    Attributes
    ----------
    clip : Clip
    truth, predicted : str
        The clip's class, and the one it was taken for.
    probability : float
        The model's probability of `predicted`, from 0 to 1.
    """

    clip: Clip
    truth: str
    predicted: str
    probability: float


def mistakes_list(mistakes: Sequence[Mistake]) -> Html:
    """Return the first twenty mistakes, each with its player."""
    if not mistakes:
        return Html()
    shown = mistakes[:MOST_PLAYERS]
    folder = _common_folder(mistake.clip.path for mistake in shown)
    which = f"The {len(shown)} worst of {len(mistakes):,} mistakes" if len(mistakes) > len(shown) else "Mistakes"
    parts: list[str] = [f"{which}, the surest first: in percent, the model's probability of the wrong class."]
    parts += [" Paths start at ", tag("code", folder, dir="ltr"), "."] if folder else []
    cards = join(_mistake(mistake, folder) for mistake in shown)
    return join([tag("p", *parts), tag("ol", cards, class_="mistakes")])


def _common_folder(paths: Iterable[str]) -> str:
    """The folder that all paths share, as they were given; empty if that is none or the root."""
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120  # Path would tidy them
    except ValueError:  # some are absolute and some not, or they are on several drives
        return ""
    return folder if Path(folder).name else ""


def _mistake(mistake: Mistake, folder: str) -> Html:
    name = str(mistake.clip).removeprefix(folder).lstrip("/\\") if folder else str(mistake.clip)
    truth, predicted = tag("b", data(mistake.truth)), tag("b", data(mistake.predicted))
    verdict = tag("p", truth, " taken for ", predicted, f", {percent(mistake.probability)}\u00a0%")
    return tag("li", verdict, _player(mistake.clip, name), tag("p", data(name), class_="path"))


def _player(clip: Clip, name: str) -> Html:
    try:
        heard, note = _piece(clip)
        source = _sound(heard)
    except AudioError as error:
        return tag("p", f"No player: {error}", class_="path")
    return join([tag("audio", controls="", preload="none", src=source, aria_label=f"Clip {name}"), note])


def _piece(clip: Clip) -> tuple[Clip, Html]:
    """As much of a clip as is played, and a line that says so where it is not all."""
    length_s = duration_s(clip)
    if length_s <= LONGEST_PLAYER_S:
        return clip, Html()
    note = tag("p", f"The first {LONGEST_PLAYER_S:g} s of {length_s:,.1f} s", class_="path")
    return Clip(clip.path, clip.start_s, clip.start_s + LONGEST_PLAYER_S), note


def _sound(clip: Clip) -> str:
    """A clip as a data URI, at a sample rate that MP3 has."""
    samples, rate = load(clip)
    if rate not in PLAYER_RATES_HZ:
        samples, rate = load(clip, next((r for r in PLAYER_RATES_HZ if r > rate), PLAYER_RATES_HZ[-1]))
    encoding, kind = ("MP3", "audio/mpeg") if "MP3" in soundfile.available_formats() else ("WAV", "audio/wav")
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), rate, format=encoding)  # WAV is 16-bit unless told otherwise
    return data_uri(kind, file.getvalue())
