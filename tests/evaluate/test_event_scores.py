"""Scores of events: those of sed_scores_eval and sed_eval, on the same scenes; and what is refused."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from golden import make_event_scores as golden
from hypothesis import given, settings
from hypothesis import strategies as st

from l3clf import Event
from l3clf.classifier.decision import Answers
from l3clf.classifier.event_matching import Collars, as_events, matched
from l3clf.classifier.events import WindowAnswers
from l3clf.datasets.audacity import Label
from l3clf.errors import ParameterError
from l3clf.evaluate import PsdsCriteria, collar_scores, psds, segment_scores

KNOWN = json.loads(golden.PATH.read_text(encoding="utf-8"))
SCENES = KNOWN["scenes"]
TRUE = [[tuple(event) for event in each["events"]] for each in SCENES]
FOUND = [golden.found_events(each["scores"]) for each in SCENES]


def numbers(scores):
    return [scores.precision, scores.recall, scores.f1, scores.error_rate]


def windows_of(scores, hop_s=golden.HOP_S):
    """Answers whose windows are as long as the hop, so that each stands for itself."""
    borders = np.arange(len(scores) + 1) * hop_s
    return WindowAnswers(
        Answers(np.array(scores), np.ones(len(scores))), np.stack([borders[:-1], borders[1:]], axis=1), borders[-1]
    )


# -- against other implementations -----------------------------------------------------------------------------------


def check(found, known):
    for label in golden.CLASSES:
        assert numbers(found.classes[label]) == pytest.approx(known[label])
    assert numbers(found.macro) == pytest.approx(known["macro_average"])
    assert numbers(found.micro)[:3] == pytest.approx(known["micro_average"][:3])


@pytest.mark.parametrize("i", range(len(golden.COLLARS)))
def test_scores_by_events_are_those_of_sed_scores_eval(i):
    found = collar_scores(TRUE, FOUND, Collars(*golden.COLLARS[i]))
    check(found, KNOWN["sed_scores_eval"]["collar"][i])


@pytest.mark.parametrize("i", range(len(golden.SEGMENTS_S)))
def test_scores_by_segments_are_those_of_sed_scores_eval(i):
    found = segment_scores(TRUE, FOUND, golden.SEGMENTS_S[i])
    check(found, KNOWN["sed_scores_eval"]["segment"][i])


@pytest.mark.parametrize("i", range(len(golden.CRITERIA)))
def test_psds_is_that_of_sed_scores_eval(i):
    known = KNOWN["sed_scores_eval"]["psds"][i]
    found = psds(
        TRUE, [windows_of(each["scores"]) for each in SCENES], golden.CLASSES, PsdsCriteria(**golden.CRITERIA[i])
    )
    assert found.score == pytest.approx(known["score"], abs=1e-12)
    assert found.classes == pytest.approx(known["classes"])
    assert [*found.efpr, golden.CRITERIA[i]["max_efpr"]] == pytest.approx(known["efpr"])
    assert [*found.etpr, found.etpr[-1]] == pytest.approx(known["etpr"])


def test_error_rates_over_all_classes_are_those_of_sed_eval():
    """Which counts an event of the wrong class once; without scenes that have no true event, which it cannot take."""
    same = [collars for collars in golden.COLLARS if collars[0] == collars[1]]
    found = [collar_scores(TRUE[:5], FOUND[:5], Collars(*collars)) for collars in same]
    found += [collar_scores(TRUE[:5], FOUND[:5], Collars(0.5, None))]
    found += [segment_scores(TRUE[:5], FOUND[:5], segment) for segment in golden.SEGMENTS_S]
    known = [*KNOWN["sed_eval"]["collar"], KNOWN["sed_eval"]["onset_only"], *KNOWN["sed_eval"]["segment"]]
    for ours, theirs in zip(found, known, strict=True):
        assert [ours.micro.f1, ours.micro.error_rate] == pytest.approx(theirs["micro_average"])
        for label in golden.CLASSES:
            assert [ours.classes[label].f1, ours.classes[label].error_rate] == pytest.approx(theirs[label])


@pytest.mark.skipif(
    find_spec("sed_scores_eval") is None or find_spec("sed_eval") is None,
    reason="sed_scores_eval and sed_eval are not installed (the extra `events-test`)",
)
def test_the_golden_values_are_what_the_packages_say():
    made = json.loads(json.dumps(golden.make()))
    assert made["scenes"] == SCENES
    assert json.dumps(made, sort_keys=True) == json.dumps(KNOWN, sort_keys=True) or flat(made) == pytest.approx(
        flat(KNOWN)
    )


def flat(value):
    """All numbers of a document, in order; None as -1."""
    if isinstance(value, dict):
        return [number for key in sorted(value) for number in flat(value[key])]
    if isinstance(value, list):
        return [number for each in value for number in flat(each)]
    return [-1.0 if value is None else value] if not isinstance(value, str) else []


# -- known answers ---------------------------------------------------------------------------------------------------


def test_a_perfect_answer():
    found = collar_scores(TRUE[:5], TRUE[:5])
    assert numbers(found.micro) == numbers(found.macro) == [1, 1, 1, 0]
    assert numbers(segment_scores(TRUE[:5], TRUE[:5]).micro) == [1, 1, 1, 0]


def test_nothing_found():
    nothing = [[] for _ in TRUE]
    for found in (collar_scores(TRUE, nothing), segment_scores(TRUE, nothing)):
        assert numbers(found.micro) == [0, 0, 0, 1]
        assert numbers(found.macro) == [1, 0, 0, 1]  # of each class, all that was found is right


def test_a_class_without_true_events_counts_as_false_only():
    found = collar_scores([[(0, 1, "a")]], [[(0, 1, "a"), (5, 6, "b")]])
    assert found.classes["b"].n_found == 1
    assert np.isnan(found.classes["b"].recall)
    assert found.macro.f1 == 1
    assert found.micro.precision == 0.5


def test_a_wrong_class_is_one_error_and_not_two():
    assert collar_scores([[(0, 1, "a")]], [[(0, 1, "b")]]).micro.error_rate == 1
    assert segment_scores([[(0, 1, "a")]], [[(0, 1, "b")]]).micro.error_rate == 1
    assert collar_scores([[(0, 1, "a")]], [[(3, 4, "b")]]).micro.error_rate == 2


def test_an_event_is_matched_once():
    assert collar_scores([[(0, 1, "a")]], [[(0, 1, "a"), (0.1, 1, "a")]]).micro.precision == 0.5


def test_as_many_are_matched_as_can_be():
    """Taking the nearest first would leave the second true event without one."""
    true, found = np.array([[1.0, 2.0], [1.3, 2.0]]), np.array([[1.0, 2.0], [1.15, 2.0]])
    assert sorted(zip(*matched(true, found, Collars()), strict=True)) == [(0, 0), (1, 1)]


def test_collars_include_their_ends():
    for shift, right in ((0.2, 1), (0.2001, 0)):
        assert collar_scores([[(0.1, 1.1, "a")]], [[(0.1 + shift, 1.1, "a")]]).micro.n_right == right


def test_the_end_may_be_off_by_a_share_of_a_long_event():
    true, found = [[(0, 10, "a")]], [[(0, 6, "a")]]
    assert collar_scores(true, found).micro.f1 == 1
    assert collar_scores(true, found, Collars(offset_share=0.3)).micro.f1 == 0
    assert collar_scores(true, found, Collars(offset_s=None)).micro.f1 == 1


def test_a_segment_is_active_where_an_event_overlaps_it():
    found = segment_scores([[(0.9, 2.0, "a")]], [[(1.0, 2.1, "a")]]).micro
    assert (found.n_true, found.n_found, found.n_right) == (2, 2, 1)


def test_integers_are_labels():
    assert collar_scores([[Event(0, 1, 7)]], [[(0, 1, np.int64(7))]]).micro.f1 == 1


# -- PSDS ------------------------------------------------------------------------------------------------------------


def test_psds_of_a_perfect_answer_is_one():
    found = windows_of(np.eye(2)[[0, 0, 1, 1, 1, 0]])
    true = [[(0, 1, "a"), (2.5, 3, "a"), (1, 2.5, "b")]]
    assert psds(true, [found], ["a", "b"]).score == 1.0


def test_psds_of_the_same_score_everywhere_is_one_long_event():
    true = [[(0, 1, "a")]]
    assert psds(true, [windows_of(np.full((4, 1), 0.5))], ["a"]).score == 0.0
    assert psds(true, [windows_of(np.full((4, 1), 0.5))], ["a"], PsdsCriteria(0.5, 0.5)).score == 1.0


def test_classes_without_true_events_are_left_out():
    found = windows_of([[1, 0.5], [0, 0.5]])
    assert psds([[(0, 0.5, "a")]], [found], ["a", "b"]).classes == {"a": 1.0}


def naive_counts(scores, true, criteria, threshold):
    """True positives, false positives of one class of one recording, as the definition has it."""
    on = np.diff(np.pad((scores >= threshold).astype(int), 1))
    runs = np.stack([np.flatnonzero(on > 0), np.flatnonzero(on < 0)], axis=1) * 0.5
    inter = np.clip(np.minimum(runs[:, None, 1], true[:, 1]) - np.maximum(runs[:, None, 0], true[:, 0]), 0, None)
    relevant = np.round(inter.sum(1), 6) >= np.round(criteria.dtc * np.ptp(runs, axis=1), 6)
    covered = np.round((inter * relevant[:, None]).sum(0), 6) >= np.round(criteria.gtc * np.ptp(true, axis=1), 6)
    return covered.sum(), (~relevant).sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=25), st.integers(0, 100), st.sampled_from([0.1, 0.5, 0.7]))
def test_the_best_points_of_the_curve_are_those_of_counting_at_each_threshold(levels, seed, share):
    scores = np.array(levels, np.float64) / 10
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.uniform(0, 0.5 * len(levels), 3))
    true = np.stack([starts, starts + rng.uniform(0.1, 2, 3)], axis=1)  # some overlap each other
    criteria = PsdsCriteria(share, share, alpha_st=0, max_efpr=1e6)
    curve = psds([[(a, b, "x") for a, b in true]], [windows_of(scores[:, np.newaxis])], ["x"], criteria)
    hours = 0.5 * len(levels) / 3600
    points = [naive_counts(scores, true, criteria, t) for t in [9.0, *np.unique(scores)]]
    expected = np.array([max(tp for tp, fp in points if fp / hours <= x + 1e-9) / 3 for x in curve.efpr])
    assert curve.etpr == pytest.approx(expected)
    assert {round(fp / hours, 3) for _, fp in points} >= {round(x, 3) for x in curve.efpr}


def test_hours_are_scored_in_seconds():
    """Two hours; by comparing every threshold with every window, this would take minutes."""
    rng = np.random.default_rng(0)
    scores = np.clip(np.cumsum(rng.normal(0, 0.1, (14_400, 3)), axis=0) % 1, 0, 1)
    starts = np.sort(rng.uniform(0, 7100, 150))
    true = [(a, a + 5, "abc"[i % 3]) for i, a in enumerate(starts)]
    score = psds([true], [windows_of(scores)], list("abc"), PsdsCriteria(0.1, 0.1, 0.3, alpha_ct=0.5, max_efpr=1000))
    assert 0 < score.score < 1


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("dog", "events: type str; give a list of events for each recording"),
        (5, "events: type int"),
        ([(1, 2, "dog")], r"events\[0\]\[0\]: 1; expected an Event, or \(start_s, end_s, label\)"),
        ([5], r"events\[0\]: type int; expected the list of one recording's events"),
        ([Event(0, 1, "dog")], r"events\[0\]: type Event; expected the list"),
        ([[], [(1, "dog")]], r"events\[1\]\[0\]: \(1, 'dog'\); expected an Event"),
        ([[("a", 2, "dog")]], r"events\[0\]\[0\]: \('a', 2, 'dog'\); expected an Event"),
        ([[(2, 1, "dog")]], r"events\[0\]\[0\]: from 2 s to 1 s; give a start of 0 or more and an end after it"),
        ([[(1, 1, "dog")]], "from 1 s to 1 s"),
        ([[(-1, 1, "dog")]], "from -1 s to 1 s"),
        ([[(0, np.nan, "dog")]], "from 0 s to nan s"),
        ([[(0, np.inf, "dog")]], "from 0 s to inf s"),
        ([[(0, 1, "")]], "label ''; give the name of a class"),
        ([[(0, 1, None)]], "label None"),
        ([[(0, 1, np.nan)]], "label nan"),
        ([[(0, 1, ["dog"])]], r"label \['dog'\]"),
    ],
)
def test_malformed_events_are_refused(events, message):
    with pytest.raises(ParameterError, match=message):
        as_events(events)


def test_labels_of_a_track_are_events():
    assert as_events([[Label(1.0, 2.0, "dog", 1)]]) == [[Event(1.0, 2.0, "dog")]]


@pytest.mark.parametrize("score", [collar_scores, segment_scores])
def test_recordings_must_be_as_many(score):
    with pytest.raises(ParameterError, match="events: 1 lists; give one list of events for each of 2 clips"):
        score([[(0, 1, "a")], []], [[]])
    with pytest.raises(ParameterError, match="none is annotated"):
        score([[]], [[(0, 1, "a")]])


def test_psds_refuses_what_it_cannot_score():
    found = [windows_of(np.ones((2, 1)))]
    with pytest.raises(ParameterError, match="label 'b' is none of the classes"):
        psds([[(0, 1, "b")]], found, ["a"])
    with pytest.raises(ParameterError, match="none is annotated"):
        psds([[]], found, ["a"])
    with pytest.raises(ParameterError, match=r"X\[1\]: no windows"):
        psds([[(0, 1, "a")], []], [*found, windows_of(np.ones((0, 1)))], ["a"])
    with pytest.raises(ParameterError, match="2 lists; give one list of events for each of 1 clips"):
        psds([[(0, 1, "a")], []], found, ["a"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dtc": 0}, "dtc=0; expected a share above 0, up to 1"),
        ({"gtc": "1"}, "gtc='1'"),
        ({"cttc": 2.0, "alpha_ct": 1}, "cttc=2.0"),
        ({"cttc": 0.3}, "cttc=0.3, alpha_ct=0.0; give both"),
        ({"alpha_ct": 0.5}, "cttc=None, alpha_ct=0.5; give both"),
        ({"alpha_st": -1}, "alpha_st=-1"),
        ({"max_efpr": np.inf}, "max_efpr=inf"),
    ],
)
def test_criteria_are_checked(wrong, message):
    with pytest.raises(ParameterError, match=message):
        PsdsCriteria(**wrong)


@pytest.mark.parametrize("wrong", [{"onset_s": -1}, {"offset_s": np.nan}, {"offset_share": None}, {"onset_s": None}])
def test_collars_are_checked(wrong):
    with pytest.raises(ParameterError, match="expected a number of 0 or more"):
        Collars(**wrong)


@pytest.mark.parametrize("wrong", [0, -1.0, np.nan, "1", None])
def test_segments_have_a_length(wrong):
    with pytest.raises(ParameterError, match="segment_s="):
        segment_scores(TRUE, FOUND, wrong)
