"""What every step to the chip costs in accuracy on ESC-10, and what the C code takes.

    L3CLF_SHARED=... python benchmarks/device_table.py [--student FILE] [--folds N]

Identical folds for all rows: YAMNet, l3mini in floating point, l3mini in integers, and the exported C code on an
emulated Cortex-M4F; logistic head, mean pooling, hop 0.5 s, all windows of a clip. Then `l3clf verify` on the clips
of the first fold. About ten minutes on two cores.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

import l3clf
from l3clf.cli.export_command import cost_lines
from l3clf.cli.verify_command import ledger_lines
from l3clf.device.chips import EmulatedChip, push
from l3clf.device.cost import CHIPS, fits, measure_cost
from l3clf.device.export import read_export
from l3clf.device.toolchain import build_chip, export_sources, has_arm_gcc
from l3clf.device.verify import decisions, hear
from l3clf.evaluate import make_split

WINDOWS = 12  # a clip of 5 s has 11
HOP_S = 0.5


def on_the_chip(folder: Path, clips: list[l3clf.Clip]) -> tuple[list[str], list[str]]:
    """Return the class that Python and that the C code give each clip, from the same 16-bit samples."""
    d = read_export(folder)
    chip = EmulatedChip(build_chip(export_sources(folder), folder / "chip.elf"))
    python, c = [], []
    for clip in clips:
        heard = hear(d, clip)
        python.append(d.class_names[heard.answers.class_ids[-1]])
        chip.call("harness_start")
        push(chip, heard.samples)
        c.append(d.class_names[decisions(d, chip)[-1].class_id])
    return python, c


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    parser.add_argument("--student", help="a student file in the place of l3mini's")
    parser.add_argument("--folds", type=int, default=5, help="how many to do")
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    table = l3clf.datasets.load(args.shared / "data/esc10")
    split = list(make_split(table.labels, table.folds, table.groups))[: args.folds]
    embedders = {
        "YAMNet, the teacher": l3clf.load_embedder("yamnet", weights=args.shared / "weights"),
        "l3mini, float32": l3clf.load_embedder("l3mini", weights=args.student),
        "l3mini, int8": l3clf.load_embedder("l3mini", weights=args.student, precision="int8"),
    }
    pcm, chip = "l3mini, int8, samples rounded to 16 bits", "l3mini, C code on a Cortex-M4F, the same samples"
    found: dict[str, list] = {name: [] for name in (*embedders, pcm, chip)}
    tested = np.concatenate([test for _, test in split])
    with tempfile.TemporaryDirectory() as place:
        for number, (train, test) in enumerate(split):
            clips = [table.clips[i] for i in test]
            for name, embedder in embedders.items():
                model = l3clf.ClipClassifier(embedder, hop_s=HOP_S)
                model.fit([table.clips[i] for i in train], table.labels[train])
                found[name] += model.predict(clips).tolist()
            folder = l3clf.device.export(model, Path(place) / str(number), pool_windows=WINDOWS)
            for name, answers in zip((pcm, chip), on_the_chip(folder, clips), strict=True):
                found[name] += answers
        print("| step | accuracy | macro F1 | answers as the step above |\n|---|---|---|---|")
        above = None
        for name, answers in found.items():
            truth = table.labels[tested]
            same = "" if above is None else f"{np.mean(np.array(answers) == above):.2%}"
            above = np.array(answers)
            f1 = f1_score(truth, answers, average="macro")
            print(f"| {name} | {accuracy_score(truth, answers):.2%} | {f1:.2%} | {same} |")
        first = Path(place) / "0"
        proof = l3clf.device.verify(first, [table.clips[i] for i in split[0][1]])
        print("\n".join(["", *ledger_lines(proof.ledgers), f"Self-test on QEMU: {proof.board}", ""]))
        print("\n".join(cost_lines(proof.cost, HOP_S)))
        print(f"\nWith one window a second, {CHIPS[0].name} {fits(proof.cost, CHIPS[0], 1.0)}")
        if has_arm_gcc():
            print("\n".join(["\nCompiled with GCC for Arm:", *cost_lines(measure_cost(first, gcc=True), HOP_S)[:5]]))


if __name__ == "__main__":
    main()
