"""Prepares a student for quantisation: the channels of each layer are scaled to similar ranges.

Rule: the function of the network stays the same. A channel that is divided by a positive factor after its batch
normalisation is multiplied by it in the next layer's kernel, because ReLU lets positive factors through (cross-layer
equalisation: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019). Unlike there,
the measured ranges of the activations are equalised: all channels of a tensor share one scale, while kernels have one
per channel.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.distill.architectures import Architecture, as_input, build_student, keras

__all__ = ["equalised"]

QUANTILE = 0.999  # of a channel's values: the maximum may be an outlier
SHARE = 0.5  # of the logarithmic differences between channels that is removed; the kernels' own scales take the rest
MIN_RANGE = 1e-3  # of the widest channel: a channel below it is never active and is left alone
EXAMPLES = 500


def equalised(architecture: Architecture, student: Any, features: NDArray[np.int8]) -> Any:
    """Return a student with the same embeddings whose channels have similar ranges.

    Parameters
    ----------
    architecture : Architecture
    student : keras.Model
        Built by `build_student` for that architecture.
    features : array of shape (n, n_frames, n_mels), int8
        Of training examples; ranges are measured on the first 500.

    Returns
    -------
    keras.Model
        A new model, in the form for conversion (`fast=False` of `build_student`).
    """
    _, n_frames, n_mels, _ = student.input.shape
    plain = build_student(architecture, n_frames, n_mels, student.output.shape[-1], fast=False)
    plain.set_weights(student.get_weights())
    ranges = _ranges(student, features[:EXAMPLES])
    factors = {layer: factor for group in _tied(architecture) for layer, factor in _factors(group, ranges)}
    layers = _layers(architecture)
    for layer, following in zip(layers, [*layers[1:], "places"], strict=True):
        _scale(plain.get_layer(f"{layer}_norm"), (0, 1), np.reciprocal(factors[layer]))  # its gamma and its beta
        _scale(plain.get_layer(following), (0,), factors[layer][:, np.newaxis])
    return plain


def _layers(architecture: Architecture) -> list[str]:
    """Return all convolutions with a ReLU, in order; each feeds the next, directly or through a sum."""
    parts = [f"block_{n}_{kind}" for n in range(1, len(architecture.blocks) + 1) for kind in ("depthwise", "pointwise")]
    return ["stem", *parts]


def _tied(architecture: Architecture) -> Iterator[list[str]]:
    """Yield the groups of layers that must share their factors because their outputs are added."""
    group, channels = ["stem"], architecture.stem
    for n, (wide, stride) in enumerate(architecture.blocks, 1):
        yield [f"block_{n}_depthwise"]
        if stride == 1 and wide == channels:
            group.append(f"block_{n}_pointwise")
        else:
            yield group
            group = [f"block_{n}_pointwise"]
        channels = wide
    yield group


def _ranges(student: Any, features: NDArray[np.int8]) -> dict[str, FloatArray]:
    """Return the range of each channel of each layer after its ReLU."""
    layers = [layer for layer in student.layers if layer.name.endswith("_relu")]
    inner = keras.Model(student.input, [layer.output for layer in layers])
    found = inner.predict(as_input(features), batch_size=100, verbose=0)
    return {
        layer.name.removesuffix("_relu"): np.quantile(values.reshape(-1, values.shape[-1]), QUANTILE, axis=0)
        for layer, values in zip(layers, found, strict=True)
    }


def _factors(group: list[str], ranges: dict[str, FloatArray]) -> Iterator[tuple[str, FloatArray]]:
    widest = np.max([ranges[layer] for layer in group], axis=0)
    silent = widest <= MIN_RANGE * widest.max()
    logs = np.log(np.where(silent, 1, widest))
    centred = np.where(silent, 0, logs - logs[~silent].mean() if not silent.all() else 0)
    for layer in group:
        yield layer, np.exp(SHARE * centred).astype(np.float32)


def _scale(layer: Any, which: tuple[int, ...], factors: FloatArray) -> None:
    weights = layer.get_weights()
    for i in which:
        weights[i] = weights[i] * factors
    layer.set_weights(weights)
