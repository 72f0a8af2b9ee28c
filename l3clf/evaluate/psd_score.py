"""The polyphonic sound detection score (PSDS): events at every threshold at once, as an area under a curve.

Rule: the definition is that of psds_eval and sed_scores_eval, over all thresholds exactly. Bilen et al., "A framework
for the robust evaluation of sound event detection", ICASSP 2020; Ebbers et al., "Threshold independent evaluation of
sound event detection scores", ICASSP 2022.

Runs of windows above a threshold are nested: as it falls, they grow and join. A recording of n windows has at most n
different runs, each of which is there for one range of thresholds. All counts are sums over such ranges, so that hours
take no longer than their minutes do.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.event_matching import DECIMALS, Spans, as_events, check_labels, spans_by_label, spans_of
from l3clf.classifier.events import EventRules, WindowAnswers, cell_edges, smoothed_scores
from l3clf.errors import ParameterError

__all__ = ["PsdScore", "PsdsCriteria", "psds"]

SECONDS_PER_HOUR = 3600.0

Numbers: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]
Curve: TypeAlias = tuple[Numbers, Numbers]
"""Effective false alarms an hour, ascending, and the rate of true positives for each."""


@dataclass(frozen=True)
class PsdsCriteria:
    """What PSDS asks of events. The defaults are scenario 1 of DCASE's task 4: events are to be found when they are.

    Scenario 2, where confusing classes is worse, is ``PsdsCriteria(0.1, 0.1, 0.3, alpha_ct=0.5)``.

    Parameters
    ----------
    dtc : float, default=0.7
        Detection tolerance: the share of a found event that must be inside true events of its class.
    gtc : float, default=0.7
        Ground truth intersection: the share of a true event that found events must cover.
    cttc : float or None, default=None
        Cross-trigger tolerance: the share of a false event inside true events of another class that makes it a
        confusion of the two.
    alpha_ct : float, default=0.0
        How much confusions count as false alarms, besides what they are; needs `cttc`.
    alpha_st : float, default=1.0
        How much differences between classes cost: times the standard deviation of their curves.
    max_efpr : float, default=100.0
        Effective false alarms an hour up to which the area counts.

    Raises
    ------
    ParameterError
        If one is out of its range, or only one of `cttc` and `alpha_ct` is given.
    """

    dtc: float = 0.7
    gtc: float = 0.7
    cttc: float | None = None
    alpha_ct: float = 0.0
    alpha_st: float = 1.0
    max_efpr: float = 100.0

    def __post_init__(self) -> None:
        for name in ("dtc", "gtc", "cttc"):
            value = getattr(self, name)
            if not (value is None and name == "cttc") and not 0 < _number(value) <= 1:
                raise ParameterError(f"{name}={value!r}; expected a share above 0, up to 1")
        for name in ("alpha_ct", "alpha_st"):
            if not 0 <= _number(getattr(self, name)) < np.inf:
                raise ParameterError(f"{name}={getattr(self, name)!r}; expected a number of 0 or more")
        if not 0 < _number(self.max_efpr) < np.inf:
            raise ParameterError(f"max_efpr={self.max_efpr!r}; expected a positive number of false alarms an hour")
        if (self.cttc is None) != (self.alpha_ct == 0):
            raise ParameterError(
                f"cttc={self.cttc!r}, alpha_ct={self.alpha_ct!r}; give both for confusions, or neither"
            )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else np.nan


@dataclass(frozen=True)
class PsdScore:
    """A polyphonic sound detection score.

    Attributes
    ----------
    score : float
        From 0 to 1.
    classes : dict of label to float
        The area under the curve of each class, from 0 to 1.
    efpr, etpr : array of shape (n_points,)
        The curve: effective false alarms an hour, and the effective rate of true positives that is reached with them.
    """

    score: float
    classes: Mapping[Any, float]
    efpr: Numbers
    etpr: Numbers


def psds(
    true: Iterable[Iterable[Any]],
    found: Sequence[WindowAnswers],
    classes: Sequence[Any] | NDArray[Any],
    criteria: PsdsCriteria | None = None,
    median_s: float = 0.0,
) -> PsdScore:
    """Return the polyphonic sound detection score of windows' answers.

    Parameters
    ----------
    true : iterable of iterable
        The events of each recording: `Event`s, or tuples (start_s, end_s, label).
    found : sequence of WindowAnswers
        Of each recording; see `ClipClassifier.window_answers`.
    classes : sequence of labels
        Of the answers' columns. Those without a true event are left out.
    criteria : PsdsCriteria or None, default=None
        None are the default ones.
    median_s : float, default=0.0
        Length of a median filter of the scores; see `EventRules`.

    Returns
    -------
    PsdScore

    Raises
    ------
    ParameterError
        If the numbers of recordings differ, a recording failed, there is no true event, or one is malformed or of
        another class.
    """
    criteria = PsdsCriteria() if criteria is None else criteria
    EventRules(median_s=median_s).check()
    rows = as_events(true, len(found))
    columns = {label: k for k, label in enumerate(np.asarray(classes).tolist())}
    labels = check_labels(rows, classes)
    if empty := [i for i, each in enumerate(found) if not len(each.times_s)]:
        raise ParameterError(f"X[{empty[0]}]: no windows, as of a clip that failed; leave it out")
    spans = [spans_by_label(row) for row in rows]
    edges = [cell_edges(each.times_s, each.duration_s) for each in found]
    scores = [smoothed_scores(each.answers, each.times_s, median_s) for each in found]
    hours = sum(each[-1] - each[0] for each in edges) / SECONDS_PER_HOUR
    curves = {}
    for label in labels:
        changes = [
            _changes(own[:, columns[label]], edge, label, labels, true_spans, criteria)
            for own, edge, true_spans in zip(scores, edges, spans, strict=True)
        ]
        curves[label] = _class_curve(np.concatenate(changes), label, labels, spans, hours, criteria)
    efpr, etpr = _joined(list(curves.values()), criteria)
    by_class = {label: _area(*curve, criteria.max_efpr) for label, curve in curves.items()}
    return PsdScore(_area(efpr, etpr, criteria.max_efpr), by_class, efpr, etpr)


# Changes are rows of: score at which something changes as the threshold falls to it; by how much the number of true
# positives changes, that of false positives, and that of confusions with each label.


def _changes(
    scores: Numbers,
    edges: Numbers,
    label: Any,
    labels: Sequence[Any],
    true: Mapping[Any, Spans],
    criteria: PsdsCriteria,
) -> Numbers:
    first, stop, high, low = _nested_runs(scores)
    span = np.stack([edges[first], edges[stop]], axis=1)
    length = span[:, 1] - span[:, 0]
    span, length, high, low = (each[length > 0] for each in (span, length, high, low))
    own = true.get(label, spans_of([]))
    relevant = np.round(_inside(span, own), DECIMALS) >= np.round(criteria.dtc * length, DECIMALS)
    counts = np.zeros((len(span), 2 + len(labels)))
    counts[:, 1] = ~relevant
    for k, other in enumerate(labels):
        if criteria.cttc is not None and other != label and other in true:
            inside = np.round(_inside(span, true[other]), DECIMALS)
            counts[:, 2 + k] = ~relevant & (inside >= np.round(criteria.cttc * length, DECIMALS))
    # A run comes when the threshold falls to its lowest score, and goes when it falls to its higher neighbour.
    come = np.column_stack([high, counts])
    go = np.column_stack([low, -counts])[np.isfinite(low)]
    covered = [_covered(one, span[relevant], high[relevant], low[relevant], criteria.gtc) for one in own]
    right = np.zeros((sum(map(len, covered)), come.shape[1]))
    if covered:
        right[:, :2] = np.concatenate(covered)
    return np.concatenate([come, go, right])


def _nested_runs(scores: Numbers) -> tuple[Indices, Indices, Numbers, Numbers]:
    """Return every run of windows that some threshold makes: first, stop, lowest score in it, highest beside it."""
    values = [-np.inf, *scores.tolist(), -np.inf]
    before, after = [0] * len(values), [0] * len(values)  # the nearest lower window on each side
    rising = [0]
    for i in range(1, len(values)):
        while values[rising[-1]] > values[i]:
            after[rising.pop()] = i
        before[i] = before[rising[-1]] if values[rising[-1]] == values[i] else rising[-1]
        rising.append(i)
    ends, lowest = np.unique(np.stack([before[1:-1], after[1:-1]], axis=1), axis=0, return_index=True)
    beside = np.asarray(values)[ends].max(axis=1)
    return ends[:, 0], ends[:, 1] - 1, scores[lowest], beside


def _inside(span: Spans, true: Spans) -> Numbers:
    """Return for how long each span is inside true events, those that overlap each other counted each."""
    return _before(span[:, 1], true) - _before(span[:, 0], true)


def _before(times: Numbers, true: Spans) -> Numbers:
    total = np.zeros(len(times))
    for border, sign in zip(np.sort(true.T, axis=1), (1, -1), strict=True):
        sums = np.concatenate([[0.0], np.cumsum(border)])
        n = np.searchsorted(border, times)
        total += sign * (n * times - sums[n])
    return total


def _covered(true: Numbers, span: Spans, high: Numbers, low: Numbers, gtc: float) -> Numbers:
    """Return where, as the threshold falls, runs begin and cease to cover enough of a true event."""
    inside = np.minimum(span[:, 1], true[1]) - np.maximum(span[:, 0], true[0])
    some, joins = inside > 0, (inside > 0) & np.isfinite(low)
    levels, row = np.unique(np.concatenate([high[some], low[joins]]), return_inverse=True)
    change = np.bincount(row, np.concatenate([inside[some], -inside[joins]]), len(levels))
    total = np.cumsum(change[::-1])[::-1]  # of the runs that are there at each level
    enough = np.round(total, DECIMALS) >= np.round(gtc * (true[1] - true[0]), DECIMALS)
    step = enough.astype(np.int8) - np.append(enough[1:], False)
    steps: Numbers = np.column_stack([levels, step])[step != 0]
    return steps


def _class_curve(
    changes: Numbers,
    label: Any,
    labels: Sequence[Any],
    true: Sequence[Mapping[Any, Spans]],
    hours: float,
    criteria: PsdsCriteria,
) -> Curve:
    """Return the curve of one class: its effective false alarms an hour, and the highest rate of true positives."""
    _, row = np.unique(changes[:, 0], return_inverse=True)
    n_levels = int(row.max(initial=-1)) + 1
    steps = np.stack([np.bincount(row, column, n_levels) for column in changes[:, 1:].T], axis=1)
    counts = np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(steps[::-1], axis=0)])
    tpr: Numbers = counts[:, 0] / sum(len(each.get(label, ())) for each in true)
    efpr = counts[:, 1] / hours
    others = [k for k, other in enumerate(labels) if other != label]
    if criteria.cttc is not None and others:
        lasting = [
            sum(float(np.ptp(each[labels[k]], axis=1).sum()) for each in true if labels[k] in each) for k in others
        ]
        efpr = efpr + criteria.alpha_ct * (counts[:, 2:][:, others] / lasting * SECONDS_PER_HOUR).mean(axis=1)
    order = np.lexsort([tpr, efpr])
    efpr, tpr = efpr[order], np.maximum.accumulate(tpr[order])
    best = np.append(np.diff(efpr) > 0, True) & (efpr <= criteria.max_efpr)  # of several with as many false alarms
    efpr, tpr = efpr[best], tpr[best]
    rises = np.append(True, np.diff(tpr) > 0)[: len(tpr)]
    return efpr[rises], tpr[rises]


def _joined(curves: Sequence[Curve], criteria: PsdsCriteria) -> Curve:
    """Return the curve of all classes: the mean of theirs, less their spread."""
    efpr = np.unique(np.concatenate([curve[0] for curve in curves]))
    # A curve is flat between its points, and begins with its first.
    rates = [np.append(0.0, tpr)[np.searchsorted(own, efpr, "right")] for own, tpr in curves]
    etpr = np.mean(rates, axis=0) - criteria.alpha_st * np.std(rates, axis=0)
    return efpr, np.maximum(etpr, 0.0)


def _area(efpr: Numbers, tpr: Numbers, max_efpr: float) -> float:
    return float((np.diff(np.append(efpr, max_efpr)) * tpr).sum() / max_efpr)
