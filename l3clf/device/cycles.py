"""What code costs on an emulated core: instructions, and on a Cortex-M0+ cycles by Arm's timing table.

Rule: a block is decoded once. Cycles are those of memory without wait states; what a chip's flash or cache adds is not
in them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["BlockCost", "block_cost"]

_WIDE_THUMB = 0x1D  # Thumb instructions whose top five bits are at least this take four bytes (Arm ARM v7-M, A5.1)


@dataclass(frozen=True)
class BlockCost:
    """The cost of instructions that run one after the other, up to a branch.

    Attributes
    ----------
    instructions : int
    cycles : int
        On a Cortex-M0+, if the branch at the end is not taken.
    taken : int
        Cycles more if a conditional branch at the end is taken.
    """

    instructions: int
    cycles: int
    taken: int


def block_cost(code: bytes) -> BlockCost:
    """Return the cost of a block of Thumb code.

    Parameters
    ----------
    code : bytes

    Returns
    -------
    BlockCost
        Cycles are right for ARMv6-M only. Source: Cortex-M0+ Technical Reference Manual (DDI 0484C), table 3.1, with
        the multiplier of one cycle.

    Examples
    --------
    >>> block_cost(bytes.fromhex("0368 5b1c fcd1"))  # ldr r3, [r0]; adds r3, r3, #1; bne
    BlockCost(instructions=3, cycles=4, taken=1)
    """
    n = cycles = last = 0
    for word in _instructions(code):
        n, cycles, last = n + 1, cycles + _cycles(word), word
    conditional = last >> 12 == 0b1101 and last >> 16 == 0
    return BlockCost(n, cycles, int(conditional))


def _instructions(code: bytes) -> Iterator[int]:
    """Yield each instruction: 16 bits, or 32 with the first half in the upper ones."""
    place = 0
    while place < len(code):
        (word,) = struct.unpack_from("<H", code, place)
        place += 2
        if word >> 11 >= _WIDE_THUMB:
            word, place = word << 16 | struct.unpack_from("<H", code, place)[0], place + 2
        yield word


def _cycles(word: int) -> int:
    if word >> 16:
        return 3  # BL, and reads and writes of special registers, and barriers
    if word >> 10 == 0b010001:
        return _cycles_high_registers(word)
    if word >> 11 == 0b01001 or word >> 12 in (0b0101, 0b0110, 0b0111, 0b1000, 0b1001):
        return 2  # loads and stores of one register
    registers = (word & 0xFF).bit_count()
    if word >> 12 == 0b1100:
        return 1 + registers  # LDM, STM
    if word >> 9 == 0b1011010:
        return 1 + registers + (word >> 8 & 1)  # PUSH, with the link register or not
    if word >> 9 == 0b1011110:
        return 1 + registers + 3 * (word >> 8 & 1)  # POP; with the PC 3 + N, where N counts the PC
    return 2 if word >> 11 == 0b11100 else 1  # B, or anything else


def _cycles_high_registers(word: int) -> int:
    """Return the cycles of ADD, CMP and MOV of any registers, and of BX and BLX."""
    operation, target = word >> 8 & 3, (word >> 4 & 8) | (word & 7)
    jumps = operation == 3 or (operation != 1 and target == 15)
    return 2 if jumps else 1
