"""Students: depthwise-separable CNNs for microcontrollers.

Rule: only layers that the chip's runtime has. The network takes the front-end's integer levels divided by
`frontend.INPUT_STEPS`, so that padding with zeros means a level from the middle of the range.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.embedders.frontend import INPUT_STEPS
from l3clf.errors import MissingDependencyError, ParameterError, how_to_install


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard the standard error of the process: TensorFlow's C++ code writes to it at every log level."""
    try:
        kept = os.dup(2)
    except OSError:  # the process has no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


NEEDED = f"distillation needs Keras and TensorFlow; install them with: {how_to_install('distill')}"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # or it warns on every machine without a GPU
try:
    with quiet():
        import keras
except ImportError as error:
    backend = "" if error.name in (None, "keras", "tensorflow") else f", and set KERAS_BACKEND=tensorflow ({error})"
    raise MissingDependencyError(f"{NEEDED}{backend}") from None

if TYPE_CHECKING:
    from keras import KerasTensor

__all__ = [
    "ARCHITECTURES",
    "NEEDED",
    "Architecture",
    "architecture",
    "as_input",
    "build_student",
    "keras",
    "macs_of",
    "quiet",
]

MOMENTUM = 0.9  # of the running mean and variance: with Keras' 0.99 they lag throughout a short training


@dataclass(frozen=True)
class Architecture:
    """The layers of a student.

    Parameters
    ----------
    stem : int
        Channels of the first convolution, 5x5 with stride 4.
    blocks : tuple of (channels, stride)
        A depthwise 3x3 and a pointwise convolution each. Where neither the map's size nor its channels change, the
        block's input is added to its output.
    """

    stem: int
    blocks: tuple[tuple[int, int], ...]


ARCHITECTURES = {
    "S": Architecture(16, ((32, 2), (48, 1), (48, 1), (80, 2))),
    "M": Architecture(24, ((48, 2), (64, 1), (64, 1), (64, 1), (112, 2), (112, 1))),
    "L": Architecture(32, ((64, 2), (96, 1), (96, 1), (96, 1), (96, 1), (160, 2), (160, 1))),
    "B": Architecture(
        64,
        ((96, 1), (128, 2), (192, 1), (192, 1), (192, 1), (192, 1), (192, 1), (384, 2), (384, 1), (384, 1)),
    ),
}


@keras.saving.register_keras_serializable("l3clf")
class ShiftedDepthwise(keras.layers.Layer):  # type: ignore[misc]  # Keras is not typed
    """A depthwise convolution computed as a sum of shifted products: four times faster to train on a CPU.

    The kernel, of shape (height, width, channels, 1), and the results are those of `keras.layers.DepthwiseConv2D`.
    """

    def __init__(self, size: tuple[int, int], stride: int = 1, padding: str = "same", **options: Any) -> None:
        super().__init__(**options)
        self.size, self.stride, self.padding = size, stride, padding

    def build(self, shape: tuple[int, ...]) -> None:
        """Create the kernel."""
        fan_in = math.prod(self.size)  # He initialisation by hand: Keras would count the channels in the fan-in
        initializer = keras.initializers.RandomNormal(stddev=math.sqrt(2 / fan_in))
        self.kernel = self.add_weight((*self.size, shape[-1], 1), initializer=initializer, name="kernel")

    def call(self, x: "KerasTensor") -> "KerasTensor":
        """Convolve."""
        kernel = self.kernel[..., 0]
        if self.padding == "valid":  # the kernel covers the whole map
            return keras.ops.sum(x * kernel, axis=(1, 2), keepdims=True)
        s, (height, width) = self.stride, x.shape[1:3]
        rows, columns = -(-height // s), -(-width // s)
        pads = [
            max((n - 1) * s + k - size, 0)
            for n, k, size in zip((rows, columns), self.size, (height, width), strict=True)
        ]
        x = keras.ops.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)))
        taps = [
            x[:, i : i + (rows - 1) * s + 1 : s, j : j + (columns - 1) * s + 1 : s] * kernel[i, j]
            for i in range(self.size[0])
            for j in range(self.size[1])
        ]
        return sum(taps[1:], taps[0])

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Return the shape of the result of `call`."""
        if self.padding == "valid":
            return (shape[0], 1, 1, shape[-1])
        return (shape[0], -(-shape[1] // self.stride), -(-shape[2] // self.stride), shape[-1])


def build_student(
    architecture: Architecture, n_frames: int, n_mels: int, size: int, fast: bool = True
) -> "keras.Model":
    """Build an untrained student.

    Parameters
    ----------
    architecture : Architecture
    n_frames, n_mels : int
        Shape of the input: frames by mel bands.
    size : int
        Length of the embedding.
    fast : bool, default=True
        True builds the form for training. False builds the form for conversion, with plain depthwise layers and a
        batch of one window. Both take the same weights.

    Returns
    -------
    keras.Model
        (n, n_frames, n_mels, 1) to (n, size).
    """
    inputs = x = keras.layers.Input((n_frames, n_mels, 1), batch_size=None if fast else 1, name="levels")
    x = keras.layers.Conv2D(architecture.stem, 5, strides=4, padding="same", use_bias=False, name="stem")(x)
    x = _normalised(x, "stem")
    for number, (channels, stride) in enumerate(architecture.blocks, 1):
        x = _block(x, channels, stride, fast, f"block_{number}")
    x = _depthwise(x, tuple(x.shape[1:3]), 1, "valid", fast, "places")  # a mean would lose when and at which pitch
    x = keras.layers.Flatten(name="places_flat")(_batch_norm(x, "places"))
    return keras.Model(inputs, keras.layers.Dense(size, name="embedding")(x), name="student")


def _block(x: "KerasTensor", channels: int, stride: int, fast: bool, name: str) -> "KerasTensor":
    y = _normalised(_depthwise(x, (3, 3), stride, "same", fast, f"{name}_depthwise"), f"{name}_depthwise")
    y = keras.layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_pointwise")(y)
    y = _normalised(y, f"{name}_pointwise")
    return keras.layers.Add(name=f"{name}_sum")([x, y]) if x.shape == y.shape else y


def _depthwise(
    x: "KerasTensor", size: tuple[int, int], stride: int, padding: str, fast: bool, name: str
) -> "KerasTensor":
    if fast:
        return ShiftedDepthwise(size, stride, padding, name=name)(x)
    return keras.layers.DepthwiseConv2D(size, strides=stride, padding=padding, use_bias=False, name=name)(x)


def _normalised(x: "KerasTensor", name: str) -> "KerasTensor":
    return keras.layers.ReLU(name=f"{name}_relu")(_batch_norm(x, name))


def _batch_norm(x: "KerasTensor", name: str) -> "KerasTensor":
    return keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)


def as_input(features: NDArray[np.int8]) -> FloatArray:
    """Return quantised levels (n, n_frames, n_mels) as a student's input (n, n_frames, n_mels, 1)."""
    return features[..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS)


def macs_of(model: "keras.Model") -> int:
    """Return the multiply-accumulates of one window: elements of each kernel times positions where it is applied."""
    total = 0
    for layer in model.layers:
        if isinstance(
            layer, keras.layers.Dense | keras.layers.Conv2D | keras.layers.DepthwiseConv2D | ShiftedDepthwise
        ):
            places = layer.output.shape[1:3] if len(layer.output.shape) == 4 else (1,)
            total += math.prod(layer.kernel.shape) * math.prod(places)
    return total


def architecture(name: str) -> Architecture:
    """Return an architecture by name.

    Raises
    ------
    ParameterError
        If `name` is not in `ARCHITECTURES`.
    """
    if name not in ARCHITECTURES:
        raise ParameterError(f"student={name!r}; expected one of {', '.join(map(repr, ARCHITECTURES))}")
    return ARCHITECTURES[name]
