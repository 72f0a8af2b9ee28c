"""``l3clf demo``: a tour of the toolkit on ten classes of synthesised sounds."""

import argparse
from typing import Any

from l3clf.cli import options

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    demo = options.command(commands, "demo", _run, "tour the toolkit on ten classes of synthesised sounds")
    demo.add_argument("--out", metavar="DIR", default="l3clf-demo", help="folder to write to (default: ./l3clf-demo)")


def _run(args: argparse.Namespace) -> int:
    from l3clf.demo import tour

    tour.run(args.out)
    return 0
