"""A network alone as C code, on this machine or on an emulated chip; every layer's values come out."""

import shutil
import struct

import numpy as np

from l3clf.device.arena import plan_memory
from l3clf.device.chips import EmulatedChip, HostChip
from l3clf.device.emit_network import network_source
from l3clf.device.lower import lower
from l3clf.device.runtime_files import RUNTIME
from l3clf.device.toolchain import build_chip, build_host

HARNESS = """
#include "l3clf_kernels.h"
#include "l3clf_sections.h"
void l3clf_network(int8_t *arena);
int l3clf_network_step(int8_t *arena, l3clf_progress *progress, int32_t budget);
void harness_network(void);
int harness_steps(int32_t budget);
int8_t harness_arena[{arena}] __attribute__((aligned(8)));
int8_t harness_trace[{trace}];
int32_t harness_n_trace;
void harness_network(void) {{ harness_n_trace = 0; l3clf_network(harness_arena); }}
static const int32_t scratch[][2] = {{
{scratch}
}};
/* Between steps, scratch memory is free for others; here they use it. */
static void disturb(int32_t layer)
{{
    for (int32_t i = 0; i < scratch[layer][1]; i++) {{
        harness_arena[scratch[layer][0] + i] = 0x5A;
    }}
}}
int harness_steps(int32_t budget)
{{
    l3clf_progress progress = {{0, 0}};
    int steps = 1;
    harness_n_trace = 0;
    while (!l3clf_network_step(harness_arena, &progress, budget)) {{
        disturb(progress.layer);
        steps++;
    }}
    return steps;
}}
static void trace(const int8_t *values, int32_t size)
{{
    for (int32_t i = 0; i < size; i++) {{
        harness_trace[harness_n_trace++] = values[i];
    }}
}}
#define TRACE(tensor, values, size) trace(values, size)
"""


class CNetwork:
    """A network's C code. `build`: "host", "short", "dsp" or "plain"."""

    def __init__(self, model, build, folder):
        self.model = model
        self.layers, aliases = lower(model)
        self.plan = plan_memory(model, self.layers, aliases)
        self.sizes = [model.tensors[layer.target].size for layer in self.layers]
        for name in ("l3clf_kernels.c", "l3clf_kernels.h", "l3clf_dsp.h", "l3clf_sections.h"):
            shutil.copy(RUNTIME / name, folder)
        scratch = [
            f"{{{at}, {layer.scratch_bytes}}}," for at, layer in zip(self.plan.scratch, self.layers, strict=True)
        ]
        trace = sum(self.sizes) + model.input.size
        text = HARNESS.format(arena=self.plan.size, trace=trace, scratch="\n".join(scratch))
        (folder / "network.c").write_text(text + network_source(model, self.layers, self.plan))
        sources = [f"-I{folder}", str(folder / "network.c"), str(folder / "l3clf_kernels.c")]
        plain = ["-DL3CLF_PORTABLE", *sources]
        if build in ("host", "short"):
            plain += ["-DL3CLF_SHORT_PRODUCTS=1"] if build == "short" else []  # as on a Cortex-M0
            self.chip = HostChip(build_host(plain, folder / "network.so"))
        else:
            self.chip = EmulatedChip(build_chip(sources if build == "dsp" else plain, folder / "network.elf"))

    def every_tensor(self, x, budget=None):
        """Return values of every layer for windows (n, ...), by tensor index; with a budget, computed in steps."""
        found = {layer.target: [] for layer in self.layers}
        for window in x:
            place = self.chip.address("harness_arena") + self.plan.offsets[self.model.source]
            self.chip.write(place, np.ascontiguousarray(window).tobytes())
            if budget is None:
                self.chip.call("harness_network")
            else:
                self.steps = self.chip.call("harness_steps", budget)
            (n,) = struct.unpack("<i", self.chip.read(self.chip.address("harness_n_trace"), 4))
            values = np.frombuffer(self.chip.read(self.chip.address("harness_trace"), n), np.int8)[window.size :]
            for layer, part in zip(self.layers, np.split(values, np.cumsum(self.sizes)[:-1]), strict=True):
                found[layer.target].append(part.reshape(self.model.tensors[layer.target].shape[1:]))
        return {index: np.stack(values) for index, values in found.items()}
