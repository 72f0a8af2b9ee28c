"""Vectors and windows per second of embedders on another provider of ONNX Runtime, such as CUDA, beside the CPU's.

From samples in memory to vectors, with a thread for each core; rounds alternate, since machines are noisy. The
front-end is on the CPU in either case. The difference is the largest of a vector over its largest value, on synthetic
sounds that the check at first use does not have; where that check refuses the provider, or it fails later, the row has
the words of the warning instead.
OpenL3 has seeded weights; EfficientAT has its own, and is left out without the shared data.
"""

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np

import l3clf
from benchmarks.materials import seeded_openl3, students, weights_folder
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import FloatArray
from l3clf.demo.sounds import CLASSES, synthesise
from l3clf.embedders import Embedder
from l3clf.errors import L3clfWarning
from l3clf.networks.providers import ENVIRONMENT_VARIABLE, chosen_providers, difference, short_name

CORES = joblib.cpu_count()


@dataclass(frozen=True)
class Options:
    """How much is embedded.

    Attributes
    ----------
    providers : str, optional
        As `L3CLF_PROVIDERS`, instead of it.
    sounds : int
        Whose vectors are compared; of ten kinds in turn.
    rounds : int
    windows : tuple of int
        That each turn embeds with OpenL3, and with the others.
    batch : int
        Windows in a batch that is larger than the embedder's own.
    """

    providers: str | None = None
    sounds: int = 40
    rounds: int = 5
    windows: tuple[int, ...] = (256, 4096)
    batch: int = 32


def run(options: Options) -> Result:
    """Compare each embedder."""
    names = os.environ.get(ENVIRONMENT_VARIABLE, "") if options.providers is None else options.providers
    with tempfile.TemporaryDirectory() as folder:
        rows = [_row(embedder, names, options) for embedder in _embedders(Path(folder))]
    columns = (
        ("", ""),
        ("provider", ""),
        ("largest difference / largest value", ".1e"),
        ("windows per second on the CPU", ",.1f"),
        ("on the provider", ",.1f"),
        ("CPU = 1", ",.2f"),
        (f"on the provider, {options.batch} at once", ",.1f"),
    )
    return Result((Table(f"{CORES} cores, {options.rounds} rounds", columns, tuple(rows)),))


def _embedders(folder: Path) -> Iterator[Embedder]:
    yield l3clf.load_embedder("openl3", weights=seeded_openl3(folder))
    yield from students()
    if os.environ.get("L3CLF_SHARED") and weights_folder().is_dir():
        yield l3clf.load_embedder("efficientat", weights=weights_folder())


@contextmanager
def _chosen(names: str) -> Iterator[None]:
    before = os.environ.get(ENVIRONMENT_VARIABLE)
    os.environ[ENVIRONMENT_VARIABLE] = names
    try:
        yield
    finally:
        del os.environ[ENVIRONMENT_VARIABLE]
        if before is not None:
            os.environ[ENVIRONMENT_VARIABLE] = before


def _row(embedder: Embedder, names: str, options: Options) -> tuple[Cell, ...]:
    sounds = _sounds(embedder, options.sounds)
    with _chosen(""):
        here, there = replace(embedder), replace(embedder)  # type: ignore[type-var]  # embedders are dataclasses
        expected = here.embed_windows(sounds)
    with _chosen(names), warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", L3clfWarning)
        found = there.embed_windows(sounds)
        provider = ", ".join(map(short_name, chosen_providers()))
        turns = _turns(here, there, options) if provider and not notes else []
        rounds = [[turn() for turn in turns] for _ in range(options.rounds + 1)][1:]
    if notes or not provider:  # also where it failed amid the rounds, which the CPU then went on with
        said = "; ".join(str(note.message) for note in notes) or "none but the CPU"
        return embedder.name, said, None, None, None, None, None
    cpu, other, larger = zip(*rounds, strict=True)
    ratio = Timing.of([a / b for a, b in zip(other, cpu, strict=True)])
    return (
        embedder.name,
        provider,
        difference(found, expected),
        Timing.of(cpu),
        Timing.of(other),
        ratio,
        Timing.of(larger),
    )


def _sounds(embedder: Embedder, n: int) -> FloatArray:
    rng = np.random.default_rng(0)
    rate, size = embedder.sample_rate, embedder.window_samples
    kinds = [CLASSES[i % len(CLASSES)] for i in range(n)]
    clips = [synthesise(kind, rng, 1.5 * embedder.window_s, rate)[:size] for kind in kinds]
    return np.stack(clips).astype(np.float32)


def _turns(here: Embedder, there: Embedder, options: Options) -> list[Callable[[], float]]:
    n = options.windows[0 if here.name == "openl3" else 1]
    windows = np.random.default_rng(0).normal(0, 0.1, (n, here.window_samples)).astype(np.float32)
    sizes = (here, here.batch_windows), (there, there.batch_windows), (there, options.batch)
    return [_turn(embedder, windows, size) for embedder, size in sizes]


def _turn(embedder: Embedder, windows: FloatArray, size: int) -> Callable[[], float]:
    """Return what embeds windows in batches of a size, and returns how many it embedded in a second."""
    batches = [windows[i : i + size] for i in range(0, len(windows), size)]

    def turn() -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(CORES) as pool:
            done = sum(map(len, pool.map(embedder.embed_windows, batches)))
        return done / (time.perf_counter() - start)

    return turn
