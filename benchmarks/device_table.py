"""What each step to the chip costs in accuracy on ESC-10, and what the C code takes there.

Identical folds for all rows: EfficientAT, l3mini in floating point, l3mini in integers, and the exported C code on an
emulated Cortex-M4F; logistic head, mean pooling, hop 0.5 s, all windows of a clip. Then the clips of the first fold
go through `l3clf.device.verify`. Instructions are not cycles: no chip is needed, and none is measured.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

import l3clf
from benchmarks.environment import say
from benchmarks.materials import esc10, l3mini, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.device.chips import EmulatedChip, push
from l3clf.device.cost import CHIPS, Cost, measure_cost
from l3clf.device.exporter import read_export
from l3clf.device.toolchain import build_chip, export_sources, has_arm_gcc
from l3clf.device.verification import Verification, decisions, reference
from l3clf.embedders import Embedder
from l3clf.evaluate import make_split

WINDOWS = 12  # a clip of 5 s has 11
HOP_S = 0.5
PCM, CHIP = "l3mini, int8, samples rounded to 16 bits", "l3mini, the C code on an emulated Cortex-M4F, the same samples"


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    student : str, optional
        A student file instead of l3mini.
    folds : int
        How many of ESC-10's folds.
    teacher : bool
        Whether EfficientAT is measured too.
    others : tuple of str
        Other students in the package, whose C code is measured, but not its accuracy.
    verified : int, optional
        How many clips of the first fold are verified; all when left out.
    """

    student: str | None = None
    folds: int = 5
    teacher: bool = True
    others: tuple[str, ...] = ("l3micro", "l3base")
    verified: int | None = None


def run(options: Options) -> Result:
    """Measure accuracy, exactness and cost."""
    table = esc10()
    split = list(make_split(table.labels, table.folds, table.groups))[: options.folds]
    embedders = _embedders(options)
    found: dict[str, list[str]] = {name: [] for name in (*embedders, PCM, CHIP)}
    with tempfile.TemporaryDirectory() as place:
        for number, (train, test) in enumerate(split):
            say(f"device_table: fold {number + 1} of {len(split)}")
            _one_fold(table, train, test, embedders, Path(place) / str(number), found)
        first = Path(place) / "0"
        clips = [table.clips[i] for i in split[0][1]][: options.verified]
        proof = l3clf.device.verify(first, clips, say)
        costs = {"l3mini, Zig's clang": proof.cost or measure_cost(first)}
        if has_arm_gcc():
            costs["l3mini, GCC for Arm"] = measure_cost(first, gcc=True)
        for name in options.others:
            costs[f"{name}, Zig's clang"] = _cost_of(name, table, split[0][0], Path(place) / name)
    truth = table.labels[np.concatenate([test for _, test in split])]
    return Result((_accuracy(found, truth), _ledgers(proof), _costs(costs)), _notes(proof))


def _cost_of(name: str, table: l3clf.ClipTable, train: NDArray[np.intp], folder: Path) -> Cost:
    """Return what the C code of another student takes, with a head of as many classes."""
    say(f"device_table: {name}")
    model = l3clf.ClipClassifier(l3clf.load_embedder(name, precision="int8"), hop_s=HOP_S)
    model.fit([table.clips[i] for i in train], table.labels[train])
    return measure_cost(l3clf.device.export(model, folder, pool_windows=WINDOWS))


def _embedders(options: Options) -> dict[str, Embedder]:
    found: dict[str, Embedder] = {}
    if options.teacher:
        found["EfficientAT, a teacher"] = l3clf.load_embedder("efficientat", weights=weights_folder())
    for precision in ("float32", "int8"):
        found[f"l3mini, {precision}"] = l3mini(options.student, precision)
    return found


def _one_fold(
    table: l3clf.ClipTable,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    embedders: dict[str, Embedder],
    folder: Path,
    found: dict[str, list[str]],
) -> None:
    """Add each step's predictions for a fold to `found`; the export of its model is in `folder` afterwards."""
    clips = [table.clips[i] for i in test]
    for name, embedder in embedders.items():
        model = l3clf.ClipClassifier(embedder, hop_s=HOP_S)
        model.fit([table.clips[i] for i in train], table.labels[train])
        found[name] += model.predict(clips).tolist()
    l3clf.device.export(model, folder, pool_windows=WINDOWS)  # the last is the one in integers
    python, chip = _on_the_chip(folder, clips)
    found[PCM] += python
    found[CHIP] += chip


def _on_the_chip(folder: Path, clips: Sequence[l3clf.Clip]) -> tuple[list[str], list[str]]:
    """Return the class that Python and that the C code give each clip, from the same 16-bit samples."""
    d = read_export(folder)
    chip = EmulatedChip(build_chip(export_sources(folder), folder / "chip.elf"))
    python, c = [], []
    for clip in clips:
        clip_reference = reference(d, clip)
        python.append(d.class_names[clip_reference.expected.class_ids[-1]])
        chip.call("harness_start")
        push(chip, clip_reference.samples)
        c.append(d.class_names[decisions(d, chip)[-1].class_id])
    return python, c


def _accuracy(found: dict[str, list[str]], truth: NDArray[np.str_]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    above: NDArray[np.str_] | None = None
    for name, classes in found.items():
        same = None if above is None else float(np.mean(np.array(classes) == above))
        above = np.array(classes)
        rows.append(
            (name, float(accuracy_score(truth, classes)), float(f1_score(truth, classes, average="macro")), same)
        )
    columns = ("step", ""), ("accuracy", ".2%"), ("macro F1", ".2%"), ("same class as the step above", ".2%")
    return Table(f"esc10, {len(truth)} clips", columns, tuple(rows))


def _ledgers(proof: Verification) -> Table:
    rows = [
        (
            one.name,
            1 - one.features_differ / max(1, one.n_features),
            one.largest_step,
            one.values_differ,
            one.n_values,
            f"{one.n_windows - one.embeddings_differ} of {one.n_windows}",
            f"{one.decisions_agree} of {one.n_decisions}",
        )
        for one in proof.ledgers
    ]
    columns = ("build", ""), ("equal levels", ".4%"), ("largest difference (steps)", "d"), ("values that differ", ",d")
    more = ("of all layers' values", ",d"), ("exact embeddings", ""), ("same decisions", "")
    return Table("Verified on clips of the first fold, beside Python's integers", (*columns, *more), tuple(rows))


def _costs(costs: dict[str, Cost]) -> Table:
    def row(name: str, *values: float) -> tuple[Cell, ...]:
        return (name, *values)

    every = list(costs.values())
    clock = CHIPS[0].clock_hz
    shares = [[(c.frontend + (c.network + c.decision) * rate) / clock for c in every] for rate in (1, 2)]
    rows = (
        row("flash (bytes)", *(c.flash_bytes for c in every)),
        row("arena (bytes)", *(c.arena_bytes for c in every)),
        row("state (bytes)", *(c.state_bytes for c in every)),
        row("stack (bytes)", *(c.stack_bytes for c in every)),
        row("multiply-accumulates a window", *(c.macs for c in every)),
        row("instructions a window", *(c.network for c in every)),
        row("instructions a multiply-accumulate", *(round(c.network / c.macs, 2) for c in every)),
        row("front-end: instructions a second of sound", *(c.frontend for c in every)),
        row("decision: instructions a window", *(c.decision for c in every)),
        *(
            row(
                f"share (%) of {CHIPS[0].name} ({clock / 1e6:g} MHz), {rate} window(s) a second",
                *(round(100 * x) for x in part),
            )
            for rate, part in zip((1, 2), shares, strict=True)
        ),
    )
    return Table(
        "Cost on a Cortex-M4F with DSP, at one instruction a cycle", (("", ""), *((n, ",") for n in costs)), rows
    )


def _notes(proof: Verification) -> tuple[str, ...]:
    values = sum(one.n_values for one in proof.ledgers)
    differ = sum(one.values_differ for one in proof.ledgers)
    total = f"All builds together: {differ} of {values / 1e6:.1f} million values differ from Python's integers."
    board = () if proof.board is None else (f"Self-test on QEMU's Cortex-M4F: {proof.board}.",)
    return (total, *board)
