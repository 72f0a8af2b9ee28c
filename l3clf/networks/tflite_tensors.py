"""The tensors of a `.tflite` file and the state of reading it: which are computed so far, and at what cost.

Rule: a `Graph` returns a tensor only if the operator may use it in the requested role. All other requirements of an
operator are checked by `l3clf.networks.tflite_read`.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.networks import tflite_schema as schema
from l3clf.networks.flatbuffer import Table
from l3clf.networks.int8_model import INT8_MAX, INT8_MIN, Tensor

__all__ = ["Call", "Graph", "UnusableError", "read_tensors", "require"]

# A hostile file must not cost more memory or time than a large student would.
MAX_TENSORS = 1024
MAX_ELEMENTS = 1 << 20  # of one tensor
MAX_TOTAL_ELEMENTS = 1 << 24  # of all tensors
MAX_WORK = 1 << 28  # multiply-accumulates, or elements read, per window; students need about a fiftieth
MAX_STEP = 1 << 10  # stride, dilation, width of padding
MAX_RANK = 6
_INT8, _INT32 = np.dtype(np.int8), np.dtype(np.int32)


class UnusableError(Exception):
    """What is wrong with the file, in words that follow its name."""


def require(condition: bool, problem: str) -> None:
    """Refuse the file unless `condition` holds."""
    if not condition:
        raise UnusableError(problem)


def read_tensors(model: Table, subgraph: Table) -> tuple[Tensor, ...]:
    """Return the tensors of the only subgraph of a file, each checked by itself."""
    buffers = model.tables(schema.ModelField.BUFFERS, MAX_TENSORS)
    tables = subgraph.tables(schema.SubgraphField.TENSORS, MAX_TENSORS)
    tensors: list[Tensor] = []
    total = 0
    for index, table in enumerate(tables):
        tensors.append(_read_tensor(index, table, buffers))
        total += tensors[-1].size
        require(total <= MAX_TOTAL_ELEMENTS, f"has more than {MAX_TOTAL_ELEMENTS} values in all tensors")
    return tuple(tensors)


def _read_tensor(index: int, table: Table, buffers: list[Table]) -> Tensor:
    where = f"tensor {index} ({table.text(schema.TensorField.NAME)!r})"
    kind = table.scalar(schema.TensorField.TYPE, "b")
    name = schema.TYPE_NAMES[kind] if 0 <= kind < len(schema.TYPE_NAMES) else f"number {kind}"
    require(kind in schema.TENSOR_TYPES, f"has {where} of type {name}, not int8 or int32 (is it fully quantised?)")
    special = table.scalar(schema.TensorField.IS_VARIABLE, "B") or table.scalar(schema.TensorField.EXTERNAL_BUFFER, "I")
    require(not special and table.table(schema.TensorField.SPARSITY) is None, f"has {where} that is variable or sparse")
    # One dimension more than allowed is enough to see that there are too many.
    shape = tuple(int(size) for size in table.vector(schema.TensorField.SHAPE, "<i4")[: MAX_RANK + 1])
    possible = len(shape) <= MAX_RANK and all(size >= 1 for size in shape) and math.prod(shape) <= MAX_ELEMENTS
    require(possible, f"has {where} of the invalid or too large shape {shape}")
    data = _read_data(where, table, buffers, schema.TENSOR_TYPES[kind], shape)
    scales, zero_points, axis = _read_quantisation(where, table, shape)
    dtype = schema.TENSOR_TYPES[kind].newbyteorder("=")
    return Tensor(index, table.text(schema.TensorField.NAME), shape, dtype, scales, zero_points, axis, data)


def _read_data(
    where: str, table: Table, buffers: list[Table], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any] | None:
    index = table.scalar(schema.TensorField.BUFFER, "I")
    require(index < len(buffers), f"has {where} with buffer {index} of {len(buffers)}")
    buffer = buffers[index]
    outside = buffer.scalar(schema.BufferField.OFFSET, "Q") or buffer.scalar(schema.BufferField.SIZE, "Q")
    require(not outside, f"has {where} with values outside the tables")
    data = buffer.vector(schema.BufferField.DATA, "<u1")
    if not len(data):  # the tensor is computed, not constant
        return None
    expected = math.prod(shape) * dtype.itemsize
    require(len(data) == expected, f"has {where} of shape {shape} with {len(data)} bytes, not {expected}")
    return data.view(dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _read_quantisation(
    where: str, table: Table, shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    found = table.table(schema.TensorField.QUANTISATION)
    if found is None:
        return np.empty(0, np.float32), np.empty(0, np.int64), 0
    require(not found.scalar(schema.QuantisationField.DETAILS_TYPE, "B"), f"has {where} with custom quantisation")
    scales = found.vector(schema.QuantisationField.SCALE, "<f4").astype(np.float32, copy=False)
    zero_points = found.vector(schema.QuantisationField.ZERO_POINT, "<i8").astype(np.int64, copy=False)
    axis = found.scalar(schema.QuantisationField.DIMENSION, "i")
    require(len(scales) == len(zero_points), f"has {where} with {len(scales)} scales, {len(zero_points)} zero points")
    fits = len(scales) <= 1 or (0 <= axis < len(shape) and len(scales) == shape[axis])
    require(fits, f"has {where} of shape {shape} with {len(scales)} scales along dimension {axis}")
    positive = np.isfinite(scales) & (scales > 0)
    require(bool(np.all(positive)), f"has {where} with a scale that is not positive and finite")
    in_range = (zero_points >= INT8_MIN) & (zero_points <= INT8_MAX)
    require(bool(np.all(in_range)), f"has {where} with a zero point outside int8")
    return scales, zero_points, axis


@dataclass(frozen=True)
class Call:
    """One operator of the file, before it is checked.

    Attributes
    ----------
    where : str
        Its name and place, for messages.
    name : str
        Its name in the schema.
    inputs, outputs : list of int
        Indices of tensors; -1 for an optional tensor that is omitted.
    options : Table or None
        Its options, of the type that belongs to the operator.
    """

    where: str
    name: str
    inputs: list[int]
    outputs: list[int]
    options: Table | None

    def require(self, condition: bool, problem: str) -> None:
        """Refuse the file unless `condition` holds for the operator."""
        require(condition, f"has {self.where} with {problem}")

    def option(self, slot: int, code: str = "B", default: int = 0) -> int:
        """Return an option, or its default in the schema."""
        return default if self.options is None else self.options.scalar(slot, code, default)

    def pair(self, height_slot: int, width_slot: int, default: int = 0) -> tuple[int, int]:
        """Return two options (height, width), each from 1 to `MAX_STEP`."""
        height, width = self.option(height_slot, "i", default), self.option(width_slot, "i", default)
        possible = 1 <= height <= MAX_STEP and 1 <= width <= MAX_STEP
        self.require(possible, f"a kernel, stride or dilation of {height} x {width}")
        return height, width

    def count(self, min_inputs: int, max_inputs: int) -> None:
        """Check the number of inputs, and that there is one output."""
        fits = min_inputs <= len(self.inputs) <= max_inputs and len(self.outputs) == 1
        self.require(fits, f"{len(self.inputs)} inputs and {len(self.outputs)} outputs")


@dataclass
class Graph:
    """Tensors, which of them are computed so far, and at what cost.

    Attributes
    ----------
    tensors : tuple of Tensor
        All tensors of the file.
    made : set of int
        Indices of those computed so far.
    work : int
        Elements read and multiply-accumulates, per window.
    macs : int
        Multiply-accumulates alone.
    """

    tensors: tuple[Tensor, ...]
    made: set[int] = field(default_factory=set)
    work: int = 0
    macs: int = 0

    def tensor(self, index: int, where: str) -> Tensor:
        """Return a tensor by its index, without checking its role."""
        require(0 <= index < len(self.tensors), f"has {where} with tensor {index} of {len(self.tensors)}")
        return self.tensors[index]

    def start(self, index: int) -> int:
        """Declare a tensor to be the input of the network."""
        self._make(self.tensor(index, "an input"), "an input")
        return index

    def _make(self, tensor: Tensor, where: str) -> None:
        """Record that a tensor is computed, after checking that it may be."""
        require(tensor.index not in self.made, f"has {where} that computes tensor {tensor.index} again")
        usable = tensor.data is None and tensor.dtype == _INT8 and len(tensor.scales) == 1
        require(usable, f"has {where} whose tensor {tensor.index} is constant, not int8, or not quantised as a whole")
        windowed = len(tensor.shape) >= 2 and tensor.shape[0] == 1
        require(windowed, f"has {where} with tensor {tensor.index} of shape {tensor.shape}, not of batch size 1")
        self.made.add(tensor.index)

    def source(self, call: Call, place: int, rank: int | None = None) -> Tensor:
        """Return an input of an operator that an earlier operator computed."""
        tensor = self.tensor(call.inputs[place], call.where)
        call.require(tensor.index in self.made, f"input {tensor.index}, which is not computed before it")
        call.require(rank in (None, len(tensor.shape)), f"an input of shape {tensor.shape}")
        return tensor

    def constant(self, call: Call, place: int, dtype: np.dtype[Any], rank: int) -> Tensor:
        """Return an input of an operator that is a constant."""
        tensor = self.tensor(call.inputs[place], call.where)
        fits = tensor.data is not None and tensor.dtype == dtype and len(tensor.shape) == rank
        call.require(fits, f"tensor {tensor.index}, which is not a constant of type {dtype} and {rank} dimensions")
        return tensor

    def numbers(self, call: Call, place: int) -> NDArray[np.int32]:
        """Return a small int32 constant (axes, a shape, paddings), whose shape the caller must check."""
        tensor = self.tensor(call.inputs[place], call.where)
        fits = tensor.data is not None and tensor.dtype == _INT32 and tensor.size <= 2 * MAX_RANK
        call.require(fits, f"tensor {tensor.index}, which is not a small int32 constant")
        return np.asarray(tensor.data, np.int32)

    def target(self, call: Call, shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
        """Return the output of an operator, after checking its shape and, with `like`, its quantisation."""
        tensor = self.tensor(call.outputs[0], call.where)
        call.require(tensor.shape == shape, f"an output of shape {tensor.shape} instead of {shape}")
        self._make(tensor, call.where)
        same = like is None or (tensor.scale == like.scale and tensor.zero_point == like.zero_point)
        call.require(same, "an output quantised differently from its input")
        return tensor

    def spend(self, call: Call, work: int, macs: bool = False) -> None:
        """Count what an operator costs per window."""
        self.work += work
        self.macs += work if macs else 0
        call.require(self.work <= MAX_WORK, f"a total of more than {MAX_WORK} multiply-accumulates up to there")
