"""The check of OpenL3's weights against published values: its sound, its verdict, and what the commands print of it.

The official weights are not here, so stand-in values take the place of the published ones: what the seeded weights give
for a chirp with other noise, which is all by which our sound differs from the authors'.
"""

import functools
import gzip
import http.server
import threading
from dataclasses import replace

import numpy as np
import pytest
from golden import make_openl3_published
from golden import openl3_recipe as recipe

from l3clf.cli import main as cli
from l3clf.embedders import openl3, openl3_published
from l3clf.embedders.openl3_published import MIN_COSINE, check_published, chirp, embed_chirp, is_published, published
from l3clf.errors import ParameterError, WeightsError
from l3clf.weights import registry
from l3clf.weights.fetch import git_blob_id

FILES = {variant: registry.known(f"openl3_audio_{variant}.h5") for variant in ("linear_env", "mel256_music")}
MEL128 = registry.known("openl3_audio_mel128_env.h5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seeded weights of both variants, under the names of official files."""
    place = tmp_path_factory.mktemp("weights")
    for variant in FILES:
        recipe.write_weights(place / f"openl3_audio_{variant}.h5", variant.partition("_")[0])
    return place


@pytest.fixture(scope="module")
def stand_ins(folder):
    """What the seeded weights give for the chirp with other noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openl3_published, "chirp", functools.partial(chirp, seed=1))
        return {variant: embed_chirp(variant, folder / f"openl3_audio_{variant}.h5") for variant in FILES}


@pytest.fixture(autouse=True)
def nothing_else_found(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "user_weights_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(registry, "_PACKAGES", {})


@pytest.fixture
def weights_here(folder, stand_ins, monkeypatch):
    """The seeded weights are the ones on this machine, and the stand-in values the published ones."""
    monkeypatch.setenv("L3CLF_WEIGHTS", str(folder))
    monkeypatch.setattr(openl3_published, "published", lambda: stand_ins)
    return folder


# --- the sound -------------------------------------------------------------------------------------


def test_the_chirp_follows_its_formula_up_to_the_noise_of_its_bits():
    tone, i = chirp(), np.arange(88_200)
    # The sum of the frequencies before sample i, in closed form.
    phase = 2 * np.pi * (440 * i + 176 * i * (i - 1) / 2 / 44_100) / 44_100
    noise = (tone - (0.8 - 0.14 * i / 44_100) * np.sin(phase)) * 32_768
    assert 7 < np.abs(noise).max() < 9  # published: "at most 9"; plain dither and rounding make 1.5
    powers = np.abs(np.fft.rfft(noise)) ** 2
    assert powers[2000:10_000].mean() < powers[30_000:].mean() / 30  # 1 to 5 kHz, where ears are keenest, is quiet


# --- the published values --------------------------------------------------------------------------


def test_the_published_values_are_those_of_two_files():
    assert {variant: values.shape for variant, values in published().items()} == {
        "linear_env": (3, 512),
        "mel256_music": (3, 6144),
    }
    assert [file.filename.split("audio_")[1] for file in registry.KNOWN if is_published(file)] == [
        "linear_env-v0_4_0.h5.gz",
        "mel256_music-v0_4_0.h5.gz",
    ]


def test_the_published_values_are_the_collections_rounded(shared):
    with np.load(shared / "golden" / "openl3_published.npz", allow_pickle=False) as every:
        for variant, name in make_openl3_published.NAMES.items():
            np.testing.assert_allclose(published()[variant], every[name], rtol=1 / 2048, atol=1e-6)


def test_values_that_are_damaged_are_refused(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "openl3_published.npz"
    monkeypatch.setattr(openl3_published, "files", lambda package: tmp_path)
    np.savez(path, linear_env=np.zeros((3, 512)), mel256_music=np.zeros((3, 512)))
    with pytest.raises(WeightsError, match="does not hold mel256_music of shape"):
        published.__wrapped__()
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(WeightsError, match="install l3clf again"):
        published.__wrapped__()


# --- the verdict -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", FILES)
def test_the_right_weights_agree_through_other_noise(folder, stand_ins, variant):
    found = check_published(FILES[variant], folder / f"openl3_audio_{variant}.h5", stand_ins)
    assert found.agrees
    assert 0.999 < found.cosine < 1  # MIN_COSINE leaves room for another resampler and for rounding
    assert 0 < found.largest_difference < 0.1 * found.largest_value
    assert "agree with" in str(found)


def test_other_weights_do_not_agree(folder):
    """Seeded weights are not those whose values were published."""
    found = check_published(FILES["linear_env"], folder / "openl3_audio_linear_env.h5")
    assert not found.agrees
    assert found.cosine < 0.95
    assert "are not those" in str(found)


@pytest.mark.parametrize("variant", FILES)
def test_another_front_end_does_not_agree(folder, stand_ins, variant, monkeypatch):
    right = openl3.front_end
    monkeypatch.setattr(openl3, "front_end", lambda name: replace(right(name), power=2))
    found = check_published(FILES[variant], folder / f"openl3_audio_{variant}.h5", stand_ins)
    assert found.cosine < MIN_COSINE


def test_only_what_was_published_can_be_checked(folder):
    with pytest.raises(ParameterError, match="expected linear_env or mel256_music"):
        check_published(MEL128, folder / "openl3_audio_linear_env.h5")


def test_another_network_is_refused(tmp_path):
    layers = recipe.weights("linear")
    del layers["conv2d_5"]
    path = recipe.write_keras_h5(tmp_path / "other.h5", layers)
    with pytest.raises(WeightsError, match="conv2d_5"):
        check_published(FILES["linear_env"], path)


# --- the commands ----------------------------------------------------------------------------------


def test_check_compares_each_file_that_is_here(weights_here, capsys):
    assert cli.main(["weights", "check", "openl3"]) == 0  # that the other four are not here is no failure
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "readable Keras HDF5" in line and "openl3_audio" in line] == lines[:2]
    for line, variant in zip(lines[2:], FILES, strict=True):
        assert line.startswith(str(weights_here / f"openl3_audio_{variant}.h5: embeddings agree with"))
        assert "cosine 0.999" in line


def test_check_fails_where_the_embeddings_are_others(folder, capsys):
    file = folder / "openl3_audio_linear_env.h5"
    assert cli.main(["weights", "check", "openl3", "--weights", str(file)]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1  # of the six, only the one that the file's name says is looked at
    assert f"failed: {file}: embeddings are not those" in printed.err
    assert "fetch the file again" in printed.err


def test_a_file_of_any_name_is_compared_where_its_variant_is_named(folder, stand_ins, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(openl3_published, "published", lambda: stand_ins)
    copy = tmp_path / "copy.h5"
    copy.write_bytes((folder / "openl3_audio_linear_env.h5").read_bytes())
    assert cli.main(["weights", "check", "linear_env", "--weights", str(copy)]) == 0
    assert "agree with" in capsys.readouterr().out


def test_check_says_that_nothing_is_here(capsys):
    assert cli.main(["weights", "check", "openl3"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "no weight files on this machine\n"
    assert "linear_env-v0_4_0.h5.gz: not on this machine" in printed.err
    assert cli.main(["weights", "check"]) == 0


def test_fetch_compares_what_it_fetched(folder, tmp_path, monkeypatch, capsys):
    source = tmp_path / "source" / FILES["linear_env"].filename
    source.parent.mkdir()
    source.write_bytes(gzip.compress((folder / "openl3_audio_linear_env.h5").read_bytes(), 0, mtime=0))
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(source.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/{source.name}"
        here = replace(FILES["linear_env"], url=url, git_sha1=git_blob_id(source))
        monkeypatch.setattr(registry, "KNOWN", (here,))
        status = cli.main(["weights", "fetch", "linear_env", "--quiet", "--folder", str(tmp_path / "target")])
        server.shutdown()
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'target' / source.name}\n"
    assert "embeddings are not those" in printed.err  # whose values are published has other weights than seeded ones
    assert status == 1
