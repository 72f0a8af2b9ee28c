"""`verify` says "Verified." only where everything was compared and is right, and says at once what it lacks."""

import re
from itertools import islice

import numpy as np
import pytest
from helpers.device_models import RATE, mutated, sounds
from helpers.sound_files import noise, tone, write

import l3clf
from l3clf.audio.clip import Samples
from l3clf.cli import main as cli
from l3clf.device import toolchain
from l3clf.device import verification as module
from l3clf.device.exporter import read_export
from l3clf.device.verification import verify
from l3clf.errors import MissingDependencyError, ParameterError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

TINY = "tests/golden/tiny.student"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, request):
    """An export of a small student with a gate."""
    embedder = l3clf.load_embedder(str(request.config.rootpath / TINY), precision="int8")
    model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, gate_dbfs=-60.0).fit(*sounds())
    return l3clf.device.export(model, tmp_path_factory.mktemp("tiny") / "c", pool_windows=4)


@pytest.fixture
def host_only(monkeypatch):
    """Leave out the emulated chip, which computes the same, and what is measured beside."""
    builds = module._builds
    monkeypatch.setattr(module, "_builds", lambda *arguments: islice(builds(*arguments), 1))
    monkeypatch.setattr(module, "measure_costs", lambda *_: [])
    monkeypatch.setattr(module, "has_board", lambda: False)


def clip(*parts):
    return Samples(np.concatenate(parts), RATE)


# --- what was said to be verified ---------------------------------------------------------------------


def test_wrong_decisions_are_found_where_no_window_is_exact(tiny, tmp_path, host_only):
    """Thresholds and intercepts changed by hand: no pool was exact, and no decision compared."""
    floats = l3clf.device.export(read_export(tiny).classifier, tmp_path / "f", pool_windows=4, frontend="float")
    folder = mutated(floats, tmp_path / "c", "examples/main.c", "samples[160]", "samples[161]")
    text = (folder / "l3clf_model.c").read_text()

    def change(name, make):
        found = re.search(rf"(static const float {name}\[\d+\][\w ]* = \{{)(.*?)\}};", text, re.DOTALL)
        values = make(np.array([float.fromhex(value[:-1]) for value in re.findall(r"-?0x\S+F", found[2])], np.float32))
        items = ", ".join(f"{float(value).hex()}F" for value in values)
        return text.replace(found[0], f"{found[1]}{items}}};")

    text = change("thresholds", lambda values: np.append(values[:-1] * np.float32(1 + 5e-5), values[-1]))
    text = change("head_intercept", lambda values: np.append(values[:-1], values[-1] + 30))
    (folder / "l3clf_model.c").write_text(text)
    found = verify(folder, [clip(noise(3 * RATE, 3, 0.2))])
    (one,) = found.ledgers
    assert not found.passed
    assert 0 < one.features_differ <= one.n_features / 1000  # what the tolerance for rounding would have let pass
    assert one.largest_step == 1
    assert one.embeddings_differ > one.n_windows / 2
    assert one.decisions_differ == one.n_decisions > 4
    assert one.features_wrong > 0


def test_silence_alone_verifies_nothing(tiny, tmp_path, host_only, capsys):
    silent = write(tmp_path / "silent.wav", np.zeros(RATE, np.float32))
    assert not verify(tiny, [l3clf.Clip(silent)]).passed
    assert cli.main(["verify", str(tiny), "--audio", str(silent)]) == 1
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == (
        "NOT verified: these sounds are silent or below the gate, so that nothing is decided; name louder ones"
    )


def test_decisions_that_were_checked_are_counted(tiny, tmp_path, host_only, capsys):
    sound = write(tmp_path / "a.wav", tone(440, 2.0, RATE, 0.3))
    assert cli.main(["verify", str(tiny), "--audio", str(sound)]) == 0
    out = capsys.readouterr().out
    assert "| 5 checked, 0 differ, 5 agree end to end |" in out
    assert re.search(r"\| all [\d,]+ right \|", out)
    assert "Self-test on this machine: all checks pass" in out
    assert out.endswith("Verified.\n")


def test_an_array_that_is_wrong_is_named(tiny, tmp_path, host_only, capsys):
    line = '"noise"'
    broken = mutated(tiny, tmp_path / "c", "l3clf_model.c", line, '"noisy"')
    sound = write(tmp_path / "a.wav", tone(440, 1.0, RATE, 0.3))
    assert cli.main(["verify", str(broken), "--audio", str(sound)]) == 1
    assert capsys.readouterr().out.strip().splitlines()[-1] == (
        "NOT verified: 1 constant is not the model's (l3clf_model.c: l3clf_class_names); write the export again: "
        "`l3clf export MODEL --out DIR --force`"
    )


def test_runtime_files_of_ones_own_are_named_and_may_be_right(tiny, tmp_path, host_only, capsys):
    line = "probabilities[c] /= total;"
    folder = mutated(tiny, tmp_path / "c", "l3clf_head.c", line, line.replace("/= total", "*= 1.0F / total"))
    sound = write(tmp_path / "a.wav", tone(440, 1.0, RATE, 0.3))
    assert cli.main(["verify", str(folder), "--audio", str(sound)]) == 0
    assert "Not as this l3clf writes them: l3clf_head.c\nVerified.\n" in capsys.readouterr().out


def test_wrong_golden_values_fail_on_this_machine(tiny, tmp_path, host_only):
    text = (tiny / "selftest/l3clf_golden.h").read_text()
    line = re.search(r"static const float l3clf_golden_probabilities.*?;", text, re.DOTALL)[0]
    broken = mutated(
        tiny,
        tmp_path / "c",
        "selftest/l3clf_golden.h",
        line,
        re.sub(r"= \{.*?\}", "= {0.5F, 0.25F, 0.25F}", line, flags=re.DOTALL),
    )
    found = verify(broken, [clip(tone(440, 1.0, RATE, 0.3))])
    assert not found.passed
    assert found.self_test == "the probabilities differ"


# --- how many, and how long -----------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "expected"), [(None, 10), (3, 3), (11, 10)])
def test_at_most_so_many_clips_are_used(most, expected, tiny, tmp_path, host_only):
    clips = [clip(tone(300 + 50 * k, 0.3, RATE, 0.3)) for k in range(10)]
    found = verify(tiny, clips, max_clips=most)
    assert found.ledgers[0].n_clips == expected
    assert found.passed


def test_they_are_spread_over_all():
    assert module._some(list(range(10)), 3) == [0, 3, 6]
    assert module._some(list(range(400)), 4) == [0, 100, 200, 300]


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "3"])
def test_other_numbers_of_clips_are_refused(most, tiny):
    with pytest.raises(ParameterError, match=r"max_clips=.*; expected None or a positive whole number"):
        verify(tiny, held_out_one(), max_clips=most)


def held_out_one():
    return [clip(tone(440, 0.3, RATE, 0.3))]


def test_the_command_takes_the_number_and_says_how_far_it_is(tiny, tmp_path, host_only, capsys):
    files = [str(write(tmp_path / f"{k}.wav", tone(300 + k, 0.3, RATE, 0.3))) for k in range(4)]
    assert cli.main(["verify", str(tiny), "--audio", *files, "--max-clips", "2"]) == 0
    out, err = capsys.readouterr()
    assert "| 2 of 2 agree |" in out
    assert err.splitlines() == ["running: Python: 2 clips", "running: this machine, plain C: 4 windows"]


def test_an_interrupt_claims_no_resumption(tiny, tmp_path, monkeypatch, capsys):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "verify", interrupted)
    sound = str(write(tmp_path / "a.wav", tone(440, 0.3, RATE, 0.3)))
    assert cli.main(["verify", str(tiny), "--audio", sound]) == 130
    assert capsys.readouterr().err == "l3clf: interrupted\n"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_progress_has_an_estimate_of_all_that_is_left():
    from l3clf.device.progress import Progress

    said, clock = [], Clock()
    progress = Progress(said.append, 1000, 3, clock=clock)
    for name, seconds in (("host", 0.01), ("chip", 0.5), ("other", 0.5)):
        progress.start(name)
        for _ in range(1000):
            clock.now += seconds
            progress.add(1)
    host, chip = said[: said.index("chip: 1,000 windows")], said[said.index("chip: 1,000 windows") :]
    assert all(" left" not in text for text in host)
    assert chip[1] == "chip: 6 of 1,000 windows; about 17 min left"
    assert said[-1].startswith("other: ")
    assert said[-1].endswith(" s left")
    assert len(said) < 60  # fifteen minutes of work


# --- tools ----------------------------------------------------------------------------------------------

NO_TOOLS = [
    ({"ziglang"}, ["gcc"], "an? C compiler|a compiler for a Cortex-M4F"),
    ({"unicorn"}, [], r"an emulator \(unicorn and pyelftools, or qemu-system-arm\)"),
    ({"elftools"}, [], r"an emulator \(unicorn and pyelftools, or qemu-system-arm\)"),
]


@pytest.fixture
def without(monkeypatch):
    """Return a function that hides packages and programs."""

    def hide(packages, programs):
        spec, which = toolchain.importlib.util.find_spec, toolchain.shutil.which
        hidden = {*programs, "arm-none-eabi-gcc", "qemu-system-arm"}
        monkeypatch.setattr(
            toolchain.importlib.util, "find_spec", lambda name, *rest: None if name in packages else spec(name, *rest)
        )
        monkeypatch.setattr(
            toolchain.shutil, "which", lambda name, *rest: None if name in hidden else which(name, *rest)
        )

    return hide


@pytest.mark.parametrize(("packages", "programs", "named"), NO_TOOLS)
def test_missing_tools_are_named_before_any_sound_is_read(packages, programs, named, tiny, without, monkeypatch):
    def read(*_):
        raise AssertionError("a sound was read")

    monkeypatch.setattr(module, "reference", read)
    without(packages, programs)
    with pytest.raises(MissingDependencyError, match=f"this machine lacks .*{named}.*; install with: pip install"):
        verify(tiny, held_out_one())


def test_an_export_says_at_once_what_is_missing(tmp_path, without, capsys, request):
    embedder = l3clf.load_embedder(str(request.config.rootpath / TINY))
    model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None).fit(*sounds())
    path = l3clf.save_model(model, tmp_path / "m.l3clf")
    without({"unicorn"}, [])
    assert cli.main(["export", str(path), "--out", str(tmp_path / "c")]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(
        "l3clf: sizes and instructions will not be measured: the emulated Cortex-M4F lacks an emulator"
    )
    assert re.search(r"Arena: [\d,]+ bytes\n$", out)


def test_with_gcc_and_qemu_alone_what_they_can_show_is_shown(tiny, monkeypatch, capsys, tmp_path):
    tools = toolchain.Tools(host=True, zig=False, arm_gcc=True, emulator=False, board=True)
    monkeypatch.setattr(module, "find_tools", lambda: tools)
    monkeypatch.setattr(module, "has_board", lambda: True)
    monkeypatch.setattr(module, "self_test", lambda folder, place: "all checks pass")
    found = verify(tiny, held_out_one())
    assert found.passed
    assert found.costs == []
    assert [one.name for one in found.ledgers] == ["this machine, plain C"]
    sound = str(write(tmp_path / "a.wav", tone(440, 0.3, RATE, 0.3)))
    assert cli.main(["verify", str(tiny), "--audio", sound]) == 0
    out = capsys.readouterr().out
    assert "Not run: the emulated Cortex-M4F lacks an emulator (unicorn and pyelftools); install with" in out
    assert out.endswith("Verified on this machine, and by its self-test on QEMU.\n")
    found.board = None
    assert not found.passed


@pytest.mark.parametrize(("answer", "complete"), [("nosys.specs", False), ("/usr/lib/newlib/nosys.specs", True)])
def test_gcc_for_arm_without_its_c_library_is_not_used(answer, complete, tmp_path, monkeypatch):
    program = tmp_path / "arm-none-eabi-gcc"
    program.write_text(f"#!/bin/sh\necho {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert toolchain.has_arm_gcc() == complete


def test_without_zig_gcc_for_arm_compiles(tiny, tmp_path, monkeypatch, without):
    """A compiler that only tells how it was called: the real one is not on every machine."""
    without({"ziglang"}, [])
    monkeypatch.setattr(toolchain, "has_arm_gcc", lambda: True)
    called = []
    monkeypatch.setattr(toolchain, "_run", called.append)
    toolchain.build_chip(toolchain.export_sources(tiny), tmp_path / "x.elf")
    assert called[0][0] == "arm-none-eabi-gcc"
    assert toolchain.find_tools().chip
