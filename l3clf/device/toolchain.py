"""Compilers for this machine and for Cortex-M cores.

Rule: the package ziglang, which pip installs, is enough for both. Without it, GCC or clang and GCC for Arm are used.
"""

import functools
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from l3clf.device.runtime_files import PREFIX, prefix_of, prefixed
from l3clf.errors import DeviceError, MissingDependencyError, how_to_install

__all__ = [
    "ARM_GCC",
    "CORTEX_M0PLUS",
    "CORTEX_M3",
    "CORTEX_M4F",
    "HARNESS",
    "INSTALL",
    "ZIG",
    "Core",
    "Tools",
    "arm_compilers",
    "build_chip",
    "build_host",
    "export_sources",
    "find_tools",
    "has_arm_gcc",
    "self_test_sources",
]

HARNESS = Path(str(files("l3clf.device") / "harness"))
INSTALL = f"install with: {how_to_install('device')}"
# Contraction to fused multiply-adds is off because they round once where Python rounds twice.
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-ffp-contract=off")
_ARM_GCC = "arm-none-eabi-gcc"
ZIG, ARM_GCC = "Zig's clang", "GCC for Arm"
_SECTIONS = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")


@dataclass(frozen=True)
class Core:
    """A processor core that exports are compiled for and emulated on.

    Attributes
    ----------
    name : str
    gcc, zig : tuple of str
        What tells each compiler.
    emulated_as : str
        Unicorn's name of the core; a Cortex-M0+ has the instructions of a Cortex-M0.
    """

    name: str
    gcc: tuple[str, ...]
    zig: tuple[str, ...]
    emulated_as: str


CORTEX_M4F = Core(
    "Cortex-M4F",
    ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp"),
    "CORTEX_M4",
)
CORTEX_M3 = Core(
    "Cortex-M3", ("-mcpu=cortex-m3",), ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m3"), "CORTEX_M3"
)
CORTEX_M0PLUS = Core(
    "Cortex-M0+", ("-mcpu=cortex-m0plus",), ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus"), "CORTEX_M0"
)


@dataclass(frozen=True)
class Tools:
    """The tools on this machine that verification can use.

    Attributes
    ----------
    host : bool
        A C compiler for this machine: GCC, clang or ziglang.
    zig, arm_gcc : bool
        Compilers for a Cortex-M4F: ziglang, and GCC for Arm.
    emulator : bool
        The packages unicorn and pyelftools.
    board : bool
        QEMU for Arm.
    """

    host: bool
    zig: bool
    arm_gcc: bool
    emulator: bool
    board: bool

    @property
    def chip(self) -> bool:
        """Whether there is a compiler for a Cortex-M4F."""
        return self.zig or self.arm_gcc

    def check(self) -> None:
        """Check that an export can be compiled for, and run on, this machine and some emulated chip.

        Raises
        ------
        MissingDependencyError
            If not; it names all that is missing.
        """
        needed = (
            (self.host, "a C compiler (gcc or clang)"),
            (self.chip, f"a compiler for a Cortex-M4F (ziglang, or {_ARM_GCC} with newlib)"),
            (self.emulator or self.board, "an emulator (unicorn and pyelftools, or qemu-system-arm)"),
        )
        if lacking := [name for is_there, name in needed if not is_there]:
            raise MissingDependencyError(f"this machine lacks {', and '.join(lacking)}; {INSTALL}")

    def missing(self) -> str:
        """Return what is left out for want of a tool, in words; an empty string if nothing is."""
        needed = (
            (self.chip, f"a compiler (ziglang, or {_ARM_GCC} with newlib)"),
            (self.emulator, "an emulator (unicorn and pyelftools)"),
        )
        lacking = [name for is_there, name in needed if not is_there]
        return f"the emulated Cortex-M4F lacks {' and '.join(lacking)}; {INSTALL}" if lacking else ""


def find_tools() -> Tools:
    """Return which tools are on this machine."""
    zig = _has_package("ziglang")
    return Tools(
        host=zig or _host_gcc() is not None,
        zig=zig,
        arm_gcc=has_arm_gcc(),
        emulator=_has_package("unicorn") and _has_package("elftools"),
        board=shutil.which("qemu-system-arm") is not None,
    )


def _has_package(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _host_gcc() -> str | None:
    return shutil.which("gcc") or shutil.which("clang")


def has_arm_gcc() -> bool:
    """Return whether GCC for bare-metal Arm is installed, with the C library that some systems package separately."""
    found = shutil.which(_ARM_GCC)
    return found is not None and _has_newlib(found)


@functools.cache
def _has_newlib(compiler: str) -> bool:
    asked = [compiler, "-print-file-name=nosys.specs"]  # the answer is the bare name if there is no such file
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 - a compiler on the PATH
    return Path(done.stdout.strip()).is_absolute()


def export_sources(folder: Path, defines: Sequence[str] = (), harness: Path = HARNESS / "harness.c") -> list[str]:
    """Return the compiler arguments for an export and a harness around it.

    Parameters
    ----------
    folder : Path
        The export.
    defines : sequence of str
        ``NAME`` or ``NAME=VALUE``.
    harness : Path, default=harness.c of this package

    Raises
    ------
    DeviceError
        If the folder is not an export.
    """
    folder = folder.resolve()  # a relative name could begin with "-" and look like an option
    prefix = prefix_of(folder)
    found = sorted([folder / f"{prefix}.c", *folder.glob(f"{prefix}_*.c")])
    if not (folder / f"{prefix}_model.c").is_file():
        raise DeviceError(f"{folder}: no {prefix}_model.c in this folder; name a folder that l3clf export wrote")
    flags = [prefixed(f"-D{define}", prefix, code=False) for define in defines]
    return [*flags, f"-I{folder}", *map(str, found), str(_named(harness, prefix))]


def self_test_sources(folder: Path) -> list[str]:
    """Return the C files of an export's self-test, without a main function; none if they were deleted."""
    path = folder.resolve() / "selftest" / "selftest.c"
    return [str(path)] if path.is_file() else []


def _named(harness: Path, prefix: str) -> Path:
    """Return a harness that calls functions of a prefix."""
    if prefix == PREFIX:
        return harness
    path = Path(_own_folder().name, f"{prefix}_{harness.name}")
    path.write_text(prefixed(harness.read_text(encoding="utf-8"), prefix), encoding="utf-8")
    return path


@functools.cache
def _own_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder that is deleted when the process ends."""
    return tempfile.TemporaryDirectory(prefix="l3clf-")


def build_host(sources: Sequence[str], target: Path) -> Path:
    """Compile a shared library for this machine, with GCC or clang if installed, otherwise with Zig's clang.

    Parameters
    ----------
    sources : sequence of str
        From `export_sources`.
    target : Path
        File to write.

    Raises
    ------
    MissingDependencyError
        If there is no C compiler.
    DeviceError
        If the compilation fails.
    """
    compiler = [found] if (found := _host_gcc()) else _zig()
    _run([*compiler, *WARNINGS, "-O2", "-shared", "-fPIC", *sources, "-lm", "-o", str(target)])
    return target


def arm_compilers() -> list[str]:
    """Return the names of the compilers for Cortex-M cores on this machine, of `ZIG` and `ARM_GCC`."""
    tools = find_tools()
    return [name for name, is_there in ((ZIG, tools.zig), (ARM_GCC, tools.arm_gcc)) if is_there]


def build_chip(
    sources: Sequence[str],
    target: Path,
    gcc: bool = False,
    script: str = "chip.ld",
    core: Core = CORTEX_M4F,
    optimise: str = "-O2",
) -> Path:
    """Compile an ELF file for a Cortex-M core.

    Parameters
    ----------
    sources, target
        As for `build_host`.
    gcc : bool, default=False
        Whether to compile with GCC for Arm instead of Zig's clang; without ziglang, it is used anyway.
    script : str, default="chip.ld"
        Linker script in the folder of the harness.
    core : Core, default=CORTEX_M4F
    optimise : str, default="-O2"

    Raises
    ------
    MissingDependencyError, DeviceError
        As for `build_host`.
    """
    if gcc or (not _has_package("ziglang") and has_arm_gcc()):
        start, libraries = [_ARM_GCC, *core.gcc, "-mthumb", "-nostartfiles", "--specs=nosys.specs"], ["-lm"]
    else:
        # Without -g, Zig leaves the symbols out of what it compiles for size.
        plain = ["-g", f"-I{HARNESS / 'include'}", "-fno-sanitize=all", "-fno-exceptions", "-fno-unwind-tables"]
        start, libraries = [*_zig(), *core.zig, *plain], []
    script_path = f"-Wl,-T,{HARNESS / script}"
    _run([*start, *WARNINGS, optimise, *_SECTIONS, *sources, script_path, *libraries, "-o", str(target)])
    return target


def _zig() -> list[str]:
    if not _has_package("ziglang"):
        raise MissingDependencyError(f"no C compiler on this machine; {INSTALL}")
    return [sys.executable, "-m", "ziglang", "cc"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        problem = next((line for line in lines if "error" in line), lines[-1] if lines else "no output")
        name = "zig cc" if "ziglang" in command else Path(command[0]).name
        raise DeviceError(f"export: {name} cannot compile it ({problem.strip()}); write it again with l3clf export")
