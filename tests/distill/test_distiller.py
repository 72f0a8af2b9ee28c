"""Distillation, the whole way: students that give the embeddings of their teachers."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from golden import openl3_recipe
from helpers.fake_embedder import FakeEmbedder
from helpers.sound_files import tone

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import SMALL, SPEC, TINY, Bands, Start, one_sentence, sounds

import l3clf
from l3clf.distill import Augmentation, Schedule, distil
from l3clf.distill.architectures import ARCHITECTURES
from l3clf.embedders.frontend import levels, quantise_levels
from l3clf.embedders.openl3 import OpenL3
from l3clf.embedders.student import Student
from l3clf.errors import L3clfError, MissingDependencyError, ParameterError
from l3clf.storage.locks import lock_now


@dataclass(frozen=True)
class Wide(Bands):
    """An embedder with many numbers; it is never asked."""

    embedding_size = 4000


# --- the whole way ---------------------------------------------------------------------------------


REAL_S = ARCHITECTURES["S"]


@pytest.fixture(scope="module", autouse=True)
def small_s():
    """Students of size S are small ones here; the real ones are trained at the end, and converted in tests/device."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(ARCHITECTURES, "S", SMALL["a"])
        yield


@pytest.fixture(scope="module")
def distilled(small_s, tmp_path_factory):
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
    assert about["teachers"] == ["band_levels", "fake"]
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
    from helpers.tflite_micro_oracle import every_tensor

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
def test_a_checkpoint_of_other_settings_is_refused(distilled, tmp_path, monkeypatch, change):
    if "init" in change:
        monkeypatch.setitem(ARCHITECTURES, "S", REAL_S)
    _, again, folder = distilled
    shutil.copytree(folder, tmp_path / "copy")
    examples = {name: (folder / name).read_bytes() for name in ("examples.json", "targets-0.f2", "features.i8")}
    with pytest.raises(ParameterError, match="checkpoint of another student, schedule or set of examples"):
        again(tmp_path / "copy", **change)
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in examples} == examples  # nothing made is lost


def test_two_calls_cannot_share_a_folder(distilled):
    _, again, folder = distilled
    examples = (folder / "features.i8").read_bytes()
    with (folder / ".l3clf-distill").open("ab") as handle:
        assert lock_now(handle.fileno())
        with pytest.raises(ParameterError, match="in use by another call; wait for it, or give another folder"):
            again(per_window=2)
    assert (folder / "features.i8").read_bytes() == examples
    with pytest.raises(ParameterError, match="checkpoint of another student"):
        again(labels=None)  # the lock went with its holder


def test_numpy_numbers_are_accepted(tmp_path, eagerly):
    schedule = Schedule(
        epochs=np.int64(1), learning_rate=np.float32(1e-3), seed=np.int32(3), teacher_weights=[np.float32(2)]
    )
    more = {
        "whitening": np.float32(0.5),
        "augmentation": Augmentation(p_mix=np.float32(0.5)),
        "held_out": np.float64(0.2),
    }
    made = distil(
        Bands(),
        sounds(6, 0.6),
        student="S",
        sizes=[np.int64(4)],
        per_window=np.int64(2),
        out=tmp_path,
        schedule=schedule,
        **more,
    )
    assert made.embedding_size == 4


def test_a_student_of_a_student_starts_where_that_was(distilled, tmp_path, eagerly):
    """One step at a rate of nothing: it hears as the one that it started from; its last layer is solved anew."""
    student, again, _ = distilled
    schedule = Schedule(epochs=1, batch=256, learning_rate=1e-9)
    new = again(tmp_path, init=student.weights, student=None, labels=None, schedule=schedule)
    assert new.about["architecture"] == "S"
    assert new.about["held_out_cosine"][0] > student.about["held_out_cosine"][0] - 0.1
    ours, theirs = weights_of(new), weights_of(student)
    assert len(ours) == len(theirs)
    for a, b in zip(ours[::2][:-1], theirs[::2][:-1], strict=True):  # kernels, in which a normalisation is folded
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95


def test_a_student_may_start_as_l3mini_with_another_window(tmp_path, eagerly):
    schedule = Schedule(epochs=1, batch=8, learning_rate=1e-9)
    options = {"init": "l3mini", "out": tmp_path, "per_window": 1, "sizes": [2], "schedule": schedule}
    student = distil(Start(0.7), sounds(6, 0.7), **options)
    assert (student.about["architecture"], student.window_s) == ("L", 0.7)
    for a, b in zip(weights_of(student)[:-4:2], weights_of(l3clf.load_embedder("l3mini"))[:-4:2], strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95


def test_a_loaded_student_may_be_the_start(distilled, tmp_path, eagerly):
    """The first l3mini has no name of its own, and the student of a model no file."""
    student, again, _ = distilled
    carried = replace(student, weights=student.content)
    schedule = Schedule(epochs=1, batch=256, learning_rate=1e-9)
    options = {"student": None, "labels": None, "per_window": 1, "schedule": schedule, "out": tmp_path}
    made = again(init=carried, **options)
    assert weights_of(made)[0].shape == weights_of(student)[0].shape
    assert again(init=student, **options).onnx == made.onnx  # the same student: the call goes on


def test_a_trainer_of_ones_own_is_used_instead_of_keras(tmp_path):
    """One that learns nothing: the student keeps its first weights, and its log is that of the trainer."""
    seen = {}

    def lazy(student, examples, targets, sizes, schedule, folder, distributions, progress, about):
        seen.update(sizes=sizes, epochs=schedule.epochs, shape=targets.shape, labels=distributions.shape, folder=folder)
        seen.update(n=len(examples), first=student.get_weights()[0].copy())
        student.set_weights([np.zeros_like(weight) for weight in student.get_weights()[:-1]] + [np.ones(4)])
        return [{"epoch": 1, "loss": 2.0, "cosine": 0.25, "cosine_0": 0.25}]

    usual = {"student": "S", "sizes": [4], "per_window": 1, "labels": [0, 1] * 3, "schedule": Schedule(epochs=7)}
    made = distil(Bands(), sounds(6, 0.6), out=tmp_path, trainer=lazy, **usual)
    n = seen.pop("n")
    assert seen.pop("first").any()
    assert seen == {"sizes": [4], "epochs": 7, "shape": (n, 4), "labels": (n, 2), "folder": tmp_path}
    np.testing.assert_array_equal(made.embed_windows(sounds(1, 0.5)[0].samples[np.newaxis]), np.ones((1, 4)))
    assert (tmp_path / "curve.png").exists()
    assert not (tmp_path / "checkpoint.npz").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teachers": []}, "teachers: found none"),
        ({"teachers": "nobody"}, "embedder='nobody': no such embedder"),
        ({"teachers": Start(0.1)}, "window of 0.1 s; a student's window has 0.2 to 4.0 s"),
        ({"clips": "a.wav"}, "clips: found a single clip; expected a list"),
        ({"labels": [1, 2]}, "labels: found 2; expected one for each of 10 clips"),
        ({"student": "XL"}, "student='XL'; expected one of"),
        ({"sizes": [4, 4]}, r"sizes=\[4, 4\]; expected a number of at least 1 for each of 1 teachers"),
        ({"whitening": 1.5}, "whitening=1.5; expected a number from 0 to 1"),
        (
            {"schedule": Schedule(teacher_weights=(1, 2))},
            r"teacher_weights=\(1, 2\); expected one for each of 1 teachers",
        ),
        ({"sizes": [0]}, r"sizes=\[0\]; expected"),
        ({"teachers": Wide(), "sizes": [4000], "student": "B"}, r"sizes=\[4000\]: a student of size 'B' with 4000"),
        ({"sizes": 4}, "sizes=4; expected a list of whole numbers"),
        ({"sizes": [2.5]}, r"sizes=\[2.5\]; expected a list of whole numbers"),
        ({"labels": 5}, "labels=5; expected a list of classes"),
        ({"init": "missing.student"}, r"missing\.student: cannot be read"),
        ({"init": "mfcc"}, "init='mfcc': not a student of an architecture known here; give one of S, M, L, B"),
        ({"init": Bands()}, "init='band_levels': not a student of an architecture known here"),
        ({"init": 5}, "init=5; expected the name of a student, its file, or a Student"),
        ({"init": TINY, "student": "M"}, "has the size 'S', not 'M'; leave out `student`"),
        ({"out": __file__}, "is not a folder"),
    ],
)
def test_invalid_options_are_refused_before_the_work(tmp_path, options, message):
    usual = {"teachers": Bands(), "clips": sounds(10, 0.1), "out": tmp_path / "out"}
    with pytest.raises(L3clfError, match=message) as error:
        distil(**{**usual, **options})
    one_sentence(error)
    assert not (tmp_path / "out").exists()


def test_keras_alone_is_not_enough(tmp_path, monkeypatch):
    monkeypatch.setattr("l3clf.distill.distiller.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs Keras and TensorFlow"):
        distil(Bands(), sounds(), out=tmp_path)


def test_another_backend_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("l3clf.distill.distiller.keras.backend.backend", lambda: "torch")
    with pytest.raises(
        ParameterError, match="backend is 'torch', which cannot make the integer network; set KERAS_BACKEND=tensorflow"
    ):
        distil(Bands(), sounds(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the path of the mission -----------------------------------------------------------------------


@pytest.mark.slow
def test_openl3_is_distilled(tmp_path, monkeypatch):
    """OpenL3 with the seeded weights: its student answers far better than anything that hears nothing."""
    monkeypatch.setitem(ARCHITECTURES, "S", REAL_S)
    weights = openl3_recipe.write_weights(tmp_path / "mel128.h5", "mel128")
    student = distil(
        OpenL3("mel128", weights=weights),
        sounds(90, 1.0, 48_000),
        student="S",
        out=tmp_path / "out",
        sizes=[8],
        whitening=1,
        per_window=1,
        held_out=0.25,
        schedule=Schedule(epochs=10, batch=12),
    )
    (found,), (constant,) = student.about["held_out_cosine"], student.about["constant_cosine"]
    assert found > constant + 0.1, (found, constant)
    assert student.embed(tone(rate=48_000, seconds=2), 48_000).vectors.shape == (4, 8)
