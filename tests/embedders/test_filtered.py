"""Filtered: another embedder, with a fingerprint of its own, that hears a band or sound without its steady noise."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.device_models import RATE
from helpers.fake_embedder import FakeEmbedder
from helpers.model_files import edited, put
from helpers.sound_files import noise, tone, write
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import l3clf
from l3clf.audio.clip import Clip
from l3clf.embedders import filtered, load_embedder
from l3clf.embedders.filtered import Filtered, needs_whole_clips, unfiltered
from l3clf.errors import AudioError, DeviceError, ModelFileError, ParameterError
from l3clf.storage.embedding_cache import EmbeddingCache

FINGERPRINTS = ["9c03cb8af600ef56ecf141a28658c6cc", "70c7b8adaef4cc0749ff0d74db4e517e"]
TINY = Path(__file__).parents[1] / "golden" / "tiny.student"
BAND = (500, 3000)


def made(**options):
    return Filtered(FakeEmbedder(), **(options or {"band_hz": BAND}))


# --- what it is ---------------------------------------------------------------------------------------


def test_it_has_the_windows_of_the_embedder_that_it_wraps():
    inner, outer = FakeEmbedder(2.0), Filtered(FakeEmbedder(2.0), BAND, "stationary")
    for name in ("sample_rate", "window_s", "window_samples", "embedding_size", "batch_windows"):
        assert getattr(outer, name) == getattr(inner, name)
    assert outer.name == "fake 0.5-3 kHz denoised"
    assert outer.options == {"scale": 2.0, "band_hz": [500.0, 3000.0], "denoise": "stationary"}
    assert (outer.is_ready(), outer.missing(), outer.weights_digest()) == (True, "", "")
    assert Filtered("l3mini").embedder == load_embedder("l3mini")


def test_whatever_changes_the_vectors_changes_the_fingerprint(monkeypatch):
    kinds = [
        made(),
        made(band_hz=(501, 3000)),
        made(band_hz=(500, 3001)),
        made(denoise="stationary"),
        made(band_hz=BAND, denoise="stationary"),
        Filtered(FakeEmbedder(2.0), BAND),
    ]
    prints = [each.fingerprint for each in kinds] + [FakeEmbedder().fingerprint]
    assert len({*prints}) == len(prints)
    assert Filtered(FakeEmbedder(), [500.0, np.int64(3000)]).fingerprint == prints[0]
    monkeypatch.setattr(filtered, "REVISION", filtered.REVISION + 1)
    assert made().fingerprint != prints[0]


def test_fingerprints_stay_what_they_are():
    # Caches and models hold them: a change here means that REVISION was raised, or an embedder's own.
    found = Filtered("mfcc", (1000, 8000), "stationary"), Filtered("mfcc", (1000, 8000))
    assert [one.fingerprint for one in found] == FINGERPRINTS


def test_without_filters_it_is_the_embedder_that_it_wraps():
    plain = Filtered(FakeEmbedder())
    assert (plain.name, plain.options) == ("fake", {"scale": 1.0})
    assert plain.fingerprint == FakeEmbedder().fingerprint
    x = noise(2 * RATE, 0)
    np.testing.assert_array_equal(plain.embed(x, RATE).vectors, FakeEmbedder().embed(x, RATE).vectors)


def test_it_is_an_immutable_specification():
    embedder = Filtered("l3mini", BAND)
    assert pickle.loads(pickle.dumps(embedder)) == embedder
    assert pickle.loads(pickle.dumps(embedder)).fingerprint == embedder.fingerprint
    assert copy.deepcopy(embedder) is embedder
    assert hash(embedder) == hash(Filtered(load_embedder("l3mini"), BAND))
    assert (unfiltered(embedder), unfiltered(embedder.embedder)) == (embedder.embedder, embedder.embedder)
    assert not needs_whole_clips(embedder)
    assert needs_whole_clips(made(denoise="stationary"))


@pytest.mark.parametrize(
    ("band", "message"),
    [
        ((1e-50, 500), r"expected edges of at least 1 Hz, or a low edge of 0"),
        ((0, 1e-320), r"expected edges of at least 1 Hz"),
        ((3000, 500), r"^band_hz=\(3000, 500\); expected a low edge of at least 0 Hz and a high edge above it$"),
        ((500, 500), r"^band_hz=\(500, 500\); expected a low"),
        ((-1, 500), r"^band_hz=\(-1, 500\); expected a low"),
        ((1e-50, 500), r"^band_hz=\(1e-50, 500\); expected edges of at least 1 Hz, or a low edge of 0 for none$"),
        ((0, 1e-310), r"expected edges of at least 1 Hz"),
        ((float("nan"), 500), r"^band_hz=\(nan, 500\); expected a low"),
        ((500, float("nan")), r"^band_hz=\(500, nan\); expected a low"),
        (
            (500, 4001),
            r"^band_hz=\(500, 4001\): embedder 'fake' hears sound up to 4000 Hz; expected a high edge of at ",
        ),
        ((500, float("inf")), r"^band_hz=\(500, inf\): embedder 'fake' hears"),
        (1000, r"^band_hz=1000; expected two numbers in Hz, such as \(1000, 8000\), or None$"),
        ((1000,), r"^band_hz=\(1000,\); expected two"),
        ("12", r"^band_hz='12'; expected two"),
        (("1", "2"), r"; expected two"),
        ((True, 2), r"; expected two"),
    ],
)
def test_a_band_that_cannot_be_is_refused(band, message):
    with pytest.raises(ParameterError, match=message):
        made(band_hz=band)


def test_what_else_is_refused():
    with pytest.raises(ParameterError, match=r"^embedder: 'fake 0.5-3 kHz' is filtered already; give band_hz and"):
        Filtered(made(), denoise="stationary")
    with pytest.raises(ParameterError, match=r"^denoise='yes'; expected 'stationary' or None$"):
        made(denoise="yes")
    with pytest.raises(ParameterError, match=r"^embedder=3; expected a name such as 'l3mini', or an embedder$"):
        Filtered(3)


# --- what it hears ------------------------------------------------------------------------------------


def test_its_vectors_are_those_of_sound_without_what_is_outside():
    low, inside = tone(60, 3, 8000), tone(1500, 3, 8000)
    found = made().embed(low + inside, 8000, center=False)
    expected = FakeEmbedder().embed(inside, 8000, center=False).vectors
    # Mean and standard deviation; the last window is padded with zeros.
    np.testing.assert_allclose(found.vectors[:-1, :2], expected[:-1, :2], atol=0.005)
    assert np.abs(FakeEmbedder().embed(low + inside, 8000, center=False).vectors - expected)[:, 1].max() > 0.1


def test_levels_are_those_of_what_is_heard():
    rumble = tone(60, 3, 8000)
    loud, left = FakeEmbedder().embed(rumble, 8000, center=False), made().embed(rumble, 8000, center=False)
    assert loud.levels_dbfs[:-1].min() > -20
    assert left.levels_dbfs[:-1].max() < -80
    batch = made().embed_batch(np.stack([rumble[:4000], rumble[100:4100]]))
    assert batch.levels_dbfs.max() < -80


@pytest.mark.parametrize("embedder", ["mfcc", "l3mini"])
def test_a_stream_gives_the_answers_of_clips(embedder):
    X = [noise(RATE, k) + tone(300 if k % 2 else 2000, 1.0, RATE) for k in range(8)]
    model = l3clf.ClipClassifier(
        Filtered(embedder, (1000, 8000)), sample_rate=RATE, cache=None, center=False, gate_dbfs=-60
    ).fit(X, [k % 2 for k in range(8)])
    x = np.concatenate(X[:3])
    stream = l3clf.StreamClassifier(model, windows=1)
    decisions = [one for part in np.split(x, [11, 7000, 7001, 30_000]) for one in stream.push(part, RATE)]
    windows = model.embed([x])[0]
    assert len(decisions) >= 4
    np.testing.assert_allclose([d.level_dbfs for d in decisions], windows.levels_dbfs[: len(decisions)], atol=1e-3)
    expected = model.window_answers([x])[0].answers.probabilities[: len(decisions)]
    np.testing.assert_allclose([d.probabilities for d in decisions], expected, atol=1e-4)


def test_denoising_hears_the_whole_clip(tmp_path):
    x = noise(4 * 8000, 0, 0.03)
    x[16_000:24_000] += tone(1000, 1.0, 8000)
    quiet = made(denoise="stationary").embed(x, 8000, center=False)
    plain = FakeEmbedder().embed(x, 8000, center=False)
    assert (plain.levels_dbfs[0] - quiet.levels_dbfs[0]) > 15
    assert abs(plain.levels_dbfs[5] - quiet.levels_dbfs[5]) < 1
    # Through a file and the pipeline, and in blocks, it is the same.
    path = write(tmp_path / "x.wav", x, 8000)
    clip = l3clf.ClipEmbedder(made(denoise="stationary"), center=False, cache=None).embed([path])[0]
    np.testing.assert_allclose(clip.vectors[:, :3], quiet.vectors[:, :3], atol=1e-3)


def test_a_clip_too_long_to_be_denoised_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(filtered, "MAX_DENOISED_S", 1.0)
    path = write(tmp_path / "long.wav", noise(3 * 8000, 0), 8000)
    embedder = l3clf.ClipEmbedder(made(denoise="stationary"), cache=None)
    long, piece = embedder.embed([path, Clip(path, 0.5, 1.4)])
    assert isinstance(long, AudioError)
    assert "long.wav: is longer than the 1 s that denoise takes; cut it into pieces, or leave denoise out" in str(long)
    assert len(piece) == 3
    with pytest.raises(AudioError, match="is longer than the 1 s that denoise takes"):
        embedder.fit([path, path]).transform([path])


def test_streams_and_students_cannot_be_denoised():
    X = [noise(RATE, k) + tone(300 if k % 2 else 2000, 1.0, RATE) for k in range(4)]
    model = l3clf.ClipClassifier(Filtered("mfcc", denoise="stationary"), sample_rate=RATE, cache=None).fit(
        X, [0, 1, 0, 1]
    )
    with pytest.raises(
        ParameterError, match=r"^model: it was fitted with denoise .* needs whole clips and not a stream"
    ):
        l3clf.StreamClassifier(model)


# --- cache --------------------------------------------------------------------------------------------


def test_the_cache_keeps_them_apart(tmp_path):
    cache = EmbeddingCache(tmp_path / "c.sqlite")
    path = write(tmp_path / "x.wav", noise(3 * 8000, 0), 8000)
    kinds = [FakeEmbedder(), made(), made(denoise="stationary"), made(band_hz=(0, 3000))]
    first = [l3clf.ClipEmbedder(each, cache=cache).embed([path])[0].vectors for each in kinds]
    again = [l3clf.ClipEmbedder(each, cache=cache).embed([path])[0].vectors for each in kinds]
    for i, (one, other) in enumerate(zip(first, again, strict=True)):
        np.testing.assert_array_equal(one, other)
        assert all(np.abs(one - each).max() > 1e-3 for each in first[:i])
    assert cache.info()["entries"] == 4


# --- scikit-learn -------------------------------------------------------------------------------------


def sounds():
    """Tones that differ below 400 Hz only, under a loud tone that says nothing."""
    X = [tone(150 + 100 * (k % 2), 1.0, 8000) / 10 + tone(2000 + 170 * k, 1.0, 8000) for k in range(12)]
    return X, [k % 2 for k in range(12)]


def test_a_grid_searches_bands_and_embedders():
    X, y = sounds()
    model = l3clf.ClipClassifier(made(band_hz=(1000, 3000)), sample_rate=8000, cache=None)
    grid = {"embedder__band_hz": [(1000, 3000), (0, 400)]}
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_params_ == {"embedder__band_hz": (0, 400)}
    assert search.best_estimator_.embedder_ == made(band_hz=(0, 400))
    assert model.embedder.band_hz == (1000, 3000)  # embedders do not change
    both = GridSearchCV(model, {"embedder": [made(band_hz=(1000, 3000)), made(band_hz=(0, 400))]}, cv=3).fit(X, y)
    assert both.best_params_["embedder"].band_hz == (0, 400)


def test_options_of_an_embedder_are_parameters():
    model = l3clf.ClipEmbedder(made())
    assert model.get_params()["embedder__band_hz"] == (500.0, 3000.0)
    assert "embedder__band_hz" not in model.get_params(deep=False)
    assert clone(model).embedder is model.embedder
    assert model.set_params(embedder__denoise="stationary", hop_s=1.0).embedder.name == "fake 0.5-3 kHz denoised"
    assert model.set_params(embedder=FakeEmbedder(), embedder__scale=3.0).embedder == FakeEmbedder(3.0)
    with pytest.raises(
        ParameterError, match=r"^embedder__band_hz: embedder=FakeEmbedder\(scale=3.0\) has no such option"
    ):
        model.set_params(embedder__band_hz=BAND)
    with pytest.raises(ParameterError, match=r"^embedder__band_hz: embedder='mfcc' has no such option"):
        l3clf.ClipEmbedder("mfcc").set_params(embedder__band_hz=BAND)


# --- model files, chips, unknown sounds ---------------------------------------------------------------


def fitted(embedder, **options):
    X = [noise(RATE, k) + tone(300 if k % 2 else 2000, 1.0, RATE) for k in range(12)]
    return l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, **options).fit(X, [k % 2 for k in range(12)]), X


@pytest.mark.parametrize("filters", [{"band_hz": (1000, 8000)}, {"band_hz": (0, 333.3), "denoise": "stationary"}])
def test_a_model_file_keeps_the_filters(filters, tmp_path):
    model, X = fitted(Filtered("l3mini", **filters))
    path = l3clf.save_model(model, tmp_path / "m")
    loaded = l3clf.load_model(path).set_params(cache=None)
    assert loaded.embedder_ == loaded.embedder == model.embedder
    np.testing.assert_allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-6)
    assert l3clf.save_model(loaded, tmp_path / "again").read_bytes() == path.read_bytes()
    loaded.embedder_ = Filtered("l3mini", (900, 8000))
    with pytest.raises(ModelFileError, match="its fingerprint is"):
        loaded.predict(X)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model, _ = fitted(Filtered("mfcc", (1000, 8000)))
    return l3clf.save_model(model, tmp_path_factory.mktemp("models") / "m").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("filters", "band_hz", [8000, 1000]), r"filters: band_hz=\(8000, 1000\); expected a low edge"),
        (put("filters", "band_hz", [1000, 9000]), "filters: band_hz=.*embedder 'mfcc' hears sound up to 8000 Hz"),
        (
            put("filters", "band_hz", [1000]),
            "filters field 'band_hz' is .*, expected null or a list of two of a number",
        ),
        (put("filters", "band_hz", [1000, 10**400]), "filters field 'band_hz' is"),
        (put("filters", "band_hz", [1000, True]), "filters field 'band_hz' is"),
        (put("filters", "band_hz", "12"), "filters field 'band_hz' is '12', expected null or a list"),
        (put("filters", "band_hz", None), "filters is .*, expected at least one filter"),
        (put("filters", "denoise", "os.system"), "filters field 'denoise' is 'os.system', expected one of None, 'stat"),
        (put("filters", "more", 1), "filters has an unknown field 'more'"),
        (put("filters", {}), "filters has no field"),
        (put("filters", None), "field 'filters' is None, expected an object"),
        (put("format_version", 2), "has an unknown field 'filters'"),
    ],
)
def test_a_model_file_with_wrong_filters_is_refused(saved, change, message, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(edited(saved, change))
    with pytest.raises(ModelFileError, match=message):
        l3clf.load_model(path)


def test_a_model_without_its_filters_does_not_predict(saved, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(edited(saved, lambda document: document.pop("filters")))
    with pytest.raises(ModelFileError, match="its fingerprint is"):
        l3clf.load_model(path).predict([write(tmp_path / "x.wav")])


def test_the_file_of_a_plain_one_is_that_of_the_embedder(tmp_path):
    files = [
        l3clf.save_model(fitted(each)[0], tmp_path / name)
        for name, each in (("a", Filtered("mfcc")), ("b", load_embedder("mfcc")))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_student_of_the_users_own_is_carried_by_its_model(tmp_path):
    student = tmp_path / "mine.student"
    student.write_bytes(TINY.read_bytes())
    model, X = fitted(Filtered(load_embedder(str(student), precision="int8"), (1000, 8000)))
    path = l3clf.save_model(model, tmp_path / "m")
    expected = model.predict_proba(X)
    student.unlink()
    loaded = l3clf.load_model(path).set_params(cache=None)
    np.testing.assert_allclose(loaded.predict_proba(X), expected, atol=1e-6)
    assert l3clf.save_model(loaded, tmp_path / "again").read_bytes() == path.read_bytes()
    assert l3clf.load_model(path, weights=TINY).embedder_.embedder.weights == str(TINY)


def test_a_chip_has_no_filters(tmp_path):
    for options, what in (({"band_hz": (1000, 8000)}, "a band limit"), ({"denoise": "stationary"}, "denoise")):
        model, _ = fitted(Filtered("l3mini", **options))
        with pytest.raises(DeviceError, match=rf"^model: it was fitted with {what} \("):
            l3clf.device.export(model, tmp_path / "c")
    model, _ = fitted(Filtered("l3mini"))
    assert l3clf.device.export(model, tmp_path / "c").is_dir()


def test_the_bank_is_not_for_filtered_sound():
    model, X = fitted(Filtered("l3mini", (1000, 8000)), unknown="auto")
    assert (model.has_background_, model.typicality_ is not None) == (False, True)
    assert np.isfinite(model.unknown_score(X)).all()
    assert fitted(Filtered("l3mini"), unknown="auto")[0].has_background_
    with pytest.raises(ParameterError, match=r"none for embedder 'l3mini 1-8 kHz', whose band or denoising its sounds"):
        fitted(Filtered("l3mini", (1000, 8000)), unknown=l3clf.Unknown())
