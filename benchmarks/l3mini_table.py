"""Every figure of l3mini, with its peers: accuracy, size, exactness of its integers, speed, gain by training.

    L3CLF_SHARED=... python benchmarks/l3mini_table.py [--all] [--student FILE] [--peers] [--speed] [--chip]
        [--gains [--torch FSDD]]

Frozen: ESC-10 (its five folds) and FSDD (one speaker left out at a time), mean pooling, standardised logistic
regression with C=0.1. `--gains` is benchmarks/student_gains.py and takes hours. Every call reads the evaluation
sets: write its figures into benchmarks/l3mini_labbook.md.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
import onnx
from edgel3_int8 import EdgeL3Int8

import l3clf
from l3clf.classifier.inputs import as_sources
from l3clf.embedders import Embedder
from l3clf.embedders.frontend import levels, quantise_levels, student_spec
from l3clf.embedders.student import Student
from l3clf.evaluate import cross_validate, make_split
from l3clf.pipeline import embed_sources

TESTS = Path(__file__).parent.parent / "tests"
sys.path += [str(TESTS), str(TESTS / "golden")]


def accuracy(embedder: Embedder, table: l3clf.ClipTable, hop_s: float) -> float:
    windows = embed_sources(embedder, table.clips, hop_s=hop_s, center=True, cache=None)
    split = make_split(table.labels, table.folds, table.groups)
    answers = cross_validate(l3clf.ClipClassifier(embedder, hop_s=hop_s), windows, table.labels, split)
    return float((answers.predictions == table.labels).mean())


def frozen(rows: list[Embedder], esc10: l3clf.ClipTable, fsdd: l3clf.ClipTable) -> None:
    print("| frozen embedder | ESC-10, hop 0.5 s | FSDD, hop 0.1 s | FSDD, hop 0.5 s |")
    print("|---|---|---|---|")
    for embedder in rows:
        name = " ".join([embedder.name, *(str(v) for v in embedder.options.values() if os.path.sep not in str(v))])
        figures = [accuracy(embedder, esc10, 0.5), accuracy(embedder, fsdd, 0.1), accuracy(embedder, fsdd, 0.5)]
        print(f"| {name} | {' | '.join(f'{figure:.2%}' for figure in figures)} |", flush=True)


def sizes(student: Student) -> None:
    chip = l3clf.load_embedder("l3mini", weights=student.weights, precision="int8")
    tensors = onnx.load_model_from_string(student.onnx).graph.initializer
    numbers = sum(int(np.prod(tensor.dims)) for tensor in tensors)
    print(
        f"parameters {numbers:,}, int8 file {len(student.tflite):,} bytes, ONNX {len(student.onnx):,} bytes", end=", "
    )
    print(f"{chip.network.model.macs:,} multiply-accumulates a window")


def exactness(student: Student, esc10: l3clf.ClipTable, n: int = 200) -> None:
    """Print how many values of all layers differ from tflite-micro's on real windows."""
    from oracle import every_tensor

    clips = [esc10.clips[i] for i in np.linspace(0, len(esc10.clips) - 1, n).astype(int)]
    windows = np.stack([next(iter(student.read_windows(clip, 0.5, False)))[0] for clip in clips])
    steps = quantise_levels(levels(student_spec(student.window_s), windows))[..., np.newaxis]
    chip = l3clf.load_embedder("l3mini", weights=student.weights, precision="int8")
    ours, theirs = chip.network.layers(steps), every_tensor(student.tflite, steps)
    differ = sum(int((ours[index] != values).sum()) for index, values in theirs.items())
    total = sum(values.size for values in theirs.values())
    print(f"int8 against tflite-micro: {differ} of {total:,} values differ ({n} windows, {len(theirs)} layers)")


def rate(embedder: Embedder, n_clips: int) -> float:
    """Windows a second from samples in memory to vectors, front-end included, on all cores."""
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.1, embedder.sample_rate * 10).astype(np.float32) for _ in range(n_clips)]
    sources = as_sources(clips, embedder.sample_rate)
    start = time.perf_counter()
    found = embed_sources(embedder, sources, hop_s=0.5, center=True, cache=None)
    return sum(map(len, found)) / (time.perf_counter() - start)


def speed(weights: str | None, rounds: int = 5) -> None:
    """Print rates, in alternating rounds. OpenL3 has random weights: speed does not depend on them."""
    from openl3_recipe import write_weights

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "openl3_audio_mel256_env-v0_4_0.h5"
        write_weights(path, "mel256")
        racers = {
            "l3mini float32": (l3clf.load_embedder("l3mini", weights=weights), 100),
            "l3mini int8 (NumPy interpreter)": (l3clf.load_embedder("l3mini", weights=weights, precision="int8"), 20),
            "OpenL3 mel256 float32": (l3clf.load_embedder("openl3", weights=path), 2),
        }
        for embedder, _ in racers.values():
            rate(embedder, 1)
        found = [[rate(embedder, n) for embedder, n in racers.values()] for _ in range(rounds)]
    print(f"| {joblib.cpu_count()} cores, median of {rounds} rounds | windows/s | times OpenL3 |\n|---|---|---|")
    for i, name in enumerate(racers):
        times = statistics.median(row[i] / row[-1] for row in found)
        print(f"| {name} | {statistics.median(row[i] for row in found):.0f} | {times:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    parser.add_argument("--student", help="a student file in the place of l3mini")
    parser.add_argument("--peers", action="store_true", help="also mfcc, edgel3, yamnet and speech")
    parser.add_argument("--chip", action="store_true", help="also the comparison with tflite-micro")
    parser.add_argument("--speed", action="store_true", help="also windows a second")
    parser.add_argument("--gains", action="store_true", help="also students trained on labels, the talk's CNN")
    parser.add_argument("--work", type=Path, default="student-gains", help="of --gains: what was trained is kept here")
    parser.add_argument(
        "--torch",
        nargs="+",
        choices=["ESC-10", "FSDD"],
        default=[],
        help="of --gains: train in PyTorch, faster on a CPU",
    )
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    rows = [l3clf.load_embedder("l3mini", weights=args.student, precision=p) for p in ("float32", "int8")]
    esc10 = l3clf.datasets.load(args.shared / "data/esc10")
    fsdd = l3clf.datasets.load(args.shared / "data/fsdd", group="speaker")
    sizes(rows[0])
    if args.chip or args.all:
        exactness(rows[0], esc10)
    if args.speed or args.all:
        speed(args.student)
    if args.peers or args.all:
        names = ("edgel3", "yamnet", "speech")
        rows += [l3clf.load_embedder("mfcc")]
        rows += [l3clf.load_embedder(name, weights=args.shared / "weights") for name in names]
        rows += [EdgeL3Int8(str(args.shared / "weights/edgel3_int8_256.tflite"))]
    frozen(rows, esc10, fsdd)
    if args.gains or args.all:
        from student_gains import print_gains

        print_gains(args.shared, args.student or "l3mini", 3, args.work, torch=args.torch)


if __name__ == "__main__":
    main()
