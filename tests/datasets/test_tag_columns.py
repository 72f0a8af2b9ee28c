"""Tables of clips with several labels: text, empty labels, and columns of 0 and 1."""

import pandas as pd
import pytest

from l3clf.classifier.tag_labels import as_tags
from l3clf.datasets import load
from l3clf.errors import DatasetError, ParameterError

TEXTS = ["dog|rain", "", "rain"]
TABLES = {
    "text": "path,label\na.wav,rain|dog\nb.wav,\nc.wav,rain\n",
    "columns": "path,rain,dog,group\na.wav,1,1,x\nb.wav,0,0,x\nc.wav,1,0,y\n",
    "columns and a fold of 0 and 1": "path,dog,rain,fold\na.wav,1,1,0\nb.wav,0,0,1\nc.wav,0,1,1\n",
    "a row for each label": "path,label,group\na.wav,rain,x\nb.wav,,x\n./a.wav,dog,x\nc.wav,rain,y\na.wav,rain,x\n",
    "a column for each, rows too": "path,rain,dog\na.wav,1,0\nb.wav,0,0\na.wav,0,1\nc.wav,1,0\n",
    "spaces": "path,label\na.wav, rain | dog |rain\nb.wav,|\nc.wav,rain|\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_labels_become_sorted_text(tmp_path, name):
    (tmp_path / "t.csv").write_text(TABLES[name])
    assert load(tmp_path / "t.csv", tags=True).labels.tolist() == TEXTS


def test_rows_of_different_pieces_stay_apart_and_the_origin_counts_those_joined(tmp_path):
    text = "path,label,start_s,end_s\na.wav,rain,0,1\na.wav,dog,1,2\na.wav,dog,0,1\na.wav,cat,0,\n"
    (tmp_path / "t.csv").write_text(text)
    table = load(tmp_path / "t.csv", tags=True)
    assert table.labels.tolist() == ["dog|rain", "dog", "cat"]
    assert [clip.end_s for clip in table.clips] == [1, 2, None]
    assert table.origin == "the table t.csv; 1 row joined with others of the same clip"


def test_a_table_with_clips_of_no_tag_is_written_and_read_back(tmp_path):
    (tmp_path / "t.csv").write_text(TABLES["text"])
    load(tmp_path / "t.csv", tags=True).to_csv(tmp_path / "again.csv")
    assert load(tmp_path / "again.csv", tags=True).labels.tolist() == TEXTS


@pytest.mark.parametrize(
    "labels", [{"label": ["rain|dog", None, "rain"]}, {"rain": [1, 0, 1], "dog": [True, False, False]}]
)
def test_a_data_frame_has_them_too(labels):
    frame = pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav"], **labels})
    assert load(frame, tags=True).labels.tolist() == TEXTS


def test_a_folder_of_classes_has_one_tag_a_clip(tmp_path):
    for name in ("dog", "rain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.wav").touch()
    assert load(tmp_path, tags=True).labels.tolist() == ["dog", "rain"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,colour\na.wav,red\n", "neither a column 'label' nor columns of 0 and 1"),
        ("path,a|b\na.wav,1\n", "cannot be the name of a tag"),
        ("path,label\n,dog\n", "no path in line 2"),
        ("path,label\na.wav,dog\na.wav,\n", r"a\.wav is listed with the labels 'dog', ''; give each of its rows one"),
        ("path,label\na.wav,dog\na.wav,dog|rain\n", r"the labels 'dog', 'dog\|rain'; give each of its rows one label"),
        ("path,label,fold\na.wav,dog,1\na.wav,rain,2\n", "the folds '1', '2'; give all rows of a clip the same"),
        ("path,label,group\na.wav,dog,x\na.wav,dog,y\n", "the groups 'x', 'y'; give all rows of a clip the same"),
    ],
)
def test_what_is_no_table_of_tags_is_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load(tmp_path / "t.csv", tags=True)


def test_only_text_is_split():
    with pytest.raises(ParameterError, match="label 1 is 3"):
        as_tags(["dog", 3])
