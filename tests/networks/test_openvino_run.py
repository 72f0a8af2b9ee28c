"""Networks on OpenVINO, where it is installed."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from l3clf.errors import MissingDependencyError
from l3clf.networks.onnx_build import GraphBuilder, run_graph, session
from l3clf.networks.onnx_int8 import observe, quantised
from l3clf.networks.openvino_run import OpenVinoNetwork, has_openvino

needs_openvino = pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")


def network():
    random = np.random.default_rng(0)
    graph = GraphBuilder(16, 12)
    for c_in, c_out in ((1, 64), (64, 8)):
        graph.conv(random.normal(0, np.sqrt(2 / 9 / c_in), (3, 3, c_in, c_out)), random.uniform(-0.1, 0.1, c_out))
        if c_in == 1:
            graph.relu()
    graph.max_pool(8, 6)
    graph.flatten_channels_last()
    return graph.build(32)


def inputs(n):
    return np.random.default_rng(1).uniform(-1, 1, (n, 1, 16, 12)).astype(np.float32)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r'is not installed; run `pip install ".*\[openvino\]"`'):
        OpenVinoNetwork(network())


def test_what_is_broken_is_said(monkeypatch, tmp_path):
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb.so.12: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    with pytest.raises(MissingDependencyError, match=r"OpenVINO cannot be imported \(libtbb.*\); run `pip install"):
        OpenVinoNetwork(network())


@needs_openvino
def test_floats_are_those_of_onnx_runtime():
    model, x = network(), inputs(5)
    np.testing.assert_allclose(OpenVinoNetwork(model)(x), run_graph(session(model), x), atol=1e-5)


@needs_openvino
def test_integers_are_within_a_step_of_onnx_runtime():
    model = network()
    model, x = quantised(model, observe(model, [inputs(20)])), inputs(5)
    ours, theirs = run_graph(session(model), x), OpenVinoNetwork(model)(x)
    assert np.abs(ours - theirs).max() <= 2 * np.ptp(ours) / 255


@needs_openvino
def test_several_threads_share_it():
    run, x = OpenVinoNetwork(network()), inputs(40)
    expected = run(x)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: run(row[np.newaxis])[0], x))
    np.testing.assert_array_equal(found, expected)


BOTH_AT_ONCE = """
import sys, threading
import numpy as np
from l3clf.networks.onnx_build import GraphBuilder
from l3clf.networks.openvino_run import OpenVinoNetwork

graph = GraphBuilder(4, 4)
graph.conv(np.ones((1, 1, 1, 2)), np.zeros(2))
graph.max_pool(4, 4)
graph.flatten_channels_last()
run, together = OpenVinoNetwork(graph.build(2)), threading.Barrier(2)
sys.setswitchinterval(1e-6)

def first():
    together.wait()
    run(np.ones((1, 1, 4, 4), np.float32))

threads = [threading.Thread(target=first, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@needs_openvino
def test_two_threads_may_be_the_first_in_a_process():
    """They waited for each other in one process of three, for ever: OpenVINO made its link to NumPy in both."""
    tries = [subprocess.Popen([sys.executable, "-c", BOTH_AT_ONCE]) for _ in range(4)]
    try:
        assert [each.wait(60) for each in tries] == [0] * 4
    finally:
        for each in tries:
            each.kill()
