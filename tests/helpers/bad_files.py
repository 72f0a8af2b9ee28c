"""Bad sound files: each maker writes one into a folder and returns its path, or a Clip."""

import math
import os
import signal
from contextlib import contextmanager

import numpy as np
import pytest

from helpers.sound_files import RATE, content, cut, noise, put, spoil, tone, wav, write
from l3clf.audio.clip import Clip

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names, links and pipes")
LONGEST = 300  # characters of a message, its paths left out


def with_sample(value):
    samples = tone().astype(float)
    samples[100] = value
    return samples


def folder(place):
    (place / "a folder.wav").mkdir()
    return place / "a folder.wav"


def dangling_link(place):
    (place / "dangling.wav").symlink_to(place / "gone.wav")
    return place / "dangling.wav"


def link_loop(place):
    (place / "loop.wav").symlink_to(place / "loop.wav")
    return place / "loop.wav"


def pipe(place):
    os.mkfifo(place / "pipe.wav")
    return place / "pipe.wav"


def unreadable(place):
    if os.geteuid() == 0:
        pytest.skip("root reads every file")
    path = put(place / "secret.wav", wav())
    os.chmod(path, 0)  # noqa: PTH101
    return path


def file_of(name, data):
    return lambda place: put(place / name, data() if callable(data) else data)


def sound_of(name, samples, **options):
    return lambda place: write(place / name, samples, **options)


def cut_file(suffix, container, subtype, share):
    return file_of(f"cut{suffix}", lambda: cut(content(container=container, subtype=subtype), share))


def spoilt_file(suffix, container, subtype, at=0.5, n=200):
    samples = noise(3 * RATE)
    return file_of(f"spoilt{suffix}", lambda: spoil(content(samples, container=container, subtype=subtype), at, n))


def piece(start_s, end_s=None, rate=RATE):
    return lambda place: Clip(write(place / "piece.wav", tone(rate=rate), rate), start_s, end_s)


CUT_OFF = "cut off"
NO_SOUND = "not a sound file that libsndfile can read"
BAD_FILES = {
    "missing file": (lambda place: place / "missing.wav", "[Nn]o such file"),
    "missing folder": (lambda place: place / "no" / "missing.wav", "[Nn]o such file"),
    "file as folder": (lambda place: put(place / "x.wav", wav()) + "/y.wav", "[Nn]ot a directory"),
    "folder": (folder, "is a (folder|directory)"),
    "empty file": (file_of("empty.wav", b""), r"is empty \(0 bytes\)"),
    "one byte": (file_of("byte.wav", b"R"), NO_SOUND),
    "text as .wav": (file_of("text.wav", b"this is no sound\n" * 50), NO_SOUND),
    "text as .flac": (file_of("text.flac", b"this is no sound\n" * 50), NO_SOUND),
    "text as .mp3": (file_of("text.mp3", b"this is no sound\n" * 50), NO_SOUND),
    "zeros as .wav": (file_of("zeros.wav", bytes(5000)), NO_SOUND),
    "random bytes as .wav": (file_of("random.wav", np.random.default_rng(0).bytes(5000)), NO_SOUND),
    "headerless": (file_of("samples.raw", bytes(5000)), "has no header"),
    "header only": (file_of("header.wav", lambda: wav()[:44]), CUT_OFF),
    "half a header": (file_of("half.wav", lambda: wav()[:30]), NO_SOUND),
    "0-sample WAV": (file_of("none.wav", wav(b"")), "holds no samples"),
    "0-sample AIFF": (sound_of("none.aiff", np.zeros(0), container="AIFF"), "holds no samples"),
    "0-sample Ogg": (sound_of("none.ogg", np.zeros(0), container="OGG", subtype="VORBIS"), "holds no samples|no audio"),
    "NaN sample": (sound_of("nan.wav", with_sample(math.nan), subtype="FLOAT"), r"NaN or infinite .* at 0\.006 s"),
    "Inf sample": (sound_of("inf.wav", with_sample(math.inf), subtype="DOUBLE"), r"NaN or infinite .* at 0\.006 s"),
    "all NaN": (sound_of("nans.wav", np.full(900, math.nan), subtype="FLOAT"), r"NaN or infinite .* at 0\.000 s"),
    "huge sample": (sound_of("huge.wav", with_sample(1e20), subtype="FLOAT"), r"a sample of 1\.0e\+20, .* at 0\.006 s"),
    "VOX": (file_of("samples.vox", bytes(5000)), "has no header"),
    "GSM": (file_of("samples.gsm", bytes(33 * 100)), "has no header"),
    "1 Hz": (file_of("slow.wav", wav(rate=1)), "sample rate of 1 Hz; expected 1000 to 768000"),
    "0 Hz": (file_of("still.wav", wav(rate=0)), f"sample rate of 0 Hz|{NO_SOUND}"),
    "4 GHz": (file_of("fast.wav", wav(rate=2**32 - 1)), f"sample rate of|{NO_SOUND}"),
    "0 channels": (file_of("none.wav", wav(channels=0)), NO_SOUND),
    "more channels than data": (file_of("wide.wav", wav(b"1234", channels=64, promised=128_000)), CUT_OFF),
    "65535 channels": (file_of("wider.wav", wav(channels=65_535)), NO_SOUND),
    "unknown codec": (file_of("codec.wav", wav(code=0x1234)), NO_SOUND),
    "40-bit samples": (file_of("bits.wav", wav(bits=40)), NO_SOUND),
    "cut WAV": (cut_file(".wav", "WAV", "PCM_16", 0.99), "announces 64,000 bytes, but it holds 63,[0-9]+"),
    "cut float WAV": (cut_file(".wav", "WAV", "FLOAT", 0.5), CUT_OFF),
    "cut W64": (cut_file(".w64", "W64", "PCM_16", 0.5), CUT_OFF),
    "cut RF64": (cut_file(".rf64", "RF64", "PCM_16", 0.5), CUT_OFF),
    "cut AIFF": (cut_file(".aiff", "AIFF", "PCM_16", 0.5), CUT_OFF),
    "cut AU": (cut_file(".au", "AU", "PCM_16", 0.5), CUT_OFF),
    "cut CAF": (cut_file(".caf", "CAF", "PCM_16", 0.5), f"{CUT_OFF}|{NO_SOUND}"),
    "cut FLAC": (cut_file(".flac", "FLAC", "PCM_16", 0.5), CUT_OFF),
    "FLAC cut at its end": (cut_file(".flac", "FLAC", "PCM_16", 0.99), CUT_OFF),
    "cut Vorbis": (cut_file(".ogg", "OGG", "VORBIS", 0.9), f"{CUT_OFF}.*ends within page|holds no samples"),
    "cut Opus": (cut_file(".opus", "OGG", "OPUS", 0.9), f"{CUT_OFF}.*ends within page"),
    "cut MP3": (cut_file(".mp3", "MP3", "MPEG_LAYER_III", 0.5), CUT_OFF),
    "MP3 cut at its end": (cut_file(".mp3", "MP3", "MPEG_LAYER_III", 0.8), CUT_OFF),
    "MP3 header only": (cut_file(".mp3", "MP3", "MPEG_LAYER_III", 0.01), "holds no samples"),
    "FLAC spoilt in the middle": (spoilt_file(".flac", "FLAC", "PCM_16"), "damaged"),
    "FLAC spoilt header": (spoilt_file(".flac", "FLAC", "PCM_16", 0.0, 8), NO_SOUND),
    "Vorbis spoilt in the middle": (spoilt_file(".ogg", "OGG", "VORBIS"), "page [0-9]+ has a wrong checksum"),
    "Vorbis with a lost page": (spoilt_file(".ogg", "OGG", "VORBIS", 0.3, 6000), "damaged"),
    "Opus spoilt in the middle": (spoilt_file(".opus", "OGG", "OPUS"), "page [0-9]+ has a wrong checksum"),
    "MP3 spoilt in the middle": (spoilt_file(".mp3", "MP3", "MPEG_LAYER_III", 0.3, 8000), "damaged"),
    "piece beyond the end": (piece(0.6), r"starts after the file's end at 0\.500 s"),
    "piece that ends too late": (piece(0.1, 0.7), r"ends after the file's end at 0\.500 s"),
    "piece of no sample": (piece(0.1, 0.10001), "shorter than one sample at 16000 Hz"),
    "piece of the last half sample": (piece(0.49998), "shorter than one sample at 16000 Hz"),
    "NUL in the name": (lambda place: f"{place}/a\0b.wav", "null (byte|character)"),
    "name too long": (lambda place: place / ("x" * 300 + ".wav"), "name too long"),
    "line break in a missing name": (lambda place: place / "two\nlines.wav", "[Nn]o such file"),
}
POSIX_FILES = {
    "dangling link": (dangling_link, "[Nn]o such file"),
    "link loop": (link_loop, "symbolic links"),
    "named pipe": (pipe, "not a regular file"),
    "device": (lambda _: "/dev/null", "not a regular file"),
    "unreadable": (unreadable, "[Pp]ermission denied"),
    "name that is no UTF-8": (file_of("\udce9t\udce9.wav", b"no sound" * 50), NO_SOUND),
}
EVERY_FILE = [
    *(pytest.param(*case, id=name) for name, case in BAD_FILES.items()),
    *(pytest.param(*case, id=name, marks=posix_only) for name, case in POSIX_FILES.items()),
]
bad_files = pytest.mark.parametrize(("make", "words"), EVERY_FILE)


def write_good_clips(folder):
    """Write two sound files that can be read, and return their paths."""
    samples = (tone(300), noise(RATE // 2))
    return [write(folder / f"good{i}.wav", s) for i, s in enumerate(samples)]


@contextmanager
def at_most(seconds):
    """Turn a wait for ever into a failure."""

    def stop(*_):
        raise TimeoutError(f"still busy after {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def make_bad(make, tmp_path):
    (tmp_path / "bad").mkdir()
    made = make(tmp_path / "bad")
    return made if isinstance(made, Clip) else str(made)


def name_of(item):
    """What a message must hold: the file's name, with escapes for what cannot be printed."""
    path = item.path if isinstance(item, Clip) else item
    return repr(path.rpartition("/")[2])[1:-1]


def check_sentence(message, tmp_path, item=None):
    """One sentence that names the file, and no more."""
    text = str(message)
    assert "\n" not in text
    assert "Traceback" not in text
    assert "Error(" not in text
    assert 15 < len(text.replace(str(tmp_path), "")) < LONGEST + 300 * ("x" * 99 in text)
    if item is not None:
        assert name_of(item) in text
