"""The operations that rooflines count."""

import math

import pytest
from onnx import shape_inference

import l3clf
from benchmarks.engine_peak import GFLOP_PER_WINDOW, _chain, _gflop
from benchmarks.materials import seeded_openl3


def multiplications(model):
    """Of all convolutions of a network for one window, by the shapes that ONNX infers."""
    graph = shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.output]
    shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in values}
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    convs = [node for node in graph.node if node.op_type == "Conv"]
    return sum(math.prod(shapes[node.output[0]][2:]) * math.prod(weights[node.input[1]]) for node in convs)


def test_openl3s_operations_are_those_of_its_graph(tmp_path, monkeypatch):
    from l3clf.embedders import openl3

    graphs = []
    monkeypatch.setattr(openl3, "open_network", lambda embedder, precision, model, levels: graphs.append(model))
    _ = l3clf.load_embedder("openl3", weights=seeded_openl3(tmp_path))._network
    assert pytest.approx(2e-9 * multiplications(graphs[0])) == GFLOP_PER_WINDOW
    assert round(GFLOP_PER_WINDOW, 1) == 20.4


def test_a_chains_operations_are_those_of_its_graph():
    first = 2e-9 * 8 * 32 * 48  # from one channel to all
    found = 2e-9 * multiplications(_chain(3, 8)) - first
    assert found == pytest.approx(4 * _gflop(3, 8, 8, 32, 48))
