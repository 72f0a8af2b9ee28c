"""The benchmark of providers says what it timed."""

import onnxruntime
import pytest

import l3clf
from benchmarks import provider_parity
from benchmarks.provider_parity import Options
from l3clf.networks import providers

AZURE = "AzureExecutionProvider"


@pytest.mark.skipif(AZURE not in onnxruntime.get_available_providers(), reason="no provider that runs here")
def test_a_provider_that_fails_amid_the_rounds_has_no_speed(monkeypatch):
    for state in ("_checked", "_refused", "_absent", "_said", "_open"):  # as in a new process
        monkeypatch.setattr(providers, state, type(getattr(providers, state))())
    here, calls = providers.run_graph, []

    def failing(graph, x):
        if AZURE in graph.get_providers():
            calls.append(x)
            if len(calls) > 2:  # the check at first use, and the sounds that are compared
                raise RuntimeError("the device is lost")
        return here(graph, x)

    monkeypatch.setattr(providers, "run_graph", failing)
    options = Options(sounds=2, rounds=1, windows=(1, 1), batch=2)
    name, said, *numbers = provider_parity._row(l3clf.load_embedder("l3mini"), "Azure", options)
    assert name == "l3mini"
    assert "Azure failed (the device is lost); it runs on the CPU" in said
    assert numbers == [None] * 5
