"""Splits keep folds and groups whole, and are refused where they cannot be made."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3clf.errors import DatasetError
from l3clf.evaluate import (
    make_split,
)

# --- splits -----------------------------------------------------------------------------------------


def test_given_folds_are_used_unchanged():
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


def test_without_folds_or_groups_possible_leakage_is_noted():
    split = make_split(np.array(["a"] * 20 + ["b"] * 10))
    assert split.kind == "stratified"
    assert "leakage" in split.note
    assert [np.sum(test < 20) for _, test in split] == [4] * 5


def test_classes_smaller_than_the_number_of_folds_are_accepted():
    split = make_split(np.array(["a", "a", "b", "b", "c"]))
    assert len(split) == 2
    assert sorted(np.concatenate([test for _, test in split])) == list(range(5))


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (["a"] * 4, {}, "only the class 'a'"),
        (["a", "b"], {"folds": np.array(["1", "1"])}, "folds: only"),
        (["a", "b"], {"groups": np.array(["1", "1"])}, "groups: only"),
        (["a", "a", "b", "b"], {"folds": np.array([1, 1, 2, 2])}, "fold '1': the other folds have only the class b"),
        (["a", "b", "c"], {}, "each of the 3 classes has a single clip"),
        (list("abcdefghijkl"), {"groups": np.arange(12)}, "each of the 12 classes has a single clip"),
        (list("aabbcc"), {"folds": np.array([1, 1, 2, 2, 3, 3])}, "no class is in more than one of the 3 folds"),
        (list("aabbcc"), {"groups": np.array(list("xxyyzz"))}, "no class is in more than one of the 3 groups"),
    ],
)
def test_impossible_splits_are_refused(labels, options, words):
    with pytest.raises(DatasetError, match=words):
        make_split(np.array(labels), **options)


@pytest.mark.filterwarnings("error")
def test_many_groups_of_classes_with_two_clips_are_accepted():
    split = make_split(np.arange(24) % 12, groups=np.arange(24))
    assert (len(split), split.kind) == (2, "groups")
    assert "2 folds" in split.note
