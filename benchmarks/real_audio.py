"""Accuracy of every embedder on real audio, through `cross_val_score` and nothing else.

    L3CLF_SHARED=... python benchmarks/real_audio.py

ESC-10: its own five folds, hop 0.5 s. FSDD: one speaker left out at a time. Heads and poolings as named in
the table; every setting is fitted inside the training folds. L3CLF_SHARED names the folder that holds
``data/esc10``, ``data/fsdd`` and ``weights``.
"""

import argparse
import contextlib
import csv
import io
import os
import tempfile
import time
from pathlib import Path

from sklearn.model_selection import LeaveOneGroupOut, PredefinedSplit, cross_val_score

import l3clf
from l3clf.cli import main as cli
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


def command_line(table: ClipTable, weights: Path, embedder: str) -> float:
    """Share of fold 5 that is right, after `l3clf fit` on the other four and `l3clf predict`."""
    with tempfile.TemporaryDirectory() as folder:
        train, model, answers = (f"{folder}/{name}" for name in ("train.csv", "model.l3clf", "answers.csv"))
        table.subset(table.folds != "5").to_csv(train)
        held_out = table.subset(table.folds == "5")
        options = ["--weights", str(weights)] if embedder != "mfcc" else []
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main(["fit", train, "--embedder", embedder, "--out", model, *options])
        cli.main(["predict", model, *(clip.path for clip in held_out.clips), "--out", answers, *options])
        with Path(answers).open(encoding="utf-8") as file:
            found = [row["label"] for row in csv.DictReader(file)]
    return (held_out.labels == found).mean()


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
    for embedder in ("yamnet", "mfcc"):
        accuracy = command_line(esc, shared / "weights", embedder)
        print(f"l3clf fit on folds 1 to 4 of ESC-10, l3clf predict on fold 5, {embedder}: {accuracy:.2%}", flush=True)


def row(data: str, embedder: str, head: str, pooling: str, hop_s: float, accuracy: float, start: float) -> None:
    seconds = time.perf_counter() - start
    print(f"{data:8}{embedder:10}{head:10}{pooling:10}{hop_s:6.1f}{accuracy:10.2%}{seconds:9.1f}", flush=True)


if __name__ == "__main__":
    main()
