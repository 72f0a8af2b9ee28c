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

from l3clf.distill.architectures import NEEDED, Architecture, as_input, keras, quiet
from l3clf.distill.equalise import equalised
from l3clf.embedders.frontend import INPUT_STEPS
from l3clf.errors import MissingDependencyError

__all__ = ["student_tflite"]

REPRESENTATIVE = 500  # examples
TYPICAL = 0.9  # quantile of the examples' largest values in a layer, by which they are compared across layers


def student_tflite(
    architecture: Architecture, student: Any, features: NDArray[np.int8], seed: int = 0, usual: float = 1.0
) -> bytes:
    """Return a student as full-integer TFLite.

    Parameters
    ----------
    architecture : Architecture
    student : keras.Model
        Built by `build_student` for that architecture.
    features : array of shape (n, n_frames, n_mels), int8
        Of training examples; 500 of them are drawn to measure ranges.
    seed : int, default=0
    usual : float, default=1.0
        Share of the examples that may be drawn: those without the largest values. A few of these make the steps
        coarse for all. Where most examples are quiet, the loud ones are what matters, and 1 is right.

    Raises
    ------
    MissingDependencyError
        If TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError:
        raise MissingDependencyError(NEEDED) from None
    plain = equalised(architecture, student, features)
    chosen = features if usual == 1 else features[_usual(plain, features, usual)]
    converter = tf.lite.TFLiteConverter.from_keras_model(plain)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _representative(chosen, seed)
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


def _usual(student: Any, features: NDArray[np.int8], share: float) -> NDArray[np.intp]:
    """Return the rows of the examples whose largest values are not among the largest of any layer, in order."""
    layers = [layer.output for layer in student.layers[1:]]
    inner = keras.Model(student.input, [keras.ops.max(keras.ops.abs(out), axis=range(1, out.ndim)) for out in layers])
    largest = np.stack(inner.predict(as_input(features), batch_size=100, verbose=0), axis=1)
    typical = np.quantile(largest, TYPICAL, axis=0)
    excess = (largest / np.maximum(typical, np.finfo(np.float32).tiny)).max(axis=1)
    return np.sort(np.argsort(excess, kind="stable")[: max(1, round(share * len(features)))])


def _representative(features: NDArray[np.int8], seed: int) -> Iterator[list[NDArray[np.float32]]]:
    rows = np.random.default_rng(seed).permutation(len(features))[:REPRESENTATIVE]
    for row in np.sort(rows):
        yield [as_input(features[row : row + 1])]
    # The whole range of int8 once, so that the input's scale becomes 1 / INPUT_STEPS and its zero point 0.
    extremes = np.zeros((1, *features.shape[1:], 1), np.float32)
    extremes[0, 0, :2, 0] = -128 / INPUT_STEPS, 127 / INPUT_STEPS
    yield [extremes]
