"""What ``l3clf predict`` writes: tables of clips, events and windows, and a file of labels for each recording.

Rule: rows are written in the order of the command line, as soon as all before them are known. Files of labels mirror
the tree of the sounds in a folder of their own, never beside the sounds, and replace only what an earlier run wrote.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from l3clf.datasets.tag_text import split_tags
from l3clf.errors import ParameterError
from l3clf.storage.csv_text import csv_line, escaped_path

__all__ = ["Answer", "InOrder", "LabelFolder", "Rows", "check_class_names", "places"]

SUFFIXES = {"audacity": ".txt", "raven": ".selections.txt"}


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known of one file.

    Attributes
    ----------
    path : str
    label : object
        Its class, where clips are asked for.
    probabilities : array of shape (n_classes,) or None
    unknown_score : float
    events : sequence of Event
    windows : WindowAnswers or None
    window_labels : sequence
        The class of each window.
    """

    path: str
    label: Any = None
    probabilities: Any = None
    unknown_score: float = 0.0
    events: Sequence[Any] = ()
    windows: Any = None
    window_labels: Any = ()


@dataclass
class Rows:
    """The text of answers.

    Parameters
    ----------
    classes : sequence
    json_lines : bool
        JSON lines instead of CSV.
    escape : bool
        Whether to escape formulas in CSV.
    unknown : bool, default=False
        Whether clips have an unknown score: those of a model that learned what is unknown.
    tags : bool, default=False
        Whether clips may have several labels: the model is a tagger.
    """

    classes: Sequence[Any]
    json_lines: bool
    escape: bool
    unknown: bool = False
    tags: bool = False

    def clip_head(self) -> str:
        """Return what a table of clips begins with."""
        if self.tags:
            return "" if self.json_lines else self._csv_line(["path", "tags", *self._columns()])
        more = ["unknown_score"] if self.unknown else []
        return "" if self.json_lines else csv_line(["path", "label", "probability", *more])

    def clip(self, answer: Answer) -> str:
        """Return the row of a clip."""
        if self.tags:
            return self._tag_row({"path": answer.path}, answer.label, answer.probabilities)
        best = float(answer.probabilities.max())
        if not self.json_lines:
            more = [f"{answer.unknown_score:.6f}"] if self.unknown else []
            return self._csv(answer.path, [answer.label, f"{best:.6f}", *more])
        found = {"path": answer.path, "label": answer.label, "probability": best}
        found |= {"unknown_score": answer.unknown_score} if self.unknown else {}
        return _json({**found, "probabilities": self._named(answer.probabilities)})

    def event_head(self) -> str:
        """Return what a table of events begins with."""
        return "" if self.json_lines else csv_line(["path", "start_s", "end_s", "label", "score"])

    def events(self, answer: Answer) -> str:
        """Return a row for each event of a recording."""
        if not self.json_lines:
            return "".join(
                self._csv(answer.path, [f"{e.start_s:.3f}", f"{e.end_s:.3f}", e.label, f"{e.score:.6f}"])
                for e in answer.events
            )
        found = ({"start_s": e.start_s, "end_s": e.end_s, "label": e.label, "score": e.score} for e in answer.events)
        return "".join(_json({"path": answer.path, **each}) for each in found)

    def window_head(self) -> str:
        """Return what a table of windows begins with."""
        own = ["tags"] if self.tags else ["label", "unknown_score"]
        return "" if self.json_lines else self._csv_line(["path", "start_s", "end_s", *own, *self._columns()])

    def windows(self, answer: Answer) -> str:
        """Return a row for each window of a recording."""
        times = answer.windows.times_s.tolist()
        shares, unknown = answer.windows.answers.probabilities, answer.windows.answers.unknown_scores
        lines = []
        for (start_s, end_s), label, row, score in zip(times, answer.window_labels, shares, unknown, strict=True):
            if self.tags:
                lines.append(self._tag_row({"path": answer.path, "start_s": start_s, "end_s": end_s}, label, row))
            elif self.json_lines:
                what = {"path": answer.path, "start_s": start_s, "end_s": end_s, "label": label}
                lines.append(_json({**what, "unknown_score": float(score), "probabilities": self._named(row)}))
            else:
                numbers = [f"{value:.6f}" for value in (score, *row)]
                lines.append(self._csv(answer.path, [f"{start_s:.3f}", f"{end_s:.3f}", label, *numbers]))
        return "".join(lines)

    def _columns(self) -> list[str]:
        return [f"p_{name}" for name in self.classes]

    def _tag_row(self, what: Mapping[str, Any], text: str, probabilities: Any) -> str:
        """Return the row of a clip or window of a tagger; `what` it is, with its times."""
        if self.json_lines:
            return _json({**what, "tags": sorted(split_tags(str(text))), "probabilities": self._named(probabilities)})
        times = [f"{value:.3f}" for name, value in what.items() if name != "path"]
        return self._csv(what["path"], [*times, text, *(f"{value:.6f}" for value in probabilities)])

    def _named(self, probabilities: Any) -> dict[str, float]:
        return dict(zip(map(str, self.classes), probabilities.tolist(), strict=True))

    def _csv(self, path: str, values: Sequence[object]) -> str:
        return self._csv_line([escaped_path(path) if self.escape else path, *values])

    def _csv_line(self, values: Sequence[object]) -> str:
        return csv_line(values, escape_formulas=self.escape)


def _json(record: Mapping[str, Any]) -> str:
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in record.items()}
    # JSON has to be valid UTF-8, so file names that are not are escaped.
    return json.dumps(plain, ensure_ascii=not record["path"].isprintable()) + "\n"


class InOrder:
    """Writes the text of answers in the order of their places, whatever the order in which they come.

    Parameters
    ----------
    file : text stream
    text_of : callable
        Returns the text of an answer.
    """

    def __init__(self, file: IO[str], text_of: Callable[[Answer], str]) -> None:
        self.file, self.text_of = file, text_of
        self.waiting: dict[int, str] = {}
        self.next = 0

    def add(self, i: int, answer: Answer | None) -> None:
        """Write or keep an answer; None is a file that failed."""
        self.waiting[i] = "" if answer is None else self.text_of(answer)
        while self.next in self.waiting:
            self.file.write(self.waiting.pop(self.next))
            self.next += 1

    def flush(self) -> None:
        """Let readers of a pipe see what was written."""
        if hasattr(self.file, "flush"):
            self.file.flush()


def check_class_names(classes: Iterable[Any], how: str) -> None:
    """Raise ParameterError for classes that cannot be the text of a label."""
    from l3clf.datasets.label_tracks import Label, label_problem

    for name in classes:
        if problem := label_problem(Label(0.0, 0.0, str(name))):
            raise ParameterError(f"--format {how}: the class {str(name)[:60]!r} cannot be a label: {problem}")


def places(paths: Sequence[str], given: Sequence[str], how: str) -> dict[str, str]:
    """Return where the labels of each recording go, relative to the output's folder.

    The tree below the folder that is named on the command line is mirrored; where several are named, or files, that
    below the folder that holds all of them.

    Parameters
    ----------
    paths : sequence of str
        The recordings.
    given : sequence of str
        What the command line names.
    how : {"audacity", "raven"}

    Returns
    -------
    dict of str to str
        By path. Recordings that differ only in their suffix keep it: ``dawn.wav.txt``.
    """
    absolute = {path: os.path.abspath(path) for path in paths}  # noqa: PTH100  # keeps links, unlike Path.resolve
    folders = [os.path.abspath(given[0])] if len(given) == 1 and os.path.isdir(given[0]) else []  # noqa: PTH100, PTH112
    try:
        root = os.path.commonpath(folders or [os.path.dirname(each) for each in absolute.values()])  # noqa: PTH120
    except ValueError:  # none, or on several drives of Windows
        root = ""
    inside = {
        path: Path(os.path.relpath(each, root)) if root else Path(os.path.splitdrive(each)[1].lstrip("\\/"))
        for path, each in absolute.items()
    }
    count = Counter(str(name.with_suffix("")).casefold() for name in set(inside.values()))
    return {
        path: (name if count[str(name.with_suffix("")).casefold()] > 1 else name.with_suffix("")).as_posix()
        + SUFFIXES[how]
        for path, name in inside.items()
    }


@dataclass
class LabelFolder:
    """A folder with the events of each recording, as Audacity or Raven read them.

    Parameters
    ----------
    folder : str
    how : {"audacity", "raven"}
    names : dict of str to str
        As from `places`.
    high_hz : float
        Upper end of Raven's selections.
    force : bool
        Whether to replace what somebody else put there, or changed.
    """

    folder: str
    how: str
    names: Mapping[str, str]
    high_hz: float = 0.0
    force: bool = False
    waiting: dict[str, bytes] = field(default_factory=dict)

    def check(self) -> None:
        """Take the folder, before hours are spent on what goes into it.

        Raises
        ------
        ParameterError
            If it is one that holds sounds, or files of others.
        """
        from l3clf.storage.atomic import check_folder, claim_folder
        from l3clf.storage.outputs import RECORD, FolderRecord

        root = check_folder(self.folder, RECORD, force=self.force)
        sounds = {os.path.realpath(os.path.dirname(path) or ".") for path in self.names}  # noqa: PTH120
        for name in self.names.values():
            folder = os.path.realpath((root / name).parent)
            if folder in sounds:
                raise ParameterError(
                    f"{self.folder}: the labels would lie beside the sounds in {folder}, to be read as theirs; name "
                    "another folder"
                )
        claim_folder(root, RECORD, force=self.force)
        FolderRecord(root).check(self.names.values(), self.force)

    def add(self, answer: Answer) -> None:
        """Keep the labels of a recording until `flush`."""
        from l3clf.datasets.label_tracks import Label, label_lines
        from l3clf.datasets.raven import selection_lines

        labels = [Label(event.start_s, event.end_s, str(event.label)) for event in answer.events]
        if self.how == "audacity":
            text = label_lines(labels)
        else:
            text = selection_lines(labels, self.high_hz, {"Score": [event.score for event in answer.events]})
        self.waiting[self.names[answer.path]] = text.encode()

    def flush(self) -> None:
        """Write the labels that were added."""
        from l3clf.storage.outputs import FolderRecord

        if self.waiting:
            FolderRecord(self.folder).write(self.waiting, self.names, self.force)
            self.waiting = {}
