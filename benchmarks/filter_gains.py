"""Whether band limits and denoising help: ESC-10 as it is, under rumble, and under steady noise.

Each clip is mixed with noise of its own (seeded): "rumble" is noise below 200 Hz that falls by 12 dB an octave above 50
Hz, with a hum at 50 Hz; "steady" is in turn white noise, pink noise and a fan (harmonics and white noise). Levels are
relative to the RMS of the clip. Heads (logistic) learn the other folds of the same sound; beside it, from five clips a
class (mean of draws), and from the clean clips, filtered alike, when only what is heard later is noisy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.environment import say
from benchmarks.materials import embed, esc10, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.audio.clip import FloatArray, Samples
from l3clf.audio.decode import load
from l3clf.classifier.decision import pool_vectors
from l3clf.classifier.heads import make_head
from l3clf.embedders import Embedder
from l3clf.evaluate import Split, make_split
from l3clf.networks.threads import one_blas_thread

RATE_HZ = 32_000  # EfficientAT's, the highest of those compared
FILTERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("none", {}),
    ("band 300-8000 Hz", {"band_hz": (300, 8000)}),
    ("band 1000-8000 Hz", {"band_hz": (1000, 8000)}),
    ("denoise", {"denoise": "stationary"}),
    ("band 1000-8000 Hz, denoise", {"band_hz": (1000, 8000), "denoise": "stationary"}),
)
CLEAN = "clean"


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    embedders : tuple of str
    rumble_db, steady_db : tuple of float
        Ratios of sound to noise.
    few, draws : int
        Clips a class, and how often they are drawn.
    """

    embedders: tuple[str, ...] = ("l3mini", "efficientat")
    rumble_db: tuple[float, ...] = (-10.0, -20.0)
    steady_db: tuple[float, ...] = (10.0, 0.0)
    few: int = 5
    draws: int = 5


def run(options: Options) -> Result:
    """Return the table: accuracy of each embedder, sound and filter."""
    table = esc10()
    clips = [load(clip, RATE_HZ)[0] for clip in table.clips]
    sounds = [(CLEAN, clips)]
    for kind, ratios in ((rumble, options.rumble_db), (steady, options.steady_db)):
        sounds += [(f"{kind.__name__}, {db:g} dB", mixed(clips, kind, db)) for db in ratios]
    split, rows = make_split(table.labels, table.folds), []
    for name in options.embedders:
        for words, filters in FILTERS:
            embedder = l3clf.Filtered(_embedder(name), **filters)
            clean: FloatArray | None = None
            for sound, heard in sounds:
                found = embed(embedder, [Samples(one, RATE_HZ) for one in heard])
                rows_of = np.stack([pool_vectors(one.vectors, "mean") for one in found])
                clean = rows_of if clean is None else clean
                cells = _accuracies(clean, rows_of, table.labels, split, options)
                say(f"{name}, {sound}, {words}: {cells[0]:.1%}")
                rows.append((name, sound, words, *cells))
    order = {sound: i for i, (sound, _) in enumerate(sounds)}
    rows.sort(key=lambda row: (options.embedders.index(str(row[0])), order[str(row[1])]))
    few = f"{options.few} clips a class"
    columns = (
        ("embedder", ""),
        ("sound", ""),
        ("filter", ""),
        ("accuracy", ".1%"),
        (few, ".1%"),
        ("learned clean", ".1%"),
    )
    return Result((Table(f"ESC-10, {split.note}; mean of {options.draws} draws of {few}", columns, tuple(rows)),))


def rumble(n: int, rng: np.random.Generator) -> FloatArray:
    """Return wind, traffic and hum, (n,)."""
    hz = np.fft.rfftfreq(n, 1 / RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(n)) / (1 + (hz / 50) ** 4) ** 0.5 * (hz < 200)
    wind = np.fft.irfft(spectrum, n)
    hum = np.sin(2 * np.pi * 50 * np.arange(n) / RATE_HZ + rng.uniform(0, 2 * np.pi))
    return np.asarray(wind / wind.std() + hum, np.float32)


def steady(n: int, rng: np.random.Generator) -> FloatArray:
    """Return white noise, pink noise or a fan, (n,)."""
    white = rng.standard_normal(n)
    kind = int(rng.integers(3))
    if kind == 0:
        return white.astype(np.float32)
    if kind == 1:
        spectrum = np.fft.rfft(white) / np.sqrt(np.maximum(np.arange(n // 2 + 1), 1))
        spectrum[0] = 0
        return np.fft.irfft(spectrum, n).astype(np.float32)
    phases, base = rng.uniform(0, 2 * np.pi, 20), rng.uniform(90, 160)
    t = np.arange(n) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * base * (k + 1) * t + phases[k]) / (k + 1) for k in range(20))
    return np.asarray(tones + 0.2 * white, np.float32)


def mixed(clips: Sequence[FloatArray], kind: Any, ratio_db: float) -> list[FloatArray]:
    """Return clips with noise of a kind; the noise of a clip is the same at all ratios."""
    out = []
    for i, clip in enumerate(clips):
        noise = kind(len(clip), np.random.default_rng([7, i]))
        power = float(np.mean(clip**2, dtype=np.float64)) / float(np.mean(noise**2, dtype=np.float64))
        out.append((clip + noise * np.sqrt(power / 10 ** (ratio_db / 10))).astype(np.float32))
    return out


def _embedder(name: str) -> Embedder:
    return l3clf.load_embedder(name, weights=weights_folder()) if name == "efficientat" else l3clf.load_embedder(name)


def _accuracies(
    clean: FloatArray, heard: FloatArray, labels: NDArray[Any], split: Split, options: Options
) -> tuple[Cell, ...]:
    """Return the accuracy with all clips, with few of each class, and where the clean ones were learned."""
    right, few, mismatched = 0, 0, 0
    with one_blas_thread():
        for number, (train, test) in enumerate(split):
            right += _right(heard[train], labels[train], heard[test], labels[test])
            mismatched += _right(clean[train], labels[train], heard[test], labels[test])
            for draw in range(options.draws):
                rng = np.random.default_rng([number, draw])
                classes = [train[labels[train] == label] for label in np.unique(labels[train])]
                some = np.concatenate([rng.permutation(one)[: options.few] for one in classes])
                few += _right(heard[some], labels[some], heard[test], labels[test])
    return right / len(labels), few / len(labels) / options.draws, mismatched / len(labels)


def _right(rows: FloatArray, labels: NDArray[Any], new: FloatArray, expected: NDArray[Any]) -> int:
    return int((make_head("logistic", None).fit(rows, labels).predict(new) == expected).sum())
