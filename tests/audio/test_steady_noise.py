"""Spectral gating: steady noise becomes 20 dB quieter, sounds stay, and nothing else about a clip changes."""

import numpy as np
import pytest

from l3clf.audio import steady_noise
from l3clf.audio.steady_noise import without_steady_noise

RATE = 16_000


def level_db(x):
    return 20 * np.log10(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def tone_in_noise(rate=RATE, seconds=6):
    t = np.arange(seconds * rate) / rate
    noise = np.random.default_rng(0).normal(0, 0.03, len(t))
    tone = 0.3 * np.sin(2 * np.pi * 1000 * t) * ((t > 2) & (t < 3))
    return (tone + noise).astype(np.float32), tone.astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_noise_is_turned_down_and_a_tone_is_not(rate):
    mixed, tone = tone_in_noise(rate)
    found = without_steady_noise(mixed, rate)
    assert found.dtype == np.float32
    assert found.shape == mixed.shape
    quiet, loud = slice(4 * rate, None), slice(int(2.1 * rate), int(2.9 * rate))
    assert -21 < level_db(found[quiet]) - level_db(mixed[quiet]) < -18
    assert abs(level_db(found[loud]) - level_db(tone[loud])) < 0.2
    assert level_db((found - tone)[loud]) < level_db((mixed - tone)[loud]) - 8


def test_a_hum_is_steady_noise_and_a_click_is_not():
    t = np.arange(4 * RATE) / RATE
    hum = 0.1 * np.sin(2 * np.pi * 120 * t)
    hum[2 * RATE] += 1
    found = without_steady_noise(hum.astype(np.float32), RATE)
    assert level_db(found[:RATE]) < level_db(hum[:RATE]) - 18
    assert found[2 * RATE] > 0.5


def test_digital_silence_is_no_noise_level():
    mixed, _ = tone_in_noise()
    padded = np.pad(mixed, (0, 6 * len(mixed)))
    np.testing.assert_allclose(
        without_steady_noise(padded, RATE)[: 5 * RATE], without_steady_noise(mixed, RATE)[: 5 * RATE], atol=0.02
    )
    assert not without_steady_noise(np.zeros(RATE, np.float32), RATE).any()


@pytest.mark.parametrize("n", [1, 2, 100, 1023, 1025])
def test_clips_of_any_length(n):
    x = np.random.default_rng(n).normal(size=n).astype(np.float32)
    found = without_steady_noise(x, RATE)
    assert found.shape == x.shape
    assert np.isfinite(found).all()


def test_blocks_leave_no_trace(monkeypatch):
    mixed, _ = tone_in_noise()
    whole = without_steady_noise(mixed, RATE)
    monkeypatch.setattr(steady_noise, "AT_ONCE", 37)
    np.testing.assert_allclose(without_steady_noise(mixed, RATE), whole, atol=1e-6)


def test_a_long_clip_tells_its_noise_by_some_of_its_frames(monkeypatch):
    mixed, _ = tone_in_noise()
    whole = without_steady_noise(mixed, RATE)
    monkeypatch.setattr(steady_noise, "NOISE_FRAMES", 100)
    quiet = slice(4 * RATE, None)
    assert abs(level_db(without_steady_noise(mixed, RATE)[quiet]) - level_db(whole[quiet])) < 2
