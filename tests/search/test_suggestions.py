"""Suggestions: uncertain, diverse, and a table that is read back once it is filled in."""

import numpy as np
import pytest
from helpers.embedded_sets import easy_set, embedded
from sklearn.ensemble import RandomForestClassifier

import l3clf
from l3clf.classifier.decision import Answers
from l3clf.search import suggest
from l3clf.search.suggestions import choose, uncertainties

RATE = 16_000


def tone(k, seconds=1.0):
    return 0.3 * np.sin(np.arange(int(seconds * RATE)) * k)


@pytest.fixture(scope="module")
def model():
    tones = [tone(k) for k in (0.1, 0.11, 0.12, 0.5, 0.52, 0.55)]
    labels = ["low"] * 3 + ["high"] * 3
    return l3clf.ClipClassifier("mfcc", sample_rate=RATE, cache=None).fit(tones, labels)


def answers(*rows, shares=None):
    rows = np.array(rows, float)
    return Answers(rows, np.ones(len(rows)) if shares is None else np.array(shares, float))


def test_the_uncertainty_of_a_classifier_is_its_margin():
    found = uncertainties(object(), answers([0.5, 0.5], [1, 0], [0.7, 0.3], [0.9, 0.1], shares=[1, 1, 1, 0.5]))
    assert found == pytest.approx([1, 0, 0.6, 1 - 0.05])  # the last: "unknown" 0.5, best class 0.45


def test_the_uncertainty_of_a_tagger_is_that_of_the_tag_nearest_to_its_threshold():
    tagger = l3clf.ClipTagger()
    tagger.thresholds_ = np.array([0.2, 0.5])
    found = uncertainties(tagger, answers([0.2, 1.0], [0.0, 1.0], [0.6, 0.0], [0.1, 0.9]))
    assert found == pytest.approx([1, 0, 0.5, 0.5])


def test_choices_are_uncertain_and_unlike_each_other():
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(4), 6, axis=0)
    vectors = (centres + 0.1 * rng.normal(0, 1, centres.shape)).astype(np.float32)
    weights = np.where(np.arange(24) < 18, rng.uniform(0.8, 1, 24), 0.1)  # the fourth kind is certain
    chosen = choose(vectors, weights, 3)
    assert sorted(k // 6 for k in chosen) == [0, 1, 2]
    assert np.argsort(-weights)[:3].tolist() != chosen  # which are not of three kinds
    assert weights[chosen].tolist() == sorted(weights[chosen], reverse=True)
    assert choose(vectors, weights, 3) == chosen
    assert sorted(choose(vectors, np.zeros(24), 99)) == list(range(24))


def test_copies_come_last():
    vectors, _ = easy_set(n=12)
    twice = np.concatenate([vectors, vectors])
    for n in (3, 11, 12):
        assert len({k % 12 for k in choose(twice, np.ones(24), n)}) == n
    assert sorted(choose(twice, np.ones(24), 24)) == list(range(24))


def test_what_lies_between_the_classes_is_suggested_first(model):
    clips = [tone(k) for k in (0.1, 0.105, 0.25, 0.51, 0.53)]
    found = suggest(model, clips, n=2)
    assert found[0].index == 2
    assert found[0].uncertainty > 0.5 > suggest(model, clips[:1])[0].uncertainty
    assert found[0].guess in ("low", "high")
    assert [each.index for each in suggest(model, model.embed(clips), n=2)] == [each.index for each in found]
    assert len(suggest(model, clips, n=99)) == 5


def test_silence_and_failed_files_are_never_suggested(model, tmp_path):
    (tmp_path / "broken.wav").write_text("no sound")
    clips = [np.zeros(RATE), tone(0.2), str(tmp_path / "broken.wav"), 1e-5 * tone(0.2)]
    with pytest.raises(l3clf.L3clfError, match=r"broken\.wav"):
        suggest(model, clips)
    model.set_params(on_error="nan", gate_dbfs=-60)
    try:
        with pytest.warns(UserWarning, match="1 of 4 clips"):
            found = suggest(model, clips)
        assert ([each.index for each in found], len(found.failures), found.n_silent) == ([1], 1, 2)
        assert list(suggest(model, clips[:1])) == []
    finally:
        model.set_params(on_error="raise", gate_dbfs=None)


def test_a_model_with_unknown_and_a_forest_can_ask_too():
    vectors, labels = easy_set(n=30)
    for how in ({"head": "forest"}, {"unknown": l3clf.Unknown(background=None)}, {"pooling": "probability"}):
        fitted = l3clf.ClipClassifier("mfcc", cache=None, **how).fit(embedded(vectors), labels)
        found = suggest(fitted, embedded(easy_set(n=20, seed=1)[0]), n=4)
        assert len({each.index for each in found}) == 4
        assert all(0 <= each.uncertainty <= 1 for each in found)


def test_a_tagger_can_ask_too():
    vectors, labels = easy_set(n=30)
    tagger = l3clf.ClipTagger("mfcc", cache=None).fit(
        embedded(vectors), [{label} - {"c0"} | ({"even"} if k % 2 else set()) for k, label in enumerate(labels)]
    )
    found = suggest(tagger, embedded(easy_set(n=20, seed=1)[0]), n=4)
    assert len(found) == 4
    assert all(set(each.guess.split("|")) <= {"", "even", "c1", "c2"} for each in found)


def test_a_forest_of_tags_that_gives_none_to_a_clip_has_heard_it():
    vectors = np.repeat(np.eye(2, 60, dtype=np.float32), 10, axis=0)
    forest = RandomForestClassifier(5, random_state=0)
    tagger = l3clf.ClipTagger("mfcc", head=forest, threshold=0.5, cache=None)
    tagger.fit(embedded(vectors), [{"a"}] * 10 + [set()] * 10)
    asked = embedded(vectors[10:12])
    assert not tagger.predict_proba(asked).any()
    found = suggest(tagger, asked)
    assert [(each.index, each.guess, each.uncertainty) for each in found] == [(0, "", 0.0), (1, "", 0.0)]
    assert found.n_silent == 0
    tagger.set_gate(0.0)
    assert suggest(tagger, asked).n_silent == 2


def test_a_clip_that_surely_has_no_tag_is_not_silent():
    clips = embedded(easy_set(n=30)[0])
    tagger = l3clf.ClipTagger("mfcc", head="forest", threshold=0.5, cache=None)
    tagger.set_params(head=RandomForestClassifier(5, bootstrap=False)).fit(clips, ["", "a", "b"] * 10)
    assert (tagger.predict_proba(clips).max(axis=1) == 0).sum() == 10
    found = suggest(tagger, clips, n=30)
    assert (len(found), found.n_silent) == (30, 0)


def test_a_table_is_read_back_once_its_labels_are_filled_in(model, tmp_path):
    import soundfile

    (tmp_path / "new").mkdir()
    for k in range(3):
        soundfile.write(tmp_path / "new" / f"{k}.wav", tone(0.1 + 0.2 * k), RATE)
    table = tmp_path / "todo.csv"
    pieces = [l3clf.Clip(tmp_path / "new" / "0.wav", 0.25, 0.75)]
    found = suggest(model, [*pieces, *(tmp_path / "new" / f"{k}.wav" for k in range(3))])
    found.to_csv(table)
    found.to_csv(table)  # nobody has filled it in
    with pytest.raises(l3clf.L3clfError, match=r"'\?' in line 2, 3, 4, 5 \(0 of 4 are filled in\); fill in"):
        l3clf.datasets.load(table)
    table.write_text(table.read_text().replace(",?,", ",low,", 2))
    with pytest.raises(l3clf.L3clfError, match=r"'\?' in line 4, 5 \(2 of 4 are filled in\)"):
        l3clf.datasets.load(table)
    with pytest.raises(l3clf.L3clfError, match="is not a table of suggestions without a label"):
        found.to_csv(table)
    table.write_text(table.read_text().replace(",?,", ",high,"))
    loaded = l3clf.datasets.load(table)
    assert loaded.labels.tolist() == ["low", "low", "high", "high"]
    assert [(clip.start_s, clip.end_s) for clip in loaded.clips] == [
        (each.clip.start_s, each.clip.end_s) for each in found
    ]
    assert len(model.predict(loaded.clips)) == 4


def test_what_has_no_file_is_in_no_table(model, tmp_path):
    with pytest.raises(l3clf.L3clfError, match="has no file"):
        suggest(model, [tone(0.2)]).to_csv(tmp_path / "todo.csv")
    assert not (tmp_path / "todo.csv").exists()


def test_n_is_a_number_of_clips(model):
    with pytest.raises(l3clf.L3clfError, match="n=0"):
        suggest(model, [], n=0)
    assert list(suggest(model, [])) == []
