"""The package's students as frozen embedders, beside their peers; their sizes; their integers beside tflite-micro's.

ESC-10 has its five folds, FSDD leaves one speaker out at a time; mean pooling, standardised logistic regression with
C=0.1. Each run of this reads the evaluation sets: write its figures into `l3mini/labbook.md` when it was about a new
student.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

import l3clf
from benchmarks.edgel3_int8 import EdgeL3Int8
from benchmarks.environment import say
from benchmarks.materials import embed, esc10, fsdd, students, weights_folder
from benchmarks.record import Result, Table
from l3clf.embedders import Embedder
from l3clf.embedders.frontend import levels, quantise_levels, student_spec
from l3clf.embedders.student import Student
from l3clf.evaluate import cross_validate, make_split


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
    """

    student: str | None = None
    peers: tuple[str, ...] = ("l3mini-1", "efficientat", "yamnet", "speech", "edgel3-int8", "edgel3", "mfcc")
    windows: int = 200


def run(options: Options) -> Result:
    """Measure accuracy, size and exactness."""
    pairs = [(one, replace(one, precision="int8")) for one in students(options.student)]
    sounds, digits = esc10(), fsdd()
    names = {f"{one.name}, {one.precision}": one for pair in pairs for one in pair}
    rows = []
    for name, embedder in (names | {name: _peer(name) for name in options.peers}).items():
        say(f"l3mini_table: {name}")
        figures = accuracy(embedder, sounds, 0.5), accuracy(embedder, digits, 0.1), accuracy(embedder, digits, 0.5)
        rows.append((name, embedder.embedding_size, *figures, embedder.fingerprint))
    columns = ("frozen embedder", ""), ("numbers", ",d"), ("ESC-10, hop 0.5 s", ".2%"), ("FSDD, hop 0.1 s", ".2%")
    table = Table("Accuracy", (*columns, ("FSDD, hop 0.5 s", ".2%"), ("fingerprint", "")), tuple(rows))
    exact = tuple(_exactness(*pair, sounds, options.windows) for pair in pairs) if options.windows else ()
    return Result((table, _sizes(pairs)), exact)


def accuracy(embedder: Embedder, table: l3clf.ClipTable, hop_s: float) -> float:
    """Return the share of clips that is right, in cross-validation by the table's folds or groups."""
    windows = embed(embedder, table.clips, hop_s)
    split = make_split(table.labels, table.folds, table.groups)
    found = cross_validate(l3clf.ClipClassifier(embedder, hop_s=hop_s), windows, table.labels, split)
    return float((found.predictions == table.labels).mean())


def _peer(name: str) -> Embedder:
    if name == "l3mini-1":
        return l3clf.load_embedder("l3mini", revision=1)
    if name == "edgel3-int8":
        return EdgeL3Int8(str(weights_folder() / "edgel3_int8_256.tflite"))
    options: dict[str, Path] = {} if name == "mfcc" else {"weights": weights_folder()}
    return l3clf.load_embedder(name, **options)


def _sizes(pairs: Sequence[tuple[Student, Student]]) -> Table:
    rows = []
    for student, chip in pairs:
        tensors = onnx.load_model_from_string(student.onnx).graph.initializer
        parameters = sum(int(np.prod(tensor.dims)) for tensor in tensors)
        rows.append((student.name, parameters, len(student.tflite), len(student.onnx), chip.network.model.macs))
    headings = ("parameters", "int8 file (bytes)", "ONNX file (bytes)", "multiply-accumulates a window")
    return Table("Size", (("student", ""), *((heading, ",d") for heading in headings)), tuple(rows))


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
