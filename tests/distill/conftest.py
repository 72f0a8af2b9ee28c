"""Clips decoded once for each test, and ways to make students that are built in a moment."""

import pytest
from helpers.small_trainings import sounds

from l3clf.distill.corpus import decode
from l3clf.embedders.frontend import SAMPLE_RATE


@pytest.fixture
def eagerly():
    """Run Keras without tracing: faster where a network runs only a few times."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def corpus(tmp_path):
    return decode(sounds(), SAMPLE_RATE, tmp_path)
