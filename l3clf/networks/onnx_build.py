"""Layers become an ONNX model: the one writer for every network we run.

Rule: batch normalisation is folded into the convolution before it, in double precision; the graph
takes (n, 1, bands, frames) and gives (n, size), so that nothing is left for the caller to know.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from l3clf.errors import WeightsError

__all__ = ["GraphBuilder", "Weights", "fold_batch_norm", "run_graph", "session"]

Weights = dict[str, NDArray[np.float32]]

IR_VERSION, OPSET = 8, 17  # old enough for every ONNX Runtime we allow
BATCH_NORM_EPSILON = 1e-3  # Keras' default, used by OpenL3 and EdgeL3


@dataclass
class GraphBuilder:
    """Collects layers in order; each method adds one and the next takes its output.

    Channels come first here; Keras kernels (height, width, in, out) are transposed on the way in.
    """

    bands: int
    frames: int
    nodes: list[NodeProto] = field(default_factory=list)
    initializers: list[TensorProto] = field(default_factory=list)
    last: str = "input"

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(self, op: str, *extra: str, **attributes: object) -> None:
        out = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, *extra], [out], **attributes))
        self.last = out

    def affine(self, scale: float, shift: float) -> None:
        """Add ``x * scale + shift``."""
        n = len(self.nodes)
        self._node("Mul", self._constant(f"scale_{n}", np.float32(scale).reshape(1)))
        self._node("Add", self._constant(f"shift_{n}", np.float32(shift).reshape(1)))

    def conv(
        self,
        kernel: NDArray[np.floating],
        bias: NDArray[np.floating],
        stride: int = 1,
        pads: Sequence[int] | None = None,
        groups: int = 1,
    ) -> None:
        """Add a convolution; with `pads` left out, of stride 1 and padded with zeros to the same size ('same').

        `pads` are top, left, bottom, right. A depthwise kernel is (height, width, 1, channels), with as many
        groups as channels.
        """
        n = len(self.nodes)
        height, width = kernel.shape[:2]
        weights = self._constant(f"kernel_{n}", kernel.transpose(3, 2, 0, 1).astype(np.float32))
        offset = self._constant(f"bias_{n}", bias.astype(np.float32))
        around = [(height - 1) // 2, (width - 1) // 2, height // 2, width // 2] if pads is None else list(pads)
        more: dict[str, object] = {} if stride == 1 else {"strides": [stride, stride]}
        more |= {} if groups == 1 else {"group": groups}
        self._node("Conv", weights, offset, kernel_shape=[height, width], pads=around, **more)

    def add(self, other: str) -> None:
        """Add what an earlier node gave (its name was `last` then)."""
        self._node("Add", other)

    def dense(self, kernel: NDArray[np.floating], bias: NDArray[np.floating]) -> None:
        """Flatten what is one pixel large, and add a dense layer: kernel (in, out), bias (out,)."""
        self._node("Flatten", axis=1)
        n = len(self.nodes)
        weights = self._constant(f"kernel_{n}", kernel.astype(np.float32))
        self._node("Gemm", weights, self._constant(f"bias_{n}", bias.astype(np.float32)))

    def relu(self) -> None:
        """Add ``max(x, 0)``."""
        self._node("Relu")

    def max_pool(self, height: int, width: int) -> None:
        """Add max-pooling whose stride is its size; what does not fill a pool is dropped ('valid')."""
        self._node("MaxPool", kernel_shape=[height, width], strides=[height, width])

    def flatten_channels_last(self) -> None:
        """Add the flattening of Keras: channels vary fastest."""
        self._node("Transpose", perm=[0, 2, 3, 1])
        self._node("Flatten", axis=1)

    def build(self, size: int) -> ModelProto:
        """Return the model; `size` is the length of an output vector."""
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, self.bands, self.frames])]
        self.nodes[-1].output[0] = "output"
        outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", size])]
        graph = helper.make_graph(self.nodes, "l3clf", inputs, outputs, self.initializers)
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="l3clf",
        )


def fold_batch_norm(conv: Weights, norm: Weights | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return kernel and bias of a convolution with the batch normalisation after it folded in.

    Parameters
    ----------
    conv : dict
        ``kernel`` (height, width, in, out) and ``bias`` (out,).
    norm : dict or None
        ``gamma``, ``beta``, ``moving_mean``, ``moving_variance``, each (out,).
    """
    kernel, bias = conv["kernel"].astype(np.float64), conv["bias"].astype(np.float64)
    if norm is None:
        return kernel, bias
    scale, shift = norm_scale_shift(norm)
    return kernel * scale, bias * scale + shift


def norm_scale_shift(norm: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a batch normalisation at inference as ``x * scale + shift``."""
    variance = norm["moving_variance"].astype(np.float64)
    scale = norm["gamma"] / np.sqrt(variance + BATCH_NORM_EPSILON)
    return scale, norm["beta"] - norm["moving_mean"] * scale


def check_layers(
    found: dict[str, Weights], expected: Sequence[tuple[str, dict[str, tuple[int, ...]]]], file: str
) -> None:
    """Check the layers of a weight file against what the network needs.

    Raises
    ------
    WeightsError
        If a layer or an array is missing or has another shape.
    """
    for layer, arrays in expected:
        for name, shape in arrays.items():
            array = found.get(layer, {}).get(name)
            if array is None:
                raise WeightsError(f"{file}: has no {layer}/{name}; is it a weight file of this model?")
            if array.shape != shape:
                raise WeightsError(
                    f"{file}: {layer}/{name} has shape {array.shape}, expected {shape}; "
                    "is it a weight file of this model?"
                )


def session(model: ModelProto | bytes) -> onnxruntime.InferenceSession:
    """Open an inference session with one thread: whoever wants more cores calls it from several threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_graph(graph: onnxruntime.InferenceSession, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a session with one input and one output."""
    out: NDArray[np.float32] = graph.run(None, {graph.get_inputs()[0].name: x})[0]
    return out
