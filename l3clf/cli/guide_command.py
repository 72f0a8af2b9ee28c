"""``l3clf guide``: print a guide, or list them."""

import argparse
from typing import Any

from l3clf.cli import options
from l3clf.cli.printing import say

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    guide = options.command(commands, "guide", _run, "print a guide, or list them")
    guide.add_argument("topic", metavar="TOPIC", nargs="?", help="guide to print (default: list the topics)")


def _run(args: argparse.Namespace) -> int:
    from l3clf.guides import TOPICS, read_guide, title

    if args.topic is None:
        width = max(map(len, TOPICS))
        say("\n".join(f"{topic:{width}}  {title(topic)}" for topic in TOPICS))
        say("\nRead one with: l3clf guide TOPIC")
    else:
        say(read_guide(args.topic), end="")
    return 0
