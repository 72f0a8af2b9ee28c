"""Distillation: examples that resume, training that resumes, students that answer as their teachers; for real."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soxr
from fake import FakeEmbedder
from golden import openl3_recipe
from sounds import noise, put, tone, write

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

import l3clf
from l3clf import cli
from l3clf.audio import Clip, Samples, read_blocks
from l3clf.distill import Schedule, distil
from l3clf.distill import examples as examples_module
from l3clf.distill.corpus import FULL_SCALE, decode, refused_clips
from l3clf.distill.examples import NO_LABEL, Recipe, make_examples, plan, render, teacher_targets
from l3clf.distill.lower import start_from, student_onnx
from l3clf.distill.students import ARCHITECTURES, architecture, build_student, build_talk_cnn, keras, macs_of
from l3clf.distill.training import _loss, _stalled, held_out_cosines, one_hot, train, whiten
from l3clf.embedders import Embedder, register_embedder
from l3clf.embedders.frontend import INPUT_STEPS, SAMPLE_RATE, levels, quantise_levels, student_spec
from l3clf.embedders.graph import run_graph, session
from l3clf.embedders.openl3 import OpenL3
from l3clf.embedders.student import Student, read_student
from l3clf.errors import ClipWarning, DatasetError, L3clfError, MissingDependencyError, ParameterError
from l3clf.synth import CLASSES, synthesise

TINY = Path(__file__).parent / "golden" / "tiny.student"
SPEC = student_spec(0.5)


@dataclass(frozen=True)
class Bands(Embedder):
    """Half-second windows at 16 kHz to the mean level in 16 bands: what a student can learn in no time."""

    name = "bands"
    sample_rate = 16_000
    window_s = 0.5
    embedding_size = 16

    def embed_windows(self, windows):
        return levels(SPEC, windows).mean(axis=1).reshape(len(windows), 16, 4).mean(axis=2)


@dataclass(frozen=True)
class Start(Embedder):
    """The first two samples of windows of any length, at any rate."""

    window_s: float = 0.1
    sample_rate: int = 16_000
    name = "start"
    embedding_size = 2

    def embed_windows(self, windows):
        return windows[:, :2].copy()


class Stopping:
    """Wraps an array or an embedder; after some uses it is as if Ctrl-C had been pressed."""

    def __init__(self, wrapped, after):
        self.wrapped, self.left = wrapped, after

    def __getattr__(self, name):
        return getattr(self.wrapped, name)

    def _use(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def __getitem__(self, rows):
        self._use()
        return self.wrapped[rows]

    def embed_windows(self, windows):
        self._use()
        return self.wrapped.embed_windows(windows)


register_embedder("bands", Bands)


def sounds(n=10, seconds=2.0, rate=SAMPLE_RATE):
    """Clips of all classes in turn."""
    made = [synthesise(CLASSES[i % 10], np.random.default_rng(i), seconds, rate) for i in range(n)]
    return [Samples(samples, rate, f"clip {i}") for i, samples in enumerate(made)]


def one_sentence(error):
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


@pytest.fixture
def corpus(tmp_path):
    return decode(sounds(), SAMPLE_RATE, tmp_path)


RECIPE = Recipe(0.5, per_window=3, held_out=0.2)


# --- the corpus ------------------------------------------------------------------------------------


def test_a_corpus_is_the_clips_one_after_the_other(tmp_path):
    path = write(tmp_path / "a.wav", tone(rate=44_100, seconds=0.7), 44_100)
    clips = [Clip(path), Samples(noise(5000), SAMPLE_RATE), Clip(path, 0.1, 0.3)]
    corpus = decode(clips, SAMPLE_RATE, tmp_path)
    assert (len(corpus), corpus.kept.tolist()) == (3, [0, 1, 2])
    for i, clip in enumerate(clips):
        expected = np.concatenate(list(read_blocks(clip, SAMPLE_RATE)))
        assert corpus.length(i) == len(expected)
        np.testing.assert_allclose(corpus.piece(i, 0, len(expected)), expected, atol=0.51 / FULL_SCALE)
    padded = corpus.piece(1, -10, 5020)
    assert not padded[:10].any()
    assert not padded[-10:].any()
    np.testing.assert_array_equal(padded[10:-10], corpus.piece(1, 0, 5000))


def test_a_corpus_is_decoded_once_and_again_when_it_changed(tmp_path):
    paths = [write(tmp_path / f"{i}.wav", tone(400 + i)) for i in range(3)]
    made, file = [], tmp_path / "corpus.i16"
    for change in (
        lambda: None,
        lambda: write(paths[0], tone(500)),
        lambda: file.write_bytes(file.read_bytes()[:-2]),
        lambda: (tmp_path / "corpus.json").write_text("{"),
    ):
        change()
        made.append((decode([Clip(p) for p in paths], SAMPLE_RATE, tmp_path).digest, file.stat().st_mtime_ns))
        assert decode([Clip(p) for p in paths], SAMPLE_RATE, tmp_path).digest == made[-1][0]
        assert file.stat().st_mtime_ns == made[-1][1]
    assert len({digest for digest, _ in made}) == 2
    assert len({time for _, time in made}) == 4


def test_clips_that_cannot_be_heard_are_left_out_and_named(tmp_path):
    good = [write(tmp_path / f"{i}.wav", tone(400 + i)) for i in range(2)]
    cut = write(tmp_path / "cut.flac", noise(90_000), container="FLAC")
    put(cut, Path(cut).read_bytes()[:50_000])  # found out when its first blocks are written
    bad = [cut, write(tmp_path / "silent.wav", np.zeros(999)), put(tmp_path / "bad.wav", b"RIFF"), "no.wav"]
    clips = [Clip(path) for path in (good[0], *bad, good[1])]
    with pytest.warns(ClipWarning, match=r"4 of 6 clips left out: .*cut\.flac"):
        corpus = decode(clips, SAMPLE_RATE, tmp_path)
    assert corpus.kept.tolist() == [0, 5]
    np.testing.assert_allclose(corpus.piece(1, 0, 8000), tone(401), atol=1e-4)
    assert [
        name for name in ("cut.flac", "silent.wav", "bad.wav", "no.wav") for s in refused_clips(tmp_path) if name in s
    ]
    assert "silent.wav: is silent (peak below -72 dBFS)" in " ".join(refused_clips(tmp_path))


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "found no clips to learn from"),
        ([Samples(tone(), SAMPLE_RATE)], "found 1 clips; expected at least two: one is held out"),
        (
            [Samples(np.zeros(9999), SAMPLE_RATE, f"s{i}") for i in range(5)],
            "0 of 5 clips .* expected at least two: s0: is",
        ),
        ([Samples(tone(), SAMPLE_RATE), "missing.wav"], r"1 of 2 clips .* missing\.wav: no such file"),
        ([Samples(tone(), SAMPLE_RATE), Samples(np.zeros(0), SAMPLE_RATE, "e")], "1 of 2 clips .* e: holds no samples"),
    ],
    ids=["none", "one", "silent", "missing", "empty"],
)
def test_too_little_to_learn_from_is_one_sentence(tmp_path, clips, message):
    with pytest.raises(DatasetError, match=message) as error:
        distil(Bands(), clips, out=tmp_path)
    one_sentence(error)


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


def test_a_teacher_with_a_shorter_window_gives_the_mean_of_those_inside():
    x = noise(3 * 8000).reshape(3, 8000)
    starts = [0, 3200, 6400]  # 0.4 s to spare, every 0.2 s
    expected = np.mean([x[:, start : start + 2] for start in starts], axis=0)
    np.testing.assert_allclose(teacher_targets(Start(0.1), x, 16_000), expected, atol=1e-7)
    np.testing.assert_array_equal(teacher_targets(Start(0.5), x, 16_000), x[:, :2])


def test_a_teacher_with_a_longer_window_hears_zeros_around():
    x = noise(2 * 8000).reshape(2, 8000)
    assert not teacher_targets(Start(1.0), x, 16_000).any()
    longer = np.pad(x, ((0, 0), (4000, 4000)))
    whole = replace(Bands())
    object.__setattr__(whole, "window_s", 1.0)
    np.testing.assert_array_equal(teacher_targets(whole, x, 16_000), whole.embed_windows(longer))


def test_a_teacher_of_another_rate_hears_its_own():
    x = np.stack([tone(440, 0.5, 48_000), tone(1000, 0.5, 48_000)])
    expected = np.stack([soxr.resample(row, 48_000, 8000) for row in x])
    np.testing.assert_array_equal(teacher_targets(FakeEmbedder(), x, 48_000), FakeEmbedder().embed_windows(expected))


def test_examples_are_what_student_and_teachers_hear(corpus, tmp_path):
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


def test_examples_that_were_stopped_go_on_and_come_out_the_same(corpus, tmp_path, small_blocks):
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


def test_examples_of_something_else_are_not_believed(corpus, tmp_path, small_blocks):
    first = arrays(make(corpus, tmp_path / "a"))
    other = arrays(make(corpus, tmp_path / "a", recipe=replace(RECIPE, seed=5)))
    assert (first[0] != other[0]).any()
    with pytest.raises(KeyboardInterrupt):
        make(corpus, tmp_path / "a", Stopping(Bands(), 0))
    for found, wanted in zip(arrays(make(corpus, tmp_path / "a", recipe=replace(RECIPE, seed=5))), other, strict=True):
        np.testing.assert_array_equal(found, wanted)  # and not the zeros that the stopped run left


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


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no room on disk")
def test_a_full_disk_is_one_sentence(corpus, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DatasetError, match=r"training examples cannot be written \(the disk is full\); free") as error:
        make(corpus, tmp_path)
    one_sentence(error)


FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from l3clf.audio import Samples
from l3clf.distill.corpus import decode
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    decode([Samples(np.ones(40_000), 16_000)] * 2, 16_000, Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_decoded_clips_without_room_are_one_sentence(tmp_path):
    """A limit on the size of files stands for the full disk."""
    pytest.importorskip("resource")
    arguments = [sys.executable, "-c", FULL, str(tmp_path)]
    found = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()
    assert found.startswith(f"DatasetError {tmp_path}: the decoded clips cannot be written (")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("scale", "message"), [(1e9, "larger than half precision"), (np.nan, "gives NaN"), (0.0, "same embedding")]
)
def test_what_a_teacher_says_must_be_learnable(tmp_path, scale, message):
    with pytest.raises(DatasetError, match=message) as error:
        distil(FakeEmbedder(scale), sounds(), out=tmp_path, per_window=1)
    one_sentence(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_s": 1.0, "per_window": 0}, "per_window=0; expected at least 1"),
        ({"window_s": 1.0, "held_out": 1.0}, "held_out=1.0; expected a share between 0 and 1"),
    ],
)
def test_other_recipes_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        Recipe(**options)


# --- targets and labels ----------------------------------------------------------------------------


def test_whitened_targets_are_white():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 6)) @ rng.standard_normal((6, 6)) * 3 + rng.standard_normal(6)
    white = whiten(x.astype(np.float16), 4).apply(x)
    assert (white.shape, white.dtype) == ((20_000, 4), np.float32)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(np.cov(white.T), np.eye(4), atol=0.02)
    main = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[0][:, :4] * np.sqrt(len(x))
    np.testing.assert_allclose(np.abs(np.sum(white * main, axis=0)) / len(x), 1, atol=0.01)


def test_directions_without_variance_are_left_out():
    x = np.random.default_rng(0).standard_normal((500, 3)) @ np.eye(3, 8)
    assert whiten(x, 8).projection.shape == (8, 3)


def test_labels_are_averaged_by_their_shares():
    labels = np.array([[0, NO_LABEL], [1, 2], [2, 2], [NO_LABEL, NO_LABEL]], np.int32)
    found = one_hot(labels, np.array([1, 0.7, 0.6, 1], np.float32), 3)
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 0.7, 0.3], [0, 0, 1], [0, 0, 0]], atol=1e-6)


# --- students --------------------------------------------------------------------------------------


def stirred(name, size=32, n_frames=SPEC.n_frames, seed=0):
    """A student with random weights and statistics."""
    keras.utils.set_random_seed(seed)
    student, rng = build_student(ARCHITECTURES[name], n_frames, SPEC.n_bands, size), np.random.default_rng(seed)
    for layer in student.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            ranges = ((0.8, 1.2), (-0.3, 0.3), (-0.2, 0.2), (0.5, 1.5))  # gamma, beta, mean, variance
            layer.set_weights([rng.uniform(low, high, layer.gamma.shape[0]) for low, high in ranges])
    return student


def features(n=64, seed=1):
    x = noise(n * 8000, seed, 1.0).reshape(n, 8000) * np.logspace(-3, -0.5, n, dtype=np.float32)[:, np.newaxis]
    return quantise_levels(levels(SPEC, np.cumsum(x, axis=1) * np.float32(0.1) + x))


def answer(student, x):
    return np.asarray(student(x[..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS), training=False))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnx_equals_keras(name):
    student, x = stirred(name), features(16)
    model = student_onnx(ARCHITECTURES[name], student)
    found = run_graph(session(model), x[:, np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS))
    expected = answer(student, x)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_plain_layers_equal_those_for_training():
    student = stirred("S")
    plain = build_student(ARCHITECTURES["S"], SPEC.n_frames, SPEC.n_bands, 32, fast=False)
    plain.set_weights(student.get_weights())
    x = features(1)
    np.testing.assert_allclose(answer(plain, x), answer(student, x), atol=1e-4)


def test_multiply_accumulates_are_counted():
    image = keras.layers.Input((8, 6, 1))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)  # 4 x 3 places of 9 * 4
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)  # 4 x 3 places of 9 * 4
    x = keras.layers.Dense(5)(keras.layers.Flatten()(x))  # 48 * 5
    assert macs_of(keras.Model(image, x)) == 12 * 36 + 12 * 36 + 240
    assert macs_of(build_student(ARCHITECTURES["S"], 47, 64, 32)) == 2 * 0 + read_macs()


def read_macs():
    """The same from the integer network of that student, by the reader of .tflite files."""
    return Student(TINY, precision="int8").network.model.macs


def test_the_talks_network_has_its_shape():
    model = build_talk_cnn(95, 64, 10)
    assert model.output.shape == (None, 10)
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [24, 48, 48]


def test_a_student_starts_as_another():
    other, x = stirred("S", seed=3), features()
    student = build_student(ARCHITECTURES["S"], SPEC.n_frames, SPEC.n_bands, 32)
    start_from(student, student_onnx(ARCHITECTURES["S"], other).SerializeToString(), x)
    expected = answer(other, x)
    assert np.abs(answer(student, x) - expected).max() <= 1e-3 * np.abs(expected).max()
    norms = [layer for layer in student.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(np.asarray(norm.moving_variance).min() >= 0 for norm in norms)
    training = np.asarray(student(x[..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS), training=True))
    assert np.abs(training - expected).max() <= 0.02 * np.abs(expected).max()  # statistics are those of the examples


@pytest.mark.parametrize(("name", "n_frames"), [("M", SPEC.n_frames), ("S", 95)])
def test_a_student_does_not_start_as_one_of_another_shape(name, n_frames):
    student = build_student(ARCHITECTURES[name], n_frames, SPEC.n_bands, 32)
    with pytest.raises(ParameterError, match=r"init: .*start from a student of the same architecture") as error:
        start_from(student, read_student(TINY).onnx, features())
    one_sentence(error)


def test_an_unknown_size_is_refused():
    with pytest.raises(ParameterError, match="student='XL'; expected one of 'S', 'M', 'L'"):
        architecture("XL")


# --- training --------------------------------------------------------------------------------------

SCHEDULE = Schedule(epochs=4, batch=32, learning_rate=3e-3)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Examples of 20 clips, their targets and labels."""
    folder = tmp_path_factory.mktemp("lesson")
    corpus = decode(sounds(20), SAMPLE_RATE, folder)
    examples = make_examples(corpus, [Bands()], RECIPE, folder, np.arange(20, dtype=np.int32) % 10)
    targets = whiten(examples.targets[0], 8).apply(examples.targets[0])
    return examples, targets, one_hot(examples.labels, examples.shares, 10)


def trained(lesson, folder, schedule=SCHEDULE, stop_after=None, name="S", seed=0, **options):
    """A student, and the log of its training; each from the same weights."""
    examples, targets, shares = lesson
    folder.mkdir(exist_ok=True)
    if stop_after is not None:
        examples = replace(examples, features=Stopping(examples.features, stop_after))
    keras.utils.set_random_seed(seed)
    student = build_student(ARCHITECTURES[name], SPEC.n_frames, SPEC.n_bands, targets.shape[1])
    return student, train(student, examples, targets, [targets.shape[1]], schedule, folder, shares, **options)


@pytest.fixture(scope="module")
def whole(lesson, tmp_path_factory):
    """A training that nobody stopped: its student's weights, its log and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    student, log = trained(lesson, folder)
    return student.get_weights(), log, folder


def test_training_learns_and_keeps_the_best(lesson, whole):
    examples, targets, _ = lesson
    weights, log, folder = whole
    assert [row["epoch"] for row in log] == [1, 2, 3, 4]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    student = build_student(ARCHITECTURES["S"], SPEC.n_frames, SPEC.n_bands, 8)
    student.set_weights(weights)
    rows = np.flatnonzero(examples.held_out)
    (found,) = held_out_cosines(student, examples.features, targets, [8], rows)
    assert found == pytest.approx(max(row["cosine"] for row in log), abs=1e-6)
    lines = (folder / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,cosine,cosine_0"
    assert len(lines) == 5


def test_training_that_was_stopped_goes_on_as_if_it_had_not_been(lesson, whole, tmp_path):
    weights, log, _ = whole
    steps = int((~lesson[0].held_out).sum()) // 32 + 1  # and one look at what is held out
    with pytest.raises(KeyboardInterrupt):
        trained(lesson, tmp_path, stop_after=2 * steps + 2)  # in the third epoch
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    student, found = trained(lesson, tmp_path, seed=99)
    assert found == log
    for ours, expected in zip(student.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert not (tmp_path / "checkpoint.part").exists()


def test_a_finished_training_is_only_read(lesson, whole):
    weights, log, folder = whole
    time = (folder / "checkpoint.npz").stat().st_mtime_ns
    student, found = trained(lesson, folder, seed=5)
    assert (found, (folder / "checkpoint.npz").stat().st_mtime_ns) == (log, time)
    for ours, expected in zip(student.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "M"},
        {"schedule": replace(SCHEDULE, epochs=5)},
        {"schedule": replace(SCHEDULE, seed=1)},
        {"about": {"examples": "others"}},
    ],
    ids=["architecture", "epochs", "seed", "examples"],
)
def test_the_checkpoint_of_another_training_is_refused(lesson, whole, change):
    with pytest.raises(
        ParameterError, match="is the checkpoint of another student, schedule or set of examples"
    ) as error:
        trained(lesson, whole[2], **change)
    assert str(whole[2] / "checkpoint.npz") in one_sentence(error)


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "no archive": lambda data: b"PK\x03\x04" + bytes(1000),
    "text": lambda data: b"hello",
    "pickle": lambda data: b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.",
    **{f"byte at {at}": lambda data, at=at: data[:at] + b"\xff\x00\xff" + data[at + 3 :] for at in (700, 20_000, -9)},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_refused(lesson, whole, tmp_path, damage):
    (tmp_path / "checkpoint.npz").write_bytes(DAMAGE[damage]((whole[2] / "checkpoint.npz").read_bytes()))
    with pytest.raises(ParameterError, match=r"checkpoint\.npz: is damaged .*; delete it to begin again") as error:
        trained(lesson, tmp_path)
    one_sentence(error)


def test_the_loss_is_one_minus_the_cosine_of_each_teacher_and_the_cross_entropy_of_labels():
    loss = _loss([2, 3], replace(SCHEDULE, label_weight=0.5))
    truth = np.float32([[1, 0, 0, 2, 0, 0.7, 0.3], [0, 3, 1, 0, 0, 0, 0]])  # the second has no label
    answer_ = np.float32([[5, 0, 0, 1, 1, 2, 1], [0, -1, 4, 0, 0, 9, 9]])
    entropy = -0.7 * np.log(np.exp(2) / (np.exp(2) + np.e)) - 0.3 * np.log(np.e / (np.exp(2) + np.e))
    expected = [0 + (1 - np.sqrt(0.5)) + 0.5 * entropy, 2 + 0 + 0]
    np.testing.assert_allclose(np.asarray(loss(truth, answer_)), expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(loss(truth[:, :5], answer_[:, :5])), [1 - np.sqrt(0.5), 2], atol=1e-5)


def test_patience_is_counted_from_the_best_epoch():
    def log(*cosines):
        return [{"cosine": cosine} for cosine in cosines]

    assert not _stalled([], 1)
    assert not _stalled(log(0.1, 0.3, 0.2), 2)
    assert _stalled(log(0.1, 0.3, 0.2, 0.3), 2)
    assert not _stalled(log(0.3, 0.2, 0.31), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0; expected a whole number of at least 1"),
        ({"batch": 2.5}, "batch=2.5; expected a whole number"),
        ({"patience": True}, "patience=True; expected a whole number"),
        ({"learning_rate": 0}, "learning_rate=0; expected a number of at least 1e-09"),
        ({"learning_rate": float("nan")}, "learning_rate=nan; expected"),
        ({"weight_decay": -1}, "weight_decay=-1; expected a number of at least 0"),
        ({"label_weight": "1"}, "label_weight='1'; expected"),
    ],
)
def test_other_schedules_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        Schedule(**options)


# --- the whole way ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    """A student of two teachers, with labels; and how to make it again."""
    folder = tmp_path_factory.mktemp("distilled")

    def again(out=folder, **options):
        usual = {"labels": [i % 10 for i in range(30)], "student": "S", "sizes": [8, 1], "per_window": 4}
        usual |= {"schedule": Schedule(epochs=6, batch=32), "out": out}
        return distil([Bands(), FakeEmbedder()], sounds(30, 1.0), **{**usual, **options})

    return again(), again, folder


def test_a_student_learns_from_two_teachers(distilled):
    student, _, folder = distilled
    about = student.about
    assert (student.window_s, student.embedding_size, about["parts"]) == (0.5, 9, [8, 1])
    assert about["teachers"] == ["bands", "fake"]
    assert about["teacher_fingerprints"] == [Bands().fingerprint, FakeEmbedder().fingerprint]
    assert (about["clips"], about["examples"], about["architecture"]) == (30, 240, "S")
    assert about["hours"] == pytest.approx(30 / 3600, abs=1e-3)
    assert about["held_out_cosine"][0] > about["constant_cosine"][0] + 0.2
    assert about["parameters"] == sum(t.size for t in weights_of(student))
    assert {"student.student", "log.csv", "curve.png", "checkpoint.npz"} <= {p.name for p in folder.iterdir()}
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")


def weights_of(student):
    from onnx import load_model_from_string, numpy_helper

    return [numpy_helper.to_array(tensor) for tensor in load_model_from_string(student.onnx).graph.initializer]


def test_its_integers_are_those_of_the_chip_and_close_to_its_floats(distilled):
    pytest.importorskip("tflite_micro")
    from oracle import every_tensor

    student = distilled[0]
    chip = Student(student.weights, precision="int8")
    x = np.stack([clip.samples[:8000] for clip in sounds(20, 0.5)]).astype(np.float32)
    steps = quantise_levels(levels(SPEC, x))[..., np.newaxis]
    found = chip.network.layers(steps)
    for index, values in every_tensor(student.tflite, steps).items():
        np.testing.assert_array_equal(found[index], values)
    ours, theirs = chip.embed_windows(x), student.embed_windows(x)
    cosines = (ours * theirs).sum(axis=1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    assert cosines.min() > 0.98


def test_the_same_call_repeats_nothing_and_gives_the_same_file(distilled):
    student, again, folder = distilled
    content = Path(student.weights).read_bytes()
    times = {name: (folder / name).stat().st_mtime_ns for name in ("corpus.i16", "checkpoint.npz", "log.csv")}
    assert again() == student
    assert {name: (folder / name).stat().st_mtime_ns for name in times} == times
    assert Path(student.weights).read_bytes() == content


def test_a_seed_gives_the_same_student_in_another_folder(distilled, tmp_path):
    student, again, _ = distilled
    other = again(tmp_path / "other")
    assert other.onnx == student.onnx
    assert other.tflite == student.tflite


@pytest.mark.parametrize("change", [{"per_window": 3}, {"init": TINY, "student": None}, {"labels": None}])
def test_something_else_does_not_go_on_from_the_checkpoint(distilled, tmp_path, change):
    _, again, folder = distilled
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(ParameterError, match="is the checkpoint of another student, schedule or set of examples"):
        again(tmp_path / "copy", **change)


def test_a_student_of_a_student_starts_where_that_was(distilled, tmp_path):
    """One step at a rate of nothing: it answers as the student that it started from."""
    student, again, _ = distilled
    schedule = Schedule(epochs=1, batch=256, learning_rate=1e-9)
    new = again(tmp_path, init=student.weights, student=None, labels=None, schedule=schedule)
    x = np.stack([clip.samples[:8000] for clip in sounds(10, 0.5)]).astype(np.float32)
    ours, theirs = new.embed_windows(x), student.embed_windows(x)
    assert new.about["architecture"] == "S"
    assert np.abs(ours - theirs).max() < 0.15 * np.abs(theirs).max()  # its running statistics moved by a hundredth


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teachers": []}, "teachers: found none"),
        ({"teachers": "nobody"}, "embedder='nobody': no such embedder"),
        ({"teachers": Start(0.1)}, "its windows of 0.1 s are the student's too, and these are 0.2 to 4.0 s long"),
        ({"clips": "a.wav"}, "clips is a single clip; expected a list"),
        ({"labels": [1, 2]}, "labels: found 2; expected one for each of 10 clips"),
        ({"student": "XL"}, "student='XL'; expected one of"),
        ({"sizes": [4, 4]}, r"sizes=\[4, 4\]; expected a number of at least 1 for each of 1 teachers"),
        ({"sizes": [0]}, r"sizes=\[0\]; expected"),
        ({"init": "missing.student"}, r"missing\.student cannot be read"),
        ({"init": TINY, "student": "M"}, "is of size 'S', not 'M'"),
        ({"init": TINY, "teachers": Start(0.7)}, "hears 0.5 s at once and the first teacher 0.7 s"),
        ({"out": __file__}, "is no folder and cannot be made one"),
    ],
)
def test_what_cannot_work_is_refused_before_the_work(tmp_path, options, message):
    usual = {"teachers": Bands(), "clips": sounds(10, 0.1), "out": tmp_path / "out"}
    with pytest.raises(L3clfError, match=message) as error:
        distil(**{**usual, **options})
    one_sentence(error)
    assert not (tmp_path / "out").exists()


# --- the command -----------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """Two classes of four clips."""
    for i in range(8):
        kind = CLASSES[i % 2]
        (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
        write(tmp_path / "data" / kind / f"{i}.wav", synthesise(kind, np.random.default_rng(i), 1.0, SAMPLE_RATE))
    return tmp_path / "data"


def command(folders, *more):
    out = folders.parent / "out"
    return ["distill", str(folders), "--student", "S", "--epochs", "1", "--per-window", "2", "--out", str(out), *more]


def test_the_command_stops_goes_on_and_says_what_it_made(folders, capsys, monkeypatch):
    bad = put(folders / "bad.wav", b"RIFF")
    arguments = command(folders, "--teacher", "bands", "--teacher", "mfcc", "--labels-from-folders", "--jobs", "1")
    heard = Bands.embed_windows
    with monkeypatch.context() as patched:
        patched.setattr(Bands, "embed_windows", lambda self, x: Stopping(None, 0)[x])
        assert cli.main(arguments) == 130
    assert Bands.embed_windows is heard
    out, err = capsys.readouterr()
    sentence = f"l3clf: interrupted; what was done is kept in {folders.parent / 'out'}, and the same command goes on"
    assert err.splitlines()[-1] == sentence
    assert out == ""
    assert cli.main(arguments) == 1  # one file failed
    out, err = capsys.readouterr()
    assert f"l3clf: failed: {bad}: not a sound file" in err
    assert "examples: 100%" in err
    assert "epoch 1: 100%" in err
    lines = out.splitlines()
    path = folders.parent / "out" / "student.student"
    about = l3clf.load_embedder(str(path)).about
    assert lines[0] == (
        f"Student: {path} (S, {about['parameters']:,} parameters, {about['macs']:,} multiply-accumulates a window)"
    )
    assert lines[1] == "Learned from 8 clips (0.00 h), 32 examples."
    cosines = zip(("bands", "mfcc"), about["held_out_cosine"], about["constant_cosine"], strict=True)
    assert lines[2:] == [f"Held-out cosine to {n}: {a:.3f} (best constant answer: {b:.3f})" for n, a, b in cosines]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--teacher", "nobody"], "l3clf: embedder='nobody': no such embedder"),
        (["--teacher", "bands", "--init", "missing.student"], "missing.student cannot be read"),
        (["--teacher", "yamnet", "--weights", "/nowhere"], "/nowhere"),
    ],
)
def test_errors_of_the_command_are_one_sentence(folders, capsys, more, message):
    assert cli.main(command(folders, *more)) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_labels_need_two_folders(folders, capsys):
    assert cli.main(command(folders / CLASSES[0], "--teacher", "bands", "--labels-from-folders")) == 1
    assert "--labels-from-folders: found 1 folder; expected the files of two or more classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more", [[], ["--teacher", "bands", "--epochs", "0"], ["--teacher", "bands", "--student", "XL"]]
)
def test_other_arguments_are_refused(folders, capsys, more):
    with pytest.raises(SystemExit) as error:
        cli.main(command(folders, *more))
    assert error.value.code == 2


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from l3clf.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_without_keras_the_command_says_what_to_install(folders):
    arguments = [sys.executable, "-c", WITHOUT, "keras", *command(folders, "--teacher", "mfcc")]
    found = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == (
        'l3clf: distillation needs Keras and TensorFlow; install them with: pip install "l3clf[distill]"\n'
    )


def test_keras_alone_is_not_enough(tmp_path, monkeypatch):
    monkeypatch.setattr("l3clf.distill.distiller.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs Keras and TensorFlow"):
        distil(Bands(), sounds(), out=tmp_path)


# --- the path of the mission -----------------------------------------------------------------------


@pytest.mark.slow
def test_openl3_is_distilled(tmp_path):
    """OpenL3 with the seeded weights: its student answers far better than anything that hears nothing."""
    weights = openl3_recipe.write_weights(tmp_path / "mel128.h5", "mel128")
    student = distil(
        OpenL3("mel128", weights=weights),
        sounds(120, 1.0, 48_000),
        student="S",
        out=tmp_path / "out",
        sizes=[8],
        per_window=1,
        held_out=0.25,
        schedule=Schedule(epochs=12, batch=16),
    )
    (found,), (constant,) = student.about["held_out_cosine"], student.about["constant_cosine"]
    assert found > constant + 0.1, (found, constant)
    assert student.embed(tone(rate=48_000, seconds=2), 48_000).vectors.shape == (4, 8)
