"""The gate that is learned from levels: recordings whose levels are known."""

import warnings

import numpy as np
import pytest

from l3clf.classifier.gate import learned_gate
from l3clf.errors import LevelWarning


def recordings(n, background_dbfs, sound_dbfs, seed=0, spread_db=1.5, windows=11, loud=3):
    """Levels of clips: background, and a sound over some windows, half of it in the one before and the one after."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        power = 10 ** ((background_dbfs + rng.normal(0, spread_db, windows)) / 10)
        peak, first = 10 ** ((sound_dbfs + rng.normal(0, 3)) / 10), rng.integers(1, windows - loud)
        power[first : first + loud] += peak
        power[[first - 1, first + loud]] += peak * rng.uniform(0, 1, 2)
        out.append((10 * np.log10(power)).astype(np.float32))
    return out


def background_of(n, level_dbfs, seed=1, windows=11):
    rng = np.random.default_rng(seed)
    return [rng.normal(level_dbfs, 1.5, windows).astype(np.float32) for _ in range(n)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("background_dbfs", "sound_dbfs"), [(-60, -20), (-50, -25), (-80, -45)])
@pytest.mark.parametrize("recorded", [True, False])
def test_the_gate_is_between_background_and_sound(background_dbfs, sound_dbfs, recorded, seed):
    sounds = recordings(30, background_dbfs, sound_dbfs, seed)
    gate, hysteresis = learned_gate(sounds, background_of(5, background_dbfs) if recorded else ())
    faintest = min(levels.max() for levels in sounds)
    assert background_dbfs + 2 < gate - hysteresis < gate < faintest - 3
    assert gate <= background_dbfs + 15
    assert 1 <= hysteresis <= 6


def test_known_numbers():
    sounds = [np.array([-61, -20], np.float32), np.array([-24, -58], np.float32)]
    quiet = [np.full(10, -60, np.float32)]
    assert learned_gate(sounds, quiet) == (-50.0, 5.0)  # 10 dB above the background
    assert learned_gate([np.array([-52], np.float32)], quiet) == (-56.0, 2.0)  # in the middle of 8 dB


@pytest.mark.parametrize("recorded", [True, False])
def test_no_gate_is_set_without_a_clear_gap(recorded):
    sounds = recordings(30, -40, -36)
    with pytest.warns(LevelWarning, match="gate_dbfs='auto': .*; no gate is set: add clips of background") as caught:
        assert learned_gate(sounds, background_of(5, -40) if recorded else ()) == (None, 0.0)
    assert len(caught) == 1


def test_clips_from_everywhere_have_no_gap():
    rng = np.random.default_rng(0)
    sounds = [rng.normal(rng.normal(-25, 12), 6, 11).astype(np.float32) for _ in range(100)]
    with pytest.warns(LevelWarning, match="no clear gap"):
        assert learned_gate(sounds) == (None, 0.0)


def test_a_class_recorded_at_a_lower_gain_is_not_taken_for_background():
    sounds = [*recordings(30, -60, -20), *recordings(30, -60, -55, 1)]
    with pytest.warns(LevelWarning):
        assert learned_gate(sounds) == (None, 0.0)


def test_too_few_windows_set_no_gate():
    with pytest.warns(LevelWarning, match="too few windows"):
        assert learned_gate([np.array([-60, -20], np.float32)] * 3) == (None, 0.0)


@pytest.mark.parametrize("recorded", [True, False])
def test_digital_silence_says_nothing_about_the_background(recorded):
    sounds, silence = recordings(30, -60, -20), np.full(11, -200, np.float32)
    padded = [np.concatenate([levels, silence]) for levels in sounds]
    background = background_of(5, -60) if recorded else []
    assert learned_gate(padded, [*background, silence] if recorded else ()) == learned_gate(sounds, background)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_no_clip_of_a_known_class_is_left_out(recorded, seed):
    rng = np.random.default_rng(seed)
    sounds = recordings(20, rng.uniform(-70, -40), rng.uniform(-40, -10), seed, spread_db=rng.uniform(0, 8))
    sounds.append(np.full(11, rng.uniform(-100, -30), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LevelWarning)
        gate, _ = learned_gate(sounds, background_of(5, rng.uniform(-70, -40)) if recorded else ())
    assert gate is None or all(levels.max() >= gate for levels in sounds)
