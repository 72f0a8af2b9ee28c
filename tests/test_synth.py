"""Synthetic sounds have the pitch, the rhythm and the noise that their class is known by."""

import numpy as np
import pytest
from scipy import signal

from l3clf import synth
from l3clf.errors import ParameterError
from l3clf.synth import CLASSES, synthesise

RATE = 22050
SEEDS = range(4)


def clean(name, seed, duration_s=4.0, rate=RATE):
    """Make the sound alone, without place and microphone."""
    return synth._MAKERS[name](np.random.default_rng(seed), round(duration_s * rate), rate)


def spectral_peak_hz(x, rate=RATE):
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))))
    return np.fft.rfftfreq(len(x), 1 / rate)[spectrum.argmax()]


def band_share(x, low_hz, high_hz):
    power = np.abs(np.fft.rfft(x)) ** 2
    f_hz = np.fft.rfftfreq(len(x), 1 / RATE)
    return power[(f_hz >= low_hz) & (f_hz < high_hz)].sum() / power.sum()


def pitch_track_hz(x):
    f_hz, _, power = signal.spectrogram(x, RATE, nperseg=1024, noverlap=512, window="hann")
    return f_hz[power.argmax(axis=0)]


def onsets_s(x, quiet=0.15, gap_s=0.1):
    """Return the times at which something begins after a gap."""
    loud = np.flatnonzero(np.abs(x) > quiet * np.abs(x).max()) / RATE
    return loud[np.flatnonzero(np.diff(loud, prepend=-1) > gap_s)]


def loudness(x, rate=RATE):
    frames = x[: len(x) // 220 * 220].reshape(-1, 220)
    return np.sqrt((frames**2).mean(axis=1))


def test_there_are_ten_classes():
    assert CLASSES == tuple("siren drill bark rain clock engine chirps footsteps alarm hum".split())


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(("duration_s", "rate"), [(0.1, 8000), (1.37, 22050), (2.0, 48000)])
def test_clip_is_finite_float32_of_the_right_length_and_level(name, duration_s, rate):
    clip = synthesise(name, np.random.default_rng(1), duration_s, rate)
    assert clip.dtype == np.float32
    assert clip.shape == (round(duration_s * rate),)
    assert np.isfinite(clip).all()
    assert 0.05 < np.abs(clip).max() <= 0.95


@pytest.mark.parametrize("name", CLASSES)
def test_seed_decides_everything(name):
    first, again, other = (synthesise(name, np.random.default_rng(s), 1.0) for s in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.corrcoef(first, other)[0, 1]) < 0.5


def test_global_random_state_is_neither_used_nor_changed():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    synthesise("rain", np.random.default_rng(0), 0.5)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("rate", [8000, 22050])
def test_no_class_is_ever_silent_alone(name, rate):
    for seed in SEEDS:
        assert np.abs(clean(name, seed, 1.5, rate)).max() > 0.01


@pytest.mark.parametrize("name", CLASSES)
def test_clip_starts_and_ends_softly(name):
    for seed in SEEDS:
        clip = synthesise(name, np.random.default_rng(seed), 1.0)
        assert max(abs(clip[0]), abs(clip[-1])) < 0.01 * np.abs(clip).max()


@pytest.mark.parametrize("name", ["siren", "alarm", "hum"])
def test_tones_have_no_clicks(name):
    # A click is a step, far larger than what the highest partial can move in one sample.
    for seed in SEEDS:
        x = clean(name, seed)
        bend = np.abs(np.diff(x, 2))
        assert bend.max() < 12 * np.sqrt((bend**2).mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_hum_peaks_at_its_fundamental_even_in_noise(seed):
    peak = spectral_peak_hz(synthesise("hum", np.random.default_rng(seed), 4.0))
    assert np.abs(peak / np.array([50, 60, 100, 120]) - 1).min() < 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_hum_is_steady(seed):
    # Frames of 0.1 s hold whole periods of 50, 60, 100 and 120 Hz.
    x = clean("hum", seed)[: RATE // 10 * 40].reshape(40, -1)
    level = np.sqrt((x**2).mean(axis=1))
    assert level.std() < 0.1 * level.mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_siren_sweeps_over_half_an_octave_or_more(seed):
    track = pitch_track_hz(synth._siren(np.random.default_rng(seed), 5 * RATE, RATE))
    assert np.log2(np.percentile(track, 95) / np.percentile(track, 5)) > 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_alarm_holds_one_pitch_or_two(seed):
    x = clean("alarm", seed)
    track = pitch_track_hz(x)[loudness(x)[::1].max() * 0 == 0 or slice(None)]
    assert len(np.unique(np.round(track))) <= 12
