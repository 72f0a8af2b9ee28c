"""The table in the terminal: scores, intervals, floors, and no line over 100 columns."""

import re
import unicodedata

import pytest
from helpers.report_pages import HOSTILE, a_row

from l3clf.report import table_text

LONG_PATH = "/home/" + "long/" * 30 + "bird.l3student"


# ------------------------------------------------------------------------------------------ the terminal


def columns(line):
    """The terminal's columns of a line, counted another way: one by one."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Cf") else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1
        for c in line
    )


def test_the_terminal_shows_scores_intervals_and_floors():
    lines = table_text([a_row(), a_row(0.5, "yamnet", "forest", "mean+std")], [("always the largest", 0.1)]).split("\n")
    assert " ".join(lines[0].split()) == "embedder head pooling accuracy balanced macro F1 seconds clips/s"
    assert re.split(r"  +", lines[1]) == ["mfcc", "logistic", "mean", *["90.0 ± 2.0"] * 3, "12.3", "45.6"]
    assert lines[2].split("  ")[-3:] == ["[85.0, 95.0]"] * 3
    assert re.split(r"  +", lines[5]) == ["always the largest", "10.0"]
    assert len({lines[n].index("]") for n in (2, 4)} | {lines[1].index("2.0") + 2, lines[5].index("10.0") + 3}) == 1
    assert "95 % interval" in lines[6]


@pytest.mark.parametrize("name", ["x" * 400, "鳥" * 90, "a\u0301" * 120, HOSTILE, LONG_PATH])
def test_the_terminal_table_is_never_wider_than_100_columns(name):
    row = a_row(1.0, name, name, name, seconds=1e12, clips_per_s=123456.7)
    text = table_text([row, a_row()], [(name, 1.0)])
    assert max(columns(line) for line in text.split("\n")) <= 100
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in text.replace("\n", ""))
    assert "\u202e" not in text
    assert len(text.split("\n")) == 7


@pytest.mark.parametrize("name", ["鳥鳥鳥", "e\u0301te\u0301 du chat"])
def test_wide_letters_and_accents_do_not_shift_the_columns(name):
    lines = table_text([a_row(embedder=name), a_row(embedder="birds")]).split("\n")
    assert columns(lines[1]) == columns(lines[3])
    assert columns(lines[1].split("logistic")[0]) == columns(lines[3].split("logistic")[0])


def test_a_long_name_keeps_its_start_and_end():
    line = table_text([a_row(embedder=LONG_PATH)]).split("\n")[1]
    assert re.match(r"/home/\S*…\S*student ", line)


def test_missing_numbers_are_dashes_and_no_table_is_still_a_table():
    assert table_text([{"embedder": "m", "accuracy": None}]).split("\n")[1].split() == ["m", *["–"] * 7]
    assert len(table_text([]).split("\n")) == 2
