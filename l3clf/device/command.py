"""What ``l3clf export`` and ``l3clf verify`` take and print; nothing heavy is imported before they run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from l3clf.errors import DeviceError, MissingDependencyError

if TYPE_CHECKING:
    from l3clf.device.cost import Cost
    from l3clf.device.ledger import Ledger, Verification

__all__ = ["add_export_arguments", "add_verify_arguments", "cost_lines", "ledger_lines", "run_export", "run_verify"]


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``l3clf export``."""
    parser.add_argument("model", metavar="MODEL", help="model file of `l3clf fit --embedder l3mini`, or of a student")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write the C library to")
    parser.add_argument("--windows", type=int, metavar="K", help="windows that a decision rests on (default: 10)")
    parser.add_argument("--unknown-threshold", type=float, metavar="P", help="in the place of the model's")
    parser.add_argument("--gate-dbfs", type=float, metavar="DB", help="in the place of the model's")
    parser.add_argument("--arena", type=int, metavar="BYTES", help="refuse an arena larger than this")
    parser.add_argument("--weights", metavar="PATH", help="the student file, where it lies elsewhere than when fitted")


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``l3clf verify``."""
    parser.add_argument("folder", metavar="DIR", help="folder that `l3clf export` wrote")
    parser.add_argument("--audio", metavar="FILES", nargs="+", required=True, help="sound files, or folders of them")


def run_export(args: argparse.Namespace) -> int:
    """Export a model and print what it takes."""
    from l3clf.device.cost import measure_cost
    from l3clf.device.folder import write_export
    from l3clf.device.model import DEFAULT_WINDOWS, device_model
    from l3clf.modelfile import load_model

    model = load_model(args.model, weights=args.weights)
    windows = DEFAULT_WINDOWS if args.windows is None else args.windows
    d = device_model(model, windows, args.unknown_threshold, args.gate_dbfs)
    if args.arena is not None and d.arena_bytes > args.arena:
        raise DeviceError(
            f"--arena {args.arena}: the network needs {d.arena_bytes} bytes; allow them, or take a smaller student"
        )
    out = write_export(d, args.out)
    print(f"C library: {out} ({len(d.class_names)} classes, {d.head.kind} head, {d.pooling} pooling)")
    try:
        cost = measure_cost(out)
    except MissingDependencyError as error:
        print(f"Arena: {d.arena_bytes:,} bytes. Sizes and instructions were not measured: {error}")
        return 0
    print("\n".join(cost_lines(cost, d.hop_s)))
    return 0


def cost_lines(cost: Cost, hop_s: float) -> list[str]:
    """Return what an export takes and which chips have that, as lines of text."""
    from l3clf.device.cost import CHIPS, fits

    lines = [
        f"Flash:        {cost.flash_bytes:9,} bytes, code and constants",
        f"RAM:          {cost.ram_bytes:9,} bytes: arena {cost.arena_bytes:,}, state {cost.state_bytes:,}, "
        f"stack {cost.stack_bytes:,}",
        f"Network:      {cost.macs:9,} multiply-accumulates and {cost.network:,} instructions a window "
        f"({cost.network / max(1, cost.macs):.2f} each; Cortex-M4F)",
        f"Front-end:    {cost.frontend:9,} instructions a second of sound",
        f"Decision:     {cost.decision:9,} instructions a window",
        "",
    ]
    return [*lines, *(f"{chip.name:10} {fits(cost, chip, hop_s)}" for chip in CHIPS)]


def run_verify(args: argparse.Namespace, paths: Sequence[str]) -> Verification:
    """Verify an export, print the ledger, and return what was found."""
    from l3clf.audio import Clip
    from l3clf.device.ledger import verify

    clips = [Clip(path) for path in paths]
    found = verify(Path(args.folder), clips, lambda name: print(f"running: {name}", file=sys.stderr))
    print("\n".join(ledger_lines(found.ledgers)))
    cost = found.cost
    print(
        f"Cortex-M4F: {cost.network:,} instructions a window, {cost.frontend:,} a second of sound; "
        f"stack at most {cost.stack_bytes:,} bytes"
    )
    if found.board is not None:
        print(f"Self-test on QEMU (mps2-an386): {found.board}")
    print("Verified." if found.passed else "NOT verified: the export does not answer as Python does.")
    return found


def ledger_lines(ledgers: Sequence[Ledger]) -> list[str]:
    """Return ledgers as a table."""
    names = ("build", "features", "layers", "embeddings", "decisions", "clips", "probabilities")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for one in ledgers:
        equal = 1 - one.features_differ / max(1, one.n_features)
        lines.append(
            f"| {one.name} | {equal:.4%} equal, at most {one.largest_step} LSB | {one.values_differ} of "
            f"{one.n_values:,} values differ | {one.n_windows - one.embeddings_differ} of {one.n_windows} bit-exact | "
            f"{one.decisions_agree} of {one.n_decisions} agree | {one.clips_agree} of {one.n_clips} agree | "
            f"within {one.largest_probability:.1e} |"
        )
    return lines
