"""Levels that cannot be right, over many clips: one warning of a kind for a call, from files, arrays and the cache."""

import warnings

import numpy as np
import pytest
from helpers.fake_embedder import FakeEmbedder
from helpers.sound_files import RATE, noise, tone, write

from l3clf.audio.clip import Clip, Samples
from l3clf.embedders import parallel_run
from l3clf.errors import L3clfWarning, LevelWarning
from l3clf.pipeline import embed_sources
from l3clf.storage.embedding_cache import EmbeddingCache, cache_key

EMBEDDER = FakeEmbedder()


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "embeddings.sqlite")


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch):
    """Files that one thread reads and embeds, and files whose windows are shared between the threads."""
    if request.param == "large":
        monkeypatch.setattr(parallel_run, "LARGE_FILE_BYTES", 10)


def messages(sources, **options):
    """Embed clips; return the texts of the warnings, sorted."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embed_sources(EMBEDDER, sources, **options)
    assert all(issubclass(warning.category, LevelWarning) for warning in caught)
    return sorted(str(warning.message) for warning in caught)


def beyond(folder, n):
    """Files of floating point at the scale of 16 bits, each another sound."""
    return [Clip(write(folder / f"{k}.wav", noise(RATE, k) * 32_768, subtype="FLOAT")) for k in range(n)]


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_one_warning_for_all_files_of_a_call_names_the_first(tmp_path, n_jobs):
    (text,) = messages([Clip(write(tmp_path / "right.wav")), *beyond(tmp_path, 30)], n_jobs=n_jobs)
    assert text.startswith(f"30 of 31 clips, the first {tmp_path / '0.wav'}: samples of up to ")
    assert text.endswith("; pass full_scale=32768 if they are 16-bit samples, or divide the samples by it")


def test_each_kind_has_its_warning_and_one_clip_its_name(tmp_path):
    wide = np.stack([tone(), -tone()], axis=1)
    integers = Samples((tone() * 32_767).astype(np.int64), RATE, "X[2]")
    loud, cancelled, narrow = messages([*beyond(tmp_path, 1), Clip(write(tmp_path / "a.wav", wide)), integers])
    assert loud.startswith(f"{tmp_path / '0.wav'}: samples of up to")
    assert cancelled.startswith(f"{tmp_path / 'a.wav'}: its 2 channels cancel")
    assert narrow.startswith("X[2]: int64 samples of at most")


def test_a_clip_that_is_read_in_blocks_is_told_once(tmp_path):
    sound = np.stack([tone(seconds=35.0), -tone(seconds=35.0)], axis=1)
    (text,) = messages([Clip(write(tmp_path / "long.wav", sound))])
    assert "long.wav: its 2 channels cancel each other" in text


def test_copies_are_counted(tmp_path, cache):
    one = write(tmp_path / "one.wav", noise(RATE) * 32_768, subtype="FLOAT")
    other = write(tmp_path / "other.wav", noise(RATE) * 32_768, subtype="FLOAT")
    for _ in range(2):
        (text,) = messages([Clip(one), Clip(other), Clip(one)], cache=cache)
        assert text.startswith(f"3 of 3 clips, the first {one}: samples of ")


def test_clips_from_the_cache_are_told_again(tmp_path, cache):
    wide = np.stack([tone(), -tone()], axis=1)
    sources = [
        *beyond(tmp_path, 2),
        Clip(write(tmp_path / "wide.wav", wide)),
        Samples(np.stack([noise(RATE), -noise(RATE)], axis=1), RATE, "X[3]"),
        Samples((tone() * 32_767).astype(np.int32), RATE, "X[4]"),
    ]
    first, again = (messages(sources, cache=cache) for _ in range(2))
    assert [len(first), len(again)] == [3, 3]
    assert again[0].startswith(f"2 of 5 clips, the first {tmp_path / '0.wav'}: samples of ")
    assert again[1].startswith(f"2 of 5 clips, the first {tmp_path / 'wide.wav'}: its 2 channels cancel each other")
    assert again[2] == first[2]


def test_narrow_files_from_the_cache_are_told_again(tmp_path, cache):
    clip = Clip(write(tmp_path / "a.wav", tone() * 2.0**-16, subtype="PCM_32"))
    first, again = (messages([clip], cache=cache) for _ in range(2))
    assert first == again
    assert "a.wav: 32-bit samples of at most" in first[0]


def test_ten_quiet_or_silent_clips_from_the_cache_are_no_news(tmp_path, cache):
    sources = [Clip(write(tmp_path / f"{k}.wav", np.stack([noise(RATE, k, 1e-4)] * 2, axis=1))) for k in range(10)]
    assert [messages(sources, cache=cache) for _ in range(2)] == [[], []]


def test_a_clip_of_the_cache_that_is_gone_is_no_failure(tmp_path, cache, monkeypatch):
    clip = Clip(write(tmp_path / "silent.wav", np.zeros((RATE, 2))))
    embed_sources(EMBEDDER, [clip], cache=cache)
    get_many = EmbeddingCache.get_many

    def take_away(self, keys):
        (tmp_path / "silent.wav").unlink()
        return get_many(self, keys)

    monkeypatch.setattr(EmbeddingCache, "get_many", take_away)
    assert len(embed_sources(EMBEDDER, [clip], cache=cache)[0]) == 3


# --- the cache keeps scales apart --------------------------------------------------------------------


def test_the_cache_never_returns_a_vector_of_another_scale(cache):
    import l3clf

    samples = noise(RATE) * 30_000

    def rows(full_scale):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", L3clfWarning)
            embedder = l3clf.ClipEmbedder(EMBEDDER, sample_rate=RATE, cache=cache, full_scale=full_scale)
            return embedder.fit_transform([samples])[0]

    plain, stated, double = (rows(scale) for scale in (None, 32_768, 65_536.0))
    np.testing.assert_allclose(plain[:3], stated[:3] * 32_768, rtol=1e-5)
    np.testing.assert_allclose(stated[:3], double[:3] * 2, rtol=1e-5)
    for again, first in ((rows(None), plain), (rows(32_768.0), stated), (rows(65_536), double)):
        np.testing.assert_array_equal(again, first)
    assert cache.info()["entries"] == 3


def test_keys_without_a_stated_scale_are_those_of_before():
    key = cache_key(bytes(32), 1.5, None, "0123456789abcdef", 0.5, True)
    assert key.hex() == "02afec9b1322524032db8f25e97e2c3b21f45382220a7e35bddea13276972488"
    others = {cache_key(bytes(32), 1.5, None, "0123456789abcdef", 0.5, True, full_scale=s) for s in (1, 32_768, 0.1)}
    assert len(others | {key}) == 4


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_a_stated_scale_is_that_of_files_of_floating_point_and_of_no_others(tmp_path, subtype):
    import l3clf

    sound = noise(RATE)
    integers = write(tmp_path / "pcm.wav", sound, subtype="PCM_24")
    floats = write(tmp_path / "float.wav", sound * 32_768, subtype=subtype)
    X = [integers, floats, Clip(floats), Clip(floats, 0.0, 0.5)]
    rows = l3clf.ClipEmbedder(EMBEDDER, cache=None, full_scale=32_768).fit_transform(X)
    plain = l3clf.ClipEmbedder(EMBEDDER, cache=None).fit_transform([integers, Clip(integers, 0.0, 0.5)])
    np.testing.assert_allclose(rows, plain[[0, 0, 0, 1]], rtol=1e-4, atol=1e-5)


def test_a_piece_of_a_scaled_file_keeps_its_name(tmp_path):
    import l3clf

    clip = Clip(write(tmp_path / "float.wav", noise(2 * RATE) * 32_768, subtype="FLOAT"), 0.5, 1.0)
    with pytest.warns(
        L3clfWarning, match=r"float\.wav \[0\.5 s to 1 s\]: samples of up to .*full_scale=100 was stated"
    ):
        l3clf.ClipEmbedder(EMBEDDER, cache=None, full_scale=100).fit_transform([clip])
