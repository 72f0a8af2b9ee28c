"""Exports a trained student to ONNX with batch normalisation folded, and reads it back for further training.

Rule: folding loses nothing that training needs, because the statistics of each batch normalisation are measured again
on examples.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, load_model_from_string, numpy_helper

from l3clf.audio.clip import FloatArray
from l3clf.distill.architectures import Architecture, as_input, keras
from l3clf.errors import ParameterError
from l3clf.networks.onnx_build import BATCH_NORM_EPSILON, GraphBuilder, fold_batch_norm

__all__ = ["fit_embedding", "start_from", "student_onnx"]

CALIBRATION = 1024  # examples
RIDGE = 1e-3  # regularisation, as a share of the features' mean variance


def student_onnx(architecture: Architecture, student: Any) -> ModelProto:
    """Return a student as ONNX: levels of shape (n, 1, n_frames, n_mels), scaled as for Keras, to (n, size).

    Parameters
    ----------
    architecture : Architecture
    student : keras.Model
        Built by `build_student` for that architecture.
    """
    _, n_frames, n_mels, _ = student.input.shape
    weights = iter(student.get_weights())
    graph, map_size = GraphBuilder(n_frames, n_mels), (n_frames, n_mels)
    map_size = _conv(graph, weights, map_size, 4)
    graph.relu()
    channels = architecture.stem
    for wide, stride in architecture.blocks:
        before = graph.last
        map_size = _conv(graph, weights, map_size, stride, depthwise=True)
        graph.relu()
        _conv(graph, weights, map_size, 1)
        graph.relu()
        if stride == 1 and wide == channels:
            graph.add(before)
        channels = wide
    kernel, bias = _folded(weights, depthwise=True)
    graph.conv(kernel, bias, pads=[0, 0, 0, 0], groups=channels)
    size = student.output.shape[-1]
    graph.dense(next(weights), next(weights))
    return graph.build(int(size))


def _conv(
    graph: GraphBuilder, weights: Any, map_size: tuple[int, int], stride: int, depthwise: bool = False
) -> tuple[int, int]:
    kernel, bias = _folded(weights, depthwise)
    sizes = [-(-n // stride) for n in map_size]
    short = [max((out - 1) * stride + k - n, 0) for out, k, n in zip(sizes, kernel.shape[:2], map_size, strict=True)]
    pads = [short[0] // 2, short[1] // 2, short[0] - short[0] // 2, short[1] - short[1] // 2]
    graph.conv(kernel, bias, stride, pads, kernel.shape[3] if depthwise else 1)
    return sizes[0], sizes[1]


def _folded(weights: Any, depthwise: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the next kernel, its output channels last, and bias, with the batch normalisation behind it folded in."""
    kernel = next(weights)
    if depthwise:  # Keras has its channels in axis 2
        kernel = kernel.transpose(0, 1, 3, 2)
    norm = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), weights, strict=False))
    return fold_batch_norm({"kernel": kernel, "bias": np.zeros(kernel.shape[3], np.float32)}, norm)


def start_from(student: Any, onnx: bytes, features: NDArray[np.int8]) -> None:
    """Give a student the weights of another of the same architecture, ready for further training.

    The embedding's layer is copied only if it has the same size. If the windows differ in length, the layer `places`
    is stretched in time.

    Parameters
    ----------
    student : keras.Model
        Built by `build_student`.
    onnx : bytes
        The network of the other student, from a checked student file.
    features : array of shape (n, n_frames, n_mels), int8
        Examples to measure the statistics of each batch normalisation on.

    Raises
    ------
    ParameterError
        If the other student has another architecture.
    """
    graph = load_model_from_string(onnx).graph
    named = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    arrays = [named[name] for node in graph.node for name in node.input if name in named]  # in the order of the layers
    norms, bias = [], np.zeros(0, np.float32)
    layers = [layer for layer in student.layers if layer.weights]
    if len(arrays) != 2 * sum(not isinstance(layer, keras.layers.BatchNormalization) for layer in layers):
        raise ParameterError("init: different number of layers; start from a student of the same architecture")
    pairs = iter(zip(arrays[::2], arrays[1::2], strict=True))
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            norms.append((layer, bias))
        else:
            kernel, bias = next(pairs)
            _take_over(layer, kernel, bias)
    _normalise_again(student, norms, features)


def fit_embedding(student: Any, features: NDArray[np.int8], targets: FloatArray) -> None:
    """Fit a student's last layer to new targets by ridge regression.

    Parameters
    ----------
    student : keras.Model
    features : array of shape (n, n_frames, n_mels), int8
    targets : array of shape (n, size)
    """
    layer = student.get_layer("embedding")
    inner = keras.Model(student.input, layer.input)
    hidden = inner.predict(as_input(features), batch_size=500, verbose=0).astype(np.float64)
    mean, wanted = hidden.mean(axis=0), targets.mean(axis=0, dtype=np.float64)
    moments = (hidden - mean).T @ (hidden - mean)
    ridge = RIDGE * np.trace(moments) / len(moments) * np.eye(len(moments))
    kernel = np.linalg.solve(moments + ridge, (hidden - mean).T @ (targets - wanted))
    layer.set_weights([kernel, wanted - mean @ kernel])


def _take_over(layer: Any, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    if isinstance(layer, keras.layers.Dense):
        if layer.kernel.shape == kernel.shape:
            layer.set_weights([kernel, bias])
        return
    kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel
    if kernel.shape != tuple(layer.kernel.shape) and kernel.ndim == 4:
        kernel = kernel.transpose(0, 1, 3, 2)  # depthwise: Keras has the channels in axis 2
    if layer.name == "places":
        kernel = _stretched(kernel, layer.kernel.shape[0])
    if kernel.shape != tuple(layer.kernel.shape):
        raise ParameterError(
            f"init: layer of shape {kernel.shape} instead of {tuple(layer.kernel.shape)}; "
            "start from a student of the same architecture"
        )
    layer.set_weights([kernel])


def _stretched(kernel: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Return a kernel interpolated to `n` places in time, scaled so that its sum stays about the same."""
    before = len(kernel)
    at = (np.arange(n) + 0.5) * before / n - 0.5
    flat = kernel.reshape(before, -1)
    columns = [np.interp(at, np.arange(before), column) for column in flat.T]
    return (np.stack(columns, axis=1) * before / n).reshape(n, *kernel.shape[1:]).astype(np.float32)


def _normalise_again(student: Any, norms: list[tuple[Any, NDArray[np.float32]]], features: NDArray[np.int8]) -> None:
    """Measure the input of each normalisation, and set its weights so that it only adds the folded bias."""
    # In two passes: with all of them neutral the network computes what the folded one did, and can be measured.
    ones = [np.ones(len(bias), np.float32) for _, bias in norms]
    for (layer, bias), one in zip(norms, ones, strict=True):
        layer.set_weights([one * np.sqrt(1 + BATCH_NORM_EPSILON), bias, 0 * one, one])
    rows = np.sort(np.random.default_rng(0).permutation(len(features))[:CALIBRATION])
    inner = keras.Model(student.input, [layer.input for layer, _ in norms])
    found = inner(as_input(features[rows]), training=False)
    for (layer, bias), z in zip(norms, map(keras.ops.convert_to_numpy, found), strict=True):
        mean, variance = z.mean(axis=(0, 1, 2)), z.var(axis=(0, 1, 2))
        layer.set_weights([np.sqrt(variance + BATCH_NORM_EPSILON), mean + bias, mean, variance])
