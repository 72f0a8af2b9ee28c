"""How many parameters an embedder's network has, and how many multiply-accumulates it takes for a window.

Rule: they are counted in the ONNX graph that the embedder runs, batch normalisation folded, the front-end left out.
Only YAMNet is a TFLite file with its front-end inside; its figures are stated.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime

from l3clf.embedders import Embedder
from l3clf.embedders.student import Student

__all__ = ["graph_size", "size_of"]

# Kernels and biases up to the embedding, as in the file, and the multiplies that tensorflow/models
# (research/audioset/yamnet/README.md) states for a window, of which the classifier takes half a million.
STATED = {"yamnet": (3_195_456, 69_200_000)}


def size_of(embedder: Embedder) -> tuple[int, int] | None:
    """Return parameters, and multiply-accumulates a window; None where there is no network to count in."""
    if embedder.name in STATED:
        return STATED[embedder.name]
    if isinstance(embedder, Student):
        return graph_size(embedder.onnx)
    fresh = pickle.loads(pickle.dumps(embedder))  # noqa: S301  # our own object, without its open session
    with _graphs_opened() as graphs:
        fresh.embed_windows(np.zeros((1, fresh.window_samples), np.float32))
    return max(map(graph_size, graphs), key=itemgetter(1), default=None)  # a front-end's graph is smaller


def graph_size(content: bytes) -> tuple[int, int]:
    """Return parameters and multiply-accumulates of an ONNX graph, for one row of its input."""
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(content))
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    places = {value.name: _dims(value) for value in (*model.graph.value_info, *model.graph.output)}
    macs = sum(_macs(node, weights, places) for node in model.graph.node)
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    return sum(int(np.prod(tensor.dims)) for tensor in floats), macs


def _dims(value: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)  # the batch has no number


def _macs(node: Any, weights: dict[str, tuple[int, ...]], places: dict[str, tuple[int, ...]]) -> int:
    kernel = next((weights[name] for name in node.input if len(weights.get(name, ())) > 1), None)
    if kernel is None or node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    if node.op_type != "Conv":
        return int(np.prod(kernel))
    _, _, *after = places[node.output[0]]
    return int(np.prod(kernel) * np.prod(after))


@contextmanager
def _graphs_opened() -> Iterator[list[bytes]]:
    """Yield a list to which the graph of every session is added that is opened meanwhile."""
    graphs: list[bytes] = []
    opened = onnxruntime.InferenceSession

    def note(content: bytes, *args: Any, **options: Any) -> Any:
        graphs.append(content)
        return opened(content, *args, **options)

    with patch.object(onnxruntime, "InferenceSession", note):
        yield graphs
