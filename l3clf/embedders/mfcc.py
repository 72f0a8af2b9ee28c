"""MFCC statistics: the floor that every table shows. Needs no weights."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.fft

from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import MelSpec, log_spectrogram
from l3clf.embedders.base import Embedder

__all__ = ["Mfcc"]

FRONT_END = MelSpec(16_000, 512, 160, 97, 64, 20.0, 8000.0, power=2, level="db")
N_COEFFICIENTS = 20


@dataclass(frozen=True)
class Mfcc(Embedder):
    """Statistics of mel-frequency cepstral coefficients over one-second windows at 16 kHz.

    Twenty coefficients (orthonormal DCT-II of 64 log-mel bands every 10 ms), of each the mean, the
    standard deviation and the mean absolute change from frame to frame: 60 numbers.
    """

    name: ClassVar[str] = "mfcc"
    sample_rate: ClassVar[int] = FRONT_END.sample_rate
    window_s: ClassVar[float] = 1.0
    embedding_size: ClassVar[int] = 3 * N_COEFFICIENTS

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows of 16,000 samples; see `Embedder.embed_windows`."""
        levels = log_spectrogram(FRONT_END, windows)
        cepstra = scipy.fft.dct(levels, axis=1, norm="ortho")[:, :N_COEFFICIENTS]
        change = np.abs(np.diff(cepstra, axis=2)).mean(axis=2)
        return np.concatenate([cepstra.mean(axis=2), cepstra.std(axis=2), change], axis=1).astype(np.float32)
