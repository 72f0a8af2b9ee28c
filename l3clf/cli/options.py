"""Arguments that several commands take, and how their values are read."""

import argparse
from collections.abc import Callable
from typing import Any

from l3clf.errors import ParameterError

__all__ = [
    "HEADS",
    "POOLINGS",
    "add_decision",
    "add_embedding",
    "add_work",
    "cache_choice",
    "command",
    "embedder_of",
    "positive",
]

# Written out: the modules that define them take a second to import, and `l3clf --help` should not.
HEADS = ("logistic", "forest")
POOLINGS = ("mean", "mean+std", "max", "probability", "vote")


def command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """Add a command, and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{name}: {text}.")
    parser.set_defaults(run=run)
    return parser


def add_embedding(parser: argparse.ArgumentParser) -> None:
    """Add what says which embedder is used, and how."""
    parser.add_argument(
        "--embedder",
        metavar="E",
        default="openl3",
        help="openl3 (default), l3mini, mfcc, yamnet, edgel3, speech, or a .student file",
    )
    parser.add_argument("--weights", metavar="PATH", help="the embedder's weight file, or the folder that holds it")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an embedder's option, e.g. input_repr=mel128",
    )
    parser.add_argument("--hop", dest="hop_s", type=positive, default=0.5, metavar="S", help="seconds (default: 0.5)")
    parser.add_argument(
        "--no-center", dest="center", action="store_false", help="first window starts at the clip's start"
    )
    add_work(parser)


def add_decision(parser: argparse.ArgumentParser) -> None:
    """Add what turns probabilities into an answer."""
    parser.add_argument("--unknown-threshold", type=float, metavar="P", help='below it the answer is "unknown"')
    parser.add_argument("--gate-dbfs", type=float, metavar="DB", help="windows below this level are not heard")


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add where embeddings are kept, and how many threads work."""
    parser.add_argument("--cache", type=cache_choice, default="auto", metavar="FILE", help='"none" for no cache')
    parser.add_argument("--jobs", type=int, metavar="N", help="threads (default: one for each core)")


def cache_choice(text: str) -> str | None:
    """Read the value of --cache."""
    return None if text == "none" else text


def positive(text: str) -> float:
    """Read a number greater than 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number greater than 0")
    return value


def embedder_of(args: argparse.Namespace) -> Any:
    """Return the embedder that the arguments name."""
    from l3clf.embedders import load_embedder

    options = dict(_option(text) for text in args.option)
    if args.weights is not None:
        options["weights"] = args.weights
    return load_embedder(args.embedder, **options)


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ParameterError(f"--option {text}: expected NAME=VALUE, such as input_repr=mel128")
    return name, int(value) if value.isdecimal() else value
