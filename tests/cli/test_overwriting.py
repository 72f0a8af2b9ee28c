"""No output replaces an input of its command, a file of another kind, or what a user put into a folder of ours."""

import json
import os
import shutil

import numpy as np
import pytest
from helpers.tones import write_tone

import l3clf
from l3clf.cli import main as cli

LABELS = "path,label\nlow/0.wav,low\nlow/1.wav,low\nhigh/0.wav,high\nhigh/1.wav,high\n"


@pytest.fixture
def place(data, model, tmp_path, monkeypatch):
    """The folder with data, a CSV of it, a model, links to the model and a user's text; it is the current one."""
    (data / "labels.csv").write_text(LABELS)
    (tmp_path / "notes.txt").write_text("remember the milk")
    (tmp_path / "out" / "pictures").mkdir(parents=True)
    (tmp_path / "out" / ".l3clf-baseline").touch()
    (tmp_path / "out" / "table.csv").write_text(
        LABELS.replace("low/", "../data/low/").replace("high/", "../data/high/")
    )
    shutil.copy(data / "low" / "0.wav", tmp_path / "out" / "pictures" / "map.png")  # a sound, whatever its name
    rows = [
        f"{path},{label}"
        for path, label in (("out/pictures/map.png", "a"), ("data/low/1.wav", "a"), ("data/high/0.wav", "b"))
    ]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label", *rows]))
    (tmp_path / "soft").symlink_to(model)
    os.link(model, tmp_path / "hard")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


MFCC = ["--embedder", "mfcc"]
INPUTS = {
    "predict onto the model": ["predict", "model.l3clf", "data", "--out", "model.l3clf"],
    "predict onto a link to the model": ["predict", "model.l3clf", "data", "--out", "soft"],
    "predict onto a hard link to the model": ["predict", "model.l3clf", "data", "--out", "hard"],
    "predict by a link onto the model": ["predict", "soft", "data", "--out", "./data/../model.l3clf"],
    "predict onto a sound": ["predict", "model.l3clf", "data/low/0.wav", "--out", "data/low/0.wav"],
    "predict onto a sound of a folder": ["predict", "model.l3clf", "data", "--out", "data/low/0.wav"],
    "fit onto the labels": ["fit", "data/labels.csv", *MFCC, "--out", "data/labels.csv"],
    "fit onto a sound of the table": ["fit", "data/labels.csv", *MFCC, "--out", "data/high/1.wav"],
    "fit onto a sound of a folder": ["fit", "data", *MFCC, "--out", "data/high/1.wav"],
    "embed onto the sound": ["embed", "data/low/0.wav", *MFCC, "--out", "data/low/0.wav"],
    "embed onto a sound of a folder": ["embed", "data/low", *MFCC, "--out", "data/low/0.wav"],
    "baseline onto its own table": ["baseline", "out/table.csv", "--embedders", "mfcc", "--out", "out"],
    "baseline onto a sound": ["baseline", "clips.csv", "--embedders", "mfcc", "--out", "out"],
    "baseline onto the cache": [
        "baseline",
        "data",
        "--embedders",
        "mfcc",
        "--out",
        "out",
        "--cache",
        "out/model.l3clf",
    ],
    "embed onto the cache": ["embed", "data/low", *MFCC, "--cache", "c.sqlite", "--out", "c.sqlite"],
}


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "force"])
@pytest.mark.parametrize("argv", INPUTS.values(), ids=INPUTS)
def test_an_input_is_never_replaced(place, run, argv, force):
    before = contents(place)
    status, out, err = run(*argv, *force)
    assert (status, out) == (1, "")
    assert "is read by the same command; name another file to write" in err
    assert err.count("\n") == 1
    assert contents(place) == before


@pytest.mark.parametrize("argv", [["predict", "model.l3clf", "data"], ["embed", "data", *MFCC], ["fit", "data", *MFCC]])
@pytest.mark.parametrize("exists", [True, False])
def test_the_usual_cache_is_never_replaced(place, run, argv, exists, monkeypatch):
    monkeypatch.setenv("L3CLF_CACHE", str(place / "usual.sqlite"))
    if exists:
        run("embed", "data/low", *MFCC, "--out", "x.npz")
    before = contents(place)
    status, out, err = run(*argv, "--out", "usual.sqlite", "--force")
    assert (status, out) == (1, "")
    assert "usual.sqlite: is read by the same command; name another file to write" in err
    assert contents(place) == before


OTHER_KINDS = {
    "fit": ["fit", "data", *MFCC],
    "predict": ["predict", "model.l3clf", "data/low"],
    "embed": ["embed", "data/low", *MFCC],
}


@pytest.mark.parametrize("argv", OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_a_file_of_another_kind_is_replaced_only_by_force(place, run, argv):
    status, _, err = run(*argv, "--out", "notes.txt")
    assert status == 1
    assert err.startswith("l3clf: notes.txt: exists and is not a ")
    assert err.endswith("name another file, or pass --force to replace it\n")
    assert (place / "notes.txt").read_text() == "remember the milk"
    assert run(*argv, "--out", "notes.txt", "--force")[0] == 0
    assert (place / "notes.txt").read_bytes() != b"remember the milk"
    assert run(*argv, "--out", "notes.txt")[0] == 0  # now it is ours


def test_each_output_refuses_those_of_the_others(place, run):
    outs = {"fit": "m", "predict": "p.csv", "embed": "e.npz"}
    for name, out in outs.items():
        assert run(*OTHER_KINDS[name], "--out", out)[0] == 0
    for name, argv in OTHER_KINDS.items():
        for other, out in outs.items():
            assert run(*argv, "--out", out)[0] == (0 if other == name else 1), (name, out)
    np.load(place / "e.npz").close()


def test_an_empty_file_is_free(place, run):
    (place / "empty").touch()
    assert run("fit", "data", *MFCC, "--out", "empty")[0] == 0


@pytest.mark.parametrize("name", ["data/meta.csv", "data/low/0.txt", "data/low/new.wav"])
def test_an_output_that_the_next_command_would_read_is_refused(place, run, name):
    status, _, err = run("predict", "model.l3clf", "data", "--out", name)
    assert status == 1
    assert "the next command that reads the folder data would read this file too" in err
    assert not (place / name).exists()
    assert run("predict", "model.l3clf", "data", "--out", "data/answers.csv")[0] == 0


# --- folders --------------------------------------------------------------------------------------


def baseline(*more):
    return ["baseline", "data", "--embedders", "mfcc", "--heads", "logistic", "--out", "out", "--quiet", *more]


def test_baseline_replaces_what_it_wrote_and_nothing_else(place, run):
    shutil.rmtree("out")
    assert run(*baseline())[0] == 0
    (place / "out" / "notes.md").write_text("mine")
    page = place / "out" / "report.html"
    edited = page.read_text(encoding="utf-8") + "<p>mine</p>"
    page.write_text(edited, encoding="utf-8")
    status, out, err = run(*baseline())
    assert (status, out) == (1, "")
    assert f"{os.path.join('out', 'report.html')}: was changed since l3clf wrote it; move it, name another" in err  # noqa: PTH118
    assert page.read_text(encoding="utf-8") == edited
    assert run(*baseline("--force"))[0] == 0
    assert "<p>mine</p>" not in page.read_text(encoding="utf-8")
    assert (place / "out" / "notes.md").read_text() == "mine"


def test_baseline_does_not_write_through_a_link(place, run):
    shutil.rmtree("out")
    (place / "elsewhere").mkdir()
    (place / "out").mkdir()
    (place / "out" / ".l3clf-baseline").touch()
    (place / "out" / "pictures").symlink_to(place / "elsewhere")
    status, _, err = run(*baseline())
    assert status == 1
    assert "pictures: is a link to another folder" in err
    assert list((place / "elsewhere").iterdir()) == []


def test_a_user_s_file_in_a_folder_with_our_mark_is_left(place, run):
    (place / "out" / "table.csv").write_text("mine")
    status, _, err = run(*baseline())
    assert status == 1
    assert "table.csv: was not written by this run" in err
    assert (place / "out" / "table.csv").read_text() == "mine"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with a model on l3mini and its export."""
    from l3clf.device.exporter import export

    folder = tmp_path_factory.mktemp("exported")
    for k in range(3):
        write_tone(folder / "data" / "low" / f"{k}.wav", 200 + 20 * k, k)
        write_tone(folder / "data" / "high" / f"{k}.wav", 2000 + 200 * k, k)
    assert cli.main(["fit", str(folder / "data"), "--embedder", "l3mini", "--out", str(folder / "m")]) == 0
    export(l3clf.load_model(folder / "m"), folder / "fw")
    return folder


@pytest.fixture
def firmware(exported, tmp_path, monkeypatch):
    """A folder with a model on l3mini, the current one."""
    shutil.copy(exported / "m", tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    # Nothing is compiled and measured here.
    monkeypatch.setattr("l3clf.device.toolchain.find_tools", NoTools, raising=False)
    return tmp_path


class NoTools:
    def missing(self):
        return "not here"


EXPORT = ["export", "m", "--out", "fw"]


def test_export_into_a_folder_of_the_user_needs_force_and_spares_the_rest(firmware, run):
    (firmware / "fw").mkdir()
    (firmware / "fw" / "Makefile").write_text("all:")
    (firmware / "fw" / "board.c").write_text("int board;")
    status, _, err = run(*EXPORT)
    assert status == 1
    assert "fw: holds other files; name a new or an empty folder, or pass --force to write into it" in err
    assert sorted(path.name for path in (firmware / "fw").iterdir()) == ["Makefile", "board.c"]
    assert run(*EXPORT, "--force")[0] == 0
    assert (firmware / "fw" / "board.c").read_text() == "int board;"


def test_an_export_of_an_earlier_version_is_named_as_such(firmware, exported, run):
    shutil.copytree(exported / "fw", firmware / "fw")
    (firmware / "fw" / ".l3clf-files.json").unlink()
    before = contents(firmware / "fw")
    status, _, err = run(*EXPORT)
    assert status == 1
    assert err.endswith(
        "l3clf: fw: made by an earlier l3clf; name a new folder, or pass --force to replace its files\n"
    )
    assert contents(firmware / "fw") == before
    assert run(*EXPORT, "--force")[0] == 0
    assert run(*EXPORT)[0] == 0


def test_an_empty_export_json_marks_no_folder(firmware, run):
    (firmware / "fw").mkdir()
    (firmware / "fw" / "export.json").touch()  # as earlier versions left when they were stopped
    (firmware / "fw" / "main.c").write_text("mine")
    assert run(*EXPORT)[0] == 1
    assert (firmware / "fw" / "main.c").read_text() == "mine"


@pytest.mark.parametrize("name", ["examples/main.c", "Makefile", "README.md", "l3clf_model.c", "model.l3clf"])
def test_export_replaces_no_file_that_was_changed(firmware, exported, run, name):
    shutil.copytree(exported / "fw", firmware / "fw")
    before = contents(firmware / "fw")
    changed = (firmware / "fw" / name).read_bytes() + b"\n/* mine */\n"
    (firmware / "fw" / name).write_bytes(changed)
    status, _, err = run(*EXPORT)
    assert status == 1
    assert f"{name}: was changed since l3clf wrote it" in err
    assert (firmware / "fw" / name).read_bytes() == changed
    assert run(*EXPORT, "--force")[0] == 0
    assert contents(firmware / "fw") == before


def test_export_does_not_write_through_a_link(firmware, exported, run):
    shutil.copytree(exported / "fw", firmware / "fw")
    (firmware / "mine.c").write_text("mine")
    (firmware / "fw" / "examples" / "main.c").unlink()
    (firmware / "fw" / "examples" / "main.c").symlink_to(firmware / "mine.c")
    assert run(*EXPORT)[0] == 1
    assert run(*EXPORT, "--force")[0] == 0
    assert (firmware / "mine.c").read_text() == "mine"


def test_a_stopped_export_is_finished_by_the_next(firmware, run, monkeypatch):
    from l3clf.storage import outputs

    write, written = outputs.write_file, []

    def stop(path, content, error):
        if len(written) == 6:
            raise KeyboardInterrupt
        written.append(path)
        return write(path, content, error)

    with monkeypatch.context() as patched:
        patched.setattr(outputs, "write_file", stop)
        assert run(*EXPORT)[0] == 130
    assert run(*EXPORT)[0] == 0
    (firmware / "fw" / "mine.c").write_text("mine")
    assert run(*EXPORT)[0] == 0
    record = json.loads((firmware / "fw" / outputs.RECORD).read_text())["files"]
    found = {path.relative_to(firmware / "fw").as_posix() for path in (firmware / "fw").rglob("*") if path.is_file()}
    assert found == {*record, outputs.RECORD, "mine.c"}


def test_a_tour_deletes_only_its_own_sounds(tmp_path):
    from l3clf.demo import tour

    record = tour.FolderRecord(tmp_path)
    sounds = tmp_path / "sounds" / "rain"
    tour._write_clips(sounds, "", "rain", 3, (0, 0), record)
    write_tone(sounds / "25.wav", 300)  # a user's, named as a clip of a longer tour
    shutil.copy(sounds / "01.wav", sounds / "02.wav")  # changed
    tour._write_clips(sounds, "", "rain", 1, (0, 0), record)
    assert sorted(path.name for path in sounds.iterdir()) == ["01.wav", "02.wav", "25.wav"]


def test_demo_replaces_no_file_that_was_changed(tmp_path, run):
    out = tmp_path / "out"
    (out / "sounds" / "rain").mkdir(parents=True)
    (out / ".l3clf-demo").touch()
    (out / "sounds" / "rain" / "03.wav").write_bytes(b"mine")
    status, text, err = run("demo", "--out", out)
    assert (status, text) == (1, "")
    assert "03.wav: was not written by this run; move it, name another folder, or pass --force" in err
    assert (out / "sounds" / "rain" / "03.wav").read_bytes() == b"mine"


# --- the library ----------------------------------------------------------------------------------


def test_save_model_replaces_a_model_and_no_other_file(model, tmp_path):
    fitted = l3clf.load_model(model)
    assert l3clf.save_model(fitted, model) == model
    (tmp_path / "thesis.doc").write_bytes(b"years of work")
    with pytest.raises(l3clf.L3clfError, match="exists and is not a model file; name another file, or pass force=True"):
        l3clf.save_model(fitted, tmp_path / "thesis.doc")
    assert (tmp_path / "thesis.doc").read_bytes() == b"years of work"
    l3clf.save_model(fitted, tmp_path / "thesis.doc", force=True)
    assert l3clf.load_model(tmp_path / "thesis.doc").pooling == "mean"


def test_to_csv_replaces_a_table_of_clips_and_no_other_file(data, tmp_path):
    table = l3clf.datasets.load(data)
    for _ in range(2):
        table.to_csv(tmp_path / "t.csv")
    (tmp_path / "people.csv").write_text("name,age\nAda,36\n")
    with pytest.raises(l3clf.L3clfError, match="exists and is not a table of clips"):
        table.to_csv(tmp_path / "people.csv")
    assert (tmp_path / "people.csv").read_text() == "name,age\nAda,36\n"
    table.to_csv(tmp_path / "people.csv", force=True)


def test_a_link_is_replaced_and_its_target_stays(model, data, tmp_path):
    target = tmp_path / "old.l3clf"
    shutil.copy(model, target)
    (tmp_path / "latest").symlink_to(target)
    before = target.read_bytes()
    argv = ["fit", str(data), "--embedder", "mfcc", "--head", "forest", "--out", str(tmp_path / "latest")]
    assert cli.main(argv) == 0
    assert target.read_bytes() == before
