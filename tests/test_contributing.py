"""CONTRIBUTING.md: its walk is the way that a clip goes, and its table of rooms is the order of imports."""

import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_package import ROOMS

import l3clf

PACKAGE = Path(l3clf.__file__).parent
PAGE = PACKAGE.parent / ".github" / "CONTRIBUTING.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="not run from a checkout")


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def walk(page):
    """The files and functions of the walk, in order."""
    return re.findall(r"^\d+\. `([\w/.]+)` `([\w.]+)`: ", page, re.MULTILINE)


def test_the_table_of_rooms_is_the_order_of_imports(page):
    rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", " ".join(rows))) == ROOMS


def test_the_walk_visits_each_file_once(page, walk):
    steps = page.partition("## A walk")[2].partition("\n## ")[0]
    assert len(walk) == len(re.findall(r"^\d+\. ", steps, re.MULTILINE)) > 10
    assert [name for name, _ in walk if not (PACKAGE / name).is_file()] == []
    assert len({name for name, _ in walk}) == len(walk)


def test_the_walk_is_the_way_of_a_clip(walk, tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(16_000), 16_000)
    fitted = l3clf.ClipClassifier("l3mini", cache=None).fit(paths[:3], ["a", "b", "a"])
    model = l3clf.load_model(l3clf.save_model(fitted, tmp_path / "model.l3clf"))
    model.set_params(cache=tmp_path / "cache.sqlite", n_jobs=1)
    model.predict(paths[:1])  # the cache is there, without the clip
    assert returned_in_order(lambda: model.predict([str(paths[3])]), set(walk)) == walk


def returned_in_order(call, wanted):
    """Return those (file, function) that are wanted, in the order in which they first return or yield."""
    found = {}

    def note(frame, event, _):
        code = frame.f_code
        if event == "return" and code.co_filename.startswith(str(PACKAGE)):
            step = Path(code.co_filename).relative_to(PACKAGE).as_posix(), code.co_qualname
            found.setdefault(step, None)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [step for step in found if step in wanted]
