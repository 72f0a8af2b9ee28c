"""EdgeL3 SEA (Kumari et al., 2020): OpenL3's network, thinner and at 8 kHz, from its HDF5 weights."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import onnxruntime

from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import MelSpec, log_spectrogram
from l3clf.embedders.base import Embedder, as_path_option
from l3clf.embedders.openl3 import build_graph
from l3clf.networks.onnx_build import Weights, run_graph, session
from l3clf.weights import registry as weight_files
from l3clf.weights.keras_h5 import digest, read_keras_h5

__all__ = ["EdgeL3"]

# 'same' framing: 50 frames of 1,024 need 864 samples more than a second has, half of them in front.
# Decibels of power: the file's first normalisation expects a mean of -26 and a variance of 114, and city
# sounds have -27 and 126 so, but -14 and 31 with the root taken first. ESC-10 agrees: 77 against 74 %.
FRONT_END = MelSpec(8000, 1024, 160, 50, 64, 0.0, 4000.0, scale="htk", power=2, lead=432)
CHANNELS = (32, 32, 64, 64, 128, 128, 64, 64)
FINAL_POOL = (8, 6)


@dataclass(frozen=True)
class EdgeL3(Embedder):
    """EdgeL3 SEA: one-second windows at 8 kHz to 64 numbers.

    The file's last rectifier is left out: on ESC-10 it costs 1.5 points.

    Parameters
    ----------
    weights : path or None
        ``edgel3_sea64.h5`` or a folder that holds it; None looks in the folder that ``L3CLF_WEIGHTS``
        names and in the user's cache folder. It cannot be downloaded.

    References
    ----------
    S. Kumari, D. Roy, M. Cartwright, J. P. Bello, A. Arora: "EdgeL3: Compressing L3-Net for Mote-Scale
    Urban Noise Monitoring", IPDPSW 2019.
    """

    weights: str | None = None

    name: ClassVar[str] = "edgel3"
    sample_rate: ClassVar[int] = FRONT_END.sample_rate
    window_s: ClassVar[float] = 1.0
    embedding_size: ClassVar[int] = CHANNELS[-1]

    def __post_init__(self) -> None:
        as_path_option(self, "weights")

    @cached_property
    def _path(self) -> str:
        return str(weight_files.obtain(weight_files.known("edgel3_sea64.h5"), self.weights))

    @cached_property
    def _layers(self) -> dict[str, Weights]:
        return read_keras_h5(self._path)

    def is_ready(self) -> bool:
        """Return whether the weights are on this machine."""
        return weight_files.find(weight_files.known("edgel3_sea64.h5"), self.weights) is not None

    def weights_digest(self) -> str:
        """Return a digest of the arrays."""
        return digest(self._layers)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return session(build_graph(self._layers, FRONT_END, CHANNELS, FINAL_POOL, last_norm=True, file=self._path))

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows of 8,000 samples; see `Embedder.embed_windows`."""
        return run_graph(self._session, log_spectrogram(FRONT_END, windows)[:, np.newaxis])
