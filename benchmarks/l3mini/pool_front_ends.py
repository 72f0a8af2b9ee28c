"""Which front-end serves a student best, tried on the pool alone.

Each front-end differs from l3mini's in one thing, and each student starts from random weights; what it is measured
by, `pool_experiments` says. Four to five minutes for each student on two cores of an EPYC, and as much for the
examples, once.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.l3mini.kept import kept
from benchmarks.l3mini.make_l3mini import SIZES, pool_clips
from benchmarks.l3mini.pool_experiments import (
    STUDENT,
    FrontEnd,
    Probe,
    Sounds,
    lesson,
    trained,
    untrained,
    whitenings,
)
from benchmarks.l3mini.torch_training import Lesson, held_out_cosines
from benchmarks.materials import shared_folder
from benchmarks.record import Cell, Result, Table
from l3clf.distill.architectures import keras, macs_of
from l3clf.distill.student_onnx import student_onnx
from l3clf.distill.student_tflite import student_tflite
from l3clf.networks.int8_run import Int8Network
from l3clf.networks.tflite_read import read_tflite

RATE, TO_QUANTISE = 3e-3, 1000
FRONT_ENDS = {
    "as l3mini": FrontEnd(),
    "frames of 16 ms": FrontEnd(frame=256),
    "frames of 25 ms": FrontEnd(frame=400),
    "frames of 64 ms": FrontEnd(frame=1024),
    "hop 20 ms": FrontEnd(hop=320),
    "hop 20 ms; frames of 64 ms": FrontEnd(hop=320, frame=1024),
    "32 bands": FrontEnd(n_mels=32),
    "40 bands": FrontEnd(n_mels=40),
    "48 bands": FrontEnd(n_mels=48),
    "125 to 7500 Hz": FrontEnd(fmin_hz=125, fmax_hz=7500),
    "levels below the window's maximum": FrontEnd(level="below the window's maximum"),
    "levels less the window's mean": FrontEnd(level="less the window's mean"),
    "levels less the window's mean; by their deviation": FrontEnd(level="less the window's mean, by their deviation"),
}
"""l3mini's has frames of 32 ms, hop 10 ms, 64 bands from 60 to 7600 Hz and levels in absolute dB."""


@dataclass(frozen=True)
class Options:
    """What is tried.

    Attributes
    ----------
    names : tuple of str
        Of `FRONT_ENDS`; all when empty.
    seeds, epochs : int
    work : Path
        Where examples and trained students are kept.
    """

    names: tuple[str, ...] = ()
    seeds: int = 1
    epochs: int = 8
    work: Path = Path("pool-experiments")


def run(options: Options) -> Result:
    """Train and measure a student behind each front-end, with each seed."""
    sounds = Sounds("without share-alike", pool_clips(shared_folder() / "data/pool"), options.work)
    probe = Probe(options.work)
    rows: list[tuple[Cell, ...]] = []
    for name in options.names or FRONT_ENDS:
        folder, found = options.work / "front-ends" / name, []
        for seed in range(options.seeds):

            def make(name: str = name, seed: int = seed, folder: Path = folder) -> Any:
                return _measured(FRONT_ENDS[name], seed, options.epochs, sounds, probe, folder / f"seed {seed}")

            found.append(kept(folder / f"seed {seed}.json", make))
        means = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
        keys = ("cosine_0", "cosine_1", "int8_0", "int8_1", "probe")
        each = ", ".join(f"{one['probe']:.2%}" for one in found)
        rows.append((name, means["macs"] / 1e6, means["parameters"], *(means[key] for key in keys), each))
    columns = (
        ("front-end", ""), ("MMAC", ".2f"), ("parameters", ",.0f"),
        ("to YAMNet", ".3f"), ("to the speech embedding", ".3f"), ("to YAMNet, int8", ".3f"),
        ("to the speech embedding, int8", ".3f"), ("probe", ".2%"), ("each seed", ""),
    )  # fmt: skip
    return Result((Table("Students behind several front-ends: held-out cosines, probe task", columns, tuple(rows)),))


def _measured(front_end: FrontEnd, seed: int, epochs: int, sounds: Sounds, probe: Probe, folder: Path) -> Any:
    examples = sounds.examples
    features = np.asarray(examples.features if front_end == FrontEnd() else front_end.of_many(sounds.rendered))
    learned = lesson(examples, whitenings(examples), features)
    model = untrained(features.shape[1], features.shape[2], seed)
    network = trained(model, [learned], epochs, RATE, seed, folder)
    return {
        "macs": macs_of(model),
        "parameters": sum(math.prod(x.dims) for x in student_onnx(STUDENT, model).graph.initializer),
        **{f"cosine_{i}": cosine for i, cosine in enumerate(held_out_cosines(network, [learned]))},
        **{f"int8_{i}": cosine for i, cosine in enumerate(_integer_cosines(model, learned))},
        "probe": probe.accuracy(network, front_end, np.arange(len(probe.paths))),
    }


def _integer_cosines(model: keras.Model, learned: Lesson) -> list[float]:
    """The held-out cosines of the student in integers."""
    rows = np.random.default_rng(0).permutation(np.flatnonzero(~learned.held_out))[:TO_QUANTISE]
    content = student_tflite(STUDENT, model, learned.features[np.sort(rows)])
    network, held = Int8Network(read_tflite(content, "network.tflite")), np.flatnonzero(learned.held_out)
    steps = network.run(learned.features[held][..., np.newaxis]).astype(np.float32) - network.model.output.zero_point
    parts = np.split(steps, [SIZES[0]], axis=1)
    return [
        float(torch.nn.functional.cosine_similarity(torch.from_numpy(part), targets[held]).mean())
        for part, targets in zip(parts, learned.targets, strict=True)
    ]
