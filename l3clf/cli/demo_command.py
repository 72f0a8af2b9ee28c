"""``l3clf demo``: a tour of the toolkit on ten classes of synthesised sounds."""

import argparse
from typing import Any

from l3clf.cli import options
from l3clf.cli.printing import say

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    demo = options.command(commands, "demo", _run, "tour the toolkit on ten classes of synthesised sounds")
    options.add_force(demo)
    options.add_quiet(demo)
    demo.set_defaults(resumes=True)
    demo.add_argument("--out", metavar="DIR", default="l3clf-demo", help="folder to write to (default: ./l3clf-demo)")


def _run(args: argparse.Namespace) -> int:
    from l3clf.demo import tour

    tour.run(args.out, say=_silent if args.quiet else say, force=args.force)
    return 0


def _silent(text: object) -> None:
    """Print nothing."""
