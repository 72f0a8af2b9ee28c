"""OpenL3 against the openl3 package's own numbers (see golden/openl3_recipe.py), its options and its weight files."""

import gzip
import os
import pickle
import socket
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from golden import openl3_recipe as recipe

from l3clf.embedders import load_embedder, number_types
from l3clf.embedders.openl3 import OpenL3, front_end
from l3clf.errors import DownloadError, ParameterError, WeightsError
from l3clf.networks.openvino_run import has_openvino
from l3clf.weights import fetch as download
from l3clf.weights import registry as weights

SHARED = os.environ.get("L3CLF_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="L3CLF_SHARED names no folder of shared data")
with np.load(recipe.GOLDEN) as _file:
    GOLDEN = dict(_file)
SAME_RATE = [key for key in GOLDEN if "48." in key]
OTHER_RATE = [key for key in GOLDEN if "48." not in key]
LARGE = [f"{r}.6144.kapre.noise48.c1.h0.5" for r in recipe.SEEDS]
TOLERANCE = 1e-4  # of the largest value
LEAST_COSINE = 0.997  # with another resampler than the package's
FILENAME = "openl3_audio_mel128_env-v0_4_0.h5.gz"  # what most tests here need: the smallest network's


@pytest.fixture(scope="session")
def openl3(tmp_path_factory):
    """Return a function that makes an embedder with seeded weights; one embedder for the same options."""
    folder = tmp_path_factory.mktemp("openl3")

    @cache
    def path(input_repr):
        return recipe.write_weights(folder / f"{input_repr}.h5", input_repr)

    @cache
    def make(input_repr="mel128", embedding_size=512):
        return OpenL3(input_repr, embedding_size=embedding_size, weights=path(input_repr))

    return make


@pytest.fixture(scope="session")
def h5(openl3):
    """Path of the seeded weights for mel128."""
    return Path(openl3().weights)


@pytest.fixture(scope="session")
def h5_gz(h5):
    """The content of the same, compressed as the official files are."""
    return gzip.compress(h5.read_bytes(), 1)


@pytest.fixture(autouse=True)
def nothing_found(tmp_path, monkeypatch):
    """No weights anywhere on this machine; what is fetched goes to this test's own folder."""
    monkeypatch.delenv("L3CLF_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "user_weights_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(weights, "_PACKAGES", {})


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def embed(openl3, key):
    input_repr, size, kind, center, hop_s = recipe.parse(key)
    return openl3(input_repr, size).embed(*recipe.audio(kind), hop_s=hop_s, center=center)


def one_window(seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal((1, 48_000), dtype=np.float32)


def one_sentence(error):
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


# --- the same numbers as the package ---------------------------------------------------------------


def test_the_golden_values_cover_every_input_and_sound():
    assert len(GOLDEN) == 21
    parsed = [recipe.parse(key) for key in GOLDEN]
    sounds = {(input_repr, kind) for input_repr, _, kind, _, _ in parsed}
    assert sounds == {(input_repr, kind) for input_repr in recipe.SEEDS for kind in recipe.SOUNDS}
    assert {(center, hop_s) for _, _, _, center, hop_s in parsed} == {(True, 0.1), (False, 0.5), (True, 0.5)}


@pytest.mark.parametrize("key", SAME_RATE)
def test_48_khz_agrees_with_the_package(openl3, key):
    found, expected = embed(openl3, key).vectors, GOLDEN[key]
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("key", OTHER_RATE)
def test_other_rates_agree_with_the_package_up_to_the_resampler(openl3, key, record_property):
    found, expected = embed(openl3, key).vectors, GOLDEN[key]
    assert found.shape == expected.shape
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = (found * expected).sum(axis=1) / norms
    record_property("least_cosine", float(cosine.min()))
    assert cosine.min() >= LEAST_COSINE


@needs_shared
@pytest.mark.parametrize("key", LARGE)
def test_6144_numbers_agree_with_the_package(openl3, key):
    with np.load(Path(SHARED, "golden", "openl3_parity.npz")) as every:
        expected = every[key]
    found = embed(openl3, key).vectors
    assert found.shape == expected.shape == (2, 6144)
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@needs_shared
def test_the_golden_copy_is_what_the_script_selects(tmp_path):
    keys = recipe.select(Path(SHARED, "golden", "openl3_parity.npz"), tmp_path / "again.npz")
    assert keys == sorted(GOLDEN)
    with np.load(tmp_path / "again.npz") as again:
        assert all(np.array_equal(again[key], GOLDEN[key]) for key in keys)


def test_the_golden_values_tell_one_setting_from_another(openl3):
    """The tolerance means something: another window or another network is far outside it."""
    whole, half = GOLDEN["mel128.512.kapre.noise48.c1.h0.5"]
    assert np.abs(whole - half).max() > 100 * TOLERANCE * np.abs(whole).max()
    assert np.abs(whole - GOLDEN["mel256.512.kapre.noise48.c1.h0.5"][0]).max() > 0.1 * np.abs(whole).max()


@pytest.mark.parametrize(
    ("input_repr", "shape"), [("mel256", (256, 199)), ("mel128", (128, 199)), ("linear", (257, 197))]
)
def test_front_end_shapes(input_repr, shape):
    spec = front_end(input_repr)
    assert (spec.n_bands, spec.n_frames) == shape


# --- in integers -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def integers(openl3):
    """The same in int8, with one calibration for all tests."""
    return replace(openl3(), precision="int8")


def test_int8_is_near_to_the_package(integers):
    found = embed(lambda *_: integers, "mel128.512.kapre.chirp48.c0.h0.5").vectors
    expected = GOLDEN["mel128.512.kapre.chirp48.c0.h0.5"]
    cosine = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.9985
    assert np.abs(found - expected).max() > 10 * TOLERANCE * np.abs(expected).max()  # they are the integers'


@pytest.mark.parametrize("sound", ["a bit at the end", "a fade of 10 ms"])
def test_int8_is_near_where_a_clip_begins_or_ends_in_a_window(integers, openl3, sound):
    """Calibrated on louder sounds alone, the cosines were 0.9985 and 0.985, and with mel256 0.98 and 0.95."""
    window = np.zeros((1, 48_000), np.float32)
    if sound == "a bit at the end":
        window[0, 47_990] = 2.0**-15
    else:
        window[0, :480] = np.random.default_rng(0).normal(0, 2e-5, 480) * np.linspace(1, 0, 480)
    found, expected = (emb.embed_windows(window)[0] for emb in (integers, openl3()))
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > (0.999 if sound == "a bit at the end" else 0.998)


def test_precisions_have_fingerprints_of_their_own(openl3):
    found = {replace(openl3(), precision=p).fingerprint for p in ("float32", "bfloat16", "int8", "fast")}
    assert len(found) == 4
    assert openl3().fingerprint in found
    assert "precision" not in openl3().options


def test_linear_bins_have_no_filters_and_their_first_revision():
    assert [OpenL3(name).revision for name in ("linear", "mel128", "mel256")] == [1, 2, 2]


def test_float32_has_the_fingerprint_of_revision_2(openl3):
    assert openl3().fingerprint == "09de8b9c383eac520ef8c494b7c51f61"


@pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")
def test_the_fast_engine_has_the_same_integers(integers, openl3):
    windows = np.concatenate([one_window(seed) for seed in range(3)])
    expected, found = (emb.embed_windows(windows) for emb in (integers, replace(integers, precision="fast")))
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()
    near = replace(openl3(), precision="bfloat16").embed_windows(windows)
    assert np.abs(near - openl3().embed_windows(windows)).max() <= 0.05 * np.abs(expected).max()


def test_each_engine_of_fast_has_a_fingerprint_of_its_own(integers, monkeypatch):
    found = set()
    for is_there in (True, False):  # their vectors differ, and no cache may return those of the other
        monkeypatch.setattr(number_types, "has_openvino", lambda there=is_there: there)
        found.add(replace(integers, precision="fast").fingerprint)
    assert len(found | {integers.fingerprint}) == 3


def test_fast_without_openvino_is_int8(integers, monkeypatch):
    monkeypatch.setattr(number_types, "has_openvino", lambda: False)
    emb = replace(integers, precision="fast")
    np.testing.assert_array_equal(emb.embed_windows(one_window()), integers.embed_windows(one_window()))


def test_int8_travels_as_its_options(integers):
    window = one_window()
    again = pickle.loads(pickle.dumps(integers))
    assert again == integers
    np.testing.assert_array_equal(again.embed_windows(window), integers.embed_windows(window))


# --- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("input_repr", ["mel256", "mel128", "linear"])
@pytest.mark.parametrize("content_type", ["env", "music"])
@pytest.mark.parametrize("embedding_size", [512, 6144])
def test_every_combination_has_its_official_file_and_nothing_is_touched_to_make_it(
    no_network, input_repr, content_type, embedding_size
):
    emb = load_embedder("openl3", input_repr=input_repr, content_type=content_type, embedding_size=embedding_size)
    assert (emb.sample_rate, emb.window_s, emb.window_samples) == (48_000, 1.0, 48_000)
    assert emb.embedding_size == embedding_size
    assert emb.weight_file.filename == f"openl3_audio_{input_repr}_{content_type}-v0_4_0.h5.gz"
    assert emb.options == {
        "input_repr": input_repr,
        "content_type": content_type,
        "embedding_size": embedding_size,
    }


def test_the_default_is_mel256_env_512(no_network):
    assert load_embedder("openl3") == OpenL3("mel256", "env", 512, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_repr": "mel512"}, "input_repr='mel512'; expected one of 'mel256', 'mel128', 'linear'"),
        ({"input_repr": None}, "input_repr=None; expected"),
        ({"input_repr": ["mel256"]}, "input_repr="),
        ({"content_type": "speech"}, "content_type='speech'; expected one of 'env', 'music'"),
        ({"embedding_size": 256}, "embedding_size=256; expected one of 512, 6144"),
        ({"embedding_size": "512"}, "embedding_size='512'; expected"),
        ({"embedding_size": np.array([512])}, "embedding_size="),
        ({"weights": 3}, "weights=3; expected a path"),
        ({"precision": "float16"}, "precision='float16'; expected one of 'float32', 'bfloat16', 'int8', 'fast'"),
        ({"precision": None}, "precision=None; expected"),
        ({"size": 512}, "embedder 'openl3'.*'size'"),
    ],
)
def test_other_options_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        load_embedder("openl3", **options)


@pytest.mark.parametrize("size", [np.int64(512), np.int32(512), 512.0])
def test_a_number_from_a_parameter_grid_is_the_number(openl3, h5, size):
    """`GridSearchCV` over an array hands out NumPy's numbers."""
    emb = OpenL3("mel128", embedding_size=size, weights=h5)
    assert emb.fingerprint == openl3().fingerprint
    assert type(emb.embedding_size) is int


# --- weight files ----------------------------------------------------------------------------------


def put(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def write_inside(folder):
    return recipe.write_keras_h5(folder / "inside.h5", recipe.weights("mel128"), inside="model_weights")


def write_with_spectrogram(folder):
    """A layer as kapre leaves it in the file: the front-end's tables, which are no weights of the network."""
    layers = recipe.weights("mel128")
    return recipe.write_keras_h5(folder / "s.h5", {"melspectrogram_1": {"tables": np.ones(3, "f4")}, **layers})


@pytest.mark.parametrize("place", ["file", "folder", "folder, unpacked", "environment", "cache folder"])
def test_weights_are_found_and_unpacked(openl3, h5, h5_gz, tmp_path, monkeypatch, no_network, place):
    places = {
        "file": lambda: put(tmp_path / "any name.bin", h5_gz),
        "folder": lambda: put(tmp_path / FILENAME, h5_gz).parent,
        "folder, unpacked": lambda: put(tmp_path / "openl3_audio_mel128_env.h5", h5.read_bytes()).parent,
        "environment": lambda: monkeypatch.setenv("L3CLF_WEIGHTS", str(put(tmp_path / FILENAME, h5_gz).parent)),
        "cache folder": lambda: put(tmp_path / "cache" / FILENAME, h5_gz) and None,
    }
    emb = OpenL3("mel128", weights=places[place]())
    assert emb.fingerprint == openl3().fingerprint
    if place == "file":  # the same arrays, so once is enough
        np.testing.assert_array_equal(emb.embed_windows(one_window()), openl3().embed_windows(one_window()))


@pytest.mark.parametrize("write", [write_inside, write_with_spectrogram])
def test_weights_are_the_same_however_keras_wrote_them(openl3, tmp_path, write):
    assert OpenL3("mel128", weights=write(tmp_path)).fingerprint == openl3().fingerprint


def test_where_weights_are_is_kept_as_text(h5):
    emb = OpenL3("mel128", weights=h5)
    assert emb.weights == str(h5)
    assert emb == OpenL3("mel128", weights=str(h5))
    assert pickle.loads(pickle.dumps(emb)) == emb


def changed(layer, name, index=0, by=1e-3):
    layers = recipe.weights("mel128")
    layers[layer][name].flat[index] += by
    return layers


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("batch_normalization_1", "gamma"),
        ("conv2d_1", "kernel"),
        ("conv2d_4", "bias"),
        ("batch_normalization_7", "moving_variance"),
        ("audio_embedding_layer", "kernel"),
    ],
)
def test_one_changed_weight_changes_the_fingerprint(openl3, tmp_path, layer, name):
    path = recipe.write_keras_h5(tmp_path / "changed.h5", changed(layer, name, index=-1, by=1e-6))
    assert OpenL3("mel128", weights=path).fingerprint != openl3().fingerprint


def test_every_option_changes_the_fingerprint(h5):
    options = [{}, {"content_type": "music"}, {"embedding_size": 6144}, {"input_repr": "mel256"}]
    found = {OpenL3(**{"input_repr": "mel128", "weights": h5, **option}).fingerprint for option in options}
    assert len(found) == len(options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layers: layers.pop("conv2d_5"), "has no conv2d_5/kernel"),
        (lambda layers: layers.pop("audio_embedding_layer"), "has no audio_embedding_layer/kernel"),
        (lambda layers: layers["batch_normalization_3"].pop("gamma"), "has no batch_normalization_3/gamma"),
        (
            lambda layers: layers["conv2d_2"].update(kernel=np.zeros((3, 3, 64, 32), "f4")),
            r"conv2d_2/kernel has shape \(3, 3, 64, 32\), expected \(3, 3, 64, 64\)",
        ),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, change, message):
    layers = recipe.weights("mel128")
    change(layers)
    emb = OpenL3("mel128", weights=recipe.write_keras_h5(tmp_path / "other.h5", layers))
    with pytest.raises(WeightsError, match=message) as error:
        emb.embed_windows(one_window())
    assert str(tmp_path / "other.h5") in one_sentence(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an HDF5 file"),
        (b"<!DOCTYPE html>", "is not an HDF5 file"),
        (gzip.compress(b"x" * 99, mtime=0), "is not an HDF5 file"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path, content, message):
    (tmp_path / "some.h5").write_bytes(content)
    with pytest.raises(WeightsError, match=message) as error:
        _ = OpenL3(weights=tmp_path / "some.h5").fingerprint
    assert str(tmp_path / "some.h5") in one_sentence(error)


def test_weights_that_are_not_there_are_not_downloaded_instead(tmp_path, no_network):
    with pytest.raises(WeightsError, match="does not exist"):
        _ = OpenL3(weights=tmp_path / "missing.h5").fingerprint


# --- a download that fails -------------------------------------------------------------------------


@pytest.fixture
def closed_port(monkeypatch):
    """All addresses lead to a port of this machine at which nobody listens."""
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    with socket.socket() as taken:  # bound and not listening: refused at once, and nobody else gets it
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        monkeypatch.setattr(weights, "KNOWN", tuple(replace(file, url=url + file.filename) for file in weights.KNOWN))
        yield url


@pytest.mark.parametrize("ask", ["fingerprint", "embed"])
def test_weights_that_cannot_be_downloaded_give_three_ways_out(closed_port, tmp_path, ask):
    emb = OpenL3("mel128")
    with pytest.raises(DownloadError) as error:
        _ = emb.fingerprint if ask == "fingerprint" else emb.embed(one_window()[0], 48_000)
    message = one_sentence(error)
    for part in (FILENAME, closed_port, "l3clf weights fetch", "weights=PATH", 'embedder="l3base"'):
        assert part in message
    assert not (tmp_path / "cache" / FILENAME).exists()


def test_a_failed_download_is_not_remembered(openl3, h5_gz, closed_port, tmp_path):
    emb = OpenL3("mel128")
    with pytest.raises(DownloadError):
        _ = emb.fingerprint
    put(tmp_path / "cache" / FILENAME, h5_gz)
    assert emb.fingerprint == openl3().fingerprint
