"""Clips decoded once for each test."""

import pytest
from helpers.small_trainings import sounds

from l3clf.distill.corpus import decode
from l3clf.embedders.frontend import SAMPLE_RATE


@pytest.fixture
def corpus(tmp_path):
    return decode(sounds(), SAMPLE_RATE, tmp_path)
