"""A recording of hours whose events are known: clips of a data set, one after another, over a quiet background.

Rule: it is rendered as it is read, a few clips in memory at a time, and is the same for the same seed however it is cut
into chunks. The clips' own silence at their ends belongs to no event. The background is of sounds of the pool that ask
for share-alike: nothing in the package was made with them.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.materials import shared_folder
from l3clf.audio.clip import Clip, FloatArray
from l3clf.audio.decode import duration_s as duration_s_of
from l3clf.audio.decode import load

__all__ = ["LongStream", "TrueEvent", "make_long_stream", "pool_background"]

RATE = 44_100
BLOCK_S = 10.0
FADE_S = 0.02
FRAME_S = 0.01
AUDIBLE_DB = 40.0  # an event lasts from the first to the last frame that is at most so far below its loudest
EVENT_GAPS_S = (5.0, 55.0)
EVENT_DBFS = (-35.0, -20.0)
BACKGROUND_GAPS_S = (0.0, 20.0)
BACKGROUND_DBFS = (-60.0, -48.0)
NOISE_DBFS = -66.0
# Parts of the names of ESC-10's classes: sounds that may be of one are no background.
CLASS_WORDS = (
    *(
        "dog",
        "bark",
        "rain",
        "storm",
        "sea",
        "wave",
        "ocean",
        "beach",
        "shore",
        "water",
        "baby",
        "child",
        "cry",
        "clock",
    ),
    *("tick", "sneeze", "cough", "helicopter", "copter", "chain", "saw", "rooster", "cock", "chicken", "fire", "burn"),
    *("crackl", "flame"),
)


@dataclass(frozen=True)
class TrueEvent:
    """An event of the stream: where it is, in seconds from the start, and its label."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class _Placed:
    """A piece of a sound file, where it is put (in samples), and how loud it is made (RMS)."""

    start: int
    clip: Clip
    level_dbfs: float


@dataclass(frozen=True)
class LongStream:
    """A stream that can be read as often as wanted.

    Attributes
    ----------
    events : tuple of TrueEvent
        In order; they do not overlap.
    duration_s : float
    seed : int
    sample_rate : int
    """

    events: tuple[TrueEvent, ...]
    duration_s: float
    seed: int
    placed: tuple[_Placed, ...]
    sample_rate: int = RATE

    def chunks(self, chunk_s: float = 1.0) -> Iterator[FloatArray]:
        """Yield the stream in order, mono, full scale at 1.0.

        Parameters
        ----------
        chunk_s : float, default=1.0
            Length of a chunk, at most ten seconds; the last one may be shorter.

        Yields
        ------
        array of shape (n,), float32
        """
        size, rest = round(chunk_s * self.sample_rate), np.zeros(0, np.float32)
        for block in self._blocks():
            rest = np.concatenate([rest, block])
            cut = len(rest) - len(rest) % size
            yield from np.split(rest[:cut], range(size, cut, size)) if cut else ()
            rest = rest[cut:]
        if len(rest):
            yield rest

    def _blocks(self) -> Iterator[FloatArray]:
        length, size = round(self.duration_s * self.sample_rate), round(BLOCK_S * self.sample_rate)
        waiting = list(reversed(self.placed))
        sounding: list[tuple[int, FloatArray]] = []
        for number, first in enumerate(range(0, length, size)):
            block = _noise(min(size, length - first), self.seed, number)
            while waiting and waiting[-1].start < first + len(block):
                placed = waiting.pop()
                sounding.append((placed.start, _rendered(placed)))
            for start, samples in sounding:
                low, high = max(start, first), min(start + len(samples), first + len(block))
                block[low - first : high - first] += samples[low - start : high - start]
            sounding = [(start, samples) for start, samples in sounding if start + len(samples) > first + len(block)]
            yield block


def make_long_stream(
    clips: Sequence[Clip],
    labels: Sequence[str],
    duration_s: float,
    seed: int = 0,
    background: Sequence[Clip] = (),
) -> LongStream:
    """Plan a stream: which clip begins when.

    Parameters
    ----------
    clips, labels : sequences of Clip and of str
        Of the events; all clips are used before any is repeated.
    duration_s : float
    seed : int, default=0
    background : sequence of Clip
        Whole sound files; without any the background is noise.

    Returns
    -------
    LongStream
    """
    rng = np.random.default_rng(seed)
    audible = [_audible(clip) for clip in clips]
    events, placed = [], []
    for start_s, i in _plan(rng, [_length_s(clip) for clip in audible], duration_s, EVENT_GAPS_S):
        events.append(TrueEvent(start_s, start_s + _length_s(audible[i]), str(labels[i])))
        placed.append(_Placed(round(start_s * RATE), audible[i], float(rng.uniform(*EVENT_DBFS))))
    pieces = [Clip(clip.path, clip.start_s, clip.start_s + duration_s_of(clip)) for clip in background]
    for start_s, i in _plan(rng, [_length_s(clip) for clip in pieces], duration_s, BACKGROUND_GAPS_S):
        placed.append(_Placed(round(start_s * RATE), pieces[i], float(rng.uniform(*BACKGROUND_DBFS))))
    return LongStream(tuple(events), duration_s, seed, tuple(sorted(placed, key=lambda each: each.start)))


def pool_background(part: int = 0, parts: int = 2) -> list[Clip]:
    """Return the sounds of the pool for a background.

    Parameters
    ----------
    part, parts : int
        Which share of them: streams of different parts have no background sound in common.

    Returns
    -------
    list of Clip
        Under share-alike licences, which no data of the package is made from, and not named like a class of ESC-10.
    """
    pool = shared_folder() / "data" / "pool"
    with (pool / "manifest.csv").open(encoding="utf-8") as file:
        alike = sorted(row["path"] for row in csv.DictReader(file) if "-SA" in row["licence"])
    with (pool / "parts.csv").open(encoding="utf-8") as file:
        refused = {row["path"] for row in csv.DictReader(file) if _names_a_class(row["path"], row.get("origin", ""))}
    return [Clip(pool / path) for path in alike if path not in refused][part::parts]


def _names_a_class(*names: str) -> bool:
    return any(word in name.lower() for name in names for word in CLASS_WORDS)


def _plan(
    rng: np.random.Generator, lengths_s: Sequence[float], duration_s: float, gaps_s: tuple[float, float]
) -> Iterator[tuple[float, int]]:
    """Yield when the next clip begins and which it is, until none fits."""
    time_s = float(rng.uniform(*gaps_s))
    deck: list[int] = []
    while lengths_s:
        deck = deck or rng.permutation(len(lengths_s)).tolist()
        i = deck.pop()
        if time_s + lengths_s[i] > duration_s:
            return
        yield time_s, i
        time_s += lengths_s[i] + float(rng.uniform(*gaps_s))


def _length_s(clip: Clip) -> float:
    return (clip.end_s or 0.0) - clip.start_s


def _audible(clip: Clip) -> Clip:
    """Return a clip without what is quiet at its ends."""
    samples, rate = load(clip)
    frame = max(1, round(FRAME_S * rate))
    power = (
        np.square(samples, dtype=np.float64)[: max(1, len(samples) // frame) * frame].reshape(-1, frame).mean(axis=1)
    )
    loud = np.flatnonzero(power >= power.max() * 10 ** (-AUDIBLE_DB / 10))
    return Clip(clip.path, clip.start_s + loud[0] * frame / rate, clip.start_s + (loud[-1] + 1) * frame / rate)


def _rendered(placed: _Placed) -> FloatArray:
    samples, _ = load(placed.clip, RATE)
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    fade = min(round(FADE_S * RATE), len(samples) // 2)
    shape = np.ones(len(samples))
    shape[:fade] = np.linspace(0, 1, fade)
    shape[len(samples) - fade :] = np.linspace(1, 0, fade)
    scaled: FloatArray = (samples * shape * 10 ** (placed.level_dbfs / 20) / max(rms, 1e-9)).astype(np.float32)
    return np.clip(scaled, -1, 1)


def _noise(n: int, seed: int, block: int) -> FloatArray:
    """Return a block of noise, from a random state of its own, with more power in the low frequencies."""
    white = np.random.default_rng((seed, block)).standard_normal(n + 1, np.float32)
    noise: FloatArray = white[1:] + white[:-1]
    return noise * np.float32(10 ** (NOISE_DBFS / 20) / 2**0.5)
