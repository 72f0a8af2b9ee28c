"""What clips under share-alike licences would add to l3mini, tried on the pool alone.

l3mini is trained on, with half of the share-alike sources and without, on as many windows, and measured on the other
half of the sources; how, `pool_experiments` says. Four to five minutes for each student on two cores of an EPYC, and
as much for each set of examples, once.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.l3mini.kept import kept
from benchmarks.l3mini.make_l3mini import pool_clips, take_over
from benchmarks.l3mini.pool_experiments import FrontEnd, Probe, Sounds, lesson, trained, untrained, whitenings
from benchmarks.l3mini.torch_training import Lesson, Network, held_out_cosines
from benchmarks.materials import l3mini, shared_folder
from benchmarks.record import Cell, Result, Table
from l3clf.distill.student_onnx import fit_embedding

RATE, TO_START_FROM = 2e-3, 6000


@dataclass(frozen=True)
class Options:
    """How it is tried.

    Attributes
    ----------
    seeds, epochs : int
    work : Path
        Where examples and trained students are kept.
    """

    seeds: int = 1
    epochs: int = 8
    work: Path = Path("pool-experiments")


def run(options: Options) -> Result:
    """Train l3mini on with each half of the share-alike sources and without, with each seed."""
    pool, probe = shared_folder() / "data/pool", Probe(options.work)
    plain = Sounds("without share-alike", pool_clips(pool), options.work)
    halves = _halves(pool, probe.paths)
    probed = [np.array([i for i, path in enumerate(probe.paths) if path in half]) for half in halves]
    rows: list[tuple[Cell, ...]] = []
    for number in (None, 0, 1):
        added, name = None, "without share-alike clips"
        if number is not None:
            clips = [l3clf.Clip(pool / path) for path in sorted(halves[number])]
            added, name = Sounds(f"half {number + 1}", clips, options.work), f"with half {number + 1}"
        found = []
        for seed in range(options.seeds):
            folder = options.work / "share-alike" / name

            def make(added: Sounds | None = added, seed: int = seed, folder: Path = folder) -> Any:
                return _measured(added, plain, probed, probe, options.epochs, seed, folder / f"seed {seed}")

            found.append(kept(folder / f"seed {seed}.json", make))
        cosines = [float(np.mean([one[f"cosine_{i}"] for one in found])) for i in range(2)]
        for half in range(2):
            if half != number:
                each = [one[f"probe_{half}"] for one in found]
                text = ", ".join(f"{one:.2%}" for one in each)
                rows.append((name, f"half {half + 1}", len(probed[half]), float(np.mean(each)), text, *cosines))
    columns = (
        ("learned from", ""), ("probed on", ""), ("clips", "d"), ("probe", ".2%"), ("each seed", ""),
        ("to YAMNet", ".3f"), ("to the speech embedding", ".3f"),
    )  # fmt: skip
    return Result((Table("l3mini trained on: probe task, held-out cosines", columns, tuple(rows)),))


def _halves(pool: Path, paths: Sequence[str]) -> list[set[str]]:
    """The share-alike clips in two halves, by source, with about as many of `paths` each."""
    with (pool / "manifest.csv").open(encoding="utf-8") as file:
        source = {row["path"]: row["source"] for row in csv.DictReader(file) if "SA" in row["licence"]}
    counts = Counter(source[path] for path in paths)
    parts: tuple[list[str], list[str]] = ([], [])
    for name in sorted(set(source.values()), key=lambda name: (-counts[name], name)):
        min(parts, key=lambda part: sum(counts[x] for x in part)).append(name)
    return [{path for path, name in source.items() if name in part} for part in parts]


def _measured(
    added: Sounds | None,
    plain: Sounds,
    probed: Sequence[NDArray[np.intp]],
    probe: Probe,
    epochs: int,
    seed: int,
    folder: Path,
) -> Any:
    """Train l3mini on, with some share-alike clips or none, and measure it on each of `probed`."""
    whitened = whitenings(plain.examples)
    measured = lesson(plain.examples, whitened, plain.examples.features)
    lessons = [measured]
    if added is not None:
        n, n_added = (int((~sounds.examples.held_out).sum()) for sounds in (plain, added))
        theirs = round(n * n_added / (n + n_added))
        more = lesson(added.examples, whitened, added.examples.features)
        lessons = [_some_of(measured, n - theirs), _some_of(more, theirs)]
    network = _trained_on(lessons, measured, epochs, seed, folder)
    cosines = {f"cosine_{i}": cosine for i, cosine in enumerate(held_out_cosines(network, [measured]))}
    return cosines | {f"probe_{i}": probe.accuracy(network, FrontEnd(), some) for i, some in enumerate(probed)}


def _some_of(learned: Lesson, n: int) -> Lesson:
    """`n` of the examples to learn from, and those that are held out."""
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(~learned.held_out))[:n]
    rows = np.sort(np.concatenate([chosen, np.flatnonzero(learned.held_out)]))
    targets = [None if part is None else part[rows] for part in learned.targets]
    return Lesson(learned.features[rows], targets, learned.held_out[rows])


def _trained_on(lessons: list[Lesson], plain: Lesson, epochs: int, seed: int, folder: Path) -> Network:
    """Train l3mini on, whose last layer is solved for these targets first."""
    model = untrained(plain.features.shape[1], plain.features.shape[2], 0)
    rows = np.flatnonzero(~plain.held_out)[:: max(1, len(plain.features) // TO_START_FROM)]
    take_over(model, l3mini().onnx, plain.features[rows])
    fit_embedding(model, plain.features[rows], np.hstack([targets[rows] for targets in plain.targets]))
    return trained(model, lessons, epochs, RATE, seed, folder)
