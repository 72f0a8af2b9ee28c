"""The export's self-test on a second emulator, where it is installed."""

import re
import shutil

import pytest

from l3clf.device import board, toolchain

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


@pytest.mark.parametrize("gcc", [False, True])
def test_the_self_test_passes_and_fails_on_a_second_emulator(gcc, export, tmp_path, monkeypatch):
    if not board.has_board() or (gcc and not toolchain.has_arm_gcc()):
        pytest.skip("no qemu-system-arm, or no GCC for Arm")
    monkeypatch.setattr(board, "has_arm_gcc", lambda: gcc)
    assert board.self_test(export, tmp_path) == board.PASSED
    broken = tmp_path / "c"
    shutil.copytree(export, broken)
    golden = (broken / "selftest/l3clf_golden.h").read_text()
    other = re.sub(r"(l3clf_golden_embedding\[[^\]]*\] = \{\s*)(-?\d+)", lambda m: m[1] + str(int(m[2]) ^ 1), golden)
    assert other != golden
    (broken / "selftest/l3clf_golden.h").write_text(other)
    assert board.self_test(broken, tmp_path) == "the embedding differs"
