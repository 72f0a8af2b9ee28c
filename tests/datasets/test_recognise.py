"""How a folder is recognised as one data set or another."""

from pathlib import Path

import numpy as np
import pytest
from helpers.data_folders import create, csv_file, esc50, put, touch, urbansound8k

from l3clf import datasets
from l3clf.audio.clip import Clip
from l3clf.datasets import load, load_audacity_labels, load_esc, load_fsdd
from l3clf.errors import DatasetError, DatasetWarning, LabelWarning

pytestmark = pytest.mark.usefixtures("no_sound_is_opened")


def test_load_prefers_meta_csv_to_the_folders(tmp_path):
    create(tmp_path / "x" / "a.wav")
    assert load(tmp_path).labels.tolist() == ["x"]
    csv_file(tmp_path, "path,label\nx/a.wav,from the table\n", "meta.csv")
    table = load(tmp_path)
    assert table.labels.tolist() == ["from the table"]
    assert table.clips == [Clip(tmp_path / "x" / "a.wav")]
    assert load(str(tmp_path / "meta.csv")).clips == table.clips


def test_load_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(DatasetError, match="no such file or folder; give a CSV, or a folder with a subfolder"):
        load(tmp_path / "missing")
    with pytest.raises(DatasetError, match=r"group='who' names a column, but the folder has no meta\.csv"):
        load(tmp_path, "who")


def test_the_data_of_this_project_load(shared):
    table = datasets.load(shared / "data" / "esc10")
    assert len(table) == 400
    assert sorted(np.unique(table.labels, return_counts=True)[1]) == [40] * 10
    assert len(set(table.folds.tolist())) == 5
    assert all(Path(clip.path).is_file() for clip in table.clips)


def test_nothing_found_says_what_was_looked_for_and_what_is_there(tmp_path):
    touch(tmp_path, "a.wav", "b.wav", "labels.csv", "notes/x.md")
    words = r"found sounds in the folder itself \(2\) and labels\.csv, notes/; give .*, meta\.csv, esc50\.csv or Urb"
    with pytest.raises(DatasetError, match=words):
        load(tmp_path)
    touch(tmp_path, "empty/.hidden")
    with pytest.raises(DatasetError, match=r"found nothing; give a folder with a subfolder of sounds for each class"):
        load(tmp_path / "empty")


def test_two_published_tables_are_one_too_many(tmp_path):
    esc50(tmp_path)
    urbansound8k(tmp_path)
    with pytest.raises(DatasetError, match=r"has both meta.esc50\.csv and metadata.UrbanSound8K\.csv; give the path"):
        load(tmp_path)
    put(tmp_path / "meta.csv", "path,label\na.wav,x\n")
    assert load(tmp_path).labels.tolist() == ["x"]


def test_classes_and_label_tracks_are_told_apart_only_where_that_is_certain(tmp_path):
    touch(tmp_path, "dog/a.wav", "cat/b.wav")
    put(tmp_path / "dog" / "a.txt", "what the dog said")
    assert load(tmp_path).labels.tolist() == ["cat", "dog"]
    put(tmp_path / "dog" / "a.txt", "0\t1\twoof\n")
    words = (
        r"subfolders with sounds \(cat, dog\), and label tracks .* \(dog.a\.txt\); choose load_folder or load_audacity"
    )
    with pytest.raises(DatasetError, match=words):
        load(tmp_path)
    put(tmp_path / "cat" / "b.txt", "0\t1\tmeow\n")
    assert load(tmp_path).labels.tolist() == load_audacity_labels(tmp_path).labels.tolist() == ["meow", "woof"]


def test_sounds_beside_the_classes_are_left_out_with_a_warning(tmp_path):
    touch(tmp_path, "dog/a.wav", "cat/b.wav", "7_theo_0.wav")
    with pytest.warns(DatasetWarning, match=r"sounds beside the class folders were left out \(1\): 7_theo_0\.wav$"):
        assert load(tmp_path).labels.tolist() == ["cat", "dog"]


@pytest.mark.parametrize("names", [["train", "test"], ["Training", "VAL"], ["fold 1", "fold_2"], ["dev", "eval"]])
def test_parts_of_a_data_set_are_not_taken_for_classes(tmp_path, names):
    touch(tmp_path, *(f"{name}/dog/a.wav" for name in names))
    with pytest.raises(DatasetError, match=r"are parts of a data set instead of classes; .* path, label and fold"):
        load(tmp_path)
    touch(tmp_path, "dog/a.wav")
    with pytest.warns(LabelWarning, match="labels are parts of a data set instead of classes"):
        assert len(load(tmp_path)) == 3


def test_the_shared_sets_are_what_they_are(shared):
    esc10 = shared / "data" / "esc10"
    for table in (load(esc10), load_esc(esc10)):
        assert len(table) == 400
        assert np.unique(table.labels, return_counts=True)[1].tolist() == [40] * 10
        assert np.unique(table.folds, return_counts=True)[1].tolist() == [80] * 5
        assert table.problems() == []
    assert len(set(load_esc(esc10).groups.tolist())) == 304
    fsdd = shared / "data" / "fsdd"
    for table in (load(fsdd, "speaker"), load_fsdd(fsdd)):
        assert len(table) == 3000
        assert np.unique(table.labels, return_counts=True)[1].tolist() == [300] * 10
        assert np.unique(table.groups, return_counts=True)[1].tolist() == [500] * 6
        assert table.problems() == []
    assert load(fsdd).groups is None
