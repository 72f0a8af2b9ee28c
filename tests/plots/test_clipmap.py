"""The map of embeddings keeps apart what is apart, and its labels do not overlap."""

from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pytest

from l3clf.errors import ParameterError
from l3clf.plots import (
    clipmap,
    embedding_map,
)

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


def test_a_sample_is_noted(monkeypatch):
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


def test_each_name_is_in_the_first_free_place():
    axes, _ = map_axes(150, clips=300)
    renderer, frame = axes.figure.canvas.get_renderer(), axes.get_window_extent()
    boxes = [mpl.text.Text.get_window_extent(text, renderer) for text in axes.texts]
    assert 20 < len(boxes) < 150
    for i, (text, box) in enumerate(zip(axes.texts, boxes, strict=True)):
        moved = np.array(text.get_position())
        steps = clipmap._steps(text.get_fontsize())
        chosen = int(np.flatnonzero((steps == moved).all(axis=1))[0])
        for step in steps[:chosen]:
            tried = box.translated(*((step - moved) * axes.figure.dpi / 72))
            inside = frame.x0 <= tried.x0 and tried.x1 <= frame.x1 and frame.y0 <= tried.y0 and tried.y1 <= frame.y1
            assert not inside or any(tried.overlaps(other) for other in boxes[:i])


@pytest.mark.parametrize(
    ("vectors", "names", "correct", "complaint"),
    [
        (np.zeros((3, 2)), ["a", "b"], None, r"shape \(3, 2\); expected \(2, d\)"),
        (np.zeros(2), ["a", "b"], None, r"expected \(2, d\)"),
        (np.zeros((0, 2)), [], None, r"expected \(0, d\)"),
        ([[1, 2], [3]], ["a", "b"], None, "rows of equal length"),
        ([[1, 2], [np.nan, 3]], ["a", "b"], None, "vectors: 1 rows are not finite"),
        (np.zeros((2, 2)), ["a", "b"], [True], "True or False for each of 2 clips"),
        (np.zeros((2, 2)), ["a", "b"], [0.5, 1], "True or False for each of 2 clips"),
    ],
)
def test_map_refuses_what_does_not_fit(tmp_path, vectors, names, correct, complaint):
    with pytest.raises(ParameterError, match=complaint):
        embedding_map(vectors, names, tmp_path / "x.png", correct=correct)
    assert not list(tmp_path.iterdir())


def test_map_refuses_a_negative_seed(tmp_path):
    with pytest.raises(ParameterError, match="seed=-1; expected"):
        embedding_map(np.eye(3), ["a", "b", "c"], tmp_path / "x.png", seed=-1)
