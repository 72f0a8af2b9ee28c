"""OpenL3 mel256 from FLAC files against the bare network from memory, in one run.

    python benchmarks/openl3_speed.py

The bare network is the same ONNX graph, fed with spectrograms that are in memory already, in the faster of two
set-ups: one session with a thread for each core, or one session of one thread for each core. The files are
FLAC at 44.1 kHz, stereo, so decoding, downmix, resampling, framing and the front-end all come on top. Rounds
alternate, since machines are noisy; the medians are compared. The limit is what a matrix product of this
machine's BLAS reaches in the same run. Weights are seeded random ones: speed does not depend on them.
"""

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import onnxruntime
import soundfile

import l3clf
from l3clf.audio.spectrogram import log_spectrogram
from l3clf.embedders.openl3 import CHANNELS, FINAL_POOL, build_graph, front_end
from l3clf.networks.onnx_build import run_graph, session
from l3clf.weights.keras_h5 import read_keras_h5

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "golden"))
from openl3_recipe import write_weights

CORES = joblib.cpu_count()
GMAC_A_WINDOW = 10.2
CLIP_S, RATE_HZ = 5.0, 44_100


def make_files(folder: Path, n: int) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.flac" for i in range(n)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal((int(CLIP_S * RATE_HZ), 2)), RATE_HZ)
    return paths


def from_files(embedder: l3clf.Embedder, paths: list[Path]) -> float:
    start = time.perf_counter()
    windows = l3clf.ClipEmbedder(embedder, cache=None).embed(paths)
    return sum(len(clip) for clip in windows) / (time.perf_counter() - start)


def bare_one_session(model: bytes, spectrograms: np.ndarray) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    graph = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    run_graph(graph, spectrograms[:1])
    start = time.perf_counter()
    for i in range(0, len(spectrograms), 8):
        run_graph(graph, spectrograms[i : i + 8])
    return len(spectrograms) / (time.perf_counter() - start)


def bare_thread_each(model: bytes, spectrograms: np.ndarray) -> float:
    graph = session(model)
    run_graph(graph, spectrograms[:1])
    start = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda i: run_graph(graph, spectrograms[i : i + 1]), range(len(spectrograms))))
    return len(spectrograms) / (time.perf_counter() - start)


def blas_gflops(n: int = 3000) -> float:
    a = np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    a @ a
    start = time.perf_counter()
    a @ a
    return 2 * n**3 / (time.perf_counter() - start) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "openl3_audio_mel256_env-v0_4_0.h5"
        write_weights(weights, "mel256")
        paths = make_files(Path(folder), args.clips)
        embedder = l3clf.load_embedder("openl3", weights=weights)
        layers, spec = read_keras_h5(weights), front_end("mel256")
        pool = FINAL_POOL["mel256", 512]
        model = build_graph(layers, spec, CHANNELS, pool, last_norm=False, file="").SerializeToString()
        windows = np.concatenate([w for path in paths for w in embedder.read_windows(l3clf.Clip(path), 0.5, True)])
        spectrograms = log_spectrogram(spec, windows)[:, np.newaxis]
        from_files(embedder, paths[:1])
        rounds = [
            (
                from_files(embedder, paths),
                bare_one_session(model, spectrograms),
                bare_thread_each(model, spectrograms),
                blas_gflops(),
            )
            for _ in range(args.rounds)
        ]
    ours, one, each, gflops = (statistics.median(column) for column in zip(*rounds, strict=True))
    bare = max(one, each)
    print(f"{CORES} cores, {len(spectrograms)} windows, median of {args.rounds} rounds")
    print(f"bare graph, one session of {CORES} threads    {one:6.2f} windows/s")
    print(f"bare graph, one thread for each core    {each:6.2f} windows/s")
    print(f"l3clf from FLAC files                   {ours:6.2f} windows/s   {ours / bare:.3f} of the faster bare graph")
    used = ours * GMAC_A_WINDOW * 2
    print(
        f"arithmetic: {used:.0f} GFLOP/s, {used / gflops:.0%} of the {gflops:.0f} that a float32 matrix product reaches"
    )


if __name__ == "__main__":
    main()
