"""Events on the chip: those of Python, to the last one and the last bit, whatever is decided."""

from functools import cache

import numpy as np
import pytest
from helpers.c_programs import CHECKED, run_c
from helpers.device_models import RATE, fitted, fitted_tagger, mutated, sounds
from helpers.sound_files import noise

import l3clf
from l3clf.device.board import outcome
from l3clf.device.chips import EmulatedChip, HostChip
from l3clf.device.constants import altered_runtime
from l3clf.device.decisions import record
from l3clf.device.device_events import check_events, check_made_up, events_of_build, expected_events, made_up
from l3clf.device.exporter import read_export, write_export
from l3clf.device.model import device_model
from l3clf.device.signals import Signals
from l3clf.device.toolchain import build_chip, build_host, export_sources, self_test_sources
from l3clf.device.verification import Ledger

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


def with_a_background():
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    unknown = l3clf.Unknown(background=None, weight=1 / 7)
    model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, unknown=unknown, hop_s=0.2)
    clips, labels = sounds()
    return model.fit([*clips, *(noise(2 * RATE, k, 0.02) for k in range(6))], [*labels, *["background"] * 6])


@cache
def model_of(kind):
    if kind == "tags":
        return device_model(fitted_tagger())
    if kind == "background":
        return device_model(with_a_background(), unknown_threshold=(0.3, 0.6, 0.9))
    return device_model(fitted(), unknown_threshold=0.55)


@pytest.fixture(scope="module", params=["classes", "tags", "background"])
def built(request, tmp_path_factory):
    out = write_export(model_of(request.param), tmp_path_factory.mktemp(request.param) / "c")
    return read_export(out), out, HostChip(build_host(export_sources(out, ["L3CLF_TRACE"]), out.parent / "x.so"))


def test_whatever_is_decided_the_events_are_pythons(built):
    d, _, chip = built
    chip.call("harness_start")
    n = [check_made_up(d, chip, np.random.default_rng(seed)) for seed in range(30)]
    assert min(made for made, _ in n) > 50
    assert [differ for _, differ in n] == [0] * 30


def test_so_they_are_on_the_emulated_chip(built, tmp_path):
    d, out, host = built
    chip = EmulatedChip(build_chip(export_sources(out, ["L3CLF_TRACE"]), tmp_path / "x.elf"))
    made = made_up(d, np.random.default_rng(100))
    for each in (chip, host):
        each.call("harness_start")
        record(d, each, made)
        assert check_events(d, each, made)[1] == 0
    np.testing.assert_array_equal(events_of_build(chip), events_of_build(host))


def test_events_of_many_rules_are_pythons(built):
    d, _, chip = built
    chip.call("harness_start")
    rng = np.random.default_rng(7)
    made = made_up(d, rng)
    record(d, chip, made)
    lengths = set()
    for _ in range(60):
        enter, *durations = rng.uniform(0.01, 1), *rng.choice([0, 0.1, 0.2, 0.51, 1, 2.3, 30, 1e9], 3)
        leave = rng.choice([None, 0.5 * enter, 0.9 * enter, enter])
        rules = l3clf.EventRules(enter, leave, 0, *durations)
        expected = expected_events(d, made, rules)
        found = events_of_build(chip, rules)
        assert [tuple(row) for row in found[["label", "begins", "score", "first", "last"]].tolist()] == [
            (event.label, event.begins, event.score, event.first, event.last) for event in expected
        ]
        lengths.add(len(found))
    assert len(lengths) > 20


def test_the_rules_are_those_of_the_model_unless_others_are_named(tmp_path):
    model = fitted()
    model.event_rules_ = l3clf.EventRules(0.7, 0.3, 1.5, 1.0, 1.5, refractory_s=10.25)
    out = l3clf.device.export(model, tmp_path / "c")
    header = (out / "l3clf_model.h").read_text()
    for line in ("ENTER 0.699999988079071F", "LEAVE 0.30000001192092896F", "MIN_DURATION_MS 1000U", "MIN_GAP_MS 1500U"):
        assert f"#define L3CLF_EVENT_{line}\n" in header
    assert "#define L3CLF_EVENT_REFRACTORY_MS 10250U\n" in header
    assert read_export(out).event_rules.get_params() == model.event_rules_.get_params()
    assert (
        "#define L3CLF_EVENT_LEAVE 0.0F\n"
        in (l3clf.device.export(fitted_tagger(), tmp_path / "d") / "l3clf_model.h").read_text()
    )


@pytest.mark.parametrize("line", range(4))
def test_code_that_makes_other_events_is_found(line, export, tmp_path):
    wrong = mutated(export, tmp_path / "c", "l3clf_events.c", *list(WRONG.items())[line])
    sources = [*export_sources(wrong, ["L3CLF_TRACE"]), *self_test_sources(wrong)]
    chip = HostChip(build_host(sources, tmp_path / "x.so"))
    chip.call("harness_start")
    assert check_made_up(read_export(export), chip, np.random.default_rng(0))[1] > 0
    assert outcome(chip.call("l3clf_selftest")) == "events differ"
    assert altered_runtime(wrong) == ["l3clf_events.c"]


def test_an_event_that_differs_is_no_proof():
    right = {"n_features": 1, "n_values": 1, "n_pooled": 1, "n_events": 9}
    assert (Ledger("host", **right).passed, Ledger("host", **right, events_differ=1).passed) == (True, False)
    counts = dict.fromkeys(("n_levels", "n_values", "n_vectors", "n_decisions", "n_events"), 1)
    assert Signals(**counts).passed
    assert not Signals(**counts, events_wrong=1).passed
    assert not Signals(**counts | {"n_events": 0}).passed


WRONG = {
    "since > e->refractory": "since >= e->refractory",
    "since >= e->min_gap": "since > e->min_gap",
    "track->on && score >= leave": "score >= leave",
    "e->window - track->first < e->min_duration": "e->window - track->first <= e->min_duration",
}


def test_calls_out_of_place_are_refused_and_times_are_those_of_the_sound(export, tmp_path):
    found = run_c(export, tmp_path, PROGRAM, *CHECKED)
    assert found[:10] == ["-2"] * 3 + ["-4"] * 2 + ["-6"] * 4 + ["0"]
    # Windows of 975 ms, every half second: the second one stands for 737.5 ms to 1237.5 ms.
    assert found[10:] == [
        *("-2", "-2", "0", "busy:-5", "begins:2:2:737:1237", "1", "0", "0", "busy:-5", "ends:2:3:737:1737", "1"),
        *("0", "0", "0", "busy:-5", "begins:4294967295:4294967295:2147483647237:2147483647737", "1"),
        *("0", "busy:-5", "ends:4294967295:0:2147483647237:2147483648237", "1"),
        *("busy:-5", "begins:1:1:237:737", "1", "busy:-5", "ends:1:1:237:737", "1", "0"),
    ]


PROGRAM = """
#include <stdio.h>
#include "l3clf_events.h"

static l3clf_events events;
static float scores[L3CLF_N_CLASSES];

static void on_event(void *user, const l3clf_event *event)
{
    l3clf_decision none = {0};
    none.probabilities = scores;
    printf("busy:%d\\n%s:%lu:%lu:%llu:%llu\\n", l3clf_events_feed(&events, &none), event->begins ? "begins" : "ends",
           (unsigned long)event->first, (unsigned long)event->last, (unsigned long long)event->start_ms,
           (unsigned long long)event->end_ms);
    (void)user;
}

static void feed(uint32_t window, float score)
{
    l3clf_decision decision = {0};
    scores[1] = score;
    decision.window = window;
    decision.n_windows = 1;
    decision.probability = score;
    decision.unknown_score = 1.0F - score;
    decision.probabilities = scores;
    printf("%d\\n", l3clf_events_feed(&events, &decision));
}

int main(void)
{
    l3clf_event_rules rules = {0.5F, 0.0F, 0, 1000, 0};
    l3clf_decision last = {0};
    const volatile float zero = 0.0F;
    printf("%d\\n%d\\n", l3clf_events_init(NULL, &rules, on_event, NULL), l3clf_event_defaults(NULL));
    printf("%d\\n", l3clf_events_feed(NULL, &last));
    feed(1, 1.0F);
    printf("%d\\n", l3clf_events_end(&events));
    const l3clf_event_rules wrong[4] = {{0.0F, 0.0F, 0, 0, 0}, {1.5F, 0, 0, 0, 0}, {0.5F, 0.6F, 0, 0, 0},
                                        {zero / zero, 0, 0, 0, 0}};
    for (int i = 0; i < 4; i++) {
        printf("%d\\n", l3clf_events_init(&events, &wrong[i], on_event, NULL));
    }
    printf("%d\\n", l3clf_events_init(&events, &rules, on_event, NULL));
    printf("%d\\n%d\\n", l3clf_events_feed(&events, NULL), l3clf_events_feed(&events, &last));
    feed(1, 0.4F);
    feed(2, 0.9F);
    feed(3, 0.3F);
    feed(4, 0.2F);
    feed(5, 0.2F);
    feed(6, 0.2F);
    feed(4294967293U, 0.0F);
    feed(4294967294U, 0.0F);
    feed(4294967295U, 0.9F);
    feed(0, 0.9F);
    printf("%d\\n", l3clf_events_end(&events));
    feed(1, 0.5F);
    printf("%d\\n", l3clf_events_end(&events));
    printf("%d\\n", l3clf_events_end(&events));
    return 0;
}
"""
