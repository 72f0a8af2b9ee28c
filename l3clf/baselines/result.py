"""What a baseline found, and the files it becomes: tables, pictures, model, page.

Rule: everything here is derived from a finished `BaselineReport`; nothing is fitted or embedded.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf._version import __version__
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.model_file import save_model
from l3clf.datasets import ClipTable
from l3clf.errors import L3clfError
from l3clf.evaluate import CrossValidation, Duplicate, Split
from l3clf.report import Mistake, Page, table_text, write_csv, write_html, write_json

__all__ = ["BaselineReport", "Result", "write_files"]

Say: TypeAlias = Callable[[str], object]
MOST_MISTAKES = 20
MOST_CLASSES_DRAWN = 1000  # a confusion matrix of more is a picture of nothing

CONFUSIONS = (
    ("confusion.png", True, "Which class was taken for which, in shares: classes that are confused stand together."),
    ("confusion-counts.png", False, "The same in numbers of clips: large classes weigh more."),
)


@dataclass(frozen=True, eq=False)
class Result:
    """One row of the table with the answers behind it.

    Attributes
    ----------
    row : dict
        embedder, head, pooling, and for accuracy, balanced_accuracy and macro_f1 the score, its _std over folds and
        its 95 % interval, _low and _high (fractions 0..1); seconds (of the cross-validation; rows that
        share a fitted head, "probability" and "vote", share its seconds) and clips_per_s (of the
        embedding; None when all came from the cache).
    answers : CrossValidation
    """

    row: dict[str, Any]
    answers: CrossValidation


@dataclass(frozen=True, eq=False)
class BaselineReport:
    """What `baseline` found.

    Attributes
    ----------
    results : list of Result
        Best first.
    model : ClipClassifier
        The best one, fitted on everything.
    table : list of dict
        The rows of `results`.
    best : dict
        The first of them.
    floors : dict
        Scores of always answering the largest class.
    data : ClipTable
        The clips that could be read.
    split : Split
    notes : list of str
        How it was split, and what to be careful about.
    failures : list of L3clfError
        Clips that could not be read.
    duplicates : list of Duplicate
        Clips in different folds that are the same or sound the same.
    vectors : array of shape (n_clips, size)
        Pooled embeddings of the best row's embedder.
    curve : list of dict
        The learning curve, where it was asked for.
    name : str
        What the data set is called.
    """

    results: list[Result]
    model: ClipClassifier
    floors: dict[str, float]
    data: ClipTable
    split: Split
    notes: list[str]
    failures: list[L3clfError]
    duplicates: list[Duplicate]
    vectors: NDArray[np.float32]
    curve: list[dict[str, Any]] = field(default_factory=list)
    name: str = "a data set"

    @property
    def table(self) -> list[dict[str, Any]]:
        """The rows, best first."""
        return [result.row for result in self.results]

    @property
    def best(self) -> dict[str, Any]:
        """The first row."""
        return self.results[0].row

    @property
    def floor_rows(self) -> list[tuple[str, float]]:
        """What no row should be below, by name."""
        return [("always the largest class", self.floors["accuracy"])]

    def __str__(self) -> str:
        return table_text(self.table, self.floor_rows)

    def mistakes(self) -> list[Mistake]:
        """Return the best row's wrong answers, those it was surest of first."""
        answers, labels = self.results[0].answers, self.data.labels
        sure = answers.probabilities.max(axis=1)
        wrong = [i for i in np.argsort(-sure, kind="stable") if answers.predictions[i] != labels[i]]
        return [Mistake(self.data.clips[i], str(labels[i]), str(answers.predictions[i]), float(sure[i])) for i in wrong]


def write_files(report: BaselineReport, folder: Path, commands: Sequence[str] = ()) -> Path:
    """Write tables, pictures, model and page of a report.

    Parameters
    ----------
    report : BaselineReport
    folder : Path
    commands : sequence of str
        What made it, for whoever wants it again.

    Returns
    -------
    Path
        The page.
    """
    write_csv(report.table, folder / "table.csv")
    write_json(report.table, folder / "table.json")
    save_model(report.model, folder / "model.l3clf")
    page = Page(
        title=f"Baseline of {report.name}",
        summary=_summary(report),
        rows=report.table,
        floors=report.floor_rows,
        description=report.data.describe().items(),
        notes=report.notes,
        pictures=_draw(report, folder / "pictures"),
        mistakes=report.mistakes()[:MOST_MISTAKES],
        failures=[str(failure) for failure in report.failures],
        commands=commands,
        versions=versions(),
    )
    return write_html(page, folder / "report.html")


def _summary(report: BaselineReport) -> str:
    best, n = report.best, len(report.data)
    return (
        f"{best['embedder']} with a {best['head']} head and {best['pooling']} pooling is right on "
        f"{best['accuracy']:.1%} of {n} clips (95 % interval {best['accuracy_low']:.1%} to "
        f"{best['accuracy_high']:.1%}); always answering the largest class would be right on "
        f"{report.floors['accuracy']:.1%}."
    )


def _draw(report: BaselineReport, folder: Path) -> list[tuple[Path, str]]:
    from l3clf import plots  # matplotlib takes half a second, and only pictures need it

    folder.mkdir(exist_ok=True)
    truth, predictions = report.data.labels, report.results[0].answers.predictions
    title = f"{report.best['embedder']}, {report.best['head']}, {report.best['pooling']}"
    pictures: list[tuple[Path, str]] = []
    if len(np.unique(truth)) <= MOST_CLASSES_DRAWN:
        for name, shares, caption in CONFUSIONS:
            place = folder / name
            plots.confusion_matrix(truth, predictions, place, title=title, order="similarity", normalise=shares)
            pictures.append((place, caption))
    drawn = plots.per_class_recall(truth, predictions, folder / "recall.png", title=title)
    pictures.append((drawn, "How much of each class was found, with 95 % intervals."))
    correct = truth == predictions
    drawn = plots.embedding_map(report.vectors, truth, folder / "map.png", correct=correct, title=title)
    pictures.append((drawn, "Every clip by its embedding: near means similar to the embedder; wrong ones are marked."))
    if report.curve:
        drawn = plots.learning_curve(
            report.curve, folder / "learning.png", title=title, floor=report.floors["accuracy"]
        )
        pictures.append((drawn, "Would more clips help? Accuracy against clips of each class in training."))
    return pictures


def versions() -> dict[str, str]:
    """Return the versions of what decides the numbers."""
    names = ("numpy", "scikit-learn", "onnxruntime", "soundfile", "soxr")
    return {"l3clf": __version__, "Python": platform.python_version(), **{name: version(name) for name in names}}
