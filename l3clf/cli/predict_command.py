"""``l3clf predict``: classify sound files with a saved model."""

import argparse
import json
import warnings
from collections.abc import Sequence
from functools import partial
from typing import IO, Any

import numpy as np

from l3clf.cli import options
from l3clf.cli.files import PREDICTIONS, check_out, expand, output, print_failures
from l3clf.errors import L3clfError, LevelWarning
from l3clf.storage.csv_text import csv_line, escaped_path

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    predict = options.command(commands, "predict", _run, "classify sound files with a saved model")
    predict.add_argument("model", metavar="MODEL", help="model file that `l3clf fit` wrote")
    predict.add_argument("files", metavar="FILES", nargs="+", help="sound files, or folders of them")
    predict.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="of the output (default: csv)")
    predict.add_argument("--out", metavar="FILE", help="file to write (default: standard output)")
    formulas = (
        "in the CSV, write what a spreadsheet would compute (=cmd) with an apostrophe, or a path with ./, in front"
    )
    predict.add_argument("--escape-formulas", action="store_true", help=formulas)
    predict.add_argument("--weights", metavar="PATH", help="the embedder's weight file, or the folder that holds it")
    options.add_decision(predict)
    options.add_full_scale(predict)
    options.add_work(predict)
    options.add_force(predict)


def _run(args: argparse.Namespace) -> int:
    from l3clf.audio.clip import Clip
    from l3clf.classifier.clip_warnings import warn_of_silence
    from l3clf.classifier.inputs import check_limits
    from l3clf.classifier.model_file import load_model

    # Like the line below, before hours are spent on embeddings.
    check_limits(args.unknown_threshold, args.gate_dbfs, args.gate_hysteresis_db or 0.0)
    paths, failures = expand(args.files)
    if args.out is not None:
        check_out(args, PREDICTIONS, [args.model, *args.files], paths)
    model = load_model(args.model, weights=args.weights)
    model.set_params(cache=args.cache, n_jobs=args.jobs, verbose=not args.quiet)
    # The model's own stay where none is given.
    for name in ("unknown_threshold", "gate_dbfs", "gate_hysteresis_db", "full_scale"):
        if getattr(args, name) is not None:
            model.set_params(**{name: getattr(args, name)})
    outcomes = model.embed(paths)  # first and once, so that a failed file is reported and skipped
    good = [i for i, outcome in enumerate(outcomes) if not isinstance(outcome, L3clfError)]
    windows = [outcomes[i] for i in good]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LevelWarning)  # about X[0]; the one below names the file
        probabilities = model.predict_proba(windows)
        labels = model.predict(windows)
    warn_of_silence([Clip(paths[i]) for i in good], windows, model._gate()[0], model.silence_learned_)
    with output(args.out) as file:
        write = partial(_write_csv, args.escape_formulas) if args.format == "csv" else _write_json_lines
        write(file, [paths[i] for i in good], labels, probabilities, model.classes_)
    failures += [outcome for outcome in outcomes if isinstance(outcome, L3clfError)]
    print_failures(failures, args)
    return 1 if failures else 0


def _write_csv(
    escape: bool, file: IO[str], paths: Sequence[str], labels: Any, probabilities: Any, classes: Any
) -> None:
    """Write the path, label and probability of each file."""
    file.write(csv_line(["path", "label", "probability"]))
    for path, label, row in zip(paths, labels, probabilities, strict=True):
        shown = escaped_path(path) if escape else path
        file.write(csv_line([shown, label, f"{row.max():.6f}"], escape_formulas=escape))


def _write_json_lines(file: IO[str], paths: Sequence[str], labels: Any, probabilities: Any, classes: Any) -> None:
    """Write one JSON object per file, with the probabilities of all classes."""
    names = [str(name) for name in classes]
    for path, label, row in zip(paths, labels, probabilities, strict=True):
        record = {
            "path": path,
            "label": label.item() if isinstance(label, np.generic) else label,
            "probability": float(row.max()),
            "probabilities": dict(zip(names, row.tolist(), strict=True)),
        }
        # JSON has to be valid UTF-8, so file names that are not are escaped.
        file.write(json.dumps(record, ensure_ascii=not path.isprintable()) + "\n")
