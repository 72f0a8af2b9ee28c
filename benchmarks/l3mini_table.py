"""l3mini and its peers on ESC-10 (five folds) and FSDD (one speaker left out at a time): the model card's table.

    L3CLF_SHARED=... python benchmarks/l3mini_table.py [--student FILE] [--peers] [--speed]

Frozen embeddings, mean pooling, standardised logistic regression with C=0.1. Every call reads the evaluation
sets: write its figures into benchmarks/l3mini_labbook.md.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import l3clf
import l3clf.inputs
from l3clf.embedders import Embedder
from l3clf.evaluate import cross_validate, make_split
from l3clf.pipeline import embed_sources


def accuracy(embedder: Embedder, table: l3clf.ClipTable, hop_s: float) -> float:
    windows = embed_sources(embedder, table.clips, hop_s=hop_s, center=True, cache=None)
    split = make_split(table.labels, table.folds, table.groups)
    answers = cross_validate(l3clf.ClipClassifier(embedder, hop_s=hop_s), windows, table.labels, split)
    return float((answers.predictions == table.labels).mean())


def speed(embedder: Embedder, n: int) -> float:
    """Windows a second from samples to vectors, on all cores."""
    clips = [np.random.default_rng(k).normal(0, 0.1, embedder.sample_rate * 10).astype(np.float32) for k in range(n)]
    sources = l3clf.inputs.as_sources(clips, embedder.sample_rate)
    embed_sources(embedder, sources[:2], hop_s=0.5, center=True, cache=None)
    start = time.perf_counter()
    found = embed_sources(embedder, sources, hop_s=0.5, center=True, cache=None)
    return sum(map(len, found)) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    parser.add_argument("--student", help="a student file in the place of l3mini")
    parser.add_argument("--peers", action="store_true", help="also mfcc, edgel3, yamnet and speech")
    parser.add_argument("--speed", action="store_true", help="also windows a second")
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    rows = [l3clf.load_embedder("l3mini", weights=args.student, precision=p) for p in ("float32", "int8")]
    if args.peers:
        rows.append(l3clf.load_embedder("mfcc"))
        rows += [l3clf.load_embedder(name, weights=args.shared / "weights") for name in ("edgel3", "yamnet", "speech")]
    esc10 = l3clf.datasets.load(args.shared / "data/esc10")
    fsdd = l3clf.datasets.load(args.shared / "data/fsdd", group="speaker")
    print("| embedder | ESC-10, hop 0.5 s | FSDD, hop 0.1 s | FSDD, hop 0.5 s | windows/s |")
    print("|---|---|---|---|---|")
    for embedder in rows:
        name = " ".join([embedder.name, *map(str, embedder.options.values())])
        figures = [accuracy(embedder, esc10, 0.5), accuracy(embedder, fsdd, 0.1), accuracy(embedder, fsdd, 0.5)]
        with threadpool_limits(1):
            rate = f"{speed(embedder, 20):.0f}" if args.speed else ""
        print(f"| {name} | {' | '.join(f'{figure:.2%}' for figure in figures)} | {rate} |", flush=True)


if __name__ == "__main__":
    main()
