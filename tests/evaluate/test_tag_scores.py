"""Scores of several labels: scikit-learn as the reference, and known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from l3clf.errors import ParameterError
from l3clf.evaluate import TAG_METRICS, average_precisions, every_tag_floor, f1_by_tag, score_of_tags, scores_of_tags
from l3clf.evaluate.scoring import resampling_weights


def _drawn(seed, n=60, n_tags=4, steps=8):
    """Return truth, probabilities with ties, and predictions."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, n_tags)) < rng.uniform(0.1, 0.6, n_tags)
    truth[0] = True
    probabilities = np.round((truth + rng.normal(0, 1, truth.shape)) * steps) / steps
    return truth, probabilities, probabilities > 0.5


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 10))
def test_scores_are_scikit_learns(seed, n, steps):
    truth, probabilities, found = _drawn(seed, n, steps=steps)
    assert average_precisions(truth, probabilities) == pytest.approx(
        average_precision_score(truth, probabilities, average=None)
    )
    assert score_of_tags(truth, probabilities, found, "map") == pytest.approx(
        average_precision_score(truth, probabilities, average="macro")
    )
    assert f1_by_tag(truth, found) == pytest.approx(f1_score(truth, found, average=None))
    for average in ("micro", "macro"):
        wanted = f1_score(truth, found, average=average)
        assert score_of_tags(truth, probabilities, found, f"{average}_f1") == pytest.approx(wanted)


def test_tags_without_a_clip_have_no_score():
    truth, probabilities, found = _drawn(1)
    more = [np.column_stack([each, np.zeros(len(each))]) for each in (truth, probabilities, found)]
    assert np.isnan(average_precisions(*more[:2])[-1])
    assert np.isnan(f1_by_tag(more[0], more[2])[-1])
    assert scores_of_tags(*more, np.arange(60) % 3) == scores_of_tags(truth, probabilities, found, np.arange(60) % 3)


def test_the_floor_is_the_base_rate():
    truth = np.arange(40).reshape(20, 2) % [2, 5] == 0
    floor = every_tag_floor(truth)
    assert floor["map"] == pytest.approx(truth.mean())
    assert floor["micro_f1"] == pytest.approx(2 * truth.mean() / (1 + truth.mean()))


def test_permuted_labels_are_near_the_base_rate():
    truth, probabilities, found = _drawn(2, n=4000)
    permuted = np.random.default_rng(0).permutation(truth)
    assert score_of_tags(permuted, probabilities, found, "map") == pytest.approx(truth.mean(axis=0).mean(), abs=0.02)


def test_the_interval_is_that_of_clips_drawn_again():
    truth, probabilities, found = _drawn(3, n=80)
    for seed in range(5):
        spread = scores_of_tags(truth, probabilities, found, np.arange(80) % 2, n_resamples=1, seed=seed)
        (times,) = resampling_weights(None, 80, 1, seed)
        again = np.repeat(np.arange(80), times.astype(int))
        for metric in TAG_METRICS:
            drawn = score_of_tags(truth[again], probabilities[again], found[again], metric)
            assert spread[f"{metric}_low"] == spread[f"{metric}_high"] == pytest.approx(drawn)
            assert spread[metric] == score_of_tags(truth, probabilities, found, metric)
            folds = [score_of_tags(truth[k::2], probabilities[k::2], found[k::2], metric) for k in range(2)]
            assert spread[f"{metric}_std"] == pytest.approx(np.std(folds))


def test_the_interval_is_wider_when_clips_come_in_groups():
    truth, probabilities, found = (np.repeat(each, 12, axis=0) for each in _drawn(4, n=40))
    groups = np.repeat(np.arange(40), 12)
    alone, grouped = (scores_of_tags(truth, probabilities, found, groups % 4, g, 300) for g in (None, groups))
    for metric in TAG_METRICS:
        widths = [each[f"{metric}_high"] - each[f"{metric}_low"] for each in (alone, grouped)]
        assert widths[1] > 2 * widths[0]


def test_values_that_are_no_scores_are_refused():
    truth, probabilities, found = _drawn(5)
    with pytest.raises(ParameterError, match="metric='auc'; expected one of 'map', 'micro_f1', 'macro_f1'"):
        score_of_tags(truth, probabilities, found, "auc")
    with pytest.raises(ParameterError, match=r"probabilities: shape \(60, 3\), and truth has \(60, 4\)"):
        average_precisions(truth, probabilities[:, :3])
    with pytest.raises(ParameterError, match="predictions: shape"):
        f1_by_tag(truth, probabilities)
    with pytest.raises(ParameterError, match="truth: shape"):
        f1_by_tag(truth[:, 0], found[:, 0])
    probabilities[7, 1] = np.nan
    with pytest.raises(ParameterError, match="probabilities: 1 rows have a value that is not a number"):
        average_precisions(truth, probabilities)


def test_infinite_scores_are_equal_to_each_other():
    truth, scores = [[1], [0], [1], [0]], [[2.0], [2.0], [0.1], [0.0]]
    infinite = np.where(np.array(scores) == 2, np.inf, scores)
    assert average_precisions(truth, infinite) == average_precisions(truth, scores) < 0.6
