"""The index: what is found, when, and what is left out."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from helpers.fake_embedder import FakeEmbedder
from helpers.tones import write_tone

from l3clf import Clip, EmbeddingIndex, L3clfError, WindowEmbeddings
from l3clf.search import similar
from l3clf.search.embedded import stretches

RATE = 8000


@dataclass(frozen=True)
class Pitch(FakeEmbedder):
    """Half-second windows to a direction that turns with the number of zero crossings."""

    embedding_size = 2

    def embed_windows(self, windows):
        angle = super().embed_windows(windows)[:, 3] / 2000
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def tone(hz, seconds=2.0, level=0.3):
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)


def index_of(**how):
    return EmbeddingIndex(Pitch(), **{"sample_rate": RATE, "cache": None, "hop_s": 0.25, **how})


@pytest.fixture
def recording(tmp_path):
    """Twelve seconds of a low tone, with a high one from 6 to 8 s, and digital silence after it."""
    parts = [tone(200, 6), tone(2000, 2), np.zeros(2 * RATE), tone(200, 2)]
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate(parts), RATE)
    return str(path)


def test_the_best_stretch_is_where_the_sound_is(recording, tmp_path):
    soundfile.write(tmp_path / "query.wav", tone(2000, 1), RATE)
    (match,) = similar(tmp_path / "query.wav", [recording], embedder=Pitch(), hop_s=0.25, center=False, cache=None)
    assert match.clip == Clip(recording)
    assert 5.9 <= match.start_s < match.end_s <= 8.1
    assert match.end_s - match.start_s == pytest.approx(1.0)
    assert match.similarity == pytest.approx(1, abs=1e-3)


def test_times_are_those_of_the_file_for_a_piece(recording):
    index = index_of(windows=2, center=False).add([Clip(recording, 5.0, 9.0)])
    ((match,),) = index.search([tone(2000)])
    assert 5.9 <= match.start_s < match.end_s <= 8.1


def test_no_match_begins_before_the_file_or_ends_after_it(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(300, 1.1), RATE)
    for clip, end_s in (
        (str(tmp_path / "a.wav"), 1.1),
        (tone(300, 1.1), 1.1),
        (Clip(tmp_path / "a.wav", 0.2, 0.9), 0.9),
    ):
        ((match,),) = index_of(windows=None).add([clip]).search([tone(300, 1.1)])
        assert match.start_s == (0.2 if isinstance(clip, Clip) else 0.0)
        assert match.end_s == pytest.approx(end_s)


def test_a_clip_is_listed_once_or_with_all_its_stretches():
    index = index_of(windows=1).add([tone(200), tone(2000)])
    (once,) = index.search([tone(2000)])
    assert [match.index for match in once] == [1, 0]
    (often,) = index.search([tone(2000)], n=len(index), once=False)
    assert len(often) == len(index) > 10
    assert all(a.similarity >= b.similarity for a, b in pairwise(often))


def test_the_query_itself_is_left_out_and_its_copy_is_not(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        write_tone(tmp_path / f"{name}.wav", 300 if name < "c" else 2000)
    monkeypatch.chdir(tmp_path)
    index = index_of(windows=None).add(["a.wav", "b.wav", "c.wav"])
    (found,) = index.search([tmp_path / "a.wav"])
    assert [match.index for match in found] == [1, 2]
    (found,) = index.search(["a.wav"], leave_out_query=False)
    assert sorted(match.index for match in found) == [0, 1, 2]


def test_a_piece_is_compared_with_the_rest_of_its_file(recording):
    piece = Clip(recording, 6.0, 7.0)
    (match,) = similar(piece, [recording], embedder=Pitch(), hop_s=0.25, center=False, cache=None)
    assert 7.0 <= match.start_s < match.end_s <= 8.1
    low = Clip(recording, 0.0, 1.0)
    (match,) = similar(low, [recording], embedder=Pitch(), hop_s=0.25, center=False, cache=None)
    assert match.start_s >= 1.0


def test_digital_silence_is_never_found_and_no_query(recording):
    silence = np.zeros(RATE)
    index = index_of(windows=2, center=False).add([silence, recording])
    found = index.search([tone(300)], n=1000, once=False)[0]
    assert {match.index for match in found} == {1}
    assert not any(match.start_s >= 8.0 and match.end_s <= 10.0 for match in found)
    with pytest.raises(L3clfError, match="X\\[0\\]: is digital silence"):
        index.search([silence])
    with pytest.raises(L3clfError, match="is digital silence"):
        EmbeddingIndex.for_query(silence, Pitch(), sample_rate=RATE, cache=None)


def test_silence_around_a_sound_changes_nothing_but_the_ends():
    padded = np.concatenate([np.zeros(2 * RATE), tone(300), np.zeros(4 * RATE)])
    (found,) = index_of(windows=None, center=False).add([padded, tone(1500)]).search([tone(300)])
    assert [match.index for match in found] == [0, 1]
    assert found[0].similarity > 0.99 > found[1].similarity


def test_failed_clips_are_kept_apart(tmp_path):
    (tmp_path / "broken.wav").write_text("no sound")
    clips = [tone(200), str(tmp_path / "broken.wav"), tone(2000)]
    index = index_of(windows=None)
    with pytest.raises(L3clfError, match=r"broken\.wav"):
        index.add(clips)
    assert {match.index for match in index.search([tone(200)])[0]} == {0, 2}
    index = index_of(windows=None, on_error="nan")
    with pytest.warns(UserWarning, match="1 of 3 clips could not be embedded"):
        index.add(clips)
    assert len(index.failures) == 1
    with pytest.warns(UserWarning, match="1 of 2 clips"):
        answers = index.search([clips[1], tone(2000)])
    assert [[match.index for match in found] for found in answers] == [[], [2, 0]]


def test_vectors_that_are_there_already():
    vectors = np.random.default_rng(0).normal(0, 1, (50, 4)).astype(np.float32)
    index = EmbeddingIndex.from_vectors(vectors, FakeEmbedder())
    similarities, places = index.search_vectors(vectors[:3], n=2)
    assert places[:, 0].tolist() == [0, 1, 2]
    assert similarities[:, 0] == pytest.approx(1)
    similarities, places = index.search_vectors(vectors[:3], n=1000)
    assert places.shape == similarities.shape == (3, 50)
    for bad in (vectors[:, :3], vectors[0], np.full((2, 4), np.nan)):
        with pytest.raises(L3clfError, match="vectors: "):
            EmbeddingIndex.from_vectors(bad, FakeEmbedder())


def test_embeddings_can_be_added_and_asked_for():
    index = index_of(windows=1).add([tone(200)])
    other = index_of(windows=1)._how.embed([tone(2000)])
    assert index.add(other).search(other)[0][0].index == 1
    wrong = WindowEmbeddings(np.ones((1, 7), np.float32), np.zeros((1, 2)), np.zeros(1, np.float32))
    with pytest.raises(L3clfError, match="size 7"):
        index.add([wrong])


@pytest.mark.parametrize("how", [{"windows": 0}, {"windows": 1.5}, {"on_error": "no"}, {"hop_s": 0}])
def test_wrong_parameters_are_refused(how):
    with pytest.raises(L3clfError, match=next(iter(how))):
        index_of(**how)
    with pytest.raises(L3clfError, match="n=0"):
        index_of().search([tone(200)], n=0)


def test_a_link_is_the_file_itself(tmp_path):
    write_tone(tmp_path / "a.wav", 300)
    try:
        (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    except OSError:
        pytest.skip("no symbolic links here")
    assert index_of(windows=None).add([tmp_path / "link.wav"]).search([tmp_path / "a.wav"]) == [[]]


@pytest.mark.parametrize("length", [1, 3, 50, None])
def test_stretches_are_means_of_the_windows_that_sound(length, monkeypatch):
    monkeypatch.setattr("l3clf.search.embedded.WINDOWS_AT_ONCE", 4)
    rng = np.random.default_rng(0)
    levels = np.full(20, -20, np.float32)
    levels[5:11] = -200
    times = np.arange(20)[:, np.newaxis] + np.array([0.0, 1.5])
    windows = WindowEmbeddings(rng.normal(0, 1, (20, 6)).astype(np.float32), times, levels)
    vectors, times_s = stretches(windows, length)
    n = min(length or 20, 20)
    expected = []
    for first in range(20 - n + 1):
        heard = [k for k in range(first, first + n) if levels[k] > -100]
        if heard:
            expected.append((windows.vectors[heard].mean(axis=0), (first, first + n - 1 + 1.5)))
    np.testing.assert_allclose(vectors, [mean for mean, _ in expected], atol=1e-6)
    assert times_s.tolist() == [list(time) for _, time in expected]
