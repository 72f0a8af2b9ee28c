"""OpenL3 mel256 and EfficientAT in int8 and bfloat16 beside float32, and beside the graph of the openl3 package.

From samples in memory to vectors, front-end included, on all cores; in each round every racer takes its turn, since
machines are noisy, and ratios are of the same round. The package's graph is rebuilt from the same weights: its
front-end (as kapre computes it) and its network in Keras on TensorFlow, in one compiled function, fed with one batch.
OpenL3's weights are seeded, so its cosines say nothing of the official ones; EfficientAT's are its own. OpenVINO's
rows are there where it is installed. The peak of each engine is measured beside what OpenL3 reaches of it.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import soundfile

import l3clf
from benchmarks.engine_peak import peak_table
from benchmarks.materials import embed, esc10, seeded_openl3, weights_folder
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import hann, mel_filters
from l3clf.embedders import Embedder
from l3clf.embedders.openl3 import CHANNELS, front_end
from l3clf.evaluate.crossval import cross_validate
from l3clf.evaluate.precision_loss import precision_loss
from l3clf.evaluate.splits import make_split
from l3clf.networks.openvino_run import has_openvino
from l3clf.weights.keras_h5 import read_keras_h5

CORES = joblib.cpu_count()
RATE_HZ = 48_000


@dataclass(frozen=True)
class Options:
    """How much is embedded.

    Attributes
    ----------
    rounds : int
    windows : int
        Of OpenL3 in each turn.
    small_windows : int
        Of EfficientAT in each turn.
    clips : int
        Of ESC-10, for the cosines of OpenL3; spread over all.
    keras : bool
        Whether the package's graph takes part, where TensorFlow is installed.
    """

    rounds: int = 7
    windows: int = 16
    small_windows: int = 200
    clips: int = 100
    keras: bool = True


def run(options: Options) -> Result:
    """Measure speed and agreement."""
    with tempfile.TemporaryDirectory() as folder:
        weights = seeded_openl3(Path(folder))
        exact = l3clf.load_embedder("openl3", weights=weights)
        tables = [_openl3_speed(exact, Path(folder), options), peak_table(precisions(exact), options.rounds)]
        if os.environ.get("L3CLF_SHARED"):
            tables.append(_openl3_cosines(exact, options))
            if weights_folder().is_dir():
                tables.append(_efficientat(options))
    return Result(tuple(tables))


def precisions(embedder: Embedder) -> dict[str, Embedder]:
    """Return an embedder in each precision that this machine has."""
    names = {"float32": "ONNX Runtime, float32", "int8": "ONNX Runtime, int8"}
    names |= {"bfloat16": "OpenVINO, bfloat16", "fast": "OpenVINO, int8"} if has_openvino() else {}
    return {said: replace(embedder, precision=name) for name, said in names.items()}  # type: ignore[type-var]


# --- speed ----------------------------------------------------------------------------------------


def _openl3_speed(exact: Embedder, folder: Path, options: Options) -> Table:
    windows = _noise(options.windows, RATE_HZ)
    files = [folder / f"{i}.flac" for i in range(2)]
    for i, path in enumerate(files):
        soundfile.write(path, _noise(2, 44_100 * options.windows // 8, seed=i).T, 44_100)
    clips = [l3clf.Clip(path) for path in files]
    racers: dict[str, Callable[[], int]] = {}
    if options.keras and find_spec("tensorflow"):
        graph = package_graph(exact.weights)  # type: ignore[attr-defined]
        expected, found = exact.embed_windows(windows[:2]), graph(windows[:2])
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())  # or it is another network
        racers["the package's graph (Keras on TensorFlow)"] = lambda: len(graph(windows))
    for name, embedder in precisions(exact).items():
        racers[name] = _from_memory(embedder, windows)
    racers["ONNX Runtime, float32, from FLAC files"] = lambda: sum(map(len, embed(exact, clips)))
    title = f"OpenL3 mel256: {CORES} cores, {options.windows} windows, {options.rounds} rounds"
    return _raced(title, racers, options.rounds, "ONNX Runtime, float32")


def _from_memory(embedder: Embedder, windows: FloatArray) -> Callable[[], int]:
    n = embedder.batch_windows
    batches = [windows[i : i + n] for i in range(0, len(windows), n)]

    def turn() -> int:
        with ThreadPoolExecutor(CORES) as pool:
            return sum(map(len, pool.map(embedder.embed_windows, batches)))

    return turn


def _raced(title: str, racers: dict[str, Callable[[], int]], rounds: int, peer: str) -> Table:
    for turn in racers.values():
        turn()
    rates: dict[str, list[float]] = {name: [] for name in racers}
    for _ in range(rounds):
        for name, turn in racers.items():
            start = time.perf_counter()
            done = turn()
            rates[name].append(done / (time.perf_counter() - start))
    first = next(iter(racers))
    rows: list[tuple[Cell, ...]] = [
        (name, Timing.of(found), _ratio(found, rates[first]), _ratio(found, rates[peer]))
        for name, found in rates.items()
    ]
    columns = ("", ""), ("windows per second", ".1f"), (f"{first} = 1", ".2f"), (f"{peer} = 1", ".2f")
    return Table(title, columns, tuple(rows))


def _ratio(rates: Iterable[float], peers: Iterable[float]) -> Timing:
    return Timing.of([rate / peer for rate, peer in zip(rates, peers, strict=True)])


def _noise(n: int, samples: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(0, 0.1, (n, samples)).astype(np.float32)


def package_graph(weights: str) -> Callable[[FloatArray], Any]:
    """Return the package's graph for mel256: from windows of samples to vectors of 512, compiled by TensorFlow."""
    import keras
    import tensorflow as tf

    spec, layers = front_end("mel256"), read_keras_h5(weights)
    filters, window = tf.constant(mel_filters(spec)), tf.constant(hann(spec.frame))
    stack = [_keras_norm(keras, layers["batch_normalization_1"])]
    for i, channels in enumerate(CHANNELS):
        last = i == len(CHANNELS) - 1
        stack.append(_keras_conv(keras, channels, layers["audio_embedding_layer" if last else f"conv2d_{i + 1}"]))
        if not last:
            stack += [_keras_norm(keras, layers[f"batch_normalization_{i + 2}"]), keras.layers.ReLU()]
            stack += [keras.layers.MaxPooling2D(2)] if i % 2 else []
    stack += [keras.layers.MaxPooling2D((32, 24), padding="same"), keras.layers.Flatten()]
    network = keras.Sequential([keras.Input((spec.n_bands, spec.n_frames, 1)), *(_layer(layer) for layer in stack)])
    for layer in stack:
        if isinstance(layer, tuple):
            layer[0].set_weights(layer[1])
    padding = (spec.n_frames - 1) * spec.hop + spec.frame - RATE_HZ

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def graph(samples: Any) -> Any:
        frames = tf.signal.frame(tf.pad(samples, [[0, 0], [0, padding]]), spec.frame, spec.hop) * window
        bands = tf.abs(tf.signal.rfft(frames)) @ filters
        level = 10 / np.log(10) * tf.math.log(tf.maximum(bands, 1e-10))
        level = tf.maximum(level - tf.reduce_max(level, axis=[1, 2], keepdims=True), -80.0)
        return network(tf.transpose(level, [0, 2, 1])[..., tf.newaxis], training=False)

    return lambda windows: graph(tf.constant(windows)).numpy()


def _layer(layer: Any) -> Any:
    return layer[0] if isinstance(layer, tuple) else layer


def _keras_norm(keras: Any, values: dict[str, FloatArray]) -> tuple[Any, list[FloatArray]]:
    order = ("gamma", "beta", "moving_mean", "moving_variance")
    return keras.layers.BatchNormalization(epsilon=1e-3), [values[name] for name in order]


def _keras_conv(keras: Any, channels: int, values: dict[str, FloatArray]) -> tuple[Any, list[FloatArray]]:
    return keras.layers.Conv2D(channels, 3, padding="same"), [values["kernel"], values["bias"]]


# --- agreement ------------------------------------------------------------------------------------


def _openl3_cosines(exact: Embedder, options: Options) -> Table:
    every = esc10().clips
    clips = every[:: max(1, len(every) // options.clips)][: options.clips]
    found = {name: embed(embedder, clips) for name, embedder in precisions(exact).items()}
    (_, reference), *others = found.items()
    rows = []
    for name, windows in others:
        loss = precision_loss(reference, windows, exact)
        rows.append((name, *_least_and_median(loss.cosines), *_least_and_median(loss.centred)))
    n_windows = sum(map(len, reference))
    title = f"OpenL3 mel256, seeded weights, beside float32: {len(clips)} clips of ESC-10, {n_windows} windows"
    columns = ("", ""), ("least cosine", ".5f"), ("median", ".5f"), ("mean subtracted: least", ".4f"), ("median", ".4f")
    return Table(title, columns, tuple(rows))


def _least_and_median(values: Any) -> tuple[float, float]:
    return float(values.min()), float(np.median(values))


def _efficientat(options: Options) -> Table:
    exact = l3clf.load_embedder("efficientat", weights=weights_folder())
    table = esc10()
    labels = np.asarray(table.labels)
    racing = precisions(exact)
    windows = _noise(options.small_windows, exact.window_samples)
    raced = _raced(
        "", {name: _from_memory(e, windows) for name, e in racing.items()}, options.rounds, "ONNX Runtime, float32"
    )
    split = make_split(labels, folds=np.asarray(table.folds))
    found = {name: embed(embedder, table.clips) for name, embedder in racing.items()}
    reference = found["ONNX Runtime, float32"]
    rows = []
    for (name, rate, ratio, _), clips in zip(raced.rows, found.values(), strict=True):
        answers = cross_validate(l3clf.ClipClassifier(exact, cache=None), clips, labels, split).predictions
        loss = precision_loss(reference, clips, exact)
        rows.append((name, rate, ratio, float((answers == labels).mean()), *_least_and_median(loss.centred)))
    columns = ("", ""), ("windows per second", ".0f"), ("float32 = 1", ".2f"), ("accuracy on ESC-10", ".2%")
    cosines = ("cosine, mean subtracted: least", ".3f"), ("median", ".3f")
    return Table(f"EfficientAT mn04: {CORES} cores, {options.rounds} rounds", (*columns, *cosines), tuple(rows))
