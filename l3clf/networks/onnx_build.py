"""Building ONNX models from layers: the one writer for every floating-point network that we run.

Rule: batch normalisation is folded into the convolution before it, in double precision; every graph maps
(n, 1, bands, frames) to (n, size), so that the caller needs to know nothing else about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from l3clf.errors import WeightsError

__all__ = ["GraphBuilder", "Weights", "fold_batch_norm", "run_graph", "session"]

Weights = dict[str, NDArray[np.float32]]
Dense: TypeAlias = tuple[NDArray[np.floating], NDArray[np.floating]]

IR_VERSION, OPSET = 8, 17  # old enough for every ONNX Runtime that we support
BATCH_NORM_EPSILON = 1e-3  # Keras' default, used by OpenL3 and EdgeL3


@dataclass
class GraphBuilder:
    """Collects layers in order: each method adds one, whose output the next one takes.

    Channels come first in ONNX; Keras kernels (height, width, in, out) are transposed when they are added.

    Parameters
    ----------
    bands, frames : int
        Height and width of the input.
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
        """Add a convolution.

        Parameters
        ----------
        kernel : array of shape (height, width, in, out)
            A depthwise kernel is (height, width, 1, channels), with as many groups as channels.
        bias : array of shape (out,)
        stride, groups : int
        pads : sequence of 4 int, optional
            Top, left, bottom, right. None pads to the size of the input ('same'), for a stride of 1.
        """
        n = len(self.nodes)
        height, width = kernel.shape[:2]
        weights = self._constant(f"kernel_{n}", kernel.transpose(3, 2, 0, 1).astype(np.float32))
        offset = self._constant(f"bias_{n}", bias.astype(np.float32))
        # As Keras does, an odd row or column of padding goes behind.
        around = [(height - 1) // 2, (width - 1) // 2, height // 2, width // 2] if pads is None else list(pads)
        more: dict[str, object] = {} if stride == 1 else {"strides": [stride, stride]}
        more |= {} if groups == 1 else {"group": groups}
        self._node("Conv", weights, offset, kernel_shape=[height, width], pads=around, **more)

    def add(self, other: str) -> None:
        """Add the output of an earlier layer, by its name (the value of `last` at that time)."""
        self._node("Add", other)

    def dense(self, kernel: NDArray[np.floating], bias: NDArray[np.floating]) -> None:
        """Flatten a map of one pixel, and add a dense layer with kernel (in, out) and bias (out,)."""
        self.flatten()
        n = len(self.nodes)
        weights = self._constant(f"kernel_{n}", kernel.astype(np.float32))
        self._node("Gemm", weights, self._constant(f"bias_{n}", bias.astype(np.float32)))

    def relu(self) -> None:
        """Add ``max(x, 0)``."""
        self._node("Relu")

    def hard_swish(self) -> None:
        """Add ``x * clip(x / 6 + 0.5, 0, 1)``."""
        x = self.last
        self._node("HardSigmoid", alpha=1 / 6, beta=0.5)
        self._node("Mul", x)

    def squeeze_excite(self, squeeze: Dense, excite: Dense) -> None:
        """Multiply each channel by a factor that two dense layers compute from the means of all (Hu et al., 2018).

        Parameters
        ----------
        squeeze, excite : pair of arrays
            Kernel (in, out) and bias (out,); a rectifier follows the first layer, a sigmoid the second.
        """
        x = self.last
        self.global_mean()
        for (kernel, bias), activation in ((squeeze, "Relu"), (excite, "Sigmoid")):
            self.conv(kernel[np.newaxis, np.newaxis], bias)
            self._node(activation)
        self._node("Mul", x)

    def global_mean(self) -> None:
        """Add the mean of each channel over bands and frames: a map of one pixel."""
        self._node("GlobalAveragePool")

    def flatten(self) -> None:
        """Flatten a map of one pixel."""
        self._node("Flatten", axis=1)

    def max_pool(self, height: int, width: int) -> None:
        """Add max-pooling with its size as stride, without padding: an incomplete pool is dropped ('valid')."""
        self._node("MaxPool", kernel_shape=[height, width], strides=[height, width])

    def flatten_channels_last(self) -> None:
        """Flatten as Keras does, with channels varying fastest."""
        self._node("Transpose", perm=[0, 2, 3, 1])
        self._node("Flatten", axis=1)

    def build(self, size: int) -> ModelProto:
        """Return the model, whose output vectors have length `size`."""
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, self.bands, self.frames])]
        self.nodes[-1].output[0] = "output"  # instead of a name that depends on the number of layers
        outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", size])]
        graph = helper.make_graph(self.nodes, "l3clf", inputs, outputs, self.initializers)
        return as_model(graph)


def as_model(graph: GraphProto) -> ModelProto:
    """Return a graph as a model with the versions that we write."""
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[opset], producer_name="l3clf")


def fold_batch_norm(conv: Weights, norm: Weights | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the kernel and bias of a convolution that includes the batch normalisation after it.

    Parameters
    ----------
    conv : dict
        ``kernel`` (height, width, in, out) and ``bias`` (out,).
    norm : dict or None
        ``gamma``, ``beta``, ``moving_mean``, ``moving_variance``, each (out,); None for no normalisation.

    Returns
    -------
    kernel : array of shape (height, width, in, out), float64
    bias : array of shape (out,), float64
    """
    kernel, bias = conv["kernel"].astype(np.float64), conv["bias"].astype(np.float64)
    if norm is None:
        return kernel, bias
    scale, shift = norm_scale_shift(norm)
    return kernel * scale, bias * scale + shift


def norm_scale_shift(norm: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scale and shift of a batch normalisation at inference: ``x * scale + shift``."""
    # In double precision: rounded once, to float32, when the product with the kernel is stored.
    variance = norm["moving_variance"].astype(np.float64)
    scale = norm["gamma"] / np.sqrt(variance + BATCH_NORM_EPSILON)
    return scale, norm["beta"] - norm["moving_mean"] * scale


def check_layers(
    found: dict[str, Weights], expected: Sequence[tuple[str, dict[str, tuple[int, ...]]]], file: str
) -> None:
    """Check that a weight file holds the layers that the network needs.

    Raises
    ------
    WeightsError
        If a layer or an array is missing or has another shape.
    """
    for layer, arrays in expected:
        for name, shape in arrays.items():
            array = found.get(layer, {}).get(name)
            if array is None:
                raise WeightsError(f"{file}: has no {layer}/{name}; give a weight file of this model")
            if array.shape != shape:
                problem = f"{layer}/{name} has shape {array.shape}, expected {shape}"
                raise WeightsError(f"{file}: {problem}; give a weight file of this model")


def session_options(threads: int = 1) -> onnxruntime.SessionOptions:
    """Return the options of a session with a number of threads."""
    options = onnxruntime.SessionOptions()
    # Clips are embedded in parallel by `pipeline`: threads inside each session would compete with those.
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only; they are raised as exceptions as well
    return options


def session(model: ModelProto | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open an inference session on the CPU; to use more cores, it is normally called from several threads instead."""
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, session_options(threads), providers=["CPUExecutionProvider"])


def run_graph(graph: onnxruntime.InferenceSession, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a session with one input and one output."""
    out: NDArray[np.float32] = graph.run(None, {graph.get_inputs()[0].name: x})[0]
    return out
