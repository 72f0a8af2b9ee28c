"""Tables of clips: their columns, their subsets, and the way to CSV and back."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.data_folders import create
from hypothesis import example, given, settings
from hypothesis import strategies as st

from l3clf.audio.clip import Clip
from l3clf.datasets import ClipTable, load_csv
from l3clf.errors import DatasetError


def rows_of(table):
    folds = table.folds if table.folds is not None else [None] * len(table)
    groups = table.groups if table.groups is not None else [None] * len(table)
    return list(zip(table.clips, table.labels.tolist(), list(folds), list(groups), strict=True))


# ClipTable


def test_paths_become_clips_and_columns_arrays():
    table = ClipTable(["a.wav", Path("b.wav"), Clip("c.wav", 1)], ["x", "y", "x"], groups=[1, 1, 2])
    assert table.clips == [Clip("a.wav"), Clip("b.wav"), Clip("c.wav", 1)]
    assert len(table) == 3
    assert table.labels.tolist() == ["x", "y", "x"]
    assert table.folds is None
    assert table.groups.tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([2, 0], ["c", "a"]),
        ([-1], ["c"]),
        ([True, False, True], ["a", "c"]),
        (np.array([1, 1]), ["b", "b"]),
        ([], []),
        (np.zeros(3, bool), []),
    ],
)
def test_subset_takes_rows_with_all_their_columns(indices, expected):
    table = ClipTable(["a", "b", "c"], ["a", "b", "c"], folds=["a", "b", "c"], groups=["a", "b", "c"]).subset(indices)
    for column in (table.labels, table.folds, table.groups):
        assert column.tolist() == expected
    assert [clip.path for clip in table.clips] == expected


@pytest.mark.parametrize("column", ["labels", "folds", "groups"])
@pytest.mark.parametrize("values", [["x"], ["x", "y", "z"], [["x", "y"]], "xy"])
def test_columns_of_another_length_are_refused(column, values):
    columns = {"labels": ["a", "b"], column: values}
    with pytest.raises(DatasetError, match=f"{column}: found shape .*; expected one for each of 2 clips"):
        ClipTable(["a.wav", "b.wav"], **columns)


# To a CSV and back


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(" ,;\"'#=é雨🌧\ufeff"),
    min_size=1,
    max_size=12,
)
LABEL = TEXT.filter(lambda text: text == text.strip())
NAME = LABEL.filter(lambda text: "/" not in text and "\\" not in text and text not in (".", ".."))
TIMES = st.just((0.0, None)) | st.tuples(
    st.floats(0, 1e6).map(abs), st.none() | st.floats(1e-3, 1e3, exclude_min=True)
).map(lambda times: (times[0], None if times[1] is None else times[0] + times[1]))


@st.composite
def tables(draw):
    n = draw(st.integers(1, 5))
    clips = [Clip(f"sub/{draw(NAME)}.wav", *draw(TIMES)) for _ in range(n)]
    columns = [draw(st.lists(LABEL, min_size=n, max_size=n)) for _ in range(3)]
    return clips, columns[0], draw(st.sampled_from([None, columns[1]])), draw(st.sampled_from([None, columns[2]]))


@pytest.mark.filterwarnings("ignore::l3clf.errors.DatasetWarning")  # of labels that hypothesis makes alike
@settings(max_examples=150, deadline=None)
@given(parts=tables())
@example(parts=([Clip('sub/a, "b".wav', 0.1, 1 / 3)], ["x,y"], None, ["''"]))
def test_a_table_comes_back_from_csv_as_it_was(tmp_path_factory, parts):
    clips, labels, folds, groups = parts
    folder = tmp_path_factory.mktemp("t")
    table = ClipTable([Clip(folder / c.path, c.start_s, c.end_s) for c in clips], labels, folds, groups)
    table.to_csv(folder / "table.csv")
    assert rows_of(ClipTable.from_csv(folder / "table.csv")) == rows_of(table)


def test_paths_are_written_relative_to_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tables").mkdir()
    ClipTable(["sounds/a.wav", tmp_path / "b.wav"], ["x", "y"]).to_csv("tables/t.csv")
    text = Path("tables/t.csv").read_text(encoding="utf-8")
    assert text.splitlines() == ["path,label", f"..{os.sep}sounds{os.sep}a.wav,x", f"..{os.sep}b.wav,y"]
    found = [os.path.realpath(clip.path) for clip in load_csv("tables/t.csv").clips]
    assert found == [str(tmp_path / "sounds" / "a.wav"), str(tmp_path / "b.wav")]


def test_a_table_moved_with_its_sounds_still_finds_them(tmp_path):
    create(tmp_path / "here" / "a.wav")
    ClipTable([tmp_path / "here" / "a.wav"], ["x"]).to_csv(tmp_path / "here" / "t.csv")
    (tmp_path / "here").rename(tmp_path / "there")
    assert Path(load_csv(tmp_path / "there" / "t.csv").clips[0].path).is_file()


def test_whole_clips_need_no_columns_for_times(tmp_path):
    ClipTable([tmp_path / "a.wav"], ["x"], folds=[1]).to_csv(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "path,label,fold\na.wav,x,1\n"


@pytest.mark.parametrize("value", ["", " x", "x\t", "\udce9"])
@pytest.mark.parametrize("column", ["fold", "group"])
def test_values_that_would_not_come_back_are_refused_and_nothing_is_written(tmp_path, column, value):
    table = ClipTable(["a.wav"], ["a"], **{f"{column}s": [value]})
    with pytest.raises(DatasetError, match=rf"t\.csv: {column} .* cannot be stored in a CSV"):
        table.to_csv(tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_an_unwritable_place_is_reported(tmp_path):
    with pytest.raises(DatasetError, match=r"t\.csv: cannot be written \(No such file or directory\)"):
        ClipTable(["a.wav"], ["x"]).to_csv(tmp_path / "no" / "t.csv")
