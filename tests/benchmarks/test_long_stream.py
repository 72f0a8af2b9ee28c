"""The stream of hours: the same however it is cut, with its events where it says, and never in memory at once."""

import numpy as np
import pytest
import soundfile

from benchmarks.long_stream import make_long_stream, pool_background
from l3clf import Clip

RATE = 16_000


@pytest.fixture
def clips(tmp_path):
    """Clips of a tone between silences, and one of noise for the background."""
    tone = 0.3 * np.sin(np.arange(RATE) * 0.2)
    for i in range(3):
        padded = np.concatenate([np.zeros(RATE // 2), tone[: RATE // (i + 1)], np.zeros(RATE)])
        soundfile.write(tmp_path / f"{i}.wav", padded, RATE)
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 2 * RATE), RATE)
    return [Clip(tmp_path / f"{i}.wav") for i in range(3)], [Clip(tmp_path / "noise.wav")]


def stream(clips, seed=0, seconds=300.0):
    return make_long_stream(clips[0], ["a", "b", "c"], seconds, seed, clips[1])


def test_a_stream_is_the_same_however_it_is_cut(clips):
    whole = np.concatenate(list(stream(clips).chunks(10.0)))
    assert len(whole) == 300 * 44_100
    assert np.array_equal(np.concatenate(list(stream(clips).chunks(0.37))), whole)
    assert not np.array_equal(np.concatenate(list(stream(clips, seed=1).chunks())), whole)


def test_events_are_where_the_stream_says_and_nothing_else_is_loud(clips):
    made = stream(clips)
    sound = np.concatenate(list(made.chunks()))
    inside = np.zeros(len(sound), bool)
    for event in made.events:
        piece = slice(round(event.start_s * 44_100), round(event.end_s * 44_100))
        inside[piece] = True
        assert 0.3 <= event.end_s - event.start_s <= 1.05  # without the silence at its ends
        assert -36 < 10 * np.log10(np.mean(sound[piece].astype(float) ** 2)) < -19
    outside = np.where(inside, 0, sound).astype(float)
    assert len(made.events) >= 5
    assert -67 < 10 * np.log10(np.mean(outside[~inside] ** 2)) < -48
    assert {event.label for event in made.events[:3]} == {"a", "b", "c"}  # all before any is repeated
    ends = [0.0, *(event.end_s for event in made.events)]
    assert all(event.start_s >= end for event, end in zip(made.events, ends, strict=False))


def test_backgrounds_of_two_parts_have_no_sound_in_common(shared):
    first, second = pool_background(0), pool_background(1)
    assert len(first) > 100
    assert not {clip.path for clip in first} & {clip.path for clip in second}
    assert not [clip for clip in first if "rain" in clip.path.rpartition("/")[2]]
