"""A probe task cut from sounds that l3mini did not learn from, for choices about it; no evaluation set is read.

The pool's clips under share-alike licences, which `make_l3mini` leaves out, come from other sources than most of what
it learns from. Their classes are those that a network's own classifier scores highest in each (speech and music left
out), in draws of ten classes with at most forty clips, five folds: small tasks like those that users have. Frozen
embedding, logistic head, mean pooling, hop 0.5 s.

Two networks name the classes, YAMNet and EfficientAT mn04, since each is best at those that it named itself, and so
are its students.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
import soundfile
import soxr
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

import l3clf
from benchmarks.materials import embed, shared_folder, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.audio.clip import FloatArray
from l3clf.classifier.heads import make_head
from l3clf.weights.keras_h5 import read_bounded
from l3clf.weights.torch_zip import read_torch_zip

TEACHERS = ("yamnet", "efficientat")
RATE_HZ, WINDOW, MAX_S = 16_000, 15_600, 10
DRAWS, CLASSES, MIN_CLIPS, MAX_CLIPS = 24, 10, 10, 40


@dataclass(frozen=True)
class Options:
    """What is compared.

    Attributes
    ----------
    students : tuple of str
        Names or files.
    """

    students: tuple[str, ...] = ("l3mini",)


def run(options: Options) -> Result:
    """Return the mean accuracy of each student, and of EfficientAT and YAMNet, with the classes of both of these."""
    pool = shared_folder() / "data/pool"
    paths = probe_paths(pool)
    clips = [l3clf.Clip(pool / path) for path in paths]
    embedders = {Path(student).name: l3clf.load_embedder(student) for student in options.students}
    embedders |= {name: l3clf.load_embedder(name, weights=weights_folder()) for name in TEACHERS}
    windows = {name: [one.vectors for one in embed(embedder, clips)] for name, embedder in embedders.items()}
    tasks = yamnet_classes(pool, paths, weights_folder()), efficientat_classes(windows["efficientat"])
    rows: list[tuple[Cell, ...]] = []
    for name, found in windows.items():
        vectors = np.stack([one.mean(axis=0) for one in found])
        rows.append((name, *(mean_accuracy(vectors, classes) for classes in tasks)))
    title = f"{len(paths)} clips, {DRAWS} draws of {CLASSES} classes"
    columns = (("embedder", ""), ("YAMNet's classes", ".2%"), ("EfficientAT's classes", ".2%"))
    return Result((Table(title, columns, tuple(rows)),))


def probe_paths(pool: Path) -> list[str]:
    """Return the clips under share-alike licences without speech or music."""
    kinds: dict[str, set[str]] = defaultdict(set)
    with (pool / "parts.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            kinds[row["path"]].add(row["kind"])
    with (pool / "manifest.csv").open(encoding="utf-8") as file:
        return [
            row["path"]
            for row in csv.DictReader(file)
            if "SA" in row["licence"] and not kinds[row["path"]] & {"speech", "music"}
        ]


def yamnet_classes(pool: Path, paths: Sequence[str], weights: Path) -> NDArray[np.intp]:
    """Return the number of the class that YAMNet scores highest in each clip's first ten seconds."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Only without the default delegates can the input be resized.
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    yamnet = Interpreter(str(weights / "yamnet.tflite"), experimental_op_resolver_type=resolver)
    place, scores = yamnet.get_input_details()[0]["index"], yamnet.get_output_details()[0]["index"]
    yamnet.resize_tensor_input(place, [WINDOW])
    yamnet.allocate_tensors()
    found = []
    for path in paths:
        samples, rate = soundfile.read(pool / path, always_2d=True, dtype="float32")
        x = soxr.resample(samples[: MAX_S * rate].mean(axis=1), rate, RATE_HZ)
        x = np.pad(x, (0, max(0, WINDOW - len(x))))
        total = np.zeros(yamnet.get_output_details()[0]["shape"][-1])
        for first in range(0, len(x) - WINDOW + 1, WINDOW // 2):
            yamnet.set_tensor(place, x[first : first + WINDOW])
            yamnet.invoke()
            total += yamnet.get_tensor(scores)[0]
        found.append(total.argmax())
    return np.array(found)


def efficientat_classes(windows: Sequence[FloatArray]) -> NDArray[np.intp]:
    """Return the number of the class that EfficientAT mn04 scores highest in each clip, given its embeddings."""
    tensors = read_torch_zip(read_bounded(weights_folder() / "mn04_as_mAP_432.pt"), "mn04")
    (hidden, shift), (scores, bias) = (
        (tensors[f"classifier.{i}.weight"].T, tensors[f"classifier.{i}.bias"]) for i in (2, 5)
    )
    found = []
    for vectors in windows:
        x = vectors @ hidden + shift
        logits = x * np.clip(x / 6 + 0.5, 0, 1) @ scores + bias  # hard-swish
        found.append(scipy.special.expit(logits).mean(axis=0).argmax())
    return np.array(found)


def mean_accuracy(vectors: FloatArray, classes: NDArray[np.intp]) -> float:
    """Return the mean accuracy over small tasks, drawn with a fixed seed.

    Parameters
    ----------
    vectors : array of shape (n_clips, size)
    classes : array of shape (n_clips,)
    """
    with threadpool_limits(1):
        return float(np.mean([_accuracy(vectors[task], classes[task]) for task in _draws(classes)]))


def _draws(classes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The clips of each small task."""
    rng = np.random.default_rng(0)
    names, counts = np.unique(classes, return_counts=True)
    out = []
    for _ in range(DRAWS):
        chosen = rng.permutation(names[counts >= MIN_CLIPS])[:CLASSES]
        out.append(np.concatenate([rng.permutation(np.flatnonzero(classes == name))[:MAX_CLIPS] for name in chosen]))
    return out


def _accuracy(vectors: FloatArray, labels: NDArray[Any]) -> float:
    """The share of clips that the logistic head gets right in five folds."""
    right = 0
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(vectors, labels):
        head = make_head("logistic", None).fit(vectors[train], labels[train])
        right += int((head.predict(vectors[test]) == labels[test]).sum())
    return right / len(labels)
