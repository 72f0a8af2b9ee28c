"""Sound from pipes and played files: the samples are those that were put in, and what is wrong is a sentence."""

import io
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from l3clf.audio.clip import Clip
from l3clf.audio.decode import load
from l3clf.audio.ffmpeg import find_ffmpeg
from l3clf.errors import AudioError, ParameterError
from l3clf.streaming.piped_sound import PcmFormat, piped_blocks, played_blocks

RATE = 16_000
SOUND = np.random.default_rng(0).uniform(-0.9, 0.9, (5000, 2))


class Pipe:
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data, sizes=(1, 7, 1000, 65_536)):
        self._data, self._sizes, self._turn = io.BytesIO(data), sizes, 0

    def read1(self, n):
        self._turn += 1
        return self._data.read(min(n, self._sizes[self._turn % len(self._sizes)]))


def read(data, raw=None, **options):
    blocks = list(piped_blocks(Pipe(data), raw, **options))
    return np.concatenate([block.samples for block in blocks]), {block.sample_rate for block in blocks}


def wav(subtype="PCM_16", sound=SOUND, form="WAV"):
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format=form, subtype=subtype)
    return file.getvalue()


def with_data_size(content, size):
    at = content.index(b"data") + 4
    return content[:at] + struct.pack("<I", size) + content[at + 4 :]


def assert_refused(data, message, **options):
    with pytest.raises(AudioError, match=message) as error:
        read(data, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_a_wav_file_is_read_as_libsndfile_reads_it(subtype, form):
    content = wav(subtype, form=form)
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    samples, rates = read(content)
    assert rates == {RATE}
    np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF024])
def test_a_header_that_does_not_know_the_length_lasts_to_the_end(size):
    samples, _ = read(with_data_size(wav(), size))
    assert len(samples) == 5000


def test_files_after_one_another_and_what_is_said_about_them():
    note = b"LIST" + struct.pack("<I", 5) + b"data!" + b"\0"
    one = wav()
    assert len(read(one + note)[0]) == 5000
    assert len(read(one + note + one)[0]) == 10_000
    odd = wav("PCM_U8", SOUND[:5, :1])  # five bytes, and one more that fills up
    assert len(read(odd + odd)[0]) == 10


@pytest.mark.parametrize("sample_type", ["uint8", "int16", "int24", "int32", "float32", "float64"])
def test_raw_samples_are_those_of_a_wav_file(sample_type):
    subtype = {"uint8": "PCM_U8", "int16": "PCM_16", "int24": "PCM_24", "int32": "PCM_32"}.get(sample_type)
    content = wav(subtype or {"float32": "FLOAT", "float64": "DOUBLE"}[sample_type])
    at = content.index(b"data") + 8
    raw = content[at : at + 5000 * PcmFormat(RATE, 2, sample_type).frame_bytes]
    np.testing.assert_array_equal(read(raw, PcmFormat(RATE, 2, sample_type))[0], read(content)[0])
    assert len(read(raw + b"\0", PcmFormat(RATE, 2, sample_type))[0]) == 5000  # a frame that is not whole


def test_a_full_scale_is_of_floating_point_only():
    loud = wav("FLOAT", SOUND * 32768)
    np.testing.assert_allclose(read(loud, full_scale=32768)[0], SOUND, atol=1e-6)
    np.testing.assert_array_equal(read(wav(), full_scale=32768)[0], read(wav())[0])


def test_what_is_no_wav_file_is_a_sentence():
    assert_refused(b"", "standard input: holds no samples")
    assert_refused(wav("PCM_16", SOUND[:0]), "holds no samples")
    assert_refused(b"fLaC" + bytes(100), "which is no WAV header")
    assert_refused(b"RIFF", "which is no WAV header")
    assert_refused(wav()[:38], "ends before its samples begin")
    assert_refused(wav()[:5000], r"is cut off \(its header announces 0.312 s, but 0.077 s came\)")
    assert_refused(wav("ULAW"), "WAV of format 7 with 8 bits")
    assert_refused(wav("MS_ADPCM", SOUND[:, :1]), "WAV of format 2")
    head = b"RIFF\xff\xff\xff\xffWAVE"
    assert_refused(head + b"data" + bytes(100), "says nothing of its format")
    assert_refused(head + b"fmt " + struct.pack("<I", 4) + bytes(4), "a format chunk of 4 bytes")
    assert_refused(head + (b"junk" + bytes(4)) * 2000, "1000 chunks and no samples")
    for channels, rate, message in ((0, 16_000, "0 channels"), (65, 16_000, "65 channels"), (1, 7, "rate of 7 Hz")):
        form = struct.pack("<HHIIHH", 1, channels, rate, 0, 0, 16)
        assert_refused(head + b"fmt " + struct.pack("<I", 16) + form + b"data" + bytes(100), message)


def test_a_format_of_raw_samples_is_checked():
    with pytest.raises(AudioError, match="sample rate of 5 Hz"):
        PcmFormat(5)
    with pytest.raises(ParameterError, match="channels=0"):
        PcmFormat(RATE, 0)
    with pytest.raises(ParameterError, match="sample_type='int8'"):
        PcmFormat(RATE, 1, "int8")


def test_what_ffmpeg_writes_to_a_pipe(tmp_path):
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed")
    path = tmp_path / "a.wav"
    soundfile.write(path, SOUND, RATE)
    for codec in ("pcm_s16le", "pcm_s24le", "pcm_f32le"):
        command = [ffmpeg, "-v", "error", "-nostdin", "-i", path, "-c:a", codec, "-f", "wav", "-"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            samples = np.concatenate([block.samples for block in piped_blocks(process.stdout)])
        np.testing.assert_allclose(samples, read(wav())[0], atol=1e-6)


def test_a_file_is_played_at_its_own_speed(tmp_path):
    path, waits = tmp_path / "a.wav", []
    soundfile.write(path, SOUND, RATE)
    blocks = list(played_blocks(str(path), wait=waits.append))
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), load(Clip(path))[0])
    # None is there before its last sample; the waits do not last, so the next is as much longer.
    ends_s = np.cumsum([len(block.samples) for block in blocks]) / RATE
    np.testing.assert_allclose(waits, ends_s, atol=0.2)
    assert all(wait <= end_s for wait, end_s in zip(waits, ends_s, strict=True))
    with pytest.raises(AudioError, match="no such file"):
        next(played_blocks(str(tmp_path / "b.wav")))
