"""Makes the files in `schema1`: a cache and a model as l3clf wrote them before version 2 of the cache's schema.

    git checkout 50f5901
    python tests/golden/make_schema1.py

Only that commit, or an earlier one, can make them again. `cache.sqlite.gz` holds the MFCC of `tone.wav`, `tone.flac`
and `tone.mp3`, `model.l3clf` is a classifier of tones and noises on MFCC, and `answers.json` has its probabilities for
the three sounds. Made with libsndfile 1.2.2 and scikit-learn 1.9.1.
"""

import gzip
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from l3clf import Clip, ClipClassifier, EmbeddingCache, load_embedder, save_model
from l3clf.pipeline import embed_sources

TARGET = Path(__file__).with_name("schema1")
RATE = 8000


def tone(hz, seconds=0.6):
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def model():
    rng = np.random.default_rng(0)
    clips = [tone(hz) for hz in (300, 500, 700, 900)] + [0.1 * rng.standard_normal(RATE) for _ in range(4)]
    return ClipClassifier("mfcc", sample_rate=RATE, cache=None).fit(clips, ["tone"] * 4 + ["noise"] * 4)


def main():
    TARGET.mkdir(exist_ok=True)
    sounds = {"WAV": "tone.wav", "FLAC": "tone.flac", "MP3": "tone.mp3"}
    for i, (kind, name) in enumerate(sounds.items()):
        soundfile.write(TARGET / name, tone(440 + 220 * i), RATE, format=kind)
    time.sleep(2.1)  # else the cache does not record the files
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(shutil.copy2(TARGET / name, folder)) for name in sounds.values()]
        cache = EmbeddingCache(Path(folder) / "cache.sqlite")
        time.sleep(2.1)
        embed_sources(load_embedder("mfcc"), [Clip(path) for path in copies], cache=cache)
        (TARGET / "cache.sqlite.gz").write_bytes(gzip.compress(cache.path.read_bytes(), 9, mtime=0))
        fitted = model()
        save_model(fitted, TARGET / "model.l3clf")
        probabilities = fitted.predict_proba(copies)
    answers = {name: row.tolist() for name, row in zip(sounds.values(), probabilities, strict=True)}
    (TARGET / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
