"""Scores, intervals and floors: known answers, and scikit-learn as the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from l3clf.errors import ParameterError
from l3clf.evaluate import (
    majority_floor,
    make_split,
    score,
    scores,
)

REFERENCE = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": lambda truth, predictions: f1_score(truth, predictions, average="macro", zero_division=0),
}


# --- scores -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=40))
@pytest.mark.parametrize("metric", list(REFERENCE))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_scores_are_scikit_learns(metric, pairs):
    truth, predictions = np.array(pairs).T
    assert score(truth, predictions, metric) == pytest.approx(REFERENCE[metric](truth, predictions), abs=1e-12)


def test_weights_count_clips_as_often_as_they_are_drawn():
    truth, predictions = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])
    weights = np.array([2.0, 1, 0, 3])
    again = np.repeat(np.arange(4), weights.astype(int))
    for metric in ("accuracy", "balanced_accuracy"):
        assert score(truth, predictions, metric, weights) == pytest.approx(
            score(truth[again], predictions[again], metric)
        )


def test_an_unknown_metric_is_refused():
    with pytest.raises(ParameterError, match="metric='auc'"):
        score(np.array([0]), np.array([0]), "auc")


def test_the_interval_is_the_binomial_one_for_independent_clips():
    truth = np.zeros(400, int)
    predictions = np.array([0] * 320 + [1] * 80)
    found = scores(truth, predictions, np.arange(400) % 5)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert found["accuracy"] == pytest.approx(0.8)
    assert found["accuracy_low"] == pytest.approx(0.8 - half, abs=0.008)
    assert found["accuracy_high"] == pytest.approx(0.8 + half, abs=0.008)


def test_the_interval_is_wider_when_clips_come_in_groups():
    truth = np.zeros(400, int)
    predictions = np.repeat([0, 1], [320, 80])
    groups = np.arange(400) // 20
    alone, grouped = (scores(truth, predictions, np.arange(400) % 5, g) for g in (None, groups))
    assert grouped["accuracy_high"] - grouped["accuracy_low"] > 3 * (alone["accuracy_high"] - alone["accuracy_low"])


def test_the_spread_is_that_of_the_folds():
    truth, predictions, fold = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), np.array([0, 0, 1, 1])
    assert scores(truth, predictions, fold)["accuracy_std"] == pytest.approx(0.25)


def test_the_floor_is_the_training_folds_largest_class():
    labels = np.array(["a"] * 6 + ["b"] * 4)
    floor = majority_floor(labels, make_split(labels, folds=np.arange(10) % 5))
    assert floor["accuracy"] == pytest.approx(0.6)
    assert floor["balanced_accuracy"] == pytest.approx(0.5)
