"""The baseline table on synthetic sounds: equal to scikit-learn by hand, written to files that agree."""

import io
import json

import numpy as np
import pytest
from helpers.class_folders import run
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import l3clf
from l3clf import ClipTable
from l3clf.baselines.run import ready_embedders
from l3clf.errors import DatasetError, ParameterError


def test_the_table_has_a_row_for_each_cell_best_first(table):
    report = run(table, poolings=("mean", "mean+std", "vote"))
    assert len(report.table) == 6
    assert report.best == report.table[0]
    accuracies = [row["accuracy"] for row in report.table]
    assert accuracies == sorted(accuracies, reverse=True)
    assert {(row["head"], row["pooling"]) for row in report.table} == {
        (head, pooling) for head in ("logistic", "forest") for pooling in ("mean", "mean+std", "vote")
    }
    assert report.floors["accuracy"] <= 0.25
    assert report.open_set == []
    assert "AUROC" not in str(report)
    assert accuracies[0] > 0.6
    assert set(report.model.predict(table.clips)) <= set(table.labels)


def test_a_forest_is_the_same_however_many_threads_grow_it(table):
    one, two = (run(table, heads=["forest"], n_jobs=n).model for n in (1, 2))
    assert one.head_.n_jobs is None
    for a, b in zip(one.head_.estimators_, two.head_.estimators_, strict=True):
        np.testing.assert_array_equal(a.tree_.threshold, b.tree_.threshold)
        np.testing.assert_array_equal(a.tree_.value, b.tree_.value)


def test_files_are_identified_once_beside_each_time_they_are_embedded(table, tmp_path, monkeypatch):
    cache, asked, identify = l3clf.EmbeddingCache(tmp_path / "c.sqlite"), [], l3clf.EmbeddingCache.identify
    monkeypatch.setattr(
        l3clf.EmbeddingCache, "identify", lambda self, paths: asked.append(paths) or identify(self, paths)
    )
    run(table, heads=["logistic"], cache=cache, out=tmp_path / "out")
    assert (
        len([paths for paths in asked if paths]) == 4
    )  # the clips, the files, and for the model on all clips both again


def test_the_numbers_are_those_of_scikit_learn_by_hand(table):
    report = run(table, heads=["logistic"])
    vectors = l3clf.ClipEmbedder("mfcc", cache=None).fit_transform(table.clips)
    by_hand = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000))
    folds = PredefinedSplit(report.split.test_fold)
    predicted = np.concatenate(
        [by_hand.fit(vectors[a], table.labels[a]).predict(vectors[b]) == table.labels[b] for a, b in folds.split()]
    )
    assert report.best["accuracy"] == pytest.approx(predicted.mean(), abs=1e-12)
    each = cross_val_score(by_hand, vectors, table.labels, cv=folds)
    assert report.best["accuracy_std"] == pytest.approx(each.std(), abs=1e-12)


def test_each_row_is_there_with_copies_too_and_these_are_made_once(table, tmp_path, monkeypatch):
    cache, augment = l3clf.EmbeddingCache(tmp_path / "c.sqlite"), l3clf.Augmentation(copies=1)
    how = {"heads": ["logistic"], "augment": augment, "out": tmp_path / "out", "cache": cache}
    report = run(table, **how)
    found = {row["head"]: row["accuracy"] for row in report.table}
    assert found.keys() == {"logistic", "logistic + 1 copy"}
    assert found["logistic"] == run(table, heads=["logistic"]).best["accuracy"]
    by_hand = cross_val_score(
        l3clf.ClipClassifier("mfcc", cache=cache, augment=augment),
        table.clips,
        table.labels,
        cv=PredefinedSplit(report.split.test_fold),
    )
    assert found["logistic + 1 copy"] == pytest.approx(by_hand.mean(), abs=1e-9)
    monkeypatch.setattr(l3clf.Augmentation, "render", None)  # would fail
    again = run(table, **how)
    assert [row["accuracy"] for row in again.table] == [row["accuracy"] for row in report.table]
    with pytest.raises(ParameterError, match="cache=None: copies of clips would be made anew in each fold"):
        run(table, augment=augment, cache=None)


def test_given_folds_are_used_and_noted(table):
    with_folds = ClipTable(table.clips, table.labels, folds=np.arange(len(table)) % 3)
    report = run(with_folds, heads=["logistic"])
    assert report.split.kind == "folds"
    assert any("3 folds, as given" in note for note in report.notes)


def test_tuning_happens_inside_the_folds_and_the_model_can_be_saved(table, tmp_path):
    report = run(table, heads=["logistic"], tune=True)
    assert report.best["head"] == "logistic (C tuned)"
    l3clf.save_model(report.model, tmp_path / "m")
    loaded = l3clf.load_model(tmp_path / "m")
    np.testing.assert_allclose(
        loaded.predict_proba(table.clips[:4]), report.model.predict_proba(table.clips[:4]), atol=1e-6
    )


def test_a_clip_that_cannot_be_read_is_left_out_and_named(table, tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    worse = ClipTable([*table.clips, tmp_path / "bad.wav"], [*table.labels, "siren"])
    report = run(worse, heads=["logistic"], out=tmp_path / "out")
    assert len(report.data) == len(table)
    assert "bad.wav" in str(report.failures[0])
    assert "bad.wav" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_files_are_written_and_agree(table, tmp_path):
    report = run(table, heads=["logistic"], out=tmp_path / "out", learning_curve=True, commands=["l3clf baseline x"])
    out = tmp_path / "out"
    made = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and ".cells" not in path.parts}
    pictures = {f"pictures/{name}.png" for name in ("confusion", "confusion-counts", "recall", "map", "learning")}
    assert (
        made
        == {".l3clf-baseline", ".l3clf-files.json", "report.html", "table.csv", "table.json", "model.l3clf"} | pictures
    )
    rows = json.loads((out / "table.json").read_text(encoding="utf-8"))
    rows = rows if isinstance(rows, list) else rows["rows"]
    assert [row["accuracy"] for row in rows] == [row["accuracy"] for row in report.table]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "l3clf baseline x" in page
    assert "leakage" in page


def test_foreign_folders_are_left_alone(table, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ParameterError, match="holds other files"):
        run(table, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heads": ["nonsense"]}, "heads: 'nonsense'"),
        ({"heads": "logistic"}, "expected a list"),
        ({"poolings": ["nonsense"]}, "pooling='nonsense'"),
        ({"hop_s": 0}, "hop_s=0"),
    ],
)
def test_impossible_options_are_refused(table, options, words):
    with pytest.raises(ParameterError, match=words):
        run(table, **options)


def test_one_class_is_refused(table):
    with pytest.raises(DatasetError, match="only the class"):
        run(table.subset(table.labels == "siren"))


def test_nothing_readable_is_refused(tmp_path):
    clips = [tmp_path / f"{k}.wav" for k in range(4)]
    with pytest.raises(DatasetError, match="none of 4 clips could be read") as caught:
        run(ClipTable(clips, ["x", "y"] * 2))
    assert all(str(clip) in str(caught.value) for clip in clips)


def test_ready_embedders_are_those_with_weights_here(tmp_path, shared, monkeypatch):
    monkeypatch.setattr("l3clf.weights.registry.user_weights_dir", lambda: tmp_path)
    assert "edgel3" not in {embedder.name for embedder in ready_embedders()}
    names = [embedder.name for embedder in ready_embedders(shared / "weights")]
    assert names[0] == "mfcc"
    assert {"edgel3", "speech"} <= set(names)
    assert "openl3" not in names


def test_poolings_that_share_a_head_share_its_time_and_have_cells_of_their_own(table, tmp_path):
    poolings = ("vote", "mean", "probability")
    first = run(table, heads=["logistic"], poolings=poolings, out=tmp_path / "out")
    seconds = {row["pooling"]: row["seconds"] for row in first.table}
    assert seconds["vote"] == seconds["probability"] != seconds["mean"]
    cells = sorted((tmp_path / "out" / ".cells").iterdir())
    assert len(cells) == 3
    for cell in cells:  # each is computed again alone, and is the same
        kept = cell.read_bytes()
        cell.unlink()
        again = run(table, heads=["logistic"], poolings=poolings, out=tmp_path / "out")
        assert [row["accuracy"] for row in again.table] == [row["accuracy"] for row in first.table]
        with np.load(cell) as new, np.load(io.BytesIO(kept)) as old:
            np.testing.assert_array_equal(new["probabilities"], old["probabilities"])


def test_classes_are_left_out_on_request(table, tmp_path):
    some = table.subset(np.isin(table.labels, np.unique(table.labels)[:3]))
    some = ClipTable(some.clips, some.labels, folds=np.arange(len(some)) % 2)
    report = run(some, heads=["logistic"], open_set=True, out=tmp_path / "b")
    rows = [each.row for each in report.open_set]
    assert [row["how"] for row in rows] == ["the head alone", 'unknown="auto"']
    assert all(0 <= row[key] <= 1 for row in rows for key in ("auroc", "unknown_accepted", "accuracy_accepted"))
    assert "AUROC" in str(report)
    assert json.loads((tmp_path / "b/table.json").read_text())["open_set"] == rows
    assert (tmp_path / "b/pictures/open-set.png").is_file()
    assert "Sounds that were never learned" in (tmp_path / "b/report.html").read_text(encoding="utf-8")


def test_too_few_classes_to_leave_one_out_are_named_before_anything_is_embedded(table):
    two = table.subset(np.isin(table.labels, np.unique(table.labels)[:2]))
    with pytest.raises(DatasetError, match="2 classes, of which 1 would be left out; give at least 3"):
        run(two, heads=["logistic"], open_set=True)
