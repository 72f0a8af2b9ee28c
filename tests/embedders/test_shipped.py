"""The students in the package: what a name and a revision mean stays what it is."""

import json
import pickle
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from golden import make_l3mini_1 as first
from golden import make_shipped
from helpers import GOLDEN
from sklearn.base import clone

import l3clf
from l3clf.device.exporter import read_export
from l3clf.embedders import described_embedder, load_embedder
from l3clf.embedders.student import read_student
from l3clf.errors import ParameterError

DATA = Path(str(files("l3clf.embedders") / "data"))
OLD = GOLDEN / "l3mini_1"
SHIPPED = ["l3base", "l3mini", "l3micro"]
MAX_PARAMETERS = {"l3base": 800_000, "l3mini": 131_000, "l3micro": 30_000}
MAX_MACS = {"l3base": 40_000_000, "l3mini": 5_200_000, "l3micro": 1_000_000}
MAX_BYTES = {"l3base": 4 << 20, "l3mini": 700_000, "l3micro": 150_000}  # of a file, both networks


@pytest.fixture(params=["float32", "int8"])
def precision(request):
    return request.param


def vectors_of(precision):
    with np.load(OLD / "vectors.npz") as file:
        return str(file[f"{precision}_fingerprint"]), file[precision]


def assert_close(found, expected, precision):
    """Equal within 1e-5 of the largest value; in integers, where another processor may round a level up, within 2 %."""
    share = 1e-5 if precision == "float32" else 0.02
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * np.abs(expected).max())


# --- what they are ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_they_keep_to_their_sizes(name):
    path = load_embedder(name).path
    about = read_student(path).about
    assert about["parameters"] <= MAX_PARAMETERS[name]
    assert about["macs"] <= MAX_MACS[name]
    assert path.stat().st_size <= MAX_BYTES[name]


@pytest.mark.parametrize("variant", make_shipped.VARIANTS)
@pytest.mark.parametrize("name", SHIPPED)
def test_the_vectors_are_those_of_the_files_in_the_package(name, variant):
    """Whoever ships another network makes the golden values again: see `golden/make_shipped.py`."""
    fingerprint, expected = make_shipped.recorded(name, variant)
    embedder = load_embedder(name, **make_shipped.VARIANTS[variant])
    assert embedder.fingerprint == fingerprint
    found = embedder.embed_windows(make_shipped.windows())
    if embedder.precision == "int8" and embedder.frontend == "fixed":
        np.testing.assert_array_equal(found, expected)  # there is nothing that rounds otherwise on another machine
    else:
        assert_close(found, expected, embedder.precision)


@pytest.mark.parametrize("name", [*SHIPPED, "l3mini_1"])
def test_each_has_a_card_that_names_what_it_owes(name):
    card = " ".join((DATA / f"{name}.md").read_text(encoding="utf-8").split())
    assert f"{read_student(DATA / f'{name}.student').about['parameters']:,} parameters" in card
    assert "Licence**: MIT" in card
    (credits_file,) = {part for part in card.replace("(", " ").replace(")", " ").split() if part.endswith("credits.md")}
    assert (DATA / credits_file).is_file()


def test_the_notice_names_the_teachers():
    notice = (DATA / "NOTICE").read_text(encoding="utf-8")
    for words in ("EfficientAT", "Copyright (c) 2022 Florian Schmid", "YAMNet", "speech_embedding", "Apache License"):
        assert words in notice


def test_nothing_lies_in_the_package_that_is_not_used():
    students = {load_embedder(name).path.name for name in SHIPPED} | {load_embedder("l3mini", revision=1).path.name}
    assert {path.name for path in DATA.glob("*.student")} == students


# --- the first l3mini ------------------------------------------------------------------------------


def test_the_first_l3mini_is_what_it_was(precision):
    fingerprint, expected = vectors_of(precision)
    embedder = load_embedder("l3mini", precision=precision, revision=1)
    assert embedder.fingerprint == fingerprint
    assert embedder.options == {"precision": precision}  # as its files have it
    assert_close(embedder.embed_windows(first.windows()), expected, precision)
    assert embedder.path.stat().st_size == 579_065


def test_it_is_asked_for(precision):
    newest = load_embedder("l3mini", precision=precision)
    assert newest.revision == 2
    assert newest == load_embedder("l3mini", precision=precision, revision=2)
    assert newest.fingerprint != vectors_of(precision)[0]
    frontend = {} if precision == "float32" else {"frontend": "fixed"}
    assert newest.options == {"precision": precision, "revision": 2, **frontend}


@pytest.mark.parametrize("revision", [0, 3, "1", 1.0, True, None])
def test_other_revisions_are_refused(revision):
    with pytest.raises(ParameterError, match=f"revision={revision!r}; expected 2, or 1 for the first l3mini"):
        load_embedder("l3mini", revision=revision)


@pytest.mark.parametrize("name", ["model", "chip"])
def test_a_model_that_was_fitted_on_it_goes_on_working(name, tmp_path):
    expected = json.loads((OLD / "answers.json").read_text(encoding="utf-8"))[name]
    model = l3clf.load_model(OLD / f"{name}.l3clf").set_params(cache=None)
    assert model.embedder_ == load_embedder("l3mini", precision=first.MODELS[name], revision=1)
    np.testing.assert_allclose(model.predict_proba(first.clips()), expected, atol=1e-5)
    again = l3clf.load_model(l3clf.save_model(model, tmp_path / "again.l3clf")).set_params(cache=None)
    assert again.embedder_ == model.embedder_
    np.testing.assert_allclose(again.predict_proba(first.clips()), expected, atol=1e-5)
    as_it_was = read_export(l3clf.device.export(model, tmp_path / "c", frontend="float"))
    assert as_it_was.student.fingerprint == vectors_of("int8")[0]
    on_chip = read_export(l3clf.device.export(model, tmp_path / "d"))
    assert on_chip.frontend == ("float" if first.MODELS[name] == "int8" else "fixed")


def test_a_model_fitted_now_is_of_the_newest(tmp_path):
    model = first.model(load_embedder("l3mini"))
    loaded = l3clf.load_model(l3clf.save_model(model, tmp_path / "m")).set_params(cache=None)
    assert loaded.embedder_ == load_embedder("l3mini", revision=2)
    np.testing.assert_allclose(loaded.predict_proba(first.clips()), model.predict_proba(first.clips()), atol=1e-6)


def test_pickles_and_clones_are_of_the_same_revision():
    old = load_embedder("l3mini", revision=1)
    assert pickle.loads(pickle.dumps(old)) == clone(l3clf.ClipEmbedder(old)).embedder == old
    assert described_embedder("l3mini", old.options) == old
    assert described_embedder("l3mini", load_embedder("l3mini").options) == load_embedder("l3mini") != old


def test_a_copy_of_either_is_as_good_as_the_one_in_the_package(tmp_path):
    for revision in (1, 2):
        embedder = load_embedder("l3mini", revision=revision)
        copy = replace(embedder, weights=shutil.copy(embedder.path, tmp_path / "copy.student"))
        assert copy.fingerprint == embedder.fingerprint
