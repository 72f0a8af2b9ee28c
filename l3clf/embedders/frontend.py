"""The front-end that all students share: log-mel levels, in steps of one fixed size.

Rule: nothing in it looks further than its own frame, and the steps are part of the student, so that PC and
chip, training and use, all see the same integers.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import MelSpec, log_spectrogram

__all__ = [
    "INPUT_STEPS",
    "INPUT_STEP_DB",
    "INPUT_ZERO_POINT",
    "SAMPLE_RATE",
    "levels",
    "quantise_levels",
    "student_spec",
]

Int8Array: TypeAlias = NDArray[np.int8]

SAMPLE_RATE = 16_000
FRAME, HOP, N_MELS = 512, 160, 64
FMIN_HZ, FMAX_HZ = 60.0, 7600.0
LOUDEST = np.float32(1e6)  # full scale is 1
INPUT_STEPS = 32  # make 1.0 at the network's input
INPUT_STEP_DB, INPUT_ZERO_POINT = 0.4, 47  # -128 is -70 dB, where the level rule ends; 127 is +32 dB


def student_spec(window_s: float) -> MelSpec:
    """Return the log-mel of a student with windows of `window_s` seconds: all frames that fit into one."""
    n_frames = 1 + (round(window_s * SAMPLE_RATE) - FRAME) // HOP
    return MelSpec(SAMPLE_RATE, FRAME, HOP, n_frames, N_MELS, FMIN_HZ, FMAX_HZ, power=2, level="db_absolute")


def levels(spec: MelSpec, windows: FloatArray) -> FloatArray:
    """Return log-mel levels in dB.

    Parameters
    ----------
    spec : MelSpec
    windows : array of shape (n, window samples), float32

    Returns
    -------
    array of shape (n, n_frames, n_mels), float32
    """
    if np.abs(windows).max(initial=0) > LOUDEST:  # the power of more is no number in float32
        windows = np.clip(windows, -LOUDEST, LOUDEST)
    return log_spectrogram(spec, windows).transpose(0, 2, 1)


def quantise_levels(levels_db: FloatArray) -> Int8Array:
    """Round levels in dB to the steps of a student's integer input.

    Examples
    --------
    >>> quantise_levels(np.float32([-70, -18.8, 32])).tolist()
    [-128, 0, 127]
    """
    steps = np.rint(levels_db / np.float32(INPUT_STEP_DB)) + INPUT_ZERO_POINT
    return np.asarray(np.clip(steps, -128, 127), np.int8)
