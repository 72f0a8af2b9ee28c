"""Counts how often each block of code runs on an emulated chip.

Rule: counting is done by compiled code, because a call of Python for each block takes longer than the block, up to a
hundred times. Without a compiler for this machine, or with another Unicorn, Python counts all the same.
"""

import ctypes
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from l3clf.device.toolchain import HARNESS, build_host
from l3clf.errors import DeviceError, MissingDependencyError

__all__ = ["BlockCounter"]

_BLOCK = np.dtype([("runs", np.uint64), ("jumped", np.uint64), ("bytes", np.uint64)])


class _Counter(ctypes.Structure):
    """``block_counter`` of blocks.c."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("start", "size", "blocks", "last", "follows", "strange")]


class BlockCounter:
    """Counts the blocks that an emulated processor runs.

    Parameters
    ----------
    cpu : unicorn.Uc
    start, size : int
        Where its code is, and how many bytes.
    """

    def __init__(self, cpu: Any, start: int, size: int) -> None:
        self._start = start
        self._blocks = np.zeros(size // 2 + 1, _BLOCK)
        self._counter = _Counter(
            start, size, self._blocks.ctypes.data, size // 2, 0, 0
        )  # the spare block ran before the first
        self._runs: Counter[tuple[int, int]] = Counter()
        self._jumped: Counter[tuple[int, int]] = Counter()
        self._before: tuple[int, int] = (0, 0)
        if not self._hook_compiled(cpu):
            from unicorn import UC_HOOK_BLOCK

            cpu.hook_add(UC_HOOK_BLOCK, self._count)

    def _hook_compiled(self, cpu: Any) -> bool:
        """Let the compiled function count; return False if that is not possible."""
        from unicorn import UC_HOOK_BLOCK

        try:
            from unicorn.unicorn_py3.unicorn import uclib

            add, engine = uclib.uc_hook_add, cpu._uch
        except (ImportError, AttributeError):  # Unicorn has no public way to hook compiled code from Python
            return False
        with tempfile.TemporaryDirectory() as place:
            try:
                library = ctypes.CDLL(str(build_host([str(HARNESS / "blocks.c")], Path(place) / "blocks.so")))
            except (MissingDependencyError, DeviceError, OSError):
                return False
        self._library, self._handle = library, ctypes.c_size_t()  # kept for as long as they are called
        function = ctypes.cast(library.count_block, ctypes.c_void_p)
        user = ctypes.cast(ctypes.byref(self._counter), ctypes.c_void_p)
        everywhere = (ctypes.c_uint64(1), ctypes.c_uint64(0))
        return bool(add(engine, ctypes.byref(self._handle), UC_HOOK_BLOCK, function, user, *everywhere) == 0)

    def _count(self, _cpu: Any, address: int, size: int, _: Any) -> None:
        start, n_bytes = self._before
        if address != start + n_bytes:
            self._jumped[self._before] += 1
        self._before = (address, size)
        self._runs[self._before] += 1

    def blocks(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield each block that ran: its address, its bytes, how often it ran, and how often something else followed.

        Raises
        ------
        DeviceError
            If the counts are not those of the code.
        """
        if self._counter.strange:
            raise DeviceError("emulated chip: ran code outside of the export's; write it again with l3clf export")
        for (address, size), runs in self._runs.items():
            yield address, size, runs, self._jumped[address, size]
        for place in np.flatnonzero(self._blocks["runs"]).tolist():
            found = self._blocks[place]
            yield self._start + 2 * place, int(found["bytes"]), int(found["runs"]), int(found["jumped"])
