"""The README's baseline tables: every embedder at hand, on ESC-10 (its folds) and FSDD (speakers left out).

    L3CLF_SHARED=... python benchmarks/baseline_tables.py [--only esc10|fsdd] [--embedders NAME ...] [--speed]

With --speed also: a fresh set of 1,000 clips of 5 s with mfcc, the first time and again from the cache alone.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

import l3clf
from l3clf.baselines.run import ready_embedders
from l3clf.demo.sounds import CLASSES, synthesise

POOLINGS = ("mean", "mean+std", "probability", "vote")
RATE_HZ = 22_050


def show(name: str, table: l3clf.ClipTable, embedders: Sequence[str | l3clf.Embedder]) -> None:
    report = l3clf.baseline(table, embedders, poolings=POOLINGS)
    print(f"\n{name}: {len(report.data)} clips, {report.split.note}")
    print("| embedder | head | pooling | accuracy | spread over folds | 95 % interval | balanced accuracy | macro F1 |")
    print("|---|---|---|---|---|---|---|---|")
    for row in report.table:
        print(
            f"| {row['embedder']} | {row['head']} | {row['pooling']} | {row['accuracy']:.1%} | "
            f"{row['accuracy_std']:.1%} | {row['accuracy_low']:.1%} to {row['accuracy_high']:.1%} | "
            f"{row['balanced_accuracy']:.1%} | {row['macro_f1']:.1%} |"
        )
    print(f"| | | always the largest class | {report.floors['accuracy']:.1%} | | | | |", flush=True)


def speed(n_clips: int = 1000) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for k in range(n_clips):
            label = CLASSES[k % len(CLASSES)]
            (folder / "sounds" / label).mkdir(parents=True, exist_ok=True)
            clip = synthesise(label, np.random.default_rng(k), 5.0, RATE_HZ)
            soundfile.write(folder / "sounds" / label / f"{k}.wav", clip, RATE_HZ)
        time.sleep(2.5)  # files younger than two seconds are read again, to be sure
        table = l3clf.datasets.load(folder / "sounds")
        for out, what in (("first", "first time, files and pictures included"), (None, "again, from the cache alone")):
            start = time.perf_counter()
            place = None if out is None else folder / out
            l3clf.baseline(table, ["mfcc"], out=place, cache=folder / "cache.sqlite")
            print(f"{n_clips} clips of 5 s, mfcc, {what}: {time.perf_counter() - start:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--only", choices=["esc10", "fsdd"], help="one of the two sets")
    parser.add_argument("--embedders", nargs="+", help="some of them, by name")
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    if args.speed:
        speed()
    embedders = args.embedders or ready_embedders(args.shared / "weights")
    if args.only != "fsdd":
        show("ESC-10", l3clf.datasets.load(args.shared / "data/esc10"), embedders)
    if args.only != "esc10":
        show("FSDD", l3clf.datasets.load(args.shared / "data/fsdd", group="speaker"), embedders)


if __name__ == "__main__":
    main()
