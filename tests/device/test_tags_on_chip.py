"""Taggers on the chip: each tag on its own, on or off as in Python, near every threshold too."""

import shutil
import subprocess

import numpy as np
import pytest
from helpers.device_models import RATE, fitted_tagger, held_out, mutated, tag_sounds
from helpers.sound_files import noise, tone

import l3clf
from l3clf.audio.clip import Samples
from l3clf.classifier.decision import tagged
from l3clf.device import verification as module
from l3clf.device.chips import HostChip, push
from l3clf.device.constants import altered_constants, altered_runtime
from l3clf.device.exporter import read_export, write_export
from l3clf.device.model import device_model
from l3clf.device.runtime_files import RUNTIME, chosen_lines, runtime_files
from l3clf.device.signals import check_signals
from l3clf.device.toolchain import build_host, export_sources
from l3clf.device.verification import decisions, verify
from l3clf.errors import DeviceError, ParameterError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

MODELS = {
    "mean": {},
    "probability": {"pooling": "probability", "gate_dbfs": -60.0, "gate_hysteresis_db": 6.0},
    "one threshold": {"threshold": 0.3, "hop_s": 0.4},
}


@pytest.fixture
def without_cost(monkeypatch):
    monkeypatch.setattr(module, "measure_costs", lambda *_: [])
    monkeypatch.setattr(module, "has_board", lambda: False)


@pytest.fixture(scope="module")
def tagger():
    return fitted_tagger()


@pytest.fixture(scope="module")
def export(tagger, tmp_path_factory):
    return write_export(device_model(tagger, pool_windows=3), tmp_path_factory.mktemp("tags") / "c")


@pytest.fixture(scope="module")
def host(export, tmp_path_factory):
    return HostChip(build_host(export_sources(export, ["L3CLF_TRACE"]), tmp_path_factory.mktemp("host") / "host.so"))


def mixtures():
    """Three seconds of each combination of the three sounds, none of them learned."""
    parts = tone(435, 3.0, amplitude=0.4), noise(3 * RATE, 7, 0.2), np.sign(tone(98, 3.0)) * np.float32(0.3)
    chosen = [[part for place, part in enumerate(parts) if k >> place & 1] for k in range(8)]
    return [sum(some, noise(3 * RATE, 9, 0.003)) for some in chosen]


# --- the proof ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_c_code_equals_python_on_this_machine(name, tmp_path):
    d = device_model(fitted_tagger(**MODELS[name]), pool_windows=3)
    out = write_export(d, tmp_path / "c")
    chip = HostChip(build_host(export_sources(out, ["L3CLF_TRACE"]), tmp_path / "x.so"))
    again = read_export(out)
    np.testing.assert_array_equal(again.thresholds, d.classifier.thresholds_in_force())
    signals = check_signals(again, chip)
    assert signals.passed
    assert signals.n_decisions >= 5 * len(d.class_names)
    ledger, on = module.Ledger("host"), []
    for sound in mixtures():
        reference = module.reference(again, Samples(sound, RATE))
        levels, layers = module._run(again, chip, reference.samples, np.random.default_rng(0))
        exact = module._compare_numbers(ledger, again, reference.expected, levels, layers)
        found = decisions(again, chip)
        module._compare_decisions(ledger, again, found, reference.expected, exact)
        on += [tuple(decision.tags) for decision in found]
    assert ledger.passed
    assert ledger.decisions_agree == ledger.n_decisions
    assert {sum(tags) for tags in on} == {0, 1, 2, 3}  # several at once, and none


def test_the_tags_of_all_windows_are_those_of_the_clip(tmp_path):
    model = fitted_tagger(center=False)
    d = device_model(model, pool_windows=100)
    chip = HostChip(build_host(export_sources(write_export(d, tmp_path / "c")), tmp_path / "x.so"))
    for sound in mixtures():
        exact = np.rint(np.clip(sound, -1, 1 - 2**-15) * 32768).astype(np.int16)
        exact = exact[: len(exact) - (len(exact) - d.window) % d.hop]  # no window at the end that is padded
        chip.call("harness_start")
        push(chip, exact)
        last = decisions(d, chip)[-1]
        clip = [exact.astype(np.float32) / 32768]
        assert last.tags.tolist() == model.predict(clip)[0].tolist()
        np.testing.assert_allclose(last.probabilities, model.predict_proba(clip)[0], atol=0.02)


def test_a_probability_at_its_threshold_is_enough_and_the_one_before_it_is_not(export, host):
    d = read_export(export)
    room = host.room(64)
    for tag, threshold in enumerate(d.thresholds):
        at = np.float32(threshold) if np.float32(threshold) >= threshold else np.nextafter(np.float32(threshold), 1)
        for value, is_on in ((at, 1), (np.nextafter(at, np.float32(0)), 0)):
            rows = np.full(len(d.thresholds), 1e-3, np.float32)
            rows[tag] = value
            host.write(room, rows.tobytes())
            host.call("harness_start")
            host.call("harness_decide", room)
            (made,) = decisions(d, host)
            assert made.tags.tolist() == [is_on if k == tag else 0 for k in range(len(rows))]
            assert made.tags.tolist() == tagged(rows[np.newaxis].astype(float), d.thresholds)[0].tolist()


def test_silence_has_no_tag(export, host):
    d = read_export(export)
    assert host.call("harness_start") == 0
    push(host, np.zeros(3 * RATE, np.int16))
    found = decisions(d, host)
    assert len(found) > 3
    assert all(one.n_windows == 0 and not one.tags.any() and not one.probabilities.any() for one in found)


def test_verify_compares_the_tags_of_every_build(export, tmp_path, without_cost):
    found = verify(export, held_out(tmp_path)[1:2])
    assert found.passed
    assert len(found.ledgers) >= 3
    assert found.self_test == "all checks pass"
    assert found.stream.passed


# --- what is wrong is found ---------------------------------------------------------------------------

MUTATIONS = {
    "sigmoid": ("l3clf_head.c", "1.0F / (1.0F + exponential(-score))", "1.0F / (1.0F + exponential(-score * 1.01F))"),
    "threshold": ("l3clf.c", "rows[tag] >= l3clf_tag_thresholds[tag]", "rows[tag] > l3clf_tag_thresholds[tag]"),
    "one threshold": ("l3clf.c", ">= l3clf_tag_thresholds[tag]", ">= l3clf_tag_thresholds[0]"),
    "silence": ("l3clf.c", "return audible > 0 ? n : 0;", "return n;"),
    "pool": ("l3clf.c", "s->next_slot = (s->next_slot + 1) % (L3CLF_POOL_WINDOWS);", "s->next_slot = 0;"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_wrong_tags_are_detected(name, export, tmp_path):
    wrong = mutated(export, tmp_path / "c", *MUTATIONS[name])
    d = read_export(wrong)
    chip = HostChip(build_host(export_sources(wrong, ["L3CLF_TRACE"]), tmp_path / "x.so"))
    sound = np.concatenate([mixtures()[7], np.zeros(4 * RATE, np.float32)])
    ledger = module._compare("host", d, chip, [module.reference(d, Samples(sound, RATE))])
    assert not (ledger.passed and check_signals(d, chip).passed)


@pytest.mark.parametrize("array", ["head_weights", "head_intercept", "l3clf_tag_thresholds"])
def test_a_changed_number_is_named(array, export, tmp_path):
    shutil.copytree(export, tmp_path / "c")
    path = tmp_path / "c" / "l3clf_model.c"
    start, rest = path.read_text().split(f" {array}[", 1)
    first = rest.index("0x")
    path.write_text(f"{start} {array}[{rest[:first]}0x1.8p-1F,{rest[rest.index(',', first) + 1 :]}")
    d = read_export(tmp_path / "c")
    assert altered_constants(d, tmp_path / "c") == [f"l3clf_model.c: {array}"]
    assert altered_constants(d, export) == []


def test_changed_golden_tags_are_named(export, tmp_path):
    line = "l3clf_golden_tags[3] = {\n    "
    old = (export / "selftest/l3clf_golden.h").read_text().split(line)[1][0]
    wrong = mutated(export, tmp_path / "c", "selftest/l3clf_golden.h", line + old, line + str(1 - int(old)))
    assert altered_constants(read_export(wrong), wrong) == ["selftest/l3clf_golden.h: l3clf_golden_tags"]


# --- the export --------------------------------------------------------------------------------------


def test_the_export_compiles_without_warnings_tests_itself_and_prints_tags(export, tmp_path):
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("no gcc or make")
    out = tmp_path / "c"
    shutil.copytree(export, out)
    done = subprocess.run(["make", "-s", "all", "test"], cwd=out, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == "all checks pass"
    pcm = (np.clip(mixtures()[3], -1, 1) * 32767).astype("<i2").tobytes()
    done = subprocess.run([out / "l3clf_example"], input=pcm, capture_output=True, check=True)
    first, *lines = done.stdout.decode().splitlines()
    assert "3 tags, sigmoid head" in first
    assert lines
    assert all(" noise (0." in line and " tone (0." in line and "buzz" not in line for line in lines)


def test_an_export_has_the_code_of_its_kind_alone(export):
    header = (export / "l3clf.h").read_text()
    assert "uint8_t tags[L3CLF_N_TAGS]" in header
    for word in ("class_id", "unknown_score", "L3CLF_UNKNOWN", "#ifdef L3CLF_TAGS"):
        assert not any(word in path.read_text() for path in export.glob("*.[ch]")), word
    assert "l3clf_tag_names" in (export / "README.md").read_text()
    for path in (path for path in RUNTIME.rglob("*") if path.is_file()):
        source = path.read_text()
        for tags in (False, True):
            text = runtime_files(tags)[path.relative_to(RUNTIME).as_posix()].decode()
            assert "L3CLF_TAGS" not in text
            lines = {line.removeprefix("L3CLF_CODE_SECTION ") for line in text.splitlines()}
            assert lines - {"/* SPDX-License-Identifier: MIT */"} <= set(source.splitlines())
    assert "tag" not in runtime_files(False)["l3clf.h"].decode().lower().replace("stage", "")
    assert altered_runtime(export, tags=True) == []


def test_lines_of_either_kind_are_chosen_whatever_is_in_them():
    text = "a\n#ifndef L3CLF_TAGS\nb\n#ifdef X\nc\n#else\nd\n#endif\n#else\ne\n#endif\n#ifdef Y\nf\n#else\ng\n#endif\n"
    rest = "#ifdef Y\nf\n#else\ng\n#endif\n"
    assert chosen_lines(text, tags=False) == "a\nb\n#ifdef X\nc\n#else\nd\n#endif\n" + rest
    assert chosen_lines(text, tags=True) == "a\ne\n" + rest


# --- what cannot be exported -------------------------------------------------------------------------


def test_what_the_runtime_has_not_is_refused_by_name(tagger):
    with pytest.raises(DeviceError, match=r"a tagger with a forest, .* fit with head='logistic'"):
        device_model(fitted_tagger(head="forest", threshold=0.5))
    with pytest.raises(DeviceError, match=r"pooling='max': needs all windows of a clip"):
        device_model(fitted_tagger(pooling="max"))
    with pytest.raises(ParameterError, match=r"unknown_threshold=0.5: the model is a tagger, .* leave it out"):
        device_model(tagger, unknown_threshold=0.5)
    other = l3clf.ClipTagger("mfcc", sample_rate=RATE, cache=None, threshold=0.5)
    with pytest.raises(DeviceError, match="its embedder 'mfcc' does not run on a chip"):
        device_model(other.fit(*tag_sounds()))
