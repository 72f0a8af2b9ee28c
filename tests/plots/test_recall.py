"""Recall per class: counted, sorted worst first, with the published Wilson interval."""

import numpy as np
import pytest

from l3clf.errors import ParameterError
from l3clf.plots import (
    per_class_recall,
    recall,
)

# ------------------------------------------------------------------------------------------- recall


@pytest.mark.parametrize(
    ("found", "clips", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_the_published_one(found, clips, low, high):
    np.testing.assert_allclose(recall.wilson_interval(found, clips), (low, high), atol=5e-5)
    mirrored = recall.wilson_interval(clips - found, clips)
    np.testing.assert_allclose(mirrored, (1 - high, 1 - low), atol=5e-5)


def test_wilson_interval_holds_the_share_and_stays_in_bounds():
    for clips in (1, 2, 7, 1000):
        for found in range(clips + 1):
            low, high = recall.wilson_interval(found, clips)
            assert 0 <= low <= found / clips <= high <= 1


def test_recalls_are_counted_and_sorted_worst_first():
    found = recall._recalls(["b", "a", "c", "c", "c", "c"], ["b", "z", "c", "c", "a", "a"])
    assert [(r.label, r.found, r.clips) for r in found] == [("a", 0, 1), ("c", 2, 4), ("b", 1, 1)]
    axes = recall._recall_figure(found, "T").axes[0]
    assert axes.get_title(loc="left") == "T\ndashed: balanced accuracy 50.0 %, 3 classes\nbars: 95 % Wilson intervals"
    assert axes.lines[0].get_xdata() == [0.5, 0.5]
    assert [text.get_text() for text in axes.texts] == ["0 %   0 of 1", "50 %   2 of 4", "100 %   1 of 1"]


@pytest.mark.parametrize(("count", "rows"), [(60, 60), (61, 51), (500, 51)])
def test_many_classes_show_the_worst_and_the_best(count, rows):
    found = [recall._Recall(f"class {i:03d}", i, 1000) for i in range(count)]
    shown = recall._shown(found)
    assert len(shown) == rows
    if rows < count:
        assert shown[:40] + shown[41:] == found[:40] + found[-10:]
        axes = recall._recall_figure(found, None).axes[0]
        assert f"{count - 50} classes in between are not shown" in [text.get_text() for text in axes.texts]
        assert "the 40 worst and the 10 best" in axes.get_title(loc="left")


def test_recall_refuses_what_does_not_fit(tmp_path):
    with pytest.raises(ParameterError, match="2 and 1 labels"):
        per_class_recall(["a", "b"], ["a"], tmp_path / "x.png")
