"""The target that is the C library of an export: scripts of calls, under sanitizers, must decide as one push does.

Rule: a script is a file like any other: it follows from its seed, and is read again by it. Samples of all kinds come in
chunks of all sizes by `l3clf_push` and `l3clf_feed`, with steps of all budgets, resets, calls that must be refused and
resets from the callback in between. Decisions of one stream become events. A report of a sanitizer is a finding.
"""

import os
import random
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier

import l3clf
from benchmarks.environment import ROOT
from benchmarks.fuzzing.fuzz_target import RIGHT, FindingError, Mutation, Target, require

__all__ = ["Chips"]

RATE = 16_000
TINY = ROOT / "tests" / "golden" / "tiny.student"
PROGRAM = Path(__file__).with_name("chip_calls.c")
FLAGS = ("-std=c99", "-O2", "-g", "-Wall", "-Wextra", "-Werror")
MAX_CALLS = 60  # of a script


class Chips(Target):
    """Exports of four kinds; the first byte of a script says which."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        tiny, mini = str(TINY), "l3mini"
        gate = {"gate_dbfs": -50.0, "gate_hysteresis_db": 6.0}
        forest = RandomForestClassifier(8, max_depth=4, random_state=0)
        models = [
            _fitted(l3clf.ClipClassifier, tiny, hop_s=0.5, unknown_threshold=0.6, **gate),
            _fitted(l3clf.ClipClassifier, tiny, hop_s=0.1, pooling="probability", head=forest),
            _fitted(l3clf.ClipTagger, tiny, hop_s=1.5, center=False),
            _fitted(l3clf.ClipClassifier, mini, hop_s=0.4),
        ]
        self._programs = [_Program(_built(model, folder / str(i))) for i, model in enumerate(models)]

    def good(self) -> list[bytes]:
        push = bytes([8, 4, 0, 3, 15, 0, 3, 12, 0])
        slices = bytes([8, 4, 0]) + bytes([0, 12, 0, 5, 0x55, 1]) * 8
        return [bytes([i]) + script for i in range(len(self._programs)) for script in (push, slices)]

    def mutated(self, rng: random.Random) -> Mutation:
        return Mutation(rng.randbytes(1 + 3 * rng.randint(1, MAX_CALLS)), strict=True)

    def outcome(self, content: bytes) -> str:
        kind = content[0] if content else 0
        answer = self._programs[kind % len(self._programs)].answer(content[1:])
        require(answer.startswith("right "), answer)
        return RIGHT


class _Program:
    """A process that runs scripts; it is started again after one that it did not survive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    def answer(self, script: bytes) -> str:
        process = self._process or self._started()
        if process.stdin is None or process.stdout is None:
            raise FindingError("no process")
        try:
            process.stdin.write(len(script).to_bytes(4, "little") + script)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # its end says more
        line = process.stdout.readline()
        if line.endswith(b"\n"):
            return line.decode().strip()
        process.wait()
        self._process = None
        report = self._path.with_suffix(".log").read_text(errors="replace").splitlines()
        told = [line for line in report if "ERROR" in line or "runtime error" in line]
        return f"ended with {process.returncode}: {' '.join(told[:1])[:300]}"

    def _started(self) -> "subprocess.Popen[bytes]":
        # Without the limit of memory that this process has: AddressSanitizer reserves terabytes.
        free = partial(resource.setrlimit, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        pipe = subprocess.PIPE
        with self._path.with_suffix(".log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [self._path], stdin=pipe, stdout=pipe, stderr=log, preexec_fn=free
            )
        return self._process


def _fitted(kind: type, student: str, **options: object) -> "l3clf.ClipClassifier | l3clf.ClipTagger":
    """Return a model that tells loud noise, soft noise and a tone apart."""
    rng = np.random.default_rng(0)
    time_s = np.arange(2 * RATE) / RATE
    clips = [rng.normal(0, 0.2 / 10**k, len(time_s)) for k in range(3) for _ in range(6)]
    clips += [0.3 * np.sin(2 * np.pi * (300 + 50 * k) * time_s) for k in range(6)]
    names = [str(i // 6) for i in range(24)]
    labels = [[name] for name in names] if kind is l3clf.ClipTagger else names
    embedder = l3clf.load_embedder(student, precision="int8")
    model: l3clf.ClipClassifier | l3clf.ClipTagger = kind(embedder, sample_rate=RATE, cache=None, **options)
    return model.fit(clips, labels)


def _built(model: "l3clf.ClipClassifier | l3clf.ClipTagger", folder: Path) -> Path:
    """Export a model, and compile it with the program that runs scripts."""
    out = l3clf.device.export(model, folder, pool_windows=4)
    sources = [*map(str, sorted(out.glob("l3clf*.c"))), str(PROGRAM)]
    program = folder / "calls"
    command = [*_compiler(), *FLAGS, f"-I{out}", *sources, "-lm", "-o", str(program)]
    subprocess.run(command, check=True, env={**os.environ, "PATH": os.defpath})  # noqa: S603
    return program


def _compiler() -> list[str]:
    """Return a compiler with sanitizers; Zig's clang has one of the two."""
    found = shutil.which("gcc", path=os.defpath) or shutil.which("clang", path=os.defpath)
    if found is None:
        return [sys.executable, "-m", "ziglang", "cc", "-fsanitize=undefined"]
    return [found, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
