"""Files whose header does not tell their length are read to their end, or refused by name; never less in silence."""

import io
import os
import struct
import warnings

import numpy as np
import pytest
import soundfile
from helpers.sound_files import content, mp3_frames_of, noise, put, tone, wav

from l3clf.audio.clip import Clip
from l3clf.audio.decode import duration_s, load
from l3clf.errors import AudioError, ClipWarning

MP3, VORBIS = "MPEG_LAYER_III", "VORBIS"
RATE = 16_000
FRAME = 576  # samples in an MP3 frame at 16 kHz


def mp3(seconds=3.0, rate=RATE, seed=0, **options):
    """An MP3 with a count of its frames: quiet, then loud, so that its bit rate varies."""
    samples = np.concatenate([tone(300, 0.2 * seconds, rate, 0.001), noise(round(0.8 * seconds * rate), seed, 0.3)])
    return soundfile_bytes(samples, rate, "MP3", MP3, bitrate_mode="VARIABLE", compression_level=0.5, **options)


def soundfile_bytes(samples, rate, container, subtype, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype, **options)
    return file.getvalue()


def id3(n_bytes=300):
    """An ID3v2 tag of so many bytes."""
    size = n_bytes - 10
    return b"ID3\x04\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + bytes(size)


def ape(flags):
    """The header or footer of an APE tag of 18 bytes: its footer counts, its header does not."""
    return b"APETAGEX" + struct.pack("<IIII", 2000, 50, 1, flags << 24) + bytes(8)


def length_of(path):
    """The number of samples read, which must agree with the length that is stated."""
    samples, rate = load(Clip(path))
    assert duration_s(Clip(path)) == pytest.approx(len(samples) / rate, abs=0.03)
    return len(samples) / rate


def quietly(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipWarning)
        return length_of(path)


# MP3


BARE = mp3_frames_of(mp3())
TAGGED = {
    "as a recorder leaves it": BARE,
    "after ID3v2": id3() + BARE,
    "after two ID3v2 tags": id3() + id3(2000) + BARE,
    "after ID3v2 and padding": id3() + bytes(900) + BARE,
    "before ID3v1": BARE + b"TAG" + bytes(125),
    "before text": BARE + b"made by a recorder \xc2\xa9\r\n" * 100,
    "before text that fills a block": BARE + b"<html>\n" * 200 + bytes(2000),
    "before an APE tag": BARE + ape(0xA0) + bytes(18) + ape(0x80),
    "before Lyrics3 and ID3v1": BARE + b"LYRICSBEGIN" + b"x" * 40 + b"000051LYRICS200" + b"TAG" + bytes(125),
    "cut within its last frame": BARE[:-20],
    "from the middle of a frame": BARE[7:],
    "with a few bytes between frames": None,
}  # fmt: skip


@pytest.mark.parametrize("data", TAGGED.values(), ids=TAGGED)
def test_an_mp3_without_a_count_of_frames_is_read_whole(tmp_path, data):
    if data is None:
        second = BARE.index(BARE[:2], 4)
        data = BARE[:second] + b"junk" + BARE[second:]
    assert length_of(put(tmp_path / "a.mp3", data)) == pytest.approx(3.0, abs=0.15)


def test_what_an_mp3_decodes_to_does_not_depend_on_its_count_of_frames(tmp_path):
    whole, _ = load(Clip(put(tmp_path / "a.mp3", mp3())))
    bare, _ = load(Clip(put(tmp_path / "b.mp3", BARE)))
    assert len(bare) % FRAME == 0
    # Where frames are counted, the silence that the encoder put in front is known and left out.
    shift = int(np.argmax(np.correlate(bare[: len(whole) + 3000], whole[30_000:40_000], "valid"))) - 30_000
    np.testing.assert_allclose(bare[shift + 20_000 : shift + 40_000], whole[20_000:40_000], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_every_version_of_mpeg_is_walked(tmp_path, rate):
    path = put(tmp_path / "a.mp3", mp3_frames_of(mp3(2.0, rate)))
    assert length_of(path) == pytest.approx(2.0, abs=0.25)


JOINED = {
    "with counts": (mp3(), mp3(2.0, seed=1)),
    "with counts and tags": (id3() + mp3() + b"TAG" + bytes(125), id3() + mp3(2.0, seed=1)),
    "without counts": (BARE, mp3_frames_of(mp3(2.0, seed=1))),
    "the first with a count": (mp3(), mp3_frames_of(mp3(2.0, seed=1))),
    "the second with a count": (BARE, mp3(2.0, seed=1)),
    "with padding between": (mp3() + bytes(2048), mp3(2.0, seed=1)),
}


@pytest.mark.parametrize("parts", JOINED.values(), ids=JOINED)
def test_joined_mp3_files_are_read_to_the_end_of_the_last(tmp_path, parts):
    path = put(tmp_path / "a.mp3", b"".join(parts))
    samples, rate = load(Clip(path))
    assert length_of(path) == pytest.approx(5.0, abs=0.3)
    second, _ = load(Clip(put(tmp_path / "b.mp3", parts[1])))
    # Where no header begins the second, its first frame still sounds with the last of the first.
    np.testing.assert_allclose(samples[-len(second) :][2 * FRAME :], second[2 * FRAME :], rtol=0, atol=1e-6)
    piece, _ = load(Clip(path, 4.0, 4.5))  # in the second file
    np.testing.assert_allclose(piece, samples[4 * rate : round(4.5 * rate)], rtol=0, atol=3e-7)


def free_format(data):
    return b"".join(data[:2] + bytes([data[2] & 0x0F]) + data[3:4] + bytes(140) for _ in range(20))


REFUSED = {
    "another rate": (lambda: BARE + mp3_frames_of(mp3(1.0, 24_000)), r"changes from 16,000 to 24,000 Hz at 3\.\d+ s"),
    "another rate after a tag": (lambda: mp3() + id3() + mp3(1.0, 44_100), "rate changes from 16,000 to 44,100 Hz"),
    "other channels": (
        lambda: BARE + mp3_frames_of(soundfile_bytes(noise(32_000).reshape(-1, 2), RATE, "MP3", MP3)),
        "changes from 1 to 2 channels",
    ),
    "free format": (lambda: free_format(BARE), "free format"),
    "damage between frames": (
        lambda: BARE[:6000] + np.random.default_rng(0).bytes(3000) + BARE[9000:],
        r"[0-9,]+ bytes at \d\.\d+ s are no MPEG audio",
    ),
    "a hole": (lambda: BARE[:3000] + bytes(6000) + BARE[9000:], "no MPEG audio"),
    "damage up to the end": (lambda: BARE[:6000] + np.random.default_rng(0).bytes(5000), "no MPEG audio"),
    "text in the middle": (lambda: BARE[:6000] + b"a text " * 400 + BARE[9000:], "no MPEG audio"),
    "too much text": (lambda: BARE + b"a text " * 10_000, "no MPEG audio"),
    "a hole at the end": (lambda: BARE[:4000] + bytes(8000), "no MPEG audio"),
    "a cut first part": (lambda: mp3()[:8000] + id3() + mp3(), "cut off"),
    "a byte too many in the count's frame, and cut": (lambda: mp3()[:60] + b"x" + mp3()[60:9000], "cut off"),
    "only the count": (lambda: mp3()[: len(mp3()) - len(BARE)], "holds no samples|cut off"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_an_mp3_that_would_lose_sound_is_refused(tmp_path, make, words):
    path = put(tmp_path / "a.mp3", make())
    for read in (load, duration_s):
        with pytest.raises(AudioError, match=rf"^{path}: .*(?:{words})"):
            read(Clip(path))


def test_the_mp3_of_a_wav_is_read_whole(tmp_path):
    header = wav(BARE, code=0x55, bits=0)
    assert length_of(put(tmp_path / "a.wav", header)) == pytest.approx(3.0, abs=0.15)


# WAV


PCM = (tone(300, 2.0) * 32767).astype("<i2").tobytes()  # 64,000 bytes
EXTRA = b"LIST" + struct.pack("<I", 4) + b"INFO"


def with_byte_rate(data, byte_rate):
    """A WAV whose header states another number of bytes per second."""
    return data[:28] + struct.pack("<I", byte_rate) + data[32:]


SHORT = {
    "no length": (wav(PCM, promised=0), 2.0),
    "no length, but chunks after it": (wav(PCM, promised=0) + EXTRA, 2.0),
    "a length from before the crash": (wav(PCM, promised=20_000), 2.0),
    "a length modulo 4 GB": (None, None),
    "floats without length": (wav(np.float32(tone(300, 2.0)).tobytes(), bits=32, code=3, promised=0), 2.0),
    "stereo without length": (wav(PCM, channels=2, promised=0), 1.0),
    "a third, and a byte rate far too large": (with_byte_rate(wav(PCM, promised=20_000), 0xFFFFFFFF), 2.0),
    "no length, and a byte rate far too large": (with_byte_rate(wav(PCM, promised=0), 400_000_000), 2.0),
    "a third, and no byte rate": (with_byte_rate(wav(PCM, promised=20_000), 0), 2.0),
    "A-law, a third, and a byte rate too large": (
        with_byte_rate(wav(tone(300, 2.0).view(np.uint8)[::4].tobytes(), bits=8, code=6, promised=9000), 1 << 31),
        2.0,
    ),
}


@pytest.mark.parametrize(("data", "seconds"), SHORT.values(), ids=SHORT)
def test_a_wav_is_read_beyond_a_header_that_is_too_short_with_a_warning(tmp_path, data, seconds):
    path = str(tmp_path / "a.wav")
    if data is None:
        _check_wrapped(path)
        return
    put(path, data)
    with pytest.warns(
        ClipWarning, match=rf"^{path}: its header announces [0-9.]+ s of sound, but it holds {seconds:.3f}"
    ):
        samples, _ = load(Clip(path))
    assert quietly(path) == pytest.approx(seconds, abs=0.001)
    assert np.abs(samples[-1000:]).max() > 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipWarning)
        np.testing.assert_array_equal(load(Clip(path, 0.5, 0.75))[0], samples[8000:12_000])


@pytest.mark.parametrize(
    "data", [wav(PCM, promised=20_000), wav(PCM, promised=0), "flac"], ids=["third", "none", "FLAC"]
)
def test_headers_are_told_once_a_call_also_from_the_cache(tmp_path, data):
    from l3clf.classifier.estimators import ClipEmbedder

    data = flac_of(noise(50_000), 9000) if data == "flac" else data
    paths = [put(tmp_path / f"{k}.wav", data[:-2] + bytes([k, 0])) for k in range(3)] if data[:1] == b"R" else []
    paths = paths or [put(tmp_path / f"{k}.flac", data + b"TAG" + bytes([k] * 125)) for k in range(3)]
    embedder = ClipEmbedder("mfcc", cache=tmp_path / "cache.sqlite")
    vectors = []
    for _ in range(2):
        with pytest.warns(ClipWarning) as told:
            vectors.append(
                embedder.fit_transform([*paths, Clip(paths[0], 0.1, 0.9), put(tmp_path / "good.wav", wav(PCM))])
            )
        assert [str(each.message).split(" announces")[0] for each in told] == [
            f"4 of 5 clips, the first {paths[0]}: its header"
        ]
    np.testing.assert_array_equal(*vectors)


def _check_wrapped(path):
    """A file of 4 GB and two seconds, of which the disk holds only the ends."""
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(wav(b"", promised=len(PCM)))
        file.seek(44 + 2**32)
        file.write(PCM)
    if os.stat(path).st_blocks * 512 > 10**8:  # noqa: PTH116
        pytest.skip("needs a file system with sparse files")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipWarning)
        assert duration_s(Clip(path)) == (2**32 + len(PCM)) / 32_000
        samples, _ = load(Clip(path, 2**32 / 32_000))
    np.testing.assert_array_equal(samples, np.frombuffer(PCM, "<i2").astype(np.float32) / 32768)


GOOD_WAVS = {
    "nothing follows": wav(PCM),
    "a chunk follows": wav(PCM) + EXTRA,
    "an unknown chunk follows": wav(PCM) + b"abcd" + struct.pack("<I", 6) + b"123456",
    "a chunk that is cut off": wav(PCM) + b"LIST" + struct.pack("<I", 400) + b"INFO",
    "an odd length without padding": wav(PCM[:-1], bits=8) + EXTRA,
    "an odd length with padding": wav(PCM[:-1], bits=8) + b"\0" + EXTRA,
    "an ID3 tag follows": wav(PCM) + id3(),
    "zeros fill up a block": wav(PCM) + bytes(2000),
    "zeros fill up a large block": wav(PCM) + bytes(9000),
    "zeros fill up a cluster": wav(PCM) + bytes(3_000_000),
    "zeros follow a chunk": wav(PCM) + EXTRA + bytes(9000),
    "a few stray bytes": wav(PCM) + b"\x01\x02\x03\xff\xfe\x01\x02\x03\x04\x05",
}


@pytest.mark.parametrize("data", GOOD_WAVS.values(), ids=GOOD_WAVS)
def test_what_follows_the_samples_of_a_good_wav_is_no_sound(tmp_path, data):
    path = put(tmp_path / "a.wav", data)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(load(Clip(path))[0], expected)


@pytest.mark.parametrize("data", [wav(b""), wav(b"") + EXTRA, wav(b"", promised=0) + bytes(40)])
def test_a_wav_that_is_empty_still_is(tmp_path, data):
    with pytest.raises(AudioError, match="holds no samples"):
        load(Clip(put(tmp_path / "a.wav", data)))


@pytest.mark.parametrize("container", ["RF64", "W64"])
def test_the_formats_for_long_files_stay_as_they_are(tmp_path, container):
    samples = tone(300, 1.0)
    read, _ = load(Clip(put(tmp_path / "a.wav", content(samples, container=container))))
    np.testing.assert_allclose(read, samples, rtol=0, atol=1 / 32767)


def test_an_rf64_whose_recorder_crashed_is_read_to_its_end(tmp_path):
    data = bytearray(content(tone(300, 1.0), container="RF64"))
    at = data.index(b"ds64")
    data[at + 8 : at + 32] = bytes(24)
    data[data.index(b"data") + 4 :][:4] = b"\xff\xff\xff\xff"
    assert quietly(put(tmp_path / "a.wav", bytes(data))) == 1.0


# Joined files, and FLAC whose length is not stated


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")],
)
@pytest.mark.parametrize("times", [2, 3])
def test_joined_files_are_read_to_the_end_of_the_last(tmp_path, container, subtype, times):
    parts = [content(noise(RATE + 100 * seed, seed), container=container, subtype=subtype) for seed in range(times)]
    path = put(tmp_path / "joined", b"".join(parts))
    alone = [load(Clip(put(tmp_path / "alone", part)))[0] for part in parts]
    samples, _ = load(Clip(path))
    np.testing.assert_array_equal(samples, np.concatenate(alone))
    assert duration_s(Clip(path)) == len(samples) / RATE
    piece, _ = load(Clip(path, 0.9, 1.3))  # across the first joint
    np.testing.assert_allclose(piece, samples[round(0.9 * RATE) : round(1.3 * RATE)], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")], ids=["WAV", "FLAC", "Ogg"]
)
def test_joined_files_of_different_rates_are_refused(tmp_path, container, subtype):
    data = b"".join(content(noise(8000), rate, container, subtype) for rate in (16_000, 24_000))
    with pytest.raises(
        AudioError, match=r"joined files of different rates or channels \(16,000 Hz and 1, from 0\.500 s"
    ):
        load(Clip(put(tmp_path / "a", data)))


@pytest.mark.parametrize("share", [0.55, 0.98])
@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", MP3)]
)
def test_joined_files_of_which_the_last_is_cut_off_are_refused(tmp_path, container, subtype, share):
    data = content(noise(RATE), container=container, subtype=subtype) * 2
    with pytest.raises(AudioError, match=r"a: is (damaged or )?cut off|a: is damaged|a: is not a sound file"):
        load(Clip(put(tmp_path / "a", data[: int(share * len(data))])))


def flac_without_length(samples):
    data = bytearray(content(samples, container="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path):
    samples = noise(50_000)
    path = put(tmp_path / "a.flac", flac_without_length(samples))
    whole, _ = load(Clip(path))
    np.testing.assert_array_equal(whole, load(Clip(put(tmp_path / "b.flac", content(samples, container="FLAC"))))[0])
    assert duration_s(Clip(path)) == 50_000 / RATE
    np.testing.assert_array_equal(load(Clip(path, 1.0, 1.5))[0], whole[RATE : 3 * RATE // 2])


def test_a_flac_of_unknown_length_that_is_cut_off_is_refused(tmp_path):
    path = put(tmp_path / "a.flac", flac_without_length(noise(50_000))[:-3000])
    with pytest.raises(AudioError, match=r"a\.flac: is damaged or cut off"):
        load(Clip(path))


def flac_of(samples, announced):
    data = bytearray(content(samples, container="FLAC"))
    data[21:26] = (int.from_bytes(data[21:26], "big") & ~0xF_FFFF_FFFF | announced).to_bytes(5, "big")
    return bytes(data)


@pytest.mark.parametrize("n", [9000, 50_000, 300_000])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("after", [b"", b"TAG" + bytes(125)], ids=["", "ID3v1"])
def test_a_flac_that_announces_too_little_is_read_to_its_end(tmp_path, n, share, after):
    samples = noise(n)
    path = put(tmp_path / "a.flac", flac_of(samples, int(share * n)) + after)
    with pytest.warns(
        ClipWarning, match=rf"announces {int(share * n) / RATE:.3f} s of sound, but it holds {n / RATE:.3f}"
    ):
        whole, _ = load(Clip(path))
    np.testing.assert_array_equal(whole, load(Clip(put(tmp_path / "b.flac", content(samples, container="FLAC"))))[0])
    assert duration_s(Clip(path)) == n / RATE


def test_joined_flac_files_that_announce_too_little_are_read_to_their_ends(tmp_path):
    path = put(tmp_path / "a.flac", flac_of(noise(50_000), 9000) + flac_of(noise(30_000), 5000))
    assert length_of(path) == 80_000 / RATE


@pytest.mark.parametrize("seed", range(5))
def test_a_good_flac_is_left_to_libsndfile(tmp_path, seed):
    from l3clf.audio.decode import decoder_of

    for n in (100, 4096, 4097, 8192, 100_001):
        path = put(tmp_path / f"{n}.flac", content(noise(n, seed), [8000, 44_100, 96_000][seed % 3], container="FLAC"))
        assert decoder_of(path) == "flac"


# Other formats that say how much sound they hold


def resized(container, mark, size, n_bytes):
    """A file in whose header the length of the sound is replaced."""
    data = content(noise(RATE), container=container)
    at = data.index(mark) + len(mark)
    return data[:at] + size.to_bytes(n_bytes, "big") + data[at + n_bytes :]


def joined(container):
    return content(noise(RATE), container=container) * 2


def shortened(container, mark, subtype, n_bytes):
    """A second at 8 kHz, a byte for each sample, of which a header leaves out the last bytes."""
    data = content(noise(8000, level=0.3), 8000, container, subtype)
    at = data.index(mark) + len(mark)
    return data[:at] + (int.from_bytes(data[at : at + 4], "big") - n_bytes).to_bytes(4, "big") + data[at + 4 :]


TOO_LONG = {
    "AIFF that announces a quarter": resized("AIFF", b"SSND", 8008, 4),
    "joined AIFF": joined("AIFF"),
    "AU that announces a quarter": resized("AU", b".snd\0\0\0\x18", 8000, 4),
    "joined AU": joined("AU"),
    "CAF that announces a quarter": resized("CAF", b"data", 8004, 8),
    "joined CAF": joined("CAF"),
    "joined W64": joined("W64"),
    "AU that announces 0.4 s less": shortened("AU", b".snd\0\0\0\x18", "ULAW", 3200),
    "AIFF that announces 0.4 s less": shortened("AIFF", b"SSND", "PCM_S8", 3192),
    "AU that announces 25 ms less": shortened("AU", b".snd\0\0\0\x18", "ULAW", 200),
}


@pytest.mark.parametrize("data", TOO_LONG.values(), ids=TOO_LONG)
def test_a_file_that_goes_on_after_its_sound_is_refused(tmp_path, data):
    with pytest.raises(
        AudioError, match=r"a: goes on for [0-9,]+ bytes after the sound that its header announces; split"
    ):
        load(Clip(put(tmp_path / "a", data)))


@pytest.mark.parametrize("container", ["AIFF", "AU", "CAF", "W64"])
def test_a_file_that_ends_with_its_sound_or_with_chunks_is_read(tmp_path, container):
    data = content(noise(RATE), container=container)
    for few in (b"\1\2\3", bytes(9000)) if container != "W64" else ():
        path = put(tmp_path / "few", data + few)
        np.testing.assert_array_equal(load(Clip(path))[0], load(Clip(put(tmp_path / "b", data)))[0])
    after = {"AIFF": b"APPL\0\0\x20\0" + bytes(8192), "CAF": b"free" + (8192).to_bytes(8, "big") + bytes(8192)}
    path = put(tmp_path / "a", data + after.get(container, b""))
    np.testing.assert_array_equal(load(Clip(path))[0], load(Clip(put(tmp_path / "b", data)))[0])


# How a file is decoded, for the key of cached embeddings


SOUND = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "aiff": ("AIFF", "PCM_16"), "ogg": ("OGG", VORBIS)}


@pytest.mark.parametrize(("kind", "formats"), SOUND.items())
def test_embeddings_of_sound_files_stay_valid(tmp_path, kind, formats):
    from l3clf.audio.decode import decode_revision, decoder_of

    path = put(tmp_path / "a", content(container=formats[0], subtype=formats[1]))
    assert decoder_of(path) == kind
    assert decode_revision(kind) == ""


@pytest.mark.parametrize(
    "data",
    [BARE, mp3(), wav(PCM, promised=0), wav(PCM) * 2, flac_without_length(tone()), content(container="FLAC") * 2,
     content(container="OGG", subtype=VORBIS) * 2, BARE[:3000] + bytes(6000) + BARE[9000:], b"#!AMR\n" + bytes(100)],
    ids=range(9),
)  # fmt: skip
def test_embeddings_of_files_that_were_read_differently_do_not(tmp_path, data):
    from l3clf.audio.decode import decode_revision, decoder_of

    assert decode_revision(decoder_of(put(tmp_path / "a", data))) != ""


@pytest.mark.parametrize("data", [b"", b"R", b"no sound" * 100, wav()[:30], None], ids=range(5))
def test_what_cannot_be_read_has_no_decoder(tmp_path, data):
    from l3clf.audio.decode import decoder_of

    assert decoder_of(str(tmp_path / "a\0b") if data is None else put(tmp_path / "a", data)) == ""
