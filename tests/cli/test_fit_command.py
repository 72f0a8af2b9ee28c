"""l3clf fit: models from folders and CSV files; files that fail are named."""

import json

import numpy as np
import pytest
import soundfile
from helpers.tones import RATE, rows, write_tone

import l3clf
from l3clf.cli import main as cli


def test_fit_prints_what_it_did(data, tmp_path, capsys):
    status = cli.main(["fit", str(data), "--embedder", "mfcc", "--head", "forest", "--out", str(tmp_path / "m")])
    out = capsys.readouterr().out
    assert status == 0
    assert "Fitted 'forest' on 10 clips of 2 classes (mfcc embeddings, mean pooling)" in out
    assert f"Model: {tmp_path / 'm'}" in out


def test_fit_learns_from_copies_and_the_model_says_so(data, tmp_path, capsys):
    model = tmp_path / "m.l3clf"
    arguments = ["fit", str(data), "--embedder", "mfcc", "--quiet", "--out", str(model), "--augment"]
    assert cli.main([*arguments, "2"]) == 0
    assert "on 10 clips (2 copies of each) of 2 classes" in capsys.readouterr().out
    assert l3clf.load_model(model).augment == l3clf.Augmentation(copies=2)
    assert cli.main(["info", str(model)]) == 0
    assert "the clips and 2 copies of each" in capsys.readouterr().out
    assert cli.main([*arguments, "0"]) == 1
    assert "--augment 0; expected a whole number from 1 to 1000" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["fit", "--embedder", "mfcc", "--out", str(model), "--augment", str(data)])
    assert (
        "expected how many copies to make of each clip, such as 4; give DATA before --augment"
        in capsys.readouterr().err
    )
    assert l3clf.Augmentation().copies == 4  # what --augment alone means


def test_fit_leaves_failed_files_out_names_them_and_writes_the_model(data, tmp_path, capsys):
    (data / "low" / "bad.wav").write_bytes(b"")
    status = cli.main(["fit", str(data), "--embedder", "mfcc", "--out", str(tmp_path / "m.l3clf")])
    captured = capsys.readouterr()
    assert status == 1
    assert "on 10 clips" in captured.out
    assert captured.err.count("bad.wav") == 1
    assert len(l3clf.load_model(tmp_path / "m.l3clf").classes_) == 2


def test_a_csv_with_pieces_is_a_data_set(tmp_path, capsys):
    t = np.arange(4 * RATE) / RATE
    sound = np.where(t < 2, np.sin(2 * np.pi * 250 * t), np.sin(2 * np.pi * 2500 * t))
    soundfile.write(tmp_path / "both.wav", 0.3 * sound, RATE)
    lines = ["path,label,start_s,end_s"]
    lines += [f"both.wav,low,{k / 4},{k / 4 + 1}" for k in range(4)]
    lines += [f"both.wav,high,{2 + k / 4},{2 + k / 4 + 1}" for k in range(4)]
    (tmp_path / "pieces.csv").write_text("\n".join(lines))
    model = tmp_path / "m.l3clf"
    assert (
        cli.main(["fit", str(tmp_path / "pieces.csv"), "--embedder", "mfcc", "--no-center", "--out", str(model)]) == 0
    )
    loaded = l3clf.load_model(model)
    assert loaded.predict([l3clf.Clip(tmp_path / "both.wav", 0.5, 1.5)]).tolist() == ["low"]
    assert loaded.predict([l3clf.Clip(tmp_path / "both.wav", 2.5, 3.5)]).tolist() == ["high"]


def test_real_clips_of_a_held_out_fold_are_mostly_right(shared, tmp_path):
    table = l3clf.datasets.load(shared / "data" / "esc10")
    table.subset(table.folds != "5").to_csv(tmp_path / "train.csv")
    held_out = table.subset(table.folds == "5")
    model, answers = str(tmp_path / "m"), tmp_path / "answers.csv"
    assert cli.main(["fit", str(tmp_path / "train.csv"), "--embedder", "mfcc", "--out", model]) == 0
    assert cli.main(["predict", model, *(clip.path for clip in held_out.clips), "--out", str(answers)]) == 0
    found = rows(answers.read_text(encoding="utf-8"))
    assert [row["path"] for row in found] == [clip.path for clip in held_out.clips]
    assert np.mean([row["label"] for row in found] == held_out.labels) > 0.7


def test_the_same_command_again_embeds_nothing(data, tmp_path, monkeypatch):
    from l3clf.embedders.mfcc import Mfcc

    fit = ["fit", str(data), "--embedder", "mfcc", "--out"]
    cli.main([*fit, str(tmp_path / "1")])

    def refuse(self, windows):
        raise AssertionError("embedded again")

    monkeypatch.setattr(Mfcc, "embed_windows", refuse)
    assert cli.main([*fit, str(tmp_path / "2")]) == 0
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_fit_prints_the_problems_of_the_table_that_baseline_prints(data, tmp_path, capsys):
    rows = [f"data/{name}/{k}.wav,{name if k else name.upper()}" for name in ("low", "high") for k in range(5)]
    rows += ["data/low/1.wav,high", "data/gone.wav,low"]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,label", *rows]))
    cli.main(["fit", str(table), "--embedder", "mfcc", "--out", str(tmp_path / "m")])
    said = capsys.readouterr().err
    for problem in l3clf.ClipTable(*_clips_and_labels(tmp_path, rows)).problems():
        assert said.count(problem) == 1
    assert "sound files are missing (1)" in said
    assert "clips are listed with different labels (1)" in said
    assert "labels differ only in case" in said
    assert (
        cli.main(["baseline", str(table), "--embedders", "mfcc", "--heads", "logistic", "--out", str(tmp_path / "b")])
        == 1
    )
    said = capsys.readouterr().err
    assert said.count("labels differ only in case") == 1


def _clips_and_labels(folder, rows):
    pairs = [row.split(",") for row in rows]
    return [folder / path for path, _ in pairs], [label for _, label in pairs]


@pytest.mark.filterwarnings("always::l3clf.errors.DatasetWarning")
def test_fit_says_under_which_names_columns_were_read(data, tmp_path, capsys):
    rows = [f"data/{name}/{k}.wav,{name},0.1,0.9" for name in ("low", "high") for k in range(5)]
    (tmp_path / "t.csv").write_text("\n".join(["filename,category,onset,offset", *rows]))
    assert cli.main(["fit", str(tmp_path / "t.csv"), "--embedder", "mfcc", "--out", str(tmp_path / "m")]) == 0
    said = "read 'filename' as path, 'category' as label, 'onset' as start_s, 'offset' as end_s; rename the columns"
    assert f"l3clf: {tmp_path / 't.csv'}: {said}" in capsys.readouterr().err


def test_fit_refuses_columns_that_are_not_clear(data, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("path,label,start_ms\ndata/low/0.wav,low,1\ndata/high/0.wav,high,1\n")
    assert cli.main(["fit", str(tmp_path / "t.csv"), "--embedder", "mfcc", "--out", str(tmp_path / "m")]) == 1
    assert "columns look like times ('start_ms'), but" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


# --- unknown sounds -----------------------------------------------------------------------------------


@pytest.fixture
def twins(tmp_path):
    """A table of two classes, in which each of six recordings of a class is three clips."""
    lines = ["path,label,recording"]
    for name, low in (("low", 200), ("high", 2000)):
        for k in range(18):
            write_tone(tmp_path / "twins" / f"{name}{k}.wav", low * (1 + k // 3 / 10), k)
            lines.append(f"{name}{k}.wav,{name},{name}{k // 3}")
    (tmp_path / "twins" / "meta.csv").write_text("\n".join(lines))
    return tmp_path / "twins"


def test_fit_learns_what_is_unknown(run, twins, tmp_path):
    status, out, err = run("fit", twins, "--embedder", "mfcc", "--unknown", "--out", tmp_path / "m")
    assert (status, err) == (0, "")
    model = l3clf.load_model(tmp_path / "m")
    assert model.unknown == "auto"
    assert f"Unknown: without a background, below {model.threshold_in_force():.3f} (95 % interval: " in out
    found = dict(line.split(":", 1) for line in run("info", tmp_path / "m")[1].splitlines())
    assert float(found["unknown threshold"]) == model.threshold_in_force()
    assert found["threshold learned"].strip() == "to keep 0.95 of known clips"
    assert found["background"].strip() == "none"


def test_fit_with_recordings_of_the_background(run, twins, data, tmp_path):
    for k in range(4):
        write_tone(tmp_path / "others" / f"{k}.wav", 6000 + 100 * k, k)
    (tmp_path / "others" / "bad.wav").write_bytes(b"RIFF")
    argv = ["fit", twins, "--embedder", "mfcc", "--background", tmp_path / "others", "--accept", "0.8"]
    status, out, err = run(*argv, "--out", tmp_path / "m")
    assert status == 1
    assert err.count("bad.wav") == 1
    assert "Fitted 'logistic' on 40 clips of 2 classes and the background" in out
    assert "Unknown: with a background, below" in out
    model = l3clf.load_model(tmp_path / "m")
    assert model.unknown.accept == 0.8
    assert str(tmp_path / "others") not in json.dumps(model.unknown.get_params())
    shown = run("info", tmp_path / "m")[1]
    assert "one more row of the head" in shown
    assert "to keep 0.8 of known clips" in shown
    status, out, _ = run("predict", tmp_path / "m", twins / "low0.wav", tmp_path / "others" / "1.wav")
    assert out.splitlines()[0] == "path,label,probability,unknown_score"
    known, strange = rows(out)
    assert (known["label"], strange["label"]) == ("low", "unknown")
    clips = [twins / "low0.wav", tmp_path / "others" / "1.wav"]
    expected = model.set_params(cache=None).unknown_score(clips)
    assert [float(row["unknown_score"]) for row in (known, strange)] == pytest.approx(list(expected), abs=2e-6)
    lines = run("predict", tmp_path / "m", twins / "low0.wav", "--format", "jsonl")[1]
    assert json.loads(lines)["unknown_score"] == pytest.approx(expected[0], abs=2e-6)
    strict = ["predict", tmp_path / "m", twins / "low0.wav", "--unknown-threshold", "1"]
    assert ",unknown," in run(*strict)[1]


def test_a_folder_of_the_name_bank_is_a_folder(run, twins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tone(tmp_path / "bank" / "1.wav", 6000, 1)
    status, out, err = run("fit", twins, "--embedder", "mfcc", "--background", "bank", "--out", tmp_path / "m")
    assert (status, err) == (0, "")
    assert "on 37 clips of 2 classes and the background" in out


def test_the_threshold_of_the_command_is_the_one_that_counts(run, twins, tmp_path):
    argv = ["fit", twins, "--embedder", "mfcc", "--unknown", "--unknown-threshold", "0.3", "--out", tmp_path / "m"]
    learned = l3clf.load_model(tmp_path / "m").unknown_threshold_ if run(*argv)[0] == 0 else None
    out = run(*argv)[1]
    assert "Unknown: without a background, below 0.3 (--unknown-threshold); " in out
    assert f"{learned:.3f} (95 % interval: " in out


@pytest.mark.filterwarnings("always::l3clf.errors.ClipWarning")  # printed, as for a user
def test_few_clips_of_the_background_are_no_problem_but_few_of_a_class_are(run, tmp_path):
    for name, hz, n in (("low", 300, 5), ("high", 2000, 5), ("background", 6000, 1)):
        for k in range(n):
            write_tone(tmp_path / "set" / name / f"{k}.wav", hz + 10 * k, k)
    argv = ["fit", tmp_path / "set", "--embedder", "mfcc", "--unknown", "--out", tmp_path / "m"]
    status, out, err = run(*argv)
    assert (status, err) == (0, "")
    assert "on 11 clips of 2 classes and the background" in out
    for k in range(1, 5):
        (tmp_path / "set" / "low" / f"{k}.wav").unlink()
        (tmp_path / "set" / "high" / f"{k}.wav").unlink()
    status, _, err = run(*argv, "--force")
    assert "classes have fewer than 5 clips (2 of 2): 'high' (1), 'low' (1)" in err
    assert "too few clips to learn a threshold from" in err
    shown = run("info", tmp_path / "m")[1]
    assert "nan" not in shown
    assert "not known: too few clips" in shown


def test_groups_of_the_table_are_those_of_the_threshold(run, twins, tmp_path):
    fit = ["fit", twins, "--embedder", "mfcc", "--accept", "0.9"]
    assert run(*fit, "--group", "recording", "--out", tmp_path / "whole")[0] == 0
    table = l3clf.datasets.load(twins, "recording")
    model = l3clf.ClipClassifier("mfcc", unknown=l3clf.Unknown(background=None, accept=0.9))
    model.fit(table.clips, table.labels, groups=table.groups)
    assert l3clf.load_model(tmp_path / "whole").threshold_in_force() == model.threshold_in_force()
    assert (
        model.fit(table.clips, table.labels).threshold_in_force()
        != l3clf.load_model(tmp_path / "whole").threshold_in_force()
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--accept", "1.5"], "--accept 1.5; expected a number between 0 and 1, such as 0.95"),
        (["--background", "nowhere"], "--background nowhere: no such folder; name a folder of sounds"),
        (["--background", "bank"], "--background bank: there is none for embedder 'mfcc'; give --unknown, or the"),
        (["--background", "EMPTY"], "EMPTY: folder without sound files; name another folder"),
        (["--background", ""], "--background: the name is empty; name a folder of sounds"),
        (["--background", "x" * 5000], "x: no such folder; name a folder of sounds"),
    ],
)
def test_what_fit_cannot_learn_from_is_said_before_any_work(run, twins, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    status, _, err = run("fit", twins, "--embedder", "mfcc", *argv, "--out", tmp_path / "m")
    assert status == 1
    assert words in err
    assert not (tmp_path / "m").exists()


def test_the_model_is_not_written_over_a_recording_of_the_background(run, twins, tmp_path):
    write_tone(tmp_path / "others" / "1.wav", 6000, 1)
    sound = tmp_path / "others" / "1.wav"
    argv = ["fit", twins, "--embedder", "mfcc", "--background", tmp_path / "others", "--out", sound, "--force"]
    status, _, err = run(*argv)
    assert status == 1
    assert "1.wav" in err
    assert sound.read_bytes().startswith(b"RIFF")


def test_the_gate_is_learned_on_request_and_can_be_overridden(tmp_path, capsys):
    data = tmp_path / "data"
    quiet = 10 ** (-60 / 20) * np.random.default_rng(0).normal(size=2 * RATE)
    for k in range(5):
        for name, part in (("low", np.sin(k + 250 * np.arange(RATE))), ("high", np.sin(k + 2500 * np.arange(RATE)))):
            (data / name).mkdir(parents=True, exist_ok=True)
            soundfile.write(data / name / f"{k}.wav", np.concatenate([0.2 * part, quiet]) + 0, RATE)
    model = str(tmp_path / "m")
    assert cli.main(["fit", str(data), "--embedder", "mfcc", "--gate-dbfs", "auto", "--out", model]) == 0
    assert cli.main(["info", model, "--json"]) == 0
    out = capsys.readouterr().out
    gate = json.loads(out[out.index("{") :])["gate"]
    assert gate.endswith(", stays open to 5 dB below it, learned")
    assert -55 < float(gate.split()[0]) < -40
    soundfile.write(tmp_path / "quiet.wav", quiet, RATE)
    for level, known in ((), False), (("--gate-dbfs", "-80"), True):
        assert cli.main(["predict", model, str(tmp_path / "quiet.wav"), *level]) == 0
        assert ("unknown" not in capsys.readouterr().out) == known
    for wrong in (["--gate-dbfs", "loud"], ["--gate-dbfs", "5"], ["--gate-hysteresis", "-1"]):
        with pytest.raises(SystemExit) if wrong[1] == "loud" else pytest.MonkeyPatch.context():
            assert cli.main(["fit", str(data), "--embedder", "mfcc", *wrong, "--out", model]) != 0
        assert f"{wrong[0]}" in capsys.readouterr().err


@pytest.mark.filterwarnings("default::l3clf.errors.LevelWarning")  # printed, as for a user
def test_a_set_without_a_gap_gets_no_gate_and_says_so(data, tmp_path, capsys):
    model = str(tmp_path / "m")
    assert cli.main(["fit", str(data), "--embedder", "mfcc", "--gate-dbfs", "auto", "--out", model]) == 0
    err = capsys.readouterr().err
    assert err.count("--gate-dbfs auto: ") == 1
    assert "no gate is set: add clips of background alone" in err
    assert l3clf.load_model(model).gate_in_force() == (None, 0.0)


def test_unlabelled_time_of_label_tracks_is_background(run, tmp_path):
    for k in range(4):
        write_tone(tmp_path / "field" / f"{k}.wav", 300 + 900 * (k % 2), k, seconds=12)
        labels = "".join(f"{t}\t{t + 1}\t{'high' if k % 2 else 'low'}\n" for t in (0, 1, 2))
        (tmp_path / "field" / f"{k}.txt").write_text(labels)
    command = ("fit", tmp_path / "field", "--embedder", "mfcc", "--out", tmp_path / "m.l3clf")
    status, out, err = run(*command, "--background-s", "2s")
    assert status == 0, err
    assert "of 2 classes" in out
    assert "with a background" in out
    model = l3clf.load_model(tmp_path / "m.l3clf")
    assert model.classes_.tolist() == ["high", "low"]
    status, _, err = run("fit", tmp_path / "nothing", "--out", tmp_path / "m2.l3clf", "--background-s", "0")
    assert status == 2
