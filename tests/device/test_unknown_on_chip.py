"""What was never learned, on the chip: background, thresholds and a gate with hysteresis reject what Python rejects."""

from functools import cache

import numpy as np
import pytest
from helpers.device_models import RATE, _embedded, sounds
from helpers.sound_files import noise, tone
from sklearn.ensemble import RandomForestClassifier

import l3clf
from l3clf.audio.clip import Samples
from l3clf.device import verification
from l3clf.device.chips import EmulatedChip, HostChip, push
from l3clf.device.emit_model import model_header
from l3clf.device.exporter import read_export, write_export
from l3clf.device.model import device_model
from l3clf.device.toolchain import build_chip, build_host, export_sources
from l3clf.device.verification import decisions
from l3clf.errors import L3clfError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

THRESHOLDS = (0.5, 0.75, 0.6)
HEADS = {
    "mean": {},
    "probability": {"pooling": "probability"},
    "forest": {"head": RandomForestClassifier(20, max_depth=4, random_state=0)},
}


def sweep(k, n=2 * RATE):
    return (0.2 * np.sin(k * np.linspace(0, 60, n) ** 2)).astype(np.float32)


@cache
def fitted(kind):
    """A model with a background of sweeps, a gate with hysteresis, and a learned threshold."""
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    model = l3clf.ClipClassifier(
        embedder,
        sample_rate=RATE,
        cache=None,
        center=False,
        gate_dbfs=-30.0,
        gate_hysteresis_db=12.0,
        unknown=l3clf.Unknown(background=None, weight=1 / 7),
        **HEADS[kind],
    )
    background = model.embed([sweep(k) for k in range(1, 7)])
    return model.fit([*_embedded(0.5, False), *background], [*sounds()[1], *["background"] * 6])


@cache
def built(kind, folder, thresholds=THRESHOLDS):
    d = device_model(fitted(kind), 3, thresholds)
    out = write_export(d, folder / kind.replace(", ", "_") / "c")
    return d, out, HostChip(build_host(export_sources(out, ["L3CLF_TRACE"]), out.parent / "host.so"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("unknown")


def compared(d, chip, samples):
    """Run a sound through a build; return what was compared with Python, and both decisions of each window."""
    reference = verification.reference(d, Samples(samples, RATE))
    ledger = verification._compare("build", d, chip, [reference])
    return ledger, [one.class_id for one in decisions(d, chip)], reference.expected


def stream():
    """Sounds that were learned and sounds that were not, loud, fading, and too quiet."""
    fade = 10 ** np.linspace(0, -2.5, 4 * RATE, dtype=np.float32)
    parts = [tone(400, 2.0, amplitude=0.4), sweep(8), noise(4 * RATE, 5, 0.2) * fade, noise(2 * RATE, 6, 0.01)]
    return np.concatenate([*parts, np.zeros(2 * RATE, np.float32), tone(2100, 2.0, amplitude=0.3)])


@pytest.mark.parametrize("kind", HEADS)
def test_the_c_code_rejects_what_python_rejects(kind, folder):
    d, _, chip = built(kind, folder)
    assert d.has_background
    ledger, found, expected = compared(d, chip, stream())
    assert ledger.passed
    assert ledger.decisions_differ == 0
    assert found == expected.class_ids.tolist()
    assert len(set(found)) > 2
    assert -1 in found
    levels = expected.levels_dbfs
    kept_open = (levels < -30) & expected.above_gate
    assert kept_open.any()
    assert ((levels >= -42) & ~expected.above_gate).any()  # as loud, but the gate was closed


def test_what_python_says_of_windows_is_what_the_classifier_says_of_clips(folder):
    """The reference of a whole stream, shorter than a pool, is `predict_proba` and `unknown_score` of a clip."""
    d = device_model(fitted("mean"), 100)
    clip = stream()
    expected = verification.reference(d, Samples(clip, RATE)).expected
    model = d.classifier
    cut = np.rint(np.clip(clip, -1, 1 - 2**-15) * 32768).astype(np.float32) / 32768
    np.testing.assert_allclose(expected.probabilities[-1], model.predict_proba([cut])[0], atol=1e-5)
    np.testing.assert_allclose(expected.unknown_scores[-1], model.unknown_score([cut])[0], atol=1e-5)
    assert d.unknown_threshold == model.unknown_threshold_


def test_a_reset_closes_the_gate(folder):
    d, _, chip = built("mean", folder)
    loud, faint = (np.rint(32767 * noise(d.window, 3, level)).astype(np.int16) for level in (0.2, 0.015))
    closed, opened = [], []
    for before, kept in ((None, closed), (loud, opened)):
        chip.call("harness_start")
        if before is not None:
            push(chip, before)
        push(chip, faint)
        push(chip, faint)
        kept += [one.n_windows for one in decisions(d, chip)]
    assert closed[-1] == 0
    assert opened[-1] == 3
    chip.call("harness_start")
    push(chip, loud)
    chip.call("harness_reset")
    push(chip, faint)
    assert [one.n_windows for one in decisions(d, chip)] == [1, 0]


def test_a_background_is_in_the_score_but_in_no_probability(folder):
    d, _, chip = built("mean", folder)
    chip.call("harness_start")
    push(chip, np.rint(32767 * sweep(3)).astype(np.int16))
    last = decisions(d, chip)[-1]
    assert last.class_id == -1
    assert last.unknown_score > 0.5
    assert sum(last.probabilities) == pytest.approx(1, abs=1e-6)
    assert last.probability == max(last.probabilities)


def test_what_a_model_does_not_have_is_not_in_its_header(model, folder):
    plain, d = model_header(device_model(model)), built("mean", folder)[0]
    for name in ("L3CLF_BACKGROUND", "L3CLF_GATE_CLOSE_ENERGY", "L3CLF_CLASS_THRESHOLDS", "l3clf_class_thresholds"):
        assert name in model_header(d)
        assert name not in plain
    assert "L3CLF_UNKNOWN_THRESHOLD" in plain
    assert "L3CLF_UNKNOWN_THRESHOLD" not in model_header(d)


def test_thresholds_and_hysteresis_are_read_back(folder):
    d, out, _ = built("mean", folder)
    again = read_export(out)
    assert again.unknown_threshold == d.unknown_threshold == THRESHOLDS
    assert (again.gate_dbfs, again.gate_hysteresis_db) == (-30.0, 12.0)
    assert again.has_background


def test_exports_of_before_had_no_hysteresis(export, tmp_path):
    import json
    import shutil

    shutil.copytree(export, tmp_path / "c")
    place = tmp_path / "c" / "export.json"
    settings = json.loads(place.read_text())
    del settings["gate_hysteresis_db"]
    place.write_text(json.dumps(settings))
    assert read_export(tmp_path / "c").gate_hysteresis_db == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unknown_threshold": [0.5, 0.5]}, "unknown_threshold: 2 numbers; expected one, or one for each of 3 classes"),
        ({"unknown_threshold": [0.5, 0.5, 2]}, "unknown_threshold=2; expected a number from 0 to 1 for each class"),
        ({"gate_hysteresis_db": -1}, "gate_hysteresis_db=-1; expected a number from 0 to 100"),
        ({"gate_dbfs": "auto"}, "gate_dbfs='auto': only fit learns it"),
    ],
)
def test_impossible_numbers_are_refused(options, words, model):
    with pytest.raises(L3clfError, match=words):
        device_model(model, **options)


# --- real sounds --------------------------------------------------------------------------------------

CLASSES, OTHERS = ("dog_bark", "rain", "baby_cry", "clock_tick"), ("rooster", "sea_waves", "helicopter")


@pytest.fixture(scope="module")
def esc10(shared, tmp_path_factory):
    """A model of four classes with three others as background, its export with everything, and unseen clips."""
    table = l3clf.datasets.load(shared / "data" / "esc10")
    clips = np.array(table.clips, object)
    labels, folds = np.array(table.labels), np.array(table.folds).astype(int)
    known, other = np.isin(labels, CLASSES), np.isin(labels, OTHERS)
    learn = (folds == 1) & (known | other)
    model = l3clf.ClipClassifier("l3mini", cache=None, unknown=l3clf.Unknown(background=None))
    model.fit(clips[learn].tolist(), np.where(known, labels, "background")[learn].tolist())
    thresholds = tuple(np.linspace(0.5, 0.8, len(CLASSES)))
    d = device_model(model, 4, thresholds, gate_dbfs=-35.0, gate_hysteresis_db=6.0)
    out = write_export(d, tmp_path_factory.mktemp("esc10") / "c")
    return d, out, clips[folds == 5][::5].tolist()


def rejected(d, chip, clip):
    """The classes of a clip's windows that a build decides, and those that Python decides."""
    reference = verification.reference(d, clip)
    assert chip.call("harness_start") == 0
    push(chip, reference.samples)
    return [one.class_id for one in decisions(d, chip)], reference.expected.class_ids.tolist()


def test_real_sounds_are_rejected_by_the_c_code_where_python_rejects_them(esc10):
    d, out, clips = esc10
    chip = HostChip(build_host(export_sources(out), out.parent / "host.so"))
    found = []
    for clip in clips:
        classes, expected = rejected(d, chip, l3clf.Clip(clip.path, 0.5, 3.0))
        assert classes == expected
        found += classes
    assert len(found) > 70
    assert 0.1 < np.mean(np.array(found) == -1) < 0.9
    assert set(found) == set(range(-1, len(CLASSES)))


def test_real_sounds_are_rejected_by_an_emulated_chip_where_python_rejects_them(esc10):
    d, out, clips = esc10
    chip = EmulatedChip(build_chip(export_sources(out), out.parent / "chip.elf"))
    found = []
    for clip in (clips[1], clips[4]):
        classes, expected = rejected(d, chip, l3clf.Clip(clip.path, 0.5, 2.0))
        assert classes == expected
        found += classes
    assert -1 in found


def test_a_model_with_the_bank_goes_onto_the_chip_with_what_it_learned():
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, unknown="auto")
    d = device_model(model.fit(_embedded(0.5, True), sounds()[1]))
    assert d.has_background
    assert d.unknown_threshold == model.unknown_threshold_
    assert (len(d.head.coef), len(d.class_names)) == (4, 3)
