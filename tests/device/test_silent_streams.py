"""A stream of digital silence on the chip: "unknown" exactly where Python says so."""

import warnings
from functools import cache

import numpy as np
import pytest
from golden import make_model_format_1 as old
from helpers.device_models import RATE, _embedded, fitted, mutated, sounds
from helpers.sound_files import noise, tone

import l3clf
from l3clf.audio.clip import Samples
from l3clf.device import verification
from l3clf.device.chips import HostChip
from l3clf.device.emit_model import model_header
from l3clf.device.exporter import read_export, write_export
from l3clf.device.golden import golden_header
from l3clf.device.model import device_model
from l3clf.device.toolchain import build_host, export_sources
from l3clf.device.verification import decisions

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

SILENT_STEPS = 0.107  # share of samples of one step that makes -100 dBFS, as 20 log10(sqrt(share) / 32768)


def with_silence(**options):
    """A model that learned silence as a class of its own."""
    labels = sounds()[1]
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, **options)
    silent = model.embed([np.zeros(2 * RATE), np.zeros(RATE)])
    return model.fit([*_embedded(model.hop_s, model.center), *silent], [*labels, "silence", "silence"])


def sparse(share, n=2 * RATE):
    """Samples of which a share is one step of 16 bits."""
    samples = np.zeros(n, np.float32)
    samples[:: round(1 / share)] = 1 / 32_768
    return samples


STREAMS = {
    "silence": np.zeros(2 * RATE, np.float32),
    "silence, sound, silence": np.concatenate([np.zeros(RATE), tone(440, 0.5), np.zeros(5 * RATE // 2)]),
    "below the level": sparse(SILENT_STEPS * 0.8),
    "above the level": sparse(SILENT_STEPS * 1.3),
    "from below to above": np.concatenate([sparse(SILENT_STEPS * 0.5), sparse(0.5)]),
    "sound": noise(2 * RATE, 3, 0.1),
}
MODELS = {
    "mean": lambda: device_model(fitted(center=False), pool_windows=3),
    "gate below silence": lambda: device_model(
        fitted(center=False, pooling="probability"), pool_windows=2, gate_dbfs=-150.0
    ),
    "silence learned": lambda: device_model(with_silence(center=False), pool_windows=3),
}


@cache
def built(name, folder):
    d = MODELS[name]()
    out = write_export(d, folder / name.replace(" ", "_") / "c")
    return d, out, HostChip(build_host(export_sources(out, ["L3CLF_TRACE"]), folder / f"{name.replace(' ', '_')}.so"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("silence")


def answers_of(d, chip, samples):
    """Compare a stream with Python; return the names of the decisions of the C code."""
    found = verification.Ledger("host")
    clip = verification.reference(d, Samples(samples, RATE))
    traced = verification._run(d, chip, clip.samples, np.random.default_rng(0))
    exact = verification._compare_numbers(found, d, clip.expected, *traced)
    made = decisions(d, chip)
    verification._compare_decisions(found, d, made, clip.expected, exact)
    assert found.n_decisions == len(made) > 0
    assert (found.values_differ, found.decisions_differ) == (0, 0)
    return [None if one.class_id < 0 else d.class_names[one.class_id] for one in made]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("name", MODELS)
def test_the_c_code_and_python_agree(name, stream, folder):
    d, _, chip = built(name, folder)
    found = answers_of(d, chip, STREAMS[stream])
    if name == "silence learned":
        assert None not in found
        assert stream != "silence" or set(found) == {"silence"}
    elif stream in ("silence", "below the level"):
        assert set(found) == {None}
    elif stream in ("above the level", "sound"):
        assert None not in found
    else:
        assert None in found
        assert found != [None] * len(found)
        assert found[-1] is (None if stream == "silence, sound, silence" else found[-1])


def test_code_that_judges_silence_otherwise_is_found_out(folder, tmp_path):
    d, out, _ = built("mean", folder)
    line = "audible = energy >= L3CLF_SILENT_ENERGY;"
    broken = mutated(out, tmp_path / "c", "l3clf.c", line, "audible = energy >= L3CLF_SILENT_ENERGY / 2;")
    chip = HostChip(build_host(export_sources(broken, ["L3CLF_TRACE"]), tmp_path / "x.so"))
    with pytest.raises(AssertionError):
        answers_of(d, chip, STREAMS["below the level"])


def test_the_self_test_knows_the_decision_about_silence(folder):
    words = "l3clf_golden_silence_class = "
    d, out, _ = built("mean", folder)
    assert f"{words}-1;" in (out / "selftest/l3clf_golden.h").read_text()
    learned, _, _ = built("silence learned", folder)
    assert f"{words}{learned.class_names.index('silence')};" in golden_header(learned)
    assert d.rejects_silence
    assert not learned.rejects_silence


def test_a_gate_above_silence_needs_no_second_level(folder):
    d, _, _ = built("mean", folder)
    gated = device_model(d.classifier, gate_dbfs=-60.0)
    assert "GATE_ENERGY" in model_header(gated)
    assert "SILENT_ENERGY" not in model_header(gated)
    assert "SILENT_ENERGY" in model_header(d)


def test_an_export_remembers_what_its_model_learned(folder):
    for name, learned in (("mean", False), ("silence learned", True)):
        _, out, _ = built(name, folder)
        assert read_export(out).classifier.silence_learned_ is learned


def test_a_model_that_does_not_know_is_exported_as_it_was():
    """As from a file of format 1."""
    model = fitted(center=False)
    model.silence_learned_ = l3clf.load_model(old.TARGET).silence_learned_
    header = model_header(device_model(model, pool_windows=3))
    assert "SILENT_ENERGY" not in header
    assert "OPEN_WINDOWS" not in header


def test_silent_pools_of_a_stream_are_not_worth_a_warning(folder):
    d, _, _ = built("mean", folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verification.reference(d, Samples(STREAMS["silence"], RATE))
