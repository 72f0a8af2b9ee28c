"""``l3clf fit``: fit a classifier on labelled clips and save it."""

import argparse
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l3clf.cli import options, tuning
from l3clf.cli.files import check_out, load_table, print_failures
from l3clf.cli.printing import say, tell
from l3clf.errors import ClipWarning, ParameterError, counted

__all__ = ["add", "warn_of_several"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    fit = options.command(commands, "fit", _run, "fit a classifier on labelled clips and save it")
    fit.add_argument("data", metavar="DATA", help="folder with one subfolder per class, or a CSV (path,label)")
    fit.add_argument("--out", metavar="MODEL", required=True, help="model file to write")
    fit.add_argument("--head", choices=options.HEADS, default="logistic", help="classifier (default: logistic)")
    pooling = "how windows are combined into one prediction for a clip (default: mean)"
    fit.add_argument("--pooling", choices=options.POOLINGS, default="mean", help=pooling)
    fit.add_argument("--class-weight", choices=("balanced",), help="weight classes inversely to their size")
    options.add_augment(fit, "also learn from changed copies of each clip")
    options.add_decision(fit, learns=True)
    learn = 'learn which sounds are "unknown", from a background and a threshold that keeps most known clips'
    fit.add_argument("--unknown", action="store_true", help=learn)
    folder = "folder of sounds that are of no class, for the background (implies --unknown)"
    fit.add_argument("--background", metavar="DIR", help=folder)
    unlabelled = (
        "cut the unlabelled time of recordings that have Audacity or Raven labels into pieces of this length, for the "
        "background (implies --unknown)"
    )
    fit.add_argument("--background-s", type=options.seconds, metavar="S", help=unlabelled)
    accept = "share of known clips that the threshold keeps (default: 0.95; implies --unknown)"
    fit.add_argument("--accept", type=float, metavar="P", help=accept)
    tags = "clips have several labels or none: a label is text such as dog|rain, or a column of 0 and 1 for each"
    fit.add_argument("--tags", action="store_true", help=tags)
    group = "column of recordings, speakers, ...: clips of one are not learned while its others tell the threshold"
    fit.add_argument("--group", metavar="COLUMN", help=group)
    tune = (
        "first train the embedder, a student (default: l3mini), on the labels; it is written to a folder beside MODEL "
        "(the extra `distill`)"
    )
    fit.add_argument("--fine-tune", action="store_true", help=tune)
    options.add_embedding(fit)
    options.add_force(fit)


def _run(args: argparse.Namespace) -> int:
    import numpy as np

    from l3clf.baselines.cells import Cell, may_be_too_large
    from l3clf.classifier.decision import BACKGROUND
    from l3clf.classifier.inputs import check_limits
    from l3clf.classifier.model_file import MODEL, save_model
    from l3clf.classifier.tag_labels import as_tags
    from l3clf.classifier.unknown import background_clips, check_unknown
    from l3clf.datasets.describe_tags import tag_problems

    embedder = options.embedder_of(args, tuning.USUAL if args.fine_tune else "openl3")
    unknown, augment = _unknown(args, embedder), options.augmentation_of(args)
    _check_tags(args, unknown)
    if args.group is not None and unknown is None and not args.tags:
        raise ParameterError(
            "--group: fit learns from all clips at once, so groups have no effect without --unknown or --tags; give "
            "it to `l3clf baseline`, which keeps each group in one fold"
        )
    limits = args.unknown_threshold, args.gate_dbfs, args.gate_hysteresis_db or 0.0
    check_limits(*limits)  # before the problems of the table are printed
    check_unknown(unknown)
    others = background_clips(unknown)
    table = load_table(args.data, args.group, args.background_s, args.tags)
    read = [clip.path for clip in (*table.clips, *others)]
    check_out(args, MODEL, [args.data, args.background], read)  # before hours are spent on embeddings
    # Few clips of the background, or all in one group, are no problem.
    classes = table if unknown is None else table.subset(table.labels != BACKGROUND)
    found = tag_problems(table, as_tags(table.labels)) if args.tags else (classes if len(classes) else table).problems()
    for problem in found:
        tell(problem, args.parser)
    cell = Cell(embedder, args.head, args.pooling, tune=False, augment=augment, tags=args.tags)
    for size in may_be_too_large([cell], np.array(table.labels)):
        tell(size.rstrip("."), args.parser)
    if not args.tags:
        warn_of_several(args, table.labels.tolist())
    if args.fine_tune:
        embedder = tuning.fine_tuned(args, embedder, table)
    model = _model(args, embedder, unknown, augment)
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            # `print_failures` names these clips, one a line.
            warnings.filterwarnings("ignore", message=r"\d+ of \d+ clips could not be embedded", category=ClipWarning)
            groups = table.folds if table.groups is None else table.groups
            model.fit(table.clips, table.labels, groups=groups)
    finally:
        print_failures(getattr(model, "failures_", []), args)
    save_model(model, args.out, force=args.force)
    n_clips = len(table) + len(others) - len(model.failures_)
    beside = " and the background" if others or len(classes) < len(table) else ""
    for line in (_about_fit(args, model, n_clips, beside, time.perf_counter() - start), *_about_unknown(model)):
        say(line)
    say(f"Model: {args.out} ({Path(args.out).stat().st_size / 1000:.1f} kB)")
    return 1 if model.failures_ else 0


def _model(args: argparse.Namespace, embedder: Any, unknown: Any, augment: Any) -> Any:
    """Return the unfitted classifier or tagger that the arguments describe."""
    from l3clf.classifier.estimators import ClipClassifier
    from l3clf.classifier.tagger import ClipTagger

    settings: dict[str, Any] = {
        "embedder": embedder,
        "head": args.head,
        "hop_s": args.hop_s,
        "center": args.center,
        "pooling": args.pooling,
        "class_weight": args.class_weight,
        "gate_dbfs": args.gate_dbfs,
        "gate_hysteresis_db": args.gate_hysteresis_db or 0.0,
        "cache": args.cache,
        "n_jobs": args.jobs,
        "on_error": "nan",  # fits on the good clips; the others are listed in `failures_`
        "verbose": not args.quiet,
        "full_scale": args.full_scale,
    }
    if args.tags:
        return ClipTagger(**settings)
    own = {"unknown_threshold": args.unknown_threshold, "unknown": unknown, "augment": augment}
    return ClipClassifier(**settings, **own)


def _about_fit(args: argparse.Namespace, model: Any, n_clips: int, beside: str, seconds: float) -> str:
    augment = getattr(model, "augment", None)
    copies = "" if augment is None else f" ({counted(augment.copies, 'copy', 'copies')} of each)"
    names = counted(len(model.classes_), *(("tag", "tags") if args.tags else ("class", "classes")))
    return (
        f"Fitted {model.head!r} on {counted(n_clips, 'clip')}{copies} of {names}{beside} "
        f"({model.embedder_.name} embeddings, {model.pooling} pooling) in {seconds:.1f} s."
    )


def _check_tags(args: argparse.Namespace, unknown: Any) -> None:
    """Raise ParameterError for options that make no sense beside --tags."""
    if not args.tags:
        return
    asked = {
        "--unknown, --background, --background-s, --accept": unknown is not None,
        "--unknown-threshold": args.unknown_threshold is not None,
        "--pooling vote": args.pooling == "vote",
        "--fine-tune": args.fine_tune,
        "--augment": args.augment is not None,
    }
    for option, given in asked.items():
        if given:
            raise ParameterError(f"{option}: of models with one label a clip; omit it, or omit --tags")


def warn_of_several(args: argparse.Namespace, labels: Sequence[Any]) -> None:
    """Warn of labels that seem to name several each, where --tags was not given."""
    from l3clf.datasets.tag_text import looks_like_tags

    if looks_like_tags(labels):
        found = next(label for label in labels if "|" in label)
        tell(f"labels such as {found!r} are learned as one class each; add --tags if they are several", args.parser)


def _unknown(args: argparse.Namespace, embedder: Any) -> Any:
    """Return the `Unknown` that the arguments ask for; None if they ask for none."""
    from l3clf.classifier.unknown import Unknown, automatic

    if args.background is None and args.accept is None:
        return "auto" if args.unknown or args.background_s is not None else None
    accept = {} if args.accept is None else {"accept": args.accept}
    if args.background is not None:
        if not args.background:
            raise ParameterError("--background: the name is empty; name a folder of sounds")
        # As a path, a folder "bank" is not taken for the bank.
        is_folder = os.path.isdir(args.background)  # noqa: PTH112 - False for a name that is too long
        return Unknown(background=Path(args.background) if is_folder else args.background, **accept)
    return automatic(embedder, args.pooling).set_params(**accept)


def _about_unknown(model: Any) -> list[str]:
    """Return what was learned about sounds that are unknown, in a line; none if nothing was."""
    if not hasattr(model, "unknown") or model.unknown_threshold_ is None:
        return []
    low, high = model.unknown_threshold_interval_
    interval = f" (95 % interval: {low:.3f} to {high:.3f})" if low == low else ""
    background = "with a background" if model.has_background_ else "without a background"
    learned = f"{model.unknown_threshold_:.3f}{interval}"
    if model.unknown_threshold is None:
        return [f"Unknown: {background}, below {learned}."]
    return [f"Unknown: {background}, below {model.unknown_threshold:g} (--unknown-threshold); {learned} was learned."]
