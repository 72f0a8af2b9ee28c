"""Accuracy on ESC-10 with few training clips of each class: a frozen student, fine-tuned on them, and from scratch.

The clips are those of `small_data`: each draw asks about another fold. Fine-tuned is what ``--fine-tune`` does, its
settings left as they are; from scratch is the same network from random weights on labels alone, the talk's comparison;
the head is the logistic one on the mean of the windows throughout. The settings were not chosen by these figures. Every
training is kept in `work`; run the same command again to resume. A training takes about a minute on two free cores.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import l3clf
from benchmarks.environment import say
from benchmarks.l3mini.kept import kept
from benchmarks.materials import esc10
from benchmarks.record import Cell, Result, Table
from benchmarks.small_data import draw_clips
from l3clf.distill import FineTuned
from l3clf.errors import ParameterError


@dataclass(frozen=True)
class Options:
    """What is trained.

    Attributes
    ----------
    student : str
        l3mini, l3base, l3micro, or a student file.
    per_class : tuple of int
        Training clips of each class.
    draws : int
    work : Path
        Where results of trainings are kept.
    epochs, per_window : int, optional
        Instead of the default of ``--fine-tune``, for a quick look.
    """

    student: str = "l3mini"
    per_class: tuple[int, ...] = (5, 10, 32)
    draws: int = 5
    work: Path = Path("small-data-tuned")
    epochs: int | None = None
    per_window: int | None = None


Ask = Callable[[NDArray[np.intp], NDArray[np.intp], Path], float]
"""Learns the first clips and returns the share of the second that is right; the folder is for what it keeps."""


def run(options: Options) -> Result:
    """Train and ask each draw, the draws one after the other, so that a part of them is already a comparison."""
    table, ways = esc10(), _ways(options)
    _check_work(options)
    found: dict[tuple[int, str], list[float]] = {}
    for draw in range(options.draws):
        for n in options.per_class:
            train, test = draw_clips(table, n, draw)
            for name, ask in ways.items():
                place = options.work / f"draw {draw}" / f"{n} clips {name}"
                right = kept(place.with_suffix(".json"), partial(_told, ask, train, test, place))
                found.setdefault((n, name), []).append(right)
    rows: list[tuple[Cell, ...]] = []
    for n in options.per_class:
        each = [found[n, name] for name in ways]
        gains = np.subtract(each[1], each[0])
        rows.append((n, *(float(np.mean(one)) for one in each), ", ".join(f"{100 * gain:+.1f}" for gain in gains)))
    columns = (("clips a class", "d"), *((name, ".2%") for name in ways), ("fine-tuned over frozen, each draw", ""))
    title = f"{Path(options.student).stem} on ESC-10, mean of {options.draws} draws"
    return Result((Table(title, columns, tuple(rows)),))


def _ways(options: Options) -> dict[str, Ask]:
    table = esc10()

    def share(model: l3clf.ClipClassifier, test: NDArray[np.intp]) -> float:
        return float((model.predict([table.clips[i] for i in test]) == table.labels[test]).mean())

    def frozen(train: NDArray[np.intp], test: NDArray[np.intp], folder: Path) -> float:
        model = l3clf.ClipClassifier(l3clf.load_embedder(options.student), cache=None)
        return share(model.fit([table.clips[i] for i in train], table.labels[train]), test)

    def trained(scratch: bool, train: NDArray[np.intp], test: NDArray[np.intp], folder: Path) -> float:
        usual = FineTuned(options.student, scratch)
        row = FineTuned(options.student, scratch, options.epochs or usual.epochs, options.per_window)
        clips = [table.clips[i] for i in train]
        right = share(row.fit(clips, table.labels[train], folder, hop_s=0.5, n_jobs=None, progress=False), test)
        shutil.rmtree(folder)
        return right

    return {"frozen": frozen, "fine-tuned": partial(trained, False), "from scratch": partial(trained, True)}


def _told(ask: Ask, train: NDArray[np.intp], test: NDArray[np.intp], place: Path) -> float:
    right = ask(train, test, place)
    say(f"small_data_tuned: {place}: {right:.1%}")
    return right


def _check_work(options: Options) -> None:
    """Refuse a folder that keeps figures of another student or other settings."""
    usual = FineTuned(options.student)
    start = [FineTuned(options.student, False, options.epochs or usual.epochs, options.per_window).key]
    if kept(options.work / "start.json", lambda: start) != start:
        raise ParameterError(
            f"work={str(options.work)!r}: keeps figures of another student or schedule; name a new folder"
        )
