"""Signals with known answers come out of every format, at once, in blocks or in pieces; arrays become mono float32."""

import math
import tracemalloc

import numpy as np
import pytest
import soundfile
from helpers.sound_files import RATE, content, noise, put, tone, wav, write
from hypothesis import given, settings
from hypothesis import strategies as st

from l3clf.audio.clip import Clip, Samples
from l3clf.audio.decode import duration_s, load, mono, read_blocks
from l3clf.audio.framing import Framing
from l3clf.errors import AudioError, LevelWarning

# Largest error against what was written, by what the samples are kept in.
EXACT = {
    "PCM_U8": 1 / 127,
    "PCM_S8": 1 / 127,
    "PCM_16": 1 / 32767,
    "PCM_24": 2e-7,
    "PCM_32": 1e-7,
    "FLOAT": 1e-7,
    "DOUBLE": 1e-7,
    "ULAW": 0.02,
    "ALAW": 0.02,
    "ALAC_16": 1 / 32767,
    "ALAC_24": 2e-7,
}
LINEAR = [
    *(("WAV", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
    *(("WAVEX", s) for s in ("PCM_16", "FLOAT")),
    *(("RF64", s) for s in ("PCM_16", "FLOAT")),
    *(("W64", s) for s in ("PCM_16", "PCM_24", "DOUBLE")),
    *(("FLAC", s) for s in ("PCM_S8", "PCM_16", "PCM_24")),
    *(("AIFF", s) for s in ("PCM_S8", "PCM_16", "PCM_24", "FLOAT")),
    *(("AU", s) for s in ("PCM_16", "FLOAT", "ULAW")),
    *(("CAF", s) for s in ("PCM_16", "PCM_24", "ALAC_16", "ALAC_24")),
]
LOSSY = [
    ("OGG", "VORBIS", 44_100),
    ("OGG", "OPUS", 48_000),
    ("OGG", "OPUS", 16_000),
    ("MP3", "MPEG_LAYER_III", 44_100),
    ("MP3", "MPEG_LAYER_III", 16_000),
    ("WAV", "IMA_ADPCM", 16_000),
    ("WAV", "MS_ADPCM", 16_000),
    ("WAV", "GSM610", 8_000),
]
UNSEEKABLE = [("WAV", "GSM610"), ("WAV", "G721_32")]


def joined(blocks):
    return np.concatenate([*blocks, np.zeros(0, np.float32)])


def middle(samples, share=0.2):
    """Without the ends, where a resampler's filter hears the silence around the clip."""
    skip = int(len(samples) * share)
    return samples[skip:-skip]


def spectrum_peak(samples, rate):
    """Frequency in Hz and amplitude of the strongest partial, by a Hann-windowed DFT with interpolation."""
    n = len(samples)
    size = np.abs(np.fft.rfft(samples * np.hanning(n), 8 * n))
    k = int(size.argmax())
    return k * rate / (8 * n), 4 * size[k] / n


# Formats


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("container", "subtype"), LINEAR)
def test_every_format_gives_back_what_was_written(tmp_path, container, subtype, channels):
    samples = np.stack([tone(), tone(660, amplitude=0.25)], axis=1)[:, :channels]
    path = write(tmp_path / "clip", samples, container=container, subtype=subtype)
    read, rate = load(Clip(path))
    assert rate == RATE
    assert read.dtype == np.float32
    assert read.shape == (len(samples),)
    np.testing.assert_allclose(read, samples.mean(axis=1), rtol=0, atol=EXACT[subtype])


@pytest.mark.parametrize(("container", "subtype", "rate"), LOSSY)
def test_lossy_formats_keep_tone_level_and_place(tmp_path, container, subtype, rate):
    samples = tone(500, 1.0, rate)
    samples[: rate // 2] = 0
    read, _ = load(Clip(write(tmp_path / "clip", samples, rate, container, subtype)))
    assert 0 <= len(read) - len(samples) <= 512  # ADPCM and GSM fill up their last block
    hz, amplitude = spectrum_peak(read[int(0.55 * rate) : int(0.95 * rate)], rate)
    assert hz == pytest.approx(500, abs=1)
    assert amplitude == pytest.approx(0.5, rel=0.06)
    power = np.cumsum(read.astype(float) ** 2)
    begins = np.searchsorted(power, 0.002 * power[-1]) / rate
    assert begins == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("rate", [1000, 8000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_is_read_at_its_own_rate(tmp_path, rate):
    samples = tone(100, 0.3, rate)
    read, found = load(Clip(write(tmp_path / "clip.wav", samples, rate, subtype="FLOAT")))
    assert found == rate
    np.testing.assert_array_equal(read, samples)


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_downmix_is_the_mean_of_the_channels(tmp_path, channels, subtype):
    samples = noise(400 * channels, channels).reshape(400, channels).clip(-1, 1)
    read, _ = load(Clip(write(tmp_path / "clip.wav", samples, subtype=subtype)))
    np.testing.assert_allclose(read, samples.mean(axis=1, dtype=np.float64), rtol=0, atol=EXACT[subtype])
    np.testing.assert_allclose(mono(samples), samples.mean(axis=1, dtype=np.float64), rtol=0, atol=1e-7)
    # To the last bit what it always was: caches rely on it.
    np.testing.assert_array_equal(mono(samples), np.asarray(samples, np.float32).mean(axis=1, dtype=np.float32))


def test_opposite_channels_cancel():
    with pytest.warns(LevelWarning, match="its 2 channels cancel each other, their mix to mono is silent"):
        assert not mono(np.stack([tone(), -tone()], axis=1)).any()


def test_duration_comes_from_the_header(tmp_path):
    path = write(tmp_path / "clip.flac", tone(seconds=1.25), container="FLAC")
    assert duration_s(Clip(path)) == 1.25
    assert duration_s(Clip(path, 0.5)) == 0.75
    assert duration_s(Clip(path, 0.25, 0.75)) == 0.5


@pytest.mark.parametrize(
    "name", ["Ångström 雨.wav", "two\nlines.wav", "\udce9t\udce9.wav", "a'b\"c.wav", "- x [1].wav"]
)
def test_any_file_name_is_read(tmp_path, name):
    put(tmp_path / name, wav())
    assert len(load(Clip(tmp_path / name))[0]) == RATE // 2


@pytest.mark.parametrize("promised", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000])
def test_a_wav_written_to_a_pipe_is_read_to_its_end(tmp_path, promised):
    assert len(load(Clip(put(tmp_path / "clip.wav", wav(promised=promised))))[0]) == RATE // 2


# Resampling


@pytest.mark.parametrize("rate_in", [8000, 16_000, 22_050, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("rate_out", [8000, 16_000, 48_000])
def test_a_resampled_tone_keeps_frequency_and_level(rate_in, rate_out):
    """Within 0.01 dB and 0.1 Hz; everything else is 100 dB below."""
    out = joined(read_blocks(Samples(tone(1000, 1.0, rate_in), rate_in), rate_out))
    assert len(out) == rate_out
    expected = tone(1000, 1.0, rate_out)
    assert np.abs(middle(out) - middle(expected)).max() < 0.5e-5
    hz, amplitude = spectrum_peak(middle(out), rate_out)
    assert hz == pytest.approx(1000, abs=0.1)
    assert 20 * math.log10(amplitude / 0.5) == pytest.approx(0, abs=0.01)


def test_frequencies_above_the_new_nyquist_limit_are_removed():
    out = joined(read_blocks(Samples(tone(7000, 1.0, 48_000), 48_000), 8000))
    assert np.abs(middle(out)).max() < 1e-6


# Blocks


BLOCK_SAMPLES = st.integers(1, 3000)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 5000), block=BLOCK_SAMPLES, channels=st.sampled_from([1, 2]), seed=st.integers(0, 9))
def test_blocks_are_the_whole_file_bit_for_bit(tmp_path_factory, n, block, channels, seed):
    path = write(
        tmp_path_factory.mktemp("b") / "clip.flac", noise(n * channels, seed).reshape(n, channels), 8000, "FLAC"
    )
    whole = joined(read_blocks(Clip(path), 8000, 1e6))
    assert len(whole) == n
    blocks = list(read_blocks(Clip(path), 8000, (block + 0.5) / 8000))
    assert [len(b) for b in blocks[:-1]] == [block] * (len(blocks) - 1)
    np.testing.assert_array_equal(joined(blocks), whole)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 6000),
    block=BLOCK_SAMPLES,
    rates=st.sampled_from([(8000, 16_000), (44_100, 16_000), (11_025, 48_000)]),
)
def test_blocks_are_resampled_to_the_same_bits(tmp_path_factory, n, block, rates):
    rate, wanted = rates
    path = write(tmp_path_factory.mktemp("b") / "clip.wav", noise(n, n), rate, subtype="FLOAT")
    whole = joined(read_blocks(Clip(path), wanted, 1e6))
    assert abs(len(whole) - n * wanted / rate) <= 1
    np.testing.assert_array_equal(joined(read_blocks(Clip(path), wanted, (block + 0.5) / rate)), whole)
    np.testing.assert_array_equal(joined(read_blocks(Samples(noise(n, n), rate), wanted)), whole)


@pytest.mark.parametrize(("container", "subtype", "rate"), LOSSY)
@pytest.mark.parametrize("block_s", [0.01, 0.1, 0.7])
def test_lossy_files_decode_to_the_same_bits_in_blocks(tmp_path, container, subtype, rate, block_s):
    path = write(tmp_path / "clip", noise(2 * rate), rate, container, subtype)
    whole, _ = load(Clip(path))
    np.testing.assert_array_equal(joined(read_blocks(Clip(path), rate, block_s)), whole)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_of_few_bits_has_no_gaps_between_blocks(tmp_path, mode):
    """Its frames borrow bits from those before: a decoder that is made to seek between blocks loses them."""
    samples = tone(300, 12, 44_100) + noise(12 * 44_100, level=0.05)
    path = write(
        tmp_path / "a.mp3", samples, 44_100, "MP3", "MPEG_LAYER_III", compression_level=0.99, bitrate_mode=mode
    )
    whole = joined(read_blocks(Clip(path), 44_100, 1e6))
    np.testing.assert_array_equal(joined(read_blocks(Clip(path), 44_100)), whole)
    np.testing.assert_array_equal(joined(read_blocks(Clip(path), 44_100, 0.1)), whole)


def test_a_long_file_is_never_held_whole(tmp_path):
    """Ten minutes are 19.2 MB as float32; a tenth of that holds six blocks, or three and their windows."""
    path = str(tmp_path / "long.wav")
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(tone(300, 10, 8000))
    framing = Framing.of(8000, 1.0, 0.5, center=True)
    tracemalloc.start()
    n_windows = sum(len(windows) for windows in framing.windows(read_blocks(Clip(path), 8000), max_windows=16))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_windows == framing.count(600 * 8000) == 1200
    assert peak < 19.2e6 / 10


# Pieces


MP3 = "MPEG_LAYER_III"
PIECES = [(0.0, 0.25), (0.1, 0.9), (0.31415, 0.31418), (1.7342, 2.3), (1.5, None), (4.5, 4.9), (4.9999, None)]


@pytest.mark.parametrize(("start_s", "end_s"), PIECES)
@pytest.mark.parametrize(
    ("container", "subtype", "error"),
    [("WAV", "PCM_24", 0), ("FLAC", "PCM_16", 0), ("OGG", "VORBIS", 0), ("OGG", "OPUS", 1e-3), ("MP3", MP3, 3e-7)],
)
def test_a_piece_is_a_slice_of_the_whole(tmp_path, container, subtype, error, start_s, end_s):
    rate = 48_000
    path = write(tmp_path / "clip", noise(5 * rate), rate, container, subtype)
    whole, _ = load(Clip(path))
    piece, _ = load(Clip(path, start_s, end_s))
    expected = whole[round(start_s * rate) : None if end_s is None else round(end_s * rate)]
    assert len(piece) == len(expected) > 0
    np.testing.assert_allclose(piece, expected, rtol=0, atol=error)


@pytest.mark.parametrize("start_s", [0.2, 1.0, 2.345])
def test_a_piece_of_an_mp3_of_few_bits_begins_clean(tmp_path, start_s):
    samples = tone(300, 4, 44_100) + noise(4 * 44_100, level=0.05)
    path = write(tmp_path / "a.mp3", samples, 44_100, "MP3", "MPEG_LAYER_III", compression_level=0.99)
    whole, _ = load(Clip(path))
    piece, _ = load(Clip(path, start_s))
    np.testing.assert_allclose(piece, whole[round(start_s * 44_100) :], rtol=0, atol=3e-7)


@pytest.mark.parametrize(("container", "subtype"), UNSEEKABLE)
def test_a_piece_of_a_file_that_cannot_be_sought_is_a_slice_too(tmp_path, container, subtype):
    path = write(tmp_path / "clip", noise(24_000), 8000, container, subtype)
    whole, _ = load(Clip(path))
    np.testing.assert_array_equal(load(Clip(path, 0.5, 1.25))[0], whole[4000:10_000])


def test_an_end_rounded_up_in_a_label_track_is_the_files_end(tmp_path):
    path = write(tmp_path / "clip.wav")
    assert len(load(Clip(path, 0.25, 0.54))[0]) == RATE // 4
    with pytest.raises(AudioError, match=r"ends after the file's end at 0\.500 s"):
        load(Clip(path, 0.25, 0.56))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int8", -128, 64), ("int16", -32768, 16384), ("int32", -(2**31), 2**30), ("int64", -(2**63), 2**62),
        ("uint8", 0, 192), ("float16", -1, 0.5), ("float32", -1, 0.5), ("float64", -1, 0.5), (">i2", -32768, 16384),
    ],
)  # fmt: skip
def test_arrays_of_any_type_have_full_scale_at_one(dtype, low, high):
    silence = 128 if dtype == "uint8" else 0
    out = mono(np.array([low, silence, high], dtype))
    assert out.dtype == np.float32
    assert out.tolist() == [-1.0, 0.0, 0.5]


def test_an_integer_array_reads_as_the_file_made_of_it(tmp_path):
    samples = (tone() * 32767).astype(np.int16)
    np.testing.assert_array_equal(mono(samples), load(Clip(write(tmp_path / "clip.wav", samples)))[0])


def test_input_arrays_are_not_changed():
    samples = tone()
    samples.flags.writeable = False
    out = mono(samples)
    next(Framing(RATE, 100, 50, center=True).windows([out]))[:] = 7
    np.testing.assert_array_equal(samples, tone())


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\); expected \(n,\) or \(n, channels\)"),
        (np.zeros((2, 16_000)), "transpose it if channels come first"),
        (np.zeros((5, 0)), r"shape \(5, 0\)"),
        (np.float32(1), r"shape \(\)"),
        (np.zeros(0), "holds no samples"),
        (np.zeros((0, 2)), "holds no samples"),
        (np.zeros(3, complex), "type complex128"),
        (np.zeros(3, bool), "type bool"),
        (np.zeros(3, np.uint16), "type uint16"),
        (np.array(["a"]), "type <U1"),
        (np.array([1.0, None]), "type object"),
        ([0.0, math.nan, 1.0], "NaN or infinite samples, the first at sample 1"),
        ([0.0, 1.0, -math.inf], "NaN or infinite samples, the first at sample 2"),
        ([math.inf, -math.inf], "NaN or infinite samples, the first at sample 0"),
        ([0.0, -1.1e10], "a sample of -1.1e[+]10, the first at sample 1"),
        ([3e38, 3e38, math.nan], "a sample of 3.0e[+]38, the first at sample 0"),
    ],
)
def test_arrays_that_are_not_audio_are_refused(samples, words):
    with pytest.raises(AudioError, match=rf"^clip 7: .*{words}"):
        mono(samples, "clip 7")


def test_floats_beyond_full_scale_are_accepted():
    assert mono(np.full(10, -(2.0**31))).tolist() == [-(2.0**31)] * 10


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, -16_000, math.nan, math.inf, "16000", None])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(AudioError, match=r"sample rate of .* Hz; expected 1000 to 768000"):
        list(read_blocks(Samples(tone(), rate), 16_000))


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_bad_sample_is_found_where_it_is(tmp_path, subtype, bad):
    samples = tone(seconds=1).astype(float)
    samples[12_000] = bad
    path = write(tmp_path / "clip.wav", samples, subtype=subtype)
    with pytest.raises(AudioError, match=r"clip\.wav: holds NaN or infinite samples, the first at 0\.750 s"):
        list(read_blocks(Clip(path), 8000, 0.1))
    assert len(load(Clip(path, 0, 0.7))[0]) == 11_200  # the piece before it is good


def test_good_ogg_files_pass_the_page_check(tmp_path):
    for subtype in ("VORBIS", "OPUS"):
        data = content(container="OGG", subtype=subtype)
        assert len(load(Clip(put(tmp_path / "a.ogg", data)))[0]) == 2 * RATE
        tagged = data + b"TAG" + bytes(125)  # some programs put one there
        assert len(load(Clip(put(tmp_path / "b.ogg", tagged)))[0]) == 2 * RATE
