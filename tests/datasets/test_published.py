"""Published data sets are read from where their files lie once unpacked."""

import pytest
from helpers.data_folders import ESC_HEADER, URBAN_HEADER, esc50, paths, put, touch, urbansound8k

from l3clf.audio.clip import Clip
from l3clf.datasets import (
    load,
    load_csv,
    load_esc,
    load_folder,
    load_fsdd,
    load_urbansound8k,
)
from l3clf.errors import DatasetError, LabelWarning

pytestmark = pytest.mark.usefixtures("no_sound_is_opened")


@pytest.mark.parametrize("with_source", [True, False])
def test_esc_50_as_published(tmp_path, with_source):
    folder = tmp_path / "ESC-50-master"
    esc50(folder, with_source)
    for table in (load(folder), load_esc(folder), load(folder / "meta" / "esc50.csv")):
        assert paths(table, folder) == ["audio/1-100032-A-0.wav", "audio/2-77-B-14.wav", "audio/1-100032-B-0.wav"]
        assert table.labels.tolist() == ["dog", "chirping_birds", "dog"]
        assert table.folds.tolist() == ["1", "2", "1"]
        assert table.groups.tolist() == ["100032", "77", "100032"]
        assert table.origin == "ESC: its own folds, groups from Freesound ids"
    assert load(folder, "take" if with_source else "target").groups.tolist()[1] == ("B" if with_source else "14")


@pytest.mark.parametrize("place", ["audio", "."])
def test_esc_50_repacked_with_its_table_above_the_sounds(tmp_path, place):
    put(tmp_path / "esc50.csv", ESC_HEADER + "1-7-A-0.wav,1,0,dog,True,7,A\n")
    touch(tmp_path, f"{place}/1-7-A-0.wav")
    assert load_esc(tmp_path).clips == [Clip(tmp_path / place / "1-7-A-0.wav")]


def test_the_first_esc_10_with_numbers_before_its_classes(tmp_path):
    touch(tmp_path, "001 - Dog bark/1-30226-A.ogg", "001 - Dog bark/2-9-A.ogg", "010 - Fire crackling/2-4211-C.ogg")
    put(tmp_path / "README.txt", "about it")
    for table in (load(tmp_path), load_esc(tmp_path)):
        assert table.labels.tolist() == ["Dog bark", "Dog bark", "Fire crackling"]
        assert table.folds.tolist() == ["1", "2", "2"]
        assert table.groups.tolist() == ["30226", "9", "4211"]
        assert "folds and groups (Freesound ids) from the file names" in table.origin


def test_folders_of_files_that_are_all_named_as_escs(tmp_path):
    touch(tmp_path, "chien/1-1-A-0.wav", "chien/2-2-B-0.flac", "café/1-3-A.wav")
    assert load(tmp_path).folds.tolist() == ["1", "1", "2"]
    touch(tmp_path, "chien/other.wav")
    table = load(tmp_path)
    assert (table.folds, table.groups, table.origin) == (None, None, "a folder for each class")
    with pytest.raises(DatasetError, match=r"'chien.other\.wav' does not follow ESC's naming; expected FOLD-ID-TAKE"):
        load_esc(tmp_path)


@pytest.mark.parametrize("names", [["a/2024-05-17.wav"], ["a/2024-05-A.wav"], ["a/1-A-2.wav"], ["a/1-2-a.wav"]])
def test_other_names_with_hyphens_are_not_escs(tmp_path, names):
    touch(tmp_path, "b/2-3-A.wav", *names)
    assert load(tmp_path).folds is None


def test_a_single_fold_is_ignored(tmp_path):
    touch(tmp_path, "a/1-1-A.wav", "b/1-2-A.wav")
    table = load(tmp_path)
    assert table.folds is None
    assert table.groups.tolist() == ["1", "2"]
    assert table.origin.endswith(": groups (Freesound ids) from the file names")


def test_numbers_stay_where_they_keep_classes_apart(tmp_path):
    touch(tmp_path, "1 - dog/1-1-A.wav", "2 - dog/2-2-A.wav")
    assert load_esc(tmp_path).labels.tolist() == ["1 - dog", "2 - dog"]


def test_esc_with_our_meta_csv(tmp_path):
    put(tmp_path / "meta.csv", "path,label,fold\ndog/1-5-A.ogg,dog,1\ncat/2-6-A.ogg,cat,2\n")
    assert load(tmp_path).groups is None  # a table is taken at its word
    assert load_esc(tmp_path).groups.tolist() == ["5", "6"]
    put(tmp_path / "meta.csv", "path,label,fold,group\ndog/1-5-A.ogg,dog,1,g\n")
    assert load_esc(tmp_path).groups.tolist() == ["g"]
    put(tmp_path / "meta.csv", "path,label\ndog/1-5-A.ogg,dog\n")
    with pytest.raises(DatasetError, match=r"meta\.csv: no folds; add a column 'fold'"):
        load_esc(tmp_path)


@pytest.mark.parametrize(
    ("table", "audio"),
    [("metadata/UrbanSound8K.csv", "audio"), ("UrbanSound8K.csv", "audio"), ("UrbanSound8K.csv", ".")],
)
def test_urbansound8k_keeps_its_ten_folds(tmp_path, table, audio):
    urbansound8k(tmp_path, table, audio)
    for found in (load(tmp_path), load_urbansound8k(tmp_path), load_csv(tmp_path / table)):
        assert len(found) == 20
        assert list(dict.fromkeys(found.folds.tolist())) == [str(fold) for fold in range(1, 11)]
        assert found.groups.tolist()[-1] == "10002"
        assert set(found.labels.tolist()) == {"dog_bark"}
        assert found.clips[0] == Clip(tmp_path / audio / "fold1" / "1001-3-0-1.wav")  # start and end are not taken
        assert found.origin.startswith("UrbanSound8K: its own folds")
        assert not any("missing" in said for said in found.problems())


def test_urbansound8k_without_its_sounds_lists_them_all(tmp_path):
    put(tmp_path / "metadata" / "UrbanSound8K.csv", URBAN_HEADER + "1-3-0-0.wav,1,0,4,1,5,3,dog_bark\n")
    table = load_urbansound8k(tmp_path)
    assert table.clips == [Clip(tmp_path / "audio" / "fold5" / "1-3-0-0.wav")]
    assert f"sound files are missing (1): {table.clips[0]}" in table.problems()


def test_urbansound8k_without_its_table_is_refused(tmp_path):
    touch(tmp_path, "fold1/1-3-0-0.wav", "fold2/2-3-0-0.wav")
    with pytest.raises(DatasetError, match=r"no UrbanSound8K\.csv; expected it in the folder itself or in metadata"):
        load_urbansound8k(tmp_path)
    with pytest.raises(DatasetError, match=r"subfolders \(fold1, fold2\) are parts of a data set instead of classes"):
        load(tmp_path)
    with pytest.warns(LabelWarning, match="are parts of a data set"):  # who asks for it gets it
        assert load_folder(tmp_path).labels.tolist() == ["fold1", "fold2"]


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("slice_file_name,fold,class\n", "a.wav,1,dog\n", r"no column 'fsID'"),
        (URBAN_HEADER, "", r"no clips"),
        (URBAN_HEADER, "a.wav,1,0,4,1,,3,dog\n", r"no fold in line 2"),
        (URBAN_HEADER, "a.wav,,0,4,1,1,3,dog\n", r"no fsID in line 2"),
    ],
)
def test_damaged_tables_of_published_sets_are_refused(tmp_path, header, row, words):
    put(tmp_path / "metadata" / "UrbanSound8K.csv", header + row)
    with pytest.raises(DatasetError, match=words):
        load_urbansound8k(tmp_path)


# FSDD


@pytest.mark.parametrize("place", [".", "recordings"])
def test_spoken_digits_are_known_by_their_names(tmp_path, place):
    touch(tmp_path, *(f"{place}/{name}.wav" for name in ("7_théo_0", "0_anna_maria_12", "7_anna_maria_3")))
    for table in (load(tmp_path), load_fsdd(tmp_path)):
        assert table.labels.tolist() == ["0", "7", "7"]
        assert table.groups.tolist() == ["anna_maria", "anna_maria", "théo"]
        assert table.folds is None
    touch(tmp_path, f"{place}/noise.wav")
    with pytest.raises(DatasetError, match=r"found 'noise\.wav'; expected every sound to be named digit_speaker_index"):
        load_fsdd(tmp_path)


def test_a_set_without_digits_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="found no sounds"):
        load_fsdd(tmp_path)
