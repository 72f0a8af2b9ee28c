"""A stream's decisions are those of the clip path, however the samples come."""

import itertools
import tracemalloc
import warnings

import numpy as np
import pytest
from helpers.fake_embedder import FakeEmbedder
from hypothesis import given, settings
from hypothesis import strategies as st

import l3clf
from l3clf.audio.decode import load
from l3clf.classifier.decision import POOLINGS, decide
from l3clf.errors import AudioError, LevelWarning, ParameterError
from l3clf.streaming.stream_classifier import StreamClassifier
from l3clf.streaming.stream_segment import Segment

RATE = 8000
RATES = (8000, 11_025, 16_000, 44_100)


def noise(n, seed=0, level=0.1):
    return np.random.default_rng(seed).normal(0, level, n).astype(np.float32)


def tone(n, hz, rate=RATE):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(n) / rate)).astype(np.float32)


def bursts(seconds, rate, seed=0):
    """Noise that is loud, faint or absent, half a second each."""
    rng = np.random.default_rng(seed)
    levels = rng.choice([0.0, 1e-4, 1e-2, 0.3], size=2 * seconds)
    return np.repeat(levels, rate // 2).astype(np.float32) * noise(2 * seconds * (rate // 2), seed, 1.0)


def fitted(**parameters):
    X = [*(noise(RATE, i) for i in range(3)), *(tone(RATE, hz) for hz in (300, 400, 500))]
    model = l3clf.ClipClassifier(FakeEmbedder(), hop_s=0.2, sample_rate=RATE, cache=None, **parameters)
    return model.fit(X, ["noise"] * 3 + ["tone"] * 3)


@pytest.fixture(scope="module")
def model():
    return fitted(unknown_threshold=0.7)


def clip_path(model, samples, rate, windows):
    """The decisions that the clip path makes of each run of windows, one clip for each, without any code of streams."""
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
        answers = model.answers([outcome.vectors[pool][counts]])
        label = decide(answers.probabilities, model.classes_, model.threshold_in_force(), answers.known_shares)[0]
        times = outcome.times_s[pool]
        rows.append((label, answers.probabilities.max(), times[0, 0], times[-1, 1]))
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
    assert [decision.label for decision in decisions] == [row[0] for row in expected]
    numbers = [(decision.probability, decision.start_s, decision.end_s) for decision in decisions]
    np.testing.assert_allclose(np.array(numbers), np.array([row[1:] for row in expected], float), atol=1e-5)


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=6).filter(any),
    rate=st.sampled_from(RATES),
    seconds=st.integers(1, 4),
    windows=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_decisions_are_those_of_the_clip_path_however_the_sound_is_cut(model, sizes, rate, seconds, windows, seed):
    samples = bursts(seconds, rate, seed)
    decisions = streamed(StreamClassifier(model, windows=windows), samples, rate, sizes)
    assert_same(decisions, clip_path(model, samples, rate, windows))


@pytest.mark.parametrize("windows", [1, 3, 10])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_and_a_gate_with_hysteresis(pooling, windows):
    model = fitted(pooling=pooling, gate_dbfs=-30, gate_hysteresis_db=15, unknown_threshold=0.6)
    samples = bursts(8, 11_025, seed=5)
    expected = clip_path(model, samples, 11_025, windows)
    assert {"unknown"} < {row[0] for row in expected}
    assert_same(streamed(StreamClassifier(model, windows=windows), samples, 11_025, [700, 1]), expected)


def test_the_decision_about_all_windows_is_that_of_the_whole_clip(model):
    samples = bursts(3, RATE, 1)
    whole = fitted(center=False)
    last = streamed(StreamClassifier(whole, windows=100), samples, RATE, [999])[-1]
    assert last.label == whole.predict([samples])[0]
    np.testing.assert_allclose(last.probabilities, whole.predict_proba([samples])[0], atol=1e-6)
    np.testing.assert_allclose(last.unknown_score, 1 - last.probability, atol=1e-12)


def test_windows_of_ten_and_the_hop_of_the_model_are_the_defaults(model):
    stream = StreamClassifier(model)
    assert (stream.windows, stream.hop_s) == (10, 0.2)
    found = stream.push(noise(4 * RATE), RATE)
    assert [round(d.end_s, 6) for d in found[:3]] == [0.5, 0.7, 0.9]
    assert [round(d.start_s, 6) for d in found[8:12]] == [0.0, 0.0, 0.2, 0.4]
    assert StreamClassifier(model, hop_s=0.5).push(noise(4 * RATE), RATE)[1].end_s == 1.0


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros((5, 2), np.int16),
        (noise(RATE) * 32767).astype(np.int16),
        (noise(RATE) * 2**31).astype(np.int32),
        (noise(RATE) * 127 + 128).astype(np.uint8),
        noise(RATE).astype(np.float64),
        noise(RATE).astype(np.float16),
        np.stack([noise(RATE), noise(RATE, 1), noise(RATE, 2)], axis=1),
        noise(RATE).tolist(),
    ],
    ids=lambda chunk: f"{np.asarray(chunk).dtype}{np.asarray(chunk).shape}",
)
def test_samples_of_any_type_and_channels_are_read_as_clips_are(model, chunk):
    stream = StreamClassifier(model)
    assert_same(stream.push(chunk, RATE) + stream.flush(), clip_path(model, np.asarray(chunk), RATE, 10))


def test_the_models_full_scale_holds():
    model, samples = fitted().set_params(full_scale=32768), noise(RATE)
    found = StreamClassifier(model).push(samples * 32768, RATE)
    assert found == StreamClassifier(fitted()).push(samples, RATE)


def test_a_buffer_that_is_used_again_does_not_change_what_came(model):
    samples, buffer, stream, found = bursts(2, RATE), np.zeros(500, np.float32), StreamClassifier(model), []
    for part in np.split(samples, len(samples) // 500):
        buffer[:] = part
        found += stream.push(buffer, RATE)
        buffer[:] = 7
    assert_same(found + stream.flush(), clip_path(model, samples, RATE, 10))


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.array([0, np.nan]), RATE, "NaN or infinite samples, the first at 0.500 s"),
        (np.array([[0, np.inf]]), RATE, "NaN or infinite"),
        (np.array([[np.inf, -np.inf]]), RATE, "NaN or infinite"),
        (np.array([1e20]), RATE, r"a sample of 1.0e\+20"),
        (np.zeros((2, 2, 2)), RATE, "array of shape"),
        (np.zeros((2, 100)), RATE, "at most 64 channels"),
        (np.array(["a"]), RATE, "samples of type"),
        (np.zeros(5, complex), RATE, "samples of type"),
        (np.zeros(5), 0, "sample rate of 0 Hz"),
        (np.zeros(5), None, "sample rate of None"),
        (np.array([np.nan]), 16_000, "NaN"),
    ],
)
def test_what_cannot_be_sound_is_refused_and_the_stream_goes_on(model, samples, rate, message):
    sound, stream = bursts(2, RATE, 3), StreamClassifier(model)
    found = stream.push(sound[:4000], RATE)
    with pytest.raises(AudioError, match=message) as error:
        stream.push(samples, rate)
    assert "\n" not in str(error.value)
    found += stream.push(sound[4000:], RATE) + stream.flush()
    assert_same(found, clip_path(model, sound, RATE, 10))


def test_a_change_of_rate_begins_a_new_segment(model):
    first, second = bursts(2, RATE, 3)[:14_000], bursts(2, 16_000, 4)
    stream = StreamClassifier(model)
    found = stream.push(first, RATE) + stream.push(second, 16_000) + stream.flush()
    expected = clip_path(model, first, RATE, 10)
    expected += [(*row[:2], row[2] + 1.75, row[3] + 1.75) for row in clip_path(model, second, 16_000, 10)]
    assert_same(found, expected)
    assert stream.time_s == 3.75


def test_lost_sound_is_a_gap_in_time(model):
    sound, stream = bursts(2, RATE, 3), StreamClassifier(model)
    found = stream.push(sound, RATE) + stream.skip(10.0) + stream.push(sound, RATE) + stream.flush()
    alone = clip_path(model, sound, RATE, 10)
    assert_same(found, [*alone, *((*row[:2], row[2] + 12, row[3] + 12) for row in alone)])
    for bad in (-1, float("nan"), float("inf"), "2"):
        with pytest.raises(ParameterError, match="duration_s"):
            stream.skip(bad)


def test_reset_forgets_all(model):
    sound, stream = bursts(2, RATE, 3), StreamClassifier(model)
    stream.push(tone(12_345, 300), RATE)
    stream.skip(5)
    stream.push(tone(12_345, 300), 11_025)
    stream.reset()
    assert stream.time_s == 0
    assert_same(stream.push(sound, RATE) + stream.flush(), clip_path(model, sound, RATE, 10))


def test_nothing_gives_no_decision_and_little_gives_one(model):
    stream = StreamClassifier(model)
    assert stream.flush() == stream.push([], RATE) == stream.flush() == stream.skip(1.0) == []
    assert stream.push([0.5], 44_100) == []
    (decision,) = stream.flush()
    assert (decision.start_s, decision.end_s) == (1.0, 1.5)
    assert stream.flush() == []


def test_memory_does_not_grow(model):
    stream, chunk = StreamClassifier(model), noise(4410)
    for _ in range(20):
        stream.push(chunk, 44_100)
    tracemalloc.start()
    try:
        stream.push(chunk, 44_100)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            stream.push(chunk, 44_100)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 60_000  # what is pending differs by up to a window


def test_a_wrong_scale_and_cancelling_channels_are_told_once(model):
    stream, wide = StreamClassifier(model), noise(5 * RATE, level=3000)
    with pytest.warns(LevelWarning, match="pass full_scale=32768") as told:
        streamed(stream, wide, RATE, [1000])
    assert len(told) == 1
    left = noise(5 * RATE)
    with pytest.warns(LevelWarning, match="cancel each other") as told:
        streamed(stream, np.stack([left, -left], axis=1), RATE, [1000])
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.reset()
        stream.push(np.ones(RATE, np.int32), RATE)  # a quiet part of a stream of wide integers
        stream.flush()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"windows": 0}, "windows=0"),
        ({"windows": 2.5}, "windows=2.5"),
        ({"windows": True}, "windows=True"),
        ({"hop_s": 0}, "hop_s=0"),
        ({"hop_s": "1"}, "hop_s='1'"),
    ],
)
def test_parameters_are_checked_at_once(model, parameters, message):
    with pytest.raises(ParameterError, match=message):
        StreamClassifier(model, **parameters)


def test_only_a_fitted_classifier_is_taken():
    with pytest.raises(ParameterError, match="expected a fitted ClipClassifier"):
        StreamClassifier("model.l3clf")
    with pytest.raises(Exception, match="not fitted"):
        StreamClassifier(l3clf.ClipClassifier("mfcc"))


def cuts_of(rng, n):
    """A random way to cut n samples into chunks: a few long ones, many short ones, or anything between."""
    longest = int(10 ** rng.uniform(2.5, 5.3))
    while n > 0:
        size = min(n, int(rng.integers(1, longest + 1)))
        n -= size
        yield size


def assert_windows_are_those_of_the_clip(embedder, clips, n_cuts, seed=0):
    rng = np.random.default_rng(seed)
    for number, (samples, rate) in enumerate(clips):
        clip = embedder.embed(samples, rate, hop_s=0.5, center=False)
        for _ in range(n_cuts):
            segment, at, parts = Segment(embedder, 0.5, rate, None, 0.0), 0, []
            for size in cuts_of(rng, len(samples)):
                parts.append(segment.push(samples[at : at + size]))
                at += size
            parts.append(segment.finish())
            vectors = np.concatenate([part.vectors for part in parts])
            assert len(vectors) == len(clip), number
            assert np.abs(vectors - clip.vectors).max() < 1e-5 * max(1, np.abs(clip.vectors).max()), number
            np.testing.assert_allclose(np.concatenate([part.times_s for part in parts]), clip.times_s, atol=1e-9)
            np.testing.assert_allclose(
                np.concatenate([part.levels_dbfs for part in parts]), clip.levels_dbfs, atol=1e-3
            )


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_windows_of_a_network_are_those_of_the_clip(precision):
    embedder = l3clf.load_embedder("l3mini", precision=precision)
    assert_windows_are_those_of_the_clip(embedder, [(bursts(3, 22_050, 1), 22_050), (bursts(2, 16_000, 2), 16_000)], 3)


@pytest.mark.parametrize("name", ["efficientat", "yamnet", "speech", "edgel3"])
def test_windows_of_other_embedders_are_those_of_the_clip(name, shared):
    embedder = l3clf.load_embedder(name, weights=shared / "weights")
    if not embedder.is_ready():
        pytest.skip(embedder.missing())
    assert_windows_are_those_of_the_clip(embedder, [(bursts(3, 44_100, 1), 44_100)], 2)


def test_random_cuts_of_twenty_recordings(model, shared):
    """Real clips at their own rates; the benchmark `stream_speed` has fifty cuts of each, with l3mini."""
    table = l3clf.datasets.load(shared / "data/esc10")
    speech = l3clf.datasets.load(shared / "data/fsdd")
    clips = [load(clip) for clip in (*table.clips[::28][:14], *speech.clips[::500][:6])]
    assert {rate for _, rate in clips} == {8000, 44_100}
    rng = np.random.default_rng(0)
    for samples, rate in clips:
        expected = clip_path(model, samples, rate, 10)
        assert_same(streamed(StreamClassifier(model), samples, rate, [*cuts_of(rng, len(samples))]), expected)
