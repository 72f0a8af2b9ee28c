"""The microphone against a stand-in for PortAudio: what comes is whole and in order, what is lost is said."""

import sys
import time

import numpy as np
import pytest
from helpers.fake_portaudio import FakeSoundDevice, PortAudioError

from l3clf.errors import AudioError, MissingDependencyError, ParameterError
from l3clf.streaming import microphone
from l3clf.streaming.microphone import Microphone, input_devices
from l3clf.streaming.ring_buffer import RingBuffer
from l3clf.streaming.stream_pieces import Gap


def counting(first, n):
    return np.arange(first, first + n, dtype=np.float32)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(microphone, "TRY_AGAIN_S", 0.01)
    monkeypatch.setattr(microphone, "MAX_QUIET_S", 0.3)
    monkeypatch.setattr(microphone, "POLL_S", 0.005)


@pytest.fixture
def plug(monkeypatch):
    def plug_in(*scripts, **how):
        module = FakeSoundDevice(scripts, **how)
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return module

    return plug_in


def heard(device=None):
    """What a microphone gives until its end: a list of joined samples and gaps, and what it ends with."""
    found = []
    try:
        for piece in Microphone(device).pieces():
            if isinstance(piece, Gap):
                found.append(piece)
            elif found and isinstance(found[-1], tuple):
                found[-1] = (np.concatenate([found[-1][0], piece.samples]), piece.sample_rate)
            else:
                found.append((piece.samples, piece.sample_rate))
    except AudioError as error:
        return found, error
    raise AssertionError("a microphone has no end but an error")


def assert_sentence(error, *words):
    assert "\n" not in str(error)
    assert all(word in str(error) for word in words), error


def test_all_that_comes_before_the_device_vanishes_is_heard(plug):
    blocks = [counting(i * 500, 500) for i in range(40)]
    module = plug([*blocks, "gone"])
    ((samples, rate),), error = heard()
    assert rate == 16_000
    assert samples.tolist() == np.concatenate(blocks).tolist()
    assert_sentence(error, "'Microphone'", "cannot be opened again", "plug it in")
    assert module.closed == 1
    assert module.refreshed == microphone.TRIES


@pytest.mark.parametrize("end", ["hang", "broken"])
def test_a_device_that_hangs_or_is_lost_has_vanished(plug, end):
    plug([counting(0, 500), end])
    ((samples, _),), error = heard()
    assert len(samples) == 500
    assert_sentence(error, "cannot be opened again")


def test_a_device_that_changes_its_rate_is_opened_again(plug):
    plug(
        [counting(0, 500), "gone"], [PortAudioError("busy")], [counting(7, 900), "gone"], rates=(48_000, 44_100, 44_100)
    )
    (first, gap, second), _ = heard()
    assert (first[1], second[1]) == (48_000, 44_100)
    assert first[0].tolist() == counting(0, 500).tolist()
    assert second[0].tolist() == counting(7, 900).tolist()
    assert 0.02 < gap.duration_s < 5
    assert_sentence(gap.reason, "'Microphone' stopped", "44,100 Hz")


def test_an_overflow_is_a_gap_as_long_as_the_clock_of_the_device_says(plug):
    plug([counting(0, 500), ("overflow", 0.75), counting(12_500, 500), "overflow", counting(0, 5), "gone"])
    (first, gap, second, unknown, third), _ = heard()
    assert gap.duration_s == pytest.approx(0.75)
    assert unknown.duration_s == 0
    assert [samples[0] for samples, _ in (first, second, third)] == [0, 12_500, 0]


def test_a_slow_reader_loses_what_does_not_fit_in_one_gap(plug, monkeypatch):
    monkeypatch.setattr(microphone, "RING_S", 0.25)  # 4,000 samples
    module = plug([*(counting(i * 500, 500) for i in range(20)), "gone"])
    real = RingBuffer.read

    def slow_read(ring):  # once, when all was played
        assert module.played.wait(10)
        return real(ring)

    monkeypatch.setattr(RingBuffer, "read", slow_read)
    taken, _ = heard()
    ((samples, _),) = taken
    assert samples.tolist() == counting(0, 4000).tolist()


def test_what_is_read_again_after_a_loss_is_where_the_gap_says(plug, monkeypatch):
    monkeypatch.setattr(microphone, "RING_S", 0.125)  # 2,000 samples
    plug([*(counting(i * 500, 500) for i in range(200)), "gone"])
    position = 0
    for each in heard()[0]:
        if isinstance(each, Gap):
            position += round(each.duration_s * 16_000)
        else:
            assert each[0].tolist() == counting(position, len(each[0])).tolist()
            position += len(each[0])
    assert position >= 2000


def test_nothing_is_wrong_where_sounddevice_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(
        MissingDependencyError, match=r"needs sounddevice, which is not installed; install it: .*\[mic\]"
    ):
        Microphone()


def test_there_may_be_no_microphone(plug):
    plug(devices=())
    with pytest.raises(AudioError, match="microphone: none was found"):
        next(Microphone().pieces())
    assert input_devices() == []


def test_devices_are_listed_and_chosen(plug):
    plug([counting(0, 5), "gone"], devices=("Built-in", "Headset"))
    assert [(each.index, each.name, each.sample_rate) for each in input_devices()] == [
        (0, "Built-in", 16_000.0),
        (1, "Headset", 16_000.0),
    ]
    with pytest.raises(ParameterError, match=r"device='Phone': No input device .*; choose one that"):
        next(Microphone("Phone").pieces())
    _, error = heard(1)
    assert_sentence(error, "'Headset'")


def test_a_microphone_that_is_in_use_is_a_sentence(plug):
    plug([PortAudioError("Device unavailable [PaErrorCode -9985]")])
    with pytest.raises(AudioError, match=r"microphone 'Microphone': cannot be opened \(Device unavailable"):
        next(Microphone().pieces())


def test_leaving_closes_the_device(plug):
    module = plug([counting(0, 500), "hang"])
    pieces = Microphone().pieces()
    next(pieces)
    pieces.close()
    assert module.closed == 1


# The ring


def emptied(ring):
    found = []
    while (piece := ring.read()) is not None:
        found.append(piece if isinstance(piece, int) else piece.tolist())
    return found


def test_a_ring_gives_what_was_written_in_order():
    ring, rng, written, read = RingBuffer(100), np.random.default_rng(0), [], []
    for _ in range(500):
        n = int(rng.integers(0, 60))
        block = counting(len(written), n)
        if n <= 100 - (len(written) - len(read)):
            ring.write(block)
            written += block.tolist()
        if rng.random() < 0.8:
            piece = ring.read()
            read += [] if piece is None else piece.tolist()
    while (piece := ring.read()) is not None:
        read += piece.tolist()
    assert read == written
    assert ring.lost_at_the_end() is None


def test_a_full_ring_loses_until_half_of_it_is_free():
    ring = RingBuffer(10)
    ring.write(counting(0, 8))
    ring.write(counting(8, 5))  # does not fit
    ring.write(counting(13, 2))  # would fit, but one long gap is better than two
    assert ring.lost_at_the_end() == 7
    assert emptied(ring) == [[0, 1, 2, 3, 4, 5, 6, 7]]
    ring.write(counting(15, 2))
    assert emptied(ring) == [7, [15, 16]]
    assert ring.lost_at_the_end() is None


def test_more_losses_than_can_be_noted_are_one_with_what_is_between():
    ring, total = RingBuffer(1000), 0
    for i in range(200):
        ring.lose(3)
        ring.write(counting(i, 2))
        total += 5
    found = emptied(ring)
    lost = sum(piece for piece in found if isinstance(piece, int)) + (ring.lost_at_the_end() or 0)
    samples = sum(len(piece) for piece in found if isinstance(piece, list))
    assert lost + samples == total
    assert samples == 2 * 64


def test_the_callback_takes_next_to_no_time():
    ring, block = RingBuffer(1 << 20), np.zeros(512, np.float32)
    begun = time.perf_counter()
    for _ in range(1000):
        ring.write(block)
    assert (time.perf_counter() - begun) / 1000 < 0.001  # a block lasts ten times as long
