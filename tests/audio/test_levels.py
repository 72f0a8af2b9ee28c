"""Scale and channels: levels that cannot be right are told, a stated scale is used, and sound ones pass in silence."""

import warnings

import numpy as np
import pytest
from helpers.fake_embedder import FakeEmbedder
from helpers.sound_files import RATE, noise, tone, write

from l3clf.audio.clip import Clip, Samples
from l3clf.audio.decode import load, mono, read_blocks
from l3clf.audio.levels import Meter
from l3clf.errors import L3clfError, L3clfWarning

EMBEDDER = FakeEmbedder()
PCM = np.rint(tone(seconds=1.0) * 32767).astype(np.int16)  # at most 16,384 in magnitude
PEAK = f"{np.abs(PCM).max():,}"


def integers(bits, dtype):
    """A tone of some bits, of half its full scale, in a wider type."""
    return np.rint(tone(seconds=1.0).astype(np.float64) * 2 ** (bits - 1)).astype(dtype)


# --- integers in a type too wide ---------------------------------------------------------------------

WIDE = {
    "a list": (PCM.tolist(), "fit 16 bits but are read as 64-bit samples; pass full_scale=32768 if they have 16 bits"),
    "int64": (PCM.astype(np.int64), "fit 16 bits but are read as 64-bit samples; pass full_scale=32768 "),
    "int32": (PCM.astype(np.int32), "fit 16 bits but are read as 32-bit .* or full_scale=2147483648 if not"),
    "int32, stereo": (np.stack([PCM, PCM], axis=1).astype(np.int32), "fit 16 bits but are read as 32-bit"),
    "24 bits in int32": (integers(24, np.int32) + 1, "at most 4,194,305 fit 24 bits .* pass full_scale=8388608"),
    "24 bits in int64": (integers(24, np.int64), "at most 4,194,304 fit 24 bits .* pass full_scale=8388608"),
    "32 bits in int64": (integers(32, np.int64), "fit 32 bits but are read as 64-bit .* pass full_scale=2147483648"),
}


@pytest.mark.parametrize("name", WIDE)
def test_integers_of_fewer_bits_than_their_type_are_told(name):
    samples, words = WIDE[name]
    with pytest.warns(L3clfWarning, match=f"^array: .*{words}") as caught:
        EMBEDDER.embed(samples, RATE)
    assert len(caught) == 1


def test_the_peak_is_named():
    with pytest.warns(L3clfWarning, match=f"^X: int64 samples of at most {PEAK} fit 16 bits"):
        mono(PCM.tolist(), "X")


SOUND = {
    "int16": PCM,
    "quiet int16": (PCM // 1000).astype(np.int16),
    "uint8": np.rint(tone(seconds=1.0) * 127 + 128).astype(np.uint8),
    "int32": integers(32, np.int32),
    "quiet 24 bits in the upper bytes of int32": (integers(24, np.int32) // 100) * 256,
    "digital silence": np.zeros(RATE, np.int64),
    "dither": np.random.default_rng(0).integers(-1, 2, RATE),
    "too short to say": PCM[:60].astype(np.int32),
    "float": tone(seconds=1.0),
    "float above full scale": tone(seconds=1.0, amplitude=7.9),
    "float16": tone(seconds=1.0).astype(np.float16),
    "stereo": np.stack([noise(RATE, 1), noise(RATE, 2)], axis=1),
    "one loud channel of 64": np.pad(tone(seconds=1.0)[:, np.newaxis], ((0, 0), (0, 63))),
    "silent stereo": np.zeros((RATE, 2)),
    "opposite in the last bit": np.stack([np.full(RATE, 1e-6), np.full(RATE, -1e-6)], axis=1),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_can_be_right_passes_in_silence(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mono(SOUND[name])


QUIET_FILES = {  # name: samples as integers of the type's bits, and how they are stored
    "quiet 16 bits": (PCM // 8000, "PCM_16"),
    "quiet 24 bits": (integers(24, np.int32) // 5000, "PCM_24"),
    "noise of a 24-bit converter": (np.random.default_rng(0).integers(-20, 21, RATE), "PCM_24"),
    "quiet 32 bits": (integers(32, np.int64) // 10_000, "PCM_32"),
    "dithered silence of 16 bits in 32": (np.random.default_rng(0).integers(-1, 2, RATE) * 2**16, "PCM_32"),
    "silence of a 24-bit converter in 32": (np.random.default_rng(0).integers(-20, 21, RATE) * 2**8, "PCM_32"),
    "dithered silence of 16 bits in 24": (np.random.default_rng(0).integers(-1, 2, RATE) * 2**8, "PCM_24"),
    "digital silence": (np.zeros(RATE), "PCM_32"),
}


@pytest.mark.parametrize("name", QUIET_FILES)
def test_files_that_are_merely_quiet_pass_in_silence(tmp_path, name):
    samples, subtype = QUIET_FILES[name]
    path = write(tmp_path / "a.wav", samples / 2.0 ** (int(subtype[-2:]) - 1), subtype=subtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(Clip(path))


@pytest.mark.parametrize("container", ["WAV", "AIFF", "W64"])
def test_files_of_16_bit_samples_in_32_bits_are_told(tmp_path, container):
    path = write(tmp_path / "a.wav", PCM / 2.0**31, container=container, subtype="PCM_32")
    with pytest.warns(L3clfWarning, match=rf"a\.wav: 32-bit samples of at most {PEAK}: either samples of fewer bits"):
        load(Clip(path))


def test_files_of_8_bit_samples_in_24_bits_are_told(tmp_path):
    path = write(tmp_path / "a.flac", integers(8, np.int64) / 2.0**23, container="FLAC", subtype="PCM_24")
    with pytest.warns(L3clfWarning, match=r"a\.flac: 24-bit samples of at most 64: either samples of fewer bits"):
        load(Clip(path))


@pytest.mark.parametrize(
    ("bits", "ways"),
    [
        (16, "full_scale=32768 if they have 16 bits, full_scale=8388608 if 24, or full_scale=2147483648 if 32"),
        (24, "full_scale=8388608 if they have 24 bits, or full_scale=2147483648 if 32"),
        (32, "full_scale=2147483648 if they have 32 bits, or divide them by their full scale"),
    ],
)
def test_nobody_is_told_of_samples_of_64_bits(bits, ways):
    with pytest.warns(L3clfWarning, match=f"; pass {ways}$"):
        mono(integers(bits, np.int64))


# --- floating point beyond full scale ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("peak", "words"),
    [
        (9.0, "samples of up to 9.0 where full scale is 1; pass their full scale as full_scale"),
        (32_767.0, "samples of up to 32,767 where full scale is 1; pass full_scale=32768 if they are 16-bit samples"),
        (8e6, "samples of up to 8,000,000 where full scale is 1; pass full_scale=8388608 if they are 24-bit"),
        (2e9, "samples of up to 2,000,000,000 where full scale is 1; pass full_scale=2147483648 if they are 32-bit"),
    ],
)
@pytest.mark.parametrize("where", ["array", "file"])
def test_samples_far_beyond_full_scale_are_told(tmp_path, where, peak, words):
    samples = np.append(tone(seconds=1.0), np.float32(-peak))
    clip = Clip(write(tmp_path / "loud.wav", samples, subtype="FLOAT"))
    with pytest.warns(L3clfWarning, match=words) as caught:
        _ = EMBEDDER.embed(samples, RATE) if where == "array" else load(clip)
    assert len(caught) == 1


def test_the_peak_of_a_long_file_is_known_at_its_end(tmp_path):
    path = write(tmp_path / "long.wav", np.append(tone(seconds=30.0), 100.0), subtype="DOUBLE")
    blocks = read_blocks(Clip(path), RATE, 10.0)
    for _ in range(3):
        next(blocks)
    with pytest.warns(L3clfWarning, match=r"long\.wav: samples of up to 100\.0"):
        assert len(list(blocks)) == 1


def test_windows_are_checked_and_scaled_too():
    windows = np.stack([tone(seconds=0.5, rate=8000)] * 3)
    right = EMBEDDER.embed_batch(windows)
    with pytest.warns(L3clfWarning, match=r"^windows: samples of .* and more where full scale is 1"):
        EMBEDDER.embed_batch(windows * np.float32(32_768))
    found = EMBEDDER.embed_batch(windows * np.float32(32_768), full_scale=32_768)
    np.testing.assert_allclose(found.vectors, right.vectors, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.levels_dbfs, right.levels_dbfs, atol=1e-4)


# --- a stated scale ----------------------------------------------------------------------------------

STATED = {
    "a list": (PCM.tolist(), 32_768),
    "int64": (PCM.astype(np.int64), 32_768),
    "int32": (PCM.astype(np.int32), np.int64(32_768)),
    "float32": (PCM.astype(np.float32), 32_768.0),
    "float64": (PCM.astype(np.float64) * 1e6, 32_768e6),
    "float16": (np.float16(PCM / 32_768), 1),
    "int16, as it is read anyway": (PCM, 2.0**15),
}


@pytest.mark.parametrize("name", STATED)
def test_a_stated_scale_gives_the_vectors_of_the_right_scale(name):
    samples, full_scale = STATED[name]
    right = EMBEDDER.embed(PCM, RATE)
    found = EMBEDDER.embed(samples, RATE, full_scale=full_scale)
    np.testing.assert_allclose(found.vectors, right.vectors, rtol=1e-3 if name == "float16" else 1e-6, atol=1e-4)
    np.testing.assert_allclose(found.levels_dbfs, right.levels_dbfs, atol=0.01)


@pytest.mark.parametrize("full_scale", [0, -1.0, float("nan"), float("inf"), "32768", True, [1]])
def test_a_scale_that_is_none_is_refused(full_scale):
    import l3clf

    words = r"full_scale=.*; expected None or a positive number, such as 32768"
    with pytest.raises(L3clfError, match=words):
        EMBEDDER.embed(PCM, RATE, full_scale=full_scale)
    with pytest.raises(L3clfError, match=words):
        l3clf.ClipEmbedder("mfcc", sample_rate=RATE, full_scale=full_scale).fit([PCM])


@pytest.mark.parametrize(
    ("samples", "full_scale", "words"),
    [
        (PCM.astype(np.float32), 128, f"samples of up to {PEAK} where full_scale=128 was stated; correct full_scale"),
        (integers(32, np.int32), 32_768, "samples of up to 1,073,741,824 where full_scale=32768 was stated"),
        (tone(), 32_768, "no sample exceeds 0.5, but full_scale=32768 was stated; leave full_scale out for"),
    ],
)
def test_a_wrong_scale_is_told(samples, full_scale, words):
    with pytest.warns(L3clfWarning, match=words):
        EMBEDDER.embed(samples, RATE, full_scale=full_scale)


# --- the mix ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [2, 3, 8])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_mix_has_the_bits_of_numpys_mean(channels, order):
    """For all numbers that float32 has, up to the largest that are read; vectors in caches depend on it."""
    rng = np.random.default_rng(channels)
    block = (rng.choice([-1, 1], (20_000, channels)) * 10 ** rng.uniform(-44, 9, (20_000, channels))).astype(np.float32)
    block = np.asarray(block, order=order)
    mixed = Meter("noise").mixed(block)
    np.testing.assert_array_equal(mixed.view(np.uint32), block.mean(axis=1, dtype=np.float32).view(np.uint32))


def test_samples_too_large_to_square_are_refused_by_name():
    with pytest.raises(L3clfError, match=r"noise: holds a sample of 5\.0e\+29"):
        mono(np.tile(np.float32([1e30, 1]), (500, 1)), "noise")


# --- channels that cancel ----------------------------------------------------------------------------


def opposite(left, residue):
    """Stereo whose right channel is the left one turned over, but for a residue."""
    return np.stack([left, -left + residue], axis=1)


def test_channels_that_cancel_are_told_with_how_much_is_left(tmp_path):
    left = noise(RATE, 1)
    path = write(tmp_path / "wide.wav", opposite(left, noise(RATE, 2, level=0.0006)), subtype="FLOAT")
    with pytest.warns(L3clfWarning, match=r"wide\.wav: its 2 channels cancel each other, .* is 50 dB below them; inv"):
        load(Clip(path))


def test_channels_that_cancel_exactly_leave_nothing():
    with pytest.warns(L3clfWarning, match="their mix to mono is silent; invert one channel, or keep only one"):
        list(read_blocks(Samples(opposite(tone(), 0), RATE), RATE))


@pytest.mark.parametrize("seconds", [2.0, 25.0])
def test_whole_clips_are_judged_and_not_their_blocks(tmp_path, seconds):
    """The first seconds cancel, blocks long; the last one does not."""
    left = tone(seconds=seconds)
    left_and_end = np.concatenate([opposite(left, 0), np.stack([tone(seconds=1.0)] * 2, axis=1)])
    load(Clip(write(tmp_path / "half.wav", left_and_end)))  # a warning is an error here
    with pytest.warns(L3clfWarning, match="cancel each other"):
        load(Clip(str(tmp_path / "half.wav"), 0.0, seconds))


def test_a_mix_30_db_below_its_channels_is_none_of_our_business(tmp_path):
    load(Clip(write(tmp_path / "wide.wav", opposite(noise(RATE, 1), noise(RATE, 2, level=0.006)), subtype="FLOAT")))
