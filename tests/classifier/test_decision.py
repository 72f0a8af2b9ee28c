"""From windows to one decision: known answers and what must hold for all."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from l3clf.classifier.decision import (
    FAILED,
    POOLINGS,
    PROBABILITY_POOLINGS,
    UNKNOWN,
    VECTOR_POOLINGS,
    above_gate,
    check_pooling,
    decide,
    pool_probabilities,
    pool_vectors,
    pool_windows,
)
from l3clf.errors import ParameterError

CLASSES = np.array(["cat", "dog", "rain"])
SHAPES = st.tuples(st.integers(1, 8), st.integers(1, 5))
VECTORS = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(-100, 100, width=32)))


@st.composite
def probabilities(draw):
    rows = draw(arrays(np.float64, (draw(st.integers(1, 8)), 3), elements=st.integers(1, 100).map(float)))
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [2, 4, 0]), ("mean+std", [2, 4, 0, 1, 2, 3]), ("max", [3, 6, 3])],
)
def test_known_pools_of_vectors(pooling, expected):
    pooled = pool_vectors(np.array([[1, 2, -3], [3, 6, 3]], np.float32), pooling)
    assert pooled.dtype == np.float32
    assert pooled.tolist() == expected


@pytest.mark.parametrize("pooling", VECTOR_POOLINGS)
@given(vectors=VECTORS, seed=st.integers(0, 9))
def test_the_order_of_windows_does_not_matter(pooling, vectors, seed):
    shuffled = np.random.default_rng(seed).permutation(vectors)
    np.testing.assert_allclose(pool_vectors(shuffled, pooling), pool_vectors(vectors, pooling), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("pooling", VECTOR_POOLINGS)
@given(vectors=VECTORS)
def test_one_window_pools_to_itself(pooling, vectors):
    pooled = pool_vectors(vectors[:1], pooling)
    assert pooled[: vectors.shape[1]].tolist() == vectors[0].tolist()
    assert not pooled[vectors.shape[1] :].any()


def test_the_mean_of_many_windows_is_taken_in_double_precision():
    vectors = np.full((200_000, 1), 16_777_217 / 2**24, np.float32)
    vectors[0] = 1000
    exact = vectors.astype(np.float64).mean()
    assert pool_vectors(vectors, "mean")[0] == np.float32(exact)


def test_known_pools_of_probabilities():
    answers = np.array([[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.5, 0.4, 0.1]])
    assert pool_probabilities(answers, "probability").tolist() == pytest.approx([0.4, 1.7 / 3, 0.1 / 3])
    assert pool_probabilities(answers, "vote").tolist() == pytest.approx([2 / 3, 1 / 3, 0])


@pytest.mark.parametrize("pooling", PROBABILITY_POOLINGS)
@given(answers=probabilities())
def test_pooled_probabilities_are_probabilities(pooling, answers):
    pooled = pool_probabilities(answers, pooling)
    assert pooled.shape == (3,)
    assert (pooled >= 0).all()
    assert pooled.sum() == pytest.approx(1)


def test_a_tie_of_votes_goes_to_the_first_class():
    pooled = pool_probabilities(np.array([[0.4, 0.4, 0.2]]), "vote")
    assert pooled.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (None, [True] * 4),
        (-200.0, [True] * 4),
        (-60.0, [False, False, True, True]),
        (-59.9, [False, False, False, True]),
        (0.0, [False] * 4),
    ],
)
def test_windows_at_the_gate_are_kept(gate, expected):
    found = above_gate(np.array([-200, -60.1, -60, -10], np.float32), gate)
    assert found.dtype == np.bool_
    assert found.tolist() == expected


LEVELS = st.lists(st.integers(-80, -10), max_size=30).map(lambda levels: np.array(levels, np.float32))


def test_a_gate_stays_open_within_its_hysteresis():
    levels = np.array([-35, -30, -34.9, -40, -40.1, -30.1, -29, -200], np.float32)
    assert above_gate(levels, -30, 10).tolist() == [False, True, True, True, False, False, True, False]
    assert above_gate(levels, -30).tolist() == [False, True, False, False, False, False, True, False]
    assert above_gate(levels[:1], -30, 10, is_open=True).tolist() == [True]
    assert above_gate(levels, None, 10).all()
    assert above_gate(levels[:0], -30, 10).tolist() == []


@given(levels=LEVELS, gate=st.integers(-70, -20), hysteresis=st.integers(0, 30), is_open=st.booleans())
def test_the_gate_is_the_one_that_a_loop_over_windows_gives(levels, gate, hysteresis, is_open):
    expected, state = [], is_open
    for level in levels:
        state = level >= gate or (state and level >= gate - hysteresis and hysteresis > 0)
        expected.append(bool(state))
    assert above_gate(levels, gate, hysteresis, is_open=is_open).tolist() == expected


@given(levels=LEVELS, cut=st.integers(0, 30), hysteresis=st.integers(0, 30))
def test_a_gate_goes_on_in_the_next_part_of_a_stream(levels, cut, hysteresis):
    first = above_gate(levels[:cut], -40, hysteresis)
    rest = above_gate(levels[cut:], -40, hysteresis, is_open=bool(first.any() and first[-1]))
    assert [*first, *rest] == above_gate(levels, -40, hysteresis).tolist()


@pytest.mark.parametrize(
    ("row", "threshold", "answer"),
    [
        ([0.2, 0.5, 0.3], None, "dog"),
        ([0.2, 0.5, 0.3], 0.0, "dog"),
        ([0.2, 0.5, 0.3], 0.5, "dog"),
        ([0.2, 0.5, 0.3], 0.51, UNKNOWN),
        ([0.0, 0.0, 1.0], 1.0, "rain"),
        ([0.4, 0.4, 0.2], None, "cat"),
        ([0.0, 0.0, 0.0], None, UNKNOWN),
        ([0.0, 0.0, 0.0], 0.5, UNKNOWN),
        ([math.nan, math.nan, math.nan], None, FAILED),
        ([math.nan, 0.5, 0.5], 0.9, FAILED),
    ],
)
def test_known_decisions(row, threshold, answer):
    certain = [1.0, 0.0, 0.0]
    assert decide(np.array([certain, row]), CLASSES, threshold).tolist() == ["cat", answer]


@given(answers=probabilities(), threshold=st.none() | st.floats(0, 1))
def test_a_decision_is_the_most_probable_class_or_unknown(answers, threshold):
    for row, answer in zip(answers, decide(answers, CLASSES, threshold), strict=True):
        expected = CLASSES[row.argmax()] if row.max() >= (threshold or 0) else UNKNOWN
        assert answer == expected


@pytest.mark.parametrize("classes", [np.array([3, 5, 7]), np.array([True, False, True]), CLASSES])
def test_decisions_keep_the_type_of_the_classes(classes):
    sure = np.eye(3)
    assert decide(sure, classes, None).dtype == classes.dtype
    mixed = decide(np.vstack([sure, np.zeros(3), np.full(3, np.nan)]), classes, None)
    strings = classes.dtype.kind == "U"
    assert mixed.dtype.kind == ("U" if strings else "O")
    assert mixed.tolist() == [*classes.tolist(), UNKNOWN, FAILED if strings else None]
    assert type(mixed.tolist()[0]) is type(classes.tolist()[0])


def test_no_clips_give_no_decisions():
    assert decide(np.zeros((0, 3)), CLASSES, 0.5).tolist() == []


@pytest.mark.parametrize("pooling", POOLINGS)
def test_known_poolings_are_accepted(pooling):
    check_pooling(pooling)


@pytest.mark.parametrize("pooling", ["median", "Mean", "", None, 1, ["mean"], np.array(["mean", "max"]), {}])
def test_unknown_poolings_are_refused(pooling):
    with pytest.raises(ParameterError, match=r"pooling=.*; expected one of 'mean', 'mean\+std', 'max', 'probability'"):
        check_pooling(pooling)


def test_poolings_of_vectors_and_of_probabilities_are_kept_apart():
    with pytest.raises(ParameterError, match=r"pooling='vote'; expected one of 'mean', 'mean\+std', 'max'$"):
        pool_vectors(np.ones((2, 3), np.float32), "vote")
    with pytest.raises(ParameterError, match=r"pooling='mean'; expected one of 'probability', 'vote'$"):
        pool_probabilities(np.ones((2, 3)), "mean")


@given(
    n=st.integers(0, 12),
    windows=st.integers(1, 15),
    last=st.integers(0, 12),
    learned=st.sampled_from([None, True, False]),
)
def test_a_stream_decides_about_its_last_windows(n, windows, last, learned):
    rng = np.random.default_rng(n)
    vectors, levels, above = rng.normal(size=(n, 3)), rng.choice([-150.0, -20.0], n), rng.random(n) < 0.6
    pools = pool_windows(vectors, levels, above, windows, learned)
    assert len(pools) == n
    for k, pool in enumerate(pools):
        about = range(max(0, k - windows + 1), k + 1)
        silent = learned is False and all(levels[i] < -100 for i in about)
        assert pool.tolist() == [vectors[i].tolist() for i in about if above[i] and not silent]
    last = min(n, last)
    assert list(map(np.ndarray.tolist, pool_windows(vectors, levels, above, windows, learned, last))) == [
        pool.tolist() for pool in pools[n - last :]
    ]
