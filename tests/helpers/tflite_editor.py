"""Changes a .tflite file in place, field by field: how tests make bad files, and good ones in great number."""

import struct

import numpy as np

from l3clf.networks.flatbuffer import Table
from l3clf.networks.int8_model import AveragePool2D, FullyConnected, MaxPool2D, Pad, Rectify, Reshape
from l3clf.networks.tflite_read import read_tflite
from l3clf.networks.tflite_schema import (
    IDENTIFIER,
    BufferField,
    ModelField,
    OperatorCodeField,
    OperatorField,
    QuantisationField,
    SubgraphField,
    TensorField,
)

MANY = 1000
RELU6 = 21


class Editor:
    """A file whose tables can be found and written; a vector that is read is a view that can be written."""

    def __init__(self, content):
        self.data = bytearray(content)
        self.model = Table.root(self.data, IDENTIFIER)
        (self.subgraph,) = self.model.tables(ModelField.SUBGRAPHS, 1)
        self.codes = self.model.tables(ModelField.OPERATOR_CODES, MANY)
        self.buffers = self.model.tables(ModelField.BUFFERS, MANY)
        self.tensors = self.subgraph.tables(SubgraphField.TENSORS, MANY)
        self.operators = self.subgraph.tables(SubgraphField.OPERATORS, MANY)

    def set(self, table, slot, code, value):
        """Write a scalar that the file holds."""
        where = table._field(slot, struct.calcsize("<" + code))
        assert where is not None, "the file leaves this field out"
        struct.pack_into("<" + code, self.data, where, value)

    def set_kind(self, operator, number):
        """Make an operator, and all others of its kind, one of another kind."""
        code = self.codes[operator.scalar(OperatorField.CODE, "I")]
        self.set(code, OperatorCodeField.DEPRECATED_BUILTIN, "b", min(number, 127))
        self.set(code, OperatorCodeField.BUILTIN, "i", number)

    def inputs(self, operator):
        return operator.vector(OperatorField.INPUTS, "<i4")

    def scales(self, index):
        return self.tensors[index].table(TensorField.QUANTISATION).vector(QuantisationField.SCALE, "<f4")

    def zero_points(self, index):
        return self.tensors[index].table(TensorField.QUANTISATION).vector(QuantisationField.ZERO_POINT, "<i8")

    def values(self, index, dtype):
        buffer = self.buffers[self.tensors[index].scalar(TensorField.BUFFER, "I")]
        return buffer.vector(BufferField.DATA, "<u1").view(dtype)

    def done(self):
        return bytes(self.data)


def randomised(content, seed, relu6=False, ties=False):
    """The same network with other scales, zero points, weights and biases, all drawn; its RELU made RELU6 if asked.

    With `ties`, scales are such that sums often lie halfway between two outputs, but for the rounding of the scales:
    there it shows in which precision a kernel divides them.
    """
    rng = np.random.default_rng(seed)
    editor, model = Editor(content), read_tflite(content, "model")
    kept = (MaxPool2D, AveragePool2D, Pad, Reshape, *([Rectify] if relu6 else []))
    _redraw(editor, model.source, rng)
    for op, table in zip(model.operators, editor.operators, strict=True):
        if relu6 and isinstance(op, Rectify):
            editor.set_kind(table, RELU6)
        if isinstance(op, kept):
            editor.scales(op.target)[:] = editor.scales(op.source)
            editor.zero_points(op.target)[:] = editor.zero_points(op.source)
        else:
            _redraw(editor, op.target, rng)
        if hasattr(op, "weights"):
            _redraw_weights(editor, editor.inputs(table).tolist(), rng)
        if ties:
            _seek_ties(editor, op, editor.inputs(table).tolist(), rng)
    return editor.done()


def _redraw(editor, index, rng):
    editor.scales(index)[:] *= 2 ** rng.uniform(-1.5, 1.5)
    editor.zero_points(index)[:] = rng.integers(-128, 128)


def _seek_ties(editor, op, inputs, rng):
    if isinstance(op, Rectify):
        factor, product = (rng.integers(0, 30) + 0.5) / rng.integers(1, 60), 1.0
    elif isinstance(op, FullyConnected):
        factor, product = 0.5 / rng.integers(100, 400), float(editor.scales(inputs[1])[0])
    else:
        return
    editor.scales(op.target)[:] = float(editor.scales(op.source)[0]) * product / factor


def _redraw_weights(editor, inputs, rng):
    source, weights, *bias = [index for index in inputs if index >= 0]
    values, scales = editor.values(weights, "i1"), editor.scales(weights)
    values[:] = rng.integers(-127, 128, len(values)) * rng.uniform(0.2, 1)
    scales *= 2 ** rng.uniform(-1.5, 1.5, len(scales))
    for index in bias:
        editor.values(index, "<i4")[:] = rng.normal(0, 4000, len(editor.values(index, "<i4")))
        editor.scales(index)[:] = editor.scales(source) * scales
