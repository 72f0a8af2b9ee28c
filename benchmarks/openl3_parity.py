"""How far our OpenL3 is from what the openl3 package itself returned (tests/golden: seeded weights).

    python benchmarks/openl3_parity.py [--all shared/golden/openl3_parity.npz]

Printed for each key: windows, largest difference over largest value, lowest cosine of a window. At 48 kHz the
first figure matters; at other rates the resampler differs (soxr here, resampy there), and the second does.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import l3clf

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "golden"))
import openl3_recipe as recipe


def compare(key: str, expected: np.ndarray, folder: Path) -> tuple[float, float]:
    input_repr, size, _, kind, center, hop = key.split(".", 5)
    weights = folder / f"{input_repr}.h5"
    if not weights.exists():
        recipe.write_weights(weights, input_repr)
    embedder = l3clf.load_embedder("openl3", input_repr=input_repr, embedding_size=int(size), weights=weights)
    samples, rate = recipe.audio(kind)
    found = embedder.embed(samples, rate, hop_s=float(hop[1:]), center=center == "c1").vectors
    if found.shape != expected.shape:
        raise SystemExit(f"{key}: {found.shape[0]} windows, the package has {expected.shape[0]}")
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(np.abs(found - expected).max() / np.abs(expected).max()), float(
        ((found * expected).sum(1) / norms).min()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", type=Path, default=Path(recipe.__file__).parent / "openl3_512.npz")
    with np.load(parser.parse_args().all) as golden, tempfile.TemporaryDirectory() as folder:
        for key in sorted(name for name in golden.files if ".kapre." in name):
            difference, cosine = compare(key, golden[key], Path(folder))
            print(
                f"{key:44} {len(golden[key]):3} windows  difference {difference:.1e}  cosine {cosine:.5f}", flush=True
            )


if __name__ == "__main__":
    main()
