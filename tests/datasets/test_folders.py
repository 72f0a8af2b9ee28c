"""Folders of sounds become tables of clips: what is found, and what is left out."""

import os

import pytest
from helpers.data_folders import create

from l3clf.audio.clip import Clip
from l3clf.datasets import SOUND_SUFFIXES, find_sounds, load_folder
from l3clf.errors import DatasetError

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX links and file names")


# From folders


def test_each_subfolder_is_a_class_however_deep_its_sounds_lie(tmp_path):
    create(tmp_path / "dog" / "b.wav", tmp_path / "dog" / "deep" / "er" / "a.flac", tmp_path / "cat" / "c.MP3")
    create(tmp_path / "dog" / "notes.txt", tmp_path / "loose.wav", tmp_path / "empty" / "readme.md")
    table = load_folder(tmp_path)
    assert [os.path.relpath(clip.path, tmp_path) for clip in table.clips] == [
        os.path.join("cat", "c.MP3"),  # noqa: PTH118
        os.path.join("dog", "b.wav"),  # noqa: PTH118
        os.path.join("dog", "deep", "er", "a.flac"),  # noqa: PTH118
    ]
    assert table.labels.tolist() == ["cat", "dog", "dog"]
    assert table.folds is None
    assert table.groups is None


@pytest.mark.parametrize("suffix", sorted(SOUND_SUFFIXES))
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_suffixes_count_in_any_case(tmp_path, suffix, case):
    create(tmp_path / f"a{case(suffix)}", tmp_path / f"b{suffix}.txt", tmp_path / suffix[1:])
    assert find_sounds(tmp_path) == [str(tmp_path / f"a{case(suffix)}")]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    create(tmp_path / "x" / "._a.wav", tmp_path / "x" / ".hidden" / "a.wav", tmp_path / ".git" / "a.wav")
    create(tmp_path / "x" / "a.wav")
    assert load_folder(tmp_path).clips == [Clip(tmp_path / "x" / "a.wav")]


def test_a_folder_with_a_sounds_name_is_a_folder(tmp_path):
    create(tmp_path / "x" / "session.wav" / "a.wav")
    assert find_sounds(tmp_path) == [str(tmp_path / "x" / "session.wav" / "a.wav")]


@posix_only
def test_links_are_followed_but_not_in_circles(tmp_path):
    create(tmp_path / "data" / "x" / "a.wav", tmp_path / "elsewhere" / "b.wav")
    (tmp_path / "data" / "x" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "x" / "self").symlink_to(tmp_path / "data" / "x")
    (tmp_path / "data" / "x" / "far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "x" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    found = [os.path.relpath(path, tmp_path / "data" / "x") for path in find_sounds(tmp_path / "data")]
    assert found == ["a.wav", "far/b.wav", "gone.wav"]  # the last is found out when it is read


@posix_only
def test_names_that_are_not_utf_8_are_found(tmp_path):
    create(tmp_path / "x" / "\udce9.wav")
    assert load_folder(tmp_path).clips == [Clip(tmp_path / "x" / "\udce9.wav")]


@pytest.mark.parametrize("names", [[], ["a.wav"], ["x/a.txt"], ["x/.a.wav"]])
def test_folders_without_classes_are_refused(tmp_path, names):
    create(*(tmp_path / name for name in names))
    with pytest.raises(DatasetError, match=r"no sound files in subfolders; make one subfolder for each class"):
        load_folder(tmp_path)


@pytest.mark.parametrize("function", [load_folder, find_sounds])
@pytest.mark.parametrize("name", ["missing", "file"])
def test_only_folders_can_be_listed(tmp_path, function, name):
    create(tmp_path / "file")
    with pytest.raises(DatasetError, match=r"cannot be listed \(.*\); give a readable folder"):
        function(tmp_path / name)
