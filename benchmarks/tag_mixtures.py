"""How well taggers tell two sounds at once: mixtures of two ESC-10 clips of different classes, at equal levels.

Both clips of a mixture are of one of ESC-10's own five folds, and the mixture is of that fold: so no clip, and no
recording, is in the mixtures that are learned and in those that are tested. (With clips of two folds in a mixture, each
test would have to leave both folds out of the training, or leak.) In each round every clip is in one mixture, so each
tag is on the same number of mixtures. Levels: the loudest seconds of both clips have the same RMS, because many clips
are a short sound and then digital silence, which would make the sound louder if the whole clip counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from numpy.typing import NDArray

import l3clf
from benchmarks.environment import say
from benchmarks.materials import esc10, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.audio.clip import FloatArray
from l3clf.audio.decode import load
from l3clf.baselines.run import BaselineReport
from l3clf.datasets.tag_text import joined_tags
from l3clf.embedders import load_embedder

RATE_HZ = 44_100
LEVEL_S = 1.0  # the loudest stretch of this length has the level of a clip
PEAK = 0.9
MAX_TRIES = 20_000  # a random pairing of a fold of ESC-10 has no two clips of one class about once in 40 tries
OURS = ("l3base", "l3mini", "l3micro", "mfcc")
ROW = ("embedder", "head", "pooling")
SCORES = ("map", "map_std", "map_low", "map_high", "micro_f1", "macro_f1")


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    embedders : tuple of str
    poolings, forest_poolings : tuple of str
        Those measured with the logistic head, and with the forest.
    permuted : tuple of str
        Embedders that are measured with the tags of a fold's mixtures permuted, too.
    rounds : int
        In how many mixtures each clip is.
    seed : int
    work : path, optional
        Where mixtures and embeddings are kept for another run.
    """

    embedders: tuple[str, ...] = ("l3base", "efficientat", "yamnet", "l3mini", "mfcc")
    poolings: tuple[str, ...] = ("mean", "mean+std", "max")
    forest_poolings: tuple[str, ...] = ("mean",)
    permuted: tuple[str, ...] = ("l3base",)
    rounds: int = 4
    seed: int = 0
    work: Path | None = None


def run(options: Options) -> Result:
    """Make the mixtures, and measure taggers on them."""
    with TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        table = make_mixtures(esc10(), work / f"mixtures-{options.rounds}-{options.seed}", options.rounds, options.seed)
        return _measure(table, options, work)


def make_mixtures(table: l3clf.ClipTable, folder: Path, rounds: int, seed: int) -> l3clf.ClipTable:
    """Write mixtures of two clips of different classes of one fold; return their table, with that fold.

    Parameters
    ----------
    table : ClipTable
        With folds.
    folder : Path
        Mixtures that are there already are kept.
    rounds : int
        In how many mixtures each clip is.
    seed : int
    """
    folder.mkdir(parents=True, exist_ok=True)
    folds = np.asarray(table.folds)
    paths: list[Path] = []
    labels: list[str] = []
    of_fold: list[str] = []
    for fold in np.unique(folds):
        members = np.flatnonzero(folds == fold)
        for k, (i, j) in enumerate(_pairs(table.labels[members], rounds, np.random.default_rng([seed, int(fold)]))):
            a, b = members[i], members[j]
            paths.append(folder / f"{fold}-{k:03d}.flac")
            labels.append(joined_tags({table.labels[a], table.labels[b]}))
            of_fold.append(str(fold))
            if not paths[-1].is_file():
                _write(paths[-1], *(load(table.clips[each], RATE_HZ)[0] for each in (a, b)))
    return l3clf.ClipTable(paths, labels, of_fold)


def _pairs(labels: NDArray[np.generic], rounds: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return pairs of clips of different labels, each clip in one of each round and no pair twice."""
    found: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    for _ in range(MAX_TRIES):
        if len(found) >= rounds * (len(labels) // 2):
            return found
        order = rng.permutation(len(labels))[: len(labels) // 2 * 2].reshape(-1, 2)
        pairs = [(int(a), int(b)) for a, b in np.sort(order, axis=1)]
        if not seen & set(pairs) and (labels[order[:, 0]] != labels[order[:, 1]]).all():
            found += pairs
            seen |= set(pairs)
    raise ValueError(f"{len(labels)} clips: no {rounds} rounds of pairs of different labels; ask for fewer")


def mixed(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return two sounds at once, at equal levels; the shorter is padded with zeros."""
    total = np.zeros(max(len(a), len(b)), np.float64)
    for sound in (a, b):
        total[: len(sound)] += sound / max(_loudest_rms(sound), 1e-9)
    return np.asarray(PEAK * total / max(np.abs(total).max(), 1e-9), np.float32)


def _loudest_rms(sound: FloatArray) -> float:
    """Return the RMS of the loudest second."""
    n = min(len(sound), round(LEVEL_S * RATE_HZ))
    sums = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    return float(np.sqrt((sums[n:] - sums[:-n]).max() / n))


def _write(path: Path, a: FloatArray, b: FloatArray) -> None:
    soundfile.write(path, mixed(a, b), RATE_HZ, subtype="PCM_16")


def _measure(table: l3clf.ClipTable, options: Options, work: Path) -> Result:
    def measured(
        names: Sequence[str], labels: NDArray[np.generic], head: str, poolings: Sequence[str]
    ) -> BaselineReport:
        embedders = [load_embedder(n, **({} if n in OURS else {"weights": weights_folder()})) for n in names]
        data = l3clf.ClipTable(table.clips, labels, table.folds)
        return l3clf.baseline(data, embedders, [head], poolings, tags=True, cache=work / "embeddings.sqlite", say=say)

    report = measured(options.embedders, table.labels, "logistic", options.poolings)
    both = report.table
    if options.forest_poolings:
        both = both + measured(options.embedders, table.labels, "forest", options.forest_poolings).table
    best_first = sorted(both, key=lambda row: -row["map"])
    rows: list[tuple[Cell, ...]] = [tuple(row[column] for column in (*ROW, *SCORES)) for row in best_first]
    for name in options.permuted:
        found = measured([name], _permuted(table, options.seed), "logistic", ["mean"]).best
        rows.append((f"{name}, tags permuted", *(found[column] for column in (*ROW[1:], *SCORES))))
    floor = report.floors
    rows.append(("", "", "every tag for every clip", floor["map"], *[None] * 3, floor["micro_f1"], floor["macro_f1"]))
    columns = (
        ("embedder", ""), ("head", ""), ("pooling", ""), ("mAP", ".3f"), ("spread over folds", ".3f"),
        ("95 % from", ".3f"), ("to", ".3f"), ("micro F1", ".3f"), ("macro F1", ".3f"),
    )  # fmt: skip
    title = f"{len(table)} mixtures of two ESC-10 clips, each clip in {options.rounds}; {report.split.note}"
    note = (
        "The intervals resample mixtures, which share clips: they are somewhat too narrow. F1 is at thresholds that "
        "are learned inside the training folds, with one fold left out at a time."
    )
    return Result((Table(title, columns, tuple(rows)),), (note,))


def _permuted(table: l3clf.ClipTable, seed: int) -> NDArray[np.generic]:
    """Return the labels in an order that has nothing to do with the sounds, within each fold."""
    rng, labels, folds = np.random.default_rng([seed, 1]), table.labels.copy(), np.asarray(table.folds)
    for fold in np.unique(folds):
        members = np.flatnonzero(folds == fold)
        labels[members] = labels[rng.permutation(members)]
    return labels
