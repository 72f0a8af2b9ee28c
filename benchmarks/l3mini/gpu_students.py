"""Makes student files of what `gpu_distil` wrote: float32 ONNX, int8 TFLite, through the code of `l3clf.distill`.

    python -m benchmarks.l3mini.gpu_students trained=DIR out=DIR

Rule: nothing is learned here. The integers' ranges are measured on the windows in ``levels.npz``, rendered as those
that were learned from.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.environment import say
from benchmarks.materials import l3mini
from benchmarks.record import Result, Table, markdown
from benchmarks.settings import apply_settings
from l3clf.audio.clip import FloatArray
from l3clf.distill.architectures import Architecture, as_input, build_student, macs_of
from l3clf.distill.student_onnx import student_onnx
from l3clf.distill.student_tflite import student_tflite
from l3clf.embedders.frontend import student_spec
from l3clf.embedders.student import Student, write_student
from l3clf.errors import L3clfError
from l3clf.networks.onnx_build import run_graph, session

__all__ = ["Options", "keras_student", "run"]

TEACHERS = ("efficientat mn04", "speech", "yamnet", "efficientat mn04, scores")
USUAL = 0.7  # share of the windows that may measure a range; why: labbook.md, integers of l3mini 2
SAME = 1e-4  # of the largest value: how far the ONNX graph and Keras' network may differ


@dataclass(frozen=True)
class Options:
    """What is made.

    Attributes
    ----------
    trained : Path
        A folder with ``L.npz`` and others, and ``levels.npz``.
    out : Path
        A folder for the student files, made if it is missing.
    names : tuple of str
        Which.
    """

    trained: Path = Path("trained")
    out: Path = Path("students")
    names: tuple[str, ...] = ("L", "B", "S")


def run(options: Options) -> Result:
    """Write the student files."""
    options.out.mkdir(parents=True, exist_ok=True)
    with np.load(options.trained / "levels.npz") as file:
        features = file["levels"]
    rows = []
    for name in options.names:
        say(f"gpu_students: {name}")
        with np.load(options.trained / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        rows.append((name, *_write(name, arrays, features, options.out / f"{name}.student")))
    columns = (
        ("student", ""),
        ("parameters", ",d"),
        ("multiply-accumulates", ",d"),
        ("cosine of int8 to float32", ".4f"),
    )
    return Result((Table("Students", columns, tuple(rows)),))


def _write(
    name: str, arrays: Mapping[str, NDArray[Any]], features: NDArray[np.int8], path: Path
) -> tuple[int, int, float]:
    architecture, model = keras_student(arrays)
    onnx = student_onnx(architecture, model)
    x = as_input(features[:64])
    wanted = model.predict(x, verbose=0)
    answer = run_graph(session(onnx.SerializeToString()), x.transpose(0, 3, 1, 2).copy())
    if not np.abs(answer - wanted).max() < SAME * np.abs(wanted).max():
        raise L3clfError(f"{name}: the ONNX graph and Keras' network differ by {np.abs(answer - wanted).max():.1e}")
    parts = [int(size) for size in arrays["parts"]] if "parts" in arrays else [int(size) for size in arrays["sizes"]]
    parameters = sum(int(np.prod(tensor.dims)) for tensor in onnx.graph.initializer)
    learned = [i for i, size in enumerate(parts) if size]
    read_out = arrays.get("read_out", np.zeros(len(TEACHERS)))
    about = {
        "window_s": l3mini().window_s,
        "architecture": name,
        "embedding_size": sum(parts),
        "teachers": [TEACHERS[i] for i in learned],
        "parts": [parts[i] for i in learned],
        "whitening": 0.5,
        "windows": int(arrays.get("windows", 0)),
        "read_out_cosine": [round(float(value), 4) for value in read_out],
        "parameters": parameters,
        "macs": macs_of(model),
        "made_by": f"l3clf {l3clf.__version__}, benchmarks/l3mini/gpu_distil.py",
    }
    content = student_tflite(architecture, model, features, usual=USUAL)
    write_student(path, about, onnx.SerializeToString(), content)
    return parameters, macs_of(model), _agreement(path, features)


def keras_student(arrays: Mapping[str, NDArray[Any]]) -> tuple[Architecture, Any]:
    """Return a student's architecture and Keras' network with its weights, from PyTorch's.

    Parameters
    ----------
    arrays : mapping of str to array
        The state of `gpu_network.Network` (or of `torch_training.Network`, which has the same names).
    """
    kernels = {name: array.shape for name, array in arrays.items() if name.endswith("conv.weight")}
    count = sum(name.endswith(".1.conv.weight") for name in kernels)
    wide = [kernels[f"blocks.{i}.1.conv.weight"][0] for i in range(count)]
    stem = kernels["stem.conv.weight"][0]
    spec = student_spec(l3mini().window_s)
    architecture = Architecture(stem, tuple(zip(wide, _strides(arrays, wide), strict=True)))
    model = build_student(architecture, spec.n_frames, spec.n_bands, len(arrays["embedding.bias"]))
    model.set_weights(list(_as_keras(arrays, count)))
    return architecture, model


def _strides(arrays: Mapping[str, NDArray[Any]], wide: list[int]) -> list[int]:
    """The strides of blocks, which a run notes; in the spike's layouts the first and the first of the widest halve."""
    if "strides" in arrays:
        return [int(stride) for stride in arrays["strides"]]
    last = next(i for i in range(len(wide)) if wide[i] == wide[-1])
    return [2 if i in (0, last) else 1 for i in range(len(wide))]


def _as_keras(arrays: Mapping[str, NDArray[Any]], count: int) -> Iterator[FloatArray]:
    """All weights in Keras' order, their axes as Keras has them."""
    layers = [("stem.conv", "stem.norm")]
    layers += [(f"blocks.{i}.{part}.conv", f"blocks.{i}.{part}.norm") for i in range(count) for part in (0, 1)]
    layers += [("places", "norm")]
    for conv, norm in layers:
        kernel = arrays[f"{conv}.weight"]
        depthwise = conv == "places" or conv.endswith(".0.conv")
        yield kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield arrays[f"{norm}.{part}"]
    yield arrays["embedding.weight"].T
    yield arrays["embedding.bias"]


def _agreement(path: Path, features: NDArray[np.int8]) -> float:
    """The mean cosine of the embeddings in integers to those in floating point, on some windows."""
    student = Student(str(path))
    some = features[:: max(1, len(features) // 200)]
    ours = run_graph(session(student.onnx), as_input(some).transpose(0, 3, 1, 2).copy())
    chip = Student(str(path), "int8").network
    out = chip.model.output
    theirs = (chip.run(some[..., np.newaxis]).astype(np.float32) - out.zero_point) * out.scale
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(((ours * theirs).sum(axis=1) / lengths).mean())


if __name__ == "__main__":
    say(markdown(run(apply_settings(Options, sys.argv[1:]))))
