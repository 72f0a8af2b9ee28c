"""Tables of clips from folders and CSV files: what is found, what is kept, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from l3clf import datasets
from l3clf.audio.clip import Clip
from l3clf.datasets import SOUND_SUFFIXES, ClipTable, find_sounds, load, load_csv, load_folder
from l3clf.errors import DatasetError

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX links and file names")


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def csv_file(folder, text, name="table.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


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
    st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from(" ,;\"'\n\r\t#é雨🌧\ufeff"),
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


@settings(max_examples=150, deadline=None)
@given(parts=tables())
@example(parts=([Clip('sub/a, "b"\n.wav', 0.1, 1 / 3)], ["x,y"], None, ["''"]))
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
    touch(tmp_path / "here" / "a.wav")
    ClipTable([tmp_path / "here" / "a.wav"], ["x"]).to_csv(tmp_path / "here" / "t.csv")
    (tmp_path / "here").rename(tmp_path / "there")
    assert Path(load_csv(tmp_path / "there" / "t.csv").clips[0].path).is_file()


def test_whole_clips_need_no_columns_for_times(tmp_path):
    ClipTable([tmp_path / "a.wav"], ["x"], folds=[1]).to_csv(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "path,label,fold\na.wav,x,1\n"


@pytest.mark.parametrize("value", ["", " x", "x\n", "\udce9"])
@pytest.mark.parametrize("column", ["label", "fold", "group"])
def test_values_that_would_not_come_back_are_refused_and_nothing_is_written(tmp_path, column, value):
    columns = {"label": ["a"], column: [value]}
    table = ClipTable(["a.wav"], columns["label"], columns.get("fold"), columns.get("group"))
    with pytest.raises(DatasetError, match=rf"t\.csv: {column} .* cannot be kept in a CSV"):
        table.to_csv(tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(DatasetError, match=r"t\.csv: cannot be written \(No such file or directory\)"):
        ClipTable(["a.wav"], ["x"]).to_csv(tmp_path / "no" / "t.csv")


# From a CSV


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_csv_is_read_whatever_wrote_it(tmp_path, encoding, newline):
    text = 'path,label,fold\nä b.wav, dog ,1\n\n,,\nsub/c.wav,"cat, big",2\n'
    table = load_csv(csv_file(tmp_path, text.replace("\n", newline), encoding=encoding))
    assert [clip.path for clip in table.clips] == [str(tmp_path / "ä b.wav"), str(tmp_path / "sub" / "c.wav")]
    assert table.labels.tolist() == ["dog", "cat, big"]
    assert table.folds.tolist() == ["1", "2"]
    assert table.groups is None


def test_columns_may_come_in_any_order_with_others_between(tmp_path):
    table = load_csv(csv_file(tmp_path, 'note,end_s, label ,"path",start_s,group\n,2.5,x,a.wav,1,g\n-,,y,b.wav,,h\n'))
    assert table.clips == [Clip(tmp_path / "a.wav", 1, 2.5), Clip(tmp_path / "b.wav")]
    assert table.groups.tolist() == ["g", "h"]


def test_absolute_paths_stay_absolute(tmp_path):
    assert load_csv(csv_file(tmp_path, "path,label\n/else/where.wav,x\n")).clips == [Clip("/else/where.wav")]


def test_another_column_can_be_the_group(tmp_path):
    path = csv_file(tmp_path, "path,label,group,speaker\na.wav,x,1,ann\nb.wav,y,2,bob\n")
    assert load_csv(path).groups.tolist() == ["1", "2"]
    assert load_csv(path, "speaker").groups.tolist() == ["ann", "bob"]
    assert load(path, "speaker").groups.tolist() == ["ann", "bob"]


def test_a_column_that_is_empty_throughout_is_none(tmp_path):
    table = load_csv(csv_file(tmp_path, "path,label,fold,group\na.wav,x,,\nb.wav,y,,\n"))
    assert table.folds is None
    assert table.groups is None


def test_commas_at_the_end_of_lines_are_no_values(tmp_path):
    assert load_csv(csv_file(tmp_path, "path,label\na.wav,x,,\n")).labels.tolist() == ["x"]


def test_a_short_line_leaves_the_rest_empty(tmp_path):
    table = load_csv(csv_file(tmp_path, "path,label,start_s,end_s\na.wav,x\n"))
    assert table.clips == [Clip(tmp_path / "a.wav")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"has no column 'path', 'label'; found nothing"),
        ("\n\n", r"has no column 'path', 'label'; found nothing"),
        ("path\na.wav\n", r"has no column 'label'; found 'path'"),
        ("Path,Label\na.wav,x\n", r"has no column 'path', 'label'; found 'Path', 'Label'"),
        ("path;label\na.wav;x\n", r"found 'path;label'"),
        ("a.wav,x\n", r"has no column 'path', 'label'; found 'a.wav', 'x'"),
        ("path,label\n", r"holds no clips; expected a header and one line for each clip"),
        ("path,label\n\n,\n", r"holds no clips"),
        ("path,label\n,x\n", r"no path in line 2; fill it in or delete the line"),
        ("path,label\na.wav,x\nb.wav,\n\nc.wav, \n", r"no label in line 3, 5;"),
        ("path,label\n" + "a.wav,\n" * 12, r"no label in line 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more;"),
        ("path,label,fold\na.wav,x,1\nb.wav,y,\n", r"no fold in line 3"),
        ("path,label,group\na.wav,x,\nb.wav,y,1\n", r"no group in line 2"),
        ("path,label,start_s\na.wav,x,1:30\n", r"table\.csv, line 2: .*'1:30'; expected times in seconds"),
        ("path,label,end_s\na.wav,x,\"1,5\"\n", r"line 2: .*'1,5'"),
        ("path,label,start_s\na.wav,x,nan\n", r"line 2: .*start_s=nan"),
        ("path,label,start_s\na.wav,x,-1\n", r"line 2: .*start_s=-1"),
        ("path,label,start_s,end_s\na.wav,x,2,1\n", r"line 2: .*end_s=1\.0; expected .* greater than start_s=2"),
        ("path,label\na.wav,x\nb.wav,cat,big\n", r"line 3: more values than columns \('big'\); put quotes around"),
        ("path,label,path\na.wav,x,b.wav\n", r"has more than one column 'path'"),
        pytest.param("path,label\n\"" + "x" * 200_000 + "\",x\n", r"is not a CSV file \(field larger than", id="huge"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used_are_refused_in_one_sentence(tmp_path, text, words):
    with pytest.raises(DatasetError, match=words) as caught:
        load_csv(csv_file(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "table.csv"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("encoding", "byte"), [("latin-1", "0xe9 at 14"), ("utf-16", "0xff at 0"), ("cp1252", "0xe9")])
def test_other_encodings_are_named_by_their_first_odd_byte(tmp_path, encoding, byte):
    path = csv_file(tmp_path, "path,label\ncafé.wav,x\n", encoding=encoding)
    with pytest.raises(DatasetError, match=rf"is not UTF-8 text \(byte {byte}.*save it as CSV in UTF-8"):
        load_csv(path)


@pytest.mark.parametrize("name", ["missing.csv", "folder", "a\0b.csv"])
def test_a_table_that_cannot_be_opened_is_said(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DatasetError, match=r"cannot be read \(.*\); expected a CSV file"):
        load_csv(tmp_path / name)


def test_an_unknown_group_column_is_said(tmp_path):
    with pytest.raises(DatasetError, match="has no column 'who'; found 'path', 'label'"):
        load_csv(csv_file(tmp_path, "path,label\na.wav,x\n"), "who")


# From folders


def test_each_subfolder_is_a_class_however_deep_its_sounds_lie(tmp_path):
    touch(tmp_path / "dog" / "b.wav", tmp_path / "dog" / "deep" / "er" / "a.flac", tmp_path / "cat" / "c.MP3")
    touch(tmp_path / "dog" / "notes.txt", tmp_path / "loose.wav", tmp_path / "empty" / "readme.md")
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
    touch(tmp_path / f"a{case(suffix)}", tmp_path / f"b{suffix}.txt", tmp_path / suffix[1:])
    assert find_sounds(tmp_path) == [str(tmp_path / f"a{case(suffix)}")]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    touch(tmp_path / "x" / "._a.wav", tmp_path / "x" / ".hidden" / "a.wav", tmp_path / ".git" / "a.wav")
    touch(tmp_path / "x" / "a.wav")
    assert load_folder(tmp_path).clips == [Clip(tmp_path / "x" / "a.wav")]


def test_a_folder_with_a_sounds_name_is_a_folder(tmp_path):
    touch(tmp_path / "x" / "session.wav" / "a.wav")
    assert find_sounds(tmp_path) == [str(tmp_path / "x" / "session.wav" / "a.wav")]


@posix_only
def test_links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path / "data" / "x" / "a.wav", tmp_path / "elsewhere" / "b.wav")
    (tmp_path / "data" / "x" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "x" / "self").symlink_to(tmp_path / "data" / "x")
    (tmp_path / "data" / "x" / "far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "x" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    found = [os.path.relpath(path, tmp_path / "data" / "x") for path in find_sounds(tmp_path / "data")]
    assert found == ["a.wav", "far/b.wav", "gone.wav"]  # the last is found out when it is read


@posix_only
def test_names_that_are_no_utf_8_are_found(tmp_path):
    touch(tmp_path / "x" / "\udce9.wav")
    assert load_folder(tmp_path).clips == [Clip(tmp_path / "x" / "\udce9.wav")]


@pytest.mark.parametrize("names", [[], ["a.wav"], ["x/a.txt"], ["x/.a.wav"]])
def test_folders_without_classes_are_refused(tmp_path, names):
    touch(*(tmp_path / name for name in names))
    with pytest.raises(DatasetError, match=r"no sound files in subfolders; expected one subfolder for each class"):
        load_folder(tmp_path)


@pytest.mark.parametrize("function", [load_folder, find_sounds])
@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_cannot_be_listed(tmp_path, function, name):
    touch(tmp_path / "file")
    with pytest.raises(DatasetError, match=r"cannot be listed \(.*\); expected a readable folder"):
        function(tmp_path / name)


# Finding out what it is


def test_load_prefers_meta_csv_to_the_folders(tmp_path):
    touch(tmp_path / "x" / "a.wav")
    assert load(tmp_path).labels.tolist() == ["x"]
    csv_file(tmp_path, "path,label\nx/a.wav,from the table\n", "meta.csv")
    table = load(tmp_path)
    assert table.labels.tolist() == ["from the table"]
    assert table.clips == [Clip(tmp_path / "x" / "a.wav")]
    assert load(str(tmp_path / "meta.csv")).clips == table.clips


def test_load_says_what_it_cannot_be(tmp_path):
    with pytest.raises(DatasetError, match="no such file or folder; expected a CSV, or a folder with a subfolder"):
        load(tmp_path / "missing")
    with pytest.raises(DatasetError, match=r"group='who' names a column, and there is no meta\.csv"):
        load(tmp_path, "who")


def test_the_data_of_this_project_load(shared):
    table = datasets.load(shared / "data" / "esc10")
    assert len(table) == 400
    assert sorted(np.unique(table.labels, return_counts=True)[1]) == [40] * 10
    assert len(set(table.folds.tolist())) == 5
    assert all(Path(clip.path).is_file() for clip in table.clips)
