"""Report files are written whole or not at all, and CSV and JSON keep full precision."""

import csv
import json

import numpy as np
import pytest
from helpers.report_pages import HOSTILE, a_row

from l3clf import report
from l3clf.errors import ParameterError
from l3clf.report import Page, write_csv, write_html, write_json

# ------------------------------------------------------------------------------------------ files


def test_the_same_page_gives_the_same_bytes(page, tmp_path):
    assert write_html(page, tmp_path / "a.html").read_bytes() == write_html(page, tmp_path / "b.html").read_bytes()


WRITERS = {
    "html": lambda out: write_html(Page("new"), out),
    "csv": lambda out: write_csv([a_row()], out),
    "json": lambda out: write_json([a_row()], out),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_files_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch, writer):
    out = tmp_path / "file"
    out.write_text("old")

    def full(path, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", full)
        with pytest.raises(ParameterError, match=r"cannot be written \(No space left"):
            writer(out)
    assert out.read_text() == "old"
    assert writer(str(out)) == out
    assert out.read_text("utf-8") != "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match=r"report\.html: cannot be written"):
        write_html(Page("x"), tmp_path / "file" / "report.html")


ODD_ROWS = [
    a_row(1 / 3, HOSTILE, extra=1) | {"seconds": np.float32(0.1)},
    {"embedder": '鳥, "b"\nc', "accuracy": np.float64(2 / 3), "macro_f1": float("nan"), "clips_per_s": np.int64(7)},
]


def test_csv_comes_back_in_full_precision(tmp_path):
    out = write_csv(ODD_ROWS, tmp_path / "t.csv")
    with out.open(encoding="utf-8", newline="") as file:
        back = list(csv.DictReader(file))
    assert list(back[0]) == [*report.COLUMNS, "extra"]
    assert float(back[0]["accuracy"]) == 1 / 3
    assert float(back[1]["accuracy"]) == 2 / 3
    assert float(back[0]["seconds"]) == float(np.float32(0.1))
    assert (back[1]["embedder"], back[1]["macro_f1"], back[1]["clips_per_s"]) == ('鳥, "b"\nc', "", "7")


def test_json_comes_back_in_full_precision(tmp_path):
    more = {"versions": {"l3clf": "0.1"}, "classes": np.array(["a", "b"]), "folder": tmp_path}
    out = write_json(ODD_ROWS, tmp_path / "t.json", floors=[("largest", np.float64(0.1))], more=more)
    back = json.loads(out.read_text("utf-8"))
    assert list(back) == ["rows", "floors", "versions", "classes", "folder"]
    assert list(back["rows"][0]) == list(back["rows"][1]) == [*report.COLUMNS, "extra"]
    assert back["rows"][0]["embedder"] == HOSTILE
    assert [row["accuracy"] for row in back["rows"]] == [1 / 3, 2 / 3]
    assert (back["rows"][1]["macro_f1"], back["rows"][1]["extra"]) == (None, None)
    assert back["floors"] == [{"name": "largest", "accuracy": 0.1}]
    assert (back["classes"], back["folder"]) == (["a", "b"], str(tmp_path))


def test_what_json_cannot_hold_is_named(tmp_path):
    with pytest.raises(ParameterError, match="not JSON serializable"):
        write_json([], tmp_path / "t.json", more={"x": object()})
    assert not list(tmp_path.iterdir())


def test_tables_without_rows_still_have_their_columns(tmp_path):
    assert write_csv([], tmp_path / "t.csv").read_text() == ",".join(report.COLUMNS) + "\n"
    assert json.loads(write_json([], tmp_path / "t.json").read_text()) == {"rows": [], "floors": []}
