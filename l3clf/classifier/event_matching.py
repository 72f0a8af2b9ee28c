"""Which events that were found are right: those whose start and end are close to the ones of a true event.

Rule: an event is the match of at most one other, and as many are matched as can be (a maximum bipartite matching); the
definitions are those of sed_eval and sed_scores_eval. Mesaros, Heittola, Virtanen, "Metrics for polyphonic sound event
detection", Applied Sciences 6, 2016.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from l3clf.classifier.events import Event
from l3clf.errors import ParameterError, did_you_mean

__all__ = [
    "Collars",
    "Spans",
    "all_labels",
    "as_events",
    "check_labels",
    "leftover_pairs",
    "matched",
    "spans_by_label",
    "spans_of",
]

Spans: TypeAlias = NDArray[np.float64]
"""Starts and ends of events, shape (n, 2), by start."""
Indices: TypeAlias = NDArray[np.intp]

DECIMALS = 6  # of times that are compared, as in sed_scores_eval: sums of hops differ in their last digits


@dataclass(frozen=True)
class Collars:
    """How far the start and the end of an event may be from those of a true event.

    Parameters
    ----------
    onset_s : float, default=0.2
        For the start, in seconds.
    offset_s : float or None, default=0.2
        For the end, in seconds; None compares starts only.
    offset_share : float, default=0.5
        For the end, as a share of the length of the true event; the larger of the two counts.

    Raises
    ------
    ParameterError
        If one is negative or not a number.
    """

    onset_s: float = 0.2
    offset_s: float | None = 0.2
    offset_share: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None and name == "offset_s":
                continue
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not (number and 0 <= value < np.inf):
                raise ParameterError(f"{name}={value!r}; expected a number of 0 or more")


def as_events(events: Iterable[Iterable[Any]], n_recordings: int | None = None) -> list[list[Event]]:
    """Return annotated events as `Event`s.

    Parameters
    ----------
    events : iterable of iterable
        For each recording its events, in any order: `Event`s, tuples (start_s, end_s, label), or labels of a track
        (`l3clf.datasets.label_tracks.read_labels`).
    n_recordings : int or None
        How many lists there must be.

    Raises
    ------
    ParameterError
        If an event is none of these, has no label, or does not end after it starts.
    """
    if isinstance(events, str) or not hasattr(events, "__iter__"):
        raise ParameterError(f"events: type {type(events).__name__}; give a list of events for each recording")
    rows = list(events)
    if n_recordings is not None and len(rows) != n_recordings:
        raise ParameterError(f"events: {len(rows)} lists; give one list of events for each of {n_recordings} clips")
    return [_events_of(row, f"events[{i}]") for i, row in enumerate(rows)]


def _events_of(row: Any, name: str) -> list[Event]:
    if isinstance(row, str | Event) or not hasattr(row, "__iter__"):
        raise ParameterError(f"{name}: type {type(row).__name__}; expected the list of one recording's events")
    return [_as_event(item, f"{name}[{i}]") for i, item in enumerate(row)]


def _as_event(item: Any, name: str) -> Event:
    try:
        if hasattr(item, "start_s"):
            start, end, label = item.start_s, item.end_s, item.label if hasattr(item, "label") else item.text
        else:
            start, end, label = item
        start_s, end_s = float(start), float(end)
    except (AttributeError, TypeError, ValueError):
        raise ParameterError(
            f"{name}: {repr(item)[:80]}; expected an Event, or (start_s, end_s, label) with times in seconds"
        ) from None
    if not 0 <= start_s < end_s < np.inf:  # false for NaN, too
        raise ParameterError(
            f"{name}: from {start_s:g} s to {end_s:g} s; give a start of 0 or more and an end after it"
        )
    if isinstance(label, np.generic):
        label = label.item()
    if not isinstance(label, str | int | float) or label in ("", float("nan")) or label != label:
        raise ParameterError(f"{name}: label {label!r}; give the name of a class")
    return Event(start_s, end_s, label, item.score if isinstance(item, Event) else 1.0)


def check_labels(events: Sequence[Sequence[Event]], classes: Sequence[Any] | NDArray[Any]) -> list[Any]:
    """Return the labels that occur, sorted.

    Raises
    ------
    ParameterError
        If none does, or one is none of the classes.
    """
    labels = all_labels(events)
    if not labels:
        raise ParameterError("events: none is annotated; give at least one true event")
    known = np.asarray(classes).tolist()
    for i, row in enumerate(events):
        for event in row:
            if event.label not in known:
                hint = did_you_mean(event.label, map(str, known))
                raise ParameterError(
                    f"events[{i}]: label {event.label!r} is none of the classes{hint}; correct it, or leave it out"
                )
    return labels


def spans_of(events: Iterable[Event]) -> Spans:
    """Return the starts and ends of events, by start."""
    spans: Spans = np.array(sorted((event.start_s, event.end_s) for event in events), np.float64)
    return spans.reshape(-1, 2)


def spans_by_label(events: Iterable[Event]) -> dict[Any, Spans]:
    """Return the starts and ends of the events of each label that occurs."""
    by_label: dict[Any, list[Event]] = {}
    for event in events:
        by_label.setdefault(event.label, []).append(event)
    return {label: spans_of(own) for label, own in by_label.items()}


def close_pairs(true: Spans, found: Spans, collars: Collars) -> tuple[Indices, Indices]:
    """Return the pairs of true and found events that are within the collars, by true and then by found event."""
    if not (len(true) and len(found)):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    # Only events that start at about the same time need be compared: `found` is in order of its starts.
    reach = collars.onset_s + 10.0**-DECIMALS
    first = np.searchsorted(found[:, 0], true[:, 0] - reach, "left")
    n = np.searchsorted(found[:, 0], true[:, 0] + reach, "right") - first
    i = np.repeat(np.arange(len(true)), n)
    j = np.arange(n.sum()) + np.repeat(first - np.cumsum(n) + n, n)
    close = _within(found[j, 0] - true[i, 0], collars.onset_s)
    if collars.offset_s is not None:
        length = true[i, 1] - true[i, 0]
        close &= _within(found[j, 1] - true[i, 1], np.maximum(collars.offset_s, collars.offset_share * length))
    return i[close], j[close]


def _within(distance: NDArray[np.float64], collar: NDArray[np.float64] | float) -> NDArray[np.bool_]:
    return np.asarray(np.round(np.abs(distance) - collar, DECIMALS) <= 0)


def matched(true: Spans, found: Spans, collars: Collars) -> tuple[Indices, Indices]:
    """Return the true and the found events of a maximum matching.

    Parameters
    ----------
    true, found : array of shape (n, 2)
        Events of one label in one recording, by start.
    collars : Collars

    Returns
    -------
    true_indices, found_indices : array of shape (n_matched,)

    Examples
    --------
    >>> true, found = np.array([[1.0, 2.0], [4.0, 6.0]]), np.array([[1.1, 2.2], [1.2, 2.0], [4.5, 6.0]])
    >>> [indices.tolist() for indices in matched(true, found, Collars())]
    [[0], [0]]
    """
    i, j = close_pairs(true, found, collars)
    if len(np.unique(i)) == len(i) and len(np.unique(j)) == len(j):  # no event has two that it could be
        return i, j
    graph = csr_array((np.ones(len(i), np.int8), (i, j)), shape=(len(true), len(found)))
    partner = np.asarray(maximum_bipartite_matching(graph, perm_type="column"))
    return np.flatnonzero(partner >= 0), partner[partner >= 0].astype(np.intp)


def leftover_pairs(true: Spans, found: Spans, collars: Collars) -> int:
    """Return how many events can be paired one by one, in order of time, each with the first that is close."""
    taken: set[int] = set()
    paired: set[int] = set()
    for one, other in zip(*close_pairs(true, found, collars), strict=True):
        if one not in paired and other not in taken:
            paired.add(int(one))
            taken.add(int(other))
    return len(paired)


def all_labels(*recordings: Sequence[Sequence[Event]]) -> list[Any]:
    """Return the labels that occur, sorted."""
    return sorted({event.label for each in recordings for row in each for event in row}, key=str)
