"""How fast cached clips are read, beside joblib.Memory and a .npy file for each clip; and embedding a folder again.

A clip of five seconds is a real WAV file and 11 windows x 512 float32. Each store is asked for all clips by path.
Stores marked "content" recognise a changed file; those marked "path" do not look. The operating system's file cache
is warm. The stores take turns, and ratios are of the same round. Then synthetic clips are embedded with mfcc and
l3base, and some of them with OpenL3 (seeded weights), twice: the second time comes from the cache.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np
import soundfile

import l3clf
from benchmarks.materials import seeded_openl3
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.audio.clip import FloatArray
from l3clf.demo.sounds import CLASSES, synthesise
from l3clf.embedders import Embedder
from l3clf.errors import DatasetError
from l3clf.storage.embedding_cache import EmbeddingCache, StoredWindows, cache_key

N_WINDOWS, EMBEDDING_SIZE = 11, 512
RATE_HZ, CLIP_S = 16_000, 5
AGAIN_S = 4.0  # length of the clips that are embedded again
SETTLED_S = 2.5  # the cache reads files again that are younger than two seconds


@dataclass(frozen=True)
class Options:
    """How much is stored.

    Attributes
    ----------
    clips : int
        That are written to each store and read from it.
    again : int
        Clips that are embedded twice; with OpenL3, a hundredth of them.
    rounds : int
    """

    clips: int = 2000
    again: int = 2000
    rounds: int = 3


def run(options: Options) -> Result:
    """Time the stores, and embedding again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise, sounds = _noise(folder, options.clips), _sounds(folder, options.again)
        time.sleep(SETTLED_S)
        return Result((_stores(folder, noise, options.rounds), _again(folder, sounds, options.rounds)))


def _noise(folder: Path, n: int) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:05d}.wav" for i in range(n)]
    for path in paths:
        soundfile.write(path, rng.integers(-9000, 9000, RATE_HZ * CLIP_S, np.int16), RATE_HZ)
    return paths


def _sounds(folder: Path, n: int) -> list[Path]:
    paths = [folder / f"sound-{i}.wav" for i in range(n)]
    for i, path in enumerate(paths):
        samples = synthesise(CLASSES[i % len(CLASSES)], np.random.default_rng(i), AGAIN_S, RATE_HZ)
        soundfile.write(path, samples, RATE_HZ)
    return paths


# --- stores ----------------------------------------------------------------------------------------


class _Store(Protocol):
    def write(self, paths: Sequence[Path], vectors: Sequence[FloatArray]) -> None: ...

    def read(self, paths: Sequence[Path]) -> list[FloatArray]: ...


class _Cache:
    def __init__(self, folder: Path) -> None:
        self.cache = EmbeddingCache(folder / "embeddings.sqlite")

    def _keys(self, paths: Sequence[Path]) -> list[Any]:
        contents = self.cache.content_ids(paths)
        return [cache_key(content, 0.0, None, "bench", 0.5, True) for content in contents if isinstance(content, bytes)]

    def write(self, paths: Sequence[Path], vectors: Sequence[FloatArray]) -> None:
        stored = [StoredWindows(array[:, :-1], array[:, -1]) for array in vectors]
        self.cache.put_many(dict(zip(self._keys(paths), stored, strict=True)), fingerprint="bench", embedder="bench")

    def read(self, paths: Sequence[Path]) -> list[FloatArray]:
        found = self.cache.get_many(keys := self._keys(paths))
        return [found[key].vectors for key in keys]


class _JoblibMemory:
    def __init__(self, folder: Path) -> None:
        self.vectors: dict[str, FloatArray] = {}
        # The function's argument is the path alone; what it returns was computed beforehand.
        self.remember = joblib.Memory(folder, verbose=0).cache(self._vectors_of, ignore=["self"])

    def _vectors_of(self, path: str) -> FloatArray:
        return self.vectors[path]

    def write(self, paths: Sequence[Path], vectors: Sequence[FloatArray]) -> None:
        self.vectors = {str(path): array for path, array in zip(paths, vectors, strict=True)}
        for path in paths:
            self.remember(str(path))
        self.vectors = {}  # from here on a miss is an error

    def read(self, paths: Sequence[Path]) -> list[FloatArray]:
        return [self.remember(str(path))[:, :-1] for path in paths]


class _NpyByContent:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, path: Path) -> Path:
        with path.open("rb") as stream:
            return self.folder / f"{hashlib.file_digest(stream, 'sha256').hexdigest()}.npy"

    def write(self, paths: Sequence[Path], vectors: Sequence[FloatArray]) -> None:
        for path, array in zip(paths, vectors, strict=True):
            np.save(self._file(path), array)

    def read(self, paths: Sequence[Path]) -> list[FloatArray]:
        return [np.load(self._file(path))[:, :-1] for path in paths]


class _NpyByPath(_NpyByContent):
    def _file(self, path: Path) -> Path:
        return self.folder / f"{path.stem}.npy"


STORES: dict[str, Callable[[Path], _Store]] = {
    "`EmbeddingCache` (content, recognised by the file's state)": _Cache,
    "joblib.Memory (path)": _JoblibMemory,
    "one .npy per clip (content, hashed)": _NpyByContent,
    "one .npy per clip (path)": _NpyByPath,
}


def _stores(folder: Path, paths: Sequence[Path], rounds: int) -> Table:
    rng = np.random.default_rng(0)
    vectors = [rng.random((N_WINDOWS, EMBEDDING_SIZE + 1), np.float32) for _ in paths]
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in STORES}
    for k in range(rounds):
        for i, (name, make) in enumerate(STORES.items()):
            found[name].append(_measure(make, folder / f"store-{i}-{k}", paths, vectors))
    ours = next(iter(found.values()))
    rows: list[tuple[Cell, ...]] = []
    for name, measured in found.items():
        cells: list[Cell] = []
        for i in range(2):
            cells.append(Timing.of([one[i] for one in measured]))
            cells.append(Timing.of([one[i] / our[i] for one, our in zip(measured, ours, strict=True)]))
        rows.append((name, *cells, measured[0][2] / 1e6))
    seconds = ("write (s)", ".2f"), ("ours = 1", ".1f"), ("read (s)", ".2f"), ("ours = 1", ".1f")
    columns = *seconds, ("MB", ".0f")
    title = f"{len(paths):,} clips of {CLIP_S} s, {N_WINDOWS} windows of {EMBEDDING_SIZE} numbers each"
    return Table(title, (("", ""), *columns), tuple(rows))


def _measure(
    make: Callable[[Path], _Store], folder: Path, paths: Sequence[Path], vectors: Sequence[FloatArray]
) -> tuple[float, float, int]:
    """Return the seconds to write and to read, and the bytes on disk."""
    folder.mkdir()
    store = make(folder)
    start = time.perf_counter()
    store.write(paths, vectors)
    written = time.perf_counter()
    found = store.read(paths)
    end = time.perf_counter()
    if not all(np.array_equal(a, b[:, :-1]) for a, b in zip(found, vectors, strict=True)):
        raise DatasetError(f"{make}: returned other vectors than were written")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return written - start, end - written, size


# --- embedding again -------------------------------------------------------------------------------


def _again(folder: Path, clips: Sequence[Path], rounds: int) -> Table:
    openl3 = l3clf.load_embedder("openl3", weights=seeded_openl3(folder))
    rows: list[tuple[Cell, ...]] = []
    all_clips = [(l3clf.load_embedder(name), clips) for name in ("mfcc", "l3base")]
    for embedder, some in (*all_clips, (openl3, clips[::100])):
        pairs = [_twice(embedder, some, folder / f"{embedder.name}-{k}.sqlite") for k in range(rounds)]
        first, again = (Timing.of(column) for column in zip(*pairs, strict=True))
        rows.append((embedder.name, len(some), first, again, Timing.of([one / other for one, other in pairs])))
    columns = ("embedder", ""), ("clips", "d"), ("first (s)", ".2f"), ("again (s)", ".3f")
    return Table(f"Clips of {AGAIN_S:g} s, embedded twice", (*columns, ("first, again = 1", ",.0f")), tuple(rows))


def _twice(embedder: Embedder, clips: Sequence[Path], cache: Path) -> tuple[float, float]:
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        l3clf.ClipEmbedder(embedder, cache=cache).fit_transform(clips)
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]
