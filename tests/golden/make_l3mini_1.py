"""Makes the files in `l3mini_1`: what the first l3mini returned, and a model that was fitted on it.

    git checkout 46ff6ae        # the last commit whose l3mini is revision 1
    python tests/golden/make_l3mini_1.py

Only that commit, or an earlier one, can make them again. `vectors.npz` holds the fingerprints of both precisions and
their vectors of `windows()`, `model.l3clf` is a classifier of tones and noises on floating point, `chip.l3clf` one on
integers, and `answers.json` has their probabilities for `clips()`. Made with ONNX Runtime 1.32.0 and scikit-learn
1.9.1.
"""

import json
from pathlib import Path

import numpy as np

import l3clf

TARGET = Path(__file__).with_name("l3mini_1")
RATE = 16_000
MODELS = {"model": "float32", "chip": "int8"}


def windows():
    """A quiet and a loud noise, a tone and silence, shape (4, 15600)."""
    rng, n = np.random.default_rng(0), 15_600
    noise = rng.standard_normal((2, n), np.float32) * np.float32([[0.003], [0.3]])
    return np.concatenate([noise, tone(440, n / RATE)[np.newaxis], np.zeros((1, n))]).astype(np.float32)


def clips():
    """Two clips that the models were not fitted on."""
    return [tone(1234, 1.5), 0.05 * np.random.default_rng(9).standard_normal(24_000)]


def tone(hz, seconds):
    """A sine at 16 kHz."""
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def model(embedder):
    """Fit a classifier of tones and noises."""
    rng = np.random.default_rng(0)
    learned = [tone(300 + 100 * i, 1.2) for i in range(4)] + [0.1 * rng.standard_normal(RATE) for _ in range(4)]
    fitted = l3clf.ClipClassifier(embedder, sample_rate=RATE, cache=None)
    return fitted.fit(learned, ["tone"] * 4 + ["noise"] * 4)


def main():
    """Write the files."""
    TARGET.mkdir(exist_ok=True)
    found, answers = {}, {}
    for name, precision in MODELS.items():
        embedder = l3clf.load_embedder("l3mini", precision=precision)
        found[precision] = embedder.embed_windows(windows())
        found[f"{precision}_fingerprint"] = np.array(embedder.fingerprint)
        fitted = model(embedder)
        l3clf.save_model(fitted, TARGET / f"{name}.l3clf")
        answers[name] = fitted.predict_proba(clips()).tolist()
    np.savez_compressed(TARGET / "vectors.npz", **found)
    (TARGET / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
