"""OpenL3 (Cramer et al., ICASSP 2019) with its official weights, on ONNX Runtime, without TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from onnx import ModelProto

from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import MelSpec, log_spectrogram
from l3clf.embedders.base import Embedder, as_path_option
from l3clf.embedders.number_types import Network, Precision, check_precision, digest_in, open_network
from l3clf.errors import ParameterError
from l3clf.networks.onnx_build import (
    GraphBuilder,
    Weights,
    check_layers,
    fold_batch_norm,
    norm_scale_shift,
)
from l3clf.weights import registry as weight_files
from l3clf.weights.keras_h5 import digest, read_keras_h5

__all__ = ["OpenL3", "build_graph", "front_end"]

RATE_HZ, HOP = 48_000, 242  # about 5 ms
CHANNELS = (64, 64, 128, 128, 256, 256, 512, 512)
LAST = 7  # index of the last of the eight convolutions
# Final pooling (bands, frames) for each input and embedding size.
FINAL_POOL = {
    ("mel256", 512): (32, 24),
    ("mel256", 6144): (8, 8),
    ("mel128", 512): (16, 24),
    ("mel128", 6144): (4, 8),
    ("linear", 512): (32, 24),
    ("linear", 6144): (8, 8),
}


def front_end(input_repr: str) -> MelSpec:
    """Return the front-end of OpenL3 for ``mel128``, ``mel256`` or ``linear``."""
    # As kapre computes it: with mel bands, the last frames are padded with zeros; linear has whole frames only.
    if input_repr == "linear":
        return MelSpec(RATE_HZ, 512, HOP, 197, None, 0.0, RATE_HZ / 2)
    return MelSpec(RATE_HZ, 2048, HOP, 199, int(input_repr[3:]), 0.0, RATE_HZ / 2)


def build_graph(
    layers: dict[str, Weights],
    spec: MelSpec,
    channels: Sequence[int],
    final_pool: tuple[int, int],
    *,
    last_norm: bool,
    file: str,
) -> ModelProto:
    """Return the audio network of the L3 family as an ONNX model.

    Parameters
    ----------
    layers : dict
        Arrays of each layer, as returned by `l3clf.weights.registry.read_keras_h5`.
    spec : MelSpec
        The front-end, which determines the shape of the input: (n, 1, bands, frames), in dB.
    channels : sequence of 8 int
        Number of filters of each convolution.
    final_pool : (int, int)
        Bands and frames of the last max-pooling.
    last_norm : bool
        Whether the last convolution is normalised (EdgeL3) or not (OpenL3).
    file : str
        The name of the weight file in messages.

    Returns
    -------
    ModelProto

    Raises
    ------
    WeightsError
        If a layer is missing or has another shape.
    """
    check_layers(layers, _expected_layers(channels, last_norm), file)
    graph = GraphBuilder(spec.n_bands, spec.n_frames)
    # The first normalisation cannot be folded into the convolution, whose zero padding comes between them.
    scale, shift = norm_scale_shift(layers["batch_normalization_1"])
    graph.affine(float(scale[0]), float(shift[0]))
    for i in range(len(channels)):
        graph.conv(*fold_batch_norm(layers[_conv_name(i)], layers.get(_norm_name(i))))
        if i < LAST:  # the embedding is the output of the last convolution, without a rectifier
            graph.relu()
            if i % 2:
                graph.max_pool(2, 2)
    graph.max_pool(*final_pool)
    graph.flatten_channels_last()
    rows, columns = (n // 8 // pool for n, pool in zip((spec.n_bands, spec.n_frames), final_pool, strict=True))
    return graph.build(channels[-1] * rows * columns)  # // 8: three poolings of 2 x 2 come before the last


def _conv_name(i: int) -> str:
    return "audio_embedding_layer" if i == LAST else f"conv2d_{i + 1}"


def _norm_name(i: int) -> str:
    return f"batch_normalization_{i + 2}"


def _expected_layers(channels: Sequence[int], last_norm: bool) -> list[tuple[str, dict[str, tuple[int, ...]]]]:
    expected = [("batch_normalization_1", _norm_shapes(1))]
    for i, (c_in, c_out) in enumerate(zip((1, *channels), channels, strict=False)):  # each feeds the next
        expected.append((_conv_name(i), {"kernel": (3, 3, c_in, c_out), "bias": (c_out,)}))
        if i < LAST or last_norm:
            expected.append((_norm_name(i), _norm_shapes(c_out)))
    return expected


def _norm_shapes(channels: int) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (channels,))


@dataclass(frozen=True)
class OpenL3(Embedder):
    """OpenL3: 512 or 6,144 values per one-second window at 48 kHz.

    Parameters
    ----------
    input_repr : {"mel256", "mel128", "linear"}
        The input of the network: a spectrogram with 256 or 128 mel bands, or with 257 linear bins.
    content_type : {"env", "music"}
        What the weights were trained on: environmental sounds or music.
    embedding_size : {512, 6144}
    weights : path or None
        A weight file (.h5 or .h5.gz) or a folder that holds it. None searches the folder that ``L3CLF_WEIGHTS`` names,
        the user's cache folder and an installed ``openl3``, and then downloads it.
    precision : {"float32", "bfloat16", "int8", "fast"}
        In which numbers the network computes. ``"int8"`` is several times as fast, and near; its integers come from
        the weights and from sounds made in the package, which takes seconds when they are first used on a machine.
        ``"fast"`` is the same network in int8, run by OpenVINO where that is installed (``pip install
        l3clf[openvino]``) and by ONNX Runtime elsewhere; a model that was fitted with one refuses the other, whose
        vectors differ a little. ``"bfloat16"`` needs OpenVINO, and is float32 on processors
        without it.

    Raises
    ------
    ParameterError
        If an option has any other value.

    References
    ----------
    J. Cramer, H.-H. Wu, J. Salamon, J. P. Bello: "Look, Listen and Learn More: Design Choices for Deep
    Audio Embeddings", ICASSP 2019.
    """

    input_repr: str = "mel256"
    content_type: str = "env"
    embedding_size: int = 512
    weights: str | None = None
    precision: Precision = "float32"

    name: ClassVar[str] = "openl3"
    unnamed_options: ClassVar[Mapping[str, Any]] = {"precision": "float32"}
    sample_rate: ClassVar[int] = RATE_HZ
    window_s: ClassVar[float] = 1.0
    batch_windows: ClassVar[int] = 1  # one window takes 10 GMAC, and the output of a layer up to 13 MB

    def __post_init__(self) -> None:
        _check(self, "input_repr", ("mel256", "mel128", "linear"))
        _check(self, "content_type", ("env", "music"))
        _check(self, "embedding_size", (512, 6144))
        object.__setattr__(self, "precision", check_precision(self.precision))
        as_path_option(self, "weights")

    @cached_property
    def revision(self) -> int:  # type: ignore[override]
        """See `Embedder.revision`; 1 multiplied all mel filters with all bins, whose sums were rounded otherwise."""
        return 1 if self.input_repr == "linear" else 2

    @cached_property
    def weight_file(self) -> weight_files.WeightFile:
        """The official weight file for these options."""
        stem = f"openl3_audio_{self.input_repr}_{self.content_type}-"
        return next(file for file in weight_files.KNOWN if file.filename.startswith(stem))

    @cached_property
    def _layers(self) -> dict[str, Weights]:
        return read_keras_h5(self._path)

    @cached_property
    def _path(self) -> str:
        return str(weight_files.obtain(self.weight_file, self.weights))

    def is_ready(self) -> bool:
        """Return whether the weights are on this machine."""
        return weight_files.find(self.weight_file, self.weights) is not None

    def missing(self) -> str:
        """Return whether its file is missing and how to get it."""
        return weight_files.missing(self.weight_file.filename, self.weights)

    def weights_digest(self) -> str:
        """Return a digest of the weights, which is the same for .h5 and .h5.gz."""
        return digest_in(self.precision, digest(self._layers))

    @cached_property
    def _network(self) -> Network:
        pool = FINAL_POOL[self.input_repr, self.embedding_size]
        spec = front_end(self.input_repr)
        model = build_graph(self._layers, spec, CHANNELS, pool, last_norm=False, file=self._path)
        return open_network(self, self.precision, model, self._levels)

    def _levels(self, windows: FloatArray) -> FloatArray:
        return log_spectrogram(front_end(self.input_repr), windows)[:, np.newaxis]

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows of 48,000 samples; see `Embedder.embed_windows`."""
        return self._network(self._levels(windows))


def _check(embedder: OpenL3, option: str, allowed: tuple[str | int, ...]) -> None:
    """Refuse other values; store NumPy's values from a parameter grid as Python's, which hash to one fingerprint."""
    given = getattr(embedder, option)
    if not isinstance(given, str | int | float | np.number) or given not in allowed:
        raise ParameterError(f"{option}={given!r}; expected one of {', '.join(map(repr, allowed))}")
    object.__setattr__(embedder, option, allowed[allowed.index(given)])
