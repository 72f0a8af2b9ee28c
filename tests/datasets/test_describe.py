"""What a table says of itself: counts, durations, and problems before the work."""

import time

import numpy as np
import pytest
from helpers.data_folders import touch
from helpers.sound_files import tone, write

from l3clf.audio.clip import Clip
from l3clf.datasets import (
    ClipTable,
    Description,
    describe,
    load_folder,
    load_fsdd,
)

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
def test_describe_shows_what_keeps_training_and_test_apart(folds, groups, split):
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
        (["a"] * 5, {}, "all clips are of one class, 'a': a classifier needs at least two"),
        ([], {}, "the table has no clips"),
        (["Dog", "dog", "dög bark", "dög  bark", "cat"] * 5, {},
         "labels differ only in case or spaces but count as different classes: "
         "'Dog' and 'dog', 'dög  bark' and 'dög bark'"),
        ([" dog", "dog"] * 5, {},
         "labels differ only in case or spaces but count as different classes: ' dog' and 'dog'"),
        (["a"] * 5 + ["b"] * 4 + ["ç"], {},
         "classes have fewer than 5 clips (2 of 3): 'ç' (1), 'b' (4); with a single clip (1): 'ç'"),
        (FINE, {"folds": [1, 2] * 5}, "folds contain only one class (2 of 2): 1, 2"),
        (FINE, {"folds": [1, 2] * 5},
         "classes are in one fold only, so never in both training and test (2): 'a', 'b'"),
        (FINE, {"groups": ["x", "y"] * 5},
         "classes are in one group only, so never in both training and test (2): 'a', 'b'"),
        (FINE, {"folds": ["1"] * 10}, "all clips are in one fold, '1': none are left to test on"),
        (FINE, {"groups": ["g"] * 10}, "all clips are in one group, 'g': none are left to test on"),
        (FINE, {"folds": [i // 5 for i in range(10)], "groups": [0] * 6 + [1] * 4},
         "groups are in more than one fold, which leaks (1): 0"),
    ],
)  # fmt: skip
def test_odd_tables_are_reported(tmp_path, labels, columns, expected):
    assert expected in table_of(tmp_path, labels, **columns).problems()


def test_a_single_class_is_not_reported_for_every_fold_too(tmp_path):
    assert len(table_of(tmp_path, ["a"] * 6, folds=[1, 2] * 3).problems()) == 1


def test_the_limit_of_few_clips_can_be_given(tmp_path):
    table = table_of(tmp_path, FINE)
    assert table.problems(6) == ["classes have fewer than 6 clips (2 of 2): 'a' (5), 'b' (5)"]


def test_clips_listed_twice_are_reported_with_and_without_the_same_label(tmp_path):
    touch(tmp_path, "à.wav", "b.wav", "c.wav")
    à, b, c = (tmp_path / name for name in ("à.wav", "b.wav", "c.wav"))
    clips = [à, f"{tmp_path}/./à.wav", Clip(b, 0, 1), Clip(b, 0, 1), Clip(b, 1, 2), c, Clip(c, 0, 1)]
    said = ClipTable(clips, ["x", "x", "x", "y", "x", "x", "y"]).problems(0)
    assert said == [
        f"clips are listed with different labels (1): {b} [0 s to 1 s] ('x', 'y')",
        f"clips are listed more than once (1): {à}",
    ]


def test_two_formats_of_one_recording_are_reported(tmp_path):
    touch(tmp_path, "a/é.wav", "a/é.mp3", "b/é.wav", "a/f.wav", "a/f.x.wav")
    table = load_folder(tmp_path)
    assert table.problems(0) == ["recordings are present in more than one format (1): é.mp3 and é.wav"]


def test_missing_files_are_listed_at_once(tmp_path):
    table = ClipTable([tmp_path / f"{i:02}.wav" for i in range(25)] * 2, [0] * 25 + [1] * 25)
    (said,) = [said for said in table.problems() if said.startswith("sound files")]
    assert said.startswith(f"sound files are missing (25): {tmp_path / '00.wav'}, ")
    assert said.endswith(f"{tmp_path / '19.wav'} and 5 more")


def test_ten_thousand_classes_are_accepted_and_reported(tmp_path):
    touch(tmp_path, "a.wav")
    clips = [Clip(tmp_path / "a.wav", i / 100, (i + 1) / 100) for i in range(20_000)]
    began = time.process_time()
    said = ClipTable(clips, [i % 10_000 for i in range(20_000)]).problems(2)
    assert time.process_time() - began < 3
    assert len(said) == 1
    assert said[0].startswith("there are 10,000 classes for 20,000 clips: training needs much time and memory")
