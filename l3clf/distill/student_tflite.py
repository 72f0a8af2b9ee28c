"""Converts a trained student to a full-integer TFLite file: int8 in, int8 out, one scale per channel of a kernel.

Rule: the scale of the input is that of the front-end and never measured; all other ranges are measured on training
examples.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.distill.architectures import NEEDED, Architecture, as_input, quiet
from l3clf.distill.equalise import equalised
from l3clf.embedders.frontend import INPUT_STEPS
from l3clf.errors import MissingDependencyError

__all__ = ["student_tflite"]

REPRESENTATIVE = 500  # examples


def student_tflite(architecture: Architecture, student: Any, features: NDArray[np.int8], seed: int = 0) -> bytes:
    """Return a student as full-integer TFLite.

    Parameters
    ----------
    architecture : Architecture
    student : keras.Model
        Built by `build_student` for that architecture.
    features : array of shape (n, n_frames, n_mels), int8
        Of training examples; 500 of them are drawn to measure ranges.
    seed : int, default=0

    Raises
    ------
    MissingDependencyError
        If TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError:
        raise MissingDependencyError(NEEDED) from None
    converter = tf.lite.TFLiteConverter.from_keras_model(equalised(architecture, student, features))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _representative(features, seed)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # it would say that ranges are measured
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        quiet(),
    ):
        content: bytes = converter.convert()
    return content


def _representative(features: NDArray[np.int8], seed: int) -> Iterator[list[NDArray[np.float32]]]:
    rows = np.random.default_rng(seed).permutation(len(features))[:REPRESENTATIVE]
    for row in np.sort(rows):
        yield [as_input(features[row : row + 1])]
    # The whole range of int8 once, so that the input's scale becomes 1 / INPUT_STEPS and its zero point 0.
    extremes = np.zeros((1, *features.shape[1:], 1), np.float32)
    extremes[0, 0, :2, 0] = -128 / INPUT_STEPS, 127 / INPUT_STEPS
    yield [extremes]
