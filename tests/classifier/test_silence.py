"""Digital silence: "unknown" with a warning unless it was learned; other clips, and old models, answer as before."""

import json
import pickle
import warnings
import zipfile

import numpy as np
import pytest
from golden import make_model_format_1 as old
from golden.make_model_format_1 import RATE, noise, tone
from helpers.sound_files import write
from sklearn.base import clone

import l3clf
from l3clf import Clip, ClipClassifier, ClipEmbedder
from l3clf.errors import L3clfWarning
from l3clf.evaluate import cross_validate, make_split

POOLINGS = ["mean", "mean+std", "max", "probability", "vote"]
SILENCE = np.zeros(RATE)
FAINT = np.full(RATE, 10 ** (-100.1 / 20))  # a window of it is at -100.1 dBFS
AUDIBLE = np.full(RATE, 10 ** (-99.9 / 20))
SILENT = "digital silence, every window is below -100 dBFS; record it again, or train with silent clips"


@pytest.fixture(scope="module")
def clips():
    """Eight tones and eight noises, and their labels."""
    return [tone(300 + 100 * k) for k in range(8)] + [noise(k) for k in range(8)], ["tone"] * 8 + ["noise"] * 8


@pytest.fixture(scope="module")
def model(clips):
    return classifier().fit(*clips)


@pytest.fixture(scope="module")
def with_silence(clips):
    """A model that has learned silence as a class."""
    X, y = clips
    return classifier().fit([*X, SILENCE, np.zeros(2 * RATE), FAINT], [*y, *["silence"] * 3])


def classifier(**options):
    return ClipClassifier("mfcc", sample_rate=RATE, cache=None, **options)


# --- silence that was not learned --------------------------------------------------------------------


@pytest.mark.parametrize("pooling", POOLINGS)
def test_silence_is_unknown_with_a_warning(clips, pooling):
    model = classifier(pooling=pooling).fit(*clips)
    with pytest.warns(L3clfWarning, match=rf"^X\[0\]: {SILENT}"):
        assert model.predict([SILENCE]).tolist() == ["unknown"]
    with pytest.warns(L3clfWarning, match=SILENT):
        assert model.predict_proba([tone(500), FAINT])[1].tolist() == [0.0, 0.0]


def test_silent_files_are_named_once_for_all(model, tmp_path):
    silent = [write(tmp_path / f"{k}.wav", np.zeros(RATE)) for k in range(20)]
    with pytest.warns(L3clfWarning) as caught:
        found = model.predict([write(tmp_path / "tone.wav", tone(500)), *silent])
    assert found.tolist() == ["tone", *["unknown"] * 20]
    assert [str(warning.message) for warning in caught] == [
        f"20 of 21 clips, the first {silent[0]}: {SILENT}: none was, so 'unknown' is answered"
    ]


def test_embeddings_of_silence_are_silent_too(model):
    windows = model.embed([tone(500), SILENCE])
    with pytest.warns(L3clfWarning, match=r"^X\[1\]: digital silence"):
        assert model.predict(windows).tolist() == ["tone", "unknown"]


def test_every_window_of_a_silent_clip_is_unknown(model):
    with pytest.warns(L3clfWarning, match=SILENT):
        (windows,) = model.predict_windows([SILENCE])
    assert set(windows.labels.tolist()) == {"unknown"}
    assert not windows.probabilities.any()


def test_channels_that_cancel_exactly_are_unknown(model, tmp_path):
    path = write(tmp_path / "wide.wav", np.stack([tone(500), -tone(500)], axis=1), subtype="FLOAT")
    with pytest.warns(L3clfWarning) as caught:
        assert model.predict([path]).tolist() == ["unknown"]
    assert [str(warning.message).split(": ")[1][:30] for warning in caught] == [
        "its 2 channels cancel each oth",
        "digital silence, every window ",
    ]


def test_a_silent_clip_in_cross_validation_is_answered_unknown(clips):
    X, y = clips
    X, y = [*X, SILENCE], np.array([*y, "noise"])  # the first class, which an argmax of zeros gives
    windows = classifier().embed(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", L3clfWarning)
        found = cross_validate(classifier(), windows, y, make_split(y))
    assert found.predictions[-1] == "unknown"
    assert (found.predictions[:-1] == y[:-1]).all()


# --- what does not change ----------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_clip_with_one_window_of_sound_pools_all_its_windows(clips, pooling):
    from l3clf.classifier.decision import pool_probabilities, pool_vectors

    model = classifier(pooling=pooling, center=False, hop_s=1.0).fit(*clips)
    ends_in_silence = np.concatenate([tone(500, seconds=1.0), np.zeros(4 * RATE)])
    vectors = l3clf.load_embedder("mfcc").embed(ends_in_silence, RATE, 1.0, center=False).vectors
    if pooling in ("probability", "vote"):
        expected = pool_probabilities(model.head_.predict_proba(vectors), pooling)
    else:
        expected = model.head_.predict_proba(pool_vectors(vectors, pooling)[np.newaxis])[0]
    np.testing.assert_allclose(model.predict_proba([ends_in_silence])[0], expected, rtol=1e-6)


def test_the_level_itself_is_audible(model):
    assert model.predict([AUDIBLE])[0] in ("tone", "noise")


def test_a_gate_says_unknown_without_a_warning(clips):
    model = classifier(gate_dbfs=-60.0).fit(*clips)
    assert model.predict([SILENCE]).tolist() == ["unknown"]
    model.set_params(gate_dbfs=-150.0)
    with pytest.warns(L3clfWarning, match=SILENT):
        assert model.predict([FAINT]).tolist() == ["unknown"]


# --- silence that was learned ------------------------------------------------------------------------


def test_silence_that_was_learned_is_a_class(with_silence):
    assert with_silence.predict([SILENCE, FAINT, tone(500)]).tolist() == ["silence", "silence", "tone"]
    (windows,) = with_silence.predict_windows([SILENCE])
    assert set(windows.labels.tolist()) == {"silence"}


def test_each_fit_learns_anew(clips, with_silence):
    model = pickle.loads(pickle.dumps(with_silence))
    assert model.silence_learned_ is True
    assert model.fit(*clips).silence_learned_ is False


def test_a_silent_clip_among_the_clips_of_a_class_is_told(clips):
    X, y = clips
    words = r"^X\[16\]: digital silence labelled 'noise', a class of clips with sound; leave it out, or silence is"
    with pytest.warns(L3clfWarning, match=words):
        model = classifier().fit([*X, SILENCE], [*y, "noise"])
    assert model.predict([SILENCE])[0] in ("tone", "noise")
    with pytest.warns(L3clfWarning, match=r"^2 of 18 clips, the first X\[16\]: digital silence labelled 'noise'"):
        classifier().fit([*X, SILENCE, FAINT], [*y, "noise", "tone"])


def test_classes_of_silence_alone_are_told(clips):
    X, y = clips
    words = r"^6 of 22 clips, the first X\[16\]: digital silence, .*, in 2 classes \('a', 'b'\); they cannot be told"
    with pytest.warns(L3clfWarning, match=f"{words} apart: record their clips again$"):
        classifier().fit([*X, *[SILENCE] * 6], [*y, *"aaabbb"])


@pytest.mark.parametrize("labels", [list("aabb"), [0, 0, 1, 1], [True, True, False, False]])
def test_a_training_of_silence_alone_is_told(labels):
    with pytest.warns(
        L3clfWarning, match=r"^4 of 4 clips, the first X\[0\]: digital silence, .* in 2 classes"
    ) as caught:
        classifier().fit([SILENCE] * 4, labels)
    assert len(caught) == 1


def test_a_training_on_32_bit_files_of_16_bit_samples_is_told(clips, tmp_path):
    X, y = clips
    paths = [write(tmp_path / f"{k}.wav", clip * 2.0**-16, subtype="PCM_32") for k, clip in enumerate(X)]
    with pytest.warns(L3clfWarning) as caught:
        model = classifier().fit(paths, y)
    narrow, silent = (str(warning.message) for warning in caught)
    assert narrow.startswith(f"16 of 16 clips, the first {paths[0]}: 32-bit samples of at most ")
    assert "were saved without scaling, or next to nothing was recorded; save it again" in narrow
    assert "in 2 classes ('noise', 'tone'); they cannot be told apart" in silent
    assert silent.endswith("or correct the scale of what is not exactly zero")
    with pytest.warns(L3clfWarning, match="were saved without scaling"):
        model.predict(paths)


def test_silence_that_is_not_all_zeros_may_have_another_scale(model):
    with pytest.warns(L3clfWarning, match="'unknown' is answered, or correct the scale of what is not exactly zero$"):
        model.predict([tone(500) * 2.0**-16])


def test_silent_clips_below_the_gate_are_not_learned(clips):
    X, y = clips
    with pytest.warns(L3clfWarning, match="1 of 17 clips left out"):
        model = classifier(gate_dbfs=-60.0).fit([*X, SILENCE], [*y, "noise"])
    assert model.silence_learned_ is False


# --- model files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("learned", [False, True])
def test_a_saved_model_knows_whether_it_learned_silence(model, with_silence, learned, tmp_path):
    path = l3clf.save_model(with_silence if learned else model, tmp_path / "m.l3clf")
    loaded = l3clf.load_model(path)
    loaded.set_params(cache=None)
    if learned:
        assert loaded.predict([SILENCE]).tolist() == ["silence"]
    else:
        with pytest.warns(L3clfWarning, match=SILENT):
            assert loaded.predict([SILENCE]).tolist() == ["unknown"]


def test_a_saved_model_knows_its_scale(clips, tmp_path):
    X, y = clips
    model = classifier(full_scale=32_768).fit([clip * 32_768 for clip in X], y)
    loaded = l3clf.load_model(l3clf.save_model(model, tmp_path / "m.l3clf")).set_params(cache=None)
    assert loaded.full_scale == 32_768
    assert loaded.predict([tone(500) * 32_768, noise(30) * 32_768]).tolist() == ["tone", "noise"]
    plain = classifier().fit(X, y)
    np.testing.assert_allclose(model.predict_proba([tone(500) * 32_768]), plain.predict_proba([tone(500)]), rtol=1e-4)
    assert (
        model.training_digest_ != classifier(full_scale=32_767).fit([clip * 32_768 for clip in X], y).training_digest_
    )


def test_an_old_model_keeps_its_meaning_and_says_what_it_does_not_know(tmp_path):
    model = l3clf.load_model(old.TARGET).set_params(cache=None)
    assert model.predict_proba([tone(440)])[0, 1] == pytest.approx(old.TONE, abs=1e-4)
    words = r"^X\[0\]: digital silence, .*; fit the model again: its file does not say whether silence was learned"
    with pytest.warns(L3clfWarning, match=words):
        assert model.predict_proba([SILENCE])[0, 1] == pytest.approx(old.SILENCE, abs=1e-4)
    again = l3clf.load_model(l3clf.save_model(model, tmp_path / "again.l3clf")).set_params(cache=None)
    with pytest.warns(L3clfWarning, match=words):
        assert again.predict([SILENCE]).tolist() == ["tone"]


def test_the_golden_file_is_what_it_says():
    with zipfile.ZipFile(old.TARGET) as archive:
        document = json.loads(archive.read("model.json"))
    assert document["format_version"] == 1
    assert "silence_learned" not in document["head"]


# --- the stated scale as a parameter ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ClipEmbedder, ClipClassifier])
def test_the_scale_is_a_parameter_like_others(kind):
    made = kind("mfcc", full_scale=32_768)
    assert made.get_params()["full_scale"] == 32_768
    assert clone(made).full_scale == 32_768
    assert made.set_params(full_scale=None).full_scale is None


def test_integers_of_16_bits_in_lists_are_classified_as_such(clips):
    X, y = clips
    lists = [np.rint(clip * 32_767).astype(int).tolist() for clip in X]
    model = classifier(full_scale=32_768).fit(lists, y)
    assert model.predict(lists).tolist() == y
    plain = classifier().fit(X, y)
    with pytest.warns(
        L3clfWarning, match=r"^16 of 16 clips, the first X\[0\]: int64 samples of at most .* fit 16 bits"
    ):
        plain.embed(lists)


def test_one_model_for_files_of_integers_and_of_floating_point(clips, tmp_path):
    X, y = clips
    paths = [
        write(tmp_path / f"{k}.wav", clip if k % 2 else clip * 32_768, subtype="PCM_16" if k % 2 else "FLOAT")
        for k, clip in enumerate(X)
    ]
    model = classifier(full_scale=32_768).fit([Clip(path) for path in paths], y)
    np.testing.assert_allclose(model.predict_proba(paths), classifier().fit(X, y).predict_proba(X), atol=1e-3)
