"""A probe task cut from sounds that l3mini never heard, for choices about it; no evaluation set is read.

    L3CLF_SHARED=... python benchmarks/pool_probe.py [STUDENT_FILE ...]

The pool's clips under share-alike licences, which `make_l3mini.py` leaves out, come from other sources than most of
what it learns from. Their classes are what YAMNet's own classifier hears most in each (speech and music left out), in
draws of ten classes with at most forty clips, five folds: small tasks like those that users have. Frozen embedding,
logistic head, mean pooling, hop 0.5 s. About eight minutes.
"""

import argparse
import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
import soxr
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

import l3clf
from l3clf.classifier.heads import make_head
from l3clf.pipeline import embed_sources

RATE, WINDOW, LONGEST_S = 16_000, 15_600, 10
DRAWS, CLASSES, FEWEST, MOST = 24, 10, 10, 40


def unheard(pool: Path) -> list[str]:
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


def heard_classes(pool: Path, paths: list[str], weights: Path) -> np.ndarray:
    """Return the number of the class that YAMNet hears most in each clip's first ten seconds."""
    import tensorflow as tf

    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    yamnet = tf.lite.Interpreter(str(weights / "yamnet.tflite"), experimental_op_resolver_type=resolver)
    place, scores = yamnet.get_input_details()[0]["index"], yamnet.get_output_details()[0]["index"]
    yamnet.resize_tensor_input(place, [WINDOW])
    yamnet.allocate_tensors()
    found = []
    for path in paths:
        samples, rate = soundfile.read(pool / path, always_2d=True, dtype="float32")
        x = soxr.resample(samples[: LONGEST_S * rate].mean(axis=1), rate, RATE)
        x = np.pad(x, (0, max(0, WINDOW - len(x))))
        total = np.zeros(yamnet.get_output_details()[0]["shape"][-1])
        for first in range(0, len(x) - WINDOW + 1, WINDOW // 2):
            yamnet.set_tensor(place, x[first : first + WINDOW])
            yamnet.invoke()
            total += yamnet.get_tensor(scores)[0]
        found.append(total.argmax())
    return np.array(found)


def draws(classes: np.ndarray) -> list[np.ndarray]:
    """Return the clips of small tasks, drawn with a fixed seed."""
    rng = np.random.default_rng(0)
    names, counts = np.unique(classes, return_counts=True)
    out = []
    for _ in range(DRAWS):
        chosen = rng.permutation(names[counts >= FEWEST])[:CLASSES]
        out.append(np.concatenate([rng.permutation(np.flatnonzero(classes == name))[:MOST] for name in chosen]))
    return out


def accuracy(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of clips that the logistic head gets right in five folds."""
    right = 0
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(vectors, labels):
        head = make_head("logistic", None).fit(vectors[train], labels[train])
        right += int((head.predict(vectors[test]) == labels[test]).sum())
    return right / len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("students", nargs="*")
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    pool, weights = args.shared / "data/pool", args.shared / "weights"
    paths = unheard(pool)
    classes = heard_classes(pool, paths, weights)
    tasks = draws(classes)
    print(f"{len(paths)} clips, {DRAWS} draws of {CLASSES} heard classes\n| embedder | accuracy |\n|---|---|")
    embedders = {student: l3clf.load_embedder(student) for student in args.students or ["l3mini"]}
    for name, embedder in (embedders | {"yamnet": l3clf.load_embedder("yamnet", weights=weights)}).items():
        clips = [l3clf.Clip(pool / path, 0, None) for path in paths]
        found = embed_sources(embedder, clips, hop_s=0.5, center=True, cache=None)
        vectors = np.stack([w.vectors.mean(axis=0) for w in found])
        with threadpool_limits(1):
            heard = np.mean([accuracy(vectors[task], classes[task]) for task in tasks])
        print(f"| {Path(name).name} | {heard:.2%} |", flush=True)


if __name__ == "__main__":
    main()
