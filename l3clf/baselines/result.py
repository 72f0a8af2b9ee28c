"""`BaselineReport`, and the files made from it: tables, pictures, model, page.

Rule: everything is derived from a finished `BaselineReport`; nothing is embedded or fitted here.
"""

import io
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf._version import __version__
from l3clf.baselines.left_out_rows import ACCEPT, LeftOut
from l3clf.baselines.report_pictures import ReportPictures
from l3clf.baselines.tag_report import tag_mistakes, tag_pictures, tag_summary
from l3clf.baselines.targets import Model, TagTarget
from l3clf.classifier.model_file import save_model
from l3clf.datasets import ClipTable
from l3clf.errors import L3clfError
from l3clf.evaluate import CrossValidation, Duplicate, Split
from l3clf.report import Mistake, Page, table_text, unlearned_text, write_csv, write_html, write_json
from l3clf.report.contents import percent
from l3clf.storage.atomic import cannot_write
from l3clf.storage.outputs import FolderRecord

__all__ = ["OUTPUTS", "BaselineReport", "Result", "write_files"]

OUTPUTS = (
    *("table.csv", "table.json", "model.l3clf", "report.html"),
    *(
        f"pictures/{name}.png"
        for name in ("confusion", "confusion-counts", "recall", "precision", "map", "learning", "open-set")
    ),
)
"""What `write_files` writes."""

MAX_MISTAKES = 20  # as many as the page has players
MAX_CLASSES_DRAWN = 1000  # a larger confusion matrix shows nothing

CONFUSIONS = (
    ("confusion.png", True, "Confusion matrix in shares of each class, with confused classes next to each other."),
    ("confusion-counts.png", False, "Confusion matrix in numbers of clips: large classes weigh more."),
)


@dataclass(frozen=True, eq=False)
class Result:
    """One row of the table with the predictions behind it.

    Attributes
    ----------
    row : dict
        embedder, head, pooling; for accuracy, balanced_accuracy and macro_f1 (of taggers
        map, micro_f1 and macro_f1) the score, its standard deviation
        over folds (_std) and its 95 % interval (_low and _high), as fractions from 0 to 1; seconds (time of the
        cross-validation; rows that share a fitted head, "probability" and "vote", share it); and clips_per_s
        (speed of the embedding; None if all clips came from the cache).
    answers : CrossValidation
        Prediction and probabilities of each clip.
    """

    row: dict[str, Any]
    answers: CrossValidation


@dataclass(frozen=True, eq=False)
class BaselineReport(ReportPictures):
    """Result of `baseline`; ``str()`` gives the table, `plot_confusion`, `plot_recall` and `plot_map` its pictures.

    Attributes
    ----------
    results : list of Result
        Best first.
    model : ClipClassifier or ClipTagger
        The best one, fitted on all clips. If it is too large for a model file, the file in `out` holds the best of
        the others, and a note says so.
    table : list of dict
        The rows of `results`.
    best : dict
        The first row.
    floors : dict
        Scores of always predicting the largest class; with several labels, of predicting every tag for every clip.
    data : ClipTable
        The clips that could be read.
    split : Split
    notes : list of str
        How the data was split, and warnings.
    failures : list of L3clfError
        An error for each clip that could not be read.
    duplicates : list of Duplicate
        Pairs of clips in different folds that are the same or sound the same.
    vectors : array of shape (n_clips, embedding_size)
        Pooled embeddings of the best row's embedder.
    curve : list of dict
        The learning curve; empty if it was not requested.
    open_set : list of LeftOut
        How well the best row tells sounds of classes that it did not learn; empty if it was not requested.
    name : str
        Name of the data set.
    tags : TagTarget or None
        The tags of the clips, where they have several labels each.
    unwritten : list of L3clfError
        An error for each file of `out` that could not be written.
    """

    results: list[Result]
    model: Model
    floors: dict[str, float]
    data: ClipTable
    split: Split
    notes: list[str]
    failures: list[L3clfError]
    duplicates: list[Duplicate]
    vectors: NDArray[np.float32]
    curve: list[dict[str, Any]] = field(default_factory=list)
    open_set: list[LeftOut] = field(default_factory=list)
    name: str = "a data set"
    tags: TagTarget | None = None
    unwritten: list[L3clfError] = field(default_factory=list)

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
        """Names and scores that every row should exceed."""
        if self.tags is not None:
            return [("every tag (base rate)", self.floors["map"])]
        return [("always the largest class", self.floors["accuracy"])]

    def __repr__(self) -> str:
        best, lead = self.best, "accuracy" if self.tags is None else self.tags.lead
        row = " / ".join(str(best[key]) for key in ("embedder", "head", "pooling"))
        size = f"{len(self.data):,} clips, {len(self.results):,} rows"
        return f"<BaselineReport of {self.name!r}: {size}, best {row} at {percent(best[lead])} %; print it for all>"

    def __str__(self) -> str:
        tables = table_text(self.table, self.floor_rows), unlearned_text([each.row for each in self.open_set])
        return "\n\n".join(filter(None, tables))

    def mistakes(self) -> list[Mistake]:
        """Return the best row's mistakes, the most confident first."""
        if self.tags is not None:
            return tag_mistakes(self.tags, self.results[0].answers)
        predictions, labels = self.results[0].answers.predictions, self.data.labels
        # Confident mistakes often turn out to be wrong labels.
        sure = self.results[0].answers.probabilities.max(axis=1)
        wrong = [i for i in np.argsort(-sure, kind="stable") if predictions[i] != labels[i]]
        return [Mistake(self.data.clips[i], str(labels[i]), str(predictions[i]), float(sure[i])) for i in wrong]


def write_files(
    report: BaselineReport,
    model: Model | None,
    folder: Path,
    commands: Sequence[str] = (),
    words: Callable[[str], str] = str,
) -> list[L3clfError]:
    """Write tables, pictures, model and page of a report.

    Parameters
    ----------
    report : BaselineReport
    model : ClipClassifier, ClipTagger or None
        The model to store; without one, that of an earlier report is removed.
    folder : Path
    commands : sequence of str
        Commands that reproduce the report.
    words : callable, default=str
        Returns a note in the words of such commands.

    Returns
    -------
    list of L3clfError
        An error for each file that could not be written; the others are there.
    """
    writer = _Writer(folder, [])
    writer.attempt(lambda: write_csv(report.table, folder / "table.csv"))
    writer.attempt(lambda: write_json(report.table, folder / "table.json", more=_more(report)))
    place = folder / "model.l3clf"
    if model is None:
        place.unlink(missing_ok=True)
    else:
        writer.attempt(lambda: save_model(model, place, force=True))
    pictures = _draw(report, folder / "pictures", writer)
    page = Page(
        title=f"Baseline of {report.name}",
        summary=_summary(report),
        rows=report.table,
        floors=report.floor_rows,
        description=(report.tags or report.data).describe().items(),
        notes=[words(note) for note in report.notes],
        unlearned=[each.row for each in report.open_set],
        pictures=pictures,
        mistakes=report.mistakes()[:MAX_MISTAKES],
        failures=[words(str(failure)) for failure in (*report.failures, *writer.problems)],
        commands=commands,
        versions=versions(),
    )
    writer.attempt(lambda: write_html(page, folder / "report.html"))
    return writer.problems


def _more(report: BaselineReport) -> dict[str, Any]:
    """What table.json says beside the rows."""
    return {"open_set": [each.row for each in report.open_set]} if report.open_set else {}


class _Writer:
    """Writes what can be written: the work of hours is done, and a full disk must not throw all of it away."""

    def __init__(self, folder: Path, problems: list[L3clfError]) -> None:
        self.folder, self.problems = folder, problems
        self.record = FolderRecord(folder)  # each file is recorded at once: a run that is killed can be repeated

    def attempt(self, write: Callable[[], Path]) -> Path | None:
        try:
            written = write()
            self.record.add(written)
        except L3clfError as error:
            self.problems.append(error)
        except OSError as error:
            self.problems.append(cannot_write(self.folder, error))
        else:
            return written
        return None


def _summary(report: BaselineReport) -> str:
    best, n = report.best, len(report.data)
    if report.tags is not None:
        return tag_summary(best, report.floors["map"], n)
    floor = percent(report.floors["accuracy"])
    accuracy, low, high = (percent(best[key]) for key in ("accuracy", "accuracy_low", "accuracy_high"))
    return (
        f"{best['embedder']} with a {best['head']} head and {best['pooling']} pooling classifies {accuracy} % of {n:,} "
        f"clips correctly (95 % interval {low} to {high} %); always predicting the largest class gives {floor} %."
    )


def _draw(report: BaselineReport, folder: Path, writer: _Writer) -> list[tuple[Path, str, bytes | None]]:
    from l3clf import plots  # importing matplotlib takes half a second, and only pictures need it

    truth, answers = report.data.labels, report.results[0].answers
    predictions = answers.predictions
    title = f"{report.best['embedder']}, {report.best['head']}, {report.best['pooling']}"
    pictures: list[tuple[Path, str, bytes | None]] = []

    def add(name: str, caption: str, draw: Callable[..., Path], *args: Any, phone: bool = True, **options: Any) -> None:
        narrow = io.BytesIO()  # for the page alone
        if phone:
            options["narrow"] = narrow

        def drawn() -> Path:
            folder.mkdir(exist_ok=True)
            return draw(*args, folder / name, title=title, **options)

        if (place := writer.attempt(drawn)) is not None:
            pictures.append((place, caption, narrow.getvalue() or None))

    if report.tags is not None:
        for picture in tag_pictures(report.tags, answers, report.vectors):
            name, caption, draw, args, options = picture
            add(name, caption, draw, *args, **options)
        return pictures
    if len(np.unique(truth)) <= MAX_CLASSES_DRAWN:
        classes = plots.similar_classes(truth, predictions)
        for name, shares, caption in CONFUSIONS:
            add(name, caption, plots.confusion_matrix, truth, predictions, classes=classes, normalise=shares)
    add("recall.png", "Recall of each class, with 95 % intervals.", plots.per_class_recall, truth, predictions)
    caption = "Map of all clips: nearby clips have similar embeddings; mistakes are ringed."
    add("map.png", caption, plots.embedding_map, report.vectors, truth, correct=truth == predictions)
    if report.curve:
        caption, floor = "Learning curve: would more clips help?", report.floors["accuracy"]
        add("learning.png", caption, plots.learning_curve, report.curve, phone=False, floor=floor)
    if report.open_set:
        caption = "Coverage against accuracy, and clips of classes that were left out: what a stricter threshold gives."
        lines = {each.row["how"]: each.curve for each in report.open_set}
        add("open-set.png", caption, plots.coverage_curve, lines, phone=False, accept=ACCEPT)
    return pictures


def versions() -> dict[str, str]:
    """Return the versions of the packages that affect the numbers."""
    names = ("numpy", "scikit-learn", "onnxruntime", "soundfile", "soxr")
    return {"l3clf": __version__, "Python": platform.python_version(), **{name: version(name) for name in names}}
