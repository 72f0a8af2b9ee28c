"""The pictures count what they should, are PNGs of sensible size, and read well."""

import os
import threading
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from l3clf.errors import ParameterError
from l3clf.plots import (
    clipmap,
    common,
    confusion,
    confusion_matrix,
    curve,
    embedding_map,
    learning_curve,
    per_class_recall,
    recall,
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


def test_given_classes_are_drawn_in_their_order_and_empty_rows_are_no_recall():
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
        ([], [], None, "at least one"),
        (["a", "b"], ["a"], None, "2 labels and y_pred 1"),
        ("ab", ["a", "b"], None, "y_true must be one-dimensional"),
        (5, ["a"], None, "y_true must be one-dimensional"),
        ([["a"], ["b", "c"]], ["a", "b"], None, "y_true must be one-dimensional"),
        (labels(1201), labels(1201), None, "1,201 classes cannot be drawn: at most 1,200"),
        (["a"], [["a"]], None, "y_pred must be one-dimensional"),
        (["a"], ["a"], "a", "classes must be one-dimensional"),
        (["a", "z"], ["a", "a"], ["a"], "not among classes: z"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, true, predicted, classes, complaint):
    with pytest.raises(ParameterError, match=complaint):
        confusion_matrix(true, predicted, tmp_path / "x.png", classes=classes)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------- what is drawn


def test_cells_say_counts_and_shares():
    assert cell_texts(TRUE, PREDICTED) == [
        *("3", "75 %", "1", "25 %", "0", "0"),
        *("0", "2", "50 %", "1", "25 %", "1", "25 %"),
    ]


def test_numbers_give_way_to_colour_with_many_classes():
    assert len(cell_texts(labels(20), labels(20))) == 400  # counts, without shares
    assert cell_texts(labels(31), labels(31)) == []


def test_axes_and_title_say_what_they_are():
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


def test_long_labels_keep_both_ends():
    left, right = (common.shortened(f"a class with a very long name that goes {way}") for way in ("left", "right"))
    assert left != right
    assert len(left) == len(right) == common.LABEL_CHARS
    assert common.shortened(" two\nlines ") == "two lines"
    assert common.shortened("") == "(empty)"


def test_letters_that_no_font_has_stay_distinguishable():
    letters = common.Lettering()
    letters.families = ["DejaVu Sans"]  # whatever else this machine has
    assert letters.text("Vögel собака") == "Vögel собака"
    assert letters.text("a\u72ac") == r"a\u72ac"


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
    with pytest.raises(ParameterError, match='order must be "given" or "similarity"'):
        confusion_matrix(true, predicted, tmp_path / "x", order="size")


def test_counts_alone_colour_by_count_and_leave_shares_out():
    drawn = confusion._confusion_figure(tally(["a"] * 8 + ["b"] * 2, ["a"] * 8 + ["b"] * 2), None, False)
    axes, bar = drawn.axes
    assert [text.get_text() for text in axes.texts] == ["8", "0", "0", "2"]
    np.testing.assert_allclose(axes.collections[0].get_array().ravel(), [1, 0, 0, 0.25])
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", "2", "4", "6", "8"]


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
        assert f"{count - 50} classes between these are left out" in [text.get_text() for text in axes.texts]
        assert "the 40 worst and the 10 best" in axes.get_title(loc="left")


def test_recall_refuses_what_does_not_fit(tmp_path):
    with pytest.raises(ParameterError, match="2 labels and y_pred 1"):
        per_class_recall(["a", "b"], ["a"], tmp_path / "x.png")


# ------------------------------------------------------------------------------------------- embedding map


def clouds(count, clips, seed=0):
    """Well separated classes in 12 dimensions, one after the other."""
    rng = np.random.default_rng(seed)
    members = np.arange(clips) % count
    return 8 * rng.normal(size=(count, 12))[members] + rng.normal(size=(clips, 12)), members


@pytest.mark.parametrize("clips", [6, 80])
def test_classes_that_are_apart_stay_apart(clips):
    vectors, members = clouds(3, clips)
    places, method = clipmap.project(vectors, 0)
    assert method == ("PCA" if clips < 10 else "t-SNE")
    assert places.shape == (clips, 2)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + np.where(np.eye(clips), np.inf, 0)
    np.testing.assert_array_equal(members[distances.argmin(axis=1)], members)


@pytest.mark.parametrize("vectors", [np.ones((1, 4)), np.ones((30, 4)), np.arange(30.0)[:, None], np.eye(30)[:, :2]])
def test_vectors_with_nothing_to_unfold_have_finite_places(vectors):
    places, method = clipmap.project(vectors, 0)
    assert method == "PCA"
    assert places.shape == (len(vectors), 2)
    assert np.isfinite(places).all()


def test_a_sample_keeps_every_class_and_its_share():
    members = np.repeat([0, 1, 2], [9000, 990, 10])
    chosen = clipmap.stratified_sample(members, 1000, 0)
    np.testing.assert_allclose(np.bincount(members[chosen]), [900, 99, 1], atol=2)
    assert len(np.unique(chosen)) == 1000
    np.testing.assert_array_equal(clipmap.stratified_sample(members, 20000, 0), np.arange(10000))
    singles = clipmap.stratified_sample(np.arange(100), 30, 0)
    assert len(singles) == 30


def test_a_sample_is_said(monkeypatch):
    monkeypatch.setattr(clipmap, "_MAX_CLIPS", 20)
    vectors, members = clouds(2, 50)
    clips = clipmap._map(vectors, list(members), np.ones(50, bool), 0)
    assert len(clips.places) == 20
    title = clipmap._map_figure(clips, None, marked=False).axes[0].get_title(loc="left")
    assert title == "50 clips, 2 classes; a stratified sample of 20 is shown"


def map_axes(count, clips=60, wrong=()):
    vectors, members = clouds(count, clips)
    correct = ~np.isin(np.arange(clips), wrong)
    names = [f"class {i:03d}" for i in members]
    place = {name: index for index, name in enumerate(sorted(set(names)))}
    laid = clipmap._ClipMap(
        vectors[:, :2], tuple(place), np.array([place[name] for name in names]), ~correct, "t-SNE", clips
    )
    drawn = clipmap._map_figure(laid, None, marked=bool(wrong))
    drawn.canvas.draw()
    return drawn.axes[0], vectors[:, :2]


def test_the_misclassified_are_ringed():
    axes, places = map_axes(3, wrong=(4, 7))
    np.testing.assert_allclose(axes.collections[-1].get_offsets(), places[[4, 7]])
    assert [t.get_text() for t in axes.get_legend().get_texts()][-1] == "misclassified"
    assert len(map_axes(3)[0].get_legend().get_texts()) == 3


def test_twenty_classes_have_twenty_looks_and_neighbours_differ_twice():
    looks = [clipmap._style(i) for i in range(20)]
    assert len(set(looks)) == 20
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in pairwise(looks))


@pytest.mark.parametrize("count", [21, 60])
def test_names_in_the_map_do_not_overlap_and_lie_in_it(count):
    axes, _ = map_axes(count, clips=3 * count)
    assert axes.get_legend() is None
    renderer = axes.figure.canvas.get_renderer()
    # Text.get_window_extent: an annotation's own includes its leader.
    boxes = [mpl.text.Text.get_window_extent(text, renderer) for text in axes.texts]
    assert len(boxes) > 0.8 * count
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    unnamed = count - len(boxes)
    assert (f"{unnamed} classes have no room" in axes.get_title(loc="left")) == (unnamed > 0)


@pytest.mark.parametrize(
    ("vectors", "names", "correct", "complaint"),
    [
        (np.zeros((3, 2)), ["a", "b"], None, r"shape \(2, d\), a row for each label, not \(3, 2\)"),
        (np.zeros(2), ["a", "b"], None, r"shape \(2, d\)"),
        (np.zeros((0, 2)), [], None, r"shape \(0, d\)"),
        ([[1, 2], [3]], ["a", "b"], None, "rows of equal length"),
        ([[1, 2], [np.nan, 3]], ["a", "b"], None, "1 rows of vectors are not finite"),
        (np.zeros((2, 2)), ["a", "b"], [True], "correct must be 2 times True or False"),
        (np.zeros((2, 2)), ["a", "b"], [0.5, 1], "correct must be 2 times True or False"),
    ],
)
def test_map_refuses_what_does_not_fit(tmp_path, vectors, names, correct, complaint):
    with pytest.raises(ParameterError, match=complaint):
        embedding_map(vectors, names, tmp_path / "x.png", correct=correct)
    assert not list(tmp_path.iterdir())


def test_map_refuses_a_negative_seed(tmp_path):
    with pytest.raises(ParameterError, match="seed must be"):
        embedding_map(np.eye(3), ["a", "b", "c"], tmp_path / "x.png", seed=-1)


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


def test_curve_says_its_numbers():
    drawn = curve._curve_figure(curve._series(points((2, 0.4), (3, 0.5), (32, 0.7))), "T", 0.1)
    drawn.canvas.draw()
    axes = drawn.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["2", "3", "32"]
    assert axes.get_title(loc="left").startswith("T\ndoubling the clips added")
    assert [t.get_text() for t in axes.texts] == ["always the largest class: 10 %"]
    assert axes.get_legend() is None


def test_several_curves_say_their_slopes_in_the_legend():
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
        ([], None, "at least one point"),
        ([3], None, "points must be mappings"),
        ([{"clips_per_class": 4}], None, "a number as accuracy, not None"),
        (points((4, float("nan"))), None, "a number as accuracy, not nan"),
        (points((0, 0.5)), None, "clips above 0"),
        (points((4, 60)), None, "fractions of 0 to 1"),
        (points((4, 0.5), (4, 0.6)), None, "two points with the same clips_per_class"),
        (points((4, 0.5)), 10, "floor must be a fraction"),
    ],
)
def test_curve_refuses_what_does_not_fit(tmp_path, wrong, floor, complaint):
    with pytest.raises(ParameterError, match=complaint):
        learning_curve(wrong, tmp_path / "x.png", floor=floor)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------- all of them

STRANGE = ["犬の声", "$x^2$", "$", "собака", "a" * 300, "two\nlines", "", "🐕", "\x00", "last"]


def draw_recall(out):
    return per_class_recall(STRANGE, STRANGE[::-1], out, title="$ 犬 " + "very long " * 30)


def draw_map(out):
    vectors, members = clouds(len(STRANGE), 40)
    names = [STRANGE[i] for i in members]
    return embedding_map(vectors, names, out, correct=members != 3, title="$ 犬 " + "very long " * 30)


def draw_map_with_names(out):
    vectors, members = clouds(30, 60)
    return embedding_map(vectors, [f"{STRANGE[i % 10]} {i}" for i in members], out)


def draw_curve(out):
    lines = [point for i, name in enumerate(STRANGE) for point in points((2, 0.4), (4, 0.5 + i / 40), label=name)]
    return learning_curve(lines, out, title="$ 犬 " + "very long " * 30, floor=0.1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("draw", [draw_recall, draw_map, draw_map_with_names, draw_curve])
def test_pictures_are_pngs_of_sensible_size_with_the_same_bytes_each_time(tmp_path, draw):
    before = dict(mpl.rcParams)
    first, second = (draw(tmp_path / "deep" / name).read_bytes() for name in "ab")
    assert first[:8] == PNG
    assert first == second
    height, width = imread(tmp_path / "deep" / "a").shape[:2]
    assert 300 < height < 2000
    assert 700 < width < 1600
    assert dict(mpl.rcParams) == before
    assert sorted(os.listdir(tmp_path / "deep")) == ["a", "b"]  # noqa: PTH208
