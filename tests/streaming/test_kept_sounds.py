"""Recognised sounds are kept whole, under names that exist on every system, and nothing is replaced or grows."""

import numpy as np
import pytest
import soundfile

from l3clf.errors import ParameterError
from l3clf.streaming.kept_sounds import SoundKeeper
from l3clf.streaming.stream_classifier import StreamDecision

RATE = 1000


def decision(label, start_s, end_s):
    return StreamDecision(label, 0.9, 0.1, start_s, end_s, -20.0, np.zeros(2))


def listen(keeper, labels, about_s=2, block_s=0.5):
    """A stream that counts its milliseconds, with a decision each second about the last two."""
    for k in range(int(len(labels) / block_s)):
        ramp = (np.arange(int(block_s * RATE)) + k * block_s * RATE) / 1e6
        keeper.hear(k * block_s, ramp.astype(np.float32), RATE)
        if (k + 1) * block_s % 1 == 0:
            at_s = (k + 1) * block_s
            keeper.decide(decision(labels[int(at_s) - 1], max(0, at_s - about_s), at_s))
    keeper.end()


def milliseconds(path):
    """The first and last sample that a file holds."""
    samples, rate = soundfile.read(path)
    assert rate == RATE
    return [round(samples[0] * 1e6), round(samples[-1] * 1e6)]


def test_a_sound_is_kept_with_what_its_first_decision_is_about_and_a_second_before(tmp_path):
    listen(SoundKeeper(tmp_path / "new" / "kept", 2), ["unknown"] * 5 + ["dog"] * 3 + ["background"] * 2 + ["cat"])
    names = sorted(path.name for path in (tmp_path / "new" / "kept").iterdir())
    assert names == ["00h00m04.000s_dog.wav", "00h00m09.000s_cat.wav"]
    folder = tmp_path / "new" / "kept"
    assert milliseconds(folder / names[0]) == [3000, 7999]
    assert milliseconds(folder / names[1]) == [8000, 10_999]


def test_no_file_is_replaced(tmp_path):
    for _ in range(3):
        listen(SoundKeeper(tmp_path, 2), ["dog"])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["00h00m00.000s_dog.wav", "00h00m00.000s_dog_2.wav", "00h00m00.000s_dog_3.wav"]


def test_names_are_of_the_time_of_day_where_it_is_known(tmp_path):
    listen(SoundKeeper(tmp_path, 2, began=1.7e9), ["unknown", "dog"])
    (path,) = tmp_path.iterdir()
    assert path.name[:8].isdecimal()
    assert path.name[8] == "-"
    assert path.name.endswith("_dog.wav")


@pytest.mark.parametrize("label", ["a/b", "../up", "x" * 500, "nul\0", "", "con: *?", "Größe", 7])
def test_any_label_makes_a_name(tmp_path, label):
    keeper = SoundKeeper(tmp_path, 2)
    listen(keeper, [label])
    (path,) = tmp_path.iterdir()
    assert path.parent == tmp_path
    assert keeper.written == 1
    assert len(path.name) < 100


def test_a_sound_without_end_is_kept_for_a_minute(tmp_path):
    keeper = SoundKeeper(tmp_path, 2)
    listen(keeper, ["rain"] * 200 + ["unknown"])
    (path,) = tmp_path.iterdir()
    assert milliseconds(path) == [0, 59_999]
    assert sum(len(samples) for _, samples, _ in keeper._blocks) < 5 * RATE


def test_silence_is_forgotten(tmp_path):
    keeper = SoundKeeper(tmp_path, 2)
    listen(keeper, ["unknown"] * 300)
    assert sum(len(samples) for _, samples, _ in keeper._blocks) < 5 * RATE
    assert keeper.written == 0


def test_what_was_before_a_gap_is_in_no_file_of_after(tmp_path):
    keeper = SoundKeeper(tmp_path, 2)
    keeper.hear(0.0, np.full(1000, 0.1, np.float32), RATE)
    keeper.decide(decision("dog", 0, 1))
    keeper.forget()
    keeper.hear(1.5, np.full((500, 2), 0.2, np.float32), RATE)
    keeper.decide(decision("dog", 1.5, 2))
    keeper.end()
    first, second = sorted(tmp_path.iterdir())
    assert np.unique(soundfile.read(first)[0]).round(4).tolist() == [0.1]
    assert np.unique(soundfile.read(second)[0]).round(4).tolist() == [0.2]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ParameterError, match="cannot be written"):
        SoundKeeper(tmp_path / "file", 2)
