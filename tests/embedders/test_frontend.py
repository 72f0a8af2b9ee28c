"""The front-end of students: absolute levels, frame by frame, in integer steps."""

import numpy as np
import pytest
from helpers.sound_files import noise

from l3clf.embedders.frontend import levels, quantise_levels, student_spec

WINDOW = 8000
SPEC = student_spec(0.5)


def windows(n=20, seed=0):
    """Noises at many levels, among them silence and full scale."""
    x = noise(n * WINDOW, seed, 1.0).reshape(n, WINDOW)
    return np.clip(x * np.logspace(-5, 0, n, dtype=np.float32)[:, np.newaxis], -1, 1)


# --- the front-end ---------------------------------------------------------------------------------


def test_levels_are_absolute():
    """Twice as loud is 6 dB more wherever it is above the floor, whatever else is in the window."""
    x = windows(1, seed=3)[[0]] * np.float32(1e4)
    quiet, loud = levels(SPEC, x), levels(SPEC, 2 * x)
    heard = quiet > -69
    assert heard.mean() > 0.9
    np.testing.assert_allclose((loud - quiet)[heard], 20 * np.log10(2), atol=1e-3)
    assert levels(SPEC, np.zeros((1, WINDOW), np.float32)) == pytest.approx(-70)


def test_a_frame_depends_on_its_own_samples_alone():
    x = windows(1)
    other = x.copy()
    other[:, : 20 * SPEC.hop] = 0.3
    np.testing.assert_array_equal(levels(SPEC, x)[:, 20:], levels(SPEC, other)[:, 20:])


def test_steps_cover_the_levels():
    assert quantise_levels(np.float32([-80, -70, -69.7, -18.8, 32, 50])).tolist() == [-128, -128, -127, 0, 127, 127]
