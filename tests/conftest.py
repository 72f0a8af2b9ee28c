"""What all tests share: the folder of shared data, and isolation from the user's own cache and weights."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _isolated(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("L3CLF_CACHE", str(tmp_path_factory.getbasetemp() / "user-cache.sqlite"))
    monkeypatch.delenv("L3CLF_WEIGHTS", raising=False)


@pytest.fixture(scope="session")
def shared():
    """The folder of shared data."""
    folder = os.environ.get("L3CLF_SHARED")
    if not folder or not Path(folder).is_dir():
        pytest.skip("L3CLF_SHARED names no folder of shared data")
    return Path(folder)
