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
from l3clf.device.cost import CHIPS, SLICE_MACS, Cost, fits, measure_costs
from l3clf.device.exporter import read_export
from l3clf.device.model import DeviceModel
from l3clf.device.toolchain import CORTEX_M4F, build_chip, export_sources
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
        costs = {"l3mini": measure_costs(first)}
        d = read_export(first)
        for name in options.others:
            costs[name] = _costs_of(name, table, split[0][0], Path(place) / name)
    truth = table.labels[np.concatenate([test for _, test in split])]
    return Result(
        (
            _accuracy(found, truth),
            _ledgers(proof),
            *(_costs(name, each) for name, each in costs.items()),
            _chips(costs["l3mini"], d),
        ),
        _notes(proof),
    )


def _costs_of(name: str, table: l3clf.ClipTable, train: NDArray[np.intp], folder: Path) -> list[Cost]:
    """Return what the C code of another student takes, with a head of as many classes."""
    say(f"device_table: {name}")
    model = l3clf.ClipClassifier(l3clf.load_embedder(name, precision="int8"), hop_s=HOP_S)
    model.fit([table.clips[i] for i in train], table.labels[train])
    return measure_costs(l3clf.device.export(model, folder, pool_windows=WINDOWS), [CORTEX_M4F])


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


def _costs(name: str, costs: Sequence[Cost]) -> Table:
    def row(what: str, *values: float | None) -> tuple[Cell, ...]:
        return (what, *values)

    works = [cost.instructions for cost in costs]
    rows = [
        row("flash (bytes)", *(c.flash_bytes for c in costs)),
        row("arena (bytes)", *(c.arena_bytes for c in costs)),
        row("state (bytes)", *(c.state_bytes for c in costs)),
        row("stack (bytes)", *(c.stack_bytes for c in costs)),
        row("variables of the C library (bytes)", *(c.static_bytes for c in costs)),
        row("instructions a window", *(work.network for work in works)),
        row("instructions a multiply-accumulate", *(round(c.instructions.network / c.macs, 2) for c in costs)),
        row("samples to levels: instructions a second of sound", *(work.frontend for work in works)),
        row("of which l3clf_frame, the front-end", *(100 * work.levels for work in works)),
        row("decision of a full pool: instructions", *(work.decision for work in works)),
        row("l3clf_push of a hop between frames: instructions, median", *(work.push_median for work in works)),
        row("the same, longest", *(work.push_longest for work in works)),
        row(f"l3clf_step({SLICE_MACS}): instructions, longest", *(work.slice_longest for work in works)),
    ]
    if any(cost.cycles for cost in costs):
        rows += [
            row("cycles a window, by Arm's timing table", *(c.cycles.network if c.cycles else None for c in costs)),
            row("samples to levels: cycles a second", *(c.cycles.frontend if c.cycles else None for c in costs)),
        ]
    title = f"{name}, {costs[0].macs:,} multiply-accumulates a window"
    return Table(title, (("", ""), *((f"{cost.core}, {cost.build}", ",") for cost in costs)), tuple(rows))


def _chips(costs: Sequence[Cost], d: DeviceModel) -> Table:
    rows = [(chip.name, chip.core, chip.clock_hz / 1e6, fits(costs, chip, d)) for chip in CHIPS]
    columns = ("chip", ""), ("core", ""), ("MHz", "g"), (f"l3mini, a window every {d.hop_s:g} s", "")
    return Table("Chips, by the worst of the builds for their core", columns, tuple(rows))


def _notes(proof: Verification) -> tuple[str, ...]:
    values = sum(one.n_values for one in proof.ledgers)
    differ = sum(one.values_differ for one in proof.ledgers)
    total = f"All builds together: {differ} of {values / 1e6:.1f} million values differ from Python's integers."
    board = () if proof.board is None else (f"Self-test on QEMU's Cortex-M4F: {proof.board}.",)
    return (total, *board)
