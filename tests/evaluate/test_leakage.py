"""Duplicates across folds are found, and groups are guessed from file names."""

import numpy as np
import pytest
from helpers.embedded_sets import easy_set

from l3clf import Clip
from l3clf.evaluate import (
    find_duplicates,
    guess_groups,
    make_split,
)

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
