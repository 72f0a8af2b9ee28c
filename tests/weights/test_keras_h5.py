"""Keras weight files: what is read from good ones, and that damaged or hostile ones are refused."""

import gzip
import importlib.util
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from l3clf.errors import WeightsError
from l3clf.weights import keras_h5
from l3clf.weights.keras_h5 import digest, read_keras_h5

SHARED = os.environ.get("L3CLF_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="L3CLF_SHARED names no folder of shared data")


def put(folder, name, data=b"x"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


# In the order in which they come back, which is not the order of the layers in keras_file.
LAYERS = {
    "bn": {"gamma": np.array([0.5, 2], "f4")},
    "conv": {"bias": np.array([1, -1], "f4"), "kernel": np.arange(18, dtype="f4").reshape(3, 3, 1, 2)},
}


def keras_file(path, layers=LAYERS, inside=None, kind="S", dtype="f4"):
    """Write a file as Keras 2 does."""

    def names(values):
        return np.array([v.encode() for v in values], kind) if kind == "S" else np.array(list(values), kind)

    with h5py.File(path, "w") as file:
        root = file.create_group(inside) if inside else file
        root.attrs["layer_names"] = names(["input_1", *layers, "melspectrogram_1"])
        root.create_group("input_1").attrs["weight_names"] = np.zeros(0)
        root.create_group("melspectrogram_1")
        for layer, arrays in reversed(layers.items()):
            group = root.create_group(layer)
            group.attrs["weight_names"] = names([f"{layer}/{name}:0" for name in arrays])
            for name, array in arrays.items():
                group.create_dataset(f"{layer}/{name}:0", data=array.astype(dtype))
    return path


def gz(path):
    return put(path.parent, path.name + ".gz", gzip.compress(path.read_bytes(), 1))


def flat(arrays):
    return {(layer, name): array for layer, found in arrays.items() for name, array in found.items()}


@pytest.mark.parametrize("inside", [None, "model_weights"])
@pytest.mark.parametrize("kind", ["S", h5py.string_dtype()])  # which one Keras writes depends on its h5py
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_read_keras_layouts(tmp_path, inside, kind, dtype):
    path = keras_file(tmp_path / "net.h5", inside=inside, kind=kind, dtype=dtype)
    found = read_keras_h5(path)
    assert list(found) == ["bn", "conv"]
    assert list(found["conv"]) == ["bias", "kernel"]
    for key, array in flat(found).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, flat(LAYERS)[key])
    assert digest(read_keras_h5(gz(path))) == digest(found) == digest(LAYERS)


@needs_shared
def test_read_the_real_edgel3():
    found = read_keras_h5(Path(SHARED, "weights", "edgel3_sea64.h5"))
    assert len(found) == 17
    assert next(iter(found)) == "audio_embedding_layer"
    assert found["audio_embedding_layer"]["kernel"].shape == (3, 3, 64, 64)
    assert set(found["batch_normalization_9"]) == {"gamma", "beta", "moving_mean", "moving_variance"}
    assert not any("spectrogram" in name for name in found)


@needs_shared
def test_read_seeded_openl3_weights(tmp_path):
    spec = importlib.util.spec_from_file_location("recipe", Path(SHARED, "golden", "recipe.py"))
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    recipe.write_weights(tmp_path / "net.h5", "mel256")
    found = flat(read_keras_h5(tmp_path / "net.h5"))
    expected = flat(dict(recipe.layers(recipe.WEIGHT_SEEDS["mel256"])))
    assert found.keys() == expected.keys()
    for key, array in found.items():
        np.testing.assert_array_equal(array, expected[key].astype("f4"))


def test_digest_tells_networks_apart():
    kernel = LAYERS["conv"]["kernel"]
    variants = [
        LAYERS,
        {**LAYERS, "conv": {**LAYERS["conv"], "kernel": kernel + np.float32(1e-6)}},
        {**LAYERS, "conv": {**LAYERS["conv"], "kernel": kernel.reshape(3, 3, 2, 1)}},
        {**LAYERS, "conv": {**LAYERS["conv"], "kernel": kernel.astype("f8")}},
        {"conv2": LAYERS["conv"], "bn": LAYERS["bn"]},
        {"conv": LAYERS["conv"]},
        {},
    ]
    assert len({digest(v) for v in variants}) == len(variants)
    as_big_endian = {k: {n: np.asfortranarray(a.astype(">f4")) for n, a in v.items()} for k, v in LAYERS.items()}
    assert digest(as_big_endian) == digest(LAYERS)


# --- hostile and damaged files ---------------------------------------------------------------------

KERNEL = "conv/conv/kernel:0"


def swap(make):
    """Return a change of a good file that puts something else in place of the kernel."""

    def change(file, folder):
        del file[KERNEL]
        make(file, folder)

    return change


def external_link(file, folder):
    keras_file(folder / "other.h5")
    file[KERNEL] = h5py.ExternalLink(str(folder / "other.h5"), KERNEL)


def external_storage(file, folder):
    put(folder, "raw", bytes(400))
    file.create_dataset(KERNEL, (100,), "f4", external=[(str(folder / "raw"), 0, 400)])


def virtual(file, folder):
    layout = h5py.VirtualLayout((18,), "f4")
    layout[:] = h5py.VirtualSource(str(keras_file(folder / "other.h5")), "conv/conv/kernel:0", (18,))
    file.create_virtual_dataset(KERNEL, layout)


def many_ways(file, folder):
    """Link groups so that few of them make many paths."""
    below = file.create_group("nothing")
    for level in range(4):
        group = file.create_group(f"conv/level{level}")
        for i in range(30):
            group[f"way{i}"] = below
        below = group


def external_layer(file, folder):
    del file["conv"]
    file["conv"] = h5py.ExternalLink(str(keras_file(folder / "other.h5")), "conv")


def same_again(file, i):
    file[f"conv/w{i}"] = file["conv/w0"]


HOSTILE = {
    "soft link": (
        swap(lambda f, _: f.__setitem__(KERNEL, h5py.SoftLink("/bn/bn/gamma:0"))),
        "link to elsewhere",
    ),
    "dangling link": (
        swap(lambda f, _: f.__setitem__(KERNEL, h5py.SoftLink("/nothing"))),
        "link to elsewhere",
    ),
    "external link": (swap(external_link), "link to elsewhere"),
    "external layer": (external_layer, "link to elsewhere"),
    "external storage": (swap(external_storage), "values in another file"),
    "virtual": (swap(virtual), "values in another file"),
    "named type": (swap(lambda f, _: f.__setitem__(KERNEL, np.dtype("f4"))), "has no array"),
    "no values": (swap(lambda f, _: f.__setitem__(KERNEL, h5py.Empty("f4"))), "no values at"),
    "huge": (
        swap(lambda f, _: f.create_dataset(KERNEL, (1 << 40,), "f4", chunks=(1024,))),
        "lacks values at /conv/conv/kernel:0",
    ),
    "never written": (
        swap(lambda f, _: f.create_dataset(KERNEL, (1 << 20,), "f4", fillvalue=1)),
        "lacks values at /conv/conv/kernel:0",
    ),
    "one array many times": (
        lambda f, _: [f.create_dataset("conv/w0", data=np.ones(999)), *(same_again(f, i) for i in range(1, 9))],
        "more values than the file has room for",
    ),
    "whole numbers": (swap(lambda f, _: f.create_dataset(KERNEL, data=np.arange(4))), "type int64"),
    "strings": (swap(lambda f, _: f.create_dataset(KERNEL, data=[b"a"])), "instead of float32"),
    "not finite": (
        swap(lambda f, _: f.create_dataset(KERNEL, data=np.array([1, np.nan], "f4"))),
        "not finite",
    ),
    "too large a float": (swap(lambda f, _: f.create_dataset(KERNEL, data=np.array([1e300]))), "not finite"),
    "deep": (swap(lambda f, _: f.create_dataset("conv/1/2/3/4/5/6/7", data=1.0)), "no array"),
    "circle": (swap(lambda f, _: f.__setitem__("conv/conv/conv", f["conv"])), "two weights called bias"),
    "empty circle": (swap(lambda f, _: f.create_group("x").__setitem__("x", f["x"])), "no array"),
    "many groups": (lambda f, _: [f.create_group(f"g{i}") for i in range(4097)], "more than 4096 members"),
    "many ways": (many_ways, "more than 4096 members"),
    "weight twice": (lambda f, _: f.create_dataset("conv/again/bias:0", data=1.0), "two weights called bias"),
    "no layers": (lambda f, _: [f.__delitem__("conv"), f.__delitem__("bn")], "no weights"),
    "layer is an array": (lambda f, _: f.create_dataset("dense", data=1.0), "no group at /dense"),
    "not UTF-8": (lambda f, _: f.id.links.create_hard(b"\xff", f.id, b"conv"), "damaged"),
    "no mark": (lambda f, _: f.attrs.__delitem__("layer_names"), "lacks 'model_weights'"),
    "no mark inside": (
        lambda f, _: [f.attrs.__delitem__("layer_names"), f.create_group("model_weights")],
        "no attribute layer_n",
    ),
    "array inside": (
        lambda f, _: [f.attrs.__delitem__("layer_names"), f.__setitem__("model_weights", 1.0)],
        "no attribute layer_n",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(tmp_path, name):
    change, message = HOSTILE[name]
    path = keras_file(tmp_path / "net.h5")
    with h5py.File(path, "r+") as file:
        change(file, tmp_path)
    for variant in (path, gz(path)):
        with pytest.raises(WeightsError, match=message) as caught:
            read_keras_h5(variant)
        assert str(variant) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_external_link_is_not_even_opened(tmp_path, monkeypatch):
    # Opening a pipe that nobody writes to would hang, and opening a device could do worse.
    path = keras_file(tmp_path / "net.h5")
    with h5py.File(path, "r+") as file:
        del file["conv"]
        file["conv"] = h5py.ExternalLink("pipe", "/")
    monkeypatch.chdir(tmp_path)
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="link to elsewhere"):
        read_keras_h5(path)


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    bomb = put(tmp_path, "net.h5.gz", gzip.compress(keras_h5._HDF5_MAGIC + bytes(4 << 20)))
    assert bomb.stat().st_size < 10_000
    monkeypatch.setattr(keras_h5, "MAX_FILE_BYTES", 1 << 20)
    with pytest.raises(WeightsError, match=r"net\.h5\.gz: unpacks to more than 1048576 bytes"):
        read_keras_h5(bomb)


@pytest.mark.parametrize(
    "data", [b"", b"not HDF5", keras_h5._HDF5_MAGIC, gzip.compress(b"", mtime=0), gzip.compress(b"text", mtime=0)]
)
def test_something_else_is_refused(tmp_path, data):
    with pytest.raises(WeightsError, match=r"net\.h5: is"):
        read_keras_h5(put(tmp_path, "net.h5", data))


def test_missing_and_unreadable(tmp_path):
    for path in (tmp_path / "absent.h5", tmp_path, "nul\0byte"):
        with pytest.raises(WeightsError, match="cannot be read"):
            read_keras_h5(path)


def test_a_damaged_gzip_is_noticed(tmp_path):
    path = gz(keras_file(tmp_path / "net.h5"))
    good = path.read_bytes()
    for at in (12, len(good) // 2, len(good) - 6):
        damaged = bytearray(good)
        damaged[at] ^= 0xFF
        for data in (bytes(damaged), good[:at]):
            path.write_bytes(data)
            with pytest.raises(WeightsError, match="damaged gzip"):
                read_keras_h5(path)


def test_damage_anywhere_is_an_error_or_harmless(tmp_path):
    """A plain .h5 has no checksums: what comes back is weights or a WeightsError, and nothing else."""
    path = keras_file(tmp_path / "net.h5")
    good = path.read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for trial in range(150):
        damaged = bytearray(good[: rng.integers(1, len(good))] if trial % 3 == 0 else good)
        for at in rng.integers(0, len(damaged), 6):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            found = read_keras_h5(path)
        except WeightsError:
            refused += 1
        else:
            assert all(np.isfinite(a).all() for a in flat(found).values())
    assert refused > 30


@pytest.mark.parametrize("filters", [{"compression": "gzip"}, {"shuffle": True}, {"fletcher32": True}])
def test_compressed_values_are_refused(tmp_path, filters):
    """A chunk of a few kilobytes can unpack to gigabytes, whatever the shape says."""
    path = keras_file(tmp_path / "w.h5")
    with h5py.File(path, "a") as file:
        del file["bn/bn/gamma:0"]
        file["bn/bn"].create_dataset("gamma:0", data=np.ones(1000, "f4"), chunks=(1000,), **filters)
    with pytest.raises(WeightsError, match="has compressed values at /bn/bn/gamma:0"):
        read_keras_h5(path)


def test_uncompressed_chunks_can_be_read(tmp_path):
    path = keras_file(tmp_path / "w.h5")
    with h5py.File(path, "a") as file:
        del file["bn/bn/gamma:0"]
        file["bn/bn"].create_dataset("gamma:0", data=np.arange(1000, dtype="f4"), chunks=(100,))
    np.testing.assert_array_equal(read_keras_h5(path)["bn"]["gamma"], np.arange(1000))
