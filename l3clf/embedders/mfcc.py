"""MFCC statistics: the floor that every table shows. Needs no weights."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.fft

from l3clf.audio import FloatArray
from l3clf.embedders.base import Embedder
from l3clf.features import MelSpec, log_spectrogram

__all__ = ["Mfcc"]

FRONT_END = MelSpec(16_000, 512, 160, 97, 64, 20.0, 8000.0, power=2, level="db")
N_COEFFICIENTS = 20
DELTA_REACH = 4  # frames on either side, as the usual regression over nine frames


@dataclass(frozen=True)
class Mfcc(Embedder):
    """Statistics of mel-frequency cepstral coefficients over one-second windows at 16 kHz.

    Twenty coefficients (orthonormal DCT-II of 64 log-mel bands), their first and second derivative by
    regression over nine frames (Young et al., The HTK Book), of each the mean and the standard
    deviation over the window: 120 numbers.
    """

    name: ClassVar[str] = "mfcc"
    sample_rate: ClassVar[int] = FRONT_END.sample_rate
    window_s: ClassVar[float] = 1.0
    embedding_size: ClassVar[int] = 6 * N_COEFFICIENTS

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows of 16,000 samples; see `Embedder.embed_windows`."""
        levels = log_spectrogram(FRONT_END, windows)
        cepstra = scipy.fft.dct(levels, axis=1, norm="ortho")[:, :N_COEFFICIENTS]
        first = _slope(cepstra)
        tracks = np.concatenate([cepstra, first, _slope(first)], axis=1)
        return np.concatenate([tracks.mean(axis=2), tracks.std(axis=2)], axis=1).astype(np.float32)


def _slope(tracks: FloatArray) -> FloatArray:
    """Slope of each track over time, by least squares over 2 * DELTA_REACH + 1 frames."""
    n = tracks.shape[2]
    padded = np.pad(tracks, ((0, 0), (0, 0), (DELTA_REACH, DELTA_REACH)), mode="edge")
    steps = range(1, DELTA_REACH + 1)
    total = sum(k * (padded[..., DELTA_REACH + k :][..., :n] - padded[..., DELTA_REACH - k :][..., :n]) for k in steps)
    return np.asarray(total / (2 * sum(k * k for k in steps)), np.float32)
