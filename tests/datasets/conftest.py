"""A check that loading a table opens no sound file."""

import pytest

from l3clf.audio import decode
from l3clf.datasets import describe


@pytest.fixture
def no_sound_is_opened(request, monkeypatch):
    """Fail when a table is loaded by opening its sounds (in the tests that describe one, headers are read)."""
    if "describe" not in request.node.name:
        for module in (decode, describe):
            monkeypatch.setattr(module, "open_sound", lambda path: pytest.fail(f"{path} was opened"))
