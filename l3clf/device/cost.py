"""What an export costs in flash, memory and instructions, and which chips it fits.

Rule: all figures are measured on the exported code, compiled for a core and run on an emulated one, with each compiler
that is there, for speed and for size. Instructions are not cycles, and nothing is claimed that was not measured.
"""

import os
import struct
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l3clf.device.chips import EmulatedChip, Spent
from l3clf.device.exporter import check_interface, read_export
from l3clf.device.model import DeviceModel
from l3clf.device.toolchain import (
    ARM_GCC,
    CORTEX_M0PLUS,
    CORTEX_M3,
    CORTEX_M4F,
    Core,
    arm_compilers,
    build_chip,
    export_sources,
)
from l3clf.networks.threads import n_threads

__all__ = ["CHIPS", "CORES", "OPTIMISATIONS", "SLICE_MACS", "Cost", "KnownChip", "Work", "fits", "measure_costs"]

CORES = (CORTEX_M4F, CORTEX_M3, CORTEX_M0PLUS)
OPTIMISATIONS = ("-O2", "-Os")
SLICE_MACS = 100_000  # the budget of l3clf_step in the examples of an export
SAMPLE_BYTES = 2


@dataclass(frozen=True)
class Work:
    """Instructions or cycles.

    Attributes
    ----------
    frontend : int
        Per second of sound, with what ``l3clf_push`` does beside the levels: copies, the energy of windows.
    levels : int
        Of ``l3clf_frame``, from the samples of a frame to its levels.
    frame : int
        Of the longest call that brings a frame and no window.
    network : int
        Per window.
    decision : int
        Per window, for pooling and the head, if all windows of the pool count.
    push_median, push_longest : int
        Of calls of ``l3clf_push`` with the samples of one hop between frames; the longest ends a window.
    slice_longest : int
        Of calls of ``l3clf_step`` with a budget of `SLICE_MACS`.
    """

    frontend: int
    levels: int
    frame: int
    network: int
    decision: int
    push_median: int
    push_longest: int
    slice_longest: int

    def per_second(self, hop_s: float) -> float:
        """Return what a second of sound takes, with a window every `hop_s` seconds."""
        return self.frontend + (self.network + self.decision) / hop_s


@dataclass(frozen=True)
class Cost:
    """The cost of one build of an export.

    Attributes
    ----------
    core, build : str
        What it was compiled for, and by what: "Zig's clang -O2".
    flash_bytes : int
        Code and constants, including the functions of the C library that are called.
    state_bytes, arena_bytes, stack_bytes, static_bytes : int
        Memory that is kept between calls, working memory of a call, the deepest stack of ``l3clf_push``, and variables
        of the C library.
    macs : int
        Multiply-accumulates per window.
    instructions : Work
    cycles : Work or None
        By Arm's timing table; None for cores other than a Cortex-M0+.
    """

    core: str
    build: str
    flash_bytes: int
    state_bytes: int
    arena_bytes: int
    stack_bytes: int
    static_bytes: int
    macs: int
    instructions: Work
    cycles: Work | None = None

    @property
    def time(self) -> Work:
        """Cycles where they are known, or instructions, of which each takes a cycle or more."""
        return self.cycles or self.instructions

    @property
    def ram_bytes(self) -> int:
        """State, arena, stack and variables of the C library, without a buffer for samples."""
        return self.state_bytes + self.arena_bytes + self.stack_bytes + self.static_bytes

    def buffer_bytes(self, clock_hz: float, sample_rate: int, hop: int) -> int:
        """Return the size of a buffer of two halves for samples, with ``l3clf_feed`` and ``l3clf_step``.

        Each half holds what comes in while the longest slice and a frame are computed, at least the `hop` samples
        between two frames.
        """
        arrived = (self.time.frame + self.time.slice_longest) / clock_hz * sample_rate
        return 2 * SAMPLE_BYTES * max(hop, int(arrived) + 1)


@dataclass(frozen=True)
class KnownChip:
    """A widely used chip.

    Attributes
    ----------
    name, core : str
    flash_bytes, ram_bytes : int
    clock_hz : int
        Its maximum clock.
    measured_as : Core or None
        The core whose figures apply to it; None if nothing was measured.
    """

    name: str
    core: str
    flash_bytes: int
    ram_bytes: int
    clock_hz: int
    measured_as: Core | None


_KB = 1024
CHIPS = (  # sizes and clocks from the manufacturers' data sheets
    KnownChip("STM32L476", "Cortex-M4F", 1024 * _KB, 128 * _KB, 80_000_000, CORTEX_M4F),
    KnownChip("STM32F411", "Cortex-M4F", 512 * _KB, 128 * _KB, 100_000_000, CORTEX_M4F),
    KnownChip("STM32G431", "Cortex-M4F", 128 * _KB, 32 * _KB, 170_000_000, CORTEX_M4F),
    KnownChip("nRF52840", "Cortex-M4F", 1024 * _KB, 256 * _KB, 64_000_000, CORTEX_M4F),
    KnownChip("STM32U585", "Cortex-M33F", 2048 * _KB, 786 * _KB, 160_000_000, CORTEX_M4F),
    KnownChip("STM32F207", "Cortex-M3", 1024 * _KB, 128 * _KB, 120_000_000, CORTEX_M3),
    KnownChip("RP2040", "Cortex-M0+", 2048 * _KB, 264 * _KB, 133_000_000, CORTEX_M0PLUS),
    KnownChip("ESP32-S3", "Xtensa LX7", 8192 * _KB, 512 * _KB, 240_000_000, None),
)


def fits(costs: Sequence[Cost], chip: KnownChip, d: DeviceModel) -> str:
    """Return whether an export fits a chip, in words.

    Parameters
    ----------
    costs : sequence of Cost
        Of all builds; those for the chip's core count.
    chip : KnownChip
    d : DeviceModel

    Returns
    -------
    str
        "fits" with the largest share of the processor's time in any build; otherwise what is missing.
    """
    core = chip.measured_as or CORTEX_M4F
    found = [cost for cost in costs if cost.core == core.name]
    if not found:
        return f"not measured ({chip.core})"
    flash = max(cost.flash_bytes for cost in found)
    ram = max(c.ram_bytes + c.buffer_bytes(chip.clock_hz, d.spec.sample_rate, d.spec.hop) for c in found)
    for name, needed, present in (("flash", flash, chip.flash_bytes), ("RAM", ram, chip.ram_bytes)):
        if needed > present:
            return f"does not fit: needs {needed:,} bytes of {name}, has {present:,}"
    if chip.measured_as is None:
        return f"fits in memory; speed not measured ({chip.core})"
    shares = sorted((cost.time.per_second(d.hop_s) / chip.clock_hz, cost.build) for cost in found)
    by = "Arm's timing table" if found[0].cycles else "one instruction per cycle"
    (least, best), (most, worst) = shares[0], shares[-1]
    if most < 1:
        return f"fits: at most {most:.0%} of its time at {chip.clock_hz / 1e6:g} MHz by {by} ({worst})"
    if least < 1:
        return f"fits with {best}: {least:.0%} of its time by {by}; too slow with {worst}: {most:.0%}"
    return f"too slow: at least {least:.0%} of its time at {chip.clock_hz / 1e6:g} MHz by {by} ({best})"


def measure_costs(
    folder: str | os.PathLike[str],
    cores: Sequence[Core] = CORES,
    compilers: Sequence[str] | None = None,
    optimisations: Sequence[str] = OPTIMISATIONS,
) -> list[Cost]:
    """Measure the flash, memory and instructions of an export, on noise.

    Parameters
    ----------
    folder : path-like
        From `l3clf.device.export`.
    cores : sequence of Core
    compilers : sequence of str, optional
        Of those that `arm_compilers` names; all of them when left out.
    optimisations : sequence of str
        Options of both compilers.

    Returns
    -------
    list of Cost
        One for each build: cores, then compilers, then optimisations.

    Raises
    ------
    MissingDependencyError
        If there is no compiler or no emulator.
    DeviceError
        If the folder is not an export, or the code does not compile or run.
    """
    d, sources = read_export(folder), export_sources(Path(folder))
    check_interface(Path(folder))
    names = arm_compilers() or [ARM_GCC] if compilers is None else compilers
    builds = [(core, name, how) for core in cores for name in names for how in optimisations]
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(n_threads(None)) as pool:

        def measure(number: int, core: Core, compiler: str, optimise: str) -> Cost:
            elf = Path(place) / f"cost{number}.elf"
            build_chip(sources, elf, compiler == ARM_GCC, core=core, optimise=optimise)
            return _measured(d, EmulatedChip(elf, True, core), core, f"{compiler} {optimise}")

        return list(pool.map(lambda each: measure(each[0], *each[1]), enumerate(builds)))


def _measured(d: DeviceModel, chip: EmulatedChip, core: Core, build: str) -> Cost:
    n_samples = d.window + d.hop
    sound = np.random.default_rng(0).normal(0, 3000, n_samples).astype(np.int16)  # -21 dBFS: above any usual gate
    chip.call("harness_start")
    pieces = [sound[at : min(at + d.spec.hop, d.window)] for at in range(0, d.window, d.spec.hop)]
    pushes, stack = _calls(chip, "harness_push", pieces)
    levels = _frame(chip, sound[: d.spec.frame])
    later = [sound[at : min(at + d.spec.hop, n_samples)] for at in range(d.window, n_samples, d.spec.hop)]
    _calls(chip, "harness_feed", later)
    steps = _steps(chip)
    before = chip.spent()
    chip.call("harness_network")
    network = chip.spent() - before
    works = []
    for what in ("instructions", "cycles"):
        pushed, stepped = ([getattr(one, what).total() for one in each] for each in (pushes, steps))
        median = float(np.median(pushed))  # of calls that bring a frame: the first few, before it is full, bring none
        works.append(
            Work(
                frontend=round(median * d.spec.sample_rate / d.spec.hop),
                levels=getattr(levels, what).total(),
                frame=max(pushed[:-1]),
                network=getattr(network, what).total(),
                decision=stepped[-1],
                push_median=round(median),
                push_longest=max(pushed),
                slice_longest=max(stepped),
            )
        )
    return Cost(
        core=core.name,
        build=build,
        # .data starts in flash too.
        flash_bytes=sum(n for name, n in chip.sections.items() if name != ".bss") - chip.harness_bytes,
        state_bytes=struct.unpack("<i", chip.read(chip.address("harness_state_bytes"), 4))[0],
        arena_bytes=d.arena_bytes,
        stack_bytes=stack,
        static_bytes=sum(size for name, size in chip.ram_objects.items() if not name.startswith("harness_")),
        macs=sum(layer.macs for layer in d.layers),
        instructions=works[0],
        cycles=works[1] if core is CORTEX_M0PLUS else None,
    )


def _frame(chip: EmulatedChip, samples: NDArray[np.int16]) -> Spent:
    """Return what the levels of a frame take."""
    room = chip.room(2 * samples.nbytes)  # the levels are after the samples
    chip.write(room, samples.tobytes())
    before = chip.spent()
    chip.call("harness_frame", room, room + samples.nbytes, chip.address("harness_arena"))
    return chip.spent() - before


def _calls(chip: EmulatedChip, function: str, pieces: Sequence[NDArray[np.int16]]) -> tuple[list[Spent], int]:
    """Return what each call with a piece of sound takes, and the stack of the last, which finds the pool full."""
    found, stack = [], 0
    for number, piece in enumerate(pieces, 1):
        if number == len(pieces):
            chip.call("harness_fill_pool")
        room = chip.room(piece.nbytes)
        chip.write(room, piece.tobytes())
        before = chip.spent()
        stack = chip.stack_bytes(function, room, len(piece))
        found.append(chip.spent() - before)
    return found, stack


def _steps(chip: EmulatedChip) -> list[Spent]:
    """Return what each step of a window that was fed takes; the last is the decision."""
    found, pending = [], 1
    while pending:
        before = chip.spent()
        pending = chip.call("harness_step", SLICE_MACS, 1)
        found.append(chip.spent() - before)
    return found
