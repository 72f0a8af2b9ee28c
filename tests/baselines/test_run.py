"""The baseline table on made sounds: equal to scikit-learn by hand, honest about leakage, resumable."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import l3clf
from l3clf import ClipTable, datasets
from l3clf.baselines.run import ready_embedders
from l3clf.cli import main as cli
from l3clf.demo.sounds import CLASSES, synthesise
from l3clf.errors import DatasetError, ParameterError

RATE = 16_000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Six clips in each of four classes."""
    folder = tmp_path_factory.mktemp("sounds")
    for c, name in enumerate(CLASSES[:4]):
        (folder / name).mkdir()
        for k in range(6):
            clip = synthesise(name, np.random.default_rng([c, k]), 2.0, RATE)
            soundfile.write(folder / name / f"{k}.wav", clip, RATE)
    return folder


@pytest.fixture(scope="module")
def table(sounds):
    return datasets.load(sounds)


def run(table, **options):
    return l3clf.baseline(table, ["mfcc"], **{"cache": None, **options})


def test_the_table_has_a_row_for_each_cell_best_first(table):
    report = run(table, poolings=("mean", "mean+std", "vote"))
    assert len(report.table) == 6
    assert report.best == report.table[0]
    accuracies = [row["accuracy"] for row in report.table]
    assert accuracies == sorted(accuracies, reverse=True)
    assert {(row["head"], row["pooling"]) for row in report.table} == {
        (head, pooling) for head in ("logistic", "forest") for pooling in ("mean", "mean+std", "vote")
    }
    assert report.floors["accuracy"] <= 0.25
    assert accuracies[0] > 0.6
    assert set(report.model.predict(table.clips)) <= set(table.labels)


def test_the_numbers_are_those_of_scikit_learn_by_hand(table):
    report = run(table, heads=["logistic"])
    vectors = l3clf.ClipEmbedder("mfcc", cache=None).fit_transform(table.clips)
    by_hand = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000))
    folds = PredefinedSplit(report.split.test_fold)
    predicted = np.concatenate(
        [by_hand.fit(vectors[a], table.labels[a]).predict(vectors[b]) == table.labels[b] for a, b in folds.split()]
    )
    assert report.best["accuracy"] == pytest.approx(predicted.mean(), abs=1e-12)
    each = cross_val_score(by_hand, vectors, table.labels, cv=folds)
    assert report.best["accuracy_std"] == pytest.approx(each.std(), abs=1e-12)


def test_folds_given_are_used_and_said(table):
    with_folds = ClipTable(table.clips, table.labels, folds=np.arange(len(table)) % 3)
    report = run(with_folds, heads=["logistic"])
    assert report.split.kind == "folds"
    assert any("3 folds, as given" in note for note in report.notes)


def test_tuning_happens_inside_the_folds_and_the_model_can_be_saved(table, tmp_path):
    report = run(table, heads=["logistic"], tune=True)
    assert report.best["head"] == "logistic (C tuned)"
    l3clf.save_model(report.model, tmp_path / "m")
    loaded = l3clf.load_model(tmp_path / "m")
    np.testing.assert_allclose(
        loaded.predict_proba(table.clips[:4]), report.model.predict_proba(table.clips[:4]), atol=1e-6
    )


def test_a_clip_that_cannot_be_read_is_left_out_and_named(table, tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    worse = ClipTable([*table.clips, tmp_path / "bad.wav"], [*table.labels, "siren"])
    report = run(worse, heads=["logistic"], out=tmp_path / "out")
    assert len(report.data) == len(table)
    assert "bad.wav" in str(report.failures[0])
    assert "bad.wav" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_files_are_written_and_agree(table, tmp_path):
    report = run(table, out=tmp_path / "out", learning_curve=True, commands=["l3clf baseline x"])
    out = tmp_path / "out"
    made = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and ".cells" not in path.parts}
    pictures = {f"pictures/{name}.png" for name in ("confusion", "confusion-counts", "recall", "map", "learning")}
    assert made == {".l3clf-baseline", "report.html", "table.csv", "table.json", "model.l3clf"} | pictures
    rows = json.loads((out / "table.json").read_text(encoding="utf-8"))
    rows = rows if isinstance(rows, list) else rows["rows"]
    assert [row["accuracy"] for row in rows] == [row["accuracy"] for row in report.table]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "l3clf baseline x" in page
    assert "leakage" in page


def test_foreign_folders_are_left_alone(table, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ParameterError, match="holds other files"):
        run(table, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heads": ["nonsense"]}, "heads: 'nonsense'"),
        ({"heads": "logistic"}, "expected a list"),
        ({"poolings": ["nonsense"]}, "pooling='nonsense'"),
        ({"hop_s": 0}, "hop_s=0"),
    ],
)
def test_what_cannot_work_is_refused(table, options, words):
    with pytest.raises(ParameterError, match=words):
        run(table, **options)


def test_one_class_is_refused(table):
    with pytest.raises(DatasetError, match="only the class"):
        run(table.subset(table.labels == "siren"))


def test_nothing_readable_is_refused(tmp_path):
    clips = [tmp_path / f"{k}.wav" for k in range(4)]
    with pytest.raises(DatasetError, match="none of 4 clips could be read") as caught:
        run(ClipTable(clips, ["x", "y"] * 2))
    assert all(str(clip) in str(caught.value) for clip in clips)


def test_ready_embedders_are_those_with_weights_here(tmp_path, shared, monkeypatch):
    monkeypatch.setattr("l3clf.weights.registry.user_weights_dir", lambda: tmp_path)
    assert "edgel3" not in {embedder.name for embedder in ready_embedders()}
    names = [embedder.name for embedder in ready_embedders(shared / "weights")]
    assert names[0] == "mfcc"
    assert {"edgel3", "speech"} <= set(names)
    assert "openl3" not in names


def test_poolings_that_share_a_head_share_its_time_and_have_cells_of_their_own(table, tmp_path):
    poolings = ("vote", "mean", "probability")
    first = run(table, heads=["logistic"], poolings=poolings, out=tmp_path / "out")
    seconds = {row["pooling"]: row["seconds"] for row in first.table}
    assert seconds["vote"] == seconds["probability"] != seconds["mean"]
    cells = sorted((tmp_path / "out" / ".cells").iterdir())
    assert len(cells) == 3
    for cell in cells:  # each is computed again alone, and is the same
        kept = cell.read_bytes()
        cell.unlink()
        again = run(table, heads=["logistic"], poolings=poolings, out=tmp_path / "out")
        assert [row["accuracy"] for row in again.table] == [row["accuracy"] for row in first.table]
        with np.load(cell) as new, np.load(io.BytesIO(kept)) as old:
            np.testing.assert_array_equal(new["probabilities"], old["probabilities"])


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
        "folds hold one class only (1 of 4): '0'",
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
        "recordings are there in more than one format (9)",
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
def test_odd_sets_are_measured_and_said(name, table, tmp_path):
    make, words = ODD_BUT_FINE[name]
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
        (lambda folder, t: write_csv(folder, t, labels=["a"] * len(t)), "found only the class 'a'"),
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
    with pytest.raises(DatasetError, match="10,000 classes for 20,000 clips take too much memory") as caught:
        run(ClipTable(clips, labels))
    assert "mfcc / forest / mean (up to 610 GB)" in str(caught.value)


def test_a_head_too_large_is_left_out_and_said(table, monkeypatch):
    monkeypatch.setattr("l3clf.baselines.cells.MOST_BYTES", 1e5)
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


# --- leakage ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    """Ten near-identical cuts of each of twelve recordings; each recording has a random label."""
    folder = tmp_path_factory.mktemp("cuts")
    clips, groups = [], []
    for r in range(12):
        rng = np.random.default_rng(r)
        whole = synthesise(CLASSES[r % 10], rng, 2.5, RATE)
        for k in range(10):
            start = rng.integers(0, RATE // 10)
            path = folder / f"rec{r:02d}_{k}.wav"
            soundfile.write(path, whole[start : start + 2 * RATE] + 1e-4 * rng.standard_normal(2 * RATE), RATE)
            clips.append(path)
            groups.append(r)
    labels = np.array(["a", "b", "c"])[np.random.default_rng(5).permutation(np.arange(12) % 3)]
    return clips, labels[groups], np.array(groups)


def test_cuts_of_one_recording_are_warned_of_and_named(cuts):
    clips, labels, _ = cuts
    report = run(ClipTable(clips, labels), heads=["logistic"])
    assert report.best["accuracy"] > 0.9  # leaked: the labels mean nothing
    note = next(note for note in report.notes if note.startswith("Leakage is likely"))
    assert "rec00_" in note
    found = {i for pair in report.duplicates for i in (pair.first, pair.second)}
    assert len(found) > 0.8 * len(clips)
    assert any("part 1 of the file names" in note for note in report.notes)


def test_with_groups_meaningless_labels_give_chance(cuts):
    clips, labels, groups = cuts
    report = run(ClipTable(clips, labels, groups=groups), heads=["logistic"])
    assert report.best["accuracy_low"] <= 1 / 3 <= report.best["accuracy_high"]
    assert not any(note.startswith("Leakage") for note in report.notes)


def test_random_labels_on_real_clips_give_chance(shared, tmp_path):
    esc = datasets.load(shared / "data" / "esc10").subset(np.arange(0, 400, 2))
    labels = np.random.default_rng(3).permutation(esc.labels)
    report = run(ClipTable(esc.clips, labels, folds=esc.folds), heads=["logistic"])
    assert report.best["accuracy_low"] <= 0.1 <= report.best["accuracy_high"]


# --- the command line, and being killed ----------------------------------------------------------------


def command(sounds, out, cache):
    return ["baseline", str(sounds), "--embedders", "mfcc", "--out", str(out), "--cache", str(cache)]


def table_of(out):
    rows = json.loads((out / "table.json").read_text(encoding="utf-8"))
    rows = rows if isinstance(rows, list) else rows["rows"]
    return [{key: value for key, value in row.items() if key not in ("seconds", "clips_per_s")} for row in rows]


def test_the_command_prints_the_table_and_where_things_are(sounds, tmp_path, capsys):
    assert cli.main(command(sounds, tmp_path / "out", tmp_path / "c.sqlite")) == 0
    out, err = capsys.readouterr()
    assert "logistic" in out
    assert "always the largest class" in out
    assert str(tmp_path / "out" / "report.html") in out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for name, value in datasets.load(sounds).describe().items():
        assert f"{name:<17}{value}" in err
        assert name in page
        assert value in page


def test_the_second_run_computes_nothing_and_gives_the_same_table(sounds, tmp_path, monkeypatch):
    cli.main(command(sounds, tmp_path / "out", tmp_path / "c.sqlite"))
    first = table_of(tmp_path / "out")

    def refuse(*args):
        raise AssertionError("computed again")

    monkeypatch.setattr("l3clf.baselines.run.cross_validate_poolings", refuse)
    monkeypatch.setattr("l3clf.embedders.mfcc.Mfcc.embed_windows", refuse)
    assert cli.main(command(sounds, tmp_path / "out", tmp_path / "c.sqlite")) == 0
    assert table_of(tmp_path / "out") == first


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("until", ["c.sqlite", "out/.cells/*.npz", "out/pictures/*"])
def test_killed_anywhere_the_same_command_finishes_with_the_same_table(sounds, tmp_path, until):
    argv = command(sounds, tmp_path / "out", tmp_path / "c.sqlite")
    start = [sys.executable, "-m", "l3clf", *argv]
    environment = {**os.environ, "PYTHONPATH": str(Path(l3clf.__file__).parent.parent)}
    process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    for _ in range(3000):
        if any(tmp_path.glob(until)) or process.poll() is not None:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert cli.main(argv) == 0
    cli.main(command(sounds, tmp_path / "whole", tmp_path / "other.sqlite"))
    assert table_of(tmp_path / "out") == table_of(tmp_path / "whole")
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send")
def test_ctrl_c_during_cross_validation_ends_at_once_and_the_same_command_goes_on(sounds, tmp_path):
    argv = [*command(sounds, tmp_path / "out", tmp_path / "c.sqlite"), "--pooling", "vote", "--hop", "0.05"]
    start = [sys.executable, "-m", "l3clf", *argv]
    environment = {**os.environ, "PYTHONPATH": str(Path(l3clf.__file__).parent.parent)}
    process = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    said = next(line for line in process.stderr if "clips embedded in" in line)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, said + err  # not -6: an interpreter that aborts
    assert err.splitlines()[-1].startswith("l3clf: interrupted")
    assert "Traceback" not in err
    assert out == ""
    assert cli.main(argv) == 0
    assert (tmp_path / "out" / "report.html").is_file()
