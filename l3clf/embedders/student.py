"""Students: small networks that were distilled from other embedders, read from one file each.

Rule: a student file is a ZIP of three members: what the student is (JSON), its network in floating point
(ONNX) and in integers (TFLite). It can come from anyone, so nothing in it is believed: sizes, types and every
layer are checked before an inference engine sees it.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnxruntime

from l3clf.audio.clip import FloatArray
from l3clf.embedders.base import Embedder, as_path_option
from l3clf.embedders.frontend import (
    INPUT_STEP_DB,
    INPUT_STEPS,
    INPUT_ZERO_POINT,
    SAMPLE_RATE,
    levels,
    quantise_levels,
    student_spec,
)
from l3clf.errors import ParameterError, WeightsError
from l3clf.networks.int8_run import Int8Network
from l3clf.networks.onnx_build import run_graph, session
from l3clf.networks.onnx_check import MAX_BYTES, check_student_onnx
from l3clf.networks.tflite_read import read_tflite
from l3clf.storage.safezip import read_zip, write_zip

__all__ = ["FORMAT", "L3Mini", "Student", "StudentFile", "read_student", "write_student"]

FORMAT = "l3clf student 1"
ABOUT, FLOAT, INT8 = "student.json", "network.onnx", "network.tflite"
_LIMITS = {ABOUT: 1 << 20, FLOAT: MAX_BYTES, INT8: MAX_BYTES}
SHORTEST_S, LONGEST_S, LARGEST = 0.2, 4.0, 4096
Precision = Literal["float32", "int8"]


@dataclass(frozen=True, eq=False)
class StudentFile:
    """The checked content of a student file.

    Attributes
    ----------
    about : dict
        ``window_s``, ``embedding_size``, and whatever its maker wrote down (teachers, figures, licences).
    onnx, tflite : bytes
        The network in floating point and in integers.
    """

    about: dict[str, Any]
    onnx: bytes
    tflite: bytes


def write_student(path: Path, about: dict[str, Any], onnx: bytes, tflite: bytes) -> None:
    """Write a student file, complete or not at all.

    Parameters
    ----------
    path : Path
    about : dict
        At least ``window_s`` and ``embedding_size``; JSON.
    onnx, tflite : bytes
    """
    told = json.dumps({"format": FORMAT, **about}, indent=1, default=np.generic.item).encode()
    write_zip(path, {ABOUT: told, FLOAT: onnx, INT8: tflite})


def read_student(path: Path) -> StudentFile:
    """Read and check a student file.

    Raises
    ------
    WeightsError
        If it is missing, damaged, or holds anything that a student file does not.
    """
    members = read_zip(path, _LIMITS, sum(_LIMITS.values()), writer="l3clf distill", error=WeightsError)
    for name in _LIMITS:
        if name not in members:
            raise WeightsError(f"{path}: has no member {name}; expected a student file as l3clf distill writes it")
    about = _about(members[ABOUT], path)
    spec = student_spec(about["window_s"])
    onnx = check_student_onnx(members[FLOAT], (1, spec.n_frames, spec.n_bands), about["embedding_size"], str(path))
    network = read_tflite(members[INT8], f"{path}: {INT8}")
    found = (network.input.shape, network.output.size, float(network.input.scale), network.input.zero_point)
    expected = ((1, spec.n_frames, spec.n_bands, 1), about["embedding_size"], 1 / INPUT_STEPS, 0)
    if found != expected:
        raise WeightsError(f"{path}: {INT8} has input, size, scale and zero point {found}, expected {expected}")
    return StudentFile(about, onnx, members[INT8])


def _about(content: bytes, path: Path) -> dict[str, Any]:
    try:
        about = json.loads(content)
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise WeightsError(f"{path}: {ABOUT} is not of the format {FORMAT!r}; make the student again")
    window_s, size = about.get("window_s"), about.get("embedding_size")
    if isinstance(window_s, bool) or not isinstance(window_s, int | float) or not SHORTEST_S <= window_s <= LONGEST_S:
        raise WeightsError(f"{path}: window_s={window_s!r}; expected {SHORTEST_S} to {LONGEST_S} seconds")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST:
        raise WeightsError(f"{path}: embedding_size={size!r}; expected 1 to {LARGEST}")
    return about


@dataclass(frozen=True)
class Student(Embedder):
    """A student from its file; needs no TensorFlow.

    Parameters
    ----------
    weights : path
        The student file.
    precision : {"float32", "int8"}
        int8 computes in integers what a microcontroller does, value for value.
    """

    weights: str | None = None
    precision: Precision = "float32"

    name: ClassVar[str] = "student"
    sample_rate: ClassVar[int] = SAMPLE_RATE

    def __post_init__(self) -> None:
        as_path_option(self, "weights")
        if self.precision not in ("float32", "int8"):
            raise ParameterError(f"precision={self.precision!r}; expected 'float32' or 'int8'")

    @property
    def path(self) -> Path:
        """The student file."""
        if self.weights is None:
            raise ParameterError(f"embedder {self.name!r}: give weights=, the path of a student file")
        return Path(self.weights)

    def is_ready(self) -> bool:
        """Return whether its file is there."""
        return self.weights is not None and Path(self.weights).is_file()

    @cached_property
    def _file(self) -> StudentFile:
        return read_student(self.path)

    @property
    def about(self) -> dict[str, Any]:
        """What the file says of the student: teachers, figures, licences."""
        return self._file.about

    @property
    def onnx(self) -> bytes:
        """The network in floating point, checked."""
        return self._file.onnx

    @property
    def tflite(self) -> bytes:
        """The network in integers, checked."""
        return self._file.tflite

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return float(self._file.about["window_s"])

    @property
    def embedding_size(self) -> int:
        """Length of a vector."""
        return int(self._file.about["embedding_size"])

    def weights_digest(self) -> str:
        """Return the SHA-256 of the network that this precision computes with, and of the window it is given."""
        network = self._file.onnx if self.precision == "float32" else self._file.tflite
        return hashlib.sha256(f"{self.window_s!r} s\n".encode() + network).hexdigest()

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return session(self._file.onnx)

    @cached_property
    def network(self) -> Int8Network:
        """The integer network."""
        return Int8Network(read_tflite(self._file.tflite, INT8))

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows at 16 kHz; see `Embedder.embed_windows`."""
        levels_db = levels(student_spec(self.window_s), windows)
        if self.precision == "int8":
            out = self.network.model.output
            steps = self.network.run(quantise_levels(levels_db)[..., np.newaxis]).astype(np.float32)
            return (steps - np.float32(out.zero_point)) * out.scale
        steps = np.clip(levels_db / np.float32(INPUT_STEP_DB) + np.float32(INPUT_ZERO_POINT), -128, 127)
        return run_graph(self._session, steps[:, np.newaxis] / np.float32(INPUT_STEPS))


@dataclass(frozen=True)
class L3Mini(Student):
    """The student that comes with the package: taught by YAMNet and Google's speech embedding, not by OpenL3.

    Parameters
    ----------
    precision : {"float32", "int8"}
        See `Student`.
    weights : path or None
        Another student file to use in its place; None is the one in the package.
    """

    name: ClassVar[str] = "l3mini"

    @property
    def path(self) -> Path:
        """The student file."""
        return Path(self.weights) if self.weights else Path(str(files("l3clf.embedders") / "data" / "l3mini.student"))

    def is_ready(self) -> bool:
        """Return whether its file is there."""
        return self.path.is_file()
