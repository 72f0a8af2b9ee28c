"""How well sounds that were never learned are told: classes of ESC-10 and FSDD left out, noise, silence and speech.

ESC-10 with all classes known: how many clips of the fold that was not learned the learned threshold keeps. Then three
classes out, all folds. FSDD: three digits out, one speaker left out at a time. Noise, silence and speech (FSDD) are
asked about together with ESC-10's left-out classes: they are scored by the models of all folds in turn, and rejected
where their score is above the one that keeps 95 % of ESC-10's known clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.background.bank_sounds import LENGTH_S, RATE_HZ
from benchmarks.materials import embed, esc10, fsdd, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.audio.augmentation import coloured_noise
from l3clf.audio.clip import Samples
from l3clf.embedders import Embedder
from l3clf.evaluate import OpenSet, leave_out, make_split
from l3clf.evaluate.open_set import open_set
from l3clf.evaluate.splits import Split

OURS = ("l3mini", "l3base")
NOISE, SILENCE, SPEECH = "(noise)", "(silence)", "(speech)"
COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}
LEVELS_DBFS = (-10, -20, -30, -40, -50, -60, -70)
SEED = 1  # another than that of the noise in the banks
COLUMNS = (
    ("embedder", ""), ("unknown", ""), ("AUROC", ".3f"), ("95 % from", ".3f"), ("to", ".3f"),
    ("unknown accepted at 95 %", ".1%"), ("accepted are right", ".2%"), ("accuracy on known", ".2%"),
)  # fmt: skip
REJECTED = (("noise rejected", ".1%"), ("silence rejected", ".1%"), ("speech rejected", ".1%"))


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    embedders : tuple of str
    digits : tuple of str
        Those that are measured on FSDD too.
    n_out, draws : int
    speech : int
        How many clips of FSDD are asked about beside ESC-10.
    every : int
        Of FSDD's clips, each so-manieth is used for FSDD's own table.
    """

    embedders: tuple[str, ...] = (*OURS, "efficientat", "yamnet")
    digits: tuple[str, ...] = OURS
    n_out: int = 3
    draws: int = 20
    speech: int = 200
    every: int = 5


def run(options: Options) -> Result:
    """Leave classes out of ESC-10, then digits out of FSDD."""
    tables = [_kept(options), _esc10(options)]
    if options.digits:
        tables.append(_fsdd(options))
    return Result(tuple(tables))


def _embedder(name: str) -> Embedder:
    return l3clf.load_embedder(name) if name in (*OURS, "mfcc") else l3clf.load_embedder(name, weights=weights_folder())


def _kept(options: Options) -> Table:
    """How many clips of the fold that was not learned the learned threshold keeps, with all classes known."""
    table, rows = esc10(), []
    split = make_split(table.labels, table.folds)
    for name in options.embedders:
        windows = embed(_embedder(name), table.clips)
        model = l3clf.ClipClassifier(_embedder(name), unknown="auto", cache=None)
        shares = []
        for train, test in split:
            groups = split.test_fold[train] if len(split) > 2 else None  # one group teaches no threshold
            model.fit([windows[i] for i in train], table.labels[train], groups=groups)
            shares.append(float(np.mean(model.predict([windows[i] for i in test]) != "unknown")))
        rows.append((name, float(np.mean(shares)), min(shares), max(shares)))
    columns = ("embedder", ""), ("kept, mean of the folds", ".2%"), ("least", ".2%"), ("most", ".2%")
    return Table(f'ESC-10, known clips that `unknown="auto"` is to keep 95 % of, {split.note}', columns, tuple(rows))


def _esc10(options: Options) -> Table:
    table, spoken = esc10(), fsdd()
    speech = spoken.clips[:: max(1, len(spoken) // options.speech)][: options.speech]
    strange = (
        _noises(),
        [Samples(np.zeros(round(LENGTH_S * RATE_HZ), np.float32), RATE_HZ, SILENCE)] * len(set(_folds(table))),
    )
    names = [SILENCE] * len(strange[1]) + [NOISE] * len(strange[0]) + [SPEECH] * len(speech)
    labels = np.array([*map(str, table.labels), *names])
    split = make_split(table.labels, table.folds)
    folds = np.concatenate([split.test_fold, np.arange(len(names)) % len(split)])  # each fold's models are asked
    split = Split(folds, split.names, split.kind, split.note)
    chosen = [(*each, NOISE, SILENCE, SPEECH) for each in leave_out(table.labels, options.n_out, options.draws)]
    rows = []
    for name in options.embedders:
        windows = embed(_embedder(name), [*table.clips, *strange[1], *strange[0], *speech])
        for unknown in (None, "auto"):
            model = l3clf.ClipClassifier(_embedder(name), unknown=unknown, cache=None)
            found = open_set(model, windows, labels, split, chosen)
            scores = _only(found, ~np.isin(labels, (NOISE, SILENCE, SPEECH)))
            rejected = [_rejected(found, labels == kind) for kind in (NOISE, SILENCE, SPEECH)]
            rows.append((name, _words(unknown), *_cells(scores), *rejected))
    title = f"ESC-10, {options.n_out} classes left out, {options.draws} draws, {split.note}"
    return Table(title, (*COLUMNS, *REJECTED), tuple(rows))


def _folds(table: l3clf.ClipTable) -> list[int]:
    return [] if table.folds is None else table.folds.tolist()


def _fsdd(options: Options) -> Table:
    table = fsdd()
    table = table.subset(range(0, len(table), options.every))
    split = make_split(table.labels, groups=table.groups)
    chosen = leave_out(table.labels, min(options.n_out, len(np.unique(table.labels)) - 2), options.draws)
    rows = []
    for name in options.digits:
        windows = embed(_embedder(name), table.clips, hop_s=0.1)
        for unknown in (None, "auto"):
            model = l3clf.ClipClassifier(_embedder(name), unknown=unknown, hop_s=0.1, cache=None)
            found = open_set(model, windows, table.labels, split, chosen, groups=table.groups)
            rows.append((name, _words(unknown), *_cells(found.scores())))
    return Table(
        f"FSDD ({len(table):,} clips), digits left out, {options.draws} draws, {split.note}", COLUMNS, tuple(rows)
    )


def _words(unknown: str | None) -> str:
    return "the head alone" if unknown is None else f'`unknown="{unknown}"`'


def _noises() -> list[Samples]:
    rng = np.random.default_rng(SEED)
    n = round(LENGTH_S * RATE_HZ)
    return [
        Samples(np.clip(10 ** (level / 20) * coloured_noise(n, exponent, rng), -1, 1), RATE_HZ, f"{colour} {level}")
        for colour, exponent in COLOURS.items()
        for level in LEVELS_DBFS
    ]


def _only(found: OpenSet, kept: NDArray[np.bool_]) -> dict[str, float]:
    """The scores on some of the clips."""
    draws = [
        type(draw)(draw.left_out, draw.known[kept], draw.right[kept], draw.unknown_scores[kept]) for draw in found.draws
    ]
    return OpenSet(tuple(draws), found.accept).scores()


def _rejected(found: OpenSet, asked: NDArray[np.bool_]) -> float:
    """The share of some clips whose score is above the one that keeps the known clips; mean over draws."""
    each = []
    for draw in found.draws:
        limit = np.quantile(draw.unknown_scores[draw.known], found.accept, method="inverted_cdf")
        each.append((draw.unknown_scores[asked] > limit).mean())
    return float(np.mean(each))


def _cells(scores: dict[str, float]) -> Sequence[Cell]:
    names = ("auroc", "auroc_low", "auroc_high", "unknown_accepted", "accuracy_accepted", "accuracy")
    return [scores[name] for name in names]
