"""Makes the model file of format 2 beside this file, which the tests load as a user's old model.

    git checkout ea2e577        # a commit that knew no later format
    python tests/golden/make_model_format_2.py

Tones against noises on MFCCs, with a forest, a threshold, a gate and a stated scale. `ANSWERS` is what that commit
predicted as the probability of "tone" for tones of 440 Hz at these levels.
"""

from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier

TARGET = Path(__file__).with_name("model_format_2.l3clf")
RATE = 16_000
LEVELS = (0.5, 0.05, 0.0)
ANSWERS = (0.8571428571428571, 0.8571428571428571, 0.0)


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
    head = RandomForestClassifier(7, max_depth=2, max_features=1, random_state=0)
    options = {"unknown_threshold": 0.6, "gate_dbfs": -70.0, "full_scale": 2.0, "pooling": "mean+std"}
    model = l3clf.ClipClassifier("mfcc", head=head, sample_rate=RATE, cache=None, **options).fit(X, y)
    l3clf.save_model(model, TARGET)
    print(model.predict_proba([tone(440, level=level) for level in LEVELS])[:, 1].tolist())


if __name__ == "__main__":
    main()
