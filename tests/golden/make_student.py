"""Makes the student file beside this file: the architecture "S" with random weights, for tests without TensorFlow.

    pip install tensorflow keras
    python tests/golden/make_student.py

Weights, statistics of the batch normalisations and calibration data are random and seeded. Windows of 0.5 s, 32
numbers. Made with tensorflow 2.21.0 and keras 3.15.1.
"""

from pathlib import Path

import numpy as np

from l3clf.distill.architectures import ARCHITECTURES, build_student, keras
from l3clf.distill.student_onnx import student_onnx
from l3clf.distill.student_tflite import student_tflite
from l3clf.embedders.frontend import levels, quantise_levels, student_spec
from l3clf.embedders.student import write_student

TARGET = Path(__file__).with_name("tiny.student")
WINDOW_S, SIZE = 0.5, 32


def network(spec):
    keras.utils.set_random_seed(0)
    student, rng = build_student(ARCHITECTURES["S"], spec.n_frames, spec.n_bands, SIZE), np.random.default_rng(0)
    for layer in student.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            ranges = ((0.8, 1.2), (-0.3, 0.3), (-0.2, 0.2), (0.5, 1.5))  # gamma, beta, mean, variance
            layer.set_weights([rng.uniform(low, high, n) for low, high in ranges])
    return student


def features(spec):
    """Levels of noises at many levels and of many colours."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((100, round(WINDOW_S * 16_000)), np.float32)
    noise = np.stack([np.convolve(x, rng.standard_normal(9), "same") for x in noise])
    noise *= 10 ** rng.uniform(-3, -0.5, (100, 1))
    return quantise_levels(levels(spec, noise.astype(np.float32)))


def main():
    spec = student_spec(WINDOW_S)
    student = network(spec)
    about = {"window_s": WINDOW_S, "embedding_size": SIZE, "architecture": "S", "made_by": "tests/golden"}
    content = student_tflite(ARCHITECTURES["S"], student, features(spec))
    write_student(TARGET, about, student_onnx(ARCHITECTURES["S"], student).SerializeToString(), content)


if __name__ == "__main__":
    main()
