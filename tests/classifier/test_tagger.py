"""The tagger as a scikit-learn citizen: its checks, every form of labels, thresholds, bad clips, and its file."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import l3clf
from l3clf import ClipTagger
from l3clf.errors import ClipWarning, LevelWarning, ModelFileError, ParameterError

RATE = 16_000
TAGS = [{"hum"}, {"hiss"}, {"hum", "hiss"}, set()]


def sound(tags, seed, seconds=1.0):
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    quiet = rng.normal(0, 1e-3, len(time))
    hum = 0.3 * np.sin(2 * np.pi * (300 + 20 * seed) * time) if "hum" in tags else 0
    return quiet + hum + (rng.normal(0, 0.1, len(time)) if "hiss" in tags else 0)


def tagger(**options):
    return ClipTagger("mfcc", sample_rate=RATE, cache=None, **options)


@pytest.fixture(scope="module")
def sets():
    return TAGS * 6


@pytest.fixture(scope="module")
def X(sets):  # noqa: N802 - as in scikit-learn
    """Embedded once."""
    return tagger().embed([sound(tags, seed) for seed, tags in enumerate(sets)])


@pytest.fixture(scope="module")
def indicator(sets):
    return np.array([["hiss" in tags, "hum" in tags] for tags in sets]).astype(int)


# --- scikit-learn's own checks ----------------------------------------------------------------------

ANY_LENGTH = "X is a list of clips of any length, so there is no number of features to remember or to compare"
ONE_LABEL = "the check fits labels of several classes, which are no tags: an indicator matrix has 0 and 1 only"
EXPECTED_TO_FAIL = {
    "check_n_features_in": ANY_LENGTH,
    "check_n_features_in_after_fitting": ANY_LENGTH,
    "check_fit2d_predict1d": "a row of numbers is refused as X[0], not as features that want another shape",
    "check_dtype_object": "an array of Python objects is not sound; only paths and Clips may be objects",
    "check_estimators_empty_data_messages": "clips without samples are refused by name, not for a number of features",
    "check_methods_subset_invariance": "some BLAS round float32 by the number of windows: 2e-7 of a probability",
    "check_classifiers_train": ONE_LABEL,
    "check_classifiers_classes": ONE_LABEL,
    "check_classifiers_one_label": ONE_LABEL,
    "check_classifiers_regression_target": ONE_LABEL,
    "check_classifier_data_not_an_array": ONE_LABEL,
    "check_supervised_y_2d": ONE_LABEL,
    "check_estimators_dtypes": ONE_LABEL,
    "check_fit2d_1feature": ONE_LABEL,
    "check_classifier_not_supporting_multiclass": ONE_LABEL,
    "check_fit2d_1sample": "a tag that every clip has is refused by its name, not for the number of clips",
    "check_class_weight_classifiers": "a dict of weights names classes; each tag is weighed alone",
}


# scikit-learn expects a tag from one half on.
@parametrize_with_checks([tagger(threshold=0.5)], expected_failed_checks=lambda _: EXPECTED_TO_FAIL)
@pytest.mark.filterwarnings("ignore::l3clf.errors.L3clfWarning")
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_clone_and_scorers(X, indicator):
    model = tagger(head="forest", threshold=0.4)
    assert clone(model).get_params() == model.get_params()
    folds = KFold(3, shuffle=True, random_state=0)
    scores = cross_val_score(tagger(threshold=0.5), X, indicator, cv=folds, scoring="f1_macro", error_score="raise")
    train, test = next(folds.split(X))
    first = tagger(threshold=0.5).fit([X[i] for i in train], indicator[train])
    assert scores[0] == f1_score(indicator[test], first.predict([X[i] for i in test]), average="macro")


# --- labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda sets, _: sets,
        lambda sets, _: [list(tags) * 2 for tags in sets],
        lambda sets, _: [" | ".join(tags) for tags in sets],
        lambda sets, _: pd.Series(["|".join(tags) for tags in sets]),
        lambda sets, _: pd.DataFrame({"tags": ["|".join(tags) for tags in sets]}),
        lambda _, table: pd.DataFrame(table, columns=["hiss", "hum"]),
    ],
)
def test_every_form_of_labels_is_learned_alike(X, sets, indicator, form):
    y = form(sets, indicator)
    model = tagger().fit(X, y)
    assert model.classes_.tolist() == ["hiss", "hum"]
    assert model.predict(X).tolist() == indicator.tolist()
    assert model.predict(X).dtype == np.int64
    assert model.predict_tags(X)[:4] == [("hum",), ("hiss",), ("hiss", "hum"), ()]
    assert model.score(X, y) == 1


@pytest.mark.parametrize(
    "form", [np.asarray, np.ndarray.tolist, csr_array, lambda y: y.astype(bool), lambda y: y * 1.0]
)
def test_an_indicator_matrix_has_numbers_as_tags(X, indicator, form):
    model = tagger(threshold=0.5).fit(X, form(indicator))
    assert model.classes_.tolist() == [0, 1]
    assert model.score(X, form(indicator)) == 1


def test_columns_of_a_frame_keep_their_order(X, indicator):
    model = tagger(threshold=0.5).fit(X, pd.DataFrame(indicator[:, ::-1], columns=["z", "a"]))
    assert model.classes_.tolist() == ["z", "a"]
    assert model.predict(X).tolist() == indicator[:, ::-1].tolist()


BAD = {
    "two": (lambda y: y * 2, "with the value 2; expected 0 and 1"),
    "NaN": (lambda y: y * np.nan, "NaN or infinity"),
    "short": (lambda y: y[:5], "the labels of 5 clips; expected those of 24"),
    "none at all": (lambda y: y * 0, "no clip has a tag"),
    "no positives": (lambda y: y * [1, 0], "no clip has the tag 1"),
    "no negatives": (lambda y: ["dog bark"] * 24, "every clip has the tag 'dog bark'"),
    "separator": (lambda y: [{"a|b"}, set()] * 12, "holds the tag 'a|b'; rename it"),
    "spaces": (lambda y: [{" a"}, set()] * 12, "holds the tag ' a'"),
    "empty tag": (lambda y: [{""}, set()] * 12, "holds the tag ''"),
    "mixed": (lambda y: [{1}, {"a"}] * 12, "of type int, str"),
    "a list in a list": (lambda y: [["a", ["b"]], []] * 12, "label 0 holds \\['b'\\]"),
    "NUL": (lambda y: ["a\0", "a"] * 12, "without NUL characters"),
    "NUL in a set": (lambda y: [{"a\0"}, {"a"}] * 12, "without NUL characters"),
    "missing": (lambda y: ["a", None] * 12, "label 1 is None"),
    "numbers": (lambda y: list(range(24)), "label 0 is 0; expected an indicator matrix"),
    "ragged": (lambda y: [[0, 1], [1]] * 12, "give labels that are numbers as sets"),
    "same name": (lambda y: pd.DataFrame(y, columns=["a", "a"]), "two columns of the same name"),
    "nothing": (lambda y: None, "requires y to be passed"),
}


@pytest.mark.parametrize("case", BAD)
def test_labels_that_cannot_be_learned_are_refused(X, indicator, case):
    make, message = BAD[case]
    with pytest.raises(ParameterError, match=message.replace("|", r"\|")):
        tagger().fit(X, make(indicator))


def test_a_score_of_other_columns_is_refused_and_other_tags_are_wrong(X, sets, indicator):
    model = tagger(threshold=0.5).fit(X, sets)
    with pytest.raises(ParameterError, match="one for each of the 2 tags"):
        model.score(X, indicator[:, :1])
    assert model.score(X, [*sets[:-1], {"rain"}]) == pytest.approx(23 / 24)


# --- heads and thresholds ---------------------------------------------------------------------------

HEADS = {
    "logistic": "logistic",
    "forest": RandomForestClassifier(20, random_state=0),
    "one for each": LogisticRegression(max_iter=3000),
    "nearest": KNeighborsClassifier(3),
    "network": MLPClassifier(max_iter=300, random_state=0),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("n_tags", [1, 2])
@pytest.mark.parametrize("name", HEADS)
def test_every_head_gives_a_probability_for_each_tag(X, indicator, name, n_tags):
    y = indicator[:, :n_tags]
    model = tagger(head=HEADS[name], threshold=0.5).fit(X, y)
    found = model.predict_proba(X)
    assert found.shape == y.shape
    assert ((found >= 0) & (found <= 1)).all()
    assert (model.predict(X) == y).mean() > 0.9


@pytest.mark.parametrize("pooling", ["mean+std", "max", "probability"])
def test_poolings(X, sets, pooling):
    assert tagger(pooling=pooling).fit(X, sets).score(X, sets) == 1


def test_a_vote_between_tags_makes_no_sense(X, sets):
    with pytest.raises(ParameterError, match="pooling='vote'"):
        tagger(pooling="vote").fit(X, sets)


@pytest.mark.parametrize("options", [{"threshold": 2}, {"threshold": "half"}, {"class_weight": {"a": 1}}])
def test_parameters_out_of_range(X, sets, options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        tagger(**options).fit(X, sets)


def test_learned_thresholds_and_the_one_in_force(X, sets):
    model = tagger().fit(X, sets, groups=np.arange(24) // 2)
    assert ((model.thresholds_ > 0) & (model.thresholds_ < 1)).all()
    assert model.thresholds_in_force() is model.thresholds_
    assert model.set_params(threshold=0.3).thresholds_in_force().tolist() == [0.3, 0.3]


def test_a_rare_tag_has_the_common_threshold(X, sets):
    y = [tags | {"rare"} if i < 2 else tags for i, tags in enumerate(sets)]
    with pytest.warns(ClipWarning, match="'rare': fewer than 5 clips with the tag"):
        tagger().fit(X, y)
    in_one_group = [0 if i < 2 else i for i in range(len(y))]
    with pytest.warns(ClipWarning, match="'rare': fewer than 5 clips with the tag"):
        tagger().fit(X, y, groups=in_one_group)


# --- clips ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
def test_clips_that_fail_have_no_tags(sets):
    clips = [sound(tags, seed) for seed, tags in enumerate(sets)]
    model = tagger(on_error="nan", threshold=0.5).fit([*clips, "nowhere.wav"], [*sets, {"hum"}])
    assert len(model.failures_) == 1
    assert np.isnan(model.predict_proba(["nowhere.wav"])).all()
    assert model.predict(["nowhere.wav"]).tolist() == [[0, 0]]
    assert model.score(["nowhere.wav"], [set()]) == 0


@pytest.mark.filterwarnings("ignore::l3clf.errors.LevelWarning")
def test_silence_and_what_is_below_the_gate_have_no_tags(X, sets):
    model = tagger(threshold=0.0).fit(X, sets)
    for ask in (model.predict, model.predict_events):
        with pytest.warns(LevelWarning, match="none was, so no tag is answered"):
            assert np.asarray(ask([np.zeros(RATE)])).sum() == 0
    with pytest.warns(LevelWarning, match="none was, so no tag is answered$"):
        assert model.predict([np.zeros(RATE)]).tolist() == [[0, 0]]
    model.set_gate(-30.0)
    assert model.predict_tags([sound(set(), 0), sound({"hum"}, 0)]) == [(), ("hiss", "hum")]
    assert model.predict_windows([sound({"hum"}, 0)])[0].labels.tolist()[-1] == "hiss|hum"


def test_a_gate_is_learned_between_clips_without_a_tag_and_the_others(sets):
    rng = np.random.default_rng(0)
    clips = [sound(tags, seed) if tags else rng.normal(0, 3e-4, RATE) for seed, tags in enumerate(sets)]
    model = tagger(gate_dbfs="auto", threshold=0.5).fit(clips, sets)  # no window with a tag is quiet
    gate_dbfs, _ = model.gate_in_force()
    assert -70 < gate_dbfs < -40
    assert len(model.failures_) == 0
    assert model.predict_tags([clips[3], clips[0]]) == [(), ("hum",)]
    loud = [clip if tags else 0.1 * rng.normal(0, 1, RATE) for clip, tags in zip(clips, sets, strict=True)]
    with pytest.warns(LevelWarning, match="no clear gap between background, up to -"):
        assert tagger(gate_dbfs="auto", threshold=0.5).fit(loud, sets).gate_in_force()[0] is None


def test_digital_silence_with_a_tag_is_doubted(sets):
    clips = [sound(tags, seed) for seed, tags in enumerate(sets)]
    with pytest.warns(LevelWarning, match="X\\[24\\]: digital silence labelled 'hum'; leave it out"):
        tagger(threshold=0.5).fit([*clips, np.zeros(RATE)], [*sets, {"hum"}])


# --- the file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["logistic", "forest", "one for each"])
@pytest.mark.parametrize("options", [{}, {"threshold": 0.3, "pooling": "probability", "gate_dbfs": -50.0}])
@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
def test_a_saved_tagger_is_the_same(X, indicator, tmp_path, name, options):
    y = pd.DataFrame(indicator, columns=["z", "a"]) if options else indicator[:, :1]
    keep = [i for i in range(24) if i % 4 != 3 or not options]
    model = tagger(head=HEADS[name], **options).fit([X[i] for i in keep], y.iloc[keep] if options else y)
    again = l3clf.load_model(l3clf.save_model(model, tmp_path / "m.l3clf")).set_params(cache=None)
    assert isinstance(again, ClipTagger)
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert (again.threshold, again.classes_.tolist()) == (model.threshold, model.classes_.tolist())
    l3clf.save_model(again, tmp_path / "n.l3clf")
    assert (tmp_path / "n.l3clf").read_bytes() == (tmp_path / "m.l3clf").read_bytes()


def test_a_head_that_is_no_array_cannot_be_saved(X, sets, tmp_path):
    model = tagger(head=KNeighborsClassifier(3), threshold=0.5).fit(X, sets)
    with pytest.raises(ModelFileError, match="a KNeighborsClassifier head of a tagger cannot be saved"):
        l3clf.save_model(model, tmp_path / "m.l3clf")
