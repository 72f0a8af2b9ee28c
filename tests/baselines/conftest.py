"""The table of the synthetic clips, read once a session."""

import pytest

from l3clf import datasets


@pytest.fixture(scope="session")
def table(sounds):
    return datasets.load(sounds)
