"""Makes the model file of format 1 beside this file, which the tests load as a user's old model.

    git checkout 50f5901        # the last commit that wrote format 1
    python tests/golden/make_model_format_1.py

Tones against noises on MFCCs, with logistic regression. What that commit predicted: `TONE` for a tone of 440 Hz, and
`SILENCE` for zeros, as the probability of "tone".
"""

from pathlib import Path

import numpy as np

TARGET = Path(__file__).with_name("model_format_1.l3clf")
RATE = 16_000
TONE, SILENCE = 0.9377263188362122, 0.9204126596450806


def tone(hz, seconds=1.5, level=0.3):
    """A sine, shape (n,)."""
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)


def noise(seed, seconds=1.5, level=0.1):
    """White noise, shape (n,)."""
    return level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))


def main():
    """Fit and save."""
    import l3clf

    X = [tone(300 + 100 * k) for k in range(8)] + [noise(k) for k in range(8)]
    y = ["tone"] * 8 + ["noise"] * 8
    model = l3clf.ClipClassifier("mfcc", sample_rate=RATE, cache=None).fit(X, y)
    l3clf.save_model(model, TARGET)


if __name__ == "__main__":
    main()
