"""Events of a tagger: each tag on its own, so that they may overlap."""

import json

import numpy as np
import pytest
from golden.make_model_format_1 import RATE, noise, tone
from helpers.sound_files import write
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from l3clf import ClipTagger, EventRules, load_model, save_model
from l3clf.cli import main as cli
from l3clf.cli.predict_outputs import Answer, Rows
from l3clf.datasets.label_tracks import read_labels
from l3clf.datasets.raven import read_selections
from l3clf.errors import ParameterError

TONES, NOISES = [tone(660 + 10 * k) for k in range(8)], [noise(k) for k in range(8)]
X = [*TONES, *NOISES, *(a + b[: len(a)] for a, b in zip(TONES, NOISES, strict=True))]
Y = ["tone"] * 8 + ["noise"] * 8 + ["noise|tone"] * 8


def tagger(**options):
    head = make_pipeline(StandardScaler(), LogisticRegression(C=10, max_iter=3000))  # sure of what is easy
    return ClipTagger("mfcc", head=head, center=False, sample_rate=RATE, cache=None, **options)


@pytest.fixture(scope="module")
def model():
    return tagger().fit(X, Y)


def scene():
    """A tone from 2 s to 8 s and noise from 5 s to 12 s of twenty seconds."""
    sound = np.zeros(20 * RATE)
    at = slice(2 * RATE, 8 * RATE)
    sound[at] += 0.3 * np.sin(2 * np.pi * 700 * np.arange(6 * RATE) / RATE)
    sound[5 * RATE : 12 * RATE] += np.concatenate([noise(50 + k) for k in range(20)])[: 7 * RATE]
    return sound


def spans_of(events, label):
    return [(event.start_s, event.end_s) for event in events if event.label == label]


def test_tags_overlap_where_their_sounds_do(model):
    (events,) = model.predict_events([scene()])
    assert {event.label for event in events} == {"tone", "noise"}
    for label, true in (("tone", (2.0, 8.0)), ("noise", (5.0, 12.0))):
        (found,) = spans_of(events, label)
        assert np.abs(np.subtract(found, true)).max() <= 1.0
    assert spans_of(events, "noise")[0][0] < spans_of(events, "tone")[0][1] - 1.5
    assert [event.start_s for event in events] == sorted(event.start_s for event in events)


def test_a_tag_is_found_whatever_the_others_are(model):
    """The score of a tag is its own probability: what other tags say changes nothing about its events."""
    answers = model.window_answers([scene()])[0]
    both = model.events_of(answers)
    answers.answers.probabilities[:, model.classes_.tolist().index("noise")] = 0
    assert spans_of(model.events_of(answers), "tone") == spans_of(both, "tone")
    assert spans_of(model.events_of(answers), "noise") == []


def test_the_threshold_of_a_tag_counts_where_it_is_higher(model):
    assert model.predict_events([scene()], EventRules(enter=0.01)) != [[]]
    strict = tagger(threshold=1.0).fit(X, Y)
    assert strict.predict_events([scene()], EventRules(enter=0.01)) == [[]]
    own = tagger().fit(X, Y)
    own.thresholds_ = np.array([1.0, own.thresholds_[1]])
    (events,) = own.predict_events([scene()])
    assert {event.label for event in events} == {"tone"}


def test_rules_are_tuned_and_kept_in_the_model_file(model, tmp_path):
    tuned = tagger().fit(X, Y)
    true = [(2.0, 8.0, "tone"), (5.0, 12.0, "noise")]
    rules = tuned.tune_events([scene()], [true])
    assert tuned.event_rules_ is rules
    assert {event.label for event in tuned.predict_events([scene()])[0]} == {"tone", "noise"}
    again = load_model(save_model(tuned, tmp_path / "m.l3clf"))
    assert again.event_rules_.get_params() == rules.get_params()
    (found,), (same,) = tuned.predict_events([scene()]), again.predict_events([scene()])
    assert [(e.label, e.start_s, e.end_s) for e in same] == [(e.label, e.start_s, e.end_s) for e in found]
    assert [e.score for e in same] == pytest.approx([e.score for e in found], abs=1e-9)
    with pytest.raises(ParameterError, match="dog"):
        tuned.tune_events([scene()], [[(2.0, 8.0, "dog")]])


def test_windows_of_silence_are_in_no_event():
    lowest = tagger(threshold=0.0).fit(X, Y)
    (events,) = lowest.predict_events([scene()], EventRules(enter=1e-9, median_s=0, min_gap_s=0))
    assert all(event.end_s <= 13.0 for event in events)


# --- by command ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "read"), [("audacity", read_labels), ("raven", read_selections)])
def test_label_tracks_have_a_row_for_each_tag(model, how, read, tmp_path):
    save_model(model, tmp_path / "m.l3clf")
    write(tmp_path / "long.wav", scene(), RATE)
    asked = ["predict", tmp_path / "m.l3clf", tmp_path / "long.wav", "--events", "--format", how, "--cache", "none"]
    assert cli.main([*map(str, asked), "--out", str(tmp_path / "out")]) == 0
    (path,) = (tmp_path / "out").glob("long*.txt")
    found = [(label.text, label.start_s, label.end_s) for label in read(path)]
    (events,) = model.predict_events([tmp_path / "long.wav"])
    assert [name for name, *_ in found] == [event.label for event in events] == ["tone", "noise"]
    for (_, *span), event in zip(found, events, strict=True):
        assert span == pytest.approx([event.start_s, event.end_s], abs=1e-3)


def test_tables_have_a_row_for_each_tag(model):
    (events,) = model.predict_events([scene()])
    answer = Answer("long.wav", events=events)
    rows = Rows(model.classes_, json_lines=False, escape=False).events(answer).splitlines()
    assert [row.split(",")[3] for row in rows] == ["tone", "noise"]
    records = map(json.loads, Rows(model.classes_, json_lines=True, escape=False).events(answer).splitlines())
    assert [(record["label"], record["start_s"]) for record in records] == [(e.label, e.start_s) for e in events]
