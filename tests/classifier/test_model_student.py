"""A model on a student of the user's own is one file: it carries the student, which is checked like any other."""

import hashlib
import io
import json
import pickle
import re
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.device_models import RATE
from helpers.sound_files import tone, write
from sklearn.base import clone

import l3clf
from l3clf.cli import main as cli
from l3clf.embedders.shipped import L3Mini
from l3clf.embedders.student import Student
from l3clf.errors import L3clfError, ModelFileError

TINY = Path(__file__).parents[1] / "golden" / "tiny.student"
MEMBERS = ("student.json", "network.onnx", "network.tflite")


def sounds():
    """Eight clips of two classes."""
    clips = [tone(300 + 40 * i if i % 2 else 2500 + 99 * i, 0.7, RATE) for i in range(8)]
    return clips, ["low" if i % 2 else "high" for i in range(8)]


def fitted(embedder):
    return l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None).fit(*sounds())


def members_of(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rezip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture(params=["float32", "int8"])
def gone(request, tmp_path):
    """A model file whose student file no longer exists, and what the model answered before."""
    student = Path(shutil.copy(TINY, tmp_path / "mine.student"))
    model = fitted(l3clf.load_embedder(str(student), precision=request.param))
    path = l3clf.save_model(model, tmp_path / "model.l3clf")
    expected = model.predict_proba(sounds()[0])
    student.unlink()
    return path, expected


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The members of a model file with a student."""
    path = tmp_path_factory.mktemp("good") / "model.l3clf"
    return members_of(l3clf.save_model(fitted(Student(TINY, precision="int8")), path))


def load(path):
    return l3clf.load_model(path).set_params(cache=None)


# --- one file is enough -------------------------------------------------------------------------------


def test_it_predicts_when_the_student_file_is_gone(gone):
    path, expected = gone
    np.testing.assert_allclose(load(path).predict_proba(sounds()[0]), expected, atol=1e-6)


def test_it_predicts_in_another_process_and_folder(gone, tmp_path):
    path, expected = gone
    moved = Path(shutil.move(path, tmp_path / "sub.l3clf"))
    place = tmp_path / "elsewhere"
    place.mkdir()
    wav = write(place / "a.wav", sounds()[0][0], RATE, subtype="FLOAT")
    code = (
        "import l3clf, sys; m = l3clf.load_model(sys.argv[1]).set_params(cache=None, sample_rate=None)\n"
        "print(*map(repr, m.predict_proba([sys.argv[2]])[0].tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, moved, wav], cwd=place, capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose([float(x) for x in done.stdout.split()], expected[0], atol=1e-6)
    assert sorted(p.name for p in place.iterdir()) == ["a.wav"]  # nothing was unpacked


def test_it_pickles_clones_and_prints_like_others(gone):
    path, expected = gone
    model = load(path)
    again = pickle.loads(pickle.dumps(model))
    assert again.embedder_ == model.embedder_
    assert hash(again.embedder_) == hash(model.embedder_)
    np.testing.assert_allclose(again.predict_proba(sounds()[0]), expected, atol=1e-6)
    refitted = clone(model).fit(*sounds())
    np.testing.assert_allclose(refitted.predict_proba(sounds()[0]), expected, atol=1e-6)
    assert len(repr(model)) < 400
    assert model.embedder_.is_ready()


def test_it_is_saved_again_with_the_same_bytes(gone, tmp_path):
    path, _ = gone
    assert l3clf.save_model(load(path), tmp_path / "again.l3clf").read_bytes() == path.read_bytes()


def test_it_is_exported_from_that_file_alone(gone, tmp_path):
    path, _ = gone
    out = l3clf.device.export(load(path), tmp_path / "c")
    assert Student(out / "network.student").content == Student(TINY).content
    assert (out / "l3clf_model.c").read_text().count("layer") > 10


def test_the_commands_need_no_weights(tmp_path, capsys):
    student = Path(shutil.copy(TINY, tmp_path / "mine.student"))
    for number, (clip, label) in enumerate(zip(*sounds(), strict=True)):
        (tmp_path / "sounds" / label).mkdir(parents=True, exist_ok=True)
        write(tmp_path / "sounds" / label / f"{number}.wav", clip, RATE)
    out, cache = str(tmp_path / "m.l3clf"), ["--cache", "none"]
    assert cli.main(["fit", str(tmp_path / "sounds"), "--embedder", str(student), "--out", out, *cache]) == 0
    student.rename(tmp_path / "elsewhere.bin")
    capsys.readouterr()
    assert cli.main(["predict", out, str(tmp_path / "sounds" / "low"), *cache]) == 0
    assert capsys.readouterr().out.count(",low,") == 4


def test_a_student_in_place_of_l3mini_is_carried_and_a_copy_of_l3mini_is_not(tmp_path):
    mini = l3clf.load_embedder("l3mini")
    copy = Path(shutil.copy(mini.path, tmp_path / "copy.student"))
    other = l3clf.save_model(fitted(L3Mini(weights=TINY)), tmp_path / "other.l3clf")
    same = l3clf.save_model(fitted(L3Mini(weights=copy)), tmp_path / "same.l3clf")
    assert set(MEMBERS) <= members_of(other).keys()
    assert not set(MEMBERS) & members_of(same).keys()
    assert load(other).predict(sounds()[0]).tolist() == sounds()[1]
    copy.unlink()
    assert load(same).predict(sounds()[0]).tolist() == sounds()[1]


def test_a_path_that_is_given_is_preferred(gone):
    path, expected = gone
    model = l3clf.load_model(path, weights=TINY).set_params(cache=None)
    assert model.embedder_.path == TINY
    np.testing.assert_allclose(model.predict_proba(sounds()[0]), expected, atol=1e-6)


# --- files of before --------------------------------------------------------------------------------


def before(members):
    """What l3clf 0.1 wrote: the same without the student."""
    document = json.loads(members["model.json"])
    del document["student"]
    kept = {name: content for name, content in members.items() if name not in MEMBERS}
    return {**kept, "model.json": json.dumps({**document, "format_version": 1}).encode()}


def test_a_file_of_before_loads_by_path_and_says_what_to_do(good, tmp_path):
    path = rezip(tmp_path / "old.l3clf", before(good))
    with pytest.raises(ModelFileError, match=r"weights=, the path of a student file \(--weights on the command line\)"):
        l3clf.load_model(path)
    model = l3clf.load_model(path, weights=TINY).set_params(cache=None)
    assert model.predict(sounds()[0]).tolist() == sounds()[1]
    again = l3clf.save_model(model, tmp_path / "new.l3clf")
    assert load(again).predict(sounds()[0]).tolist() == sounds()[1]


def test_a_wrong_student_is_not_stored(good, tmp_path):
    path = rezip(tmp_path / "old.l3clf", before(good))
    wrong = tmp_path / "wrong.student"
    content = members_of(TINY)
    content["student.json"] = content["student.json"].replace(b'"window_s": 0.5', b'"window_s": 0.501')
    model = l3clf.load_model(path, weights=TINY)
    model.embedder_ = Student(rezip(wrong, content), precision="int8")
    model.expected_fingerprint_ = Student(TINY, precision="int8").fingerprint
    with pytest.raises(ModelFileError, match=r"wrong\.student is not the student that the model was fitted with"):
        l3clf.save_model(model, tmp_path / "new.l3clf")
    assert not (tmp_path / "new.l3clf").exists()


# --- hostile files ------------------------------------------------------------------------------------


def changed(good, change):
    """Return the members after a change of the document or of the student, whose table says what is there."""
    members = dict(good)
    document = json.loads(members["model.json"])
    change(document, members)
    members["model.json"] = json.dumps(document).encode()
    return members


def put(name, content):
    def change(document, members):
        members[name] = content
        document["student"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    return change


def other_network(document, members):
    about = json.loads(members["student.json"]) | {"window_s": 0.501}
    document["embedder"]["window_s"] = 0.501
    put("student.json", json.dumps(about).encode())(document, members)


def external_data(document, members):
    from onnx import ModelProto, TensorProto

    model = ModelProto.FromString(members["network.onnx"])
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    put("network.onnx", model.SerializeToString())(document, members)


def other_embedder(document, members):
    document["embedder"] |= {"name": "mfcc", "options": {}, "embedding_size": 60, "window_s": 1.0}


HOSTILE = {
    "a byte changed": (lambda d, m: m.update({"network.tflite": m["network.tflite"][:-1] + b"!"}), "does not match"),
    "no onnx": (lambda d, m: m.pop("network.onnx"), "'network.onnx' is missing from a model"),
    "not announced": (
        lambda d, m: (d.pop("student"), d.update(format_version=1)),
        "that does not belong in such a file",
    ),
    "no network": (put("network.onnx", b"no network"), "its student"),
    "no tflite": (put("network.tflite", b"no network"), "its student"),
    "no description": (put("student.json", b"[]"), "its student: student.json is not in the format"),
    "another student": (other_network, "its student is not the one that it was fitted with"),
    "external data": (external_data, "its student"),
    "another embedder": (other_embedder, "cannot be built here|the head takes"),
    "size of a float": (lambda d, m: d["student"]["network.onnx"].update(bytes=1.5), "'bytes' is 1.5, expected an int"),
    "too much": (lambda d, m: d["student"]["network.onnx"].update(bytes=1 << 30), "'bytes' is 1073741824, expected"),
    "no digest": (lambda d, m: d["student"]["network.onnx"].pop("sha256"), "has no field 'sha256'"),
    "another member": (lambda d, m: d["student"].update(x={}), "'x'"),
    "a list": (lambda d, m: d.update(student=[]), "'student' is"),
    "nothing": (lambda d, m: d.update(student=None), "'student' is None"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_student_is_refused_at_load(name, good, tmp_path):
    change, message = HOSTILE[name]
    path = rezip(tmp_path / "m", changed(good, change))
    with pytest.raises(ModelFileError, match=message) as error:
        l3clf.load_model(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'm'}: ")


def test_a_bomb_in_place_of_the_student_is_not_unpacked(good, tmp_path):
    path = rezip(tmp_path / "m", {**good, "network.onnx": bytes(200 << 20)})
    tracemalloc.start()
    try:
        with pytest.raises(L3clfError, match="unpacks to 209715200 bytes, more than"):
            l3clf.load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_the_good_file_is_good(good, tmp_path):
    assert load(rezip(tmp_path / "m", changed(good, lambda d, m: None))).predict(sounds()[0]).tolist() == sounds()[1]
    buffer = io.BytesIO(json.dumps(json.loads(good["model.json"])["student"]).encode())
    assert re.fullmatch(r'\{("[a-z.]+": \{"bytes": \d+, "sha256": "[0-9a-f]{64}"\}(, )?){3}\}', buffer.read().decode())
