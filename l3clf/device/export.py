"""A fitted model becomes a folder of C99 that a firmware project takes in as it is.

Rule: the folder is complete: runtime, model, example, golden answers, Makefile and a text for the firmware engineer;
the same model gives the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from l3clf import __version__
from l3clf.audio import level_dbfs
from l3clf.decide import check_pooling
from l3clf.device.arena import ALIGNMENT, Plan, plan_memory
from l3clf.device.ctext import c_string
from l3clf.device.emit_frontend import PCM_FULL_SCALE, frontend_source
from l3clf.device.emit_head import head_source
from l3clf.device.emit_network import network_source
from l3clf.device.lower import Layer, lower
from l3clf.embedders.base import Embedder
from l3clf.embedders.frontend import student_spec
from l3clf.embedders.int8model import Int8Model
from l3clf.embedders.student import Student
from l3clf.errors import DeviceError
from l3clf.estimators import ClipClassifier
from l3clf.features import MelSpec
from l3clf.frozen import ForestHead, LinearHead
from l3clf.heads import freeze_head
from l3clf.modelfile import load_model, save_model

__all__ = ["POOLINGS", "RUNTIME", "DeviceModel", "device_model", "read_export", "write_export"]

POOLINGS = ("mean", "probability")
RUNTIME = Path(str(files("l3clf.device") / "runtime"))
MODEL_FILE, STUDENT_FILE, SETTINGS_FILE = "model.l3clf", "network.student", "export.json"
DEFAULT_WINDOWS = 10
LARGEST_FRAME_WORK = 6  # bytes for each sample of a frame
FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class DeviceModel:
    """All that the C library is made of.

    Attributes
    ----------
    classifier : ClipClassifier
        The fitted model.
    student : Student
        In integers.
    spec : MelSpec
    network : Int8Model
    layers : tuple of Layer
    plan : Plan
    head : LinearHead or ForestHead
    class_names : tuple of str
    pooling : str
    hop_s : float
    pool_windows : int
        How many windows a decision rests on.
    unknown_threshold, gate_dbfs : float or None
    """

    classifier: ClipClassifier
    student: Student
    spec: MelSpec
    network: Int8Model
    layers: tuple[Layer, ...]
    plan: Plan
    head: LinearHead | ForestHead
    class_names: tuple[str, ...]
    pooling: str
    hop_s: float
    pool_windows: int
    unknown_threshold: float | None
    gate_dbfs: float | None

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return round(self.hop_s * self.spec.sample_rate)

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.student.window_s * self.spec.sample_rate)

    @property
    def answer_offset(self) -> int:
        """Where in the arena probabilities and vector lie: beside the network's output."""
        output = self.plan.offsets[self.network.target]
        needed = FLOAT_BYTES * (len(self.class_names) + self.network.output.size)
        return 0 if needed <= output else -(-(output + self.network.output.size) // ALIGNMENT) * ALIGNMENT

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena: the network's tensors, a frame's transform and the head's answer take turns in it."""
        answer = self.answer_offset + FLOAT_BYTES * (len(self.class_names) + self.network.output.size)
        return -(-max(self.plan.size, LARGEST_FRAME_WORK * self.spec.frame, answer) // ALIGNMENT) * ALIGNMENT


def device_model(
    model: ClipClassifier,
    pool_windows: int = DEFAULT_WINDOWS,
    unknown_threshold: float | None = None,
    gate_dbfs: float | None = None,
    student: Student | None = None,
) -> DeviceModel:
    """Check that a model can be put on a chip, and lower it.

    Parameters
    ----------
    model : ClipClassifier
        Fitted, on the embeddings of l3mini or of another student.
    pool_windows : int
        How many of the last windows a decision rests on.
    unknown_threshold, gate_dbfs : float or None
        In the place of the model's own.
    student : Student, optional
        In the place of the model's embedder: the same, from another file.

    Raises
    ------
    DeviceError
        By name, what cannot run on a chip: another embedder, pooling or head, a hop that is none of whole frames.
    """
    if not hasattr(model, "head_"):
        raise DeviceError("the model is not fitted: call fit first, or give a model file of l3clf fit")
    student = student or _student(model.embedder_)
    check_pooling(model.pooling)
    if model.pooling not in POOLINGS:
        raise DeviceError(
            f"pooling {model.pooling!r} needs all windows of a clip; fit with pooling 'mean' or 'probability' for a chip"
        )
    spec = student_spec(student.window_s)
    hop = model.hop_s * spec.sample_rate
    if round(hop) < 1 or abs(hop - round(hop)) > 1e-6 or round(hop) % spec.hop:
        raise DeviceError(
            f"hop_s={model.hop_s:g}: on a chip windows share their frames; fit with a multiple of "
            f"{spec.hop / spec.sample_rate:g} s"
        )
    if not 1 <= pool_windows <= 1000:
        raise DeviceError(f"pool_windows={pool_windows}; expected 1 to 1000")
    network = student.network.model
    layers, aliases = lower(network)
    head = freeze_head(model.head_)
    threshold = model.unknown_threshold if unknown_threshold is None else unknown_threshold
    gate = model.gate_dbfs if gate_dbfs is None else gate_dbfs
    names = tuple(str(name) for name in model.classes_)
    plan = plan_memory(network, layers, aliases)
    return DeviceModel(
        model, student, spec, network, layers, plan, head, names, model.pooling, model.hop_s, pool_windows, threshold, gate
    )


def _student(embedder: Embedder) -> Student:
    if not isinstance(embedder, Student):
        raise DeviceError(
            f"the model's embedder is {embedder.name!r}, which is too large for a chip; fit with l3mini or a student "
            "(l3clf distill)"
        )
    return type(embedder)(weights=embedder.weights, precision="int8")


# --- text -------------------------------------------------------------------------------------------


def model_header(d: DeviceModel) -> str:
    """Return ``l3clf_model.h``: every size and constant that the runtime is compiled with."""
    output = d.network.output
    pooled = ("float", len(d.class_names)) if d.pooling == "probability" else ("int8_t", output.size)
    numbers = {
        "SAMPLE_RATE": d.spec.sample_rate,
        "FRAME": d.spec.frame,
        "FRAME_HOP": d.spec.hop,
        "N_FRAMES": d.spec.n_frames,
        "N_MELS": d.spec.n_bands,
        "WINDOW": d.window,
        "WINDOW_HOP": d.hop,
        "N_CLASSES": len(d.class_names),
        "EMBEDDING": output.size,
        "OUTPUT_ZERO_POINT": output.zero_point if output.zero_point >= 0 else f"({output.zero_point})",
        "OUTPUT_SCALE": f"{float(output.scale).hex()}F",
        "UNKNOWN_THRESHOLD": f"{float(np.float32(d.unknown_threshold or 0.0)).hex()}F",
        "ARENA_BYTES": f"{d.arena_bytes}U",
        "INPUT_OFFSET": d.plan.offsets[d.network.source],
        "OUTPUT_OFFSET": d.plan.offsets[d.network.target],
        "ANSWER_OFFSET": d.answer_offset,
        "POOLED_SIZE": pooled[1],
    }
    if d.gate_dbfs is not None:
        numbers["GATE_ENERGY"] = f"UINT64_C({gate_energy(d.gate_dbfs, d.window)}) /* {d.gate_dbfs:g} dBFS */"
        numbers["OPEN_WINDOWS"] = -(-d.window // d.hop) + 1
    defines = "\n".join(f"#define L3CLF_{name} {value}" for name, value in numbers.items())
    mode = "#define L3CLF_POOL_PROBABILITIES\n" if d.pooling == "probability" else ""
    return f"""/* {_banner(d)} */
#ifndef L3CLF_MODEL_H
#define L3CLF_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{defines}
{mode}
/* How many of the last windows a decision rests on. */
#ifndef L3CLF_POOL_WINDOWS
#define L3CLF_POOL_WINDOWS {d.pool_windows}
#endif

typedef {pooled[0]} l3clf_pooled; /* what is kept of a window */

extern const char *const l3clf_class_names[L3CLF_N_CLASSES];
extern const char l3clf_version[];

void l3clf_network(int8_t *arena);
void l3clf_head(const float *x, float *probabilities);

#ifdef __cplusplus
}}
#endif
#endif
"""


def gate_energy(gate_dbfs: float, window: int) -> int:
    """Return the least sum of squares of int16 samples whose level reaches a gate."""

    def reaches(energy: int) -> bool:
        value = np.sqrt(energy / window) / PCM_FULL_SCALE
        return bool(level_dbfs(np.full((1, 1), value, np.float64))[0] >= gate_dbfs)

    low, high = -1, window * int(PCM_FULL_SCALE) ** 2 * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def model_source(d: DeviceModel) -> str:
    """Return ``l3clf_model.c``: weights, tables and the order of the layers."""
    names = ",\n    ".join(c_string(name) for name in d.class_names)
    return f"""/* {_banner(d)} */
#include "l3clf_model.h"

#include "l3clf_frontend.h"
#include "l3clf_head.h"
#include "l3clf_kernels.h"

/* Called behind every layer with its tensor; tests look at all of them. */
#ifdef L3CLF_TRACE
void l3clf_trace(int32_t tensor, const int8_t *values, int32_t size);
#define TRACE(tensor, values, size) l3clf_trace(tensor, values, size)
#else
#define TRACE(tensor, values, size) (void)0
#endif

const char l3clf_version[] = {c_string(_banner(d))};

const char *const l3clf_class_names[L3CLF_N_CLASSES] = {{
    {names},
}};

/* --- front-end ------------------------------------------------------------------------------------ */

{frontend_source(d.spec)}
/* --- head ----------------------------------------------------------------------------------------- */

{head_source(d.head)}
/* --- network -------------------------------------------------------------------------------------- */

{network_source(d.network, d.layers, d.plan)}"""


def _banner(d: DeviceModel) -> str:
    return (
        f"l3clf {__version__}: {d.student.name} {d.student.fingerprint}, {len(d.class_names)} classes, "
        f"{d.head.kind} head, {d.pooling} pooling, hop {d.hop_s:g} s"
    )


def _settings(d: DeviceModel) -> dict[str, Any]:
    return {name: getattr(d, name) for name in ("pool_windows", "unknown_threshold", "gate_dbfs")}


def read_export(folder: str | os.PathLike[str]) -> DeviceModel:
    """Return what an export was made of.

    Parameters
    ----------
    folder : path-like
        From `write_export`.

    Raises
    ------
    DeviceError
        If it is none.
    """
    place = Path(folder)
    try:
        found = json.loads((place / SETTINGS_FILE).read_text(encoding="utf-8"))
        settings = {name: found[name] for name in ("pool_windows", "unknown_threshold", "gate_dbfs")}
    except (OSError, ValueError, KeyError, TypeError):
        raise DeviceError(f"{place}: is no export, or a damaged one; make it with l3clf export") from None
    model = load_model(place / MODEL_FILE)
    student = place / STUDENT_FILE
    return device_model(model, **settings, student=Student(weights=str(student), precision="int8"))


def write_export(d: DeviceModel, folder: str | os.PathLike[str]) -> Path:
    """Write the C library into a folder.

    Parameters
    ----------
    d : DeviceModel
    folder : path-like
        Made if it is not there; files of the same names are replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DeviceError
        If it cannot be written.
    """
    out = Path(folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for source in sorted(RUNTIME.iterdir()):
            if source.is_file():
                shutil.copyfile(source, out / source.name)
        save_model(d.classifier, out / MODEL_FILE)
        shutil.copyfile(d.student.path, out / STUDENT_FILE)
        (out / SETTINGS_FILE).write_text(json.dumps(_settings(d), indent=1), encoding="utf-8")
        (out / "l3clf_model.h").write_text(model_header(d), encoding="utf-8")
        (out / "l3clf_model.c").write_text(model_source(d), encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"{out}: cannot be written ({error.strerror}); name another folder or make room") from None
    return out
