"""Sounds that were never learned: the background, the learned threshold, and what is refused."""

import pickle

import numpy as np
import pytest
import soundfile
from golden import make_model_format_2 as old
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from l3clf import ClipClassifier, Unknown, load_model, save_model
from l3clf.classifier import heads
from l3clf.classifier import unknown as module
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import ClipWarning, ParameterError

WIDTH = 60  # of the embedder mfcc, whose embeddings these stand for


def cloud(centre, n, seed, spread=1.0):
    """Clips of three windows around a centre, as embeddings."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        vectors = centre + spread * rng.normal(size=(3, WIDTH))
        made.append(WindowEmbeddings(vectors.astype(np.float32), np.zeros((3, 2)), np.full(3, -20.0)))
    return made


def centre(k, distance=3.0):
    return distance * np.eye(WIDTH)[k]


CLASSES = ("bark", "rain", "siren")
X = [clip for k in range(3) for clip in cloud(centre(k), 30, seed=k)]
Y = [name for name in CLASSES for _ in range(30)]
NEW = [clip for k in range(3) for clip in cloud(centre(k), 40, seed=10 + k)]
NEW_Y = [name for name in CLASSES for _ in range(40)]
BACKGROUND = [clip for k in range(3, 23) for clip in cloud(centre(k), 5, seed=20 + k)]
STRANGE = [clip for k in range(23, 33) for clip in cloud(centre(k), 5, seed=50 + k)]


def classifier(**options):
    return ClipClassifier("mfcc", sample_rate=16_000, cache=None, **options)


def bank():
    return np.stack([clip.vectors.mean(axis=0) for clip in BACKGROUND])


@pytest.fixture
def with_bank(monkeypatch):
    """A bank for the embedder mfcc, which has none."""
    monkeypatch.setattr(module, "_bank", lambda embedder: bank())


def rejected(model, clips):
    return np.mean(model.predict(clips) == "unknown")


# --- what it does -------------------------------------------------------------------------------------


def test_the_bank_is_a_row_of_the_head_and_none_of_the_classes(with_bank):
    model = classifier(unknown="auto").fit(X, Y)
    assert model.classes_.tolist() == list(CLASSES)
    assert model.head_[-1].coef_.shape == (4, WIDTH)
    assert model.has_background_
    probabilities = model.predict_proba(NEW)
    assert probabilities.shape == (120, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    joint = model.head_.predict_proba(np.stack([clip.vectors.mean(axis=0) for clip in NEW]))
    np.testing.assert_allclose(model.unknown_score(NEW), 1 - joint[:, :3].max(axis=1), atol=1e-6)
    np.testing.assert_allclose(probabilities, joint[:, :3] / joint[:, :3].sum(axis=1, keepdims=True), atol=1e-6)


def test_the_bank_keeps_out_what_was_never_learned(with_bank):
    plain, model = classifier(unknown=Unknown(background=None)).fit(X, Y), classifier(unknown="auto").fit(X, Y)
    assert rejected(model, STRANGE) > max(0.8, rejected(plain, STRANGE))
    assert rejected(model, NEW) < 0.15
    known = model.predict(NEW) != "unknown"
    assert np.mean(model.predict(NEW)[known] == np.array(NEW_Y)[known]) > 0.95


def test_predict_applies_the_learned_threshold_unless_one_is_given(with_bank):
    model = classifier(unknown="auto").fit(X, Y)
    scores = 1 - model.unknown_score(NEW)
    assert model.threshold_in_force() == model.unknown_threshold_
    np.testing.assert_array_equal(model.predict(NEW) == "unknown", scores < model.unknown_threshold_)
    model.set_params(unknown_threshold=0.999)
    assert model.threshold_in_force() == 0.999
    np.testing.assert_array_equal(model.predict(NEW) == "unknown", scores < 0.999)


def test_without_unknown_nothing_is_learned(with_bank):
    model = classifier().fit(X, Y)
    assert model.threshold_in_force() is None
    assert not model.has_background_
    assert model.predict_proba(X).shape == (90, 3)
    np.testing.assert_allclose(model.unknown_score(X), 1 - model.predict_proba(X).max(axis=1))
    assert rejected(model, STRANGE) == 0


def test_fitting_again_without_forgets_the_threshold(with_bank):
    model = classifier(unknown="auto").fit(X, Y)
    again = model.set_params(unknown=None).fit(X, Y)
    assert again.threshold_in_force() is None
    assert again.unknown_threshold_interval_ is None
    np.testing.assert_array_equal(again.predict_proba(NEW), classifier().fit(X, Y).predict_proba(NEW))


def test_a_heavier_background_rejects_more(with_bank):
    light, heavy = (classifier(unknown=Unknown(weight=w)).fit(X, Y) for w in (0.1, 10))
    assert heavy.unknown_score(STRANGE).mean() > light.unknown_score(STRANGE).mean()


# --- a scikit-learn citizen ---------------------------------------------------------------------------


def test_parameters_are_reached_cloned_and_pickled(with_bank):
    model = classifier(unknown=Unknown(accept=0.9)).set_params(unknown__weight=2.0)
    assert model.unknown.weight == 2.0
    assert clone(model).get_params()["unknown__accept"] == 0.9
    assert clone(model).unknown is not model.unknown
    fitted = pickle.loads(pickle.dumps(model.fit(X, Y)))
    np.testing.assert_array_equal(fitted.unknown_score(NEW), model.unknown_score(NEW))
    assert fitted.predict(STRANGE).tolist() == model.predict(STRANGE).tolist()


@pytest.mark.parametrize("unknown", ["auto", None])
def test_what_has_no_parameters_is_said_in_a_search(with_bank, unknown):
    with pytest.raises(
        ParameterError, match=r"^unknown__weight: unknown=('auto'|None) has no parameters; give unknown="
    ):
        classifier(unknown=unknown).set_params(unknown__weight=2.0)
    both = classifier(unknown=unknown).set_params(unknown=Unknown(), unknown__weight=2.0)
    assert both.unknown.weight == 2.0


def test_grid_search_over_the_weight(with_bank):
    search = GridSearchCV(classifier(unknown=Unknown()), {"unknown__weight": [0.07, 70.0]}, cv=2).fit(X, Y)
    assert search.best_params_ == {"unknown__weight": 0.07}


@pytest.mark.parametrize(
    "head",
    [
        "forest",
        LogisticRegression(C=0.01),
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
        GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1]}, cv=2),
    ],
    ids=lambda head: head if isinstance(head, str) else type(head).__name__,
)
def test_heads_that_take_weights_learn_a_background(with_bank, tmp_path, monkeypatch, head):
    monkeypatch.setattr(heads, "FOREST_TREES", 30)
    model = classifier(head=head, unknown="auto").fit(X, Y)
    assert model.predict_proba(NEW).shape == (120, 3)
    assert rejected(model, STRANGE) > 0.4
    assert rejected(model, NEW) < 0.2
    again = load_model(save_model(model, tmp_path / "m"))
    np.testing.assert_allclose(again.unknown_score(NEW), model.unknown_score(NEW), atol=1e-6)


def test_a_head_without_weights_is_refused(with_bank):
    with pytest.raises(ParameterError, match=r"head=KNeighborsClassifier: its fit takes no sample_weight, which a"):
        classifier(head=KNeighborsClassifier(3), unknown="auto").fit(X, Y)
    model = classifier(head=KNeighborsClassifier(3), unknown=Unknown(background=None)).fit(X, Y)
    assert 0 < model.unknown_threshold_ <= 1


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unknown", "words"),
    [
        (True, r"unknown=True; expected None, 'auto' or an l3clf\.Unknown"),
        ("bank", r"unknown='bank'; expected None, 'auto' or"),
        (Unknown(background=3), r"background=3; expected 'bank', the path of a folder, or None"),
        (Unknown(background="no such"), r"background='no such': no such folder; name a folder of sounds"),
        (Unknown(background=""), r"background='': a model file does not hold the recordings"),
        (Unknown(weight=0), r"weight=0; expected a number above 0"),
        (Unknown(weight=float("nan")), r"weight=nan; expected"),
        (Unknown(weight="1"), r"weight='1'; expected"),
        (Unknown(accept=1), r"accept=1; expected a number between 0 and 1"),
        (Unknown(accept=None), r"accept=None; expected"),
        (Unknown(per_class="yes"), r"per_class='yes'; expected True or False"),
        (Unknown(), r"background='bank': there is none for embedder 'mfcc'; give unknown='auto', or"),
    ],
)
def test_what_cannot_work_is_refused(unknown, words):
    with pytest.raises(ParameterError, match=f"^{words}"):
        classifier(unknown=unknown).fit(X, Y)


@pytest.mark.parametrize("pooling", ["mean+std", "max", "probability", "vote"])
def test_the_bank_is_for_the_mean(with_bank, pooling):
    with pytest.raises(ParameterError, match=r"^background='bank': its embeddings are pooled by 'mean', not"):
        classifier(unknown=Unknown(), pooling=pooling).fit(X, Y)
    model = classifier(unknown="auto", pooling=pooling).fit(X, Y)
    assert not model.has_background_
    assert 0 < model.threshold_in_force() <= 1


# --- recordings as the background ---------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "mean+std", "max", "probability", "vote"])
def test_clips_labelled_background_join_it_with_every_pooling(pooling):
    model = classifier(unknown="auto", pooling=pooling).fit([*X, *BACKGROUND], [*Y, *["background"] * 100])
    assert model.classes_.tolist() == list(CLASSES)
    assert model.has_background_
    assert rejected(model, STRANGE) > 0.4
    assert model.score([*NEW, *BACKGROUND], [*NEW_Y, *["background"] * 100]) > 0.85


def test_recordings_join_the_bank(with_bank):
    alone = classifier(unknown="auto").fit(X, Y)
    both = classifier(unknown="auto").fit([*X, *STRANGE], [*Y, *["background"] * 50])
    assert both.unknown_score(STRANGE).mean() > alone.unknown_score(STRANGE).mean()
    assert both.training_digest_ != alone.training_digest_


def test_background_is_a_class_like_others_without_unknown():
    model = classifier().fit([*X, *BACKGROUND], [*Y, *["background"] * 100])
    assert "background" in model.classes_


def test_a_sound_of_a_class_in_the_background_is_said(with_bank):
    with pytest.warns(ClipWarning, match=r"^2 of 92 clips, the first X\[0\]: labelled 'bark', and the same sound"):
        classifier(unknown="auto").fit([*X, X[0], X[1]], [*Y, *["background"] * 2])


def test_a_class_named_as_the_answer_is_said(with_bank):
    with pytest.warns(ClipWarning, match=r"^y: a class is named 'unknown', which is also the answer to sounds of no"):
        classifier(unknown="auto").fit(X, ["unknown" if label == "rain" else label for label in Y])


# --- thresholds and files -----------------------------------------------------------------------------


def test_too_few_clips_are_said(with_bank):
    one_each = [X[0], X[30], X[60]]
    with pytest.warns(ClipWarning, match=r"^unknown: too few clips to learn a threshold from; 0\.5 is used"):
        model = classifier(unknown="auto").fit(one_each, CLASSES)
    assert model.threshold_in_force() == 0.5
    assert np.isnan(model.unknown_threshold_interval_).all()


@pytest.mark.parametrize("per_class", [False, True])
def test_round_trip_of_a_model_file(with_bank, tmp_path, per_class):
    model = classifier(unknown=Unknown(accept=0.9, per_class=per_class)).fit(X, Y)
    assert np.shape(model.threshold_in_force()) == ((3,) if per_class else ())
    again = load_model(save_model(model, tmp_path / "m"))
    assert again.unknown.get_params() == model.unknown.get_params()
    np.testing.assert_array_equal(again.threshold_in_force(), model.threshold_in_force())
    np.testing.assert_array_equal(again.unknown_threshold_interval_, model.unknown_threshold_interval_)
    assert again.classes_.tolist() == list(CLASSES)
    assert again.predict(STRANGE + NEW).tolist() == model.predict(STRANGE + NEW).tolist()
    np.testing.assert_allclose(again.predict_proba(NEW), model.predict_proba(NEW), atol=1e-6)
    assert again.fit(X, Y).predict(NEW).tolist() == model.predict(NEW).tolist()


def test_a_folder_of_recordings(tmp_path):
    rng = np.random.default_rng(0)
    t = np.arange(16_000) / 16_000
    clips = [np.sin(2 * np.pi * (300 + 10 * k) * t) * 0.3 for k in range(6)] + [
        np.sin(2 * np.pi * (2000 + 50 * k) * t) * 0.3 for k in range(6)
    ]
    labels = [0] * 6 + [1] * 6
    folder = tmp_path / "others"
    (folder / "deep").mkdir(parents=True)
    for k in range(4):
        soundfile.write(folder / "deep" / f"{k}.wav", rng.normal(0, 0.1, 16_000), 16_000)
    (folder / "bad.wav").write_bytes(b"nothing")
    model = classifier(unknown=Unknown(background=folder), on_error="nan")
    with pytest.warns(ClipWarning, match=r"1 of 17 clips could not be embedded:\n.*bad\.wav"):
        model.fit(clips, labels)
    assert len(model.failures_) == 1
    assert model.classes_.tolist() == [0, 1]
    assert model.unknown_score([rng.normal(0, 0.1, 16_000)])[0] > 0.5
    assert model.predict(clips)[0] in (0, "unknown")
    again = load_model(save_model(model, tmp_path / "m.l3clf")).set_params(cache=None)
    np.testing.assert_allclose(again.unknown_score(clips), model.unknown_score(clips), atol=1e-6)
    with pytest.raises(ParameterError, match=r"^background='': a model file does not hold the recordings"):
        again.fit(clips, labels)


def test_a_file_of_format_2_loads_and_answers_as_before():
    model = load_model(old.TARGET).set_params(cache=None)
    clips = [old.tone(440, level=level) for level in old.LEVELS]
    assert model.predict_proba(clips)[:, 1].tolist() == pytest.approx(list(old.ANSWERS), abs=1e-6)
    assert model.predict(clips).tolist() == ["tone", "tone", "unknown"]
    assert model.unknown is None
    assert model.threshold_in_force() == 0.6
    assert not model.has_background_
