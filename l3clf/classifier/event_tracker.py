"""Events of an endless stream of decisions, as they begin and end.

Rule: this is what ``l3clf_events.c`` does on a chip, to the last event: scores in float32, times in whole windows, each
window looked at once. The rules are those of `find_events` without its median filter, because a decision is about many
windows already.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l3clf.classifier.events import LEAVE_SHARE, EventRules

__all__ = ["EventTracker", "TrackedEvent", "in_ms"]

N_NUMBERS = 1 << 32  # of windows, before they begin again at 0
MAX_MS = N_NUMBERS - 1
ROUNDING = 1e-6  # of a duration in windows: 0.1 s is not exact in binary


@dataclass(frozen=True)
class TrackedEvent:
    """A sound that has begun, or has ended.

    Attributes
    ----------
    label : int
        Column of the scores.
    begins : bool
        Whether it has begun and goes on. Otherwise it has ended, and all about it is known.
    score : float
        The highest so far, 0 to 1.
    first, last : int
        Numbers of the first window in which it was heard and of the last one so far.
    """

    label: int
    begins: bool
    score: float
    first: int
    last: int


@dataclass
class _Track:
    first: int = 0
    last: int = 0
    score: float = 0.0
    on: bool = False  # the score has entered and not left
    open: bool = False  # it was heard, and not yet silent for the shortest gap
    begun: bool = False  # it has lasted for the shortest duration, and was told of
    quiet: bool = False  # the last one ended so recently that no other begins


def in_ms(duration_s: float) -> int:
    """Return a duration as a whole number of milliseconds that 32 bits hold."""
    return min(round(1000 * duration_s), MAX_MS)


class EventTracker:
    """Make events of the scores of decisions, one window after the other.

    Events of a label that are less than `min_gap_s` apart are one, so that an event has ended when its label was not
    heard for so long. It is told of when it has lasted for `min_duration_s`.

    Parameters
    ----------
    n_labels : int
        Classes or tags; each on its own.
    hop_s : float
        From one decision to the next.
    rules : EventRules or None, default=None
        None are the default ones. `median_s` is not used. Durations count in whole milliseconds, and are rounded up to
        whole windows.
    threshold : float, array of shape (n_labels,) or None
        Of the model, which counts where it is above `enter`.

    Raises
    ------
    ParameterError
        If a rule is out of its range.

    Examples
    --------
    >>> tracker = EventTracker(1, 0.5, EventRules(enter=0.5, min_duration_s=1.0, min_gap_s=1.0))
    >>> for window, score in enumerate([0.9, 0.1, 0.6, 0.3, 0.1, 0.0], start=1):
    ...     for event in tracker.push(window, [score]):
    ...         print(window, "begins" if event.begins else "has ended", event.first, event.last, round(event.score, 2))
    3 begins 1 3 0.9
    6 has ended 1 4 0.9
    """

    def __init__(
        self,
        n_labels: int,
        hop_s: float,
        rules: EventRules | None = None,
        threshold: float | NDArray[np.floating] | None = None,
    ) -> None:
        used = EventRules() if rules is None else rules
        used.check()
        thresholds = np.broadcast_to(np.asarray(0.0 if threshold is None else threshold, np.float32), n_labels)
        self._enter = np.maximum(np.float32(used.enter), thresholds)
        half = self._enter * np.float32(LEAVE_SHARE)
        self._leave = half if used.leave is None else np.full(n_labels, used.leave, np.float32)
        self.min_duration = _windows_in(used.min_duration_s, hop_s)
        self.min_gap = _windows_in(used.min_gap_s, hop_s)
        self.refractory = _windows_in(used.refractory_s, hop_s)
        self._window: int | None = None
        self._tracks = [_Track() for _ in range(n_labels)]

    def push(self, window: int, scores: ArrayLike) -> list[TrackedEvent]:
        """Take the scores of a decision; return what begins and what has ended.

        Parameters
        ----------
        window : int
            Number of its last window. If it is not that after the one before (modulo 2^32), a new stream begins, and
            what has begun ends before it.
        scores : array of shape (n_labels,)
            0 to 1; NaN is 0.

        Returns
        -------
        list of TrackedEvent
            By label, those of another stream first.
        """
        ended = self.end() if self._window not in (None, (window - 1) % N_NUMBERS) else []
        self._window = window
        values: Sequence[float] = np.asarray(scores, np.float32).tolist()
        found = [self._follow(label, window, score) for label, score in enumerate(values)]
        return ended + [event for event in found if event is not None]

    def end(self) -> list[TrackedEvent]:
        """End all that has begun, as at the end of a recording: the next decision is the first of a new stream."""
        found = [self._close(label) for label, track in enumerate(self._tracks) if track.open]
        self._tracks = [_Track() for _ in self._tracks]
        self._window = None
        return [event for event in found if event is not None]

    def _follow(self, label: int, window: int, score: float) -> TrackedEvent | None:
        track = self._tracks[label]
        since = (window - track.last) % N_NUMBERS
        track.quiet = track.quiet and since <= self.refractory
        enters, stays = score >= self._enter[label], track.on and score >= self._leave[label]
        track.on = bool(not track.quiet and score > 0 and (enters or stays))
        if track.on:
            return self._hear(label, window, score)
        return self._close(label) if track.open and since >= self.min_gap else None

    def _hear(self, label: int, window: int, score: float) -> TrackedEvent | None:
        track = self._tracks[label]
        if not track.open:
            track.open, track.first, track.score = True, window, score
        track.last, track.score = window, max(track.score, score)
        if track.begun or (window - track.first) % N_NUMBERS + 1 < self.min_duration:
            return None
        track.begun = True
        return TrackedEvent(label, True, track.score, track.first, track.last)

    def _close(self, label: int) -> TrackedEvent | None:
        track = self._tracks[label]
        event = TrackedEvent(label, False, track.score, track.first, track.last) if track.begun else None
        track.quiet, track.open, track.begun = track.begun, False, False
        return event


def _windows_in(duration_s: float, hop_s: float) -> int:
    return int(np.ceil(in_ms(duration_s) / (1000 * hop_s) - ROUNDING))
