"""l3clf baseline: its output, its second run, and what happens when it is killed."""

import io
import json
import os
import shutil
import signal
import subprocess
from contextlib import redirect_stderr, redirect_stdout

import pytest
from helpers.processes import start_l3clf

from l3clf import datasets
from l3clf.cli import main as cli


def command(sounds, folder):
    cells = ["--embedders", "mfcc", "--heads", "logistic", "--pooling", "mean", "vote"]
    return ["baseline", str(sounds), *cells, "--out", str(folder / "out"), "--cache", str(folder / "c.sqlite")]


def table_of(folder):
    rows = json.loads((folder / "out" / "table.json").read_text(encoding="utf-8"))["rows"]
    return [{key: value for key, value in row.items() if key not in ("seconds", "clips_per_s")} for row in rows]


@pytest.fixture(scope="module")
def whole(sounds, tmp_path_factory):
    """The folder, the output and the messages of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        assert cli.main(command(sounds, folder)) == 0
    return folder, out.getvalue(), err.getvalue()


def test_the_command_prints_the_table_and_where_things_are(sounds, whole):
    folder, out, err = whole
    assert "logistic" in out
    assert "always the largest class" in out
    assert str(folder / "out" / "report.html") in out
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    for name, value in datasets.load(sounds).describe().items():
        assert f"{name:<17}{value}" in err
        assert name in page
        assert value in page


def test_the_second_run_computes_nothing_and_gives_the_same_table(sounds, whole, tmp_path, monkeypatch):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)

    def refuse(*args):
        raise AssertionError("computed again")

    monkeypatch.setattr("l3clf.baselines.targets.cross_validate_poolings", refuse)
    monkeypatch.setattr("l3clf.embedders.mfcc.Mfcc.embed_windows", refuse)
    assert cli.main(command(sounds, tmp_path)) == 0
    assert table_of(tmp_path) == table_of(whole[0])


# --- killed and interrupted ---------------------------------------------------------------------------

AT_CALL = """
import importlib, os, signal
place = importlib.import_module({module!r})
owner = getattr(place, {owner!r}) if {owner!r} else place
original, calls = getattr(owner, {name!r}), []
def killed(*arguments, **options):
    calls.append(1)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
setattr(owner, {name!r}, killed)
"""
KILLED_IN = {
    "the embedding": ("l3clf.embedders.mfcc", "Mfcc", "embed_windows", 2, "c.sqlite"),
    "the cross-validation": ("l3clf.baselines.targets", "", "cross_validate_poolings", 2, "out/.cells/*.npz"),
    # A picture is drawn for the page on a phone, in memory, before it is drawn for the file.
    "the pictures": ("matplotlib.figure", "Figure", "savefig", 3, "out/pictures/*.png"),
}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("where", KILLED_IN)
def test_killed_anywhere_the_same_command_finishes_with_the_same_table(sounds, whole, tmp_path, where):
    module, owner, name, call, made = KILLED_IN[where]
    before = AT_CALL.format(module=module, owner=owner, name=name, call=call)
    with start_l3clf(*command(sounds, tmp_path), before=before, stdout=subprocess.DEVNULL) as process:
        process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert where == "the embedding" or list(tmp_path.glob(made))
    assert not (tmp_path / "out" / "report.html").exists()
    assert cli.main(command(sounds, tmp_path)) == 0
    assert table_of(tmp_path) == table_of(whole[0])
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


AMID_A_FOREST = """
import os, signal, threading
from sklearn.ensemble import RandomForestClassifier
fit, timer = RandomForestClassifier.fit, [threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))]
def interrupted(self, *arguments, **options):
    if timer:
        timer.pop().start()
    return fit(self.set_params(n_estimators=3000), *arguments, **options)
RandomForestClassifier.fit = interrupted
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send")
def test_ctrl_c_during_cross_validation_ends_at_once_and_the_next_run_completes(sounds, tmp_path):
    argv = [*command(sounds, tmp_path), "--heads", "forest", "--pooling", "vote"]
    with start_l3clf(*argv, before=AMID_A_FOREST, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err  # not -6: an interpreter that aborts
    assert "clips embedded in" in err
    assert err.splitlines()[-1].startswith("l3clf: interrupted")
    assert "Traceback" not in err
    assert out == ""
    assert not list(tmp_path.glob("out/.cells/*.npz"))
    assert cli.main(argv) == 0
    assert (tmp_path / "out" / "report.html").is_file()
