"""Networks in integers: near to the network in floats, and no sum that a processor without VNNI could not hold."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from l3clf.networks.onnx_build import GraphBuilder, run_graph, session
from l3clf.networks.onnx_int8 import STEPS, observe, observed_tensors, quantised

BANDS, FRAMES = 16, 12


def network(seed=0):
    """A small network of OpenL3's kind."""
    random = np.random.default_rng(seed)
    graph = GraphBuilder(BANDS, FRAMES)
    graph.affine(0.05, 2.0)
    for c_in, c_out in ((1, 64), (64, 64), (64, 16)):
        loud = np.exp(random.uniform(-1, 1, c_out))  # channels of different ranges
        kernel = random.normal(0, np.sqrt(2 / 9 / c_in), (3, 3, c_in, c_out)) * loud
        graph.conv(kernel, random.uniform(-0.1, 0.1, c_out))
        if c_out == 64:
            graph.relu()
    graph.max_pool(8, 6)
    graph.flatten_channels_last()
    return graph.build(64)


def inputs(n, seed=1):
    return np.random.default_rng(seed).uniform(-80, 0, (n, 1, BANDS, FRAMES)).astype(np.float32)


@pytest.fixture(scope="module")
def both():
    model = network()
    return model, quantised(model, observe(model, [inputs(16)]))


def integers(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == 3}


def test_vectors_are_near_to_those_in_floats(both):
    x = inputs(50, seed=2)
    exact, near = (run_graph(session(model), x) for model in both)
    assert np.abs(near - exact).max() < 0.05 * np.abs(exact).max()
    exact, near = exact - exact.mean(axis=0), near - near.mean(axis=0)
    cosines = (exact * near).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(near, axis=1)
    assert cosines.min() > 0.98


def test_large_convolutions_are_in_integers_where_it_runs(both, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(both[1].SerializeToString(), options, providers=["CPUExecutionProvider"])
    text = (tmp_path / "optimised.onnx").read_bytes()
    assert text.count(b"QLinearConv") == 2  # the first reads one channel


def test_no_two_products_of_a_pair_overflow_16_bits(both):
    kernels = [values for name, values in integers(both[1]).items() if name.endswith("_kernel")]
    assert len(kernels) == 2
    for kernel in kernels:
        rows = [kernel.reshape(len(kernel), -1), kernel.transpose(0, 2, 3, 1).reshape(len(kernel), -1)]
        for row in rows:
            pairs = np.pad(row.astype(int), ((0, 0), (0, row.shape[1] % 2))).reshape(len(row), -1, 2)
            most = np.maximum(np.maximum(pairs, 0).sum(axis=2).max(), np.maximum(-pairs, 0).sum(axis=2).max())
            assert STEPS * most <= 32_767
        assert np.abs(kernel.astype(int)).max(axis=(1, 2, 3)).min() > 40  # and the range is used


def test_what_is_observed_is_what_channels_reach():
    model = network()
    x = inputs(5)
    found = observe(model, [x[:2], x[2:]])
    assert {name: len(values.low) for name, values in found.items()} == observed_tensors(model)
    name = next(iter(found))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    maps = session(model).run([name], {"input": x})[0].swapaxes(0, 1).reshape(64, -1)
    for part, expected in zip(found[name], (maps.min(axis=1), maps.max(axis=1), maps.mean(axis=1)), strict=True):
        np.testing.assert_allclose(part, expected, rtol=2**-10)
    for values in found.values():
        assert all(np.array_equal(part, part.astype(np.float16).astype(float)) for part in values if part.min() > 1e-3)


def test_a_network_of_few_channels_stays_in_floats():
    graph = GraphBuilder(BANDS, FRAMES)
    graph.conv(np.ones((3, 3, 1, 4)), np.zeros(4))
    graph.max_pool(BANDS, FRAMES)
    graph.flatten_channels_last()
    model = graph.build(4)
    assert observed_tensors(model) == {}
    same = quantised(model, observe(model, [inputs(3)]))
    np.testing.assert_array_equal(run_graph(session(same), inputs(2)), run_graph(session(model), inputs(2)))


@pytest.mark.parametrize("spread", [0.0, 1e-30])
def test_silent_channels_do_no_harm(spread):
    """Weights of zeros, and a network whose output never moves."""
    graph = GraphBuilder(BANDS, FRAMES)
    graph.conv(np.full((3, 3, 1, 64), spread), np.resize([0.0, 1.0, 0.0, -1.0], 64))
    graph.relu()
    graph.conv(np.full((3, 3, 64, 4), spread), np.array([0.0, 1.0, 2.0, -1.0]))
    graph.max_pool(BANDS, FRAMES)
    graph.flatten_channels_last()
    model = graph.build(4)
    found = run_graph(session(quantised(model, observe(model, [inputs(3)]))), inputs(2))
    np.testing.assert_allclose(found, [[0, 1, 2, -1]] * 2, atol=0.02)
