"""Folders of synthetic clips, one for each class."""

import numpy as np
import soundfile

import l3clf
from l3clf.demo.sounds import CLASSES, synthesise

RATE = 16_000


def write_class_folders(folder, classes=4, clips=6, seconds=2.0):
    """Write clips of synthetic sounds, a folder for each class; return the folder of all."""
    for c, name in enumerate(CLASSES[:classes]):
        (folder / name).mkdir()
        for k in range(clips):
            clip = synthesise(name, np.random.default_rng([c, k]), seconds, RATE)
            soundfile.write(folder / name / f"{k}.wav", clip, RATE)
    return folder


def run(table, **options):
    """Measure the baseline of the cheapest embedder, without a cache."""
    return l3clf.baseline(table, ["mfcc"], **{"cache": None, **options})
