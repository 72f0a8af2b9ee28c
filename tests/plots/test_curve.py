"""The learning curve shows its numbers and the slope of the last doubling."""

import numpy as np
import pytest

from l3clf.errors import ParameterError
from l3clf.plots import (
    curve,
    learning_curve,
)

# ------------------------------------------------------------------------------------------- learning curve


def points(*pairs, half=0.02, **more):
    keys = ("clips_per_class", "accuracy", "accuracy_low", "accuracy_high")
    return [{**dict(zip(keys, (n, a, a - half, a + half), strict=True)), **more} for n, a in pairs]


@pytest.mark.parametrize(
    ("pairs", "slope", "detail"),
    [
        (
            [(4, 0.5), (8, 0.6), (16, 0.621)],
            "doubling the clips added 2.1 points",
            "(8 → 16 per class, the intervals overlap)",
        ),
        ([(4, 0.5), (16, 0.7)], "doubling the clips added 10.0 points", "(8 → 16 per class)"),
        ([(16, 0.7), (8, 0.8)], "doubling the clips lost 10.0 points", "(8 → 16 per class)"),
        ([(20, 0.5), (30, 0.6)], "1.5 times the clips added 10.0 points", "(20 → 30 per class)"),
        ([(5, 0.5)], "", None),
    ],
)
def test_slope_of_the_last_doubling(pairs, slope, detail):
    (series,) = curve._series(points(*pairs))
    assert series.slope == slope
    assert detail is None or series.detail == detail


def test_the_curve_shows_its_numbers():
    drawn = curve._curve_figure(curve._series(points((2, 0.4), (3, 0.5), (32, 0.7))), "T", 0.1)
    drawn.canvas.draw()
    axes = drawn.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["2", "3", "32"]
    assert axes.get_title(loc="left").startswith("T\ndoubling the clips added")
    assert [t.get_text() for t in axes.texts] == ["always the largest class: 10 %"]
    assert axes.get_legend() is None


def test_several_curves_show_their_slopes_in_the_legend():
    both = points((2, 0.4), (4, 0.5), label="mfcc") + points((2, 0.6), (4, 0.8), label="yamnet")
    axes = curve._curve_figure(curve._series(both), None, None).axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "mfcc: doubling the clips added 10.0 points",
        "yamnet: doubling the clips added 20.0 points",
    ]


def test_ticks_too_close_to_read_are_left_out_but_never_the_largest():
    assert curve._ticks(np.arange(1.0, 101))[-1] == 100
    assert len(curve._ticks(np.arange(1.0, 101))) < 16
    assert curve._ticks(np.array([7.0])) == [7.0]


@pytest.mark.parametrize(
    ("wrong", "floor", "complaint"),
    [
        ([], None, "give at least one"),
        ([3], None, "expected mappings"),
        ([{"clips_per_class": 4}], None, "accuracy=None; expected a number"),
        (points((4, float("nan"))), None, "accuracy=nan; expected a number"),
        (points((0, 0.5)), None, "clips above 0"),
        (points((4, 60)), None, "fractions from 0 to 1"),
        (points((4, 0.5), (4, 0.6)), None, "have the same clips_per_class"),
        (points((4, 0.5)), 10, "expected a fraction"),
    ],
)
def test_curve_refuses_what_does_not_fit(tmp_path, wrong, floor, complaint):
    with pytest.raises(ParameterError, match=complaint):
        learning_curve(wrong, tmp_path / "x.png", floor=floor)
    assert not list(tmp_path.iterdir())
