"""Where an export can run: on this machine, or on an emulated Cortex-M4F.

Rule: both have the same few methods, so that every check runs on both.
"""

import bisect
import ctypes
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from l3clf.device.block_counter import BlockCounter
from l3clf.device.cycles import block_cost
from l3clf.device.toolchain import CORTEX_M4F, INSTALL, Core
from l3clf.errors import DeviceError, MissingDependencyError

__all__ = ["Chip", "EmulatedChip", "HostChip", "Spent", "feed", "push"]


class Chip(Protocol):
    """A build of an export that can be called and whose memory can be read. Addresses are integers."""

    def address(self, symbol: str) -> int:
        """Return the address of a symbol."""

    def read(self, address: int, n_bytes: int) -> bytes:
        """Read `n_bytes` of memory."""

    def write(self, address: int, content: bytes) -> None:
        """Write to memory."""

    def room(self, n_bytes: int) -> int:
        """Return the address of `n_bytes` of free memory; another call may return the same address."""

    def call(self, function: str, *arguments: int) -> int:
        """Call a function with at most four integers or addresses, and return its int result."""


def push(chip: Chip, samples: NDArray[np.int16]) -> int:
    """Push samples into a started build, and return the number of decisions."""
    return _give(chip, "harness_push", samples)


def feed(chip: Chip, samples: NDArray[np.int16]) -> int:
    """Feed samples into a started build, and return the number of decisions that were late."""
    return _give(chip, "harness_feed", samples)


def _give(chip: Chip, function: str, samples: NDArray[np.int16]) -> int:
    room = chip.room(2 * len(samples))
    chip.write(room, samples.tobytes())
    return chip.call(function, room, len(samples))


def _lacks(symbol: str) -> DeviceError:
    return DeviceError(f"{symbol}: the export's C code lacks it; write the export again with l3clf export")


class HostChip:
    """An export as a shared library on this machine.

    Parameters
    ----------
    library : Path
        From `l3clf.device.toolchain.build_host`.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._room = ctypes.create_string_buffer(0)

    def address(self, symbol: str) -> int:  # noqa: D102 - documented in Chip
        try:
            return ctypes.addressof(ctypes.c_char.in_dll(self._library, symbol))
        except ValueError:
            raise _lacks(symbol) from None

    def read(self, address: int, n_bytes: int) -> bytes:  # noqa: D102
        return ctypes.string_at(address, n_bytes)

    def write(self, address: int, content: bytes) -> None:  # noqa: D102
        ctypes.memmove(address, content, len(content))

    def room(self, n_bytes: int) -> int:  # noqa: D102
        if n_bytes > len(self._room):
            self._room = ctypes.create_string_buffer(n_bytes)
        return ctypes.addressof(self._room)

    def call(self, function: str, *arguments: int) -> int:  # noqa: D102
        # As pointers, because ctypes would truncate plain integers to 32 bits.
        try:
            found = self._library[function]
        except AttributeError:
            raise _lacks(function) from None
        return int(found(*(ctypes.c_void_p(argument) for argument in arguments)))


# Flash and RAM as in chip.ld. The stack is elsewhere, so that an overflow is a fault, and so is the room for samples.
_FLASH, _RAM, _STACK, _ROOM = 0x08000000, 0x20000000, 0x30000000, 0x40000000
_FLASH_BYTES, _RAM_BYTES, _STACK_BYTES, _ROOM_BYTES = 8 << 20, 16 << 20, 1 << 16, 16 << 20
_RETURN = _FLASH + _FLASH_BYTES - 16  # holds no code: emulation ends when a call returns there
_PAINT = 0xA5  # unlikely value that marks unused stack


@contextmanager
def _interrupt_deferred(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C call `stop`, and raise KeyboardInterrupt at the end: ctypes drops what is raised in a callback."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    interrupts = []

    def interrupt(number: int, frame: Any) -> None:
        interrupts.append((number, frame))
        stop()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupts:
            before(*interrupts[0])


@dataclass(frozen=True)
class Spent:
    """What code has cost.

    Attributes
    ----------
    instructions : Counter
        By function.
    cycles : Counter
        By function, if the core is a Cortex-M0+ whose memory has no wait states.
    """

    instructions: Counter[str] = field(default_factory=Counter)
    cycles: Counter[str] = field(default_factory=Counter)

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(self.instructions - before.instructions, self.cycles - before.cycles)


class EmulatedChip:
    """An export as an ELF file on an emulated Cortex-M4F.

    Parameters
    ----------
    elf : Path
        From `l3clf.device.toolchain.build_chip`.
    counting : bool
        Whether to count instructions, which is slower.
    core : Core, default=CORTEX_M4F
        The core that it was compiled for.

    Attributes
    ----------
    sections : dict of str to int
        Size in bytes of each section that takes memory.
    ram_objects : dict of str to int
        Size in bytes of each named object in RAM.
    harness_bytes : int
        Size of the harness's own functions.
    """

    def __init__(self, elf: Path, counting: bool = False, core: Core = CORTEX_M4F) -> None:
        try:
            import elftools  # noqa: F401
            import unicorn as uc
            from unicorn import arm_const as arm
        except ImportError:
            raise MissingDependencyError(f"the emulated chip needs unicorn and pyelftools; {INSTALL}") from None
        self._arm = arm
        self._cpu = uc.Uc(uc.UC_ARCH_ARM, uc.UC_MODE_THUMB | uc.UC_MODE_MCLASS)
        self._cpu.ctl_set_cpu_model(getattr(arm, f"UC_CPU_ARM_{core.emulated_as}"))
        sizes = (_FLASH_BYTES, _RAM_BYTES, _STACK_BYTES, _ROOM_BYTES)
        for start, size in zip((_FLASH, _RAM, _STACK, _ROOM), sizes, strict=True):
            self._cpu.mem_map(start, size)
        self.sections: dict[str, int] = {}
        self.ram_objects: dict[str, int] = {}
        self.harness_bytes = 0
        self._code = (0, 0)  # address and bytes
        self._symbols: dict[str, int] = {}
        self._functions: list[tuple[int, str]] = []
        self._load(elf)
        start, size = self._code
        self._counter = BlockCounter(self._cpu, start, size) if counting else None

    def _load(self, elf: Path) -> None:
        from elftools.elf.elffile import ELFFile

        with elf.open("rb") as file:
            image = ELFFile(file)
            for segment in image.iter_segments():
                if segment["p_type"] == "PT_LOAD":
                    self._cpu.mem_write(segment["p_paddr"], segment.data())
            for section in image.iter_sections():
                if section["sh_flags"] & 2:  # SHF_ALLOC: takes memory at run time
                    self.sections[section.name] = section["sh_size"]
                if section.name == ".text":
                    self._code = section["sh_addr"], section["sh_size"]
            for symbol in image.get_section_by_name(".symtab").iter_symbols():
                self._symbols[symbol.name] = symbol["st_value"]
                if symbol["st_info"]["type"] == "STT_FUNC":
                    self._functions.append((symbol["st_value"] & ~1, symbol.name))  # bit 0 only says Thumb
                    self.harness_bytes += symbol["st_size"] if symbol.name.startswith("harness_") else 0
                elif symbol["st_info"]["type"] == "STT_OBJECT" and _RAM <= symbol["st_value"] < _RAM + _RAM_BYTES:
                    self.ram_objects[symbol.name] = symbol["st_size"]
        self._functions.sort()

    def address(self, symbol: str) -> int:  # noqa: D102 - documented in Chip
        if symbol not in self._symbols:
            raise _lacks(symbol)
        return self._symbols[symbol]

    def read(self, address: int, n_bytes: int) -> bytes:  # noqa: D102
        return bytes(self._cpu.mem_read(address, n_bytes))

    def write(self, address: int, content: bytes) -> None:  # noqa: D102
        self._cpu.mem_write(address, content)

    def room(self, n_bytes: int) -> int:  # noqa: D102
        if n_bytes > _ROOM_BYTES:
            raise DeviceError(f"emulated chip: {n_bytes} bytes of samples; push at most {_ROOM_BYTES} at once")
        return _ROOM

    def call(self, function: str, *arguments: int) -> int:  # noqa: D102
        arm = self._arm
        registers = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3)
        for register, argument in zip(registers, arguments, strict=False):
            self._cpu.reg_write(register, argument)
        start = self.address(function)
        self._cpu.reg_write(arm.UC_ARM_REG_SP, _STACK + _STACK_BYTES)
        self._cpu.reg_write(arm.UC_ARM_REG_LR, _RETURN | 1)
        try:
            with _interrupt_deferred(self._cpu.emu_stop):
                self._cpu.emu_start(start | 1, _RETURN)
        except Exception as error:  # unicorn's own type, which is not imported here
            place = self._cpu.reg_read(arm.UC_ARM_REG_PC)
            raise DeviceError(
                f"{function}: crashed on the emulated chip in {self._function_at(place)} ({error})"
            ) from None
        result: int = self._cpu.reg_read(arm.UC_ARM_REG_R0)
        return result - (result >> 31 << 32)  # unsigned register to signed int

    def stack_bytes(self, function: str, *arguments: int) -> int:
        """Call a function, and return the most bytes of stack that it used."""
        self.write(_STACK, bytes([_PAINT]) * _STACK_BYTES)
        self.call(function, *arguments)
        return len(self.read(_STACK, _STACK_BYTES).lstrip(bytes([_PAINT])))

    def spent(self) -> Spent:
        """Return what has run so far, if it was made with `counting`."""
        found = Spent()
        for address, size, runs, jumped in self._counter.blocks() if self._counter else ():
            cost, function = block_cost(self.read(address, size)), self._function_at(address)
            found.instructions[function] += runs * cost.instructions
            found.cycles[function] += runs * cost.cycles + jumped * cost.taken
        return found

    def _function_at(self, address: int) -> str:
        place = bisect.bisect(self._functions, (address, "\x7f")) - 1  # "\x7f" sorts after every name at that address
        return self._functions[place][1] if place >= 0 else hex(address)
