"""EfficientAT (Schmid et al., ICASSP 2023) from its PyTorch checkpoints, on ONNX Runtime, without PyTorch.

Rule: the table of blocks and a width define the network: every tensor of a checkpoint is checked against them by name
and shape before any is used.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from onnx import ModelProto

from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import MelSpec, log_spectrogram
from l3clf.embedders.base import Embedder, as_path_option
from l3clf.embedders.number_types import Network, Precision, check_precision, digest_in, open_network
from l3clf.errors import ParameterError, WeightsError
from l3clf.networks.onnx_build import GraphBuilder, fold_batch_norm
from l3clf.weights import registry as weight_files
from l3clf.weights.keras_h5 import read_bounded
from l3clf.weights.pinned import read_pinned
from l3clf.weights.torch_zip import Tensors, read_torch_zip

__all__ = ["FRONT_END", "EfficientAT", "build_graph", "tensor_shapes"]

# As long as a window of l3mini, so that a student of both learns from the same sound. The authors' clips have 10 s; a
# second gives 0.75 points less on ESC-10, which is within chance.
WINDOW = 31_200
# Frames of 25 ms, centred, in a transform of 1,024. Pre-emphasis leaves 31,199 samples: 98 frames.
FRONT_END = MelSpec(
    32_000, 800, 320, 98, 128, 0.0, 15_000.0, "kaldi", 2, 400, "ln",
    n_fft=1024, hann="symmetric", pre_emphasis=0.97, edges="reflected",
)  # fmt: skip
SCALE, SHIFT = 1 / 5, 4.5 / 5  # from its levels to the input that the network was trained with
# Width and file of each model; only the first file's content is known here.
MODELS = {
    "mn04": (0.4, "mn04_as_mAP_432.pt"),
    "mn01": (0.1, "mn01_as_mAP_298.pt"),
    "mn02": (0.2, "mn02_as_mAP_378.pt"),
    "mn05": (0.5, "mn05_as_mAP_443.pt"),
    "mn10": (1.0, "mn10_as_mAP_471.pt"),
    "mn20": (2.0, "mn20_as_mAP_478.pt"),
    "mn30": (3.0, "mn30_as_mAP_482.pt"),
}
SHA256 = {"mn04": "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"}
N_CLASSES = 527  # of AudioSet
FIRST, HIDDEN = 16, 1280  # channels at width 1: of the first convolution, of the classifier's hidden layer
GROWTH = 6  # channels of the last convolution to those of the last block


class _Block(NamedTuple):
    """An inverted residual at width 1."""

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    swish: bool
    stride: int


# MobileNetV3-large (Howard et al., ICCV 2019, table 1).
BLOCKS = (
    _Block(3, 16, 16, squeeze=False, swish=False, stride=1),
    _Block(3, 64, 24, squeeze=False, swish=False, stride=2),
    _Block(3, 72, 24, squeeze=False, swish=False, stride=1),
    _Block(5, 72, 40, squeeze=True, swish=False, stride=2),
    _Block(5, 120, 40, squeeze=True, swish=False, stride=1),
    _Block(5, 120, 40, squeeze=True, swish=False, stride=1),
    _Block(3, 240, 80, squeeze=False, swish=True, stride=2),
    _Block(3, 200, 80, squeeze=False, swish=True, stride=1),
    _Block(3, 184, 80, squeeze=False, swish=True, stride=1),
    _Block(3, 184, 80, squeeze=False, swish=True, stride=1),
    _Block(3, 480, 112, squeeze=True, swish=True, stride=1),
    _Block(3, 672, 112, squeeze=True, swish=True, stride=1),
    _Block(5, 672, 160, squeeze=True, swish=True, stride=2),
    _Block(5, 960, 160, squeeze=True, swish=True, stride=1),
    _Block(5, 960, 160, squeeze=True, swish=True, stride=1),
)
NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def rounded(channels: float) -> int:
    """Return a number of channels as the nearest multiple of 8 that is not below 90 % of it.

    Examples
    --------
    >>> [rounded(n) for n in (6.4, 9.6, 12, 28.8)]
    [8, 16, 16, 32]
    """
    multiple = max(8, int(channels + 4) // 8 * 8)
    return multiple + 8 if multiple < 0.9 * channels else multiple


def _blocks(width: float) -> Iterator[tuple[str, int, _Block]]:
    """Yield name, channels that come in, and sizes of each block at a width."""
    channels = rounded(FIRST * width)
    for i, block in enumerate(BLOCKS, 1):
        wide = block._replace(expanded=rounded(block.expanded * width), out=rounded(block.out * width))
        yield f"features.{i}.block", channels, wide
        channels = wide.out


def _convolutions(name: str, channels: int, block: _Block) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and kernel's shape of the convolutions of a block; the squeeze-excitation counts where it is."""
    wide, last = block.expanded, block.out
    kernels = [(wide, channels, 1, 1)] if wide != channels else []
    kernels.append((wide, 1, block.kernel, block.kernel))
    places = [*range(len(kernels)), len(kernels) + block.squeeze]
    return [(f"{name}.{i}", kernel) for i, kernel in zip(places, [*kernels, (last, wide, 1, 1)], strict=True)]


def _squeeze(name: str, channels: int, block: _Block) -> str:
    return f"{name}.{1 + (block.expanded != channels)}.conc_se_layers.0"


def tensor_shapes(width: float) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor in a checkpoint of a network.

    Parameters
    ----------
    width : float
        The factor of all channels, such as 0.4 for mn04.
    """
    first, last = rounded(FIRST * width), _last(width)
    hidden = rounded(HIDDEN * width)
    shapes: dict[str, tuple[int, ...]] = {}
    convolutions: list[tuple[str, tuple[int, ...]]] = [("features.0", (first, 1, 3, 3))]
    for name, channels, block in _blocks(width):
        convolutions += _convolutions(name, channels, block)
        if block.squeeze:
            fewer, at = rounded(block.expanded // 4), _squeeze(name, channels, block)
            shapes |= {f"{at}.fc1.weight": (fewer, block.expanded), f"{at}.fc1.bias": (fewer,)}
            shapes |= {f"{at}.fc2.weight": (block.expanded, fewer), f"{at}.fc2.bias": (block.expanded,)}
    convolutions.append((f"features.{len(BLOCKS) + 1}", (last, last // GROWTH, 1, 1)))
    for name, kernel in convolutions:
        shapes |= {f"{name}.0.weight": kernel, f"{name}.1.num_batches_tracked": ()}
        shapes |= {f"{name}.1.{part}": kernel[:1] for part in NORM.values()}
    shapes |= {"classifier.2.weight": (hidden, last), "classifier.2.bias": (hidden,)}
    return shapes | {"classifier.5.weight": (N_CLASSES, hidden), "classifier.5.bias": (N_CLASSES,)}


def _last(width: float) -> int:
    return GROWTH * rounded(BLOCKS[-1].out * width)


def check_tensors(tensors: Tensors, width: float, file: str) -> None:
    """Check that a checkpoint holds the tensors of a network, and no others.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown, or has another shape or type.
    """
    expected = tensor_shapes(width)
    advice = "give EfficientAT's checkpoint of this model"
    for name, shape in expected.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise WeightsError(f"{file}: has no {name}; {advice}")
        dtype = np.int64 if name.endswith("num_batches_tracked") else np.float32
        if tensor.shape != shape or tensor.dtype != dtype:
            found = f"{name} is {tensor.dtype} of shape {tensor.shape}, expected {np.dtype(dtype)} of {shape}"
            raise WeightsError(f"{file}: {found}; {advice}")
    if unknown := [name for name in tensors if name not in expected]:
        raise WeightsError(f"{file}: has {unknown[0]!r}, which the network has not; {advice}")


def build_graph(tensors: Tensors, width: float, file: str) -> ModelProto:
    """Return the network up to its averaged channels as an ONNX model.

    Parameters
    ----------
    tensors : dict of str to array
        As returned by `l3clf.weights.torch_zip.read_torch_zip`.
    width : float
    file : str
        The name of the checkpoint in messages.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown, or has another shape or type.
    """
    check_tensors(tensors, width, file)
    graph = GraphBuilder(FRONT_END.n_bands, FRONT_END.n_frames)
    # The scaling cannot be folded into the first convolution, whose zero padding comes between them.
    graph.affine(SCALE, SHIFT)
    _conv(graph, tensors, "features.0", stride=2)
    graph.hard_swish()
    for name, channels, block in _blocks(width):
        _add_block(graph, tensors, name, channels, block)
    _conv(graph, tensors, f"features.{len(BLOCKS) + 1}")
    graph.hard_swish()
    graph.global_mean()
    graph.flatten()
    return graph.build(_last(width))


def _add_block(graph: GraphBuilder, tensors: Tensors, name: str, channels: int, block: _Block) -> None:
    start = graph.last
    *inner, last = _convolutions(name, channels, block)
    for place, kernel in inner:
        depthwise = kernel[1] == 1
        _conv(graph, tensors, place, stride=block.stride if depthwise else 1, depthwise=depthwise)
        if block.swish:
            graph.hard_swish()
        else:
            graph.relu()
    if block.squeeze:
        at = _squeeze(name, channels, block)
        first, second = ((tensors[f"{at}.{layer}.weight"].T, tensors[f"{at}.{layer}.bias"]) for layer in ("fc1", "fc2"))
        graph.squeeze_excite(first, second)
    _conv(graph, tensors, last[0])
    if block.stride == 1 and channels == block.out:
        graph.add(start)


def _conv(graph: GraphBuilder, tensors: Tensors, name: str, stride: int = 1, *, depthwise: bool = False) -> None:
    """Add a convolution with its normalisation, padded alike on both sides."""
    kernel = tensors[f"{name}.0.weight"].transpose(2, 3, 1, 0)  # to Keras' order, which our writer takes
    none = np.zeros(kernel.shape[-1], np.float32)
    norm = {ours: tensors[f"{name}.1.{theirs}"] for ours, theirs in NORM.items()}
    folded = fold_batch_norm({"kernel": kernel, "bias": none}, norm)
    groups = kernel.shape[-1] if depthwise else 1
    graph.conv(*folded, stride=stride, pads=[kernel.shape[0] // 2] * 4, groups=groups)


@dataclass(frozen=True)
class EfficientAT(Embedder):
    """EfficientAT: the averaged channels of a MobileNetV3 trained on AudioSet, per window of 0.975 s at 32 kHz.

    Parameters
    ----------
    model : {"mn04", "mn01", "mn02", "mn05", "mn10", "mn20", "mn30"}
        The width of the network in tenths: mn04 gives 384 values, mn10 gives 960.
    weights : path or None
        The checkpoint, such as ``mn04_as_mAP_432.pt``, or a folder that holds it under EfficientAT's name. None
        searches the folder that ``L3CLF_WEIGHTS`` names and the user's cache folder, and then downloads mn04; the
        others cannot be downloaded.
    precision : {"float32", "bfloat16", "int8", "fast"}
        In which numbers the network computes; see `l3clf.embedders.openl3.OpenL3`. Its layers are so small that no
        other precision is faster; in int8, layers that read fewer than 64 channels, squeeze-excitation and hard-swish
        stay in floats.

    Raises
    ------
    ParameterError
        If there is no such model.

    References
    ----------
    F. Schmid, K. Koutini, G. Widmer: "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge
    Distillation", ICASSP 2023.
    """

    model: str = "mn04"
    weights: str | None = None
    precision: Precision = "float32"

    name: ClassVar[str] = "efficientat"
    unnamed_options: ClassVar[Mapping[str, Any]] = {"precision": "float32"}
    sample_rate: ClassVar[int] = FRONT_END.sample_rate
    window_s: ClassVar[float] = WINDOW / 32_000
    batch_windows: ClassVar[int] = 4  # the outputs of more do not fit the processor's cache

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or self.model not in MODELS:
            raise ParameterError(f"model={self.model!r}; expected one of {', '.join(map(repr, MODELS))}")
        object.__setattr__(self, "model", str(self.model))  # NumPy's texts, from a parameter grid, as Python's
        object.__setattr__(self, "precision", check_precision(self.precision))
        as_path_option(self, "weights")

    @property
    def embedding_size(self) -> int:
        """Length of a vector: 960 times the width."""
        return _last(MODELS[self.model][0])

    @cached_property
    def weight_file(self) -> weight_files.WeightFile:
        """The checkpoint of this model; that of mn04 can be downloaded."""
        _, filename = MODELS[self.model]
        file = weight_files.known(MODELS["mn04"][1])
        return file if self.model in SHA256 else replace(file, filename=filename, url=None, git_sha1=None)

    @cached_property
    def _path(self) -> Path:
        return weight_files.obtain(self.weight_file, self.weights)

    @cached_property
    def _content(self) -> bytes:
        pinned = SHA256.get(self.model)
        return read_pinned(self.weight_file.filename, pinned, self.weights) if pinned else read_bounded(self._path)

    def is_ready(self) -> bool:
        """Return whether the weights are on this machine."""
        return weight_files.find(self.weight_file, self.weights) is not None

    def missing(self) -> str:
        """Return whether its file is missing and how to get it."""
        return weight_files.missing(self.weight_file, self.weights)

    def weights_digest(self) -> str:
        """Return the SHA-256 of the file."""
        return digest_in(self.precision, hashlib.sha256(self._content).hexdigest())

    @cached_property
    def _network(self) -> Network:
        file = str(self._path)
        model = build_graph(read_torch_zip(self._content, file), MODELS[self.model][0], file)
        return open_network(self, self.precision, model, _levels)

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows of 31,200 samples; see `Embedder.embed_windows`."""
        return self._network(_levels(windows))


def _levels(windows: FloatArray) -> FloatArray:
    return log_spectrogram(FRONT_END, windows)[:, np.newaxis]
