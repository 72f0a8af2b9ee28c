"""Accuracy of every embedder at hand, with both heads and four poolings, on ESC-10 and FSDD.

ESC-10 has its own five folds; FSDD leaves one speaker out at a time; everything is fitted inside the training folds.
The tables are those of `l3clf.baseline`. The same accuracy is then computed by `cross_val_score`, and for one fold by
`l3clf fit` and `l3clf predict`, so that the three interfaces are compared.
"""

import contextlib
import csv
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import PredefinedSplit, cross_val_score

import l3clf
from benchmarks.environment import say
from benchmarks.materials import esc10, fsdd, weights_folder
from benchmarks.record import Result, Table
from l3clf.baselines.run import BaselineReport, ready_embedders
from l3clf.cli import main as cli
from l3clf.embedders import Embedder

ROW = ("embedder", "head", "pooling")
SCORES = ("accuracy", "accuracy_std", "accuracy_low", "accuracy_high", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class Options:
    """What is compared.

    Attributes
    ----------
    sets : tuple of {"esc10", "fsdd"}
    embedders : tuple of str
        Names; all that are ready when empty.
    heads, poolings : tuple of str
    interfaces : tuple of str
        Embedders for which the three interfaces are compared on ESC-10.
    """

    sets: tuple[str, ...] = ("esc10", "fsdd")
    embedders: tuple[str, ...] = ()
    heads: tuple[str, ...] = ("logistic", "forest")
    poolings: tuple[str, ...] = ("mean", "mean+std", "probability", "vote")
    interfaces: tuple[str, ...] = ("yamnet", "mfcc")


def run(options: Options) -> Result:
    """Cross-validate everything."""
    tables = []
    for name, load in (("esc10", esc10), ("fsdd", fsdd)):
        if name in options.sets:
            report = l3clf.baseline(load(), _embedders(options.embedders), options.heads, options.poolings, say=say)
            tables.append(_table(name, report))
            if name == "esc10" and options.interfaces:
                tables.append(_interfaces(report, options.interfaces))
    return Result(tuple(tables))


def _embedders(names: tuple[str, ...]) -> list[Embedder]:
    found = ready_embedders(weights_folder())
    return [embedder for embedder in found if embedder.name in names] if names else found


def _table(name: str, report: BaselineReport) -> Table:
    columns = (
        ("embedder", ""), ("head", ""), ("pooling", ""), ("accuracy", ".1%"), ("spread over folds", ".1%"),
        ("95 % from", ".1%"), ("to", ".1%"), ("balanced accuracy", ".1%"), ("macro F1", ".1%"),
    )  # fmt: skip
    rows = [tuple(row[column] for column in (*ROW, *SCORES)) for row in report.table]
    floor = ("", "", "always the largest class", report.floors["accuracy"], *[None] * 5)
    return Table(f"{name}: {len(report.data)} clips; {report.split.note}", columns, (*rows, floor))


def _interfaces(report: BaselineReport, names: tuple[str, ...]) -> Table:
    """The same cross-validation by scikit-learn, and one of its folds by the command line."""
    table = report.data
    rows = []
    for name in names:
        (embedder,) = _embedders((name,))
        row = next(r for r in report.results if [r.row[k] for k in ROW] == [name, "logistic", "mean"])
        held_out = report.split.test_fold == len(report.split) - 1
        one_fold = float((row.answers.predictions[held_out] == table.labels[held_out]).mean())
        model = l3clf.ClipClassifier(embedder)
        folds = PredefinedSplit(report.split.test_fold)
        scores = cross_val_score(model, table.clips, table.labels, cv=folds, error_score="raise")
        command_line = _command_line(embedder, table, held_out)
        rows.append((name, row.row["accuracy"], float(scores.mean()), one_fold, command_line))
    columns = ("`l3clf.baseline`", ".2%"), ("`cross_val_score`", ".2%"), ("the last fold", ".2%")
    title = "esc10, logistic head, mean pooling: three interfaces to the same figure"
    return Table(
        title, (("embedder", ""), *columns, ("the last fold, by `l3clf fit` and `predict`", ".2%")), tuple(rows)
    )


def _command_line(embedder: Embedder, table: l3clf.ClipTable, held_out: NDArray[np.bool_]) -> float:
    """Return the share of the held-out clips that is right."""
    weights = getattr(embedder, "weights", None)
    options = [] if weights is None else ["--weights", str(weights)]
    with tempfile.TemporaryDirectory() as folder:
        train, model, predictions = (f"{folder}/{name}" for name in ("train.csv", "model.l3clf", "predictions.csv"))
        table.subset(~held_out).to_csv(train)
        test = table.subset(held_out)
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main(["fit", train, "--embedder", embedder.name, "--out", model, *options])
            cli.main(["predict", model, *(clip.path for clip in test.clips), "--out", predictions, *options])
        with Path(predictions).open(encoding="utf-8") as file:
            found = [row["label"] for row in csv.DictReader(file)]
    return float((test.labels == found).mean())
