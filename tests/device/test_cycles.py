"""What code costs on an emulated core, by Arm's timing table and by counting."""

import numpy as np
import pytest

from l3clf.device.block_counter import BlockCounter
from l3clf.device.chips import EmulatedChip
from l3clf.device.cycles import BlockCost, block_cost
from l3clf.device.toolchain import CORTEX_M0PLUS, CORTEX_M3, CORTEX_M4F, build_chip

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

LOOP = """
int32_t harness_loop(int32_t n);
int32_t harness_loop(int32_t n)
{
    __asm__ volatile(".syntax unified\\n 1: ldr r3, [sp]\\n muls r3, r3, r3\\n subs %0, %0, #1\\n bne 1b"
                     : "+l"(n) : : "r3", "cc");
    return n;
}
int harness_start(void);
int harness_start(void)
{
    return 0;
}
"""


@pytest.mark.parametrize(
    ("code", "cost"),
    [
        ("0368", BlockCost(1, 2, 0)),  # ldr r3, [r0]
        ("4b43", BlockCost(1, 1, 0)),  # muls r3, r1, r3
        ("8846", BlockCost(1, 1, 0)),  # mov r8, r1
        ("f746", BlockCost(1, 2, 0)),  # mov pc, lr
        ("7047", BlockCost(1, 2, 0)),  # bx lr
        ("10b5", BlockCost(1, 3, 0)),  # push {r4, lr}
        ("10bc", BlockCost(1, 2, 0)),  # pop {r4}
        ("10bd", BlockCost(1, 5, 0)),  # pop {r4, pc}
        ("07c8", BlockCost(1, 4, 0)),  # ldm r0!, {r0, r1, r2}
        ("fee7", BlockCost(1, 2, 0)),  # b
        ("fcd1", BlockCost(1, 1, 1)),  # bne
        ("fff7feff", BlockCost(1, 3, 0)),  # bl
    ],
)
def test_the_cost_of_an_instruction(code, cost):
    assert block_cost(bytes.fromhex(code)) == cost


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("core", [CORTEX_M0PLUS, CORTEX_M3, CORTEX_M4F], ids=lambda core: core.name)
def test_a_loop_costs_what_its_instructions_cost(core, compiled, tmp_path, monkeypatch):
    if not compiled:
        monkeypatch.setattr(BlockCounter, "_hook_compiled", lambda *_: False)
    (tmp_path / "loop.c").write_text("#include <stdint.h>\n" + LOOP)
    chip = EmulatedChip(build_chip([str(tmp_path / "loop.c")], tmp_path / "loop.elf", core=core), True, core)
    spent = []
    for n in (10, 1010):
        before = chip.spent()
        assert chip.call("harness_loop", n) == 0
        spent.append(chip.spent() - before)
    each = [
        np.subtract(getattr(spent[1], what).total(), getattr(spent[0], what).total())
        for what in ("instructions", "cycles")
    ]
    assert each == [4000, 6000]  # load 2, multiplication 1, subtraction 1, branch 2
