"""Makes a student kinder to integers: the channels of a layer are brought to similar ranges.

Rule: the function stays what it is. A channel that is divided by a number after its batch normalisation is
multiplied by it in the next layer's kernel: ReLU lets positive factors through (cross-layer equalisation,
Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019). What is equalised
here are the measured ranges of the activations, because one scale has to serve all channels of a tensor, while
kernels have one for each channel.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.distill.architectures import Architecture, build_student, keras
from l3clf.embedders.frontend import INPUT_STEPS

__all__ = ["equalised"]

QUANTILE = 0.999  # of a channel's values: the largest one of all may be an accident
SHARE = 0.5  # of the (logarithmic) difference between channels that is taken out; the rest stays to the kernels
SMALLEST = 1e-3  # of the largest channel: a channel that is always silent is left alone
EXAMPLES = 500


def equalised(architecture: Architecture, student: Any, features: NDArray[np.int8]) -> Any:
    """Return a student that answers the same, with channels of similar ranges.

    Parameters
    ----------
    architecture : Architecture
    student : keras.Model
        Built by `build_student` for that architecture.
    features : array of shape (n, n_frames, n_mels), int8
        Of training examples; the first few hundred are heard.

    Returns
    -------
    keras.Model
        Another one, in its plain form (`fast=False` of `build_student`).
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
    """All convolutions with a ReLU, in order; each feeds the next, through a sum or not."""
    parts = [f"block_{n}_{kind}" for n in range(1, len(architecture.blocks) + 1) for kind in ("depthwise", "pointwise")]
    return ["stem", *parts]


def _tied(architecture: Architecture) -> Iterator[list[str]]:
    """Groups of layers that must share their factors, because their outputs are added."""
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
    """How far each channel of each layer reaches after its ReLU."""
    layers = [layer for layer in student.layers if layer.name.endswith("_relu")]
    x = features[..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS)
    found = keras.Model(student.input, [layer.output for layer in layers]).predict(x, batch_size=100, verbose=0)
    return {
        layer.name.removesuffix("_relu"): np.quantile(values.reshape(-1, values.shape[-1]), QUANTILE, axis=0)
        for layer, values in zip(layers, found, strict=True)
    }


def _factors(group: list[str], ranges: dict[str, FloatArray]) -> Iterator[tuple[str, FloatArray]]:
    reach = np.max([ranges[layer] for layer in group], axis=0)
    silent = reach <= SMALLEST * reach.max()
    logs = np.log(np.where(silent, 1, reach))
    centred = np.where(silent, 0, logs - logs[~silent].mean() if not silent.all() else 0)
    for layer in group:
        yield layer, np.exp(SHARE * centred).astype(np.float32)


def _scale(layer: Any, which: tuple[int, ...], factors: FloatArray) -> None:
    weights = layer.get_weights()
    for i in which:
        weights[i] = weights[i] * factors
    layer.set_weights(weights)
