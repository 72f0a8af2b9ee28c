"""Exports: complete, refused by name where they cannot be, and proven to answer as Python does."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from helpers.sound_files import noise, tone, write
from sklearn.ensemble import RandomForestClassifier

import l3clf
from l3clf.audio.clip import Samples
from l3clf.audio.spectrogram import absolute_level_db
from l3clf.cli import main as cli
from l3clf.device import board, toolchain
from l3clf.device import verify as ledger
from l3clf.device.chips import EmulatedChip, HostChip, push
from l3clf.device.emit_frontend import POWER_UNIT, thresholds
from l3clf.device.emit_head import rounded_down
from l3clf.device.emit_model import gate_energy
from l3clf.device.export import read_export, write_export
from l3clf.device.model import device_model
from l3clf.device.toolchain import build_chip, build_host, export_sources
from l3clf.device.verify import decisions, verify
from l3clf.embedders.frontend import levels, quantise_levels
from l3clf.errors import DeviceError, L3clfError, MissingDependencyError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

RATE = 16_000


def sounds():
    """Thirty clips of three classes that are easy to tell apart."""
    clips, labels = [], []
    for k in range(10):
        clips += [
            tone(300 + 20 * k, 2.0, amplitude=0.4) + noise(2 * RATE, k, 0.003),
            noise(2 * RATE, 100 + k, 0.2),
            np.sign(tone(90 + k, 2.0)) * np.float32(0.3) + noise(2 * RATE, 200 + k, 0.003),
        ]
        labels += ["tone", "noise", 'buzz "ü"']
    return clips, labels


def fitted(**options):
    clips, labels = sounds()
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    return l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, **options).fit(clips, labels)


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture(scope="module")
def export(model, tmp_path_factory):
    return write_export(device_model(model, pool_windows=3), tmp_path_factory.mktemp("export") / "c")


@pytest.fixture(scope="module")
def host(export, tmp_path_factory):
    return HostChip(build_host(export_sources(export), tmp_path_factory.mktemp("host") / "host.so"))


def held_out(tmp_path):
    """Sounds that were not learned from, at another rate, in files."""
    loud = np.concatenate([tone(440, 1.3, 44_100, 0.9), noise(44_100, 7, 0.3), np.zeros(30_000, np.float32)])
    return [
        l3clf.Clip(write(tmp_path / "loud.wav", loud, 44_100)),
        l3clf.Clip(write(tmp_path / "short.wav", noise(3000, 8, 0.01))),
        l3clf.Clip(write(tmp_path / "silent.wav", np.zeros(RATE, np.float32))),
        l3clf.Clip(write(tmp_path / "clipped.wav", np.sign(tone(333, 1.0)))),
    ]


# --- the proof ---------------------------------------------------------------------------------------

HEADS = {
    "mean": {},
    "probability": {"pooling": "probability", "unknown_threshold": 0.6, "hop_s": 0.25},
    "forest, gate": {"head": RandomForestClassifier(20, random_state=0), "gate_dbfs": -40.0, "hop_s": 0.1},
    "gap": {"hop_s": 1.5, "center": False, "unknown_threshold": 0.99},
}


@pytest.mark.parametrize("name", HEADS)
def test_the_c_code_answers_as_python_does_everywhere(name, tmp_path):
    d = device_model(fitted(**HEADS[name]))
    out = write_export(d, tmp_path / "c")
    found = verify(out, held_out(tmp_path))
    assert len(found.ledgers) >= 3
    for one in found.ledgers:
        assert one.n_decisions >= one.n_clips == one.clips_agree == 4
        assert one.n_windows >= 1
        assert (one.values_differ, one.decisions_differ) == (0, 0)
        assert one.largest_step <= 1
        assert one.features_differ <= one.n_features / 1000
        assert one.largest_probability < 0.02
        assert one.passed
    assert found.passed


def test_a_wrong_export_is_found_out(export, tmp_path):
    broken = tmp_path / "c"
    shutil.copytree(export, broken)
    text = (broken / "l3clf_kernels.c").read_text()
    assert "factor.bias, factor.bias, factor.bias, factor.bias" in text
    text = text.replace(
        "{factor.bias, factor.bias, factor.bias, factor.bias}", "{factor.bias, factor.bias, factor.bias, 0}"
    )
    (broken / "l3clf_kernels.c").write_text(text)
    found = verify(broken, held_out(tmp_path)[:1])
    assert not found.passed
    assert all(ledger.values_differ > 1000 for ledger in found.ledgers)


MUTATIONS = {
    "probabilities": ("l3clf_head.c", "expf(probabilities[c] - largest)", "expf((probabilities[c] - largest) / 4)"),
    "pool": ("l3clf.c", "s->next_slot = (s->next_slot + 1) % L3CLF_POOL_WINDOWS;", "s->next_slot = 0;"),
    "count": ("l3clf.c", "n += s->heard[slot];", "n += 2U * s->heard[slot];"),
    "nan": ("l3clf_head.c", "probabilities[c] /= total;", "probabilities[c] = (total - total) / (total - total);"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_other_decisions_are_found_out(name, export, tmp_path, monkeypatch):
    broken = tmp_path / "c"
    shutil.copytree(export, broken)
    file, line, other = MUTATIONS[name]
    text = (broken / file).read_text()
    assert line in text
    (broken / file).write_text(text.replace(line, other))
    monkeypatch.setattr(ledger, "has_board", lambda: False)
    found = verify(broken, held_out(tmp_path))
    assert not found.passed
    assert all(one.values_differ == 0 and one.decisions_differ > 0 for one in found.ledgers)


def test_levels_one_step_off_everywhere_are_found_out(export, tmp_path, monkeypatch):
    broken = tmp_path / "c"
    shutil.copytree(export, broken)
    text = (broken / "l3clf_frontend.c").read_text()
    line = "levels[band] = level(sum, f);"
    assert line in text
    (broken / "l3clf_frontend.c").write_text(text.replace(line, "levels[band] = (int8_t)(level(sum, f) + 1);"))
    monkeypatch.setattr(ledger, "has_board", lambda: False)
    assert not verify(broken, held_out(tmp_path)[:1]).passed


def test_the_export_is_whole_and_tests_itself(export, tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None or shutil.which("make") is None:
        pytest.skip("no gcc or make")
    out = tmp_path / "c"
    shutil.copytree(export, out)
    done = subprocess.run(["make", "-s", "all", "test"], cwd=out, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == "all checks pass"
    pcm = (noise(2 * RATE, 3, 0.2) * 32767).astype("<i2").tobytes()
    done = subprocess.run([out / "l3clf_example"], input=pcm, capture_output=True, check=True)
    first, *lines = done.stdout.decode().splitlines()
    assert first.startswith(f"l3clf {l3clf.__version__}: l3mini ")
    assert [line.split(": ")[0] for line in lines] == [f"window {k}" for k in range(1, len(lines) + 1)]
    assert all(": noise (" in line for line in lines)


@pytest.mark.parametrize("gcc", [False, True])
def test_the_self_test_passes_and_fails_on_a_second_emulator(gcc, export, tmp_path, monkeypatch):
    if not board.has_board() or (gcc and not toolchain.has_arm_gcc()):
        pytest.skip("no qemu-system-arm, or no GCC for Arm")
    monkeypatch.setattr(board, "has_arm_gcc", lambda: gcc)
    assert board.self_test(export, tmp_path) == board.PASSED
    broken = tmp_path / "c"
    shutil.copytree(export, broken)
    golden = (broken / "l3clf_golden.h").read_text()
    other = re.sub(r"(l3clf_golden_embedding\[[^\]]*\] = \{\s*)(-?\d+)", lambda m: m[1] + str(int(m[2]) ^ 1), golden)
    assert other != golden
    (broken / "l3clf_golden.h").write_text(other)
    assert board.self_test(broken, tmp_path) == "the embedding differs"


def test_the_same_model_gives_the_same_bytes(model, export, tmp_path):
    again = write_export(device_model(model, pool_windows=3), tmp_path / "again")
    names = sorted(path.name for path in export.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert [(export / name).read_bytes() for name in names] == [(again / name).read_bytes() for name in names]


def test_exporting_changes_nothing_about_the_model(model, tmp_path):
    before = model.get_params()
    out = write_export(device_model(model, unknown_threshold=0.9, gate_dbfs=-50.0), tmp_path / "c")
    assert model.get_params() == before
    assert (read_export(out).unknown_threshold, read_export(out).gate_dbfs) == (0.9, -50.0)


def test_an_export_of_ones_own_student_needs_no_other_file(tmp_path):
    mine = tmp_path / "mine.student"
    shutil.copyfile(l3clf.load_embedder("l3mini").path, mine)
    clips, labels = sounds()
    model = l3clf.ClipClassifier(str(mine), sample_rate=RATE, cache=None).fit(clips, labels)
    out = l3clf.device.export(model, tmp_path / "c")
    mine.unlink()
    found = verify(out, held_out(tmp_path)[:1])
    assert found.passed


def test_what_was_exported_is_read_back(export):
    d = read_export(export)
    assert (d.pool_windows, d.class_names, d.pooling) == (3, ('buzz "ü"', "noise", "tone"), "mean")


def test_a_forests_answers_are_pythons_at_every_threshold(tmp_path):
    """Thresholds of trees lie on the values themselves: a mean that is rounded otherwise takes another branch."""
    model = fitted(head=RandomForestClassifier(50, random_state=0))
    d = device_model(model, pool_windows=5)
    chip = HostChip(build_host(export_sources(write_export(d, tmp_path / "c"), ["L3CLF_TRACE"]), tmp_path / "x.so"))
    found = ledger.Ledger("host")
    for k in range(30):
        heard = ledger.hear(d, Samples(noise(2 * RATE, 500 + k, 0.1) + tone(200 + 7 * k, 2.0, RATE, 0.1), RATE))
        traced = ledger._run(d, chip, heard.samples, np.random.default_rng(k))
        exact = ledger._compare_numbers(found, d, heard, *traced)
        ledger._compare_decisions(found, d, decisions(d, chip), heard.answers, exact)
    assert found.n_decisions >= 120
    assert found.embeddings_differ < found.n_windows / 2
    assert found.passed


def test_many_windows_in_one_push_are_traced_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "has_board", lambda: False)
    out = l3clf.device.export(fitted(hop_s=0.02), tmp_path / "c", pool_windows=100)
    assert verify(out, [Samples(noise(2 * RATE, 1, 0.1), RATE)]).passed


def test_a_gate_that_everything_passes_is_no_gate(model, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "has_board", lambda: False)
    out = l3clf.device.export(model, tmp_path / "c", gate_dbfs=-200.0)
    assert "GATE_ENERGY" not in (out / "l3clf_model.h").read_text()
    assert verify(out, [Samples(np.zeros(2 * RATE, np.float32), RATE)]).passed


def test_an_export_can_be_made_again_from_its_own_files(export, tmp_path, capsys):
    out = tmp_path / "c"
    shutil.copytree(export, out)
    arguments = ["export", str(out / "model.l3clf"), "--weights", str(out / "network.student"), "--out", str(out)]
    assert cli.main([*arguments, "--unknown-threshold", "0.5"]) == 0
    assert read_export(out).unknown_threshold == 0.5
    assert (out / "network.student").read_bytes() == (export / "network.student").read_bytes()


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
    assert [answer[2] for answer in whole] == [min(k + 1, 3) for k in range(len(whole))]
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
    host.call("l3clf_reset", host.address("harness_state"))
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


# --- front-end ---------------------------------------------------------------------------------------


def test_thresholds_are_where_pythons_levels_change():
    steps = thresholds()
    below = np.nextafter(steps, np.float32(0))

    def level(powers):
        return quantise_levels(absolute_level_db(powers / POWER_UNIT))

    np.testing.assert_array_equal(level(steps), np.arange(-127, 128))
    np.testing.assert_array_equal(level(below), np.arange(-128, 127))


@pytest.mark.parametrize("amplitude", [0.0, 1e-4, 0.01, 1.0])
def test_levels_are_pythons(export, host, amplitude):
    d = read_export(export)
    rng = np.random.default_rng(5)
    window = np.clip(amplitude * (tone(1234.5, 1.0)[: d.window] + 0.1 * rng.normal(size=d.window)), -1, 1)
    pcm = np.rint(window * 32767).astype(np.int16)
    expected = quantise_levels(levels(d.spec, (pcm / np.float32(32768))[np.newaxis].astype(np.float32)))[0]
    room = host.room(8192)
    found = []
    for frame in range(d.spec.n_frames):
        host.write(room, pcm[frame * d.spec.hop :][: d.spec.frame].tobytes())
        host.call("l3clf_frame", room, room + 2048, room + 4096)
        found.append(np.frombuffer(host.read(room + 2048, d.spec.n_bands), np.int8))
    difference = np.abs(np.stack(found).astype(int) - expected)
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


# --- heads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "two classes", "forest"])
@pytest.mark.parametrize("where", ["host", "chip"])
def test_heads_answer_as_scikit_learn(kind, where, tmp_path):
    rng = np.random.default_rng(2)
    clips, labels = sounds()
    head = RandomForestClassifier(60, random_state=0) if kind == "forest" else "logistic"
    if kind == "two classes":
        labels = ["a" if label == "tone" else "b" for label in labels]
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    model = l3clf.ClipClassifier(embedder, head=head, sample_rate=RATE, cache=None).fit(clips, labels)
    model.head_.fit(
        rng.normal(0, 3, (300, embedder.embedding_size)).astype(np.float32), rng.choice(np.unique(labels), 300)
    )
    sources = export_sources(write_export(device_model(model), tmp_path / "c"))
    make = {"host": lambda: HostChip(build_host(sources, tmp_path / "x.so"))}
    make["chip"] = lambda: EmulatedChip(build_chip(sources, tmp_path / "x.elf"))
    chip = make[where]()
    x = rng.normal(0, 3, (10_000 if where == "host" else 500, embedder.embedding_size)).astype(np.float32)
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
def test_the_gates_energy_is_pythons_level(gate):
    from l3clf.audio.framing import level_dbfs

    energy = gate_energy(gate, 15_600)
    reached = [level_dbfs(np.full((1, 1), np.sqrt(e / 15_600) / 32768)) >= gate for e in (energy - 1, energy)]
    assert reached == [False, True]


# --- refused by name -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pooling": "vote"}, "pooling 'vote' needs all windows"),
        ({"pooling": "mean+std"}, r"pooling 'mean\+std' needs all windows"),
        ({"hop_s": 0.123}, "hop_s=0.123: on a chip windows share their frames; fit with a multiple of 0.01 s"),
    ],
)
def test_what_a_chip_cannot_do_is_refused(options, words):
    with pytest.raises(DeviceError, match=words):
        device_model(fitted(**options))


def test_other_embedders_are_refused():
    clips, labels = sounds()
    model = l3clf.ClipClassifier("mfcc", sample_rate=RATE, cache=None).fit(clips, labels)
    with pytest.raises(DeviceError, match=r"embedder is 'mfcc'.*; fit with l3mini or a student"):
        device_model(model)


def test_other_heads_are_refused():
    from sklearn.naive_bayes import GaussianNB

    with pytest.raises(L3clfError, match="GaussianNB"):
        device_model(fitted(head=GaussianNB()))


def test_an_unfitted_model_and_silly_numbers_are_refused(model):
    with pytest.raises(DeviceError, match="not fitted"):
        device_model(l3clf.ClipClassifier("l3mini"))
    for number in (0, 1001, "4", 2.5, None):
        with pytest.raises(DeviceError, match=r"pool_windows=.*; expected a whole number from 1 to 1000"):
            device_model(model, pool_windows=number)
    with pytest.raises(L3clfError, match=r"unknown_threshold=2; expected None or a number from 0 to 1"):
        device_model(model, unknown_threshold=2)
    with pytest.raises(L3clfError, match=r"gate_dbfs=5; expected None or a number from -200 to 0"):
        device_model(model, gate_dbfs=5)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_class_names_that_c_cannot_hold_are_refused(name):
    clips, labels = sounds()
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    labels = [name if label == "tone" else label for label in labels]
    model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None).fit(clips, labels)
    with pytest.raises(DeviceError, match=r"class 'a.*b': has a character that a C string cannot hold; rename it"):
        device_model(model)


def test_a_head_that_float32_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    model = fitted()
    model.head_[0].scale_[0] = 1e-300
    with pytest.raises(DeviceError, match="numbers that float32 cannot hold"):
        l3clf.device.export(model, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_folders_that_are_no_export_are_refused(export, tmp_path):
    with pytest.raises(DeviceError, match="is no export, or a damaged one; make it with l3clf export"):
        verify(tmp_path, held_out(tmp_path))
    with pytest.raises(DeviceError, match="no sound to verify with"):
        verify(export, [])
    damaged = tmp_path / "damaged"
    shutil.copytree(export, damaged)
    (damaged / "export.json").write_text("[" * 200_000)
    with pytest.raises(DeviceError, match="is no export, or a damaged one"):
        read_export(damaged)
    (tmp_path / "file").write_text("")
    d = read_export(export)
    with pytest.raises(DeviceError, match="cannot be written"):
        write_export(d, tmp_path / "file")


def test_code_that_does_not_compile_is_said(export, tmp_path):
    broken = tmp_path / "c"
    shutil.copytree(export, broken)
    (broken / "l3clf_model.c").write_text("this is no C")
    with pytest.raises(DeviceError, match=r"cannot compile the export: .*l3clf_model\.c"):
        verify(broken, held_out(tmp_path)[:1])


def test_missing_tools_are_named(export, tmp_path, monkeypatch, model):
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r'no C compiler; install one with: pip install "l3clf\[device\]"'):
        build_chip(export_sources(export), tmp_path / "x.elf")


# --- the command ---------------------------------------------------------------------------------------


def test_the_commands_do_the_whole_way(model, tmp_path, capsys):
    path = l3clf.save_model(model, tmp_path / "m.l3clf")
    out = tmp_path / "c"
    assert cli.main(["export", str(path), "--out", str(out), "--windows", "4"]) == 0
    text = capsys.readouterr().out
    for words in (
        "Flash:",
        "RAM:",
        "multiply-accumulates",
        "STM32L476  fits: ",
        "RP2040     fits in memory; speed not",
    ):
        assert words in text
    clips = held_out(tmp_path)
    assert cli.main(["verify", str(out), "--audio", str(clips[0].path), str(clips[3].path)]) == 0
    text = capsys.readouterr().out
    assert "| Cortex-M4F, DSP | " in text
    assert text.strip().endswith("Verified.")


def test_a_file_that_cannot_be_heard_keeps_none_from_being_verified(export, tmp_path, capsys):
    (tmp_path / "bad.wav").write_text("no sound")
    write(tmp_path / "long.wav", noise(130 * RATE, 1, 0.1))
    good = str(held_out(tmp_path)[0].path)
    files = [str(tmp_path / "bad.wav"), good, str(tmp_path / "long.wav"), str(tmp_path / "gone.wav")]
    assert cli.main(["verify", str(export), "--audio", *files]) == 1
    out, err = capsys.readouterr()
    assert out.count("| 1 of 1 agree | within") >= 3
    assert "Verified." in out
    assert "bad.wav: not a sound file" in err
    assert re.search(r"long\.wav: has more than 250 windows", err)
    assert "gone.wav: no such file" in err
    assert cli.main(["verify", str(export), "--audio", files[0]]) == 1
    assert "bad.wav: not a sound file" in capsys.readouterr().err


def test_an_arena_that_is_too_small_is_refused(model, tmp_path, capsys):
    path = l3clf.save_model(model, tmp_path / "m.l3clf")
    assert cli.main(["export", str(path), "--out", str(tmp_path / "c"), "--arena", "10000"]) == 1
    assert "--arena 10000: the network needs" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
