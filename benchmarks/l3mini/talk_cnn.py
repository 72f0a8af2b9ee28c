"""The CNN of the talk, trained from scratch on labels alone: what embeddings are compared with, on ESC-10.

Three blocks of 5x5 convolution and pooling on l3mini's log-mels, each window normalised, windows of silence left out;
the class of a clip is that with the largest mean over its windows. Trained folds are kept in `work`; run the same
command again to resume.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.environment import say
from benchmarks.l3mini.kept import kept
from benchmarks.materials import esc10
from benchmarks.record import Result, Table
from l3clf.audio.clip import FloatArray
from l3clf.distill.architectures import MOMENTUM, keras
from l3clf.embedders.frontend import INPUT_STEPS, levels, quantise_levels, student_spec
from l3clf.evaluate import make_split

SILENT_DB = -60.0  # of a window's power: some clips end in silence that was added to fill five seconds
HOP_S = 0.5


@dataclass(frozen=True)
class Options:
    """How it is trained.

    Attributes
    ----------
    epochs, seed : int
    filters : int
        Of the first convolution.
    work : Path
        Where results of trained folds are kept.
    """

    epochs: int = 20
    seed: int = 0
    filters: int = 24
    work: Path = Path("student-gains")


def run(options: Options) -> Result:
    """Train and classify every fold."""
    table = esc10()
    windows: list[FloatArray] = []
    right = 0
    for number, (training, test) in enumerate(make_split(table.labels, table.folds, table.groups)):

        def make(training: NDArray[np.intp] = training, test: NDArray[np.intp] = test, number: int = number) -> int:
            say(f"talk_cnn: fold {number}")
            windows.extend(_windows_of(table) if not windows else [])
            return _n_right(windows, table.labels, training, test, options)

        right += kept(options.work / "ESC-10" / "talk cnn" / f"fold {number}.json", make)
    columns = ("data", ""), ("epochs", "d"), ("accuracy", ".2%")
    row = ("ESC-10", options.epochs, right / len(table))
    return Result((Table("The talk's CNN from scratch, one seed", columns, (row,)),))


def build_talk_cnn(n_frames: int, n_mels: int, n_classes: int, filters: int) -> Any:
    """Build the network, untrained.

    Returns
    -------
    keras.Model
        (n, n_frames, n_mels, 1) to the logits of the classes (n, n_classes).
    """
    inputs = x = keras.layers.Input((n_frames, n_mels, 1))
    for block, factor in enumerate((1, 2, 2)):
        x = keras.layers.Conv2D(filters * factor, 5, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=MOMENTUM)(x))
        if block < 2:
            x = keras.layers.MaxPooling2D((4, 2))(x)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(64, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(n_classes)(x), name="talk_cnn")


def _windows_of(table: l3clf.ClipTable) -> list[FloatArray]:
    """Log-mel windows of every clip, (n, frames, bands), each window normalised, without silence."""
    embedder = l3clf.load_embedder("l3mini")
    spec = student_spec(embedder.window_s)
    out = []
    for clip in table.clips:
        samples = np.concatenate(list(embedder.read_windows(clip, HOP_S, True)))
        loud = 10 * np.log10(np.mean(samples**2, axis=1) + 1e-12) > SILENT_DB
        x = quantise_levels(levels(spec, samples[loud] if loud.any() else samples)).astype(np.float32)
        x = x / np.float32(INPUT_STEPS)
        out.append((x - x.mean((1, 2), keepdims=True)) / (x.std((1, 2), keepdims=True) + np.float32(1e-3)))
    return out


def _n_right(
    windows: list[FloatArray],
    labels: NDArray[Any],
    training: NDArray[np.intp],
    test: NDArray[np.intp],
    options: Options,
) -> int:
    """Train on some clips and return how many of the others are right."""
    classes, numbers = np.unique(labels, return_inverse=True)
    keras.utils.set_random_seed(options.seed)
    x = np.concatenate([windows[i] for i in training])[..., np.newaxis]
    y = np.concatenate([np.full(len(windows[i]), numbers[i]) for i in training])
    model = build_talk_cnn(x.shape[1], x.shape[2], len(classes), options.filters)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    model.fit(x, y, batch_size=64, epochs=options.epochs, verbose=0)
    shares = [keras.ops.softmax(model(windows[i][..., np.newaxis])).numpy().mean(axis=0) for i in test]
    return int((np.argmax(shares, axis=1) == numbers[test]).sum())
