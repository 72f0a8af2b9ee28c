"""The picture of average precision by tag: read back, and with more tags than fit."""

import io

import numpy as np
import pytest
from matplotlib import image

from l3clf.errors import ParameterError
from l3clf.plots import per_tag_precision


def drawn(path, n, narrow=None, precisions=None):
    values = np.linspace(0.2, 1, n) if precisions is None else precisions
    intervals = np.stack([values - 0.1, np.minimum(values + 0.1, 1)], axis=1)
    tags = [f"tag {k}" for k in range(n)]
    return per_tag_precision(tags, values, intervals, np.full(n, 3), 30, path, title="a title", narrow=narrow)


def test_the_same_arguments_give_the_same_bytes_and_rows_take_room(tmp_path):
    few, again, more = (drawn(tmp_path / f"{k}.png", n) for k, n in enumerate((4, 4, 12)))
    assert few.read_bytes() == again.read_bytes()
    assert image.imread(more).shape[0] > image.imread(few).shape[0]


def test_of_many_tags_the_worst_and_the_best_are_shown(tmp_path):
    assert image.imread(drawn(tmp_path / "a.png", 61)).shape[0] < image.imread(drawn(tmp_path / "b.png", 60)).shape[0]


def test_a_phone_has_a_picture_of_its_own(tmp_path):
    narrow = io.BytesIO()
    drawn(tmp_path / "wide.png", 4, narrow)
    narrow.seek(0)
    assert image.imread(narrow).shape[1] < image.imread(tmp_path / "wide.png").shape[1]


def test_tags_without_a_clip_are_left_out(tmp_path):
    known = drawn(tmp_path / "a.png", 3, precisions=np.array([0.4, 0.9, np.nan]))
    assert known.is_file()
    with pytest.raises(ParameterError, match="precisions: 2 tags without an average precision"):
        drawn(tmp_path / "b.png", 2, precisions=np.full(2, np.nan))
