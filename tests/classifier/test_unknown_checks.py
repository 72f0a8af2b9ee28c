"""A classifier that learns a background as a scikit-learn citizen: checks, groups, few clips, odd labels, bad clips."""

import warnings
from typing import ClassVar

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks
from test_estimators import RATE, expected_to_fail, noise, tone

from l3clf import ClipClassifier, Unknown, load_model, save_model
from l3clf.classifier import heads
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import AudioError, ClipWarning, ParameterError

WIDTH = 60


def classifier(**options):
    return ClipClassifier("mfcc", sample_rate=RATE, cache=None, **options)


MIXED = 'predictions may be "unknown", which is no number beside the labels 0 and 1 of this check'
CHECKS_OF_NUMBERS = dict.fromkeys(
    ("check_class_weight_classifiers", "check_methods_sample_order_invariance", "check_fit_idempotent"), MIXED
)


@parametrize_with_checks(
    [classifier(unknown=Unknown(background=None))],
    expected_failed_checks=lambda estimator: expected_to_fail(estimator) | CHECKS_OF_NUMBERS,
)
@pytest.mark.filterwarnings("ignore:unknown. too few clips")
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def cloud(k, n, spread=1.0):
    rng = np.random.default_rng(100 + k)
    made = []
    for _ in range(n):
        vectors = 3 * np.eye(WIDTH)[k] + spread * rng.normal(size=(2, WIDTH))
        made.append(WindowEmbeddings(vectors.astype(np.float32), np.zeros((2, 2)), np.full(2, -20.0)))
    return made


X = cloud(0, 24) + cloud(1, 24)
Y = ["a"] * 24 + ["b"] * 24
GROUPS = np.arange(48) // 4
BACKGROUND = cloud(2, 24)


# --- what classes weigh ---------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["logistic", LogisticRegression(class_weight={"a": 1, "b": 9})], ids=["named", "own"])
def test_weights_that_name_classes_serve_without_a_background(head):
    named = {"class_weight": {"a": 1, "b": 9}} if isinstance(head, str) else {}
    model = classifier(head=head, unknown=Unknown(background=None), **named).fit(X, Y)
    assert model.classes_.tolist() == ["a", "b"]
    assert 0 < model.unknown_threshold_ < 1
    assert model.unknown_threshold_interval_[0] <= model.unknown_threshold_


# --- groups -------------------------------------------------------------------------------------------


@pytest.fixture
def twins():
    """Six recordings of each class, hard to tell apart, each cut into eight clips that are all but the same."""
    rng = np.random.default_rng(0)
    clips, labels, groups = [], [], []
    for group in range(12):
        middle = 0.5 * np.eye(WIDTH)[group % 2] + rng.normal(size=WIDTH)
        for _ in range(8):
            vectors = (middle + 0.05 * rng.normal(size=(2, WIDTH))).astype(np.float32)
            clips.append(WindowEmbeddings(vectors, np.zeros((2, 2)), np.full(2, -20.0)))
        labels += ["ab"[group % 2]] * 8
        groups += [f"recording {group}"] * 8
    return clips, labels, groups


def test_without_groups_twins_make_the_threshold_too_high(twins):
    X, y, groups = twins
    model = classifier(unknown=Unknown(background=None, accept=0.9))
    leaking = model.fit(X, y).threshold_in_force()
    honest = model.fit(X, y, groups=groups).threshold_in_force()
    assert leaking > honest + 0.05


def test_groups_are_checked():
    with pytest.raises(ParameterError, match=r"^groups: shape \(3,\); expected one for each of 48 clips"):
        classifier(unknown=Unknown(background=None)).fit(X, Y, groups=[1, 2, 3])


def test_groups_without_unknown_change_nothing():
    plain, grouped = classifier().fit(X, Y), classifier().fit(X, Y, groups=GROUPS)
    np.testing.assert_array_equal(plain.predict_proba(X), grouped.predict_proba(X))


class Recorder(ClipClassifier):
    """Keeps the groups that its fit was given."""

    seen: ClassVar[list] = []

    def fit(self, X, y, groups=None):
        self.seen.append(None if groups is None else sorted(set(np.asarray(groups).tolist())))
        return super().fit(X, y, groups=groups)


@pytest.fixture
def recorder():
    Recorder.seen.clear()
    return Recorder("mfcc", cache=None, unknown=Unknown(background=None))


def test_routed_groups_reach_the_folds_and_the_fit(recorder):
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_validate(
            recorder, X, Y, params={"groups": GROUPS}, cv=GroupKFold(3), error_score="raise", return_estimator=True
        )
    assert [len(groups) for groups in recorder.seen] == [8, 8, 8]
    assert len({tuple(groups) for groups in recorder.seen}) == 3
    assert all(0 < model.threshold_in_force() < 1 for model in found["estimator"])


def test_without_routing_groups_are_parameters_of_the_fit(recorder):
    cross_validate(recorder, X, Y, groups=GROUPS, params={"groups": GROUPS}, cv=GroupKFold(3), error_score="raise")
    assert [len(groups) for groups in recorder.seen] == [8, 8, 8]
    recorder.seen.clear()
    cross_validate(recorder, X, Y, groups=GROUPS, cv=GroupKFold(3), error_score="raise")
    assert recorder.seen == [None] * 3


def test_a_search_over_the_parameters_routes_groups_too(recorder):
    grid = {"unknown__accept": [0.5, 0.99]}
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(recorder, grid, cv=GroupKFold(3)).fit(X, Y, groups=GROUPS)
    assert search.best_params_ == {"unknown__accept": 0.99}
    assert all(groups is not None for groups in recorder.seen)


def test_a_head_with_weights_needs_no_requests_where_metadata_is_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        model = classifier(unknown="auto").fit([*X, *BACKGROUND], [*Y, *["background"] * 24])
    assert model.has_background_


# --- labels and few clips -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:y. a class is named:l3clf.errors.ClipWarning")
@pytest.mark.parametrize("labels", [(3, -1), (True, False), (0.0, 2.0), ("x", "unknown")])
def test_labels_keep_their_type(tmp_path, labels):
    y = np.repeat(labels, 24)
    model = classifier(unknown=Unknown(background=None)).fit(X, y)
    found = set(model.predict(X).tolist()) - {"unknown"}
    assert found <= set(labels)
    assert {type(label) for label in found} <= {type(labels[0])}
    assert load_model(save_model(model, tmp_path / "m")).predict(X).tolist() == model.predict(X).tolist()


def test_a_class_of_one_clip_is_learned_and_tells_nothing_about_the_threshold():
    rare = cloud(5, 1)
    model = classifier(unknown=Unknown(background=None)).fit([*X, *rare], [*Y, "rare"])
    assert model.classes_.tolist() == ["a", "b", "rare"]
    assert 0 < model.threshold_in_force() < 1
    per_class = classifier(unknown=Unknown(background=None, per_class=True)).fit([*X, *rare], [*Y, "rare"])
    assert per_class.threshold_in_force()[2] == model.threshold_in_force()


def test_one_group_is_too_few():
    with pytest.warns(ClipWarning, match=r"^unknown: too few clips to learn a threshold from; 0\.5 is used"):
        model = classifier(unknown=Unknown(background=None, per_class=True)).fit(X, Y, groups=[1] * 48)
    assert model.threshold_in_force().tolist() == [0.5, 0.5]


def test_groups_of_a_single_class_tell_what_they_can():
    """Each group holds all clips of its class, so that no head has learned the class that it is asked about."""
    with pytest.warns(ClipWarning, match="too few clips"):
        classifier(unknown=Unknown(background=None)).fit(X, Y, groups=Y)


def test_the_background_alone_is_refused():
    with pytest.raises(ParameterError, match=r"^y: 1 class \('a'\); expected two or more"):
        classifier(unknown="auto").fit(X, ["a"] * 24 + ["background"] * 24)


# --- weights of classes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "weight"), [("logistic", "balanced"), ("logistic", {"a": 1.0, "b": 30.0}), ("forest", "balanced")]
)
def test_weights_of_classes_are_those_of_known_classes(monkeypatch, head, weight):
    monkeypatch.setattr(heads, "FOREST_TREES", 20)
    few = [*cloud(0, 24, spread=3), *cloud(1, 6, spread=3)]
    y = ["a"] * 24 + ["b"] * 6
    plain, weighted = (
        classifier(head=head, unknown="auto", class_weight=w).fit([*few, *BACKGROUND], [*y, *["background"] * 24])
        for w in (None, weight)
    )
    new = cloud(1, 30, spread=3)
    assert weighted.predict_proba(new)[:, 1].mean() > plain.predict_proba(new)[:, 1].mean()


@pytest.mark.parametrize("head", [LogisticRegression(class_weight={"a": 2, "b": 1})])
def test_a_head_that_weighs_classes_by_name_is_refused_beside_a_background(head):
    with pytest.raises(ParameterError, match=r"^head=LogisticRegression: class_weight={'a': 2, 'b': 1} names classes"):
        classifier(head=head, unknown="auto").fit([*X, *BACKGROUND], [*Y, *["background"] * 24])


# --- bad clips and gates ------------------------------------------------------------------------------


def test_clips_that_fail_are_left_out_and_are_nan():
    clips = [*(tone(300 + 20 * k) for k in range(10)), *(noise(k) for k in range(10))]
    clips[3] = np.full(8000, np.nan)
    model = classifier(unknown=Unknown(background=None), on_error="nan")
    with pytest.warns(ClipWarning, match="1 of 20 clips could not be embedded"):
        model.fit(clips, ["tone"] * 10 + ["noise"] * 10, groups=np.arange(20))
    with pytest.warns(ClipWarning, match="1 of 2 clips could not be embedded"):
        scores = model.unknown_score([clips[3], tone(310)])
    assert np.isnan(scores[0])
    assert 0 <= scores[1] <= 1
    with pytest.warns(ClipWarning):
        assert model.predict([clips[3]]).tolist() == [""]
    with pytest.raises(AudioError):
        model.set_params(on_error="raise").unknown_score([clips[3]])


def test_silence_is_unknown_and_its_score_is_1():
    clips = [*(tone(300 + 20 * k) for k in range(10)), *(noise(k) for k in range(10)), np.zeros(16_000)]
    model = classifier(unknown="auto").fit(clips, ["tone"] * 10 + ["noise"] * 10 + ["background"])
    assert model.silence_learned_ is False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert model.unknown_score([np.zeros(16_000)]).tolist() == [1.0]
        assert model.predict([np.zeros(16_000)]).tolist() == ["unknown"]


def test_windows_are_judged_with_the_background_and_the_threshold():
    model = classifier(unknown="auto").fit([*X, *BACKGROUND], [*Y, *["background"] * 24])
    known, strange = model.predict_windows([X[0], BACKGROUND[0]])
    assert known.probabilities.shape == (2, 2)
    np.testing.assert_allclose(known.probabilities.sum(axis=1), 1)
    assert strange.labels.tolist() == ["unknown", "unknown"]
    answers = model.answers([X[0].vectors, BACKGROUND[0].vectors, BACKGROUND[0].vectors[:0]])
    np.testing.assert_allclose(answers.unknown_scores[:2], model.unknown_score([X[0], BACKGROUND[0]]), atol=1e-7)
    assert answers.unknown_scores[2] == 1


def test_a_head_that_is_sure_of_the_background_answers_unknown():
    head = DecisionTreeClassifier(random_state=0)
    model = classifier(head=head, unknown=Unknown(background=None)).fit([*X, *BACKGROUND], [*Y, *["background"] * 24])
    far = cloud(2, 3, spread=0.1)
    scores = model.unknown_score(far)
    sure = scores == 1
    assert sure.any()
    assert (model.predict_proba(far)[sure] == 0).all()
    assert (model.set_params(unknown_threshold=0.0).predict(far)[sure] == "unknown").all()


def test_the_pickle_of_an_earlier_version_has_no_background():
    model = classifier().fit(X, Y)
    for name in ("unknown_threshold_", "unknown_threshold_interval_", "has_background_", "temperature_", "unknown"):
        del vars(model)[name]
    assert model.predict(X).tolist() == classifier().fit(X, Y).predict(X).tolist()
