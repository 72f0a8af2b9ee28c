"""Options that several commands share, and how their values are parsed."""

import argparse
from collections.abc import Callable
from typing import Any

from l3clf.errors import ParameterError

__all__ = [
    "HEADS",
    "POOLINGS",
    "add_decision",
    "add_embedding",
    "add_full_scale",
    "add_hop",
    "add_work",
    "cache_choice",
    "command",
    "embedder_of",
    "positive",
]

# Repeated here because the modules that define them take a second to import: too long for `l3clf --help`.
HEADS = ("logistic", "forest")
POOLINGS = ("mean", "mean+std", "max", "probability", "vote")


def command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """Add a command and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parser.set_defaults(run=run)
    return parser


def add_embedding(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the embedder and its windows."""
    parser.add_argument(
        "--embedder",
        metavar="E",
        default="openl3",
        help="openl3 (default), l3mini, mfcc, yamnet, edgel3, speech, or the path of a student file",
    )
    parser.add_argument("--weights", metavar="PATH", help="the embedder's weight file, or the folder that holds it")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="option of the embedder, such as input_repr=mel128; may be repeated",
    )
    add_full_scale(parser)
    add_hop(parser)
    parser.add_argument(
        "--no-center", dest="center", action="store_false", help="start the first window at the start of the clip"
    )
    add_work(parser)


def add_decision(parser: argparse.ArgumentParser) -> None:
    """Add the options that turn probabilities into a decision."""
    parser.add_argument("--unknown-threshold", type=float, metavar="P", help='predict "unknown" below this probability')
    parser.add_argument("--gate-dbfs", type=float, metavar="DB", help="leave out windows below this level, in dBFS")


def add_full_scale(parser: argparse.ArgumentParser) -> None:
    """Add the full scale of files whose samples are floating point."""
    text = "value of a sample at full scale in floating-point files, such as 32768 (default: 1)"
    parser.add_argument("--full-scale", type=positive, metavar="X", help=text)


def add_hop(parser: argparse.ArgumentParser) -> None:
    """Add the time from one window to the next."""
    text = "seconds from one window to the next (default: 0.5)"
    parser.add_argument("--hop", dest="hop_s", type=positive, default=0.5, metavar="S", help=text)


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add where embeddings are cached and how many threads compute them."""
    text = 'embedding cache, or "none" for no cache (default: in the user\'s cache folder)'
    parser.add_argument("--cache", type=cache_choice, default="auto", metavar="FILE", help=text)
    parser.add_argument("--jobs", type=int, metavar="N", help="number of threads (default: one per core)")


def cache_choice(text: str) -> str | None:
    """Parse the value of --cache; None means no cache."""
    return None if text == "none" else text


def positive(text: str) -> float:
    """Parse a finite number greater than 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number greater than 0")
    return value


def embedder_of(args: argparse.Namespace) -> Any:
    """Return the embedder that the arguments describe, without loading its weights."""
    from l3clf.embedders import load_embedder

    options = dict(_option(text) for text in args.option)
    if args.weights is not None:
        options["weights"] = args.weights
    return load_embedder(args.embedder, **options)


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ParameterError(f"--option {text}: expected NAME=VALUE, such as input_repr=mel128")
    return name, int(value) if value.isdecimal() else value  # options of embedders are whole numbers or text
