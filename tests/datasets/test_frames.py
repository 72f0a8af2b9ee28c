"""Data frames in and out: tables of clips, X of the estimators, and what a table shows of itself."""

import subprocess
import sys

import numpy as np
import pandas
import pytest
from helpers.embedded_sets import easy_set, embedded
from helpers.fake_embedder import FakeEmbedder
from helpers.sound_files import tone, write
from sklearn.compose import make_column_transformer
from sklearn.model_selection import cross_val_predict

import l3clf
from l3clf import Clip, ClipClassifier, ClipEmbedder, ClipTable
from l3clf.errors import DatasetError, DatasetWarning, L3clfError, ParameterError

# ClipTable to pandas and back


@pytest.mark.parametrize(
    ("clips", "columns"),
    [
        ([Clip("a.wav"), Clip("b.wav")], {}),
        ([Clip("a.wav", 0.5, 1.5), Clip("a.wav", 1.5)], {"folds": [1, 2]}),
        ([Clip("a.wav"), Clip("b.wav", 1 / 3)], {"folds": ["x", "y"], "groups": [0.5, 1.5]}),
    ],
)
def test_a_table_comes_back_from_pandas_as_it_was(clips, columns):
    table = ClipTable(clips, ["x", "y"], **columns)
    frame = table.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns[:2]) == ["path", "label"]
    back = l3clf.datasets.load(frame)
    assert back.clips == table.clips
    for name in ("labels", "folds", "groups"):
        one, other = getattr(table, name), getattr(back, name)
        assert (one is None and other is None) or one.tolist() == other.tolist()


def test_an_empty_table_has_an_empty_frame():
    assert ClipTable([], []).to_pandas().shape == (0, 2)


def test_without_pandas_one_sentence_says_what_to_install():
    code = (
        "import sys; sys.modules['pandas'] = None; import l3clf\n"
        "try: l3clf.ClipTable(['a'], ['x']).to_pandas()\n"
        "except l3clf.L3clfError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == "to_pandas: pandas is not installed; run `pip install pandas`\n"


@pytest.mark.parametrize("kind", [None, "str", "string", "category"])
def test_frames_of_every_kind_of_text_are_loaded(kind):
    frame = pandas.DataFrame({"filename": ["a.wav", "b.wav"], "class": ["x", "y"], "begin": [0, 1], "end": [1.5, None]})
    frame = frame.astype({"filename": kind, "class": kind}) if kind else frame
    frame.index = [7, 3]
    with pytest.warns(DatasetWarning, match="read 'filename' as path, 'class' as label, 'begin' as start_s, 'end' as"):
        table = l3clf.datasets.load(frame)
    assert table.clips == [Clip("a.wav", 0, 1.5), Clip("b.wav", 1)]
    assert table.labels.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": ["a"]}, r"the data frame: no column 'label' \(found 'path'\)"),
        (
            {"path": ["a", None], "label": ["x", "y"]},
            r"the data frame, row 1: path .*; expected the path of a sound file",
        ),
        ({"path": ["a", "b"], "label": ["x", None]}, r"labels\[1\]: missing"),
        ({"path": ["a", "b"], "label": [1.0, np.nan]}, r"labels\[1\]: missing"),
        ({"path": ["a"], "label": ["x\ny"]}, r"labels\[0\]: .*line break"),
        ({"path": ["a"], "label": ["x"], "onset": [1.0]}, r"the data frame: columns look like times \('onset'\)"),
        ({"path": ["a"], "label": ["x"], "start_s": [2], "end_s": [1]}, r"the data frame, row 0: .*end_s=1"),
        ({"path": ["a"], "label": ["x"], "start_s": ["1:30"], "end_s": [1]}, r"the data frame, row 0: .*'1:30'"),
        ({"path": [], "label": []}, r"the data frame: no rows"),
    ],
)
def test_frames_that_cannot_be_used_are_refused_in_one_sentence(columns, words):
    with pytest.raises(DatasetError, match=words) as caught:
        l3clf.datasets.load(pandas.DataFrame(columns))
    assert "\n" not in str(caught.value)


# Frames as X


@pytest.fixture
def files(tmp_path):
    return [str(write(tmp_path / f"{k}.wav", tone(hz))) for k, hz in enumerate((200, 300, 400, 2000, 3000, 4000))]


LABELS = ["low"] * 3 + ["high"] * 3


def frames_of(files):
    frame = pandas.DataFrame({"path": files, "label": LABELS}, index=range(10, 16))
    return {
        "one column": frame[["path"]],
        "a series": frame["path"],
        "a column of another name": frame[["path"]].rename(columns={"path": "where"}),
        "all columns": frame,
        "with times": frame[["path"]].assign(start_s=0.0, end_s=[None] * 6),
        "two dimensions": np.array(files)[:, np.newaxis],
        "two dimensions of objects": np.array(files, object)[:, np.newaxis],
    }


@pytest.mark.parametrize("kind", list(frames_of([""] * 6)))
def test_columns_of_a_frame_are_clips(files, kind):
    X, y = frames_of(files)[kind], pandas.Series(LABELS)
    expected = ClipEmbedder(FakeEmbedder(), cache=None).fit_transform(files)
    np.testing.assert_array_equal(ClipEmbedder(FakeEmbedder(), cache=None).fit(X).transform(X), expected)
    model = ClipClassifier(FakeEmbedder(), cache=None).fit(X, y)
    assert model.predict(X).tolist() == LABELS
    assert model.score(X, y) == 1.0
    assert len(cross_val_predict(model, X, y, cv=3)) == 6


def test_pieces_of_a_frame_are_clips(files):
    frame = pandas.DataFrame({"path": files[:1] * 2, "start_s": [0.0, 0.25], "end_s": [0.5, np.nan]})
    found = ClipEmbedder(FakeEmbedder(), cache=None).fit_transform(frame)
    expected = ClipEmbedder(FakeEmbedder(), cache=None).fit_transform([Clip(files[0], 0, 0.5), Clip(files[0], 0.25)])
    np.testing.assert_array_equal(found, expected)


def test_a_column_transformer_passes_paths_on(files):
    frame = pandas.DataFrame({"path": files, "number": range(6)})
    steps = make_column_transformer((ClipEmbedder(FakeEmbedder(), cache=None), ["path"]), remainder="passthrough")
    assert steps.fit_transform(frame).shape == (6, 5)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": ["x"], "b": ["y"]}, r"X: a data frame with the columns 'a', 'b'; pass the one with the paths"),
        ({"path": ["x"], "onset_ms": [1]}, r"X: the data frame: columns look like times"),
        ({"file": ["x"], "filename": ["y"]}, r"X: the data frame: columns 'file', 'filename' could each be the path"),
        ({"path": ["x", None]}, r"X: the data frame, row 1: path .*; expected the path of a sound file"),
    ],
)
def test_frames_that_are_no_clips_say_what_to_pass(columns, words):
    with pytest.raises(ParameterError, match=words):
        ClipEmbedder(FakeEmbedder(), cache=None).fit(pandas.DataFrame(columns))


def test_frames_of_numbers_are_samples():
    rows = np.random.default_rng(0).normal(0, 0.1, (3, 8000))
    model = ClipEmbedder(FakeEmbedder(), sample_rate=8000, cache=None)
    np.testing.assert_array_equal(model.fit_transform(pandas.DataFrame(rows)), model.fit_transform(rows))


# The baseline


def test_a_baseline_takes_a_frame_or_a_path(sounds):
    table = l3clf.datasets.load(sounds)
    options = {"heads": ["logistic"], "cache": None}
    expected = l3clf.baseline(table, ["mfcc"], **options)
    for data in (table.to_pandas(), sounds, str(sounds)):
        assert l3clf.baseline(data, ["mfcc"], **options).best["accuracy"] == expected.best["accuracy"]
    text = repr(expected)
    assert len(text) < 200
    assert text.startswith("<BaselineReport of 'sounds0': 24 clips, 1 rows, best mfcc / logistic / mean at")
    assert "accuracy" in str(expected)


@pytest.mark.parametrize("data", [None, 3, ["a.wav"], np.zeros((3, 3))])
def test_a_baseline_of_something_else_says_what_to_pass(data):
    with pytest.raises(
        L3clfError, match=r"table: type .*; expected a ClipTable, a data frame with the columns path and"
    ):
        l3clf.baseline(data, ["mfcc"], cache=None)


# repr


def test_a_table_shows_itself_in_one_line():
    table = ClipTable(["a.wav"] * 30_000, ["x", "y"] * 15_000, folds=[1, 2, 3] * 10_000, groups=range(30_000))
    assert repr(table) == "<ClipTable: 30,000 clips, 2 classes, 3 folds, 30,000 groups>"
    assert repr(ClipTable(["a"], ["x"], origin="o" * 500)) == f"<ClipTable: 1 clip, 1 class; {'o' * 79}…>"
    assert repr(ClipTable([], [], origin="a\x1b[31m")) == "<ClipTable: 0 clips, 0 classes; 'a\\x1b[31m'>"


def test_windows_may_still_be_x():
    vectors, labels = easy_set(12, classes=2)
    assert ClipClassifier("mfcc", cache=None).fit(embedded(vectors), labels).score(embedded(vectors), labels) == 1.0
