"""Where networks in floating point run: on the CPU, or on what `L3CLF_PROVIDERS` names, such as a GPU.

Rule: that is a matter of the machine and no option of an embedder, since a model file means the same everywhere. So
fingerprints do not know of it, and a provider must earn that: when a network is first opened in a process, it computes
a few sounds there and on the CPU, and what differs by more than rounding is not used. Networks in integers stay on
the CPU, where their sums are exact.

Measured on the sounds of `l3clf.embedders.calibration`, as the largest difference of a vector over its largest value:
the same network with its sums in another order or unfused, as on another processor, 4e-7 to 4e-6; on another engine in
float32 (OpenVINO), 8e-7 to 1.2e-5; with factors rounded to TF32, 6.7e-4 (OpenL3) to 8e-3; in bfloat16, 5e-3 and more.
`TOLERANCE` lies in the gap, near its lower end: what passes is rounded otherwise, as by another processor, whose
vectors have the same fingerprint as well; a coarser type of numbers does not pass, in whatever layers it is used.
"""

import hashlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import lru_cache, partial
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from l3clf.errors import L3clfWarning, ParameterError, did_you_mean
from l3clf.networks.onnx_build import run_graph, session, session_options

__all__ = ["ENVIRONMENT_VARIABLE", "TOLERANCE", "Network", "chosen_providers", "difference", "open_float", "short_name"]

ENVIRONMENT_VARIABLE = "L3CLF_PROVIDERS"
TOLERANCE = 3e-5
CPU, SUFFIX = "CPUExecutionProvider", "ExecutionProvider"
OTHER_NAMES = {"Dml": "DirectML", "Tensorrt": "TensorRT"}  # of ONNX Runtime's names, those that nobody uses
OPTIONS = {
    # TF32 is on by default. The default search for an algorithm times all of them for each new number of windows, and
    # what is fastest differs between runs, and so do last bits.
    "CUDAExecutionProvider": {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
}
MAX_REASON = 300  # characters of ONNX Runtime's messages, some of which are pages

FloatArray: TypeAlias = NDArray[np.float32]
Network: TypeAlias = Callable[[FloatArray], FloatArray]
_Key: TypeAlias = tuple[str, tuple[str, ...]]


# --- names ----------------------------------------------------------------------------------------


def chosen_providers() -> tuple[str, ...]:
    """Return the providers that the user wants and ONNX Runtime has, by its names, best first; empty for the CPU.

    One that could not be loaded is left out from then on.

    Raises
    ------
    ParameterError
        If `L3CLF_PROVIDERS` names something that is no provider of ONNX Runtime.

    Warns
    -----
    L3clfWarning
        Once, if the installed ONNX Runtime has none of those named.
    """
    return tuple(each for each in _chosen(os.environ.get(ENVIRONMENT_VARIABLE, "")) if each not in _absent)


def short_name(provider: str) -> str:
    """Return the name of a provider that users know.

    Examples
    --------
    >>> short_name("CUDAExecutionProvider"), short_name("DmlExecutionProvider")
    ('CUDA', 'DirectML')
    """
    name = provider.removesuffix(SUFFIX)
    return OTHER_NAMES.get(name, name)


def _listed(providers: Sequence[str]) -> str:
    return ", ".join(map(short_name, providers))


@lru_cache
def _chosen(text: str) -> tuple[str, ...]:
    installed = onnxruntime.get_available_providers()
    # Of two lists, since a provider that was built as a plug-in is in the second only.
    known = {short_name(name): name for name in [*onnxruntime.get_all_providers(), *installed]}
    by_word = {word.lower(): name for short, name in known.items() for word in (short, name, name.removesuffix(SUFFIX))}
    named = []
    for word in filter(None, map(str.strip, text.split(","))):
        if word.lower() not in by_word:
            raise ParameterError(
                f"{ENVIRONMENT_VARIABLE}={text!r}: {word!r} is no provider of ONNX Runtime{did_you_mean(word, known)}; "
                f"the one that is installed has {_listed(installed)}"
            )
        named.append(by_word[word.lower()])
    if CPU in named:  # it can run every network, so that those after it have nothing to do
        named = named[: named.index(CPU)]
        if not named:
            return ()
    found = tuple(dict.fromkeys(name for name in named if name in installed))
    if named and not found:
        _say(
            f"{ENVIRONMENT_VARIABLE}={text!r}: the installed ONNX Runtime has {_listed(installed)} only; networks run "
            "on the CPU until a build of it with that provider is installed"
        )
    return found


# --- networks -------------------------------------------------------------------------------------


def open_float(name: str, model: ModelProto | bytes, example: Callable[[], FloatArray]) -> Network:
    """Return what runs a network in floating point; several threads may call it at once.

    Parameters
    ----------
    name : str
        Whose network it is, for messages.
    model : ModelProto or bytes
        With one input and one output.
    example : callable
        Makes some input that is like what it will get.

    Returns
    -------
    callable
        From the input of the network to its output.

    Raises
    ------
    ParameterError
        If `L3CLF_PROVIDERS` names something that is no provider of ONNX Runtime.

    Warns
    -----
    L3clfWarning
        If a provider cannot be loaded, cannot run the network, or computes something else than the CPU; once for each
        network in a process. The CPU runs it then.
    """
    providers = chosen_providers()
    if not providers:
        return partial(run_graph, session(model))
    content = model if isinstance(model, bytes) else model.SerializeToString()
    key = hashlib.sha256(content).hexdigest(), providers
    with _opening:  # of threads that come at once, the first one opens it
        network = _open.get(key)
        if network is None and key not in _refused:
            network = _opened(name, content, providers)
            if network is not None and key not in _checked and not _agrees(name, network, content, example()):
                network = None
            if network is None:
                _refused.add(key)
            else:
                _checked.add(key)
                _open[key] = network
    return partial(run_graph, session(content)) if network is None else network


class _Elsewhere:
    """A network on a provider: one call after the other, as DirectML demands; on the CPU from the first failure on."""

    def __init__(self, name: str, content: bytes, graph: onnxruntime.InferenceSession) -> None:
        self.where = _listed([each for each in graph.get_providers() if each != CPU])
        self._name, self._content, self._graph = name, content, graph
        self.works, self._running = True, threading.Lock()

    def __call__(self, x: FloatArray) -> FloatArray:
        with self._running:
            if self.works:
                try:
                    return run_graph(self._graph, x)
                except Exception as error:  # the classes of ONNX Runtime's have no other root
                    self.works, self._graph = False, session(self._content)
                    _say(f"{self._name}: {self.where} failed ({_reason(error)}); it runs on the CPU from here on")
        return run_graph(self._graph, x)


_opening = threading.RLock()
_open: WeakValueDictionary[_Key, _Elsewhere] = WeakValueDictionary()  # several embedders may share one
_checked: set[_Key] = set()  # those that agree with the CPU
_refused: set[_Key] = set()
_absent: set[str] = set()  # providers that could not be loaded
_said: set[str] = set()

if hasattr(os, "register_at_fork"):  # a fork waits for what is being opened: its child has no thread that would end it
    os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_opening.release)


def _opened(name: str, content: bytes, providers: tuple[str, ...]) -> _Elsewhere | None:
    """Open a network on providers; return None, with a warning, if that cannot be."""
    named: list[Any] = [(each, OPTIONS.get(each, {})) for each in providers]
    _load_libraries(providers)
    try:
        # Without ONNX Runtime's own way to fall back, which prints on standard output and forgets our options.
        graph = onnxruntime.InferenceSession(content, session_options(), providers=[*named, CPU], enable_fallback=0)
    except Exception as error:
        _say(f"{name}: {_listed(providers)} cannot open its network ({_reason(error)}); it runs on the CPU")
        return None
    loaded = graph.get_providers()
    if absent := [each for each in providers if each not in loaded]:
        _absent.update(absent)
        left = _listed([each for each in loaded if each != CPU]) or "the CPU"
        _say(
            f"{_listed(absent)}: ONNX Runtime could not load it, for the reason that it printed; networks run on {left}"
        )
    return _Elsewhere(name, content, graph) if len(absent) < len(providers) else None


@lru_cache
def _load_libraries(providers: tuple[str, ...]) -> None:
    """Load CUDA's libraries where pip put them, which ONNX Runtime does on demand only."""
    load = getattr(onnxruntime, "preload_dlls", None)  # from version 1.21
    if load is not None and {"CUDAExecutionProvider", "TensorrtExecutionProvider"} & set(providers):
        with redirect_stdout(sys.stderr):
            load()


def _agrees(name: str, network: _Elsewhere, content: bytes, x: FloatArray) -> bool:
    """Compare what a provider makes of some input with what the CPU does; warn if that differs."""
    apart = difference(network(x), run_graph(session(content), x))
    if not network.works:
        return False
    if apart <= TOLERANCE:  # false for NaN
        return True
    _say(
        f"{name}: {network.where} computes other vectors than the CPU (the difference is {apart:.1e} of the largest "
        f"value; {TOLERANCE:.0e} would be rounding); it runs on the CPU"
    )
    return False


def difference(found: FloatArray, expected: FloatArray) -> float:
    """Return how far vectors are from others: the most that a value differs, over the largest value of its vector.

    Parameters
    ----------
    found, expected : array of shape (n, ...)

    Returns
    -------
    float
        NaN if a value is, infinity if shapes differ.

    Examples
    --------
    >>> difference(np.float32([[1, 2], [0, 0]]), np.float32([[1, 4], [0, 0]]))
    0.5
    """
    if found.shape != expected.shape:
        return float("inf")
    a, b = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (found, expected))
    with np.errstate(all="ignore"):
        apart, largest = np.abs(a - b).max(axis=1), np.abs(b).max(axis=1)
        return float(np.where(apart == 0, 0.0, apart / largest).max(initial=0.0))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON // 2]} ... {text[-MAX_REASON // 2 :]}"


def _say(text: str) -> None:
    if text not in _said:
        _said.add(text)
        warnings.warn(text, L3clfWarning, stacklevel=2)
