"""Time of a whole baseline with mfcc and both heads on a new data set, and of the same again from the cache.

The first time includes the tables, pictures and report; again is the table alone, from cached embeddings.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

import l3clf
from benchmarks.record import Result, Table, Timing
from l3clf.demo.sounds import CLASSES, synthesise

RATE_HZ = 22_050


@dataclass(frozen=True)
class Options:
    """How much is embedded.

    Attributes
    ----------
    clips : int
    duration_s : float
        Of a clip.
    repeats : int
    """

    clips: int = 1000
    duration_s: float = 5.0
    repeats: int = 3


def run(options: Options) -> Result:
    """Time both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = _table(folder / "sounds", options)
        first, again = [], []
        for number in range(options.repeats):
            cache = folder / f"cache-{number}.sqlite"
            first.append(_seconds(table, cache, folder / f"report-{number}"))
            again.append(_seconds(table, cache, None))
    ratios = [one / other for one, other in zip(first, again, strict=True)]
    rows = (
        ("the first time, report and pictures included", Timing.of(first), Timing.of(ratios)),
        ("again, from the cache alone", Timing.of(again), 1.0),
    )
    title = f"{options.clips:,} clips of {options.duration_s:g} s, mfcc, both heads"
    return Result((Table(title, (("", ""), ("seconds", ".1f"), ("again = 1", ".1f")), rows),))


def _table(folder: Path, options: Options) -> l3clf.ClipTable:
    for k in range(options.clips):
        label = CLASSES[k % len(CLASSES)]
        (folder / label).mkdir(parents=True, exist_ok=True)
        samples = synthesise(label, np.random.default_rng(k), options.duration_s, RATE_HZ)
        soundfile.write(folder / label / f"{k}.wav", samples, RATE_HZ)
    time.sleep(2.5)  # the cache reads files again that are younger than two seconds
    return l3clf.datasets.load(folder)


def _seconds(table: l3clf.ClipTable, cache: Path, out: Path | None) -> float:
    start = time.perf_counter()
    l3clf.baseline(table, ["mfcc"], out=out, cache=cache)
    return time.perf_counter() - start
