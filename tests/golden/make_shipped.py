"""Makes `shipped.npz`: what the students in the package return, to be made again whenever one is replaced.

    python -m benchmarks.l3mini.ship          # copies the students, writes their cards, and calls this
    python tests/golden/make_shipped.py       # this alone

It proves nothing about new networks; it tells that those in the package are what they were, on every machine. Made
with ONNX Runtime 1.32.0.
"""

from pathlib import Path

import numpy as np

import l3clf

TARGET = Path(__file__).with_name("shipped.npz")
NAMES = ("l3base", "l3mini", "l3micro")
VARIANTS = {
    "float32": {"precision": "float32"},
    "int8": {"precision": "int8"},
    "int8, float front-end": {"precision": "int8", "frontend": "float"},  # that of models of earlier versions
}


def windows():
    """A quiet and a loud noise, and a tone, shape (3, 15600)."""
    rng, n = np.random.default_rng(1), 15_600
    noise = rng.standard_normal((2, n), np.float32) * np.float32([[0.003], [0.3]])
    return np.concatenate([noise, 0.3 * np.sin(np.arange(n, dtype=np.float32) / 7)[np.newaxis]])


def recorded(name, variant):
    """Return the fingerprint and the vectors of `windows()`, shape (3, size)."""
    with np.load(TARGET) as file:
        return str(file[f"{name} {variant} fingerprint"]), file[f"{name} {variant}"]


def main():
    """Write the file."""
    found = {}
    for name in NAMES:
        for variant, options in VARIANTS.items():
            embedder = l3clf.load_embedder(name, **options)
            found[f"{name} {variant}"] = embedder.embed_windows(windows())
            found[f"{name} {variant} fingerprint"] = np.array(embedder.fingerprint)
    np.savez_compressed(TARGET, **found)


if __name__ == "__main__":
    main()
