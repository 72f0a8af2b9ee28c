"""Models small enough for a microcontroller, and sounds that they were not fitted on."""

import numpy as np
import pytest

import l3clf
from helpers.sound_files import noise, tone, write

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

RATE = 16_000


def sounds():
    """Thirty clips of three classes that are easy to tell apart."""
    clips, labels = [], []
    for k in range(10):
        clips += [
            tone(300 + 20 * k, 2.0, amplitude=0.4) + noise(2 * RATE, k, 0.003),
            noise(2 * RATE, 100 + k, 0.2),
            np.sign(tone(90 + k, 2.0)) * np.float32(0.3) + noise(2 * RATE, 200 + k, 0.003),
        ]
        labels += ["tone", "noise", 'buzz "ü"']
    return clips, labels


def fitted(**options):
    clips, labels = sounds()
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    return l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, **options).fit(clips, labels)


def held_out(tmp_path):
    """Sounds that were not learned from, at another rate, in files."""
    loud = np.concatenate([tone(440, 1.3, 44_100, 0.9), noise(44_100, 7, 0.3), np.zeros(30_000, np.float32)])
    return [
        l3clf.Clip(write(tmp_path / "loud.wav", loud, 44_100)),
        l3clf.Clip(write(tmp_path / "short.wav", noise(3000, 8, 0.01))),
        l3clf.Clip(write(tmp_path / "silent.wav", np.zeros(RATE, np.float32))),
        l3clf.Clip(write(tmp_path / "clipped.wav", np.sign(tone(333, 1.0)))),
    ]
