"""A peer of l3mini's: the int8 EdgeL3 student of reip-project/reip-pipelines, 256 numbers from a second at 8 kHz.

Only for comparisons: its file is not ours to ship, and its front-end follows SOURCE.md beside it.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import MelSpec, log_spectrogram
from l3clf.embedders import Embedder

# Frames are centred: 51 of them need 512 samples before the window.
FRONT_END = MelSpec(8000, 1024, 160, 51, 64, 0.0, 4000.0, scale="htk", power=2, lead=512)
_ONE_AT_A_TIME = Lock()  # an interpreter works for one thread at a time


@dataclass(frozen=True)
class EdgeL3Int8(Embedder):
    """Its TFLite file, run by LiteRT one window at a time.

    Parameters
    ----------
    weights : str
        The file.
    """

    weights: str

    name: ClassVar[str] = "edgel3-int8"
    sample_rate: ClassVar[int] = FRONT_END.sample_rate
    window_s: ClassVar[float] = 1.0
    embedding_size: ClassVar[int] = 256

    @cached_property
    def _network(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        network = Interpreter(self.weights)
        network.allocate_tensors()
        return network

    def weights_digest(self) -> str:
        """Return the digest of the file."""
        return hashlib.sha256(Path(self.weights).read_bytes()).hexdigest()

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Return embeddings of shape (n, 256) for windows of shape (n, 8000)."""
        out = []
        with _ONE_AT_A_TIME:
            network = self._network
            source, target = network.get_input_details()[0]["index"], network.get_output_details()[0]["index"]
            for levels in log_spectrogram(FRONT_END, windows):
                network.set_tensor(source, levels[np.newaxis, ..., np.newaxis].astype(np.float32))
                network.invoke()
                out.append(network.get_tensor(target)[0].copy())
        return np.stack(out)
