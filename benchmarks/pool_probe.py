"""The pool's probe task: tell the kinds of sound apart. For choices about l3mini; no evaluation set is read.

    L3CLF_SHARED=... python benchmarks/pool_probe.py [STUDENT_FILE ...]

The kind of a clip is that of its parts in the pool's table (a guess from folder names); clips of several kinds are
left out, and so are those under share-alike licences unless `--share-alike` is given. A source of sounds is in one
fold only. Balanced accuracy of the frozen embedding with the logistic head, mean pooling, hop 0.5 s. A student has
heard these sounds, without their kinds, when it was distilled: only students may be compared with students.
"""

import argparse
import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

import l3clf
from l3clf.heads import make_head
from l3clf.pipeline import embed_sources

KINDS = ("impact", "human/animal", "speech", "music", "ambience", "animal/misc", "alarm/ui", "vehicle/misc")
MOST_OF_A_SOURCE = 100  # clips of one kind: else a few large sources would decide


def probe_clips(pool: Path, share_alike: bool) -> tuple[list[l3clf.Clip], list[str], list[str]]:
    """Return clips, their kinds and their sources."""
    kinds: dict[str, set[str]] = defaultdict(set)
    licences: dict[str, str] = {}
    with (pool / "parts.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            kinds[row["path"]].add(row["kind"])
            licences[row["path"]] = row["licence"]
    taken: dict[tuple[str, str], int] = defaultdict(int)
    chosen = []
    for path, found in sorted(kinds.items()):
        kind, source = next(iter(found)), path.partition("/")[0]
        if len(found) == 1 and kind in KINDS and (share_alike or "SA" not in licences[path]):
            taken[kind, source] += 1
            if taken[kind, source] <= MOST_OF_A_SOURCE:
                chosen.append((l3clf.Clip(pool / path), kind, source))
    return tuple(map(list, zip(*chosen, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("students", nargs="*")
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    parser.add_argument("--share-alike", action="store_true", help="clips under share-alike licences too")
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    clips, kinds, sources = probe_clips(args.shared / "data/pool", args.share_alike)
    print(f"{len(clips)} clips, {len(set(kinds))} kinds, {len(set(sources))} sources")
    embedders = [l3clf.load_embedder(student) for student in args.students] or [l3clf.load_embedder("l3mini")]
    embedders.append(l3clf.load_embedder("yamnet", weights=args.shared / "weights"))
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(clips, kinds, sources))
    for embedder in embedders:
        found = embed_sources(embedder, clips, hop_s=0.5, center=True, cache=None)
        vectors = np.stack([w.vectors.mean(axis=0) for w in found])
        answers = np.empty(len(clips), object)
        for train, test in folds:
            head = make_head("logistic", "balanced").fit(vectors[train], np.array(kinds)[train])
            answers[test] = head.predict(vectors[test])
        name = getattr(embedder, "weights", None) or embedder.name
        print(f"{Path(name).name:30s} {balanced_accuracy_score(kinds, answers.astype(str)):.2%}", flush=True)


if __name__ == "__main__":
    main()
