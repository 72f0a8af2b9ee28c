"""Verification: an export that is right passes on every build, and one that is wrong is found out."""

import shutil

import numpy as np
import pytest
from helpers.device_models import RATE, fitted, held_out, mutated, sounds
from helpers.sound_files import noise, tone
from sklearn.ensemble import RandomForestClassifier

import l3clf
from l3clf.audio.clip import Samples
from l3clf.device import verification as module
from l3clf.device.chips import HostChip
from l3clf.device.exporter import read_export, write_export
from l3clf.device.model import device_model
from l3clf.device.toolchain import build_host, export_sources
from l3clf.device.verification import decisions, verify

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


# --- the proof ---------------------------------------------------------------------------------------


@pytest.fixture
def without_cost(monkeypatch):
    """Leave out what `verify` measures beside: instructions and memory, and the board of a second emulator."""
    monkeypatch.setattr(module, "measure_costs", lambda *_: [])
    monkeypatch.setattr(module, "has_board", lambda: False)


HEADS = {
    "mean": {},
    "probability": {"pooling": "probability", "unknown_threshold": 0.6, "hop_s": 0.4},
    "forest, gate": {"head": RandomForestClassifier(20, random_state=0), "gate_dbfs": -40.0, "hop_s": 0.2},
    "gap": {"hop_s": 1.5, "center": False, "unknown_threshold": 0.99},
}


@pytest.mark.parametrize("name", HEADS)
def test_the_c_code_equals_python_on_every_build(name, tmp_path, without_cost):
    d = device_model(fitted(**HEADS[name]))
    out = write_export(d, tmp_path / "c")
    found = verify(out, held_out(tmp_path))
    assert len(found.ledgers) >= 3
    for one in found.ledgers:
        assert one.n_decisions >= one.n_clips == one.clips_agree == 4
        assert one.n_windows >= 1
        assert (one.values_differ, one.decisions_differ) == (0, 0)
        assert one.largest_step == one.features_differ == 0
        assert one.largest_probability < 0.02
        assert one.passed
    assert found.passed


def test_a_wrong_kernel_is_detected(export, tmp_path, without_cost):
    line = "sums[6] = {a, a, a, b, b, b}"
    broken = mutated(export, tmp_path / "c", "l3clf_kernels.c", line, line.replace("b}", "0}"))
    found = verify(broken, held_out(tmp_path)[:1])
    assert not found.passed
    assert all(ledger.values_differ > 1000 for ledger in found.ledgers)


MUTATIONS = {
    "probabilities": (
        "l3clf_head.c",
        "exponential(probabilities[c] - largest)",
        "exponential((probabilities[c] - largest) / 4)",
    ),
    "pool": ("l3clf.c", "s->next_slot = (s->next_slot + 1) % (L3CLF_POOL_WINDOWS);", "s->next_slot = 0;"),
    "count": ("l3clf.c", "n += s->above_gate[slot];", "n += 2U * s->above_gate[slot];"),
    "nan": ("l3clf_head.c", "probabilities[c] /= total;", "probabilities[c] = (total - total) / (total - total);"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_wrong_decisions_are_detected(name, export, tmp_path, without_cost):
    found = verify(mutated(export, tmp_path / "c", *MUTATIONS[name]), held_out(tmp_path)[:1])
    assert not found.passed
    assert all(one.values_differ == 0 and one.decisions_differ > 0 for one in found.ledgers)


def test_levels_one_step_off_everywhere_are_detected(export, tmp_path, without_cost):
    line = "*offset++ - scale, f);"
    other = "*offset++ - scale + 65536, f);"
    broken = mutated(export, tmp_path / "c", "l3clf_frontend.c", line, other)
    assert not verify(broken, held_out(tmp_path)[1:2]).passed


def test_an_export_of_ones_own_student_needs_no_other_file(tmp_path, without_cost):
    mine = tmp_path / "mine.student"
    shutil.copyfile(l3clf.load_embedder("l3mini").path, mine)
    clips, labels = sounds()
    model = l3clf.ClipClassifier(str(mine), sample_rate=RATE, cache=None).fit(clips, labels)
    out = l3clf.device.export(model, tmp_path / "c")
    mine.unlink()
    found = verify(out, held_out(tmp_path)[1:2])
    assert found.passed


# --- the proof, step by step on this machine ----------------------------------------------------------


def host_of(export, folder):
    return HostChip(build_host(export_sources(export, ["L3CLF_TRACE"]), folder / "x.so"))


def compare(found, d, chip, samples, seed=0):
    """Add what a build makes of a sound to the ledger."""
    clip = module.reference(d, Samples(samples, RATE))
    traced = module._run(d, chip, clip.samples, np.random.default_rng(seed))
    exact = module._compare_numbers(found, d, clip.expected, *traced)
    module._compare_decisions(found, d, decisions(d, chip), clip.expected, exact)
    return clip


def test_a_forest_equals_python_at_every_threshold(tmp_path):
    """Thresholds of trees lie on the values themselves: a mean that is rounded differently takes another branch."""
    d = device_model(fitted(head=RandomForestClassifier(50, random_state=0)), pool_windows=5)
    chip = host_of(write_export(d, tmp_path / "c"), tmp_path)
    found = module.Ledger("host")
    for k in range(30):
        compare(found, d, chip, noise(2 * RATE, 500 + k, 0.1) + tone(200 + 7 * k, 2.0, RATE, 0.1), k)
    assert found.n_decisions >= 120
    assert found.embeddings_differ < found.n_windows / 2
    assert found.passed


def test_many_windows_in_one_push_are_traced_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECES", (16_000,))
    d = device_model(fitted().set_params(hop_s=0.02), pool_windows=100)
    chip = host_of(write_export(d, tmp_path / "c"), tmp_path)
    found = module.Ledger("host")
    compare(found, d, chip, noise(RATE, 1, 0.1))
    sizes = [d.network.input.size, *(d.network.tensors[layer.target].size for layer in d.layers)]
    room = int.from_bytes(chip.read(chip.address("harness_max_trace"), 4), "little")
    assert (room // sum(sizes) - 1) * d.hop < 16_000  # so that the pieces above were cut again
    assert found.passed


def test_a_gate_that_everything_passes_is_no_gate(model, tmp_path):
    out = l3clf.device.export(model, tmp_path / "c", gate_dbfs=-200.0)
    assert "GATE_ENERGY" not in (out / "l3clf_model.h").read_text()
    found = module.Ledger("host")
    compare(found, read_export(out), host_of(out, tmp_path), noise(RATE, 1, 1e-4))
    assert found.passed
    assert found.n_windows > 0
