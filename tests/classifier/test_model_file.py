"""Models come back as they were saved; damaged and hostile files are refused in one sentence."""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from helpers.model_files import edited, npy, put, rezip, unzip, with_array, with_member
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import l3clf
from l3clf.classifier import model_file as modelfile
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.heads import LinearHead
from l3clf.classifier.model_file import load_model, save_model
from l3clf.errors import ModelFileError, ParameterError, WeightsError

RATE = 16_000
WIDTH = 60  # what mfcc gives


def sounds(n=12, n_classes=3, seed=0):
    """Short tones in noise, and which of the pitches each has."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % n_classes
    t = np.arange(RATE // 4) / RATE
    clips = [np.sin(2 * np.pi * 300 * (k + 1) * t) + rng.normal(size=t.size) * 0.3 for k in kind]
    return [clip.astype(np.float32) for clip in clips], kind


def fitted(head="logistic", labels=("rain", "dog bark", "Ångström"), **options):
    clips, kind = sounds(n_classes=len(labels))
    model = ClipClassifier(embedder="mfcc", head=head, sample_rate=RATE, cache=None, **options)
    return model.fit(clips, np.asarray(labels)[kind])


def forest(n_estimators=3):
    return RandomForestClassifier(n_estimators, max_depth=3, random_state=0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Content of a good file for each kind of head."""
    folder = tmp_path_factory.mktemp("models")
    models = {"linear": fitted(), "forest": fitted(forest())}
    return {kind: save_model(model, folder / kind).read_bytes() for kind, model in models.items()}


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(5).normal(size=(20, WIDTH)).astype(np.float32) * 10


def refuse(path, *fragments):
    """Loading must fail with one sentence that names the file and holds the fragments."""
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    for fragment in fragments:
        assert fragment in message
    return message


# Round trips


@pytest.mark.parametrize(
    ("head", "labels", "options"),
    [
        ("logistic", ("rain", "dog bark", "Ångström"), {}),
        ("logistic", ("no", "yes"), {"pooling": "mean+std", "unknown_threshold": 0.7}),
        ("logistic", (False, True), {"pooling": "max", "hop_s": 0.25, "center": False}),
        ("logistic", (3, -1, 10), {"class_weight": "balanced"}),
        ("logistic", (0.0, 1.0), {}),
        (LogisticRegression(C=3, max_iter=3000), ("a", "b"), {"pooling": "probability"}),
        (forest(), ("a", "b", "c"), {"pooling": "vote", "gate_dbfs": -60}),
        (forest(), (1, 2), {"pooling": "mean+std"}),
        (RandomForestClassifier(2, min_samples_split=999), ("a", "b"), {}),
    ],
)
def test_round_trip(tmp_path, head, labels, options):
    model = fitted(head, labels, **options)
    path = save_model(model, tmp_path / "m.l3clf")
    assert path == tmp_path / "m.l3clf"
    again = load_model(str(path))
    clips, _ = sounds(9, seed=3)
    np.testing.assert_allclose(again.predict_proba(clips), model.predict_proba(clips), rtol=0, atol=1e-6)
    assert again.predict(clips).tolist() == model.predict(clips).tolist()
    assert again.classes_.tolist() == model.classes_.tolist()
    assert type(again.classes_[0].item()) is type(labels[0])
    assert again.training_digest_ == model.training_digest_
    assert again.expected_fingerprint_ == model.embedder_.fingerprint
    for name in ("hop_s", "center", "pooling", "sample_rate", "unknown_threshold", "gate_dbfs"):
        assert getattr(again, name) == getattr(model, name)


def test_forest_by_name_and_save_again(tmp_path):
    model = fitted("forest")
    first = save_model(model, tmp_path / "first")
    loaded = load_model(first)
    assert loaded.head == "forest"
    second = save_model(loaded, tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
    clips, kind = sounds()
    assert loaded.fit(clips, kind).predict(clips).tolist() == kind.tolist()  # it can be fitted anew


def test_head_that_was_an_object_cannot_be_fitted_again(tmp_path):
    loaded = load_model(save_model(fitted(forest()), tmp_path / "m"))
    with pytest.raises(ParameterError, match="ForestHead: comes from a model file"):
        clone(loaded).fit(*sounds())


def test_same_model_gives_same_bytes(tmp_path):
    assert save_model(fitted(), tmp_path / "a").read_bytes() == save_model(fitted(), tmp_path / "b").read_bytes()


def test_what_the_file_says(saved):
    with zipfile.ZipFile(io.BytesIO(saved["linear"])) as archive:
        assert archive.namelist() == ["model.json", "mean.npy", "scale.npy", "coef.npy", "intercept.npy"]
        document = json.loads(archive.read("model.json"))
        coef = np.load(io.BytesIO(archive.read("coef.npy")), allow_pickle=False)  # plain .npy, for anyone to read
    assert coef.shape == (3, WIDTH)
    assert document["arrays"]["coef"]["shape"] == [3, WIDTH]
    assert document["embedder"]["name"] == "mfcc"
    assert document["embedder"]["embedding_size"] == WIDTH
    assert document["written_with"]["l3clf"] == l3clf.__version__


def test_numpy_numbers_as_parameters(tmp_path):
    model = fitted(hop_s=np.float32(0.5), unknown_threshold=np.float64(0.25), center=np.bool_(True))
    assert load_model(save_model(model, tmp_path / "m")).unknown_threshold == 0.25


# Weights


def edgel3_model():
    """A model whose embedder's weights are not here."""
    head = {"mean": np.zeros(64), "scale": np.ones(64), "coef": np.ones((2, 64)), "intercept": np.zeros(2)}
    model = ClipClassifier(embedder="edgel3", sample_rate=RATE, cache=None)
    model.head_ = LinearHead.from_arrays(head, ["a", "b"], 64)
    model.classes_ = model.head_.classes_
    model.embedder_ = l3clf.load_embedder("edgel3")
    model.training_digest_ = "0" * 32
    model.expected_fingerprint_ = "f" * 32
    return model


def test_loads_in_a_fresh_process_without_weights(tmp_path):
    path = save_model(edgel3_model(), tmp_path / "m.l3clf")
    code = """
import sys, numpy as np, l3clf
model = l3clf.load_model(sys.argv[1])
print(model.classes_.tolist(), model.embedder_.embedding_size, model.expected_fingerprint_)
try:
    model.predict([np.ones(16000)])
except l3clf.L3clfError as error:
    print(type(error).__name__)
assert "tensorflow" not in sys.modules
"""
    (tmp_path / "none").mkdir()
    env = {**os.environ, "L3CLF_WEIGHTS": str(tmp_path / "none"), "HOME": str(tmp_path / "none")}
    env.pop("XDG_CACHE_HOME", None)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.splitlines() == [f"['a', 'b'] 64 {'f' * 32}", "WeightsError"]


def test_weights_are_handed_on(tmp_path):
    model = load_model(save_model(edgel3_model(), tmp_path / "m"), weights=tmp_path / "nowhere.h5")
    assert str(tmp_path / "nowhere.h5") in str(model.embedder_.weights)
    with pytest.raises(WeightsError, match=r"nowhere\.h5"):
        model.predict([np.ones(RATE)])


def test_weights_for_an_embedder_without(tmp_path):
    path = save_model(fitted(), tmp_path / "m")
    with pytest.raises(ModelFileError, match="embedder 'mfcc' cannot be built here"):
        load_model(path, weights="x.h5")


def test_other_fingerprint_is_refused_when_predicting(tmp_path, saved):
    path = tmp_path / "m"
    path.write_bytes(edited(saved["linear"], lambda d: d["embedder"].update(fingerprint="0" * 32)))
    model = load_model(path)
    with pytest.raises(ModelFileError):
        model.predict(sounds(1)[0])


# Saving what cannot be saved


@pytest.mark.parametrize(
    "head",
    [SVC(probability=True), MLPClassifier(max_iter=5), KNeighborsClassifier(3)],
    ids=lambda head: type(head).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_other_heads_are_refused_by_name(tmp_path, head):
    model = fitted(head)
    with pytest.raises(ModelFileError, match=f"a {type(head).__name__} head cannot be saved"):
        save_model(model, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_not_fitted_and_not_a_classifier(tmp_path):
    with pytest.raises(ModelFileError, match="not fitted"):
        save_model(ClipClassifier(embedder="mfcc"), tmp_path / "m")
    with pytest.raises(ModelFileError, match="a RandomForestClassifier cannot be saved"):
        save_model(forest(), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_unknown_embedder_is_refused_by_name(tmp_path, monkeypatch):
    model = fitted()
    monkeypatch.setattr(type(model.embedder_), "name", "homemade")
    with pytest.raises(ModelFileError, match=r"embedder 'homemade' is not one of .*mfcc.*register_embedder"):
        save_model(model, tmp_path / "m")


def test_option_that_json_cannot_hold(tmp_path, monkeypatch):
    model = fitted()
    monkeypatch.setitem(vars(model.embedder_), "options", {"function": len})
    with pytest.raises(ModelFileError, match="cannot be written to JSON"):
        save_model(model, tmp_path / "m")


def test_parameter_that_load_would_refuse(tmp_path):
    model = fitted()
    model.hop_s = float("inf")
    with pytest.raises(ModelFileError, match="m: "):
        save_model(model, tmp_path / "m")


def test_model_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(modelfile, "_MAX_TOTAL", 1000)
    with pytest.raises(ModelFileError, match="takes more than"):
        save_model(fitted(), tmp_path / "m")


@pytest.mark.parametrize("place", ["missing/m", "folder", "a" * 300])
def test_place_that_cannot_be_written(tmp_path, place):
    (tmp_path / "folder" / "content").mkdir(parents=True)
    with pytest.raises(ModelFileError, match=r"cannot be written \("):
        save_model(fitted(), tmp_path / place)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = save_model(fitted(), tmp_path / "m")
    before = path.read_bytes()

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(ModelFileError, match="No space left"):
        save_model(fitted(forest()), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Files that are no model files


class Payload:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


PICKLES = {
    "protocol 2": lambda p: pickle.dumps(p, 2),
    "protocol 5": lambda p: pickle.dumps(p, 5),
    "protocol 0": lambda p: pickle.dumps(p, 0),
    "gzip": lambda p: gzip.compress(pickle.dumps(p)),
    "zlib": lambda p: zlib.compress(pickle.dumps(p)),
}


@pytest.mark.parametrize("kind", PICKLES)
def test_loading_executes_nothing(tmp_path, kind):
    canary, path = tmp_path / "canary", tmp_path / "model.joblib"
    path.write_bytes(PICKLES[kind](Payload(canary)))
    message = refuse(path, "l3clf.save_model")
    assert ("pickle" in message) == (kind != "protocol 0")
    assert not canary.exists()
    function, arguments = Payload(canary).__reduce__()
    function(*arguments)  # the payload would have worked
    assert canary.exists()


def test_pickled_array_executes_nothing(tmp_path, saved):
    canary, path = tmp_path / "canary", tmp_path / "m"
    file = io.BytesIO()
    np.save(file, np.array([Payload(canary)], object))
    path.write_bytes(with_member(saved["linear"], "mean", file.getvalue()))
    refuse(path, "header of mean.npy", "|O")
    assert not canary.exists()


def test_missing_directory_and_fifo(tmp_path):
    refuse(tmp_path / "nothing", "No such file")
    refuse(tmp_path, "not a regular file")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        refuse(tmp_path / "fifo", "not a regular file")


def test_nul_in_the_name():
    with pytest.raises(ModelFileError):
        load_model("a\0b")


# Hostile ZIP files


def add(name, content=b"x"):
    return lambda good: rezip([*unzip(good).items(), (name, content)])


def patch_directory(good, member, offset, value):
    """Overwrite bytes at `offset` of a member's entry in the central directory."""
    at = good.rindex(member.encode()) - 46 + offset
    return good[:at] + value + good[at + len(value) :]


def flip(good, at):
    return good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :]


def zip64_locator(good):
    return good[:-22] + b"PK\x06\x07" + bytes(16) + good[-22:]


ZIPS = {
    "empty": (lambda good: b"", "is empty"),
    "one byte": (lambda good: good[:1], "is not a ZIP file"),
    "text": (lambda good: b"hello, world", "begins with b'hello, w'"),
    "half": (lambda good: good[: len(good) // 2], "truncated"),
    "a byte short": (lambda good: good[:-1], "truncated"),
    "only the start": (lambda good: good[:30], "truncated"),
    "bytes behind": (lambda good: good + b"xx", "damaged"),
    "something in front": (lambda good: b"#!/bin/sh\n" + good, "is not a ZIP file"),
    "no members": (lambda good: rezip({}), "is not a ZIP file"),
    "comment": (lambda good: rezip(unzip(good), comment=b"hello"), "damaged"),
    "zip64": (zip64_locator, "ZIP directory is larger"),
    "checksum": (lambda good: flip(good, good.index(b"coef.npy") + 500), "damaged"),
    "local header": (lambda good: flip(good, good.index(b"coef.npy") - 30), "damaged"),
    "local name": (lambda good: flip(good, good.index(b"coef.npy")), "damaged"),
    "directory gone": (lambda good: flip(good, good.rindex(b"mean.npy") - 46), "damaged"),
    "encrypted": (lambda good: patch_directory(good, "coef.npy", 8, b"\x01\x00"), "'coef.npy' that is encrypted"),
    "strange method": (lambda good: patch_directory(good, "coef.npy", 10, b"\x63\x00"), "method 99"),
    "bzip2": (lambda good: rezip(unzip(good), zipfile.ZIP_BZIP2), "method 12"),
    "lzma": (lambda good: rezip(unzip(good), zipfile.ZIP_LZMA), "method 14"),
    "huge size": (lambda good: patch_directory(good, "coef.npy", 24, b"\xff\xff\xff\x7f"), "2147483647 bytes"),
    "size below": (lambda good: patch_directory(good, "coef.npy", 24, b"\x10\x00\x00\x00"), "damaged"),
    "size above": (lambda good: patch_directory(good, "coef.npy", 24, b"\x10\x00\x10\x00"), "unpacks to 1048592 bytes"),
    "far offset": (lambda good: patch_directory(good, "coef.npy", 42, b"\xff\xff\xff\x7f"), "damaged"),
    "large json": (lambda good: rezip({"model.json": b" " * (5 << 20)}), "5242880 bytes"),
    "traversal": (add("../../evil.npy"), "'../../evil.npy' that does not belong"),
    "absolute": (add("/etc/passwd"), "'/etc/passwd' that does not belong"),
    "backslashes": (add("..\\evil.npy"), "evil.npy' that does not belong"),
    "folder": (add("coef.npy/", b""), "'coef.npy/' that does not belong"),
    "unknown name": (add("bias.npy"), "'bias.npy' that does not belong"),
    "upper case": (add("MODEL.JSON"), "'MODEL.JSON' that does not belong"),
    "pickle inside": (add("data.pkl", pickle.dumps(1)), "'data.pkl' that does not belong"),
    "name with NUL": (
        lambda good: good.replace(b"mean.npy", b"me\0n.npy"),
        "'me' that does not belong",
    ),
    "name not ASCII": (lambda good: good.replace(b"mean.npy", b"m\xffan.npy"), "does not belong"),
    "other kind's array": (add("value.npy"), "member 'value.npy' that does not belong"),
    "many members": (lambda good: rezip([(f"{k:040}", b"") for k in range(2000)]), "ZIP directory is larger"),
    "no json": (lambda good: rezip({"coef.npy": unzip(good)["coef.npy"]}), "no model.json"),
    "no coef": (lambda good: rezip({k: v for k, v in unzip(good).items() if k[0] != "c"}), "'coef.npy' is missing"),
}


@pytest.mark.parametrize("name", ZIPS)
def test_hostile_zip(tmp_path, saved, name):
    damage, fragment = ZIPS[name]
    path = tmp_path / "m.l3clf"
    path.write_bytes(damage(saved["linear"]))
    refuse(path, fragment)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["model.json", "coef.npy"])
def test_a_member_twice(tmp_path, saved, name):
    path = tmp_path / "m"
    path.write_bytes(add(name, unzip(saved["linear"])[name])(saved["linear"]))
    refuse(path, f"{name!r} that occurs twice")


def test_bombs_are_not_unpacked(tmp_path, saved):
    """One tells its size and one lies: neither makes us take memory."""
    bomb = rezip(unzip(saved["linear"]) | {"coef.npy": bytes(64 << 20)})
    lying = patch_directory(bomb, "coef.npy", 24, (3000).to_bytes(4, "little"))
    honest = patch_directory(bomb, "coef.npy", 24, (900 << 20).to_bytes(4, "little"))
    path = tmp_path / "m"
    for content, fragment in ((lying, "damaged"), (honest, "943718400 bytes")):
        path.write_bytes(content)
        tracemalloc.start()
        refuse(path, fragment)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 << 20


def test_many_large_members(tmp_path, monkeypatch, saved):
    """Each within its limit, all together not."""
    total = sum(map(len, unzip(saved["linear"]).values()))
    path = tmp_path / "m"
    path.write_bytes(saved["linear"])
    monkeypatch.setattr(modelfile, "_MAX_TOTAL", total)
    load_model(path)
    monkeypatch.setattr(modelfile, "_MAX_TOTAL", total - 1)
    refuse(path, "unpacks to more than")
    monkeypatch.setattr(modelfile, "_MAX_TOTAL", 100)
    refuse(path, "more than the 100")


# Hostile JSON


TEXTS = {
    "no JSON": (b"{", "not valid JSON"),
    "nothing": (b"", "not valid JSON"),
    "no UTF-8": (b'{"\xff": 1}', "not valid JSON"),
    "NaN": (b'{"hop_s": NaN}', "NaN is not a JSON number"),
    "infinite": (b'{"hop_s": 1e999}', "1e999 is not a JSON number"),
    "long integer": (b'{"hop_s": ' + b"1" * 5000 + b"}", "not valid JSON (a number of 5,000 digits);"),
    "deep list": (b"[" * 200_000, "not valid JSON"),
    "deep object": (b'{"a":' * 100_000, "not valid JSON"),
    "twice": (b'{"format": 1, "format": 1}', "'format' occurs twice"),
    "a list": (b"[]", "model.json is []"),
    "null": (b"null", "model.json is None"),
    "empty object": (b"{}", "no field 'format'"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_json_text(tmp_path, saved, name):
    text, fragment = TEXTS[name]
    path = tmp_path / "m"
    path.write_bytes(rezip(unzip(saved["linear"]) | {"model.json": text}))
    refuse(path, fragment)


DOCUMENTS = {
    "another format": (put("format", "zip"), "'format' is 'zip'"),
    "newer version": (put("format_version", 5), "format version 5, but this l3clf reads up to 4; upgrade l3clf"),
    "version 0": (put("format_version", 0), "'format_version' is 0"),
    "version true": (put("format_version", True), "'format_version' is True"),
    "version text": (put("format_version", "1"), "'format_version' is '1'"),
    "lacks classes": (lambda d: d.pop("classes"), "no field 'classes'"),
    "unknown field": (put("run", "me"), "unknown field 'run'"),
    "embedder a list": (put("embedder", []), "'embedder' is []"),
    "embedder unknown": (put("embedder", "name", "eval"), "embedder 'eval' is not one of"),
    "embedder a path": (put("embedder", "name", "/etc/passwd"), "embedder '/etc/passwd' is not one of"),
    "embedder a number": (put("embedder", "name", 5), "'name' is 5"),
    "options a list": (put("embedder", "options", []), "'options' is []"),
    "option unknown": (put("embedder", "options", {"x": 1}), "embedder 'mfcc' cannot be built here"),
    "option weights": (put("embedder", "options", {"weights": "/etc/passwd"}), "unknown field 'weights'"),
    "option nested": (put("embedder", "options", {"x": {}}), "'x' is {}"),
    "embedding size": (put("embedder", "embedding_size", 30), "embeddings of size 30"),
    "size and features": (
        lambda d: (put("embedder", "embedding_size", 30)(d), put("classifier", "pooling", "mean+std")(d)),
        "'embedding_size' is 30, expected 60",
    ),
    "size negative": (put("embedder", "embedding_size", -1), "'embedding_size' is -1"),
    "embedder's rate": (put("embedder", "sample_rate", 8000), "'sample_rate' is 8000, expected 16000"),
    "window": (put("embedder", "window_s", 0.5), "'window_s' is 0.5, expected 1.0"),
    "window 0": (put("embedder", "window_s", 0), "'window_s' is 0"),
    "no fingerprint": (put("embedder", "fingerprint", ""), "'fingerprint' is ''"),
    "fingerprint null": (put("embedder", "fingerprint", None), "'fingerprint' is None"),
    "pooling": (put("classifier", "pooling", "sum"), "'pooling' is 'sum'"),
    "pooling doubles": (put("classifier", "pooling", "mean+std"), "'mean+std' have 120"),
    "hop 0": (put("classifier", "hop_s", 0), "'hop_s' is 0"),
    "hop negative": (put("classifier", "hop_s", -0.5), "'hop_s' is -0.5"),
    "hop huge": (put("classifier", "hop_s", 10**400), "'hop_s' is 1000"),
    "hop below a sample": (put("classifier", "hop_s", 1e-6), "'hop_s' cannot be used"),
    "hop true": (put("classifier", "hop_s", True), "'hop_s' is True"),
    "hop text": (put("classifier", "hop_s", "0.5"), "'hop_s' is '0.5'"),
    "center 1": (put("classifier", "center", 1), "'center' is 1"),
    "rate 0.5": (put("classifier", "sample_rate", 0.5), "'sample_rate' is 0.5"),
    "threshold": (put("classifier", "unknown_threshold", 1.5), "'unknown_threshold' is 1.5"),
    "gate": (put("classifier", "gate_dbfs", "loud"), "'gate_dbfs' is 'loud'"),
    "head param": (put("classifier", "head", "sklearn.svm.SVC"), "'head' is 'sklearn.svm.SVC'"),
    "cache": (put("classifier", "cache", "/tmp/x"), "unknown field 'cache'"),  # noqa: S108
    "kind": (put("head", "kind", "svm"), "'kind' is 'svm'"),
    "kind a list": (put("head", "kind", []), "'kind' is []"),
    "other kind": (put("head", "kind", "forest"), "arrays has no field 'tree_offsets'"),
    "features": (put("head", "n_features", 59), "(60,), expected (59,)"),
    "features huge": (put("head", "n_features", 10**30), "'n_features' is 1000"),
    "class less": (lambda d: d["classes"]["values"].pop(), "coef.npy has shape (3, 60), expected (2, 60)"),
    "class more": (lambda d: d["classes"]["values"].append("x"), "coef.npy has shape (3, 60), expected (4, 60)"),
    "class empty": (
        put("classes", "values", ["a", "b", ""]),
        "an empty label, which is the answer for a clip that failed",
    ),
    "class twice": (put("classes", "values", ["a", "b", "a"]), "same label twice"),
    "class a number": (put("classes", "values", ["a", "b", 3]), "a class is 3, expected of type str"),
    "classes an object": (put("classes", "values", {}), "'values' is {}"),
    "no classes": (put("classes", "values", []), "classes: of type nothing"),
    "class type": (put("classes", "type", "object"), "'type' is 'object'"),
    "class beyond 64 bits": (put("classes", {"type": "int", "values": [1, 2, 2**80]}), "64 bits"),
    "digest": (put("training_digest", "nothing"), "'training_digest' is 'nothing'"),
    "arrays a list": (put("arrays", []), "'arrays' is []"),
    "array less": (lambda d: d["arrays"].pop("mean"), "arrays has no field 'mean'"),
    "array more": (put("arrays", "bias", {}), "unknown field 'bias'"),
    "entry a list": (put("arrays", "mean", []), "'mean' is []"),
    "entry short": (put("arrays", "mean", {}), "mean.npy has no field 'dtype'"),
    "dtype object": (put("arrays", "mean", "dtype", "|O"), "'dtype' is '|O'"),
    "dtype other": (put("arrays", "mean", "dtype", "<f4"), "mean.npy is float32 (60,), expected float64"),
    "shape other": (put("arrays", "mean", "shape", [12, 10]), "mean.npy is float64 (12, 10), expected"),
    "shape negative": (put("arrays", "mean", "shape", [-60]), "shape of mean.npy is [-60]"),
    "shape true": (put("arrays", "mean", "shape", [True]), "shape of mean.npy is [True]"),
    "shape 3-D": (put("arrays", "mean", "shape", [60, 1, 1]), "shape of mean.npy is [60, 1, 1]"),
    "shape of lists": (put("arrays", "mean", "shape", [[60]]), "shape of mean.npy is [[60]]"),
    "shape huge": (put("arrays", "mean", "shape", [10**30]), "shape of mean.npy is [1000"),
    "checksum": (put("arrays", "mean", "sha256", "0" * 64), "mean.npy does not match its SHA-256"),
    "checksum short": (put("arrays", "mean", "sha256", ""), "'sha256' is ''"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_hostile_document(tmp_path, saved, name):
    change, fragment = DOCUMENTS[name]
    path = tmp_path / "m"
    path.write_bytes(edited(saved["linear"], change))
    refuse(path, fragment)


def test_every_field_is_checked(tmp_path, saved):
    """Whatever single field holds an object of the wrong type is refused."""
    document = json.loads(unzip(saved["linear"])["model.json"])
    path = tmp_path / "m"
    for section in ("embedder", "classifier", "head", "classes"):
        for field in document[section]:
            for value in ({"a": 1}, [[]]):
                path.write_bytes(edited(saved["linear"], put(section, field, value)))
                refuse(path)


# Hostile arrays


def at(index, value):
    def change(array):
        array[index] = value
        return array

    return change


def header(text, data=bytes(8 * WIDTH)):
    text = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


MEMBERS = {
    "empty": b"",
    "cut header": b"\x93NUMPY\x01\x00\xff\xff{'descr'",
    "not .npy": b"PK" * 600,
    "pickle": pickle.dumps(np.zeros(WIDTH)),
    "version 2": npy(np.zeros(WIDTH), version=(2, 0)),
    "big-endian": npy(np.zeros(WIDTH, ">f8")),
    "float32": npy(np.zeros(WIDTH, "f4")),
    "Fortran": header(f"{{'descr': '<f8', 'fortran_order': True, 'shape': ({WIDTH},), }}"),
    "short": npy(np.zeros(WIDTH))[:-1],
    "long": npy(np.zeros(WIDTH)) + b"\0",
    "other shape": npy(np.zeros(WIDTH + 1)),
    "code": header("__import__('os').system('true')"),
    "deep": header("(" * 20_000),
    "minus": header("-" * 20_000 + "1"),
    "named fields": npy(np.zeros(WIDTH, [("a", "<f8")])),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_hostile_npy(tmp_path, saved, name):
    path = tmp_path / "m"
    path.write_bytes(with_member(saved["linear"], "mean", MEMBERS[name]))
    refuse(path, "mean.npy")


ARRAYS = {
    "coef NaN": ("linear", "coef", at((0, 0), np.nan), "coef.npy holds NaN"),
    "intercept infinite": ("linear", "intercept", at(0, np.inf), "intercept.npy holds NaN or infinite"),
    "scale 0": ("linear", "scale", at(0, 0), "scale.npy holds values that are not above 0"),
    "coef float32": ("linear", "coef", lambda a: a.astype("f4"), "coef.npy is float32"),
    "coef a row less": ("linear", "coef", lambda a: a[1:], "coef.npy has shape (2, 60)"),
    "coef a column less": ("linear", "coef", lambda a: a[:, 1:].copy(), "coef.npy has shape (3, 59)"),
    "mean 2-D": ("linear", "mean", lambda a: a[:, None], "mean.npy is float64 (60, 1)"),
    "child 10^9": ("forest", "children_left", at(0, 10**9), "children_left.npy points"),
    "child -7": ("forest", "children_right", at(0, -7), "children_right.npy points"),
    "cycle": ("forest", "children_left", at(0, 0), "children_left.npy points backwards"),
    "two parents": ("forest", "children_left", at(0, 2), "no parent or several"),
    "feature": ("forest", "feature", at(0, WIDTH), "feature.npy holds indices outside 0..59"),
    "feature -1": ("forest", "feature", at(0, -1), "feature.npy holds indices outside 0..59"),
    "threshold": ("forest", "threshold", at(0, np.nan), "threshold.npy holds NaN"),
    "value": ("forest", "value", at(-1, 0.0), "value.npy holds a leaf"),
    "value 2": ("forest", "value", at(-1, 2.0), "value.npy holds probabilities outside 0..1"),
    "classes": ("forest", "value", lambda a: a[:, :2].copy(), "value.npy has shape"),
    "offsets": ("forest", "tree_offsets", at(1, -1), "tree_offsets.npy does not rise"),
    "offsets short": ("forest", "tree_offsets", lambda a: a[:-1], "tree_offsets.npy does not rise"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_hostile_array(tmp_path, saved, name):
    kind, array, change, fragment = ARRAYS[name]
    path = tmp_path / "m"
    path.write_bytes(with_array(saved[kind], array, change))
    refuse(path, fragment)


def test_the_helpers_leave_good_files_good(tmp_path, saved, rows):
    """Else the tables above would pass for the wrong reason."""
    path = tmp_path / "m"
    for kind, array in (("linear", "coef"), ("forest", "value")):
        for content in (
            saved[kind],
            rezip(unzip(saved[kind])),
            rezip(unzip(saved[kind]), zipfile.ZIP_STORED),
            edited(saved[kind], lambda document: None),
            with_array(saved[kind], array, lambda a: a),
        ):
            path.write_bytes(content)
            assert load_model(path).head_.predict_proba(rows).shape == (20, 3)
    path.write_bytes(patch_directory(saved["linear"], "coef.npy", 4, b"\x14\x03"))
    load_model(path)


# Any damage


@pytest.mark.parametrize("kind", ["linear", "forest"])
def test_any_damage_is_refused_or_harmless(tmp_path, saved, rows, kind):
    good, path = saved[kind], tmp_path / "m"
    path.write_bytes(good)
    expected = load_model(path).head_.predict_proba(rows)
    # The parts that have a structure are hit as often as the packed data, which is most of the file.
    heads = [good.find(name.encode()) for name in unzip(good)]
    places = st.one_of(
        st.integers(0, len(good) - 1),
        st.integers(len(good) - 500, len(good) - 1),
        st.builds(lambda start, step: start + step, st.sampled_from(heads), st.integers(-30, 20)).map(abs),
    )
    flips = st.lists(st.tuples(places, st.integers(0, 255)), min_size=0, max_size=4)

    @given(flips, st.none() | st.integers(0, len(good)))
    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    def check(changes, length):
        content = bytearray(good)
        for place, value in changes:
            content[place] = value
        path.write_bytes(bytes(content[:length]))
        try:
            model = load_model(path)
        except ModelFileError:
            refuse(path)
        else:
            np.testing.assert_array_equal(model.head_.predict_proba(rows), expected)

    check()
