"""Options that several commands share, and how their values are parsed."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from l3clf.errors import ParameterError, did_you_mean

__all__ = [
    "HEADS",
    "POOLINGS",
    "Listed",
    "add_decision",
    "add_embedding",
    "add_filters",
    "add_force",
    "add_full_scale",
    "add_hop",
    "add_quiet",
    "add_work",
    "cache_choice",
    "command",
    "command_group",
    "embedder_of",
    "help_of",
    "hertz",
    "positive",
    "seconds",
]

# Repeated here because the modules that define them take a second to import: too long for `l3clf --help`.
HEADS = ("logistic", "forest")
POOLINGS = ("mean", "mean+std", "max", "probability", "vote")
MAX_DIGITS = 20  # of a number


def command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """Add a command and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parser.set_defaults(run=run, parser=parser)
    return parser


def command_group(commands: Any, name: str, text: str) -> Any:
    """Add a command that has commands of its own, and return what they are added to; alone, it prints its help."""
    parser = commands.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parser.set_defaults(**help_of(parser))
    return parser.add_subparsers(metavar="COMMAND")


def help_of(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the defaults of a command that prints its help."""

    def run(args: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    return {"run": run, "parser": parser}


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add the permission to replace what is not ours."""
    text = "replace an existing file of another kind, or files that were changed; never an input"
    parser.add_argument("--force", action="store_true", help=text)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add the wish for no progress."""
    parser.add_argument("--quiet", action="store_true", help="show no progress; warnings and failures are printed")


class Listed(argparse.Action):
    """Values separated by spaces or commas, each of which may be checked against choices given as `known`."""

    def __init__(self, option_strings: Sequence[str], dest: str, known: Sequence[str] = (), **how: Any) -> None:
        super().__init__(option_strings, dest, nargs="+", **how)
        self.known = known

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        """Store the values."""
        found: list[str] = []
        for value in values:
            found += [value] if Path(value).exists() else [part for part in value.split(",") if part]
        for value in found if self.known else ():
            if value not in self.known:
                text = f"invalid choice: {value!r}{did_you_mean(value, self.known)}; choose from "
                raise argparse.ArgumentError(self, text + ", ".join(self.known))
        setattr(namespace, self.dest, found)


def add_embedding(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the embedder and its windows."""
    parser.add_argument(
        "--embedder",
        metavar="E",
        help="openl3 (default), l3base, l3mini, l3micro, efficientat, mfcc, yamnet, edgel3, speech, or the path of a "
        "student file",
    )
    parser.add_argument("--weights", metavar="PATH", help="the embedder's weight file, or the folder that holds it")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="option of the embedder, such as input_repr=mel128; may be repeated",
    )
    add_filters(parser)
    add_full_scale(parser)
    add_hop(parser)
    parser.add_argument(
        "--no-center", dest="center", action="store_false", help="start the first window at the start of the clip"
    )
    add_work(parser)


def add_filters(parser: argparse.ArgumentParser, beside: str = "") -> None:
    """Add the options that filter the sound; for baseline, the filtered embedders are `beside` the others."""
    band = f"hear only this band, in Hz, such as 1000 8000{beside}"
    parser.add_argument("--band", nargs=2, type=hertz, metavar=("LOW", "HIGH"), help=band)
    text = f"take noise that goes on unchanged out of each clip, of at most 10 minutes{beside}"
    parser.add_argument("--denoise", action="store_const", const="stationary", help=text)


def hertz(text: str) -> float:
    """Parse a frequency such as 1000, 1000Hz, 1k or 1.5kHz; what is no frequency that can be heard is refused later."""
    number, scale = text.strip().lower().removesuffix("hz").strip(), 1.0
    if number.endswith("k"):
        number, scale = number.removesuffix("k"), 1000.0
    try:
        return float(number) * scale
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected a frequency in Hz, such as 1000") from None


def add_decision(parser: argparse.ArgumentParser, learns: bool = False) -> None:
    """Add the options that turn probabilities into a decision; for fit, which `learns`, the gate may be "auto"."""
    parser.add_argument("--unknown-threshold", type=float, metavar="P", help='predict "unknown" below this probability')
    text = "leave out windows below this level, in dBFS"
    if learns:
        learned = f'{text}; "auto": learn it from the clips, with its hysteresis'
        parser.add_argument("--gate-dbfs", type=level_or_auto, metavar="DB|auto", help=learned)
    else:
        parser.add_argument("--gate-dbfs", type=float, metavar="DB", help=text)
    default = "0, or learned with the gate" if learns else "that of the model"
    text = f"once a window is above the gate, take windows until one is so far below it (default: {default})"
    parser.add_argument("--gate-hysteresis", dest="gate_hysteresis_db", type=float, metavar="DB", help=text)


def set_decision(model: Any, args: argparse.Namespace) -> None:
    """Let the options of `add_decision` that were given count; the model's own stay where none is."""
    if args.unknown_threshold is not None:
        model.set_params(unknown_threshold=args.unknown_threshold)
    model.set_gate(args.gate_dbfs, args.gate_hysteresis_db)


def level_or_auto(text: str) -> float | str:
    """Parse the value of --gate-dbfs of fit."""
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected a level in dBFS, such as -50, or auto") from None


def add_full_scale(parser: argparse.ArgumentParser) -> None:
    """Add the full scale of files whose samples are floating point."""
    text = "value of a sample at full scale in floating-point files, such as 32768 (default: 1)"
    parser.add_argument("--full-scale", type=positive, metavar="X", help=text)


def add_hop(parser: argparse.ArgumentParser) -> None:
    """Add the time from one window to the next."""
    text = "seconds from one window to the next (default: 0.5)"
    parser.add_argument("--hop", dest="hop_s", type=seconds, default=0.5, metavar="S", help=text)


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add where embeddings are cached and how many threads compute them."""
    text = 'embedding cache, or "none" for no cache (default: in the user\'s cache folder)'
    parser.add_argument("--cache", type=cache_choice, default="auto", metavar="FILE", help=text)
    parser.add_argument("--jobs", type=int, metavar="N", help="number of threads (default: one per core)")
    add_quiet(parser)


def cache_choice(text: str) -> str | None:
    """Parse the value of --cache; None means no cache."""
    return None if text == "none" else text


def positive(text: str) -> float:
    """Parse a finite number greater than 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number greater than 0")
    return value


def seconds(text: str) -> float:
    """Parse a time such as 0.5, 0,5, 0.5s or 500ms."""
    number, scale = text.strip().lower().replace(",", "."), 1.0
    for unit, size in (("ms", 1e-3), ("s", 1.0)):
        if number.endswith(unit):
            number, scale = number.removesuffix(unit), size
            break
    try:
        return positive(number) * scale
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text}: expected a time greater than 0 in seconds, such as 0.5, or with a unit, such as 500ms"
        ) from None


def embedder_of(args: argparse.Namespace, usual: str = "openl3") -> Any:
    """Return the embedder that the arguments describe, `usual` if none, without loading its weights."""
    from l3clf.embedders import load_embedder
    from l3clf.embedders.filtered import Filtered

    options = dict(_option(text) for text in args.option)
    if args.weights is not None:
        options["weights"] = args.weights
    try:
        embedder = load_embedder(usual if args.embedder is None else args.embedder, **options)
    except ParameterError as error:
        words = str(error)
        for name, value in options.items():  # as they were typed, and not as Python's
            words = words.replace(f"{name}={value!r}", f"--option {name}={value}", 1) if name != "weights" else words
        raise ParameterError(words.replace("'", "") if words.startswith("--option ") else words) from None
    filters = args.band is not None or args.denoise is not None
    return Filtered(embedder, args.band, args.denoise) if filters else embedder


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ParameterError(f"--option {text}: expected NAME=VALUE, such as input_repr=mel128")
    # Options of embedders are whole numbers or text; no number is so long that Python would refuse it.
    return name, int(value) if value.isdecimal() and len(value) <= MAX_DIGITS else value
