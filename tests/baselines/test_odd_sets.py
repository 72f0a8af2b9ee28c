"""Odd data sets are measured and named, or refused in one sentence."""

import warnings

import numpy as np
import pytest
import soundfile
from helpers.class_folders import run

from l3clf import ClipTable, datasets
from l3clf.cli import main as cli
from l3clf.errors import DatasetError, DatasetWarning

# --- the command line, and being killed ----------------------------------------------------------------


def command(sounds, out, cache):
    return ["baseline", str(sounds), "--embedders", "mfcc", "--out", str(out), "--cache", str(cache)]


# --- odd sets -----------------------------------------------------------------------------------------


def write_csv(folder, table, more=(), header="path,label", encoding="utf-8", column=None, labels=None):
    """A CSV of a table's clips, with a further column and further lines."""
    labels = table.labels if labels is None else labels
    values = [""] * len(table) if column is None else [f",{value}" for value in column]
    lines = [f"{clip.path},{label}{v}" for clip, label, v in zip(table.clips, labels, values, strict=True)]
    (folder / "odd.csv").write_bytes("\n".join([header, *lines, *more, ""]).encode(encoding))
    return folder / "odd.csv"


def path_of(table, i):
    return table.clips[i].path


ODD_BUT_FINE = {
    "a class with fewer clips than folds": (
        lambda folder, table: write_csv(folder, table.subset(range(13))),
        "fewer than 5 clips (1 of 3)",
    ),
    "a fold of one class": (
        lambda folder, table: write_csv(
            folder, table, header="path,label,fold", column=[0] * 3 + [1 + i % 3 for i in range(21)]
        ),
        "folds contain only one class (1 of 4): '0'",
    ),
    "labels in other case": (
        lambda folder, table: write_csv(
            folder, table, labels=[x.upper() if i % 2 else x for i, x in enumerate(table.labels)]
        ),
        "labels differ only in case or spaces",
    ),
    "a path twice": (
        lambda folder, table: write_csv(folder, table, [f"{path_of(table, i)},{table.labels[i]}" for i in range(9)]),
        "clips are listed more than once (9)",
    ),
    "a path with two labels": (
        lambda folder, table: write_csv(folder, table, [f"{path_of(table, 0)},{table.labels[-1]}"]),
        "clips are listed with different labels (1)",
    ),
    "two formats": (
        lambda folder, table: write_csv(folder, table, in_another_format(folder, table)),
        "recordings are present in more than one format (9)",
    ),
    "empty rows": (lambda folder, table: write_csv(folder, table, ["", ",", " , "]), "leakage"),
}


def in_another_format(folder, table):
    """Nine clips as WAV and FLAC side by side; the lines of both."""
    lines = []
    for i in range(9):
        samples, rate = soundfile.read(path_of(table, i))
        for suffix in ("wav", "flac"):
            soundfile.write(folder / f"{i}.{suffix}", samples, rate)
            lines.append(f"{i}.{suffix},{table.labels[i]}")
    return lines


@pytest.mark.parametrize("name", ODD_BUT_FINE)
@pytest.mark.filterwarnings("error")
def test_odd_sets_are_measured_and_noted(name, table, tmp_path):
    make, words = ODD_BUT_FINE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DatasetWarning)  # the report notes what it says
        odd = datasets.load(make(tmp_path, table))
    report = run(odd, heads=["logistic"], poolings=["mean", "vote"], tune=True)
    assert len(report.data) == len(odd)
    assert any(words in note for note in report.notes)
    right = [answer == label for answer, label in zip(report.results[0].answers.predictions, odd.labels, strict=True)]
    assert report.best["accuracy"] == pytest.approx(np.mean(right))
    if name.startswith(("a path twice", "two formats")):
        assert any(note.startswith("Leakage is likely") for note in report.notes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder, t: write_csv(folder, t, labels=["a"] * len(t)), "only the class 'a'"),
        (
            lambda folder, t: write_csv(folder, t, header="path,label,fold", column=t.labels),
            "no class is in more than one of the 4 folds",
        ),
        (
            lambda folder, t: write_csv(
                folder, t.subset(range(12)), header="path,label,fold", column=[1] * 6 + [2] * 6
            ),
            "only the class",
        ),
        (lambda folder, t: write_csv(folder, t, labels=[f"c{i}" for i in range(len(t))]), "has a single clip"),
        (lambda folder, t: write_csv(folder, t, labels=["é"] * len(t), encoding="latin-1"), "is not UTF-8 text"),
        (lambda folder, t: write_csv(folder, t, encoding="utf-16"), "is not UTF-8 text"),
    ],
)
def test_sets_that_cannot_be_measured_are_refused_in_one_sentence(table, tmp_path, capsys, make, words):
    argv = command(make(tmp_path, table), tmp_path / "out", tmp_path / "c.sqlite")
    assert cli.main(argv) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("l3clf: ")]
    assert len(said) == 1
    assert words in said[0]
    assert not (tmp_path / "out").exists()  # refused before anything was embedded


def test_missing_files_are_all_listed_and_the_others_measured(table, tmp_path, capsys):
    made = write_csv(tmp_path, table, [f"gone/{k:02d}.wav,siren" for k in range(25)])
    assert cli.main([*command(made, tmp_path / "out", tmp_path / "c.sqlite"), "--heads", "logistic"]) == 1
    out, err = capsys.readouterr()
    assert "sound files are missing (25)" in err.split("embedded in")[0]  # before the work begins
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for k in range(25):
        assert f"l3clf: failed: {tmp_path}/gone/{k:02d}.wav" in err
        assert f"gone/{k:02d}.wav" in page
    assert "always the largest class" in out


def test_ten_thousand_classes_are_refused_at_once():
    labels = np.arange(20_000) % 10_000
    clips = [f"{i}.wav" for i in range(20_000)]
    with pytest.raises(DatasetError, match="10,000 classes for 20,000 clips need too much memory") as caught:
        run(ClipTable(clips, labels))
    assert "mfcc / forest / mean (up to 610 GB)" in str(caught.value)


def test_a_head_too_large_is_left_out_and_noted(table, monkeypatch):
    monkeypatch.setattr("l3clf.baselines.cells.MAX_BYTES", 1e5)
    report = run(table, poolings=["mean", "vote"])
    assert {row["head"] for row in report.table} == {"logistic"}
    assert any(note.startswith("Left out, because 4 classes for 24 clips") for note in report.notes)
    assert any("mfcc / forest / vote" in note for note in report.notes)


def test_spoken_digits_are_recognised_and_speakers_left_out(table, tmp_path):
    for i, clip in enumerate(table.clips):
        samples, rate = soundfile.read(clip.path)
        soundfile.write(tmp_path / f"{i // 6}_{'ann' if i % 2 else 'bob'}_{i % 6}.wav", samples, rate)
    report = run(datasets.load(tmp_path), heads=["logistic"])
    assert report.data.origin.startswith("FSDD")
    assert (report.split.kind, report.split.names) == ("groups", ("ann", "bob"))
