"""``l3clf distill``: train a small student to imitate frozen embedders, its teachers."""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l3clf.cli import options
from l3clf.cli.files import expand, print_failures
from l3clf.cli.printing import say, tell
from l3clf.errors import ClipWarning, L3clfError, ParameterError, counted

if TYPE_CHECKING:
    from l3clf.embedders import Embedder
    from l3clf.embedders.student import Student

__all__ = ["add"]

TEACHER = "efficientat"  # where none is named: the best embedder at hand, with a small network that is fast to ask
# Repeated here because the modules that define them import TensorFlow.
SIZES = ("S", "M", "L", "B")
EPOCHS, PER_WINDOW = 20, 8


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = options.command(commands, "distill", _run, "train a small student to imitate frozen embedders")
    parser.add_argument("files", metavar="FILES", nargs="+", help="sound files to train on, or folders of them")
    parser.add_argument(
        "--teacher",
        dest="teachers",
        metavar="NAME",
        action="append",
        help=f"embedder to imitate (default: {TEACHER}); may be repeated, and the first sets the length of the "
        "student's window",
    )
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder to write to; run the same command again to resume"
    )
    parser.add_argument("--student", choices=SIZES, help="about 28, 61, 120 or 667 thousand parameters (default: M)")
    parser.add_argument(
        "--init",
        metavar="STUDENT",
        help="student to start from: l3base, l3mini, l3micro, or the path of a student file",
    )
    parser.add_argument(
        "--labels-from-folders", action="store_true", help="also train on labels: the name of each file's folder"
    )
    parser.add_argument("--epochs", type=_count, default=EPOCHS, metavar="N", help=f"of training (default: {EPOCHS})")
    per_window = f"training examples per window of sound (default: {PER_WINDOW})"
    parser.add_argument("--per-window", type=_count, default=PER_WINDOW, metavar="N", help=per_window)
    parser.add_argument("--weights", metavar="DIR", help="folder of the teachers' weight files")
    parser.add_argument("--jobs", type=int, metavar="N", help="threads that make examples (default: one per core)")
    options.add_quiet(parser)
    options.add_force(parser)


def _count(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number of at least 1")
    return value


def _run(args: argparse.Namespace) -> int:
    paths, failures = expand(args.files)
    print_failures(failures, args)
    if failures and not paths:  # every failure has been printed
        return 1
    try:
        student = _distilled(args, list(dict.fromkeys(paths)))  # a file given twice could be trained on and held out
    except KeyboardInterrupt:
        tell(f"interrupted: work is kept in {args.out}; run the same command again to resume")
        return 130
    from l3clf.distill.corpus import refused_clips

    refused = refused_clips(Path(args.out))
    for sentence in refused:
        tell(f"failed: {sentence}")
    say("\n".join(_summary(student)))
    return 1 if refused or failures else 0


def _distilled(args: argparse.Namespace, paths: list[str]) -> "Student":
    teachers = [
        _teacher(name, args.weights) for name in args.teachers or [TEACHER]
    ]  # before TensorFlow takes seconds to import

    from l3clf.distill.distiller import distil
    from l3clf.distill.training import Schedule

    with warnings.catch_warnings():
        # `_run` names these clips at the end, below the progress bars.
        warnings.filterwarnings("ignore", message=r"\d+ of \d+ clips left out", category=ClipWarning)
        return distil(
            teachers,
            paths,
            _folders(paths) if args.labels_from_folders else None,
            student=args.student,
            init=args.init,
            out=args.out,
            per_window=args.per_window,
            schedule=Schedule(epochs=args.epochs),
            n_jobs=args.jobs,
            progress=not args.quiet,
            force=args.force,
        )


def _teacher(name: str, weights: str | None) -> "Embedder":
    """Load an embedder; the folder `weights` comes first, unless its weights lie only in the usual places."""
    from l3clf.embedders import load_embedder

    usual = load_embedder(name)
    if weights is None or getattr(usual, "weights", "") is not None:  # it has no weights, or `name` names them
        return usual
    there = load_embedder(name, weights=weights)
    return there if _is_ready(there) or not _is_ready(usual) else usual


def _is_ready(embedder: "Embedder") -> bool:
    try:
        return embedder.is_ready()
    except L3clfError:  # the folder does not hold this embedder's weights
        return False


def _folders(paths: Sequence[str]) -> list[str]:
    labels = [Path(path).absolute().parent.name for path in paths]
    if len(set(labels)) < 2:
        raise ParameterError(
            f"--labels-from-folders: all files are in one folder, {labels[0]}; put each class into a folder of its own"
        )
    return labels


def _summary(student: "Student") -> list[str]:
    about: dict[str, Any] = student.about
    size = f"{about['architecture']}, {about['parameters']:,} parameters, {about['macs']:,} MACs per window"
    cosines = zip(about["teachers"], about["held_out_cosine"], about["constant_cosine"], strict=True)
    return [
        f"Student: {student.weights} ({size})",
        f"Trained on {counted(about['clips'], 'clip')} ({about['hours']:.2f} h), "
        f"{counted(about['examples'], 'example')}.",
        *(f"Held-out cosine to {name}: {own:.3f} (best constant embedding: {best:.3f})" for name, own, best in cosines),
    ]
