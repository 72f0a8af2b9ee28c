"""The package's students as frozen embedders, beside their peers; sizes, speed; integers beside tflite-micro's.

ESC-10 has its five folds, FSDD leaves one speaker out at a time; mean pooling, standardised logistic regression with
C=0.1. Speed is from samples in memory to vectors, on all cores, the embedders in turns. Each run of this reads the
evaluation sets: write its figures into `l3mini/labbook.md` when it was about a new student.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np

import l3clf
from benchmarks.edgel3_int8 import EdgeL3Int8
from benchmarks.environment import say
from benchmarks.l3mini_speed import windows_per_s
from benchmarks.materials import embed, esc10, fsdd, students, weights_folder
from benchmarks.network_size import size_of
from benchmarks.record import Result, Table, Timing
from l3clf.embedders import Embedder
from l3clf.embedders.frontend import levels, quantise_levels, student_spec
from l3clf.embedders.student import Student
from l3clf.evaluate import cross_validate, make_split

CLIP_S = 4.0  # of noise, that are timed
_FIRST = {"l3mini-1": "l3mini revision 1, float32", "l3mini-1-int8": "l3mini revision 1, int8"}


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    student : str, optional
        A student file instead of those in the package.
    peers : tuple of str
        Embedders to compare with; "edgel3-int8" is the int8 student of EdgeL3's makers, "l3mini-1" the first l3mini.
    windows : int
        Of ESC-10, in which every layer's integers are compared with tflite-micro's; 0 leaves that out.
    rounds : int
        In which each embedder is timed for about a second; 0 leaves that out.
    """

    student: str | None = None
    peers: tuple[str, ...] = (
        *("l3mini-1", "l3mini-1-int8", "efficientat", "yamnet", "speech", "edgel3-int8", "edgel3", "mfcc"),
    )
    windows: int = 200
    rounds: int = 3


def run(options: Options) -> Result:
    """Measure accuracy, size, speed and exactness."""
    pairs = [(one, replace(one, precision="int8")) for one in students(options.student)]
    sounds, digits = esc10(), fsdd()
    names: dict[str, Embedder] = {f"{one.name}, {one.precision}": one for pair in pairs for one in pair}
    names |= {_FIRST.get(name, name): _peer(name) for name in options.peers}
    rows = []
    for name, embedder in names.items():
        say(f"l3mini_table: {name}")
        figures = accuracy(embedder, sounds, 0.5), accuracy(embedder, digits, 0.1), accuracy(embedder, digits, 0.5)
        rows.append((name, embedder.embedding_size, *figures, embedder.fingerprint))
    columns = ("frozen embedder", ""), ("numbers", ",d"), ("ESC-10, hop 0.5 s", ".2%"), ("FSDD, hop 0.1 s", ".2%")
    table = Table("Accuracy", (*columns, ("FSDD, hop 0.5 s", ".2%"), ("fingerprint", "")), tuple(rows))
    exact = tuple(_exactness(*pair, sounds, options.windows) for pair in pairs) if options.windows else ()
    return Result((table, _sizes(names, options.rounds)), exact)


def accuracy(embedder: Embedder, table: l3clf.ClipTable, hop_s: float) -> float:
    """Return the share of clips that is right, in cross-validation by the table's folds or groups."""
    windows = embed(embedder, table.clips, hop_s)
    split = make_split(table.labels, table.folds, table.groups)
    found = cross_validate(l3clf.ClipClassifier(embedder, hop_s=hop_s), windows, table.labels, split)
    return float((found.predictions == table.labels).mean())


def _peer(name: str) -> Embedder:
    if name in _FIRST:
        return l3clf.load_embedder("l3mini", revision=1, precision=_FIRST[name].partition(", ")[2])
    if name == "edgel3-int8":
        return EdgeL3Int8(str(weights_folder() / "edgel3_int8_256.tflite"))
    options: dict[str, Path] = {} if name == "mfcc" else {"weights": weights_folder()}
    return l3clf.load_embedder(name, **options)


def _sizes(embedders: Mapping[str, Embedder], rounds: int) -> Table:
    """Count each network's parameters and products, and time the embedders in turns."""
    work = {name: _clips_of(embedder) for name, embedder in embedders.items()}
    speeds = [
        {name: windows_per_s(embedder, work[name], CLIP_S) for name, embedder in embedders.items()}
        for _ in range(rounds)
    ]
    rows = []
    for name, embedder in embedders.items():
        parameters, macs = size_of(embedder) or (None, None)
        speed = Timing.of([found[name] for found in speeds]) if speeds else None
        rows.append((name, parameters, macs, _file_bytes(embedder), speed))
    headings = ("parameters", "multiply-accumulates a window", "file (bytes)")
    columns = (("frozen embedder", ""), *((heading, ",d") for heading in headings), ("windows per second", ",.1f"))
    return Table(f"Size and speed, {joblib.cpu_count()} cores, {rounds} rounds", columns, tuple(rows))


def _clips_of(embedder: Embedder) -> int:
    """Return how many clips are timed, so that a round takes about a second."""
    windows_per_s(embedder, 1, CLIP_S)  # the first opens sessions
    return max(1, round(windows_per_s(embedder, 1, CLIP_S) / (CLIP_S / 0.5)))


def _file_bytes(embedder: Embedder) -> int | None:
    if not isinstance(embedder, Student):
        return None
    return len(embedder.tflite if embedder.precision == "int8" else embedder.onnx)


def _exactness(student: Student, chip: Student, table: l3clf.ClipTable, n: int) -> str:
    """Say how many values of all layers differ from tflite-micro's on real windows."""
    from tests.helpers.tflite_micro_oracle import every_tensor  # needs tflite-micro, which has Linux wheels only

    clips = [table.clips[i] for i in np.linspace(0, len(table.clips) - 1, n).astype(int)]
    windows = np.stack([next(iter(student.read_windows(clip, 0.5, False)))[0] for clip in clips])
    steps = quantise_levels(levels(student_spec(student.window_s), windows))[..., np.newaxis]
    ours, theirs = chip.network.layers(steps), every_tensor(student.tflite, steps)
    differ = sum(int((ours[index] != values).sum()) for index, values in theirs.items())
    total = sum(values.size for values in theirs.values())
    return (
        f"Integers of {student.name} in NumPy beside tflite-micro's: {differ} of {total:,} values of all {len(theirs)} "
        f"layers differ, on {n} windows of ESC-10."
    )
