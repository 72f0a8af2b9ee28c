"""``l3clf verify``: check that an exported C library matches the Python model."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l3clf.cli import options
from l3clf.cli.files import expand, print_failures
from l3clf.cli.printing import note, say

if TYPE_CHECKING:
    from l3clf.device.verification import Ledger

__all__ = ["add", "ledger_lines"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = options.command(commands, "verify", _run, "check that an exported C library matches the Python model")
    parser.add_argument("folder", metavar="DIR", help="folder that `l3clf export` wrote")
    options.add_quiet(parser)
    parser.add_argument("--audio", metavar="FILES", nargs="+", required=True, help="sound files, or folders of them")


def _run(args: argparse.Namespace) -> int:
    from l3clf.audio.clip import Clip
    from l3clf.device.verification import verify

    paths, failures = expand(args.audio)
    print_failures(failures, args)
    clips = [Clip(path) for path in paths]
    found = verify(Path(args.folder), clips, lambda name: None if args.quiet else note(f"running: {name}"))
    say("\n".join(ledger_lines(found.ledgers)))
    cost = found.cost
    say(
        f"Cortex-M4F: {cost.network:,} instructions per window, {cost.frontend:,} per second of sound; "
        f"stack at most {cost.stack_bytes:,} bytes"
    )
    if found.board is not None:
        say(f"Self-test on QEMU (mps2-an386): {found.board}")
    say("Verified." if found.passed else "NOT verified: the C library does not match the Python model.")
    print_failures(found.failures, args)
    return 0 if found.passed and not failures and not found.failures else 1  # 1 also if some clips were not compared


def ledger_lines(ledgers: Sequence["Ledger"]) -> list[str]:
    """Return ledgers as the lines of a Markdown table."""
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
