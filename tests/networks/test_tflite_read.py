"""The reader of .tflite files: what it finds in good ones, and that it refuses all others in one sentence."""

import struct
import warnings

import numpy as np
import pytest
from helpers import GOLDEN
from helpers.tflite_editor import Editor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l3clf.errors import WeightsError
from l3clf.networks import tflite_read as tflite
from l3clf.networks.int8_model import Add, Conv2D, DepthwiseConv2D, FullyConnected
from l3clf.networks.int8_run import Int8Network
from l3clf.networks.tflite_read import read_tflite
from l3clf.networks.tflite_schema import (
    OPERATOR_NAMES,
    ConvField,
    DepthwiseField,
    ModelField,
    OperatorCodeField,
    OperatorField,
    Padding,
    PoolField,
    QuantisationField,
    SubgraphField,
    TensorField,
)
from l3clf.networks.tflite_tensors import MAX_STEP

CONTENTS = {name: (GOLDEN / f"int8_{name}.tflite").read_bytes() for name in ("separable", "pools", "means")}
KINDS = {
    "separable": "Conv2D DepthwiseConv2D Conv2D Add DepthwiseConv2D Conv2D DepthwiseConv2D FullyConnected",
    "pools": "Conv2D MaxPool2D Pad Rectify AveragePool2D Conv2D AveragePool2D Reshape FullyConnected FullyConnected",
    "means": "Conv2D Conv2D Add FullyConnected Mean Conv2D Mean FullyConnected",
}


# --- good files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_operators_come_in_order_and_find_their_inputs(name):
    model = read_tflite(CONTENTS[name], name)
    assert [type(op).__name__ for op in model.operators] == KINDS[name].split()
    made = {model.source}
    for op in model.operators:
        assert made.issuperset(op.sources if isinstance(op, Add) else [op.source])
        made.add(op.target)
    assert model.target in made
    assert all(model.tensors[index].dtype == np.int8 and model.tensors[index].data is None for index in made)


def test_what_an_operator_holds():
    model = read_tflite(CONTENTS["separable"], "model")
    assert model.input.shape == (1, 23, 17, 1)
    assert model.output.shape == (1, 10)
    stem, depthwise, dense = model.operators[0], model.operators[4], model.operators[-1]
    assert isinstance(stem, Conv2D)
    assert stem.weights.shape == (8, 5, 5, 1)
    assert (stem.window.size, stem.window.stride, stem.window.dilation) == ((5, 5), (4, 4), (1, 1))
    assert (stem.window.before, stem.window.after) == ((1, 2), (1, 2))
    target = model.tensors[stem.target]
    assert (stem.out.low, stem.out.high, stem.out.zero_point) == (target.zero_point, 127, target.zero_point)
    assert isinstance(depthwise, DepthwiseConv2D)
    assert (depthwise.weights.shape, depthwise.depth_multiplier) == ((3, 3, 16), 2)
    assert isinstance(dense, FullyConnected)
    assert (dense.weights.shape, dense.weights.dtype, dense.bias.dtype) == ((10, 12), np.int8, np.int32)
    assert (dense.out.low, dense.out.high) == (-128, 127)


def test_multipliers_are_the_ratio_of_the_scales():
    model = read_tflite(CONTENTS["separable"], "model")
    stem = model.operators[0]
    weights = next(t for t in model.tensors if t.data is not None and t.shape == (8, 5, 5, 1))
    factors = stem.out.multipliers * 2.0 ** (stem.out.shifts - 31)
    expected = weights.scales.astype(float) * model.input.scale / model.tensors[stem.target].scale
    np.testing.assert_allclose(factors, expected, rtol=1e-6)


def test_macs_are_counted():
    macs = 6 * 5 * 8 * 25 + 6 * 5 * 8 * 9 + 6 * 5 * 8 * 8 + 9 * 16 * 9 + 9 * 16 * 12 + 12 * 9 + 12 * 10
    assert read_tflite(CONTENTS["separable"], "model").macs == macs


def test_the_peer_edgel3_is_read_or_refused(shared):
    content = (shared / "weights" / "edgel3_int8_256.tflite").read_bytes()
    with pytest.raises(WeightsError, match=r"^edgel3: has "):
        read_tflite(content, "edgel3")


def test_a_float_model_is_refused_by_name(shared):
    with pytest.raises(WeightsError, match=r"^yamnet: has "):
        read_tflite((shared / "weights" / "yamnet.tflite").read_bytes(), "yamnet")


# --- bad files -------------------------------------------------------------------------------------


def refused(content, match):
    with pytest.raises(WeightsError, match=match) as caught:
        read_tflite(content, "some/student.tflite")
    message = str(caught.value)
    assert message.startswith("some/student.tflite: ")
    assert "\n" not in message
    assert len(message) < 500


def options(operator):
    return operator.table(OperatorField.OPTIONS)


@pytest.mark.parametrize("content", [b"", b"T", b"\0" * 7, b"\0" * 8, b"PK\x03\x04" * 9, b"\x1c\0\0\0TFL3"])
def test_other_files_are_refused(content):
    refused(content, "TFL3|outside")


def test_a_file_too_large_is_refused():
    refused(CONTENTS["pools"].ljust(tflite.MAX_FILE_BYTES + 1, b"\0"), "more than the 8388608")


@pytest.mark.parametrize("number", [2, 8, 25, 99, 32, 161, 206, 20])
def test_another_operator_is_refused_by_name(number):
    editor = Editor(CONTENTS["separable"])
    editor.set_kind(editor.operators[0], number)
    name = OPERATOR_NAMES[number] if number < len(OPERATOR_NAMES) else f"number {number}"
    refused(editor.done(), rf"operator {name}( \(''\))? at place 0, which is not one of CONV_2D, ")


def edit_tensor(slot, code, value, index=None):
    def edit(editor):
        editor.set(editor.tensors[target(editor, 0) if index is None else index], slot, code, value)

    return edit


def edit_option(operator, slot, code, value):
    return lambda editor: editor.set(options(editor.operators[operator]), slot, code, value)


def edit_vector(find, place, value):
    def edit(editor):
        find(editor)[place] = value

    return edit


def target(editor, operator):
    return int(editor.operators[operator].vector(OperatorField.OUTPUTS, "<i4")[0])


def weights_of(editor, operator):
    return int(editor.inputs(editor.operators[operator])[1])


def bias_of(editor, operator):
    return int(editor.inputs(editor.operators[operator])[2])


def shape(editor, index):
    return editor.tensors[index].vector(TensorField.SHAPE, "<i4")


def quantisation(editor, index):
    return editor.tensors[index].table(TensorField.QUANTISATION)


def ends(editor, slot):
    return editor.subgraph.vector(slot, "<i4")


BAD = {
    "schema version": (lambda e: e.set(e.model, ModelField.VERSION, "I", 2), "version 2"),
    "float tensor": (edit_tensor(TensorField.TYPE, "b", 0), "type float32, not int8"),
    "unknown type": (edit_tensor(TensorField.TYPE, "b", -5), "type number -5"),
    "int32 activation": (edit_tensor(TensorField.TYPE, "b", 2), "not int8"),
    "buffer index": (edit_tensor(TensorField.BUFFER, "I", 4000), "buffer 4000"),
    "activation with values": (edit_tensor(TensorField.BUFFER, "I", 3), "bytes, not"),
    "scale 0": (edit_vector(lambda e: e.scales(target(e, 0)), 0, 0), "scale that is not positive"),
    "scale below 0": (edit_vector(lambda e: e.scales(target(e, 0)), 0, -1), "scale that is not positive"),
    "scale nan": (edit_vector(lambda e: e.scales(target(e, 0)), 0, np.nan), "scale that is not positive"),
    "scale inf": (edit_vector(lambda e: e.scales(weights_of(e, 0)), 3, np.inf), "scale that is not positive"),
    "zero point": (edit_vector(lambda e: e.zero_points(target(e, 0)), 0, 128), "zero point outside int8"),
    "weights not symmetric": (edit_vector(lambda e: e.zero_points(weights_of(e, 0)), 0, 1), "zero point is not 0"),
    "bias not symmetric": (edit_vector(lambda e: e.zero_points(bias_of(e, 0)), 0, 1), "bias whose zero point"),
    "bias scale": (edit_vector(lambda e: e.scales(bias_of(e, 0)), 0, 1), "bias whose scale"),
    "overflow of bias": (edit_vector(lambda e: e.values(bias_of(e, 0), "<i4"), 0, 2**31 - 1), "overflow"),
    "overflow of shift": (edit_vector(lambda e: e.scales(target(e, 0)), 0, 1e-12), "overflow"),
    "sum out of range": (edit_vector(lambda e: e.scales(target(e, 3)), 0, 1e-9), "too small for its inputs"),
    "quantised dimension": (
        lambda e: e.set(
            e.tensors[weights_of(e, 4)].table(TensorField.QUANTISATION), QuantisationField.DIMENSION, "i", 9
        ),
        "along dimension 9",
    ),
    "shape declared": (edit_vector(lambda e: shape(e, target(e, 0)), 1, 7), "instead of .1, 6, 5, 8."),
    "shape of weights": (edit_vector(lambda e: shape(e, weights_of(e, 0)), 3, 2), "bytes, not"),
    "shape 0": (edit_vector(lambda e: shape(e, target(e, 0)), 1, 0), "invalid or too large"),
    "shape below 0": (edit_vector(lambda e: shape(e, target(e, 0)), 1, -1), "invalid or too large"),
    "shape huge": (edit_vector(lambda e: shape(e, target(e, 0)), 1, 2**31 - 1), "invalid or too large"),
    "batch of 2": (edit_vector(lambda e: shape(e, 0), 0, 2), "not of batch size 1"),
    "input tensor": (edit_vector(lambda e: e.inputs(e.operators[0]), 0, 999), "tensor 999 of"),
    "input below 0": (edit_vector(lambda e: e.inputs(e.operators[0]), 0, -1), "tensor -1 of"),
    "weights left out": (edit_vector(lambda e: e.inputs(e.operators[0]), 1, -1), "tensor -1 of"),
    "weights computed": (edit_vector(lambda e: e.inputs(e.operators[0]), 1, 0), "not a constant of type int8"),
    "bias is int8": (
        lambda e: edit_vector(lambda e: e.inputs(e.operators[0]), 2, weights_of(e, 0))(e),
        "not a constant of type int32",
    ),
    "used before made": (
        lambda e: edit_vector(lambda e: e.inputs(e.operators[0]), 0, target(e, 3))(e),
        "not computed before it",
    ),
    "made twice": (
        lambda e: edit_vector(lambda e: e.operators[3].vector(OperatorField.OUTPUTS, "<i4"), 0, target(e, 0))(e),
        "computes tensor .* again",
    ),
    "output never made": (
        edit_vector(lambda e: e.subgraph.vector(SubgraphField.OUTPUTS, "<i4"), 0, 1),
        "never computes",
    ),
    "input is constant": (
        edit_vector(lambda e: e.subgraph.vector(SubgraphField.INPUTS, "<i4"), 0, 1),
        "an input whose",
    ),
    "operator code": (lambda e: e.set(e.operators[1], OperatorField.CODE, "I", 77), "kind 77"),
    "options of another": (lambda e: e.set(e.operators[0], OperatorField.OPTIONS_TYPE, "B", 5), "without its options"),
    "stride 0": (edit_option(0, ConvField.STRIDE_W, "i", 0), "stride or dilation of 4 x 0"),
    "stride below 0": (edit_option(0, ConvField.STRIDE_H, "i", -3), "stride or dilation of -3 x 4"),
    "stride huge": (edit_option(0, ConvField.STRIDE_H, "i", 2**31 - 1), "stride or dilation"),
    "another stride": (edit_option(0, ConvField.STRIDE_H, "i", 3), "instead of"),
    "activation": (edit_option(0, ConvField.ACTIVATION, "b", 4), "fused activation TANH"),
    "activation unknown": (edit_option(0, ConvField.ACTIVATION, "b", 77), "fused activation number 77"),
    "depth multiplier": (edit_option(4, DepthwiseField.DEPTH_MULTIPLIER, "i", 1), "depth multiplier 1"),
    "depth multiplier 0": (edit_option(4, DepthwiseField.DEPTH_MULTIPLIER, "i", 0), "depth multiplier 0"),
    "depth multiplier below 0": (edit_option(4, DepthwiseField.DEPTH_MULTIPLIER, "i", -2), "depth multiplier -2"),
}
BAD_POOLS = {
    "pool of size 0": (edit_option(1, PoolField.HEIGHT, "i", 0), "0 x 2"),
    "pool huge": (edit_option(1, PoolField.WIDTH, "i", 1 << 30), "of 2 x 1073741824"),
    "padding of kind 7": (edit_option(5, ConvField.PADDING, "b", 7), "padding of kind 7"),
    "paddings below 0": (edit_vector(lambda e: e.values(weights_of(e, 2), "<i4"), 3, -1), "paddings"),
    "batch padded": (edit_vector(lambda e: e.values(weights_of(e, 2), "<i4"), 0, 1), "paddings"),
    "paddings huge": (edit_vector(lambda e: e.values(weights_of(e, 2), "<i4"), 3, 2**31 - 1), "paddings"),
    "scale across a pool": (
        edit_vector(lambda e: e.scales(target(e, 1)), 0, 0.25),
        "quantised differently from its input",
    ),
    "reshape": (edit_vector(lambda e: e.values(weights_of(e, 7), "<i4"), 1, 47), "invalid shape"),
    "reshape to less": (edit_vector(lambda e: e.values(weights_of(e, 7), "<i4"), 1, 24), r"the shape \(1, 24\)"),
    "scale overflow in ReLU": (
        lambda e: edit_vector(lambda e: e.scales(target(e, 3)), 0, 1e-44)(e),
        "do not fit together|overflow",
    ),
    "RELU6 that rescales": (lambda e: e.set_kind(e.operators[3], 21), "quantised differently from its input"),
}
BAD_MEANS = {
    "axis too large": (edit_vector(lambda e: e.values(weights_of(e, 4), "<i4"), 0, 4), "axes"),
    "axis of the batch": (edit_vector(lambda e: e.values(weights_of(e, 4), "<i4"), 0, 0), "axes"),
    "axis far below 0": (edit_vector(lambda e: e.values(weights_of(e, 4), "<i4"), 0, -(2**31)), "axes"),
    "another axis": (edit_vector(lambda e: e.values(weights_of(e, 4), "<i4"), 0, 2), "instead of"),
    "scales that do not fit": (
        edit_vector(lambda e: shape(e, weights_of(e, 3)), slice(0, 2), [4, 9]),
        "6 scales along",
    ),
}
ALL_BAD = [
    pytest.param(name, edit, match, id=f"{name}: {case}")
    for name, cases in (("separable", BAD), ("pools", BAD_POOLS), ("means", BAD_MEANS))
    for case, (edit, match) in cases.items()
]


@pytest.mark.parametrize(("name", "edit", "match"), ALL_BAD)
def test_a_bad_field_is_refused(name, edit, match):
    editor = Editor(CONTENTS[name])
    edit(editor)
    assert editor.done() != CONTENTS[name]
    refused(editor.done(), match)


def test_padding_cannot_fill_the_memory():
    """A kernel whose taps lie far apart would pad a small map to a huge one."""
    editor = Editor(CONTENTS["pools"])
    for slot in (ConvField.DILATION_W, ConvField.DILATION_H):
        editor.set(options(editor.operators[0]), slot, "i", MAX_STEP)
    editor.set(options(editor.operators[0]), ConvField.PADDING, "b", Padding.SAME)
    refused(editor.done(), "padded to")


def test_costs_are_bounded(monkeypatch):
    for limit, match in (
        ("MAX_COLUMNS", "too large for its output"),
        ("MAX_OPERATORS", "more than the 1 allowed"),
        ("MAX_TAPS", "kernel of 5 x 5"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(tflite, limit, 1)
            refused(CONTENTS["separable"], match)
    for limit, match in (("MAX_WORK", "a total of more"), ("MAX_TOTAL_ELEMENTS", "in all tensors")):
        with monkeypatch.context() as patch:
            patch.setattr(f"l3clf.networks.tflite_tensors.{limit}", 1)
            refused(CONTENTS["separable"], match)


# --- damage ----------------------------------------------------------------------------------------

NAMES = st.sampled_from(sorted(CONTENTS))
FUZZ = settings(
    max_examples=250, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def survives(content):
    """A damaged file is refused by our error, or is a network that runs without complaint."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            model = read_tflite(content, "damaged")
        except WeightsError:
            return
        if model.macs < 1_000_000:
            out = Int8Network(model).run(np.full((1, *model.input.shape[1:]), 100, np.int8))
            assert out.shape == (1, model.output.size)


@FUZZ
@given(name=NAMES, flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_are_refused_or_harmless(name, flips):
    content = bytearray(CONTENTS[name])
    for place, change in flips:
        content[place % len(content)] ^= change
    survives(bytes(content))


@FUZZ
@given(
    name=NAMES, place=st.integers(0, 1 << 20), value=st.sampled_from([0, 1, 2, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1])
)
def test_overwritten_words_are_refused_or_harmless(name, place, value):
    content = bytearray(CONTENTS[name])
    struct.pack_into("<I", content, place % (len(content) // 4) * 4, value)
    survives(bytes(content))


@FUZZ
@given(name=NAMES, size=st.integers(0, 1 << 20), tail=st.binary(max_size=20))
def test_truncated_files_are_refused_or_harmless(name, size, tail):
    content = CONTENTS[name]
    survives(content[: size % len(content)] + tail)


@settings(FUZZ, max_examples=100)
@given(tail=st.binary(max_size=300), root=st.integers(0, 400))
def test_garbage_is_refused(tail, root):
    survives(struct.pack("<I", root) + b"TFL3" + tail)


def test_a_custom_operator_is_named():
    editor = Editor(CONTENTS["separable"])
    editor.set_kind(editor.operators[0], OPERATOR_NAMES.index("CUSTOM"))
    assert editor.codes[0].scalar(OperatorCodeField.BUILTIN, "i") == 32
    refused(editor.done(), r"operator CUSTOM \(''\)")
