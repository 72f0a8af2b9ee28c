"""Sets of window embeddings with known classes, without any sound."""

import numpy as np

from l3clf import WindowEmbeddings


def embedded(vectors):
    """One clip of one window for each vector."""
    return [WindowEmbeddings(v[np.newaxis], np.zeros((1, 2)), np.full(1, -20, np.float32)) for v in vectors]


def easy_set(n=60, classes=3, spread=0.5, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.array([f"c{k % classes}" for k in range(n)])
    centres = rng.normal(0, 1, (classes, 60))
    vectors = centres[np.arange(n) % classes] + spread * rng.normal(0, 1, (n, 60))
    return vectors.astype(np.float32), labels
