"""What all pictures have in common: labels, letters, files of sensible size with the same bytes each time."""

import os

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from l3clf.plots import (
    common,
    embedding_map,
    learning_curve,
    per_class_recall,
)

PNG = b"\x89PNG\r\n\x1a\n"


# ------------------------------------------------------------------------------------------- embedding map


def clouds(count, clips, seed=0):
    """Well separated classes in 12 dimensions, one after the other."""
    rng = np.random.default_rng(seed)
    members = np.arange(clips) % count
    return 8 * rng.normal(size=(count, 12))[members] + rng.normal(size=(clips, 12)), members


# ------------------------------------------------------------------------------------------- learning curve


def points(*pairs, half=0.02, **more):
    keys = ("clips_per_class", "accuracy", "accuracy_low", "accuracy_high")
    return [{**dict(zip(keys, (n, a, a - half, a + half), strict=True)), **more} for n, a in pairs]


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
