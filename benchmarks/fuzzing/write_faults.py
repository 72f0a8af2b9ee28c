"""The target that is a disk: full, failing or limited at each write of a cache, a model, a baseline or a distillation.

Rule: after a failed write, the old file is as it was or the new one complete, nothing is left beside it, the error is
one sentence, and the same write succeeds once there is space.
"""

import builtins
import errno
import io
import json
import os
import random
import resource
import shutil
import sqlite3
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.fuzzing.fuzz_files import GOLDEN, RATE
from benchmarks.fuzzing.fuzz_target import RIGHT, Mutation, Target, require
from l3clf.audio.clip import Clip, Samples
from l3clf.baselines.cell_files import read_cell, write_cell
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.model_file import load_model, save_model
from l3clf.datasets.clip_table import ClipTable
from l3clf.distill import corpus, examples
from l3clf.embedders.student import read_student, write_student
from l3clf.errors import L3clfError
from l3clf.evaluate.crossval import CrossValidation
from l3clf.storage.embedding_cache import EmbeddingCache, StoredWindows, cache_key

__all__ = ["TrainingWrites", "Writes"]

CALLS = ("write", "replace", "close", "mkdir", "posix_fallocate")
ERRNOS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EDQUOT": errno.EDQUOT, "EROFS": errno.EROFS}
Writer = Callable[[Path, int], Any]
Reader = Callable[[Path], Any]


class Writes(Target):
    """Writers of the package; each has version 0 on the disk, fails to write version 1, and writes it then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rng = np.random.default_rng(0)
        clips = [rng.normal(size=RATE // 4).astype(np.float32) for _ in range(6)]
        self.models = [self._model(clips, labels) for labels in ("abcabc", "cbaabc")]
        self.student = read_student(GOLDEN / "tiny.student")
        self.cells = [_predictions(rng, 12) for _ in range(2)]
        self.labels = np.resize(self.cells[0].classes, 12)
        self.windows = [rng.normal(size=(3, 13)).astype(np.float32) for _ in range(2)]
        self.clips = [Samples(clip, RATE, f"clip {i}") for i, clip in enumerate(clips)]
        self._use(
            {
                "model": (lambda path, v: save_model(self.models[v], path), self._read_model),
                "student": (self._write_student, lambda path: read_student(path).about["version"]),
                "cache": (self._write_cache, self._read_cache),
                "cell": (self._write_cell, self._read_cell),
                "table": (self._write_table, lambda path: len(ClipTable.from_csv(path)) - 1),
                "corpus": (self._write_corpus, self._read_corpus),
                "examples": (self._write_examples, self._read_examples),
            }
        )

    def _use(self, writers: dict[str, tuple[Writer, Reader]]) -> None:
        """Take writers, after checking that each version reads as itself."""
        self.writers = writers
        for name, (write, read) in writers.items():
            for version in (0, 1):
                place = self._place(name)
                write(place, version)
                require(read(place) == version, f"{name}: does not read back")

    @staticmethod
    def _model(clips: Sequence[Any], labels: str) -> ClipClassifier:
        return ClipClassifier("mfcc", sample_rate=RATE, cache=None).fit(clips, list(labels))

    def _place(self, name: str) -> Path:
        folder = self.folder / "place"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder / f"x.{name}"

    def good(self) -> list[bytes]:
        return [
            json.dumps({"writer": name, "fault": "none", "error": "EIO", "at": 0}).encode() for name in self.writers
        ]

    def mutated(self, rng: random.Random) -> Mutation:
        name = rng.choice(sorted(self.writers))
        fault = rng.choice(("size", "size", "pages", *CALLS) if name == "cache" else ("size", "size", *CALLS))
        at = int(2 ** rng.uniform(0, 17)) - 1 if fault == "size" else rng.randrange(12)
        what = {"writer": name, "fault": fault, "error": rng.choice(sorted(ERRNOS)), "at": at}
        return Mutation(json.dumps(what).encode())

    def outcome(self, content: bytes) -> str:
        what = json.loads(content)
        (write, read), place = self.writers[what["writer"]], self._place(what["writer"])
        write(place, 0)
        problem: L3clfError | None = None
        try:
            with _failing(what["fault"], ERRNOS[what["error"]], what["at"]):
                write(place, 1)
        except L3clfError as error:
            problem = error
        left = [path.name for path in place.parent.iterdir() if path.name.endswith(".part")]
        require(not left, f"{what['writer']}: left {left}")
        # A distillation begins what it could not finish again, so that there may be nothing between.
        restarts = what["writer"] in ("corpus", "examples")
        if not (problem and restarts):
            version = read(place)
            require(version == 1 or (problem and version == 0), f"{what['writer']}: holds {version!r} after {problem}")
        write(place, 1)
        require(read(place) == 1, f"{what['writer']}: cannot be written again after {problem}")
        if problem:
            raise problem
        return RIGHT

    # --- what is written: one function to write a version, one to tell which version is there ----------

    def _read_model(self, path: Path) -> int:
        digest = load_model(path).training_digest_
        return [model.training_digest_ for model in self.models].index(digest)

    def _write_student(self, path: Path, version: int) -> None:
        write_student(path, self.student.about | {"version": version}, self.student.onnx, self.student.tflite)

    def _write_cache(self, path: Path, version: int) -> None:
        # Version 1 adds an entry; both must be right.
        key = cache_key(bytes([version]), 0.0, None, "x", 0.5, True)
        array = self.windows[version]
        EmbeddingCache(path).put_many({key: StoredWindows(array[:, 1:], array[:, 0])}, fingerprint="x", embedder="x")

    def _read_cache(self, path: Path) -> int:
        keys = [cache_key(bytes([version]), 0.0, None, "x", 0.5, True) for version in (0, 1)]
        found = EmbeddingCache(path).get_many(keys)
        for key, array in zip(keys, self.windows, strict=True):
            require(key not in found or np.array_equal(found[key].vectors, array[:, 1:]), "cache: a wrong vector")
        return int(keys[1] in found)

    def _write_cell(self, path: Path, version: int) -> None:
        write_cell(path, self.cells[version], 1.0)

    def _read_cell(self, path: Path) -> int:
        found = read_cell(path, self.labels)
        stored = None if found is None else found[0].probabilities.tolist()
        return next((i for i, cell in enumerate(self.cells) if cell.probabilities.tolist() == stored), -1)

    @staticmethod
    def _write_table(path: Path, version: int) -> None:
        ClipTable([Clip(f"{i}.wav") for i in range(version + 1)], ["a"] * (version + 1)).to_csv(path)

    def _write_corpus(self, path: Path, version: int) -> None:
        path.mkdir(exist_ok=True)
        corpus.decode(self.clips[: 3 + version], RATE, path)

    @staticmethod
    def _read_corpus(path: Path) -> int:
        header = corpus._read_header(path)
        return -1 if header is None else len(header["kept"]) - 3

    @staticmethod
    def _write_examples(path: Path, version: int) -> None:
        path.mkdir(exist_ok=True)
        if version == 0:
            return  # nothing is there before
        files = examples._Files(path, {"levels.i8": (4, 64)}, {"of": "fuzz"})
        files.put(0, {"levels.i8": np.ones((4, 64), np.int8)})
        files.mark(4)

    @staticmethod
    def _read_examples(path: Path) -> int:
        if not (path / corpus.EXAMPLES).exists():
            return 0
        files = examples._Files(path, {"levels.i8": (4, 64)}, {"of": "fuzz"})
        return int(files.done == 4 and (files.arrays["levels.i8"] == 1).all())


class _Variable(np.ndarray):
    """A variable of a network as far as a checkpoint needs one."""

    def __new__(cls, values: Any) -> "_Variable":
        return np.asarray(values).view(cls)

    def assign(self, values: Any) -> None:
        self[...] = values


class TrainingWrites(Writes):
    """What the training of a distillation writes, which needs TensorFlow to be imported."""

    def __init__(self, folder: Path) -> None:
        Target.__init__(self, folder)
        self.training = import_module("l3clf.distill.training")
        self._use(
            {
                "checkpoint": (self._write_checkpoint, lambda path: int(self._learner(-1, path).variables[0][0])),
                "log": (
                    lambda path, v: self.training._write_log(path, [{"loss": v}]),
                    lambda path: int(path.read_text().split()[1]),
                ),
            }
        )

    def _learner(self, version: int, path: Path | None = None) -> Any:
        """Return what `_Checkpoint` sees of a network; with a path, restored from there."""
        variable = _Variable(np.full(300, float(version)))
        learner = types.SimpleNamespace(variables=[variable], optimizer=types.SimpleNamespace(variables=[]))
        if path is not None:
            self.training._Checkpoint(path, learner, {"of": "fuzz"}).load()
        return learner

    def _write_checkpoint(self, path: Path, version: int) -> None:
        self.training._Checkpoint(path, self._learner(version), {"of": "fuzz"}).save([{"loss": version}], [])


def _predictions(rng: np.random.Generator, n: int) -> CrossValidation:
    classes, probabilities = np.array(["a", "b", "c"]), rng.dirichlet(np.ones(3), n)
    return CrossValidation(classes[probabilities.argmax(axis=1)], probabilities, classes)


# --- faults ---------------------------------------------------------------------------------------


@contextmanager
def _failing(fault: str, number: int, at: int) -> Iterator[None]:
    """Make writing fail: beyond a size, in the n-th call of a kind, or in a database of n pages."""
    with ExitStack() as stack:
        if fault == "size":
            stack.enter_context(_limited_size(at))
        elif fault == "pages":
            stack.enter_context(mock.patch("sqlite3.connect", _connect_with(at)))
        elif fault in CALLS:
            countdown = _Countdown(number, at)
            if fault in ("write", "close"):
                stack.enter_context(mock.patch("io.open", _opener(countdown, fault)))
            elif hasattr(os, fault):
                stack.enter_context(mock.patch.object(os, fault, countdown.before(getattr(os, fault))))
        yield


@contextmanager
def _limited_size(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: the system itself fails the write, in the middle of it (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class _Countdown:
    """Fails every call from the n-th on, as a full disk does."""

    def __init__(self, number: int, left: int) -> None:
        self.number, self.left = number, left

    def tick(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(self.number, os.strerror(self.number))

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.tick()
            return function(*args, **options)

        return call


def _opener(countdown: _Countdown, fault: str) -> Callable[..., Any]:
    """Return an `open` whose files fail when they are written or closed."""

    class Failing(io.FileIO):
        def write(self, data: Any) -> int:
            if fault == "write":
                countdown.tick()
            return super().write(data)

        def close(self) -> None:
            fails = fault == "close" and not self.closed and self.writable()
            super().close()
            if fails:
                countdown.tick()

    def opened(file: Any, mode: str = "r", buffering: int = -1, *text: Any, **options: Any) -> Any:
        if not set(mode) & set("wxa+"):
            return builtins.open(  # noqa: PTH123
                file, mode, buffering, *text, **options
            )
        raw = Failing(file, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedRandom(raw, 512) if "+" in mode else io.BufferedWriter(raw, 512)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *text, **options)

    return opened


def _connect_with(pages: int) -> Callable[..., sqlite3.Connection]:
    """Return a `connect` whose databases may grow by a few pages only, and are full then."""
    connect = sqlite3.connect

    def connected(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.execute(f"PRAGMA max_page_count = {max(1, pages)}")
        return connection

    return connected
