"""l3clf similar: a table of what sounds like a file, and of what could not be read."""

import json

import pytest
from helpers.tones import rows, write_tone

from l3clf.search import similar


@pytest.fixture
def here(data, monkeypatch):
    monkeypatch.chdir(data.parent)
    return data.parent


def test_files_are_listed_once_and_the_query_is_not(here, run):
    status, out, err = run("similar", "data/low/0.wav", "data", "--embedder", "mfcc", "--quiet")
    assert (status, err) == (0, "")
    found = rows(out)
    assert [row["path"].split("/")[1] for row in found] == ["low"] * 4 + ["high"] * 5
    assert "data/low/0.wav" not in {row["path"] for row in found}
    expected = similar("data/low/0.wav", [row["path"] for row in found], embedder="mfcc")
    assert [float(row["similarity"]) for row in found] == pytest.approx([m.similarity for m in expected], abs=1e-6)
    assert all(0 <= float(row["start_s"]) < float(row["end_s"]) <= 1.2 for row in found)


def test_a_piece_n_and_all_parts(here, run):
    write_tone(here / "long.wav", 220, seconds=6)
    argv = ["similar", "long.wav", "long.wav", "data", "--embedder", "mfcc", "--start", "1", "--end", "2"]
    _, out, _ = run(*argv, "--format", "jsonl", "-n", "20", "--all-parts")
    found = [json.loads(line) for line in out.splitlines()]
    assert len(found) == 20
    parts = [row for row in found if row["path"] == "long.wav"]
    assert len(parts) >= 5
    assert all(row["end_s"] <= 1 or row["start_s"] >= 2 for row in parts)
    _, out, _ = run(*argv, "-n", "3")
    assert [row["path"] for row in rows(out)].count("long.wav") == 1


def test_files_that_cannot_be_read_are_named(here, run):
    (here / "data" / "broken.wav").write_text("no sound")
    (here / "empty").mkdir()
    status, out, err = run("similar", "data/low/0.wav", "data", "empty", "--embedder", "mfcc", "--quiet")
    assert status == 1
    assert len(rows(out)) == 9
    assert [line.split(": ")[1] for line in err.splitlines()] == ["failed", "failed"]
    assert "empty" in err
    assert "broken.wav" in err


def test_a_query_that_is_none(here, run):
    (here / "broken.wav").write_text("no sound")
    for query, words in (("broken.wav", "broken.wav"), ("missing.wav", "missing.wav")):
        status, out, err = run("similar", query, "data", "--embedder", "mfcc")
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert words in err
    assert "missing.wav" in run("similar", "missing.wav", "data")[2]  # and OpenL3's weights are not asked for
    assert "correct --start" in run("similar", "data/low/0.wav", "data", "--embedder", "mfcc", "--start", "9")[2]
    status, out, err = run("similar", "data/low/0.wav", "data/low/0.wav", "--embedder", "mfcc")
    assert (status, len(rows(out))) == (0, 0)
    assert "nothing to compare it with" in err
    assert run("similar", "data/low/0.wav", "data", "-n", "0")[2] == (
        "l3clf: -n 0; expected a whole number of at least 1\n"
    )


def test_a_file_of_matches_is_replaced_and_no_other(here, run):
    argv = ["similar", "data/low/0.wav", "data", "--embedder", "mfcc", "--quiet", "--out"]
    assert run(*argv, "found.csv") == (0, "", "")
    assert run(*argv, "found.csv") == (0, "", "")
    assert len(rows((here / "found.csv").read_text())) == 9
    (here / "notes.txt").write_text("mine")
    status, _, err = run(*argv, "notes.txt")
    assert (status, (here / "notes.txt").read_text()) == (1, "mine")
    assert "is not a table of matches" in err
    assert run(*argv, "data/low/0.wav")[0] == 1
