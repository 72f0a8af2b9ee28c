"""Windows to events: known answers, and what holds for whatever scores."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from l3clf import Event, EventRules
from l3clf.classifier.decision import Answers
from l3clf.classifier.events import cell_edges, find_events
from l3clf.errors import ParameterError

HOP_S, WINDOW_S = 0.5, 1.0
PLAIN = EventRules(enter=0.5, median_s=0, min_duration_s=0, min_gap_s=0)


def windows(n, center=True):
    starts = np.arange(n) * HOP_S - (WINDOW_S / 2 if center else 0)
    return np.stack([starts, starts + WINDOW_S], axis=1)


def answers(*columns, known=None):
    """Probabilities of classes a, b... of windows, with the rest in a last class."""
    p = np.array(columns, np.float64).T.reshape(-1, len(columns))
    p = np.concatenate([p, 1 - p.sum(axis=1, keepdims=True)], axis=1)
    return Answers(p, np.ones(len(p)) if known is None else np.asarray(known, np.float64))


def of_a(scores, rules=PLAIN, **options):
    """Spans of class a, whose scores these are, in a recording of as many hops."""
    found = find_events(answers(scores), windows(len(scores)), ["a", "rest"], rules, **options)
    return [(event.start_s, event.end_s) for event in found if event.label == "a"]


def test_a_window_stands_for_the_hop_around_its_centre():
    assert of_a([0, 0, 1, 0, 0]) == [(0.75, 1.25)]


def test_neighbouring_windows_make_one_event():
    assert of_a([0, 0, 1, 1, 1, 0]) == [(0.75, 2.25)]


@pytest.mark.parametrize("center", [True, False])
def test_the_first_and_the_last_window_reach_the_ends(center):
    found = find_events(answers(np.ones(4)), windows(4, center), ["a", "rest"], PLAIN, duration_s=1.7)
    assert [(event.start_s, event.end_s) for event in found] == [(0.0, 1.7)]


def test_without_a_length_the_last_window_reaches_its_own_end():
    assert of_a([0, 1]) == [(0.25, 1.0)]


def test_one_window_is_the_whole_recording():
    assert of_a([1], EventRules(min_duration_s=0), duration_s=0.2) == [(0.0, 0.2)]


def test_windows_beyond_the_end_are_in_no_event():
    assert of_a([0, 0, 0, 1], duration_s=1.0) == []


def test_no_windows_no_events():
    assert find_events(answers(np.zeros(0)), windows(0), ["a", "rest"]) == []


def test_a_recording_that_is_cut_out_keeps_its_times():
    found = find_events(answers([0, 1, 1]), windows(3) + 60, ["a", "rest"], PLAIN)
    assert [(e.start_s, e.end_s) for e in found if e.label == "a"] == [(60.25, 61.5)]


def test_events_go_on_until_a_score_below_leave():
    rules = EventRules(enter=0.8, leave=0.4, median_s=0, min_gap_s=0)
    assert of_a([0.5, 0.8, 0.5, 0.4, 0.39, 0.5, 0.79], rules) == [(0.25, 1.75)]


def test_leave_is_half_of_enter_unless_given():
    rules = EventRules(enter=0.8, median_s=0, min_gap_s=0)
    assert of_a([0, 0.8, 0.4, 0.39], rules) == [(0.25, 1.25)]


def test_the_threshold_of_the_model_counts_where_it_is_higher():
    scores = [0.6, 0.0, 0.7, 0.0, 0.8]
    assert len(of_a(scores)) == len(of_a(scores, threshold=0.3)) == 3
    assert of_a(scores, threshold=0.7) == [(0.75, 1.25), (1.75, 2.5)]
    assert of_a(scores, threshold=np.array([0.8, 0.0])) == [(1.75, 2.5)]


def test_a_threshold_of_zero_finds_no_event_in_windows_that_do_not_count():
    zeros = Answers(np.zeros((3, 2)), np.ones(3))
    assert find_events(zeros, windows(3), ["a", "b"], PLAIN, threshold=0.0) == []


def test_scores_are_those_of_a_known_sound_of_the_class():
    found = find_events(answers([0.9, 0.9], known=[0.8, 0.3]), windows(2), ["a", "rest"], PLAIN, threshold=0.7)
    assert [(event.end_s, event.score) for event in found] == [(0.25, pytest.approx(0.72))]


def test_the_median_filter_drops_single_windows_and_bridges_them():
    rules = EventRules(median_s=1.5, min_gap_s=0)
    assert of_a([0, 1, 0, 0, 1, 1, 0, 1, 1, 0], rules) == [(1.75, 4.25)]


def test_the_median_filter_has_the_same_length_for_other_hops():
    half = np.arange(8)[:, np.newaxis] * HOP_S / 2 + [-0.5, 0.5]
    for width, survives in ((3, False), (4, True)):  # of seven windows
        p = (np.arange(8) < width + 2) & (np.arange(8) >= 2)
        found = find_events(answers(p), half, ["a", "rest"], EventRules(median_s=1.75))
        assert ("a" in [event.label for event in found]) is survives


def test_the_median_filter_may_be_longer_than_the_recording():
    assert of_a([1, 1], EventRules(median_s=100.0)) == [(0.0, 1.0)]


def test_gaps_are_closed_before_short_events_are_dropped():
    scores = [1, 0, 1, 0, 0, 0, 1, 0]
    rules = EventRules(median_s=0, min_gap_s=1.0, min_duration_s=1.0)
    assert of_a(scores, rules) == [(0.0, 1.25)]
    assert of_a(scores, EventRules(median_s=0, min_gap_s=1.51, min_duration_s=1.0)) == [(0.0, 3.25)]


def test_a_gap_of_just_the_least_length_stays():
    scores = [0, 1, 1, 0, 1, 1]
    assert len(of_a(scores, EventRules(median_s=0, min_gap_s=0.5))) == 2
    assert len(of_a(scores, EventRules(median_s=0, min_gap_s=0.51))) == 1


def test_after_an_event_none_of_its_class_begins_for_the_refractory_time():
    scores = [0, 1, 0, 1, 1, 1, 0, 1, 0, 0]
    rules = EventRules(enter=0.5, median_s=0, min_duration_s=0, min_gap_s=0)
    assert of_a(scores, rules) == [(0.25, 0.75), (1.25, 2.75), (3.25, 3.75)]
    # One that would have begun too early begins where the time is over, and its end counts for the next.
    assert of_a(scores, clone(rules).set_params(refractory_s=1.0)) == [(0.25, 0.75), (1.75, 2.75)]
    assert of_a(scores, clone(rules).set_params(refractory_s=1.01)) == [(0.25, 0.75), (2.25, 2.75)]
    assert of_a(scores, clone(rules).set_params(refractory_s=2.0)) == [(0.25, 0.75), (3.25, 3.75)]
    # A score that is above `leave` alone does not begin one there, and what is too short has no refractory time.
    assert of_a([1, 0, 1, 0.3, 0.3, 0], clone(rules).set_params(refractory_s=1.0)) == [(0.0, 0.25)]
    longer = clone(rules).set_params(refractory_s=2.0, min_duration_s=1.0)
    assert of_a([0, 1, 0, 1, 1, 0, 1, 1, 0], longer) == [(1.25, 2.25)]


def test_a_long_recording_full_of_events_takes_no_long_time():
    """Each event once: with a look at all windows after each event, this would take a minute."""
    n = 60_000
    scores = np.zeros((n, 1))
    scores[::2] = 1
    rules = EventRules(0.5, None, 0, 0, 0, refractory_s=1.5)
    times_s = np.arange(n)[:, np.newaxis] * 0.5 + [0.0, 1.0]
    found = find_events(Answers(scores, np.ones(n)), times_s, ["a"], rules)
    assert len(found) == n // 4
    assert (found[-1].start_s, found[-1].end_s) == (0.5 * (n - 4) + 0.25, 0.5 * (n - 4) + 0.75)


def test_the_refractory_time_is_of_each_class_alone():
    found = find_events(answers([0, 1, 0, 0, 0], [0, 0, 1, 0, 1]), windows(5), ["a", "b", "rest"], PLAIN)
    rules = clone(PLAIN).set_params(refractory_s=30.0)
    rested = find_events(answers([0, 1, 0, 0, 0], [0, 0, 1, 0, 1]), windows(5), ["a", "b", "rest"], rules)
    assert [event.label for event in found] == ["rest", "a", "b", "rest", "b"]
    assert rested == found[:3]


def test_classes_are_independent():
    """With thresholds below one half, several can be on at once."""
    rules = EventRules(enter=0.3, median_s=0, min_gap_s=0)
    found = find_events(answers([0.4, 0.4, 0], [0.1, 0.5, 0.5]), windows(3), ["a", "b", "rest"], rules)
    assert [event for event in found if event.label != "rest"] == [
        Event(0.0, 0.75, "a", 0.4),
        Event(0.25, 1.5, "b", 0.5),
    ]


def test_the_score_is_the_highest():
    found = find_events(answers([0.6, 0.9, 0.7]), windows(3), ["a", "rest"], PLAIN)
    assert [event.score for event in found] == [0.9]


def test_labels_are_pythons_own():
    found = find_events(answers([0.9]), windows(1), np.array([3, 7]), PLAIN)
    assert type(found[0].label) is int


def test_windows_of_nan_are_in_no_event():
    p = answers([1, 1, 1])
    p.probabilities[1] = np.nan
    found = find_events(p, windows(3), ["a", "rest"], PLAIN)
    assert [(event.start_s, event.end_s) for event in found] == [(0.0, 0.25), (0.75, 1.5)]


def test_three_hours_of_fifty_classes_take_well_under_a_second():
    rng = np.random.default_rng(0)
    n = 3 * 7200
    p = rng.dirichlet(np.full(50, 0.05), n // 4).repeat(4, axis=0)
    began = time.process_time()
    found = find_events(Answers(p, np.ones(n)), windows(n), [str(i) for i in range(50)])
    assert time.process_time() - began < 3.0  # a third of a second where nothing else runs
    assert len(found) > 100


# -- properties ------------------------------------------------------------------------------------------------------

RULES = st.builds(
    EventRules,
    enter=st.sampled_from([0.2, 0.5, 0.9]),
    leave=st.sampled_from([None, 0.1, 0.2]),
    median_s=st.sampled_from([0, 1.5, 2.5]),
    min_duration_s=st.sampled_from([0, 0.5, 1.2]),
    min_gap_s=st.sampled_from([0, 0.7, 2.0]),
)


@st.composite
def recordings(draw):
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    p = rng.dirichlet([0.2, 0.2, 0.2], n)
    p[rng.random(n) < 0.1] = 0
    return Answers(p, rng.uniform(0.5, 1, n)), windows(n), max(0.1, n * HOP_S - rng.uniform(0, 0.5))


@settings(max_examples=200, deadline=None)
@given(recordings(), RULES)
def test_events_are_inside_apart_and_long_enough(recording, rules):
    found, times_s, duration_s = recording
    events = find_events(found, times_s, "abc", rules, duration_s=duration_s)
    assert events == sorted(events, key=lambda event: (event.start_s, event.end_s, event.label))
    for label in "abc":
        own = [event for event in events if event.label == label]
        for event in own:
            assert 0 <= event.start_s < event.end_s <= duration_s
            assert event.end_s - event.start_s >= rules.min_duration_s - 1e-6
            assert rules.thresholds(3)[0][0] <= event.score <= 1
        for one, other in pairwise(own):
            assert other.start_s - one.end_s >= rules.min_gap_s - 1e-6
            assert other.start_s > one.end_s


@settings(max_examples=50, deadline=None)
@given(recordings(), RULES)
def test_events_as_scores_are_found_again(recording, rules):
    """What was found, given as scores of one and zero, gives the same events without any rules."""
    found, times_s, duration_s = recording
    events = find_events(found, times_s, "abc", rules, duration_s=duration_s)
    edges = cell_edges(times_s, duration_s)
    again = np.zeros((len(times_s), 3))
    for event in events:
        inside = (edges[:-1] >= event.start_s) & (edges[1:] <= event.end_s)
        again[inside, "abc".index(event.label)] = 1
    plain = find_events(Answers(again, np.ones(len(again))), times_s, "abc", PLAIN, duration_s=duration_s)
    spans = [(event.start_s, event.end_s, event.label) for event in events]
    assert [(event.start_s, event.end_s, event.label) for event in plain] == spans


# -- parameters ------------------------------------------------------------------------------------------------------


def test_rules_are_scikit_learns():
    rules = EventRules(enter=0.7, min_gap_s=2.0)
    assert clone(rules).get_params() == rules.get_params()
    assert rules.set_params(leave=0.2).leave == 0.2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"enter": 0}, "enter=0; expected a number above 0, up to 1"),
        ({"enter": 1.5}, "enter=1.5; expected a number"),
        ({"leave": np.nan}, "leave=nan; expected None"),
        ({"leave": "0.5"}, "leave='0.5'; expected None"),
        ({"enter": True}, "enter=True; expected a number"),
        ({"enter": None}, "enter=None; expected a number"),
        ({"enter": 0.4, "leave": 0.5}, "leave=0.5; expected a number up to enter=0.4"),
        ({"median_s": -1}, "median_s=-1; expected a number of seconds, 0 or more"),
        ({"min_duration_s": np.inf}, "min_duration_s=inf; expected"),
        ({"min_gap_s": None}, "min_gap_s=None; expected"),
        ({"refractory_s": -1}, "refractory_s=-1; expected a number of seconds, 0 or more"),
    ],
)
def test_parameters_out_of_range_are_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        find_events(answers([1]), windows(1), ["a", "rest"], EventRules(**wrong))
