"""Bad input is answered with one clear sentence, and in a batch it hurts nobody else."""

import json
import math
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from helpers.sound_files import RATE, content, cut, noise, put, spoil, tone, wav, write

from l3clf import load_embedder
from l3clf.audio.clip import Clip
from l3clf.classifier.estimators import ClipClassifier, ClipEmbedder
from l3clf.cli.main import main
from l3clf.errors import AudioError, ClipWarning, L3clfError, ParameterError, WeightsError

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names, links and pipes")
LONGEST = 300  # characters of a message, its paths left out


# Bad sound files: each maker writes one into a folder and returns its path, or a Clip.


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
    "empty file": (file_of("empty.wav", b""), r"the file is empty \(0 bytes\)"),
    "one byte": (file_of("byte.wav", b"R"), NO_SOUND),
    "text as .wav": (file_of("text.wav", b"this is no sound\n" * 50), NO_SOUND),
    "text as .flac": (file_of("text.flac", b"this is no sound\n" * 50), NO_SOUND),
    "text as .mp3": (file_of("text.mp3", b"this is no sound\n" * 50), NO_SOUND),
    "zeros as .wav": (file_of("zeros.wav", bytes(5000)), NO_SOUND),
    "random bytes as .wav": (file_of("random.wav", np.random.default_rng(0).bytes(5000)), NO_SOUND),
    "headerless": (file_of("samples.raw", bytes(5000)), "headerless audio"),
    "header only": (file_of("header.wav", lambda: wav()[:44]), CUT_OFF),
    "half a header": (file_of("half.wav", lambda: wav()[:30]), NO_SOUND),
    "0-sample WAV": (file_of("none.wav", wav(b"")), "holds no samples"),
    "0-sample AIFF": (sound_of("none.aiff", np.zeros(0), container="AIFF"), "holds no samples"),
    "0-sample Ogg": (sound_of("none.ogg", np.zeros(0), container="OGG", subtype="VORBIS"), "holds no samples|no audio"),
    "NaN sample": (sound_of("nan.wav", with_sample(math.nan), subtype="FLOAT"), r"NaN or infinite .* at 0\.006 s"),
    "Inf sample": (sound_of("inf.wav", with_sample(math.inf), subtype="DOUBLE"), r"NaN or infinite .* at 0\.006 s"),
    "all NaN": (sound_of("nans.wav", np.full(900, math.nan), subtype="FLOAT"), r"NaN or infinite .* at 0\.000 s"),
    "huge sample": (sound_of("huge.wav", with_sample(1e20), subtype="FLOAT"), r"a sample of 1\.0e\+20, .* at 0\.006 s"),
    "VOX": (file_of("samples.vox", bytes(5000)), "headerless audio"),
    "GSM": (file_of("samples.gsm", bytes(33 * 100)), "headerless audio"),
    "1 Hz": (file_of("slow.wav", wav(rate=1)), "sample rate of 1 Hz; expected 1000 to 768000"),
    "0 Hz": (file_of("still.wav", wav(rate=0)), f"sample rate of 0 Hz|{NO_SOUND}"),
    "4 GHz": (file_of("fast.wav", wav(rate=2**32 - 1)), f"sample rate of|{NO_SOUND}"),
    "0 channels": (file_of("none.wav", wav(channels=0)), NO_SOUND),
    "more channels than data": (file_of("wide.wav", wav(b"1234", channels=64, promised=128_000)), CUT_OFF),
    "65535 channels": (file_of("wider.wav", wav(channels=65_535)), NO_SOUND),
    "unknown codec": (file_of("codec.wav", wav(code=0x1234)), NO_SOUND),
    "40-bit samples": (file_of("bits.wav", wav(bits=40)), NO_SOUND),
    "cut WAV": (cut_file(".wav", "WAV", "PCM_16", 0.99), "promises 64,000 bytes and 63,[0-9]+ are there"),
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
    "MP3 header only": (cut_file(".mp3", "MP3", "MPEG_LAYER_III", 0.01), "no audio found in it"),
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


@pytest.fixture(autouse=True)
def _no_waiting():
    with at_most(30):
        yield


@pytest.fixture
def good(tmp_path):
    """Two sound files that are all right."""
    samples = (tone(300), noise(RATE // 2))
    return [write(tmp_path / f"good{i}.wav", s) for i, s in enumerate(samples)]


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


def mfcc(cache=None, **options):
    return ClipEmbedder("mfcc", cache=cache, **options)


# Each of them through the API


@pytest.mark.parametrize("cached", [False, True])
@bad_files
def test_a_bad_file_raises_one_sentence(tmp_path, good, make, words, cached):
    bad = make_bad(make, tmp_path)
    embedder = mfcc(tmp_path / "cache" if cached else None).fit([])
    with pytest.raises(AudioError, match=words) as caught:
        embedder.transform([good[0], bad, good[1]])
    check_sentence(caught.value, tmp_path, bad)


@bad_files
def test_a_bad_file_becomes_a_row_of_nan_and_a_warning(tmp_path, good, make, words):
    bad = make_bad(make, tmp_path)
    expected = mfcc().fit_transform(good)
    with pytest.warns(ClipWarning, match=words) as caught:
        rows = mfcc(on_error="nan").fit_transform([good[0], bad, good[1]])
    assert len(caught) == 1
    heading, line = str(caught[0].message).split("\n")
    assert heading == "1 of 3 clips could not be embedded:"
    check_sentence(line.strip(), tmp_path, bad)
    assert np.isnan(rows[1]).all()
    np.testing.assert_array_equal(rows[[0, 2]], expected)


@pytest.mark.parametrize("cached", [False, True])
def test_all_bad_files_at_once_are_all_named(tmp_path, good, cached):
    made = []
    for i, (name, (make, _)) in enumerate(BAD_FILES.items()):
        (tmp_path / f"{i}").mkdir()
        made.append((name, make(tmp_path / f"{i}")))
    X = [good[0], *(item for _, item in made), good[1]]
    with pytest.warns(ClipWarning, match=f"^{len(made)} of {len(X)} clips"):
        rows = mfcc(tmp_path / "cache" if cached else None, on_error="nan").fit_transform(X)
    assert np.isfinite(rows).all(axis=1).tolist() == [True] + [False] * len(made) + [True]
    with pytest.raises(AudioError, match=f"^{len(made)} of {len(X)} clips .*\n(.*\n)*  and [0-9]+ more\nRepair"):
        mfcc(tmp_path / "cache" if cached else None).fit_transform(X)


# What looks odd and works


ODD_FILES = {
    "10 ms WAV": sound_of("short.wav", tone(seconds=0.01)),
    "one sample": sound_of("one.wav", np.array([0.5])),
    "8 channels": sound_of("eight.wav", np.repeat(tone()[:, np.newaxis], 8, axis=1)),
    "64 channels": sound_of("many.wav", np.repeat(tone()[:, np.newaxis], 64, axis=1)),
    "192 kHz": sound_of("fast.wav", tone(rate=192_000), rate=192_000),
    "768 kHz": sound_of("faster.wav", tone(rate=768_000, seconds=0.1), rate=768_000),
    "1 kHz": sound_of("slow.wav", tone(100, rate=1000), rate=1000),
    "odd rate": sound_of("odd.wav", tone(rate=12_347), rate=12_347),
    "digital silence": sound_of("silence.wav", np.zeros(RATE)),
    "full scale": sound_of("loud.wav", np.ones(RATE), subtype="FLOAT"),
    "above full scale": sound_of("louder.wav", np.full(RATE, 1e6), subtype="FLOAT"),
    "an MP3 called .wav": file_of("mp3.wav", lambda: content(container="MP3", subtype="MPEG_LAYER_III")),
    "a FLAC called .txt": file_of("flac.txt", lambda: content(container="FLAC")),
    "junk after the samples": file_of("junk.wav", lambda: wav() + bytes(1000)),
    "unicode name": sound_of("Ångström 雨 🌧.wav", None),
    "wrong RIFF size": file_of("riff.wav", lambda: wav()[:4] + b"\xff\xff\xff\x00" + wav()[8:]),
}


@pytest.mark.parametrize("make", ODD_FILES.values(), ids=ODD_FILES)
def test_odd_files_work(tmp_path, make):
    rows = mfcc().fit_transform([make(tmp_path)])
    assert rows.shape == (1, 60)
    assert np.isfinite(rows).all()


# X, y and parameters


def in_order(error, words, call):
    with pytest.raises(error, match=words) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < LONGEST


BAD_X = {
    "None": (None, "X is of type NoneType; expected a list"),
    "an int": (5, "X is of type int"),
    "a number in an array": (np.float64(1), "X is of type float64"),
    "one path": ("a.wav", r"X is a single clip; expected a list of clips: \['a.wav'\]"),
    "one Clip": (Clip("a.wav"), "X is a single clip"),
    "a dict": ({0: "a.wav"}, r"X\[0\] is int"),
    "None in a list": ([None], r"X\[0\] is NoneType; expected a path, a Clip or a 1-D array"),
    "bytes": ([b"a.wav"], r"X\[0\] is bytes"),
    "a dict in a list": ([{"path": "a"}], r"X\[0\] is dict"),
    "a list of paths in a list": ([["a.wav", "b.wav"]], r"X\[0\] is an array of shape \(2,\) and type <U5"),
    "stereo in a list": ([np.zeros((9, 2))], r"X\[0\] is an array of shape \(9, 2\)"),
    "3-D array": (np.zeros((2, 3, 4)), r"X\[0\] is an array of shape \(3, 4\)"),
    "complex": ([np.zeros(9, complex)], r"X\[0\] is an array of shape \(9,\) and type complex128"),
    "objects": ([np.array([1.0, None])], r"X\[0\] is an array of shape \(2,\) and type object"),
    "booleans": ([np.zeros(9, bool)], "type bool"),
}


@pytest.mark.parametrize(("X", "words"), BAD_X.values(), ids=BAD_X)
def test_x_of_a_wrong_type_is_refused_by_transformer_and_classifier(X, words):
    in_order(ParameterError, words, lambda: mfcc(sample_rate=RATE).fit_transform(X))
    in_order(ParameterError, words, lambda: ClipClassifier("mfcc", cache=None, sample_rate=RATE).fit(X, ["a", "b"]))


BAD_ARRAYS = {
    "no rate": ([tone()], {}, ParameterError, r"X\[0\] is an array: pass its rate in Hz as sample_rate="),
    "rate too low": ([tone()], {"sample_rate": 1}, L3clfError, "sample.rate.*1"),
    "rate negative": ([tone()], {"sample_rate": -16_000}, L3clfError, "sample.rate.*-16000"),
    "rate NaN": ([tone()], {"sample_rate": math.nan}, L3clfError, "sample.rate.*nan"),
    "empty": ([tone(), np.zeros(0)], {"sample_rate": RATE}, AudioError, r"X\[1\]: holds no samples"),
    "NaN": ([np.array([math.nan, 1])], {"sample_rate": RATE}, AudioError, r"X\[0\]: holds NaN or infinite samples"),
    "unsigned": ([np.zeros(9, np.uint16)], {"sample_rate": RATE}, AudioError, r"X\[0\]: samples of type uint16"),
}


@pytest.mark.parametrize(("X", "options", "error", "words"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_are_no_audio_are_refused(X, options, error, words):
    in_order(error, words, lambda: mfcc(**options).fit_transform(X))


BAD_Y = {
    "None": (None, "requires y"),
    "too short": (["a"], "y: found 1 labels; expected one for each of 2 clips"),
    "too long": (["a", "b", "c"], "y: found 3 labels"),
    "one class": (["a", "a"], r"y: found 1 class \('a'\); expected two or more"),
    "NaN": ([1.0, math.nan], "NaN, infinite or fractional"),
    "fractions": ([0.5, 1.0], "NaN, infinite or fractional"),
    "None in it": (["a", None], "labels of type NoneType, str; expected all strings or all integers"),
    "mixed types": (np.array(["a", 1], object), "labels of type int, str"),
}


@pytest.mark.parametrize(("y", "words"), BAD_Y.values(), ids=BAD_Y)
def test_y_that_cannot_be_is_refused_before_a_clip_is_read(y, words):
    model = ClipClassifier("mfcc", cache=None)
    in_order(ParameterError, words, lambda: model.fit(["missing0.wav", "missing1.wav"], y))


BAD_PARAMETERS = {
    "hop 0": ({"hop_s": 0}, "hop_s=0; expected a positive number of seconds"),
    "hop negative": ({"hop_s": -1.0}, "hop_s=-1"),
    "hop NaN": ({"hop_s": math.nan}, "hop_s=nan"),
    "hop infinite": ({"hop_s": math.inf}, "hop_s=inf"),
    "hop a str": ({"hop_s": "0.5"}, "hop_s='0.5'; expected a number of seconds"),
    "hop None": ({"hop_s": None}, "hop_s=None"),
    "hop of ages": ({"hop_s": 1e300}, "hop_s=1e.300"),
    "pooling unknown": ({"pooling": "median"}, "pooling='median'; expected one of 'mean'"),
    "pooling None": ({"pooling": None}, "pooling=None"),
    "pooling a list": ({"pooling": ["mean"]}, r"pooling=\['mean'\]"),
    "embedder unknown": ({"embedder": "vggish"}, "embedder='vggish': no such embedder; expected one of openl3"),
    "embedder None": ({"embedder": None}, "embedder=None; expected a name"),
    "embedder a number": ({"embedder": 3}, "embedder=3"),
    "on_error unknown": ({"on_error": "ignore"}, "on_error='ignore'; expected 'raise' or 'nan'"),
    "on_error None": ({"on_error": None}, "on_error=None"),
    "n_jobs 0": ({"n_jobs": 0}, "n_jobs=0; expected a number of threads"),
    "n_jobs -2": ({"n_jobs": -2}, "n_jobs=-2"),
    "n_jobs a fraction": ({"n_jobs": 1.5}, "n_jobs=1.5"),
    "n_jobs True": ({"n_jobs": True}, "n_jobs=True"),
    "cache a number": ({"cache": 5}, "cache=5; expected 'auto', a path, an EmbeddingCache or None"),
    "cache True": ({"cache": True}, "cache=True"),
}
CLASSIFIER_PARAMETERS = {
    "head unknown": ({"head": "svm"}, "head='svm'"),
    "head None": ({"head": None}, "head=None"),
    "threshold above 1": ({"unknown_threshold": 2}, "unknown_threshold=2; expected None or a number from 0 to 1"),
    "threshold negative": ({"unknown_threshold": -0.1}, "unknown_threshold=-0.1"),
    "threshold NaN": ({"unknown_threshold": math.nan}, "unknown_threshold=nan"),
    "threshold a str": ({"unknown_threshold": "0.5"}, "unknown_threshold='0.5'"),
    "threshold True": ({"unknown_threshold": True}, "unknown_threshold=True"),
    "gate above full scale": ({"gate_dbfs": 3}, "gate_dbfs=3; expected None or a number from -200 to 0"),
    "gate NaN": ({"gate_dbfs": math.nan}, "gate_dbfs=nan"),
    "gate a str": ({"gate_dbfs": "-60"}, "gate_dbfs='-60'"),
}


@pytest.mark.parametrize(("options", "words"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_parameters_that_cannot_work_are_refused(options, words, good):
    options = {"embedder": "mfcc", "cache": None, **options}
    in_order(ParameterError, words, lambda: ClipEmbedder(**options).fit_transform(good))
    in_order(ParameterError, words, lambda: ClipClassifier(**options).fit(good, ["a", "b"]))


@pytest.mark.parametrize(("options", "words"), CLASSIFIER_PARAMETERS.values(), ids=CLASSIFIER_PARAMETERS)
def test_classifier_parameters_that_cannot_work_are_refused(options, words, good):
    model = ClipClassifier("mfcc", cache=None, **options)
    in_order(ParameterError, words, lambda: model.fit(good, ["a", "b"]))


@pytest.mark.parametrize("name", ["unknown_threshold", "gate_dbfs"])
def test_a_threshold_set_after_fitting_is_checked_too(name, good):
    model = ClipClassifier("mfcc", cache=None).fit(good, ["a", "b"]).set_params(**{name: math.nan})
    in_order(ParameterError, f"{name}=nan", lambda: model.predict(good))


@pytest.mark.parametrize("pooling", ["probability", "vote"])
def test_poolings_of_answers_are_none_for_a_transformer(pooling):
    in_order(
        ParameterError, f"pooling='{pooling}'; expected one of 'mean', 'mean", lambda: mfcc(pooling=pooling).fit([])
    )


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"input_repr": "mel64"}, ParameterError, "input_repr='mel64'; expected one of 'mel256'"),
        ({"embedding_size": 100}, ParameterError, "embedding_size=100; expected one of 512, 6144"),
        ({"bits": 8}, ParameterError, "'bits'"),
        ({"weights": 5}, ParameterError, "weights"),
    ],
)
def test_embedder_options_that_cannot_be_are_refused(options, error, words):
    in_order(error, words, lambda: load_embedder("openl3", **options))


@pytest.mark.parametrize("name", ["openl3", "yamnet", "edgel3", "speech"])
def test_weights_that_are_not_there_are_said_at_once(tmp_path, good, name):
    place = tmp_path / "no" / "weights.h5"
    model = ClipEmbedder(load_embedder(name, weights=place), cache=None, on_error="nan")
    in_order(WeightsError, "weights|no such", lambda: model.fit_transform(good))


def test_a_label_with_one_clip_only_is_learnt(good):
    model = ClipClassifier("mfcc", cache=None).fit(good, ["tone", "noise"])
    assert model.predict(good).tolist() == ["tone", "noise"]


def test_no_clips_give_no_rows():
    assert mfcc().fit_transform([]).shape == (0, 60)
    in_order(ParameterError, "found 1 class|found 0|none", lambda: ClipClassifier("mfcc", cache=None).fit([], []))


# The command line


@pytest.fixture
def run(capsys, tmp_path):
    """Run a command; return its status, output and messages. No traceback ever."""

    def run_command(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse's
            status = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert 'File "' not in err
        return status, out, err

    return run_command


@pytest.fixture
def model_file(tmp_path, good, run):
    data = tmp_path / "train"
    for label, path in zip(("tone", "noise"), good, strict=True):
        (data / label).mkdir(parents=True)
        os.link(path, data / label / "a.wav")
    status, _, err = run("fit", data, "--embedder", "mfcc", "--out", tmp_path / "m.l3clf")
    assert status == 0, err
    return tmp_path / "m.l3clf"


def failed_lines(err):
    return [line for line in err.splitlines() if line.startswith("l3clf: failed: ")]


def path_argument(made):
    if isinstance(made, Clip):
        pytest.skip("the command line takes whole files")
    return str(made)


@bad_files
def test_predict_answers_the_good_and_names_the_bad(tmp_path, good, run, model_file, make, words):
    bad = path_argument(make_bad(make, tmp_path))
    if os.path.isdir(bad):  # noqa: PTH112
        pytest.skip("a folder is an argument of its own kind")
    status, out, err = run("predict", model_file, good[0], bad, good[1])
    assert status == 1
    assert [line.split(",")[:2] for line in out.splitlines()] == [
        ["path", "label"],
        [good[0], "tone"],
        [good[1], "noise"],
    ]
    (line,) = failed_lines(err)
    check_sentence(line, tmp_path, bad)


@bad_files
def test_embed_writes_the_good_and_names_the_bad(tmp_path, good, run, make, words):
    bad = path_argument(make_bad(make, tmp_path))
    if os.path.isdir(bad):  # noqa: PTH112
        pytest.skip("a folder is an argument of its own kind")
    status, out, err = run("embed", good[0], bad, good[1], "--embedder", "mfcc", "--out", tmp_path / "x.npz")
    assert status == 1
    assert out.startswith("Embeddings of 2 files")
    (line,) = failed_lines(err)
    check_sentence(line, tmp_path, bad)
    with np.load(tmp_path / "x.npz") as written:
        assert written["paths"].tolist() == good
        assert np.isfinite(written["vectors"]).all()


CSV_FILES = [case for case in EVERY_FILE if "NUL" not in case.id and "UTF-8" not in case.id]


@pytest.mark.parametrize(("make", "words"), CSV_FILES)
def test_fit_learns_the_good_and_names_the_bad(tmp_path, good, run, make, words):
    bad = make_bad(make, tmp_path)
    clip = bad if isinstance(bad, Clip) else Clip(bad)
    row = f'"{clip.path}",tone,{clip.start_s},{"" if clip.end_s is None else clip.end_s}\n'
    table = tmp_path / "table.csv"
    table.write_text(f"path,label,start_s,end_s\n{good[0]},tone,,\n{row}{good[1]},noise,,\n", encoding="utf-8")
    status, out, err = run("fit", table, "--embedder", "mfcc", "--out", tmp_path / "m")
    assert status == 1
    assert "on 2 clips of 2 classes" in out
    (line,) = failed_lines(err)
    check_sentence(line, tmp_path, bad)
    assert run("predict", tmp_path / "m", *good)[0] == 0


@posix_only
@pytest.mark.parametrize("arguments", [[], ["--format", "jsonl"], ["--out", "out.csv"]])
def test_a_name_that_is_no_utf_8_comes_out_as_it_went_in(tmp_path, model_file, arguments):
    odd = os.fsencode(put(tmp_path / "\udce9.wav", wav((tone(300) * 32767).astype("<i2").tobytes())))
    command = [sys.executable, "-m", "l3clf", "predict", model_file, odd, "--cache", "none", *arguments]
    env = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # what most systems have
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=env, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    answer = done.stdout or (tmp_path / "out.csv").read_bytes()
    assert b"tone" in answer
    if "jsonl" in arguments:  # which must be UTF-8
        assert os.fsencode(json.loads(answer.decode("utf-8"))["path"]) == odd
    else:
        assert odd in answer


def test_fit_without_two_good_classes_still_names_the_bad_files(tmp_path, good, run):
    data = tmp_path / "train"
    for label in ("tone", "noise"):
        (data / label).mkdir(parents=True)
    os.link(good[0], data / "tone" / "a.wav")
    put(data / "noise" / "broken.wav", b"no sound")
    status, _, err = run("fit", data, "--embedder", "mfcc", "--out", tmp_path / "m")
    assert status == 1
    assert "fewer than two classes" in err
    assert "broken.wav" in err
    assert not (tmp_path / "m").exists()


def test_only_bad_files_still_give_a_complete_answer(tmp_path, run, model_file):
    bad = [put(tmp_path / f"bad{i}.wav", b"no sound") for i in range(3)]
    status, out, err = run("predict", model_file, *bad)
    assert (status, out) == (1, "path,label,probability\n")
    assert len(failed_lines(err)) == 3
    status, out, err = run("embed", *bad, "--embedder", "mfcc", "--out", tmp_path / "x.npz")
    assert status == 1
    assert out.startswith("Embeddings of 0 files, 0 windows")
    with np.load(tmp_path / "x.npz") as written:
        assert written["vectors"].shape[0] == 0


def test_an_empty_folder_fails_and_the_rest_is_done(tmp_path, good, run, model_file):
    (tmp_path / "empty").mkdir()
    status, out, err = run("predict", model_file, tmp_path / "empty", good[0])
    assert status == 1
    assert f"{tmp_path / 'empty'}: the folder holds no sound files" in err
    assert out.count("tone") == 1
    status, out, err = run("embed", tmp_path / "empty", *good, "--embedder", "mfcc", "--out", tmp_path / "x.npz")
    assert status == 1
    assert out.startswith("Embeddings of 2 files")


def empty_folder(place):
    (place / "empty").mkdir()
    return place / "empty"


def folder_without_classes(place):
    (place / "flat").mkdir()
    write(place / "flat" / "a.wav")
    return place / "flat"


def csv_of(text):
    return lambda place: put(place / "table.csv", text if isinstance(text, bytes) else text.encode())


BAD_DATA = {
    "missing": (lambda place: place / "no data", "no such file or folder; expected a CSV, or a folder"),
    "empty folder": (empty_folder, "no sound files in subfolders"),
    "folder without classes": (folder_without_classes, "no sound files in subfolders"),
    "empty CSV": (csv_of(""), "has no column 'path', 'label'; found nothing"),
    "CSV without label": (csv_of("path,class\na.wav,dog\n"), "has no column 'label'; found 'path', 'class'"),
    "CSV without path": (csv_of("file,label\na.wav,dog\n"), "has no column 'path'"),
    "CSV with semicolons": (csv_of("path;label\na.wav;dog\n"), "found 'path;label'"),
    "CSV without clips": (csv_of("path,label\n\n\n"), "holds no clips"),
    "label left out": (csv_of("path,label\na.wav,dog\nb.wav,\n"), "no label in line 3"),
    "times that are none": (csv_of("path,label,start_s\na.wav,dog,soon\n"), "line 2: .*'soon'.*expected times"),
    "not UTF-8": (csv_of("path,label\ncafé.wav,dog\n".encode("latin-1")), "is not UTF-8 text"),
    "UTF-16": (csv_of("path,label\na.wav,dog\n".encode("utf-16")), "is not UTF-8 text"),
    "a sound file": (lambda place: write(place / "a.wav"), "not UTF-8 text|has no column"),
    "one class": (csv_of("path,label\na.wav,dog\nb.wav,dog\n"), "found 1 class"),
}


@pytest.mark.parametrize(("make", "words"), BAD_DATA.values(), ids=BAD_DATA)
def test_data_that_is_none_is_said_in_one_sentence(tmp_path, run, make, words):
    status, out, err = run("fit", make(tmp_path), "--embedder", "mfcc", "--out", tmp_path / "m")
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    check_sentence(line, tmp_path)
    assert re.search(words, line)
    assert not (tmp_path / "m").exists()


BAD_COMMANDS = {
    "no command": ([], 2, "required"),
    "unknown command": (["classify"], 2, "invalid choice"),
    "fit without --out": (["fit", "DATA"], 2, "--out"),
    "unknown head": (["fit", "DATA", "--out", "OUT", "--head", "svm"], 2, "invalid choice: 'svm'"),
    "unknown pooling": (["fit", "DATA", "--out", "OUT", "--pooling", "median"], 2, "invalid choice: 'median'"),
    "hop that is no number": (["embed", "GOOD", "--out", "OUT", "--hop", "half"], 2, "--hop"),
    "hop of 0": (["embed", "GOOD", "--out", "OUT", "--hop", "0"], 2, "greater than 0"),
    "hop of nan": (["embed", "GOOD", "--out", "OUT", "--hop", "nan"], 2, "greater than 0"),
    "hop of ages": (["embed", "GOOD", "--out", "OUT", "--hop", "1e300"], 1, "hop_s=1e.300"),
    "hop below a sample": (["embed", "GOOD", "--out", "OUT", "--hop", "1e-9"], 1, "hop_s=1e-09"),
    "jobs that are none": (["embed", "GOOD", "--out", "OUT", "--jobs", "two"], 2, "--jobs"),
    "0 jobs": (["embed", "GOOD", "--out", "OUT", "--jobs", "0"], 1, "n_jobs=0"),
    "out in a missing folder": (["embed", "GOOD", "--out", "MISSING/x.npz"], 1, "its folder does not exist"),
    "out is a folder": (["embed", "GOOD", "--out", "."], 1, "is a folder"),
    "fit, out in a missing folder": (["fit", "DATA", "--out", "MISSING/m"], 1, "its folder does not exist"),
    "predict, out in a missing folder": (["predict", "MODEL", "GOOD", "--out", "MISSING/x"], 1, "does not exist"),
    "unknown embedder": (["embed", "GOOD", "--out", "OUT", "--embedder", "vggish"], 1, "no such embedder"),
    "option without a value": (["embed", "GOOD", "--out", "OUT", "--option", "input_repr"], 1, "NAME=VALUE"),
    "unknown option": (["embed", "GOOD", "--out", "OUT", "--option", "size=3"], 1, "'size'"),
    "group that is no column": (["fit", "TABLE", "--out", "OUT", "--group", "who"], 1, "has no column 'who'"),
    "group of a folder": (["fit", "DATA", "--out", "OUT", "--group", "who"], 1, "there is no meta.csv"),
    "threshold of 2": (["fit", "DATA", "--out", "OUT", "--unknown-threshold", "2"], 1, "unknown_threshold=2"),
    "predict, threshold of 2": (["predict", "MODEL", "GOOD", "--unknown-threshold", "2"], 1, "unknown_threshold=2"),
    "predict, gate of nan": (["predict", "MODEL", "GOOD", "--gate-dbfs", "nan"], 1, "gate_dbfs=nan"),
    "missing model": (["predict", "MISSING", "GOOD"], 1, "no such file|cannot be read|does not exist|[Nn]o such"),
    "a sound for a model": (["predict", "GOOD", "GOOD"], 1, "ZIP|not a|no l3clf model"),
    "cache in a missing drive": (["embed", "GOOD", "--out", "OUT", "--cache", "GOOD/x.sqlite"], 1, "x.sqlite"),
    "a sound for a cache": (["embed", "GOOD", "--out", "OUT", "--cache", "GOOD"], 1, "cache"),
    "cache none to look at": (["cache", "info", "--cache", "none"], 1, "no cache|none"),
    "prune by a word": (["cache", "prune", "--max-mb", "all"], 2, "--max-mb"),
    "unknown weights": (["weights", "check", "vggish"], 1, "no such weights"),
}


@pytest.mark.parametrize(("arguments", "status", "words"), BAD_COMMANDS.values(), ids=BAD_COMMANDS)
def test_commands_that_cannot_work_are_refused(tmp_path, good, run, model_file, arguments, status, words):
    table = put(tmp_path / "table.csv", f"path,label\n{good[0]},a\n{good[1]},b\n".encode())
    places = {
        "GOOD": good[0],
        "DATA": str(tmp_path / "train"),
        "TABLE": table,
        "MODEL": str(model_file),
        "OUT": str(tmp_path / "out"),
        "MISSING": str(tmp_path / "missing"),
    }
    parts = [re.sub("^[A-Z]+", lambda found: places[found[0]], argument) for argument in arguments]
    if arguments[:1] in (["fit"], ["embed"]) and "--embedder" not in arguments:
        parts += ["--embedder", "mfcc"]
    found, out, err = run(*parts)
    assert found == status
    assert re.search(words, err)
    assert out == ""
    if status == 1:
        (line,) = err.splitlines()
        check_sentence(line, tmp_path)
    assert not (tmp_path / "out").exists()
