"""Providers: which are chosen, and that only those are used that agree with the CPU.

The provider for Azure is in ONNX Runtime's wheels for Linux and macOS, and leaves every layer to the CPU.
"""

import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import l3clf
from l3clf.embedders.calibration import calibration_sounds
from l3clf.embedders.number_types import open_network
from l3clf.errors import L3clfWarning, ParameterError
from l3clf.networks import providers
from l3clf.networks.onnx_build import GraphBuilder, run_graph, session
from l3clf.networks.providers import TOLERANCE, chosen_providers, difference, open_float

CPU, AZURE = "CPUExecutionProvider", "AzureExecutionProvider"
INSTALLED = onnxruntime.get_available_providers()
ABSENT = next(name for name in onnxruntime.get_all_providers() if name not in INSTALLED)
needs_azure = pytest.mark.skipif(AZURE not in INSTALLED, reason="this ONNX Runtime has no provider that runs here")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """As in a new process."""
    for state in ("_checked", "_refused", "_absent", "_said", "_open"):
        monkeypatch.setattr(providers, state, type(getattr(providers, state))())
    providers._chosen.cache_clear()


def model(size=8, error=0.0):
    """A small network, half of whose channels may be a little off."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 1, 64))
    kernel[..., ::2] *= 1 + error
    graph = GraphBuilder(size, size)
    graph.conv(kernel, np.zeros(64))
    graph.relu()
    graph.conv(rng.normal(size=(1, 1, 64, 6)), np.zeros(6))
    graph.global_mean()
    graph.flatten()
    return graph.build(6)


def network(size=8, error=0.0):
    return model(size, error).SerializeToString()


def inputs(n=3, size=8):
    return np.random.default_rng(1).normal(size=(n, 1, size, size)).astype(np.float32)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "CPU", " cpu ", "CPUExecutionProvider", ",", "CPU,Azure"])
def test_the_cpu_is_the_default_and_needs_none_after_it(text, monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", text)
    assert chosen_providers() == ()


@needs_azure
@pytest.mark.parametrize("text", ["Azure", "azureexecutionprovider", " AZURE,Azure , CPU", f"{ABSENT},azure"])
def test_those_that_are_installed_are_chosen(text, monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", text)
    assert chosen_providers() == (AZURE,)


def test_directml_is_known_by_both_names():
    assert providers.short_name("DmlExecutionProvider") == "DirectML"
    for text in ("DirectML", "dml"):
        with pytest.warns(L3clfWarning, match="ONNX Runtime has .*CPU"):
            assert providers._chosen(text) == ()


def test_a_misspelt_name_is_an_error_that_lists_what_is_there(monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", "CPU,CUDAA")
    with pytest.raises(ParameterError, match=r"'CUDAA' is no provider .*did you mean CUDA.*installed has .*CPU$"):
        chosen_providers()


def test_one_that_is_not_installed_is_said_once(monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", ABSENT)
    with pytest.warns(L3clfWarning, match="networks run on the CPU until") as notes:
        assert chosen_providers() == chosen_providers() == ()
    assert len(notes) == 1


def test_a_wrong_name_is_no_failure_of_a_clip(monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", "GPU")
    with pytest.raises(ParameterError, match="'GPU' is no provider"):
        l3clf.ClipEmbedder("l3mini", sample_rate=16_000, cache=None).embed([np.zeros(16_000, np.float32)])


# --- agreement ------------------------------------------------------------------------------------


def test_difference_is_by_vector():
    expected = np.float32([[1, 100], [0.1, 0.2]])
    assert difference(expected, expected) == 0
    assert difference(expected + np.float32([[0, 1], [0, 0]]), expected) == pytest.approx(0.01)
    assert difference(expected + np.float32([[0, 0], [0.1, 0]]), expected) == pytest.approx(0.5)
    assert difference(expected, 0 * expected) == np.inf
    assert difference(expected[:1], expected) == np.inf


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_never_agrees(value):
    broken = np.float32([[1, value], [1, 2]])
    assert not difference(broken, np.float32([[1, 1], [1, 2]])) <= TOLERANCE
    assert not difference(broken, broken) <= TOLERANCE


@pytest.mark.parametrize(("error", "agrees"), [(0, True), (1e-5, True), (1e-3, False), (np.nan, False)])
def test_a_network_that_computes_something_else_is_refused(error, agrees, recwarn):
    other = providers._Elsewhere("l3", network(), session(network(error=error)))
    assert providers._agrees("l3", other, network(), inputs()) == agrees
    said = [str(note.message) for note in recwarn]
    assert len(said) == (not agrees)
    assert all("l3: " in text and "computes other vectors than the CPU" in text for text in said)


def test_weights_in_tf32_do_not_pass():
    """Ten bits of the weights alone are seen, with room to spare; a GPU would round what they multiply, too."""
    student = l3clf.load_embedder("l3mini")
    coarse = onnx.load_from_string(student.onnx)
    for tensor in coarse.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            scaled = values * np.float32(2**13 + 1)
            tensor.CopyFrom(numpy_helper.from_array(scaled - (scaled - values), tensor.name))
    x = student._float_input(calibration_sounds(student.sample_rate, student.window_samples, 4))
    found, expected = (run_graph(session(each), x) for each in (coarse, student.onnx))
    assert difference(found, expected) > 10 * TOLERANCE


# --- opening --------------------------------------------------------------------------------------


@needs_azure
def test_a_provider_that_agrees_is_used_and_compared_once(monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", "Azure")
    examples = []

    def example():
        examples.append(inputs())
        return examples[-1]

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_float("l3", network(), example), range(8)))
    assert all(each is opened[0] for each in opened)
    assert opened[0].where == "Azure"
    np.testing.assert_array_equal(opened[0](inputs(5)), run_graph(session(network()), inputs(5)))
    del opened
    assert open_float("l3", network(), example).where == "Azure"
    assert len(examples) == 1


@needs_azure
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_fork_amid_the_opening_of_another_thread_can_open_networks(monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", "Azure")
    begun = threading.Event()

    def slow_example():
        begun.set()
        time.sleep(0.3)
        return inputs()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(open_float, "l3", network(), slow_example)
        assert begun.wait(10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is tested
            child = os.fork()
        if child == 0:
            signal.alarm(10)  # which ends a child that waits for ever
            open_float("l3", network(size=4), lambda: inputs(size=4))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


@needs_azure
def test_a_provider_that_was_refused_is_not_tried_again(monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", "Azure")
    broken = np.full((1, 1, 8, 8), np.nan, np.float32)
    with pytest.warns(L3clfWarning, match="computes other vectors"):
        first = open_float("l3", network(), lambda: broken)
    second = open_float("l3", network(), lambda: pytest.fail("compared again"))
    for each in (first, second):
        np.testing.assert_array_equal(each(inputs()), run_graph(session(network()), inputs()))


def test_one_that_onnx_runtime_leaves_out_silently_is_said_once():
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        assert providers._opened("l3", network(), (ABSENT,)) is None
        assert providers._opened("l3", network(size=4), (ABSENT,)) is None
    ours = [str(note.message) for note in notes if issubclass(note.category, L3clfWarning)]
    assert len(ours) == 1
    assert "could not load it" in ours[0]
    assert "networks run on the CPU" in ours[0]


@needs_azure
def test_one_that_was_left_out_is_not_chosen_again(monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", "Azure")
    providers._absent.add(AZURE)
    assert chosen_providers() == ()


@needs_azure
def test_one_that_cannot_open_a_network_says_why():
    with pytest.warns(L3clfWarning, match=r"l3: Azure cannot open its network \(.*\); it runs on the CPU"):
        assert providers._opened("l3", b"no network", (AZURE,)) is None


def test_one_that_fails_in_the_middle_leaves_the_rest_to_the_cpu():
    other = providers._Elsewhere("l3", network(size=8), session(network(size=4)))  # which cannot take what comes
    with pytest.warns(L3clfWarning, match=r"failed \(.*\); it runs on the CPU from here on") as notes:
        found = [other(inputs()) for _ in range(2)]
    assert len(notes) == 1
    assert len(str(notes[0].message)) < 500
    np.testing.assert_array_equal(found, 2 * [run_graph(session(network()), inputs())])


# --- embedders ------------------------------------------------------------------------------------


@needs_azure
def test_floats_of_an_embedder_run_there_and_integers_on_the_cpu(monkeypatch):
    windows = np.random.default_rng(0).normal(0, 0.1, (2, 15_600)).astype(np.float32)
    here = l3clf.load_embedder("l3mini")
    expected = here.embed_windows(windows)
    monkeypatch.setenv("L3CLF_PROVIDERS", "Azure")
    there, integers = l3clf.load_embedder("l3mini"), l3clf.load_embedder("l3mini", precision="int8")
    np.testing.assert_array_equal(there.embed_windows(windows), expected)
    assert there._float_network.where == "Azure"
    assert there.fingerprint == here.fingerprint
    assert integers.network.graph.get_providers() == [CPU]


@needs_azure
def test_the_network_in_int8_stays_on_the_cpu(monkeypatch):
    monkeypatch.setenv("L3CLF_PROVIDERS", "Azure")
    opened = open_network(l3clf.load_embedder("l3mini"), "int8", model(), lambda x: x[:, :64].reshape(-1, 1, 8, 8))
    assert opened.args[0].get_providers() == [CPU]
