"""Sounds that are learned from without a recording: finite, seeded, and what their kind is known by."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.l3mini import synthesis
from benchmarks.l3mini.synthesis import SAMPLE_RATE, spoken, synthetic_sounds
from l3clf.errors import MissingDependencyError

KINDS = ("tones", "sweep", "pulses", "noise", "struck", "voice", "engine", "texture", "crackle", "bursts")


def loudness(x, frame_s=0.02):
    """RMS of frames."""
    n = round(frame_s * SAMPLE_RATE)
    return np.sqrt((x[: len(x) // n * n].reshape(-1, n) ** 2).mean(axis=1))


def test_sounds_have_their_length_and_a_level_between_30_and_3_db_below_full_scale():
    for sound in synthetic_sounds(40, duration_s=1.5):
        assert sound.samples.dtype == np.float32
        assert sound.samples.shape == (round(1.5 * SAMPLE_RATE),)
        assert 10 ** (-30.01 / 20) <= np.abs(sound.samples).max() <= 10 ** (-2.99 / 20)


def test_a_seed_repeats_and_another_does_not():
    first, again, other = (synthetic_sounds(20, seed=seed, duration_s=0.5) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
        assert not np.array_equal(a.samples, c.samples)
    assert len({sound.samples.tobytes() for sound in first}) == 20


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1600, 20_000))
def test_every_kind_is_finite_whatever_is_drawn(kind, seed, n):
    sound = getattr(synthesis, f"_{kind}")(n, np.random.default_rng(seed))
    assert sound.shape == (n,)
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()


@pytest.mark.parametrize("seed", range(5))
def test_an_engine_repeats_itself_as_often_as_it_turns(seed, monkeypatch):
    monkeypatch.setattr(synthesis, "_between", lambda rng, low, high: 25.0 if high == 150 else low)
    monkeypatch.setattr(synthesis, "_curve", lambda n, knots: np.full(n, 25.0, np.float32))
    envelope = np.abs(synthesis._engine(4 * SAMPLE_RATE, np.random.default_rng(seed)))
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
    strongest_hz = np.fft.rfftfreq(len(envelope), 1 / SAMPLE_RATE)[spectrum[: 4 * 200].argmax()]
    assert strongest_hz % 25 == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_struck_things_are_loudest_at_once_and_fade(seed, monkeypatch):
    monkeypatch.setattr(synthesis, "_placed", lambda n, event, rng: event)
    level = loudness(synthesis._struck(SAMPLE_RATE, np.random.default_rng(seed)), 0.005)
    assert level.argmax() <= 2
    assert level[-1] < 0.05 * level.max()


def test_a_texture_has_no_pitch_and_swells():
    flatness = []
    for seed in range(8):
        sound = synthesis._texture(2 * SAMPLE_RATE, np.random.default_rng(seed))
        power = np.abs(np.fft.rfft(sound)[120:15_000]) ** 2  # 60 to 7,500 Hz
        flatness.append(power.max() / power.mean())
        assert np.ptp(loudness(sound, 0.05)) > 0.2 * loudness(sound, 0.05).mean()
    assert np.median(flatness) < 300  # a tone of this length would have 15,000


def test_speech_is_asked_of_espeak_ng(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(MissingDependencyError, match="spoken needs the program espeak-ng; install it"):
        spoken(["yes"], ["en-us"], 1)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_speech_is_audible_and_repeats():
    first, again = (spoken(["hello", "thank you"], ["en-us", "de"], 4, seed=3) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
        assert np.abs(a.samples).max() > 0.05
        assert 0.2 < len(a.samples) / a.sample_rate < 4
