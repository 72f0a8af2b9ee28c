"""The sounds of the background banks: clips of the open pools, chosen to be unlike each other, and synthetic noise.

Rule: nothing under a share-alike licence is in a bank, and the same sounds are in every bank, so that one page of
credits is about all of them.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

import l3clf
from benchmarks.l3mini.pool_credits import POOLS, within
from l3clf.audio.augmentation import coloured_noise
from l3clf.audio.clip import FloatArray, Samples, Source

__all__ = ["LENGTH_S", "NOISES", "Sound", "noises", "pool_sounds", "spread_out"]

LENGTH_S = 5.0  # of a clip of the pools, from its start
RATE_HZ = 16_000
COLOURS = (0.0, 0.5, 1.0, 1.5, 2.0)  # exponents: 0 is white noise, 1 pink, 2 brown
LEVELS_DBFS = range(-8, -80, -3)
TAKES = 2
NOISES = len(COLOURS) * len(LEVELS_DBFS) * TAKES


@dataclass(frozen=True)
class Sound:
    """A sound that may be in a bank.

    Attributes
    ----------
    name : str
        ``POOL/FOLDER/FILE`` of a clip of the pools; what it is, for noise.
    source : Source
        What is embedded.
    """

    name: str
    source: Source


def pool_sounds(data: Path) -> list[Sound]:
    """Return the beginnings of all clips of the pools below `data` that are not under share-alike licences."""
    found = []
    for pool in POOLS:
        for row in within(data / pool):
            path = data / pool / row["path"]
            long = float(row["duration"]) > LENGTH_S
            found.append(Sound(f"{pool}/{row['path']}", l3clf.Clip(path, 0.0, LENGTH_S) if long else l3clf.Clip(path)))
    return found


def noises(seed: int = 0) -> list[Sound]:
    """Return noise of five colours at levels from -8 to -77 dBFS (RMS), `NOISES` sounds."""
    rng = np.random.default_rng(seed)
    found = []
    for take, exponent, level in product(range(TAKES), COLOURS, LEVELS_DBFS):
        noise = coloured_noise(round(LENGTH_S * RATE_HZ), exponent, rng) * np.float32(10 ** (level / 20))
        name = f"noise of 1/f^{exponent:g} at {level} dBFS, {take + 1}"
        found.append(Sound(name, Samples(np.clip(noise, -1, 1), RATE_HZ, name)))
    return found


def spread_out(vectors: FloatArray, n: int, seed: int = 0) -> NDArray[np.intp]:
    """Return which vectors are nearest to the centres of `n` clusters: few from crowds, and all that stand alone.

    Parameters
    ----------
    vectors : array of shape (n_vectors, size)
    n : int
    seed : int

    Returns
    -------
    array of at most `n` indices, in rising order
    """
    scale = vectors.std(axis=0)
    rows = (vectors - vectors.mean(axis=0)) / np.where(scale > 0, scale, 1)
    with threadpool_limits(1):
        clusters = KMeans(min(n, len(rows)), n_init=1, max_iter=50, random_state=seed).fit(rows)
    distances = np.linalg.norm(rows - clusters.cluster_centers_[clusters.labels_], axis=1)
    order = np.lexsort((np.arange(len(rows)), distances, clusters.labels_))
    _, first = np.unique(clusters.labels_[order], return_index=True)
    return np.sort(order[first])
