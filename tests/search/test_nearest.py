"""The nearest rows: equal to sorting every cosine, whatever the sizes of blocks."""

import numpy as np
import pytest

from l3clf.search import nearest
from l3clf.search.nearest import nearest_groups, nearest_rows, unit_rows


def unit(n, size=8, seed=0):
    return unit_rows(np.random.default_rng(seed).normal(0, 1, (n, size)).astype(np.float32))


def sorted_rows(query, rows, n):
    cosines = rows.astype(np.float64) @ query.astype(np.float64)
    return np.argsort(-cosines, kind="stable")[:n], cosines


@pytest.mark.parametrize("at_once", [1, 7, 1 << 22])
@pytest.mark.parametrize("n", [1, 5, 300])
def test_rows_are_those_of_a_full_sort(at_once, n, monkeypatch):
    monkeypatch.setattr(nearest, "MAX_PRODUCT", at_once)
    monkeypatch.setattr(nearest, "MAX_QUERIES", 3)
    rows, queries = unit(200), unit(5, seed=1)
    for query, (places, values) in zip(queries, nearest_rows(queries, rows, n), strict=True):
        expected, cosines = sorted_rows(query, rows, n)
        assert places.tolist() == expected.tolist()
        np.testing.assert_allclose(values, cosines[expected], atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 450, 1 << 22])
def test_groups_are_those_of_a_full_sort(at_once, monkeypatch):
    monkeypatch.setattr(nearest, "MAX_PRODUCT", at_once)
    rows, queries = unit(200), unit(4, seed=1)
    starts = np.array([0, 1, 50, 51, 120])
    owner = np.searchsorted(starts, np.arange(200), side="right")
    for query, (places, _) in zip(queries, nearest_groups(queries, rows, starts, 4), strict=True):
        order, _ = sorted_rows(query, rows, 200)
        _, first = np.unique(owner[order], return_index=True)
        assert places.tolist() == order[np.sort(first)][:4].tolist()


def test_of_equal_rows_the_first_comes_first():
    rows = np.repeat(unit(1), 20, axis=0)
    ((places, values),) = nearest_rows(rows[:1], rows, 3)
    assert places.tolist() == [0, 1, 2]
    assert values == pytest.approx([1, 1, 1])


def test_hidden_rows_are_not_found():
    rows = unit(6)
    ((places, _),) = nearest_rows(rows[:1], rows, 6, [np.array([0, 3])])
    assert sorted(places.tolist()) == [1, 2, 4, 5]
    ((places, _),) = nearest_groups(rows[:1], rows, np.array([0, 1, 3]), 6, [np.array([0, 3, 4, 5])])
    assert len(places) == 1
    assert places[0] in (1, 2)


def test_nothing_to_find():
    none = np.zeros((0, 8), np.float32)
    assert [len(places) for places, _ in nearest_rows(unit(2), none, 3)] == [0, 0]
    assert [len(places) for places, _ in nearest_groups(unit(2), none, np.zeros(0, int), 3)] == [0, 0]
    assert nearest_rows(none, unit(2), 3) == []


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_rows_become_as_long_as_one(scale):
    found = unit_rows(np.array([[3, 4], [0, 0]], np.float32) * np.float32(scale))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0]], rtol=1e-6)
