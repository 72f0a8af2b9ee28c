"""MFCC statistics: the classical baseline in every table, which needs no weights."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.fft

from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import MelSpec, log_spectrogram
from l3clf.embedders.base import Embedder

__all__ = ["Mfcc"]

# 97 frames of 32 ms every 10 ms are all that fit into a second without padding.
FRONT_END = MelSpec(16_000, 512, 160, 97, 64, 20.0, 8000.0, power=2, level="db")
N_COEFFICIENTS = 20  # librosa's default


@dataclass(frozen=True)
class Mfcc(Embedder):
    """Statistics of mel-frequency cepstral coefficients over one-second windows at 16 kHz.

    The mean, the standard deviation and the mean absolute change from frame to frame of twenty coefficients
    (orthonormal DCT-II of 64 log-mel bands, every 10 ms): 60 values.
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
