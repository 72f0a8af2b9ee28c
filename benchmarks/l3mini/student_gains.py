"""What training on a task's own labels adds to l3mini or another student, on ESC-10 and FSDD.

For every fold a student is started from it and trained on the other folds' clips, with their labels beside the
teachers' embeddings (EfficientAT for ESC-10; EfficientAT and the speech embedding for FSDD); the held-out fold is
classified by mean pooling and the logistic head on its embeddings, the same as for the frozen one. The settings are
fixed here and were not chosen by these figures. Every trained fold is kept in `work`; run the same command again to
resume. Two and a half hours on two cores of a Xeon with AVX-512, about twice as long on an EPYC without; with
``torch=ESC-10,FSDD``, or one of them, the training loop alone is PyTorch's, which is faster there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.environment import say
from benchmarks.l3mini.kept import kept
from benchmarks.materials import esc10, fsdd, weights_folder
from benchmarks.record import Result, Table
from l3clf.distill import Schedule, Trainer, distil
from l3clf.distill.training import train
from l3clf.embedders import Embedder
from l3clf.errors import ParameterError
from l3clf.evaluate import make_split

SPEECH = 96  # numbers of the speech embedding in the student's
LARGE_FILES = ("*.f2", "*.i8", "*.i16")  # examples of a fold that was trained


@dataclass(frozen=True)
class Options:
    """What is trained.

    Attributes
    ----------
    student : str
        What training starts from: l3mini, l3base, l3micro, or a student file.
    sets : tuple of {"ESC-10", "FSDD"}
    torch : tuple of {"ESC-10", "FSDD"}
        Those of them that PyTorch trains.
    seeds : int
    work : Path
        Where trained folds are kept.
    epochs, folds : int, optional
        Instead of the task's own and instead of all, for a quick look.
    per_window : int
        Examples made of each window's length of a clip.
    """

    student: str = "l3mini"
    sets: tuple[str, ...] = ("ESC-10", "FSDD")
    torch: tuple[str, ...] = ()
    seeds: int = 3
    work: Path = Path("student-gains")
    epochs: int | None = None
    folds: int | None = None
    per_window: int = 4


@dataclass(frozen=True)
class Task:
    """A data set with folds, and how a student is trained on it."""

    name: str
    table: l3clf.ClipTable
    teachers: tuple[str, ...]
    hop_s: float
    epochs: int


def run(options: Options) -> Result:
    """Train and classify every fold, with every seed."""
    tasks = (
        Task("ESC-10", esc10(), ("efficientat",), 0.5, 12),
        Task("FSDD", fsdd(), ("efficientat", "speech"), 0.1, 8),
    )
    _check_work(options)
    start = l3clf.load_embedder(options.student).fingerprint
    rows = []
    for task in tasks:
        if task.name in options.sets:
            shares = [_share_right(task, options, seed) for seed in range(options.seeds)]
            engine = "PyTorch" if task.name in options.torch else "TensorFlow"
            each = ", ".join(f"{share:.2%}" for share in shares)
            rows.append((task.name, task.hop_s, float(np.mean(shares)), each, engine, start))
    columns = ("data", ""), ("hop (s)", "g"), ("mean accuracy", ".2%"), ("each seed", ""), ("trained in", "")
    title = f"Started from {Path(options.student).stem}, trained on the task's labels"
    return Result((Table(title, (*columns, ("started from", "")), tuple(rows)),))


def _check_work(options: Options) -> None:
    """Refuse a folder that keeps folds of another student or other settings: their figures would be taken."""
    start = [l3clf.load_embedder(options.student).fingerprint, options.epochs, options.per_window]
    if kept(options.work / "start.json", lambda: start) != start:
        raise ParameterError(
            f"work={str(options.work)!r}: keeps folds of another student or schedule; name a new folder"
        )


def _share_right(task: Task, options: Options, seed: int) -> float:
    table, right, total = task.table, 0, 0
    place = options.work / (f"{task.name} in PyTorch" if task.name in options.torch else task.name)
    split = list(make_split(table.labels, table.folds, table.groups))[: options.folds]
    for number, (training, test) in enumerate(split):
        folder = place / f"seed {seed}" / f"fold {number}"

        def make(training: NDArray[np.intp] = training, test: NDArray[np.intp] = test, folder: Path = folder) -> int:
            say(f"student_gains: {folder}")
            found = _n_right(_trained(task, options, seed, training, folder), task, training, test)
            for large in (path for pattern in LARGE_FILES for path in folder.glob(pattern)):
                large.unlink()
            return found

        right += kept(folder / "right.json", make)
        total += len(test)
    return right / total


def _trained(task: Task, options: Options, seed: int, training: NDArray[np.intp], folder: Path) -> Embedder:
    epochs = options.epochs or task.epochs
    size = l3clf.load_embedder(options.student).embedding_size
    return distil(
        [l3clf.load_embedder(name, weights=weights_folder()) for name in task.teachers],
        [task.table.clips[i] for i in training],
        task.table.labels[training].tolist(),
        init=options.student,
        out=folder,
        sizes=[size - SPEECH, SPEECH] if "speech" in task.teachers else [size],
        per_window=options.per_window,
        schedule=Schedule(epochs=epochs, learning_rate=1e-3, patience=epochs, seed=seed),
        trainer=_trainer(task.name in options.torch),
    )


def _trainer(torch: bool) -> Trainer:
    if not torch:
        return train
    from benchmarks.l3mini.torch_distil import train_in_torch

    return train_in_torch


def _n_right(embedder: Embedder, task: Task, training: NDArray[np.intp], test: NDArray[np.intp]) -> int:
    """Return how many clips of the held-out fold the logistic head gets right."""
    classifier = l3clf.ClipClassifier(embedder, hop_s=task.hop_s, cache=None)
    classifier.fit([task.table.clips[i] for i in training], task.table.labels[training])
    return int((classifier.predict([task.table.clips[i] for i in test]) == task.table.labels[test]).sum())
