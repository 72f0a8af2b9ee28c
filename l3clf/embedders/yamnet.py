"""YAMNet (trained by Google on AudioSet) from its TFLite file, on LiteRT (the extra ``tflite``)."""

import threading
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from l3clf.audio.clip import FloatArray
from l3clf.embedders.base import Embedder, as_path_option
from l3clf.errors import MissingDependencyError, WeightsError, how_to_install
from l3clf.weights import registry as weight_files
from l3clf.weights.pinned import read_pinned

__all__ = ["YamNet"]

WINDOW = 15_600  # 96 frames of 25 ms, every 10 ms
SHA256 = "469be6a3421cbc52cf97e9f2f966cba984198e8e7af9854d68b3e3ebb1e04194"
EMBEDDING_TENSOR = "yamnet_frames/global_average_pooling2d/Mean"  # not an output: the file's outputs are its classes


@dataclass(frozen=True)
class YamNet(Embedder):
    """YAMNet: 1,024 values (the pooled features before its classes) per window of 0.975 s at 16 kHz.

    Parameters
    ----------
    weights : path or None
        ``yamnet.tflite`` or a folder that holds it; None searches the folder that ``L3CLF_WEIGHTS`` names and the
        user's cache folder. It cannot be downloaded.

    References
    ----------
    M. Plakal, D. Ellis: YAMNet, TensorFlow model garden, research/audioset.
    """

    weights: str | None = None

    name: ClassVar[str] = "yamnet"
    sample_rate: ClassVar[int] = 16_000
    window_s: ClassVar[float] = WINDOW / 16_000
    embedding_size: ClassVar[int] = 1024

    def __post_init__(self) -> None:
        as_path_option(self, "weights")

    @cached_property
    def _content(self) -> bytes:
        return read_pinned("yamnet.tflite", SHA256, self.weights)

    def is_ready(self) -> bool:
        """Return whether the weights and LiteRT are on this machine."""
        found = weight_files.find(weight_files.known("yamnet.tflite"), self.weights)
        return found is not None and find_spec("ai_edge_litert") is not None

    def missing(self) -> str:
        """Return which of its file and LiteRT are missing and how to get them."""
        package = "" if find_spec("ai_edge_litert") else _without_litert()
        return ", and ".join(filter(None, (weight_files.missing("yamnet.tflite", self.weights), package)))

    def weights_digest(self) -> str:
        """Return the SHA-256 of the file."""
        _ = self._content  # reading verifies the digest
        return SHA256

    @cached_property
    def _interpreters(self) -> threading.local:
        return threading.local()

    def _interpreter(self) -> tuple[Any, int]:
        """Return the interpreter of this thread, which others must not use, and the index of the embedding tensor."""
        if not hasattr(self._interpreters, "pair"):
            self._interpreters.pair = _open_interpreter(self._content)
        pair: tuple[Any, int] = self._interpreters.pair
        return pair

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows of 15,600 samples; see `Embedder.embed_windows`."""
        interpreter, tensor = self._interpreter()
        out = np.empty((len(windows), self.embedding_size), np.float32)
        for i, window in enumerate(windows):  # the batch size in the file is one
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], window[np.newaxis])
            interpreter.invoke()
            out[i] = interpreter.get_tensor(tensor)[0]
        return out


def _without_litert() -> str:
    return f"the package ai-edge-litert is not installed; run `{how_to_install('tflite')}`"


def _open_interpreter(content: bytes) -> tuple[Any, int]:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise MissingDependencyError(f"embedder 'yamnet': {_without_litert()}") from None
    with warnings.catch_warnings():
        # The embedding is an intermediate tensor; LiteRT warns that keeping these takes memory.
        warnings.filterwarnings("ignore", "Warning: Enabling `experimental_preserve_all_tensors`")
        # One thread: clips are embedded in parallel by `pipeline`.
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    for tensor in interpreter.get_tensor_details():
        if tensor["name"] == EMBEDDING_TENSOR:
            return interpreter, int(tensor["index"])
    raise WeightsError(f"yamnet.tflite: has no tensor {EMBEDDING_TENSOR}; give Google's YAMNet file")
