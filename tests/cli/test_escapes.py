"""Nothing in a name, a label or another library's text controls the terminal; files and pipes get it unchanged."""

import io
import re
import shutil
import sys
import warnings

import pytest
from helpers.tones import write_tone

import l3clf
from l3clf.cli import main as cli

RED, CLEAR, TITLE, TURN = "\x1b[31m", "\x1b[2J", "\x1b]0;pwned\x07", "\u202e"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="file names without control characters")


class Screen(io.StringIO):
    """A terminal, without its encoding."""

    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """Run a command on a terminal; return its status and all that the terminal got."""

    def run_command(*arguments):
        out, err = Screen(), io.StringIO()  # progress bars, which return to the start of the line, are not shown there
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", out)
            patched.setattr(sys, "stderr", err)
            patched.setattr(sys, "argv", ["l3clf"])
            patched.setattr(warnings, "showwarning", warnings.showwarning)
            try:
                status = cli.main([str(argument) for argument in arguments])
            except SystemExit as stop:
                status = stop.code
        return status, out.getvalue() + err.getvalue()

    return run_command


@pytest.fixture
def nasty(tmp_path):
    """Two classes of sounds with names that hold control sequences."""
    folder = tmp_path / "data"
    for k in range(3):
        write_tone(folder / "low" / f"{TURN}{k}{RED}.wav", 200 + 20 * k, k)
        write_tone(folder / "high" / f"{k}{CLEAR}.wav", 2000 + 200 * k, k)
    return folder


@pytest.fixture
def nasty_model(nasty, tmp_path):
    path = tmp_path / "m.l3clf"
    assert cli.main(["fit", str(nasty), "--embedder", "mfcc", "--out", str(path)]) == 0
    return path


def plain(text):
    assert CONTROL.search(text) is None, repr(text)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_predictions_on_a_terminal_are_escaped(screen, nasty, nasty_model, form):
    status, text = screen("predict", nasty_model, nasty, "--format", form)
    assert status == 0
    plain(text)
    assert "0\\x1b[31m.wav" in text or "0\\u001b[31m.wav" in text


def test_predictions_in_a_pipe_are_unchanged(nasty, nasty_model, capsys):
    capsys.readouterr()
    assert cli.main(["predict", str(nasty_model), str(nasty)]) == 0
    assert f"{TURN}0{RED}.wav,low," in capsys.readouterr().out


def test_baseline_is_escaped(screen, nasty, tmp_path):
    broken = nasty / "high" / f"{CLEAR}broken.wav"
    broken.write_bytes(b"no sound")
    argv = ["baseline", nasty, "--embedders", "mfcc", "--heads", "logistic", "--out", tmp_path / f"{RED}out"]
    status, text = screen(*argv)
    assert status == 1
    assert "broken.wav" in text
    plain(text)


MISSING = {
    "predict": ["predict", "NAME", "x"],
    "fit": ["fit", "NAME", "--embedder", "mfcc", "--out", "m"],
    "fit --embedder": ["fit", "x", "--embedder", "NAME", "--out", "m"],
    "fit --head": ["fit", "x", "--head", "NAME", "--out", "m"],
    "an option": ["fit", "x", "--out", "m", "--NAME"],
    "a command": ["NAME"],
    "export": ["export", "NAME", "--out", "fw"],
    "verify": ["verify", "NAME", "--audio", "x"],
    "guide": ["guide", "NAME"],
    "weights": ["weights", "check", "NAME"],
    "cache": ["cache", "info", "--cache", "/dev/null/NAME"],
    "info": ["info", "NAME"],
}


@pytest.mark.parametrize("name", [f"a{RED}b", f"a{TITLE}b", f"a{TURN}b", "a\rb", "a\nb", "a\x9b31mb"], ids=ascii)
@pytest.mark.parametrize("argv", MISSING.values(), ids=MISSING)
def test_messages_are_escaped(screen, tmp_path, monkeypatch, argv, name):
    monkeypatch.chdir(tmp_path)
    status, text = screen(*(word.replace("NAME", name) for word in argv))
    assert status in (1, 2)
    plain(text)
    assert "\nb" not in text
    assert any(shown in text for shown in (ascii(name)[1:-1], ascii(ascii(name))[2:-2], repr(name)[1:-1]))


def test_names_of_embedders_in_a_strangers_cache_are_escaped(screen, tmp_path):
    import numpy as np

    from l3clf.storage.embedding_cache import StoredWindows, cache_key

    cache = l3clf.EmbeddingCache(tmp_path / "c.sqlite")
    stored = StoredWindows(np.zeros((1, 2), np.float32), np.zeros(1, np.float32))
    key = cache_key(b"x", 0.0, None, "f", 0.5, True)
    cache.put_many({key: stored}, fingerprint="f", embedder=f"{RED}openl3")
    status, text = screen("cache", "info", "--cache", cache.path)
    assert status == 0
    plain(text)
    assert "openl3" in text


def test_warnings_of_other_libraries_are_escaped(screen, nasty, tmp_path, monkeypatch):
    from l3clf.embedders.mfcc import Mfcc

    embed = Mfcc.embed_windows

    def noisy(self, windows):
        warnings.warn(f"tag of {TITLE}title", RuntimeWarning, stacklevel=1)
        return embed(self, windows)

    monkeypatch.setattr(Mfcc, "embed_windows", noisy)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, text = screen("fit", nasty, "--embedder", "mfcc", "--out", tmp_path / "x", "--jobs", "1")
    assert status == 0
    plain(text)


def test_a_student_s_description_is_escaped(screen, tmp_path):
    import json
    import zipfile
    from importlib.resources import files

    original = files("l3clf.embedders") / "data" / "l3mini.student"
    path = tmp_path / "s.student"
    shutil.copy(str(original), path)
    with zipfile.ZipFile(str(original)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "student.json":
                about = json.loads(content) | {"teachers": [f"{RED}yamnet"], "architecture": TITLE}
                content = json.dumps(about).encode()
            new.writestr(name, content)
    status, text = screen("info", path)
    assert status == 0
    plain(text)
    assert "yamnet" in text
