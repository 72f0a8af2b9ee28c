"""Augmentation, on signals with known answers."""

import numpy as np
import pytest
from helpers.sound_files import noise, tone
from scipy import signal

from l3clf.audio.augmentation import (
    EQUALISER_HZ,
    Augmentation,
    add_noise,
    band_limit,
    coloured_noise,
    equalise,
    gain,
    mix,
    pitch_shift,
    reverberate,
    time_shift,
    time_stretch,
)
from l3clf.audio.clip_augmentation import Augmentation as ClipAugmentation
from l3clf.errors import ParameterError

RATE = 16_000
NEVER = dict.fromkeys(("p_stretch", "p_pitch", "p_noise", "p_mix", "p_band", "p_colour", "p_room"), 0.0)


def rms(x):
    return float(np.sqrt(np.mean(np.asarray(x, np.float64) ** 2)))


def db(ratio):
    return 20 * np.log10(ratio)


def middle(x, share=0.6):
    """A sound without its ends, where a change may fade."""
    edge = round(len(x) * (1 - share) / 2)
    return x[edge : len(x) - edge]


def peak_hz(x, rate=RATE):
    """Frequency of the strongest bin, refined by a parabola through its neighbours."""
    spectrum = np.log(np.abs(np.fft.rfft(x * np.hanning(len(x)))) + 1e-9)
    k = int(spectrum[1:-1].argmax()) + 1
    left, top, right = spectrum[k - 1 : k + 2]
    return (k + (left - right) / (2 * (left - 2 * top + right))) * rate / len(x)


def purity_db(x, hz, rate=RATE):
    """How far everything else lies below a tone."""
    t = np.arange(len(x)) / rate
    basis = np.stack([np.cos(2 * np.pi * hz * t), np.sin(2 * np.pi * hz * t)], axis=1)
    fitted = basis @ np.linalg.lstsq(basis, x, rcond=None)[0]
    return db(rms(fitted) / rms(x - fitted))


# --- time and pitch --------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("hz", [220.0, 1234.5, 5000.0])
@pytest.mark.parametrize("factor", [0.5, 0.85, 1.15, 2.0])
def test_a_stretched_tone_keeps_frequency_and_level(factor, hz, rate):
    x = tone(hz, 1.0, rate)
    out = time_stretch(x, rate, factor)
    assert (len(out), out.dtype) == (round(len(x) * factor), np.float32)
    assert peak_hz(middle(out), rate) == pytest.approx(hz, rel=1e-3)
    assert db(rms(middle(out)) / rms(x)) == pytest.approx(0, abs=1.3)
    assert purity_db(middle(out, 0.2), hz, rate) > 35


def test_stretching_by_one_changes_nothing():
    x = noise(8000)
    assert rms(time_stretch(x, RATE, 1.0) - x) < 1e-5


def test_stretching_moves_what_happens():
    """A click at a third of the sound is at a third of the stretched one."""
    x = np.zeros(RATE, np.float32)
    x[RATE // 3] = 1
    out = time_stretch(x, RATE, 1.5)
    assert int(np.abs(out).argmax()) == pytest.approx(RATE / 2, abs=0.03 * RATE)


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("hz", [220.0, 1234.5])
@pytest.mark.parametrize("factor", [0.5, 0.85, 1.15, 2.0])
def test_a_pitch_shifted_tone_has_the_expected_frequency(factor, hz, rate):
    x = tone(hz, 1.0, rate)
    out = pitch_shift(x, rate, factor)
    assert (len(out), out.dtype) == (len(x), np.float32)
    assert peak_hz(middle(out), rate) == pytest.approx(hz * factor, rel=1e-3)
    assert db(rms(middle(out)) / rms(x)) == pytest.approx(0, abs=1.3)


def test_short_sounds_can_be_stretched_and_shifted():
    for n in (1, 2, 10, 300):
        assert time_stretch(noise(n), RATE, 1.15).shape == (round(1.15 * n),)
        assert pitch_shift(noise(n), RATE, 0.85).shape == (n,)


@pytest.mark.parametrize("shift", [-9000, -300, 0, 300, 9000])
def test_a_shift_moves_the_sound_and_leaves_zeros(shift):
    x = noise(8000)
    out = time_shift(x, RATE, shift / RATE)
    assert (len(out), out.dtype) == (8000, np.float32)
    kept = max(0, 8000 - abs(shift))
    earlier, later = (x, out) if shift > 0 else (out, x)
    np.testing.assert_array_equal(earlier[:kept], later[8000 - kept :])
    assert np.count_nonzero(out) == kept


# --- level and mixing ------------------------------------------------------------------------------


@pytest.mark.parametrize("by_db", [-24.0, 0.0, 6.0])
def test_gain_is_in_decibels(by_db):
    x = tone()
    assert db(rms(gain(x, by_db)) / rms(x)) == pytest.approx(by_db, abs=1e-4)


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 2.0])
def test_noise_falls_by_three_decibels_an_octave_and_exponent(exponent):
    x = coloured_noise(1 << 18, exponent, np.random.default_rng(3))
    assert rms(x) == pytest.approx(1, abs=1e-4)
    hz, power = signal.welch(x, RATE, nperseg=4096)
    octaves = [10 * np.log10(power[(hz >= low) & (hz < 2 * low)].mean()) for low in 62.5 * 2.0 ** np.arange(6)]
    assert np.diff(octaves) == pytest.approx(-10 * np.log10(2) * exponent, abs=0.35)


@pytest.mark.parametrize("ratio_db", [0.0, 15.0, -3.0])
def test_a_mix_has_its_ratio(ratio_db):
    x, other = tone(440), 0.01 * tone(3000)
    added = mix(x, other, ratio_db) - x
    assert db(rms(x) / rms(added)) == pytest.approx(ratio_db, abs=0.01)
    assert peak_hz(added) == pytest.approx(3000, rel=1e-3)


def test_a_mix_with_silence_is_the_other_sound_as_it_is():
    x, silence = tone(), np.zeros(8000, np.float32)
    np.testing.assert_array_equal(mix(x, silence, 6.0), x)
    np.testing.assert_array_equal(mix(silence, x, 6.0), x)


@pytest.mark.parametrize("snr_db", [5.0, 40.0])
def test_noise_is_added_at_its_ratio(snr_db):
    x, added = tone(), coloured_noise(8000, 1.0, np.random.default_rng(0))
    assert db(rms(x) / rms(add_noise(x, added, snr_db) - x)) == pytest.approx(snr_db, abs=0.05)


def test_silence_stays_silent():
    silence = np.zeros(100, np.float32)
    np.testing.assert_array_equal(add_noise(silence, noise(100), 5.0), silence)


# --- filters ---------------------------------------------------------------------------------------


def butterworth_db(hz, low_hz, high_hz):
    """What a digital filter of order 4 leaves of a tone: the analogue formulas over tan(pi f / rate)."""
    at, low, high = (np.tan(np.pi * (f or 1) / RATE) for f in (hz, low_hz, high_hz))
    one_sided = low / at if low_hz else at / high
    ratio = (at**2 - low * high) / (at * (high - low)) if low_hz and high_hz else one_sided
    return -10 * np.log10(1 + ratio**8)


@pytest.mark.parametrize("hz", [100.0, 200.0, 400.0, 1000.0, 2000.0])
@pytest.mark.parametrize(("low_hz", "high_hz"), [(200.0, None), (None, 1000.0), (100.0, 1500.0)])
def test_bands_are_limited_as_a_butterworth_does(hz, low_hz, high_hz):
    x = tone(hz, 4.0)
    out = band_limit(x, RATE, low_hz, high_hz)
    assert (len(out), out.dtype) == (len(x), np.float32)
    expected = butterworth_db(hz, low_hz, high_hz)
    assert db(rms(middle(out)) / rms(middle(x))) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(("low_hz", "high_hz"), [(None, None), (0.0, None), (None, 8000.0), (0, 9000)])
def test_an_open_band_changes_nothing(low_hz, high_hz):
    x = noise(1000)
    np.testing.assert_array_equal(band_limit(x, RATE, low_hz, high_hz), x)


GAINS_DB = np.array([-9.0, 6.0, 0.0, 3.0, -6.0, 9.0, -3.0, 0.0])


@pytest.mark.parametrize(("hz", "expected"), list(zip(EQUALISER_HZ[:-1], GAINS_DB[:-1], strict=True)))
def test_the_equaliser_has_its_gains(hz, expected):
    x = tone(hz, 1.0)
    out = equalise(x, RATE, GAINS_DB)
    assert (len(out), out.dtype) == (len(x), np.float32)
    assert db(rms(middle(out)) / rms(middle(x))) == pytest.approx(expected, abs=0.2)


def test_between_its_frequencies_the_equaliser_is_linear_in_octaves():
    x = tone(np.sqrt(500 * 1000), 1.0)
    assert db(rms(middle(equalise(x, RATE, GAINS_DB))) / rms(middle(x))) == pytest.approx(-1.5, abs=0.1)


def test_the_equaliser_keeps_the_phase_and_does_not_wrap_around():
    x = np.zeros(4000, np.float32)
    x[3990] = 1
    out = equalise(x, RATE, GAINS_DB)
    assert int(np.abs(out).argmax()) == 3990
    assert db(np.abs(out[:1000]).max() / np.abs(out).max()) < -50
    flat = noise(1001)
    assert rms(equalise(flat, RATE, np.zeros(8)) - flat) < 1e-6


# --- what is drawn ---------------------------------------------------------------------------------


def drawn(seed, change=None):
    rng, change = np.random.default_rng(seed), change or Augmentation()
    stretch, x = change.draw_stretch(rng), tone(700, 0.3)
    return stretch, change.apply_noise(change.apply(x, RATE, rng), rng), change.draw_mix_db(rng)


@pytest.mark.parametrize("decay_s", [0.2, 0.8])
@pytest.mark.parametrize("direct_db", [-3.0, 10.0])
def test_a_room_answers_a_click_with_echoes_that_fade_60_db_in_their_time(decay_s, direct_db):
    click = np.zeros(RATE, np.float32)
    click[0] = 1
    echoes = reverberate(click, RATE, decay_s, direct_db, np.random.default_rng(0))
    assert echoes.dtype == np.float32
    assert echoes[0] == pytest.approx(1, abs=1e-6)
    assert 10 * np.log10(np.sum(echoes[1:] ** 2)) == pytest.approx(-direct_db, abs=0.05)
    n = round(decay_s * RATE)
    assert np.abs(echoes[n:]).max() < 1e-6
    level = [db(rms(part)) for part in np.array_split(echoes[1:n], 10)]
    assert level[0] - level[-1] == pytest.approx(54, abs=1.5)  # nine tenths of 60 dB


def test_a_room_leaves_silence_silent():
    assert not reverberate(np.zeros(100, np.float32), RATE, 0.5, 0, np.random.default_rng(0)).any()


def test_a_seed_repeats_and_another_does_not():
    sounds = [drawn(seed) for seed in range(20)]
    for seed, (stretch, x, mix_db) in enumerate(sounds):
        again = drawn(seed)
        assert (again[0], again[2]) == (stretch, mix_db)
        np.testing.assert_array_equal(again[1], x)
    assert len({x.tobytes() for _, x, _ in sounds}) == 20


def test_probabilities_decide_what_happens():
    x = tone(700, 0.3)
    same = Augmentation(gain_db=(0.0, 0.0), **NEVER)
    for seed in range(5):
        stretch, out, mix_db = drawn(seed, same)
        assert (stretch, mix_db) == (1.0, None)
        np.testing.assert_array_equal(out, x)
    found = [drawn(seed) for seed in range(300)]
    assert np.mean([stretch != 1 for stretch, _, _ in found]) == pytest.approx(0.2, abs=0.08)
    assert np.mean([mix_db is not None for _, _, mix_db in found]) == pytest.approx(0.4, abs=0.09)


def test_what_is_drawn_stays_within_its_range():
    change = Augmentation(**{**NEVER, "p_stretch": 1.0, "p_mix": 1.0, "p_pitch": 1.0})
    x = tone(700, 0.5)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        assert 0.85 <= change.draw_stretch(rng) <= 1.15
        assert 0 <= change.draw_mix_db(rng) <= 15
        out = change.apply(x, RATE, rng)
        assert 0.845 * 700 <= peak_hz(middle(out)) <= 1.155 * 700
        assert -24.4 <= db(rms(middle(out)) / rms(x)) <= 6.4


def test_a_whole_clip_is_shifted_and_stretched_and_has_a_second_one_all_along():
    still = {**NEVER, "p_shift": 0.0}
    x, second = tone(700, 0.5), 0.01 * tone(3000, 0.1)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(ClipAugmentation(**still).render(x, RATE, rng), x)
    longer = ClipAugmentation(**{**still, "p_stretch": 1.0, "stretch": (1.1, 1.1)}).render(x, RATE, rng)
    assert len(longer) == round(1.1 * len(x))
    later = ClipAugmentation(**{**still, "p_shift": 1.0, "shift_s": (0.1, 0.1)}).render(x, RATE, rng)
    np.testing.assert_array_equal(later, time_shift(x, RATE, 0.1))
    added = ClipAugmentation(**still).render(x, RATE, rng, second, 6.0) - x
    assert [db(rms(x) / rms(part)) for part in np.split(added, 5)] == pytest.approx([6.0] * 5, abs=0.1)
    for below in (noise(10), noise(20_000)):
        assert ClipAugmentation(**still).render(x, RATE, rng, below, 6.0).shape == x.shape


def test_digital_silence_is_not_changed_by_anything():
    everything = ClipAugmentation(**{**dict.fromkeys(NEVER, 1.0), "p_shift": 1.0})
    silence = np.zeros(8000, np.float32)
    np.testing.assert_array_equal(everything.render(silence, RATE, np.random.default_rng(0), tone(), 0.0), silence)


def test_noise_and_band_limits_are_audible_when_drawn():
    x = tone(700, 0.5)
    noisy = Augmentation(**{**NEVER, "p_noise": 1.0})
    found = [db(rms(x) / rms(noisy.apply_noise(x, np.random.default_rng(seed)) - x)) for seed in range(20)]
    assert min(found) >= 4.9
    assert max(found) <= 40.1
    narrow = Augmentation(gain_db=(0, 0), low_hz=(300, 300), high_hz=(600, 600), **{**NEVER, "p_band": 1.0})
    hiss = tone(5000, 0.5)
    assert db(rms(middle(narrow.apply(hiss, RATE, np.random.default_rng(0)))) / rms(hiss)) < -60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p_mix": 1.5}, "p_mix=1.5; expected a probability"),
        ({"p_noise": float("nan")}, "p_noise=nan; expected a probability"),
        ({"p_band": "often"}, "p_band='often'; expected a probability"),
        ({"gain_db": (6.0, -6.0)}, r"gain_db=\(6.0, -6.0\); expected \(low, high\)"),
        ({"mix_db": 3.0}, r"mix_db=3.0; expected \(low, high\)"),
        ({"snr_db": (1.0, float("inf"))}, "snr_db="),
        ({"snr_db": (1.0, 2.0, 3.0)}, "snr_db="),
        ({"stretch": (0.1, 1.0)}, "stretch: factor=0.1; expected a number from 0.5 to 2"),
        ({"pitch": (1.0, 3.0)}, "pitch: factor=3.0; expected a number from 0.5 to 2"),
        ({"low_hz": (0.0, 100.0)}, "low_hz=.*expected 0 < low_hz < high_hz"),
        ({"high_hz": (300.0, 8000.0)}, "low_hz=.*expected 0 < low_hz < high_hz"),
        ({"decay_s": (0.0, 1.0)}, r"decay_s=\(0.0, 1.0\); expected times above 0"),
        ({"direct_db": (3.0, -3.0)}, "direct_db="),
        ({"colour_db": -1.0}, "colour_db=-1.0; expected a number of decibels"),
    ],
)
def test_impossible_ranges_are_refused(options, message):
    with pytest.raises(ParameterError, match=message) as error:
        Augmentation(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("factor", [0.49, 2.01, 0, -1, float("nan")])
@pytest.mark.parametrize("change", [time_stretch, pitch_shift])
def test_other_factors_are_refused(change, factor):
    with pytest.raises(ParameterError, match=r"time_stretch: factor=.*; expected a number from 0\.5 to 2"):
        change(tone(), RATE, factor)


def test_a_band_without_width_is_refused():
    with pytest.raises(ParameterError, match="low_hz=500, high_hz=300; expected low_hz below high_hz"):
        band_limit(tone(), RATE, 500, 300)
