"""The baseline of taggers: equal to scikit-learn by hand, resumed, written to files that agree."""

import json
import warnings

import numpy as np
import pytest
import soundfile
from helpers.class_folders import RATE, run
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import l3clf
from l3clf import ClipTable
from l3clf.baselines.cell_store import CellStore, Embedded, Options
from l3clf.baselines.tag_report import mixed_up, rarest_tags
from l3clf.baselines.targets import TagTarget
from l3clf.demo.sounds import CLASSES, synthesise
from l3clf.errors import DatasetError, ParameterError
from l3clf.evaluate import CrossValidation
from l3clf.pipeline import identities

KINDS = CLASSES[:3]


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """Clips of no, one or two sounds at once."""
    folder, rng = tmp_path_factory.mktemp("tagged"), np.random.default_rng(0)
    clips, labels = [], []
    for i in range(36):
        tags = sorted(rng.choice(KINDS, (0, 1, 2)[i % 3], replace=False).tolist())
        sound = rng.normal(0, 0.003, RATE)
        for tag in tags:
            sound += synthesise(tag, np.random.default_rng([i, CLASSES.index(tag)]), 1.0, RATE)
        clips.append(folder / f"{i}.wav")
        soundfile.write(clips[-1], sound / max(1.0, np.abs(sound).max()), RATE)
        labels.append("|".join(tags))
    return ClipTable(clips, labels, folds=np.arange(36) // 3 % 3)


@pytest.fixture(scope="module")
def written(tagged, tmp_path_factory):
    out = tmp_path_factory.mktemp("reports") / "out"
    return run(tagged, heads=["logistic"], poolings=("mean", "probability"), tags=True, out=out), out


def test_the_numbers_are_those_of_scikit_learn_by_hand(tagged, written):
    report, _ = written
    vectors = l3clf.ClipEmbedder("mfcc", cache=None).fit_transform(tagged.clips)
    truth = np.array([[kind in label.split("|") for kind in sorted(KINDS)] for label in tagged.labels])
    by_hand = np.zeros(truth.shape)
    for fold in range(3):
        test = tagged.folds == fold
        model = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.1, max_iter=3000)))
        by_hand[test] = model.fit(vectors[~test], truth[~test]).predict_proba(vectors[test])
    row = next(row for row in report.table if row["pooling"] == "mean")
    assert row["map"] == pytest.approx(average_precision_score(truth, by_hand, average="macro"), abs=1e-6)
    assert report.floors["map"] == pytest.approx(truth.mean(axis=0).mean())
    assert report.best["map"] == max(row["map"] for row in report.table) > report.floors["map"] + 0.2


def test_files_are_written_and_agree(tagged, written):
    report, out = written
    assert report.unwritten == []
    rows = json.loads((out / "table.json").read_text(encoding="utf-8"))["rows"]
    assert [row["map"] for row in rows] == [row["map"] for row in report.table]
    assert "accuracy" not in rows[0]
    pictures = {path.name for path in (out / "pictures").iterdir()}
    assert pictures == {"confusion.png", "confusion-counts.png", "precision.png", "map.png"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Mean average precision" in page
    assert "the base rate" in page
    assert "mAP" in str(report)
    assert "accuracy" not in str(report)
    assert "12 of the clips" in page  # without a tag
    assert "shows the mean average precision as a tick" in page


def test_pictures_speak_of_tags(written):
    report, _ = written
    axes = Figure().subplots()
    report.plot_confusion(axes)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted tag", "true tag")
    axes = Figure().subplots()
    report.plot_map(axes)
    assert "by their rarest tag" in axes.get_title(loc="left")


def test_the_best_tagger_is_stored(tagged, written):
    report, out = written
    loaded = l3clf.load_model(out / "model.l3clf")
    assert isinstance(loaded, l3clf.ClipTagger)
    assert loaded.predict_tags(tagged.clips[:6]) == report.model.predict_tags(tagged.clips[:6])


def test_a_finished_baseline_is_resumed(tagged, written, monkeypatch):
    report, out = written
    monkeypatch.setattr("l3clf.evaluate.tag_crossval.in_parallel", None)  # nothing is computed again
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = run(tagged, heads=["logistic"], poolings=("mean", "probability"), tags=True, out=out)
    for old, new in zip(report.results, again.results, strict=True):
        np.testing.assert_array_equal(old.answers.predictions, new.answers.predictions)
        assert old.row["macro_f1_low"] == new.row["macro_f1_low"]


def test_answers_with_thresholds_of_other_groups_are_kept_apart(tagged, tmp_path):
    """The folds, and so the probabilities, are the same; the thresholds are not."""
    options = Options(0.5, None, None, None)
    places = []
    for groups in (None, np.arange(36) // 2, np.arange(36) // 3):
        target = TagTarget(ClipTable(tagged.clips, tagged.labels, tagged.folds, groups))
        store = CellStore(tmp_path, Embedded(target, {}, {}, [], identities(tagged.clips)), target.split(), options)
        places.append(store.place(["the same cell"]))
    assert len(set(places)) == 3


def test_permuted_tags_give_the_base_rate(tagged):
    labels = np.random.default_rng(3).permutation(np.tile(tagged.labels, 1))
    report = run(ClipTable(tagged.clips, labels), heads=["logistic"], tags=True)
    assert report.best["map"] == pytest.approx(report.floors["map"], abs=0.15)
    assert report.best["map_low"] < report.floors["map"] + 0.1


def test_mistakes_are_clips_with_a_wrong_tag_the_most_confident_first(written):
    report, _ = written
    truth, found = report.tags.targets.indicator, report.results[0].answers.predictions
    mistakes = report.mistakes()
    assert len(mistakes) == int((truth != found).any(axis=1).sum())
    sure = [mistake.probability for mistake in mistakes]
    assert sure == sorted(sure, reverse=True)
    assert all(mistake.truth != mistake.predicted for mistake in mistakes)


def test_each_tag_of_a_clip_is_in_one_pair():
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    found = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    answers = CrossValidation(found, np.full((3, 3), 0.5), np.array(["a", "b", "c"]))
    pairs = list(zip(*mixed_up(truth, answers, answers.classes), strict=True))
    assert pairs == [("a", "a"), ("b", "c"), ("a", "(nothing)"), ("(nothing)", "b")]
    assert rarest_tags(truth, answers.classes) == ["b", "a", "(no tag)"]


@pytest.mark.parametrize("option", ["open_set", "learning_curve"])
def test_what_needs_one_class_is_refused(tagged, option):
    with pytest.raises(ParameterError, match=f"{option}=True: needs one class for each clip, and tags=True gives"):
        run(tagged, tags=True, **{option: True})


def test_a_vote_of_windows_is_refused(tagged):
    with pytest.raises(ParameterError, match="vote"):
        run(tagged, tags=True, poolings=["vote"])


def test_a_tag_of_every_clip_is_refused_before_anything_is_embedded(tagged):
    table = ClipTable(["missing.wav"] * 36, [f"{label}|all" for label in tagged.labels])
    with pytest.raises(DatasetError, match="labels: every clip has the tag 'all'"):
        run(table, tags=True)


def test_pictures_of_tags_are_drawn_into_axes(written):
    report, _ = written
    recalls = report.plot_recall()
    assert {text.get_text() for text in recalls.get_yticklabels()} == set(KINDS)
    confusion = report.plot_confusion()
    assert {text.get_text() for text in confusion.get_yticklabels()} == {*KINDS, "(nothing)"}
    truth, found = report.tags.targets.indicator, report.results[0].answers.predictions
    heading = confusion.get_title(loc="left")
    assert f"{(truth & found).sum()} of {truth.sum()} tags found" in heading
    assert f"{(found > truth).sum()} false" in heading
    assert "accuracy" not in heading
    assert len(report.plot_map().collections) > 0
