"""Changed copies of training clips: reproducible, kept, learned from, and never in what is scored."""

import numpy as np
import pytest
import soundfile
from helpers.sound_files import RATE, noise, tone
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from l3clf import (
    Augmentation,
    Clip,
    ClipClassifier,
    EmbeddingCache,
    Filtered,
    Unknown,
    load_embedder,
    load_model,
    save_model,
)
from l3clf.audio.clip import Samples
from l3clf.audio.framing import level_dbfs
from l3clf.classifier import augmented
from l3clf.classifier.augmented import SourcedWindows, embed_copies
from l3clf.errors import AudioError, ClipWarning, L3clfError, ParameterError
from l3clf.pipeline import embed_sources

MFCC = load_embedder("mfcc")
NEVER = dict.fromkeys(("p_shift", "p_stretch", "p_pitch", "p_noise", "p_mix", "p_band", "p_colour", "p_room"), 0.0)
STILL = {"gain_db": (0.0, 0.0), **NEVER}
TWO = Augmentation(copies=2)


def clips(n=6, seconds=0.8):
    """Noises and tones, in turn."""
    rng = np.random.default_rng(0)
    made = [tone(300 + 150 * i, seconds) if i % 2 else noise(round(seconds * RATE), seed=i) for i in range(n)]
    return [(one * rng.uniform(0.5, 1)).astype(np.float32) for one in made]


X = clips()
Y = ["noise", "tone"] * 3


def made(items, augment=TWO, kinds=None, **options):
    """The copies of clips, by clip and number, as arrays."""
    sources = [item if isinstance(item, Clip | Samples | SourcedWindows) else Samples(item, RATE) for item in items]
    own = [item if isinstance(item, SourcedWindows) else embed_sources(MFCC, [item])[0] for item in sources]
    found = embed_copies(MFCC, sources, own, kinds or Y[: len(items)], augment, **options)
    return {(clip, copy): one if isinstance(one, L3clfError) else one.vectors for clip, copy, one in found}


def same(first, second):
    return first.shape == second.shape and np.array_equal(first, second)


def classifier(**options):
    return ClipClassifier("mfcc", sample_rate=RATE, **{"cache": None, "augment": TWO, **options})


# --- what a copy depends on ---------------------------------------------------------------------------


def test_a_copy_depends_on_its_clip_and_number_alone():
    unmixed = Augmentation(copies=2, p_mix=0.0)
    every = made(X, unmixed)
    assert sorted(every) == [(clip, copy) for clip in range(6) for copy in range(2)]
    assert len({vectors.tobytes() for vectors in every.values()}) == 12
    order = [4, 0, 3]
    some = made([X[i] for i in order], Augmentation(copies=3, p_mix=0.0), n_jobs=1)
    for place, i in enumerate(order):
        for copy in range(2):
            assert same(some[place, copy], every[i, copy])
    other = made(X, Augmentation(copies=2, p_mix=0.0, snr_db=(5.0, 39.0)))
    assert not same(other[0, 0], every[0, 0])


def test_with_mixing_too_order_does_not_matter_and_the_second_clip_is_of_the_same_class():
    mixing = Augmentation(copies=2, **{**STILL, "p_mix": 1.0})
    every = made(X, mixing)
    backwards = made(X[::-1], mixing, Y[::-1])
    assert all(same(backwards[5 - clip, copy], vectors) for (clip, copy), vectors in every.items())
    # Without the clips of the other class nothing changes: none of them was in it.
    noises = made(X[::2], mixing, Y[::2])
    assert all(same(vectors, every[2 * clip, copy]) for (clip, copy), vectors in noises.items())
    alone = made(X[:1], mixing)
    assert same(alone[0, 0], embed_sources(MFCC, [Samples(X[0], RATE)])[0].vectors)
    assert not same(alone[0, 0], every[0, 0])


def test_background_is_mixed_into_classes_and_no_class_into_the_background():
    mixing = Augmentation(copies=4, **{**STILL, "p_mix": 1.0})
    own = [embed_sources(MFCC, [Samples(x, RATE)])[0].vectors for x in X[:2]]
    found = made(X[:2], mixing, ["noise", "background"])
    assert not any(same(found[0, copy], own[0]) for copy in range(4))
    assert all(same(found[1, copy], own[1]) for copy in range(4))


def test_most_copies_have_the_same_second_clip_without_some_of_the_clips():
    """Folds share most of their copies."""
    ids = {i: bytes([i]) * 32 for i in range(200)}
    mixing = Augmentation(copies=2, p_mix=1.0)
    every = {(plan.clip, plan.copy): plan for plan in augmented._plans(ids, ["a"] * 200, mixing)}
    some = augmented._plans({i: one for i, one in ids.items() if i % 5}, ["a"] * 200, mixing)
    kept = [plan.what == every[plan.clip, plan.copy].what for plan in some]
    assert np.mean(kept) == pytest.approx(0.8, abs=0.07)
    assert all(plan.seed == every[plan.clip, plan.copy].seed for plan in some)
    seconds = [plan.second for plan in every.values()]
    assert len(set(seconds)) > 120  # of 200: no clip is everywhere
    assert all(plan.second != plan.clip for plan in every.values())


def test_a_file_and_another_name_of_it_have_the_same_copies(tmp_path):
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, X[0], RATE)
    found = made([Clip(tmp_path / "a.wav"), Clip(tmp_path / "b.wav"), Clip(tmp_path / "b.wav", 0.1)], kinds=["x"] * 3)
    assert same(found[0, 0], found[1, 0])
    assert not same(found[0, 0], found[2, 0])


# --- sounds -------------------------------------------------------------------------------------------


def test_without_any_change_a_copy_is_the_clip():
    found = made(X[:2], Augmentation(copies=1, **STILL))
    for i in range(2):
        assert same(found[i, 0], embed_sources(MFCC, [Samples(X[i], RATE)])[0].vectors)


def test_levels_of_a_copy_are_those_before_its_change_of_level():
    quieter = Augmentation(copies=1, **{**STILL, "gain_db": (-30.0, -30.0)})
    source = Samples(X[1], RATE)
    own = embed_sources(MFCC, [source])[0]
    ((_, _, copy),) = embed_copies(MFCC, [source], [own], ["a"], quieter)
    np.testing.assert_allclose(copy.levels_dbfs, own.levels_dbfs, atol=1e-3)
    assert not same(copy.vectors, own.vectors)  # the first MFCC is a level


def test_no_window_gets_louder_than_full_scale():
    windows = np.stack([tone(seconds=1.0, amplitude=0.9), tone(seconds=1.0, amplitude=0.1)])
    louder = windows * augmented._factors(windows, 6.0)
    assert np.abs(louder).max(axis=1) == pytest.approx([1.0, 0.2], abs=2e-3)
    assert level_dbfs(louder)[1] - level_dbfs(windows)[1] == pytest.approx(6, abs=1e-3)


def test_copies_are_heard_through_the_filters_of_an_embedder():
    """Denoising takes the whole copy, and levels are those of the band."""
    still, source = Augmentation(copies=1, **{**STILL, "gain_db": (-20.0, -20.0)}), Samples(X[0], RATE)
    for options in ({"band_hz": (500, 2000)}, {"denoise": "stationary"}):
        embedder = Filtered(MFCC, **options)
        own = embed_sources(embedder, [source])[0]
        ((_, _, copy),) = embed_copies(embedder, [source], [own], ["a"], still)
        np.testing.assert_allclose(copy.levels_dbfs, own.levels_dbfs, atol=1e-2)


def test_digital_silence_is_its_own_copy():
    silence = np.zeros(RATE, np.float32)
    found = made([silence, X[1], X[3]], Augmentation(copies=2, p_mix=1.0, p_noise=1.0), ["none"] * 3)
    own = embed_sources(MFCC, [Samples(silence, RATE)])[0].vectors
    assert all(same(found[0, copy], own) for copy in range(2))
    model = classifier().fit([*X, silence, silence], [*Y, "none", "none"])
    assert model.predict([silence]).tolist() == ["none"]


def test_a_long_clip_is_changed_in_pieces(monkeypatch):
    """Pieces bound the memory, and where nothing is changed they leave no seam."""
    long = noise(round(3.3 * RATE), seed=9)
    whole = made([long], Augmentation(copies=1, **STILL))
    monkeypatch.setattr(augmented, "PIECE_S", 0.5)
    pieces = list(augmented._pieces(Samples(long, RATE), RATE))
    assert [len(piece) for piece in pieces] == [8000] * 5 + [12800]
    assert same(made([long], Augmentation(copies=1, **STILL))[0, 0], whole[0, 0])
    changed = made([long], Augmentation(copies=1))
    assert len(changed[0, 0]) == pytest.approx(len(whole[0, 0]), abs=1)


# --- the cache ----------------------------------------------------------------------------------------


def test_copies_are_made_once(tmp_path, monkeypatch):
    cache = EmbeddingCache(tmp_path / "c.sqlite")
    first = classifier(cache=cache).fit(X, Y)
    assert cache.info()["entries"] == 6 + 12
    monkeypatch.setattr(Augmentation, "render", None)  # would fail
    again = classifier(cache=cache).fit(X[::-1], Y[::-1])
    np.testing.assert_allclose(again.predict_proba(X), first.predict_proba(X), atol=1e-5)
    with pytest.raises(TypeError):
        classifier(cache=cache, augment=Augmentation(copies=3)).fit(X, Y)


def test_copies_by_code_of_ones_own_are_not_kept(tmp_path):
    class Silenced(Augmentation):
        def render(self, samples, *_, **__):
            return 0 * samples

    cache = EmbeddingCache(tmp_path / "c.sqlite")
    usual = made(X[:2], cache=cache)
    for one in made(X[:2], Silenced(copies=2), cache=cache).values():
        assert not any(same(one, other) for other in usual.values())
    assert all(same(one, usual[key]) for key, one in made(X[:2], cache=cache).items())


def test_a_file_that_changes_meanwhile_is_not_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    soundfile.write(path, X[0], RATE)
    cache = EmbeddingCache(tmp_path / "c.sqlite")
    real = Augmentation.render

    def changing(*args, **options):
        soundfile.write(path, X[1], RATE)
        return real(*args, **options)

    monkeypatch.setattr(Augmentation, "render", changing)
    made([Clip(path)], Augmentation(copies=1), cache=cache)
    assert cache.info()["entries"] == 0


def test_searches_make_copies_once_a_training_set_and_score_none(tmp_path, monkeypatch):
    """Copies are of training clips alone: whatever is scored was never rendered in that fold."""
    x, y = clips(12), ["noise", "tone"] * 6
    rendered = []
    real = augmented._rendered

    def counting(source, second, plan, *rest):
        rendered.append({source.samples.tobytes(), *([] if second is None else [second.samples.tobytes()])})
        return real(source, second, plan, *rest)

    monkeypatch.setattr(augmented, "_rendered", counting)
    trained = []
    real_fit = ClipClassifier.fit

    def fit(self, X, y, groups=None):
        before = len(rendered)
        fitted = real_fit(self, X, y, groups)
        trained.append(({np.asarray(one).tobytes() for one in X}, rendered[before:]))
        return fitted

    monkeypatch.setattr(ClipClassifier, "fit", fit)
    model = classifier(cache=tmp_path / "c.sqlite", augment=Augmentation(copies=2, p_mix=1.0))
    scores = cross_val_score(model, x, y, cv=3)
    assert scores.shape == (3,)
    assert len(trained) == 3
    for of_fold, sounds in trained:
        assert sounds or of_fold  # later folds have what earlier ones made
        assert all(sound <= of_fold for sound in sounds)
    n = len(rendered)
    assert 24 <= n < 3 * 16
    search = GridSearchCV(model, {"pooling": ["mean", "max"], "augment": [None, model.augment]}, cv=3, refit=False)
    search.fit(x, y)
    assert len(rendered) == n


# --- learning -----------------------------------------------------------------------------------------


class Recorder(KNeighborsClassifier):
    """Remembers how many rows it learned."""

    def fit(self, X, y):
        self.rows_ = len(X)
        return super().fit(X, y)


@pytest.mark.parametrize(("pooling", "rows"), [("mean", 18), ("mean+std", 18), ("max", 18), ("probability", None)])
def test_a_head_learns_the_clips_and_their_copies(pooling, rows):
    model = classifier(head=Recorder(2), pooling=pooling).fit(X, Y)
    plain = classifier(head=Recorder(2), pooling=pooling, augment=None).fit(X, Y)
    assert model.head_.rows_ == rows or (rows is None and model.head_.rows_ > 2.5 * plain.head_.rows_)
    assert model.predict(X).tolist() == Y
    assert model.training_digest_ == plain.training_digest_


def test_a_clip_weighs_as_much_with_copies_as_without():
    """Copies that are equal to their clip change nothing, although the head is regularised."""
    with_copies = classifier(augment=Augmentation(copies=3, **STILL)).fit(X, Y)
    plain = classifier(augment=None).fit(X, Y)
    np.testing.assert_allclose(with_copies.predict_proba(X), plain.predict_proba(X), atol=2e-3)


@pytest.mark.parametrize("background", [None, "folder"])
def test_thresholds_are_learned_from_clips_alone(tmp_path, background):
    """With copies equal to their clips, the threshold is the one without copies."""
    x, y = clips(20), ["noise", "tone"] * 10
    (tmp_path / "other").mkdir()
    for i in range(3):
        soundfile.write(tmp_path / "other" / f"{i}.wav", tone(80 + 20 * i, 0.8) + noise(12_800, i), RATE)
    unknown = Unknown(background=background and tmp_path / "other")
    copies = classifier(unknown=unknown, augment=Augmentation(copies=3, **STILL)).fit(x, y)
    plain = classifier(unknown=unknown, augment=None).fit(x, y)
    assert copies.unknown_threshold_ == pytest.approx(plain.unknown_threshold_, abs=5e-3)
    np.testing.assert_allclose(copies.unknown_score(x), plain.unknown_score(x), atol=1e-2)
    assert copies.has_background_ == (background is not None)
    classifier(unknown=unknown).fit(x, y, groups=np.arange(20) // 4)


def test_a_gate_is_learned_from_clips_alone_and_copies_do_not_lose_their_windows_to_their_level():
    faint = Augmentation(copies=2, **{**STILL, "gain_db": (-60.0, -60.0)})
    model = classifier(head=Recorder(2), gate_dbfs=-40.0, augment=faint).fit(X, Y)
    assert model.head_.rows_ == 18
    hushed = [np.concatenate([1e-4 * noise(2 * RATE, i), x]) for i, x in enumerate(X)]
    learned = classifier(gate_dbfs="auto", augment=faint).fit(hushed, Y)
    plain = classifier(gate_dbfs="auto", augment=None).fit(hushed, Y)
    assert learned.gate_dbfs_ is not None
    assert (learned.gate_dbfs_, learned.gate_hysteresis_db_) == (plain.gate_dbfs_, plain.gate_hysteresis_db_)


def test_a_clip_that_fails_has_no_copies(tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    files = [str(bad)]
    for i, x in enumerate(X):
        soundfile.write(tmp_path / f"{i}.wav", x, RATE)
        files.append(str(tmp_path / f"{i}.wav"))
    with pytest.raises(AudioError, match=r"bad\.wav"):
        classifier().fit(files, ["tone", *Y])
    with pytest.warns(ClipWarning, match="1 of 7 clips could not be embedded"):
        model = classifier(head=Recorder(2), on_error="nan").fit(files, ["tone", *Y])
    assert model.head_.rows_ == 18


# --- parameters and files -----------------------------------------------------------------------------


def test_embedded_clips_are_refused_by_name():
    windows = classifier().embed(X)
    with pytest.raises(ParameterError, match=r"X\[0\]: WindowEmbeddings, which are embedded already, and augment"):
        classifier().fit(windows, Y)
    model = classifier().fit(X, Y)
    assert model.predict(windows).tolist() == Y  # only the training needs the sound
    sourced = [
        SourcedWindows(w.vectors, w.times_s, w.levels_dbfs, Samples(x, RATE)) for w, x in zip(windows, X, strict=True)
    ]
    np.testing.assert_array_equal(classifier().fit(sourced, Y).predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("augment", [True, 4, "auto", {"copies": 4}])
def test_other_parameters_are_refused(augment):
    with pytest.raises(ParameterError, match=r"augment=.*; expected None or an l3clf\.Augmentation"):
        classifier(augment=augment).fit(X, Y)


@pytest.mark.parametrize("copies", [0, -1, 1001, 2.0, True, "4", None])
def test_impossible_numbers_of_copies_are_refused(copies):
    with pytest.raises(ParameterError, match=r"copies=.*; expected a whole number from 1 to 1000"):
        Augmentation(copies=copies)


@pytest.mark.parametrize("value", [(0, 10**400), (-(10**400), 0.0), (0j, 1.0), (0.0, np.inf)])
def test_impossible_ranges_are_refused(value):
    with pytest.raises(ParameterError, match=r"gain_db=.*; expected \(low, high\)"):
        Augmentation(gain_db=value)


@pytest.mark.parametrize(
    "options", [{"gain_db": (0.0, 1e6)}, {"snr_db": (-1e6, 0.0)}, {"decay_s": (0.1, 1e300)}, {"colour_db": 1e6}]
)
def test_changes_that_cannot_be_computed_are_refused(options):
    with pytest.raises(ParameterError, match=r"expected values of at most|decibels from 0 to 200"):
        Augmentation(**options)
    largest = dict.fromkeys(("gain_db", "snr_db", "mix_db", "direct_db"), (200.0, 200.0))
    copies = made(X[:2], Augmentation(copies=1, **largest, decay_s=(60.0, 60.0), p_room=1.0, p_noise=1.0))
    assert all(np.isfinite(each).all() for each in copies.values())


def test_a_classifier_with_copies_clones():
    model = clone(classifier())
    assert model.augment == TWO


def test_a_model_file_says_how_it_was_augmented(tmp_path):
    model = classifier(augment=Augmentation(copies=np.int64(2), snr_db=(10, 20), p_mix=np.float32(0.25))).fit(X, Y)
    loaded = load_model(save_model(model, tmp_path / "m.l3clf"))
    assert loaded.augment == Augmentation(copies=2, snr_db=(10.0, 20.0), p_mix=0.25)
    np.testing.assert_allclose(loaded.set_params(sample_rate=RATE).predict_proba(X), model.predict_proba(X), atol=1e-6)


def test_a_model_without_copies_has_the_file_it_always_had(tmp_path):
    path = save_model(classifier(augment=None).fit(X, Y), tmp_path / "m.l3clf")
    assert b'"augment"' not in path.read_bytes()
