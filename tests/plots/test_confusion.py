"""The confusion matrix counts what it should, is a PNG of sensible size, and reads well."""

import os
import threading
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from l3clf.errors import ParameterError
from l3clf.plots import (
    confusion,
    confusion_matrix,
    similar_classes,
)

PNG = b"\x89PNG\r\n\x1a\n"
TRUE = ["cat"] * 4 + ["dog"] * 4
PREDICTED = ["cat", "cat", "cat", "dog", "dog", "dog", "unknown", "wolf"]


def tally(true, predicted, classes=None):
    return confusion._tally(list(true), list(predicted), confusion._row_order(list(true), classes))


def figure(true, predicted, classes=None, title=None):
    drawn = confusion._confusion_figure(tally(true, predicted, classes), title)
    drawn.canvas.draw()
    return drawn


def cell_texts(true, predicted):
    return [text.get_text() for text in figure(true, predicted).axes[0].texts]


def labels(count):
    return [f"class {i:03d}" for i in range(count)]


# ------------------------------------------------------------------------------------------- what is counted


def test_counts_of_a_small_case_by_hand():
    matrix = tally(TRUE, PREDICTED)
    assert matrix.rows == ("cat", "dog")
    assert matrix.columns == ("cat", "dog", "unknown", "(other)")
    np.testing.assert_array_equal(matrix.counts, [[3, 1, 0, 0], [0, 2, 1, 1]])
    np.testing.assert_allclose(matrix.recalls, [[0.75, 0.25, 0, 0], [0, 0.5, 0.25, 0.25]])
    assert matrix.summary == "accuracy 62.5 % (5 of 8 clips)"


def test_there_is_no_extra_column_without_need():
    assert tally(TRUE, TRUE).columns == ("cat", "dog")
    assert tally(["unknown", "a"], ["a", "unknown"]).columns == ("a", "unknown")
    assert tally(["a"], ["unknown"]).columns == ("a", "unknown")
    assert tally(["a"], ["b"]).columns == ("a", "(other)")


def test_given_classes_are_drawn_in_order_and_empty_rows_have_no_recall():
    matrix = tally(["b", "a"], ["b", "c"], classes=["c", "b", "a"])
    assert matrix.rows == matrix.columns == ("c", "b", "a")
    assert np.isnan(matrix.recalls[0]).all()
    np.testing.assert_array_equal(matrix.counts, [[0, 0, 0], [0, 1, 0], [1, 0, 0]])


def test_numbers_are_sorted_by_value_and_compared_as_text():
    matrix = tally(np.array([10, 9, 2]), np.array(["10", "2", "2"]))
    assert matrix.rows == ("2", "9", "10")
    assert np.trace(matrix.counts) == 2
    assert tally([1.5, "a"], ["a", "a"]).rows == ("1.5", "a")
    assert tally([1, 1.0, True], [1, 1.0, True]).rows == ("1", "1.0", "True")


@pytest.mark.parametrize(
    ("true", "predicted", "classes", "complaint"),
    [
        ([], [], None, "0 and 0 labels"),
        (["a", "b"], ["a"], None, "2 and 1 labels"),
        ("ab", ["a", "b"], None, "y_true: not one-dimensional"),
        (5, ["a"], None, "y_true: not one-dimensional"),
        ([["a"], ["b", "c"]], ["a", "b"], None, "y_true: not one-dimensional"),
        (labels(1201), labels(1201), None, "1,201 classes; a confusion matrix has room for 1,200"),
        (["a"], [["a"]], None, "y_pred: not one-dimensional"),
        (["a"], ["a"], "a", "classes: not one-dimensional"),
        (["a", "z"], ["a", "a"], ["a"], "classes: no z"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, true, predicted, classes, complaint):
    with pytest.raises(ParameterError, match=complaint):
        confusion_matrix(true, predicted, tmp_path / "x.png", classes=classes)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------- what is drawn


def test_cells_show_counts_and_shares():
    assert cell_texts(TRUE, PREDICTED) == [
        *("3", "75 %", "1", "25 %", "0", "0"),
        *("0", "2", "50 %", "1", "25 %", "1", "25 %"),
    ]


def test_numbers_give_way_to_colour_with_many_classes():
    assert len(cell_texts(labels(20), labels(20))) == 400  # counts, without shares
    assert cell_texts(labels(31), labels(31)) == []


def test_axes_and_title_are_labelled():
    axes = figure(TRUE, PREDICTED, title="Fold $1$").axes[0]
    assert axes.get_xlabel() == "predicted class"
    assert axes.get_ylabel() == "true class"
    assert axes.get_title(loc="left") == "Fold $1$\naccuracy 62.5 % (5 of 8 clips)"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog"]


@pytest.mark.parametrize("count", [2, 10, 25, 60])
def test_labels_do_not_overlap_and_lie_in_the_picture(count):
    drawn = figure(labels(count), labels(count))
    axes = drawn.axes[0]
    # Labels at 45 degrees have overlapping boxes but not overlapping lines: rows are what can be compared.
    boxes = [t.get_window_extent() for t in axes.get_yticklabels()]
    tops = sorted((box.y0, box.y1) for box in boxes)
    assert all(low[1] <= high[0] + 1.5 for low, high in pairwise(tops))
    assert max(box.x1 for box in boxes) <= axes.get_window_extent().x0


@pytest.mark.parametrize("count", [2, 10, 20])
def test_numbers_stay_in_their_cells(count):
    true = np.repeat(labels(count), 1234)
    drawn = figure(true, true)
    cell = drawn.axes[0].get_window_extent().width / count
    assert all(text.get_window_extent().width <= cell for text in drawn.axes[0].texts)


def test_very_many_classes_get_a_bounded_picture_and_every_other_label():
    matrix = tally(labels(300), labels(300))
    drawn = confusion._confusion_figure(matrix, None)
    assert max(drawn.get_size_inches()) <= 16
    assert 100 <= len(drawn.axes[0].get_yticks()) <= 150


def test_ink_contrasts_with_every_colour_of_the_map():
    def luminance(colour):
        return sum(w * c**2.2 for w, c in zip((0.2126, 0.7152, 0.0722), colour, strict=False))

    for colour in mpl.colormaps[confusion._COLOURS](np.linspace(0, 1, 50)):
        ink = luminance(mpl.colors.to_rgb(confusion._ink_on(colour)))
        light, dark = sorted([luminance(colour), ink], reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 3.9


def test_colour_map_darkens_steadily():
    shades = mpl.colormaps[confusion._COLOURS](np.linspace(0, 1, 64))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(shades) < 0).all()


# ------------------------------------------------------------------------------------------- the file


@pytest.mark.parametrize("count", [1, 2, 10, 40])
def test_picture_is_a_png_of_sensible_size(tmp_path, count):
    out = confusion_matrix(labels(count), labels(count)[::-1], tmp_path / "deep" / "x.png")
    assert out.read_bytes()[:8] == PNG
    height, width = imread(out).shape[:2]
    assert 200 < height < 3000
    assert 300 < width < 3000


@pytest.mark.filterwarnings("error")
def test_strange_labels_are_drawn_without_a_warning(tmp_path):
    names = ["犬の声", "$x^2$", "$", "собака", "a" * 300, "two\nlines", "", "🐕", "\x00"]
    confusion_matrix(names, names, tmp_path / "x.png", title="$ 犬 " + "very long " * 30)
    assert imread(tmp_path / "x.png").shape[1] < 3000


def test_same_labels_give_the_same_bytes_and_touch_no_setting(tmp_path):
    before = dict(mpl.rcParams)
    first, second = (confusion_matrix(TRUE, PREDICTED, tmp_path / name).read_bytes() for name in "ab")
    assert first == second
    assert dict(mpl.rcParams) == before
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]  # noqa: PTH208


def test_threads_do_not_disturb_each_other(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    threads = [threading.Thread(target=confusion_matrix, args=(TRUE, PREDICTED, path)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.read_bytes() for path in paths}) == 1


def test_what_cannot_be_written_leaves_the_old_picture_alone(tmp_path, monkeypatch):
    out = tmp_path / "x.png"
    out.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ParameterError, match=r"x\.png: cannot be written \(No space left"):
        confusion_matrix(TRUE, PREDICTED, out)
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def test_folder_in_the_way_is_named(tmp_path):
    with pytest.raises(ParameterError, match="cannot be written"):
        confusion_matrix(TRUE, PREDICTED, tmp_path)


# ------------------------------------------------------------------------------------------- order and colour


def blocks(n_blocks, size, seed=3):
    """Classes that are confused within their block alone, shuffled; with the block of each."""
    block = np.random.default_rng(seed).permutation(np.repeat(np.arange(n_blocks), size))
    rates = np.where(block[:, None] == block[None, :], 0.3 / (size - 1), 0.0)
    np.fill_diagonal(rates, 0.7)
    return rates, block


def test_similar_classes_stand_together():
    rates, block = blocks(4, 5)
    order = confusion.similarity_order(rates)
    assert sorted(order) == list(range(20))
    assert np.count_nonzero(np.diff(block[order])) == 3  # each block in one piece
    np.testing.assert_array_equal(order, confusion.similarity_order(rates))


def test_a_chain_of_similar_classes_is_found_again():
    chain = np.random.default_rng(0).permutation(9)
    rates = np.eye(9)
    for a, b in pairwise(chain):
        rates[a, b] = rates[b, a] = 0.2
    found = confusion.similarity_order(rates)
    steps = np.abs(np.diff(np.argsort(chain)[found]))
    assert (steps == 1).sum() >= 7  # average linkage may break a chain, but not shuffle it


def test_order_stays_where_nothing_is_confused():
    for rates in (np.eye(5), np.full((3, 3), np.nan), np.array([[0.5, 0.5], [0.5, 0.5]]), np.eye(1)):
        np.testing.assert_array_equal(confusion.similarity_order(rates), np.arange(len(rates)))


def test_reordering_moves_rows_columns_and_counts_together():
    before = tally(["a", "b", "c"], ["b", "unknown", "c"])
    after = before.reordered(np.array([2, 0, 1]))
    assert after.rows == ("c", "a", "b")
    assert after.columns == ("c", "a", "b", "unknown")
    np.testing.assert_array_equal(after.counts, [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert after.summary == before.summary


def test_order_by_similarity_is_another_picture_and_an_unknown_one_is_refused(tmp_path):
    true, predicted = ["a", "b", "c", "d"] * 2, ["a", "b", "c", "d", "c", "d", "a", "b"]
    given, similar = (
        confusion_matrix(true, predicted, tmp_path / order, order=order).read_bytes()
        for order in ("given", "similarity")
    )
    assert given != similar
    with pytest.raises(ParameterError, match="order='size'; expected 'given' or 'similarity'"):
        confusion_matrix(true, predicted, tmp_path / "x", order="size")


def test_counts_alone_colour_by_count_and_leave_shares_out():
    drawn = confusion._confusion_figure(tally(["a"] * 8 + ["b"] * 2, ["a"] * 8 + ["b"] * 2), None, False)
    axes, bar = drawn.axes
    assert [text.get_text() for text in axes.texts] == ["8", "0", "0", "2"]
    np.testing.assert_allclose(axes.collections[0].get_array().ravel(), [1, 0, 0, 0.25])
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", "2", "4", "6", "8"]


def test_an_order_found_once_gives_the_picture_that_finds_it_itself(tmp_path):
    rng = np.random.default_rng(0)
    true = [f"class {i}" for i in rng.integers(0, 12, 200)]
    predicted = [name if rng.random() < 0.5 else rng.choice([*true[:40], "unknown"]) for name in true]
    classes = similar_classes(true, predicted)
    assert classes != sorted(classes)
    once = confusion_matrix(true, predicted, tmp_path / "once.png", classes=classes)
    itself = confusion_matrix(true, predicted, tmp_path / "itself.png", order="similarity")
    assert once.read_bytes() == itself.read_bytes()
