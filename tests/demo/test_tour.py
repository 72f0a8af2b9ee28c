"""The tour runs from nothing, tells the truth, and leaves other people's files alone."""

import shutil

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from l3clf import load_model
from l3clf.demo.sounds import CLASSES
from l3clf.demo.tour import NEW_PER_CLASS, run
from l3clf.errors import ParameterError

CLIPS = 6


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """One run, what it said, and the same run once more."""
    out = tmp_path_factory.mktemp("demo") / "my demo"
    said, again = [], []
    first = run(out, clips_per_class=CLIPS, seed=1, say=said.append)
    sounds = {path: path.read_bytes() for path in out.rglob("*.wav")}
    second = run(out, clips_per_class=CLIPS, seed=1, say=again.append)
    return first, second, said, again, sounds


def test_files_are_where_the_result_says(tour):
    result = tour[0]
    for name in CLASSES:
        assert len(list((result.sounds / name).glob("*.wav"))) == CLIPS
        assert (result.new_sounds / f"{name}_{NEW_PER_CLASS}.wav").is_file()
    assert result.model.is_file()
    assert result.cache.is_file()
    assert result.confusion.read_bytes().startswith(b"\x89PNG")
    assert min(imread(result.confusion).shape[:2]) > 500
    assert not list(result.out.rglob("*.part"))


def test_sounds_are_16_bit_and_the_new_ones_are_new(tour):
    result, *_, sounds = tour
    assert soundfile.info(result.sounds / "rain" / "01.wav").subtype == "PCM_16"
    assert len(set(sounds.values())) == len(sounds) == len(CLASSES) * (CLIPS + NEW_PER_CLASS)


def test_it_learns_something_and_counts_honestly(tour):
    result = tour[0]
    assert result.n_clips == CLIPS * len(CLASSES)
    assert 0.6 < result.accuracy <= 1  # guessing: 0.1
    assert np.mean([p.truth == p.label for p in result.predictions]) > 0.5
    assert all(p.path.name.startswith(p.truth) and 0.1 <= p.probability <= 1 for p in result.predictions)


def test_saved_model_says_what_the_result_says(tour):
    result = tour[0]
    model = load_model(result.model).set_params(cache=None)
    paths = [p.path for p in result.predictions[::5]]
    assert model.predict(paths).tolist() == [p.label for p in result.predictions[::5]]


def test_account_names_numbers_files_and_the_next_command(tour):
    result, _, said, *_ = tour
    text = "\n".join(said)
    assert f"{100 * result.accuracy:.1f} % of {result.n_clips} clips" in text
    for name in (*CLASSES, result.confusion.name, result.model.name, str(result.out)):
        assert name in text
    assert "came from the cache" not in text
    assert f"l3clf predict '{result.model}'" in text  # quoted: there is a space in the path
    assert max(map(len, said)) < 100 + 2 * len(str(result.out))


def test_python_it_shows_is_python(tour):
    said = tour[2]
    start = said.index("The same in Python:") + 1
    code = "\n".join(line.strip() for line in said[start : said.index("", start)])
    assert len(code.splitlines()) == 5
    compile(code, "demo", "exec")


def test_second_run_uses_the_cache_and_repeats_itself(tour):
    first, second, _, again, sounds = tour
    assert (first.n_cached, second.n_cached) == (0, first.n_clips)
    assert any(f"{first.n_clips} came from the cache" in line for line in again)
    assert second.accuracy == first.accuracy
    assert second.predictions == first.predictions
    assert {path: path.read_bytes() for path in first.out.rglob("*.wav")} == sounds


def test_rerun_with_fewer_clips_leaves_out_old_ones_and_keeps_what_is_not_its_own(tmp_path, tour):
    out = shutil.copytree(tour[0].out, tmp_path / "demo")
    note = out / "sounds" / "rain" / "note.txt"
    note.write_text("mine")
    result = run(out, clips_per_class=5, seed=1, say=[].append)
    assert (result.n_clips, result.n_cached) == (50, 50)
    assert note.read_text() == "mine"


def test_foreign_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "01.wav").write_bytes(b"precious")
    with pytest.raises(ParameterError, match="holds other files"):
        run(tmp_path, clips_per_class=5)
    assert [path.name for path in tmp_path.rglob("*")] == ["sounds", "01.wav"]
    assert (tmp_path / "sounds" / "01.wav").read_bytes() == b"precious"


def test_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "demo").write_text("precious")
    with pytest.raises(ParameterError, match="is not a folder"):
        run(tmp_path / "demo")
    assert (tmp_path / "demo").read_text() == "precious"


@pytest.mark.parametrize("parameters", [{"clips_per_class": 4}, {"clips_per_class": 5.5}, {"seed": -1}])
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path, parameters):
    with pytest.raises(ParameterError, match=next(iter(parameters))):
        run(tmp_path / "demo", **parameters)
    assert not (tmp_path / "demo").exists()
