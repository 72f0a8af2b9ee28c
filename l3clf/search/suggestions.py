"""Which clips to label next: those that a model is least sure of, and that are unlike each other.

Rule: only what the model says and the embeddings count, so that any model serves. Digital silence, clips without a
window above the gate, and clips that cannot be read are never suggested.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.utils.validation import check_is_fitted

from l3clf.audio.clip import Clip, FloatArray, Samples
from l3clf.classifier.clip_warnings import report_failures
from l3clf.classifier.decision import Answers, above_gate
from l3clf.classifier.inputs import as_sources, check_sizes, check_whole
from l3clf.classifier.tag_labels import tag_texts
from l3clf.classifier.tagger import ClipTagger
from l3clf.datasets.csv_rows import read_sheet
from l3clf.datasets.csv_table import UNFILLED
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import L3clfError, LevelWarning, ParameterError
from l3clf.networks.threads import one_blas_thread
from l3clf.search.embedded import embed_items, stretches
from l3clf.search.nearest import unit_rows
from l3clf.storage.atomic import replacing
from l3clf.storage.csv_text import csv_line, escaped_path
from l3clf.storage.outputs import Kind, check_kind, text_begins

__all__ = ["SUGGESTIONS", "Suggestion", "Suggestions", "suggest", "uncertainties"]

HEADER = ("path", "label", "guess", "uncertainty")
CLIPS_AT_ONCE = 256  # answered together, because a forest takes as long for one clip as for many
WINDOWS_AT_ONCE = 1 << 15
CANDIDATES = 10  # for each clip that is chosen
MIN_WEIGHT = 1e-6
MAX_TABLE = 1 << 26  # bytes


def _untouched(path: Path) -> bool:
    """Return whether a file is a table of ours in which nobody has filled in a label."""
    try:
        if not text_begins(",".join(HEADER))(path) or path.stat().st_size > MAX_TABLE:
            return False
        return all(row.values["label"] == UNFILLED for row in read_sheet(path).rows)
    except (OSError, L3clfError):
        return False


SUGGESTIONS = Kind("a table of suggestions without a label", _untouched)


@dataclass(frozen=True, eq=False)
class Suggestion:
    """A clip that is worth a label.

    Attributes
    ----------
    index : int
        Its place among the clips that were looked at.
    clip : Clip, Samples or None
        None for one that was given as embeddings.
    guess : label
        What the model says: a class or "unknown"; for a tagger, its labels joined by "|".
    uncertainty : float
        0 (sure) to 1: see `uncertainties`.
    """

    index: int
    clip: Clip | Samples | None
    guess: Any
    uncertainty: float


class Suggestions(Sequence[Suggestion]):
    """The clips to label next, most useful first; a sequence of `Suggestion`.

    Attributes
    ----------
    failures : list of L3clfError
        The clips that could not be embedded.
    n_silent : int
        How many had nothing to hear: digital silence, or no window above the model's gate.
    """

    def __init__(self, chosen: Sequence[Suggestion], failures: Sequence[L3clfError], n_silent: int) -> None:
        self._chosen = list(chosen)
        self.failures = list(failures)
        self.n_silent = n_silent

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, i: int) -> Suggestion: ...
    @overload
    def __getitem__(self, i: slice) -> list[Suggestion]: ...
    def __getitem__(self, i: int | slice) -> Suggestion | list[Suggestion]:
        """Return one of them, or several."""
        return self._chosen[i]

    def to_csv(self, path: str | os.PathLike[str], *, escape_formulas: bool = False, force: bool = False) -> None:
        """Write a table to fill in: its labels are "?", and `l3clf.datasets.load` reads it once they are not.

        Parameters
        ----------
        path : path
            The file to write; paths in it are relative to its folder.
        escape_formulas : bool, default=False
            Whether text that a spreadsheet would compute gets an apostrophe in front, and a path ``./``.
        force : bool, default=False
            Whether to replace an existing file of another kind. One in which labels are filled in is of another kind.

        Raises
        ------
        ParameterError
            If the file cannot be written, or a clip has no file.
        """
        target = check_kind(path, SUGGESTIONS, force=force)
        lines = list(self.csv_lines(target.parent, escape_formulas=escape_formulas))
        with replacing(target, newline="", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(lines)

    def csv_lines(self, folder: str | os.PathLike[str], *, escape_formulas: bool = False) -> Iterator[str]:
        """Yield the lines of `to_csv`, for a table in a folder."""
        clips = [each.clip for each in self]
        pieces = any(isinstance(clip, Clip) and not clip.is_whole for clip in clips)
        times = ["start_s", "end_s"] if pieces else []
        yield csv_line([*HEADER, *times])
        for each, clip in zip(self, clips, strict=True):
            if not isinstance(clip, Clip):
                raise ParameterError(f"clip {each.index}: has no file, and a table lists files; pass paths or Clips")
            name = os.path.relpath(clip.path, folder)
            name = name if name == name.lstrip() else os.path.join(os.curdir, name)  # noqa: PTH118  # Path drops "./"
            values: list[Any] = [escaped_path(name) if escape_formulas else name, UNFILLED, str(each.guess)]
            values += [f"{each.uncertainty:.6f}", *([clip.start_s, clip.end_s] if pieces else [])]
            yield csv_line(values, escape_formulas=escape_formulas)


def suggest(model: Any, clips: Iterable[Any], n: int = 20) -> Suggestions:
    """Choose the clips whose labels would teach a model most: uncertain ones, unlike each other.

    Parameters
    ----------
    model : ClipClassifier or ClipTagger
        Fitted on what is labelled so far.
    clips : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
        Those that are not labelled yet.
    n : int, default=20
        How many to choose.

    Returns
    -------
    Suggestions
        A sequence of `Suggestion`, most useful first; fewer than `n` if there are no more.

    Raises
    ------
    AudioError
        If a clip cannot be embedded, and the model's `on_error` is "raise"; else it is in `failures`, with a warning.

    Notes
    -----
    The ten times `n` clips that are least certain (by `uncertainties`) are clustered by k-means into `n` clusters of
    their mean embeddings, scaled to length 1 and weighted by their uncertainty; the clip nearest to the centre of each
    is chosen [1]_. Of the least certain clips alone, many are alike, and those that are unlike all others are often no
    example of any class.

    .. [1] F. Zhdanov, "Diverse mini-batch active learning", arXiv:1901.05954, 2019.

    Examples
    --------
    >>> import numpy as np, l3clf
    >>> tones = [np.sin(np.arange(16000) * k) for k in (0.1, 0.11, 0.4, 0.41)]
    >>> model = l3clf.ClipClassifier("mfcc", sample_rate=16000, cache=None).fit(tones, ["low", "low", "high", "high"])
    >>> [each.index for each in suggest(model, [tones[0], np.sin(np.arange(16000) * 0.2)], n=1)]
    [1]
    """
    check_whole("n", n, 1)
    check_is_fitted(model)
    items = as_sources(clips, model.sample_rate, model.full_scale)
    failures: dict[int, L3clfError] = {}
    places: list[int] = []
    vectors: list[FloatArray] = []
    answers: list[Answers] = []
    for batch in _batches(embed_items(model, items)):
        failures |= {i: outcome for i, outcome in batch.items() if isinstance(outcome, L3clfError)}
        heard = {i: (w, v) for i, w in batch.items() if i not in failures and len(v := _heard(w, model))}
        if heard:
            places += heard
            vectors += [v for _, v in heard.values()]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LevelWarning)  # of silence, which is left out
                answers.append(model.clip_answers([windows for windows, _ in heard.values()]))
    report_failures([failures.get(i, _EMBEDDED) for i in range(len(items))], model.on_error)
    bad = [failures[i] for i in sorted(failures)]
    if not places:
        return Suggestions([], bad, len(items) - len(bad))
    joined = Answers(*(np.concatenate([getattr(a, f) for a in answers]) for f in ("probabilities", "known_shares")))
    order = np.argsort(places)  # so that ties do not depend on which clip was embedded first
    joined = Answers(joined.probabilities[order], joined.known_shares[order])
    where = np.array(places)[order]
    weights = uncertainties(model, joined)
    rows = np.concatenate(vectors)[order]
    chosen = choose(rows, weights, n)
    guesses = _guesses(model, joined)
    found = [Suggestion(int(where[k]), _clip(items[where[k]]), guesses[k], float(weights[k])) for k in chosen]
    return Suggestions(found, bad, len(items) - len(bad) - len(where))


def uncertainties(model: Any, answers: Answers) -> NDArray[np.float64]:
    """Return how unsure a model is of each clip, 0 to 1.

    Parameters
    ----------
    model : ClipClassifier or ClipTagger
    answers : Answers

    Returns
    -------
    array of shape (n,)
        For a classifier 1 less the margin: the difference of the two highest probabilities, where "unknown" is one. For
        a tagger that of the tag that is nearest to its threshold: 1 at it, 0 where the probability is 0 or 1.
    """
    if isinstance(model, ClipTagger):
        limits = np.asarray(model.thresholds_in_force(), np.float64)
        away = answers.probabilities - limits
        room = np.where(away > 0, 1 - limits, limits)
        return np.asarray(1 - np.min(np.abs(away) / np.maximum(room, 1e-9), axis=1, initial=1.0))
    shares = answers.known_shares[:, np.newaxis]
    joint = np.sort(np.hstack([answers.probabilities * shares, 1 - shares]), axis=1)
    return np.clip(1 - (joint[:, -1] - joint[:, -2]), 0, 1)


def choose(vectors: FloatArray, weights: NDArray[np.float64], n: int) -> list[int]:
    """Choose vectors of large weight that are unlike each other; see `suggest`.

    Parameters
    ----------
    vectors : array of shape (n_clips, size)
    weights : array of shape (n_clips,)
    n : int

    Returns
    -------
    list of int
        At most `n`, by descending weight; copies are chosen only where nothing else is left.
    """
    rows = unit_rows(vectors)
    by_weight = np.argsort(-weights, kind="stable")
    _, first = np.unique(rows[by_weight], axis=0, return_index=True)
    distinct = by_weight[np.sort(first)]
    among = distinct[: CANDIDATES * n]
    chosen = _central(rows[among], weights[among], n) if len(among) > n else np.arange(len(among))
    kept = among[chosen]
    # Where these are not enough, the others of their kind follow, and then the copies.
    found = list(dict.fromkeys([*kept.tolist(), *distinct.tolist(), *by_weight.tolist()]))[:n]
    return sorted(found, key=lambda i: -weights[i])


def _central(rows: FloatArray, weights: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    """Return the row that is nearest to the centre of each of `n` clusters."""
    with one_blas_thread():
        clusters = KMeans(n, n_init=1, random_state=0).fit(rows, sample_weight=weights + MIN_WEIGHT)
    away = ((rows - clusters.cluster_centers_[clusters.labels_]) ** 2).sum(axis=1)
    order = np.lexsort((away, clusters.labels_))  # the nearest of each cluster first
    return order[np.unique(clusters.labels_[order], return_index=True)[1]]


def _guesses(model: Any, answers: Answers) -> list[Any]:
    if not isinstance(model, ClipTagger):
        return list(model.labels_of(answers))
    return list(tag_texts(model.indicator_of(answers), model.classes_))


def _heard(windows: WindowEmbeddings, model: Any) -> FloatArray:
    """Return the mean embedding of a clip as one row; none if it has no window to decide by."""
    check_sizes([windows], model.embedder_)
    above = above_gate(windows.levels_dbfs, *model.gate_in_force())
    return stretches(windows, None)[0] if above.any() else windows.vectors[:0]


def _clip(item: Any) -> Clip | Samples | None:
    return None if isinstance(item, WindowEmbeddings) else item


def _batches(finished: Iterator[tuple[int, Any]]) -> Iterator[dict[int, Any]]:
    batch: dict[int, Any] = {}
    n_windows = 0
    for i, outcome in finished:
        batch[i] = outcome
        n_windows += 0 if isinstance(outcome, L3clfError) else len(outcome)
        if len(batch) >= CLIPS_AT_ONCE or n_windows >= WINDOWS_AT_ONCE:
            yield batch
            batch, n_windows = {}, 0
    if batch:
        yield batch


_EMBEDDED = WindowEmbeddings(np.zeros((0, 0), np.float32), np.zeros((0, 2)), np.zeros(0, np.float32))
