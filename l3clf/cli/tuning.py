"""What ``--fine-tune`` means: to ``l3clf fit`` a student before the head, to ``l3clf baseline`` two rows more."""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l3clf.cli.printing import note, say
from l3clf.errors import ClipWarning, ParameterError, counted

if TYPE_CHECKING:
    from l3clf.datasets import ClipTable
    from l3clf.embedders.student import Student

__all__ = ["USUAL", "contenders", "fine_tuned", "student_folder"]

USUAL = "l3mini"  # trains in a fifth of l3base's time
_WITHOUT = {"band": "the whole band", "denoise": "sounds as they are", "tags": "one label for each clip"}


def student_folder(model: str) -> Path:
    """Return the folder beside a model file in which its student is trained."""
    return Path(model).with_name(f"{Path(model).stem}-student")


def fine_tuned(args: argparse.Namespace, embedder: Any, table: "ClipTable") -> "Student":
    """Return the student fine-tuned on a table, in the folder beside the model."""
    _refuse(args, embedder)
    args.resumes = True  # after Ctrl-C
    from l3clf.distill.fine_tuning import expected_s, fine_tune

    folder = student_folder(args.out)
    if not args.quiet:
        minutes = _minutes(expected_s(table.clips, embedder))
        note(f"Fine-tuning {embedder.name} on {counted(len(table), 'clip')}: {minutes}, in {folder}")
    with warnings.catch_warnings():
        # Those that cannot be read are named when the head is fitted.
        warnings.filterwarnings("ignore", message=r"\d+ of \d+ clips left out", category=ClipWarning)
        options = {"n_jobs": args.jobs, "progress": not args.quiet, "force": args.force}
        student = fine_tune(table.clips, table.labels, embedder, folder, **options)
    say(f"Student: {student.path}")
    return student


def contenders(args: argparse.Namespace) -> Sequence[Any]:
    """Return the rows of a baseline that are trained in each fold: each student named, and its network from scratch."""
    if not args.fine_tune:
        return ()
    _refuse_filters(args)
    args.resumes = True
    from l3clf.distill.fine_tuning import FineTuned
    from l3clf.embedders import load_embedder
    from l3clf.embedders.student import Student

    named = [load_embedder(name) for name in (*(args.embedders or ()), USUAL)]
    students = [each for each in named if isinstance(each, Student)]
    students = students[:-1] or students  # the usual one only where none is named
    return [FineTuned(each, from_scratch=scratch) for each in students for scratch in (False, True)]


def _refuse_filters(args: argparse.Namespace) -> None:
    """Refuse what a student is not trained with."""
    for name, why in _WITHOUT.items():
        if getattr(args, name, None):
            raise ParameterError(f"--fine-tune: a student is trained on {why}; leave out --{name}, or --fine-tune")


def _refuse(args: argparse.Namespace, embedder: Any) -> None:
    from l3clf.embedders.student import Student

    _refuse_filters(args)
    if not isinstance(embedder, Student):
        raise ParameterError(
            f"--fine-tune: {embedder.name} is not a student; give --embedder l3mini, l3base, l3micro or a student file"
        )
    if args.unknown or args.background is not None or args.background_s is not None or args.accept is not None:
        raise ParameterError(
            "--fine-tune: with --unknown the threshold would be learned on the clips that the student was trained on, "
            "and reject too much; leave one of them out"
        )


def _minutes(seconds: float) -> str:
    from l3clf.baselines.contenders import in_words

    return in_words(seconds)
