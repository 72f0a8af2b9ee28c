"""From the windows of a recording to events: pieces of time with a label and a score.

Rule: windows overlap, so each stands for the instants that are nearer to its centre than to the centre of any other
window, within the recording. An instant then belongs to the window that has most of it on both sides, no instant
belongs to two, and windows that follow each other make one event without gaps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from sklearn.base import BaseEstimator

from l3clf.classifier.decision import Answers
from l3clf.errors import ParameterError

__all__ = ["Event", "EventRules", "WindowAnswers", "cell_edges", "find_events", "smoothed_scores", "window_scores"]

LEAVE_SHARE = 0.5
SAME_TIME_S = 1e-6  # sums of hops differ in their last digits

Times = NDArray[np.float64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """A piece of a recording in which a sound of one class was heard.

    Attributes
    ----------
    start_s, end_s : float
        Seconds from the start of the clip; an event of two neighbouring windows is two hops long.
    label : str, int, float or bool
        The class.
    score : float
        The highest score, after the median filter, of its windows, 0 to 1: the event would begin with any `enter` up to
        it.
    """

    start_s: float
    end_s: float
    label: Any
    score: float = 1.0


class EventRules(BaseEstimator):
    """How windows become events. All classes follow the same rules, each on its own.

    The score of a window for a class is the probability that the window is of a known class, times the probability of
    that class; a window that is below the gate, or is digital silence that was not learned, has score 0. Scores go
    through a median filter. An event begins with the first window at or above `enter` and ends before the first one
    below `leave`. Events of a label that are less than `min_gap_s` apart become one, then those shorter than
    `min_duration_s` are dropped. For `refractory_s` after the end of an event, windows have score 0 for its label.

    Parameters
    ----------
    enter : float, default=0.8
        Score with which an event begins, above 0, up to 1. The model's threshold counts where it is higher: below it a
        window is "unknown". It is often lower, since it is meant for clips that are likely to be of a class, while most
        windows of a long recording are of none: with it alone, most events would be false.
    leave : float or None, default=None
        Score below which an event ends, up to `enter`. None is half of the score with which it begins.
    median_s : float, default=1.5
        Length of the median filter in seconds, rounded to an odd number of windows, of which an event then needs more
        than half: two of three with the default hop. 0 is no filter.
    min_duration_s : float, default=0.5
    min_gap_s : float, default=2.5
    refractory_s : float, default=0.0
        So long after the end of an event none of the same label begins. It counts where it is more than `min_gap_s`.

    Examples
    --------
    >>> EventRules(enter=0.9).get_params()["enter"]
    0.9
    """

    refractory_s = 0.0  # of a pickle of an earlier version

    def __init__(
        self,
        enter: float = 0.8,
        leave: float | None = None,
        median_s: float = 1.5,
        min_duration_s: float = 0.5,
        min_gap_s: float = 2.5,
        refractory_s: float = 0.0,
    ) -> None:
        self.enter = enter
        self.leave = leave
        self.median_s = median_s
        self.min_duration_s = min_duration_s
        self.min_gap_s = min_gap_s
        self.refractory_s = refractory_s

    def check(self) -> None:
        """Check the parameters.

        Raises
        ------
        ParameterError
            If one is out of its range, or `leave` is above `enter`.
        """
        if not _is_share(self.enter):
            raise ParameterError(f"enter={self.enter!r}; expected a number above 0, up to 1")
        if self.leave is not None and not _is_share(self.leave):
            raise ParameterError(f"leave={self.leave!r}; expected None or a number above 0, up to 1")
        if self.leave is not None and self.leave > self.enter:
            raise ParameterError(f"leave={self.leave!r}; expected a number up to enter={self.enter!r}")
        for name in ("median_s", "min_duration_s", "min_gap_s", "refractory_s"):
            value = getattr(self, name)
            if not (_is_number(value) and 0 <= value < np.inf):
                raise ParameterError(f"{name}={value!r}; expected a number of seconds, 0 or more")

    def thresholds(
        self, n_classes: int, model_threshold: float | NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the scores with which events of each class begin, and below which they end."""
        highest = np.maximum(self.enter, 0.0 if model_threshold is None else model_threshold)
        enter = np.broadcast_to(np.asarray(highest, np.float64), n_classes)
        return enter, np.minimum(enter * LEAVE_SHARE if self.leave is None else self.leave, enter)


@dataclass(frozen=True, eq=False)
class WindowAnswers:
    """What a classifier says of each window of one clip, before any threshold.

    Attributes
    ----------
    answers : Answers
        A row for each window; zeros for windows that do not count.
    times_s : array of shape (n_windows, 2), float64
        Start and end of each window in seconds from the start of the clip.
    duration_s : float or None
        Length of the clip; None where it is not known, since its windows were embedded before.
    """

    answers: Answers
    times_s: NDArray[np.float64]
    duration_s: float | None


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def window_scores(answers: Answers) -> Scores:
    """Return the score of each window for each class, shape (n_windows, n_classes); 0 for windows that do not count."""
    scores: Scores = np.nan_to_num(answers.known_shares[:, np.newaxis] * answers.probabilities, nan=0.0)
    return scores


def smoothed_scores(answers: Answers, times_s: Times, median_s: float) -> Scores:
    """Return `window_scores` after the median filter; before its start and after its end, a recording stays as it is.

    Parameters
    ----------
    answers : Answers
        Of each window.
    times_s : array of shape (n_windows, 2)
    median_s : float
        See `EventRules`.
    """
    scores = window_scores(answers)
    if len(times_s) < 2 or median_s == 0:
        return scores
    size = 2 * round((median_s / (times_s[1, 0] - times_s[0, 0]) - 1) / 2) + 1
    if size < 3:
        return scores
    return np.asarray(median_filter(scores, size=(min(size, 2 * len(scores) - 1), 1), mode="nearest"))


def cell_edges(times_s: Times, duration_s: float | None = None) -> Times:
    """Return the borders of the pieces of time that windows stand for.

    Parameters
    ----------
    times_s : array of shape (n_windows, 2)
        Start and end of each window, n_windows at least 1.
    duration_s : float or None
        Length of the recording; None, where it is not known, is the end of the last window, less than a hop later.

    Returns
    -------
    array of shape (n_windows + 1,)
        Window i stands for the time from border i to border i + 1.

    Examples
    --------
    >>> cell_edges(np.array([[-0.5, 0.5], [0.0, 1.0], [0.5, 1.5]]), duration_s=1.2).tolist()
    [0.0, 0.25, 0.75, 1.2]
    """
    centres = times_s.mean(axis=1)
    first, last = max(0.0, times_s[0, 0]), times_s[-1, 1]
    end = last if duration_s is None else min(duration_s, last)
    borders: Times = np.concatenate([[first], (centres[1:] + centres[:-1]) / 2, [end]])
    return np.asarray(np.clip(borders, first, max(first, end)))


def find_events(
    answers: Answers,
    times_s: Times,
    classes: Sequence[Any] | NDArray[Any],
    rules: EventRules | None = None,
    *,
    threshold: float | NDArray[np.float64] | None = None,
    duration_s: float | None = None,
) -> list[Event]:
    """Return the events of one recording.

    Parameters
    ----------
    answers : Answers
        Of each window, in order of time.
    times_s : array of shape (n_windows, 2)
        Start and end of each window in seconds.
    classes : sequence of n_classes labels
    rules : EventRules or None, default=None
        None are the default rules.
    threshold : float, array of shape (n_classes,) or None
        Of the model, which counts where it is above `enter`.
    duration_s : float or None
        See `cell_edges`.

    Returns
    -------
    list of Event
        By start, end and class. Events of a class do not overlap; those of different classes may, with thresholds
        below 0.5. A window of NaN (a clip that failed) is in no event.

    Raises
    ------
    ParameterError
        If a rule is out of its range.

    Examples
    --------
    >>> p = np.array([0.1, 0.9, 0.9, 0.8, 0.1, 0.2])
    >>> times_s = np.arange(6)[:, np.newaxis] * 0.5 + [0.0, 1.0]
    >>> answers = Answers(np.stack([p, 1 - p], axis=1), known_shares=np.ones(6))
    >>> find_events(answers, times_s, ["bark", "rain"], EventRules(median_s=0, min_gap_s=0))
    [Event(start_s=0.0, end_s=0.75, label='rain', score=0.9), Event(start_s=0.75, end_s=2.25, label='bark', score=0.9),
    Event(start_s=2.25, end_s=3.5, label='rain', score=0.9)]
    """
    rules = EventRules() if rules is None else rules
    rules.check()
    if not len(times_s):
        return []
    scores = np.array(smoothed_scores(answers, times_s, rules.median_s).T, order="C")
    thresholds = rules.thresholds(len(scores), threshold)
    edges = cell_edges(times_s, duration_s)
    if rules.refractory_s > rules.min_gap_s:
        found = (_refractory(*each, edges, rules) for each in zip(scores, *thresholds, strict=True))
        on = np.array(list(found))
    else:
        on = _hysteresis(scores, *thresholds)
    return _runs(on, scores, edges, rules).events(np.asarray(classes).tolist())


def _runs(on: NDArray[np.bool_], scores: Scores, edges: Times, rules: EventRules) -> "_Runs":
    return _Runs.of(on, scores, edges).merged(rules.min_gap_s).longer(rules.min_duration_s)


def _refractory(scores: Scores, enter: float, leave: float, edges: Times, rules: EventRules) -> NDArray[np.bool_]:
    """Return where a class is on, for so long not after the end of each event; one event after the other."""
    n = len(scores)
    enters = np.flatnonzero((scores >= enter) & (scores > 0))
    leaves = np.flatnonzero((scores < leave) | (scores <= 0))

    def run(window: int) -> tuple[int, int]:
        """Return the first run that begins at this window or later; (n, n) if none does."""
        first = _item(enters, int(np.searchsorted(enters, window)), n)
        return first, _item(leaves, int(np.searchsorted(leaves, first)), n)

    on = np.zeros(n, np.bool_)
    begin, stop = run(0)
    while begin < n:
        on[begin:stop] = True
        start, following = begin, run(stop)
        while following[0] < n and edges[following[0]] - edges[stop] < rules.min_gap_s - SAME_TIME_S:
            begin, stop = following
            on[begin:stop] = True
            following = run(stop)
        length = edges[stop] - edges[start]
        if length > 0 and length >= rules.min_duration_s - SAME_TIME_S:
            after = edges[stop] - SAME_TIME_S + rules.refractory_s
            following = run(max(stop, int(np.searchsorted(edges[:-1], after))))
        begin, stop = following
    return on


def _item(values: NDArray[np.intp], place: int, otherwise: int) -> int:
    return int(values[place]) if place < len(values) else otherwise


def _hysteresis(scores: Scores, enter: Scores, leave: Scores) -> NDArray[np.bool_]:
    """Return where each class (row) is on: from a score at `enter` or above, until one below `leave`."""
    enters = (scores >= enter[:, np.newaxis]) & (scores > 0)
    leaves = (scores < leave[:, np.newaxis]) | (scores <= 0)
    position = np.arange(1, scores.shape[1] + 1)
    last_enter = np.maximum.accumulate(np.where(enters, position, 0), axis=1)
    last_leave = np.maximum.accumulate(np.where(leaves, position, 0), axis=1)
    return np.asarray(last_enter > last_leave)


@dataclass(frozen=True)
class _Runs:
    """Events of all classes as arrays, by class and then by time."""

    klass: NDArray[np.intp]
    start_s: Times
    end_s: Times
    score: Scores

    @classmethod
    def of(cls, on: NDArray[np.bool_], scores: Scores, edges: Times) -> "_Runs":
        step = np.diff(np.pad(on.astype(np.int8), ((0, 0), (1, 1))), axis=1)
        klass, first = np.nonzero(step > 0)
        _, stop = np.nonzero(step < 0)
        # A column more, so that a run may end with the last window; every second piece is a run.
        padded = np.pad(scores, ((0, 0), (0, 1)))
        bounds = np.stack([first, stop], axis=1) + klass[:, np.newaxis] * padded.shape[1]
        highest = np.maximum.reduceat(padded.ravel(), bounds.ravel())[::2] if len(klass) else np.zeros(0)
        return cls(klass, edges[first], edges[stop], highest)

    def merged(self, min_gap_s: float) -> "_Runs":
        """Join runs of a class that are less than this apart."""
        if len(self.klass) < 2:
            return self
        gap = self.start_s[1:] - self.end_s[:-1]
        apart = (np.diff(self.klass) != 0) | (gap >= min_gap_s - SAME_TIME_S)
        first = np.concatenate([[0], np.flatnonzero(apart) + 1])
        last = np.concatenate([first[1:], [len(self.klass)]]) - 1
        score = np.maximum.reduceat(self.score, first)
        return _Runs(self.klass[first], self.start_s[first], self.end_s[last], score)

    def longer(self, min_duration_s: float) -> "_Runs":
        """Drop runs shorter than this, and those beyond the end of the recording."""
        length = self.end_s - self.start_s
        kept = (length > 0) & (length >= min_duration_s - SAME_TIME_S)
        return _Runs(self.klass[kept], self.start_s[kept], self.end_s[kept], self.score[kept])

    def events(self, classes: Sequence[Any]) -> list[Event]:
        order = np.lexsort([self.klass, self.end_s, self.start_s])
        rows = zip(self.start_s[order], self.end_s[order], self.klass[order], self.score[order], strict=True)
        return [Event(float(start), float(end), classes[k], float(score)) for start, end, k, score in rows]
