"""Classes that are left out: scores with known answers, no leak between folds, and words for what cannot be."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.naive_bayes import GaussianNB

import l3clf
from l3clf.errors import DatasetError, ParameterError
from l3clf.evaluate import OPEN_SET_METRICS, OpenSet, OpenSetDraw, leave_out, make_split
from l3clf.evaluate.open_set import open_set


def draw(seed, n=200, ties=False):
    rng = np.random.default_rng(seed)
    known = rng.random(n) < 0.7
    scores = rng.normal(~known, 1.0)
    scores = np.round(scores) if ties else scores
    return OpenSetDraw(("x",), known, known & (rng.random(n) < 0.8), 1 / (1 + np.exp(-scores)))


@pytest.mark.parametrize("ties", [False, True])
def test_the_metrics_are_those_of_scikit_learn(ties):
    one = draw(0, ties=ties)
    found = OpenSet((one,), 0.95).scores(n_resamples=2)
    truth = ~one.known
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, one.unknown_scores))
    # The known are the positives here: their true positive rate is the coverage.
    false, true, _ = roc_curve(one.known, -one.unknown_scores, drop_intermediate=False)
    assert found["unknown_accepted"] == pytest.approx(false[np.flatnonzero(true >= 0.95)[0]])
    limit = np.quantile(one.unknown_scores[one.known], 0.95, method="inverted_cdf")
    accepted = one.known & (one.unknown_scores <= limit)
    assert found["accuracy_accepted"] == pytest.approx(one.right[accepted].mean())
    assert found["accuracy"] == pytest.approx(one.right[one.known].mean())


def test_means_over_draws_have_intervals_around_them():
    draws = tuple(draw(seed) for seed in range(3))
    found = OpenSet(draws, 0.95).scores(n_resamples=200)
    for name in OPEN_SET_METRICS:
        assert found[name] == pytest.approx(
            np.mean([OpenSet((one,), 0.95).scores(n_resamples=2)[name] for one in draws])
        )
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]


def test_groups_make_wider_intervals():
    one = draw(0)
    order = np.argsort(one.unknown_scores)
    groups = np.empty(len(order), np.intp)
    groups[order] = np.arange(len(order)) // 20  # neighbours in the score are one recording
    alone, grouped = (OpenSet((one,), 0.95, each).scores(n_resamples=300) for each in (None, groups))
    assert grouped["auroc_high"] - grouped["auroc_low"] > 1.5 * (alone["auroc_high"] - alone["auroc_low"])


def test_the_curve_rises_to_everything():
    points = OpenSet((draw(0), draw(1)), 0.95).curve()
    accepted = [point["unknown_accepted"] for point in points]
    assert accepted == sorted(accepted)
    assert points[-1]["coverage"] == 1
    assert points[-1]["accuracy_accepted"] == pytest.approx(
        np.mean([one.right[one.known].mean() for one in (draw(0), draw(1))])
    )


def test_each_class_is_left_out_in_turn_or_some_are_drawn():
    labels = np.array(["a", "b", "c", "d"])
    assert leave_out(labels) == [("a",), ("b",), ("c",), ("d",)]
    drawn = leave_out(labels, n_out=2, draws=5)
    assert len(drawn) == 5
    assert all(len(set(each)) == 2 for each in drawn)
    assert drawn == leave_out(labels, n_out=2, draws=5)
    assert len(leave_out(np.arange(100))) == 20


def test_too_few_classes_or_odd_numbers_are_refused():
    with pytest.raises(DatasetError, match="3 classes, of which 2 would be left out; give at least 4"):
        leave_out(np.arange(3), n_out=2)
    with pytest.raises(ParameterError, match="n_out=0"):
        leave_out(np.arange(3), n_out=0)


def tones(n_each):
    """Windows of sounds at four pitches."""
    rng = np.random.default_rng(0)
    hz = np.repeat([300, 900, 2000, 5000], n_each)
    embedder = l3clf.load_embedder("mfcc")
    rate = embedder.sample_rate
    sounds = [np.sin(2 * np.pi * f * rng.uniform(0.9, 1.1) * np.arange(rate) / rate) for f in hz]
    windows = [embedder.embed((0.3 * x + 0.01 * rng.normal(size=rate)).astype(np.float32), rate) for x in sounds]
    return embedder, windows, hz.astype(str)


def test_left_out_tones_are_told_from_those_that_were_learned():
    embedder, windows, labels = tones(6)
    split = make_split(labels, n_splits=2)
    found = open_set(l3clf.ClipClassifier(embedder, cache=None), windows, labels, split)
    assert [each.left_out for each in found.draws] == [(each,) for each in np.unique(labels).tolist()]
    for each in found.draws:
        assert np.array_equal(each.known, labels != each.left_out[0])
        assert not each.right[~each.known].any()
    scores = found.scores(n_resamples=20)
    assert scores["accuracy"] > 0.9
    assert scores["auroc"] > 0.8


class Forgetful(GaussianNB):
    """Warns without any filter, as a tree of a forest does when another thread has emptied the filters."""

    def fit(self, *args, **kwargs):
        with warnings.catch_warnings():
            warnings.resetwarnings()
            warnings.warn("`sklearn.utils.parallel.delayed` should be used with `Parallel`", UserWarning, stacklevel=2)
        return super().fit(*args, **kwargs)


def test_what_forests_in_threads_warn_of_by_mistake_is_kept_back(recwarn):
    embedder, windows, labels = tones(2)
    model = l3clf.ClipClassifier(embedder, head=Forgetful(), cache=None)
    open_set(model, windows, labels, make_split(labels, n_splits=2), [("300",)])
    assert [str(each.message) for each in recwarn] == []


def test_a_fold_that_would_be_left_with_one_class_is_named():
    embedder, windows, labels = tones(2)
    folds = np.array([0, 1, 0, 1, 0, 0, 0, 0])
    split = make_split(labels, folds=folds)
    with pytest.raises(DatasetError, match="a fold has one class to train on"):
        open_set(l3clf.ClipClassifier(embedder, cache=None), windows, labels, split, [("300", "5000")])


def test_accept_is_a_share():
    with pytest.raises(ParameterError, match="accept=95"):
        open_set(l3clf.ClipClassifier("mfcc"), [], np.arange(3), None, accept=95)
