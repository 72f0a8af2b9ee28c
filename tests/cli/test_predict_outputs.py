"""l3clf predict --events and --windows-out: what is written, where, and what is left of a run that is interrupted."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.processes import start_l3clf
from helpers.tones import RATE, rows

import l3clf
from l3clf.cli.predict_outputs import InOrder, places
from l3clf.datasets import load_audacity_labels
from l3clf.datasets.label_tracks import read_labels
from l3clf.datasets.raven import read_selections
from l3clf.embedders import parallel_run
from l3clf.embedders.mfcc import Mfcc


def write_recording(path, seed=0, parts=((200, 3), (2400, 3))):
    """A recording of tones one after another: low, then high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sounds = [0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE) for hz, seconds in parts]
    samples = np.concatenate(sounds)
    soundfile.write(path, samples + 0.01 * np.random.default_rng(seed).standard_normal(len(samples)), RATE)


@pytest.fixture
def field(tmp_path):
    """A folder of recordings."""
    write_recording(tmp_path / "field" / "dawn.wav")
    write_recording(tmp_path / "field" / "site 2" / "dusk.wav", 1, ((2400, 2), (200, 4)))
    return tmp_path / "field"


def test_events_are_those_of_the_library(run, model, field):
    status, out, err = run("predict", model, field, "--events")
    assert (status, err) == (0, "")
    loaded = l3clf.load_model(model)
    paths = [str(field / "dawn.wav"), str(field / "site 2" / "dusk.wav")]
    expected = [
        (path, f"{e.start_s:.3f}", f"{e.end_s:.3f}", e.label)
        for path, events in zip(paths, loaded.predict_events(paths), strict=True)
        for e in events
    ]
    found = [(row["path"], row["start_s"], row["end_s"], row["label"]) for row in rows(out)]
    assert found == expected
    assert [row[3] for row in found] == ["low", "high", "high", "low"]
    status, out, _ = run("predict", model, field, "--events", "--format", "jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["path"], line["label"]) for line in lines] == [(row[0], row[3]) for row in found]
    assert all(0 < line["score"] <= 1 and line["start_s"] < line["end_s"] for line in lines)


def test_audacity_labels_mirror_the_tree_and_are_training_data(run, model, field, tmp_path):
    out = tmp_path / "labels"
    assert run("predict", model, field, "--events", "--format", "audacity", "--out", out)[0] == 0
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.txt"))
    assert found == ["dawn.txt", "site 2/dusk.txt"]
    labels = read_labels(out / "dawn.txt")
    assert [label.text for label in labels] == ["low", "high"]
    assert labels[0].start_s == 0
    assert labels[1].end_s == 6
    for name in ("dawn", "site 2/dusk"):  # moved beside the sounds by hand, they are a data set
        (field / f"{name}.txt").write_bytes((out / f"{name}.txt").read_bytes())
    assert load_audacity_labels(field).labels.tolist() == ["low", "high", "high", "low"]


def test_raven_tables_have_scores_and_frequencies(run, model, field, tmp_path):
    out = tmp_path / "tables"
    assert run("predict", model, field, "--events", "--format", "raven", "--out", out)[0] == 0
    labels = read_selections(out / "dawn.selections.txt")
    assert [(label.text, label.low_hz, label.high_hz) for label in labels] == [("low", 0, 8000), ("high", 0, 8000)]
    head, first, *_ = (out / "dawn.selections.txt").read_text(encoding="utf-8").splitlines()
    assert head.split("\t")[-2:] == ["Annotation", "Score"]
    assert 0 < float(first.split("\t")[-1]) <= 1


def test_a_recording_without_events_gets_an_empty_track(run, model, field, tmp_path):
    out = tmp_path / "labels"
    arguments = ("predict", model, field, "--events", "--format", "audacity", "--out", out, "--gate-dbfs", "-1")
    assert run(*arguments)[0] == 0
    assert (out / "dawn.txt").read_bytes() == b""


def test_labels_are_never_put_beside_sounds_nor_over_files_of_others(run, model, field, tmp_path):
    events = ("predict", model, field, "--events", "--format", "audacity", "--out")
    status, _, err = run(*events, field, "--force")
    assert status == 1
    assert "the labels would lie beside the sounds" in err
    status, _, err = run("predict", model, field / "dawn.wav", *events[3:], field)
    assert (status, "holds other files" in err) == (1, True)
    (tmp_path / "link").symlink_to(field)
    assert "beside the sounds" in run(*events, tmp_path / "link", "--force")[2]
    assert not list(field.rglob("*.txt"))

    out = tmp_path / "labels"
    assert run(*events, out)[0] == 0
    assert run(*events, out)[0] == 0  # our own files are replaced
    (out / "dawn.txt").write_text("0\t1\tcorrected by hand\n")
    status, _, err = run(*events, out)
    assert status == 1
    assert "dawn.txt: was changed since l3clf wrote it" in err
    assert "--force" in err
    assert read_labels(out / "dawn.txt")[0].text == "corrected by hand"
    assert run(*events, out, "--force")[0] == 0
    assert [label.text for label in read_labels(out / "dawn.txt")] == ["low", "high"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--format", "audacity"), "--format audacity: writes events; add --events"),
        (
            ("--events", "--format", "raven"),
            "--format raven: writes a file for each recording; name a folder with --out",
        ),
        (("--out", "x.csv", "--windows-out", "x.csv"), "--windows-out x.csv: is the file of --out, too"),
        (("--out", "x.csv", "--windows-out", "field/../x.csv"), "x.csv: is the file of --out, too"),
        (("--windows-out", "field/dawn.wav"), "is read by the same command"),
        (("--windows-out", "no such folder/x.csv"), "its folder does not exist"),
        (("--events", "--out", "other"), "is a folder"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_any_work(run, model, field, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    status, out, err = run("predict", model, "field", *options)
    assert (status, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--events", "--windows-out"])
def test_pooling_that_has_no_windows_is_refused_before_any_work(run, data, field, tmp_path, option):
    model = tmp_path / "m.l3clf"
    assert run("fit", data, "--embedder", "mfcc", "--pooling", "mean+std", "--out", model)[0] == 0
    windows = tmp_path / "w.csv"
    status, out, err = run("predict", model, field, option, *([] if option == "--events" else [windows]))
    assert (status, out) == (1, "")
    assert f"l3clf: {option}: {model} pools windows by mean+std, and a single window has no" in err
    assert not windows.exists()


def test_a_class_that_cannot_be_a_label_is_refused_before_any_work(run, data, field, tmp_path):
    (data / "low").rename(data / " low")
    assert run("fit", data, "--embedder", "mfcc", "--out", tmp_path / "m.l3clf")[0] == 0
    command = ("predict", tmp_path / "m.l3clf", field, "--events", "--format", "audacity", "--out", tmp_path / "o")
    status, _, err = run(*command)
    assert status == 1
    assert "the class ' low' cannot be a label" in err


def test_windows_are_written_with_their_times(run, model, field, tmp_path):
    out = tmp_path / "windows.csv"
    assert run("predict", model, field, "--windows-out", out)[0] == 0
    found = rows(out.read_text(encoding="utf-8"))
    paths = [str(field / "dawn.wav"), str(field / "site 2" / "dusk.wav")]
    expected = l3clf.load_model(model).predict_windows(paths)
    assert [row["path"] for row in found] == [path for path, p in zip(paths, expected, strict=True) for _ in p.labels]
    assert [row["label"] for row in found] == [label for p in expected for label in p.labels.tolist()]
    times = np.concatenate([p.times_s for p in expected])
    np.testing.assert_allclose([[float(row["start_s"]), float(row["end_s"])] for row in found], times)
    shares = np.concatenate([p.probabilities for p in expected])
    np.testing.assert_allclose([[float(row["p_high"]), float(row["p_low"])] for row in found], shares, atol=1e-6)
    np.testing.assert_allclose([float(row["unknown_score"]) for row in found], 1 - shares.max(axis=1), atol=1e-6)

    lines = tmp_path / "windows.jsonl"
    assert run("predict", model, field, "--events", "--windows-out", lines, "--out", tmp_path / "e.csv")[0] == 0
    again = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [one["label"] for one in again] == [row["label"] for row in found]
    assert set(again[0]["probabilities"]) == {"high", "low"}


def test_a_failed_file_leaves_the_order_of_the_others(run, model, field, tmp_path):
    (field / "broken.wav").write_bytes(b"RIFF")
    for options in ((), ("--events",)):
        status, out, err = run("predict", model, field / "site 2", field, *options, "--windows-out", tmp_path / "w.csv")
        assert status == 1
        assert err.count("broken.wav") == 1
        names = list(dict.fromkeys(Path(row["path"]).name for row in rows(out)))
        assert names == ["dusk.wav", "dawn.wav"]
        assert len(rows((tmp_path / "w.csv").read_text())) == 3 * 12


def test_odd_names_reach_every_output(run, model, tmp_path):
    for name in ("=1+1.wav", "a\nb.wav", "é.b.wav"):
        write_recording(tmp_path / "odd" / name)
    out = tmp_path / "labels"
    assert run("predict", model, tmp_path / "odd", "--events", "--format", "audacity", "--out", out)[0] == 0
    assert sorted(path.name for path in out.glob("*.txt")) == ["=1+1.txt", "a\nb.txt", "é.b.txt"]
    _, text, _ = run("predict", model, tmp_path / "odd", "--events", "--format", "jsonl")
    assert {Path(json.loads(line)["path"]).name for line in text.splitlines()} == {
        "=1+1.wav",
        "a\nb.wav",
        "é.b.wav",
    }


@pytest.mark.parametrize(
    ("paths", "given", "expected"),
    [
        (["f/a.wav", "f/s/b.wav"], ["f"], ["a.txt", "s/b.txt"]),
        (["f/s/b.wav"], ["f"], ["s/b.txt"]),
        (["f/s/b.wav"], ["f/s/b.wav"], ["b.txt"]),
        (["f/a.wav", "g/a.wav"], ["f", "g"], ["f/a.txt", "g/a.txt"]),
        (["f/a.wav", "f/a.flac", "f/A.ogg", "f/b.wav"], ["f"], ["a.wav.txt", "a.flac.txt", "A.ogg.txt", "b.txt"]),
        (["f/a.wav", "f/../f/a.wav"], ["f", "f/../f/a.wav"], ["a.txt", "a.txt"]),
        (["f/a.b.wav", "f/a.wav"], ["f"], ["a.b.txt", "a.txt"]),
        (["../x/a.wav", "f/a.wav"], ["../x/a.wav", "f/a.wav"], None),
        ([], ["f"], []),
    ],
)
def test_places_mirror_the_tree(tmp_path, monkeypatch, paths, given, expected):
    (tmp_path / "here" / "f").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    expected = ["x/a.txt", "here/f/a.txt"] if expected is None else expected
    found = places(paths, given, "audacity")
    assert [found[path] for path in paths] == expected
    assert not any(".." in name for name in found.values())


def test_answers_are_written_in_order_as_soon_as_they_can_be(tmp_path):
    with (tmp_path / "x").open("w+") as file:
        table = InOrder(file, str)
        seen = []
        for i in (2, 0, 3, 1):
            table.add(i, None if i == 3 else f"{i} ")
            file.seek(0)
            seen.append(file.read())
    assert seen == ["", "0 ", "0 ", "0 1 2 "]


AMID_A_LONG_FILE = """
import os, signal, time
from l3clf.embedders import clip_work, parallel_run
from l3clf.embedders.mfcc import Mfcc
clip_work.STORE_EVERY_S = 0.0
parallel_run.LARGE_FILE_BYTES, parallel_run.PIECE_WINDOWS = 100_000, 32
embed_windows, calls = Mfcc.embed_windows, []
def interrupted(self, windows):
    calls.append(1)
    if len(calls) == 10:
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.02)
    return embed_windows(self, windows)
Mfcc.embed_windows = interrupted
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send")
def test_ctrl_c_amid_a_long_file_then_the_same_command_gives_what_one_pass_gives(run, model, tmp_path, monkeypatch):
    write_recording(tmp_path / "field" / "long.wav", parts=[(200 if k % 2 else 2000, 5 + k % 3) for k in range(20)])
    monkeypatch.setattr(parallel_run, "LARGE_FILE_BYTES", 100_000)
    monkeypatch.setattr(parallel_run, "PIECE_WINDOWS", 32)

    def command(name):
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        tables = ("--events", "--out", out / "e.csv", "--windows-out", out / "w.csv")
        return ("predict", model, tmp_path / "field", *tables, "--cache", tmp_path / f"{name}.sqlite", "--jobs", 1)

    with start_l3clf(*command("two"), before=AMID_A_LONG_FILE, stderr=subprocess.PIPE, text=True) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert list((tmp_path / "two").iterdir()) == []
    kept = l3clf.EmbeddingCache(tmp_path / "two.sqlite").info()["entries"]
    assert kept >= 4

    embed_windows, heard = Mfcc.embed_windows, []
    monkeypatch.setattr(Mfcc, "embed_windows", lambda self, w: heard.append(len(w)) or embed_windows(self, w))
    assert run(*command("one"))[0] == 0
    n_windows = sum(heard)
    heard.clear()
    assert run(*command("two"))[0] == 0
    assert sum(heard) == n_windows - 32 * kept
    for name in ("e.csv", "w.csv"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
