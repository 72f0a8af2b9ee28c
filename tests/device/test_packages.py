"""What makes an export a package: files of build systems, examples on a microphone, sections, cycles, the README."""

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from helpers.device_models import RATE, mutated, sounds
from helpers.sound_files import noise, tone

import l3clf
from l3clf.device.chips import EmulatedChip
from l3clf.device.cost import measure_costs
from l3clf.device.exporter import read_export
from l3clf.device.figures import add_figures
from l3clf.device.toolchain import CORTEX_M0PLUS, CORTEX_M4F, ZIG, build_chip, export_sources
from l3clf.errors import DeviceError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

TINY = Path(__file__).parents[1] / "golden" / "tiny.student"
KNOWN = ["-DCMAKE_C_COMPILER_WORKS=1", "-DCMAKE_C_ABI_COMPILED=1"]  # not compiled anew in each test
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Two exports of a small student, with two prefixes."""
    clips, labels = sounds()
    embedder = l3clf.load_embedder(str(TINY), precision="int8")
    model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None).fit(clips, labels)
    place = tmp_path_factory.mktemp("packages")
    return {name: l3clf.device.export(model, place / name, pool_windows=4, prefix=name) for name in ("l3clf", "bird")}


def run(*command, **how):
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode()


def tool(name):
    return shutil.which(name) or pytest.skip(f"no {name}")


def cmake(source, build, *options):
    run(tool("cmake"), "-S", source, "-B", build, "-DCMAKE_C_FLAGS=" + " ".join(WARNINGS), *KNOWN, *options)
    run("cmake", "--build", build, "-j", "2")
    return build


def pcm():
    """Three seconds of a tone, then of noise, as 16-bit samples."""
    both = [tone(330, 3.0, amplitude=0.4), noise(3 * RATE, 3, 0.2)]
    return b"".join((sound * 32767).astype("<i2").tobytes() for sound in both)


def decisions(text):
    return re.findall(r"^window (\d+): (.*?) \((0\.\d+)", text, re.MULTILINE)


# --- CMake ----------------------------------------------------------------------------------------


def test_cmake_builds_what_hears_a_microphone_as_the_example_hears_a_file(exports, tmp_path):
    build = cmake(exports["bird"], tmp_path / "b")
    assert "100% tests passed" in run("ctest", "--test-dir", build)
    heard = run(build / "bird_stream", input=pcm())
    assert decisions(heard) == decisions(run(build / "bird_example", input=pcm()))
    assert {name for _, name, _ in decisions(heard)} == {"tone", "noise"}
    assert heard.endswith("0 windows late, 0 halves lost\n")
    parts = [exports["bird"] / "examples" / name for name in ("stream.c", "microphone_file.c")]
    words = [*WARNINGS, "-DBIRD_MICROPHONE_32", f"-I{exports['bird']}", *parts, build / "libbird.a"]
    run(tool("gcc"), *words, "-o", tmp_path / "words")
    assert run(tmp_path / "words", input=pcm()) == heard


def test_two_exports_link_in_one_project(exports, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(**exports))
    (tmp_path / "app.c").write_text(APPLICATION)
    build = cmake(tmp_path, tmp_path / "b")
    assert run(build / "app") == "0 0, 7 and 4 windows"
    assert not list(build.rglob("*_selftest"))


PROJECT = """
cmake_minimum_required(VERSION 3.13)
project(two C)
add_subdirectory({l3clf} one)
add_subdirectory({bird} other)
target_compile_definitions(l3clf_library PUBLIC L3CLF_POOL_WINDOWS=7)
add_executable(app app.c)
target_link_libraries(app PRIVATE l3clf::l3clf bird::bird)
"""
APPLICATION = """
#include <stdio.h>
#include "bird.h"
#include "l3clf.h"
static bird_state a;
static l3clf_state b;
static uint64_t arena_a[BIRD_ARENA_BYTES / 8], arena_b[L3CLF_ARENA_BYTES / 8];
int main(void)
{
    printf("%d ", bird_init(&a, arena_a, sizeof arena_a, NULL, NULL));
    printf("%d, ", l3clf_init(&b, arena_b, sizeof arena_b, NULL, NULL));
    printf("%d and %d windows", L3CLF_POOL_WINDOWS, BIRD_POOL_WINDOWS);
    return 0;
}
"""
CROSS = """
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_FLAGS_INIT "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard")
"""


def test_cmake_cross_compiles_the_library_alone(exports, tmp_path):
    tool("arm-none-eabi-gcc")
    (tmp_path / "cross.cmake").write_text(CROSS)
    build = cmake(exports["bird"], tmp_path / "b", f"-DCMAKE_TOOLCHAIN_FILE={tmp_path / 'cross.cmake'}")
    assert [path.name for path in build.glob("*bird*")] == ["libbird.a"]


# --- sections -------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimise", ["-O2", "-Os"])
def test_weights_and_the_code_that_takes_the_time_go_where_one_says(optimise, exports, tmp_path):
    flags = [f'-DBIRD_{what}_SECTION=__attribute__((section("{what}")))' for what in ("CODE", "WEIGHTS")]
    core = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", optimise]
    found = {}
    for part in ("kernels", "frontend", "model"):
        target = tmp_path / f"{part}.o"
        run(tool("arm-none-eabi-gcc"), *core, *WARNINGS, *flags, "-c", exports["bird"] / f"bird_{part}.c", "-o", target)
        listed = run("arm-none-eabi-objdump", "-t", target)
        symbols = re.findall(r"^[0-9a-f]{8} [lg] +(F|O) (\S+)\t([0-9a-f]{8}) (\S+)$", listed, re.MULTILINE)
        found[part] = [(kind, section, int(size, 16), name) for kind, section, size, name in symbols]
    for part in ("kernels", "frontend"):
        assert {section for kind, section, _, _ in found[part] if kind == "F"} == {"CODE"}
    weights, other = (
        sum(size for kind, where, size, _ in found["model"] if kind == "O" and (where == "WEIGHTS") == there)
        for there in (True, False)
    )
    assert weights > 10 * other > 0


# --- Zephyr, Arduino, PlatformIO ------------------------------------------------------------------


def test_the_zephyr_module_builds_with_zephyrs_functions(exports, tmp_path):
    """With functions of the same names: those of Zephyr are not to be had without Zephyr."""
    (tmp_path / "CMakeLists.txt").write_text(ZEPHYR.format(folder=exports["bird"]))
    (tmp_path / "app.c").write_text(
        "#include <bird.h>\nint bird_selftest(void);\nint main(void)\n"
        "{\n    return bird_selftest() + (BIRD_POOL_WINDOWS != 6);\n}\n"
    )
    build = cmake(tmp_path, tmp_path / "b")
    run(build / "app")


ZEPHYR = """
cmake_minimum_required(VERSION 3.20)
project(zephyr_app C)
function(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${{name}} PARENT_SCOPE)
  add_library(${{name}} STATIC)
endfunction()
function(zephyr_library_sources)
  target_sources(${{ZEPHYR_CURRENT_LIBRARY}} PRIVATE ${{ARGN}})
endfunction()
function(zephyr_include_directories)
  target_include_directories(${{ZEPHYR_CURRENT_LIBRARY}} PUBLIC ${{ARGN}})
endfunction()
function(zephyr_compile_definitions)
  target_compile_definitions(${{ZEPHYR_CURRENT_LIBRARY}} PUBLIC ${{ARGN}})
endfunction()
set(CONFIG_BIRD_L3CLF y)
set(CONFIG_BIRD_L3CLF_SELFTEST y)
set(CONFIG_BIRD_L3CLF_POOL_WINDOWS 6)
add_subdirectory({folder}/zephyr module)
add_executable(app app.c)
target_link_libraries(app PRIVATE bird_library)
"""


def test_the_zephyr_module_is_as_zephyrs_schema_has_it(exports):
    """Its scripts/schemas/module-schema.yaml, as far as the file goes; paths are those of scripts/zephyr_module.py."""
    yaml = pytest.importorskip("yaml")
    for name, folder in exports.items():
        module = yaml.safe_load((folder / "zephyr/module.yml").read_text())
        assert module == {"name": name, "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"}}
        assert (folder / "zephyr/CMakeLists.txt").is_file()
        kconfig = (folder / "zephyr/Kconfig").read_text()
        symbol = {"l3clf": "L3CLF", "bird": "BIRD_L3CLF"}[name]
        found = re.findall(r"^config (\w+)\n\t(bool|int) \"[^\"]+\"$", kconfig, re.MULTILINE)
        assert found == [(symbol, "bool"), (f"{symbol}_POOL_WINDOWS", "int"), (f"{symbol}_SELFTEST", "bool")]
        used = set(re.findall(r"CONFIG_(\w+)", (folder / "zephyr/CMakeLists.txt").read_text()))
        assert used == {defined for defined, _ in found}
        assert "\tdefault 4\n" in kconfig
        assert f"`CONFIG_{symbol}=y`" in (folder / "README.md").read_text()


def test_the_arduino_library_is_as_its_specification_has_it(exports):
    """docs/library-specification.md of arduino-cli: required fields, and the flat layout, whose root is compiled."""
    for name, folder in exports.items():
        lines = (folder / "library.properties").read_text().splitlines()
        fields = dict(line.split("=", 1) for line in lines)
        required = "name version author maintainer sentence paragraph category url architectures"
        assert set(fields) == {*required.split(), "includes"}
        assert re.fullmatch(r"[A-Za-z0-9][\w .-]*", fields["name"])
        assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
        assert (fields["category"], fields["includes"]) == ("Data Processing", f"{name}.h")
        assert not (folder / "src").exists()
        assert not (folder / "utility").exists()
        assert [path.parent.name for path in folder.rglob("*.ino")] == ["microphone"]


def test_the_arduino_sketch_hears_what_the_example_hears(exports, tmp_path):
    """With an Arduino of a few lines, whose microphone is standard input."""
    bird, compiler = exports["bird"], tool("g++")
    (tmp_path / "PDM.h").write_text(ARDUINO)
    sketch = bird / "examples/microphone/microphone.ino"
    (tmp_path / "sketch.cpp").write_text(f'#include "{sketch}"\n' + BOARD)
    objects = []
    for source in [*bird.glob("*.c"), bird / "examples/main.c"]:
        objects.append(tmp_path / f"{source.stem}.o")
        run(tool("gcc"), "-O2", f"-I{bird}", "-c", source, "-o", objects[-1])
    run("gcc", *objects, "-o", tmp_path / "example")
    flags = ["-std=gnu++14", "-Wall", "-Wextra", "-Werror", "-x", "c++", f"-I{tmp_path}", f"-I{bird}"]
    run(compiler, *flags, "-c", tmp_path / "sketch.cpp", "-o", tmp_path / "sketch.o")
    run(compiler, tmp_path / "sketch.o", *objects[:-1], "-o", tmp_path / "sketch")
    heard = [name for _, name, _ in decisions(run(tmp_path / "example", input=pcm()))]
    printed = [line.rpartition(" ")[0] for line in run(tmp_path / "sketch", input=pcm()).splitlines()]
    assert printed in (heard, heard[:-1])  # the sketch waits for a whole hop
    assert {"tone", "noise"} <= set(heard)


ARDUINO = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
struct Port {
    void begin(long) {}
    void print(const char *text) { fputs(text, stdout); }
    void print(double number) { printf("%.2f", number); }
    template <class T> void println(T value) { print(value); println(); }
    void println() { puts(""); }
};
static Port Serial;
static void delay(int) {}
struct Microphone {
    void (*ready)() = nullptr;
    void onReceive(void (*call)()) { ready = call; }
    int begin(int channels, long rate) { return channels == 1 && rate == 16000; }
    int available() { return left; }
    int read(void *to, size_t bytes) { left = 0; return (int)fread(to, 1, bytes, stdin); }
    int left = 0;
};
static Microphone PDM;
"""
BOARD = """
int main()
{
    setup();
    while (!feof(stdin)) {
        PDM.left = 512;
        PDM.ready();
        for (int turn = 0; turn < 100; turn++) {
            loop();
        }
    }
}
"""


def test_the_platformio_library_is_as_its_schema_has_it(exports):
    """platformio/assets/schema/library.json of platformio-core, as far as the file goes."""
    for name, folder in exports.items():
        manifest = json.loads((folder / "library.json").read_text())
        types = {"frameworks": str, "platforms": str, "headers": str, "description": str, "keywords": list}
        types |= {"name": str, "version": str, "authors": list, "build": dict, "$schema": str}
        assert {key: type(value) for key, value in manifest.items()} == types
        assert (manifest["name"], manifest["version"]) == (name, l3clf.__version__)
        assert len(name) <= 50
        assert len(manifest["description"]) <= 255
        assert all(re.fullmatch(r"[a-z\d+. -]{1,50}", word) for word in manifest["keywords"])
        assert manifest["authors"] == [{"name": "The l3clf developers"}]
        assert set(manifest["build"]) == {"srcDir", "includeDir", "srcFilter"}
        assert manifest["build"]["srcDir"] == manifest["build"]["includeDir"] == "."
        chosen = set()
        for sign, pattern in (re.fullmatch(r"([+-])<(.+)>", one).groups() for one in manifest["build"]["srcFilter"]):
            matched = [
                path for each in folder.glob(pattern) for path in ([each] if each.is_file() else each.rglob("*"))
            ]
            chosen = chosen | set(matched) if sign == "+" else chosen - set(matched)
        assert chosen == set(folder.glob(f"{name}*.c"))


# --- cycles ---------------------------------------------------------------------------------------


CALL = """
#include "l3clf_cycles.h"
int harness_cycles(l3clf_cycles *cycles);
int harness_cycles(l3clf_cycles *cycles)
{
    return l3clf_measure_cycles(cycles);
}
"""


@pytest.mark.parametrize("core", [CORTEX_M4F, CORTEX_M0PLUS])
def test_cycles_are_those_of_the_counter_if_it_counts(core, exports, tmp_path):
    (tmp_path / "call.c").write_text(CALL)
    folder = exports["l3clf"] / "selftest"
    sources = [*export_sources(folder.parent), f"-I{folder}", str(folder / "cycles.c"), str(tmp_path / "call.c")]
    chip = EmulatedChip(build_chip(sources, tmp_path / "chip.elf", core=core), core=core)
    place = chip.room(16)
    if core is CORTEX_M4F:
        chip._cpu.mem_map(0xE0000000, 0x10000)  # a counter that stands still
    assert chip.call("harness_cycles", place) == -1
    if core is CORTEX_M0PLUS:
        return
    chip._cpu.mem_unmap(0xE0000000, 0x10000)
    chip._cpu.mem_map(0xE000E000, 0x1000)
    written, read = {}, [0]

    def reads(_cpu, offset, _size, _data):
        read[0] += 1000 if offset == 4 else 0
        return read[0] if offset == 4 else 0x40000000

    chip._cpu.mmio_map(
        0xE0001000, 0x1000, reads, None, lambda _c, offset, _s, value, _d: written.update({offset: value}), None
    )
    assert chip.call("harness_cycles", place) == 0
    frame, step, network, head = struct.unpack("<4I", chip.read(place, 16))
    assert (frame, step, head) == (1000, 1000, 1000)
    n_steps = network // 1000
    work = int(re.search(r"NETWORK_WORK (\d+)", (exports["l3clf"] / "l3clf_model.h").read_text())[1])
    assert work / 100_000 <= n_steps <= work / 100_000 * 1.25 + 1
    assert written == {0: 0x40000001, 0xFB0: 0xC5ACCE55}
    assert struct.unpack("<I", chip.read(0xE000EDFC, 4)) == (1 << 24,)


# --- licences, versions, README -------------------------------------------------------------------


def test_every_c_file_names_its_licence(exports, export):
    for folder, student in ((exports["bird"], "LicenseRef-student"), (export, "MIT")):
        files = [path for path in folder.rglob("*") if path.suffix in (".c", ".h", ".ino")]
        assert len(files) > 20
        for path in files:
            own = path.name.endswith(("_model.c", "_golden.h"))
            licence = f"{student} AND LicenseRef-head" if own else "MIT"
            assert path.read_text().startswith(f"/* SPDX-License-Identifier: {licence} */\n"), path
        notice = (folder / "NOTICE").read_text()
        assert "LicenseRef-head" in notice
        assert ("LicenseRef-student" in notice) == (student != "MIT")
        assert (folder / "LICENSE").read_bytes() == (Path(__file__).parents[2] / "LICENSE").read_bytes()


def test_a_licence_of_weights_is_claimed_only_of_ours(exports, export, tmp_path):
    ours = (export / "NOTICE").read_text()
    assert "l3mini, MIT License" in ours
    assert "EfficientAT mn04_as" in ours
    assert "openl3" not in ours
    assert "freesound" in (export / "CREDITS.md").read_text()
    other = l3clf.load_embedder("l3mini", precision="int8", weights=str(TINY))  # another's weights under our name
    clips, labels = sounds()
    named = l3clf.ClipClassifier(other, sample_rate=RATE, cache=None).fit(clips, labels)
    for folder in (exports["l3clf"], l3clf.device.export(named, tmp_path / "named")):
        notice = (folder / "NOTICE").read_text()
        assert "l3clf does not know its licence" in notice
        assert "l3mini, MIT" not in notice
        assert not (folder / "CREDITS.md").exists()
        assert "its file names no licence" in (folder / "README.md").read_text()


def test_versions_are_numbers_that_verify_leaves_alone(exports, tmp_path):
    text = (exports["bird"] / "bird_model.h").read_text()
    found = dict(re.findall(r"#define BIRD_VERSION_(\w+) (\d+)\n", text))
    assert ".".join(found[part] for part in ("MAJOR", "MINOR", "PATCH")) == l3clf.__version__
    from l3clf.device.constants import altered_constants

    other = mutated(exports["bird"], tmp_path / "c", "bird_model.h", "VERSION_MAJOR ", "VERSION_MAJOR 9")
    assert altered_constants(read_export(other), other) == []


def test_the_first_screen_of_the_readme_says_what_it_takes(exports, tmp_path):
    bird = tmp_path / "c"
    shutil.copytree(exports["bird"], bird)
    screen = "\n".join((bird / "README.md").read_text().splitlines()[:20])
    for words in ("16,000 samples a second", "every 0.5 s", "bytes of arena", "not measured", "MIT (`LICENSE`)"):
        assert words in screen
    costs = measure_costs(bird, [CORTEX_M4F], [ZIG], ["-Os"])
    add_figures(bird, read_export(bird), costs)
    text = (bird / "README.md").read_text()
    screen = "\n".join(text.splitlines()[:20])
    for number in (costs[0].flash_bytes, costs[0].ram_bytes, costs[0].instructions.push_longest):
        assert f"{number:,}" in screen
    assert "not measured" not in text
    assert "`bird_step(&state, 100000)`" in screen
    assert f"Cortex-M4F ({ZIG} -Os)" in screen
    (bird / "README.md").write_text("mine")
    with pytest.raises(DeviceError, match=r"README\.md: was changed since l3clf wrote it"):
        add_figures(bird, read_export(bird), costs)
