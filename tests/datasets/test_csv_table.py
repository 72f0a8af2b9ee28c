"""CSV files become tables of clips, and those that cannot be used are refused in one sentence."""

import pytest
from helpers.data_folders import csv_file

from l3clf.audio.clip import Clip
from l3clf.datasets import load, load_csv
from l3clf.errors import DatasetError

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


def test_an_empty_column_is_ignored(tmp_path):
    table = load_csv(csv_file(tmp_path, "path,label,fold,group\na.wav,x,,\nb.wav,y,,\n"))
    assert table.folds is None
    assert table.groups is None


def test_trailing_commas_are_not_values(tmp_path):
    assert load_csv(csv_file(tmp_path, "path,label\na.wav,x,,\n")).labels.tolist() == ["x"]


def test_a_short_line_leaves_the_rest_empty(tmp_path):
    table = load_csv(csv_file(tmp_path, "path,label,start_s,end_s\na.wav,x\n"))
    assert table.clips == [Clip(tmp_path / "a.wav")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"no column 'path', 'label' \(found no header"),
        ("\n\n", r"no column 'path', 'label' \(found no header"),
        ("path\na.wav\n", r"no column 'label' \(found 'path'"),
        ("path|label\na.wav|x\n", r"found 'path|label'"),
        ("a.wav,x\n", r"no column 'path', 'label' \(found 'a.wav', 'x'"),
        ("path,label\n", r"no clips; expected a header and one line for each clip"),
        ("path,label\n\n,\n", r"no clips"),
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
        ("path,label,path\na.wav,x,b.wav\n", r"more than one column 'path'"),
        pytest.param("path,label\n\"" + "x" * 200_000 + "\",x\n", r"line 2: a value has more than 131,072", id="huge"),
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
    with pytest.raises(DatasetError, match=rf"is not UTF-8 text \(byte {byte}.*save it again as UTF-8"):
        load_csv(path)


@pytest.mark.parametrize("name", ["missing.csv", "folder", "a\0b.csv"])
def test_a_table_that_cannot_be_opened_is_reported(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DatasetError, match=r"cannot be read \(.*\); give a CSV file"):
        load_csv(tmp_path / name)


def test_an_unknown_group_column_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no column 'who' \(found 'path', 'label'"):
        load_csv(csv_file(tmp_path, "path,label\na.wav,x\n"), "who")
