"""A stranger's model, student or weight file takes no more memory and time than what it holds would."""

import gzip
import io
import json
import subprocess
import sys
from hashlib import sha256

import h5py
import numpy as np
import pytest
from helpers import GOLDEN
from helpers.model_files import edited, npy, put, rezip, unzip, with_array
from helpers.processes import environment
from sklearn.ensemble import RandomForestClassifier

from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.model_file import load_model, save_model
from l3clf.errors import ModelFileError

RATE, WIDTH = 16_000, 60
ROOM = 40 << 20  # bytes beyond what a process has that loaded a good file of each kind
ZEROS = 60 << 20  # bytes of a member


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Content of a good file for each kind of head."""
    rng = np.random.default_rng(0)
    clips, labels = [rng.normal(size=4000) for _ in range(6)], list("abcabc")
    heads = {"linear": "logistic", "forest": RandomForestClassifier(2, random_state=0)}
    fits = {
        k: ClipClassifier("mfcc", head=h, sample_rate=RATE, cache=None).fit(clips, labels) for k, h in heads.items()
    }
    folder = tmp_path_factory.mktemp("models")
    return {kind: save_model(model, folder / kind).read_bytes() for kind, model in fits.items()}


def with_arrays(good, **arrays):
    """Return the file with arrays in place of others, and everything that describes them right."""
    members = unzip(good)
    document = json.loads(members["model.json"])
    for name, array in arrays.items():
        members[f"{name}.npy"] = content = npy(array)
        entry = {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": sha256(content).hexdigest()}
        document["arrays"][name] = entry
    return rezip({**members, "model.json": json.dumps(document).encode()})


def chain(good, depth):
    """Return a forest of one tree, in which every inner node has a leaf and the rest of the tree below it."""
    n = 2 * depth + 1
    left, right = np.full(n, -1, "i4"), np.full(n, -1, "i4")
    left[: n - 1 : 2], right[: n - 1 : 2] = np.arange(1, n, 2), np.arange(2, n, 2)
    value = np.zeros((n, 3))
    value[left == -1, 0] = 1
    arrays = {"children_left": left, "children_right": right, "feature": np.zeros(n, "i4"), "threshold": np.zeros(n)}
    return with_arrays(good, value=value, tree_offsets=np.array([0, n]), **arrays)


def stumps(good, n):
    """Return a forest of trees that are a single leaf each."""
    leaf, value = np.full(n, -1, "i4"), np.eye(3)[np.zeros(n, int)]
    arrays = {"children_left": leaf, "children_right": leaf, "feature": leaf + 1, "threshold": np.zeros(n)}
    return with_arrays(good, value=value, tree_offsets=np.arange(n + 1), **arrays)


def announcing(good, **shapes):
    """Return the file with other shapes in model.json than the arrays have."""
    return edited(good, lambda d: [d["arrays"][name].update(shape=list(shape)) for name, shape in shapes.items()])


def with_zeros(good, member):
    """Return the file with a member of zeros, which take a thousandth of their size."""
    return rezip(unzip(good) | {member: bytes(ZEROS)})


def labels(good, values):
    return edited(good, put("classes", "values", values))


def many_classes(good, n):
    """Return the file for n classes, whose arrays fit."""
    others = [f"{k:x}" for k in range(n - 1)]
    wide = with_arrays(good, coef=np.zeros((n, WIDTH)), intercept=np.zeros(n))
    return labels(wide, ["x" * 1000, *others])


def onnx_of_empty_parts():
    """Return a student whose network is two million empty layers, of two bytes each."""
    layers = b"\x0a\x00" * (2_000_000)
    length = bytes((len(layers) >> shift & 127) | (128 if shift < 21 else 0) for shift in (0, 7, 14, 21))
    members = unzip((GOLDEN / "tiny.student").read_bytes())
    return rezip(members | {"network.onnx": b"\x3a" + length + layers})


def student_about(text):
    return rezip(unzip((GOLDEN / "tiny.student").read_bytes()) | {"student.json": text})


def weights(make):
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5.attrs["layer_names"] = [b"conv"]
        make(h5.create_group("conv"))
    return file.getvalue()


def one_array_under_many_names(group):
    group["w0"] = np.ones(1 << 18)
    for i in range(1, 200):
        group[f"w{i}"] = group["w0"]


def json_of(text, share=1.0):
    """Return JSON of nearly the largest size that is read, made of repetitions."""
    n = int(share * 4_194_000) // len(text)
    return b'{"a":[' + (text * n)[:-1] + b"]}"


HOSTILE = {
    "a label of a million characters": lambda s: labels(s["linear"], ["a", "b", "x" * 1_000_000]),
    "one long label among many": lambda s: labels(s["linear"], ["x" * 1_000_000, *map(str, range(300_000))]),
    "more labels than rows": lambda s: labels(s["linear"], ["x" * 999, *map(str, range(300_000))]),
    "labels whose array is large": lambda s: many_classes(s["linear"], 40_000),
    "a million lists": lambda s: rezip(unzip(s["linear"]) | {"model.json": json_of(b"[],")}),
    "a million objects": lambda s: rezip(unzip(s["linear"]) | {"model.json": json_of(b"{},")}),
    "objects between strings": lambda s: rezip(unzip(s["linear"]) | {"model.json": json_of(b'"[","",{},')}),
    "member larger than announced": lambda s: with_zeros(s["linear"], "coef.npy"),
    "nodes without values": lambda s: with_zeros(
        announcing(s["forest"], children_left=(ZEROS // 4,)), "children_left.npy"
    ),
    "values without nodes": lambda s: with_zeros(announcing(s["forest"], value=(ZEROS // 24, 3)), "value.npy"),
    "rows without classes": lambda s: with_zeros(
        announcing(s["linear"], coef=(ZEROS // 8 // WIDTH, WIDTH)), "coef.npy"
    ),
    "student of two million layers": lambda s: onnx_of_empty_parts(),
    "student described by objects": lambda s: student_about(json_of(b"{},", 0.24)),
    "weights that were never written": lambda s: weights(lambda g: g.create_dataset("w", (30 << 20,), "f4")),
    "weights under many names": lambda s: weights(one_array_under_many_names),
    "weights under many names, packed": lambda s: gzip.compress(weights(one_array_under_many_names)),
}
LOADER = """
import json, os, resource, sys, time
import l3clf
from l3clf.embedders.student import read_student
from l3clf.weights.keras_h5 import read_keras_h5
from pathlib import Path

def read(path):
    head = Path(path).read_bytes()[:8]
    if head[:2] != b"PK":
        return read_keras_h5(path)
    return read_student(Path(path)) if b"student" in Path(path).name.encode() else l3clf.load_model(path)

*good, room = sys.argv[1:]
for path in good:
    read(path)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (taken + int(room),) * 2)
for path in sys.stdin:
    start = time.perf_counter()
    try:
        read(path.strip())
        found = "nothing"
    except BaseException as error:
        found = f"{type(error).__name__}: {error}"
    print(json.dumps([found, time.perf_counter() - start]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(saved, tmp_path_factory):
    """What a process with little memory says about each file, and after how many seconds."""
    if not sys.platform.startswith("linux"):
        pytest.skip("limits the memory as Linux does")
    folder = tmp_path_factory.mktemp("hostile")
    good, others = (
        [],
        {
            "student": (GOLDEN / "tiny.student").read_bytes(),
            "weights": weights(lambda g: g.create_dataset("w", data=np.ones(99))),
        },
    )
    for kind, content in (saved | others).items():
        good.append(folder / f"good {kind}")
        good[-1].write_bytes(content)
    paths = {name: folder / name for name in HOSTILE}
    for name, path in paths.items():
        path.write_bytes(HOSTILE[name](saved))
    done = subprocess.run(
        [sys.executable, "-c", LOADER, *map(str, good), str(ROOM)],
        input="".join(f"{path}\n" for path in paths.values()),
        capture_output=True,
        text=True,
        check=True,
        env=environment(OMP_NUM_THREADS="1"),
    )
    found = map(json.loads, done.stdout.splitlines())
    return {name: (paths[name], *one) for name, one in zip(HOSTILE, found, strict=True)}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_takes_little_memory(outcomes, name):
    path, found, seconds = outcomes[name]
    assert path.stat().st_size < 3 << 20
    assert found.startswith(("ModelFileError: ", "WeightsError: "))
    assert str(path) in found
    assert len(found) - len(str(path)) < 400
    assert seconds < 5


TEXTS = {
    "lone surrogate": "a\ud800",
    "second half of a pair": "\udfffb",
    "line break": "rain\nsnow",
    "carriage return": "rain\r",
    "escape": "\x1b[31mrain",
    "NUL": "rain\0",
    "delete": "\x7f",
    "C1 control": "\x9b31m",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_class_that_no_terminal_can_show_is_refused(tmp_path, saved, name):
    path = tmp_path / "m"
    path.write_bytes(labels(saved["linear"], ["a", TEXTS[name], "c"]))
    with pytest.raises(ModelFileError, match="control character or half of a surrogate pair") as caught:
        load_model(path)
    assert str(caught.value).isprintable()


def test_a_class_with_a_control_character_is_not_saved(tmp_path):
    clips = [np.ones(4000), -np.ones(4000)]
    model = ClipClassifier("mfcc", sample_rate=RATE, cache=None).fit(clips, ["a\tb", "c"])
    with pytest.raises(ModelFileError, match="rename the class before fit"):
        save_model(model, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda good: chain(good, 50_000), "a tree has more than 4096 levels"),
        (lambda good: stumps(good, 100_000), "100000 trees, more than 10000"),
    ],
)
def test_a_forest_on_which_every_clip_would_take_seconds_is_refused(tmp_path, saved, make, message):
    path = tmp_path / "m"
    path.write_bytes(make(saved["forest"]))
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


def test_forests_and_labels_within_the_bounds_are_read(tmp_path, saved):
    path = tmp_path / "m"
    for content in (chain(saved["forest"], 4096), stumps(saved["forest"], 10_000)):
        path.write_bytes(content)
        assert load_model(path).head_.predict_proba(np.zeros((2, WIDTH))).tolist() == [[1, 0, 0]] * 2
    wide = ["x" * 1000, "Ångström \U0001f436", "\u3000 a"]
    path.write_bytes(labels(saved["linear"], wide))
    assert load_model(path).classes_.tolist() == wide


def test_the_changes_leave_good_files_good(tmp_path, saved):
    """Else the files above would be refused for another reason."""
    path = tmp_path / "m"
    for content in (
        with_arrays(saved["linear"], coef=np.zeros((3, WIDTH))),
        with_array(saved["forest"], "value", lambda array: array),
        chain(saved["forest"], 3),
        labels(with_arrays(saved["linear"], coef=np.zeros((9, WIDTH)), intercept=np.zeros(9)), list("abcdefghi")),
    ):
        path.write_bytes(content)
        load_model(path)
