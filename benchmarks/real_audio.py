"""Accuracy of every embedder on real audio, through `cross_val_score` and nothing else.

    L3CLF_SHARED=... python benchmarks/real_audio.py

ESC-10: its own five folds, hop 0.5 s. FSDD: one speaker left out at a time. Heads and poolings as named in
the table; every setting is fitted inside the training folds. L3CLF_SHARED names the folder that holds
``data/esc10``, ``data/fsdd`` and ``weights``.
"""

import argparse
import os
import time
from pathlib import Path

from sklearn.model_selection import LeaveOneGroupOut, PredefinedSplit, cross_val_score

import l3clf
from l3clf.datasets import ClipTable

ESC_ROWS = [
    ("yamnet", "logistic", "mean"),
    ("yamnet", "forest", "mean"),
    ("edgel3", "logistic", "mean"),
    ("edgel3", "logistic", "mean+std"),
    ("edgel3", "forest", "mean"),
    ("speech", "logistic", "mean"),
    ("mfcc", "logistic", "mean"),
    ("mfcc", "forest", "mean"),
]
FSDD_ROWS = [("speech", 0.5), ("speech", 0.1), ("mfcc", 0.5), ("mfcc", 0.1)]


def esc10(table: ClipTable, weights: Path, embedder: str, head: str, pooling: str) -> float:
    model = l3clf.ClipClassifier(load(embedder, weights), head=head, pooling=pooling)
    folds = PredefinedSplit(table.folds.astype(int))
    return cross_val_score(model, table.clips, table.labels, cv=folds, error_score="raise").mean()


def fsdd(table: ClipTable, weights: Path, embedder: str, hop_s: float) -> float:
    model = l3clf.ClipClassifier(load(embedder, weights), hop_s=hop_s)
    speakers = LeaveOneGroupOut()
    scores = cross_val_score(model, table.clips, table.labels, groups=table.groups, cv=speakers, error_score="raise")
    return scores.mean()


def load(embedder: str, weights: Path) -> l3clf.Embedder:
    options = {"weights": weights} if embedder in ("yamnet", "edgel3", "speech") else {}
    return l3clf.load_embedder(embedder, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    shared = parser.parse_args().shared
    if shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    esc = l3clf.datasets.load(shared / "data/esc10")
    digits = l3clf.datasets.load(shared / "data/fsdd", group="speaker")
    print(f"{'data':8}{'embedder':10}{'head':10}{'pooling':10}{'hop_s':>6}{'accuracy':>10}{'seconds':>9}")
    for embedder, head, pooling in ESC_ROWS:
        start = time.perf_counter()
        accuracy = esc10(esc, shared / "weights", embedder, head, pooling)
        row("esc10", embedder, head, pooling, 0.5, accuracy, start)
    for embedder, hop_s in FSDD_ROWS:
        start = time.perf_counter()
        accuracy = fsdd(digits, shared / "weights", embedder, hop_s)
        row("fsdd", embedder, "logistic", "mean", hop_s, accuracy, start)


def row(data: str, embedder: str, head: str, pooling: str, hop_s: float, accuracy: float, start: float) -> None:
    seconds = time.perf_counter() - start
    print(f"{data:8}{embedder:10}{head:10}{pooling:10}{hop_s:6.1f}{accuracy:10.2%}{seconds:9.1f}", flush=True)


if __name__ == "__main__":
    main()
