"""How seconds and memory grow with the number of clips, where an embedder that costs nothing hides neither.

The clips are files of 50 ms in ten classes; each becomes 40 numbers. Seconds are those of the processor, on one thread,
so that other programs on the machine do not count; memory is the peak of the process during the step. The exponent is
of the seconds between the last two sizes: 1 is linear.

Then `transform` of clips that are in the cache, with 11 windows of 512 numbers each, in seconds of the clock.

What was tried and is not there: a k-d tree of 16 principal directions for near pairs, 0.02 s for FSDD's 3,000 clips
where comparing all takes 0.06 s, but of 3,000 vectors of noise 1.3 % of all pairs were left to compare, a share that
does not fall with n; decoding a long FLAC file a block ahead in a thread of its own, 19 % less time for ten minutes of
44.1 kHz stereo with l3mini (0.36 s of decoding, 0.14 s of mixing, resampling and cutting, 0.21 s of embedding), but a
reader that is left early ends its thread where the garbage collector happens to run, and one of eight runs of the tests
hung there; decoding pieces of the file on several threads has the same threads, and less to win on two cores.
"""

import itertools
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

import l3clf
from benchmarks.environment import say
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import FloatArray
from l3clf.baselines.result import BaselineReport, write_files
from l3clf.baselines.result import Result as Row
from l3clf.classifier.decision import pool_vectors
from l3clf.embedders import Embedder, WindowEmbeddings
from l3clf.errors import L3clfError
from l3clf.evaluate import cross_validate, find_duplicates, make_split, scores
from l3clf.pipeline import content_ids, embed_sources
from l3clf.search import EmbeddingIndex
from l3clf.storage.embedding_cache import EmbeddingCache

RATE_HZ, N_SAMPLES, PER_FOLDER = 8_000, 400, 1000
N_CLASSES, N_QUERIES = 10, 10
HOP_S = 0.005  # 11 windows
SETTLED_S = 2.5  # the cache reads files again that are younger than two seconds


@dataclass(frozen=True)
class Options:
    """How many clips.

    Attributes
    ----------
    sizes : tuple of int
    cached : int
        Clips that are read from the cache.
    rounds : int
        Of that.
    """

    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    cached: int = 2_000
    rounds: int = 5


@dataclass(frozen=True)
class Powers(Embedder):
    """An embedder that costs next to nothing: the power of stretches of a window, repeated."""

    name: ClassVar[str] = "powers"
    sample_rate: ClassVar[int] = RATE_HZ
    window_s: ClassVar[float] = N_SAMPLES / RATE_HZ
    size: int = 40

    @property
    def embedding_size(self) -> int:
        """Length of a vector."""
        return self.size

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows."""
        powers = (windows**2).reshape(len(windows), 40, -1).mean(axis=2)
        return np.asarray(np.resize(np.log(powers + 1e-6).T, (self.size, len(windows))).T, np.float32)


def run(options: Options) -> Result:
    """Measure each step at each size, and reading from the cache."""
    found: dict[str, list[tuple[float, float | None]]] = {}
    for n in options.sizes:
        say(f"{n:,} clips")
        with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
            for step, seconds, peak_mb in _steps(Path(name), n):
                found.setdefault(step, []).append((seconds, peak_mb))
    columns: list[tuple[str, str]] = [("", "")]
    for n in options.sizes:
        columns += [(f"{n:,} clips (s)", ".2f"), ("peak (MB)", ",.0f")]
    rows = [
        (step, *itertools.chain(*each), _exponent(options.sizes, [seconds for seconds, _ in each]))
        for step, each in found.items()
    ]
    growth = Table("Seconds of the processor and peak memory", (*columns, ("exponent", ".2f")), tuple(rows))
    return Result((growth, _cached(options)))


def _exponent(sizes: tuple[int, ...], seconds: list[float]) -> Cell:
    if len(sizes) < 2:
        return None
    return math.log(max(seconds[-1], 1e-6) / max(seconds[-2], 1e-6)) / math.log(sizes[-1] / sizes[-2])


def _steps(folder: Path, n: int) -> Iterator[tuple[str, float, float | None]]:
    """Yield the name, seconds and megabytes of each step with n clips."""
    _write_clips(folder / "clips", n)
    time.sleep(SETTLED_S)
    cache, embedder = EmbeddingCache(folder / "x.sqlite"), Powers()

    def embedded(clips: Any) -> list[WindowEmbeddings]:
        found = embed_sources(embedder, clips, cache=cache, n_jobs=1)
        return [_windows(each) for each in found]

    table = yield from _measured("load a folder", lambda: l3clf.datasets.load(folder / "clips"))
    yield from _measured("describe it, look for problems", lambda: (table.describe(), table.problems()))
    yield from _measured("embed, and store", lambda: embedded(table.clips))
    windows = yield from _measured("embed again, from the cache", lambda: embedded(table.clips))
    split = make_split(table.labels)
    model = l3clf.ClipClassifier(embedder, cache=None)
    answers = yield from _measured(
        "cross-validation of the vectors", lambda: cross_validate(model, windows, table.labels, split, 1)
    )
    row = yield from _measured("its scores", lambda: scores(table.labels, answers.predictions, split.test_fold))
    contents = content_ids(table.clips, cache)
    vectors = np.stack([pool_vectors(each.vectors, "mean") for each in windows])
    pairs = yield from _measured(
        "search for duplicates", lambda: find_duplicates(table.clips, contents, vectors, split)
    )
    full = {"embedder": "powers", "head": "logistic", "pooling": "mean", "seconds": 0.0, "clips_per_s": None, **row}
    report = BaselineReport([Row(full, answers)], model, {"accuracy": 0.1}, table, split, [], [], pairs, vectors)
    (folder / "report").mkdir()
    yield from _measured("report, with pictures", lambda: _check(write_files(report, None, folder / "report")))
    index = EmbeddingIndex(embedder, windows=None, cache=None)
    yield from _measured("index for similar sounds", lambda: index.add(windows))
    yield from _measured(f"{N_QUERIES} similar sounds", lambda: index.search(windows[:N_QUERIES]))


def _measured(name: str, step: Callable[[], Any]) -> Any:
    with _peak() as peak:
        start = time.process_time()
        result = step()
        seconds = time.process_time() - start
    say(f"  {name}: {seconds:.2f} s")
    yield name, seconds, peak[0]
    return result


@contextmanager
def _peak() -> Iterator[list[float | None]]:
    """Measure the peak memory of this process, where Linux lets it be reset."""
    found: list[float | None] = [None]
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if os.access(reset, os.W_OK):
        reset.write_text("5", encoding="ascii")
    yield found
    if os.access(reset, os.W_OK):
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        found[0] = int(lines["VmHWM"].split()[0]) * 1024 / 1e6


def _windows(outcome: WindowEmbeddings | L3clfError) -> WindowEmbeddings:
    if isinstance(outcome, L3clfError):
        raise outcome
    return outcome


def _check(problems: list[L3clfError]) -> None:
    for problem in problems:
        raise problem


def _write_clips(folder: Path, n: int) -> list[Path]:
    """Write files of noise in a folder for each class; the noise of a class rises and falls at its own places."""
    rng = np.random.default_rng(0)
    header = BytesIO()
    soundfile.write(header, np.zeros(N_SAMPLES, np.int16), RATE_HZ, format="WAV")
    before = header.getvalue()[: -2 * N_SAMPLES]
    shapes = rng.normal(0, 0.5, (N_CLASSES, 40))
    paths = []
    for i in range(n):
        path = folder / f"class {i % N_CLASSES}" / f"{i // PER_FOLDER:03d}" / f"{i:06d}.wav"
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        levels = np.exp(shapes[i % N_CLASSES] + rng.normal(0, 0.7, 40))
        sound = (np.repeat(levels, N_SAMPLES // 40) * rng.normal(0, 1500, N_SAMPLES)).clip(-32768, 32767)
        path.write_bytes(before + sound.astype("<i2").tobytes())
        paths.append(path)
    return paths


def _cached(options: Options) -> Table:
    """Time `transform` of clips that are in the cache."""
    with tempfile.TemporaryDirectory() as name:
        paths = _write_clips(Path(name) / "clips", options.cached)
        time.sleep(SETTLED_S)
        model = l3clf.ClipEmbedder(Powers(512), hop_s=HOP_S, cache=Path(name) / "x.sqlite").fit(paths)
        first = model.transform(paths)
        seconds, of_processor = [], []
        for _ in range(options.rounds):
            clock, processor = time.perf_counter(), time.process_time()
            again = model.transform(paths)
            seconds.append(time.perf_counter() - clock)
            of_processor.append(time.process_time() - processor)
        if not np.array_equal(first, again):
            raise L3clfError("growth: the cache gave other vectors than it was given; find out why")
    title = f"`transform` of {options.cached:,} clips in the cache, 11 windows of 512 numbers each"
    columns = ("", ""), ("seconds", ".3f"), ("of the processor", ".3f")
    return Table(title, columns, (("from the cache", Timing.of(seconds), Timing.of(of_processor)),))
