"""A trained student becomes an ONNX model, batch normalisation folded, and a network in training again.

Rule: folding loses nothing that is needed: what a batch normalisation was is measured again on examples.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, load_model_from_string, numpy_helper

from l3clf.audio.clip import FloatArray
from l3clf.distill.architectures import Architecture, keras
from l3clf.embedders.frontend import INPUT_STEPS
from l3clf.errors import ParameterError
from l3clf.networks.onnx_build import BATCH_NORM_EPSILON, GraphBuilder, fold_batch_norm

__all__ = ["fit_embedding", "start_from", "student_onnx"]

CALIBRATION = 1024  # examples
RIDGE = 1e-3  # of the mean variance


def student_onnx(architecture: Architecture, student: Any) -> ModelProto:
    """Return a student as ONNX: (n, 1, n_frames, n_mels) levels, as Keras takes them, to (n, size).

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
    kernel, bias = _folded(weights)
    graph.conv(kernel.transpose(0, 1, 3, 2), bias, pads=[0, 0, 0, 0], groups=channels)
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
    groups = kernel.shape[2] if depthwise else 1
    graph.conv(kernel.transpose(0, 1, 3, 2) if depthwise else kernel, bias, stride, pads, groups)
    return sizes[0], sizes[1]


def _folded(weights: Any, depthwise: bool = True) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kernel = next(weights)
    norm = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), weights, strict=False))
    if not depthwise:
        return fold_batch_norm({"kernel": kernel, "bias": np.zeros(kernel.shape[3], np.float32)}, norm)
    channels_last = kernel.transpose(0, 1, 3, 2)
    folded, bias = fold_batch_norm({"kernel": channels_last, "bias": np.zeros(kernel.shape[2], np.float32)}, norm)
    return folded.transpose(0, 1, 3, 2), bias


def start_from(student: Any, onnx: bytes, features: NDArray[np.int8]) -> None:
    """Give a student the weights of another of its architecture: it answers the same, and can be trained on.

    The embedding's layer is taken over where it has the same size. Where the windows are of other lengths, the layer
    that weighs places is stretched in time.

    Parameters
    ----------
    student : keras.Model
        Built by `build_student`.
    onnx : bytes
        The other's network, of a checked student file.
    features : array of shape (n, n_frames, n_mels), int8
        Examples, on which the statistics of each batch normalisation are measured.

    Raises
    ------
    ParameterError
        If the other is of another architecture.
    """
    graph = load_model_from_string(onnx).graph
    named = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    arrays = [named[name] for node in graph.node for name in node.input if name in named]  # as the layers read them
    norms, bias = [], np.zeros(0, np.float32)
    layers = [layer for layer in student.layers if layer.weights]
    if len(arrays) != 2 * sum(not isinstance(layer, keras.layers.BatchNormalization) for layer in layers):
        raise ParameterError("init: has another number of layers; start from a student of the same architecture")
    pairs = iter(zip(arrays[::2], arrays[1::2], strict=True))
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            norms.append((layer, bias))
        else:
            kernel, bias = next(pairs)
            _take_over(layer, kernel, bias)
    _normalise_again(student, norms, features)


def fit_embedding(student: Any, features: NDArray[np.int8], targets: FloatArray) -> None:
    """Solve a student's last layer for new targets, by ridge regression on examples.

    Parameters
    ----------
    student : keras.Model
    features : array of shape (n, n_frames, n_mels), int8
    targets : array of shape (n, size)
    """
    layer = student.get_layer("embedding")
    inner = keras.Model(student.input, layer.input)
    x = features[..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS)
    heard = inner.predict(x, batch_size=500, verbose=0).astype(np.float64)
    mean, wanted = heard.mean(axis=0), targets.mean(axis=0, dtype=np.float64)
    moments = (heard - mean).T @ (heard - mean)
    ridge = RIDGE * np.trace(moments) / len(moments) * np.eye(len(moments))
    kernel = np.linalg.solve(moments + ridge, (heard - mean).T @ (targets - wanted))
    layer.set_weights([kernel, wanted - mean @ kernel])


def _take_over(layer: Any, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    if isinstance(layer, keras.layers.Dense):
        if layer.kernel.shape == kernel.shape:
            layer.set_weights([kernel, bias])
        return
    kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel
    if kernel.shape != tuple(layer.kernel.shape) and kernel.ndim == 4:
        kernel = kernel.transpose(0, 1, 3, 2)  # a depthwise one
    if layer.name == "places":
        kernel = _stretched(kernel, layer.kernel.shape[0])
    if kernel.shape != tuple(layer.kernel.shape):
        raise ParameterError(
            f"init: its layers have other sizes ({kernel.shape} where {tuple(layer.kernel.shape)} is needed); "
            "start from a student of the same architecture"
        )
    layer.set_weights([kernel])


def _stretched(kernel: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """A kernel over places in time, for `n` of them: interpolated, its sum about what it was."""
    before = len(kernel)
    at = (np.arange(n) + 0.5) * before / n - 0.5
    flat = kernel.reshape(before, -1)
    columns = [np.interp(at, np.arange(before), column) for column in flat.T]
    return (np.stack(columns, axis=1) * before / n).reshape(n, *kernel.shape[1:]).astype(np.float32)


def _normalise_again(student: Any, norms: list[tuple[Any, NDArray[np.float32]]], features: NDArray[np.int8]) -> None:
    """Measure what each normalisation gets and let it do nothing but add its bias, at first."""
    ones = [np.ones(len(bias), np.float32) for _, bias in norms]
    for (layer, bias), one in zip(norms, ones, strict=True):
        layer.set_weights([one * np.sqrt(1 + BATCH_NORM_EPSILON), bias, 0 * one, one])
    rows = np.sort(np.random.default_rng(0).permutation(len(features))[:CALIBRATION])
    inner = keras.Model(student.input, [layer.input for layer, _ in norms])
    found = inner(features[rows][..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS), training=False)
    for (layer, bias), z in zip(norms, map(keras.ops.convert_to_numpy, found), strict=True):
        mean, variance = z.mean(axis=(0, 1, 2)), z.var(axis=(0, 1, 2))
        layer.set_weights([np.sqrt(variance + BATCH_NORM_EPSILON), mean + bias, mean, variance])
