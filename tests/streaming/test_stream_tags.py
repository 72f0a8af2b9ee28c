"""A stream's tags are those of the clip path, however the samples come."""

import itertools

import numpy as np
import pytest
from helpers.fake_embedder import FakeEmbedder
from hypothesis import given, settings
from hypothesis import strategies as st

import l3clf
from l3clf.classifier.decision import TAG_POOLINGS
from l3clf.errors import ParameterError
from l3clf.streaming.kept_sounds import SoundKeeper
from l3clf.streaming.stream_classifier import StreamClassifier, StreamTags

RATE = 8000
RATES = (8000, 11_025, 16_000, 44_100)


def noise(n, seed=0, level=0.1):
    return np.random.default_rng(seed).normal(0, level, n).astype(np.float32)


def tone(n, hz, rate=RATE):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(n) / rate)).astype(np.float32)


def fitted(**parameters):
    """A tagger of tones, noise, and both at once."""
    tones, noises = [tone(RATE, 300 + 20 * k) for k in range(6)], [noise(RATE, k) for k in range(6)]
    X = [*tones, *noises, *(a + b for a, b in zip(tones, noises, strict=True))]
    y = ["tone"] * 6 + ["noise"] * 6 + ["noise|tone"] * 6
    parameters = {"threshold": 0.5, "hop_s": 0.2, **parameters}
    return l3clf.ClipTagger(FakeEmbedder(), sample_rate=RATE, cache=None, **parameters).fit(X, y)


@pytest.fixture(scope="module")
def model():
    return fitted()


def scene(seconds, rate, seed=0):
    """Tone, noise, both or nothing, half a second each, at several levels."""
    rng = np.random.default_rng(seed)
    n = rate // 2
    parts = [tone(n, 340, rate), noise(n, seed), tone(n, 340, rate) + noise(n, seed), np.zeros(n, np.float32)]
    chosen = rng.integers(0, 4, 2 * seconds)
    levels = rng.choice([1e-4, 1e-2, 1.0], 2 * seconds).astype(np.float32)
    return np.concatenate([level * parts[k] for k, level in zip(chosen, levels, strict=True)])


def clip_path(model, samples, rate, windows):
    """The tags that the clip path finds in each run of windows, one clip for each, without any code of streams."""
    outcome = model.embedder_.embed(samples, rate, hop_s=model.hop_s, center=False)
    is_open, gate, hysteresis = False, *model.gate_in_force()
    above = []
    for level in outcome.levels_dbfs:  # written out, one window after another
        is_open = gate is None or level >= gate or (is_open and level >= gate - hysteresis)
        above.append(is_open)
    rows = []
    for k in range(len(outcome)):
        pool = slice(max(0, k - windows + 1), k + 1)
        counts = np.array(above[pool])
        if model.silence_learned_ is False and (outcome.levels_dbfs[pool] < -100).all():
            counts[:] = False
        row = model.answers([outcome.vectors[pool][counts]]).probabilities[0]
        labels = tuple(
            name
            for name, p, threshold in zip(model.classes_.tolist(), row, model.thresholds_in_force(), strict=True)
            if counts.any() and p >= threshold
        )
        times = outcome.times_s[pool]
        rows.append((labels, row, times[0, 0], times[-1, 1]))
    return rows


def streamed(stream, samples, rate, sizes):
    """What a stream decides of samples in chunks of these sizes, repeated."""
    found, at = [], 0
    for size in itertools.cycle(sizes):
        found += stream.push(samples[at : at + size], rate)
        at += size
        if at >= len(samples):
            return found + stream.flush()
    return found


def assert_same(decisions, expected):
    assert [decision.labels for decision in decisions] == [row[0] for row in expected]
    for decision, (_, row, start_s, end_s) in zip(decisions, expected, strict=True):
        np.testing.assert_allclose(decision.probabilities, row, atol=1e-5)
        assert (decision.start_s, decision.end_s) == pytest.approx((start_s, end_s), abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=6).filter(any),
    rate=st.sampled_from(RATES),
    seconds=st.integers(1, 4),
    windows=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_tags_are_those_of_the_clip_path_however_the_sound_is_cut(model, sizes, rate, seconds, windows, seed):
    samples = scene(seconds, rate, seed)
    assert_same(
        streamed(StreamClassifier(model, windows=windows), samples, rate, sizes),
        clip_path(model, samples, rate, windows),
    )


@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize("pooling", TAG_POOLINGS)
def test_every_pooling_and_a_gate_with_hysteresis(pooling, windows):
    model = fitted(pooling=pooling, gate_dbfs=-30, gate_hysteresis_db=15, threshold="auto")
    samples = scene(8, 11_025, seed=5)
    expected = clip_path(model, samples, 11_025, windows)
    assert () in {row[0] for row in expected}
    assert len({row[0] for row in expected}) > 1
    assert_same(streamed(StreamClassifier(model, windows=windows), samples, 11_025, [700, 1]), expected)


def test_the_tags_of_all_windows_are_those_of_the_whole_clip():
    model = fitted(center=False)
    for samples in (tone(3 * RATE, 350), noise(3 * RATE, 8), tone(3 * RATE, 350) + noise(3 * RATE, 8)):
        last = streamed(StreamClassifier(model, windows=100), samples, RATE, [999])[-1]
        assert [last.labels] == model.predict_tags([samples])
        np.testing.assert_allclose(last.probabilities, model.predict_proba([samples])[0], atol=1e-6)
    assert last.labels == ("noise", "tone")


def test_silence_and_what_is_below_the_gate_have_no_tag(model):
    found = streamed(StreamClassifier(fitted(threshold=0.0)), np.zeros(2 * RATE, np.float32), RATE, [999])
    assert {decision.labels for decision in found} == {()}
    assert not any(decision.probabilities.any() for decision in found)
    gated = StreamClassifier(model.set_params(gate_dbfs=-20))
    assert {decision.labels for decision in streamed(gated, noise(2 * RATE, 1, 1e-3), RATE, [999])} == {()}
    model.set_params(gate_dbfs=None)


def test_what_a_decision_is(model):
    decision = StreamClassifier(model).push(tone(RATE, 340), RATE)[0]
    assert isinstance(decision, StreamTags)
    assert decision.labels == ("tone",)
    assert decision.probabilities.shape == (2,)
    assert decision.level_dbfs == pytest.approx(-13.5, abs=0.5)


def test_other_models_are_refused():
    with pytest.raises(ParameterError, match="expected a fitted ClipClassifier or ClipTagger"):
        StreamClassifier(l3clf.ClipEmbedder("mfcc"))


def test_sounds_of_several_tags_are_kept_in_several_files(tmp_path):
    keeper = SoundKeeper(tmp_path, 1)
    for second, labels in enumerate([(), ("dog",), ("dog", "rain"), ("dog", "rain"), ("rain",), ()]):
        keeper.hear(second, np.full(1000, 0.1, np.float32), 1000)
        keeper.decide(StreamTags(labels, np.zeros(2), second, second + 1, -20.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00h00m01.000s_dog.wav", "00h00m02.000s_rain.wav"]
    assert keeper.written == 2
    keeper.end()
    assert keeper.written == 2
