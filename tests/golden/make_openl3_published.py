"""What OpenL3's authors published, as the package ships it: selected from the project's larger collection.

    python tests/golden/make_openl3_published.py ../shared/golden/openl3_published.npz

The source holds the regression values of github.com/marl/openl3 (tests/data/regression, MIT). Values by the default
front-end are taken, in half precision, which halves the file and changes no cosine by more than 1e-6.
"""

import sys
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[2] / "l3clf" / "embedders" / "data" / "openl3_published.npz"
NAMES = {"linear_env": "linear_env_512_kapre", "mel256_music": "mel256_music_6144_kapre"}


def select(source, target=TARGET):
    """Write the values to ship."""
    with np.load(source, allow_pickle=False) as every:
        np.savez_compressed(target, **{name: every[theirs].astype(np.float16) for name, theirs in NAMES.items()})
    return target


if __name__ == "__main__":
    print(select(sys.argv[1]))
