"""Windows per second of the package's students, in floats and in integers, and of EfficientAT, beside OpenL3's.

From samples in memory to vectors, front-end included, on all cores; the embedders take turns, since machines are
noisy. OpenL3 has seeded weights; EfficientAT has its own, and is left out without the shared data.
"""

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np

import l3clf
from benchmarks.materials import embed, seeded_openl3, students, weights_folder
from benchmarks.record import Result, Table, Timing
from l3clf.audio.clip import Samples
from l3clf.embedders import Embedder

PEER = "OpenL3 mel256, float32"


@dataclass(frozen=True)
class Options:
    """How much is embedded.

    Attributes
    ----------
    student : str, optional
        A student file instead of those in the package.
    rounds : int
    clips : tuple of int
        That each round embeds with a student in float32, with one in int8, with OpenL3, and with EfficientAT.
    duration_s : float
        Of a clip.
    """

    student: str | None = None
    rounds: int = 5
    clips: tuple[int, ...] = (100, 20, 2, 50)
    duration_s: float = 10.0


def run(options: Options) -> Result:
    """Time the embedders in turns."""
    with tempfile.TemporaryDirectory() as folder:
        floats, integers, openl3, others = options.clips
        racers: dict[str, tuple[Embedder, int]] = {}
        for student in students(options.student):
            racers[f"{student.name}, float32"] = student, floats
            racers[f"{student.name}, int8"] = replace(student, precision="int8"), integers
        if os.environ.get("L3CLF_SHARED"):
            efficientat = l3clf.load_embedder("efficientat", weights=weights_folder())
            racers["efficientat mn04, float32"] = efficientat, others
        racers[PEER] = l3clf.load_embedder("openl3", weights=seeded_openl3(Path(folder))), openl3
        for embedder, _ in racers.values():
            windows_per_s(embedder, 1, options.duration_s)
        rounds = [
            [windows_per_s(embedder, n, options.duration_s) for embedder, n in racers.values()]
            for _ in range(options.rounds)
        ]
    rows = [
        (name, Timing.of([found[i] for found in rounds]), Timing.of([found[i] / found[-1] for found in rounds]))
        for i, name in enumerate(racers)
    ]
    title = f"{joblib.cpu_count()} cores, {options.rounds} rounds"
    return Result((Table(title, (("", ""), ("windows per second", ",.1f"), (f"{PEER} = 1", ",.1f")), tuple(rows)),))


def windows_per_s(embedder: Embedder, n_clips: int, duration_s: float) -> float:
    """Return how many windows of noise in memory are embedded in a second, on all cores."""
    rng = np.random.default_rng(0)
    size = round(embedder.sample_rate * duration_s)
    noise = [rng.normal(0, 0.1, size).astype(np.float32) for _ in range(n_clips)]
    clips = [Samples(samples, embedder.sample_rate) for samples in noise]
    start = time.perf_counter()
    found = embed(embedder, clips)
    return sum(map(len, found)) / (time.perf_counter() - start)
