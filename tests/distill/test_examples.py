"""From clips to examples: augmented by seed, embedded by the teachers, resumed."""

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import soxr
from helpers.fake_embedder import FakeEmbedder
from helpers.sound_files import noise, tone

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import RECIPE, SPEC, Bands, Start, Stopping, one_sentence, sounds

from l3clf.audio.augmentation import Augmentation
from l3clf.audio.clip import Samples
from l3clf.distill import distil
from l3clf.distill import examples as examples_module
from l3clf.distill.corpus import decode
from l3clf.distill.examples import NO_LABEL, Recipe, make_examples, plan, render, teacher_targets
from l3clf.distill.training import one_hot
from l3clf.embedders.frontend import SAMPLE_RATE, levels, quantise_levels
from l3clf.errors import DatasetError, ParameterError

# --- examples --------------------------------------------------------------------------------------


def test_the_plan_gives_every_clip_its_examples(tmp_path):
    clips = [Samples(noise(n), SAMPLE_RATE) for n in (400, 8000, 44_000, *[8000] * 7)]
    corpus = decode(clips, SAMPLE_RATE, tmp_path)
    rows, held = plan(corpus, RECIPE)
    counts = np.bincount(rows[:, 0]).tolist()
    assert counts == [3, 3, 18, *[3] * 7]  # 44,000 samples are 5.5 windows, and that is 6
    assert [sorted(rows[rows[:, 0] == clip, 1]) for clip in range(10)] == [list(range(n)) for n in counts]
    assert held.sum() == 2
    again, held_again = plan(corpus, RECIPE)
    np.testing.assert_array_equal(rows, again)
    np.testing.assert_array_equal(held, held_again)
    assert any((plan(corpus, replace(RECIPE, seed=seed))[1] != held).any() for seed in range(1, 5))
    assert plan(corpus, replace(RECIPE, held_out=0.99))[1].sum() == 9


def test_an_example_is_decided_by_clip_number_and_seed(corpus):
    _, held = plan(corpus, RECIPE)
    keys = [(clip, number) for clip in range(3) for number in range(8)]
    first = {key: render(corpus, held, RECIPE, *key) for key in keys}
    for key in keys[::-1]:
        samples, other, share = render(corpus, held, RECIPE, *key)
        np.testing.assert_array_equal(samples, first[key][0])
        assert (other, share) == first[key][1:]
    assert len({samples.tobytes() for samples, _, _ in first.values()}) == len(keys)
    assert render(corpus, held, replace(RECIPE, seed=1), 0, 1)[0].tobytes() != first[0, 1][0].tobytes()


def test_the_first_example_is_the_clip_as_it_is(corpus):
    _, held = plan(corpus, RECIPE)
    for clip in range(len(corpus)):
        samples, other, share = render(corpus, held, RECIPE, clip, 0)
        assert (other, share) == (None, 1.0)
        whole = np.pad(corpus.piece(clip, 0, corpus.length(clip)), 4000)
        places = np.lib.stride_tricks.sliding_window_view(whole, 8000)
        assert (places[:, ::97] == samples[::97]).all(axis=1).any()


def test_examples_are_shifted_and_may_hang_over_the_clips_ends(tmp_path):
    """Without other changes but the level, a piece of a ramp of steps shows where in the ramp it is from."""
    ramp = np.repeat(np.arange(1, 21, dtype=np.float32) / 20, SAMPLE_RATE // 10)
    corpus = decode([Samples(ramp, SAMPLE_RATE, f"{i}") for i in range(2)], SAMPLE_RATE, tmp_path)
    off = {f"p_{name}": 0.0 for name in ("stretch", "pitch", "noise", "mix", "band", "colour", "room")}
    recipe = replace(RECIPE, augmentation=Augmentation(gain_db=(0.0, 0.0), **off))
    whole = np.pad(corpus.piece(0, 0, len(ramp)), 8000)
    places = np.lib.stride_tricks.sliding_window_view(whole, 8000)[:, ::50]
    starts = []
    for number in range(1, 61):
        samples, _, _ = render(corpus, np.array([False, True]), recipe, 0, number)
        (found,) = np.flatnonzero(np.abs(places - samples[::50]).max(axis=1) < 1e-6)[:1]
        starts.append(int(found) - 8000)
    assert min(starts) < 0
    assert max(starts) > len(ramp) - 8000
    assert min(starts) >= -4000
    assert max(starts) <= len(ramp) - 4000
    assert len({start // 1600 for start in starts}) > 15


def test_what_is_held_out_never_mixes_with_what_is_learned(corpus):
    _, held = plan(corpus, RECIPE)
    found = [(clip, *render(corpus, held, RECIPE, clip, number)) for clip in range(10) for number in range(1, 31)]
    mixed = [(clip, other, share) for clip, _, other, share in found if other is not None]
    assert 0.3 < len(mixed) / len(found) < 0.5
    assert all(held[clip] == held[other] for clip, other, _ in mixed)
    assert {bool(held[clip]) for clip, _, _ in mixed} == {True, False}
    assert all(0.5 <= share < 0.86 for _, _, share in mixed)  # 0 to 15 dB below
    assert max(float(np.abs(samples).max()) for _, samples, _, _ in found) <= 1 + 1e-6
    assert all(np.isfinite(samples).all() for _, samples, _, _ in found)


def test_what_is_silent_in_the_window_has_no_share_of_the_label(tmp_path):
    pause = Samples(np.pad(tone(500, 0.2, amplitude=0.5), (0, 3 * 16_000)), SAMPLE_RATE)
    corpus = decode([pause, Samples(noise(16_000), SAMPLE_RATE), pause], SAMPLE_RATE, tmp_path)
    held, recipe = np.zeros(3, np.bool_), replace(RECIPE, augmentation=Augmentation(p_mix=0.5))
    silent = mixed_into_silence = mixed_with_silence = 0
    for number in range(200):
        samples, other, share = render(corpus, held, recipe, 0, number)
        first = render(corpus, held, replace(recipe, augmentation=Augmentation(p_mix=0.0)), 0, number)[0].any()
        assert (share > 0) == first
        assert samples.any() == (first or other is not None)
        silent += not samples.any()
        mixed_into_silence += other is not None and not first
        mixed_with_silence += other is None and first
    assert min(silent, mixed_into_silence, mixed_with_silence) > 10
    labels = np.array([[0, NO_LABEL], [0, 1]], np.int32)
    np.testing.assert_array_equal(one_hot(labels, np.zeros(2, np.float32), 2), [[0, 0], [0, 1]])


def test_a_teacher_with_a_shorter_window_gives_the_mean_of_those_inside():
    x = noise(3 * 8000).reshape(3, 8000)
    starts = [0, 3200, 6400]  # 0.4 s to spare, every 0.2 s
    expected = np.mean([x[:, start : start + 2] for start in starts], axis=0)
    np.testing.assert_allclose(teacher_targets(Start(0.1), x, 16_000), expected, atol=1e-7)
    np.testing.assert_array_equal(teacher_targets(Start(0.5), x, 16_000), x[:, :2])


def test_a_teacher_with_a_longer_window_gets_zeros_around():
    x = noise(2 * 8000).reshape(2, 8000)
    assert not teacher_targets(Start(1.0), x, 16_000).any()
    longer = np.pad(x, ((0, 0), (4000, 4000)))
    whole = replace(Bands())
    object.__setattr__(whole, "window_s", 1.0)
    np.testing.assert_array_equal(teacher_targets(whole, x, 16_000), whole.embed_windows(longer))


def test_a_teacher_of_another_rate_gets_its_own():
    x = np.stack([tone(440, 0.5, 48_000), tone(1000, 0.5, 48_000)])
    expected = np.stack([soxr.resample(row, 48_000, 8000) for row in x])
    np.testing.assert_array_equal(teacher_targets(FakeEmbedder(), x, 48_000), FakeEmbedder().embed_windows(expected))


def test_examples_hold_the_features_and_targets_of_their_sounds(corpus, tmp_path):
    numbers = np.arange(10, dtype=np.int32)
    examples = make_examples(corpus, [Bands(), FakeEmbedder()], RECIPE, tmp_path, numbers)
    rows, held = plan(corpus, RECIPE)
    assert len(examples) == len(rows) == 120
    for i in (0, 50, 119):
        samples, other, share = render(corpus, held, RECIPE, *rows[i].tolist())
        np.testing.assert_array_equal(examples.features[i], quantise_levels(levels(SPEC, samples[np.newaxis]))[0])
        for target, teacher in zip(examples.targets, [Bands(), FakeEmbedder()], strict=True):
            expected = teacher_targets(teacher, samples[np.newaxis], SAMPLE_RATE)[0]
            np.testing.assert_array_equal(target[i], expected.astype(np.float16))
        assert examples.labels[i].tolist() == [rows[i, 0], NO_LABEL if other is None else other]
        assert examples.shares[i] == np.float32(share)
    np.testing.assert_array_equal(examples.held_out, held[rows[:, 0]])


def arrays(examples):
    return [np.array(x) for x in (examples.features, *examples.targets, examples.labels, examples.shares)]


def make(corpus, folder, teacher=None, recipe=RECIPE, n_jobs=1):
    folder.mkdir(exist_ok=True)
    return make_examples(corpus, [teacher or Bands()], recipe, folder, n_jobs=n_jobs)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(examples_module, "BLOCK", 8)


def test_interrupted_examples_resume_and_come_out_the_same(corpus, tmp_path, small_blocks):
    expected = arrays(make(corpus, tmp_path / "whole"))
    for after, n_jobs in ((3, 1), (9, 2), (0, 1)):
        folder = tmp_path / f"stopped {after}"
        with pytest.raises(KeyboardInterrupt):
            make(corpus, folder, Stopping(Bands(), after), n_jobs=n_jobs)
        done = json.loads((folder / "examples.json").read_text())["done"]
        assert done <= 8 * after
        assert done >= 8 * (after - n_jobs)
        again = Stopping(Bands(), (len(expected[0]) - done) // 8)  # as many uses as blocks are missing
        for found, wanted in zip(arrays(make(corpus, folder, again)), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        make(corpus, folder, Stopping(Bands(), 0))  # nothing is made twice


def test_examples_of_other_settings_are_refused_and_kept(corpus, tmp_path, small_blocks):
    """Nor are they thrown away: whoever wants others names another folder, or deletes these."""
    first = arrays(make(corpus, tmp_path / "a"))
    with pytest.raises(ParameterError, match=r"examples\.json: records 120 examples of other sounds") as error:
        make(corpus, tmp_path / "a", recipe=replace(RECIPE, seed=5))
    one_sentence(error)
    for found, wanted in zip(arrays(make(corpus, tmp_path / "a", Stopping(Bands(), 0))), first, strict=True):
        np.testing.assert_array_equal(found, wanted)
    (tmp_path / "a" / "examples.json").unlink()
    other = arrays(make(corpus, tmp_path / "a", recipe=replace(RECIPE, seed=5)))
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("done", [99999, -64, 3, float("inf"), "[" * 100_000])
def test_an_impossible_progress_file_is_ignored(corpus, tmp_path, done):
    expected = arrays(make(corpus, tmp_path))
    note = tmp_path / "examples.json"
    told = json.loads(note.read_text())
    note.write_text(done if isinstance(done, str) else json.dumps(told | {"done": done}))
    (tmp_path / "targets-0.f2").write_bytes(bytes((tmp_path / "targets-0.f2").stat().st_size))
    for found, wanted in zip(arrays(make(corpus, tmp_path)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", ["features.i8", "targets-0.f2", "examples.json"])
@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b"", None], ids=["cut", "empty", "missing"])
def test_examples_with_a_damaged_file_are_made_again(corpus, tmp_path, name, damage):
    expected = arrays(make(corpus, tmp_path))
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if damage:
        (tmp_path / name).write_bytes(damage(content))
    for found, wanted in zip(arrays(make(corpus, tmp_path)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_without_fallocate_the_files_are_filled(corpus, tmp_path, monkeypatch):
    expected = arrays(make(corpus, tmp_path / "a"))
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    for found, wanted in zip(arrays(make(corpus, tmp_path / "b")), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    for name in ("features.i8", "targets-0.f2"):
        assert (tmp_path / "b" / name).stat().st_blocks * 512 >= (tmp_path / "b" / name).stat().st_size


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no room on disk")
def test_a_full_disk_is_one_sentence(corpus, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DatasetError, match=r"cannot be written \(No space left on device\)") as error:
        make(corpus, tmp_path)
    one_sentence(error)


@pytest.mark.parametrize(
    ("scale", "message"), [(1e9, "numbers beyond float16"), (np.nan, "returns NaN"), (0.0, "same embedding")]
)
def test_a_teachers_embeddings_must_be_learnable(tmp_path, scale, message):
    with pytest.raises(DatasetError, match=message) as error:
        distil(FakeEmbedder(scale), sounds(), out=tmp_path, per_window=1)
    one_sentence(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_s": 1.0, "per_window": 0}, "per_window=0; expected a whole number of at least 1"),
        ({"window_s": 1.0, "per_window": 2.5}, "per_window=2.5; expected a whole number"),
        ({"window_s": 1.0, "held_out": "x"}, "held_out='x'; expected a share between 0 and 1"),
        ({"window_s": 1.0, "held_out": 1.0}, "held_out=1.0; expected a share between 0 and 1"),
    ],
)
def test_invalid_recipes_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        Recipe(**options)
