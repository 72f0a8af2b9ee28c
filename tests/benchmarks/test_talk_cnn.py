"""The talk's network has its shape."""

import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from benchmarks.l3mini.talk_cnn import build_talk_cnn
from l3clf.distill.architectures import keras


def test_the_talks_network_has_its_shape():
    model = build_talk_cnn(95, 64, 10, filters=24)
    assert model.output.shape == (None, 10)
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [24, 48, 48]
