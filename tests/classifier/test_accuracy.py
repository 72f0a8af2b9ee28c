"""Scores where clips are "unknown" or failed, for labels of every type: the classifier's own and scikit-learn's."""

import math

import numpy as np
import pytest
from helpers.embedded_sets import easy_set, embedded
from helpers.fake_embedder import FakeEmbedder
from sklearn.base import clone
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score

from l3clf import ClipClassifier, WindowEmbeddings
from l3clf.errors import ClipWarning, ParameterError
from l3clf.evaluate import cross_validate, make_split, score

N = 24
KINDS = {
    "str": np.array(["cat", "dog"]),
    "int": np.array([3, 7]),
    "bool": np.array([False, True]),
    "float": np.array([1.0, 2.0]),
}
SILENT = (0, 5, 12)  # clips that the gate leaves nothing of


def clips(silent=SILENT):
    """Embeddings of two classes that are far apart, some of them silent, and the index of the class of each."""
    vectors, names = easy_set(N, classes=2, spread=0.1)
    found = embedded(vectors)
    for i in silent:
        found[i] = WindowEmbeddings(found[i].vectors, found[i].times_s, np.full(1, -90, np.float32))
    return found, (names == "c1").astype(int)


def gated(**options):
    return ClipClassifier("mfcc", gate_dbfs=-60.0, cache=None, **options)


# The score of our own


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_unknown_is_wrong_for_every_type_of_label(kind):
    X, index = clips()
    y = KINDS[kind][index]
    model = gated().fit(X, y)
    assert model.score(X, y) == pytest.approx((N - len(SILENT)) / N)
    assert model.score(X, y.tolist()) == model.score(X, y)
    weights = np.ones(N)
    weights[list(SILENT)] = 0
    assert model.score(X, y, sample_weight=weights) == 1.0
    assert model.score(X[:1], y[:1]) == 0.0


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_cross_validation_by_scikit_learn_gives_no_nan(kind):
    X, index = clips()
    y = KINDS[kind][index]
    found = cross_val_score(gated(), X, y, cv=3)
    assert not np.isnan(found).any()
    assert np.mean(found) == pytest.approx((N - len(SILENT)) / N)
    search = GridSearchCV(gated(), {"unknown_threshold": [None, 1.0]}, cv=3).fit(X, y)
    assert search.best_params_ == {"unknown_threshold": None}
    assert search.cv_results_["mean_test_score"][1] < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_failed_clips_are_wrong_for_every_type_of_label(kind, good, tmp_path):
    y = KINDS[kind]
    model = ClipClassifier(FakeEmbedder(), cache=None, on_error="nan").fit(good, y)
    X = [*good, tmp_path / "gone.wav"]
    with pytest.warns(ClipWarning, match="1 of 3 clips"):
        assert model.score(X, [*y, y[0]]) == pytest.approx(2 / 3)


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
@pytest.mark.parametrize("weights", ["abc", [1.0], [-1.0] * N, [0.0] * N, [math.nan] * N, [[1.0]] * N])
def test_weights_that_cannot_be_used_are_refused(weights):
    X, index = clips()
    model = gated().fit(X, index)
    with pytest.raises(ParameterError, match=r"^sample_weight: "):
        model.score(X, index, sample_weight=weights)


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
def test_labels_of_another_type_than_those_of_the_fit_are_refused():
    X, index = clips()
    with pytest.raises(ParameterError, match=r"y: labels such as '1', but .* fitted with labels such as 0"):
        gated().fit(X, index).score(X[1:], index[1:].astype(str))
    with pytest.raises(ParameterError, match=r"y: 2 labels; expected one for each of 24 clips"):
        gated().fit(X, index).score(X, index[:2])


# Scikit-learn's own scorers


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning", "ignore:y_pred contains classes")
@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "matthews_corrcoef"])
def test_scikit_learns_scorers_take_failed_and_unknown_clips_of_strings(scoring, good, tmp_path):
    X = [*good * 4, tmp_path / "gone.wav", tmp_path / "lost.wav"]
    y = np.array(["tone", "noise"] * 5)
    model = ClipClassifier(FakeEmbedder(), cache=None, on_error="nan")
    found = cross_val_score(model, X, y, cv=2, scoring=scoring)
    assert not np.isnan(found).any()
    assert found.min() < 1.0


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_our_score_is_that_of_scikit_learn_for_strings(good, tmp_path):
    X, y = [*good, tmp_path / "gone.wav"], ["tone", "noise", "tone"]
    model = ClipClassifier(FakeEmbedder(), cache=None, on_error="nan").fit(X, y)
    predicted = model.predict(X)
    assert predicted.dtype.kind == "U"
    assert predicted.tolist() == ["tone", "noise", ""]
    assert model.score(X, y) == accuracy_score(y, predicted) == score(np.array(y), predicted, "accuracy")


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
@pytest.mark.parametrize("scoring", ["accuracy", "precision_macro", "f1_macro"])
@pytest.mark.parametrize("kind", ["int", "bool", "float"])
def test_scikit_learns_scorers_say_to_pass_strings_where_labels_are_others(kind, scoring):
    X, index = clips()
    with pytest.raises(ParameterError, match=r"fit with strings as labels, or use the classifier's own score$"):
        cross_val_score(gated(), X, KINDS[kind][index], cv=3, scoring=scoring, error_score="raise")


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
@pytest.mark.parametrize("silent", [SILENT, tuple(range(1, N))])
def test_predictions_of_mixed_types_are_an_array_like_any_other_until_they_are_sorted(silent):
    X, index = clips()
    model = gated().fit(X, index)
    found = model.predict(clips(silent)[0])
    expected = ["unknown" if i in silent else int(k) for i, k in enumerate(index)]
    assert found.tolist() == expected
    assert [*found] == expected
    assert (found == "unknown").sum() == len(silent)
    assert np.concatenate([found, found]).tolist() == expected * 2
    assert found.astype(str).tolist() == [str(value) for value in expected]
    assert np.unique(found.astype(str)).tolist() == ["0", "unknown"] if len(silent) > len(SILENT) else True
    for use in (np.unique, lambda found: accuracy_score(index, found)):
        with pytest.raises(ParameterError, match="cannot be sorted or scored"):
            use(found)
    with pytest.raises((ValueError, TypeError)):  # in words of others, but not a wrong number
        confusion_matrix(index, found)
    known = found[[i for i in range(N) if i not in silent]]
    assert set(np.unique(known).tolist()) <= {0, 1}


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
def test_cross_val_predict_keeps_unknown_beside_integers():
    X, index = clips()
    found = cross_val_predict(clone(gated()), X, index, cv=3)
    assert [i for i, label in enumerate(found) if label == "unknown"] == list(SILENT)


def test_an_empty_label_is_refused_because_it_is_the_answer_for_failed_clips():
    X, index = clips(())
    with pytest.raises(ParameterError, match=r"y: label 1 is empty, .*; name the class"):
        gated().fit(X, np.array(["cat", ""])[index])


# Our own cross-validation


@pytest.mark.filterwarnings("ignore::l3clf.errors.ClipWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_cross_validate_answers_unknown_where_predict_does(kind):
    X, index = clips()
    y = KINDS[kind][index]
    found = cross_validate(gated(), X, y, make_split(y, n_splits=3), n_jobs=1)
    assert [i for i, label in enumerate(found.predictions.tolist()) if label == "unknown"] == list(SILENT)
    assert score(y, found.predictions, "accuracy") == pytest.approx((N - len(SILENT)) / N)
