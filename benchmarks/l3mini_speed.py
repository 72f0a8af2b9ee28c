"""Windows per second of the package's students, in floats and in integers, and of EfficientAT, beside OpenL3's.

From samples in memory to vectors, front-end included, on all cores; the embedders take turns, since machines are
noisy. OpenL3 has seeded weights; EfficientAT has its own, and is left out without the shared data. A second table has
the networks in integers alone, on one thread, beside LiteRT, whose values may be steps away.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import joblib
import numpy as np

import l3clf
from benchmarks.materials import embed, seeded_openl3, students, weights_folder
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import Samples
from l3clf.embedders import Embedder
from l3clf.embedders.frontend import Int8Array
from l3clf.networks.threads import one_blas_thread

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
    windows : int
        Of the networks alone.
    """

    student: str | None = None
    rounds: int = 5
    clips: tuple[int, ...] = (100, 20, 2, 50)
    duration_s: float = 10.0
    windows: int = 64


def run(options: Options) -> Result:
    """Time the embedders in turns."""
    with tempfile.TemporaryDirectory() as folder:
        floats, integers, openl3, others = options.clips
        racers: dict[str, tuple[Embedder, int]] = {}
        for student in students(options.student):
            racers[f"{student.name}, float32"] = student, floats
            racers[f"{student.name}, int8"] = replace(student, precision="int8"), integers
        if os.environ.get("L3CLF_SHARED") and weights_folder().is_dir():
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
    tables = [Table(title, (("", ""), ("windows per second", ",.1f"), (f"{PEER} = 1", ",.1f")), tuple(rows))]
    if find_spec("ai_edge_litert"):
        tables.append(_networks(options))
    return Result(tuple(tables))


def windows_per_s(embedder: Embedder, n_clips: int, duration_s: float) -> float:
    """Return how many windows of noise in memory are embedded in a second, on all cores."""
    rng = np.random.default_rng(0)
    size = round(embedder.sample_rate * duration_s)
    noise = [rng.normal(0, 0.1, size).astype(np.float32) for _ in range(n_clips)]
    clips = [Samples(samples, embedder.sample_rate) for samples in noise]
    start = time.perf_counter()
    found = embed(embedder, clips)
    return sum(map(len, found)) / (time.perf_counter() - start)


# --- the networks alone ---------------------------------------------------------------------------


def _networks(options: Options) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for student in students(options.student):
        network = replace(student, precision="int8").network
        shape = options.windows, *network.model.input.shape[1:]
        levels = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
        racers = network.run, _litert(student.tflite)
        with one_blas_thread():
            ours, theirs = (racer(levels) for racer in racers)
            rounds = [[_rate(racer, levels) for racer in racers] for _ in range(options.rounds)]
        ratio = Timing.of([found[0] / found[1] for found in rounds])
        apart = int(np.abs(ours.astype(int) - theirs).max())
        rows.append((student.name, *(Timing.of([found[i] for found in rounds]) for i in range(2)), ratio, apart))
    columns = ("", ""), ("windows per second", ",.0f"), ("LiteRT", ",.0f"), ("LiteRT = 1", ".2f"), ("steps apart", ",")
    title = f"Networks in integers alone: one thread, noise, {options.windows} windows, {options.rounds} rounds"
    return Table(title, columns, tuple(rows))


def _rate(racer: Callable[[Int8Array], Int8Array], levels: Int8Array) -> float:
    start = time.perf_counter()
    racer(levels)
    return len(levels) / (time.perf_counter() - start)


def _litert(tflite: bytes) -> Callable[[Int8Array], Int8Array]:
    """Return what runs a network a window at a time, as its file says."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite, num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(levels: Int8Array) -> Int8Array:
        found = []
        for window in levels:
            interpreter.set_tensor(source, window[np.newaxis])
            interpreter.invoke()
            found.append(interpreter.get_tensor(target)[0])
        return np.array(found)

    return run
