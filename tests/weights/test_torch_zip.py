"""PyTorch checkpoints: tensors are read as they were written, and nothing else is."""

import math
import time
from contextlib import suppress

import numpy as np
import pytest
from golden.efficientat_recipe import checkpoint, number, numbers, pickled, stored, tensor, text
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from l3clf.errors import WeightsError
from l3clf.weights import torch_zip
from l3clf.weights.torch_zip import read_torch_zip

ONE = {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
ZEROS = np.zeros((2, 3), np.float32)

BYTES = [ONE["layer.weight"].tobytes()]


def file_of(pickle, data=BYTES, **others):
    members = {f"a/data/{i}": content for i, content in enumerate(data)} | others
    return stored({"a/data.pkl": pickle, **members})


def dict_of(value, name="w"):
    """Return the pickle of a dict of one value."""
    return b"\x80\x02}(" + text(name) + value + b"u."


def refused(content, words):
    with pytest.raises(WeightsError, match=words) as info:
        read_torch_zip(content, "x.pt")
    message = str(info.value)
    assert message.startswith("x.pt: ")
    assert message.isprintable()
    assert len(message) < 500


# --- what is read ----------------------------------------------------------------------------------

SHAPES = arrays.array_shapes(min_dims=0, max_dims=5, max_side=4)
ARRAYS = st.one_of(
    arrays.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    arrays.arrays(np.int64, SHAPES),
)
NAMES = st.text("abcdefghij.0123456789_", min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=5))
def test_tensors_are_those_that_were_written(tensors):
    found = read_torch_zip(checkpoint(tensors), "x.pt")
    assert list(found) == list(tensors)
    for name, expected in tensors.items():
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected, strict=True)


def test_arrays_are_views_that_cannot_be_changed():
    (array,) = read_torch_zip(checkpoint(ONE), "x.pt").values()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_what_newer_versions_of_pytorch_write_beside_the_tensors():
    """A memo, parameters, an OrderedDict with the versions of its layers, and more members."""
    memo = b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(" + text("w") + b"ctorch._utils\n_rebuild_parameter\n"
    memo += tensor(0, ZEROS) + b"\x88ccollections\nOrderedDict\n)R\x87Rr\x01\x00\x00\x00u"
    memo += b"}" + text("_metadata") + b"ccollections\nOrderedDict\n)R" + text("") + b"}" + text("version")
    memo += b"K\x01sssb."
    others = {"a/byteorder": b"little", "a/.format_version": b"1", "a/.data/serialization_id": b"0", "a/version": b"3"}
    found = read_torch_zip(file_of(memo, **others), "x.pt")
    np.testing.assert_array_equal(found["w"], ONE["layer.weight"])


def test_tensors_may_share_a_storage():
    data = np.arange(8, dtype=np.float32)
    parts = text("a") + tensor(0, data, shape=(2,), offset=6) + text("b") + tensor(0, data, shape=(2, 3))
    found = read_torch_zip(file_of(b"\x80\x02}(" + parts + b"u.", [data.tobytes()]), "x.pt")
    assert {name: values.tolist() for name, values in found.items()} == {"a": [6, 7], "b": [[0, 1, 2], [3, 4, 5]]}


def test_a_dimension_of_one_may_have_any_stride():
    content = file_of(dict_of(tensor(0, ZEROS, shape=(2, 1, 3), strides=(3, 99, 1))))
    assert read_torch_zip(content, "x.pt")["w"].shape == (2, 1, 3)


# --- what is not -----------------------------------------------------------------------------------

EXECUTES = {
    "os.system": b"\x80\x02cposix\nsystem\n" + text("touch owned") + b"\x85R.",
    "builtins.eval": dict_of(b"cbuiltins\neval\n" + text("1") + b"\x85R"),
    "an attribute of a name that is known": dict_of(b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n"),
    "STACK_GLOBAL": b"\x80\x02" + text("os") + text("system") + b"\x93.",
    "INST": b"\x80\x02(" + text("x") + b"ios\nsystem\n.",
    "OBJ": b"\x80\x02(cos\nsystem\no.",
    "NEWOBJ": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "EXT1": b"\x80\x02\x82\x01.",
    "protocol 4": b"\x80\x04\x95\x05\0\0\0\0\0\0\0}.",
    "protocol 0": b"(dp0\n.",
    "calls a tensor": dict_of(tensor(0, ZEROS) + b")R"),
    "calls a type": dict_of(b"ctorch\nFloatStorage\n)R"),
    "builds a tensor": dict_of(tensor(0, ZEROS) + b"}" + text("x") + number(1) + b"sb"),
    "builds something else": b"\x80\x02}(" + text("w") + tensor(0, ZEROS) + b"u}" + text("__class__") + b"K\x01sb.",
}


@pytest.mark.parametrize("pickle", EXECUTES.values(), ids=EXECUTES)
def test_nothing_that_could_run_is_met(pickle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(file_of(pickle), "x.pt: ")
    assert list(tmp_path.iterdir()) == []


WRONG = {
    "a huge shape": (tensor(0, ZEROS, shape=(1 << 30,) * 8, strides=(1,) * 8), "does not lie in its 6 numbers"),
    "nine dimensions": (tensor(0, ZEROS, shape=(1,) * 9), "impossible shape"),
    "a shape of texts": (tensor(0, ZEROS).replace(numbers((2, 3)), b"(" + text("2") * 2 + b"t"), "tuple that is no"),
    "a negative dimension": (tensor(0, ZEROS, shape=(-2, -3)), "does not lie"),
    "an empty dimension": (tensor(0, ZEROS, shape=(0, 3)), "does not lie"),
    "an offset past the end": (tensor(0, ZEROS, offset=1), "does not lie"),
    "a negative offset": (tensor(0, ZEROS, offset=-1), "does not lie"),
    "a larger storage than there is": (tensor(0, ZEROS, size=7, offset=1), "lacks values of 'w'"),
    "a smaller storage": (tensor(0, ZEROS, size=5, shape=(5,)), "lacks values of 'w'"),
    "a storage that is not there": (tensor(1, ZEROS), "lacks values of 'w'"),
    "a storage outside": (tensor("../../etc/passwd", ZEROS), "lacks values of 'w'"),
    "a third module": (b"ctorch.jit\n_load\n", r"refers to b'torch.jit._load'"),
    "columns first": (tensor(0, ZEROS, strides=(1, 2)), "with gaps"),
    "one number for all": (tensor(0, ZEROS, strides=(0, 0)), "with gaps"),
    "fewer strides": (tensor(0, ZEROS, strides=(1,)), "impossible shape"),
    "True as a dimension": (tensor(0, ZEROS).replace(numbers((2, 3)), b"(\x88\x88t"), "tuple that is no"),
    "doubles": (tensor(0, ZEROS).replace(b"Float", b"Double"), "refers to b'torch.DoubleStorage'"),
    "a type of its own": (tensor(0, ZEROS).replace(b"ctorch\nFloatStorage\n", text("f4")), "neither float32 nor int64"),
    "a number instead of a tensor": (number(3), "something else than a tensor under 'w'"),
    "a dict in the dict": (b"}", "something else than a tensor under 'w'"),
    "tuples in tuples": (b")" + b"\x85" * 5000, "tuple that is no tensor's"),
    "a long tuple": (b"(" + b"K\x01" * 100 + b"t", "tuple that is no tensor's"),
    "a name of 2 GB": (b"X" + (1 << 31).to_bytes(4, "little"), "a name of 2147483648 bytes"),
    "what was not remembered": (b"h\x05", "recalls an object"),
    "a memo of 2^31": (b"}r\xff\xff\xff\x7f", "remembers more than"),
    "no operand to remember": (b"(q\x00", "lacks an operand"),
    "no mark": (b"ttt", "lacks a mark"),
    "operands below the mark": (b"(\x85", "lacks an operand"),
    "a call without a name": (b")R", "of another type"),
    "a call without arguments": (b"ctorch._utils\n_rebuild_tensor_v2\nR", "of another type"),
    "other arguments": (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "other arguments than PyTorch"),
    "a name that does not end": (b"c" + b"x" * 300, "truncated"),
    "an unknown opcode": (b"\xff", r"opcode b'\\xff'"),
    "a list": (b"]", "opcode b']'"),
}


@pytest.mark.parametrize(("value", "words"), WRONG.values(), ids=WRONG)
def test_other_values_are_refused(value, words):
    refused(file_of(dict_of(value)), words)


PICKLES = {
    "nothing": (b"", "truncated"),
    "cut": (pickled(ONE)[:-30], "truncated"),
    "no STOP": (pickled(ONE)[:-1], "truncated"),
    "more after STOP": (pickled(ONE) + b"}.", "or more than a dict"),
    "two objects": (b"\x80\x02}" + pickled(ONE)[2:], "or more than a dict"),
    "an empty dict": (b"\x80\x02}.", "no tensors"),
    "a tensor alone": (b"\x80\x02" + tensor(0, ZEROS) + b".", "of another type"),
    "the same name twice": (dict_of(tensor(0, ZEROS) + text("w") + tensor(0, ZEROS)), "has 'w' twice"),
    "a name without a value": (dict_of(tensor(0, ZEROS) + text("v")), "a name without a value"),
    "a number as a name": (b"\x80\x02}(" + number(1) + tensor(0, ZEROS) + b"u.", "whose name is no text"),
    "a deep dict as a name": (
        b"\x80\x02}" + (b"}" + text("a")) * 9000 + b"}" + b"s" * 9000 + b"K\x01s.",
        "whose name is no text",
    ),
    "a deep dict": (dict_of((b"}" + text("a")) * 9000 + b"}" + b"s" * 9000), "something else than a tensor under 'w'"),
    "a dict that holds itself": (b"\x80\x02}q\x00(" + text("w") + b"h\x00u.", "something else than a tensor"),
    "items of a tuple": (b"\x80\x02)(" + text("w") + tensor(0, ZEROS) + b"u.", "of another type"),
}


@pytest.mark.parametrize(("pickle", "words"), PICKLES.values(), ids=PICKLES)
def test_other_pickles_are_refused(pickle, words):
    refused(file_of(pickle), words)


FILES = {
    "no ZIP file": (pickled(ONE), "is not a ZIP file"),
    "a member of another folder": (file_of(pickled(ONE), **{"b/data/1": b""}), "does not belong"),
    "a path out of the folder": (file_of(pickled(ONE), **{"a/../x": b""}), "does not belong"),
    "code": (file_of(pickled(ONE), **{"a/code/model.py": b""}), "does not belong"),
    "no pickle": (stored({"a/data/0": b""}), "no member data.pkl"),
    "big-endian": (file_of(pickled(ONE), **{"a/byteorder": b"big"}), "byte order"),
    "NaN": (checkpoint({"w": np.float32([1, math.nan])}), "'w' that are not finite"),
    "infinity": (checkpoint({"w": np.float32([1, -math.inf])}), "'w' that are not finite"),
}


@pytest.mark.parametrize(("content", "words"), FILES.values(), ids=FILES)
def test_other_files_are_refused(content, words):
    refused(content, words)


def test_many_views_of_one_storage_are_refused():
    """A small file could otherwise stand for any amount of memory, where it is copied."""
    data = np.zeros(1000, np.float32)
    items = b"".join(text(f"w{i}") + tensor(0, data) for i in range(100))
    refused(file_of(b"\x80\x02}(" + items + b"u.", [data.tobytes()]), "more values than it has room for")


@pytest.mark.parametrize("filler", [b"(", b"}h\x00b", b"(K\x01tq\x00", b")\x85"], ids=repr)
def test_the_largest_pickle_takes_no_more_than_seconds(filler, monkeypatch):
    body = b"\x80\x02}q\x00" + filler * ((torch_zip.MAX_PICKLE_BYTES - 5) // len(filler))
    start = time.process_time()
    refused(file_of(body), "description of its tensors|tuple that is no|a state that")
    assert time.process_time() - start < 5
    refused(file_of(body + filler * 2), "describes its tensors in more than")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_damage_of_the_pickle_is_refused_or_sound(data):
    out = bytearray(pickled(ONE))
    for _ in range(data.draw(st.integers(1, 4))):
        out[data.draw(st.integers(0, len(out) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WeightsError):
        found = read_torch_zip(file_of(bytes(out)), "x.pt")
        assert all(np.isfinite(array).all() and array.size <= 6 for array in found.values())
