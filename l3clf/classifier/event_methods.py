"""What the classifier of clips does with events, as a base class of it.

Rule: each window is answered on its own, by the head that answers clips; `events` makes events of the answers.
"""

from collections.abc import Iterable
from contextlib import suppress
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
from l3clf.classifier.event_matching import Collars, as_events, check_labels
from l3clf.classifier.event_tuning import tuned_rules
from l3clf.classifier.events import Event, EventRules, WindowAnswers, find_events
from l3clf.classifier.inputs import Item, as_sources
from l3clf.errors import AudioError, L3clfError, ParameterError
from l3clf.pipeline import Outcome

__all__ = ["EventMethods"]

ENTER_BY_DISTANCE = 0.5  # the share of a window at the edge of what is typical; those of typical ones are about 0.8


class EventMethods(ClipEstimator):
    """Events of a classifier of clips; see `ClipClassifier`, which has the parameters."""

    classes_: NDArray[Any]
    silence_learned_: bool | None
    pooling: str
    typicality_: Any
    event_rules_: EventRules | None = None  # fit sets it; a pickle of an earlier version has none

    def _answers_of_each(self, vectors: FloatArray, counts: NDArray[np.bool_]) -> Answers:
        raise NotImplementedError

    def gate_in_force(self) -> tuple[float | None, float]:
        """Return the gate that decides; see `ClipClassifier`."""
        raise NotImplementedError

    def threshold_in_force(self) -> float | NDArray[np.float64] | None:
        """Return the threshold that decides; see `ClipClassifier`."""
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
        warn_of_silence(self, items, outcomes)
        return [self._window_answers(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]

    def _window_answers(self, item: Item, outcome: Outcome) -> WindowAnswers:
        if isinstance(outcome, L3clfError):
            return WindowAnswers(Answers(np.zeros((0, len(self.classes_))), np.ones(0)), np.zeros((0, 2)), None)
        counts = above_gate(outcome.levels_dbfs, *self.gate_in_force())
        if self.silence_learned_ is False:  # the rule of silence, for pools of one window
            counts = counts & (outcome.levels_dbfs >= SILENT_DBFS)
        return WindowAnswers(self._answers_of_each(outcome.vectors, counts), outcome.times_s, _duration_s(item))

    def predict_events(self, X: Iterable[Any], rules: EventRules | None = None) -> list[list[Event]]:
        """Return the events in each clip: when which class was heard.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
        rules : EventRules or None, default=None
            How windows become events; None are the rules tuned for this model, or else the default ones. Where unknown
            sounds are told by distances (embedders without a bank), the default to enter by is 0.5.

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
            threshold=self.threshold_in_force(),
            duration_s=found.duration_s,
        )

    def tune_events(
        self, X: Iterable[Any], events: Iterable[Iterable[Any]], collars: Collars | None = None
    ) -> EventRules:
        """Choose the rules of `predict_events` on recordings whose events are known, and keep them.

        Recordings should be as long and as full of background as those that will come, and none of a training clip.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
            The recordings.
        events : iterable of iterable
            All events of each recording that are of the model's classes: `Event`s, tuples (start_s, end_s, label), or
            the labels of a label track (`l3clf.datasets.label_tracks.read_labels`).
        collars : Collars or None, default=None
            How close to a true event a found one must be to be right. None is the length of a window for its start,
            and for its end that or half of the event's length: windows know no more.

        Returns
        -------
        EventRules
            The rules with the highest F1 of all events together, kept as ``event_rules_`` and with the model's file.

        Raises
        ------
        ParameterError
            If there are no events, one is malformed or of none of the model's classes, there is not one list for each
            recording, or the pooling is "mean+std".
        """
        items = as_sources(X, self.sample_rate, self.full_scale)
        true = as_events(events, len(items))
        check_is_fitted(self)
        check_labels(true, self.classes_)
        window_s = self._own_embedder().window_s
        close = Collars(window_s, window_s) if collars is None else collars
        self.event_rules_ = tuned_rules(
            self.window_answers(items), true, self.classes_, self.threshold_in_force(), close
        )
        return self.event_rules_

    def _rules(self, asked: EventRules | None) -> EventRules:
        # Scores from distances seldom reach the usual default, even those of training clips.
        default = EventRules() if getattr(self, "typicality_", None) is None else EventRules(enter=ENTER_BY_DISTANCE)
        used = next((rules for rules in (asked, self.event_rules_) if rules is not None), default)
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
