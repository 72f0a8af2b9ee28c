"""A baseline whose folder, disk or forest gives trouble: what was computed comes out, with a word about the rest."""

import io
import warnings
import zipfile

import numpy as np
import pytest
import soundfile
from helpers.class_folders import run
from helpers.file_systems import fill, small_disk

import l3clf
import l3clf.baselines.run
import l3clf.classifier.model_file  # before a limit of it is changed for a test
from l3clf import ClipTable
from l3clf.cli.main import main
from l3clf.errors import CacheWarning, L3clfWarning, ModelFileError


def as_npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


def without(content, name):
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
    return file.getvalue()


ONES = np.full((24, 4), 0.25)


@pytest.fixture
def no_pictures(monkeypatch):
    """They take seconds."""
    monkeypatch.setattr("l3clf.baselines.result._draw", lambda *_: [])


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one byte of the data": lambda content: flipped(content, 200),
    "one byte of the directory": lambda content: flipped(content, len(content) - 20),
    "text": lambda content: b"Dear diary",
    "an array": lambda content: content[content.index(b"\x93NUMPY") :][:300],
    "no seconds": lambda content: without(content, "seconds.npy"),
    "seconds are a list": lambda content: as_npz(probabilities=ONES, seconds=np.ones(3)),
    "seconds are text": lambda content: as_npz(probabilities=ONES, seconds=np.array("long")),
    "fewer clips": lambda content: as_npz(probabilities=ONES[:20], seconds=np.array(1.0)),
    "fewer classes": lambda content: as_npz(probabilities=ONES[:, :2], seconds=np.array(1.0)),
    "one number": lambda content: as_npz(probabilities=np.array(1.0), seconds=np.array(1.0)),
    "objects": lambda content: as_npz(probabilities=np.array([None] * 24), seconds=np.array(1.0)),
    "not a number": lambda content: as_npz(probabilities=ONES * np.nan, seconds=np.array(1.0)),
    "negative": lambda content: as_npz(probabilities=-ONES, seconds=np.array(1.0)),
}


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    """A folder with one finished cell, the cell, its content, and the accuracy."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    report = run(table, heads=["logistic"], out=folder)
    (cell,) = (folder / ".cells").iterdir()
    return folder, cell, cell.read_bytes(), report.best["accuracy"]


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_cell_is_computed_again(table, finished, no_pictures, name):
    folder, cell, content, accuracy = finished
    cell.write_bytes(DAMAGES[name](content))
    with pytest.warns(CacheWarning, match=f"{cell.name}: .*; this cell of the baseline is computed again") as caught:
        report = run(table, heads=["logistic"], out=folder)
    assert not any("give a file" in str(warning.message) for warning in caught)  # one thing to do, not two
    assert report.best["accuracy"] == accuracy
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(table, heads=["logistic"], out=folder).best["accuracy"] == accuracy


def test_a_cell_is_not_taken_from_files_that_were_decoded_differently(table, tmp_path, monkeypatch, no_pictures):
    run(table, heads=["logistic"], out=tmp_path / "out")
    monkeypatch.setattr("l3clf.baselines.cell_store.decode_revision", lambda decoder: "wav/9")
    run(table, heads=["logistic"], out=tmp_path / "out")
    assert len(list((tmp_path / "out" / ".cells").iterdir())) == 2


def test_a_folder_for_cells_that_cannot_be_made_is_done_without(table, tmp_path, no_pictures):
    out = tmp_path / "out"
    run(table, heads=["logistic"], out=out)
    for cell in (out / ".cells").iterdir():
        cell.unlink()
    (out / ".cells").rmdir()
    (out / ".cells").write_text("in the way")
    with pytest.warns(CacheWarning, match=r"\.cells: cannot be written .*; the run goes on"):
        report = run(table, heads=["logistic"], out=out)
    assert report.unwritten == []
    assert (out / "report.html").exists()


def test_a_full_disk_leaves_the_answers(table, tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        (disk / "out").mkdir()
        fill(disk)
        (disk / "filling").unlink()
        (disk / "filling").write_bytes(bytes(44 * 1024))  # room for the tables, not for the pictures
        with pytest.warns(L3clfWarning, match="cannot be written"):
            report = run(table, heads=["logistic"], out=disk / "out")
        assert report.best["accuracy"] > 0.5
        assert report.unwritten
        assert set(report.model.predict(table.clips)) <= set(table.labels)


def test_a_full_disk_leaves_the_printed_table(sounds, tmp_path, capsys):
    with small_disk(tmp_path / "disk", 64) as disk, warnings.catch_warnings():
        warnings.simplefilter("default")
        (disk / "filling").write_bytes(bytes(44 * 1024))
        arguments = ["--embedders", "mfcc", "--heads", "logistic", "--out", str(disk / "out"), "--cache", "none"]
        assert main(["baseline", str(sounds), *arguments]) == 1
    out, err = capsys.readouterr()
    assert "logistic" in out
    assert "cannot be written" in err
    assert "Traceback" not in err


# A forest that is too large for a model file


def limit_files(monkeypatch, n_bytes):
    for module in ("classifier.heads", "classifier.model_file", "baselines.cells", "baselines.run"):
        name = "_MAX_TOTAL" if module.endswith("model_file") else "MAX_STORED_BYTES"
        monkeypatch.setattr(f"l3clf.{module}.{name}", n_bytes)


@pytest.fixture
def few_trees(monkeypatch):
    for module in ("classifier.heads", "baselines.cells"):
        monkeypatch.setattr(f"l3clf.{module}.FOREST_TREES", 20)


@pytest.fixture
def small_limit(monkeypatch, few_trees):
    limit_files(monkeypatch, 5000)


@pytest.fixture
def easy(tmp_path):
    """Noises and tones, which every head tells apart."""
    (tmp_path / "easy").mkdir()
    for i in range(24):
        tone = 0.3 * np.sin(np.arange(8000) * (0.1 + i / 100))
        samples = tone if i % 2 else np.random.default_rng(i).normal(0, 0.1, 8000)
        soundfile.write(tmp_path / "easy" / f"{i}.wav", samples, 8000)
    clips = [tmp_path / "easy" / f"{i}.wav" for i in range(24)]
    return ClipTable(clips, ["noise", "tone"] * 12)


def test_the_best_model_that_can_be_stored_is_stored(easy, tmp_path, monkeypatch, no_pictures):
    """The forest comes first where both are equal; it is kept in memory, and the file holds the other."""
    table, said = easy, []
    limit_files(monkeypatch, 20_000)
    report = run(table, heads=["forest", "logistic"], out=tmp_path / "out", say=said.append)
    assert report.best["head"] == "forest"
    assert any("Perhaps too large for a model file" in line and "mfcc / forest / mean" in line for line in said)
    (note,) = (note for note in report.notes if "does not become a model file" in note)
    assert "use the head 'logistic'" in note
    assert "The model file holds mfcc / logistic / mean" in note
    assert note in (tmp_path / "out" / "report.html").read_text(encoding="utf-8").replace("&#x27;", "'")
    assert report.model.head == "forest"
    stored = l3clf.load_model(tmp_path / "out" / "model.l3clf")
    assert stored.head == "logistic"
    assert set(stored.predict(table.clips)) <= set(table.labels)
    for name in ("table.csv", "table.json", "report.html"):
        assert (tmp_path / "out" / name).exists()


def test_without_a_model_that_can_be_stored_the_rest_comes_out(table, tmp_path, small_limit, no_pictures):
    report = run(table, heads=["forest"], out=tmp_path / "out")
    assert any("No model file is written" in note for note in report.notes)
    assert not (tmp_path / "out" / "model.l3clf").exists()
    assert (tmp_path / "out" / "report.html").exists()
    assert set(report.model.predict(table.clips)) <= set(table.labels)


def test_a_model_of_an_earlier_run_does_not_stay_beside_a_report_of_another(
    table, tmp_path, monkeypatch, no_pictures, few_trees
):
    run(table, heads=["forest"], out=tmp_path / "out")
    assert (tmp_path / "out" / "model.l3clf").exists()
    limit_files(monkeypatch, 5000)
    run(table, heads=["forest"], out=tmp_path / "out")
    assert not (tmp_path / "out" / "model.l3clf").exists()


def test_a_forest_too_large_for_a_file_is_refused_before_it_is_copied(table, tmp_path, small_limit, monkeypatch):
    report = run(table, heads=["forest"])
    monkeypatch.setattr("l3clf.classifier.heads._tree_arrays", lambda *_: pytest.fail("the forest is copied"))
    with pytest.raises(ModelFileError, match=r"a forest of [\d,]+ nodes for 4 classes takes .* MB, more than the"):
        l3clf.save_model(report.model, tmp_path / "m")


def test_folds_that_do_not_fit_into_memory_together_are_fitted_one_by_one(table, monkeypatch, few_trees):
    at_once, original = [], l3clf.evaluate.crossval.in_parallel
    monkeypatch.setattr(
        "l3clf.evaluate.crossval.in_parallel",
        lambda jobs, threads, **how: at_once.append(threads) or original(jobs, threads, **how),
    )
    run(table, heads=["forest"], n_jobs=4)
    monkeypatch.setattr("l3clf.baselines.cells.MAX_BYTES", 20 * 1.27 * 8 * len(table) * 4 * 1.5)
    run(table, heads=["forest"], n_jobs=4)
    assert at_once == [4, 1]
