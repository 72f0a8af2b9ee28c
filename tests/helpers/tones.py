"""Sound files of pure tones, and the rows that commands print about them."""

import csv

import numpy as np
import soundfile

RATE = 16_000


def write_tone(path, hz, seed=0, seconds=1.2):
    """Write a tone in a little noise, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(seconds * RATE)) / RATE
    noise = 0.01 * np.random.default_rng(seed).standard_normal(len(t))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * t) + noise, RATE)


def rows(text):
    """Return the rows of a CSV as dicts."""
    return list(csv.DictReader(text.splitlines()))
