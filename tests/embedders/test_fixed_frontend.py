"""The front-end in integers: near the one in floating point, and nothing in it can overflow."""

import dataclasses
import pickle
import warnings

import numpy as np
import pytest

import l3clf
from l3clf.embedders.fixed_frontend import ONE, PEAK, N, as_pcm, constants, fixed_levels
from l3clf.embedders.frontend import levels, quantise_levels, student_spec

SPEC = student_spec(0.5)
SAMPLES = 8000


def both(samples):
    """Levels in integers and in floating point of a window, from the same 16-bit samples."""
    pcm = as_pcm(np.asarray(samples, np.float32)[np.newaxis])
    exact = quantise_levels(levels(SPEC, pcm.astype(np.float32) / 32768))
    return fixed_levels(pcm, SPEC.n_frames)[0].astype(int), exact[0].astype(int)


@pytest.mark.parametrize("level_dbfs", [-75, -60, -40, -20, -9])
def test_noise_of_every_level_has_the_levels_of_floating_point(level_dbfs):
    noise = np.random.default_rng(0).standard_normal(SAMPLES) * 10 ** (level_dbfs / 20)
    found, exact = both(noise)
    assert np.abs(found - exact).max() <= 1
    assert (found != exact).mean() < 0.01


def test_a_quiet_band_below_a_loud_tone_stays_quiet():
    time_s = np.arange(SAMPLES) / SPEC.sample_rate
    hiss = np.random.default_rng(1).standard_normal(SAMPLES) * 10 ** (-60 / 20)
    found, exact = both(0.5 * np.sin(2 * np.pi * 440 * time_s) + hiss)
    assert np.abs(found - exact).mean() < 1
    assert found.max() == exact.max()


def test_silence_has_the_lowest_level():
    for value in (0, -1, 1):  # a sample at the lowest bit, all the time
        assert (fixed_levels(np.full((1, SAMPLES), value, np.int16), SPEC.n_frames) == -128).all()


def test_samples_are_rounded_and_clipped_as_16_bits():
    given = np.float32([[0, 0.4 / 32768, 0.6 / 32768, 1, 2, -1, -3, 1e30, 3e38, -np.inf]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_pcm(given).tolist() == [[0, 0, 1, 32767, 32767, -32768, -32768, 32767, 32767, -32768]]


def test_windows_that_overlap_are_the_windows():
    sound = np.random.default_rng(2).normal(0, 3000, 40_000).astype(np.int16)
    for hop in (160, 4000, 8000, 100):
        windows = np.stack([sound[i * hop :][:SAMPLES] for i in range(4)])
        alone = np.concatenate([fixed_levels(window[np.newaxis], SPEC.n_frames) for window in windows])
        np.testing.assert_array_equal(fixed_levels(windows, SPEC.n_frames), alone)
    assert fixed_levels(windows[:0], SPEC.n_frames).shape == (0, SPEC.n_frames, 64)


def test_windows_of_several_sounds_are_the_windows():
    rng = np.random.default_rng(3)
    noise, tone = rng.normal(0, 3000, 20_000), 9000 * np.sin(2 * np.pi * np.arange(20_000) / 320)
    sounds = [sound.astype(np.int16) for sound in (noise, tone, np.zeros(20_000), noise[::-1])]
    starts = [(0, 0), (0, 4000), (1, 0), (1, 4000), (1, 4160), (2, 0), (2, 800), (3, 0), (3, 0), (3, 100), (3, 12_000)]
    windows = np.stack([sounds[i][start:][:SAMPLES] for i, start in starts])
    alone = np.concatenate([fixed_levels(window[np.newaxis], SPEC.n_frames) for window in windows])
    np.testing.assert_array_equal(fixed_levels(windows, SPEC.n_frames), alone)
    np.testing.assert_array_equal(fixed_levels(windows[::-1], SPEC.n_frames), alone[::-1])


# --- 32 bits are enough -----------------------------------------------------------------------------


def largest_values():
    """The largest value that any 16-bit samples can bring about at each step, without rounding."""
    c = constants()
    unit = np.eye(2 * N) * c.window.astype(float)[:, np.newaxis] * 32768
    x = unit[::2] + 1j * unit[1::2]  # not complex samples: real and imaginary parts are followed apart
    re, im = x.real, x.imag
    found = []
    for n in (N, N // 4, N // 16, 4):
        re, im = re.reshape(-1, 4, n // 4, 2 * N), im.reshape(-1, 4, n // 4, 2 * N)
        a, b, s, d = re[:, 0] + re[:, 2], re[:, 0] - re[:, 2], re[:, 1] + re[:, 3], im[:, 1] - im[:, 3]
        e, f, t, g = im[:, 0] + im[:, 2], im[:, 0] - im[:, 2], im[:, 1] + im[:, 3], re[:, 3] - re[:, 1]
        re = np.stack([a + s, b + d, a - s, b - d], axis=1)
        im = np.stack([e + t, f + g, e - t, f - g], axis=1)
        found += [np.abs(re).sum(axis=-1).max(), np.abs(im).sum(axis=-1).max()]
        if n == N:
            re, im = re / ONE, im / ONE
        if n > 4:
            w = c.twiddles[np.outer(np.arange(4), np.arange(n // 4)) * (2 * N // n)].astype(float)[..., np.newaxis]
            products = [part * w[:, :, k] for part in (re, im) for k in (0, 1)]
            found += [np.abs(product).sum(axis=-1).max() for product in products]
            re, im = (products[0] - products[3]) / 2**16, (products[1] + products[2]) / 2**16
        re, im = re.reshape(N, 2 * N), im.reshape(N, 2 * N)
    re, im = re[c.order], im[c.order]
    low, high = slice(1, N // 2), slice(N - 1, N // 2, -1)
    odd_re, odd_im = im[low] + im[high], re[high] - re[low]
    w_re, w_im = c.twiddles[low].astype(float).T[..., np.newaxis]
    turned = odd_re * w_re - odd_im * w_im, odd_re * w_im + odd_im * w_re
    found += [np.abs(part).sum(axis=-1).max() for part in (odd_re * w_re, odd_re * w_im, odd_im * w_re, *turned)]
    even = re[low] + re[high], im[low] - im[high]
    bins = [part + sign * turn / ONE for part, turn in zip(even, turned, strict=True) for sign in (-1, 1)]
    return found, max(np.abs(part).sum(axis=-1).max() for part in bins)


def test_no_samples_overflow_32_bits():
    values, largest_bin = largest_values()
    assert max(values) < 0.995 * 2**31  # the rest is for rounding: some units of 2^14
    assert largest_bin < 0.995 * 2**18
    # By Parseval, for the sums of powers in two parts: half of the bins, those of a 32nd of the integers.
    window = (constants().window.astype(float) / ONE) ** 2
    energy = window.sum() * 2**30 * 2 * N / 2 / 32**2
    assert energy / 2**16 * 2**11 < 2**32


def test_no_constant_depends_on_the_last_bit_of_a_sine_or_a_logarithm():
    """Another machine's mathematics may differ in the last bits: nothing that is rounded is near one half."""
    from l3clf.audio.spectrogram import hz_to_mel, mel_to_hz

    turn = -2 * np.pi * np.arange(3 * N // 2) / (2 * N)
    edges = mel_to_hz(np.linspace(hz_to_mel(60.0, "slaney"), hz_to_mel(7600.0, "slaney"), 66), "slaney")
    bins = np.arange(N) * 31.25
    segment = np.searchsorted(edges, bins, side="right") - 1
    inside = (segment >= 0) & (segment < 65)
    share = (bins[inside] - edges[segment[inside]]) / np.diff(edges)[segment[inside]]
    octave = 10 * np.log10(2) / 0.4 * 2**16
    exact = [
        PEAK * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2 * N) / (2 * N))),
        ONE * np.cos(turn),
        ONE * np.sin(turn),
        2**11 * share,
        octave * np.log2(1 + np.arange(33) / 32),
        octave * np.log2(edges[2:] - edges[:-2]),
    ]
    for values in exact[:-1]:
        assert np.abs(values - np.floor(values) - 0.5).min() > 1e-6
    assert min(share.min(), 1 - share.max()) > 1e-6  # nor is a bin at an edge


def test_a_copy_in_integers_has_the_front_end_in_integers():
    plain = l3clf.load_embedder("l3mini")
    copy = dataclasses.replace(plain, precision="int8")
    assert copy.fingerprint == l3clf.load_embedder("l3mini", precision="int8").fingerprint
    first = dataclasses.replace(l3clf.load_embedder("l3mini", revision=1), precision="int8")
    assert first.frontend == "float"


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_a_pickle_that_names_no_front_end_has_the_one_of_its_time(precision):
    now = l3clf.load_embedder("l3mini", precision=precision, frontend="float")
    state = now.__getstate__()
    del state["frontend"]
    old = object.__new__(type(now))
    old.__setstate__(state)
    assert old == now
    assert old.frontend == now.frontend
    assert pickle.loads(pickle.dumps(old)).fingerprint == now.fingerprint
