"""An int8 network as an ONNX graph that has the same results to the last bit; ONNX Runtime is faster than NumPy.

Rule: every number in the graph is exact, so that neither the order of sums nor the processor matters. Sums are integers
below 2^24 in float32, they are scaled in float64, in which that is exact, and two inputs are added by a table of all
results. Of a network of which this cannot be said there is no graph.

Inside, a value is the int8 value minus its zero point, in float32, so that the padding of a convolution is 0.
"""

import math
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from l3clf.networks.int8_model import (
    INT8_MAX,
    INT8_MIN,
    Add,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Int8Model,
    Operator,
    Tensor,
    Window,
)
from l3clf.networks.int8_scaling import FLOAT32_EXACT, LEVELS, Scaling, add_table, float64_scaling
from l3clf.networks.onnx_build import as_model

__all__ = ["int8_graph"]

Array: TypeAlias = NDArray[Any]

_FLOAT, _DOUBLE, _INT32, _INT8 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT8
_INT32_END = 1 << 31


class _NoGraphError(Exception):
    """A network, or a part of it, of which there is no exact graph."""


def int8_graph(model: Int8Model) -> ModelProto | None:
    """Return the graph of a network, from int8 (n, rows, columns, channels) to int8 (n, size), or None without one.

    There is one for networks of convolutions, dense layers and additions, such as those of all students.
    """
    try:
        return _Builder(model).build()
    except _NoGraphError:
        return None


@dataclass
class _Builder:
    """Collects the nodes of a graph.

    Attributes
    ----------
    values : dict of int to str
        By the index of a tensor, the name of its values, (n, channels, rows, columns) in float32.
    ranges : dict of int to pair of int
        By the index of a tensor, the smallest and the largest value that it can have.
    """

    model: Int8Model
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    values: dict[int, str] = field(default_factory=dict)
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)

    def build(self) -> ModelProto:
        """Return the graph.

        Raises
        ------
        _NoGraphError
            If there is none.
        """
        source, target = self.model.input, self.model.output
        if len(source.shape) != 4:
            raise _NoGraphError
        x = self._node("Transpose", self._node("Cast", "input", to=_FLOAT), perm=[0, 3, 1, 2])
        self._keep(source, self._node("Sub", x, self._constant(np.float32(source.zero_point))), INT8_MIN, INT8_MAX)
        for op in self.model.operators:
            self._add(op)
        x = self._node("Flatten", self._channels_last(target), axis=1)
        x = self._node("Add", x, self._constant(np.float32(target.zero_point)))
        self.nodes.append(helper.make_node("Cast", [x], ["output"], to=_INT8))
        inputs = [helper.make_tensor_value_info("input", _INT8, ["n", *source.shape[1:]])]
        outputs = [helper.make_tensor_value_info("output", _INT8, ["n", target.size])]
        return as_model(helper.make_graph(self.nodes, "l3clf", inputs, outputs, self.constants))

    def _node(self, op: str, *sources: str, **attributes: object) -> str:
        out = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, sources, [out], **attributes))
        return out

    def _constant(self, value: Array | np.generic) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _keep(self, tensor: Tensor, name: str, low: int, high: int) -> None:
        """Note the name of a tensor's values, and the range of its int8 values."""
        self.values[tensor.index] = name
        self.ranges[tensor.index] = (low - tensor.zero_point, high - tensor.zero_point)

    def _channels_last(self, tensor: Tensor) -> str:
        """Return the values of a tensor in TFLite's order."""
        x = self.values[tensor.index]
        one_pixel = math.prod(tensor.shape[1:-1]) == 1
        return x if one_pixel else self._node("Transpose", x, perm=[0, 2, 3, 1])

    # --- one method per kind of operator ---

    @singledispatchmethod
    def _add(self, op: Operator) -> None:
        raise _NoGraphError

    @_add.register
    def _(self, op: Conv2D) -> None:
        self._convolve(op, self.values[op.source], op.weights.transpose(0, 3, 1, 2), **_geometry(op.window))

    @_add.register
    def _(self, op: DepthwiseConv2D) -> None:
        weights = op.weights.transpose(2, 0, 1)[:, np.newaxis]
        groups = len(weights) // op.depth_multiplier
        self._convolve(op, self.values[op.source], weights, group=groups, **_geometry(op.window))

    @_add.register
    def _(self, op: FullyConnected) -> None:
        units, depth = op.weights.shape
        source = self.model.tensors[op.source]
        if source.size != depth:  # it is applied to each of several rows
            raise _NoGraphError
        x = self._node("Reshape", self._channels_last(source), self._constant(np.array([-1, depth, 1, 1])))
        self._convolve(op, x, op.weights.reshape(units, depth, 1, 1))

    @_add.register
    def _(self, op: Add) -> None:
        one, two = (self.model.tensors[index] for index in op.sources)
        target = self.model.tensors[op.target]
        table = add_table(op, self.model.tensors) - target.zero_point
        x = self._node("Mul", self.values[one.index], self._constant(np.float32(LEVELS)))
        x = self._node("Add", x, self.values[two.index])
        first = LEVELS * (INT8_MIN - one.zero_point) + INT8_MIN - two.zero_point
        if first:
            x = self._node("Sub", x, self._constant(np.float32(first)))
        # Of all ways to look something up, this one is fastest, if there is one dimension.
        x = self._node("Reshape", self._node("Cast", x, to=_INT32), self._constant(np.array([-1])))
        x = self._node("GatherElements", self._constant(table.astype(np.float32).ravel()), x)
        rows, columns, channels = target.shape[1:]
        x = self._node("Reshape", x, self._constant(np.array([-1, channels, rows, columns])))
        self._keep(target, x, op.out.low, op.out.high)

    def _convolve(
        self, op: Conv2D | DepthwiseConv2D | FullyConnected, x: str, weights: Array, **attributes: object
    ) -> None:
        """Add a convolution with weights (out, in, height, width), and what brings its sums to int8."""
        bound = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)
        bound = bound * max(map(abs, self.ranges[op.source])) + np.abs(op.bias.astype(np.int64))
        scaling = float64_scaling(op.out, np.zeros(len(weights), np.int64), bound, 0)
        if scaling is None or bound.max() >= FLOAT32_EXACT:
            raise _NoGraphError
        target = self.model.tensors[op.target]
        kernel, bias = (self._constant(values.astype(np.float32)) for values in (weights, op.bias))
        sums = self._node("Conv", x, kernel, bias, **attributes)
        largest = (bound * scaling.factors).max() + 2
        low, high = op.out.low - target.zero_point, op.out.high - target.zero_point
        finish = self._finish_one_sided if low >= 0 and largest < _INT32_END else self._finish
        self._keep(target, finish(self._scaled(sums, scaling), scaling, low, high), op.out.low, op.out.high)

    def _scaled(self, sums: str, scaling: Scaling) -> str:
        """Add ``sums * factors + start`` in float64."""
        # A normalisation by nothing: one step for what would be two.
        none, one = np.zeros(len(scaling.start)), np.ones(len(scaling.start))
        constants = (self._constant(value) for value in (scaling.factors, scaling.start, none, one))
        return self._node("BatchNormalization", self._node("Cast", sums, to=_DOUBLE), *constants, epsilon=0.0)

    def _finish_one_sided(self, x: str, scaling: Scaling, low: int, high: int) -> str:
        # A conversion rounds towards zero: down, but for what is clamped.
        x = self._node("Cast", self._node("Cast", x, to=_INT32), to=_FLOAT)
        return self._node("Clip", x, *(self._constant(np.float32(end)) for end in (low, high)))

    def _finish(self, x: str, scaling: Scaling, low: int, high: int) -> str:
        if not scaling.one_sided:
            zero, step = (self._constant(values.reshape(-1, 1, 1)) for values in (scaling.zero, 2 * scaling.tie))
            up = self._node("Cast", self._node("GreaterOrEqual", x, zero), to=_DOUBLE)
            x = self._node("Add", x, self._node("Mul", up, step))
        x = self._node("Clip", x, *(self._constant(np.float64(end)) for end in (low, high)))
        return self._node("Cast", self._node("Floor", x), to=_FLOAT)


def _geometry(window: Window) -> dict[str, object]:
    """Return the attributes of a convolution for a window."""
    pads = [*window.before, *window.after]
    return {"pads": pads, "strides": list(window.stride), "dilations": list(window.dilation)}
