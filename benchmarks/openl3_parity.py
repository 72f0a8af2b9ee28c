"""How far OpenL3's embeddings are from those that the openl3 package returned, for seeded weights.

The golden values (tests/golden/openl3_recipe.py says how they were made) are of openl3 0.4.2, of all three inputs;
with the shared data also of both embedding sizes. At 48 kHz the difference matters; at other rates the resampler is
another (soxr here, resampy there), and the cosine does.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.materials import shared_folder
from benchmarks.record import Result, Table
from l3clf.errors import DatasetError
from tests.golden import openl3_recipe

NATIVE_HZ = 48_000


@dataclass(frozen=True)
class Options:
    """Which golden values are compared.

    Attributes
    ----------
    shared : bool
        Whether the shared collection is read, with both sizes, instead of that in tests/golden.
    inputs, sounds : tuple of str
        Of the recipe; all sounds when empty.
    """

    shared: bool = True
    inputs: tuple[str, ...] = ("mel256", "mel128", "linear")
    sounds: tuple[str, ...] = ()


def run(options: Options) -> Result:
    """Compare every golden value."""
    path = shared_folder() / "golden/openl3_parity.npz" if options.shared else openl3_recipe.GOLDEN
    with np.load(path) as golden, tempfile.TemporaryDirectory() as folder:
        keys = [key for key in sorted(golden.files) if _is_chosen(key, options)]
        rows = [_row(key, golden[key], Path(folder)) for key in keys]
    columns = (
        ("input", ""),
        ("size", ""),
        ("sound", ""),
        ("rate (Hz)", ",d"),
        ("centred", ""),
        ("hop (s)", "g"),
        ("windows", "d"),
    )
    compared = ("largest difference / largest value", ".1e"), ("lowest cosine", ".5f")
    title = "Against openl3 0.4.2, by input, size and sound"
    return Result(
        (Table("The worst of each rate and input", *_by_rate(rows)), Table(title, (*columns, *compared), tuple(rows)))
    )


def _is_chosen(key: str, options: Options) -> bool:
    input_repr, _, front_end, kind, *_ = key.split(".")
    return front_end == "kapre" and input_repr in options.inputs and kind in (options.sounds or openl3_recipe.SOUNDS)


def _row(key: str, expected: NDArray[np.float32], folder: Path) -> tuple[Any, ...]:
    input_repr, size, kind, center, hop_s = openl3_recipe.parse(key)
    weights = folder / f"{input_repr}.h5"
    if not weights.exists():
        openl3_recipe.write_weights(weights, input_repr)
    embedder = l3clf.load_embedder("openl3", input_repr=input_repr, embedding_size=size, weights=weights)
    samples, rate = openl3_recipe.audio(kind)
    found = embedder.embed(samples, rate, hop_s=hop_s, center=center).vectors
    if found.shape != expected.shape:
        raise DatasetError(f"{key}: {found.shape[0]} windows; expected {expected.shape[0]}, as the package has")
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    cosine = float(((found * expected).sum(1) / norms).min())
    return input_repr, str(size), kind, rate, "yes" if center else "no", hop_s, len(found), difference, cosine


def _by_rate(rows: list[tuple[Any, ...]]) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[Any, ...], ...]]:
    """The worst of each input at each rate."""
    columns = (
        ("rate (Hz)", ",d"),
        ("input", ""),
        ("comparisons", "d"),
        ("largest difference / largest value", ".1e"),
        ("lowest cosine", ".4f"),
    )

    def worst() -> Iterator[tuple[Any, ...]]:
        groups = defaultdict(list)
        for row in rows:
            groups[row[3], row[0]].append(row)
        for (rate, input_repr), some in sorted(groups.items(), key=lambda item: (-item[0][0], item[0][1])):
            yield rate, input_repr, len(some), max(row[-2] for row in some), min(row[-1] for row in some)

    return columns, tuple(worst())
