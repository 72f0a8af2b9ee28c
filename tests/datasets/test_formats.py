"""Published data sets and what they look like on disk, how a folder is recognised, and what a table says of itself."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.sound_files import tone, write

from l3clf.audio import decode
from l3clf.audio.clip import Clip
from l3clf.datasets import (
    ClipTable,
    Description,
    describe,
    load,
    load_audacity_labels,
    load_csv,
    load_esc,
    load_folder,
    load_fsdd,
    load_urbansound8k,
)
from l3clf.errors import DatasetError, DatasetWarning

ESC_HEADER = "filename,fold,target,category,esc10,src_file,take\n"
URBAN_HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def paths(table, folder):
    return [Path(os.path.relpath(clip.path, folder)).as_posix() for clip in table.clips]


@pytest.fixture(autouse=True)
def no_sound_is_opened(request, monkeypatch):
    """Whoever loads a table opens no sound file (in the tests that describe one, headers are read)."""
    if "describe" not in request.node.name:
        for module in (decode, describe):
            monkeypatch.setattr(module, "open_sound", lambda path: pytest.fail(f"{path} was opened"))


# ESC


def esc50(folder, with_source=True):
    header = ESC_HEADER if with_source else "filename,fold,target,category,esc10\n"
    rows = ["1-100032-A-0.wav,1,0,dog,True", "2-77-B-14.wav,2,14,chirping_birds,False", "1-100032-B-0.wav,1,0,dog,True"]
    source = [",100032,A", ",77,B", ",100032,B"] if with_source else [""] * 3
    put(folder / "meta" / "esc50.csv", header + "".join(f"{r}{s}\n" for r, s in zip(rows, source, strict=True)))
    touch(folder, *(f"audio/{row.split(',')[0]}" for row in rows))


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
    with pytest.raises(
        DatasetError, match=r"'chien.other\.wav' is not named as ESC's files are; expected FOLD-ID-TAKE"
    ):
        load_esc(tmp_path)


@pytest.mark.parametrize("names", [["a/2024-05-17.wav"], ["a/2024-05-A.wav"], ["a/1-A-2.wav"], ["a/1-2-a.wav"]])
def test_other_names_with_hyphens_are_not_escs(tmp_path, names):
    touch(tmp_path, "b/2-3-A.wav", *names)
    assert load(tmp_path).folds is None


def test_one_fold_is_no_fold(tmp_path):
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
    with pytest.raises(DatasetError, match=r"meta\.csv: has no folds; expected a column 'fold'"):
        load_esc(tmp_path)


# UrbanSound8K


def urbansound8k(folder, table="metadata/UrbanSound8K.csv", audio="audio"):
    rows = [f"{fold}00{i}-3-0-{i}.wav,{fold}00{i},0.5,4.5,1,{fold},3,dog_bark" for fold in range(1, 11) for i in (1, 2)]
    put(folder / table, URBAN_HEADER + "\n".join(rows) + "\n")
    touch(folder, *(f"{audio}/fold{row.split(',')[5]}/{row.split(',')[0]}" for row in rows))


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
    with pytest.raises(
        DatasetError, match=r"has no UrbanSound8K\.csv; expected it in the folder itself or in metadata"
    ):
        load_urbansound8k(tmp_path)
    with pytest.raises(DatasetError, match=r"subfolders \(fold1, fold2\) are parts of a data set and not classes"):
        load(tmp_path)
    assert load_folder(tmp_path).labels.tolist() == ["fold1", "fold2"]  # who asks for it gets it


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("slice_file_name,fold,class\n", "a.wav,1,dog\n", r"has no column 'fsID'"),
        (URBAN_HEADER, "", r"holds no clips"),
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
    with pytest.raises(DatasetError, match=r"found 'noise\.wav'; expected all sounds to be named digit_speaker_index"):
        load_fsdd(tmp_path)


def test_no_digits_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="found no sounds"):
        load_fsdd(tmp_path)


# Tables with columns that one names


def test_columns_can_be_named(tmp_path):
    put(tmp_path / "meta.csv", "fichier,classe,fold,orateur\nsous/à.wav,œuf,1,zoé\nb.wav,riz,2,zoé\n")
    table = load(tmp_path, "orateur", path_column="fichier", label_column="classe")
    assert paths(table, tmp_path) == ["sous/à.wav", "b.wav"]
    assert table.labels.tolist() == ["œuf", "riz"]
    assert table.folds.tolist() == ["1", "2"]
    assert table.groups.tolist() == ["zoé", "zoé"]
    assert load_csv(tmp_path / "meta.csv", path_column="fichier", label_column="classe").groups is None
    with pytest.raises(DatasetError, match="has no column 'file'; found 'fichier', 'classe'"):
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
    with pytest.raises(DatasetError, match=rf"{option}='who' names a column, and there is no meta\.csv"):
        load(tmp_path, **{option: "who"})


# Finding out what it is


def test_nothing_found_says_what_was_looked_for_and_what_is_there(tmp_path):
    touch(tmp_path, "a.wav", "b.wav", "labels.csv", "notes/x.md")
    words = r"no meta\.csv, esc50\.csv or Urb.* found sounds in the folder itself \(2\) and labels\.csv, notes/"
    with pytest.raises(DatasetError, match=words):
        load(tmp_path)
    touch(tmp_path, "empty/.hidden")
    with pytest.raises(DatasetError, match=r"found nothing$"):
        load(tmp_path / "empty")


def test_two_published_tables_are_one_too_many(tmp_path):
    esc50(tmp_path)
    urbansound8k(tmp_path)
    with pytest.raises(DatasetError, match=r"holds both meta.esc50\.csv and metadata.UrbanSound8K\.csv; expected one"):
        load(tmp_path)
    put(tmp_path / "meta.csv", "path,label\na.wav,x\n")
    assert load(tmp_path).labels.tolist() == ["x"]


def test_classes_and_label_tracks_are_told_apart_only_where_that_is_certain(tmp_path):
    touch(tmp_path, "dog/a.wav", "cat/b.wav")
    put(tmp_path / "dog" / "a.txt", "what the dog said")
    assert load(tmp_path).labels.tolist() == ["cat", "dog"]
    put(tmp_path / "dog" / "a.txt", "0\t1\twoof\n")
    words = r"has subfolders with sounds \(cat, dog\) and label tracks \(dog.a\.txt\).*load_folder or load_audacity"
    with pytest.raises(DatasetError, match=words):
        load(tmp_path)
    put(tmp_path / "cat" / "b.txt", "0\t1\tmeow\n")
    assert load(tmp_path).labels.tolist() == load_audacity_labels(tmp_path).labels.tolist() == ["meow", "woof"]


def test_sounds_beside_the_classes_are_left_out_with_a_warning(tmp_path):
    touch(tmp_path, "dog/a.wav", "cat/b.wav", "7_theo_0.wav")
    with pytest.warns(
        DatasetWarning, match=r"sounds beside the folders of the classes were left out \(1\): 7_theo_0\.wav$"
    ):
        assert load(tmp_path).labels.tolist() == ["cat", "dog"]


@pytest.mark.parametrize("names", [["train", "test"], ["Training", "VAL"], ["fold 1", "fold_2"], ["dev", "eval"]])
def test_parts_of_a_data_set_are_not_taken_for_classes(tmp_path, names):
    touch(tmp_path, *(f"{name}/dog/a.wav" for name in names))
    with pytest.raises(DatasetError, match=r"are parts of a data set and not classes; .* path, label and fold"):
        load(tmp_path)
    touch(tmp_path, "dog/a.wav")
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


# describe()


def test_describe_counts_and_measures(tmp_path):
    a = write(tmp_path / "ä.wav", tone(seconds=1.0, rate=8000), rate=8000)
    b = write(tmp_path / "b.wav", np.stack([tone(seconds=4.0), tone(seconds=4.0)], axis=1))
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    clips = [a, b, Clip(b, 1.0, 3.0), Clip(b, 9.0), tmp_path / "bad.wav", tmp_path / "gone.wav"]
    found = ClipTable(clips, ["x", "y", "y", "y", "x", "é"], groups=[1, 2, 2, 2, 3, 3], origin="here").describe()
    assert found == Description(
        origin="here",
        clips=6,
        classes={"y": 3, "x": 2, "é": 1},
        hours=pytest.approx(7 / 3600),
        lengths_s=(1.0, 2.0, 4.0),
        sample_rates={16000: 2, 8000: 1},
        channels={2: 2, 1: 1},
        split="3 groups",
        unreadable=3,
    )
    assert found.imbalance == 3.0
    assert list(found.classes) == ["y", "x", "é"]
    assert found.items() == [
        ("read as", "here"),
        ("clips", "6"),
        ("unreadable", "3 of the clips"),
        ("classes", "3: y 3, x 2, é 1"),
        ("imbalance", "3 (largest class / smallest)"),
        ("hours", "0.00194"),
        ("lengths", "1.00 / 2.00 / 4.00 s (shortest / median / longest)"),
        ("sample rates", "16,000 Hz (2), 8,000 Hz (1)"),
        ("channels", "stereo (2), mono (1)"),
        ("folds or groups", "3 groups"),
    ]
    assert str(found).splitlines()[0] == "read as          here"
    assert len(str(found).splitlines()) == len(found.items())


@pytest.mark.parametrize(
    ("folds", "groups", "split"),
    [
        (None, None, "none"),
        ([1, 1, 2], None, "2 folds as given"),
        ([1, 1, 1], [1, 2, 3], "1 fold as given"),
        (None, ["a", "b", "c"], "3 groups"),
        (None, ["a", "a", "a"], "1 group"),
    ],
)
def test_describe_says_what_keeps_training_and_test_apart(folds, groups, split):
    table = ClipTable(["a.wav", "b.wav", "c.wav"], ["x", "y", "x"], folds, groups)
    assert table.describe().split == split
    assert table.subset([0, 1, 2]).describe() == table.describe()


def test_describe_of_nothing_and_of_nothing_readable():
    empty = ClipTable([], []).describe()
    assert (empty.clips, empty.classes, empty.hours, empty.lengths_s, empty.imbalance) == (0, {}, 0.0, None, 1.0)
    assert "clips            0" in str(empty)
    missing = ClipTable(["gone.wav"], ["x"]).describe()
    assert (missing.unreadable, missing.lengths_s) == (1, None)
    assert ("lengths", "not known") in missing.items()


def test_describe_is_short_for_many_classes():
    labels = [f"c{i:02}" for i in range(20) for _ in range(20 - i)]
    text = dict(ClipTable(["gone.wav"] * len(labels), labels).describe().items())["classes"]
    assert text == "20: largest c00 20, c01 19, c02 18; smallest c17 3, c18 2, c19 1"
    even = dict(ClipTable(["gone.wav"] * 40, list(range(20)) * 2).describe().items())["classes"]
    assert even == "20 with 2 each: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"


def test_describe_reads_two_thousand_headers_in_two_seconds(shared):
    table = load_fsdd(shared / "data" / "fsdd").subset(range(2000))
    began = time.process_time()
    assert table.describe().unreadable == 0
    assert time.process_time() - began < 2.0


def test_describe_opens_a_file_once_for_all_its_pieces(tmp_path, monkeypatch):
    opened = []
    real = describe.open_sound
    monkeypatch.setattr(describe, "open_sound", lambda path: opened.append(path) or real(path))
    path = write(tmp_path / "a.wav")
    assert ClipTable([Clip(path, i / 100) for i in range(9)], ["x"] * 9).describe().unreadable == 0
    assert opened == [path]


# problems()


def table_of(folder, labels, **columns):
    """A table of files that are there, with enough of them for each class unless the test is about that."""
    names = [f"{i}.wav" for i in range(len(labels))]
    touch(folder, *names)
    return ClipTable([folder / name for name in names], labels, **columns)


FINE = ["a", "b"] * 5


def test_a_good_table_has_no_problems(tmp_path):
    assert table_of(tmp_path, FINE, folds=[i // 2 for i in range(10)], groups=list(range(10))).problems() == []


@pytest.mark.parametrize(
    ("labels", "columns", "expected"),
    [
        (["a"] * 5, {}, "all clips are of one class, 'a': there is nothing to tell apart"),
        ([], {}, "the table holds no clips"),
        (["Dog", "dog", "dög bark", "dög  bark", "cat"] * 5, {},
         "labels differ only in case or spaces, and count as different classes: "
         "'Dog' and 'dog', 'dög  bark' and 'dög bark'"),
        ([" dog", "dog"] * 5, {},
         "labels differ only in case or spaces, and count as different classes: ' dog' and 'dog'"),
        (["a"] * 5 + ["b"] * 4 + ["ç"], {},
         "classes have fewer than 5 clips (2 of 3): 'ç' (1), 'b' (4); with a single clip (1): 'ç'"),
        (FINE, {"folds": [1, 2] * 5}, "folds hold one class only (2 of 2): 1, 2"),
        (FINE, {"folds": [1, 2] * 5},
         "classes are in one fold only, and never in both training and test (2): 'a', 'b'"),
        (FINE, {"groups": ["x", "y"] * 5},
         "classes are in one group only, and never in both training and test (2): 'a', 'b'"),
        (FINE, {"folds": ["1"] * 10}, "all clips are in one fold, '1': none is left to test on"),
        (FINE, {"groups": ["g"] * 10}, "all clips are in one group, 'g': none is left to test on"),
        (FINE, {"folds": [i // 5 for i in range(10)], "groups": [0] * 6 + [1] * 4},
         "groups are in more than one fold, which leaks (1): 0"),
    ],
)  # fmt: skip
def test_odd_tables_are_said(tmp_path, labels, columns, expected):
    assert expected in table_of(tmp_path, labels, **columns).problems()


def test_one_class_is_not_also_said_of_every_fold(tmp_path):
    assert len(table_of(tmp_path, ["a"] * 6, folds=[1, 2] * 3).problems()) == 1


def test_the_number_of_clips_that_is_few_can_be_given(tmp_path):
    table = table_of(tmp_path, FINE)
    assert table.problems(6) == ["classes have fewer than 6 clips (2 of 2): 'a' (5), 'b' (5)"]


def test_clips_listed_twice_are_said_and_worse_with_different_labels(tmp_path):
    touch(tmp_path, "à.wav", "b.wav", "c.wav")
    à, b, c = (tmp_path / name for name in ("à.wav", "b.wav", "c.wav"))
    clips = [à, f"{tmp_path}/./à.wav", Clip(b, 0, 1), Clip(b, 0, 1), Clip(b, 1, 2), c, Clip(c, 0, 1)]
    said = ClipTable(clips, ["x", "x", "x", "y", "x", "x", "y"]).problems(0)
    assert said == [
        f"clips are listed with different labels (1): {b} [0 s to 1 s] ('x', 'y')",
        f"clips are listed more than once (1): {à}",
    ]


def test_two_formats_of_one_recording_are_said(tmp_path):
    touch(tmp_path, "a/é.wav", "a/é.mp3", "b/é.wav", "a/f.wav", "a/f.x.wav")
    table = load_folder(tmp_path)
    assert table.problems(0) == ["recordings are there in more than one format (1): é.mp3 and é.wav"]


def test_missing_files_are_listed_at_once(tmp_path):
    table = ClipTable([tmp_path / f"{i:02}.wav" for i in range(25)] * 2, [0] * 25 + [1] * 25)
    (said,) = [said for said in table.problems() if said.startswith("sound files")]
    assert said.startswith(f"sound files are missing (25): {tmp_path / '00.wav'}, ")
    assert said.endswith(f"{tmp_path / '19.wav'} and 5 more")


def test_ten_thousand_classes_are_fine_but_said(tmp_path):
    touch(tmp_path, "a.wav")
    clips = [Clip(tmp_path / "a.wav", i / 100, (i + 1) / 100) for i in range(20_000)]
    began = time.process_time()
    said = ClipTable(clips, [i % 10_000 for i in range(20_000)]).problems(2)
    assert time.process_time() - began < 3
    assert len(said) == 1
    assert said[0].startswith("there are 10,000 classes for 20,000 clips: that takes long and much memory")
