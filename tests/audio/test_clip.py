"""Clips compare, hash and print, and refuse times that cannot be."""

import math

import pytest

from l3clf.audio.clip import Clip
from l3clf.errors import ParameterError


def test_clips_compare_hash_and_print():
    assert Clip("a.wav") == Clip("a.wav", 0, None)
    assert len({Clip("a.wav"), Clip("a.wav", 1), Clip("a.wav", 1.0)}) == 2
    assert str(Clip("a.wav")) == "a.wav"
    assert str(Clip("a.wav", 1)) == "a.wav [1 s to end]"
    assert str(Clip("a.wav", 0, 2.5)) == "a.wav [0 s to 2.5 s]"
    assert "\n" not in str(Clip("a\nb.wav"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("a", -0.1), ("a", math.nan), ("a", math.inf), ("a", 1, 1), ("a", 1, 0.5), ("a", 0, math.nan),
        ("a", 0, math.inf), ("a", "one"), ("a", None), ("a", 0, "two"), ("a", [1]), (5,), (None,), (b"a",),
    ],
)  # fmt: skip
def test_clips_with_impossible_times_are_refused(arguments):
    with pytest.raises(ParameterError, match=r"expected"):
        Clip(*arguments)
