"""The search for near pairs gives the pairs that comparing each clip with each other gives."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from l3clf import Clip
from l3clf.evaluate import find_duplicates, leakage, make_split, near_pairs
from l3clf.evaluate.near_pairs import MAX_TWINS


def first_ten(close, fold):
    """Each clip with the first ten in other folds that are close to it, by comparing all with all."""
    pairs = set()
    for i, row in enumerate(close & (fold[:, np.newaxis] != fold)):
        pairs |= {(min(i, j), max(i, j)) for j in np.flatnonzero(row)[:MAX_TWINS].tolist()}
    return pairs


def unordered(pairs):
    return {(min(i, j), max(i, j)) for i, j in pairs}


def sounds(kind, n, size):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n, size))
    if kind == "classes":
        vectors = 4 * vectors[rng.integers(0, 8, n)] + rng.standard_normal((n, size))
    if kind == "silence":
        vectors[: n // 3] = vectors[0] + 1e-3 * vectors[: n // 3]
    twins, of = rng.choice(n, (2, n // 4), replace=False)
    vectors[twins] = vectors[of] + rng.uniform(0, 0.4, (n // 4, 1)) * rng.standard_normal((n // 4, size))
    return vectors, rng.integers(0, 3, n)


@pytest.mark.parametrize("kind", ["noise", "classes", "silence"])
def test_near_pairs_are_those_of_all_comparisons(kind, monkeypatch):
    vectors, fold = sounds(kind, 400, 24)
    limit = 1.5
    expected = first_ten(cdist(vectors, vectors) < limit, fold)
    assert len(expected) > 20
    monkeypatch.setattr(near_pairs, "COLUMNS_AT_ONCE", 100)
    monkeypatch.setattr(near_pairs, "BLOCK_CELLS", 30_000)  # several blocks of rows and of columns
    assert unordered(near_pairs.near_pairs(vectors, limit, fold)) == expected
    monkeypatch.setattr(near_pairs, "MAX_COMPARED", 0)
    assert unordered(near_pairs.near_pairs(vectors, limit, fold)) == expected


def test_a_crowd_is_told_and_the_rest_of_the_clips_are_searched():
    vectors, fold = sounds("silence", 400, 24)
    found, crowded = near_pairs._hashed(vectors, 1.5, fold, np.random.default_rng(0))
    assert 100 < crowded.sum() < 200
    assert len(found[0]) > 20


def test_a_pair_at_the_limit_shares_a_bucket_in_one_of_fourteen_tables():
    rng = np.random.default_rng(0)
    shift = rng.standard_normal((20_000, 16))
    shift /= np.linalg.norm(shift, axis=1, keepdims=True)
    where = rng.random((20_000, near_pairs.DIRECTIONS))
    moved = (shift @ rng.standard_normal((16, near_pairs.DIRECTIONS))) / near_pairs.CELL
    together = (np.floor(where) == np.floor(where + moved)).all(axis=1).mean()
    assert (1 - together) ** near_pairs._n_tables() < 1e-3  # one draw of the directions differs from the mean


def test_pieces_of_one_file_overlap_as_all_comparisons_say(monkeypatch):
    monkeypatch.setattr(leakage, "PIECES_AT_ONCE", 50)
    rng = np.random.default_rng(0)
    start_s = rng.permutation(np.arange(300)) * 0.5
    end_s = start_s + rng.choice([0.5, 1.0, 2.0, 30.0], 300)
    end_s[:3] = np.inf
    fold = rng.integers(0, 3, 300)
    expected = first_ten((start_s[:, np.newaxis] < end_s) & (start_s < end_s[:, np.newaxis]), fold)
    clips = [Clip("a.wav", s, None if np.isinf(e) else e) for s, e in zip(start_s, end_s, strict=True)]
    split = make_split(np.arange(300) % 2, folds=fold)
    found = find_duplicates(clips, ["a"] * 300, np.zeros((300, 2)), split)
    assert {(pair.first, pair.second) for pair in found} == expected
