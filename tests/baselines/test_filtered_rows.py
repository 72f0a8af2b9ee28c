"""A baseline with filters: each embedder without and with them; one that hears no such band only without."""

import numpy as np
import pytest
from helpers.class_folders import run, write_class_folders
from helpers.fake_embedder import FakeEmbedder

import l3clf
from l3clf.baselines.available import chosen, with_filters
from l3clf.embedders import load_embedder
from l3clf.embedders.filtered import Filtered
from l3clf.errors import ParameterError


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return l3clf.datasets.load(write_class_folders(tmp_path_factory.mktemp("clips"), classes=2, seconds=1.2))


def test_rows_with_and_without_are_of_the_same_clips_and_folds(table):
    report = run(table, band_hz=(1000, 8000), denoise="stationary", heads=["logistic"])
    assert {row["embedder"] for row in report.table} == {"mfcc", "mfcc 1-8 kHz denoised"}
    alone = l3clf.baseline(table, [Filtered("mfcc", (1000, 8000), "stationary")], ["logistic"], cache=None)
    row = next(row for row in report.table if "kHz" in row["embedder"])
    assert row["accuracy"] == alone.best["accuracy"]


def test_an_embedder_that_does_not_hear_the_band_is_named():
    found, missing = with_filters([load_embedder("mfcc"), FakeEmbedder()], (1000, 8000), None, asked_for=False)
    assert [each.name for each in found] == ["mfcc", "mfcc 1-8 kHz", "fake"]
    expected = (
        "Not tried with filters: fake: band_hz=(1000, 8000): embedder 'fake' hears sound up to 4000 Hz; expected "
    )
    assert missing == [f"{expected}a high edge of at most that."]
    with pytest.raises(ParameterError, match="embedder 'fake' hears sound up to 4000 Hz"):
        with_filters([load_embedder("mfcc"), FakeEmbedder()], (1000, 8000), None, asked_for=True)
    with pytest.raises(ParameterError, match="expected a low edge"):
        with_filters([load_embedder("mfcc")], (8000, 1000), None, asked_for=False)
    assert with_filters([FakeEmbedder()], None, None, asked_for=True) == ([FakeEmbedder()], [])


def test_weights_of_a_folder_go_through_the_filter(tmp_path):
    inner = load_embedder("l3mini")
    (tmp_path / "x").mkdir()
    assert chosen(Filtered(inner, (0, 4000)), tmp_path / "x") == Filtered(chosen(inner, tmp_path / "x"), (0, 4000))
    assert np.isfinite(chosen(Filtered("mfcc", (0, 4000)), tmp_path / "x").embed(np.ones(16000), 16000).vectors).all()
