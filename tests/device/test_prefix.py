"""Exports with a prefix of their own: all names have it, two link together, and checks know it."""

import json
import re
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import pytest
from helpers.device_models import RATE, fitted_tagger, mutated, sounds
from helpers.sound_files import noise

import l3clf
from l3clf.audio.clip import Samples
from l3clf.cli import main as cli
from l3clf.device import verification as module
from l3clf.device.cost import measure_costs
from l3clf.device.exporter import read_export
from l3clf.device.runtime_files import prefixed, unprefixed
from l3clf.device.toolchain import CORTEX_M4F, ZIG
from l3clf.device.verification import verify
from l3clf.errors import DeviceError, ParameterError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

TINY = Path(__file__).parents[1] / "golden" / "tiny.student"


@pytest.fixture(scope="module")
def model():
    """Of a small student; one of its classes is named like a function, and one like a function with the prefix."""
    clips, labels = sounds()
    names = {"tone": "l3clf_push", "noise": "bird_push"}
    embedder = l3clf.load_embedder(str(TINY), precision="int8")
    return l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None).fit(clips, [names.get(n, n) for n in labels])


@pytest.fixture(scope="module")
def bird(model, tmp_path_factory):
    return l3clf.device.export(model, tmp_path_factory.mktemp("bird") / "c", pool_windows=4, prefix="bird")


@pytest.fixture
def host_only(monkeypatch):
    builds = module._builds
    monkeypatch.setattr(module, "_builds", lambda *arguments: islice(builds(*arguments), 1))
    monkeypatch.setattr(module, "measure_costs", lambda *_: [])
    monkeypatch.setattr(module, "has_board", lambda: False)


def code_of(folder):
    return sorted(path for path in folder.rglob("*.[ch]"))


def test_every_name_and_file_has_the_prefix(bird):
    assert {path.name for path in bird.glob("*.[ch]")} == {path.name for path in bird.glob("bird*.[ch]")}
    for path in code_of(bird):
        text = re.sub(r'"(?:\\.|[^"\\\n])*"', "", path.read_text())
        assert re.findall(r"\b(?:l3clf|L3CLF)_\w*", text) == []
    assert '"l3clf_push"' in (bird / "bird_model.c").read_text()
    for name in ("README.md", "Makefile"):
        assert re.findall(r"(?:l3clf|L3CLF)[_*]\w*", (bird / name).read_text()) == []


def test_an_export_with_a_prefix_is_verified_and_a_change_is_named(bird, tmp_path, host_only):
    assert read_export(bird).prefix == "bird"
    clip = Samples(noise(2 * RATE, 3, 0.2), RATE)
    found = verify(bird, [clip])
    assert found.passed
    assert (found.self_test, found.altered, found.edited) == ("all checks pass", [], [])
    wrong = mutated(bird, tmp_path / "c", "bird_model.h", "#define BIRD_POOL_WINDOWS 4", "#define BIRD_POOL_WINDOWS 3")
    (wrong / "bird_head.c").write_text((wrong / "bird_head.c").read_text() + "/* mine */\n")
    (wrong / "selftest" / "selftest.c").unlink()
    found = verify(wrong, [clip])
    assert (found.altered, found.edited, found.self_test) == (
        ["bird_model.h: BIRD_POOL_WINDOWS"],
        ["bird_head.c"],
        None,
    )
    assert not found.passed


def test_its_cost_is_measured(bird):
    (cost,) = measure_costs(bird, [CORTEX_M4F], [ZIG], ["-O2"])
    assert cost.macs == read_export(bird).macs


def test_two_exports_link_together_whole_folders_with_an_application(bird, tmp_path):
    """Everything in both folders is compiled, examples and self-tests too, as some IDEs do."""
    compiler, lister = shutil.which("gcc"), shutil.which("nm")
    if compiler is None or lister is None:
        pytest.skip("no gcc")
    rain = l3clf.device.export(fitted_tagger(), tmp_path / "rain", prefix="rain")
    (tmp_path / "app.c").write_text(APPLICATION)
    objects = []
    for folder in (bird, rain):
        for path in (path for path in code_of(folder) if path.suffix == ".c"):
            objects.append(str(tmp_path / f"{folder.name}_{path.parent.name}_{path.stem}.o"))
            flags = ["-Wall", "-Wextra", "-Wconversion", "-Wmissing-prototypes", "-Werror"]
            subprocess.run([compiler, *flags, f"-I{folder}", "-c", path, "-o", objects[-1]], check=True)
    command = [compiler, f"-I{bird}", f"-I{rain}", tmp_path / "app.c", *objects, "-lm", "-o", tmp_path / "app"]
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "app"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 1 0 0")
    listed = subprocess.run([lister, "-g", "--defined-only", *objects], capture_output=True, text=True, check=True)
    names = set(re.findall(r"^[0-9a-f]+ [A-Z] (\w+)$", listed.stdout, re.MULTILINE))
    assert len(names) > 30
    assert {name.partition("_")[0] for name in names} == {"bird", "rain", "main"}


APPLICATION = """
#include <stdint.h>
#include <stdio.h>
#include "bird.h"
#include "rain.h"

int bird_selftest(void);
int rain_selftest(void);

static bird_state a;
static rain_state b;
static uint64_t arena_a[BIRD_ARENA_BYTES / 8], arena_b[RAIN_ARENA_BYTES / 8];

int main(void)
{
    static const int16_t silence[16000];
    bird_init(&a, arena_a, sizeof arena_a, NULL, NULL);
    rain_init(&b, arena_b, sizeof arena_b, NULL, NULL);
    printf("%d ", bird_push(&a, silence, BIRD_WINDOW));
    printf("%d ", rain_push(&b, silence, RAIN_WINDOW));
    printf("%d %d", bird_selftest(), rain_selftest());
    return 0;
}
"""


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("2x", "prefix='2x': not a name such as bird or bird_2; give lower-case letters"),
        ("Bird", "not a name such as"),
        ("bird_", "not a name such as"),
        ("", "not a name such as"),
        ("b" * 33, "not a name such as"),
        (None, "not a name such as"),
        ("string", "string.h is a header of C or Arduino; choose another"),
        ("features", "features.h is a header of C or Arduino; choose another"),
        ("pdm", "pdm.h is a header of C or Arduino; choose another"),
        ("unistd", "unistd.h is a header of C or Arduino; choose another"),
        ("head", r"prefix='head': a name in the C code begins so \(head_\w+\); choose another"),
        ("uint8", "a name in the C code begins so"),
    ],
)
def test_prefixes_that_c_cannot_have_are_refused(prefix, words, model, tmp_path):
    with pytest.raises((ParameterError, DeviceError), match=words):
        l3clf.device.export(model, tmp_path / "c", prefix=prefix)
    assert not (tmp_path / "c").exists()


def test_the_prefix_can_be_taken_off_again(bird):
    text = (bird / "bird_model.c").read_text()
    assert prefixed(unprefixed(text, "bird"), "bird") == text != unprefixed(text, "bird")


def test_another_prefix_replaces_the_files_of_the_first_but_what_was_changed(bird, tmp_path, capsys):
    out = tmp_path / "c"
    shutil.copytree(bird, out)
    (out / "bird_head.c").write_text("mine")
    arguments = ["export", str(bird / "model.l3clf"), "--weights", str(bird / "network.student"), "--out", str(out)]
    assert cli.main([*arguments, "--prefix", "owl"]) == 0
    assert [path.name for path in out.glob("bird*")] == ["bird_head.c"]
    assert (out / "owl.c").is_file()
    assert cli.main([*arguments, "--prefix", "o-o"]) == 1
    assert "l3clf: --prefix o-o: not a name such as bird" in capsys.readouterr().err


def test_exports_of_other_versions_are_told_how_to_be_written_again(bird, tmp_path):
    """Those before slices do not say which interface they have."""
    old = tmp_path / "c"
    shutil.copytree(bird, old)
    settings = json.loads((old / "export.json").read_text())
    for interface in (None, 99):
        del settings["interface"]
        settings |= {} if interface is None else {"interface": interface}
        (old / "export.json").write_text(json.dumps(settings))
        again = re.escape(f"l3clf export {old / 'model.l3clf'} --weights {old / 'network.student'} --out NEW")
        for check in (measure_costs, lambda folder: verify(folder, [])):
            with pytest.raises(
                DeviceError, match=f"exported by another version of l3clf, .*; write it again: {again}$"
            ):
                check(old)
        settings.setdefault("interface", None)
    assert read_export(old).prefix == "bird"
