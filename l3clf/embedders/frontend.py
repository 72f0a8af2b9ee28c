"""The front-end of all students: log-mel levels, quantised in steps of a fixed size.

Rule: no level depends on more than its own frame, and the steps are part of the student, so that training and
inference, PC and chip all get the same integers.
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
FRAME, HOP, N_MELS = 512, 160, 64  # 32 ms, a power of two for the chip's transform; 10 ms
FMIN_HZ, FMAX_HZ = 60.0, 7600.0  # above hum, below the slope of anti-aliasing filters
MAX_SAMPLE = np.float32(1e6)  # with full scale at 1
INPUT_STEPS = 32  # steps that are 1.0 at the input of the network
INPUT_STEP_DB, INPUT_ZERO_POINT = 0.4, 47  # -128 is -70 dB, the floor of the level rule; 127 is +32 dB


def student_spec(window_s: float) -> MelSpec:
    """Return the front-end of a student with windows of `window_s` seconds: as many frames as fit into one."""
    n_frames = 1 + (round(window_s * SAMPLE_RATE) - FRAME) // HOP
    return MelSpec(SAMPLE_RATE, FRAME, HOP, n_frames, N_MELS, FMIN_HZ, FMAX_HZ, power=2, level="db_absolute")


def levels(spec: MelSpec, windows: FloatArray) -> FloatArray:
    """Return log-mel levels in dB.

    Parameters
    ----------
    spec : MelSpec
        As returned by `student_spec`.
    windows : array of shape (n, window samples), float32
        Full scale at 1.0.

    Returns
    -------
    array of shape (n, n_frames, n_mels), float32
    """
    if np.abs(windows).max(initial=0) > MAX_SAMPLE:  # the power of larger samples overflows float32
        windows = np.clip(windows, -MAX_SAMPLE, MAX_SAMPLE)
    return log_spectrogram(spec, windows).transpose(0, 2, 1)


def quantise_levels(levels_db: FloatArray) -> Int8Array:
    """Round levels in dB to the steps of the int8 input of a student.

    Examples
    --------
    >>> quantise_levels(np.float32([-70, -18.8, 32])).tolist()
    [-128, 0, 127]
    """
    steps = np.rint(levels_db / np.float32(INPUT_STEP_DB)) + INPUT_ZERO_POINT
    return np.asarray(np.clip(steps, -128, 127), np.int8)
