"""Synthetic sounds have the pitch, the rhythm and the noise that their class is known by."""

import numpy as np
import pytest
from scipy import signal

from l3clf.demo import sounds as synth
from l3clf.demo.sounds import CLASSES, synthesise
from l3clf.errors import ParameterError

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


def loudness(x):
    """Return the RMS of frames of 10 ms."""
    frames = x[: len(x) // 220 * 220].reshape(-1, 220)
    return np.sqrt((frames**2).mean(axis=1))


def test_there_are_ten_classes():
    assert " ".join(CLASSES) == "siren drill bark rain clock engine chirps footsteps alarm hum"


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
def test_alarm_keeps_to_one_pitch_or_two(seed):
    f_hz, _, power = signal.spectrogram(clean("alarm", seed), RATE, nperseg=1024, noverlap=512)
    sounding = power.sum(axis=0) > 0.5 * power.sum(axis=0).max()
    pitches = np.unique(f_hz[power.argmax(axis=0)[sounding]])
    one_bin_hz = RATE / 1024
    assert 1 <= 1 + np.count_nonzero(np.diff(pitches) > 1.5 * one_bin_hz) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_clock_ticks_strictly_periodically(seed):
    intervals = np.diff(onsets_s(clean("clock", seed, 6.0)))
    assert 0.19 < intervals.mean() < 1.01
    assert np.ptp(intervals) < 0.004


@pytest.mark.parametrize("seed", SEEDS)
def test_footsteps_are_in_walking_pace_but_uneven(seed):
    intervals = np.diff(onsets_s(clean("footsteps", seed, 6.0), quiet=0.2, gap_s=0.25))
    assert 0.38 < intervals.min() < intervals.max() < 0.84
    assert np.ptp(intervals) > 0.004


@pytest.mark.parametrize("seed", SEEDS)
def test_barks_are_apart_and_have_a_pitch(seed):
    x = clean("bark", seed)
    assert 2 <= len(onsets_s(x, gap_s=0.02)) <= 20
    assert np.median(loudness(x)) < 0.5 * loudness(x).max()
    assert band_share(x, 150, 4000) > 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_chirps_are_high_and_engine_is_low(seed):
    assert band_share(clean("chirps", seed), 1200, RATE) > 0.95
    assert band_share(clean("engine", seed), 0, 1000) > 0.75


@pytest.mark.parametrize("seed", SEEDS)
def test_rain_is_noise_and_drill_is_a_bright_buzz(seed):
    def flatness(x):
        power = signal.welch(x, RATE, nperseg=2048)[1][10:-100]
        return np.exp(np.log(power).mean()) / power.mean()

    assert flatness(clean("rain", seed)) > 0.15
    drill = clean("drill", seed)
    assert band_share(drill, 1000, RATE) > band_share(clean("engine", seed), 1000, RATE)
    assert spectral_peak_hz(drill) < 3000


def test_tone_leaves_out_what_would_alias():
    tone = synth._tone(np.full(RATE, 3000.0), RATE, np.ones(8))
    assert band_share(tone, 2900, 9100) > 0.999  # 3, 6 and 9 kHz; not 12 kHz, which would sound at 10.05
    assert spectral_peak_hz(synth._tone(np.full(RATE, 440.0), RATE, np.array([1.0]))) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("slope_db", [-6.0, -3.0, 0.0, 2.0])
def test_noise_has_its_colour(slope_db):
    noise = synth._noise(np.random.default_rng(0), 20 * RATE, RATE, slope_db)
    f_hz, power = signal.welch(noise, RATE, nperseg=4096)
    octaves_db = [10 * np.log10(power[(f_hz >= f) & (f_hz < 1.1 * f)].mean()) for f in (500, 1000, 2000, 4000)]
    np.testing.assert_allclose(np.diff(octaves_db), slope_db, atol=0.7)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1)


@pytest.mark.parametrize("name", CLASSES)
def test_background_has_the_drawn_ratio(name, monkeypatch):
    monkeypatch.setattr(synth, "_TILT_DB", (0.0, 0.0))
    monkeypatch.setattr(synth, "_SNR_DB", (20.0, 20.0))
    sound = synth._tilted(clean(name, 3), RATE, 0.0)
    heard = synth._recorded(sound, np.random.default_rng(5), RATE)
    part = sound * (heard @ sound) / (sound @ sound)
    ratio_db = 10 * np.log10((part @ part) / ((heard - part) @ (heard - part)))
    assert ratio_db == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("meow",), "name='meow'; expected one of siren"),
        (("rain", 0.01), "at least 0.1 s"),
        (("rain", np.nan), "at least 0.1 s"),
        (("rain", np.inf), "at least 0.1 s"),
        (("rain", 1.0, 4000), "at least 8000"),
        (("rain", 1.0, 22050.5), "whole number"),
    ],
)
def test_impossible_options_are_refused(arguments, complaint):
    name, *rest = arguments
    with pytest.raises(ParameterError, match=complaint):
        synthesise(name, np.random.default_rng(0), *rest)
