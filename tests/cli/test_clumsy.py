"""What a clumsy user types: misspelt words, other notations, names that cannot be, missing words."""

import os
import re
import runpy
import sys
from pathlib import Path

import pytest

import l3clf
from l3clf.errors import ModelFileError

ROOT = Path(l3clf.__file__).parent.parent

SUGGESTIONS = {
    "a command": (["bassline", "data"], 2, "(did you mean baseline?)"),
    "a command of a command": (["cache", "prun"], 2, "(did you mean prune?)"),
    "an option": (["fit", "data", "--out", "m", "--poling", "max"], 2, "--poling max (did you mean --pooling?)"),
    "an option of others": (["predict", "model.l3clf", "data", "--hop", "1"], 2, "--hop 1 (an option of fit, "),
    "a head": (["fit", "data", "--out", "m", "--head", "forrest"], 2, "'forrest' (did you mean forest?)"),
    "a pooling": (["fit", "data", "--out", "m", "--pooling", "men"], 2, "'men' (did you mean mean?)"),
    "heads": (["baseline", "data", "--heads", "logistics"], 2, "'logistics' (did you mean logistic?)"),
    "poolings": (["baseline", "data", "--pooling", "mean", "votes"], 2, "'votes' (did you mean vote?)"),
    "an embedder": (
        ["fit", "data", "--out", "m", "--embedder", "OpenL"],
        1,
        "--embedder OpenL: no such embedder (did you",
    ),
    "an embedder's option": (
        ["fit", "data", "--out", "m", "--embedder", "l3mini", "--option", "precison=int8"],
        1,
        "(did you mean precision?); its options are ",
    ),
    "embedders": (["baseline", "data", "--embedders", "mfc"], 1, "mfc: no such embedder (did you mean mfcc?)"),
    "a teacher": (["distill", "data", "--teacher", "yamnt", "--out", "s"], 1, "(did you mean yamnet?)"),
    "a guide": (["guide", "microcontroler"], 1, "(did you mean microcontroller?)"),
    "weights": (["weights", "check", "open3"], 1, "(did you mean openl3?)"),
}


@pytest.mark.parametrize(("argv", "status", "words"), SUGGESTIONS.values(), ids=SUGGESTIONS)
def test_a_misspelt_word_is_answered_with_the_closest(run, data, model, monkeypatch, argv, status, words):
    monkeypatch.chdir(data.parent)
    found, out, err = run(*argv)
    assert (found, out) == (status, "")
    assert words in err


def test_the_library_suggests_too():
    with pytest.raises(l3clf.L3clfError, match=r"pooling='maen' \(did you mean mean\?\)"):
        l3clf.ClipClassifier("mfcc", pooling="maen").fit(["a.wav", "b.wav"], ["a", "b"])
    with pytest.raises(l3clf.L3clfError, match=r"embedder='mfc': no such embedder \(did you mean mfcc\?\)"):
        l3clf.load_embedder("mfc")


NOTATIONS = {
    "milliseconds": ["--hop", "250ms"],
    "a comma": ["--hop", "0,25"],
    "seconds": ["--hop", "0.25s"],
    "an equals sign": ["--hop=.25"],
}


@pytest.mark.parametrize("option", NOTATIONS.values(), ids=NOTATIONS)
def test_a_time_is_understood_in_every_usual_notation(run, data, tmp_path, option):
    assert run("fit", data, "--embedder", "mfcc", "--out", tmp_path / "m", *option)[0] == 0
    assert l3clf.load_model(tmp_path / "m").hop_s == 0.25


def test_a_time_that_is_none_is_explained(run, data, tmp_path):
    status, _, err = run("fit", data, "--embedder", "mfcc", "--out", tmp_path / "m", "--hop", "soon")
    assert status == 2
    assert "--hop: soon: expected a time greater than 0 in seconds, such as 0.5, or with a unit, such as 500ms" in err


def test_lists_are_separated_by_commas_or_spaces(run, data, tmp_path):
    argv = ["baseline", data, "--embedders", "mfcc,l3mini", "--heads", "logistic", "--pooling", "mean,", "max"]
    status, out, err = run(*argv, "--out", tmp_path / "out", "--cache", tmp_path / "c")
    assert status == 0, err
    assert [len(re.findall(f"^{name} .*logistic", out, re.M)) for name in ("mfcc", "l3mini")] == [2, 2]


WORDS = {
    "--hop": (["embed", "data", "--embedder", "mfcc", "--out", "x", "--hop", "1e-9"], "l3clf: --hop 1e-09; "),
    "--jobs": (["fit", "data", "--embedder", "mfcc", "--out", "x", "--jobs", "0"], "l3clf: --jobs 0; "),
    "--gate-dbfs": (["predict", "model.l3clf", "data", "--gate-dbfs", "7"], "l3clf: --gate-dbfs 7.0; "),
    "--weights": (["embed", "data", "--embedder", "yamnet", "--out", "x"], "or pass --weights PATH"),
    "l3clf fit": (["predict", "data/low/0.wav", "data"], "give a file written by `l3clf fit`"),
}


@pytest.mark.parametrize(("argv", "words"), WORDS.values(), ids=WORDS)
def test_messages_have_the_words_of_the_command_line(run, data, model, monkeypatch, tmp_path, argv, words):
    monkeypatch.chdir(data.parent)
    monkeypatch.setenv("L3CLF_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("l3clf.weights.registry.user_weights_dir", lambda: tmp_path / "none")
    status, _, err = run(*argv)
    assert status == 1
    assert words in err


def test_windows_0_names_the_option(run, data, tmp_path):
    assert run("fit", data, "--embedder", "l3mini", "--out", tmp_path / "m")[0] == 0
    status, _, err = run("export", tmp_path / "m", "--out", tmp_path / "fw", "--windows", "0")
    assert status == 1
    assert err.startswith("l3clf: --windows 0; expected a whole number")


def test_a_file_s_name_is_not_taken_for_a_parameter(run, model, tmp_path):
    name = tmp_path / "hop_s=0.5 n_jobs=1.wav"
    name.write_bytes(b"no sound")
    assert str(name.parent / "hop_s=0.5") in run("predict", model, name)[2]


@pytest.mark.parametrize("argv", [[], ["cache"], ["weights"]], ids=["l3clf", "cache", "weights"])
def test_a_bare_command_prints_its_help(run, argv):
    status, out, err = run(*argv)
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: {' '.join(['l3clf', *argv])} [-h]")


def test_one_of_something_is_singular(run, data, tmp_path):
    sound, cache = data / "low" / "0.wav", tmp_path / "c"
    argv = ["embed", sound, "--embedder", "mfcc", "--hop", "9", "--out", tmp_path / "x.npz"]
    assert run(*argv, "--cache", cache)[1].startswith("Embeddings of 1 file, ")
    assert ": 1 entry, " in run("cache", "info", "--cache", cache)[1]
    assert run("cache", "verify", "--cache", cache)[1] == "1 entry checked, 0 damaged entries dropped\n"
    assert run("cache", "prune", "--cache", cache, "--max-mb", "0.001")[1] == "1 entry removed\n"


def test_prune_says_what_to_give(run, data, tmp_path):
    run("embed", data, "--embedder", "mfcc", "--out", tmp_path / "x.npz", "--cache", tmp_path / "c")
    status, out, err = run("cache", "prune", "--cache", tmp_path / "c")
    assert (status, err) == (0, "")
    assert out == "0 entries removed; to remove entries, give --max-mb, --unused-days or --fingerprint\n"


def test_fit_with_a_group_says_that_it_has_no_effect(run, data, tmp_path):
    status, out, err = run("fit", data, "--embedder", "mfcc", "--group", "who", "--out", tmp_path / "m")
    assert (status, out) == (1, "")
    assert "--group: fit learns from all clips at once, so groups have no effect without --unknown" in err
    assert "give it to `l3clf baseline`" in err


def test_weights_list_says_where_files_come_from(run, tmp_path, monkeypatch):
    monkeypatch.setattr("l3clf.weights.registry.user_weights_dir", lambda: tmp_path / "none")
    monkeypatch.setenv("L3CLF_WEIGHTS", str(tmp_path))
    out = run("weights", "list")[1]
    assert "not on this machine; from github.com/ksangeeta2429/edgel3" in out
    assert "not on this machine; from Google (YAMNet" in out


# --- names that cannot be -------------------------------------------------------------------------

NAMES = {"300 characters": "x" * 300, "a lone surrogate": "a\ud800b", "a NUL": "a\0b", "a line break": "a\r\nb"}
PLACES = {
    "fit": ["fit", "NAME", "--embedder", "mfcc", "--out", "m"],
    "fit --out": ["fit", "data", "--embedder", "mfcc", "--out", "NAME/m"],
    "fit --embedder": ["fit", "data", "--embedder", "NAME.student", "--out", "m"],
    "fit --weights": ["fit", "data", "--embedder", "openl3", "--weights", "NAME", "--out", "m"],
    "predict": ["predict", "NAME", "data"],
    "predict FILES": ["predict", "model.l3clf", "NAME"],
    "predict --out": ["predict", "model.l3clf", "data", "--out", "NAME/x"],
    "embed": ["embed", "NAME", "--embedder", "mfcc", "--out", "x.npz"],
    "embed --out": ["embed", "data", "--embedder", "mfcc", "--out", "NAME/x"],
    "baseline": ["baseline", "NAME"],
    "baseline --out": ["baseline", "data", "--embedders", "mfcc", "--out", "model.l3clf/NAME"],
    "export": ["export", "NAME", "--out", "fw"],
    "verify": ["verify", "NAME", "--audio", "data"],
    "info": ["info", "NAME"],
    "cache": ["cache", "info", "--cache", "model.l3clf/NAME"],
    "demo": ["demo", "--out", "model.l3clf/NAME"],
    "weights check": ["weights", "check", "--weights", "NAME"],
    "guide": ["guide", "NAME"],
}


@pytest.mark.parametrize("argv", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_cannot_be_is_one_sentence(run, data, model, monkeypatch, argv, name):
    monkeypatch.chdir(data.parent)
    before = sorted(data.parent.iterdir())
    status, _, err = run(*(word.replace("NAME", name) for word in argv))
    assert status == 1
    lines = [line for line in err.splitlines() if line.startswith("l3clf: ")]
    assert len(lines) == 1
    assert len(err.splitlines()) == 1 or argv[0] == "baseline"  # which describes the data first
    assert err.rstrip("\n").isprintable() or argv[0] == "baseline"
    assert len(sorted(data.parent.iterdir())) <= len(before) + (argv[0] == "embed")


def test_a_folder_without_permission_is_one_sentence(run, data, monkeypatch):
    if os.geteuid() == 0 and not os.path.isdir("/proc/1"):  # noqa: PTH112
        pytest.skip("root reads every folder")
    place = "/proc/self/task/1/nothing" if os.geteuid() == 0 else data / "locked"
    status, _, err = run("fit", data, "--embedder", "mfcc", "--out", f"{place}/m")
    assert status == 1
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_a_model_s_name_that_cannot_be_is_a_model_file_error(name, model):
    with pytest.raises(ModelFileError, match="is not a file name") as caught:
        l3clf.load_model(name)
    assert str(caught.value).isprintable()
    with pytest.raises(ModelFileError):
        l3clf.save_model(l3clf.load_model(model), name)


# --- quiet and interrupted ------------------------------------------------------------------------


def test_every_command_with_progress_can_be_quiet(run):
    for command in ("fit", "predict", "baseline", "embed", "distill", "verify", "demo", "weights fetch"):
        assert "--quiet" in run(*command.split(), "--help")[1], command


def test_a_quiet_baseline_prints_the_table_alone(run, data, tmp_path):
    argv = ["baseline", data, "--embedders", "mfcc", "--heads", "logistic", "--out", tmp_path / "out"]
    status, out, err = run(*argv, "--quiet")
    assert (status, err) == (0, "")
    assert out.startswith("embedder")


@pytest.mark.parametrize(
    ("cache", "words"),
    [("none", "interrupted: with --cache none no embeddings are kept"), ("c.sqlite", "the cache keeps its embeddings")],
)
def test_ctrl_c_promises_no_cache_where_there_is_none(run, data, tmp_path, monkeypatch, cache, words):
    monkeypatch.chdir(tmp_path)

    def stop(self, windows):
        raise KeyboardInterrupt

    monkeypatch.setattr("l3clf.embedders.mfcc.Mfcc.embed_windows", stop)
    status, _, err = run("fit", data, "--embedder", "mfcc", "--jobs", "1", "--cache", cache, "--out", "m")
    assert status == 130
    assert words in err


class StopAtImport:
    """A finder that interrupts the import of the command line, as Ctrl-C does."""

    def find_spec(self, name, path=None, target=None):
        if name == "l3clf.cli.main":
            raise KeyboardInterrupt


def test_ctrl_c_while_importing_is_one_line(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "l3clf.cli.main")
    monkeypatch.setattr(sys, "meta_path", [StopAtImport(), *sys.meta_path])
    with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:
        runpy.run_path(str(Path(l3clf.__file__).parent / "__main__.py"), run_name="__main__")
    assert getattr(caught.value, "code", "a traceback") == 130
    assert capsys.readouterr().err == "l3clf: interrupted\n"


def test_the_installed_command_is_the_guarded_one():
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not run from a checkout")
    assert 'l3clf = "l3clf.__main__:run"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_behind_standard_output_is_one_sentence(capfd, monkeypatch, model, data):
    from l3clf.cli.main import main

    with open("/dev/full", "w") as full, monkeypatch.context() as patched:  # noqa: PTH123
        patched.setattr(sys, "stdout", full)
        assert main(["predict", str(model), str(data)]) == 1
        patched.undo()
    assert capfd.readouterr().err.startswith("l3clf: standard output: No space left on device; free some space")
