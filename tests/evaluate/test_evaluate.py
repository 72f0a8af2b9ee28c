"""Splits, scores, intervals, duplicates: known answers, and scikit-learn as the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from l3clf import Clip, ClipClassifier, WindowEmbeddings
from l3clf.errors import DatasetError, ParameterError
from l3clf.evaluate import (
    cross_validate,
    cross_validate_poolings,
    find_duplicates,
    guess_groups,
    learning_curve_points,
    majority_floor,
    make_split,
    score,
    scores,
)

REFERENCE = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": lambda truth, predictions: f1_score(truth, predictions, average="macro", zero_division=0),
}


def embedded(vectors):
    """One clip of one window for each vector."""
    return [WindowEmbeddings(v[np.newaxis], np.zeros((1, 2)), np.full(1, -20, np.float32)) for v in vectors]


def easy_set(n=60, classes=3, spread=0.5, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.array([f"c{k % classes}" for k in range(n)])
    centres = rng.normal(0, 1, (classes, 60))
    vectors = centres[np.arange(n) % classes] + spread * rng.normal(0, 1, (n, 60))
    return vectors.astype(np.float32), labels


# --- splits -----------------------------------------------------------------------------------------


def test_given_folds_are_taken_as_they_are():
    split = make_split(np.array(["a", "b"] * 6), folds=np.repeat(["1", "2", "3"], 4), groups=np.arange(12))
    assert split.kind == "folds"
    assert split.names == ("1", "2", "3")
    assert split.test_fold.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_few_groups_are_left_out_one_at_a_time():
    split = make_split(np.array(["a", "b"] * 6), groups=np.repeat(["x", "y", "z"], 4))
    assert split.kind == "groups"
    assert [sorted(test) for _, test in split] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 29), min_size=60, max_size=120), st.integers(0, 5))
def test_many_groups_are_never_split(groups, seed):
    groups = np.array([*groups, *range(30), *range(30)])
    labels = np.array(["a", "b"] * (len(groups) // 2 + 1))[: len(groups)]
    split = make_split(labels, groups=groups, seed=seed)
    assert len(split) == 5
    for group in np.unique(groups):
        assert len(set(split.test_fold[groups == group])) == 1


def test_without_folds_or_groups_it_is_said_that_leakage_was_not_excluded():
    split = make_split(np.array(["a"] * 20 + ["b"] * 10))
    assert split.kind == "stratified"
    assert "leakage" in split.note
    assert [np.sum(test < 20) for _, test in split] == [4] * 5


def test_classes_smaller_than_the_folds_are_no_obstacle():
    split = make_split(np.array(["a", "a", "b", "b", "c"]))
    assert len(split) == 2
    assert sorted(np.concatenate([test for _, test in split])) == list(range(5))


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (["a"] * 4, {}, "only the class 'a'"),
        (["a", "b"], {"folds": np.array(["1", "1"])}, "folds: found only"),
        (["a", "b"], {"groups": np.array(["1", "1"])}, "groups: found only"),
        (["a", "a", "b", "b"], {"folds": np.array([1, 1, 2, 2])}, "without fold '1' only the class b"),
        (["a", "b", "c"], {}, "each of the 3 classes has a single clip"),
        (list("abcdefghijkl"), {"groups": np.arange(12)}, "each of the 12 classes has a single clip"),
        (list("aabbcc"), {"folds": np.array([1, 1, 2, 2, 3, 3])}, "no class is in more than one of the 3 folds"),
        (list("aabbcc"), {"groups": np.array(list("xxyyzz"))}, "no class is in more than one of the 3 groups"),
    ],
)
def test_splits_that_cannot_be_are_refused(labels, options, words):
    with pytest.raises(DatasetError, match=words):
        make_split(np.array(labels), **options)


@pytest.mark.filterwarnings("error")
def test_many_groups_of_classes_with_two_clips_are_no_obstacle():
    split = make_split(np.arange(24) % 12, groups=np.arange(24))
    assert (len(split), split.kind) == (2, "groups")
    assert "2 folds" in split.note


# --- scores -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=40))
@pytest.mark.parametrize("metric", list(REFERENCE))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_scores_are_scikit_learns(metric, pairs):
    truth, predictions = np.array(pairs).T
    assert score(truth, predictions, metric) == pytest.approx(REFERENCE[metric](truth, predictions), abs=1e-12)


def test_weights_count_clips_as_often_as_they_are_drawn():
    truth, predictions = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])
    weights = np.array([2.0, 1, 0, 3])
    again = np.repeat(np.arange(4), weights.astype(int))
    for metric in ("accuracy", "balanced_accuracy"):
        assert score(truth, predictions, metric, weights) == pytest.approx(
            score(truth[again], predictions[again], metric)
        )


def test_an_unknown_metric_is_refused():
    with pytest.raises(ParameterError, match="metric='auc'"):
        score(np.array([0]), np.array([0]), "auc")


def test_the_interval_is_the_binomial_one_for_independent_clips():
    truth = np.zeros(400, int)
    predictions = np.array([0] * 320 + [1] * 80)
    found = scores(truth, predictions, np.arange(400) % 5)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert found["accuracy"] == pytest.approx(0.8)
    assert found["accuracy_low"] == pytest.approx(0.8 - half, abs=0.008)
    assert found["accuracy_high"] == pytest.approx(0.8 + half, abs=0.008)


def test_the_interval_is_wider_when_clips_come_in_groups():
    truth = np.zeros(400, int)
    predictions = np.repeat([0, 1], [320, 80])
    groups = np.arange(400) // 20
    alone, grouped = (scores(truth, predictions, np.arange(400) % 5, g) for g in (None, groups))
    assert grouped["accuracy_high"] - grouped["accuracy_low"] > 3 * (alone["accuracy_high"] - alone["accuracy_low"])


def test_the_spread_is_that_of_the_folds():
    truth, predictions, fold = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), np.array([0, 0, 1, 1])
    assert scores(truth, predictions, fold)["accuracy_std"] == pytest.approx(0.25)


def test_the_floor_is_the_training_folds_largest_class():
    labels = np.array(["a"] * 6 + ["b"] * 4)
    floor = majority_floor(labels, make_split(labels, folds=np.arange(10) % 5))
    assert floor["accuracy"] == pytest.approx(0.6)
    assert floor["balanced_accuracy"] == pytest.approx(0.5)


# --- cross-validation -------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "probability"])
@pytest.mark.parametrize("head", ["logistic", "forest"])
def test_cross_validation_is_cross_val_predict(head, pooling):
    vectors, labels = easy_set()
    split = make_split(labels)
    model = ClipClassifier("mfcc", head=head, pooling=pooling)
    found = cross_validate(model, embedded(vectors), labels, split)
    expected = cross_val_predict(model, embedded(vectors), labels, cv=PredefinedSplit(split.test_fold))
    assert found.predictions.tolist() == expected.tolist()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("head", ["logistic", "forest"])
def test_poolings_of_one_head_are_the_same_together_and_alone(head):
    vectors, labels = easy_set(30, spread=3)
    windows = [
        WindowEmbeddings(v + np.float32(0.5) * np.eye(3, 60, dtype=np.float32), np.zeros((3, 2)), np.full(3, -20.0))
        for v in vectors
    ]
    split = make_split(labels)
    poolings = ["vote", "probability"]
    together = cross_validate_poolings(ClipClassifier("mfcc", head), poolings, windows, labels, split)
    for pooling, found in zip(poolings, together, strict=True):
        alone = cross_validate(ClipClassifier("mfcc", head, pooling=pooling), windows, labels, split)
        np.testing.assert_array_equal(found.probabilities, alone.probabilities)
        np.testing.assert_array_equal(found.predictions, alone.predictions)
    assert (together[0].probabilities != together[1].probabilities).any()


def test_poolings_of_different_heads_are_refused():
    vectors, labels = easy_set(12)
    with pytest.raises(ParameterError, match="'mean', 'vote' do not train the same head"):
        cross_validate_poolings(ClipClassifier("mfcc"), ["mean", "vote"], embedded(vectors), labels, make_split(labels))


def test_a_class_that_a_training_fold_lacks_gets_probability_zero():
    vectors, labels = easy_set(30)
    labels = np.array(["rare"] * 3 + labels[3:].tolist())
    folds = np.array([0] * 3 + [1] * 13 + [2] * 14)
    found = cross_validate(ClipClassifier("mfcc"), embedded(vectors), labels, make_split(labels, folds))
    assert found.probabilities[:3, found.classes.tolist().index("rare")].tolist() == [0, 0, 0]


def test_random_labels_give_chance_within_the_interval():
    vectors, _ = easy_set(200, spread=3)
    labels = np.random.default_rng(1).choice(["a", "b", "c", "d"], 200)
    split = make_split(labels)
    found = cross_validate(ClipClassifier("mfcc"), embedded(vectors), labels, split)
    interval = scores(labels, found.predictions, split.test_fold)
    assert interval["accuracy_low"] <= 0.25 <= interval["accuracy_high"] + 0.02


def test_more_clips_help_where_they_should():
    vectors, labels = easy_set(120, spread=4)
    points = learning_curve_points(ClipClassifier("mfcc"), embedded(vectors), labels, make_split(labels))
    sizes = [point["clips_per_class"] for point in points]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] == pytest.approx(32)
    assert points[-1]["accuracy"] > points[0]["accuracy"] + 0.1


# --- leakage ----------------------------------------------------------------------------------------


def test_the_same_sound_in_two_folds_is_found():
    vectors, labels = easy_set(10)
    clips = [Clip(f"{i}.wav") for i in range(10)]
    contents = [*range(9), 0]
    split = make_split(labels, folds=np.arange(10) % 2)
    assert [(d.first, d.second, d.kind) for d in find_duplicates(clips, contents, vectors, split)] == [(0, 9, "same")]


def test_pieces_that_overlap_are_found_and_others_not():
    clips = [Clip("a.wav", 0, 2), Clip("a.wav", 1, 3), Clip("a.wav", 3, 4), Clip("b.wav")]
    vectors, _ = easy_set(4)
    split = make_split(np.array(["x", "y", "x", "y"]), folds=np.array([0, 1, 1, 0]))
    split.test_fold[:] = [0, 1, 1, 0]
    found = find_duplicates(clips, ["a", "a", "a", "b"], vectors, split)
    assert [(d.first, d.second, d.kind) for d in found] == [(0, 1, "overlapping")]


def test_near_identical_vectors_are_found_across_folds_only():
    vectors, labels = easy_set(40, spread=1)
    vectors[1] = vectors[0] + 1e-3
    vectors[10] = vectors[0] + 1e-3
    clips = [Clip(f"{i}.wav") for i in range(40)]
    split = make_split(labels, folds=np.array(["x", "y"] * 20))
    found = find_duplicates(clips, list(range(40)), vectors, split)
    assert [(d.first, d.second, d.kind) for d in found] == [(0, 1, "near-identical"), (1, 10, "near-identical")]


def test_very_many_copies_give_few_pairs_and_miss_no_clip():
    n = 3000
    vectors = np.random.default_rng(0).normal(size=(n, 8))
    vectors[: n // 2] = vectors[0] + 1e-6 * vectors[: n // 2]
    split = make_split(np.arange(n) % 2, folds=np.arange(n) // 2 % 5)
    contents = [*range(n // 2), *["copy"] * (n // 2)]
    found = find_duplicates([Clip(f"{i}.wav") for i in range(n)], contents, vectors, split)
    assert len(found) <= 10 * n
    assert {i for pair in found for i in (pair.first, pair.second)} == set(range(n))
    assert {pair.kind for pair in found} == {"near-identical", "same"}
    assert all(pair.first < pair.second for pair in found)
    assert all(split.test_fold[pair.first] != split.test_fold[pair.second] for pair in found)


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["a_1", "b_2", "c_1", "d_2"], "pqqp", None),
        (["0_ann_1", "0_bob_2", "1_ann_3", "1_bob_4"], "0011", "part 2 of the file names"),
        (["a", "b", "c", "d"], "pqqp", None),
        (["x/0", "x/1", "y/0", "y/1"], "pqqp", "the folder"),
        (["x/a", "x/b", "y/c", "y/d"], "xxyy", None),
    ],
)
def test_groups_are_guessed_from_names(names, labels, expected):
    guess = guess_groups([Clip(f"{name}.wav") for name in names], np.array(list(labels)))
    assert (guess is None) if expected is None else guess[0].startswith(expected)
