"""OpenL3 mel256 from FLAC files beside the bare network from memory, in one run.

The bare network is the same ONNX graph, fed with spectrograms that are in memory already, in the faster of two
set-ups: one session with a thread for each core, or a session of one thread called by a thread for each core. The
files are FLAC at 44.1 kHz, stereo, so decoding, downmix, resampling, framing and the front-end all come on top.
Rounds alternate, since machines are noisy. The limit is what a matrix product of NumPy reaches in the same run.
Weights are seeded.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import onnxruntime
import soundfile

import l3clf
from benchmarks.engine_peak import GFLOP_PER_WINDOW
from benchmarks.materials import embed, seeded_openl3
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import log_spectrogram
from l3clf.embedders import Embedder
from l3clf.embedders.openl3 import CHANNELS, FINAL_POOL, build_graph, front_end
from l3clf.networks.onnx_build import run_graph, session
from l3clf.weights.keras_h5 import read_keras_h5

CORES = joblib.cpu_count()
RATE_HZ = 44_100


@dataclass(frozen=True)
class Options:
    """How much is embedded.

    Attributes
    ----------
    clips : int
    duration_s : float
        Of a clip.
    rounds : int
    matrix : int
        Rows of the matrices whose product is timed.
    """

    clips: int = 8
    duration_s: float = 5.0
    rounds: int = 5
    matrix: int = 3000


def run(options: Options) -> Result:
    """Time the files and the bare network in turns."""
    with tempfile.TemporaryDirectory() as folder:
        weights, paths = seeded_openl3(Path(folder)), _files(Path(folder), options)
        embedder = l3clf.load_embedder("openl3", weights=weights)
        pool, spec = FINAL_POOL["mel256", 512], front_end("mel256")
        graph = build_graph(read_keras_h5(weights), spec, CHANNELS, pool, last_norm=False, file="").SerializeToString()
        windows = np.concatenate([w for path in paths for w in embedder.read_windows(l3clf.Clip(path), 0.5, True)])
        spectrograms = log_spectrogram(spec, windows)[:, np.newaxis]
        _from_files(embedder, paths[:1])
        rounds = [
            (
                _from_files(embedder, paths),
                _one_session(graph, spectrograms),
                _session_for_each_core(graph, spectrograms),
                _matrix_gflops(options.matrix),
            )
            for _ in range(options.rounds)
        ]
    title = f"{CORES} cores, {len(spectrograms)} windows, {options.rounds} rounds"
    columns = ("", ""), ("windows per second", ".2f"), ("the faster bare network = 1", ".3f"), ("GFLOP/s", ".0f")
    return Result((Table(title, columns, _rows(rounds)),))


def _rows(rounds: list[tuple[float, float, float, float]]) -> tuple[tuple[Cell, ...], ...]:
    ours, one, each, product = zip(*rounds, strict=True)
    bare = max((one, each), key=lambda rates: Timing.of(rates).median)
    names = (
        "l3clf from FLAC files",
        f"bare network, one session of {CORES} threads",
        "bare network, a thread for each core",
    )
    rows: list[tuple[Cell, ...]] = []
    for name, rates in zip(names, (ours, one, each), strict=True):
        shares = Timing.of([rate / best for rate, best in zip(rates, bare, strict=True)])
        rows.append((name, Timing.of(rates), shares, GFLOP_PER_WINDOW * Timing.of(rates).median))
    return (*rows, ("float32 matrix product of NumPy", None, None, Timing.of(product)))


def _files(folder: Path, options: Options) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.flac" for i in range(options.clips)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal((int(options.duration_s * RATE_HZ), 2)), RATE_HZ)
    return paths


def _from_files(embedder: Embedder, paths: list[Path]) -> float:
    start = time.perf_counter()
    windows = embed(embedder, [l3clf.Clip(path) for path in paths])
    return sum(map(len, windows)) / (time.perf_counter() - start)


def _one_session(model: bytes, spectrograms: FloatArray) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    graph = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    run_graph(graph, spectrograms[:1])
    start = time.perf_counter()
    for i in range(0, len(spectrograms), 8):
        run_graph(graph, spectrograms[i : i + 8])
    return len(spectrograms) / (time.perf_counter() - start)


def _session_for_each_core(model: bytes, spectrograms: FloatArray) -> float:
    graph = session(model)
    run_graph(graph, spectrograms[:1])
    start = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda i: run_graph(graph, spectrograms[i : i + 1]), range(len(spectrograms))))
    return len(spectrograms) / (time.perf_counter() - start)


def _matrix_gflops(n: int) -> float:
    a = np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    np.matmul(a, a)  # starts the threads
    start = time.perf_counter()
    np.matmul(a, a)
    return 2 * n**3 / (time.perf_counter() - start) / 1e9
