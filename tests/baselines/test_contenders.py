"""Contenders: classifiers that a baseline trains in every fold, beside the frozen embedders."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from helpers.class_folders import run
from helpers.fake_embedder import FakeEmbedder

import l3clf
from l3clf import ClipClassifier
from l3clf.baselines.contenders import in_words
from l3clf.errors import ParameterError


@dataclass
class Learner:
    """Trains nothing but a head on MFCCs; it notes what it was given, and may be stopped."""

    name: str = "mfcc (again)"
    key: str = "again"
    stop_at: int = 99
    seen: list = field(default_factory=list)
    folders: list = field(default_factory=list)
    pooling: str = "mean"
    head = "logistic"

    def expected_s(self, clips):
        return 30.0 * len(clips)

    def fit(self, clips, labels, folder, *, hop_s, n_jobs, progress):
        if len(self.seen) == self.stop_at:
            raise KeyboardInterrupt
        folder.mkdir()
        (folder / "large").write_bytes(bytes(10))
        self.seen.append({clip.path for clip in clips})
        self.folders.append(folder)
        model = ClipClassifier("mfcc", hop_s=hop_s, cache=None, n_jobs=n_jobs, pooling=self.pooling)
        return model.fit(clips, labels)


def row_of(report, name):
    (row,) = [row for row in report.table if row["embedder"] == name]
    return {key: row[key] for key in ("accuracy", "macro_f1", "accuracy_low")}


def test_a_contender_is_a_row_like_that_of_what_it_returns(table):
    report = run(table, heads=["logistic"], contenders=[Learner()])
    assert row_of(report, "mfcc (again)") == row_of(report, "mfcc")
    assert [row["embedder"] for row in report.table] == ["mfcc", "mfcc (again)"]  # equal: the frozen one first
    assert report.model.embedder_.name == "mfcc"


def test_no_fold_hears_its_test_clips(table):
    learner = Learner()
    report = run(table, heads=["logistic"], contenders=[learner])
    folds = [{table.clips[i].path for i in np.flatnonzero(report.split.test_fold == k)} for k in range(5)]
    everything = {clip.path for clip in table.clips}
    assert learner.seen[:5] == [everything - test for test in folds]


def test_an_interrupted_run_trains_only_the_folds_that_are_left(table, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(table, heads=["logistic"], out=tmp_path / "out", contenders=[Learner(stop_at=3)])
    second, lines = Learner(), []
    report = run(table, heads=["logistic"], out=tmp_path / "out", contenders=[second], say=lines.append)
    assert len(second.seen) == 2
    assert row_of(report, "mfcc (again)") == row_of(report, "mfcc")
    assert "mfcc (again): 2 of 5 folds to train, about 20 minutes or more" in lines
    assert not any(folder.exists() for folder in second.folders)  # what training kept is gone with it
    again, other = Learner(), Learner("other", "other settings")
    run(table, heads=["logistic"], out=tmp_path / "out", contenders=[again, other])
    assert (len(again.seen), len(other.seen)) == (0, 5)


def test_the_best_row_is_trained_on_all_clips_for_the_model(table, tmp_path):
    better = Learner("better", "better", pooling="mean+std")
    out = tmp_path / "out"
    report = l3clf.baseline(table, [FakeEmbedder()], ["logistic"], out=out, cache=None, contenders=[better])
    assert report.best["embedder"] == "better"
    assert better.seen[-1] == {clip.path for clip in table.clips}
    assert report.model.pooling == "mean+std"
    assert l3clf.load_model(out / "model.l3clf").pooling == "mean+std"
    assert str(report).splitlines()[1].split()[0] == "better"


def test_each_contender_has_a_row_of_its_own(table):
    with pytest.raises(ParameterError, match=r"contenders: mfcc \(again\), mfcc \(again\); give each only once"):
        run(table, contenders=[Learner(), Learner()])


def test_times_are_rough():
    assert [in_words(s) for s in (1, 89, 100, 3600)] == [
        "about 1 minute",
        "about 1 minute",
        "about 2 minutes",
        "about 60 minutes",
    ]
