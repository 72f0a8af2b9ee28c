"""Students: small networks distilled from other embedders, each read from one file.

Rule: a student file is a ZIP file with three members: a description (JSON) and the network in floating point (ONNX) and
in integers (TFLite). It may come from anyone and is not trusted: sizes, types and every layer are checked before an
inference engine opens it. A model file holds the same three members, which pass the same checks.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from l3clf.audio.clip import FloatArray
from l3clf.embedders import STUDENT_MEMBERS
from l3clf.embedders.base import Embedder, as_path_option
from l3clf.embedders.fixed_frontend import as_pcm, fixed_levels
from l3clf.embedders.frontend import (
    INPUT_STEP_DB,
    INPUT_STEPS,
    INPUT_ZERO_POINT,
    SAMPLE_RATE,
    Int8Array,
    levels,
    quantise_levels,
    student_spec,
)
from l3clf.embedders.number_types import Network, open_floats
from l3clf.errors import ParameterError, WeightsError
from l3clf.networks.int8_run import Int8Network
from l3clf.networks.onnx_check import check_student_onnx
from l3clf.networks.tflite_read import read_tflite
from l3clf.storage.outputs import Kind, zip_member_begins
from l3clf.storage.safejson import read_json
from l3clf.storage.safezip import read_zip, write_zip

__all__ = ["FORMAT", "STUDENT", "Student", "StudentFile", "check_student", "read_student", "write_student"]

FORMAT = "l3clf student 1"  # the number rises if older versions cannot read newer files
ABOUT, FLOAT, INT8 = STUDENT_MEMBERS
# A model file may carry a student; it has a model.json as well.
STUDENT = Kind("a student file", zip_member_begins(ABOUT, b'"format": "l3clf student', without="model.json"))
MIN_WINDOW_S, MAX_WINDOW_S, MAX_EMBEDDING_SIZE = 0.2, 4.0, 4096
Precision = Literal["float32", "int8"]
Frontend = Literal["fixed", "float"]


@dataclass(frozen=True, repr=False)
class StudentFile:
    """The checked content of a student file; an embedder may hold it in place of the file's path.

    Attributes
    ----------
    about : dict
        ``window_s``, ``embedding_size``, and anything else that its maker recorded (teachers, figures, licences).
    onnx, tflite : bytes
        The network in floating point and in integers.
    """

    about: dict[str, Any]
    onnx: bytes
    tflite: bytes

    def members(self) -> dict[str, bytes]:
        """Return the members of the ZIP file."""
        content = json.dumps({"format": FORMAT, **self.about}, indent=1, default=np.generic.item).encode()
        return {ABOUT: content, FLOAT: self.onnx, INT8: self.tflite}

    def __repr__(self) -> str:
        return f"<student of {len(self.onnx) + len(self.tflite)} bytes>"  # not the bytes: this is in every model's repr

    def __hash__(self) -> int:
        return hash((self.onnx, self.tflite))


def write_student(path: Path, about: dict[str, Any], onnx: bytes, tflite: bytes) -> None:
    """Write a student file, complete or not at all.

    Parameters
    ----------
    path : Path
        The file to write; an existing one is replaced.
    about : dict
        At least ``window_s`` and ``embedding_size``; everything must be JSON or NumPy scalars.
    onnx, tflite : bytes
        The network in floating point and in integers.

    Raises
    ------
    ModelFileError
        If the file cannot be written.
    """
    write_zip(path, StudentFile(about, onnx, tflite).members())


def read_student(path: Path) -> StudentFile:
    """Read and check a student file.

    Raises
    ------
    WeightsError
        If it is missing, damaged, or holds anything that a student file must not.
    """
    total = sum(STUDENT_MEMBERS.values())
    return check_student(read_zip(path, STUDENT_MEMBERS, total, writer="l3clf distill", error=WeightsError), path)


def check_student(members: Mapping[str, bytes], path: str | os.PathLike[str]) -> StudentFile:
    """Check the members of a student.

    Parameters
    ----------
    members : mapping of str to bytes
        Each within its size in `STUDENT_MEMBERS`.
    path : path-like
        The file that they are from, for messages.

    Raises
    ------
    WeightsError
        If one is missing or damaged, or holds anything that a student file must not.
    """
    for name in STUDENT_MEMBERS:
        if name not in members:
            raise WeightsError(f"{path}: has no member {name}; give a file written by l3clf distill")
    about = _about(members[ABOUT], path)
    spec = student_spec(about["window_s"])
    onnx = check_student_onnx(members[FLOAT], (1, spec.n_frames, spec.n_bands), about["embedding_size"], str(path))
    network = read_tflite(members[INT8], f"{path}: {INT8}")
    # Both networks must take the same front-end: only its window length varies between students.
    found = (network.input.shape, network.output.size, float(network.input.scale), network.input.zero_point)
    expected = ((1, spec.n_frames, spec.n_bands, 1), about["embedding_size"], 1 / INPUT_STEPS, 0)
    if found != expected:
        problem = f"{INT8} has input, size, scale and zero point {found}, expected {expected}"
        raise WeightsError(f"{path}: {problem}; give a file written by l3clf distill")
    return StudentFile(about, onnx, members[INT8])


def _about(content: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        about = read_json(content, finite=False)  # a maker's figures may be NaN
    except ValueError:
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise WeightsError(f"{path}: {ABOUT} is not in the format {FORMAT!r}; give a file written by l3clf distill")
    window_s, size = about.get("window_s"), about.get("embedding_size")
    # JSON's true and false would pass as integers.
    in_range = isinstance(window_s, int | float) and MIN_WINDOW_S <= window_s <= MAX_WINDOW_S
    if isinstance(window_s, bool) or not in_range:
        raise WeightsError(f"{path}: window_s={_shown(window_s)}; expected {MIN_WINDOW_S} to {MAX_WINDOW_S} seconds")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_EMBEDDING_SIZE:
        raise WeightsError(f"{path}: embedding_size={_shown(size)}; expected 1 to {MAX_EMBEDDING_SIZE}")
    return about


def _shown(value: object) -> str:
    return repr(value)[:80]  # a stranger's value may be of any length


@dataclass(frozen=True)
class Student(Embedder):
    """A student from its file; it does not need TensorFlow.

    Parameters
    ----------
    weights : path or StudentFile
        The student file, or its content, with which the embedder needs no file: models from `load_model` have that.
    precision : {"float32", "int8"}
        int8 computes in integers, value for value as a microcontroller does.
    frontend : {"fixed", "float"} or None, default=None
        What makes the input of the int8 network. ``"fixed"`` computes in integers as well, from samples of 16 bits as a
        chip gets them: others are multiplied by 32768, rounded, and clipped at full scale. So what exceeds full scale
        sounds clipped, as in a recording. What is quieter than a step of 16 bits is silence; that is well below the
        floor of the levels, which noise of -75 dBFS reaches. ``"float"`` is the earlier front-end, which neither
        rounds samples nor clips them; model files written with it go on with it. None stands for ``"fixed"``; a
        float32 network has the one in floating point and stays None.
    """

    weights: str | StudentFile | None = None
    precision: Precision = "float32"
    frontend: Frontend | None = None

    name: ClassVar[str] = "student"
    sample_rate: ClassVar[int] = SAMPLE_RATE
    unnamed_options: ClassVar[Mapping[str, Any]] = {"frontend": "float"}  # files of that time name no front-end

    def __post_init__(self) -> None:
        if not isinstance(self.weights, StudentFile):
            as_path_option(self, "weights")
        if self.precision not in ("float32", "int8"):
            raise ParameterError(f"precision={self.precision!r}; expected 'float32' or 'int8'")
        if self.frontend not in ("fixed", "float", None):
            raise ParameterError(f"frontend={self.frontend!r}; expected 'fixed' or 'float'")
        if self.frontend == "fixed" and self.precision == "float32":
            raise ParameterError("frontend='fixed': is of the int8 network; pass precision='int8', or frontend=None")
        if self.precision == "float32":
            object.__setattr__(self, "frontend", None)  # no choice: a copy in int8 has the default
        elif self.frontend is None:
            object.__setattr__(self, "frontend", "fixed")

    def __setstate__(self, state: dict[str, Any]) -> None:
        found = {**self.unnamed_options, **state}  # pickles, too, may be older than an option
        super().__setstate__(found if found["precision"] == "int8" else {**found, "frontend": None})

    @property
    def options(self) -> dict[str, Any]:
        """See `Embedder.options`; a front-end that is no choice is none."""
        return {name: value for name, value in super().options.items() if value is not None}

    @property
    def path(self) -> Path:
        """The student file."""
        if isinstance(self.weights, str):
            return Path(self.weights)
        if self.weights is None:
            raise ParameterError(
                f"embedder {self.name!r}: has no file; give weights=, the path of a student file (--weights on the "
                "command line)"
            )
        raise ParameterError(f"embedder {self.name!r}: is part of its model, without a file; use its property content")

    def is_ready(self) -> bool:
        """Return whether it is at hand: its file exists, or it needs none."""
        return isinstance(self.weights, StudentFile) or (self.weights is not None and self.path.is_file())

    @property
    def content(self) -> StudentFile:
        """The content of its file, checked."""
        return self._file

    @cached_property
    def _file(self) -> StudentFile:
        return self.weights if isinstance(self.weights, StudentFile) else read_student(self.path)

    @property
    def about(self) -> dict[str, Any]:
        """The description in the file: teachers, figures, licences."""
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
        """Length of a window, in seconds."""
        return float(self._file.about["window_s"])

    @property
    def embedding_size(self) -> int:
        """Length of a vector."""
        return int(self._file.about["embedding_size"])

    def weights_digest(self) -> str:
        """Return the SHA-256 of the network in this precision and of the window length."""
        network = self._file.onnx if self.precision == "float32" else self._file.tflite
        return hashlib.sha256(f"{self.window_s!r} s\n".encode() + network).hexdigest()

    @cached_property
    def _float_network(self) -> Network:
        return open_floats(self, self._file.onnx, self._float_input)

    @cached_property
    def network(self) -> Int8Network:
        """The integer network."""
        return Int8Network(read_tflite(self._file.tflite, INT8))

    def input_levels(self, windows: FloatArray) -> Int8Array:
        """Return the input of the int8 network.

        Parameters
        ----------
        windows : array of shape (n_windows, window samples), float32
            As for `embed_windows`.

        Returns
        -------
        array of shape (n_windows, n_frames, n_mels), int8
        """
        spec = student_spec(self.window_s)
        if self.frontend == "fixed":
            return fixed_levels(as_pcm(windows), spec.n_frames)
        return quantise_levels(levels(spec, windows))

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows at 16 kHz; see `Embedder.embed_windows`."""
        if self.precision == "int8":
            out = self.network.model.output
            # The integers are those of the chip; dequantising them is left to its users there.
            steps = self.network.run(self.input_levels(windows)[..., np.newaxis]).astype(np.float32)
            return (steps - np.float32(out.zero_point)) * out.scale
        return self._float_network(self._float_input(windows))

    def _float_input(self, windows: FloatArray) -> FloatArray:
        # Clipped to the range of int8, as in training, but not rounded.
        levels_db = levels(student_spec(self.window_s), windows)
        steps = np.clip(levels_db / np.float32(INPUT_STEP_DB) + np.float32(INPUT_ZERO_POINT), -128, 127)
        return np.asarray(steps[:, np.newaxis] / np.float32(INPUT_STEPS))
