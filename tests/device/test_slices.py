"""Windows in slices: any mixture of feeding, stepping and pushing makes the decisions of pushing everything."""

import shutil
import subprocess

import numpy as np
import pytest
from helpers.c_programs import CHECKED, run_c
from helpers.device_models import fitted

from l3clf.device.chips import EmulatedChip, HostChip, feed, push
from l3clf.device.exporter import read_export, write_export
from l3clf.device.model import device_model
from l3clf.device.toolchain import build_chip, build_host, export_sources
from l3clf.device.verification import decisions

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

SIZES = (1, 7, 159, 160, 161, 511, 513, 8000, 20_000)
EVERYTHING = 2**31 - 1


def started(chip):
    assert chip.call("harness_start") == 0


def answers(d, chip):
    found = decisions(d, chip)
    return [(x.class_id, x.probability, x.unknown_score, x.n_windows, x.window, *x.probabilities) for x in found]


def mixed(d, chip, samples, rng, budgets):
    """Give samples to a build by any of its functions, from a few at a time to all; return the decisions."""
    started(chip)
    place = 0
    while place < len(samples):
        piece = samples[place : place + int(rng.choice(SIZES))]
        place += len(piece)
        (push if rng.random() < 0.3 else feed)(chip, piece)
        if rng.random() < 0.8:
            chip.call("harness_step", int(rng.choice(budgets)), int(rng.integers(20)))
    while chip.call("harness_step", EVERYTHING, 3):
        pass
    return answers(d, chip)


def whole(d, chip, samples):
    started(chip)
    push(chip, samples)
    return answers(d, chip)


def sound(seed, n):
    """Loud, soft and silent stretches, and both ends of the scale."""
    rng = np.random.default_rng(seed)
    levels = rng.choice([0, 30, 3000, 40_000], 1 + n // 4000).repeat(4000)[:n]
    return np.clip(levels * rng.standard_normal(n), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("seed", range(6))
def test_any_mixture_makes_the_decisions_of_pushing_all(export, host, seed):
    d, samples = read_export(export), sound(seed, 40_000)
    expected = whole(d, host, samples)
    assert len(expected) == 1 + (len(samples) - d.window) // d.hop
    budgets = [(1, 1000), (-(2**31), 0, 50_000), (20_000, 300_000), (EVERYTHING,), (1, 10_000, EVERYTHING), (0,)][seed]
    assert mixed(d, host, samples, np.random.default_rng(seed), budgets) == expected


def test_so_it_is_with_a_gate_and_short_hops(tmp_path):
    """Windows below the gate have no network to compute, and must wait for those before them."""
    d = device_model(fitted(pooling="probability", hop_s=0.2, gate_dbfs=-40.0), pool_windows=4)
    chip = HostChip(build_host(export_sources(write_export(d, tmp_path / "c")), tmp_path / "x.so"))
    for seed in range(4):
        samples = sound(10 + seed, 48_000)
        expected = whole(d, chip, samples)
        assert len({answer[3] for answer in expected}) > 1
        assert mixed(d, chip, samples, np.random.default_rng(seed), (1, 5000, 1_000_000)) == expected


def test_so_it_is_on_the_emulated_chip(export, tmp_path):
    d, samples = read_export(export), sound(20, 30_000)
    chip = EmulatedChip(build_chip(export_sources(export), tmp_path / "x.elf"))
    expected = whole(d, chip, samples)
    assert mixed(d, chip, samples, np.random.default_rng(20), (20_000, 300_000)) == expected


def late(chip):
    return chip.call("harness_n_late")


def test_windows_that_end_before_the_one_before_is_done_are_late(export, host):
    d, samples = read_export(export), sound(1, 40_000)
    expected = whole(d, host, samples)
    assert late(host) == 0
    started(host)
    assert feed(host, samples) == len(expected) - 1
    assert late(host) == len(expected) - 1
    assert answers(d, host) == expected[:-1]
    assert host.call("harness_step", EVERYTHING, 1) == 1  # the decision is a slice of its own
    assert host.call("harness_step", EVERYTHING, 1) == 0
    assert answers(d, host) == expected
    started(host)
    for place in range(0, len(samples), 160):
        assert feed(host, samples[place : place + 160]) == 0
        host.call("harness_step", d.work // 40, 1)  # 50 times in a hop of 8000 samples, a quarter more than 40
    assert late(host) == 0
    while host.call("harness_step", EVERYTHING, 1):
        pass
    assert answers(d, host) == expected


def test_a_frame_is_computed_beside_the_networks_tensors(export):
    d = read_export(export)
    for index, offset in d.plan.offsets.items():
        assert offset + d.network.tensors[index].size <= d.frame_offset
    assert d.arena_bytes >= d.frame_offset


# --- calls that are refused, and the last decision ------------------------------------------------------


def test_calls_out_of_place_are_refused_and_change_nothing(export, tmp_path):
    codes = dict(zip(("ARENA", "NULL", "STATE", "INIT", "BUSY"), range(-1, -6, -1), strict=True))
    found = run_c(export, tmp_path, REFUSED, *CHECKED)
    names = [name.partition("=")[::2] for name in found]
    assert len(names) > 20
    assert [(name, int(code)) for name, code in names] == [(name, codes.get(name, 0)) for name, _ in names]


REFUSED = """
#include <stdio.h>
#include <stdlib.h>
#include "l3clf.h"

static int16_t samples[L3CLF_WINDOW];
static l3clf_state *state, *other;
static int n_calls;

#define IS(name, call) printf(#name "=%d\\n", call)

static void on_decision(void *user, const l3clf_decision *decision)
{
    l3clf_decision last;
    n_calls++;
    IS(BUSY, l3clf_push(user, samples, 1));
    IS(BUSY, l3clf_feed(user, samples, 1));
    IS(BUSY, l3clf_step(user, 1));
    IS(OK, l3clf_last(user, &last) - 1);
    IS(OK, last.window == decision->window && last.probabilities == NULL ? 0 : 1);
    IS(OK, l3clf_reset(user));
    IS(OK, l3clf_last(user, &last));
    IS(OK, (int)last.window);
}

int main(void)
{
    l3clf_decision last;
    state = calloc(1, sizeof *state);
    other = malloc(sizeof *other);
    for (size_t i = 0; i < sizeof *other; i++) ((unsigned char *)other)[i] = (unsigned char)(7 * i + 1);
    void *arena = malloc(L3CLF_ARENA_BYTES);
    IS(INIT, l3clf_push(state, samples, 1));
    IS(INIT, l3clf_feed(other, samples, 1));
    IS(INIT, l3clf_step(state, 1));
    IS(INIT, l3clf_pending(state));
    IS(INIT, l3clf_reset(other));
    IS(INIT, l3clf_last(state, &last));
    IS(NULL, l3clf_init(NULL, arena, L3CLF_ARENA_BYTES, NULL, NULL));
    IS(NULL, l3clf_init(state, NULL, L3CLF_ARENA_BYTES, NULL, NULL));
    IS(ARENA, l3clf_init(state, arena, L3CLF_ARENA_BYTES - 1, NULL, NULL));
    IS(ARENA, l3clf_init(state, (char *)arena + 4, L3CLF_ARENA_BYTES, NULL, NULL));
    IS(STATE, l3clf_init_sized(state, sizeof *state - 8, L3CLF_POOL_WINDOWS, arena, L3CLF_ARENA_BYTES, NULL, NULL));
    IS(STATE, l3clf_init_sized(state, sizeof *state, L3CLF_POOL_WINDOWS + 1, arena, L3CLF_ARENA_BYTES, NULL, NULL));
    IS(INIT, l3clf_push(state, samples, 1));
    IS(OK, l3clf_init(state, arena, L3CLF_ARENA_BYTES, on_decision, state));
    IS(NULL, l3clf_push(NULL, samples, 1));
    IS(NULL, l3clf_feed(state, NULL, 1));
    IS(NULL, l3clf_step(NULL, 1));
    IS(NULL, l3clf_pending(NULL));
    IS(NULL, l3clf_reset(NULL));
    IS(NULL, l3clf_last(state, NULL));
    IS(NULL, l3clf_last(NULL, &last));
    IS(OK, l3clf_feed(state, NULL, 0));
    IS(OK, l3clf_last(state, &last));
    IS(OK, l3clf_push(state, samples, L3CLF_WINDOW) - 1);
    IS(OK, l3clf_pending(state));
    /* The callback has reset the state: a whole window is missing again. */
    IS(OK, l3clf_push(state, samples, L3CLF_WINDOW - 1));
    IS(OK, l3clf_feed(state, samples, 1));
    IS(OK, l3clf_pending(state) - 1);
    while (l3clf_step(state, 100000) == 0) {}
    /* And so it is if it does where a window is late; the one that ends then is of the sound before. */
    IS(OK, l3clf_feed(state, samples, L3CLF_WINDOW));
    IS(OK, l3clf_feed(state, samples, L3CLF_WINDOW_HOP) - 1);
    IS(OK, l3clf_pending(state));
    IS(OK, l3clf_push(state, samples, L3CLF_WINDOW) - 1);
    IS(OK, n_calls - 4);
    free(arena);
    free(state);
    free(other);
    return 0;
}
"""


def test_an_application_with_another_number_of_windows_is_refused(export, tmp_path):
    """The library is compiled with the export's, and writes no byte into a state that is too small."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    objects = []
    for source in export.glob("l3clf*.c"):
        objects.append(str(tmp_path / f"{source.stem}.o"))
        subprocess.run([compiler, "-fsanitize=address", "-c", source, "-o", objects[-1]], check=True)
    (tmp_path / "app.c").write_text(APPLICATION)
    for windows, code in ((2, -3), (3, 0), (4, -3)):
        flags = ["-fsanitize=address", f"-DL3CLF_POOL_WINDOWS={windows}", f"-I{export}"]
        subprocess.run([compiler, *flags, tmp_path / "app.c", *objects, "-lm", "-o", tmp_path / "app"], check=True)
        done = subprocess.run([tmp_path / "app"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr, int(done.stdout)) == (0, "", code)
    none = [compiler, "-DL3CLF_POOL_WINDOWS=0", f"-I{export}", "-fsyntax-only", tmp_path / "app.c"]
    refused = subprocess.run(none, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "L3CLF_POOL_WINDOWS has to be 1 or more" in refused.stderr


APPLICATION = """
#include <stdio.h>
#include <stdlib.h>
#include "l3clf.h"

int main(void)
{
    l3clf_state *state = malloc(sizeof *state);
    void *arena = malloc(L3CLF_ARENA_BYTES);
    printf("%d", l3clf_init(state, arena, L3CLF_ARENA_BYTES, NULL, NULL));
    free(arena);
    free(state);
    return 0;
}
"""


def test_the_last_decision_is_never_read_half_changed(export, tmp_path):
    """Another thread reads while decisions are made as fast as can be; each has one number in all its members."""
    torn, seen = map(int, run_c(export, tmp_path, TORN, "-O2", "-pthread", without="l3clf.c"))
    assert torn == 0
    assert seen > 100


TORN = """
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include "l3clf.c"

static l3clf_state state;
static uint64_t arena[L3CLF_ARENA_BYTES / 8];
static volatile int done;

static void *writer(void *unused)
{
    (void)unused;
    for (uint32_t i = 1; !done; i++) {
        l3clf_decision one = {0};
        one.class_id = (int32_t)(i % 1000000U);
        one.probability = one.unknown_score = (float)(i % 1000000U);
        one.n_windows = one.window = i;
        publish(&state, &one);
    }
    return NULL;
}

int main(void)
{
    pthread_t thread;
    struct timespec start, now;
    uint32_t torn = 0, seen = 0, before = 0;
    if (l3clf_init(&state, arena, sizeof arena, NULL, NULL) != 0) return 1;
    pthread_create(&thread, NULL, writer, NULL);
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (int i = 0; i < 1000; i++) {
            l3clf_decision last;
            l3clf_last(&state, &last);
            const uint32_t n = last.window % 1000000U;
            if (last.window == 0) continue;
            torn += last.n_windows != last.window || last.class_id != (int32_t)n || last.probability != (float)n ||
                    last.unknown_score != (float)n;
            seen += last.window != before;
            before = last.window;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - start.tv_sec < (seen < 1000 ? 20 : 2));
    done = 1;
    pthread_join(thread, NULL);
    printf("%u %u", torn, seen);
    return 0;
}
"""
