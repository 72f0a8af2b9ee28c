"""What every embedder promises, in one suite over all of them; and what is particular to some."""

import copy
import importlib.util
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import h5py
import joblib
import numpy as np
import pytest
from golden import openl3_recipe
from helpers import TESTS
from helpers.fake_embedder import FakeEmbedder
from sklearn.base import clone

import l3clf
from l3clf.audio.clip import Clip
from l3clf.audio.decode import load
from l3clf.audio.spectrogram import mel_filters
from l3clf.classifier.estimators import ClipEmbedder
from l3clf.embedders import described_embedder, edgel3, embedder_names, load_embedder, mfcc, register_embedder, speech
from l3clf.errors import AudioError, MissingDependencyError, ParameterError, WeightsError
from l3clf.networks.onnx_build import run_graph

SHARED = os.environ.get("L3CLF_SHARED")
HAS_LITERT = importlib.util.find_spec("ai_edge_litert") is not None
NAMES = [
    "fake",
    "mfcc",
    "l3base",
    "l3mini",
    "l3mini int8",
    "l3mini first",
    "l3micro",
    "openl3",
    "efficientat",
    "edgel3",
]
NAMES += ["yamnet", "speech"]
NEEDS = {
    "efficientat": (SHARED, "L3CLF_SHARED names no folder of shared data"),
    "edgel3": (SHARED, "L3CLF_SHARED names no folder of shared data"),
    "speech": (SHARED, "L3CLF_SHARED names no folder of shared data"),
    "yamnet": (SHARED and HAS_LITERT, "needs ai-edge-litert and the weights in L3CLF_SHARED"),
}
SIZES = {
    "fake": 4,
    "mfcc": 60,
    "openl3": 512,
    "efficientat": 384,
    "edgel3": 64,
    "yamnet": 1024,
    "speech": 96,
}
WINDOW_S = {
    "fake": 0.5,
    "mfcc": 1.0,
    "openl3": 1.0,
    "efficientat": 0.975,
    "edgel3": 1.0,
    "yamnet": 0.975,
    "speech": 0.775,
}
STUDENTS = ("l3base", "l3mini", "l3micro")
SIZES |= {name: sum(load_embedder(name).about["parts"]) for name in STUDENTS}
WINDOW_S |= dict.fromkeys(STUDENTS, 0.975)
RATES_HZ = {
    "fake": 8000,
    "mfcc": 16_000,
    "openl3": 48_000,
    "efficientat": 32_000,
    "edgel3": 8000,
    "yamnet": 16_000,
    "speech": 16_000,
}
RATES_HZ |= dict.fromkeys(STUDENTS, 16_000)


def shared_weights(file=""):
    return Path(SHARED, "weights", file)


@pytest.fixture(scope="session")
def make(tmp_path_factory):
    """Return a function that makes an embedder by name, always the same one; it skips what cannot be had."""
    seeded = tmp_path_factory.mktemp("seeded") / "mel128.h5"

    @cache
    def make(name):
        present, reason = NEEDS.get(name, (True, ""))
        if not present:
            pytest.skip(reason)
        if name in NEEDS:
            return load_embedder(name, weights=shared_weights())
        if name == "openl3":
            return load_embedder(name, input_repr="mel128", weights=openl3_recipe.write_weights(seeded, "mel128"))
        if name == "l3mini int8":
            return load_embedder("l3mini", precision="int8")
        if name == "l3mini first":
            return load_embedder("l3mini", revision=1)
        return load_embedder(name)

    return make


@pytest.fixture(params=NAMES)
def emb(request, make):
    return make(request.param)


def fresh(emb):
    """Return an equal embedder that has opened nothing."""
    return pickle.loads(pickle.dumps(emb))


def noise(emb, n_windows=3, seed=0):
    shape = n_windows, emb.window_samples
    return 0.1 * np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def tone(emb, amplitude, hz=440.0):
    t = np.arange(emb.window_samples) / emb.sample_rate
    return (amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32)[np.newaxis]


def assert_close(found, expected):
    """Equal within 1e-5 of the largest value."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


# --- the specification -----------------------------------------------------------------------------


def test_specification(emb):
    first = emb.name == "l3mini" and emb.revision == 1
    assert emb.embedding_size == (192 if first else SIZES[emb.name])
    assert emb.sample_rate == RATES_HZ[emb.name]
    assert emb.window_s == WINDOW_S[emb.name]
    assert emb.window_samples == round(WINDOW_S[emb.name] * RATES_HZ[emb.name])
    assert type(emb.revision) is int
    assert emb.batch_windows >= 1


def test_the_name_is_the_one_it_is_loaded_by(emb):
    assert emb.name in embedder_names()
    again = load_embedder(emb.name, **{field.name: getattr(emb, field.name) for field in fields(emb)})
    assert (type(again), again) == (type(emb), emb)


def test_options_are_all_fields_but_the_place_of_the_weights(emb):
    found = {f.name: getattr(emb, f.name) for f in fields(emb) if f.name != "weights"}
    values = {name: value for name, value in found.items() if (name, value) != ("frontend", None)}  # no choice
    named = {**emb.unnamed_options, **emb.options}
    assert {name: value for name, value in named.items() if name in values} == values
    assert emb.options == {name: value for name, value in values.items() if emb.unnamed_options.get(name) != value}
    places = {"weights": emb.weights} if hasattr(emb, "weights") else {}
    assert described_embedder(emb.name, emb.options, **places) == emb


def test_it_cannot_be_changed(emb):
    for name in ("name", "sample_rate", "weights"):
        with pytest.raises(AttributeError):
            setattr(emb, name, "other")


# --- the numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_windows", [1, 3])
def test_shape_and_type(emb, n_windows):
    vectors = emb.embed_windows(noise(emb, n_windows))
    assert isinstance(vectors, np.ndarray)
    assert (vectors.shape, vectors.dtype) == ((n_windows, emb.embedding_size), np.float32)


def test_the_embeddings_are_finite_for_any_sound(emb):
    square = np.where(tone(emb, 1) < 0, -1, 1).astype(np.float32)
    impulse = np.eye(1, emb.window_samples, 100, dtype=np.float32)
    full = np.ones_like(square)
    windows = np.concatenate([0 * full, full, -full, square, impulse, tone(emb, 1e-30), 1e-38 * full, noise(emb, 1)])
    assert np.isfinite(emb.embed_windows(windows)).all()


def test_different_sounds_give_different_vectors(emb):
    vectors = emb.embed_windows(np.concatenate([tone(emb, 0.5), tone(emb, 0.5, hz=1000), noise(emb, 1)]))
    largest = np.abs(vectors).max()
    assert min(np.abs(vectors[i] - vectors[j]).max() for i, j in [(0, 1), (0, 2), (1, 2)]) > 1e-3 * largest


def test_deterministic(emb):
    windows = noise(emb, 2)
    np.testing.assert_array_equal(emb.embed_windows(windows), emb.embed_windows(windows.copy()))


@pytest.mark.parametrize("shape", [(2, -1), (2, 1), (0, 0), (1, 0, 2)])
def test_windows_of_another_length_are_refused(emb, shape):
    n, more, *others = shape
    with pytest.raises(ParameterError, match=rf"^windows: array of shape .*; expected .* {emb.window_samples}\)"):
        emb.embed_batch(np.zeros((n, emb.window_samples + more, *others), np.float32))


def test_the_given_windows_are_not_changed(emb):
    windows = noise(emb, 2)
    windows.flags.writeable = False
    emb.embed_windows(windows)
    np.testing.assert_array_equal(windows, noise(emb, 2))


def test_a_window_does_not_depend_on_its_neighbours(emb):
    windows = np.concatenate([noise(emb, 2), tone(emb, 1.0), np.zeros((1, emb.window_samples), np.float32)])
    together = emb.embed_windows(windows)
    alone = np.concatenate([emb.embed_windows(window[np.newaxis]) for window in windows])
    assert_close(together, alone)
    assert_close(emb.embed_windows(windows[::-1]), together[::-1])


# --- framing ---------------------------------------------------------------------------------------


def manual_windows(emb, samples, hop_s, center):
    """Frame as DESIGN.md says: half a window of zeros in front, then zeros up to a whole number of hops."""
    window, hop = emb.window_samples, round(hop_s * emb.sample_rate)
    padded = np.concatenate([np.zeros(window // 2 if center else 0), samples])
    n_windows = 1
    while (n_windows - 1) * hop + window < len(padded):
        n_windows += 1
    padded = np.pad(padded, (0, (n_windows - 1) * hop + window - len(padded)))
    return np.float32([padded[i * hop : i * hop + window] for i in range(n_windows)])


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("duration_s", "hop_s"), [(1.6, 0.5), (0.2, 0.5), (1.1, 0.3), (1.3, 2.0)])
def test_embed_is_framing_and_embed_windows(emb, center, duration_s, hop_s):
    samples = 0.2 * np.random.default_rng(1).standard_normal(round(duration_s * emb.sample_rate))
    expected = manual_windows(emb, samples, hop_s, center)
    found = emb.embed(samples, emb.sample_rate, hop_s=hop_s, center=center)
    assert len(found) == len(expected) == len(found.vectors) == len(found.times_s)
    assert_close(found.vectors, emb.embed_windows(expected))
    rms = np.sqrt((expected.astype(float) ** 2).mean(axis=1))
    np.testing.assert_allclose(found.levels_dbfs, 20 * np.log10(np.maximum(rms, 1e-10)), atol=1e-3)


@pytest.mark.parametrize(("hop_s", "center"), [(0.5, True), (0.25, False)])
def test_times_are_start_and_end_of_each_window(emb, hop_s, center):
    times_s = emb.embed(np.ones(2 * emb.sample_rate), emb.sample_rate, hop_s=hop_s, center=center).times_s
    assert times_s.dtype == np.float64
    half = emb.window_samples // 2 / emb.sample_rate if center else 0.0
    np.testing.assert_allclose(times_s[:, 0], np.arange(len(times_s)) * hop_s - half, atol=1e-12)
    np.testing.assert_allclose(times_s[:, 1] - times_s[:, 0], emb.window_s, atol=1e-12)
    assert times_s[-1, 1] >= 2.0 > times_s[-2, 1]


def two_tones(rate):
    t = np.arange(rate) / rate
    return 0.3 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 1500 * t)


def test_channels_are_mixed_and_integers_scaled(emb):
    left = np.round(two_tones(emb.sample_rate) * 16_384).astype(np.int16)
    stereo = np.stack([left, np.zeros_like(left)], axis=1)
    found, expected = (emb.embed(samples, emb.sample_rate).vectors for samples in (stereo, left / 65_536))
    assert_close(found, expected)


def test_another_sample_rate_is_the_same_sound(emb):
    expected, found = (emb.embed(two_tones(rate), rate, center=False) for rate in (emb.sample_rate, 44_100))
    np.testing.assert_array_equal(found.times_s, expected.times_s)
    np.testing.assert_allclose(found.levels_dbfs, expected.levels_dbfs, atol=0.1)
    a, b = found.vectors[0], expected.vectors[0]
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.97


@pytest.mark.parametrize("hop_s", [0, -0.5, np.nan, np.inf, 1e-9, "0.5", None, True])
def test_an_impossible_hop_is_refused(emb, hop_s):
    with pytest.raises(ParameterError, match="hop_s="):
        emb.embed(np.zeros(100), emb.sample_rate, hop_s=hop_s)


@pytest.mark.parametrize("samples", [np.zeros(0), np.full(9000, np.nan), np.zeros((2, 9, 9)), np.array(["a"])])
def test_impossible_samples_are_refused(emb, samples):
    with pytest.raises(AudioError):
        emb.embed(samples, emb.sample_rate)


# --- copies ----------------------------------------------------------------------------------------

COPIES = {
    "pickle": fresh,
    "deepcopy": copy.deepcopy,
    "clone": lambda emb: clone(ClipEmbedder(embedder=emb)).embedder,
    "replace": replace,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_copies_are_the_same_embedder(emb, copied):
    other = copied(emb)
    assert (type(other), other, hash(other)) == (type(emb), emb, hash(emb))
    assert (other.fingerprint, other.options) == (emb.fingerprint, emb.options)


def test_a_pickle_carries_the_specification_only(emb):
    emb.embed_windows(noise(emb, 1))  # whatever is opened lazily is open now
    _ = emb.fingerprint
    content = pickle.dumps(emb)
    assert len(content) < 2000
    assert set(vars(pickle.loads(content))) == {field.name for field in fields(emb)}


def test_a_copy_gives_the_same_numbers(emb):
    np.testing.assert_array_equal(fresh(emb).embed_windows(noise(emb, 1)), emb.embed_windows(noise(emb, 1)))


def test_four_threads_at_once_give_the_same_numbers(emb):
    inputs = [noise(emb, 2, seed) for seed in range(4)]
    expected = [emb.embed_windows(windows) for windows in inputs]
    shared = fresh(emb)  # so that the threads open it together
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shared.embed_windows, inputs))
    np.testing.assert_array_equal(found, expected)


def test_another_process_gives_the_same_numbers(emb):
    inputs = [noise(emb, 1, seed) for seed in range(2)]
    jobs = (joblib.delayed(emb.embed_windows)(windows) for windows in inputs)
    found = joblib.Parallel(n_jobs=2, backend="loky")(jobs)
    assert_close(np.array(found), np.array([emb.embed_windows(windows) for windows in inputs]))


# --- fingerprints ----------------------------------------------------------------------------------

PRINT_FINGERPRINTS = """
import pickle, sys
for embedder in pickle.load(sys.stdin.buffer):
    print(embedder.fingerprint)
"""


def obtainable(make):
    return [make(name) for name in NAMES if NEEDS.get(name, (True,))[0]]


def test_fingerprints_are_the_same_in_another_process(make):
    embedders = obtainable(make)
    env = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", PRINT_FINGERPRINTS]
    done = subprocess.run(command, input=pickle.dumps(embedders), capture_output=True, env=env, check=True)
    assert done.stdout.decode().split() == [embedder.fingerprint for embedder in embedders]


def test_fingerprints_differ_between_embedders(make):
    found = {embedder.fingerprint for embedder in obtainable(make)}
    assert len(found) == len(obtainable(make)) >= 3
    assert all(len(fingerprint) == 32 and int(fingerprint, 16) for fingerprint in found)


def test_fingerprints_differ_between_options():
    assert FakeEmbedder(1.0).fingerprint == FakeEmbedder().fingerprint != FakeEmbedder(2.0).fingerprint


def test_a_raised_revision_changes_the_fingerprint(emb):
    raised = fresh(emb)
    object.__setattr__(raised, "revision", emb.revision + 1)  # an option of l3mini, a constant of all others
    assert raised.fingerprint != fresh(emb).fingerprint


def test_another_way_of_reading_audio_changes_the_fingerprint(emb, monkeypatch):
    before = fresh(emb).fingerprint
    monkeypatch.setattr("l3clf.embedders.base.REVISION", "another")
    assert fresh(emb).fingerprint != before


# --- by name ---------------------------------------------------------------------------------------


def test_equal_options_make_equal_embedders():
    assert FakeEmbedder(2.0) == load_embedder("fake", scale=2.0) != FakeEmbedder()
    assert load_embedder("mfcc") == mfcc.Mfcc()
    assert load_embedder("yamnet", weights=Path("some") / "folder") == load_embedder("yamnet", weights="some/folder")
    assert len({load_embedder("mfcc"), load_embedder("mfcc"), FakeEmbedder()}) == 2


@pytest.mark.parametrize("name", ["no such", "", "OpenL3"])
def test_an_unknown_name_is_refused_with_those_there_are(name):
    with pytest.raises(ParameterError, match=r"no such embedder.*; expected one of openl3, mfcc, efficientat"):
        load_embedder(name)


@pytest.mark.parametrize("name", ["fake", "mfcc", "openl3", "efficientat", "edgel3", "yamnet", "speech"])
def test_an_unknown_option_is_refused_by_name(name):
    with pytest.raises(ParameterError, match=f"embedder '{name}'.*'colour'"):
        load_embedder(name, colour="red")


@pytest.mark.parametrize("name", ["openl3", "efficientat", "edgel3", "yamnet", "speech"])
def test_nothing_is_looked_for_before_it_is_needed(name, tmp_path):
    emb = load_embedder(name, weights=tmp_path / "missing")
    assert (emb.embedding_size, emb.sample_rate) == (SIZES[name], RATES_HZ[name])
    assert repr(str(tmp_path / "missing")) in repr(emb)
    with pytest.raises(WeightsError, match="missing: does not exist"):
        _ = emb.fingerprint


def test_another_embedder_is_one_class_and_one_call():
    register_embedder("fake", FakeEmbedder)  # again: no harm
    emb = l3clf.load_embedder("fake", scale=3.0)
    samples = np.tile(np.float32([1, -1]), 4000)
    vectors = emb.embed(samples, 8000, hop_s=0.5, center=False).vectors
    assert vectors.tolist() == [[0, 3, 3, 3 * 3999]] * 2


@pytest.mark.parametrize("name", ["openl3", "fake"])
def test_a_taken_name_is_refused(name):
    with pytest.raises(ParameterError, match=f"name='{name}': is already taken"):
        register_embedder(name, mfcc.Mfcc)


# --- weights that are not the known ones -----------------------------------------------------------

needs_shared = pytest.mark.skipif(not SHARED, reason="L3CLF_SHARED names no folder of shared data")


def copy_of_weights(tmp_path, *, changed):
    for source in shared_weights().iterdir():
        content = bytearray(source.read_bytes())
        if source.name == changed:
            content[len(content) // 2] ^= 1
        (tmp_path / source.name).write_bytes(content)
    return tmp_path


@needs_shared
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("efficientat", "mn04_as_mAP_432.pt"),
        ("yamnet", "yamnet.tflite"),
        ("speech", "speech_melspectrogram.onnx"),
        ("speech", "speech_embedding.onnx"),
    ],
)
def test_one_changed_bit_is_refused_before_any_parser_sees_it(name, file, tmp_path):
    emb = load_embedder(name, weights=copy_of_weights(tmp_path, changed=file))
    for ask in (lambda: emb.fingerprint, lambda: emb.embed_windows(noise(emb, 1))):
        with pytest.raises(WeightsError, match=f"{file}: is not the known {file} \\(its SHA-256 is"):
            ask()


@needs_shared
def test_yamnet_without_litert_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingDependencyError, match=r'pip install ".+\[tflite\]"'):
        load_embedder("yamnet", weights=shared_weights()).embed(np.ones(16_000), 16_000)


def test_edgel3_refuses_the_weights_of_openl3(make):
    emb = load_embedder("edgel3", weights=make("openl3").weights)
    with pytest.raises(WeightsError, match=r"conv2d_1/kernel has shape \(3, 3, 1, 64\), expected \(3, 3, 1, 32\)"):
        emb.embed_windows(noise(emb, 1))


@needs_shared
def test_openl3_refuses_the_weights_of_edgel3():
    emb = load_embedder("openl3", weights=shared_weights("edgel3_sea64.h5"))
    with pytest.raises(WeightsError, match=r"expected \(3, 3, 1, 64\)"):
        emb.embed_windows(noise(emb, 1))


# --- known answers ---------------------------------------------------------------------------------


@needs_shared
def test_edgel3_uses_the_mel_filters_that_its_file_holds():
    with h5py.File(shared_weights("edgel3_sea64.h5"), "r") as file:
        stored = file["model_weights/melspectrogram_1/melspectrogram_1/Variable:0"][:]
    np.testing.assert_allclose(mel_filters(edgel3.FRONT_END), stored, rtol=0, atol=1e-6)
    assert stored.max() > 1e-3  # so that the bound above says something


def test_mfcc_of_silence_and_of_a_louder_sound():
    """Twice the amplitude adds 6.02 dB to every band: to the first coefficient sqrt(64) times that, else nothing."""
    emb = mfcc.Mfcc()
    silence, quiet, loud = emb.embed_windows(np.concatenate([0 * noise(emb, 1), noise(emb, 1), 2 * noise(emb, 1)]))
    np.testing.assert_allclose(silence, [-800] + [0] * 59, atol=1e-3)  # 64 bands at -100 dB: -100 * sqrt(64)
    np.testing.assert_allclose(loud - quiet, [8 * 20 * np.log10(2)] + [0] * 59, atol=1e-3)


@pytest.mark.parametrize("amplitude", [0.01, 0.5])
def test_speech_treats_samples_as_16_bit(make, amplitude):
    """Its mel file wants the range of int16: silence is far from what a quiet tone gives."""
    emb = make("speech")
    silence, sound = emb.embed_windows(np.concatenate([np.zeros((1, emb.window_samples), "f4"), tone(emb, amplitude)]))
    assert np.linalg.norm(sound - silence) > 0.1 * np.linalg.norm(silence)


def test_speech_has_76_frames_in_a_window():
    """Of 400 samples every 160; the margins beside them feed the transform only."""
    assert (speech.WINDOW - 400) / 160 + 1 == 76


@needs_shared
def test_speech_windows_agree_with_one_pass_over_the_clip(make):
    """The file's own way: log-mel of everything at once, of which a window takes 76 frames every 8 frames."""
    emb = make("speech")
    clip = noise(emb, 3).ravel()
    padded = np.pad(clip * np.float32(32_768), speech.MARGIN)[np.newaxis]
    frames = run_graph(emb._front_end, padded).reshape(-1, 32) / np.float32(10) + np.float32(2)
    pieces = [frames[np.newaxis, i : i + 76, :, np.newaxis] for i in range(0, len(frames) - 75, 8)]
    expected = emb._network(np.concatenate(pieces)).reshape(len(pieces), 96)
    found = emb.embed(clip, emb.sample_rate, hop_s=0.08, center=False).vectors[: len(pieces)]
    cosine = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert len(pieces) == 20
    assert cosine.min() > 0.99


# --- real sounds -----------------------------------------------------------------------------------


def recordings(label, n_clips=4):
    """Clips of one ESC-10 class, each from another recording."""
    files = sorted(Path(SHARED, "data", "esc10", label).glob("*.ogg"))
    by_recording = {path.stem.split("-")[1]: path for path in files}
    return [Clip(path) for path in list(by_recording.values())[:n_clips]]


def mean_vector(emb, clip):
    return emb.embed(*load(clip)).vectors.mean(axis=0)


@needs_shared
@pytest.mark.parametrize("name", ["efficientat", "edgel3", "yamnet", "speech"])
def test_the_nearest_neighbour_of_a_real_sound_is_of_its_class(make, name):
    """Rooster or sea: with any of these networks all eight clips find one of their own kind."""
    emb, labels = make(name), np.repeat(["rooster", "sea_waves"], 4)
    vectors = np.array([mean_vector(emb, clip) for label in np.unique(labels) for clip in recordings(label)])
    centred = vectors - vectors.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    similarity = unit @ unit.T - 9 * np.eye(8)
    assert labels[similarity.argmax(axis=1)].tolist() == labels.tolist()


def yamnet_classes(emb, windows):
    """Indices of the most probable AudioSet class, which the file computes from the embedding we take."""
    classes = []
    for window in windows:
        emb.embed_windows(window[np.newaxis])
        interpreter, _ = emb._interpreter()
        scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        classes.append(int(scores.argmax()))
    return classes


def test_yamnet_recognises_rain_and_silence(make):
    """So the scale of the samples and the window are those it was trained with."""
    emb = make("yamnet")
    assert yamnet_classes(emb, np.zeros((1, emb.window_samples), np.float32)) == [494]  # "Silence"
    windows = [next(emb.read_windows(clip, 0.5, center=False))[:4] for clip in recordings("rain", 3)]
    heard = yamnet_classes(emb, np.concatenate(windows))
    assert np.isin(heard, range(282, 287)).mean() > 0.8  # water, rain, raindrop, rain on a surface, stream
