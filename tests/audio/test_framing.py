"""Signals are cut into the windows of OpenL3's rule, with their times and levels."""

import math

import numpy as np
import pytest
from helpers.sound_files import tone
from hypothesis import given, settings
from hypothesis import strategies as st

from l3clf.audio.framing import Framing, level_dbfs
from l3clf.errors import ParameterError

# Framing


def reference_windows(samples, window, hop, center):
    """OpenL3's rule as its get_audio_embedding has it: _center_audio, _pad_audio, then frames."""
    if center:
        samples = np.pad(samples, (int(window / 2.0), 0))
    if len(samples) < window:
        pad = window - len(samples)
    else:
        pad = int(np.ceil((len(samples) - window) / float(hop))) * hop - (len(samples) - window)
    samples = np.pad(samples, (0, pad))
    n = 1 + int((len(samples) - window) / float(hop))
    return np.array([samples[i * hop : i * hop + window] for i in range(n)])


@st.composite
def framings(draw):
    window = draw(st.integers(1, 60))
    return Framing(100, window, draw(st.integers(1, 150)), draw(st.booleans()))


@st.composite
def splits(draw):
    """A signal that counts its samples from one, and where it is cut into blocks."""
    n = draw(st.integers(1, 400))
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=8)))
    return np.split(np.arange(1, n + 1, dtype=np.float32), cuts)


@settings(max_examples=400, deadline=None)
@given(framing=framings(), blocks=splits(), most=st.integers(1, 9))
def test_windows_follow_openl3s_rule_however_the_clip_is_split(framing, blocks, most):
    samples = np.concatenate(blocks)
    expected = reference_windows(samples, framing.window, framing.hop, framing.center)
    found = list(framing.windows(iter(blocks), most))
    assert all(1 <= len(windows) <= most for windows in found)
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert framing.count(len(samples)) == len(expected)


@settings(max_examples=200, deadline=None)
@given(framing=framings(), n=st.integers(1, 500))
def test_times_match_the_samples(framing, n):
    (windows,) = [np.concatenate(list(framing.windows([np.arange(1, n + 1, dtype=np.float32)])))]
    times = framing.times_s(len(windows))
    assert times.shape == (len(windows), 2)
    np.testing.assert_allclose(times[:, 1] - times[:, 0], framing.window / 100)
    for window, (start_s, _) in zip(windows, times, strict=True):
        heard = np.flatnonzero(window)
        if len(heard):
            assert window[heard[0]] - 1 == heard[0] + round(start_s * 100)


@settings(max_examples=200, deadline=None)
@given(framing=framings(), n=st.integers(1, 500))
def test_every_sample_is_in_a_window_where_windows_touch(framing, n):
    heard = {value for windows in framing.windows([np.arange(1, n + 1, dtype=np.float32)]) for value in windows.flat}
    if framing.hop <= framing.window:
        assert set(range(1, n + 1)) <= heard


@pytest.mark.parametrize(
    ("seconds", "center", "count"),
    [
        (0.01, True, 1), (0.5, True, 1), (0.51, True, 2), (1.0, True, 2), (5.0, True, 10), (5.2, True, 11),
        (0.01, False, 1), (1.0, False, 1), (1.01, False, 2), (5.0, False, 9), (5.2, False, 10),
    ],
)  # fmt: skip
def test_known_window_counts(seconds, center, count):
    assert Framing.of(48_000, 1.0, 0.5, center).count(round(seconds * 48_000)) == count


def test_known_times():
    assert Framing.of(16_000, 0.775, 0.25, center=True).times_s(2).tolist() == [[-0.3875, 0.3875], [-0.1375, 0.6375]]
    assert Framing.of(16_000, 1.0, 2.0, center=False).times_s(2).tolist() == [[0, 1], [2, 3]]


def test_a_hop_of_one_sample_is_the_shortest():
    assert Framing.of(8000, 1.0, 1 / 8000, center=False).hop == 1
    assert Framing.of(8000, 1.0, np.float32(0.5), center=False).hop == 4000


@pytest.mark.parametrize("hop_s", [0, -0.5, 1e-9, math.nan, math.inf, 1e300, 10**400, "0.5", None, True, [0.5]])
def test_impossible_hops_are_refused(hop_s):
    with pytest.raises(ParameterError, match=r"hop_s=.*such as 0\.5"):
        Framing.of(16_000, 1.0, hop_s, center=True)


# Levels and arrays


@pytest.mark.parametrize(
    ("window", "dbfs"),
    [
        (np.ones(1000), 0.0),
        (-np.ones(1000), 0.0),
        (np.full(1000, 0.1), -20.0),
        (np.full(1000, 1e-5), -100.0),
        (tone(100, 1, 1000, 1.0), -10 * math.log10(2)),
        (np.r_[np.ones(500), np.zeros(500)], -10 * math.log10(2)),
        (np.zeros(1000), -200.0),
        (np.full(1000, 1e-30), -200.0),
    ],
)
def test_levels_of_known_signals(window, dbfs):
    (level,) = level_dbfs(window[np.newaxis].astype(np.float32))
    assert level.dtype == np.float32
    assert level == pytest.approx(dbfs, abs=1e-4)
