"""A band limit on windows: known answers on sines, no click where a window is cut, no neighbour's influence."""

import numpy as np
import pytest
import scipy.signal

from l3clf.audio.band_limit import band_gain, band_limited

RATE = 16_000
T = np.arange(RATE) / RATE
INSIDE = slice(500, -500)  # 31 ms from the cuts
BANDS = [(1000, 8000), (1000, 4000), (0, 2000), (50, 300)]


def sine(hz, phase=0.7):
    return np.sin(2 * np.pi * hz * T + phase).astype(np.float32)[None]


def rms_db(x):
    return 20 * np.log10(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


@pytest.mark.parametrize("hz", [100, 333.3, 500, 1000, 1500, 4000, 7000])
@pytest.mark.parametrize("band", BANDS[:3])
def test_a_sine_is_multiplied_with_the_gain_of_its_frequency_and_not_delayed(hz, band):
    high = band[1] if band[1] < RATE / 2 else np.inf  # no high edge
    expected = band_gain(np.array([hz]), (band[0], high)) * sine(hz)
    np.testing.assert_allclose(band_limited(sine(hz), RATE, band)[:, INSIDE], expected[:, INSIDE], atol=2e-6)


def test_gains_are_those_that_the_documentation_says():
    gains = band_gain(np.array([0, 500, 1000, 4000, 8000, 16000.0]), (1000, 4000))
    decibels = 20 * np.log10(np.maximum(gains, 1e-30))
    np.testing.assert_allclose(decibels[[2, 3]], -6.02, atol=0.01)
    assert gains[0] == 0
    np.testing.assert_allclose(decibels[1], -48.2, atol=0.1)
    np.testing.assert_allclose(decibels[5] - decibels[4], -48.2, atol=0.1)


def test_it_is_a_butterworth_filter_forwards_and_backwards():
    x = np.random.default_rng(0).normal(size=(1, RATE)).astype(np.float32)
    low, high = (scipy.signal.butter(4, hz, kind, fs=RATE, output="sos") for hz, kind in ((300, "high"), (1000, "low")))
    peer = scipy.signal.sosfiltfilt(high, scipy.signal.sosfiltfilt(low, x))
    ours = band_limited(x, RATE, (300, 1000))
    # Digital filters warp frequencies a little.
    assert rms_db((ours - peer)[:, INSIDE]) < rms_db(peer) - 35


@pytest.mark.parametrize("hz", [20, 50, 120])
@pytest.mark.parametrize("phase", [0, 0.7, np.pi / 2])
def test_a_rumble_that_the_window_cuts_does_not_click(hz, phase):
    left = band_limited(sine(hz, phase), RATE, (1000, 8000))
    assert rms_db(left) < rms_db(sine(hz)) - 75
    padded = np.pad(sine(hz, phase), ((0, 0), (RATE, RATE)))  # what cutting without care would leave
    clicks = band_limited(padded, RATE, (1000, 8000))[:, RATE:-RATE]
    if phase:
        assert rms_db(clicks) > rms_db(left) + 20


@pytest.mark.parametrize("band", BANDS)
def test_a_window_does_not_depend_on_its_neighbours(band):
    windows = np.random.default_rng(1).normal(size=(5, 3001)).astype(np.float32)
    together = band_limited(windows, RATE, band)
    assert together.shape == windows.shape
    assert together.dtype == np.float32
    alone = np.concatenate([band_limited(one[None], RATE, band) for one in windows])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_zeros_stay_zeros_and_short_windows_are_filtered():
    assert not band_limited(np.zeros((2, 400), np.float32), RATE, (1000, 8000)).any()
    short = band_limited(sine(3000)[:, :20], RATE, (20, 8000))  # shorter than the filter rings
    assert np.isfinite(short).all()
    assert short.shape == (1, 20)
