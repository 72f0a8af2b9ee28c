"""Embedding on a cluster: workers of Dask beside one of them and beside threads; and what many clips cost.

The workers are real processes of one thread each, of a `LocalCluster` on this machine, with the network loaded before
the first round. Rounds alternate, since machines are noisy; the ratio of each round is of that round. The sizes are of
synthetic clips of one second, written to files and embedded from them into a Parquet file, as `l3clf embed` does.
"""

import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import soundfile

import l3clf
from benchmarks.materials import esc10
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import Clip, Source
from l3clf.demo.sounds import CLASSES, synthesise
from l3clf.embedders import Embedder
from l3clf.errors import L3clfError, MissingDependencyError, how_to_install
from l3clf.pipeline import content_ids, embed_each, embed_sources, save_parquet
from l3clf.storage.embedding_cache import EmbeddingCache

RATE_HZ = 16_000
SOUNDS = 200  # different ones are synthesised; each file is one of them in another noise
MILLION = 1_000_000


@dataclass(frozen=True)
class Options:
    """How much is embedded.

    Attributes
    ----------
    embedder : str
    workers : int
        Processes of one thread.
    rounds : int
    clips : int
        Of one second; 0 leaves them out.
    """

    embedder: str = "l3base"
    workers: int = 2
    rounds: int = 5
    clips: int = 20_000


def run(options: Options) -> Result:
    """Time one worker, several, and as many threads."""
    embedder = l3clf.load_embedder(options.embedder)
    with ExitStack() as stack:
        clusters = [stack.enter_context(_cluster(n)) for n in (1, options.workers)]
        tables = [_ratios(embedder, esc10().clips, clusters, options)]
        if options.clips:
            tables.append(_sizes(embedder, clusters[1], options))
    return Result(tuple(tables))


@contextmanager
def _cluster(n: int) -> Iterator[Any]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingDependencyError(f"wide: needs Dask; {how_to_install('dask')}") from None
    with (
        LocalCluster(n_workers=n, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _on(client: Any) -> Any:
    return nullcontext() if client is None else joblib.parallel_config("dask", client=client)


def _ratios(embedder: Embedder, clips: Sequence[Source], clusters: Sequence[Any], options: Options) -> Table:
    n = options.workers
    ways: dict[str, tuple[Any, int | None]] = {
        "Dask, 1 worker": (clusters[0], None),
        f"Dask, {n} workers": (clusters[1], None),
        "1 thread, here": (None, 1),
        f"{n} threads, here": (None, n),
    }
    for way in ways.values():  # each worker loads the network
        _seconds(embedder, clips[: 2 * 8 * n], *way)
    rounds = [{name: _seconds(embedder, clips, *way) for name, way in ways.items()} for _ in range(options.rounds)]
    first = next(iter(ways))
    best = {name: min(one[name] for one in rounds) for name in ways}
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            Timing.of([len(clips) / one[name] for one in rounds]),
            Timing.of([one[first] / one[name] for one in rounds]),
            best[first] / best[name],
        )
        for name in ways
    ]
    columns = ("", ""), ("clips per second", ".1f"), ("1 worker = 1", ".2f"), ("best of each", ".2f")
    return Table(f"ESC-10, {embedder.name}, {options.rounds} rounds, {joblib.cpu_count()} cores", columns, tuple(rows))


def _seconds(embedder: Embedder, clips: Sequence[Source], client: Any, n_jobs: int | None) -> float:
    with _on(client):
        start = time.perf_counter()
        found = embed_sources(embedder, clips, n_jobs=n_jobs)
        seconds = time.perf_counter() - start
    for one in found:
        if isinstance(one, L3clfError):
            raise one
    return seconds


# --- many clips -----------------------------------------------------------------------------------


def _sizes(embedder: Embedder, client: Any, options: Options) -> Table:
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = _files(folder, options.clips)
        audio_bytes = sum(path.stat().st_size for path in paths)
        cache = EmbeddingCache(folder / "x.sqlite")
        steps = [("first", client), ("again, from the cache", client)]
        for what, on in steps:
            start = time.perf_counter()
            with _on(on):
                n_windows = _embed(embedder, paths, cache, folder / "x.parquet")
            seconds = time.perf_counter() - start
            rows.append((what, seconds, len(paths) / seconds, MILLION / len(paths) * seconds / 3600))
        start = time.perf_counter()
        found = l3clf.WindowEmbeddings.from_parquet(folder / "x.parquet")
        rows.append(("read back from Parquet", time.perf_counter() - start, None, None))
        sizes = {"sounds": audio_bytes, "cache": _size(folder / "x.sqlite"), "Parquet": _size(folder / "x.parquet")}
    if len(found) != len(paths):
        raise L3clfError(f"wide: {len(found)} of {len(paths)} clips came back; find out why")
    listed = ", ".join(f"{what} {size / len(paths) / 1e3:.2f}" for what, size in sizes.items())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    title = (
        f"{len(paths):,} synthetic clips of 1 s, {n_windows:,} windows of {embedder.embedding_size}, on "
        f"{options.workers} workers; kB a clip: {listed}; peak memory of the process that asks {memory:.2f} GB"
    )
    columns = ("", ""), ("seconds", ".1f"), ("clips per second", ",.0f"), ("a million clips (h)", ".2f")
    return Table(title, columns, tuple(rows))


def _files(folder: Path, n: int) -> list[Path]:
    rng = np.random.default_rng(0)
    sounds = [synthesise(CLASSES[i % len(CLASSES)], np.random.default_rng(i), 1.0, RATE_HZ) for i in range(SOUNDS)]
    paths = [folder / f"{i // 1000:03d}" / f"{i:06d}.wav" for i in range(n)]
    for i, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        sound = sounds[i % SOUNDS]
        soundfile.write(path, sound + 1e-3 * rng.standard_normal(len(sound)), RATE_HZ, subtype="PCM_16")
    return paths


def _embed(embedder: Embedder, paths: Sequence[Path], cache: EmbeddingCache, out: Path) -> int:
    sources = [Clip(path) for path in paths]
    contents = content_ids(sources, cache)
    finished = embed_each(embedder, sources, cache=cache)
    return save_parquet(out, [source.path for source in sources], finished, embedder, contents)


def _size(path: Path) -> int:
    return path.stat().st_size
