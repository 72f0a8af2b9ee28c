"""Cross-validation and learning curves: equal to scikit-learn, honest where there is nothing to learn."""

import numpy as np
import pytest
from helpers.embedded_sets import easy_set, embedded
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from l3clf import ClipClassifier, Unknown, WindowEmbeddings
from l3clf.errors import ParameterError
from l3clf.evaluate import (
    cross_validate,
    cross_validate_poolings,
    learning_curve_points,
    make_split,
    scores,
)

# --- cross-validation -------------------------------------------------------------------------------

FOREST = RandomForestClassifier(30, random_state=0)


@pytest.mark.parametrize("pooling", ["mean", "probability"])
@pytest.mark.parametrize("head", ["logistic", FOREST], ids=["logistic", "forest"])
def test_cross_validation_is_cross_val_predict(head, pooling):
    vectors, labels = easy_set()
    split = make_split(labels)
    model = ClipClassifier("mfcc", head=head, pooling=pooling)
    found = cross_validate(model, embedded(vectors), labels, split)
    expected = cross_val_predict(model, embedded(vectors), labels, cv=PredefinedSplit(split.test_fold))
    assert found.predictions.tolist() == expected.tolist()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("per_class", [False, True])
def test_each_fold_decides_by_the_threshold_that_it_learned(per_class):
    vectors, labels = easy_set(90, spread=3)
    split = make_split(labels)
    model = ClipClassifier("mfcc", unknown=Unknown(background=None, accept=0.7, per_class=per_class))
    found = cross_validate(model, embedded(vectors), labels, split)
    expected = cross_val_predict(model, embedded(vectors), labels, cv=PredefinedSplit(split.test_fold))
    assert found.predictions.tolist() == expected.tolist()
    assert 0.1 < (found.predictions == "unknown").mean() < 0.6


@pytest.mark.parametrize(
    ("head", "unknown"),
    [("logistic", None), ("logistic", Unknown(background=None, accept=0.8)), (FOREST, None)],
    ids=["logistic", "logistic-unknown", "forest"],
)
def test_poolings_of_one_head_are_the_same_together_and_alone(head, unknown):
    vectors, labels = easy_set(30, spread=3)
    windows = [
        WindowEmbeddings(v + np.float32(0.5) * np.eye(3, 60, dtype=np.float32), np.zeros((3, 2)), np.full(3, -20.0))
        for v in vectors
    ]
    split = make_split(labels)
    poolings = ["vote", "probability"]
    together = cross_validate_poolings(ClipClassifier("mfcc", head, unknown=unknown), poolings, windows, labels, split)
    for pooling, found in zip(poolings, together, strict=True):
        model = ClipClassifier("mfcc", head, pooling=pooling, unknown=unknown)
        alone = cross_validate(model, windows, labels, split)
        np.testing.assert_array_equal(found.probabilities, alone.probabilities)
        np.testing.assert_array_equal(found.predictions, alone.predictions)
    assert (together[0].probabilities != together[1].probabilities).any()


def test_poolings_of_different_heads_are_refused():
    vectors, labels = easy_set(12)
    with pytest.raises(ParameterError, match=r"'mean', 'vote'.* do not train the same head"):
        cross_validate_poolings(ClipClassifier("mfcc"), ["mean", "vote"], embedded(vectors), labels, make_split(labels))


def test_a_class_that_a_training_fold_lacks_gets_probability_zero():
    vectors, labels = easy_set(30)
    labels = np.array(["rare"] * 3 + labels[3:].tolist())
    folds = np.array([0] * 3 + [1] * 13 + [2] * 14)
    found = cross_validate(ClipClassifier("mfcc"), embedded(vectors), labels, make_split(labels, folds))
    assert found.probabilities[:3, found.classes.tolist().index("rare")].tolist() == [0, 0, 0]


def test_random_labels_score_at_chance_within_the_interval():
    vectors, _ = easy_set(200, spread=3)
    labels = np.random.default_rng(1).choice(["a", "b", "c", "d"], 200)
    split = make_split(labels)
    found = cross_validate(ClipClassifier("mfcc"), embedded(vectors), labels, split)
    interval = scores(labels, found.predictions, split.test_fold)
    assert interval["accuracy_low"] <= 0.25 <= interval["accuracy_high"] + 0.02


def test_more_clips_help_where_they_should():
    vectors, labels = easy_set(120, spread=4)
    points = learning_curve_points(ClipClassifier("mfcc"), embedded(vectors), labels, make_split(labels))
    sizes = [point["clips_per_class"] for point in points]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] == pytest.approx(32)
    assert points[-1]["accuracy"] > points[0]["accuracy"] + 0.1
