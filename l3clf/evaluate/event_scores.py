"""Scores of events against annotated ones: by segments of time, and by events with collars.

Rule: counts are summed over recordings before anything is divided. The definitions are those of sed_eval and
sed_scores_eval: Mesaros, Heittola, Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 6, 2016.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.event_matching import (
    Collars,
    all_labels,
    as_events,
    leftover_pairs,
    matched,
    spans_by_label,
    spans_of,
)
from l3clf.classifier.events import Event
from l3clf.errors import ParameterError

__all__ = ["EventScores", "Scores", "collar_scores", "segment_scores"]

SEGMENT_DIGITS = 1e-6  # of a segment: an event that ends on a border does not reach beyond it


@dataclass(frozen=True)
class Scores:
    """Scores of one class, or of all.

    Attributes
    ----------
    precision : float
        Share of what was found that is right; 1 for a class of which nothing was found, 0 if that is so of all.
    recall : float
        Share of what there is that was found.
    f1 : float
        Harmonic mean of the two.
    error_rate : float
        Errors in relation to what there is: missed and false ones; can exceed 1. Over all classes, a true and a found
        event of different classes at one time are one error (a substitution), not two.
    n_true, n_found, n_right : float
        Numbers of events, or of segments. Means, where the scores are means over classes.
    """

    precision: float
    recall: float
    f1: float
    error_rate: float
    n_true: float
    n_found: float
    n_right: float


@dataclass(frozen=True)
class EventScores:
    """Scores of events.

    Attributes
    ----------
    classes : dict of label to Scores
        Of each class that was found or is true; recall, F1 and error rate are NaN for a class without true events.
    macro : Scores
        Mean over the classes that have true events.
    micro : Scores
        Of all events together.
    """

    classes: Mapping[Any, Scores]
    macro: Scores
    micro: Scores


def collar_scores(
    true: Iterable[Iterable[Any]], found: Iterable[Iterable[Any]], collars: Collars | None = None
) -> EventScores:
    """Return scores by events: one is right if it starts and ends where a true event of its class does.

    Parameters
    ----------
    true, found : iterable of iterable
        The events of each recording: `Event`s, or tuples (start_s, end_s, label).
    collars : Collars or None, default=None
        How close is close enough; None is 0.2 s for the start, and for the end 0.2 s or half of the length.

    Returns
    -------
    EventScores

    Raises
    ------
    ParameterError
        If the numbers of recordings differ, there is no true event, or an event is malformed.

    Examples
    --------
    >>> true = [[(1.0, 2.0, "bark"), (5.0, 8.0, "rain")]]
    >>> collar_scores(true, [[(1.1, 2.1, "bark"), (5.0, 6.0, "rain")]]).micro.f1
    0.5
    """
    collars = Collars() if collars is None else collars
    rows = _checked(true, found)
    labels = all_labels(*zip(*rows, strict=True))
    counts, substitutions = np.zeros((len(labels), 3)), 0
    for true_row, found_row in rows:
        true_spans, found_spans = spans_by_label(true_row), spans_by_label(found_row)
        missed, false = [], []
        for k, label in enumerate(labels):
            own, other = true_spans.get(label, spans_of([])), found_spans.get(label, spans_of([]))
            i, j = matched(own, other, collars)
            counts[k] += len(own), len(other), len(i)
            missed.append(np.delete(own, i, axis=0))
            false.append(np.delete(other, j, axis=0))
        substitutions += leftover_pairs(_by_start(missed), _by_start(false), collars)
    n_true, n_found, n_right = counts.sum(axis=0)
    errors = float(n_true + n_found - 2 * n_right - substitutions)
    return _scores(labels, counts, errors)


def segment_scores(
    true: Iterable[Iterable[Any]], found: Iterable[Iterable[Any]], segment_s: float = 1.0
) -> EventScores:
    """Return scores by segments: in each, a class is there or not, and was found or not.

    Parameters
    ----------
    true, found : iterable of iterable
        The events of each recording: `Event`s, or tuples (start_s, end_s, label). A class is in each segment that one
        of its events overlaps.
    segment_s : float, default=1.0
        Length of a segment in seconds.

    Returns
    -------
    EventScores

    Raises
    ------
    ParameterError
        If the numbers of recordings differ, there is no true event, an event is malformed, or `segment_s` is not a
        positive number.

    Examples
    --------
    >>> segment_scores([[(1.0, 4.0, "rain")]], [[(2.2, 5.0, "rain")]]).micro.recall
    0.6666666666666666
    """
    if not (isinstance(segment_s, int | float | np.number) and 0 < segment_s < np.inf):
        raise ParameterError(f"segment_s={segment_s!r}; expected a positive number of seconds, such as 1.0")
    rows = _checked(true, found)
    labels = all_labels(*zip(*rows, strict=True))
    counts, errors = np.zeros((len(labels), 3)), 0.0
    for pair in rows:
        last = max((event.end_s for row in pair for event in row), default=0.0)
        n = int(np.ceil(last / segment_s)) + 1
        is_true, is_found = (_active(row, labels, segment_s, n) for row in pair)
        counts += np.stack([is_true.sum(axis=1), is_found.sum(axis=1), (is_true & is_found).sum(axis=1)], axis=1)
        # A missed class and a false one in the same segment are one error.
        missed, false = (is_true & ~is_found).sum(axis=0), (is_found & ~is_true).sum(axis=0)
        errors += float(np.maximum(missed, false).sum())
    return _scores(labels, counts, errors)


def _checked(true: Iterable[Iterable[Any]], found: Iterable[Iterable[Any]]) -> list[tuple[list[Event], list[Event]]]:
    true_rows = as_events(true)
    found_rows = as_events(found, len(true_rows))
    if not any(true_rows):
        raise ParameterError("events: none is annotated; give at least one true event")
    return list(zip(true_rows, found_rows, strict=True))


def _by_start(spans: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    joined: NDArray[np.float64] = np.concatenate(spans)
    return joined[np.lexsort([joined[:, 1], joined[:, 0]])]


def _active(events: Iterable[Event], labels: Sequence[Any], segment_s: float, n: int) -> NDArray[np.bool_]:
    """Return in which of n segments each class is."""
    row = {label: k for k, label in enumerate(labels)}
    active = np.zeros((len(labels), n), np.bool_)
    for event in events:
        first = int(np.floor(event.start_s / segment_s + SEGMENT_DIGITS))
        stop = int(np.ceil(event.end_s / segment_s - SEGMENT_DIGITS))
        active[row[event.label], first:stop] = True
    return active


def _scores(labels: Sequence[Any], counts: NDArray[np.float64], errors: float) -> EventScores:
    classes = {label: _of_counts(*row) for label, row in zip(labels, counts.tolist(), strict=True)}
    present = [[*vars(scores).values()] for scores in classes.values() if scores.n_true]
    n_true, n_found, n_right = counts.sum(axis=0).tolist()
    micro = _of_counts(n_true, n_found, n_right, errors)
    return EventScores(classes, Scores(*np.mean(present, axis=0).tolist()), micro)


def _of_counts(n_true: float, n_found: float, n_right: float, errors: float | None = None) -> Scores:
    """Return scores of a class, or, where the errors of all are given, of all."""
    of_class = errors is None
    wrong = n_true + n_found - 2 * n_right if errors is None else errors
    precision = n_right / n_found if n_found else float(of_class)
    if not n_true:
        return Scores(precision, np.nan, np.nan, np.nan, n_true, n_found, n_right)
    f1 = 2 * n_right / (n_true + n_found)
    return Scores(precision, n_right / n_true, f1, wrong / n_true, n_true, n_found, n_right)
