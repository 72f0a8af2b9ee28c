"""The networks of students: the same numbers for training and for the chip, and their costs."""

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import SPEC, TINY, answer, features, stirred

from l3clf.distill.architectures import ARCHITECTURES, architecture, build_student, keras, macs_of
from l3clf.embedders.student import Student
from l3clf.errors import ParameterError


def test_plain_layers_equal_those_for_training():
    student = stirred("S")
    plain = build_student(ARCHITECTURES["S"], SPEC.n_frames, SPEC.n_bands, 32, fast=False)
    plain.set_weights(student.get_weights())
    x = features(1)
    np.testing.assert_allclose(answer(plain, x), answer(student, x), atol=1e-4)


def test_multiply_accumulates_are_counted():
    image = keras.layers.Input((8, 6, 1))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)  # 4 x 3 places of 9 * 4
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)  # 4 x 3 places of 9 * 4
    x = keras.layers.Dense(5)(keras.layers.Flatten()(x))  # 48 * 5
    assert macs_of(keras.Model(image, x)) == 12 * 36 + 12 * 36 + 240
    assert macs_of(build_student(ARCHITECTURES["S"], 47, 64, 32)) == 2 * 0 + read_macs()


def read_macs():
    """The same from the integer network of that student, by the reader of .tflite files."""
    return Student(TINY, precision="int8").network.model.macs


def test_an_unknown_size_is_refused():
    with pytest.raises(ParameterError, match="student='XL'; expected one of 'S', 'M', 'L'"):
        architecture("XL")
