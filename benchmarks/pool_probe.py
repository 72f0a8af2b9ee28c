"""Probe tasks cut from the pool, for choices about l3mini; no evaluation set is read.

    L3CLF_SHARED=... python benchmarks/pool_probe.py [STUDENT_FILE ...]

Kinds: the pool's table has a guess from folder names for each clip; balanced accuracy, no source of sounds in two
folds. It hardly tells students apart: a source is mostly of one kind.

Heard classes: the AudioSet class that YAMNet's own classifier hears most in a clip (speech and music left out), in
draws of ten classes with at most forty clips, five folds: small tasks like those that users have.

Both with the frozen embedding, the logistic head, mean pooling, hop 0.5 s. Clips under share-alike licences are left
out unless `--share-alike` is given. A student has heard these sounds, without classes, when it was distilled: only
students may be compared with students. About five minutes.
"""

import argparse
import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
import soxr
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

import l3clf
from l3clf.heads import make_head
from l3clf.pipeline import embed_sources

KINDS = ("impact", "human/animal", "speech", "music", "ambience", "animal/misc", "alarm/ui", "vehicle/misc")
MOST_OF_A_SOURCE = 100  # clips of one kind: else a few large sources would decide
RATE, WINDOW, LONGEST_S = 16_000, 15_600, 10
DRAWS, CLASSES, FEWEST, MOST = 8, 10, 15, 40


def kinds_of(pool: Path, share_alike: bool) -> dict[str, str]:
    """Return the kind of each clip that has one kind only."""
    kinds: dict[str, set[str]] = defaultdict(set)
    with (pool / "parts.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if share_alike or "SA" not in row["licence"]:
                kinds[row["path"]].add(row["kind"])
    return {path: next(iter(found)) for path, found in sorted(kinds.items()) if len(found) == 1}


def few_of_a_source(kinds: dict[str, str]) -> list[str]:
    taken: dict[tuple[str, str], int] = defaultdict(int)
    chosen = []
    for path, kind in kinds.items():
        source = path.partition("/")[0]
        taken[kind, source] += 1
        if kind in KINDS and taken[kind, source] <= MOST_OF_A_SOURCE:
            chosen.append(path)
    return chosen


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


def answers(vectors: np.ndarray, labels: np.ndarray, folds: list, class_weight: str | None) -> np.ndarray:
    out = np.empty_like(labels)
    for train, test in folds:
        out[test] = make_head("logistic", class_weight).fit(vectors[train], labels[train]).predict(vectors[test])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("students", nargs="*")
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    parser.add_argument("--share-alike", action="store_true", help="clips under share-alike licences too")
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    pool, weights = args.shared / "data/pool", args.shared / "weights"
    kinds = kinds_of(pool, args.share_alike)
    paths = list(kinds)
    rows = {path: row for row, path in enumerate(paths)}
    of_kinds = [rows[path] for path in few_of_a_source(kinds)]
    names = np.array([kinds[paths[row]] for row in of_kinds])
    sources = [paths[row].partition("/")[0] for row in of_kinds]
    kind_folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(names, names, sources))
    of_classes = np.array([row for path, row in rows.items() if kinds[path] not in ("speech", "music")])
    classes = heard_classes(pool, [paths[row] for row in of_classes], weights)
    tasks = [(of_classes[draw], classes[draw]) for draw in draws(classes)]
    print(f"kinds: {len(names)} clips, {len(set(names))} kinds; heard classes: {DRAWS} draws of {CLASSES} classes")
    print("| embedder | kinds | heard classes |\n|---|---|---|")
    embedders = [l3clf.load_embedder(student) for student in args.students or ["l3mini"]]
    for embedder in [*embedders, l3clf.load_embedder("yamnet", weights=weights)]:
        found = embed_sources(embedder, [l3clf.Clip(pool / path) for path in paths], hop_s=0.5, center=True, cache=None)
        vectors = np.stack([w.vectors.mean(axis=0) for w in found])
        with threadpool_limits(1):
            kind = balanced_accuracy_score(names, answers(vectors[of_kinds], names, kind_folds, "balanced"))
            heard = []
            for clips, labels in tasks:
                folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(clips, labels))
                heard.append(np.mean(answers(vectors[clips], labels, folds, None) == labels))
        name = Path(getattr(embedder, "weights", None) or embedder.name).name
        print(f"| {name} | {kind:.2%} | {np.mean(heard):.2%} |", flush=True)


if __name__ == "__main__":
    main()
