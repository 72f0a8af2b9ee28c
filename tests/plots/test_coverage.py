"""Coverage against accuracy: the picture shows its numbers."""

import pytest

from l3clf.errors import ParameterError
from l3clf.plots import coverage, coverage_curve

LINE = [
    {"coverage": 0.5, "accuracy_accepted": 1.0, "unknown_accepted": 0.1},
    {"coverage": 1.0, "accuracy_accepted": 0.9, "unknown_accepted": 0.9},
]


def test_the_picture_shows_its_numbers():
    drawn = coverage._coverage_figure({"auto": coverage._numbers(LINE[::-1])}, "T", 0.75)
    axes = drawn.axes[0]
    right, rejected = axes.lines[:2]
    assert right.get_xydata().tolist() == [[0.5, 1.0], [1.0, 0.9]]
    assert rejected.get_ydata().tolist() == pytest.approx([0.9, 0.1])
    text = " ".join(axes.get_title(loc="left").split())
    assert text.startswith("T auto: at 75 % coverage 50 % of unknown clips are rejected, and 95 % of the accepted are")
    names = [each.get_text() for each in axes.get_legend().get_texts()]
    assert names == ["auto: accepted known clips right", "auto: unknown rejected"]


def test_a_picture_is_written(tmp_path):
    out = coverage_curve({"a": LINE, "b": LINE}, tmp_path / "new" / "x.png", title="two")
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({}, "lines: none"),
        ({"a": []}, "without points"),
        ({"a": [{**LINE[0], "coverage": 95}]}, "coverage=95"),
        ({"a": [{"coverage": 0.5}]}, "accuracy_accepted=None"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, lines, message):
    with pytest.raises(ParameterError, match=message):
        coverage_curve(lines, tmp_path / "x.png")
