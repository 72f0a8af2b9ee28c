"""Ctrl-C ends the emulation wherever it arrives, and code that lacks what is called is named."""

import os
import signal
import sys

import pytest
from helpers.device_models import held_out, mutated

from l3clf.device.block_counter import BlockCounter
from l3clf.device.chips import EmulatedChip
from l3clf.device.toolchain import build_chip, export_sources
from l3clf.device.verification import verify
from l3clf.errors import DeviceError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


@pytest.fixture(scope="module")
def elf(export, tmp_path_factory):
    return build_chip(export_sources(export), tmp_path_factory.mktemp("chip") / "x.elf")


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is another thing there")
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_as_a_callback_begins_is_not_swallowed(elf, monkeypatch):
    monkeypatch.setattr(BlockCounter, "_hook_compiled", lambda *_: False)  # so that there is a callback
    chip = EmulatedChip(elf, counting=True)
    sent = []

    def send(frame, event, _):
        """Send it before the first line of unicorn's wrapper around the callback, which catches what comes later."""
        if event == "call" and frame.f_code.co_name == "wrapper" and not sent:
            sent.append(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.setprofile(send)
        with pytest.raises(KeyboardInterrupt):
            chip.call("harness_start")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGINT, before)
    assert sent
    assert chip.spent().instructions.total() < 1000  # it was stopped, not only reported at the end
    assert chip.call("harness_start") == 0


def test_a_chip_without_the_function_says_so(elf):
    chip = EmulatedChip(elf)
    for name in ("call", "address"):
        with pytest.raises(DeviceError, match="l3clf_nothing: the export's C code lacks it; write the export again"):
            getattr(chip, name)("l3clf_nothing")


def test_a_self_test_without_its_function_is_one_sentence(export, tmp_path):
    broken = mutated(export, tmp_path / "c", "selftest/selftest.c", "int l3clf_selftest", "int l3clf_other")
    with pytest.raises(DeviceError, match=r"^l3clf_selftest: the export's C code lacks it; write the export again"):
        verify(broken, held_out(tmp_path)[:1])
