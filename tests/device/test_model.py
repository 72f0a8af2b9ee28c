"""Models that a chip cannot run are refused by name."""

import numpy as np
import pytest
from helpers.device_models import RATE, fitted, sounds

import l3clf
from l3clf.device.emit_model import model_header
from l3clf.device.exporter import read_export, write_export
from l3clf.device.model import device_model
from l3clf.errors import DeviceError, L3clfError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


# --- refused by name -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pooling": "vote"}, "pooling='vote': needs all windows"),
        ({"pooling": "mean+std"}, r"pooling='mean\+std': needs all windows"),
        ({"hop_s": 0.123}, "hop_s=0.123: not a whole number of frames, .*; fit with a multiple of 0.01 s"),
    ],
)
def test_what_a_chip_cannot_do_is_refused(options, words):
    with pytest.raises(DeviceError, match=words):
        device_model(fitted(**options))


def test_other_embedders_are_refused():
    clips, labels = sounds()
    model = l3clf.ClipClassifier("mfcc", sample_rate=RATE, cache=None).fit(clips, labels)
    with pytest.raises(DeviceError, match=r"embedder 'mfcc' does not run on a chip; fit with l3mini or a student"):
        device_model(model)


def test_distances_are_refused():
    model = fitted()
    model.typicality_ = object()
    with pytest.raises(DeviceError, match="by distances, which the C runtime does not compute; fit with a background"):
        device_model(model)


def test_other_heads_are_refused():
    from sklearn.naive_bayes import GaussianNB

    with pytest.raises(L3clfError, match="GaussianNB"):
        device_model(fitted(head=GaussianNB()))


def test_an_unfitted_model_and_impossible_numbers_are_refused(model):
    with pytest.raises(DeviceError, match="not fitted"):
        device_model(l3clf.ClipClassifier("l3mini"))
    for number in (0, 1001, "4", 2.5, None, True, np.int64(0)):
        with pytest.raises(DeviceError, match=r"pool_windows=.*; expected a whole number from 1 to 1000"):
            device_model(model, pool_windows=number)
    with pytest.raises(L3clfError, match=r"unknown_threshold=2; expected None or a number from 0 to 1"):
        device_model(model, unknown_threshold=2)
    with pytest.raises(L3clfError, match=r"unknown_threshold=None; expected a number from 0 to 1 for each class"):
        device_model(model, unknown_threshold=[0.5, None, 0.5])
    with pytest.raises(L3clfError, match=r"frontend=''; expected 'fixed' or 'float'"):
        device_model(model, frontend="")
    with pytest.raises(L3clfError, match=r"gate_dbfs=5; expected None or a number from -200 to 0"):
        device_model(model, gate_dbfs=5)


def test_numbers_of_numpy_are_numbers(model, tmp_path):
    quiet = np.float32(-60.1)
    numbers = {"pool_windows": np.int16(3), "unknown_threshold": np.float32(0.3), "gate_dbfs": quiet}
    d = device_model(model, **numbers, gate_hysteresis_db=np.int8(6))
    assert (d.pool_windows, d.unknown_threshold, d.gate_dbfs, d.gate_hysteresis_db) == (3, np.float32(0.3), quiet, 6)
    again = read_export(write_export(d, tmp_path / "c"))
    assert model_header(again) == model_header(d)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_class_names_that_c_cannot_hold_are_refused(name):
    model = fitted([name if label == "tone" else label for label in sounds()[1]])
    with pytest.raises(L3clfError, match=r"'a.*b' holds a control character or .*; rename the class before fit"):
        device_model(model)
