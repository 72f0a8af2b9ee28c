"""Names of files that hold line breaks, spaces, quotes and other bytes than UTF-8: written to a CSV and read back."""

import os

import pytest
from helpers.data_folders import csv_file, touch

from l3clf import ClipTable
from l3clf.datasets import load, load_csv
from l3clf.errors import DatasetError

NAMES = {
    "line feed": "a\nb.wav",
    "carriage return": "a\rb.wav",
    "both": "a\r\nb.wav",
    "several line feeds": "a\n\nb\nc.wav",
    "a quote and a line feed": 'a"\nb.wav',
    "a comma and a line feed": "a,\nb.wav",
    "a formula and a line feed": "=a\nb.wav",
    "a space in front": " a.wav",
    "no UTF-8": "a\udce9.wav",
    "no UTF-8 and a line feed": "\udcff\n.wav",
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("escape_formulas", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_comes_back_from_csv_whatever_its_files_are_called(tmp_path, name, escape_formulas):
    touch(tmp_path / "set", f"x/{NAMES[name]}", "y/plain.wav")
    table = load(tmp_path / "set")
    table.to_csv(tmp_path / "set" / "t.csv", escape_formulas=escape_formulas)
    back = load_csv(tmp_path / "set" / "t.csv")
    assert [clip.path for clip in back.clips] == [clip.path for clip in table.clips]
    assert back.labels.tolist() == table.labels.tolist()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", NAMES)
def test_names_beside_the_table_come_back(tmp_path, name):
    touch(tmp_path, NAMES[name])
    ClipTable([tmp_path / NAMES[name]], ["x"], folds=[1], groups=["g"]).to_csv(tmp_path / "t.csv")
    (clip,) = load_csv(tmp_path / "t.csv").clips
    assert clip.path == str(tmp_path / NAMES[name])


@pytest.mark.parametrize("name", ["a\nb.wav", "a\udce9.wav", "a.wav "])
def test_names_that_would_not_come_back_are_refused_with_what_to_do(tmp_path, name):
    with pytest.raises(DatasetError, match=r"t\.csv: path .* cannot be stored in a CSV; rename the file$"):
        ClipTable([tmp_path / name], ["x"]).to_csv(tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    "text",
    [
        b"path,label\na.wav,caf\xe9\n",
        b"path,label\ncaf\xe9.wav,x\n",
        b"path,label,caf\xe9\na.wav,x,1\n",
        b"path,label,note\na.wav,x,caf\xe9\n",
        "path,label\na.wav,x\n".encode("utf-16"),
        b"caf\xe9,label\na.wav,x\n",
    ],
)
def test_other_text_than_utf8_is_refused_as_before(tmp_path, text):
    touch(tmp_path, "a.wav")
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(DatasetError, match=r"t\.csv: is not UTF-8 text \(byte 0x.. at \d+\); save it again as UTF-8"):
        load_csv(tmp_path / "t.csv")


def test_a_stray_quote_does_not_become_a_name(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    with pytest.raises(DatasetError, match=r"line 2: "):
        load_csv(csv_file(tmp_path, 'path,label\n"a.wav,x\nb.wav,y\n",z\n'))
