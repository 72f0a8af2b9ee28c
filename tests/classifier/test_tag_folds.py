"""Folds for tags, and thresholds from what they tell: known answers."""

import numpy as np
import pytest

from l3clf.classifier.tag_folds import tag_folds
from l3clf.classifier.tag_thresholds import best_f1_threshold, learn_tag_thresholds
from l3clf.errors import ParameterError


def random_tags(n, shares, seed=0):
    return np.random.default_rng(seed).random((n, len(shares))) < shares


def test_each_tag_is_spread_evenly_rare_ones_too():
    tags = random_tags(200, [0.5, 0.2, 0.05, 0.03])
    folds = tag_folds(tags)
    counts = np.stack([tags[folds == fold].sum(axis=0) for fold in range(5)])
    assert (np.ptp(counts, axis=0) <= [4, 3, 1, 1]).all()
    assert np.ptp(np.bincount(folds)) <= 4


def test_groups_are_kept_whole_and_tags_still_spread():
    groups = np.arange(300) // 5
    tags = random_tags(60, [0.4, 0.15])[groups]
    folds = tag_folds(tags, groups=groups)
    assert all(len(set(folds[groups == group])) == 1 for group in range(60))
    counts = np.stack([tags[folds == fold].sum(axis=0) for fold in range(5)])
    assert (np.ptp(counts, axis=0) <= 10).all()  # two groups


def test_the_same_seed_gives_the_same_folds_and_clips_without_tags_are_spread():
    tags = np.zeros((50, 2), int)
    assert np.bincount(tag_folds(tags)).tolist() == [10] * 5
    np.testing.assert_array_equal(tag_folds(tags, seed=3), tag_folds(tags, seed=3))
    assert (tag_folds(tags, seed=3) != tag_folds(tags, seed=4)).any()


def test_fewer_groups_than_folds():
    assert sorted(set(tag_folds(np.ones((6, 1)), groups=np.arange(6) % 2))) == [0, 1]
    with pytest.raises(ParameterError, match="groups: 1; expected two or more"):
        tag_folds(np.ones((6, 1)), groups=np.zeros(6))
    with pytest.raises(ParameterError, match="n_folds=1"):
        tag_folds(np.ones((6, 1)), n_folds=1)


def test_the_best_threshold_is_the_best_of_all():
    rng = np.random.default_rng(0)
    truth = rng.random(80) < 0.3
    scores = np.round(np.clip(rng.normal(0.3 + 0.2 * truth, 0.15), 0, 1), 2)  # with equal ones

    def f1(threshold):
        found = scores >= threshold
        return 2 * (found & truth).sum() / (found.sum() + truth.sum())

    best = max(f1(value) for value in np.unique(scores))
    assert f1(best_f1_threshold(scores, truth)) == pytest.approx(best)


def test_rare_tags_share_a_threshold_and_nothing_known_gives_one_half():
    scores = np.tile(np.linspace(0.1, 0.9, 10), (2, 1)).T
    indicator = np.stack([np.arange(10) >= 5, np.arange(10) >= 9], axis=1).astype(int)
    thresholds, has_own = learn_tag_thresholds(scores, indicator)
    assert has_own.tolist() == [True, False]
    assert thresholds[0] == pytest.approx(0.5)
    thresholds, has_own = learn_tag_thresholds(np.full((10, 2), np.nan), indicator)
    assert (thresholds.tolist(), has_own.tolist()) == ([0.5, 0.5], [False, False])
