"""Training: targets, losses, and checkpoints from which a training resumes exactly."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import RECIPE, SMALL, SPEC, Bands, Stopping, one_sentence, sounds
from helpers.sound_files import spoil

from l3clf.distill import Schedule
from l3clf.distill.architectures import build_student, keras
from l3clf.distill.corpus import decode
from l3clf.distill.examples import NO_LABEL, make_examples
from l3clf.distill.training import _loss, _stalled, held_out_cosines, one_hot, train, whiten
from l3clf.embedders.frontend import SAMPLE_RATE
from l3clf.errors import DatasetError, ParameterError

# --- targets and labels ----------------------------------------------------------------------------


def test_whitened_targets_are_white():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 6)) @ rng.standard_normal((6, 6)) * 3 + rng.standard_normal(6)
    white = whiten(x.astype(np.float16), 4).apply(x)
    assert (white.shape, white.dtype) == ((20_000, 4), np.float32)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(np.cov(white.T), np.eye(4), atol=0.02)
    main = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[0][:, :4]
    np.testing.assert_allclose(main @ (main.T @ white), white, atol=0.02)  # of the same four directions


def test_a_half_whitening_keeps_half_of_the_proportions():
    x = np.random.default_rng(0).standard_normal((20_000, 4)) * [8, 4, 2, 1] + 3
    halfway = whiten(x, 4, 0.5).apply(x)
    variances = np.linalg.eigvalsh(np.cov(halfway.T))[::-1]
    np.testing.assert_allclose(variances / variances[-1], [8, 4, 2, 1], rtol=0.05)
    assert variances.mean() == pytest.approx(1, rel=0.01)


def test_directions_without_variance_are_left_out():
    x = np.random.default_rng(0).standard_normal((500, 3)) @ np.eye(3, 8)
    assert whiten(x, 8).projection.shape == (8, 3)


def test_labels_are_averaged_by_their_shares():
    labels = np.array([[0, NO_LABEL], [1, 2], [2, 2], [NO_LABEL, NO_LABEL]], np.int32)
    found = one_hot(labels, np.array([1, 0.7, 0.6, 1], np.float32), 3)
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 0.7, 0.3], [0, 0, 1], [0, 0, 0]], atol=1e-6)


# --- training --------------------------------------------------------------------------------------

SCHEDULE = Schedule(epochs=4, batch=32, learning_rate=1e-2)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Examples of 20 clips, their targets and labels."""
    folder = tmp_path_factory.mktemp("lesson")
    corpus = decode(sounds(20), SAMPLE_RATE, folder)
    examples = make_examples(corpus, [Bands()], RECIPE, folder, np.arange(20, dtype=np.int32) % 10)
    targets = whiten(examples.targets[0], 8).apply(examples.targets[0])
    return examples, targets, one_hot(examples.labels, examples.shares, 10)


def trained(lesson, folder, schedule=SCHEDULE, stop_after=None, name="a", seed=0, **options):
    """A student, and the log of its training; each from the same weights."""
    examples, targets, shares = lesson
    folder.mkdir(exist_ok=True)
    if stop_after is not None:
        examples = replace(examples, features=Stopping(examples.features, stop_after))
    keras.utils.set_random_seed(seed)
    student = build_student(SMALL[name], SPEC.n_frames, SPEC.n_bands, targets.shape[1])
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
    student = build_student(SMALL["a"], SPEC.n_frames, SPEC.n_bands, 8)
    student.set_weights(weights)
    rows = np.flatnonzero(examples.held_out)
    (found,) = held_out_cosines(student, examples.features, targets, [8], rows)
    assert found == pytest.approx(max(row["cosine"] for row in log), abs=1e-6)
    lines = (folder / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,cosine,cosine_0"
    assert len(lines) == 5


def test_the_last_weights_are_kept_if_that_is_asked_for(lesson, tmp_path):
    """Labels count for so much that the cosine is best before the end."""
    schedule = replace(SCHEDULE, label_weight=30.0, patience=9)
    (best, log), (last, _) = (trained(lesson, tmp_path / keep, schedule, keep=keep) for keep in ("best", "last"))
    cosines = [row["cosine"] for row in log]
    assert np.argmax(cosines) < len(cosines) - 1
    examples, targets, _ = lesson
    held = np.flatnonzero(examples.held_out)
    found = [held_out_cosines(each, examples.features, targets, [8], held)[0] for each in (best, last)]
    np.testing.assert_allclose(found, [max(cosines), cosines[-1]], atol=1e-5)


def test_interrupted_training_resumes_exactly(lesson, whole, tmp_path):
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


def test_a_seed_gives_the_same_compiled_training(lesson, tmp_path, monkeypatch):
    """Long trainings are compiled, short ones not; rounding is all that differs."""
    monkeypatch.setattr("l3clf.distill.training.COMPILED_FROM", 1)
    one = replace(SCHEDULE, epochs=1)
    (a, log), (b, again) = (
        trained(lesson, tmp_path / "a", one, name="no blocks"),
        trained(lesson, tmp_path / "b", one, name="no blocks"),
    )
    assert log == again
    for ours, theirs in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    monkeypatch.setattr("l3clf.distill.training.COMPILED_FROM", 10**9)
    _, plain = trained(lesson, tmp_path / "c", one, name="no blocks")
    assert log[0]["cosine"] == pytest.approx(plain[0]["cosine"], abs=0.01)


def test_training_ends_early_when_nothing_gets_better(lesson, tmp_path):
    schedule = Schedule(epochs=50, batch=32, learning_rate=1e-9, patience=2)
    _, log = trained(lesson, tmp_path, schedule)
    best = int(np.argmax([row["cosine"] for row in log]))
    assert len(log) == best + 3 < 50


def test_a_checkpoint_without_room_is_one_sentence(lesson, tmp_path):
    """A limit on the size of files stands for the full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(DatasetError, match=r"checkpoint\.npz: cannot be written \(File too large\)") as error:
            trained(lesson, tmp_path, replace(SCHEDULE, epochs=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    one_sentence(error)


def test_a_log_that_cannot_be_written_is_one_sentence(lesson, tmp_path):
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(DatasetError, match=r"log\.csv: cannot be written \(Is a directory\)") as error:
        trained(lesson, tmp_path, replace(SCHEDULE, epochs=1))
    one_sentence(error)


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
        {"name": "b"},
        {"schedule": replace(SCHEDULE, epochs=5)},
        {"schedule": replace(SCHEDULE, seed=1)},
        {"about": {"examples": "others"}},
    ],
    ids=["architecture", "epochs", "seed", "examples"],
)
def test_the_checkpoint_of_another_training_is_refused(lesson, whole, change):
    with pytest.raises(ParameterError, match="checkpoint of another student, schedule or set of examples") as error:
        trained(lesson, whole[2], **change)
    assert str(whole[2] / "checkpoint.npz") in one_sentence(error)


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "no archive": lambda data: b"PK\x03\x04" + bytes(1000),
    "text": lambda data: b"hello",
    "pickle": lambda data: b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.",
    **{f"bytes {at} of 100 in": lambda data, at=at: spoil(data, at / 100, 3) for at in (1, 50, 99)},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_refused(lesson, whole, tmp_path, damage):
    (tmp_path / "checkpoint.npz").write_bytes(DAMAGE[damage]((whole[2] / "checkpoint.npz").read_bytes()))
    with pytest.raises(
        ParameterError, match=r"checkpoint\.npz: damaged checkpoint .*; delete it to begin again"
    ) as error:
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
    weighted = _loss([2, 3], replace(SCHEDULE, teacher_weights=(3, 0.5)))
    found = np.asarray(weighted(truth[:, :5], answer_[:, :5]))
    np.testing.assert_allclose(found, [0.5 * (1 - np.sqrt(0.5)), 6], atol=1e-5)


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
        ({"teacher_weights": (1, 0)}, r"teacher_weights=\(1, 0\); expected a tuple of numbers above 0"),
        ({"teacher_weights": 5}, "teacher_weights=5; expected a tuple of numbers above 0"),
        ({"seed": -1}, "seed=-1; expected a whole number of at least 0"),
    ],
)
def test_invalid_schedules_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        Schedule(**options)
