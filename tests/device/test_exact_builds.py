"""Levels and probabilities do not depend on the compiler, its flags or the core: equal to the last bit."""

import ctypes
import shutil
import subprocess
import sys

import numpy as np
import pytest

from l3clf.device.chips import EmulatedChip
from l3clf.device.toolchain import ARM_GCC, CORTEX_M0PLUS, CORTEX_M4F, arm_compilers, build_chip, export_sources
from l3clf.embedders.fixed_frontend import fixed_levels

SIZE = 224  # numbers of an embedding of l3mini
UNDEFINED = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
ZIG = [sys.executable, "-m", "ziglang", "cc"]
BUILDS = {
    "gcc -O0": ["gcc", "-O0", *UNDEFINED],
    "gcc, joined": ["gcc", "-O3", "-std=gnu11", "-march=native", "-ffp-contract=fast"],
    "gcc, short multiply": ["gcc", "-O1", *UNDEFINED, "-DL3CLF_SHORT_PRODUCTS=1"],
    "clang, joined": [*ZIG, "-O2", "-march=native", "-ffp-contract=fast"],
}


def frames():
    """What is hardest for integers: full scale in every shape, silence, single samples, and noise of every level."""
    rng, time = np.random.default_rng(0), np.arange(512)
    squares = [np.where(np.sin(rate * time + 0.1) > 0, 32767, -32768) for rate in np.linspace(0.005, np.pi, 60)]
    others = [np.where(rng.random(512) < share, 32767, -32768) for share in (0.01, 0.5, 0.5, 0.5)]
    constant = [np.full(512, value) for value in (0, 1, -1, 2, 32767, -32768)]
    single = [np.where(time == place, value, 0) for place in (0, 1, 255, 256, 511) for value in (1, -32768, 32767)]
    period = [np.where(time % 4 < 2, 32767, -32768), np.where(time % 2, 32767, -32768)]
    noise = [rng.normal(0, 2.0**k, 512) for k in range(16)]
    sines = [amplitude * np.sin(rate * time) for amplitude in (1, 3, 200, 32767) for rate in (0.1, 0.7, 2.2)]
    found = np.array([*squares, *others, *constant, *single, *period, *noise, *sines])
    return np.clip(np.rint(found), -32768, 32767).astype(np.int16)


def vectors():
    """Ordinary embeddings, and some that saturate."""
    rng = np.random.default_rng(1)
    return np.concatenate([scale * rng.standard_normal((20, SIZE)) for scale in (0.1, 1, 30, 1e4)]).astype(np.float32)


def of_library(folder, target, command):
    """Levels of all frames and probabilities of all vectors by a build for this machine."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    sources = [str(path) for path in folder.glob("l3clf*.c")]
    subprocess.run([*command, "-shared", "-fPIC", f"-I{folder}", *sources, "-o", str(target)], check=True)
    library = ctypes.CDLL(str(target))
    levels, rows = np.empty((len(frames()), 64), np.int8), np.empty((len(vectors()), 3), np.float32)
    work = (ctypes.c_int32 * 1024)()
    for frame, out in zip(frames(), levels, strict=True):
        library.l3clf_frame(frame.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), work)
    for vector, out in zip(vectors(), rows, strict=True):
        library.l3clf_head(vector.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
    return levels, rows


def of_chip(chip):
    """The same by an emulated core."""
    room = chip.room(16_384)
    levels, rows = [], []
    for frame in frames():
        chip.write(room, frame.tobytes())
        chip.call("l3clf_frame", room, room + 2048, room + 4096)
        levels.append(np.frombuffer(chip.read(room + 2048, 64), np.int8))
    for vector in vectors():
        chip.write(room, vector.tobytes())
        chip.call("harness_head", room, room + 2048)
        rows.append(np.frombuffer(chip.read(room + 2048, 12), np.float32))
    return np.stack(levels), np.stack(rows)


@pytest.fixture(scope="module")
def reference(export, tmp_path_factory):
    """Python's levels, and the probabilities of one build."""
    command = ["gcc", "-O2"] if shutil.which("gcc") else [*ZIG, "-O2"]
    rows = of_library(export, tmp_path_factory.mktemp("reference") / "x.so", command)[1]
    return fixed_levels(frames(), 1)[:, 0], rows


@pytest.mark.parametrize("build", BUILDS)
def test_builds_for_this_machine(build, export, reference, tmp_path):
    levels, rows = of_library(export, tmp_path / "x.so", BUILDS[build])
    np.testing.assert_array_equal(levels, reference[0])
    np.testing.assert_array_equal(rows.view(np.int32), reference[1].view(np.int32))


@pytest.mark.parametrize("core", [CORTEX_M4F, CORTEX_M0PLUS], ids=lambda core: core.name)
@pytest.mark.parametrize("compiler", arm_compilers())
def test_builds_for_cores(compiler, core, export, reference, tmp_path):
    elf = build_chip(export_sources(export), tmp_path / "x.elf", gcc=compiler == ARM_GCC, core=core)
    levels, rows = of_chip(EmulatedChip(elf, core=core))
    np.testing.assert_array_equal(levels, reference[0])
    np.testing.assert_array_equal(rows.view(np.int32), reference[1].view(np.int32))


def test_probabilities_are_ordinary_and_add_up(reference):
    rows = reference[1]
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
