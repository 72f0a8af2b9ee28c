"""Columns of a table can be named, and must be there."""

import pytest
from helpers.data_folders import paths, put, touch

from l3clf.datasets import (
    load,
    load_csv,
)
from l3clf.errors import DatasetError

pytestmark = pytest.mark.usefixtures("no_sound_is_opened")

# Tables with columns that one names


def test_columns_can_be_named(tmp_path):
    put(tmp_path / "meta.csv", "fichier,classe,fold,orateur\nsous/à.wav,œuf,1,zoé\nb.wav,riz,2,zoé\n")
    table = load(tmp_path, "orateur", path_column="fichier", label_column="classe")
    assert paths(table, tmp_path) == ["sous/à.wav", "b.wav"]
    assert table.labels.tolist() == ["œuf", "riz"]
    assert table.folds.tolist() == ["1", "2"]
    assert table.groups.tolist() == ["zoé", "zoé"]
    assert load_csv(tmp_path / "meta.csv", path_column="fichier", label_column="classe").groups is None
    with pytest.raises(DatasetError, match=r"no column 'file' \(found 'fichier', 'classe'"):
        load(tmp_path, path_column="file", label_column="classe")


@pytest.mark.parametrize("row", ["a.wav,,1\n", ",x,1\n"])
def test_values_of_named_columns_must_be_there(tmp_path, row):
    put(tmp_path / "t.csv", "file,class,n\n" + row)
    with pytest.raises(DatasetError, match=r"no (file|class) in line 2"):
        load(tmp_path / "t.csv", path_column="file", label_column="class")


def test_a_named_column_must_be_there_once(tmp_path):
    put(tmp_path / "t.csv", "file,class,class\na.wav,x,y\n")
    with pytest.raises(DatasetError, match="more than one column 'class'"):
        load(tmp_path / "t.csv", path_column="file", label_column="class")


@pytest.mark.parametrize("option", ["group", "path_column", "label_column"])
def test_columns_need_a_table(tmp_path, option):
    touch(tmp_path, "x/a.wav")
    with pytest.raises(DatasetError, match=rf"{option}='who' names a column, but the folder has no meta\.csv"):
        load(tmp_path, **{option: "who"})
