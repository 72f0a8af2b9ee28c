"""Accuracy on ESC-10 with few training clips of each class, with augmentation and without; mean over draws.

Clips are asked about as they are, and as they would sound elsewhere: through another microphone, in another room, with
noise (`ELSEWHERE`). The defaults of `l3clf.Augmentation` were chosen on the pool, not here.

`draw_clips` draws the clips: the same ones for everything that is measured with few clips, whoever measures it.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.materials import esc10, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.classifier.augmented import embed_copies
from l3clf.embedders import Embedder

__all__ = ["ELSEWHERE", "Options", "draw_clips", "run"]

ELSEWHERE = l3clf.Augmentation(
    copies=1,
    gain_db=(-24.0, 6.0),
    snr_db=(5.0, 40.0),
    p_noise=1.0,
    p_colour=1.0,
    p_room=1.0,
    p_band=0.5,
    p_shift=0.0,
    p_stretch=0.0,
    p_pitch=0.0,
    p_mix=0.0,
)
"""What becomes of a clip that is asked about elsewhere."""


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    embedders : tuple of str
    sizes : tuple of int
        Training clips of each class.
    draws : int
    copies : int
        Of each training clip.
    """

    embedders: tuple[str, ...] = ("l3mini", "l3base")
    sizes: tuple[int, ...] = (5, 10, 32)
    draws: int = 5
    copies: int = 4


def run(options: Options) -> Result:
    """Learn few clips, with copies and without, and ask about a fold."""
    table = esc10()
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        cache = l3clf.EmbeddingCache(Path(folder) / "embeddings.sqlite")
        for name in options.embedders:
            embedder = l3clf.load_embedder(name, **({"weights": weights_folder()} if name == "efficientat" else {}))
            for augment in (None, l3clf.Augmentation(copies=options.copies)):
                found = [_accuracies(table, embedder, augment, size, options.draws, cache) for size in options.sizes]
                learned = "the clips" if augment is None else f"and {augment.copies} copies of each"
                rows.append((name, learned, *(one for pair in found for one in pair)))
    columns = [("embedder", ""), ("learned", "")]
    for size in options.sizes:
        columns += [(f"{size} a class", ".1%"), (f"{size}, heard elsewhere", ".1%")]
    title = f"ESC-10, mean of {options.draws} draws, logistic head, mean pooling"
    return Result((Table(title, tuple(columns), tuple(rows)),))


def _accuracies(
    table: l3clf.ClipTable,
    embedder: Embedder,
    augment: l3clf.Augmentation | None,
    size: int,
    draws: int,
    cache: l3clf.EmbeddingCache,
) -> tuple[float, float]:
    """Return the mean accuracy on clips as they are, and as heard elsewhere."""
    found = []
    for draw in range(draws):
        train, test = draw_clips(table, size, draw)
        model = l3clf.ClipClassifier(embedder, cache=cache, augment=augment)
        model.fit([table.clips[i] for i in train], table.labels[train])
        clips = [table.clips[i] for i in test]
        windows = model.embed(clips)
        elsewhere = _heard_elsewhere(embedder, clips, windows, cache)
        found.append([float(np.mean(model.predict(asked) == table.labels[test])) for asked in (windows, elsewhere)])
    plain, changed = np.mean(found, axis=0).tolist()
    return plain, changed


def _heard_elsewhere(
    embedder: Embedder,
    clips: Sequence[l3clf.Clip],
    windows: Sequence[l3clf.WindowEmbeddings | l3clf.L3clfError],
    cache: l3clf.EmbeddingCache,
) -> list[l3clf.WindowEmbeddings]:
    made = {}
    for clip, _, outcome in embed_copies(embedder, clips, windows, [""] * len(clips), ELSEWHERE, cache=cache):
        if isinstance(outcome, l3clf.L3clfError):
            raise outcome
        made[clip] = outcome
    return [made[i] for i in range(len(clips))]


def draw_clips(table: l3clf.ClipTable, per_class: int, draw: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which clips are learned and which are asked about in one draw.

    Parameters
    ----------
    table : ClipTable
        With folds.
    per_class : int
        Training clips of each class; all of them where there are fewer.
    draw : int
        From 0: its number chooses the fold that is asked about, in turn, and the clips from the others. Of one draw,
        fewer clips are some of more.

    Returns
    -------
    train, test : array of shape (n,)
        Places in the table, in order.
    """
    if table.folds is None:
        raise ValueError("the table has no folds")
    folds = np.unique(table.folds)
    is_test = table.folds == folds[draw % len(folds)]
    order = np.random.default_rng(draw).permutation(np.flatnonzero(~is_test))
    train = [order[table.labels[order] == label][:per_class] for label in np.unique(table.labels)]
    return np.sort(np.concatenate(train)), np.flatnonzero(is_test)
