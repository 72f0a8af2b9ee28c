"""What training on a task's own labels adds to l3mini, and the talk's CNN from scratch, on ESC-10 and FSDD.

    L3CLF_SHARED=... python benchmarks/student_gains.py [--student FILE] [--seeds 3] [--work DIR] [--torch FSDD]

For every fold a student is started from l3mini and trained on the other folds' clips, with their labels beside
the teachers' embeddings (YAMNet for ESC-10; YAMNet and the speech embedding for FSDD); the held-out fold is
classified by mean pooling and the logistic head on its embeddings, the same as for the frozen one. The
settings are fixed here and were not chosen by these figures. Every trained fold is kept in `work`; stopped, the
same command goes on. Two and a half hours on two cores of a Xeon with AVX-512, about twice as long on an EPYC without;
with `--torch ESC-10 FSDD`, or one of them, the training loop alone is PyTorch's (`pip install torch`), by
`torch_distil.py`, which is faster there.
"""

import argparse
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import l3clf
from l3clf.distill import Schedule, distil
from l3clf.distill.architectures import build_talk_cnn, keras
from l3clf.embedders.frontend import INPUT_STEPS, levels, quantise_levels, student_spec
from l3clf.evaluate import make_split

SILENT_DB = -60.0  # of a window's power; the end of some clips is silence that was added


@dataclass(frozen=True)
class Task:
    """A data set with folds, and how a student is trained on it."""

    name: str
    table: l3clf.ClipTable
    teachers: tuple[str, ...]
    hop_s: float
    per_window: int
    epochs: int


def tasks(shared: Path) -> list[Task]:
    return [
        Task("ESC-10", l3clf.datasets.load(shared / "data/esc10"), ("yamnet",), 0.5, 4, 12),
        Task("FSDD", l3clf.datasets.load(shared / "data/fsdd", group="speaker"), ("yamnet", "speech"), 0.1, 4, 8),
    ]


def kept(path: Path, make: Callable[[], object]) -> dict[str, float]:
    """Return what is written in `path`, or make it and write it."""
    if not path.exists():
        found = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_text(json.dumps(found))
        path.with_suffix(".part").replace(path)
    return json.loads(path.read_text())


def classify(embedder: l3clf.Embedder, task: Task, train: np.ndarray, test: np.ndarray) -> int:
    """Return how many clips of the held-out fold the logistic head gets right."""
    classifier = l3clf.ClipClassifier(embedder, hop_s=task.hop_s, cache=None)
    classifier.fit([task.table.clips[i] for i in train], task.table.labels[train])
    return int((classifier.predict([task.table.clips[i] for i in test]) == task.table.labels[test]).sum())


def trained(
    task: Task, init: str, weights: Path, seed: int, train: np.ndarray, folder: Path, engine: AbstractContextManager
) -> l3clf.Embedder:
    teachers = [l3clf.load_embedder(name, weights=weights) for name in task.teachers]
    sizes = [128, 64] if len(teachers) == 2 else [192]  # together as long as l3mini's
    schedule = Schedule(epochs=task.epochs, learning_rate=1e-3, patience=task.epochs, seed=seed)
    with engine:
        return distil(
            teachers, [task.table.clips[i] for i in train], task.table.labels[train], init=init, out=folder,
            sizes=sizes, per_window=task.per_window, schedule=schedule,
        )  # fmt: skip


def in_pytorch() -> AbstractContextManager:
    from torch_distil import in_torch

    return in_torch()


def gain(task: Task, init: str, weights: Path, seeds: int, work: Path, torch: bool) -> None:
    """Print the accuracy of a trained student for each seed."""
    table = task.table
    split = make_split(table.labels, table.folds, table.groups)
    totals = []
    for seed in range(seeds):
        right = 0
        for number, (train, test) in enumerate(split):
            folder = work / (f"{task.name} in PyTorch" if torch else task.name) / f"seed {seed}" / f"fold {number}"

            def make(seed: int = seed, train=train, test=test, folder=folder) -> int:
                student = trained(task, init, weights, seed, train, folder, in_pytorch() if torch else nullcontext())
                found = classify(student, task, train, test)
                for big in [*folder.glob("*.f2"), *folder.glob("*.i8"), *folder.glob("*.i16")]:
                    big.unlink()
                return found

            right += kept(folder / "right.json", make)
        totals.append(right / len(table.labels))
    each = ", ".join(f"{total:.2%}" for total in totals)
    print(f"| l3mini, trained on {task.name}'s labels | {task.name} | {np.mean(totals):.2%} ({each}) |", flush=True)


def windows_of(task: Task) -> list[np.ndarray]:
    """Log-mel windows of every clip, each normalised, without silence."""
    embedder = l3clf.load_embedder("l3mini")
    spec = student_spec(embedder.window_s)
    out = []
    for clip in task.table.clips:
        samples = np.concatenate(list(embedder.read_windows(clip, task.hop_s, True)))
        loud = 10 * np.log10(np.mean(samples**2, axis=1) + 1e-12) > SILENT_DB
        x = quantise_levels(levels(spec, samples[loud] if loud.any() else samples)).astype(np.float32)
        x = x / np.float32(INPUT_STEPS)
        out.append((x - x.mean((1, 2), keepdims=True)) / (x.std((1, 2), keepdims=True) + 1e-3))
    return out


def talk_cnn(task: Task, seed: int, epochs: int, work: Path) -> None:
    """Print the accuracy of the talk's CNN, trained from scratch on labels alone, mean over windows."""
    windows: list[np.ndarray] = []
    classes, labels = np.unique(task.table.labels, return_inverse=True)
    split = make_split(task.table.labels, task.table.folds, task.table.groups)
    right = 0
    for number, (train, test) in enumerate(split):

        def make(train=train, test=test) -> int:
            windows.extend(windows_of(task) if not windows else [])
            keras.utils.set_random_seed(seed)
            x = np.concatenate([windows[i] for i in train])[..., np.newaxis]
            y = np.concatenate([np.full(len(windows[i]), labels[i]) for i in train])
            model = build_talk_cnn(*x.shape[1:3], len(classes))
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
            model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
            shares = [keras.ops.softmax(model(windows[i][..., np.newaxis])).numpy().mean(axis=0) for i in test]
            return int((np.argmax(shares, axis=1) == labels[test]).sum())

        right += kept(work / task.name / "talk cnn" / f"fold {number}.json", make)
    share = right / len(labels)
    print(f"| the talk's CNN from scratch ({epochs} epochs, one seed) | {task.name} | {share:.2%} |", flush=True)


def print_gains(
    shared: Path, student: str, seeds: int, work: Path, only: str | None = None, torch: Sequence[str] = ()
) -> None:
    """Print what labels add; `torch` names the data sets whose students PyTorch trains."""
    print("| what | data set | accuracy (each seed) |\n|---|---|---|")
    found = tasks(shared)
    if only in (None, "talk"):
        talk_cnn(found[0], seed=0, epochs=20, work=work)
    for task in found:
        if only in (None, task.name):
            gain(task, student, shared / "weights", seeds, work, task.name in torch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    parser.add_argument("--student", default="l3mini", help="a student file in the place of l3mini")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default="student-gains", help="what was trained is kept here")
    parser.add_argument("--again", action="store_true", help="forget what was trained")
    parser.add_argument("--only", choices=["ESC-10", "FSDD", "talk"])
    parser.add_argument(
        "--torch", nargs="+", choices=["ESC-10", "FSDD"], default=[], help="train in PyTorch, which is faster on a CPU"
    )
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    if args.again:
        shutil.rmtree(args.work, ignore_errors=True)
    print_gains(args.shared, args.student, args.seeds, args.work, args.only, args.torch)


if __name__ == "__main__":
    main()
