"""Clips are decoded once, and again when they change; those that cannot be read are named."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.sound_files import noise, put, tone, write

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from helpers.small_trainings import RECIPE, Bands, one_sentence, sounds

from l3clf.audio.clip import Clip, Samples
from l3clf.audio.decode import read_blocks
from l3clf.distill import distil
from l3clf.distill.corpus import FULL_SCALE, decode, refused_clips
from l3clf.distill.examples import make_examples
from l3clf.embedders.frontend import SAMPLE_RATE
from l3clf.errors import ClipWarning, DatasetError, ParameterError


def make(corpus, folder, teacher=None, recipe=RECIPE, n_jobs=1):
    folder.mkdir(exist_ok=True)
    return make_examples(corpus, [teacher or Bands()], recipe, folder, n_jobs=n_jobs)


# --- the corpus ------------------------------------------------------------------------------------


def test_a_corpus_is_the_clips_one_after_the_other(tmp_path):
    path = write(tmp_path / "a.wav", tone(rate=44_100, seconds=0.7), 44_100)
    clips = [Clip(path), Samples(noise(5000), SAMPLE_RATE), Clip(path, 0.1, 0.3)]
    corpus = decode(clips, SAMPLE_RATE, tmp_path)
    assert (len(corpus), corpus.kept.tolist()) == (3, [0, 1, 2])
    for i, clip in enumerate(clips):
        expected = np.concatenate(list(read_blocks(clip, SAMPLE_RATE)))
        assert corpus.length(i) == len(expected)
        np.testing.assert_allclose(corpus.piece(i, 0, len(expected)), expected, atol=0.51 / FULL_SCALE)
    padded = corpus.piece(1, -10, 5020)
    assert not padded[:10].any()
    assert not padded[-10:].any()
    np.testing.assert_array_equal(padded[10:-10], corpus.piece(1, 0, 5000))


def test_doubtful_levels_of_a_corpus_are_told_once(tmp_path):
    clips = [Samples(noise(5000, k) * 30_000, SAMPLE_RATE, f"clip {k}") for k in range(5)]
    with pytest.warns(ClipWarning, match="^5 of 5 clips, the first clip 0: samples of up to .* where full scale is 1"):
        decode(clips, SAMPLE_RATE, tmp_path)


def test_a_corpus_is_decoded_once_and_again_when_it_changed(tmp_path):
    paths = [write(tmp_path / f"{i}.wav", tone(400 + i)) for i in range(3)]
    made, file = [], tmp_path / "corpus.i16"
    for change in (
        lambda: None,
        lambda: write(paths[0], tone(500)),
        lambda: file.write_bytes(file.read_bytes()[:-2]),
        lambda: (tmp_path / "corpus.json").write_text("{"),
        lambda: swap(*paths[:2]),
    ):
        change()
        made.append((decode([Clip(p) for p in paths], SAMPLE_RATE, tmp_path).digest, file.stat().st_mtime_ns))
        assert decode([Clip(p) for p in paths], SAMPLE_RATE, tmp_path).digest == made[-1][0]
        assert file.stat().st_mtime_ns == made[-1][1]
    assert len({digest for digest, _ in made}) == 3
    assert len({time for _, time in made}) == 5


def swap(a, b):
    """Exchange two files of one size, both with one time of change before and after."""
    for path in (a, b):
        os.utime(path, ns=(0, 0))
    Path(a).rename(f"{a}.other")
    Path(b).rename(a)
    Path(f"{a}.other").rename(b)


def test_a_corpus_of_other_clips_is_kept_where_examples_were_made_of_it(corpus, tmp_path):
    make(corpus, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(ParameterError, match=r"other clips \(10 before, 9 now; first difference: samples\)") as error:
        decode(sounds(9), SAMPLE_RATE, tmp_path)
    one_sentence(error)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_unreadable_clips_are_left_out_and_named(tmp_path):
    good = [write(tmp_path / f"{i}.wav", tone(400 + i)) for i in range(2)]
    cut = write(tmp_path / "cut.flac", noise(90_000), container="FLAC")
    put(cut, Path(cut).read_bytes()[:50_000])  # found out when its first blocks are written
    bad = [cut, write(tmp_path / "silent.wav", np.zeros(999)), put(tmp_path / "bad.wav", b"RIFF"), "no.wav"]
    clips = [Clip(path) for path in (good[0], *bad, good[1])]
    with pytest.warns(ClipWarning, match=r"4 of 6 clips left out: .*cut\.flac"):
        corpus = decode(clips, SAMPLE_RATE, tmp_path)
    assert corpus.kept.tolist() == [0, 5]
    np.testing.assert_allclose(corpus.piece(1, 0, 8000), tone(401), atol=1e-4)
    assert [
        name for name in ("cut.flac", "silent.wav", "bad.wav", "no.wav") for s in refused_clips(tmp_path) if name in s
    ]
    assert "silent.wav: silent, with a peak below -72 dBFS" in " ".join(refused_clips(tmp_path))


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "clips: found none; give at least two sound files"),
        ([Samples(tone(), SAMPLE_RATE)], "clips: 1 of 1 can be used; give at least two, one is held out"),
        (
            [Samples(np.zeros(9999), SAMPLE_RATE, f"s{i}") for i in range(5)],
            r"clips: 0 of 5 can be used \(s0: silent, .*\); give at least two",
        ),
        ([Samples(tone(), SAMPLE_RATE), "missing.wav"], r"clips: 1 of 2 can be used .*missing\.wav: no such file"),
        (
            [Samples(tone(), SAMPLE_RATE), Samples(np.zeros(0), SAMPLE_RATE, "e")],
            "clips: 1 of 2 can be used .*e: holds no samples",
        ),
    ],
    ids=["none", "one", "silent", "missing", "empty"],
)
def test_too_little_to_learn_from_is_one_sentence(tmp_path, clips, message):
    with pytest.raises(DatasetError, match=message) as error:
        distil(Bands(), clips, out=tmp_path)
    one_sentence(error)


FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from l3clf.audio.clip import Samples
from l3clf.distill.corpus import decode
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    decode([Samples(np.ones(40_000), 16_000)] * 2, 16_000, Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_decoded_clips_without_room_are_one_sentence(tmp_path):
    """A limit on the size of files stands for the full disk."""
    pytest.importorskip("resource")
    arguments = [sys.executable, "-c", FULL, str(tmp_path)]
    found = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()
    assert found.startswith(f"DatasetError {tmp_path}/corpus.i16: cannot be written (")
    assert "\n" not in found
