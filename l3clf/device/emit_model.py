"""The model as C text: sizes and class names for the runtime, weights and tables."""

import re

import numpy as np

from l3clf._version import __version__
from l3clf.audio.framing import level_dbfs
from l3clf.audio.levels import SILENT_DBFS
from l3clf.device.credits import Credits, spdx
from l3clf.device.ctext import c_array, c_string
from l3clf.device.device_events import event_numbers
from l3clf.device.emit_frontend import fixed_source, frontend_source
from l3clf.device.emit_head import head_source, rounded_up
from l3clf.device.emit_network import network_source
from l3clf.device.model import PCM_FULL_SCALE, DeviceModel

__all__ = ["banner", "gate_energy", "model_header", "model_source"]


def model_header(d: DeviceModel) -> str:
    """Return ``l3clf_model.h``: every size and constant that the runtime is compiled with."""
    pooled = "float" if d.pooling == "probability" else "int8_t"
    defines = "\n".join(f"#define L3CLF_{name} {value}" for name, value in _numbers(d).items())
    mode = "#define L3CLF_POOL_PROBABILITIES\n" if d.pooling == "probability" else ""
    mode += "#define L3CLF_FLOAT_FRONTEND\n" if d.frontend == "float" else ""
    mode += "#define L3CLF_EXACT_MEAN\n" if d.head.kind == "forest" else ""
    mode += "#define L3CLF_BACKGROUND /* the head's last row, which is no class */\n" if d.has_background else ""
    mode += "#define L3CLF_CLASS_THRESHOLDS\n" if d.class_thresholds else ""
    mode += (
        "#define L3CLF_TAGS /* any number of them at a time, each with a threshold of its own */\n" if d.tags else ""
    )
    kind, number = ("tag", "L3CLF_N_TAGS") if d.tags else ("class", "L3CLF_N_CLASSES")
    own = f"extern const float l3clf_{kind}_thresholds[{number}];\n" if d.tags or d.class_thresholds else ""
    return f"""{spdx()}/* {banner(d)} */
#ifndef L3CLF_MODEL_H
#define L3CLF_MODEL_H

#include <stdint.h>

#include "l3clf_kernels.h"
#include "l3clf_sections.h"

#ifdef __cplusplus
extern "C" {{
#endif

/* Of the l3clf that wrote this. */
{_version()}

{defines}
{mode}
/* Number of windows, the last ones, that a decision is pooled over. */
#ifndef L3CLF_POOL_WINDOWS
#define L3CLF_POOL_WINDOWS {d.pool_windows}
#endif

typedef {pooled} l3clf_pooled; /* element of what is kept of each window */

extern const char *const l3clf_{kind}_names[{number}];
extern const char l3clf_version[];
{own}
/* Computes the network in the arena, from its input to its output. */
void l3clf_network(int8_t *arena);
/* Computes the network from `progress` on, {{0, 0}} before the first piece, until about `budget` multiply-accumulates
   are done: one piece of a layer at least, otherwise no more than the budget. Returns 1 when the network is complete, 0
   before. Until it is complete, nothing else may write to its tensors, which end where L3CLF_FRAME_OFFSET is. */
int l3clf_network_step(int8_t *arena, l3clf_progress *progress, int32_t budget);
void l3clf_head(const float *x, float *probabilities);

#ifdef __cplusplus
}}
#endif
#endif
"""


def _version() -> str:
    parts = zip(("MAJOR", "MINOR", "PATCH"), re.findall(r"\d+", __version__), strict=False)
    return "\n".join(f"#define L3CLF_VERSION_{name} {number}" for name, number in parts)


def _numbers(d: DeviceModel) -> dict[str, int | str]:
    """Return the header's sizes and constants, by name."""
    output = d.network.output
    numbers: dict[str, int | str] = {
        "SAMPLE_RATE": d.spec.sample_rate,
        "FRAME": d.spec.frame,
        "FRAME_HOP": d.spec.hop,
        "N_FRAMES": d.spec.n_frames,
        "N_MELS": d.spec.n_bands,
        "WINDOW": d.window,
        "WINDOW_HOP": d.hop,
        "N_TAGS" if d.tags else "N_CLASSES": len(d.class_names),
        "EMBEDDING": output.size,
        "OUTPUT_ZERO_POINT": output.zero_point if output.zero_point >= 0 else f"({output.zero_point})",
        "OUTPUT_SCALE": f"{float(output.scale)!r}F",
        # No probability is below 0.0, so that this stands for no threshold.
        **({} if d.tags or d.class_thresholds else {"UNKNOWN_THRESHOLD": f"{float(np.float32(d.thresholds[0]))!r}F"}),
        "ARENA_BYTES": f"{d.arena_bytes}U",
        "INPUT_OFFSET": d.plan.offsets[d.network.source],
        "OUTPUT_OFFSET": d.plan.offsets[d.network.target],
        "ANSWER_OFFSET": d.answer_offset,
        "FRAME_OFFSET": d.frame_offset,
        "NETWORK_WORK": d.work,
        **event_numbers(d.event_rules),
        "POOLED_SIZE": d.n_rows if d.pooling == "probability" else output.size,
    }
    energy = 0 if d.gate_dbfs is None else gate_energy(d.gate_dbfs, d.window)
    if energy:  # otherwise every window is above the gate
        numbers["GATE_ENERGY"] = f"UINT64_C({energy}) /* {d.gate_dbfs:g} dBFS */"
        if d.gate_dbfs is not None and d.gate_hysteresis_db:
            closes = d.gate_dbfs - d.gate_hysteresis_db
            numbers["GATE_CLOSE_ENERGY"] = f"UINT64_C({gate_energy(closes, d.window)}) /* {closes:g} dBFS */"
    if d.rejects_silence:
        numbers["SILENT_ENERGY"] = f"UINT64_C({gate_energy(SILENT_DBFS, d.window)}) /* {SILENT_DBFS:g} dBFS */"
    if energy or d.rejects_silence:
        numbers["OPEN_WINDOWS"] = -(-d.window // d.hop) + 1  # windows that have started and not ended, at most
    return numbers


def gate_energy(gate_dbfs: float, window: int) -> int:
    """Return the smallest sum of squares of a window's int16 samples that reaches a gate in dBFS."""

    def reaches(energy: int) -> bool:
        value = np.sqrt(energy / window) / PCM_FULL_SCALE
        return bool(level_dbfs(np.full((1, 1), value, np.float64))[0] >= gate_dbfs)

    # Bisection with Python's own rounding, so that both decide alike for every window.
    low, high = -1, window * int(PCM_FULL_SCALE) ** 2 * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def model_source(d: DeviceModel) -> str:
    """Return ``l3clf_model.c``: weights, tables and the order of the layers."""
    names = ",\n    ".join(c_string(name) for name in d.class_names)
    thresholds = ""
    kind, number = ("tag", "L3CLF_N_TAGS") if d.tags else ("class", "L3CLF_N_CLASSES")
    if d.tags:  # rounded up, so that a probability in float32 reaches them where it reaches Python's
        thresholds = c_array("l3clf_tag_thresholds", rounded_up(d.thresholds), public=True) + "\n"
    elif d.class_thresholds:
        thresholds = c_array("l3clf_class_thresholds", d.thresholds.astype(np.float32), public=True) + "\n"
    return f"""{spdx(Credits(d.student).model_licence)}/* {banner(d)} */
#include "l3clf_model.h"

#include "l3clf_frontend.h"
#include "l3clf_head.h"

/* Called after every layer with its output, for tests. */
#ifdef L3CLF_TRACE
void l3clf_trace(int32_t tensor, const int8_t *values, int32_t size);
#define TRACE(tensor, values, size) l3clf_trace(tensor, values, size)
#else
#define TRACE(tensor, values, size) (void)0
#endif

const char l3clf_version[] = {c_string(banner(d))};

const char *const l3clf_{kind}_names[{number}] = {{
    {names},
}};

/* --- front-end ------------------------------------------------------------------------------------ */

{(frontend_source if d.frontend == "float" else fixed_source)(d.spec)}
{thresholds}/* --- head ----------------------------------------------------------------------------------------- */

{head_source(d.head)}
/* --- network -------------------------------------------------------------------------------------- */

{network_source(d.network, d.layers, d.plan)}"""


def banner(d: DeviceModel) -> str:
    """Return what the export says it is: l3clf's version, the student, the head and the windows."""
    kind = "tags" if d.tags else "classes"
    return (
        f"l3clf {__version__}: {d.student.name} {d.student.fingerprint}, {len(d.class_names)} {kind}, "
        f"{d.head.kind} head, {d.pooling} pooling, hop {d.hop_s:g} s"
    )
