"""Spectrograms beside the players show what is played: bands, times and levels where they belong, whatever the clip."""

import io
import re

import numpy as np
import pytest
from helpers.report_pages import decoded, written
from helpers.sound_files import tone, write
from matplotlib.image import imread

from l3clf.audio.clip import Clip
from l3clf.audio.spectrogram import hz_to_mel
from l3clf.report import Mistake
from l3clf.report.spectrograms import BANDS, LEVELS, LOWEST_HZ, MAX_COLUMNS, heard, spectrogram_images


def lightness(image):
    """Mean over the colours of each pixel, (bands, columns), the lowest band first."""
    content = decoded(re.search(r'src="([^"]+)"', image)[1])[1]
    return imread(io.BytesIO(content))[::-1, :, :3].mean(axis=2)


def texts(image, kind):
    return re.findall(rf'class="{kind}"[^>]*>([^<]*)<', image)


def share(image):
    return float(re.search(r"--wide:([\d.]+)%", image)[1])


@pytest.mark.parametrize(
    ("rate", "top_hz"), [(1000, 4000), (8000, 4000), (16000, 8000), (22050, 16000), (96000, 16000)]
)
def test_a_tone_is_brightest_in_its_band(rate, top_hz):
    (image,) = spectrogram_images([heard(tone(hz=440, seconds=1, rate=rate), rate)], ["x"])
    pixels = lightness(image)
    assert pixels.shape[0] == BANDS
    low, at, high = (float(hz_to_mel(hz, "slaney")) for hz in (LOWEST_HZ, 440, top_hz))
    assert pixels.mean(axis=1).argmax() == pytest.approx(BANDS * (at - low) / (high - low), abs=1.5)
    assert texts(image, "khz")[-1] == f"{top_hz / 1000:g} kHz"


def test_the_time_of_a_sound_is_where_the_label_says():
    samples = np.zeros(32000, np.float32)
    samples[24000:24800] = tone(hz=1000, seconds=0.05, rate=16000)
    (image,) = spectrogram_images([heard(samples, 16000)], ["x"])
    columns = lightness(image).mean(axis=0)
    assert columns.argmax() / len(columns) == pytest.approx(1.525 / 2, abs=0.02)
    assert texts(image, "sec") == ["0", "0.5", "1", "1.5", "2 s"]


def test_levels_and_times_of_a_page_share_one_scale():
    loud, quiet = tone(hz=440, seconds=2, rate=16000), 0.01 * tone(hz=440, seconds=1, rate=16000)
    images = spectrogram_images([heard(each, 16000) for each in (loud, quiet)], ["a", "b"])
    bright, dim = (lightness(each).max() for each in images)
    assert bright > dim + 0.2
    assert [share(each) for each in images] == [100, 50]
    assert texts(images[0], "sec") == texts(images[1], "sec")


def test_lengths_that_differ_much_have_scales_of_their_own():
    images = spectrogram_images([heard(tone(seconds=s, rate=16000), 16000) for s in (10, 0.1)], ["a", "b"])
    assert [share(each) for each in images] == [100, 100]
    assert [texts(each, "sec")[-1] for each in images] == ["10 s", "0.1 s"]


@pytest.mark.parametrize("n", [1, 2, 15, 160, 16000, 160_000, 479_999])
@pytest.mark.parametrize("sound", ["silence", "noise", "beyond full scale"])
def test_any_clip_has_a_picture_of_bounded_size(n, sound):
    noise = np.random.default_rng(0).normal(size=n).astype(np.float32)
    samples = {"silence": 0 * noise, "noise": 0.1 * noise, "beyond full scale": 1e20 * noise}[sound]
    (image,) = spectrogram_images([heard(samples, 16000 if n < 100_000 else 48000)], ["x"])
    pixels = lightness(image)
    assert 1 <= pixels.shape[1] <= MAX_COLUMNS
    assert np.isfinite(pixels).all()
    assert len(np.unique(pixels)) <= LEVELS
    assert len(image) < 32_000


def test_the_page_shows_what_is_played_and_leaves_out_what_cannot_be_read(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    silent_then_tone = np.concatenate([np.zeros(12 * 8000, np.float32), tone(seconds=2, rate=8000)])
    path = write(tmp_path / "x.wav", silent_then_tone, 8000)
    clips = [Clip(path, 11.0), Clip(tmp_path / "text.wav"), Clip(path)]
    found = written(tmp_path, mistakes=[Mistake(clip, "a", "b", 0.9) for clip in clips])
    piece, whole = found.all("img")
    assert (piece["alt"], whole["alt"]) == ("Spectrogram of x.wav [11 s to end], 3 s", "Spectrogram of x.wav, 10 s")
    dark = lightness(f'src="{whole["src"]}"')
    assert len(np.unique(dark)) == 1  # its first ten seconds are silent
    assert "mel bands up to 4 kHz" in found.text
    nothing = written(tmp_path, mistakes=[Mistake(clips[1], "a", "b", 0.9)])
    assert "spectrogram" not in nothing.text
