"""Checking an ONNX file from an unknown source before an inference engine opens it.

Rule: only what our own writer produces is accepted: a few kinds of layers, weights inside the file, sizes that a
student can have. All sizes are bounded before memory is allocated, and the network is written again from the checked
values, so that the engine never parses the original bytes.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from l3clf.errors import WeightsError
from l3clf.networks.onnx_build import OPSET, as_model
from l3clf.networks.protobuf_scan import too_many_fields
from l3clf.networks.tflite_tensors import MAX_WORK

__all__ = ["check_student_onnx"]

Attributes: TypeAlias = Mapping[str, list[int] | int]

MAX_BYTES = 4 << 20
MAX_TOTAL = 4 << 20  # elements of all maps of a window: a hostile file could keep them all in memory
MAX_NODES, MAX_TENSORS, MAX_NAME = 200, 400, 100
MAX_FIELDS = 20_000  # of the file, at any depth; a student has a thousand or two
MAX_ATTRIBUTES = {"kernel_shape": 128, "pads": 64, "strides": 16, "group": 4096, "axis": 1}
_SINGLE = {"group", "axis"}  # attributes with one integer; all others have a list
# The layers that `GraphBuilder` writes for a student, and their attributes.
_OPERATORS: dict[str, set[str]] = {
    "Conv": {"kernel_shape", "pads", "strides", "group"},
    "Relu": set(),
    "Add": set(),
    "Flatten": {"axis"},
    "Gemm": set(),
}


def check_student_onnx(content: bytes, input_shape: tuple[int, ...], size: int, label: str) -> bytes:
    """Check an ONNX file that is to be run as a student.

    Parameters
    ----------
    content : bytes
        The whole file.
    input_shape : tuple of int
        Shape of one window: (1, n_frames, n_mels).
    size : int
        Length of the embedding.
    label : str
        The file's name in messages.

    Returns
    -------
    bytes
        The same network, written again; for a file of our own, the same bytes.

    Raises
    ------
    WeightsError
        If it holds anything that the network of a student does not.
    """
    try:
        model, problem = _parsed(content)
        problem = problem or _problem(model.graph, input_shape, size)
    except UnicodeDecodeError:  # protobuf decodes a name only when it is read
        problem = "has a name that is not text"
    if problem:
        raise WeightsError(f"{label}: its network {problem}; give a student file written by l3clf distill")
    return _written_again(model.graph)


def _parsed(content: bytes) -> tuple[ModelProto, str]:
    """Return the model, and what is wrong with it as a whole."""
    model = ModelProto()
    if len(content) > MAX_BYTES:
        return model, f"has {len(content)} bytes, more than the {MAX_BYTES} allowed"
    if too_many_fields(content, ModelProto.DESCRIPTOR, MAX_FIELDS):
        return model, "is not an ONNX file, is damaged, or has more parts than a student has"
    try:
        model.ParseFromString(content)
    except DecodeError:
        return model, "is not an ONNX file, or is damaged"
    # A function in the file could replace an operator under its own name.
    if model.functions or [(o.domain, o.version) for o in model.opset_import] != [("", OPSET)]:
        return model, f"uses operators outside ONNX opset {OPSET}"
    return model, ""


def _written_again(graph: GraphProto) -> bytes:
    """Return what was checked, and nothing else, as `GraphBuilder.build` writes it."""
    nodes = [
        helper.make_node(node.op_type, list(node.input), list(node.output), **(_attributes(node) or {}))
        for node in graph.node
    ]
    tensors = [
        helper.make_tensor(t.name, TensorProto.FLOAT, list(t.dims), t.raw_data, raw=True) for t in graph.initializer
    ]
    ends = [
        helper.make_tensor_value_info(value.name, TensorProto.FLOAT, ["n", *_shape([value])])
        for value in (graph.input[0], graph.output[0])
    ]
    clean = helper.make_graph(nodes, "l3clf", ends[:1], ends[1:], tensors)
    written: bytes = as_model(clean).SerializeToString()
    return written


def _problem(graph: GraphProto, input_shape: tuple[int, ...], size: int) -> str:
    if len(graph.node) > MAX_NODES or len(graph.initializer) > MAX_TENSORS or graph.sparse_initializer:
        return f"has {len(graph.node)} layers and {len(graph.initializer)} tensors, more than a student has"
    found = _shape(graph.input), _shape(graph.output)
    if found != (input_shape, (size,)):
        return f"has input and output shapes {found}, expected {(input_shape, (size,))}"
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor in graph.initializer:
        if wrong := _tensor_problem(tensor):
            return f"has a tensor that {wrong}"
        if not _is_name(tensor.name) or tensor.name in shapes or tensor.name == graph.input[0].name:
            return "has two tensors of the same name, or one without a valid name"
        shapes[tensor.name] = tuple(tensor.dims)
    return _nodes_problem(graph, shapes, input_shape, size)


def _is_name(name: str | bytes) -> bool:
    """Return whether a name is valid for a tensor; protobuf returns bytes for a name that is not text."""
    return isinstance(name, str) and len(name) <= MAX_NAME and name.isidentifier()


def _shape(values: object) -> tuple[int, ...]:
    """Return the shape of the only input or output without the batch; () for any other number, or a fixed batch."""
    listed = list(values)  # type: ignore[call-overload]  # a protobuf container
    if len(listed) != 1 or listed[0].type.tensor_type.elem_type != TensorProto.FLOAT or not _is_name(listed[0].name):
        return ()
    dims = [int(d.dim_value) for d in listed[0].type.tensor_type.shape.dim]
    return () if not dims or dims[0] else tuple(dims[1:])  # the value of a symbolic dimension reads as 0


def _tensor_problem(tensor: TensorProto) -> str:
    if tensor.data_type != TensorProto.FLOAT or tensor.data_location != TensorProto.DEFAULT or tensor.external_data:
        return "is not float32, or lies outside the file"
    if len(tensor.dims) > 4 or any(not 0 < d <= MAX_BYTES for d in tensor.dims):
        return f"has the shape {list(tensor.dims[:5])}"
    if len(tensor.raw_data) != 4 * math.prod(tensor.dims):
        return "is shorter or longer than its shape"  # or keeps its values in another field than raw_data
    return "" if np.isfinite(np.frombuffer(tensor.raw_data, "<f4")).all() else "has NaN or infinite values"


def _nodes_problem(graph: GraphProto, weights: Mapping[str, tuple[int, ...]], start: tuple[int, ...], size: int) -> str:
    """Follow the shapes through the layers, each of which may only read what was computed before it."""
    shapes: dict[str, tuple[int, ...]] = {graph.input[0].name: start}
    work = total = 0
    for node in graph.node:
        out = _out_shape(node, shapes, weights)
        if isinstance(out, str):
            return f"has a layer {node.op_type[:40]!r} that {out}"
        if len(node.output) != 1 or not _is_name(node.output[0]) or node.output[0] in shapes | dict(weights):
            return "computes a tensor twice, or one without a valid name"
        shapes[node.output[0]] = out
        work += _work(node, out, weights)
        if work > MAX_WORK:
            return f"takes more than {MAX_WORK} multiply-accumulates per window"
        total += math.prod(out)
        if total > MAX_TOTAL:
            return f"computes more than {MAX_TOTAL} values per window"
    if shapes.get(graph.output[0].name) != (size,):
        return f"does not compute its {size} outputs"
    return ""


def _work(node: NodeProto, out: tuple[int, ...], weights: Mapping[str, tuple[int, ...]]) -> int:
    """Return the multiply-accumulates of a layer, or the elements that it reads."""
    if node.op_type == "Gemm":
        return math.prod(weights[node.input[1]])
    return math.prod(out) * (math.prod(weights[node.input[1]][1:]) if node.op_type == "Conv" else 1)


def _out_shape(
    node: NodeProto, shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...] | str:
    if node.domain or node.op_type not in _OPERATORS:
        return "a student does not have"
    attributes = _attributes(node)
    if attributes is None:
        return "has options that a student does not have"
    # Add reads two maps; every other layer reads one map and then its weights.
    read = [shapes.get(name) for name in node.input[: 2 if node.op_type == "Add" else 1]]
    given = [weights.get(name) for name in node.input[len(read) :]]
    if not read or None in read or None in given:
        return "reads a tensor that is not computed before it"
    x = read[0] or ()
    if node.op_type == "Conv":
        return _conv_shape(x, [g or () for g in given], attributes)
    if node.op_type == "Add":
        return x if len(read) == 2 and read[0] == read[1] and not given else "adds tensors of different shapes"
    if node.op_type == "Relu":
        return x if not given else "has weights"
    if node.op_type == "Flatten":
        return (math.prod(x),) if attributes.get("axis", 1) == 1 and not given else "flattens another axis"
    kernel, bias = [*given, None, None][:2]
    if len(given) != 2 or len(x) != 1 or kernel is None or len(kernel) != 2:
        return "has weights that do not fit"
    return (kernel[1],) if kernel[0] == x[0] and bias == (kernel[1],) else "has weights that do not fit"


def _attributes(node: NodeProto) -> Attributes | None:
    """Return the options of a layer, or None if a student's layer cannot have one of them."""
    out: dict[str, list[int] | int] = {}
    for attribute in node.attribute:
        known = attribute.name in _OPERATORS[node.op_type] and attribute.name not in out
        single = attribute.name in _SINGLE
        if not known or attribute.type != (AttributeProto.INT if single else AttributeProto.INTS):
            return None
        values = [attribute.i] if single else list(attribute.ints)
        if len(values) > 4 or not all(0 <= v <= MAX_ATTRIBUTES[attribute.name] for v in values):
            return None
        out[attribute.name] = values[0] if single else values
    return out


def _conv_shape(x: tuple[int, ...], given: list[tuple[int, ...]], attributes: Attributes) -> tuple[int, ...] | str:
    if len(x) != 3 or len(given) != 2 or len(given[0]) != 4:
        return "has weights that do not fit"
    kernel, bias = given
    group: Any = attributes.get("group", 1)
    pads: Any = attributes.get("pads", [0] * 4)
    strides: Any = attributes.get("strides", [1, 1])
    sizes = attributes.get("kernel_shape", list(kernel[2:]))
    fits = group > 0 and kernel[1] * group == x[0] and bias == (kernel[0],) and kernel[0] % max(group, 1) == 0
    if not (fits and sizes == list(kernel[2:]) and len(pads) == 4 and len(strides) == 2 and min(strides) > 0):
        return "has weights that do not fit"
    out = [(n + pads[i] + pads[i + 2] - kernel[2 + i]) // strides[i] + 1 for i, n in enumerate(x[1:])]
    if min(out) < 1 or math.prod(out) * kernel[0] > MAX_BYTES:
        return f"computes a map of {out}"
    return (kernel[0], *out)
