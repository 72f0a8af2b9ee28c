"""``l3clf baseline``: cross-validate embedders and heads on a data set."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from l3clf.cli import options, tuning
from l3clf.cli.files import load_table, print_failures
from l3clf.cli.printing import command_words, note, say
from l3clf.errors import ParameterError

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    text = "cross-validate embedders and heads on a data set, and write a table, a report and the best model"
    baseline = options.command(commands, "baseline", _run, text)
    baseline.add_argument("data", metavar="DATA", help="folder with one subfolder per class, or a CSV (path,label)")
    ready = "default: every embedder whose weights are on this machine"
    baseline.add_argument("--embedders", metavar="E", action=options.Listed, help=ready)
    heads = "logistic, forest (default: both)"
    baseline.add_argument(
        "--heads", action=options.Listed, known=options.HEADS, default=options.HEADS, metavar="H", help=heads
    )
    poolings = f"{', '.join(options.POOLINGS)} (default: mean)"
    baseline.add_argument(
        "--pooling", action=options.Listed, known=options.POOLINGS, default=["mean"], metavar="P", help=poolings
    )
    baseline.add_argument("--group", metavar="COLUMN", help="CSV column; clips that share its value stay in one fold")
    baseline.add_argument("--out", metavar="DIR", default="l3clf-baseline", help="output (default: ./l3clf-baseline)")
    baseline.add_argument("--tune", action="store_true", help="choose the logistic head's C inside each training fold")
    baseline.add_argument(
        "--learning-curve", action="store_true", help="also train on fewer clips, to see if more would help"
    )
    baseline.add_argument(
        "--open-set", action="store_true", help="also leave classes out, to see if sounds never learned are told"
    )
    options.add_augment(baseline, "also fit each row on changed copies of the training clips of each fold")
    options.add_filters(baseline, "; in rows beside those without")
    tune = (
        "also train a student (each one named, or l3mini) on the labels inside each fold, and its network from "
        "scratch: two rows, and minutes for each fold (the extra `distill`)"
    )
    baseline.add_argument("--fine-tune", action="store_true", help=tune)
    tags = "clips have several labels, such as dog|rain: measure taggers"
    baseline.add_argument("--tags", action="store_true", help=tags)
    baseline.add_argument("--weights", metavar="DIR", help="folder of weight files")
    options.add_hop(baseline)
    options.add_work(baseline)
    options.add_force(baseline)


def _run(args: argparse.Namespace) -> int:
    from l3clf.baselines.result import OUTPUTS
    from l3clf.baselines.run import baseline
    from l3clf.storage.outputs import check_not_input

    for option, given in (("--augment", args.augment), ("--fine-tune", args.fine_tune)):
        if args.tags and given:
            raise ParameterError(f"{option}: of models with one label a clip; omit it, or omit --tags")
    table = load_table(args.data, args.group, tags=args.tags)
    check_not_input((Path(args.out, name) for name in OUTPUTS), [args.data])
    report = baseline(
        table,
        args.embedders,
        args.heads,
        args.pooling,
        args.out,
        hop_s=args.hop_s,
        cache=args.cache,
        n_jobs=args.jobs,
        tune=args.tune,
        learning_curve=args.learning_curve,
        open_set=args.open_set,
        augment=options.augmentation_of(args),
        tags=args.tags,
        contenders=tuning.contenders(args),
        commands=[shlex.join(["l3clf", *args.argv])],  # the report shows how to make it again
        words=lambda text: command_words(text, args.parser),
        say=None if args.quiet else note,
        weights=args.weights,
        force=args.force,
        band_hz=None if args.band is None else tuple(args.band),
        denoise=args.denoise,
    )
    say(report)
    for each in report.notes:
        say(f"\n{command_words(each, args.parser)}")
    say()
    for what, name in (("Report: ", "report.html"), ("Model:  ", "model.l3clf")):
        if (place := Path(args.out, name)).exists():
            say(f"{what}{place}")
    print_failures(report.failures, args)
    return 1 if report.failures or report.unwritten else 0
