"""A second emulator, where it is installed: QEMU's board mps2-an386 runs the self-test that came with an export.

Rule: nothing depends on it. What pip can install is the proof (`l3clf.device.verify`); this one shares no code with it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from l3clf.device.toolchain import HARNESS, build_chip, export_sources, has_arm_gcc

__all__ = ["PASSED", "has_board", "self_test"]

_QEMU = "qemu-system-arm"
_LIMIT_S = 300
PASSED = "all checks pass"
_ANSWERS = {
    0: PASSED,
    1: "levels differ",
    2: "the embedding differs",
    3: "the probabilities differ",
    4: "the decision differs",
}


def has_board() -> bool:
    """Return whether QEMU for Arm is installed."""
    return shutil.which(_QEMU) is not None


def self_test(folder: Path, place: Path) -> str:
    """Run an export's self-test on the board.

    Parameters
    ----------
    folder : Path
        The export.
    place : Path
        Folder for what is compiled; with GCC for Arm where it is installed.

    Returns
    -------
    str
        "all checks pass", or what does not.

    Raises
    ------
    MissingDependencyError, DeviceError
        As for `l3clf.device.toolchain.build_chip`.
    """
    sources = [*export_sources(folder, ["L3CLF_NO_MAIN"], HARNESS / "board.c"), str(folder.resolve() / "selftest.c")]
    elf = build_chip(sources, place / "board.elf", gcc=has_arm_gcc(), script="board.ld")
    board = [_QEMU, "-machine", "mps2-an386", "-semihosting", "-display", "none", "-monitor", "none", "-serial", "none"]
    try:
        done = subprocess.run([*board, "-kernel", str(elf)], capture_output=True, timeout=_LIMIT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"no answer in {_LIMIT_S} s"
    return _ANSWERS.get(done.returncode, f"crashed ({done.returncode})")
