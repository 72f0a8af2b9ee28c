"""Distances to what was learned: right for Gaussians, better than the head alone far away, checked when loaded."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import chi2

from l3clf.classifier.cross_fitting import with_distances
from l3clf.classifier.decision import Answers
from l3clf.classifier.typicality import MAX_COMPONENTS, Typicality, fit_typicality
from l3clf.errors import ModelFileError

SIZE, CLASSES = 12, 3


def clips(n, seed, shift=0.0):
    """Gaussian classes with one covariance, far from a sphere."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    centres = np.random.default_rng(99).normal(0, 5, (CLASSES, SIZE))
    mix = np.random.default_rng(7).normal(size=(SIZE, SIZE)) * np.geomspace(0.1, 3, SIZE)
    return (centres[labels] + rng.normal(size=(n, SIZE)) @ mix + shift).astype(np.float32), labels.astype(str)


def test_distances_of_gaussian_classes_follow_the_chi_square_distribution():
    fitted = fit_typicality(*clips(6000, 0))
    found = SIZE * fitted.distances(clips(3000, 1)[0])
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(found, share) == pytest.approx(chi2.ppf(share, SIZE), rel=0.12)


def test_a_clip_at_the_edge_of_what_was_held_out_has_half_a_share():
    fitted = fit_typicality(*clips(600, 0))
    shares = fitted.shares(clips(3000, 1)[0])
    assert (shares >= 0.5).mean() == pytest.approx(0.95, abs=0.02)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert fitted.shares(clips(300, 2, shift=15)[0]).max() < shares.min()


def test_windows_that_scatter_more_than_their_mean_are_as_typical_as_clips():
    def recordings(seed):
        rng = np.random.default_rng(seed)
        means, labels = clips(600, seed)
        return [mean + rng.normal(0, 6, (16, SIZE)) for mean in means], labels

    windows, labels = recordings(0)
    fitted = fit_typicality(np.stack([each.mean(axis=0) for each in windows]), labels, windows)
    others = recordings(1)[0]
    for n in (1, 2, 4, 16):
        pools = np.stack([each[:n].mean(axis=0) for each in others])
        assert (fitted.shares(pools, n) >= 0.5).mean() == pytest.approx(0.95, abs=0.03)
    assert (fitted.shares(np.concatenate(others)) >= 0.5).mean() < 0.5  # as if each were a clip
    assert (fitted.shares(clips(300, 2, shift=200)[0], 1) < 0.5).all()


def test_fewer_clips_than_dimensions_are_enough():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (2, 400))
    labels = np.repeat([0, 1], 12)
    fitted = fit_typicality(centres[labels] + rng.normal(0, 1, (24, 400)), labels)
    known = fitted.shares(centres[labels] + rng.normal(0, 1, (24, 400)))
    unknown = fitted.shares(rng.normal(0, 1, (1, 400)) + rng.normal(0, 1, (24, 400)))
    assert np.median(unknown) < known.min()


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_handful_of_clips_and_constant_numbers_give_finite_shares(n):
    vectors, _ = clips(n, 0)
    vectors[:, 0] = 3.0
    shares = fit_typicality(vectors, np.array(["a", "b"])[np.arange(n) % 2]).shares(np.vstack([vectors, 1e6 + vectors]))
    assert np.isfinite(shares).all()
    assert shares[-1] <= shares[0]


def test_identical_clips_are_no_division_by_zero():
    vectors = np.repeat(np.eye(2, 5), 6, axis=0)
    fitted = fit_typicality(vectors, np.repeat([0, 1], 6))
    assert fitted.shares(vectors).min() >= 0.5
    assert fitted.shares(np.ones((1, 5))).max() < 0.01


def test_many_components_are_cut():
    rng = np.random.default_rng(0)
    fitted = fit_typicality(rng.normal(size=(280, MAX_COMPONENTS + 20)), np.arange(280) % 2)
    assert fitted.components.shape == (MAX_COMPONENTS, MAX_COMPONENTS + 20)
    assert np.allclose(fitted.components @ fitted.components.T, np.eye(MAX_COMPONENTS), atol=1e-9)


def test_it_is_the_same_from_its_arrays():
    fitted, rows = fit_typicality(*clips(60, 0)), clips(40, 1)[0]
    again = Typicality.from_arrays(fitted.arrays(), CLASSES, SIZE)
    assert np.array_equal(again.shares(rows), fitted.shares(rows))


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_what_calibration_made_sharper_counts_as_it_was(temperature):
    logits, shares = np.random.default_rng(0).normal(0, 2, (50, 4)), np.random.default_rng(1).uniform(size=50)
    sharp = Answers(softmax(logits / temperature, axis=1), np.ones(50))
    found = with_distances(sharp, shares, temperature)
    np.testing.assert_array_equal(found.probabilities, sharp.probabilities)
    np.testing.assert_allclose(1 - found.unknown_scores, shares * softmax(logits, axis=1).max(axis=1))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mean", lambda a: a[:-1], "has shape"),
        ("scale", lambda a: 0 * a, "not above 0"),
        ("spreads", lambda a: -a, "not above 0"),
        ("spreads", lambda a: a[:-1], "has shape"),
        ("centres", lambda a: a[:-1], "has shape"),
        ("centres", lambda a: a * np.nan, "NaN"),
        ("components", lambda a: a.astype(np.float32), "float64"),
        ("components", lambda a: np.vstack([a, a, a]), "has shape"),
        ("limits", lambda a: a * [1.0, 0.0], "slope"),
        ("limits", lambda a: a[0], "2-D"),
        ("length", lambda a: 0 * a, "below 1"),
        ("limits", None, "is missing"),
    ],
)
def test_damaged_arrays_are_refused(name, change, message):
    arrays = fit_typicality(*clips(60, 0)).arrays()
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name])
    with pytest.raises(ModelFileError, match=message):
        Typicality.from_arrays(arrays, CLASSES, SIZE)


def test_classes_whose_clips_are_all_alike():
    """Nothing scatters then: what is not exactly as learned is far away, and a model file holds such distances too."""
    alike = np.repeat(np.eye(2, 6), 5, axis=0)
    fitted = fit_typicality(alike, np.repeat([0, 1], 5))
    again = Typicality.from_arrays(fitted.arrays(), 2, 6)
    assert len(again.components) == 1
    np.testing.assert_array_equal(again.shares(alike), fitted.shares(alike))
    assert again.shares(np.ones((1, 6)))[0] < 0.01 < 0.4 < again.shares(alike).min()
