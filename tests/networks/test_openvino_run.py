"""Networks on OpenVINO, where it is installed."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    with pytest.raises(MissingDependencyError, match=r"OpenVINO is not installed; run `pip install l3clf\[openvino\]`"):
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


FIRST_AT_ONCE = """
import sys, threading
import test_openvino_run as here
run, x, barrier = here.OpenVinoNetwork(here.network()), here.inputs(1), threading.Barrier(4)
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=lambda: (barrier.wait(), run(x))) for _ in range(4)]
for step in (threading.Thread.start, threading.Thread.join):
    for thread in threads:
        step(thread)
"""


@needs_openvino
def test_the_first_calls_of_a_process_may_come_at_once():
    # Without care they wait for each other for ever, with the interpreter's lock: so in another process.
    subprocess.run([sys.executable, "-c", FIRST_AT_ONCE], cwd=Path(__file__).parent, check=True, timeout=60)
