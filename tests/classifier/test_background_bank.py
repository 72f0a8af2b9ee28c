"""Background banks: they belong to the students in the package, are small, and damaged ones are refused."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import GOLDEN

import l3clf
from benchmarks.background.bank_sounds import NOISES, noises, pool_sounds
from benchmarks.background.make_banks import CREDITS, DATA, bank_members, credits_page
from benchmarks.materials import embed
from l3clf.classifier.background_bank import ABOUT, BANKS, CODES, MIDDLES, STEPS, bank_for, read_bank
from l3clf.errors import ModelFileError
from l3clf.storage.safezip import write_zip

AGAIN = "run `python -m benchmarks.background.make_banks` again"
MAX_BYTES = 400_000
SHARED = os.environ.get("L3CLF_SHARED")
needs_pools = pytest.mark.skipif(not SHARED, reason="L3CLF_SHARED names no folder of shared data")


@pytest.mark.parametrize("name", BANKS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_both_precisions_of_a_student_have_its_bank(name, precision):
    embedder = l3clf.load_embedder(name, precision=precision)
    vectors = bank_for(embedder)
    assert vectors is not None, AGAIN
    assert vectors.dtype == np.float32
    assert vectors.shape[1] == embedder.embedding_size
    assert len(vectors) >= 1000
    assert np.isfinite(vectors).all()
    assert not vectors.flags.writeable
    assert bank_for(embedder) is vectors  # read once


@pytest.mark.parametrize("name", BANKS)
def test_a_bank_is_small(name):
    assert (DATA / f"{name}.bank").stat().st_size <= MAX_BYTES


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mfcc", {}),
        ("l3mini", {"revision": 1}),
        ("l3micro", {}),
        ("l3mini", {"weights": str(GOLDEN / "tiny.student")}),
        ("openl3", {}),
        ("yamnet", {}),
    ],
)
def test_others_have_none_and_need_no_weights_to_say_so(name, options):
    assert bank_for(l3clf.load_embedder(name, **options)) is None


@pytest.mark.parametrize("name", BANKS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_bank_holds_what_the_student_in_the_package_says_of_the_same_sounds(name, precision):
    embedder = l3clf.load_embedder(name, precision=precision)
    bank = read_bank(DATA / f"{name}.bank")
    chosen = noises()[::40]
    found = np.stack([one.vectors.mean(axis=0) for one in embed(embedder, [sound.source for sound in chosen])])
    rows = bank.vectors[[bank.clips.index(sound.name) for sound in chosen]]
    # Rounding to 8 bits and the integers of the other precision; another network's vectors have nothing in common.
    # Noise is extreme in many dimensions, which is where integers saturate.
    spread = bank.vectors.std(axis=0)
    assert np.abs((found - rows) / spread).mean() < (0.05 if precision == "float32" else 0.4), AGAIN


@needs_pools
@pytest.mark.parametrize("name", BANKS)
def test_a_bank_holds_what_the_student_in_the_package_says_of_clips_of_the_pools(name):
    bank = read_bank(DATA / f"{name}.bank")
    sounds = {sound.name: sound for sound in pool_sounds(Path(SHARED, "data"))}
    assert set(bank.clips[:-NOISES]) <= set(sounds)  # so none has share-alike terms
    chosen = range(0, len(bank.clips) - NOISES, 250)
    embedder = l3clf.load_embedder(name)
    found = embed(embedder, [sounds[bank.clips[i]].source for i in chosen])
    error = np.stack([one.vectors.mean(axis=0) for one in found]) - bank.vectors[list(chosen)]
    assert np.abs(error / bank.vectors.std(axis=0)).mean() < 0.05, AGAIN


def test_both_banks_are_of_the_same_sounds():
    assert len({read_bank(DATA / f"{name}.bank").clips for name in BANKS}) == 1


@needs_pools
def test_the_credits_name_the_makers_of_these_sounds():
    text = credits_page(Path(SHARED, "data"), read_bank(DATA / f"{BANKS[0]}.bank").clips)
    assert text == (DATA / CREDITS).read_text(encoding="utf-8"), AGAIN
    assert "-SA" not in text


def members():
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    return vectors, bank_members(vectors, ["f" * 32], [f"clip {i}" for i in range(5)])


def test_eight_bits_keep_each_number_within_half_a_step(tmp_path):
    vectors, content = members()
    write_zip(tmp_path / "a.bank", content)
    bank = read_bank(tmp_path / "a.bank")
    steps = (vectors.max(axis=0) - vectors.min(axis=0)) / 254
    assert (np.abs(bank.vectors - vectors) <= 0.51 * steps).all()
    assert bank.fingerprints == ("f" * 32,)
    assert bank.clips[4] == "clip 4"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({CODES: b"\0" * 14}, "14 codes, 3 steps and 3 middles for 5 clips"),
        ({CODES: b""}, "0 codes"),
        ({STEPS: b"\0" * 5}, "5 bytes of steps"),
        ({STEPS: np.full(3, np.nan, "<f4").tobytes()}, "not finite"),
        ({MIDDLES: b"\0" * 8}, "2 middles"),
        ({ABOUT: b"{"}, "no description"),
        ({ABOUT: b'{"format": "l3clf bank 9"}'}, "not in the format"),
        ({ABOUT: json.dumps({"format": "l3clf bank 1", "fingerprints": [1], "clips": []}).encode()}, "'fingerprints'"),
        ({ABOUT: json.dumps({"format": "l3clf bank 1", "fingerprints": ["a"]}).encode()}, "'clips'"),
    ],
)
def test_a_damaged_bank_is_refused(tmp_path, change, message):
    write_zip(tmp_path / "a.bank", members()[1] | change)
    with pytest.raises(ModelFileError, match=message):
        read_bank(tmp_path / "a.bank")


def test_a_bank_without_a_member_is_refused(tmp_path):
    content = members()[1]
    del content[STEPS]
    write_zip(tmp_path / "a.bank", content)
    with pytest.raises(ModelFileError, match="has the members"):
        read_bank(tmp_path / "a.bank")


def test_a_bank_with_a_pickle_in_it_is_not_opened(tmp_path):
    write_zip(tmp_path / "a.bank", members()[1])
    with zipfile.ZipFile(tmp_path / "a.bank", "a") as archive:
        archive.writestr("more.pkl", b"\x80\x04")
    with pytest.raises(ModelFileError, match=r"more\.pkl"):
        read_bank(tmp_path / "a.bank")
