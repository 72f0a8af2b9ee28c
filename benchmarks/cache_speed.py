"""How fast cached clips are read back: EmbeddingCache beside joblib.Memory and one .npy a clip.

    python benchmarks/cache_speed.py [--clips 2000]

A clip of five seconds is a real WAV file on disk and 11 windows x 512 float32. Every way is asked for
all clips, by path. Ways marked "content" recognise a changed file; those marked "path" do not look.
Times are the median of three rounds, the operating system's cache warm, in one process.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
import soundfile

from l3clf.storage.embedding_cache import EmbeddingCache, StoredWindows, cache_key

ROUNDS = 3
N_WINDOWS, EMBEDDING_SIZE = 11, 512
SAMPLE_RATE, CLIP_S = 16000, 5


def make_clips(folder, n_clips):
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:05d}.wav" for i in range(n_clips)]
    for path in paths:
        soundfile.write(path, rng.integers(-9000, 9000, SAMPLE_RATE * CLIP_S, np.int16), SAMPLE_RATE)
    return paths


def embed(path):
    """Stand in for an embedder: 22 kB a clip that cost nothing to compute."""
    rng = np.random.default_rng(int(Path(path).stem))
    return rng.random((N_WINDOWS, EMBEDDING_SIZE + 1), np.float32)


class Ours:
    name = "EmbeddingCache (content: stat)"

    def __init__(self, folder):
        self.cache = EmbeddingCache(folder / "embeddings.sqlite")

    def _keys(self, paths):
        return [cache_key(content, 0.0, None, "bench", 0.5, True) for content in self.cache.content_ids(paths)]

    def write(self, paths, vectors):
        stored = [StoredWindows(array[:, :-1], array[:, -1]) for array in vectors]
        entries = dict(zip(self._keys(paths), stored, strict=True))
        self.cache.put_many(entries, fingerprint="bench", embedder="bench")

    def read(self, paths):
        found = self.cache.get_many(keys := self._keys(paths))
        return [found[key].vectors for key in keys]


class JoblibMemory:
    name = "joblib.Memory (path)"

    def __init__(self, folder):
        self.vectors = {}
        # The function's argument is the path alone; what it returns was computed beforehand.
        self.remember = joblib.Memory(folder, verbose=0).cache(self._vectors_of, ignore=["self"])

    def _vectors_of(self, path):
        return self.vectors[path]

    def write(self, paths, vectors):
        self.vectors = {str(path): array for path, array in zip(paths, vectors, strict=True)}
        for path in paths:
            self.remember(str(path))
        self.vectors = {}  # from here on a miss is an error

    def read(self, paths):
        return [self.remember(str(path))[:, :-1] for path in paths]


class NpyByContent:
    name = ".npy a clip (content: hash)"

    def __init__(self, folder):
        self.folder = folder

    def _file(self, path):
        with path.open("rb") as stream:
            return self.folder / f"{hashlib.file_digest(stream, 'sha256').hexdigest()}.npy"

    def write(self, paths, vectors):
        for path, array in zip(paths, vectors, strict=True):
            np.save(self._file(path), array)

    def read(self, paths):
        return [np.load(self._file(path))[:, :-1] for path in paths]


class NpyByPath(NpyByContent):
    name = ".npy a clip (path)"

    def _file(self, path):
        return self.folder / f"{path.stem}.npy"


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(way, folder, paths, vectors):
    """Return the median seconds to write and to read, and the bytes on disk."""
    writes, reads = [], []
    for round_ in range(ROUNDS):
        own = folder / f"{way.__name__}{round_}"
        own.mkdir()
        store = way(own)
        writes.append(timed(lambda store=store: store.write(paths, vectors))[0])
        elapsed, found = timed(lambda store=store: store.read(paths))
        reads.append(elapsed)
        if not all(np.array_equal(a, b[:, :-1]) for a, b in zip(found, vectors, strict=True)):
            raise SystemExit(f"{way.name} returned other vectors than were written")
        del found
    size = sum(path.stat().st_size for path in own.rglob("*") if path.is_file())
    return statistics.median(writes), statistics.median(reads), size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2000, help="how many clips (default: 2000)")
    n_clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_clips(folder, n_clips)
        vectors = [embed(path) for path in paths]
        time.sleep(2.1)  # files written within two seconds are hashed, never recognised: not the usual case
        results = [(way, measure(way, folder, paths, vectors)) for way in (Ours, JoblibMemory, NpyByContent, NpyByPath)]
    print(f"{n_clips} clips of {CLIP_S} s, {N_WINDOWS} windows x {EMBEDDING_SIZE} float32; median of {ROUNDS}")
    print(f"{'':32}{'write s':>9}{'read s':>9}{'MB':>7}{'read, ours = 1':>16}")
    ours = results[0][1][1]
    for way, (write_s, read_s, size) in results:
        print(f"{way.name:32}{write_s:9.3f}{read_s:9.3f}{size / 1e6:7.1f}{read_s / ours:16.2f}")


if __name__ == "__main__":
    main()
