"""The process that reads damaged files: ``python -m benchmarks.fuzzing.fuzz_worker TARGET FIRST COUNT SECONDS NOTE``.

Rule: each seed is written into a shared page of memory before its file is read, so that a crash or a hang has its
seed. The process may take little more memory than it has after reading the good files.
"""

import json
import mmap
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from benchmarks.fuzzing.fuzz_target import FINDING, OUTCOMES, Mutation, Target, judged

__all__ = ["NEEDS", "NOTE_BYTES", "TARGETS", "make_target", "mutation", "quick_folder"]

ROOM_BYTES = 512 << 20
SLOW_S = 5.0  # of the processor's time, for one file
TELL_EVERY_S = 0.5
NOTE_BYTES = 8
TARGETS: Mapping[str, tuple[str, str]] = {
    "model": ("fuzz_files", "Models"),
    "student": ("fuzz_files", "Students"),
    "onnx": ("fuzz_files", "Onnx"),
    "tflite": ("fuzz_files", "TFLite"),
    "hdf5": ("fuzz_files", "Keras"),
    "torch": ("fuzz_files", "Torch"),
    "cell": ("fuzz_files", "Cells"),
    "cache": ("fuzz_caches", "Caches"),
    "csv": ("fuzz_tables", "Tables"),
    "labels": ("fuzz_tables", "Labels"),
    "wav": ("fuzz_sounds", "Wav"),
    "flac": ("fuzz_sounds", "Flac"),
    "mp3": ("fuzz_sounds", "Mp3"),
    "vorbis": ("fuzz_sounds", "Vorbis"),
    "opus": ("fuzz_sounds", "Opus"),
    "aiff": ("fuzz_sounds", "Aiff"),
    "chip": ("fuzz_chip", "Chips"),
    "writes": ("write_faults", "Writes"),
    "training": ("write_faults", "TrainingWrites"),
}
"""Each with its module and class; only what is asked for is imported."""
NEEDS = {"training": "tensorflow", "chip": "ziglang"}
"""What a target cannot do without, and the package lacks."""


def make_target(name: str, folder: Path) -> Target:
    """Return a target, which makes its good files in a folder."""
    module, kind = TARGETS[name]
    target: Target = getattr(import_module(f"benchmarks.fuzzing.{module}"), kind)(folder)
    return target


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Yield a folder that goes away: in memory, where there is such a place."""
    room = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=room if os.access(room, os.W_OK) else None) as folder:
        yield Path(folder)


def mutation(target: Target, name: str, seed: int) -> Mutation:
    """Return the damaged file of a seed."""
    return target.mutated(random.Random(f"{name} {seed}"))  # noqa: S311


def main(name: str, first: int, count: int, seconds: float, note: Path) -> None:
    """Read damaged files until their number or the time is reached; print what came of them."""
    warnings.simplefilter("ignore")
    os.environ["PATH"] = ""  # nor ffmpeg, of the system or of a package: each file would start it
    sys.modules["imageio_ffmpeg"] = None  # type: ignore[assignment]
    with quick_folder() as folder, note.open("r+b") as file:
        target, seen = make_target(name, folder), mmap.mmap(file.fileno(), NOTE_BYTES)
        for content in target.good():
            outcome, detail = judged(target, Mutation(content, strict=True))
            if outcome == FINDING:
                raise SystemExit(f"{name}: an undamaged file gives {detail}")
        _limit_memory()
        _read_all(target, name, range(first, first + count), seconds, seen)


def _read_all(target: Target, name: str, seeds: range, seconds: float, seen: mmap.mmap) -> None:
    counts: Counter[str] = Counter()
    told = start = time.monotonic()
    for seed in seeds:
        seen[:] = seed.to_bytes(NOTE_BYTES, "little")
        damaged, before = mutation(target, name, seed), time.process_time()
        outcome, detail = judged(target, damaged)
        if outcome != FINDING and (took := time.process_time() - before) > SLOW_S:
            outcome, detail = FINDING, f"took {took:.0f} s"
        counts[outcome] += 1
        if outcome == FINDING or len(seeds) == 1:
            print(json.dumps({"seed": seed, "outcome": outcome, "detail": detail}))
        if (now := time.monotonic()) - told > TELL_EVERY_S:
            _tell(counts, seed + 1)
            told = now
        if now - start > seconds:
            break
    _tell(counts, seed + 1)


def _tell(counts: Counter[str], following: int) -> None:
    print(json.dumps({"counts": {name: counts.pop(name, 0) for name in OUTCOMES}, "next": following}), flush=True)


def _limit_memory() -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM_BYTES, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]))
