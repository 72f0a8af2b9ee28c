"""How many operations a second an inference engine reaches at its best, and the share of that which OpenL3 reaches.

Rule: the peak is measured and not looked up: chains of convolutions with as many channels as registers like, over maps
that stay in the cache, written, quantised and opened as OpenL3 is. A multiply-accumulate is two operations.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import joblib
import numpy as np
from onnx import ModelProto

from benchmarks.record import Cell, Table, Timing
from l3clf.audio.clip import FloatArray
from l3clf.embedders import Embedder
from l3clf.embedders.openl3 import CHANNELS, front_end
from l3clf.networks.onnx_build import GraphBuilder, run_graph, session
from l3clf.networks.onnx_int8 import observe, quantised
from l3clf.networks.openvino_run import OpenVinoNetwork

__all__ = ["GFLOP_PER_WINDOW", "peak_table"]

Call: TypeAlias = Callable[[], object]

CORES = int(joblib.cpu_count())
BANDS, FRAMES, LAYERS = 32, 48, 4  # of the chains; a map of 256 channels takes 0.4 MB in bytes, 1.6 MB in floats
CHAINS = ((1, 512), (3, 256))  # size of the kernels, which makes matrix products of the first, and channels
CALLS = 2  # in a round, for each thread


def _gflop(kernel: int, c_in: int, c_out: int, rows: int, columns: int) -> float:
    return 2e-9 * kernel**2 * c_in * c_out * rows * columns


def _gflop_of_openl3() -> float:
    """Count the convolutions of mel256; each pair is followed by pooling that halves the map."""
    spec = front_end("mel256")
    layers = enumerate(pairwise((1, *CHANNELS)))
    return sum(_gflop(3, *ends, spec.n_bands >> i // 2, spec.n_frames >> i // 2) for i, ends in layers)


GFLOP_PER_WINDOW = _gflop_of_openl3()


def peak_table(embedders: Mapping[str, Embedder], rounds: int) -> Table:
    """Measure the peak and OpenL3 in turns, on one thread and with one for each core.

    Parameters
    ----------
    embedders : mapping of str to Embedder
        OpenL3 (mel256) in some precisions; the front-end takes part, whose operations are not counted.
    rounds : int

    Returns
    -------
    Table
    """
    counts = sorted({1, CORES})
    columns: tuple[tuple[str, str], ...] = (("", ""),)
    for threads in counts:
        at_best = f"peak on {threads} {'thread' if threads == 1 else 'threads'} (GFLOP/s)"
        columns += (at_best, ",.0f"), ("OpenL3", ",.0f"), ("share", ".0%")
    rows = []
    for name, embedder in embedders.items():
        chains, window = _chains(embedder), _noise(1, embedder.window_samples)
        racers: list[tuple[float, Call]] = [*chains, (GFLOP_PER_WINDOW, partial(embedder.embed_windows, window))]
        cells: list[Cell] = [name]
        for threads in counts:
            found = [[gflop * _rate(call, threads) for gflop, call in racers] for _ in range(rounds + 1)][1:]
            best, ours = [max(rates[:-1]) for rates in found], [rates[-1] for rates in found]
            shares = [rate / peak for rate, peak in zip(ours, best, strict=True)]
            cells += [Timing.of(best), Timing.of(ours), Timing.of(shares)]
        rows.append(tuple(cells))
    title = f"Peak of the engine (convolutions of {' and '.join(f'{n} x {n}, {c} channels' for n, c in CHAINS)})"
    return Table(f"{title}, and what OpenL3 mel256 reaches: {rounds} rounds", columns, tuple(rows))


def _chains(embedder: Embedder) -> list[tuple[float, Call]]:
    """Return the operations of each chain in 10^9, and what runs it on the engine and in the precision of OpenL3."""
    found: list[tuple[float, Call]] = []
    for kernel, channels in CHAINS:
        model, x = _chain(kernel, channels), _noise(1, 1, BANDS, FRAMES)
        gflop = LAYERS * _gflop(kernel, channels, channels, BANDS, FRAMES)
        found.append((gflop, partial(_opened(embedder.precision, model, x), x)))  # type: ignore[attr-defined]
    return found


def _chain(kernel: int, channels: int) -> ModelProto:
    rng = np.random.default_rng(0)
    graph = GraphBuilder(BANDS, FRAMES)
    graph.conv(rng.normal(0, 1, (1, 1, 1, channels)), np.zeros(channels))
    for _ in range(LAYERS):
        graph.relu()
        scale = (2 / (kernel**2 * channels)) ** 0.5
        graph.conv(rng.normal(0, scale, (kernel, kernel, channels, channels)), np.zeros(channels))
    graph.max_pool(BANDS, FRAMES)
    graph.flatten_channels_last()
    return graph.build(channels)


def _opened(precision: str, model: ModelProto, x: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Open a network as `l3clf.embedders.number_types.open_network` does, but observed on its own input."""
    if precision == "bfloat16":
        return OpenVinoNetwork(model, "bf16")
    if precision != "float32":
        model = quantised(model, observe(model, [x]))
    return OpenVinoNetwork(model) if precision == "fast" else partial(run_graph, session(model))


def _noise(*shape: int) -> FloatArray:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def _rate(call: Call, threads: int) -> float:
    """Return calls per second of all threads together."""
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        for done in [pool.submit(call) for _ in range(CALLS * threads)]:
            done.result()
        return CALLS * threads / (time.perf_counter() - start)
