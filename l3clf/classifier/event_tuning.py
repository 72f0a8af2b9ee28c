"""Choosing the rules of events on recordings whose events are known.

Rule: windows are answered once; every choice of rules is then tried on these answers. First all pairs of a threshold
and a median filter are tried, then one parameter after the other is changed for as long as that finds more. Of choices
that are as good the first is taken, and defaults are tried first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.event_matching import Collars, Spans, matched, spans_by_label
from l3clf.classifier.events import LEAVE_SHARE, Event, EventRules, WindowAnswers, find_events

__all__ = ["tuned_rules"]

# What is tried besides the default, which comes first.
ENTER = (0.85, 0.7, 0.9, 0.6, 0.95, 0.5, 0.98, 0.4, 0.3, 0.2, 0.1, 0.05)
LEAVE_SHARES = (LEAVE_SHARE, 0.7, 0.3, 0.85, 1.0)
MEDIAN_WINDOWS = (3, 1, 5, 7, 11)
MIN_DURATIONS_S = (0.0, 1.0, 1.5, 2.0, 3.0)
MIN_GAPS_S = (0.0, 0.6, 1.1, 1.6, 2.1, 3.6, 5.1)
MAX_ROUNDS = 5  # two or three are usual

Choice = tuple[tuple[str, float], ...]


def tuned_rules(
    found: Sequence[WindowAnswers],
    true: Sequence[Sequence[Event]],
    classes: Sequence[Any] | NDArray[Any],
    threshold: float | NDArray[np.float64] | None = None,
    collars: Collars | None = None,
) -> EventRules:
    """Return the rules that find the true events best.

    Parameters
    ----------
    found : sequence of WindowAnswers
        Of each recording; those of a recording that failed have no windows.
    true : sequence of sequence of Event
        The events of each recording.
    classes : sequence of labels
        Of the answers' columns.
    threshold : float, array of shape (n_classes,) or None
        Of the model; see `find_events`.
    collars : Collars or None, default=None
        How close to a true event a found one must be; None is the default of `Collars`.

    Returns
    -------
    EventRules
        Those with the highest F1 of all events together.
    """
    used = [i for i, each in enumerate(found) if len(each.times_s)]
    search = _Search(
        [found[i] for i in used],
        [spans_by_label(true[i]) for i in used],
        np.asarray(classes),
        threshold,
        Collars() if collars is None else collars,
    )
    hop_s = min((float(np.diff(each.times_s[:2, 0])[0]) for each in search.found if len(each.times_s) > 1), default=0.5)
    default = EventRules()
    steps: Mapping[str, Sequence[float]] = {
        "enter": (default.enter, *ENTER),
        "median_s": (default.median_s, *(n * hop_s for n in MEDIAN_WINDOWS)),
        "leave_share": LEAVE_SHARES,
        "min_gap_s": (default.min_gap_s, *MIN_GAPS_S),
        "min_duration_s": (default.min_duration_s, *MIN_DURATIONS_S),
    }
    best = {name: values[0] for name, values in steps.items()}
    pairs = [{**best, "enter": enter, "median_s": m} for m in steps["median_s"] for enter in steps["enter"]]
    best = max(pairs, key=search.f1)  # the first of several
    for _ in range(MAX_ROUNDS):
        before = best
        for name, values in steps.items():
            best = max([best, *({**best, name: value} for value in values)], key=search.f1)
        if best == before:
            break
    return search.rules(best)


class _Search:
    """Tries rules, each once."""

    def __init__(
        self,
        found: Sequence[WindowAnswers],
        true: Sequence[Mapping[Any, Spans]],
        classes: NDArray[Any],
        threshold: float | NDArray[np.float64] | None,
        collars: Collars,
    ) -> None:
        self.found, self._true, self._classes, self._collars = found, true, classes, collars
        self._threshold = threshold
        self._known: dict[Choice, float] = {}

    def rules(self, choice: Mapping[str, float]) -> EventRules:
        """Return the rules of a choice, whose threshold to leave by is a share of that to enter by."""
        rest = dict(choice)
        share = rest.pop("leave_share")
        rules: EventRules = EventRules().set_params(**rest)
        if share != LEAVE_SHARE:
            rules.leave = round(share * rules.enter, 6)
        return rules

    def f1(self, choice: Mapping[str, float]) -> float:
        """Return the F1 of all events together."""
        key = tuple(sorted(choice.items()))
        if key not in self._known:
            self._known[key] = self._f1(self.rules(choice))
        return self._known[key]

    def _f1(self, rules: EventRules) -> float:
        n_right = n = 0
        for each, true in zip(self.found, self._true, strict=True):
            events = find_events(
                each.answers, each.times_s, self._classes, rules, threshold=self._threshold, duration_s=each.duration_s
            )
            n += len(events) + sum(map(len, true.values()))
            found = spans_by_label(events)
            for label in true.keys() & found.keys():
                n_right += len(matched(true[label], found[label], self._collars)[0])
        return 2 * n_right / n if n else 0.0
