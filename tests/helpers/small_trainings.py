"""What the tests of distillation share: teachers that are learned in no time, clips, networks."""

from dataclasses import dataclass

import numpy as np
import pytest

from helpers import GOLDEN
from helpers.sound_files import noise

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from l3clf.audio.clip import Samples
from l3clf.demo.sounds import CLASSES, synthesise
from l3clf.distill.architectures import ARCHITECTURES, Architecture, build_student, keras
from l3clf.distill.examples import Recipe
from l3clf.embedders import Embedder, register_embedder
from l3clf.embedders.frontend import INPUT_STEPS, SAMPLE_RATE, levels, quantise_levels, student_spec

TINY = GOLDEN / "tiny.student"
SPEC = student_spec(0.5)
# Built and traced in a moment; what compiles a network takes ten times as long, so that there is one without blocks.
SMALL = {"a": Architecture(8, ((16, 2),)), "b": Architecture(8, ((16, 2), (16, 1))), "no blocks": Architecture(8, ())}


@dataclass(frozen=True)
class Bands(Embedder):
    """Half-second windows at 16 kHz to the mean level in 16 bands: what a student can learn in no time."""

    name = "band_levels"
    sample_rate = 16_000
    window_s = 0.5
    embedding_size = 16

    def embed_windows(self, windows):
        return levels(SPEC, windows).mean(axis=1).reshape(len(windows), 16, 4).mean(axis=2)


@dataclass(frozen=True)
class Start(Embedder):
    """The first two samples of windows of any length, at any rate."""

    window_s: float = 0.1
    sample_rate: int = 16_000
    name = "start"
    embedding_size = 2

    def embed_windows(self, windows):
        return windows[:, :2].copy()


class Stopping:
    """Wraps an array or an embedder; after some uses it is as if Ctrl-C had been pressed."""

    def __init__(self, wrapped, after):
        self.wrapped, self.left = wrapped, after

    def __getattr__(self, name):
        return getattr(self.wrapped, name)

    def _use(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def __getitem__(self, rows):
        self._use()
        return self.wrapped[rows]

    def embed_windows(self, windows):
        self._use()
        return self.wrapped.embed_windows(windows)


register_embedder("band_levels", Bands)


def sounds(n=10, seconds=2.0, rate=SAMPLE_RATE):
    """Clips of all classes in turn."""
    made = [synthesise(CLASSES[i % 10], np.random.default_rng(i), seconds, rate) for i in range(n)]
    return [Samples(samples, rate, f"clip {i}") for i, samples in enumerate(made)]


def one_sentence(error):
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


RECIPE = Recipe(0.5, per_window=3, held_out=0.2)


def stirred(name, size=32, n_frames=SPEC.n_frames, seed=0):
    """A student with random weights and statistics."""
    keras.utils.set_random_seed(seed)
    student, rng = build_student(ARCHITECTURES[name], n_frames, SPEC.n_bands, size), np.random.default_rng(seed)
    for layer in student.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            ranges = ((0.8, 1.2), (-0.3, 0.3), (-0.2, 0.2), (0.5, 1.5))  # gamma, beta, mean, variance
            layer.set_weights([rng.uniform(low, high, layer.gamma.shape[0]) for low, high in ranges])
    return student


def features(n=64, seed=1):
    x = noise(n * 8000, seed, 1.0).reshape(n, 8000) * np.logspace(-3, -0.5, n, dtype=np.float32)[:, np.newaxis]
    return quantise_levels(levels(SPEC, np.cumsum(x, axis=1) * np.float32(0.1) + x))


def answer(student, x):
    return np.asarray(student(x[..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS), training=False))
