"""Events of a fitted classifier: tones in silence at known times, and clips that cannot be answered."""

import json

import numpy as np
import pytest
from golden.make_model_format_1 import RATE, noise, tone
from helpers.model_files import edited, unzip
from helpers.sound_files import write

from l3clf import Clip, ClipClassifier, EventRules, Unknown, load_model, save_model
from l3clf.classifier.event_matching import Collars
from l3clf.errors import AudioError, ClipWarning, LevelWarning, ModelFileError, ParameterError
from l3clf.evaluate import collar_scores

X = [tone(300 + 100 * k) for k in range(8)] + [noise(k) for k in range(8)]
Y = ["tone"] * 8 + ["noise"] * 8


def classifier(**options):
    return ClipClassifier("mfcc", sample_rate=RATE, cache=None, **options)


@pytest.fixture(scope="module")
def model():
    return classifier().fit(X, Y)


def scene(*spans, seconds=20.0, level=0.0):
    """Tones at known times, over faint noise or silence."""
    sound = level * np.random.default_rng(0).standard_normal(int(seconds * RATE))
    for start, end in spans:
        a, b = int(start * RATE), int(end * RATE)
        sound[a:b] += 0.3 * np.sin(2 * np.pi * 700 * np.arange(b - a) / RATE)
    return sound


def spans_of(events, label="tone"):
    return [(event.start_s, event.end_s) for event in events if event.label == label]


def test_tones_in_silence_are_found_where_they_are(model):
    spans = [(2.0, 5.0), (8.3, 9.4), (14.0, 18.2)]
    (events,) = model.predict_events([scene(*spans)])
    assert len(spans_of(events)) == 3
    for found, true in zip(spans_of(events), spans, strict=True):
        assert np.abs(np.subtract(found, true)).max() <= 0.75  # half a window and half a hop


def test_silence_within_a_recording_is_off(model):
    """None of the model's clips was silent; a head that never met silence would name it."""
    (events,) = model.predict_events([scene((2.0, 5.0))])
    assert all(event.start_s >= 1.0 and event.end_s <= 6.0 for event in events)


def test_windows_below_the_gate_are_off():
    gated = classifier(gate_dbfs=-40.0).fit(X, Y)
    (events,) = gated.predict_events([scene((2.0, 5.0), level=1e-3)])
    assert all(event.start_s >= 1.0 and event.end_s <= 6.0 for event in events)
    assert events


def test_events_end_with_the_recording(model, tmp_path):
    sound = scene((0.0, 3.2), seconds=3.2)
    write(tmp_path / "a.wav", np.concatenate([np.zeros(RATE), sound, np.zeros(RATE)]), RATE)
    piece = Clip(tmp_path / "a.wav", 1.0, 4.2)
    assert [spans_of(events) for events in model.predict_events([sound, piece])] == [[(0.0, 3.2)]] * 2


def test_embeddings_serve_as_clips(model):
    sound = scene((2.0, 5.0))
    assert model.predict_events(model.embed([sound])) == model.predict_events([sound])


def test_windows_below_the_unknown_threshold_begin_no_event():
    strict = classifier(unknown_threshold=1.0).fit(X, Y)
    assert strict.predict_events([scene((2.0, 5.0))], EventRules(enter=0.1)) == [[]]


def test_scores_from_distances_have_a_lower_default():
    """They are about 0.8 for what is typical: the usual default would find next to nothing."""
    far = classifier(unknown=Unknown(background=None)).fit(X, Y)
    assert far.typicality_ is not None
    answers = far.window_answers([scene((2.0, 5.0))])[0]
    assert far.events_of(answers) == far.events_of(answers, EventRules(enter=0.5))
    assert len(far.events_of(answers)) == 1
    assert EventRules().enter > 0.5


def test_clips_that_fail_have_no_events_and_a_warning(model, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    with pytest.raises(AudioError, match=r"bad\.wav"):
        model.predict_events([tmp_path / "bad.wav"])
    lenient = classifier(on_error="nan").fit(X, Y)
    with pytest.warns(ClipWarning, match=r"bad\.wav"):
        found = lenient.predict_events([tmp_path / "bad.wav", scene((2.0, 5.0))])
    assert found[0] == []
    assert len(spans_of(found[1])) == 1


def test_no_clips_no_events(model):
    assert model.predict_events([]) == []


def test_a_silent_recording_is_told(model):
    with pytest.warns(LevelWarning, match="digital silence"):
        assert model.predict_events([np.zeros(5 * RATE)]) == [[]]


# -- tuning ----------------------------------------------------------------------------------------------------------


SPANS = [(2.0, 5.0), (8.3, 9.4), (14.0, 18.2)]


def test_rules_are_tuned_to_find_what_is_annotated(model):
    """In faint noise, which the model calls noise, tones are what is asked for."""
    tuned = classifier().fit(X, Y)
    recordings = [scene(*SPANS, level=0.05), scene((1.0, 4.0), (11.0, 12.5), level=0.05)]
    true = [[(*span, "tone") for span in SPANS], [(1.0, 4.0, "tone"), (11.0, 12.5, "tone")]]
    rules = tuned.tune_events(recordings, true)
    assert tuned.event_rules_ is rules
    before, after = (
        collar_scores(true, each.predict_events(recordings), Collars(1.0, 1.0)).micro.f1 for each in (model, tuned)
    )
    assert after >= before
    assert tuned.predict_events(recordings) == tuned.predict_events(recordings, rules)
    assert tuned.predict_events(recordings, EventRules()) == model.predict_events(recordings)


def test_what_the_default_rules_find_is_not_tuned_away():
    tuned = classifier().fit(X, Y)
    recording = scene(*SPANS)
    found = tuned.predict_events([recording])
    assert tuned.tune_events([recording], found).get_params() == EventRules().get_params()


def test_a_new_fit_forgets_the_tuned_rules():
    tuned = classifier().fit(X, Y)
    tuned.tune_events([scene(*SPANS)], [[(*span, "tone") for span in SPANS]])
    assert tuned.fit(X, Y).event_rules_ is None


def test_recordings_that_fail_are_left_out_of_the_tuning(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    lenient = classifier(on_error="nan").fit(X, Y)
    with pytest.warns(ClipWarning, match=r"bad\.wav"):
        lenient.tune_events([tmp_path / "bad.wav", scene(*SPANS)], [[(0, 1, "noise")], [(*SPANS[0], "tone")]])


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "events: 0 lists; give one list of events for each of 1 clips"),
        ([[]], "none is annotated"),
        ([[(2, 5, "tnoe")]], r"events\[0\]: label 'tnoe' is none of the classes \(did you mean tone\?\)"),
        ([[(5, 2, "tone")]], "from 5 s to 2 s"),
    ],
)
def test_annotations_are_checked_before_any_clip_is_read(model, events, message):
    with pytest.raises(ParameterError, match=message):
        model.tune_events(["missing.wav"], events)


@pytest.mark.parametrize("pooling", ["max", "probability", "vote"])
def test_other_poolings_find_events(pooling):
    pooled = classifier(pooling=pooling).fit(X, Y)
    assert len(spans_of(pooled.predict_events([scene((2.0, 5.0))])[0])) == 1


def test_a_window_has_no_standard_deviation():
    with pytest.raises(ParameterError, match="mean\\+std"):
        classifier(pooling="mean+std").fit(X, Y).predict_events([X[0]])


def test_integers_are_labels_too():
    numbered = classifier().fit(X, [1] * 8 + [2] * 8)
    assert spans_of(numbered.predict_events([scene((2.0, 5.0))])[0], 1)


def test_rules_are_checked_before_any_clip_is_read(model):
    with pytest.raises(ParameterError, match="rules="):
        model.predict_events(["missing.wav"], rules={"enter": 0.5})
    with pytest.raises(ParameterError, match="enter=2"):
        model.predict_events(["missing.wav"], rules=EventRules(enter=2))


def test_the_weights_must_be_those_of_the_fit(model):
    other = classifier().fit(X, Y)
    other.expected_fingerprint_ = "another"
    with pytest.raises(ModelFileError, match="another"):
        other.predict_events([X[0]])


# -- in the file of a model ------------------------------------------------------------------------------------------


def document_of(path):
    return json.loads(unzip(path.read_bytes())["model.json"])


@pytest.fixture
def tuned_file(tmp_path):
    tuned = classifier().fit(X, Y)
    tuned.event_rules_ = EventRules(enter=0.7, leave=0.3, median_s=2.5)
    return save_model(tuned, tmp_path / "tuned.l3clf")


def test_tuned_rules_are_kept_with_the_model(tuned_file):
    loaded = load_model(tuned_file)
    assert loaded.event_rules_.get_params() == EventRules(enter=0.7, leave=0.3, median_s=2.5).get_params()
    assert document_of(tuned_file)["format_version"] == 3


def test_a_refractory_time_is_kept_and_none_is_not_written(tuned_file, tmp_path):
    assert "refractory_s" not in document_of(tuned_file)["events"]  # as earlier versions read it
    model = load_model(tuned_file)
    model.event_rules_.refractory_s = 4.0
    assert load_model(save_model(model, tmp_path / "b.l3clf")).event_rules_.refractory_s == 4.0


def test_a_model_that_was_not_tuned_has_the_file_it_had(model, tmp_path):
    document = document_of(save_model(model, tmp_path / "a.l3clf"))
    assert "events" not in document
    assert document["format_version"] == 2
    assert load_model(tmp_path / "a.l3clf").event_rules_ is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enter": 2}, "events field 'enter' is 2, expected a number"),
        ({"enter": 0.2}, "events: leave=0.3; expected a number up to enter=0.2"),
        ({"median_s": "x"}, "events field 'median_s' is 'x'"),
        ({"min_gap_s": -1}, "events field 'min_gap_s' is -1"),
        ({"refractory_s": -1}, "events field 'refractory_s' is -1"),
        ({"more": 1}, "events has an unknown field 'more'"),
    ],
)
def test_rules_in_a_file_are_checked(tuned_file, change, message):
    def edit(document):
        document["events"].update(change)

    tuned_file.write_bytes(edited(tuned_file.read_bytes(), edit))
    with pytest.raises(ModelFileError, match=message):
        load_model(tuned_file)


@pytest.mark.parametrize("pooling", ["mean", "max", "probability", "vote"])
def test_windows_are_answered_as_by_predict_windows(pooling):
    """One window has one vote: with the votes, every window would be of some class for certain."""
    model = classifier(head="forest", pooling=pooling).fit(X, Y)
    clips = [scene((0.2, 2.7), seconds=4.0, level=0.05)]
    (found,), (expected,) = model.window_answers(clips), model.predict_windows(clips)
    np.testing.assert_array_equal(found.answers.probabilities, expected.probabilities)
    assert (found.answers.probabilities.max(axis=1) < 1).any()
