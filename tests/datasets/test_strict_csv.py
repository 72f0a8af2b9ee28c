"""Quotes that are not closed, values that cannot be labels, and labels that are doubtful: errors and warnings."""

import tracemalloc

import numpy as np
import pytest
from helpers.data_folders import csv_file, put, touch

from l3clf.datasets import ClipTable, load, load_audacity_labels, load_csv, load_folder
from l3clf.errors import DatasetError, DatasetWarning

ROWS = [f"{k}.wav,{'xy'[k % 2]},note {k}\n" for k in range(40)]


def csv_of(folder, *changed):
    """A table of forty rows with a column that is not used, in which these lines (from 1) are others."""
    lines = ["path,label,note\n", *ROWS]
    for number, line in changed:
        lines[number - 1] = f"{line}\n"
    return csv_file(folder, "".join(lines))


@pytest.mark.parametrize(
    "changed",
    [
        [(7, '5.wav,"y,note')],
        [(7, '5.wav,y,"note')],
        [(7, '"5.wav,y,note')],
        [(7, '5.wav,"y,note'), (20, '18.wav,x,"note"')],
        [(7, '5.wav,"y,note'), (20, '18.wav,x",note')],
        [(7, '5.wav,y,"note'), (20, '18.wav,x,note"')],
        [(7, '"note5.wav,y,note'), (20, '18.wav",x,note')],
        [(7, '5.wav,"y"y,note')],
        [(7, '5.wav,y",note')],
        [(7, '5.wav,y"y,note')],
        [(7, '5".wav,y,note')],
    ],
    ids=str,
)
def test_a_quote_that_is_not_closed_or_stray_is_refused_with_the_line_where_it_is(tmp_path, changed):
    with pytest.raises(DatasetError, match=r"table\.csv, line 7: ") as caught:
        load_csv(csv_of(tmp_path, *changed))
    assert "\n" not in str(caught.value)
    assert "quote" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_quotes_that_are_right_are_read(tmp_path):
    changed = [(2, '0.wav,"say ""x""","one\ntwo, three"'), (3, '1.wav, "y, z" ,5" pipe'.replace('" ,', '",'))]
    table = load_csv(csv_of(tmp_path, *changed))
    assert table.labels.tolist()[:3] == ['say "x"', "y, z", "x"]
    assert len(table) == 40


@pytest.mark.parametrize("column", ["path", "label", "fold", "group"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"a\nb"', r"'a\\nb' has a line break"),
        ('"a\rb"', r"'a\\rb' has a line break"),
        ("x" * 1001, r"has 1,001 characters; expected at most 1,000"),
        ("a\0b", r"'a\\x00b' has a NUL character"),
    ],
    ids=["lf", "cr", "long", "nul"],
)
def test_values_that_cannot_be_names_are_refused_with_their_line(tmp_path, column, value, words):
    columns = {"path": "a.wav", "label": "x", "fold": "1", "group": "g"}
    text = [",".join(columns), ",".join(columns.values()), ",".join((columns | {column: value}).values())]
    with pytest.raises(DatasetError, match=rf"table\.csv, line 3: {column} .*{words}"):
        load_csv(csv_file(tmp_path, "\n".join(text) + "\n"))


@pytest.mark.parametrize("value", ["a\tb", "a\x1b[31mb", "a\x85b", "a\udce9b"])
def test_labels_that_no_model_file_takes_are_refused_before_the_work(value):
    with pytest.raises(
        DatasetError, match=r"labels\[0\]: label .* has a control character or half of a surrogate pair"
    ):
        ClipTable(["a.wav"], [value])


def test_labels_with_spaces_at_their_ends_are_refused_when_they_are_written(tmp_path):
    with pytest.raises(DatasetError, match=r"t\.csv: label .* cannot be stored in a CSV"):
        ClipTable(["a.wav"], [" x"]).to_csv(tmp_path / "t.csv")  # an empty one is a clip without tags
    assert not (tmp_path / "t.csv").exists()


def test_values_of_a_thousand_characters_are_read(tmp_path):
    assert load_csv(csv_file(tmp_path, f"path,label\na.wav,{'x' * 1000}\n")).labels.tolist() == ["x" * 1000]


@pytest.mark.parametrize("column", ["labels", "folds", "groups"])
@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "missing"), (float("nan"), "missing"), ("x\ny", "line break"), ("x" * 1001, "1,001 characters")],
    ids=["None", "nan", "line break", "long"],
)
def test_tables_made_in_python_are_checked_too(column, value, words):
    columns = {"labels": ["a", "b"], column: ["a", value]}
    with pytest.raises(DatasetError, match=rf"^{column}\[1\]: .*{words}"):
        ClipTable(["a.wav", "b.wav"], **columns)


def test_one_long_label_does_not_make_all_of_them_long():
    tracemalloc.start()
    with pytest.raises(DatasetError, match="89,973 characters"):
        ClipTable(["a.wav"] * 20_000, ["dog"] * 19_999 + ["x" * 89_973])
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_columns_of_a_table_keep_their_types():
    table = ClipTable(["a", "b"], [1, 2], folds=np.array([1.0, 2.0]), groups=np.array(["x", "y"], object))
    assert [column.dtype.kind for column in (table.labels, table.folds, table.groups)] == ["i", "f", "U"]


# Doubtful labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["Dog", "dog"], "labels differ only in case or spaces but count as different classes: 'Dog' and 'dog'"),
        (["train", "test"], r"labels are parts of a data set instead of classes: 'test', 'train'"),
        (["fold1", "dog"], r"labels are parts of a data set instead of classes: 'fold1'"),
        (["nan", "dog"], r"labels look like missing values but count as classes: 'nan' \(1\)"),
        (["None", "NULL"], r"labels look like missing values but count as classes: 'None' \(1\), 'NULL' \(1\)"),
    ],
)
def test_doubtful_labels_are_a_warning_and_a_problem(tmp_path, labels, words):
    touch(tmp_path, "0.wav", "1.wav")
    path = csv_file(tmp_path, "path,label\n" + "".join(f"{i}.wav,{label}\n" for i, label in enumerate(labels)))
    with pytest.warns(DatasetWarning, match=words):
        table = load_csv(path)
    assert any(problem.startswith("labels ") for problem in table.problems(0))


def test_contradictory_rows_are_a_warning(tmp_path):
    with pytest.warns(DatasetWarning, match=r"clips are listed with different labels \(1\): .*a\.wav \('x', 'y'\)"):
        load_csv(csv_file(tmp_path, "path,label\na.wav,x\n./a.wav,y\nb.wav,y\n"))


@pytest.mark.parametrize("names", [("Dog", "dog"), ("train", "cat"), ("dog ", "dog")])
def test_doubtful_folders_are_a_warning(tmp_path, names):
    touch(tmp_path, *(f"{name}/a.wav" for name in names))
    for loader in (load, load_folder):
        with pytest.warns(DatasetWarning, match="^.*: labels "):
            assert sorted(loader(tmp_path).labels.tolist()) == sorted(names)


def test_doubtful_labels_of_a_track_are_a_warning(tmp_path):
    touch(tmp_path, "dawn.wav")
    put(tmp_path / "dawn.txt", "0\t1\twren\n1\t2\tWren\n")
    with pytest.warns(DatasetWarning, match="'Wren' and 'wren'"):
        load_audacity_labels(tmp_path)
