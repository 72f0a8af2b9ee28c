"""What an export costs in flash, memory and instructions, and which chips it fits.

Rule: all figures are measured on the exported code, compiled for a Cortex-M4F and run on an emulated one. Instructions
are not cycles, and nothing is claimed that was not measured.
"""

import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l3clf.device.chips import EmulatedChip, push
from l3clf.device.exporter import check_interface, read_export
from l3clf.device.toolchain import ARM_GCC, ZIG, build_chip, export_sources, find_tools

__all__ = ["CHIPS", "Cost", "KnownChip", "fits", "measure_cost"]


@dataclass(frozen=True)
class Cost:
    """The cost of an export on a Cortex-M4F with DSP instructions.

    Attributes
    ----------
    flash_bytes : int
        Code and constants, including the functions of the C library that are called.
    state_bytes, arena_bytes, stack_bytes : int
        Memory that is kept between calls, working memory of a call, and the deepest stack of ``l3clf_push``.
    frontend : int
        Instructions per second of sound.
    network : int
        Instructions per window.
    decision : int
        Instructions per window for pooling and the head.
    macs : int
        Multiply-accumulates per window.
    compiler : str
        What compiled it: "Zig's clang" or "GCC for Arm".
    """

    flash_bytes: int
    state_bytes: int
    arena_bytes: int
    stack_bytes: int
    frontend: int
    network: int
    decision: int
    macs: int
    compiler: str = ZIG

    @property
    def ram_bytes(self) -> int:
        """State, arena and stack."""
        return self.state_bytes + self.arena_bytes + self.stack_bytes


@dataclass(frozen=True)
class KnownChip:
    """A widely used chip.

    Attributes
    ----------
    name, core : str
    flash_bytes, ram_bytes : int
    clock_hz : int
        Its maximum clock.
    measured : bool
        Whether the instruction counts of a Cortex-M4F apply to its core.
    """

    name: str
    core: str
    flash_bytes: int
    ram_bytes: int
    clock_hz: int
    measured: bool


_KB = 1024
CHIPS = (  # sizes and clocks from the manufacturers' data sheets
    KnownChip("STM32L476", "Cortex-M4F", 1024 * _KB, 128 * _KB, 80_000_000, True),
    KnownChip("STM32F411", "Cortex-M4F", 512 * _KB, 128 * _KB, 100_000_000, True),
    KnownChip("STM32G431", "Cortex-M4F", 128 * _KB, 32 * _KB, 170_000_000, True),
    KnownChip("nRF52840", "Cortex-M4F", 1024 * _KB, 256 * _KB, 64_000_000, True),
    KnownChip("RP2040", "Cortex-M0+, no FPU, no DSP", 2048 * _KB, 264 * _KB, 133_000_000, False),
    KnownChip("ESP32-S3", "Xtensa LX7, plain C", 8192 * _KB, 512 * _KB, 240_000_000, False),
    KnownChip("STM32U585", "Cortex-M33F", 2048 * _KB, 786 * _KB, 160_000_000, True),
)


def fits(cost: Cost, chip: KnownChip, hop_s: float) -> str:
    """Return whether an export fits a chip, in words.

    Parameters
    ----------
    cost : Cost
    chip : KnownChip
    hop_s : float
        Seconds from one window to the next.

    Returns
    -------
    str
        "fits" with the share of the processor's time, assuming one instruction per cycle, where the instruction counts
        apply; otherwise what is missing.
    """
    memories = (("flash", cost.flash_bytes, chip.flash_bytes), ("RAM", cost.ram_bytes, chip.ram_bytes))
    for name, needed, present in memories:
        if needed > present:
            return f"does not fit: needs {needed:,} bytes of {name}, has {present:,}"
    if not chip.measured:
        return f"fits in memory; speed not measured ({chip.core})"
    share = (cost.frontend + (cost.network + cost.decision) / hop_s) / chip.clock_hz
    verdict = "fits" if share < 1 else "too slow"
    return f"{verdict}: {share:.0%} of its time at {chip.clock_hz / 1e6:g} MHz and one instruction per cycle"


def measure_cost(folder: str | os.PathLike[str], gcc: bool = False) -> Cost:
    """Measure the flash, memory and instructions of an export, on noise.

    Parameters
    ----------
    folder : path-like
        From `l3clf.device.export`.
    gcc : bool, default=False
        Whether to compile with GCC for Arm instead of Zig's clang; without ziglang, it is used anyway.

    Returns
    -------
    Cost

    Raises
    ------
    MissingDependencyError
        If there is no compiler or no emulator.
    DeviceError
        If the folder is not an export, or the code does not compile or run.
    """
    d = read_export(folder)
    check_interface(Path(folder))
    with tempfile.TemporaryDirectory() as place:
        chip = EmulatedChip(build_chip(export_sources(Path(folder)), Path(place) / "cost.elf", gcc), counting=True)
    chip.call("harness_start")
    noise = np.random.default_rng(0).normal(0, 3000, d.window).astype(np.int16)  # -21 dBFS: above any usual gate
    push(chip, noise[:-1])  # all frames but no window, so that what follows is a window alone
    before = chip.spent().instructions
    frontend = before.total()
    room = chip.room(2)
    chip.write(room, noise[-1:].tobytes())
    stack = chip.stack_bytes("harness_push", room, 1)  # the window's last sample
    window = (chip.spent().instructions - before).total()
    before = chip.spent().instructions
    chip.call("harness_network")
    network = (chip.spent().instructions - before).total()
    return Cost(
        flash_bytes=sum(size for name, size in chip.sections.items() if name != ".bss"),  # .data starts in flash too
        state_bytes=struct.unpack("<i", chip.read(chip.address("harness_state_bytes"), 4))[0],
        arena_bytes=d.arena_bytes,
        stack_bytes=stack,
        frontend=round(frontend * d.spec.sample_rate / (d.window - 1)),
        network=network,
        decision=window - network,
        macs=sum(layer.macs for layer in d.layers),
        compiler=ARM_GCC if gcc or not find_tools().zig else ZIG,
    )
