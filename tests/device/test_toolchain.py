"""Compilers: code that does not compile, and tools that are missing, are named."""

import shutil

import pytest
from helpers.device_models import held_out

from l3clf.device import toolchain
from l3clf.device.toolchain import build_chip, export_sources
from l3clf.device.verification import verify
from l3clf.errors import DeviceError, MissingDependencyError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


def test_code_that_does_not_compile_is_reported(export, tmp_path):
    broken = tmp_path / "c"
    shutil.copytree(export, broken)
    (broken / "l3clf_model.c").write_text("this is no C")
    with pytest.raises(DeviceError, match=r"export: .* cannot compile it \(.*l3clf_model\.c"):
        verify(broken, held_out(tmp_path)[:1])


def test_missing_tools_are_named(export, tmp_path, monkeypatch, model):
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    with pytest.raises(
        MissingDependencyError, match=r'no C compiler on this machine; install with: pip install ".+\[device\]"'
    ):
        build_chip(export_sources(export), tmp_path / "x.elf")
