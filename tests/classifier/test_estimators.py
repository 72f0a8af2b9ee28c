"""The estimators as scikit-learn citizens: checks, known answers, metadata, bad clips."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import GOLDEN
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import l3clf
from l3clf import ClipClassifier, ClipEmbedder
from l3clf.classifier import clip_fitting, heads
from l3clf.classifier.inputs import as_embedder
from l3clf.errors import AudioError, ClipWarning, L3clfWarning, ModelFileError, ParameterError

RATE = 16_000


def tone(hz, seconds=1.5, level=0.3):
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)


def noise(seed, seconds=1.5, level=0.1):
    return level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))


@pytest.fixture(scope="module")
def clips():
    """Eight tones and eight noises, each its own clip, and their labels."""
    return [tone(300 + 100 * k) for k in range(8)] + [noise(k) for k in range(8)], ["tone"] * 8 + ["noise"] * 8


def classifier(**options):
    return ClipClassifier("mfcc", sample_rate=RATE, cache=None, **options)


# --- scikit-learn's own checks ----------------------------------------------------------------------

ANY_LENGTH = "X is a list of clips of any length, so there is no number of features to remember or to compare"
EXPECTED_TO_FAIL = {
    "check_n_features_in": ANY_LENGTH,
    "check_n_features_in_after_fitting": ANY_LENGTH,
    "check_classifiers_train": ANY_LENGTH,
    "check_transformer_general": ANY_LENGTH,
    "check_fit2d_predict1d": "a row of numbers is refused as X[0], not as features that want another shape",
    "check_dtype_object": "an array of Python objects is not sound; only paths and Clips may be objects",
    "check_estimators_empty_data_messages": "clips without samples are refused by name, not for a number of features",
}
OF_THE_TRANSFORMER = {"check_estimators_nan_inf": "fit reads no clip; transform refuses NaN"}
OF_THE_CLASSIFIER = {
    "check_methods_subset_invariance": "some BLAS round float32 by the number of windows: 2e-7 of a probability",
}


def expected_to_fail(estimator):
    return EXPECTED_TO_FAIL | (OF_THE_TRANSFORMER if isinstance(estimator, ClipEmbedder) else OF_THE_CLASSIFIER)


@parametrize_with_checks(
    [ClipEmbedder("mfcc", sample_rate=RATE, cache=None), classifier()], expected_failed_checks=expected_to_fail
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


# --- the transformer --------------------------------------------------------------------------------


@pytest.mark.parametrize(("pooling", "width"), [("mean", 60), ("mean+std", 120), ("max", 60)])
def test_windows_are_pooled_as_named(pooling, width):
    clip = noise(0, seconds=3)
    windows = l3clf.load_embedder("mfcc").embed(clip, RATE).vectors.astype(np.float64)
    expected = {
        "mean": windows.mean(0),
        "max": windows.max(0),
        "mean+std": np.concatenate([windows.mean(0), windows.std(0)]),
    }
    found = ClipEmbedder("mfcc", pooling=pooling, sample_rate=RATE, cache=None).fit_transform([clip])
    assert found.shape == (1, width)
    np.testing.assert_allclose(found[0], expected[pooling], rtol=1e-5, atol=1e-4)


def test_feature_names_and_set_output(clips):
    embedder = ClipEmbedder("mfcc", sample_rate=RATE, cache=None).fit(clips[0])
    names = embedder.get_feature_names_out()
    assert len(names) == 60
    assert names[0] == "clipembedder0"


def test_works_in_a_pipeline_and_a_grid_search(clips):
    X, y = clips
    pipeline = make_pipeline(
        ClipEmbedder("mfcc", sample_rate=RATE, cache=None), StandardScaler(), LogisticRegression(C=0.1)
    )
    search = GridSearchCV(pipeline, {"clipembedder__pooling": ["mean", "max"]}, cv=2).fit(X, y)
    assert search.best_score_ == 1.0


def test_classifier_equals_the_same_steps_written_by_hand(clips):
    X, y = clips
    vectors = ClipEmbedder("mfcc", sample_rate=RATE, cache=None).fit_transform(X)
    by_hand = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000)).fit(vectors, y)
    np.testing.assert_allclose(
        classifier().fit(X, y).predict_proba(X), by_hand.predict_proba(vectors), rtol=1e-5, atol=1e-7
    )


# --- the classifier ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "mean+std", "max", "probability", "vote"])
@pytest.mark.parametrize("head", ["logistic", "forest", KNeighborsClassifier(3)])
def test_every_head_with_every_pooling(clips, head, pooling):
    X, y = clips
    model = classifier(head=head, pooling=pooling).fit(X, y)
    assert model.classes_.tolist() == ["noise", "tone"]
    assert model.predict([tone(550), noise(99)]).tolist() == ["tone", "noise"]
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-6)


def test_parameters_clone_and_pickle(clips):
    X, y = clips
    model = classifier(head="forest", unknown_threshold=0.2, gate_dbfs=-70.0)
    assert clone(model).get_params() == model.get_params()
    fitted = pickle.loads(pickle.dumps(model.fit(X, y)))
    np.testing.assert_array_equal(fitted.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(
    "labels", [[0] * 8 + [1] * 8, [True] * 8 + [False] * 8, np.array(["a"] * 8 + ["b"] * 8, object)]
)
def test_labels_keep_their_type(clips, labels):
    model = classifier().fit(clips[0], labels)
    assert model.predict(clips[0]).tolist() == list(labels)


def test_groups_reach_the_splitter(clips):
    X, y = clips
    groups = np.tile([0, 1, 2, 3], 4)
    scores = cross_val_score(classifier(), X, y, groups=groups, cv=LeaveOneGroupOut(), error_score="raise")
    assert scores.tolist() == [1.0] * 4
    assert len(cross_val_predict(classifier(), X, y, groups=groups, cv=GroupKFold(2))) == len(X)


def test_below_the_threshold_the_prediction_is_unknown(clips):
    X, y = clips
    model = classifier().fit(X, y)
    probabilities = model.predict_proba([tone(500) + noise(5, level=0.15)]).max()
    model.set_params(unknown_threshold=min(1.0, probabilities + 1e-6))
    assert model.predict([tone(500) + noise(5, level=0.15)]).tolist() == ["unknown"]
    model.set_params(unknown_threshold=probabilities - 1e-6)
    assert model.predict([tone(500) + noise(5, level=0.15)])[0] in ("tone", "noise")


def test_windows_below_the_gate_are_unknown(clips):
    X, y = clips
    model = classifier(gate_dbfs=-60.0).fit(X, y)
    assert model.predict([np.zeros(RATE), tone(500)]).tolist() == ["unknown", "tone"]
    assert model.predict_proba([np.zeros(RATE)]).tolist() == [[0.0, 0.0]]


def test_the_gate_leaves_silent_windows_out_of_the_pooling(clips):
    X, y = clips
    model = classifier(gate_dbfs=-60.0, center=False, hop_s=1.0).fit(X, y)
    padded = np.concatenate([np.zeros(3 * RATE), tone(500, seconds=2)])
    np.testing.assert_allclose(
        model.predict_proba([padded]), model.predict_proba([tone(500, seconds=2)]), rtol=1e-6, atol=1e-9
    )


def test_silent_clips_are_left_out_of_the_training_with_a_warning(clips):
    X, y = clips
    with pytest.warns(ClipWarning, match="1 of 17 clips left out: no window is above gate_dbfs"):
        classifier(gate_dbfs=-60.0).fit([*X, np.zeros(RATE)], [*y, "noise"])


@pytest.mark.parametrize("pooling", ["mean", "vote"])
def test_a_forest_that_may_fill_the_memory_is_told_before_it_grows(clips, monkeypatch, pooling):
    monkeypatch.setattr(heads, "FOREST_TREES", 3)
    model = classifier(head="forest", pooling=pooling, hop_s=1.0, center=False)
    monkeypatch.setattr(clip_fitting, "LARGE_BYTES", heads.forest_memory(16 if pooling == "mean" else 32, 2))
    model.fit(*clips)  # no warning at the limit
    monkeypatch.setattr(clip_fitting, "LARGE_BYTES", clip_fitting.LARGE_BYTES - 1)
    with pytest.warns(L3clfWarning, match=r"head='forest': with 2 classes and \d\d rows to learn, it takes up to 0 GB"):
        model.fit(*clips)


def test_predict_windows_gives_times(clips):
    model = classifier(center=False, hop_s=1.0, gate_dbfs=-60.0).fit(*clips)
    clip = np.concatenate([tone(500, 1.0), noise(3, 1.0), np.zeros(RATE)])
    (windows,) = model.predict_windows([clip])
    assert windows.labels.tolist() == ["tone", "noise", "unknown"]
    assert windows.times_s.tolist() == [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    assert windows.probabilities[2].tolist() == [0.0, 0.0]


def test_predict_windows_refuses_poolings_of_several_windows(clips):
    with pytest.raises(ParameterError, match="single window"):
        classifier(pooling="mean+std").fit(*clips).predict_windows(clips[0])


def test_class_weight_favours_the_rare_class():
    X = [tone(400 + 10 * k) + noise(k, level=0.3) for k in range(12)] + [noise(100 + k, level=0.3) for k in range(2)]
    y = ["tone"] * 12 + ["noise"] * 2
    plain, weighted = (classifier(class_weight=weight).fit(X, y) for weight in (None, "balanced"))
    assert (weighted.predict_proba(X)[:, 0] > plain.predict_proba(X)[:, 0] + 0.01).all()


def test_class_weight_needs_a_named_head(clips):
    with pytest.raises(ParameterError, match="class_weight"):
        classifier(head=LogisticRegression(), class_weight="balanced").fit(*clips)


def test_heads_without_probabilities_are_refused(clips):
    with pytest.raises(ParameterError, match="LinearSVC"):
        classifier(head=LinearSVC()).fit(*clips)


# --- clips that fail, and embeddings made before -----------------------------------------------------


def test_a_clip_that_fails_becomes_a_row_of_nan(clips, tmp_path):
    missing = tmp_path / "missing.wav"
    model = classifier(on_error="nan").fit(*clips)
    with pytest.warns(ClipWarning, match=r"1 of 2 clips could not be embedded:\n.*missing.wav"):
        probabilities = model.predict_proba([tone(500), missing])
    assert np.isfinite(probabilities[0]).all()
    assert np.isnan(probabilities[1]).all()
    with pytest.warns(ClipWarning, match="missing.wav"):
        assert model.predict([tone(500), missing]).tolist() == ["tone", ""]


def test_fit_leaves_clips_that_fail_out(clips, tmp_path):
    X, y = clips
    with pytest.warns(ClipWarning, match="1 of 17"):
        model = classifier(on_error="nan").fit([*X, tmp_path / "missing.wav"], [*y, "tone"])
    assert len(model.failures_) == 1
    np.testing.assert_array_equal(model.predict_proba(X), classifier().fit(X, y).predict_proba(X))


def test_a_class_without_readable_clips_is_reported(clips, tmp_path):
    X, y = clips
    with pytest.warns(ClipWarning) as caught:
        model = classifier(on_error="nan").fit([*X, tmp_path / "missing.wav"], [*y, "gone"])
    assert any("no clips are left of gone" in str(warning.message) for warning in caught)
    assert model.classes_.tolist() == ["noise", "tone"]


def test_every_failure_is_named_at_once(clips, tmp_path):
    with pytest.raises(AudioError, match=r"2 of 3 clips.*\n.*a.wav.*\n.*b.wav"):
        classifier().fit(*clips).predict([tmp_path / "a.wav", tone(400), tmp_path / "b.wav"])


def test_precomputed_embeddings_give_the_same_predictions(clips):
    X, y = clips
    model = classifier().fit(X, y)
    windows = model.embed(X)
    np.testing.assert_array_equal(model.predict_proba(windows), model.predict_proba(X))
    again = classifier().fit(windows, y)
    np.testing.assert_array_equal(again.predict_proba(windows), model.predict_proba(X))


def test_embeddings_of_another_embedder_are_refused(clips):
    windows = l3clf.WindowEmbeddings(np.zeros((2, 7), np.float32), np.zeros((2, 2)), np.zeros(2, np.float32))
    with pytest.raises(ParameterError, match="size 7"):
        classifier().fit(*clips).predict([windows])


def test_a_loaded_model_checks_its_embedder(clips, tmp_path):
    model = classifier().fit(*clips)
    l3clf.save_model(model, tmp_path / "m.l3clf")
    loaded = l3clf.load_model(tmp_path / "m.l3clf")
    loaded.set_params(sample_rate=RATE, cache=None)
    np.testing.assert_allclose(loaded.predict_proba(clips[0]), model.predict_proba(clips[0]), atol=1e-6)
    loaded.expected_fingerprint_ = "0" * 32
    with pytest.raises(ModelFileError, match="fingerprint"):
        loaded.predict(clips[0])


def test_the_training_digest_follows_content_and_labels(clips):
    X, y = clips
    first = classifier().fit(X, y).training_digest_
    assert classifier().fit(X[::-1], y[::-1]).training_digest_ == first
    assert classifier().fit(X, y[::-1]).training_digest_ != first
    assert classifier().fit([*X[:-1], noise(55)], y).training_digest_ != first


def test_a_student_file_that_was_written_again_is_read_again(tmp_path):
    path = tmp_path / "my.student"
    shutil.copy(GOLDEN / "tiny.student", path)
    before = as_embedder(str(path))
    assert as_embedder(str(path)) is before
    fingerprint = before.fingerprint
    shutil.copy(Path(l3clf.__file__).parent / "embedders" / "data" / "l3mini.student", path)
    assert as_embedder(str(path)).fingerprint != fingerprint
