"""In which numbers an embedder's network computes, and which engine runs it.

Rule: each precision has its own fingerprint, and "float32" has that of the time before there were others. "fast" has
one for each engine: OpenVINO, which it takes where that is installed, rounds otherwise than ONNX Runtime (cosines of
0.99999 or more with OpenL3's seeded weights, of 0.992 or more with EfficientAT's).

Processors differ by less. Integers are exact, but levels are floats, and so is what was observed, before it is rounded:
with NumPy's code for AVX2 in place of AVX-512, 2 of OpenL3's 8,640 ranges were others, and vectors had cosines of
0.999995 or more.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

from onnx import ModelProto

from l3clf.audio.clip import FloatArray
from l3clf.embedders.base import Embedder
from l3clf.embedders.calibration import REVISION, calibrated, calibration_sounds
from l3clf.errors import ParameterError
from l3clf.networks.onnx_build import run_graph, session
from l3clf.networks.onnx_int8 import quantised
from l3clf.networks.openvino_run import OpenVinoNetwork, has_openvino
from l3clf.networks.providers import Network, open_float

__all__ = ["PRECISIONS", "Network", "Precision", "check_precision", "digest_in", "open_floats", "open_network"]

Precision: TypeAlias = Literal["float32", "bfloat16", "int8", "fast"]
PRECISIONS = ("float32", "bfloat16", "int8", "fast")
COMPARED_SOUNDS = 4  # one of each kind


def check_precision(precision: Any) -> Precision:
    """Return a precision as Python's text.

    Raises
    ------
    ParameterError
        If there is no such precision.
    """
    for known in PRECISIONS:
        if isinstance(precision, str) and precision == known:
            return known  # type: ignore[return-value]  # of the four
    raise ParameterError(f"precision={precision!r}; expected one of {', '.join(map(repr, PRECISIONS))}")


def digest_in(precision: Precision, weights: str) -> str:
    """Return the digest of weights in a precision: with integers, it is also one of how they are found and run."""
    engine = " by OpenVINO" if precision == "fast" and has_openvino() else ""
    return f"{weights} calibrated {REVISION}{engine}" if precision in ("int8", "fast") else weights


def open_network(
    embedder: Embedder, precision: Precision, model: ModelProto, levels: Callable[[FloatArray], FloatArray]
) -> Network:
    """Return what runs a network.

    Parameters
    ----------
    embedder : Embedder
        Whose network it is.
    precision : {"float32", "bfloat16", "int8", "fast"}
    model : ModelProto
        In floating point.
    levels : callable
        Its front-end: from windows to the input of the network.

    Returns
    -------
    callable
        From the input of the network to vectors.

    Raises
    ------
    MissingDependencyError
        If the precision is bfloat16, and OpenVINO is not installed.
    """
    if precision == "float32":
        return open_floats(embedder, model, levels)
    if precision == "bfloat16":
        return OpenVinoNetwork(model, "bf16")
    ranges = calibrated(model, levels, embedder.sample_rate, embedder.window_samples, embedder.revision)
    model = quantised(model, ranges)
    if precision == "fast" and has_openvino():
        return OpenVinoNetwork(model)
    return partial(run_graph, session(model))


def open_floats(embedder: Embedder, model: ModelProto | bytes, levels: Callable[[FloatArray], FloatArray]) -> Network:
    """Return what runs a network in float32: the CPU, or a provider that agrees with it on sounds made here.

    Parameters
    ----------
    embedder, model, levels
        See `open_network`.

    Returns
    -------
    callable
        From the input of the network to vectors.
    """

    def example() -> FloatArray:
        return levels(calibration_sounds(embedder.sample_rate, embedder.window_samples, COMPARED_SOUNDS))

    return open_float(embedder.name, model, example)
