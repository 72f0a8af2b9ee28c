"""Student files: what they give, where they work, and what a hostile one cannot do (see golden/make_student.py)."""

import contextlib
import json
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers import GOLDEN
from helpers.sound_files import noise, tone, write
from helpers.tflite_editor import Editor
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sklearn.base import clone

import l3clf
from l3clf.embedders import load_embedder
from l3clf.embedders.fixed_frontend import as_pcm, fixed_levels
from l3clf.embedders.frontend import INPUT_STEPS, levels, quantise_levels, student_spec
from l3clf.embedders.shipped import L3Mini
from l3clf.embedders.student import Student, read_student, write_student
from l3clf.errors import L3clfError, ModelFileError, ParameterError, WeightsError
from l3clf.networks.onnx_build import GraphBuilder, run_graph, session
from l3clf.networks.onnx_check import check_student_onnx

TINY = GOLDEN / "tiny.student"
WINDOW = 8000
SPEC = student_spec(0.5)
SHAPE, SIZE = (1, SPEC.n_frames, SPEC.n_bands), 32
ABOUT = {"window_s": 0.5, "embedding_size": SIZE}
SHIPPED = [("l3base", {}), ("l3mini", {}), ("l3mini", {"revision": 1}), ("l3micro", {})]


@cache
def members():
    with zipfile.ZipFile(TINY) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def student():
    return Student(TINY)


def windows(n=20, seed=0):
    """Noises at many levels, among them silence and full scale."""
    x = noise(n * WINDOW, seed, 1.0).reshape(n, WINDOW)
    return np.clip(x * np.logspace(-5, 0, n, dtype=np.float32)[:, np.newaxis], -1, 1)


def cosine(a, b):
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def one_sentence(error):
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


# --- what it gives ---------------------------------------------------------------------------------


def test_a_student_describes_itself(student):
    assert (student.name, student.sample_rate, student.window_s, student.window_samples) == (
        "student",
        16_000,
        0.5,
        8000,
    )
    assert (student.embedding_size, student.options) == (SIZE, {"precision": "float32"})
    assert student.about["architecture"] == "S"
    assert student.is_ready()


def test_numbers_are_those_of_its_networks(student):
    x = windows()
    steps = quantise_levels(levels(SPEC, x))
    expected = run_graph(session(members()["network.onnx"]), steps[:, np.newaxis] / np.float32(INPUT_STEPS))
    found = student.embed_windows(x)
    assert (found.shape, found.dtype) == ((20, SIZE), np.float32)
    assert cosine(found, expected).min() > 0.9999  # the steps are not rounded on the way into it
    for frontend, into in (("float", steps), ("fixed", fixed_levels(as_pcm(x), SPEC.n_frames))):
        whole = Student(TINY, precision="int8", frontend=frontend)
        network = whole.network
        out = network.model.output
        exact = (network.run(into[..., np.newaxis]).astype(np.float32) - out.zero_point) * out.scale
        np.testing.assert_array_equal(whole.embed_windows(x), exact)


def test_float_and_int8_agree(student):
    x = windows(50, seed=1)
    found = cosine(student.embed_windows(x), Student(TINY, precision="int8").embed_windows(x))
    assert found.min() > 0.95  # of what is nearly silent, which the golden file's ranges were not measured on
    assert found[20:].min() > 0.998


def test_int8_equals_tflite_micro(student):
    pytest.importorskip("tflite_micro")
    from helpers.tflite_micro_oracle import every_tensor

    steps = quantise_levels(levels(SPEC, windows(8, seed=2)))[..., np.newaxis]
    found = Student(TINY, precision="int8").network.layers(steps)
    expected = every_tensor(student.tflite, steps)
    assert expected
    for index, values in expected.items():
        np.testing.assert_array_equal(found[index], values)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_window_does_not_depend_on_its_batch(precision):
    student, x = Student(TINY, precision=precision), windows()
    alone = np.concatenate([student.embed_windows(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(student.embed_windows(x), alone, atol=1e-5)


def test_any_rate_and_length_can_be_embedded(student):
    found = student.embed(tone(rate=44_100, seconds=1.7), 44_100, hop_s=0.25)
    assert found.vectors.shape == (7, SIZE)
    assert np.isfinite(found.vectors).all()


CODE = """
import sys, numpy as np, l3clf
for precision in ("float32", "int8"):
    embedder = l3clf.load_embedder(sys.argv[1], precision=precision)
    assert embedder.embed(np.zeros(16000), 16000).vectors.shape[1] == 32
print(sorted({"tensorflow", "keras", "matplotlib", "ai_edge_litert"} & {*sys.modules}))
"""


def test_it_works_without_tensorflow():
    found = subprocess.run([sys.executable, "-c", CODE, str(TINY)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# --- where it works --------------------------------------------------------------------------------


def test_a_file_is_loaded_by_its_path(tmp_path):
    assert load_embedder(str(TINY)) == Student(str(TINY))
    assert load_embedder(str(TINY), precision="int8") == Student(TINY, precision="int8")
    assert load_embedder("student", weights=TINY) == Student(TINY)
    assert not load_embedder(str(tmp_path / "missing.student")).is_ready()


def test_another_student_can_take_the_place_of_l3mini():
    mini = load_embedder("l3mini", weights=TINY)
    assert isinstance(mini, L3Mini)
    assert mini.name == "l3mini"
    np.testing.assert_array_equal(mini.embed_windows(windows(2)), Student(TINY).embed_windows(windows(2)))


def test_pickles_and_clones_are_the_same(student):
    again = pickle.loads(pickle.dumps(student))
    assert again == student
    assert again.fingerprint == student.fingerprint
    assert len(pickle.dumps(student)) < 1000  # the file does not travel
    np.testing.assert_array_equal(again.embed_windows(windows(2)), student.embed_windows(windows(2)))
    assert clone(l3clf.ClipEmbedder(student)).embedder == student


def test_the_fingerprint_follows_what_changes_the_embeddings(student, tmp_path):
    files = {"same": members(), **{name: dict(members()) for name in ("float", "window", "story")}}
    model = ModelProto.FromString(members()["network.onnx"])
    values = numpy_helper.to_array(model.graph.initializer[0]).copy()
    values.flat[0] += 1e-6
    model.graph.initializer[0].raw_data = values.tobytes()
    files["float"]["network.onnx"] = model.SerializeToString()
    for name, change in (("window", {"window_s": 0.501}), ("story", {"licence": "CC0"})):
        files[name]["student.json"] = json.dumps(json.loads(members()["student.json"]) | change).encode()
    found = {name: Student(put(tmp_path / f"{name}.student", **content)).fingerprint for name, content in files.items()}
    assert found["same"] == found["story"] == student.fingerprint
    assert len({*found.values(), Student(TINY, precision="int8").fingerprint}) == 4


@pytest.fixture
def table(tmp_path):
    """Six clips of two classes."""
    paths = [write(tmp_path / f"{i}.wav", tone(300 + 40 * i if i < 3 else 3000 + 99 * i, 1.0)) for i in range(6)]
    return paths, ["low"] * 3 + ["high"] * 3


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_it_classifies_and_is_cached(precision, table, tmp_path):
    paths, labels = table
    cache = l3clf.EmbeddingCache(tmp_path / "cache.sqlite")
    model = l3clf.ClipClassifier(Student(TINY, precision=precision), cache=cache).fit(paths, labels)
    assert model.predict(paths).tolist() == labels
    again = clone(model).fit(paths, labels)
    np.testing.assert_array_equal(again.predict_proba(paths), model.predict_proba(paths))
    assert cache.info()["entries"] == 6


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_it_is_in_a_model_file(precision, table, tmp_path):
    paths, labels = table
    moved = tmp_path / "moved.student"
    student = Student(shutil.copy(TINY, tmp_path / "here.student"), precision=precision)
    model = l3clf.ClipClassifier(student, cache=None).fit(paths, labels)
    expected = model.predict_proba(paths)
    l3clf.save_model(model, tmp_path / "model.l3clf")
    Path(student.weights).rename(moved)
    loaded = l3clf.load_model(tmp_path / "model.l3clf", weights=moved).set_params(cache=None)
    assert loaded.embedder_ == Student(moved, precision=precision)
    np.testing.assert_allclose(loaded.predict_proba(paths), expected, atol=1e-6)


def test_a_model_file_without_its_student_says_so(table, tmp_path, monkeypatch):
    paths, labels = table
    mini = load_embedder("l3mini", weights=TINY)
    monkeypatch.setattr(L3Mini, "path", TINY)  # as if it were the one in the package
    l3clf.save_model(l3clf.ClipClassifier(mini, cache=None).fit(paths, labels), tmp_path / "model.l3clf")
    assert l3clf.load_model(tmp_path / "model.l3clf").set_params(cache=None).predict(paths).tolist() == labels
    monkeypatch.setattr(L3Mini, "path", tmp_path / "missing.student")
    with pytest.raises(ModelFileError, match=r"missing\.student: cannot be read") as error:
        l3clf.load_model(tmp_path / "model.l3clf")
    one_sentence(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision='int4'; expected 'float32' or 'int8'"),
        ({"frontend": "int"}, "frontend='int'; expected 'fixed' or 'float'"),
        ({"frontend": "fixed"}, "frontend='fixed': is of the int8 network; pass precision='int8', or frontend=None"),
        ({"weights": 3}, "weights=3; expected a path"),
        ({"size": 32}, "embedder 'student'.*'size'"),
    ],
)
def test_other_options_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        load_embedder("student", **options)


def test_a_student_without_a_file_says_so():
    with pytest.raises(ParameterError, match="give weights=, the path of a student file"):
        _ = load_embedder("student").fingerprint


# --- hostile files ---------------------------------------------------------------------------------


def put(path, **content):
    """Write a student file of any members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def with_member(path, name, data):
    return put(path, **{**members(), name: data})


def refused(path):
    """The one sentence with which a file is refused, in both precisions."""
    found = []
    for precision in ("float32", "int8"):
        with pytest.raises(WeightsError) as error:
            Student(path, precision=precision).embed_windows(windows(1))
        found.append(one_sentence(error))
    assert found[0] == found[1]
    assert path.name in found[0]
    return found[0]


def test_a_file_that_was_written_is_the_file_that_is_read(tmp_path):
    found = read_student(TINY)
    assert {"network.onnx": found.onnx, "network.tflite": found.tflite}.items() <= members().items()
    write_student(
        tmp_path / "again.student", {k: v for k, v in found.about.items() if k != "format"}, found.onnx, found.tflite
    )
    assert (tmp_path / "again.student").read_bytes() == TINY.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; give a file written by l3clf distill"),
        (b"\x80\x04pickle", "is a pickle"),
        (b"RIFF....WAVE", "is not a ZIP file"),
        (TINY.read_bytes()[:-9], "damaged"),
        (TINY.read_bytes()[:5000] + b"\0" * 99 + TINY.read_bytes()[5099:], "damaged"),
    ],
    ids=["empty", "pickle", "sound", "cut", "overwritten"],
)
def test_files_that_are_not_students_are_refused(tmp_path, content, message):
    (tmp_path / "some.student").write_bytes(content)
    sentence = refused(tmp_path / "some.student")
    assert message in sentence
    assert "save_model" not in sentence


def test_a_missing_file_is_refused(tmp_path):
    assert "cannot be read" in refused(tmp_path / "missing.student")
    assert "regular file" in refused(tmp_path)


@pytest.mark.parametrize("name", ["student.json", "network.onnx", "network.tflite"])
def test_a_missing_member_is_named(tmp_path, name):
    sentence = refused(put(tmp_path / "x.student", **{k: v for k, v in members().items() if k != name}))
    assert f"has no member {name}" in sentence


def test_a_foreign_member_is_refused(tmp_path):
    assert "'../evil.py' that does not belong" in refused(with_member(tmp_path / "x.student", "../evil.py", b""))


def test_a_member_that_unpacks_to_too_much_is_refused(tmp_path):
    path = tmp_path / "x.student"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**members(), "network.onnx": bytes(5 << 20)}.items():
            archive.writestr(name, data)
    assert "more than the" in refused(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "l3clf student 2"}, "is not in the format 'l3clf student 1'"),
        ({"window_s": "0.5"}, "window_s='0.5'"),
        ({"window_s": True}, "window_s=True"),
        ({"window_s": None}, "window_s=None"),
        ({"window_s": float("nan")}, "window_s=nan"),
        ({"window_s": 1e9}, "window_s=1000000000.0; expected 0.2 to 4.0 seconds"),
        ({"window_s": 10**400}, "window_s="),
        ({"window_s": -0.5}, "window_s=-0.5"),
        ({"window_s": 0.4}, "its network has input and output shapes"),
        ({"embedding_size": 0}, "embedding_size=0"),
        ({"embedding_size": 32.0}, "embedding_size=32.0"),
        ({"embedding_size": 1 << 30}, "embedding_size=1073741824"),
        ({"embedding_size": 31}, "its network has input and output shapes"),
    ],
)
def test_its_description_is_checked(tmp_path, change, message):
    told = json.dumps(json.loads(members()["student.json"]) | change).encode()
    assert message in refused(with_member(tmp_path / "x.student", "student.json", told))


@pytest.mark.parametrize("told", [b"", b"[]", b"3", b"{", b"\xff\xfe", b"[" * 100_000, b'"l3clf student 1"'])
def test_other_json_is_refused(tmp_path, told):
    assert "is not in the format" in refused(with_member(tmp_path / "x.student", "student.json", told))


def edited(change):
    model = ModelProto.FromString(members()["network.onnx"])
    change(model)
    return model.SerializeToString()


def node(model, op, place=0):
    return [n for n in model.graph.node if n.op_type == op][place]


def attribute(model, op, name):
    return next(a for a in node(model, op).attribute if a.name == name)


def input_dims(model):
    return model.graph.input[0].type.tensor_type.shape.dim


def external(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def control_flow(model):
    branch = helper.make_graph([], "branch", [], [])
    relu = node(model, "Relu")
    relu.op_type = "If"
    relu.attribute.append(helper.make_attribute("then_branch", branch))


def function(model):
    model.functions.append(helper.make_function("evil", "Relu", ["x"], ["y"], [], []))


def set_ints(op, name, values):
    return lambda model: attribute(model, op, name).ints.__setitem__(slice(None), values)


def as_int(model):
    group = next(a for n in model.graph.node for a in n.attribute if a.name == "group")
    group.type, group.ints[:] = 7, [1, 2]


HOSTILE = {
    "foreign operator": (lambda m: setattr(node(m, "Relu"), "op_type", "Softmax"), "a layer 'Softmax' that a student"),
    "control flow": (control_flow, "a layer 'If' that a student does not have"),
    "custom domain": (lambda m: setattr(node(m, "Relu"), "domain", "com.microsoft"), "a student does not have"),
    "other opset": (lambda m: setattr(m.opset_import[0], "version", 18), "opset 17"),
    "two opsets": (lambda m: m.opset_import.add(domain="com.microsoft", version=1), "opset 17"),
    "function": (function, "opset 17"),
    "external data": (external, "lies outside the file"),
    "other type": (lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.DOUBLE), "not float32"),
    "short tensor": (lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234"), "shorter or longer"),
    "huge tensor": (lambda m: m.graph.initializer[0].dims.__setitem__(0, 1 << 40), "has the shape"),
    "negative tensor": (lambda m: m.graph.initializer[0].dims.__setitem__(0, -16), "has the shape"),
    "many dimensions": (lambda m: m.graph.initializer[0].dims.extend([1]), "has the shape"),
    "two of a name": (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "two tensors of the same name"),
    "named as the input": (lambda m: setattr(m.graph.initializer[1], "name", "input"), "two tensors of the same name"),
    "no name": (lambda m: setattr(m.graph.initializer[1], "name", ""), "or one without"),
    "huge pads": (set_ints("Conv", "pads", [1 << 40] * 4), "options that a student does not have"),
    "negative pads": (set_ints("Conv", "pads", [-1] * 4), "options that a student does not have"),
    "stride zero": (set_ints("Conv", "strides", [0, 4]), "weights that do not fit"),
    "two pads": (set_ints("Conv", "pads", [1, 1]), "weights that do not fit"),
    "other kernel": (set_ints("Conv", "kernel_shape", [128, 128]), "weights that do not fit"),
    "kernel twice": (lambda m: node(m, "Conv").attribute.append(attribute(m, "Conv", "pads")), "options that a"),
    "a list of groups": (as_int, "options that a student does not have"),
    "dilation": (lambda m: node(m, "Conv").attribute.append(helper.make_attribute("dilations", [9, 9])), "options"),
    "missing input": (lambda m: node(m, "Conv").input.__setitem__(0, "nowhere"), "not computed before"),
    "missing weights": (lambda m: node(m, "Conv").input.__setitem__(1, "nowhere"), "not computed before"),
    "no inputs": (lambda m: node(m, "Relu").ClearField("input"), "not computed before"),
    "loop": (lambda m: node(m, "Relu").input.__setitem__(0, "output"), "not computed before"),
    "two outputs": (lambda m: node(m, "Relu").output.append("more"), "computes a tensor twice"),
    "output twice": (lambda m: node(m, "Relu").output.__setitem__(0, "input"), "computes a tensor twice"),
    "ReLU with weights": (lambda m: node(m, "Relu").input.append("kernel_0"), "'Relu' that has weights"),
    "other sum": (lambda m: node(m, "Add").input.__setitem__(1, "relu_1"), "adds tensors of different shapes"),
    "axis": (lambda m: setattr(node(m, "Flatten").attribute[0], "i", 0), "flattens another axis"),
    "two inputs": (lambda m: m.graph.input.append(m.graph.input[0]), "has input and output shapes"),
    "fixed batch": (lambda m: setattr(input_dims(m)[0], "dim_value", 1), "has input and output shapes"),
    "other window": (lambda m: setattr(input_dims(m)[2], "dim_value", 9), "has input and output shapes"),
    "no shape": (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "has input and output shapes"),
    "other output": (lambda m: setattr(m.graph.output[0], "name", "relu_1"), "does not compute its 32 outputs"),
    "no layers": (lambda m: m.graph.ClearField("node"), "does not compute its 32 outputs"),
    "many layers": (lambda m: m.graph.node.extend([node(m, "Relu")] * 300), "layers and"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_network_that_no_student_has_is_refused(tmp_path, case):
    change, message = HOSTILE[case]
    sentence = refused(with_member(tmp_path / "x.student", "network.onnx", edited(change)))
    assert any(part in sentence for part in message.split("|"))


def no_number(model):
    values = numpy_helper.to_array(model.graph.initializer[0]).copy()
    values.flat[0] = np.nan
    model.graph.initializer[0].raw_data = values.tobytes()


def test_weights_that_are_not_finite_are_refused(tmp_path):
    sentence = refused(with_member(tmp_path / "x.student", "network.onnx", edited(no_number)))
    assert "has a tensor that has NaN or infinite values" in sentence


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("level", [1e4, 1e20])
def test_extremely_loud_sounds_give_finite_embeddings(student, precision, level):
    x = np.float32(level) * noise(3 * WINDOW, 1, 1.0).reshape(3, WINDOW)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(Student(TINY, precision=precision).embed_windows(x)).all()


@pytest.mark.parametrize("content", [b"", b"\x08", b"not ONNX", bytes(1000)])
def test_files_that_are_not_onnx_are_refused(tmp_path, content):
    refused(with_member(tmp_path / "x.student", "network.onnx", content))


def wide(n_layers, channels, pads):
    """Many convolutions over a large map, with few weights."""
    graph = GraphBuilder(*SHAPE[1:])
    for i in range(n_layers):
        kernel = np.ones((5, 5, channels if i else 1, channels), np.float32)
        graph.conv(kernel, np.zeros(channels), pads=[pads] * 4)
    graph.conv(np.ones((3, 3, 1, channels)), np.zeros(channels), 16, [0] * 4, channels)
    return graph


def test_names_that_are_not_text_are_refused(tmp_path):
    data = members()["network.onnx"]
    for name in (b"input", b"kernel_0", b"conv_0", b"output", b"Relu", b"pads"):
        content = data.replace(name, b"\xff" + name[1:])
        assert content != data
        refused(with_member(tmp_path / "x.student", "network.onnx", content))


def test_maps_and_work_are_bounded():
    for layers, channels, pads, message in ((3, 60, 64, "computes a map"), (4, 40, 2, "takes more than")):
        graph = wide(layers, channels, pads)
        graph.dense(np.ones((9, SIZE)), np.zeros(SIZE))
        with pytest.raises(WeightsError, match=message):
            check_student_onnx(graph.build(SIZE).SerializeToString(), SHAPE, SIZE, "x")


def test_all_maps_together_are_bounded():
    """Each may be that large, but a file of a few kilobytes could keep hundreds of them alive."""
    graph = wide(1, 40, 16)
    graph.dense(np.ones((9, SIZE)), np.zeros(SIZE))
    model = graph.build(SIZE)
    first = model.graph.node[0].output[0]
    for i in range(20):
        model.graph.node.insert(1, helper.make_node("Relu", [first], [f"kept_{i}"]))
    with pytest.raises(WeightsError, match="computes more than 4194304 values per window"):
        check_student_onnx(model.SerializeToString(), SHAPE, SIZE, "x")


def test_the_engine_gets_what_was_checked_and_nothing_else():
    def stories(model):
        model.ir_version, model.doc_string = 99, "x" * 1000
        model.metadata_props.add(key="run", value="me")
        model.graph.value_info.add(name="conv_0")
        model.training_info.add()
        model.graph.node[0].name, model.graph.node[0].doc_string = "a/b", "c"

    assert check_student_onnx(edited(stories), SHAPE, SIZE, "x") == members()["network.onnx"]


def test_the_integer_network_must_take_the_front_ends_steps(tmp_path):
    editor = Editor(members()["network.tflite"])
    editor.zero_points(Student(TINY, precision="int8").network.model.source)[:] = 3
    sentence = refused(with_member(tmp_path / "x.student", "network.tflite", editor.done()))
    assert "has input, size, scale and zero point" in sentence


def test_the_integer_network_of_another_student_is_refused(tmp_path):
    other = (GOLDEN / "int8_separable.tflite").read_bytes()
    assert "expected ((1, 47, 64, 1), 32," in refused(with_member(tmp_path / "x.student", "network.tflite", other))
    assert "network.tflite" in refused(with_member(tmp_path / "x.student", "network.tflite", other[:500]))


flips = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4)


def flipped(data, changes):
    """Bytes with some of them changed, each at a share of the whole."""
    out = bytearray(data)
    for at, by in changes:
        out[int(at * len(out))] ^= by
    return bytes(out)


def survives(path):
    """Either a file is refused, or it gives numbers: nothing else."""
    for precision in ("float32", "int8"):
        with contextlib.suppress(WeightsError):
            assert Student(path, precision=precision).embed_windows(windows(1)).ndim == 2


@pytest.mark.parametrize("name", ["student.json", "network.onnx", "network.tflite"])
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=flips, early=st.booleans())
@example(changes=[(0.0, 1)], early=True)
def test_flipped_bytes_in_a_member_do_no_harm(tmp_path, name, changes, early):
    data = members()[name]
    edge = 3000 if early else len(data)  # where an ONNX file has its layers, and a TFLite file its tables
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numbers may overflow
        survives(with_member(tmp_path / "x.student", name, flipped(data[:edge], changes) + data[edge:]))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=flips)
def test_flipped_bytes_in_the_file_do_no_harm(tmp_path, changes):
    (tmp_path / "x.student").write_bytes(flipped(TINY.read_bytes(), changes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        survives(tmp_path / "x.student")


def test_a_student_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(L3clfError, match="cannot be written") as error:
        write_student(tmp_path / "no" / "folder.student", ABOUT, b"", b"")
    one_sentence(error)


@pytest.mark.parametrize(("name", "options"), SHIPPED)
def test_those_in_the_package_in_integers_equal_tflite_micro(name, options):
    pytest.importorskip("tflite_micro")
    from helpers.tflite_micro_oracle import every_tensor, windows_for

    mini = load_embedder(name, precision="int8", **options)
    spec = student_spec(mini.window_s)
    x = windows_for((spec.n_frames, spec.n_bands, 1), 4, 0)
    found = mini.network.layers(x)
    for index, values in every_tensor(mini.tflite, x).items():
        np.testing.assert_array_equal(found[index], values)
