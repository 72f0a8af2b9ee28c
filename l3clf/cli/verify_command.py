"""``l3clf verify``: check that an exported C library matches the Python model."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l3clf.cli import options
from l3clf.cli.files import expand, print_failures
from l3clf.cli.printing import note, say
from l3clf.errors import counted

if TYPE_CHECKING:
    from l3clf.device.signals import Signals
    from l3clf.device.verification import Ledger, Verification

__all__ = ["add", "ledger_lines", "result_lines", "verdict"]

MAX_NAMES = 5


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = options.command(commands, "verify", _run, "check that an exported C library matches the Python model")
    parser.add_argument("folder", metavar="DIR", help="folder that `l3clf export` wrote")
    options.add_quiet(parser)
    parser.add_argument("--audio", metavar="FILES", nargs="+", required=True, help="sound files, or folders of them")
    parser.add_argument("--max-clips", type=int, metavar="N", help="use at most N of them, spread evenly over all")


def _run(args: argparse.Namespace) -> int:
    from l3clf.audio.clip import Clip
    from l3clf.device.verification import verify

    paths, failures = expand(args.audio)
    print_failures(failures, args)
    clips = [Clip(path) for path in paths]
    found = verify(
        Path(args.folder),
        clips,
        lambda text: None if args.quiet else note(f"running: {text}"),
        max_clips=args.max_clips,
    )
    say("\n".join([*ledger_lines(found.ledgers, found.signals), *result_lines(found)]))
    print_failures(found.failures, args)
    return 0 if found.passed and not failures and not found.failures else 1  # 1 also if some clips were not compared


def ledger_lines(ledgers: Sequence["Ledger"], signals: Sequence["Signals"]) -> list[str]:
    """Return ledgers and test signals as the lines of a Markdown table, a build to a line."""
    names = (
        "build",
        "features",
        "layers",
        "embeddings",
        "decisions",
        "events",
        "clips",
        "probabilities",
        "test signals",
    )
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for one, signal in zip(ledgers, signals, strict=True):
        equal = 1 - one.features_differ / max(1, one.n_features)
        wrong = f", {one.features_wrong} wrong" if one.features_wrong else ""
        lines.append(
            f"| {one.name} | {equal:.4%} equal, at most {one.largest_step} LSB{wrong} | {one.values_differ} of "
            f"{one.n_values:,} values differ | {one.n_windows - one.embeddings_differ} of {one.n_windows} bit-exact | "
            f"{one.n_decisions} checked, {one.decisions_differ} differ, {one.decisions_agree} agree end to end | "
            f"{one.events_differ} of {one.n_events:,} differ | "
            f"{one.clips_agree} of {one.n_clips} agree | within {one.largest_probability:.1e} | {_signals(signal)} |"
        )
    return lines


def _signals(found: "Signals") -> str:
    counts = (
        ("levels", found.levels_wrong, found.n_levels),
        ("values", found.values_differ, found.n_values),
        ("head", found.vectors_wrong, found.n_vectors),
        ("decisions", found.decisions_wrong, found.n_decisions),
        ("events", found.events_wrong, found.n_events),
        ("names", found.names_wrong, found.n_names),
    )
    wrong = [f"{name}: {bad} of {n:,} wrong" for name, bad, n in counts if bad]
    return ", ".join(wrong) if wrong else f"all {sum(n for _, _, n in counts):,} right"


def result_lines(found: "Verification") -> list[str]:
    """Return what else was found, and the verdict in the last line."""
    lines = []
    if found.costs:
        work = [cost.instructions for cost in found.costs]
        lines.append(
            f"Cortex-M4F: at most {max(one.network for one in work):,} instructions per window, "
            f"{max(one.frontend for one in work):,} per second of sound; "
            f"stack at most {max(cost.stack_bytes for cost in found.costs):,} bytes"
        )
    if found.self_test is not None:
        lines.append(f"Self-test on this machine: {found.self_test}")
    if found.board is not None:
        lines.append(f"Self-test on QEMU (mps2-an386): {found.board}")
    if found.edited:
        lines.append(f"Not as this l3clf writes them: {', '.join(found.edited)}")
    if found.missing:
        lines.append(f"Not run: {found.missing}")
    return [*lines, verdict(found)]


def verdict(found: "Verification") -> str:
    """Return whether an export was verified, and if not, why."""
    if found.passed:
        return "Verified on this machine, and by its self-test on QEMU." if found.missing else "Verified."
    if found.altered:
        named = ", ".join(found.altered[:MAX_NAMES]) + (", ..." if len(found.altered) > MAX_NAMES else "")
        constants = counted(len(found.altered), "constant is", "constants are")
        again = "write the export again: `l3clf export MODEL --out DIR --force`"
        return f"NOT verified: {constants} not the model's ({named}); {again}"
    if not all(one.compared for one in found.ledgers):
        return "NOT verified: these sounds are silent or below the gate, so that nothing is decided; name louder ones"
    return "NOT verified: the C library does not match the Python model."
