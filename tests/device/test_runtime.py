"""The C runtime: any chunks give the same decisions, a reset forgets everything, sanitizers find nothing."""

import shutil
import subprocess

import numpy as np
import pytest
from helpers.sound_files import noise

from l3clf.device.chips import push
from l3clf.device.exporter import read_export
from l3clf.device.verification import decisions

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


# --- streams -----------------------------------------------------------------------------------------


def answers_of(d, chip, samples, sizes):
    assert chip.call("harness_start") == 0
    place = 0
    for size in sizes:
        push(chip, samples[place : place + size])
        place += size
    return [(x.class_id, x.probability, x.n_windows, x.window, *x.probabilities) for x in decisions(d, chip)]


@pytest.mark.parametrize("seed", range(4))
def test_any_chunks_give_the_same_decisions(export, host, seed):
    d = read_export(export)
    rng = np.random.default_rng(seed)
    kinds = [np.zeros(40_000), rng.integers(-32768, 32768, 40_000), np.full(40_000, -32768), np.full(40_000, 32767)]
    samples = kinds[seed].astype(np.int16)
    whole = answers_of(d, host, samples, [len(samples)])
    assert len(whole) == 1 + (len(samples) - d.window) // d.hop
    heard = samples.any()  # pools of digital silence count no window
    assert [answer[2] for answer in whole] == [min(k + 1, 3) if heard else 0 for k in range(len(whole))]
    sizes = []
    while sum(sizes) < len(samples):
        sizes.append(int(rng.choice([1, 2, 159, 160, 511, 513, 8000, 20_000])))
    assert answers_of(d, host, samples, sizes) == whole


def test_reset_forgets_everything(export, host):
    d = read_export(export)
    samples = (noise(20_000, 1, 0.2) * 32767).astype(np.int16)
    fresh = answers_of(d, host, samples, [len(samples)])
    host.call("harness_start")
    push(host, np.full(12_345, 32767, np.int16))
    host.call("harness_reset")
    push(host, samples)
    last = [(x.class_id, x.probability, x.n_windows, x.window, *x.probabilities) for x in decisions(d, host)]
    assert last == fresh


def test_sanitizers_find_nothing(export, tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    (tmp_path / "fuzz.c").write_text(FUZZ)
    sources = [*map(str, export.glob("l3clf*.c")), str(tmp_path / "fuzz.c")]
    flags = ["-O1", "-g", "-std=c99", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{export}"]
    subprocess.run([compiler, *flags, *sources, "-lm", "-o", tmp_path / "fuzz"], check=True)
    done = subprocess.run([tmp_path / "fuzz"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("decisions ")


FUZZ = """
#include <stdio.h>
#include <stdlib.h>
#include "l3clf.h"

int main(void)
{
    l3clf_state *state = malloc(sizeof *state);
    void *arena = malloc(L3CLF_ARENA_BYTES);
    static int16_t samples[5000];
    uint32_t seed = 1;
    int decisions = 0;
    if (l3clf_init(state, arena, L3CLF_ARENA_BYTES - 1, NULL, NULL) != -1) return 1;
    if (l3clf_init(state, (char *)arena + 4, L3CLF_ARENA_BYTES, NULL, NULL) != -1) return 2;
    if (l3clf_init(state, arena, L3CLF_ARENA_BYTES, NULL, NULL) != 0) return 3;
    for (int round = 0; round < 60; round++) {
        seed = seed * 1664525U + 1013904223U;
        const size_t n = (seed >> 8) % 5001;
        int16_t *exact = malloc(n * sizeof *exact + 1);
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525U + 1013904223U;
            exact[i] = round % 4 == 0 ? -32768 : round % 4 == 1 ? 0 : (int16_t)(seed >> 16);
        }
        decisions += l3clf_push(state, exact, n);
        free(exact);
        if (round % 20 == 19) l3clf_reset(state);
    }
    (void)samples;
    printf("decisions %d\\n", decisions);
    free(arena);
    free(state);
    return 0;
}
"""
