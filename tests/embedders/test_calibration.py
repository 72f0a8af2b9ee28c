"""The calibration of networks in integers: seeded sounds, and a file that nobody needs to trust."""

import hashlib
import os

import numpy as np
import pytest

from l3clf.embedders import calibration
from l3clf.networks.onnx_build import GraphBuilder
from l3clf.networks.onnx_int8 import observed_tensors

RATE, N = 16_000, 8_000


def network():
    graph = GraphBuilder(10, 20)
    for c_in, c_out in ((1, 64), (64, 4)):
        graph.conv(np.random.default_rng(0).normal(size=(3, 3, c_in, c_out)), np.zeros(c_out))
        graph.relu()
    graph.max_pool(10, 20)
    graph.flatten_channels_last()
    return graph.build(4)


def levels(windows):
    bins = np.abs(np.fft.rfft(windows[:, :400].reshape(-1, 1, 20, 20)))[..., :10]
    return bins.swapaxes(2, 3).astype(np.float32)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch, tmp_path):
    monkeypatch.setenv("L3CLF_CACHE", str(tmp_path / "my.sqlite"))
    monkeypatch.setattr(calibration, "_known", {})


@pytest.fixture
def calls(monkeypatch):
    """How often the network was observed."""
    found = []
    observe = calibration.observe
    monkeypatch.setattr(calibration, "observe", lambda *given: found.append(1) or observe(*given))
    return found


def calibrate(again=True, front_end_revision=1):
    if again:  # as another process
        calibration._known.clear()
    return calibration.calibrated(network(), levels, RATE, N, front_end_revision)


def same(found, expected):
    return found.keys() == expected.keys() and all(
        np.array_equal(a, b) for name in found for a, b in zip(found[name], expected[name], strict=True)
    )


def test_sounds_are_the_same_everywhere_and_of_all_kinds():
    found = calibration.calibration_sounds(RATE, N)
    assert (found.shape, found.dtype) == ((18, N), np.float32)
    assert np.array_equal(found[:4], calibration.calibration_sounds(RATE, N, 4))
    peaks = np.abs(found).max(axis=1)
    assert ((peaks[:16] >= 0.0099) & (peaks[:16] <= 1)).all()
    assert ((peaks[16:] >= 2e-5) & (peaks[16:] <= 1e-4)).all()
    # Of the samples as 12 bits: rounding in the last place may differ between machines.
    digest = hashlib.sha256(np.rint(found[:16] * 2**11).astype("<i2").tobytes()).hexdigest()
    assert digest.startswith("8877464a09c2c632")


def test_a_network_is_observed_once_on_a_machine(calls, tmp_path):
    first = calibrate()
    (path,) = (tmp_path / "my.int8").iterdir()
    assert path.stat().st_size == 32 + 4 * 3 * sum(observed_tensors(network()).values())
    assert same(calibrate(), first)
    assert same(calibrate(again=False), first)
    assert len(calls) == 1


def test_ranges_of_another_front_end_are_not_taken(calls):
    calibrate()
    calibrate(front_end_revision=2)
    assert len(calls) == 2


def spoil(content, how):
    numbers = np.frombuffer(content[32:], "<f4").copy()
    if how == "shorter":
        return content[:-4]
    if how == "longer":
        return content + b"\0\0\0\0"
    if how == "empty":
        return b""
    if how == "one bit":
        return content[:50] + bytes([content[50] ^ 1]) + content[51:]
    numbers[0] = {"nan": np.nan, "infinite": -np.inf, "out of order": 1e30}[how]
    return hashlib.sha256(numbers.tobytes()).digest() + numbers.tobytes()


@pytest.mark.parametrize("how", ["shorter", "longer", "empty", "one bit", "nan", "infinite", "out of order"])
def test_another_file_is_as_good_as_none(calls, tmp_path, how):
    first = calibrate()
    (path,) = (tmp_path / "my.int8").iterdir()
    good = path.read_bytes()
    path.write_bytes(spoil(good, how))
    assert same(calibrate(), first)
    assert len(calls) == 2
    assert path.read_bytes() == good


def test_a_cache_without_a_name_has_a_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("L3CLF_CACHE", ".")
    assert same(calibrate(), calibrate())
    assert [path.name for path in tmp_path.iterdir()] == [".int8"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_not_waited_for(calls, tmp_path):
    calibrate()
    (path,) = (tmp_path / "my.int8").iterdir()
    path.unlink()
    os.mkfifo(path)
    calibrate()
    assert len(calls) == 2
    assert path.is_file()


def test_a_folder_that_cannot_be_written_costs_time_only(calls, tmp_path):
    (tmp_path / "my.int8").write_text("a file in its place")
    first = calibrate()
    assert same(calibrate(again=False), first)
    assert len(calls) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["my.int8"]
