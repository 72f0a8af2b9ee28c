"""Every number of an export is changed in turn, and `verify` sees it: by what the build computes, and by name."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers.device_models import RATE, sounds
from helpers.sound_files import noise, tone
from sklearn.ensemble import RandomForestClassifier

import l3clf
from l3clf.audio.clip import Samples
from l3clf.device import verification as module
from l3clf.device.chips import HostChip
from l3clf.device.exporter import read_export
from l3clf.errors import DeviceError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

TINY = Path(__file__).parents[1] / "golden" / "tiny.student"
FLAGS = ["-std=c99", "-fPIC", "-ffp-contract=off", "-DL3CLF_TRACE", "-DL3CLF_PORTABLE"]
HEADS = {
    "linear": {"gate_dbfs": -40.0, "unknown_threshold": 0.6},
    "forest": {"head": RandomForestClassifier(8, max_depth=4, random_state=0), "pooling": "probability"},
    "open": {"gate_dbfs": -40.0, "gate_hysteresis_db": 6.0, "unknown": l3clf.Unknown(background=None)},
}
EXPORTED = {"open": {"unknown_threshold": (0.5, 0.6, 0.7)}}
KERNELS = ("conv", "depthwise", "conv", "depthwise", "conv", "depthwise", "conv", "add", "depthwise", "conv")
LAYERS = [f"layer{n}_{kernel}" for n, kernel in enumerate((*KERNELS, "depthwise", "dense"))]
ARRAYS = [
    *("window", "twiddles", "bin_twiddles", "order", "n_bins", "band_weights", "logarithms", "level_offsets"),
    *("head_weights", "head_intercept"),
    *(f"{layer}_{part}" for layer in LAYERS for part in ("factors", "right")),
    *(f"{layer}_weights" for layer in LAYERS if "add" not in layer),
]
FOREST = ("head_roots", "head_leaves", "threshold", "feature", "right")
SCALARS = [(LAYERS[n], name) for n in (1, 7) for name in ("zero_point", "low", "high")]
# What no result shows: units that are never above zero, or a change that rounding swallows. Their names are found.
PLACES = {
    "layer8_depthwise_weights": 0.3,
    "layer9_conv_weights": 0.7,
}
UNSEEN = {"layer8_depthwise_factors"}


@dataclass
class Made:
    """An export, its model, and its parts that do not change, compiled."""

    folder: Path
    model: object
    objects: list[Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    out = {}
    for name, options in HEADS.items():
        place = tmp_path_factory.mktemp(name)
        embedder = l3clf.load_embedder(str(TINY), precision="int8")
        model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, **options).fit(*learned(name))
        folder = l3clf.device.export(model, place / "c", pool_windows=2, **EXPORTED.get(name, {}))
        harness = Path(module.__file__).with_name("harness") / "harness.c"
        sources = [*(path for path in folder.glob("l3clf*.c") if path.name != "l3clf_model.c"), harness]
        objects = [compiled(path, place / f"{path.stem}.o", folder, "-O1") for path in sources]
        tests = compiled(folder / "selftest" / "selftest.c", place / "selftest.o", folder)
        out[name] = Made(folder, read_export(folder), [*objects, tests])
    return out


def learned(name):
    clips, labels = sounds()
    background = [np.sin(k * np.linspace(0, 60, 2 * RATE) ** 2) * 0.2 for k in range(1, 6)] if name == "open" else []
    return [*clips, *background], [*labels, *["background"] * len(background)]


def compiled(source, target, folder, *flags):
    subprocess.run(["gcc", *FLAGS, *flags, f"-I{folder}", "-c", source, "-o", target], check=True)
    return target


def changed(made, place, file, change):
    """Copy an export, and change the text of one of its files."""
    shutil.copytree(made.folder, place)
    text = (place / file).read_text()
    other = change(text)
    assert other != text
    (place / file).write_text(other)
    return place


def verified(made, folder, monkeypatch, everything=False, clip=None):
    """Rebuild what was changed, for this machine only, and verify it with one short sound."""
    harness = Path(module.__file__).with_name("harness") / "harness.c"
    sources = [*sorted(folder.glob("l3clf*.c")), harness] if everything else [folder / "l3clf_model.c"]
    objects = [compiled(source, folder / f"{source.stem}.o", folder, "-O0") for source in sources]
    known = {path.name for path in objects}
    objects += [path for path in made.objects if path.name not in known]
    library = folder / "host.so"
    subprocess.run(["gcc", "-shared", *objects, "-lm", "-o", library], check=True)
    monkeypatch.setattr(module, "_builds", lambda *_: iter([("this machine", lambda: HostChip(library))]))
    monkeypatch.setattr(module, "measure_costs", lambda *_: [])
    monkeypatch.setattr(module, "has_board", lambda: False)
    monkeypatch.setattr(module, "read_export", lambda _: made.model)
    return module.verify(folder, [Samples(tone(440, 0.6, RATE, 0.3), RATE) if clip is None else clip])


def number(text, name, place, change):
    """Change a number of an array, counted as a share of all from its start; the largest of those around it."""
    found = re.search(rf"\b{name}\[\d+\][\w ]* = \{{(.*?)\}};", text, re.DOTALL)
    numbers = list(re.finditer(r"-?0x[0-9a-f.]+p[+-]\d+F|-?\d+", found[1]))
    around = range(int(place * (len(numbers) - 1)), len(numbers))[:8]
    at = max(around, key=lambda i: abs(value(numbers[i][0])))
    start, end = numbers[at].span()
    return text[: found.start(1) + start] + change(numbers[at][0]) + text[found.start(1) + end :]


def value(text):
    return float.fromhex(text[:-1]) if "0x" in text else float(text)


def other(text):
    """A number of the same kind, about a tenth away."""
    if "0x" in text:
        return f"{float(np.float32(value(text) * 1.1 if value(text) else 0.1)).hex()}F"
    whole = int(text)
    return str(whole - max(1, abs(whole) // 8) if whole > 0 else whole + max(1, abs(whole) // 8))


def assert_seen(found, name):
    """The change is seen, and by more than the text unless no result shows it."""
    assert not found.passed
    assert [one.partition(": ")[2] for one in found.altered] == [name]
    found.altered = []
    assert found.passed == (name in UNSEEN)


def test_what_is_not_changed_is_verified(made, tmp_path, monkeypatch):
    for name, one in made.items():
        found = verified(one, changed(one, tmp_path / name, "examples/main.c", lambda text: text + "\n"), monkeypatch)
        assert found.passed
        assert (found.altered, found.edited, found.self_test) == ([], [], "all checks pass")
        assert found.signals[0].n_names == 3


def test_the_lists_of_this_test_are_complete(made):
    names = re.findall(
        r"^static const \w+ (\w+)\[", (made["linear"].folder / "l3clf_model.c").read_text(), re.MULTILINE
    )
    assert sorted({*names} - {"extents"}) == sorted(ARRAYS)  # extents: where layers are cut, no number of the model


@pytest.mark.parametrize("name", ARRAYS)
def test_a_change_of_any_array_is_seen(name, made, tmp_path, monkeypatch):
    one = made["linear"]
    broken = changed(
        one, tmp_path / "c", "l3clf_model.c", lambda text: number(text, name, PLACES.get(name, 0.5), other)
    )
    assert_seen(verified(one, broken, monkeypatch), name)


@pytest.mark.parametrize("name", FOREST)
def test_a_change_of_any_part_of_a_forest_is_seen(name, made, tmp_path, monkeypatch):
    one = made["forest"]

    def change(text):
        if name.startswith("head_"):
            return number(text, name, 0.6, other)
        node = re.search(r"\{(\S+), (\d+), (\d+)\}", text[text.index("head_nodes[") :])  # a root: no leaf
        threshold, feature, right = node.groups()
        parts = {"threshold": threshold, "feature": feature, "right": right}
        parts[name] = str(int(feature) + 1) if name == "feature" else other(parts[name])
        return text.replace(node[0], f"{{{', '.join(parts.values())}}}", 1)

    broken = changed(one, tmp_path / "c", "l3clf_model.c", change)
    assert_seen(verified(one, broken, monkeypatch), name if name.startswith("head_") else "head_nodes")


@pytest.mark.parametrize(("layer", "name"), SCALARS)
def test_a_change_of_any_scalar_of_a_layer_is_seen(layer, name, made, tmp_path, monkeypatch):
    one = made["linear"]

    def change(text):
        line = re.search(rf"^static const \w+ {layer} = .*$", text, re.MULTILINE)[0]
        before, found, after = re.match(rf"(.*\.{name} = )(-?\d+)(.*)", line).groups()  # of the output: the last
        return text.replace(line, f"{before}{int(found) + (3 if int(found) < 100 else -3)}{after}")

    found = verified(one, changed(one, tmp_path / "c", "l3clf_model.c", change), monkeypatch)
    assert not found.passed
    assert found.altered == [f"l3clf_model.c: {layer}"]


@pytest.mark.parametrize("number_of", [-2, -1])
def test_a_change_of_an_octave_or_the_first_bin_is_seen(number_of, made, tmp_path, monkeypatch):
    def change(text):
        line = re.search(r"^const l3clf_frontend .*$", text, re.MULTILINE)[0]
        found = list(re.finditer(r"\d+", line))[number_of]
        less = int(found[0]) - max(1, int(found[0]) // 50)
        return text.replace(line, f"{line[: found.start()]}{less}{line[found.end() :]}")

    found = verified(made["linear"], changed(made["linear"], tmp_path / "c", "l3clf_model.c", change), monkeypatch)
    assert not found.passed
    assert found.altered == ["l3clf_model.c: l3clf_model_frontend"]


def test_a_change_of_a_class_name_is_seen(made, tmp_path, monkeypatch):
    one = made["linear"]
    broken = changed(one, tmp_path / "c", "l3clf_model.c", lambda text: text.replace('"noise"', '"nois"'))
    found = verified(one, broken, monkeypatch)
    assert found.signals[0].names_wrong == 1
    assert_seen(found, "l3clf_class_names")


MACROS = {
    "OUTPUT_SCALE": lambda text: f"{float(text[:-1]) * 1.01!r}F",
    "OUTPUT_ZERO_POINT": lambda text: f"({int(text.strip('()')) + 1})",
    "UNKNOWN_THRESHOLD": lambda text: "0.999999F",
    "POOL_WINDOWS": lambda text: "3",
}


@pytest.mark.parametrize("name", MACROS)
def test_a_change_of_a_macro_is_seen_in_the_results(name, made, tmp_path, monkeypatch):
    one = made["linear"]
    line = re.compile(rf"^(#define L3CLF_{name} )(.*?)( /\*.*)?$", re.MULTILINE)
    broken = changed(
        one, tmp_path / "c", "l3clf_model.h", lambda text: line.sub(lambda m: m[1] + MACROS[name](m[2]), text)
    )
    quiet = Samples(np.concatenate([tone(440, 0.6, RATE, 0.3), noise(RATE, 1, 0.004)]), RATE)
    assert_seen(verified(one, broken, monkeypatch, everything=True, clip=quiet), f"L3CLF_{name}")


def test_a_change_of_the_gate_is_seen(made, tmp_path, monkeypatch):
    one = made["linear"]
    broken = changed(one, tmp_path / "c", "l3clf_model.h", lambda text: re.sub(r"C\(\d+\)", "C(100)", text))
    with pytest.raises(DeviceError, match=r"computed \d windows, Python \d; write the export again"):
        verified(one, broken, monkeypatch, everything=True)


def test_a_change_of_the_level_that_closes_the_gate_is_seen(made, tmp_path, monkeypatch):
    one = made["open"]
    line = re.compile(r"(GATE_CLOSE_ENERGY UINT64_C)\(\d+\)")
    broken = changed(one, tmp_path / "c", "l3clf_model.h", lambda text: line.sub(r"\1(100)", text))
    with pytest.raises(DeviceError, match=r"computed \d+ windows, Python \d+; write the export again"):
        verified(one, broken, monkeypatch, everything=True)


def test_a_change_of_a_classs_threshold_is_seen(made, tmp_path, monkeypatch):
    one = made["open"]
    for place in (0, 0.5, 1):
        broken = changed(
            one,
            tmp_path / str(place),
            "l3clf_model.c",
            lambda text, at=place: number(text, "l3clf_class_thresholds", at, other),
        )
        found = verified(one, broken, monkeypatch)
        assert found.signals[0].decisions_wrong > 0
        assert_seen(found, "l3clf_class_thresholds")


def test_a_background_that_is_taken_for_nothing_is_seen(made, tmp_path, monkeypatch):
    one = made["open"]
    broken = changed(one, tmp_path / "c", "l3clf_model.h", lambda text: re.sub("#define L3CLF_BACKGROUND.*", "", text))
    found = verified(one, broken, monkeypatch, everything=True)
    assert found.signals[0].decisions_wrong > 0
    assert_seen(found, "L3CLF_BACKGROUND")


# --- by name ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HEADS)
def test_every_constant_that_is_changed_is_named(kind, made, tmp_path):
    from l3clf.device.constants import altered_constants, altered_runtime, constants

    one = made[kind]
    shutil.copytree(one.folder, tmp_path / "c")
    expected = []
    for file in ("l3clf_model.h", "l3clf_model.c"):
        text = (tmp_path / "c" / file).read_text()
        names = [name for name, tokens in constants(text).items() if not name.lower().startswith("l3clf_version")]
        expected += [f"{file}: {name}" for name in names]
        macros = set(re.findall(r"^#define (\w+)", text, re.MULTILINE))
        wrong = [
            f"#define {name} 987\n"
            if name in macros
            else f"void {name}(void)\n{{\n}}\n"
            if f" {name}(" in text
            else f"static const int {name}[1] = {{987}};\n"
            for name in names
        ]
        (tmp_path / "c" / file).write_text("".join(wrong))
    assert altered_constants(one.model, tmp_path / "c") == expected
    assert len(expected) > 70
    assert altered_runtime(tmp_path / "c") == []


@pytest.mark.parametrize("name", ["pcm", "levels", "embedding", "probabilities", "unknown_score", "class"])
def test_golden_values_that_are_not_the_models_are_named(name, made, tmp_path):
    from l3clf.device.constants import altered_constants

    def change(text):
        if name == "class":
            return re.sub(r"golden_class = -?\d", "golden_class = 2", text)
        if name == "unknown_score":
            return re.sub(r"unknown_score = 0x1", "unknown_score = 0x1.1", text).replace("0x1.1.", "0x1.1")
        return number(text, f"l3clf_golden_{name}", 0.3, other)

    one = made["linear"]
    found = altered_constants(one.model, changed(one, tmp_path / "c", "selftest/l3clf_golden.h", change))
    assert f"selftest/l3clf_golden.h: l3clf_golden_{name}" in found


def test_comments_layout_and_attributes_are_free(made, tmp_path):
    from l3clf.device.constants import altered_constants, altered_runtime

    one = made["linear"]

    def change(text):
        text = text.replace(
            "static const float window", "/* flash; = 3 { */ static const __attribute__((x)) float window"
        )
        return re.sub(r",\n +", ", // so\n\t", text) + "\nstatic const int mine[] = {1, 2};\n"

    folder = changed(one, tmp_path / "c", "l3clf_model.c", change)
    assert altered_constants(one.model, folder) == []
    (folder / "l3clf_head.c").write_text("int x;\n")
    (folder / "l3clf_dsp.h").unlink()
    assert altered_runtime(folder) == ["l3clf_dsp.h", "l3clf_head.c"]


@pytest.mark.parametrize("wrong", ["0{}", "0{}9", "1.2.3", "0x1p", "{}.5.5"])
def test_a_number_is_read_as_a_compiler_reads_it(wrong, made, tmp_path):
    from l3clf.device.constants import altered_constants

    def change(text):  # 80 is not octal, 77 is
        return re.sub(
            r"(L3CLF_GATE_ENERGY UINT64_C\()(\d+)", lambda found: found[1] + wrong.format(found[2]), text, count=1
        )

    folder = changed(made["linear"], tmp_path / "c", "l3clf_model.h", change)
    assert altered_constants(made["linear"].model, folder) == ["l3clf_model.h: L3CLF_GATE_ENERGY"]


def test_another_machine_may_round_a_logarithm_otherwise(made, tmp_path):
    from l3clf.device.constants import altered_constants

    folder = l3clf.device.export(made["linear"].model.classifier, tmp_path / "f", pool_windows=2, frontend="float")
    one = Made(folder, read_export(folder), [])

    def last_bit(text):
        return f"{float(np.nextafter(np.float32(value(text)), np.float32(np.inf))).hex()}F"

    for name, allowed in (("thresholds", True), ("head_weights", False)):
        folder = changed(one, tmp_path / name, "l3clf_model.c", lambda text, n=name: number(text, n, 0.5, last_bit))
        assert (altered_constants(one.model, folder) == []) == allowed
