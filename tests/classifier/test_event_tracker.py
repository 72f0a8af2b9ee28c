"""Events as they begin and end: known answers, and those that a whole recording has."""

import numpy as np
import pytest

from l3clf import EventRules
from l3clf.classifier.decision import Answers
from l3clf.classifier.event_tracker import EventTracker, in_ms
from l3clf.classifier.events import find_events
from l3clf.errors import ParameterError

HOP_S = 0.5


def rules(enter=0.5, leave=0.25, min_duration_s=0.0, min_gap_s=0.0, refractory_s=0.0):
    return EventRules(enter, leave, 0, min_duration_s, min_gap_s, refractory_s)


def told(scores, used, first=1, threshold=None):
    """When which event was told of: (window, "+" or "-", first, last), or "end" where it took the end of the stream."""
    tracker = EventTracker(1, HOP_S, used, threshold)
    out = []
    for window, score in enumerate(scores, first):
        out += [(window, "-+"[event.begins], event.first, event.last) for event in tracker.push(window, [score])]
    return out + [("end", "-+"[event.begins], event.first, event.last) for event in tracker.end()]


def test_an_event_begins_at_enter_and_has_ended_below_leave():
    assert told([0, 0.4, 0.5, 0.3, 0.24, 0.4], rules()) == [(3, "+", 3, 3), (5, "-", 3, 4)]


def test_it_is_told_of_when_it_has_lasted():
    used = rules(min_duration_s=1.5)
    assert told([1, 1, 0, 1, 1, 1, 1, 0], used) == [(6, "+", 4, 6), (8, "-", 4, 7)]
    assert told([1, 1, 1], used) == [(3, "+", 1, 3), ("end", "-", 1, 3)]
    assert told([1, 1], used) == []


def test_gaps_are_bridged_and_what_is_bridged_lasts():
    used = rules(min_duration_s=1.5, min_gap_s=1.0)
    assert told([1, 0, 1, 0, 0, 0], used) == [(3, "+", 1, 3), (5, "-", 1, 3)]
    assert told([1, 0, 0, 1, 0, 1], used) == [(6, "+", 4, 6), ("end", "-", 4, 6)]


def test_none_begins_in_the_refractory_time():
    used = rules(refractory_s=1.5)
    assert told([1, 0, 1, 1, 1, 0], used) == [(1, "+", 1, 1), (2, "-", 1, 1), (5, "+", 5, 5), (6, "-", 5, 5)]
    assert told([1, 0, 1, 1, 0.3, 0], used)[2:] == []
    assert told([1, 0, 1, 0], rules(refractory_s=1.5, min_duration_s=1.0)) == []  # what is dropped has none


def test_the_score_is_the_highest_so_far():
    tracker = EventTracker(1, HOP_S, rules(min_duration_s=1.0))
    found = [event for w, score in enumerate([0.6, 0.7, 0.9, 0.3, 0]) for event in tracker.push(w, [score])]
    assert [event.score for event in found] == [pytest.approx(0.7), pytest.approx(0.9)]


def test_labels_are_on_their_own_and_each_has_its_threshold():
    tracker = EventTracker(3, HOP_S, rules(), np.array([0.0, 0.9, 0.4]))
    assert [event.label for event in tracker.push(1, [0.8, 0.8, 0.8])] == [0, 2]
    assert [event.label for event in tracker.push(2, [0.8, 0.9, 0.3])] == [1]
    assert [(event.label, event.begins) for event in tracker.push(3, [0.1, 0.3, 0.1])] == [(0, False), (2, False)]


def test_leave_is_half_of_the_score_to_enter_with_unless_given():
    assert told([0.8, 0.4, 0.39], rules(leave=None), threshold=0.8) == [(1, "+", 1, 1), (3, "-", 1, 2)]


def test_nothing_is_heard_in_zeros_and_in_nan():
    assert told([0, np.nan, 1, np.nan], rules(enter=1e-9, leave=None)) == [(3, "+", 3, 3), (4, "-", 3, 3)]


@pytest.mark.parametrize("window", [1, 2, 3, 5, 2**32 - 1])
def test_another_window_than_the_next_is_another_stream(window):
    """What has begun ends before it, and neither a gap nor a refractory time reaches over."""
    tracker = EventTracker(2, HOP_S, rules(min_gap_s=50, refractory_s=50))
    tracker.push(3, [1, 0])
    found = [(event.begins, event.label, event.first, event.last) for event in tracker.push(window, [1, 1])]
    assert found == [(False, 0, 3, 3), (True, 0, window, window), (True, 1, window, window)]


def test_numbers_of_windows_wrap_around():
    used = rules(min_duration_s=1.0, min_gap_s=1.0, refractory_s=2.0)
    scores = [1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 0, 0]
    plain = told(scores, used, first=100)
    tracker, out = EventTracker(1, HOP_S, used), []
    for place, score in enumerate(scores):
        out += [(place, event.begins) for event in tracker.push((2**32 - 3 + place) % 2**32, [score])]
    assert out == [(window - 100, sign == "+") for window, sign, _, _ in plain]
    assert len(out) == 4


def test_durations_are_rounded_up_to_windows_and_longest_ones_fit():
    used = rules(min_duration_s=0.501, min_gap_s=0.3, refractory_s=1e9)
    tracker = EventTracker(1, 0.1, used)
    assert (tracker.min_duration, tracker.min_gap) == (6, 3)
    assert in_ms(1e9) == 2**32 - 1
    assert tracker.refractory == 42_949_673
    with pytest.raises(ParameterError, match="refractory_s=-1; expected"):
        EventTracker(1, 0.5, EventRules(refractory_s=-1))


@pytest.mark.parametrize("seed", range(150))
def test_events_are_those_of_the_whole_recording(seed):
    """Silent windows at both ends: a recording's first and last window stand for more than a hop."""
    rng = np.random.default_rng(seed)
    n, n_labels = 80, 2
    scores = np.round(rng.choice([0.0, 0.25, 0.4, 0.5, 0.8, 1.0], (n, n_labels)), 3)
    scores[[0, -1]] = 0
    hops = [HOP_S * int(k) for k in rng.integers(0, 6, 3)]
    used = EventRules(0.5, rng.choice([None, 0.25, 0.5]), 0, *hops)
    threshold = rng.choice([None, 0.3, 0.8])
    times_s = np.arange(n)[:, np.newaxis] * HOP_S + [0.0, 1.0]
    whole = find_events(Answers(scores, np.ones(n)), times_s, range(n_labels), used, threshold=threshold)
    tracker = EventTracker(n_labels, HOP_S, used, threshold)
    found = [event for window in range(n) for event in tracker.push(window, scores[window])] + tracker.end()
    ended = [(0.25 + HOP_S * e.first, 0.75 + HOP_S * e.last, e.label, e.score) for e in found if not e.begins]
    expected = [(e.start_s, e.end_s, e.label, float(np.float32(e.score))) for e in whole]
    assert sorted(ended) == sorted(expected)
    assert sum(event.begins for event in found) == len(expected)
