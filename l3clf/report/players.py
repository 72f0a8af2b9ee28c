"""The list of mistakes, with a player and a spectrogram for each clip.

Rule: a clip is decoded once, and what is played is what is drawn. A clip that cannot be read has a sentence instead.
"""

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from l3clf.audio.clip import Clip
from l3clf.audio.decode import duration_s, load
from l3clf.errors import AudioError
from l3clf.report.contents import percent
from l3clf.report.markup import Html, data, data_uri, join, tag
from l3clf.report.spectrograms import Heard, heard, spectrogram_images, spectrogram_legend

__all__ = ["Mistake", "mistakes_list"]

MAX_PLAYERS = 20  # each holds its sound, and the page must stay small enough to send
MAX_PLAYER_S = 10.0
PLAYER_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # the sample rates of MP3


@dataclass(frozen=True)
class Mistake:
    """A clip that the model misclassified.

    Attributes
    ----------
    clip : Clip
    truth, predicted : str
        The clip's class and the predicted one.
    probability : float
        The model's probability of `predicted`, from 0 to 1.
    """

    clip: Clip
    truth: str
    predicted: str
    probability: float


@dataclass(frozen=True, eq=False)
class _Played:
    """A player with its note, and its sound; without a sound, the sentence that stands in its place."""

    name: str
    player: Html
    sound: Heard | None = None


def mistakes_list(mistakes: Sequence[Mistake]) -> Html:
    """Return the first twenty mistakes, each with its player and its spectrogram."""
    if not mistakes:
        return Html()
    shown = mistakes[:MAX_PLAYERS]
    folder = _common_folder(mistake.clip.path for mistake in shown)
    which = f"The {len(shown)} worst of {len(mistakes):,} mistakes" if len(mistakes) > len(shown) else "Mistakes"
    parts: list[str] = [f"{which}, the most confident first, with the probability that the model gave to the mistake."]
    parts += [" Paths start at ", tag("code", folder, dir="ltr"), "."] if folder else []
    played = [_played(mistake.clip, _name(mistake.clip, folder)) for mistake in shown]
    drawn = [each for each in played if each.sound is not None]
    sounds = [each.sound for each in played if each.sound is not None]
    images = dict(zip(map(id, drawn), spectrogram_images(sounds, [each.name for each in drawn]), strict=True))
    parts += [spectrogram_legend(sounds)]
    cards = join(_mistake(*each, images.get(id(each[1]), Html())) for each in zip(shown, played, strict=True))
    return join([tag("p", *parts), tag("ol", cards, class_="mistakes")])


def _common_folder(paths: Iterable[str]) -> str:
    """Return the folder that all paths share, spelled as given; empty if there is none or it is the root."""
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120  # Path would tidy them
    except ValueError:  # some are absolute and some not, or they are on several drives
        return ""
    return folder if Path(folder).name else ""


def _name(clip: Clip, folder: str) -> str:
    return str(clip).removeprefix(folder).lstrip("/\\") if folder else str(clip)


def _mistake(mistake: Mistake, played: _Played, image: Html) -> Html:
    truth, predicted = tag("b", data(mistake.truth)), tag("b", data(mistake.predicted))
    verdict = tag("p", truth, " predicted as ", predicted, f", {percent(mistake.probability)}\u00a0%")
    return tag("li", verdict, image, played.player, tag("p", data(played.name), class_="path"))


def _played(clip: Clip, name: str) -> _Played:
    try:
        piece, note = _piece(clip)
        samples, rate = load(piece)
        source = _sound(piece, samples, rate)
    except AudioError as error:
        return _Played(name, tag("p", f"No player: {error}", class_="path"))
    # Without preload="none", browsers may decode all clips when the page opens.
    player = tag("audio", controls="", preload="none", src=source, aria_label=f"Clip {name}")
    return _Played(name, join([player, note]), heard(samples, rate) if len(samples) else None)


def _piece(clip: Clip) -> tuple[Clip, Html]:
    """Return the part of a clip that is played, and a note if it is not the whole clip."""
    length_s = duration_s(clip)
    if length_s <= MAX_PLAYER_S:
        return clip, Html()
    note = tag("p", f"The first {MAX_PLAYER_S:g} s of {length_s:,.1f} s", class_="path")
    return Clip(clip.path, clip.start_s, clip.start_s + MAX_PLAYER_S), note


def _sound(clip: Clip, samples: NDArray[np.float32], rate: int) -> str:
    """Return a clip as a data URI, as MP3 if this build of libsndfile can write it."""
    if rate not in PLAYER_RATES_HZ:  # the next higher one, which loses nothing
        samples, rate = load(clip, next((r for r in PLAYER_RATES_HZ if r > rate), PLAYER_RATES_HZ[-1]))
    encoding, kind = ("MP3", "audio/mpeg") if "MP3" in soundfile.available_formats() else ("WAV", "audio/wav")
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), rate, format=encoding)  # WAV is 16-bit by default
    return data_uri(kind, file.getvalue())
