"""Folders of sounds become tables of clips: what is found, and what is left out."""

import os

import pytest
from helpers.data_folders import create

from l3clf.audio.clip import Clip
from l3clf.datasets import SOUND_SUFFIXES, find_sounds, load, load_folder
from l3clf.errors import DatasetError, DatasetWarning

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


@pytest.mark.parametrize("name", ["a.awb", "a.mkv", "a.FLV", "a.ra", "a.m4v", "a.avi", "a.ac3", "a.dsf", "a.Sph",
                                  "a.voc", "a.svx", "a.gsm"])  # fmt: skip
def test_sounds_of_seldom_formats_do_not_vanish(tmp_path, name):
    create(tmp_path / "dog" / name)
    assert load_folder(tmp_path).clips == [Clip(tmp_path / "dog" / name)]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["dog/a.xyz"], r"1 file was left out, .*\(1 \.xyz\), the first .*a\.xyz; convert or rename"),
        (["dog/a.raw", "dog/b.RAW", "cat/c"], r"3 files were left out, .*\(2 \.raw, 1 without a suffix\), the first"),
        (["dog/a.wav.part", "dog/b.zip"], r"2 files were left out, .*\(1 \.part, 1 \.zip\)"),
    ],
)
def test_files_that_may_be_sounds_are_named(tmp_path, names, found):
    create(tmp_path / "bird" / "b.wav", *(tmp_path / name for name in names))
    with pytest.warns(DatasetWarning, match=rf"^{tmp_path}: {found}"):
        table = load(tmp_path)
    assert len(table) == 1


def test_what_commonly_lies_beside_sounds_is_not_worth_a_word(tmp_path):
    others = [
        "SOURCE.md",
        "a.csv",
        "a.TextGrid",
        "README",
        "LICENSE.txt",
        "Thumbs.db",
        ".DS_Store",
        "m.l3clf",
        "a.txt~",
    ]
    create(tmp_path / "bird" / "b.wav", tmp_path / "x.odd", *(tmp_path / "bird" / name for name in others))
    assert len(load(tmp_path)) == 1


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
