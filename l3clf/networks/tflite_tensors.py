"""The tensors of a `.tflite` file and the state of reading it: what is computed by now and what that costs.

Rule: a `Graph` hands out a tensor only when an operator may use it as it asks to. What an operator needs beyond
that is the business of `l3clf.networks.tflite_read`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.networks.flatbuffer import Table
from l3clf.networks.int8_model import INT8_MAX, INT8_MIN, Tensor
from l3clf.networks.tflite_schema import (
    TENSOR_TYPES,
    TYPE_NAMES,
    BufferField,
    ModelField,
    QuantisationField,
    SubgraphField,
    TensorField,
)

__all__ = ["Call", "Graph", "UnusableError", "read_tensors", "require"]

MAX_TENSORS = 1024
MAX_ELEMENTS = 1 << 20  # of one tensor
MAX_TOTAL_ELEMENTS = 1 << 24  # of all tensors
MAX_WORK = 1 << 28  # multiply-accumulates, or elements looked at, a window; students need a fiftieth
MAX_STEP = 1 << 10  # stride, dilation, width of padding
MAX_RANK = 6
_INT8, _INT32 = np.dtype(np.int8), np.dtype(np.int32)


class UnusableError(Exception):
    """What is wrong with the file, in words that follow its name."""


def require(condition: bool, problem: str) -> None:
    """Refuse the file unless `condition` holds."""
    if not condition:
        raise UnusableError(problem)


# --- tensors ---------------------------------------------------------------------------------------


def read_tensors(model: Table, subgraph: Table) -> tuple[Tensor, ...]:
    """Return the tensors of a file's only subgraph, each checked on its own."""
    buffers = model.tables(ModelField.BUFFERS, MAX_TENSORS)
    tables = subgraph.tables(SubgraphField.TENSORS, MAX_TENSORS)
    tensors: list[Tensor] = []
    total = 0
    for index, table in enumerate(tables):
        tensors.append(_read_tensor(index, table, buffers))
        total += tensors[-1].size
        require(total <= MAX_TOTAL_ELEMENTS, f"has more than {MAX_TOTAL_ELEMENTS} values in all tensors")
    return tuple(tensors)


def _read_tensor(index: int, table: Table, buffers: list[Table]) -> Tensor:
    where = f"tensor {index} ({table.text(TensorField.NAME)!r})"
    kind = table.scalar(TensorField.TYPE, "b")
    name = TYPE_NAMES[kind] if 0 <= kind < len(TYPE_NAMES) else f"number {kind}"
    require(kind in TENSOR_TYPES, f"has {where} of type {name}, not int8 or int32 (not quantised to full integers?)")
    special = table.scalar(TensorField.IS_VARIABLE, "B") or table.scalar(TensorField.EXTERNAL_BUFFER, "I")
    require(not special and table.table(TensorField.SPARSITY) is None, f"has {where} that is variable or sparse")
    shape = tuple(int(size) for size in table.vector(TensorField.SHAPE, "<i4")[: MAX_RANK + 1])
    possible = len(shape) <= MAX_RANK and all(size >= 1 for size in shape) and math.prod(shape) <= MAX_ELEMENTS
    require(possible, f"has {where} of the impossible or too large shape {shape}")
    data = _read_data(where, table, buffers, TENSOR_TYPES[kind], shape)
    scales, zero_points, axis = _read_quantisation(where, table, shape)
    dtype = TENSOR_TYPES[kind].newbyteorder("=")
    return Tensor(index, table.text(TensorField.NAME), shape, dtype, scales, zero_points, axis, data)


def _read_data(
    where: str, table: Table, buffers: list[Table], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any] | None:
    index = table.scalar(TensorField.BUFFER, "I")
    require(index < len(buffers), f"has {where} with buffer {index} of {len(buffers)}")
    outside = buffers[index].scalar(BufferField.OFFSET, "Q") or buffers[index].scalar(BufferField.SIZE, "Q")
    require(not outside, f"has {where} with values outside the tables")
    data = buffers[index].vector(BufferField.DATA, "<u1")
    if not len(data):
        return None
    expected = math.prod(shape) * dtype.itemsize
    require(len(data) == expected, f"has {where} of shape {shape} with {len(data)} bytes, not {expected}")
    return data.view(dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _read_quantisation(
    where: str, table: Table, shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    found = table.table(TensorField.QUANTISATION)
    if found is None:
        return np.empty(0, np.float32), np.empty(0, np.int64), 0
    require(not found.scalar(QuantisationField.DETAILS_TYPE, "B"), f"has {where} with a foreign quantisation")
    scales = found.vector(QuantisationField.SCALE, "<f4").astype(np.float32, copy=False)
    zero_points = found.vector(QuantisationField.ZERO_POINT, "<i8").astype(np.int64, copy=False)
    axis = found.scalar(QuantisationField.DIMENSION, "i")
    require(bool(np.all(np.isfinite(scales) & (scales > 0))), f"has {where} with a scale that is not above zero")
    in_range = (zero_points >= INT8_MIN) & (zero_points <= INT8_MAX)
    require(bool(np.all(in_range)), f"has {where} with a zero point outside int8")
    require(len(scales) == len(zero_points), f"has {where} with {len(scales)} scales, {len(zero_points)} zero points")
    fits = len(scales) <= 1 or (0 <= axis < len(shape) and len(scales) == shape[axis])
    require(fits, f"has {where} of shape {shape} with {len(scales)} scales along dimension {axis}")
    return scales, zero_points, axis


# --- operators -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One operator of the file, before it is checked.

    Attributes
    ----------
    where : str
        What errors call it.
    name : str
        What the schema calls it.
    inputs, outputs : list of int
        Indices of tensors; -1 stands for one that is left out.
    options : Table or None
        Its options, of the kind that belongs to it.
    """

    where: str
    name: str
    inputs: list[int]
    outputs: list[int]
    options: Table | None

    def require(self, condition: bool, problem: str) -> None:
        """Refuse the file when the operator is not as it must be."""
        require(condition, f"has {self.where} with {problem}")

    def option(self, slot: int, code: str = "B", default: int = 0) -> int:
        """Return an option, or the schema's default."""
        return default if self.options is None else self.options.scalar(slot, code, default)

    def pair(self, height_slot: int, width_slot: int, default: int = 0) -> tuple[int, int]:
        """Return two options, that for the height first, each a positive and reasonable number."""
        height, width = self.option(height_slot, "i", default), self.option(width_slot, "i", default)
        possible = 1 <= height <= MAX_STEP and 1 <= width <= MAX_STEP
        self.require(possible, f"a kernel, stride or dilation of {height} x {width}")
        return height, width

    def count(self, least: int, most: int) -> None:
        """Check the numbers of inputs and outputs."""
        fits = least <= len(self.inputs) <= most and len(self.outputs) == 1
        self.require(fits, f"{len(self.inputs)} inputs and {len(self.outputs)} outputs")


@dataclass
class Graph:
    """Tensors, which of them are computed by now, and what that costs.

    Attributes
    ----------
    tensors : tuple of Tensor
        All of the file.
    made : set of int
        Indices of those computed by now.
    work, macs : int
        Elements looked at and multiply-accumulates a window; the second alone.
    """

    tensors: tuple[Tensor, ...]
    made: set[int] = field(default_factory=set)
    work: int = 0
    macs: int = 0

    def tensor(self, index: int, where: str) -> Tensor:
        """Return a tensor by its index, whatever it holds."""
        require(0 <= index < len(self.tensors), f"has {where} with tensor {index} of {len(self.tensors)}")
        return self.tensors[index]

    def start(self, index: int) -> int:
        """Take a tensor as the network's input."""
        self._make(self.tensor(index, "an input"), "an input")
        return index

    def _make(self, tensor: Tensor, where: str) -> None:
        """Note that a tensor is computed; check that it can be."""
        require(tensor.index not in self.made, f"has {where} that computes tensor {tensor.index} a second time")
        usable = tensor.data is None and tensor.dtype == _INT8 and len(tensor.scales) == 1
        require(usable, f"has {where} whose tensor {tensor.index} is constant, not int8, or not quantised as a whole")
        windowed = len(tensor.shape) >= 2 and tensor.shape[0] == 1
        require(windowed, f"has {where} with tensor {tensor.index} of shape {tensor.shape}, not of batch size 1")
        self.made.add(tensor.index)

    def source(self, call: Call, place: int, rank: int | None = None) -> Tensor:
        """Return an operator's input that was computed before."""
        tensor = self.tensor(call.inputs[place], call.where)
        call.require(tensor.index in self.made, f"input {tensor.index} that is not computed before it")
        call.require(rank in (None, len(tensor.shape)), f"an input of shape {tensor.shape}")
        return tensor

    def constant(self, call: Call, place: int, dtype: np.dtype[Any], rank: int) -> Tensor:
        """Return an operator's input that is a constant."""
        tensor = self.tensor(call.inputs[place], call.where)
        fits = tensor.data is not None and tensor.dtype == dtype and len(tensor.shape) == rank
        call.require(fits, f"tensor {tensor.index} that is no {dtype} constant of {rank} dimensions")
        return tensor

    def numbers(self, call: Call, place: int) -> NDArray[np.int32]:
        """Return a small int32 constant: axes, a shape, paddings; its shape is the operator's to check."""
        tensor = self.tensor(call.inputs[place], call.where)
        fits = tensor.data is not None and tensor.dtype == _INT32 and tensor.size <= 2 * MAX_RANK
        call.require(fits, f"tensor {tensor.index} that is no small int32 constant")
        return np.asarray(tensor.data, np.int32)

    def target(self, call: Call, shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
        """Return an operator's output, whose shape, and scale where `like` is given, must be the one inferred."""
        tensor = self.tensor(call.outputs[0], call.where)
        call.require(tensor.shape == shape, f"an output of shape {tensor.shape}, where {shape} follows")
        self._make(tensor, call.where)
        same = like is None or (tensor.scale == like.scale and tensor.zero_point == like.zero_point)
        call.require(same, "an output quantised unlike its input")
        return tensor

    def spend(self, call: Call, work: int, macs: bool = False) -> None:
        """Count what an operator costs a window."""
        self.work += work
        self.macs += work if macs else 0
        call.require(self.work <= MAX_WORK, f"more work than {MAX_WORK} multiply-accumulates, counted up to there")
