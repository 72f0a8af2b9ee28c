"""Sound files with random damage: each is read, or refused by an `AudioError`, and none takes long."""

import time
import warnings
from functools import cache

import numpy as np
import pytest
from helpers.bad_files import at_most
from helpers.sound_files import content, mp3_frames_of, noise, put, wav

from l3clf.audio.clip import Clip
from l3clf.audio.decode import duration_s, load
from l3clf.errors import AudioError, ClipWarning

SAMPLES = noise(8000)
FORMATS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "wav": ("WAV", "PCM_16"),
    "adpcm": ("WAV", "IMA_ADPCM"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
}
# What parsers stumble over: lengths at their limits, and headers where none is expected.
WORDS = [
    *(b"\0", b"\xff", bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xfb\x90\x00", b"TAG", b"data\0\0\0\0"),
    *(b"ID3\4\0\0\x7f\x7f\x7f\x7f", b"Xing\0\0\0\1\0\0\xff\xff", b"OggS\0\2", b"fLaC\0\0\0\x22", b"FORM\0\0\0\0AIFF"),
    *(b"RIFF\xff\xff\xff\xffWAVE", b"APETAGEX\xd0\7\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\xa0", b"#!AMR\n"),
]


@cache
def seeds():
    whole = {name: content(SAMPLES, 8000, *formats) for name, formats in FORMATS.items()}
    bare = {"mp3 without count": mp3_frames_of(whole["mp3"])}
    return whole | bare | {f"joined {name}": whole[name] * 2 for name in ("mp3", "wav", "flac", "ogg")}


def mutated(data, rng):
    """Flip, replace, insert, delete, repeat or cut off some bytes, most of them in the header."""
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(min(len(data), rng.choice([64, 300, len(data)])) + 1))
        word = WORDS[rng.integers(len(WORDS))]
        n = int(rng.choice([1, 4, 100, 1000]))
        flipped = bytes(value ^ 1 << int(rng.integers(8)) for value in data[at : at + 1])
        data = (
            data[:at] + flipped + data[at + 1 :],
            data[:at] + word + data[at + len(word) :],
            data[:at] + word + data[at:],
            data[:at] + data[at + n :],
            data[:at] + data[at : at + n] + data[at:],
            data[: max(1, at)],
        )[rng.integers(6)]
    return data


def message_of(read, path):
    """Why a file is refused, or None if it is read; any other error is the test's failure."""
    try:
        read(Clip(path))
    except AudioError as error:
        return str(error)
    return None


def check_message(message, path):
    assert message is None or (message.startswith(f"{path}: ") and "\n" not in message)


@pytest.mark.parametrize(
    "name", [*FORMATS, "mp3 without count", "joined mp3", "joined wav", "joined flac", "joined ogg"]
)
def test_mutated_files_are_read_or_refused(tmp_path, name):
    from l3clf.audio.decode import decoder_of

    rng = np.random.default_rng(18)
    for k in range(25):
        path = put(tmp_path / str(k), mutated(seeds()[name], rng))
        with warnings.catch_warnings(), at_most(20):
            warnings.simplefilter("ignore", ClipWarning)
            decoder_of(path)
            for read in (duration_s, load):
                check_message(message_of(read, path), path)


FRAME = b"\xff\xf3\x10\xc0" + bytes(20)  # MPEG-2, 8 kbit/s, 24 kHz: the shortest there is
SLOW = {
    "junk between all frames": (FRAME + b"x") * 40_000,
    "tags between all frames": (FRAME + b"TAG" + bytes(125)) * 8000,
    "counts in all frames": (b"\xff\xf3\x40\xc0" + bytes(17) + b"Xing\0\0\0\1\0\0\0\1" + bytes(63)) * 8000,
    "nothing but sync": b"\xff\xf3" * 500_000,
    "headers that lead nowhere": b"\xff\xf3\x10\xc0" * 250_000,
    "an ID3 tag after another": b"ID3\4\0\0\0\0\0\0" * 100_000 + FRAME,
    "lyrics before lyrics": FRAME * 50 + b"000000LYRICS200" * 60_000,
    "chunks without end": wav(b"12" * 400, promised=4) + b"abcd\0\0\0\0" * 100_000,
    "chunks before the data": b"RIFF\0\0\0\0WAVE" + b"abcd\0\0\0\0" * 100_000,
    "zeros after the data": wav(b"12" * 400, promised=4) + bytes(1_000_000),
    "many joined WAVs": wav(b"12") * 12_000,
    "many first pages": b"OggS\0\2" * 150_000,
    "many chains": (b"OggS\0\2" + b"OggS\0\0") * 50_000,
    "many FLAC marks": b"fLaC\0\0\0\x22" * 100_000,
}


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_hostile_files_take_no_longer_than_their_length(tmp_path, data):
    """A megabyte takes a second at most; were the time quadratic, it would be minutes."""
    path = put(tmp_path / "a.mp3" if data[:2] == b"\xff\xf3" else tmp_path / "a", data)
    start = time.process_time()
    with warnings.catch_warnings(), at_most(60):
        warnings.simplefilter("ignore", ClipWarning)
        for read in (duration_s, load):
            check_message(message_of(read, path), path)
    assert time.process_time() - start < 20
