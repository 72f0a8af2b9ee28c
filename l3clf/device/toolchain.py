"""Compilers for this machine and for a Cortex-M4F.

Rule: the package ziglang, which pip installs, is enough for both.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from l3clf.errors import DeviceError, MissingDependencyError, how_to_install

__all__ = ["HARNESS", "INSTALL", "build_chip", "build_host", "export_sources", "has_arm_gcc"]

HARNESS = Path(str(files("l3clf.device") / "harness"))
INSTALL = f"install with: {how_to_install('device')}"
# Contraction to fused multiply-adds is off because they round once where Python rounds twice.
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-O2", "-ffp-contract=off")
_ARM_GCC = "arm-none-eabi-gcc"
_SECTIONS = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")


def has_arm_gcc() -> bool:
    """Return whether GCC for bare-metal Arm is installed."""
    return shutil.which(_ARM_GCC) is not None


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
    found = sorted(folder.glob("l3clf*.c"))
    if not (folder / "l3clf_model.c").is_file():
        raise DeviceError(f"{folder}: no l3clf_model.c in this folder; name a folder that l3clf export wrote")
    return [*(f"-D{define}" for define in defines), f"-I{folder}", *map(str, found), str(harness)]


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
    compiler = [found] if (found := shutil.which("gcc") or shutil.which("clang")) else _zig()
    _run([*compiler, *WARNINGS, "-shared", "-fPIC", *sources, "-lm", "-o", str(target)])
    return target


def build_chip(sources: Sequence[str], target: Path, gcc: bool = False, script: str = "chip.ld") -> Path:
    """Compile an ELF file for a Cortex-M4F.

    Parameters
    ----------
    sources, target
        As for `build_host`.
    gcc : bool, default=False
        Whether to compile with GCC for Arm instead of Zig's clang.
    script : str, default="chip.ld"
        Linker script in the folder of the harness.

    Raises
    ------
    MissingDependencyError, DeviceError
        As for `build_host`.
    """
    if gcc:
        core = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
        start, libraries = [_ARM_GCC, *core, "-nostartfiles", "--specs=nosys.specs"], ["-lm"]
    else:
        core = ["-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp", f"-I{HARNESS / 'include'}"]
        start, libraries = [*_zig(), *core, "-fno-sanitize=all", "-fno-exceptions", "-fno-unwind-tables"], []
    _run([*start, *WARNINGS, *_SECTIONS, *sources, f"-Wl,-T,{HARNESS / script}", *libraries, "-o", str(target)])
    return target


def _zig() -> list[str]:
    if importlib.util.find_spec("ziglang") is None:
        raise MissingDependencyError(f"no C compiler on this machine; {INSTALL}")
    return [sys.executable, "-m", "ziglang", "cc"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        problem = next((line for line in lines if "error" in line), lines[-1] if lines else "no output")
        name = "zig cc" if "ziglang" in command else Path(command[0]).name
        raise DeviceError(f"export: {name} cannot compile it ({problem.strip()}); write it again with l3clf export")
