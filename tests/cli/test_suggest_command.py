"""l3clf suggest: a table to fill in, and what never gets into it."""

import numpy as np
import pytest
import soundfile
from helpers.tones import RATE, rows, write_tone

import l3clf


@pytest.fixture
def here(model, tmp_path, monkeypatch):
    for k, hz in enumerate((210, 600, 2100)):
        write_tone(tmp_path / "new" / f"{k}.wav", hz, k)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table_is_relative_to_its_folder_and_read_back(here, run):
    (here / "tables").mkdir()
    status, out, err = run("suggest", "model.l3clf", "new", "-n", "2", "--out", "tables/todo.csv", "--quiet")
    assert (status, out) == (0, "")
    assert err == "Suggested 2 clips. Replace each ? in the column label, and load the table as a data set.\n"
    text = (here / "tables" / "todo.csv").read_text()
    found = rows(text)
    assert [row["label"] for row in found] == ["?", "?"]
    assert found[0]["path"] == "../new/1.wav"
    status, _, err = run("fit", "tables/todo.csv", "--embedder", "mfcc", "--out", "m")
    assert (status, err.count("\n")) == (1, 1)
    assert "label '?' in line 2, 3 (0 of 2 are filled in); fill in the others or delete their lines" in err
    (here / "tables" / "todo.csv").write_text(text.replace("?", "low", 1).replace("?", "high", 1))
    assert len(l3clf.datasets.load("tables/todo.csv")) == 2
    status, _, err = run("suggest", "model.l3clf", "new", "--out", "tables/todo.csv")
    assert status == 1
    assert "is not a table of suggestions without a label" in err


def test_to_standard_output_without_what_is_labelled(here, run):
    status, out, _ = run("suggest", "model.l3clf", "new", "data", "--labelled", "data", "--quiet")
    assert status == 0
    assert {row["path"] for row in rows(out)} == {"new/0.wav", "new/1.wav", "new/2.wav"}
    status, out, err = run("suggest", "model.l3clf", "data", "--labelled", "data")
    assert (status, out) == (1, "")
    assert "every file is labelled already" in err


def test_what_is_labelled_for_a_tagger_may_have_no_label(here, run):
    files = [str(path) for path in sorted((here / "data").rglob("*.wav"))]
    tagger = l3clf.ClipTagger("mfcc", threshold=0.5, cache=None)
    l3clf.save_model(tagger.fit(files, [["a", "b"][k % 2 :] if k else [] for k in range(len(files))]), "tagger.l3clf")
    (here / "done.csv").write_text("path,label\nnew/0.wav,a|b\nnew/1.wav,\n")
    status, out, err = run("suggest", "tagger.l3clf", "new", "--labelled", "done.csv", "--quiet")
    assert (status, [row["path"] for row in rows(out)]) == (0, ["new/2.wav"]), err
    (here / "columns.csv").write_text("path,a,b\nnew/1.wav,0,1\nnew/2.wav,0,0\n")
    status, out, err = run("suggest", "tagger.l3clf", "new", "--labelled", "columns.csv", "--quiet")
    assert (status, [row["path"] for row in rows(out)]) == (0, ["new/0.wav"]), err


def test_silence_and_broken_files(here, run):
    (here / "new" / "broken.wav").write_text("no sound")
    soundfile.write(here / "new" / "silent.wav", np.zeros(RATE), RATE)
    status, out, err = run("suggest", "model.l3clf", "new", "--quiet")
    assert status == 1
    assert len(rows(out)) == 3
    assert "failed: new/broken.wav" in err
    assert "1 file without a sound" in err
    assert err.count("\n") == 3
    assert run("suggest", "model.l3clf", "new", "-n", "0")[0] == 1
    assert run("suggest", "model.l3clf", "new", "--out", "model.l3clf")[0] == 1


def test_what_is_labelled_for_a_tagger_may_have_no_tag(here, run):
    (here / "tags.csv").write_text("path,low,high\nnew/0.wav,1,0\nnew/1.wav,0,0\nnew/2.wav,0,1\n")
    tones = [str(here / "new" / f"{k}.wav") for k in range(3)]
    tagger = l3clf.ClipTagger("mfcc", threshold=0.5, cache=None).fit(tones, [{"low"}, set(), {"high"}])
    l3clf.save_model(tagger, here / "tagger.l3clf")
    write_tone(here / "new" / "3.wav", 900, 3)
    status, out, _ = run("suggest", "tagger.l3clf", "new", "--labelled", "tags.csv", "--quiet")
    assert (status, [row["path"] for row in rows(out)]) == (0, ["new/3.wav"])
