"""A second, independent emulator: QEMU's board mps2-an386 runs the self-test of an export.

Rule: it is optional. The checks of `l3clf.device.verify` need only what pip installs, and share no code with this one.
"""

import shutil
import subprocess
from pathlib import Path

from l3clf.device.toolchain import HARNESS, build_chip, export_sources, has_arm_gcc, self_test_sources

__all__ = ["PASSED", "has_board", "outcome", "self_test"]

_QEMU = "qemu-system-arm"
_LIMIT_S = 300
PASSED = "all checks pass"
_RESULTS = {  # by exit status, as in selftest/main.c
    0: PASSED,
    1: "levels differ",
    2: "the embedding differs",
    3: "the probabilities differ",
    4: "the decision differs",
    5: "the decision about silence differs",
    6: "slices differ",
    7: "events differ",
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
        Folder for the binary, which GCC for Arm compiles if it is installed.

    Returns
    -------
    str
        "all checks pass", or the first check that fails.

    Raises
    ------
    MissingDependencyError, DeviceError
        As for `l3clf.device.toolchain.build_chip`.
    """
    sources = [*export_sources(folder, harness=HARNESS / "board.c"), *self_test_sources(folder)]
    elf = build_chip(sources, place / "board.elf", gcc=has_arm_gcc(), script="board.ld")
    board = [_QEMU, "-machine", "mps2-an386", "-semihosting", "-display", "none", "-monitor", "none", "-serial", "none"]
    try:
        done = subprocess.run([*board, "-kernel", str(elf)], capture_output=True, timeout=_LIMIT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"no result after {_LIMIT_S} s"
    return outcome(done.returncode)


def outcome(status: int) -> str:
    """Return the result of ``l3clf_selftest`` in words."""
    return _RESULTS.get(status, f"crashed ({status})")
