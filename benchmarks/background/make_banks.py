"""Makes the background banks of the package from the open pools, with their credits.

    python -m benchmarks.background.make_banks

Which sounds are in them is decided by l3base's embeddings of all that may be; l3mini's bank holds the same sounds.
Ten minutes on two cores. A student that was trained anew needs this again; `tests/classifier` says so.

Rule: one bank serves both precisions of a student and both front-ends, since its 8 bits are coarser than what they
differ by.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import l3clf
from benchmarks.background.bank_sounds import Sound, noises, pool_sounds, spread_out
from benchmarks.environment import say
from benchmarks.l3mini.pool_credits import credits_of
from benchmarks.materials import embed, shared_folder
from benchmarks.record import Result, Table, markdown
from benchmarks.settings import apply_settings
from l3clf.audio.clip import FloatArray
from l3clf.classifier.background_bank import ABOUT, BANKS, CODES, FORMAT, MIDDLES, STEPS, read_bank
from l3clf.classifier.decision import pool_vectors
from l3clf.embedders import Embedder
from l3clf.storage.safezip import write_zip

__all__ = ["CREDITS", "DATA", "Options", "bank_members", "credits_page", "run"]

DATA = Path(l3clf.__file__).parent / "classifier" / "data"
CREDITS = "banks_credits.md"
CHOOSING = "l3base"  # whose embeddings say which sounds are unlike each other
VARIANTS = ({"precision": "float32"}, {"precision": "int8"}, {"precision": "int8", "frontend": "float"})
HALF_RANGE = 127
TITLE = "Makers of the sounds in the background banks of l3base and l3mini, by licence"
ADAPTED = (
    "What two networks say of these sounds, a few hundred numbers for each, is in the package: the mean over the "
    "windows of a clip's first seconds. No sound is, and no maker endorses it."
)


@dataclass(frozen=True)
class Options:
    """What is made.

    Attributes
    ----------
    clips : int
        How many clips of the pools are chosen.
    seed : int
    out : Path
        A folder, made if it is missing.
    """

    clips: int = 830
    seed: int = 0
    out: Path = DATA


def run(options: Options) -> Result:
    """Write the banks and the page of credits."""
    data = shared_folder() / "data"
    sounds, added = pool_sounds(data), noises(options.seed)
    choosing = _pooled(l3clf.load_embedder(CHOOSING), sounds)
    chosen = spread_out(choosing, options.clips, options.seed)
    kept = [sounds[i] for i in chosen] + added
    names = [sound.name for sound in kept]
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in BANKS:
        embedder = l3clf.load_embedder(name)
        vectors = choosing[chosen] if name == CHOOSING else _pooled(embedder, kept[: len(chosen)])
        vectors = np.concatenate([vectors, _pooled(embedder, added)])
        path = options.out / f"{name}.bank"
        fingerprints = [l3clf.load_embedder(name, **options).fingerprint for options in VARIANTS]
        write_zip(path, bank_members(vectors, fingerprints, names))
        error = np.abs(read_bank(path).vectors - vectors).mean() / vectors.std(axis=0).mean()
        rows.append((name, len(names), vectors.shape[1], path.stat().st_size, float(error)))
    (options.out / CREDITS).write_text(credits_page(data, names), encoding="utf-8")
    columns = ("bank", ""), ("sounds", ",d"), ("numbers each", "d"), ("bytes", ",d"), ("mean error / spread", ".2%")
    return Result((Table("Background banks", columns, tuple(rows)),))


def credits_page(data: Path, names: Sequence[str]) -> str:
    """Return the page of the makers of the sounds of a bank.

    Parameters
    ----------
    data : Path
        The folder of the pools.
    names : sequence of str
        Of the sounds.
    """
    return credits_of(data, TITLE, ADAPTED, set(names))


def bank_members(vectors: FloatArray, fingerprints: Sequence[str], names: Sequence[str]) -> dict[str, bytes]:
    """Return the members of a bank file.

    Parameters
    ----------
    vectors : array of shape (n, size)
    fingerprints : sequence of str
        Of the embedders that it belongs to.
    names : sequence of n str
        Of the sounds.
    """
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    middles = ((low + high) / 2).astype("<f4")
    steps = (np.maximum(high - low, 1e-6) / (2 * HALF_RANGE)).astype("<f4")
    codes = np.clip(np.rint((vectors - middles) / steps), -HALF_RANGE, HALF_RANGE).astype(np.int8)
    about = {"format": FORMAT, "fingerprints": list(fingerprints), "clips": list(names)}
    text = json.dumps(about, indent=1)
    return {ABOUT: text.encode(), CODES: codes.tobytes(), STEPS: steps.tobytes(), MIDDLES: middles.tobytes()}


def _pooled(embedder: Embedder, sounds: Sequence[Sound]) -> FloatArray:
    """The mean over the windows of each sound, as the estimators pool clips."""
    found = embed(embedder, [sound.source for sound in sounds])
    return np.stack([pool_vectors(windows.vectors, "mean") for windows in found])


if __name__ == "__main__":
    say(markdown(run(apply_settings(Options, sys.argv[1:]))))
