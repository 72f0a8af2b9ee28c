"""Cross-validation of taggers: folds with even tags, and nothing of a test fold in what tells it."""

import numpy as np
import pytest
from helpers.embedded_sets import embedded
from sklearn.ensemble import RandomForestClassifier

from l3clf import ClipTagger
from l3clf.errors import DatasetError
from l3clf.evaluate import cross_validate_tags, make_tag_split
from l3clf.evaluate.tag_crossval import threshold_groups


def tags_and_windows(n=60, seed=0, rates=(0.5, 0.3, 0.2)):
    """Return an indicator matrix, and embeddings that tell each tag."""
    rng = np.random.default_rng(seed)
    tags = (rng.random((n, len(rates))) < rates).astype(int)
    vectors = tags @ rng.normal(0, 2, (len(rates), 60)) + rng.normal(0, 0.5, (n, 60))
    return tags, embedded(vectors.astype(np.float32))


# --- folds --------------------------------------------------------------------------------------------


def test_random_folds_spread_each_tag_evenly():
    tags, _ = tags_and_windows(103)
    split = make_tag_split(tags)
    assert (len(split), split.kind) == (5, "stratified")
    assert "stratified by tag" in split.note
    assert "leakage" in split.note
    counts = np.array([tags[test].sum(axis=0) for _, test in split])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_groups_stay_together():
    tags, _ = tags_and_windows(120)
    groups = np.arange(120) // 4
    split = make_tag_split(tags, groups=groups)
    assert split.kind == "groups"
    assert all(len(set(split.test_fold[groups == group])) == 1 for group in range(30))
    few = make_tag_split(tags, groups=np.arange(120) // 30)
    assert (len(few), few.note) == (4, "4 groups, one left out at a time")
    given = make_tag_split(tags, folds=np.arange(120) % 3, groups=groups)
    assert (len(given), given.kind) == (3, "folds")


def test_what_cannot_be_cross_validated_is_refused():
    tags = np.repeat([[1, 0], [0, 1]], 4, axis=0)
    with pytest.raises(DatasetError, match="no tag of the 2 is in more than one of the 2 groups"):
        make_tag_split(tags, groups=tags[:, 0])
    with pytest.raises(DatasetError, match="expected two or more"):
        make_tag_split(tags[:1])
    with pytest.raises(DatasetError, match=r"folds: only \[7\]"):
        make_tag_split(tags, folds=np.full(8, 7))


# --- answers ------------------------------------------------------------------------------------------


def test_each_clip_is_answered_by_the_model_of_its_fold():
    tags, windows = tags_and_windows()
    split = make_tag_split(tags, folds=np.arange(60) % 3)
    found = cross_validate_tags(ClipTagger("mfcc", cache=None), windows, tags, split)
    groups = threshold_groups(split)
    for train, test in split:
        model = ClipTagger("mfcc", cache=None)
        model.fit([windows[i] for i in train], tags[train], groups=groups[train])
        asked = [windows[i] for i in test]
        np.testing.assert_allclose(found.probabilities[test], model.predict_proba(asked))
        np.testing.assert_array_equal(found.predictions[test], model.predict(asked))
    assert (found.predictions == tags).mean() > 0.8


def test_labels_of_a_test_fold_change_nothing_in_its_answers():
    tags, windows = tags_and_windows()
    split = make_tag_split(tags, folds=np.arange(60) % 3)
    other = tags.copy()
    test = split.test_fold == 1
    other[test] = 1 - other[test]
    model = ClipTagger("mfcc", cache=None)
    found, again = (cross_validate_tags(model, windows, each, split) for each in (tags, other))
    np.testing.assert_array_equal(found.probabilities[test], again.probabilities[test])
    np.testing.assert_array_equal(found.predictions[test], again.predictions[test])


def test_tags_that_a_fold_cannot_learn_are_constant_there():
    tags, windows = tags_and_windows()
    fold = np.arange(60) % 3
    tags[:, 2] = 0
    tags[np.flatnonzero(fold == 0)[:5], 2] = 1  # none for the other folds to learn from, when fold 0 is tested
    found = cross_validate_tags(ClipTagger("mfcc", cache=None), windows, tags, make_tag_split(tags, folds=fold))
    assert (found.probabilities[fold == 0, 2] == 0).all()
    assert (found.predictions[fold == 0, 2] == 0).all()
    assert (found.probabilities[fold == 1, 2] > 0).all()


def test_forests_in_threads_warn_of_nothing(recwarn):
    tags, windows = tags_and_windows(30)
    model = ClipTagger("mfcc", head=RandomForestClassifier(20, random_state=0), cache=None)
    cross_validate_tags(model, windows, tags, make_tag_split(tags), n_jobs=4)
    assert [str(each.message) for each in recwarn] == []
