"""The baseline warns of leakage and gives chance where there is nothing to learn."""

import numpy as np
import pytest
import soundfile
from helpers.class_folders import RATE, run

from l3clf import ClipTable, datasets
from l3clf.demo.sounds import CLASSES, synthesise

# --- leakage ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    """Ten near-identical cuts of each of twelve recordings; each recording has a random label."""
    folder = tmp_path_factory.mktemp("cuts")
    clips, groups = [], []
    for r in range(12):
        rng = np.random.default_rng(r)
        whole = synthesise(CLASSES[r % 10], rng, 2.5, RATE)
        for k in range(10):
            start = rng.integers(0, RATE // 10)
            path = folder / f"rec{r:02d}_{k}.wav"
            soundfile.write(path, whole[start : start + 2 * RATE] + 1e-4 * rng.standard_normal(2 * RATE), RATE)
            clips.append(path)
            groups.append(r)
    labels = np.array(["a", "b", "c"])[np.random.default_rng(5).permutation(np.arange(12) % 3)]
    return clips, labels[groups], np.array(groups)


def test_cuts_of_one_recording_across_folds_are_reported(cuts):
    clips, labels, _ = cuts
    report = run(ClipTable(clips, labels), heads=["logistic"])
    assert report.best["accuracy"] > 0.9  # leaked: the labels mean nothing
    note = next(note for note in report.notes if note.startswith("Leakage is possible"))
    assert "rec00_" in note
    found = {i for pair in report.duplicates for i in (pair.first, pair.second)}
    assert len(found) > 0.8 * len(clips)
    assert any("part 1 of the file names" in note for note in report.notes)


def test_meaningless_labels_score_at_chance_with_groups(cuts):
    clips, labels, groups = cuts
    report = run(ClipTable(clips, labels, groups=groups), heads=["logistic"])
    assert report.best["accuracy_low"] <= 1 / 3 <= report.best["accuracy_high"]
    assert not any(note.startswith("Leakage") for note in report.notes)


def test_random_labels_on_real_clips_score_at_chance(shared, tmp_path):
    esc = datasets.load(shared / "data" / "esc10").subset(np.arange(0, 400, 2))
    labels = np.random.default_rng(3).permutation(esc.labels)
    report = run(ClipTable(esc.clips, labels, folds=esc.folds), heads=["logistic"])
    assert report.best["accuracy_low"] <= 0.1 <= report.best["accuracy_high"]
