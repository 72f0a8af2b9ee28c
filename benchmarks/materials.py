"""What benchmarks measure on: the shared data sets and weights, and OpenL3 with seeded weights.

Rule: speed does not depend on the values of weights, so OpenL3 is timed with seeded ones, which every machine can make.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import l3clf
from l3clf.audio.clip import Source
from l3clf.embedders import Embedder
from l3clf.embedders.student import Student
from l3clf.errors import L3clfError, MissingDependencyError
from l3clf.pipeline import embed_sources
from tests.golden import openl3_recipe

__all__ = ["embed", "esc10", "fsdd", "l3mini", "seeded_openl3", "shared_folder", "students", "weights_folder"]


def shared_folder() -> Path:
    """Return the folder of shared data.

    Raises
    ------
    MissingDependencyError
        If ``L3CLF_SHARED`` does not name a folder.
    """
    name = os.environ.get("L3CLF_SHARED", "")
    if not name or not Path(name).is_dir():
        raise MissingDependencyError(
            f"L3CLF_SHARED={name!r}: is not a folder; set it to the folder that holds data/ and weights/"
        )
    return Path(name)


def weights_folder() -> Path:
    """Return the folder of shared weights."""
    return shared_folder() / "weights"


def esc10() -> l3clf.ClipTable:
    """Return ESC-10: 400 clips of 5 s, ten classes, its own five folds."""
    return l3clf.datasets.load(shared_folder() / "data/esc10")


def fsdd() -> l3clf.ClipTable:
    """Return FSDD: 3,000 spoken digits, with the six speakers as groups."""
    return l3clf.datasets.load(shared_folder() / "data/fsdd", group="speaker")


def seeded_openl3(folder: Path) -> Path:
    """Write OpenL3's weights (mel256, env) with seeded values, under their official name."""
    path = folder / "openl3_audio_mel256_env-v0_4_0.h5"
    openl3_recipe.write_weights(path, "mel256")
    return path


def l3mini(student: str | None = None, precision: str = "float32") -> Student:
    """Return l3mini, or the student of a file instead."""
    return cast(Student, l3clf.load_embedder("l3mini", weights=student, precision=precision))


def students(file: str | None = None) -> list[Student]:
    """Return the students in the package, or the one of a file instead."""
    names = ("l3base", "l3mini", "l3micro")
    return [l3mini(file)] if file else [cast(Student, l3clf.load_embedder(name)) for name in names]


def embed(
    embedder: Embedder, clips: Sequence[Source], hop_s: float = 0.5, center: bool = True
) -> list[l3clf.WindowEmbeddings]:
    """Return the windows of each clip, computed anew.

    Raises
    ------
    L3clfError
        Of the first clip that cannot be read.
    """
    found = []
    for windows in embed_sources(embedder, clips, hop_s=hop_s, center=center, cache=None):
        if isinstance(windows, L3clfError):
            raise windows
        found.append(windows)
    return found
