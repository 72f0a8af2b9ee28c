"""The generated C code: levels, heads and gates equal Python's."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.device_models import fitted, sounds
from helpers.sound_files import tone
from sklearn.ensemble import RandomForestClassifier

from l3clf.audio.spectrogram import absolute_level_db
from l3clf.device.chips import EmulatedChip, HostChip
from l3clf.device.emit_frontend import POWER_UNIT, frontend_source, thresholds
from l3clf.device.emit_head import rounded_down
from l3clf.device.emit_model import gate_energy
from l3clf.device.exporter import read_export, write_export
from l3clf.device.model import device_model
from l3clf.device.toolchain import build_chip, build_host, export_sources
from l3clf.embedders.fixed_frontend import fixed_levels
from l3clf.embedders.frontend import quantise_levels, student_spec
from l3clf.errors import DeviceError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


# --- front-end ---------------------------------------------------------------------------------------


def test_thresholds_are_where_levels_change_in_python():
    steps = thresholds()
    below = np.nextafter(steps, np.float32(0))

    def level(powers):
        return quantise_levels(absolute_level_db(powers / POWER_UNIT))

    np.testing.assert_array_equal(level(steps), np.arange(-127, 128))
    np.testing.assert_array_equal(level(below), np.arange(-128, 127))


@pytest.mark.parametrize("amplitude", [0.0, 1e-4, 0.01, 1.0])
def test_levels_equal_python(export, host, amplitude):
    d = read_export(export)
    rng = np.random.default_rng(5)
    window = np.clip(amplitude * (tone(1234.5, 1.0)[: d.window] + 0.1 * rng.normal(size=d.window)), -1, 1)
    pcm = np.rint(window * 32767).astype(np.int16)
    expected = fixed_levels(pcm[np.newaxis], d.spec.n_frames)[0]
    room = host.room(8192)
    found = []
    for frame in range(d.spec.n_frames):
        host.write(room, pcm[frame * d.spec.hop :][: d.spec.frame].tobytes())
        host.call("l3clf_frame", room, room + 2048, room + 4096)
        found.append(np.frombuffer(host.read(room + 2048, d.spec.n_bands), np.int8))
    np.testing.assert_array_equal(np.stack(found), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"n_fft": 1024},
        {"hann": "symmetric"},
        {"pre_emphasis": 0.97},
        {"edges": "reflected"},
        {"lead": 256},
        {"level": "ln"},
        {"power": 1},
        {"frame": 500},
    ],
    ids=str,
)
def test_other_front_ends_are_refused(change):
    with pytest.raises(DeviceError, match="not supported by the C front-end; use frames of"):
        frontend_source(replace(student_spec(0.5), **change))


# --- heads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "two classes", "forest"])
@pytest.mark.parametrize("where", ["host", "chip"])
def test_heads_equal_scikit_learn(kind, where, tmp_path):
    rng = np.random.default_rng(2)
    labels = sounds()[1]
    head = RandomForestClassifier(60, random_state=0) if kind == "forest" else "logistic"
    if kind == "two classes":
        labels = ["a" if label == "tone" else "b" for label in labels]
    model = fitted(labels, head=head)
    size = model.embedder.embedding_size
    model.head_.fit(rng.normal(0, 3, (300, size)).astype(np.float32), rng.choice(np.unique(labels), 300))
    sources = export_sources(write_export(device_model(model), tmp_path / "c"))
    make = {"host": lambda: HostChip(build_host(sources, tmp_path / "x.so"))}
    make["chip"] = lambda: EmulatedChip(build_chip(sources, tmp_path / "x.elf"))
    chip = make[where]()
    x = rng.normal(0, 3, (10_000 if where == "host" else 500, size)).astype(np.float32)
    expected = model.head_.predict_proba(x)
    room, found = chip.room(4096), np.empty(expected.shape, np.float32)
    for row, vector in enumerate(x):
        chip.write(room, vector.tobytes())
        chip.call("harness_head", room, room + 2048)
        found[row] = np.frombuffer(chip.read(room + 2048, 4 * expected.shape[1]), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > 1e-5
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])


def test_thresholds_of_trees_are_rounded_down():
    values = np.array([0.1, -0.1, 1 / 3, 1e-60, -1e-60, 2.0])
    found = rounded_down(values)
    assert found.dtype == np.float32
    assert (found <= values).all()
    assert (np.nextafter(found, np.float32(np.inf)) > values).all()


@pytest.mark.parametrize("gate", [-60.0, -20.0, 0.0])
def test_the_gates_energy_is_that_of_its_level_in_python(gate):
    from l3clf.audio.framing import level_dbfs

    energy = gate_energy(gate, 15_600)
    reached = [level_dbfs(np.full((1, 1), np.sqrt(e / 15_600) / 32768)) >= gate for e in (energy - 1, energy)]
    assert reached == [False, True]
