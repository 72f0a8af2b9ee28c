"""The front-end against an independent one written from OpenL3's description, and against known answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.sound_files import noise, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from l3clf.audio.spectrogram import MelSpec, hz_to_mel, log_spectrogram, mel_filters, mel_to_hz, spectrogram
from l3clf.embedders.openl3 import front_end
from l3clf.errors import ParameterError

SCALES = ["slaney", "htk", "kaldi"]
SMALL = MelSpec(8000, 256, 100, 20, 12, 100.0, 4000.0)
LINEAR = replace(SMALL, n_mels=None)
WIDE = MelSpec(16_000, 2048, 160, 10, 20, 0.0, 8000.0)  # every band holds many bins
SPECS = [front_end("mel256"), front_end("mel128"), SMALL, WIDE, replace(SMALL, scale="htk", fmin_hz=0.0)]


def edges_of(spec):
    """Lower edge of the first band, the centres, upper edge of the last, in Hz."""
    mel = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.scale)
    return mel_to_hz(np.linspace(*mel, spec.n_mels + 2), spec.scale)


# The mel scale


@pytest.mark.parametrize(
    ("scale", "hz", "mel"),
    [
        ("slaney", 0, 0), ("slaney", 200, 3), ("slaney", 1000, 15), ("slaney", 6400, 42), ("slaney", 500, 7.5),
        ("htk", 0, 0), ("htk", 1000, 999.98554), ("htk", 700, 2595 * math.log10(2)), ("htk", 6300, 2595),
        ("kaldi", 0, 0), ("kaldi", 700, 1127 * math.log(2)), ("kaldi", 700 * (math.e - 1), 1127),
    ],
)  # fmt: skip
def test_known_points_of_the_mel_scales(scale, hz, mel):
    assert hz_to_mel(hz, scale) == pytest.approx(mel, rel=1e-7, abs=1e-12)
    assert mel_to_hz(mel, scale) == pytest.approx(hz, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@given(hz=st.floats(0, 96_000))
def test_hz_and_mel_are_inverse(scale, hz):
    assert mel_to_hz(hz_to_mel(hz, scale), scale) == pytest.approx(hz, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("scale", SCALES)
def test_the_mel_scale_rises_without_a_step(scale):
    mel = hz_to_mel(np.arange(0, 24_000, 0.5), scale)
    assert (np.diff(mel) > 0).all()
    assert np.diff(mel).max() < 2 * np.diff(mel)[0]


# Filters


@pytest.mark.parametrize("spec", SPECS)
def test_filters_are_those_of_the_triangles_written_out(spec):
    """Each of Slaney's norm, 2 / width at its peak; within float32's rounding."""
    edges = edges_of(spec)
    filters = mel_filters(spec)
    assert filters.shape == (spec.frame // 2 + 1, spec.n_mels)
    assert filters.dtype == np.float32
    for band in range(spec.n_mels):
        low, centre, high = edges[band : band + 3]
        hz = np.arange(spec.frame // 2 + 1) * spec.sample_rate / spec.frame
        expected = np.interp(hz, [low, centre, high], [0, 2 / (high - low), 0])
        np.testing.assert_allclose(filters[:, band], expected, rtol=1e-5, atol=2e-7)


def test_filters_have_unit_area_where_they_hold_many_bins():
    area = mel_filters(WIDE).sum(axis=0) * WIDE.sample_rate / WIDE.frame
    np.testing.assert_allclose(area, 1, rtol=0.01)


@pytest.mark.parametrize("spec", SPECS)
def test_neighbouring_triangles_share_every_bin_between_them(spec):
    """Without the norm they add up to one between the first band's centre and the last one's."""
    edges = edges_of(spec)
    heights = mel_filters(spec) * ((edges[2:] - edges[:-2]) / 2)
    hz = np.arange(spec.frame // 2 + 1) * spec.sample_rate / spec.frame
    inside = (hz >= edges[1]) & (hz <= edges[-2])
    np.testing.assert_allclose(heights.sum(axis=1)[inside], 1, atol=1e-5)
    assert not heights[(hz < edges[0]) | (hz > edges[-1])].any()


KALDI = replace(SMALL, scale="kaldi", power=2, level="ln", n_fft=512, hann="symmetric")


@pytest.mark.parametrize("spec", [KALDI, replace(KALDI, fmin_hz=0.0, fmax_hz=3000.0, n_fft=None)])
def test_kaldis_filters_are_triangles_over_mels(spec):
    """With a peak of one between equally spaced points; the last bin has no weight, whatever the upper edge."""
    filters = mel_filters(spec)
    bins = spec.transform // 2
    assert filters.shape == (bins + 1, 12)
    low, high = hz_to_mel(spec.fmin_hz, "kaldi"), hz_to_mel(spec.fmax_hz, "kaldi")
    mels = hz_to_mel(np.arange(bins) * spec.sample_rate / spec.transform, "kaldi")
    place = (mels - low) / (high - low) * 13
    for band in range(12):
        np.testing.assert_allclose(filters[:bins, band], np.maximum(0, 1 - abs(place - band - 1)), atol=1e-6)
    assert not filters[bins].any()


@pytest.mark.parametrize("n_mels", [1, 3, 12, 200])
def test_kaldis_bands_are_all_powers_times_all_filters(n_mels):
    """However they are grouped, and where a narrow band has no bin at all."""
    spec = replace(KALDI, n_mels=n_mels)
    powers = spectrogram(replace(spec, n_mels=None), noise(2156))
    expected = powers @ mel_filters(spec)
    np.testing.assert_allclose(spectrogram(spec, noise(2156)), expected, rtol=1e-4, atol=1e-4 * expected.max())


@pytest.mark.parametrize("n_mels", [1, 37, 256])
def test_bands_of_a_long_transform_are_all_magnitudes_times_all_filters(n_mels):
    """However filters are grouped and frames are cut into pieces, and the last piece is a single frame."""
    spec = replace(front_end("mel256"), n_mels=n_mels, n_frames=201)
    magnitudes = spectrogram(replace(spec, n_mels=None), noise(48_000))
    expected = magnitudes.astype(np.float64) @ mel_filters(spec)
    np.testing.assert_allclose(spectrogram(spec, noise(48_000)), expected, rtol=2e-6)


@pytest.mark.parametrize("edges", ["zeros", "reflected"])
@pytest.mark.parametrize("pre_emphasis", [0.0, 0.97])
def test_the_order_of_windows_in_memory_does_not_matter(edges, pre_emphasis):
    spec = replace(SMALL, edges=edges, pre_emphasis=pre_emphasis, lead=128)
    windows = noise(3 * 2100).reshape(3, 2100).astype(np.float32)
    np.testing.assert_array_equal(log_spectrogram(spec, np.asfortranarray(windows)), log_spectrogram(spec, windows))


@pytest.mark.parametrize("transform", [256, 1024])
def test_short_transforms_are_multiplied_in_one_piece(transform):
    """However many frames: otherwise the last bits, and so embeddings, depend on where they are cut."""
    spec = replace(SMALL, n_frames=1001, n_fft=transform)
    magnitudes = spectrogram(replace(spec, n_mels=None), noise(100_256))
    np.testing.assert_array_equal(spectrogram(spec, noise(100_256)), magnitudes @ mel_filters(spec))


def test_filters_are_shared_and_cannot_be_written():
    assert mel_filters(SMALL) is mel_filters(replace(SMALL))
    with pytest.raises(ValueError, match="read-only"):
        mel_filters(SMALL)[0, 0] = 1


# Spectrograms of known signals


@pytest.mark.parametrize("amplitude", [1.0, 0.01])
@pytest.mark.parametrize("bin_", [5, 32, 100])
def test_a_sine_on_a_bin_has_a_quarter_of_its_samples_there(bin_, amplitude):
    """|X| = amplitude * frame / 4 under a Hann window, half of it in the bins beside, nothing elsewhere."""
    hz = bin_ * LINEAR.sample_rate / LINEAR.frame
    rows = spectrogram(LINEAR, tone(hz, 2156 / 8000, 8000, amplitude))
    peak = amplitude * LINEAR.frame / 4
    np.testing.assert_allclose(rows[:, bin_], peak, rtol=1e-4)
    np.testing.assert_allclose(rows[:, [bin_ - 1, bin_ + 1]], peak / 2, rtol=1e-4)
    rest = np.delete(rows, [bin_ - 1, bin_, bin_ + 1], axis=1)
    assert rest.max() < 1e-4 * peak


@pytest.mark.parametrize("amplitude", [1.0, 0.01])
def test_power_is_the_magnitude_squared(amplitude):
    samples = noise(2156, level=amplitude)
    power = spectrogram(replace(LINEAR, power=2), samples)
    np.testing.assert_allclose(power, spectrogram(LINEAR, samples).astype(float) ** 2, rtol=1e-5, atol=1e-9)


def test_the_power_of_noise_is_that_of_parseval():
    """Both halves of the spectrum together hold frame * sum((window * samples)^2)."""
    samples = noise(2156)
    power = spectrogram(replace(LINEAR, power=2), samples).astype(float)
    both = 2 * power.sum(axis=1) - power[:, 0] - power[:, -1]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    frames = [samples[i * 100 : i * 100 + 256].astype(float) for i in range(20)]
    np.testing.assert_allclose(both, [256 * ((hann * frame) ** 2).sum() for frame in frames], rtol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_a_pure_tone_lands_in_the_band_around_it(spec):
    edges = edges_of(spec)
    for band in range(spec.n_mels // 4, spec.n_mels, spec.n_mels // 6):
        samples = tone(edges[band + 1], (spec.n_frames * spec.hop + spec.frame) / spec.sample_rate, spec.sample_rate)
        loudest = spectrogram(spec, samples).argmax(axis=1)
        width_hz, bin_hz = edges[band + 2] - edges[band], spec.sample_rate / spec.frame
        assert np.abs(loudest - band).max() <= (0 if width_hz > 4 * bin_hz else 1)


def test_the_window_is_padded_with_zeros_at_its_end():
    samples = noise(1000)
    padded = np.concatenate([samples, np.zeros(2156 - 1000, np.float32)])
    np.testing.assert_array_equal(spectrogram(SMALL, samples), spectrogram(SMALL, padded))
    assert not spectrogram(SMALL, samples)[10:].any()
    assert spectrogram(SMALL, samples)[:10].all()


def test_samples_after_the_last_frame_are_ignored():
    samples = noise(5000)
    np.testing.assert_array_equal(spectrogram(SMALL, samples), spectrogram(SMALL, samples[:2156]))


@pytest.mark.parametrize("lead", [1, 100, 128])
def test_lead_puts_zeros_before_the_window(lead):
    samples = noise(2000)
    shifted = np.concatenate([np.zeros(lead, np.float32), samples])
    np.testing.assert_array_equal(spectrogram(replace(SMALL, lead=lead), samples), spectrogram(SMALL, shifted))


def test_reflected_edges_show_the_window_backwards():
    samples = noise(2000)
    spec = replace(SMALL, lead=128, edges="reflected")
    after = (spec.n_frames - 1) * spec.hop + spec.frame - 128 - 2000
    mirrored = np.concatenate([samples[128:0:-1], samples, samples[-2 : -2 - after : -1]])
    np.testing.assert_array_equal(spectrogram(spec, samples), spectrogram(SMALL, mirrored))


def test_a_window_that_is_shorter_than_its_reflection_is_refused():
    spec = replace(SMALL, lead=128, edges="reflected", n_frames=1)
    assert spectrogram(spec, noise(129)).shape == (1, 12)
    with pytest.raises(ParameterError, match=r"window of 128 samples: too short to be reflected .* more than 128"):
        spectrogram(spec, noise(128))


def test_pre_emphasis_is_the_difference_to_a_share_of_the_sample_before():
    samples = noise(2157)
    steep = samples[1:] - np.float32(0.97) * samples[:-1]
    np.testing.assert_array_equal(spectrogram(replace(SMALL, pre_emphasis=0.97), samples), spectrogram(SMALL, steep))


def test_a_longer_transform_has_the_bins_of_the_frame_and_more_between():
    rows = spectrogram(replace(LINEAR, n_fft=512), noise(2156))
    assert rows.shape == (20, 257)
    np.testing.assert_allclose(rows[:, ::2], spectrogram(LINEAR, noise(2156)), rtol=1e-3, atol=1e-5)


def test_a_symmetric_hann_window_ends_as_it_begins():
    ones = np.ones(2156, np.float32)
    total = spectrogram(replace(LINEAR, hann="symmetric"), ones)[:, 0]
    np.testing.assert_allclose(total, (256 - 1) / 2, rtol=1e-5)  # the periodic one adds up to half of 256
    np.testing.assert_allclose(spectrogram(LINEAR, ones)[:, 0], 256 / 2, rtol=1e-5)


# Levels


def test_levels_are_below_the_windows_maximum_and_no_lower_than_80_db():
    quiet, loud = tone(500, 0.27, 8000, 0.001), tone(500, 0.27, 8000, 0.9)
    levels = log_spectrogram(LINEAR, np.stack([quiet, loud]))
    assert levels.shape == (2, 129, 20)
    assert levels.dtype == np.float32
    assert levels.max(axis=(1, 2)).tolist() == [0, 0]
    assert levels.min(axis=(1, 2)).tolist() == [-80, -80]


@pytest.mark.parametrize("amplitude", [0.9, 0.001])
def test_db_keeps_the_level(amplitude):
    """A sine on a bin has 10 log10(amplitude * frame / 4) there, as magnitudes are taken for powers."""
    samples = tone(1000, 0.27, 8000, amplitude)[np.newaxis]
    absolute = log_spectrogram(replace(LINEAR, level="db"), samples)
    assert absolute.max() == pytest.approx(10 * math.log10(amplitude * 64), abs=1e-3)
    assert absolute.min() == pytest.approx(absolute.max() - 80, abs=1e-4)
    np.testing.assert_allclose(absolute - absolute.max(), log_spectrogram(LINEAR, samples), atol=1e-5)


def test_natural_logarithms_of_powers():
    samples = tone(1000, 0.27, 8000, 0.5)[np.newaxis]
    spec = replace(LINEAR, power=2, level="ln")
    np.testing.assert_allclose(
        log_spectrogram(spec, samples)[0].T, np.log(spectrogram(spec, samples[0]) + 1e-5), atol=1e-5
    )
    assert log_spectrogram(spec, 0 * samples).max() == pytest.approx(math.log(1e-5))


def test_silence_is_flat():
    silence = np.zeros((1, 2156), np.float32)
    assert not log_spectrogram(SMALL, silence).any()
    np.testing.assert_allclose(log_spectrogram(replace(SMALL, level="db"), silence), -100, atol=1e-4)


def test_a_window_is_the_same_alone_and_among_others():
    windows = noise(4 * 2156).reshape(4, 2156)
    together = log_spectrogram(SMALL, windows)
    for window, levels in zip(windows, together, strict=True):
        np.testing.assert_array_equal(log_spectrogram(SMALL, window[np.newaxis])[0], levels)


def test_the_input_is_not_changed():
    windows = noise(2156)[np.newaxis]
    windows.flags.writeable = False
    log_spectrogram(SMALL, windows)
    np.testing.assert_array_equal(windows[0], noise(2156))


# OpenL3's front-ends


def reference_levels(samples, frame, n_frames, n_mels):
    """OpenL3's front-end from its description, in double precision, by NumPy's DFT of one frame after the other."""
    samples = np.concatenate([samples.astype(float), np.zeros(frame)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    rows = [np.abs(np.fft.fft(samples[i * 242 : i * 242 + frame] * hann))[: frame // 2 + 1] for i in range(n_frames)]
    values = np.array(rows).T
    if n_mels:
        values = slaney_filters(48_000, frame, n_mels) @ values
    level = 10 * np.log10(np.maximum(values, 1e-10))
    return np.maximum(level - level.max(), -80)


def slaney_filters(rate, frame, n_mels):
    """As in Slaney's Auditory Toolbox: 200/3 Hz a mel up to 1 kHz, then 27 mels for each factor of 6.4."""

    def hz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * math.log(rate / 2 / 1000) / math.log(6.4)
    edges = [hz(top * i / (n_mels + 1)) for i in range(n_mels + 2)]
    bins = np.arange(frame // 2 + 1) * rate / frame
    rows = [np.interp(bins, edges[b : b + 3], [0, 2 / (edges[b + 2] - edges[b]), 0]) for b in range(n_mels)]
    return np.array(rows)


SIGNALS = {
    "noise": noise(48_000),
    "tone in noise": tone(440, 1, 48_000) + noise(48_000, level=1e-3),
    "clicks": (np.arange(48_000) % 6000 == 0).astype(np.float32),
    "half silent": np.concatenate([np.zeros(24_000, np.float32), noise(24_000, 3)]),
}


@pytest.mark.parametrize("samples", SIGNALS.values(), ids=SIGNALS)
@pytest.mark.parametrize(
    ("input_repr", "frame", "n_frames", "n_mels"),
    [("mel256", 2048, 199, 256), ("mel128", 2048, 199, 128), ("linear", 512, 197, None)],
)
def test_openl3s_front_ends_agree_with_a_direct_dft(input_repr, frame, n_frames, n_mels, samples):
    """Within 0.02 dB down to 60 dB below the maximum (0.5 dB below that, where float32's own noise is heard)."""
    (levels,) = log_spectrogram(front_end(input_repr), samples[np.newaxis])
    expected = reference_levels(samples, frame, n_frames, n_mels)
    assert levels.shape == expected.shape == (n_mels or 257, n_frames)
    error = np.abs(levels - expected)
    assert error[expected > -60].max() < 0.02
    assert error.max() < 0.5


# Specifications that cannot be


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fmin_hz": -1.0}, "expected 0 <= fmin_hz < fmax_hz <= 4000"),
        ({"fmin_hz": 4000.0}, "fmin_hz=4000"),
        ({"fmax_hz": 4000.5}, "fmax_hz=4000.5"),
        ({"fmax_hz": math.nan}, "fmax_hz=nan"),
        ({"frame": 0}, "of at least 1"),
        ({"hop": 0}, "of at least 1"),
        ({"n_frames": 0}, "of at least 1"),
        ({"n_mels": 0}, "of at least 1"),
        ({"n_fft": 255}, "n_fft=255; expected at least 256, the length of a frame"),
    ],
)
def test_impossible_specifications_are_refused(change, words):
    with pytest.raises(ParameterError, match=words):
        replace(SMALL, **change)


def test_linear_specifications_have_no_filters():
    assert LINEAR.n_bands == 129
    assert SMALL.n_bands == 12
    with pytest.raises(ParameterError, match="has no mel bands"):
        mel_filters(LINEAR)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 3000), hop=st.integers(1, 300), lead=st.integers(0, 200), n_frames=st.integers(1, 30))
def test_every_window_length_gives_every_frame(n, hop, lead, n_frames):
    spec = replace(SMALL, hop=hop, lead=lead, n_frames=n_frames)
    levels = log_spectrogram(spec, noise(n)[np.newaxis])
    assert levels.shape == (1, 12, n_frames)
    assert np.isfinite(levels).all()
