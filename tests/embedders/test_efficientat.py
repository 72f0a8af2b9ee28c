"""EfficientAT: the numbers of PyTorch's own operators, the sizes that its authors publish, and its files."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from golden.efficientat_recipe import EVERY, GOLDEN, LEVELS_OF, checkpoint, seeded, sounds
from sklearn.base import clone

from l3clf.audio.spectrogram import log_spectrogram
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.model_file import load_model, save_model
from l3clf.embedders import load_embedder
from l3clf.embedders.efficientat import FRONT_END, MODELS, build_graph, tensor_shapes
from l3clf.errors import ParameterError, WeightsError
from l3clf.networks.onnx_build import run_graph, session
from l3clf.weights import registry
from l3clf.weights.torch_zip import read_torch_zip

SHARED = os.environ.get("L3CLF_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="L3CLF_SHARED names no folder of shared data")

SOUNDS = sounds()
EXPECTED = dict(np.load(GOLDEN))


def expected(model):
    """Return the sounds that PyTorch's values are there for, and those."""
    names = [name for name in SOUNDS if f"{model}.{name}" in EXPECTED]
    return np.stack([SOUNDS[name] for name in names]), np.stack([EXPECTED[f"{model}.{name}"] for name in names])


def assert_within(found, wanted, share=1e-4):
    """Within a share of the largest value, for each sound."""
    assert found.shape == wanted.shape
    assert (np.abs(found - wanted).max(axis=1) / np.abs(wanted).max(axis=1)).max() <= share


@pytest.fixture(scope="module")
def mn10(tmp_path_factory):
    """A checkpoint of mn10 with made-up weights."""
    path = tmp_path_factory.mktemp("efficientat") / "mn10_as_mAP_471.pt"
    path.write_bytes(checkpoint(seeded(1.0)))
    return path


# --- the numbers -----------------------------------------------------------------------------------


@needs_shared
def test_the_published_weights_give_what_pytorch_gives():
    windows, wanted = expected("mn04")
    assert len(windows) == len(SOUNDS) == 10
    embedder = load_embedder("efficientat", weights=Path(SHARED, "weights"))
    assert_within(embedder.embed_windows(windows), wanted)


def test_made_up_weights_give_what_pytorch_gives():
    windows, wanted = expected("seeded mn04")
    assert len(windows) == len(SOUNDS)
    graph = build_graph(read_torch_zip(checkpoint(seeded(0.4)), "x.pt"), 0.4, "x.pt")
    assert_within(run_graph(session(graph), log_spectrogram(FRONT_END, windows)[:, np.newaxis]), wanted)


def test_another_width_gives_what_pytorch_gives(mn10):
    windows, wanted = expected("seeded mn10")
    assert_within(load_embedder("efficientat", model="mn10", weights=mn10).embed_windows(windows), wanted)


@pytest.mark.parametrize("name", LEVELS_OF)
def test_the_front_end_gives_what_pytorch_gives(name):
    (levels,) = log_spectrogram(FRONT_END, SOUNDS[name][np.newaxis])
    np.testing.assert_allclose(levels[:, ::EVERY], EXPECTED[f"levels.{name}"], rtol=0, atol=1e-3)


def test_a_window_has_98_frames():
    """Of 31,199 samples after pre-emphasis: centred frames start every 320 samples, up to the last sample."""
    n = load_embedder("efficientat").window_samples
    assert (n, FRONT_END.n_frames) == (31_200, 1 + (n - 1 - 1) // FRONT_END.hop) == (31_200, 98)


@needs_shared
def test_int8_is_near_and_an_embedder_of_its_own():
    windows, wanted = expected("mn04")
    exact = load_embedder("efficientat", weights=Path(SHARED, "weights"))
    integers = load_embedder("efficientat", weights=Path(SHARED, "weights"), precision="int8")
    assert integers.fingerprint != exact.fingerprint
    assert exact.fingerprint == "89a4e3a8ae31a093b05481b0a5f045e2"
    found = integers.embed_windows(windows)
    cosines = (found * wanted).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert np.median(cosines) > 0.95
    assert np.abs(found - wanted).max() > 1e-3


@needs_shared
def test_a_model_goes_on_with_the_precision_that_it_was_fitted_with(tmp_path):
    folder = Path(SHARED, "weights")
    embedder = load_embedder("efficientat", weights=folder, precision="int8")
    sounds = [sound for sound in SOUNDS.values() if sound.any()][:8]
    model = clone(ClipClassifier(embedder, sample_rate=32_000, cache=None)).fit(sounds, ["a", "b"] * 4)
    again = load_model(save_model(model, tmp_path / "m.l3clf"), weights=folder)
    assert again.embedder.precision == "int8"
    assert again.embedder.fingerprint == embedder.fingerprint
    found, wanted = (m.set_params(cache=None).predict_proba(sounds[:3]) for m in (again, model))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


# --- the networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "millions", "size"),
    [("mn04", 0.98, 384), ("mn05", 1.43, 480), ("mn10", 4.88, 960), ("mn20", 17.91, 1920), ("mn30", 39.09, 2880)],
)
def test_the_networks_have_the_sizes_that_their_authors_publish(model, millions, size):
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    shapes = tensor_shapes(MODELS[model][0])
    parameters = sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith(statistics))
    assert round(parameters / 1e6, 2) == millions
    embedder = load_embedder("efficientat", model=model)
    assert (embedder.embedding_size, embedder.options) == (size, {"model": model})


@needs_shared
def test_the_published_file_is_the_table_of_shapes():
    content = Path(SHARED, "weights", MODELS["mn04"][1]).read_bytes()
    assert len(content) == 4_066_513
    found = {name: array.shape for name, array in read_torch_zip(content, "mn04").items()}
    assert found == tensor_shapes(0.4)
    assert sum(math.prod(shape) for shape in found.values()) == 993_485


@pytest.mark.parametrize("model", ["mn99", "MN04", "", 4, None, ["mn04"]])
def test_an_unknown_model_is_refused_with_those_there_are(model):
    with pytest.raises(ParameterError, match=r"model=.*; expected one of 'mn04', 'mn01'"):
        load_embedder("efficientat", model=model)


def test_a_model_named_by_numpy_is_named_by_python():
    embedder = load_embedder("efficientat", model=np.str_("mn10"))
    assert type(embedder.model) is str
    assert embedder == load_embedder("efficientat", model="mn10")


# --- files -----------------------------------------------------------------------------------------


def without(name):
    return {key: array for key, array in seeded(0.1).items() if key != name}


WRONG = {
    "a tensor is missing": (without("features.5.block.1.1.running_var"), "has no features.5.block.1.1.running_var"),
    "another shape": (
        seeded(0.1) | {"features.0.0.weight": np.zeros((8, 2, 3, 3), np.float32)},
        r"features.0.0.weight is float32 of shape \(8, 2, 3, 3\), expected float32 of \(8, 1, 3, 3\)",
    ),
    "another type": (
        seeded(0.1) | {"features.0.1.bias": np.zeros(8, np.int64)},
        r"features.0.1.bias is int64 of shape \(8,\), expected float32",
    ),
    "one too many": (seeded(0.1) | {"features.99.weight": np.zeros(1, np.float32)}, "has 'features.99.weight', which"),
    "another width": (seeded(0.2), r"has no features.4.block.1.conc_se_layers.0.fc1.weight"),
}


@pytest.mark.parametrize(("tensors", "words"), WRONG.values(), ids=WRONG)
def test_other_checkpoints_are_refused(tensors, words, tmp_path):
    path = tmp_path / "other.pt"
    path.write_bytes(checkpoint(tensors))
    with pytest.raises(WeightsError, match=f"other.pt: .*{words}.*; give EfficientAT's checkpoint of this model"):
        load_embedder("efficientat", model="mn01", weights=path).embed_windows(SOUNDS["tone"][np.newaxis])


def test_mn04_is_its_published_file_and_no_other(tmp_path):
    path = tmp_path / MODELS["mn04"][1]
    path.write_bytes(checkpoint(seeded(0.4)))
    for ask in (lambda e: e.fingerprint, lambda e: e.embed_windows(SOUNDS["tone"][np.newaxis])):
        with pytest.raises(WeightsError, match=r"is not the known mn04_as_mAP_432\.pt \(its SHA-256 is"):
            ask(load_embedder("efficientat", weights=tmp_path))


def test_another_width_is_found_by_file_or_folder(mn10):
    by_file, by_folder = (load_embedder("efficientat", model="mn10", weights=place) for place in (mn10, mn10.parent))
    assert by_file.is_ready()
    assert by_file.missing() == ""
    assert by_file.fingerprint == by_folder.fingerprint


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No weights where they are usually found."""
    monkeypatch.delenv("L3CLF_WEIGHTS", raising=False)
    monkeypatch.setattr(registry.platformdirs, "user_cache_path", lambda name: tmp_path / name)


def test_other_widths_cannot_be_downloaded(nowhere):
    embedder = load_embedder("efficientat", model="mn10")
    assert not embedder.is_ready()
    words = "mn10_as_mAP_471.pt is not on this machine; it comes from github.com/fschmid56/EfficientAT"
    assert words in embedder.missing()
    with pytest.raises(WeightsError, match=r"mn10_as_mAP_471.pt: is not on this machine; it comes from"):
        _ = embedder.fingerprint


def test_mn04_is_fetched_where_it_is_missing(nowhere, monkeypatch):
    asked = []

    def refuse(url, target, *, git_sha1, size_limit, progress):
        asked.append((url, target.name, git_sha1, progress))
        raise registry.DownloadError(f"{url}: cannot be reached; check the network")

    monkeypatch.setattr(registry, "download", refuse)
    embedder = load_embedder("efficientat")
    assert "run `l3clf weights fetch efficientat` where the network allows it" in embedder.missing()
    ways = r"run `l3clf weights fetch efficientat` .*, pass weights=PATH to a copy, or use embedder=\"l3base\""
    with pytest.raises(WeightsError, match=f"mn04_as_mAP_432.pt: is not on this machine and cannot be .*; {ways}"):
        _ = embedder.fingerprint
    (address, name, git_sha1, progress) = asked[0]
    assert address == "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt"
    assert (name, git_sha1, progress) == ("mn04_as_mAP_432.pt", "1c675af80a401a1d54cbd01530b7411372f32601", True)
