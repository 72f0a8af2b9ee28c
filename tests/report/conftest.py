"""A folder with a picture and a sound, and a page that shows everything."""

import pytest
from helpers.report_pages import ONE_PIXEL, a_row
from helpers.sound_files import tone, write

from l3clf.audio.clip import Clip
from l3clf.report import Mistake, Page


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "picture.png").write_bytes(ONE_PIXEL)
    write(folder / "tone.wav", tone(seconds=1.5))
    return folder


@pytest.fixture(scope="session")
def page(folder):
    clip = Clip(folder / "tone.wav")
    return Page(
        title="Baseline of tones",
        summary="mfcc reaches 90.0 %.",
        rows=[a_row(), a_row(0.7, "other")],
        floors=[("always the largest class", 0.5), ("guessing", 0.25)],
        description=[("Clips", "40")],
        notes=["Five folds, as given."],
        pictures=[(folder / "picture.png", "A pixel")],
        mistakes=[Mistake(clip, "low", "high", 0.9)] * 3,
        failures=["gone.wav: no such file"],
        commands=["l3clf baseline tones"],
        versions={"l3clf": "0.1"},
    )
