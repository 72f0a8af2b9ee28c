"""Thresholds and temperatures that out-of-fold answers give, against known answers."""

import numpy as np
import pytest

from l3clf.classifier.thresholds import (
    FALLBACK_THRESHOLD,
    MAX_TEMPERATURE,
    MIN_CLIPS_PER_CLASS,
    assigned_folds,
    best_temperature,
    learn_thresholds,
    threshold_that_keeps,
)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("accept", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("n", [20, 57, 300])
def test_the_threshold_keeps_the_share_of_new_scores_on_the_mean(n, accept):
    rng = np.random.default_rng(0)
    kept = [np.mean(rng.beta(5, 1, 500) >= threshold_that_keeps(rng.beta(5, 1, n), accept)) for _ in range(400)]
    assert np.mean(kept) == pytest.approx(accept, abs=4 * np.std(kept) / 20)


def test_a_plain_quantile_would_keep_too_few():
    """So that the test above can fail."""
    rng = np.random.default_rng(0)
    kept = [np.mean(rng.beta(5, 1, 500) >= np.quantile(rng.beta(5, 1, 20), 0.05)) for _ in range(400)]
    assert np.mean(kept) < 0.95 - 4 * np.std(kept) / 20


def test_with_too_few_scores_it_is_the_lowest():
    assert threshold_that_keeps(np.array([0.3, 0.9]), 0.95) == 0.3


def test_the_interval_holds_the_threshold_of_most_other_samples():
    rng = np.random.default_rng(1)
    true = 0.05 ** (1 / 5)  # the 5 % quantile of beta(5, 1)
    inside = 0
    for _ in range(30):
        found = learn_thresholds(rng.beta(5, 1, 200), np.zeros(200, int), 1, 0.95, False)
        (low, high), (value,) = found.intervals[0], found.values
        assert low <= value <= high
        inside += low <= true <= high
    assert inside > 24


def test_groups_that_are_alike_widen_the_interval():
    scores = np.repeat(np.random.default_rng(0).beta(5, 1, 20), 10)
    alone, whole = (
        learn_thresholds(scores, np.zeros(200, int), 1, 0.9, False, groups).intervals[0]
        for groups in (None, np.repeat(np.arange(20), 10))
    )
    assert np.diff(whole) > 2 * np.diff(alone)


def test_each_class_has_its_own_threshold_if_it_has_clips_enough():
    rng = np.random.default_rng(0)
    predicted = np.repeat([0, 1, 2], [100, 100, MIN_CLIPS_PER_CLASS - 1])
    scores = np.concatenate([rng.uniform(0.8, 1, 100), rng.uniform(0.2, 1, 100), np.ones(MIN_CLIPS_PER_CLASS - 1)])
    found = learn_thresholds(scores, predicted, 4, 0.95, True)
    common = threshold_that_keeps(scores, 0.95)
    expected = [threshold_that_keeps(scores[predicted == k], 0.95) for k in (0, 1)]
    assert found.values.tolist() == [*expected, common, common]
    assert found.intervals.shape == (4, 2)
    assert expected[0] > 0.8 > 0.3 > expected[1]


@pytest.mark.parametrize("per_class", [False, True])
def test_without_scores_a_class_has_to_be_more_probable_than_all_else(per_class):
    found = learn_thresholds(np.zeros(0), np.zeros(0, int), 3, 0.95, per_class)
    assert found.values.tolist() == [FALLBACK_THRESHOLD] * (3 if per_class else 1)
    assert np.isnan(found.intervals).all()


@pytest.mark.parametrize("true", [0.5, 1.0, 2.0])
def test_the_temperature_is_the_one_that_answers_were_drawn_at(true):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4000, 4))
    codes = np.array([rng.choice(4, p=p) for p in softmax(logits / true)])
    assert best_temperature(lambda t: softmax(logits / t), codes) == pytest.approx(true, rel=0.08)


@pytest.mark.parametrize("n", [4, 40, 400])
def test_answers_that_are_all_right_do_not_ask_for_certainty(n):
    codes = np.arange(n) % 2
    logits = np.where(np.arange(2) == codes[:, None], 1.0, -1.0)
    found = best_temperature(lambda t: softmax(logits / t), codes)
    assert 1 / MAX_TEMPERATURE <= found < 2
    sure = softmax(logits / found)[0].max()
    assert sure == pytest.approx(1 - 0.5 / (n + 2), abs=2e-3) or sure < 1 - 0.5 / (n + 2)


@pytest.mark.parametrize("counts", [[8, 8], [1, 1, 40], [3, 4, 9], [2, 2], [400, 7]])
def test_folds_share_each_class_evenly(counts):
    codes = np.repeat(np.arange(len(counts)), counts)
    folds = assigned_folds(codes, None)
    n = min(5, max(counts))
    assert set(folds.tolist()) == set(range(n))
    for code, count in enumerate(counts):
        per_fold = np.bincount(folds[codes == code], minlength=n)
        assert per_fold.max() - per_fold.min() <= 1
        assert per_fold.sum() == count


def test_groups_stay_whole():
    codes, groups = np.tile([0, 1], 30), np.repeat(np.arange(12), 5)
    folds = assigned_folds(codes, groups)
    assert len(set(folds.tolist())) == 5
    assert all(len(set(folds[groups == group].tolist())) == 1 for group in range(12))


@pytest.mark.parametrize(("codes", "groups"), [([0, 1, 2], None), ([0, 0, 1, 1], [7, 7, 7, 7]), ([0, 1], [0, 1])])
def test_what_cannot_be_divided_is_one_fold(codes, groups):
    assert not assigned_folds(np.array(codes), None if groups is None else np.array(groups)).any()
