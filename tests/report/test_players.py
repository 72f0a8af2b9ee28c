"""Players in the report play the clip, or say why they cannot."""

import io
import os

import numpy as np
import pytest
import soundfile
from helpers.report_pages import decoded, written
from helpers.sound_files import tone, write

from l3clf.audio.clip import Clip
from l3clf.report import Mistake
from l3clf.report.players import PLAYER_RATES_HZ


def heard(audio):
    return soundfile.read(io.BytesIO(decoded(audio["src"])[1]))


# ------------------------------------------------------------------------------------------ players


def with_clips(tmp_path, *clips):
    return written(tmp_path, mistakes=[Mistake(clip, "a", "b", 0.9) for clip in clips])


@pytest.mark.parametrize("rate", [1000, 8000, 16000, 44100, 50000, 96000])
def test_a_player_plays_the_clip(tmp_path, rate):
    clip = Clip(write(tmp_path / "x.wav", tone(hz=200, seconds=1.5, rate=rate), rate))
    (audio,) = with_clips(tmp_path, clip).all("audio")
    samples, played_rate = heard(audio)
    assert {"controls", "preload"} < set(audio)
    assert audio["preload"] == "none"
    assert len(samples) / played_rate == pytest.approx(1.5, abs=0.1)
    assert played_rate == min((r for r in PLAYER_RATES_HZ if r >= rate), default=48000)
    middle = samples[played_rate // 2 : played_rate]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * played_rate / len(middle) == pytest.approx(200, abs=4)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_without_mp3_a_player_has_16_bit_wav(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "WAV"})
    (audio,) = with_clips(tmp_path, Clip(folder / "tone.wav")).all("audio")
    kind, content = decoded(audio["src"])
    info = soundfile.info(io.BytesIO(content))
    assert (kind, info.format, info.subtype, info.channels, info.frames) == ("audio/wav", "WAV", "PCM_16", 1, 24000)


def test_a_piece_of_a_file_is_what_is_played(tmp_path):
    silence_then_tone = np.concatenate([np.zeros(16000, np.float32), tone(seconds=1)])
    path = write(tmp_path / "x.wav", silence_then_tone)
    found = with_clips(tmp_path, Clip(path, 1.0, 1.5), Clip(path, 0.0, 0.9))
    tone_part, silent_part = (heard(audio)[0] for audio in found.all("audio"))
    assert len(tone_part) / 16000 == pytest.approx(0.5, abs=0.1)
    assert np.abs(tone_part).max() > 0.4
    assert np.abs(silent_part).max() < 0.01
    assert "x.wav [1 s to 1.5 s]" in found.text


def test_a_long_clip_plays_its_first_ten_seconds(tmp_path):
    path = write(tmp_path / "x.wav", np.zeros((16 * 8000, 2)), 8000)
    found = with_clips(tmp_path, Clip(path), Clip(path, 3.0))
    assert [len(heard(audio)[0]) / 8000 for audio in found.all("audio")] == pytest.approx([10, 10], abs=0.2)
    assert "first 10 s of 16.0 s" in found.text
    assert "first 10 s of 13.0 s" in found.text


def test_samples_beyond_full_scale_are_played(tmp_path):
    path = write(tmp_path / "x.wav", 8 * tone(), subtype="FLOAT")
    samples, _ = heard(with_clips(tmp_path, Clip(path)).all("audio")[0])
    assert 0.9 < np.abs(samples).max() < 1.5


def test_unreadable_clips_get_a_sentence_and_the_others_their_player(tmp_path, folder):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.ogg").write_text("no sound")
    clips = [Clip(tmp_path / name) for name in ("gone.wav", "empty.wav", "text.ogg")]
    found = with_clips(tmp_path, *clips, Clip(folder / "tone.wav", 99), Clip(folder / "tone.wav"))
    assert found.torn == found.open == []
    assert len(found.all("audio")) == 1
    assert found.text.count("No player:") == 4


def test_at_most_twenty_mistakes_are_shown(tmp_path):
    found = with_clips(tmp_path, *[Clip(f"{n}.wav") for n in range(1234)])
    assert found.text.count(" predicted as ") == 20
    assert "The 20 worst of 1,234 mistakes" in found.text


@pytest.mark.parametrize(
    ("paths", "folder", "shown"),
    [
        (["/d/e/a/1.wav", "/d/e/b/2.wav"], "/d/e", ["a/1.wav", "b/2.wav"]),
        (["/d/ab/1.wav", "/d/a/2.wav"], "/d", ["ab/1.wav", "a/2.wav"]),
        (["/d/1.wav", "/e/2.wav"], "", ["/d/1.wav", "/e/2.wav"]),
        (["/d/1.wav", "e/2.wav"], "", ["/d/1.wav", "e/2.wav"]),
        (["1.wav"], "", ["1.wav"]),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="paths as other systems write them")
def test_the_folder_of_all_mistakes_is_shown_once(tmp_path, paths, folder, shown):
    found = with_clips(tmp_path, *map(Clip, paths))
    assert found.text.count("Paths start at") == bool(folder)
    assert f"Paths start at {folder}." in found.text or not folder
    assert all(f"expected a readable sound file{name}" in found.text for name in shown)
