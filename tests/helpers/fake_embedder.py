"""An embedder for tests: cheap, with known answers; and the example that another embedder is one small class."""

from dataclasses import dataclass

import numpy as np

from l3clf.embedders import Embedder, register_embedder


@dataclass(frozen=True)
class FakeEmbedder(Embedder):
    """Half-second windows at 8 kHz to mean, standard deviation, maximum and zero crossings.

    Parameters
    ----------
    scale : float
        What the numbers are multiplied with: an option that changes them.
    """

    scale: float = 1.0

    name = "fake"
    sample_rate = 8000
    window_s = 0.5
    embedding_size = 4

    def embed_windows(self, windows):
        crossings = (np.diff(np.signbit(windows), axis=1) != 0).sum(axis=1)
        columns = [windows.mean(axis=1), windows.std(axis=1), windows.max(axis=1), crossings]
        return np.float32(self.scale) * np.stack(columns, axis=1).astype(np.float32)


register_embedder("fake", FakeEmbedder)
