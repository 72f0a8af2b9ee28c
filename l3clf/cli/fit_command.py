"""``l3clf fit``: fit a classifier on labelled clips and save it."""

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

from l3clf.cli import options
from l3clf.cli.files import print_failures
from l3clf.errors import ClipWarning
from l3clf.storage.atomic import check_writable

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    fit = options.command(commands, "fit", _run, "fit a classifier on labelled clips and save it")
    fit.add_argument("data", metavar="DATA", help="folder with one subfolder per class, or a CSV (path,label)")
    fit.add_argument("--out", metavar="MODEL", required=True, help="model file to write")
    fit.add_argument("--head", choices=options.HEADS, default="logistic", help="classifier (default: logistic)")
    pooling = "how windows are combined into one prediction for a clip (default: mean)"
    fit.add_argument("--pooling", choices=options.POOLINGS, default="mean", help=pooling)
    fit.add_argument("--class-weight", choices=("balanced",), help="weight classes inversely to their size")
    fit.add_argument("--group", metavar="COLUMN", help="CSV column of groups; checked, but not used to fit")
    options.add_decision(fit)
    options.add_embedding(fit)


def _run(args: argparse.Namespace) -> int:
    from l3clf.classifier.estimators import ClipClassifier
    from l3clf.classifier.model_file import save_model
    from l3clf.datasets import load

    check_writable(Path(args.out))  # before hours are spent on embeddings
    table = load(args.data, args.group)
    model = ClipClassifier(
        options.embedder_of(args),
        head=args.head,
        hop_s=args.hop_s,
        center=args.center,
        pooling=args.pooling,
        class_weight=args.class_weight,
        unknown_threshold=args.unknown_threshold,
        gate_dbfs=args.gate_dbfs,
        cache=args.cache,
        n_jobs=args.jobs,
        on_error="nan",  # fits on the good clips; the others are listed in `failures_`
        verbose=True,
        full_scale=args.full_scale,
    )
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            # `print_failures` names these clips, one a line.
            warnings.filterwarnings("ignore", message=r"\d+ of \d+ clips could not be embedded", category=ClipWarning)
            model.fit(table.clips, table.labels)
    finally:
        print_failures(getattr(model, "failures_", []))
    save_model(model, args.out)
    print(
        f"Fitted {model.head!r} on {len(table) - len(model.failures_)} clips of {len(model.classes_)} classes "
        f"({model.embedder_.name} embeddings, {model.pooling} pooling) in {time.perf_counter() - start:.1f} s."
    )
    print(f"Model: {args.out} ({Path(args.out).stat().st_size / 1000:.1f} kB)")
    return 1 if model.failures_ else 0
