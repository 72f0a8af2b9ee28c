"""Models small enough for a microcontroller, and sounds that they were not fitted on."""

import shutil
from functools import cache

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


@cache
def _embedded(hop_s, center):
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, hop_s=hop_s, center=center)
    return model.embed(sounds()[0])


def fitted(labels=None, **options):
    """Return a classifier on l3mini's integers, fitted on the sounds; these are embedded once for each framing."""
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    model = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None, **options)
    return model.fit(_embedded(model.hop_s, model.center), sounds()[1] if labels is None else labels)


def tag_sounds():
    """Thirty-two clips with a tone, noise, a buzz, or several of them at once, and their tags."""
    clips, tags = [], []
    for k in range(4):
        parts = {
            "tone": tone(300 + 20 * k, 2.0, amplitude=0.4),
            "noise": noise(2 * RATE, 100 + k, 0.2),
            'buzz "ü"': np.sign(tone(90 + k, 2.0)) * np.float32(0.3),
        }
        for chosen in range(8):
            names = [name for place, name in enumerate(parts) if chosen >> place & 1]
            clips.append(sum((parts[name] for name in names), noise(2 * RATE, 200 + k, 0.003)))
            tags.append(names)
    return clips, tags


@cache
def _tags_embedded(hop_s, center):
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    model = l3clf.ClipTagger(embedder, sample_rate=RATE, cache=None, hop_s=hop_s, center=center)
    return model.embed(tag_sounds()[0])


def fitted_tagger(**options):
    """Return a tagger on l3mini's integers, fitted on the sounds with tags."""
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    model = l3clf.ClipTagger(embedder, sample_rate=RATE, cache=None, **options)
    return model.fit(_tags_embedded(model.hop_s, model.center), tag_sounds()[1])


def held_out(tmp_path):
    """Sounds that were not learned from, at another rate, in files: about a second each, the emulator is slow."""
    loud = np.concatenate([tone(440, 0.7, 44_100, 0.9), noise(22_050, 7, 0.3), np.zeros(10_000, np.float32)])
    return [
        l3clf.Clip(write(tmp_path / "loud.wav", loud, 44_100)),
        l3clf.Clip(write(tmp_path / "short.wav", noise(3000, 8, 0.01))),
        l3clf.Clip(write(tmp_path / "silent.wav", np.zeros(RATE // 2, np.float32))),
        l3clf.Clip(write(tmp_path / "clipped.wav", np.sign(tone(333, 0.6)))),
    ]


def mutated(export, folder, file, line, other):
    """Copy an export, and change a line of its code; return the copy."""
    shutil.copytree(export, folder)
    text = (folder / file).read_text()
    assert line in text
    (folder / file).write_text(text.replace(line, other))
    return folder
