"""Networks on OpenVINO, where that is installed (the extra `openvino`).

Rule: it is asked for by name, and its type of numbers is always said, since its default depends on the processor.
"""

import queue
import threading
from importlib.util import find_spec
from typing import Any, Literal

import joblib
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from l3clf.errors import MissingDependencyError, how_to_install

__all__ = ["OpenVinoNetwork", "has_openvino"]


_lock = threading.Lock()


def has_openvino() -> bool:
    """Return whether OpenVINO is installed."""
    return find_spec("openvino") is not None


class OpenVinoNetwork:
    """A network with one input and one output; several threads may call it at once, and each has a core.

    Parameters
    ----------
    model : ModelProto
    floats : {"f32", "bf16"}
        In which floating-point numbers are computed; a processor without bf16 takes f32. What the model has in
        integers is computed in integers.

    Raises
    ------
    MissingDependencyError
        If OpenVINO is not installed.
    """

    def __init__(self, model: ModelProto, floats: Literal["f32", "bf16"] = "f32") -> None:
        try:
            import openvino
        except ImportError as error:
            problem = f"cannot be imported ({error})" if has_openvino() else "is not installed"
            raise MissingDependencyError(f"OpenVINO {problem}; run `{how_to_install('openvino')}`") from None
        with _lock:
            # The first tensor that is read makes OpenVINO's link to NumPy: in two threads at once, each would wait for
            # ever for what the other holds, the interpreter's lock or the link's own.
            _ = openvino.Tensor(np.zeros(1, np.float32)).data
        cores = int(joblib.cpu_count())
        # A stream is a thread; without pinning, which would fight with other processes over the same cores.
        how = {"NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores, "ENABLE_CPU_PINNING": False}
        core = openvino.Core()
        network = core.read_model(model.SerializeToString())
        self._compiled = core.compile_model(network, "CPU", {**how, "INFERENCE_PRECISION_HINT": floats})
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()  # a request serves one call at a time

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run it."""
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        out: NDArray[np.float32] = request.infer({0: x})[0].copy()  # the array is the request's own
        self._idle.put(request)
        return out
