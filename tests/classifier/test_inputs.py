"""What estimators are given: bad clips, X, y and parameters are refused in one sentence, and odd files work."""

import math

import numpy as np
import pytest
from helpers.bad_files import BAD_FILES, LONGEST, at_most, bad_files, check_sentence, file_of, make_bad, sound_of
from helpers.sound_files import RATE, content, tone, wav

from l3clf import load_embedder
from l3clf.audio.clip import Clip
from l3clf.classifier.estimators import ClipClassifier, ClipEmbedder
from l3clf.errors import AudioError, ClipWarning, L3clfError, ParameterError, WeightsError


@pytest.fixture(autouse=True)
def _no_waiting():
    with at_most(30):
        yield


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
    "above full scale": sound_of("louder.wav", np.full(RATE, 7.9), subtype="FLOAT"),
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
    "None": (None, "X: type NoneType; expected a list"),
    "an int": (5, "X: type int"),
    "a number in an array": (np.float64(1), "X: type float64"),
    "one path": ("a.wav", r"X: a single clip; give a list of clips: \['a.wav'\]"),
    "one Clip": (Clip("a.wav"), "X: a single clip"),
    "a dict": ({0: "a.wav"}, r"X\[0\]: int"),
    "None in a list": ([None], r"X\[0\]: NoneType; expected a path, a Clip or a 1-D array"),
    "bytes": ([b"a.wav"], r"X\[0\]: bytes"),
    "a dict in a list": ([{"path": "a"}], r"X\[0\]: dict"),
    "a list of paths in a list": ([["a.wav", "b.wav"]], r"X\[0\]: an array of shape \(2,\) and type <U5"),
    "samples with their rate": ([(np.zeros(9), 16_000)], r"X\[0\]: tuple; expected a path, a Clip or a 1-D array"),
    "stereo in a list": ([np.zeros((9, 2))], r"X\[0\]: an array of shape \(9, 2\)"),
    "3-D array": (np.zeros((2, 3, 4)), r"X\[0\]: an array of shape \(3, 4\)"),
    "complex": ([np.zeros(9, complex)], r"X\[0\]: an array of shape \(9,\) and type complex128"),
    "objects": ([np.array([1.0, None])], r"X\[0\]: an array of shape \(2,\) and type object"),
    "booleans": ([np.zeros(9, bool)], "type bool"),
}


@pytest.mark.parametrize(("X", "words"), BAD_X.values(), ids=BAD_X)
def test_x_of_a_wrong_type_is_refused_by_transformer_and_classifier(X, words):
    in_order(ParameterError, words, lambda: mfcc(sample_rate=RATE).fit_transform(X))
    in_order(ParameterError, words, lambda: ClipClassifier("mfcc", cache=None, sample_rate=RATE).fit(X, ["a", "b"]))


BAD_ARRAYS = {
    "no rate": ([tone()], {}, ParameterError, r"X\[0\]: an array without a sample rate; pass the rate in Hz"),
    "rate too low": ([tone()], {"sample_rate": 1}, L3clfError, "sample.rate.*1"),
    "rate negative": ([tone()], {"sample_rate": -16_000}, L3clfError, "sample.rate.*-16000"),
    "rate NaN": ([tone()], {"sample_rate": math.nan}, L3clfError, "sample.rate.*nan"),
    "empty": ([tone(), np.zeros(0)], {"sample_rate": RATE}, AudioError, r"X\[1\]: holds no samples"),
    "NaN": ([np.array([math.nan, 1])], {"sample_rate": RATE}, AudioError, r"X\[0\]: holds NaN or infinite samples"),
    "unsigned": ([np.zeros(9, np.uint16)], {"sample_rate": RATE}, AudioError, r"X\[0\]: samples of type uint16"),
}


@pytest.mark.parametrize(("X", "options", "error", "words"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_are_not_audio_are_refused(X, options, error, words):
    in_order(error, words, lambda: mfcc(**options).fit_transform(X))


BAD_Y = {
    "None": (None, "requires y"),
    "too short": (["a"], "y: 1 labels; expected one for each of 2 clips"),
    "too long": (["a", "b", "c"], "y: 3 labels"),
    "one class": (["a", "a"], r"y: 1 class \('a'\); expected two or more"),
    "NaN": ([1.0, math.nan], "NaN, infinite or fractional"),
    "fractions": ([0.5, 1.0], "NaN, infinite or fractional"),
    "None in it": (["a", None], "labels of type NoneType, str; expected only strings or only integers"),
    "mixed types": (np.array(["a", 1], object), "labels of type int, str"),
}


@pytest.mark.parametrize(("y", "words"), BAD_Y.values(), ids=BAD_Y)
def test_invalid_y_is_refused_before_a_clip_is_read(y, words):
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
    "pooling unknown": ({"pooling": "median"}, "pooling='median' .did you mean mean..; expected one of 'mean'"),
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
def test_invalid_parameters_are_refused(options, words, good):
    options = {"embedder": "mfcc", "cache": None, **options}
    in_order(ParameterError, words, lambda: ClipEmbedder(**options).fit_transform(good))
    in_order(ParameterError, words, lambda: ClipClassifier(**options).fit(good, ["a", "b"]))


@pytest.mark.parametrize(("options", "words"), CLASSIFIER_PARAMETERS.values(), ids=CLASSIFIER_PARAMETERS)
def test_invalid_classifier_parameters_are_refused(options, words, good):
    model = ClipClassifier("mfcc", cache=None, **options)
    in_order(ParameterError, words, lambda: model.fit(good, ["a", "b"]))


@pytest.mark.parametrize("name", ["unknown_threshold", "gate_dbfs"])
def test_a_threshold_set_after_fitting_is_checked_too(name, good):
    model = ClipClassifier("mfcc", cache=None).fit(good, ["a", "b"]).set_params(**{name: math.nan})
    in_order(ParameterError, f"{name}=nan", lambda: model.predict(good))


@pytest.mark.parametrize("pooling", ["probability", "vote"])
def test_a_transformer_refuses_poolings_of_probabilities(pooling):
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
def test_invalid_embedder_options_are_refused(options, error, words):
    in_order(error, words, lambda: load_embedder("openl3", **options))


@pytest.mark.parametrize("name", ["openl3", "yamnet", "edgel3", "speech"])
def test_missing_weights_are_reported_at_once(tmp_path, good, name):
    place = tmp_path / "no" / "weights.h5"
    model = ClipEmbedder(load_embedder(name, weights=place), cache=None, on_error="nan")
    in_order(WeightsError, "weights|no such", lambda: model.fit_transform(good))


def test_a_label_with_a_single_clip_is_learned(good):
    model = ClipClassifier("mfcc", cache=None).fit(good, ["tone", "noise"])
    assert model.predict(good).tolist() == ["tone", "noise"]


def test_no_clips_give_no_rows():
    assert mfcc().fit_transform([]).shape == (0, 60)
    in_order(ParameterError, "found 1 class|found 0|none", lambda: ClipClassifier("mfcc", cache=None).fit([], []))
