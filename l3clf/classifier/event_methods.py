"""What the classifier of clips does with events, as a base class of it.

Rule: each window is answered on its own, by the head that answers clips; `events` makes events of the answers.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from l3clf.audio.clip import Clip, FloatArray, Samples
from l3clf.audio.decode import duration_s
from l3clf.audio.levels import SILENT_DBFS
from l3clf.classifier.clip_estimator import ClipEstimator
from l3clf.classifier.clip_warnings import warn_of_silence
from l3clf.classifier.decision import Answers, above_gate
from l3clf.classifier.events import Event, EventRules, find_events
from l3clf.classifier.inputs import Item, as_sources
from l3clf.errors import AudioError, L3clfError, ParameterError
from l3clf.pipeline import Outcome

__all__ = ["EventMethods", "WindowAnswers"]


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


class EventMethods(ClipEstimator):
    """Events of a classifier of clips; see `ClipClassifier`, which has the parameters."""

    classes_: NDArray[Any]
    silence_learned_: bool | None
    pooling: str
    unknown_threshold: float | None
    event_rules_: EventRules | None = None  # fit sets it; a pickle of an earlier version has none

    def answers(self, pools: Sequence[FloatArray]) -> Answers:
        """Return what the head says of pools of windows; see `ClipClassifier`."""
        raise NotImplementedError

    def _gate(self) -> tuple[float | None, float]:
        raise NotImplementedError

    def window_answers(self, X: Iterable[Any]) -> list[WindowAnswers]:
        """Return what the head says of each window of each clip, before any threshold: what events are made of.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        list of WindowAnswers
            One for each clip; one that failed (``on_error="nan"``) has no windows. Windows below the gate do not count,
            nor does any that is digital silence, unless silence was learned.

        Raises
        ------
        ParameterError
            If the pooling is "mean+std": a single window has no standard deviation.
        """
        check_is_fitted(self)
        self._check_parameters()  # set_params may have changed them since the fit
        if self.pooling == "mean+std":
            raise ParameterError("pooling='mean+std': a single window has no standard deviation; use 'mean'")
        items = as_sources(X, self.sample_rate, self.full_scale)
        outcomes = self._embed(items, self._own_embedder())
        warn_of_silence(items, outcomes, self._gate()[0], self.silence_learned_)
        return [self._window_answers(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]

    def _window_answers(self, item: Item, outcome: Outcome) -> WindowAnswers:
        if isinstance(outcome, L3clfError):
            return WindowAnswers(self.answers([]), np.zeros((0, 2)), None)
        counts = above_gate(outcome.levels_dbfs, *self._gate())
        if self.silence_learned_ is False:  # the rule of silence, for pools of one window
            counts = counts & (outcome.levels_dbfs >= SILENT_DBFS)
        pools = [outcome.vectors[i : i + int(one)] for i, one in enumerate(counts)]
        return WindowAnswers(self.answers(pools), outcome.times_s, _duration_s(item))

    def predict_events(self, X: Iterable[Any], rules: EventRules | None = None) -> list[list[Event]]:
        """Return the events in each clip: when which class was heard.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
        rules : EventRules or None, default=None
            How windows become events; None are the rules tuned for this model, or else the default ones.

        Returns
        -------
        list of list of Event
            For each clip its events by start, in seconds from the start of the clip; none for a clip that failed
            (``on_error="nan"``), which a warning names. "unknown" is no event.

        Raises
        ------
        ParameterError
            If a rule is out of its range, or the pooling is "mean+std".
        """
        used = self._rules(rules)
        return [self.events_of(found, used) for found in self.window_answers(X)]

    def events_of(self, found: WindowAnswers, rules: EventRules | None = None) -> list[Event]:
        """Return the events of one clip, from what `window_answers` returned; see `predict_events`."""
        return find_events(
            found.answers,
            found.times_s,
            self.classes_,
            self._rules(rules),
            threshold=self.unknown_threshold,
            duration_s=found.duration_s,
        )

    def _rules(self, asked: EventRules | None) -> EventRules:
        used = next((rules for rules in (asked, self.event_rules_) if rules is not None), EventRules())
        if not isinstance(used, EventRules):
            raise ParameterError(f"rules={used!r}; expected an EventRules or None")
        used.check()  # before any clip is read
        return used


def _duration_s(item: Item) -> float | None:
    """Return the length of a clip in seconds; None for embeddings, whose clip is not known."""
    if isinstance(item, Samples):
        return len(item.samples) / item.sample_rate
    if isinstance(item, Clip):
        with suppress(AudioError):  # it was good when it was embedded
            return duration_s(item)
    return None
