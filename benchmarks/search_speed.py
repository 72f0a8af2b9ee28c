"""How fast an index is searched, beside scikit-learn's NearestNeighbors by brute force.

Seeded vectors, of which the ten nearest to one query, and to each of a batch, are asked for; both find the same ones,
which is checked. Building the index is timed too. The peer is left out where it would take too long or too much memory.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from sklearn.neighbors import NearestNeighbors

import l3clf
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import FloatArray
from l3clf.embedders.base import Embedder
from l3clf.errors import L3clfError
from l3clf.search import EmbeddingIndex

NEAREST = 10
SAME = 0.99  # of what both find; the last digits of float32 decide between vectors that are equally near

Found = TypeVar("Found")


@dataclass(frozen=True)
class Options:
    """What is searched.

    Attributes
    ----------
    sizes : tuple of int
        Numbers of vectors.
    batch : int
        Queries that are asked together.
    rounds : int
    peer : bool
        Whether scikit-learn is asked too.
    """

    sizes: tuple[int, ...] = (100_000, 1_000_000)
    batch: int = 100
    rounds: int = 5
    peer: bool = True


def run(options: Options) -> Result:
    """Time both."""
    rng, embedder = np.random.default_rng(0), _embedder()
    rows: list[tuple[Cell, ...]] = []
    for n in options.sizes:
        vectors = rng.standard_normal((n, embedder.embedding_size), np.float32)
        queries = rng.standard_normal((options.batch, embedder.embedding_size), np.float32)
        rows.append((n, "`EmbeddingIndex`", *_ours(vectors, queries, options)))
        if options.peer:
            rows.append((n, "scikit-learn, `NearestNeighbors`, brute force", *_peer(vectors, queries, options)))
    columns = ("vectors", ",d"), ("by", ""), ("built (s)", ".3f"), ("one query (s)", ".4f")
    title = f"Vectors of {embedder.embedding_size}, the {NEAREST} nearest"
    return Result((Table(title, (*columns, (f"{options.batch} queries (s)", ".3f")), tuple(rows)),))


def _embedder() -> Embedder:
    return l3clf.load_embedder("l3mini", revision=1)  # of vectors of 192; it is never asked


def _ours(vectors: FloatArray, queries: FloatArray, options: Options) -> list[Cell]:
    built, index = _once(lambda: EmbeddingIndex.from_vectors(vectors, _embedder()))
    return [built, *(_timed(partial(index.search_vectors, q, NEAREST), options.rounds) for q in (queries[:1], queries))]


def _peer(vectors: FloatArray, queries: FloatArray, options: Options) -> list[Cell]:
    neighbours = NearestNeighbors(n_neighbors=NEAREST, algorithm="brute", metric="cosine")
    built, _ = _once(lambda: neighbours.fit(vectors))
    times = [_timed(partial(neighbours.kneighbors, q), options.rounds) for q in (queries[:1], queries)]
    index = EmbeddingIndex.from_vectors(vectors, _embedder())
    same = index.search_vectors(queries, NEAREST)[1] == neighbours.kneighbors(queries)[1]
    if np.mean(same) < SAME:
        raise L3clfError(f"search_speed: only {np.mean(same):.1%} of the vectors found are the same; find out why")
    return [built, *times]


def _once(work: Callable[[], Found]) -> tuple[float, Found]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _timed(work: Callable[[], object], rounds: int) -> Timing:
    work()  # opens what is opened lazily
    return Timing.of([_once(work)[0] for _ in range(rounds)])
