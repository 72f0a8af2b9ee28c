"""The baseline table: embedders x heads x poolings, cross-validated on identical folds.

Rule: each clip is embedded once per embedder, all cells (embedder, head, pooling) use the same folds, and a finished
cell is saved at once: repeating an interrupted call resumes it.
"""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import sklearn
from numpy.typing import NDArray

from l3clf._version import __version__
from l3clf.audio.clip_augmentation import Augmentation
from l3clf.audio.decode import decode_revision
from l3clf.baselines.available import FLOOR, check_ready, chosen, left_out, ready_embedders, with_filters
from l3clf.baselines.cell_files import read_cell, write_cell
from l3clf.baselines.cells import Cell, grid, manageable, may_be_too_large, n_rows
from l3clf.baselines.contenders import Contender, Training, check_contenders, contender_answers, refitted_contender
from l3clf.baselines.left_out_rows import LeftOut, left_out_rows
from l3clf.baselines.result import OUTPUTS, BaselineReport, Result, write_files
from l3clf.classifier.augmented import SourcedWindows, check_augment
from l3clf.classifier.decision import pool_vectors
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.heads import MAX_STORED_BYTES, check_size
from l3clf.classifier.inputs import as_cache, digest_of
from l3clf.datasets import ClipTable
from l3clf.datasets.describe import some
from l3clf.datasets.recognise import as_table
from l3clf.embedders import Embedder, WindowEmbeddings
from l3clf.errors import (
    CacheError,
    CacheWarning,
    DatasetError,
    L3clfError,
    L3clfWarning,
    ModelFileError,
    ParameterError,
    counted,
)
from l3clf.evaluate import (
    CrossValidation,
    Duplicate,
    Split,
    cross_validate_poolings,
    find_duplicates,
    guess_groups,
    learning_curve_points,
    leave_out,
    majority_floor,
    make_split,
    scores,
)
from l3clf.pipeline import Tally, content_ids, embed_sources, identities, n_threads
from l3clf.storage.atomic import cannot_write, check_folder, claim_folder
from l3clf.storage.embedding_cache import EmbeddingCache
from l3clf.storage.outputs import FolderRecord, check_not_input

__all__ = ["BaselineReport", "baseline", "ready_embedders"]

Say: TypeAlias = Callable[[str], object]
MARK = ".l3clf-baseline"  # file that marks a folder as one that a later baseline may overwrite
MAX_NAMED_PAIRS = 5
MAX_NAMED_FAILURES = 20


def baseline(
    table: ClipTable | Any,
    embedders: Sequence[str | Embedder] | None = None,
    heads: Sequence[str] = ("logistic", "forest"),
    poolings: Sequence[str] = ("mean",),
    out: str | os.PathLike[str] | None = None,
    *,
    hop_s: float = 0.5,
    cache: Any = "auto",
    n_jobs: int | None = None,
    tune: bool = False,
    learning_curve: bool = False,
    open_set: bool = False,
    augment: Augmentation | None = None,
    contenders: Sequence[Contender] = (),
    commands: Sequence[str] = (),
    words: Callable[[str], str] = str,
    say: Say | None = None,
    weights: str | os.PathLike[str] | None = None,
    force: bool = False,
    band_hz: tuple[float, float] | None = None,
    denoise: str | None = None,
) -> BaselineReport:
    """Cross-validate embedders x heads x poolings on a data set, and fit the best combination on all clips.

    Parameters
    ----------
    table : ClipTable, data frame or path
        Anything but a ClipTable is loaded by `l3clf.datasets.load`. Its folds are used if it has any, else its
        groups, else stratified random folds.
    embedders : sequence of str or Embedder, optional
        Default: those whose weights are on this machine.
    heads : sequence of {"logistic", "forest"}
    poolings : sequence of {"mean", "mean+std", "max", "probability", "vote"}
    out : path, optional
        A folder, new or of an earlier baseline, for the report, the tables, the pictures and the model. Finished
        cells are stored there, so that repeating an interrupted call resumes it.
    hop_s, cache, n_jobs
        See `ClipEmbedder`.
    tune : bool, default=False
        Whether to choose C of the logistic regression by cross-validation inside the training folds.
    learning_curve : bool, default=False
        Whether to fit the best combination with fewer clips of each class too.
    open_set : bool, default=False
        Whether to leave classes out of the best combination, and see how well it tells that it never learned them.
    augment : Augmentation, optional
        If given, each row is there a second time, fitted on changed copies of the training clips of each fold too;
        clips that are scored are never changed. It needs the cache.
    contenders : sequence of Contender
        Networks to train on the clips of each fold, such as ``l3clf.distill.FineTuned("l3mini")``: a row each, and
        minutes for each fold.
    commands : sequence of str
        Commands that the report names to reproduce it.
    words : callable, default=str
        Called with each note and failure for the report's page; returns it in the words of such commands.
    say : callable, optional
        Receives lines about the progress; if given, a progress bar is shown too.
    weights : path, optional
        A folder of weight files to search besides the usual places.
    force : bool, default=False
        Whether `out` may hold other files, and files of its own that were changed, which are then replaced.
    band_hz, denoise
        See `Filtered`: if given, each embedder is also tried with sound that is filtered so, in rows beside those
        without. An embedder that was not named and does not hear that band is only tried without.

    Returns
    -------
    BaselineReport

    Raises
    ------
    DatasetError
        If no cross-validation is possible: one class, one fold, no readable clip, or too many classes for the
        memory.
    ParameterError
        If a parameter is out of range, or `out` is a folder with other content or holds a file that would be
        replaced though it was not written by an earlier baseline, or was changed since.

    Examples
    --------
    >>> import l3clf
    >>> table = l3clf.datasets.load("sounds")                                 # doctest: +SKIP
    >>> report = l3clf.baseline(table, embedders=["mfcc"], out="baseline")    # doctest: +SKIP
    >>> report.best["accuracy"], report.model.predict(["new.wav"])            # doctest: +SKIP
    """
    table = as_table(table)
    options = _Options(hop_s, as_cache(cache), n_jobs, say)
    check_augment(augment)
    if augment is not None and options.cache is None:
        raise ParameterError("cache=None: copies of clips would be made anew in each fold; give a cache with augment")
    if out is not None:  # before anything takes time
        _check_outputs(check_folder(out, MARK, force=force), table, options.cache, force)
    for text in (str(table.describe()), *table.problems()) if say else ():
        options.tell(text)
    missing = left_out(weights) if embedders is None else []
    found = ready_embedders(weights) if embedders is None else [chosen(each, weights) for each in embedders]
    embedders, unfit = with_filters(found, band_hz, denoise, asked_for=embedders is not None)
    missing += unfit
    wanted = grid(embedders, heads, poolings, tune, augment)
    check_contenders(contenders)
    # Raises before hours are spent on embedding what would only fail later.
    for embedder in embedders:
        check_ready(embedder)
    manageable(wanted, table.labels)
    if len(table):
        make_split(table.labels, table.folds, table.groups)
        if open_set:
            leave_out(table.labels)
    folder = None if out is None else claim_folder(out, MARK, force=force)
    embedded = _embed_all(table, embedders, options)
    data = embedded.table
    split = make_split(data.labels, data.folds, data.groups)
    cells, too_large = manageable(wanted, data.labels, embedded.windows)
    for text in may_be_too_large(cells, data.labels, embedded.windows) if folder else ():
        options.tell(text)
    store = _CellStore(folder, embedded, split, options)
    results = _results(cells, embedded, split, store, options)
    order = sorted(range(len(cells)), key=lambda i: -results[i].row["accuracy"])
    best = cells[order[0]]
    training = Training(data, split, store.place, hop_s, n_jobs, say)
    trained = [_trained(contender, training, embedded) for contender in contenders]
    ranked = sorted([*(results[i] for i in order), *trained], key=lambda result: -result.row["accuracy"])
    if ranked[0] in trained:
        model = refitted_contender(contenders[trained.index(ranked[0])], training)
    else:
        model = _refitted(best, embedded, options)
    stored, not_stored = (
        (None, []) if folder is None else _to_store(model, [cells[i] for i in order], embedded, options)
    )
    duplicates = _duplicates(embedded, split, options)
    report = BaselineReport(
        results=ranked,
        model=model,
        floors=majority_floor(data.labels, split),
        data=data,
        split=split,
        notes=[*_notes(data, split, duplicates), *too_large, *missing, *not_stored],
        failures=embedded.failures,
        duplicates=duplicates,
        vectors=_pooled(embedded.windows[best.embedder.name]),
        curve=_curve(best, embedded, split, options) if learning_curve else [],
        open_set=_left_out(best, embedded, split, options) if open_set else [],
        name=_name(table),
    )
    if folder is not None:
        report.unwritten.extend(write_files(report, stored, folder, commands, words))
        for error in report.unwritten:
            warnings.warn(str(error), L3clfWarning, stacklevel=2)
    return report


def _check_outputs(folder: Path, table: ClipTable, cache: EmbeddingCache | None, force: bool) -> None:
    reads = [clip.path for clip in table.clips] + ([] if cache is None else [str(cache.path)])
    check_not_input((folder / name for name in OUTPUTS), reads)
    FolderRecord(folder).check(OUTPUTS, force)


@dataclass(frozen=True, eq=False)
class _Options:
    """The parameters that all steps need, resolved once."""

    hop_s: float
    cache: EmbeddingCache | None
    n_jobs: int | None
    say: Say | None

    def tell(self, text: str) -> None:
        """Report progress if it was requested."""
        if self.say is not None:
            self.say(text)


@dataclass(frozen=True, eq=False)
class _Embedded:
    """The clips that every embedder could embed, and their windows by embedder."""

    table: ClipTable
    windows: dict[str, list[WindowEmbeddings]]
    clips_per_s: dict[str, float | None]
    failures: list[L3clfError]

    def items(self, cell: Cell) -> Sequence[WindowEmbeddings]:
        """Return the windows of each clip for a cell, with its sound if copies are to be made of it."""
        windows = self.windows[cell.embedder.name]
        if cell.augment is None:
            return windows
        return [
            SourcedWindows(each.vectors, each.times_s, each.levels_dbfs, clip)
            for each, clip in zip(windows, self.table.clips, strict=True)
        ]


def _classifier(cell: Cell, options: _Options) -> ClipClassifier:
    model = cell.classifier(options.hop_s)
    return model if cell.augment is None else model.set_params(cache=options.cache, n_jobs=options.n_jobs)


def _embed_all(table: ClipTable, embedders: Sequence[Embedder], options: _Options) -> _Embedded:
    outcomes: dict[str, list[Any]] = {}
    rates: dict[str, float | None] = {}
    for embedder in embedders:
        start = time.perf_counter()
        tally = Tally()
        outcomes[embedder.name] = embed_sources(
            embedder,
            table.clips,
            hop_s=options.hop_s,
            cache=options.cache,
            n_jobs=options.n_jobs,
            progress=options.say is not None,
            tally=tally,
        )
        seconds = time.perf_counter() - start
        rates[embedder.name] = tally.computed / seconds if tally.computed else None  # copies are embedded once
        more = (f", {n:,} {what}" for n, what in ((tally.cached, "from the cache"), (tally.failed, "failed")) if n)
        clips = counted(tally.embedded, "clip")
        options.tell(f"{embedder.name}: {clips} embedded in {seconds:.1f} s{''.join(more)}")
    # A clip that one embedder cannot read is left out for all, so that rows of the table compare the same clips.
    failed = {i: out for each in outcomes.values() for i, out in enumerate(each) if isinstance(out, L3clfError)}
    good = [i for i in range(len(table)) if i not in failed]
    if not good:
        why = some(failed.values(), MAX_NAMED_FAILURES, "\n  ") or "the table is empty"
        raise DatasetError(f"none of {counted(len(table), 'clip')} could be read:\n  {why}")
    windows = {name: [each[i] for i in good] for name, each in outcomes.items()}
    return _Embedded(table.subset(good), windows, rates, [failed[i] for i in sorted(failed)])


def _results(
    cells: Sequence[Cell], embedded: _Embedded, split: Split, store: "_CellStore", options: _Options
) -> list[Result]:
    """Return the results in the order of the cells; cells that share a head are computed together."""
    found: dict[int, Result] = {}
    sharing: dict[object, list[int]] = {}
    for i, cell in enumerate(cells):
        sharing.setdefault(cell.fit, []).append(i)
    for same in sharing.values():
        for i, (predicted, seconds) in zip(same, store.get_or_compute([cells[i] for i in same]), strict=True):
            names = cells[i].embedder.name, cells[i].head_name, cells[i].pooling
            found[i] = _result(names, predicted, seconds, embedded, split)
            options.tell(_line(found[i]))
    return [found[i] for i in range(len(cells))]


def _trained(contender: Contender, training: Training, embedded: _Embedded) -> Result:
    names = contender.name, contender.head, contender.pooling
    result = _result(names, *contender_answers(contender, training), embedded, training.split)
    training.tell(_line(result))
    return result


def _line(result: Result) -> str:
    row = result.row
    return f"  {row['embedder']}, {row['head']}, {row['pooling']}: accuracy {100 * row['accuracy']:.1f} %"


def _result(
    names: tuple[str, str, str], predicted: CrossValidation, seconds: float, embedded: _Embedded, split: Split
) -> Result:
    data = embedded.table
    spread = scores(data.labels, predicted.predictions, split.test_fold, data.groups)
    row = {**dict(zip(("embedder", "head", "pooling"), names, strict=True)), **spread}
    return Result(row | {"seconds": seconds, "clips_per_s": embedded.clips_per_s.get(names[0])}, predicted)


class _CellStore:
    """Finished cells in a folder, each named by a digest of everything that affects it."""

    def __init__(self, folder: Path | None, embedded: _Embedded, split: Split, options: _Options) -> None:
        self.folder = None if folder is None else folder / ".cells"
        self.embedded, self.split, self.options = embedded, split, options
        if self.folder is not None:
            try:
                self.folder.mkdir(exist_ok=True)
            except OSError as error:
                self._do_without(cannot_write(self.folder, error))
            data = embedded.table
            self.data = digest_of(data.clips, data.labels, options.cache, ordered=True)
            found = identities(data.clips, options.cache)
            decoders = {each.decoder for each in found if not isinstance(each, L3clfError)}
            self.revisions = sorted({decode_revision(decoder) for decoder in decoders} - {""})

    def _do_without(self, error: L3clfError) -> None:
        warnings.warn(f"{error}; the run goes on, but could not be resumed", CacheWarning, stacklevel=3)
        self.folder = None

    def get_or_compute(self, cells: Sequence[Cell]) -> list[tuple[CrossValidation, float]]:
        """Return the predictions of cells that share a head, and the seconds that they took together."""
        keys = [cell.made_by for cell in cells]
        paths = [None if (place := self.place(key)) is None else place.with_suffix(".npz") for key in keys]
        labels = self.embedded.table.labels
        found = {i: stored for i, path in enumerate(paths) if path is not None and (stored := read_cell(path, labels))}
        missing = [i for i in range(len(cells)) if i not in found]
        if missing:
            start = time.perf_counter()
            computed = self._compute([cells[i] for i in missing])
            seconds = time.perf_counter() - start
            for i, predicted in zip(missing, computed, strict=True):
                found[i] = predicted, seconds
                if self.folder is not None and (path := paths[i]) is not None:
                    try:
                        write_cell(path, predicted, seconds)
                    except CacheError as error:
                        self._do_without(error)
        return [found[i] for i in range(len(cells))]

    def _compute(self, cells: Sequence[Cell]) -> list[CrossValidation]:
        model, poolings = _classifier(cells[0], self.options), [cell.pooling for cell in cells]
        windows, labels = self.embedded.items(cells[0]), self.embedded.table.labels
        rows = n_rows(cells[0], len(labels), self.embedded.windows)
        at_once = min(n_threads(self.options.n_jobs), cells[0].folds_at_once(rows, len(np.unique(labels))))
        if cells[0].augment is not None:  # folds share copies, which folds at once would each make
            at_once = 1
        return cross_validate_poolings(model, poolings, windows, labels, self.split, at_once)

    def place(self, made_by: Sequence[Any]) -> Path | None:
        """Return where something is kept that also depends on the data: a path without suffix, or None."""
        return None if self.folder is None else self.folder / self._digest(made_by)

    def _digest(self, made_by: Sequence[Any]) -> str:
        what = [  # other versions may compute other numbers
            __version__,
            sklearn.__version__,
            *made_by,
            self.options.hop_s,
            self.data,
            self.split.test_fold.tolist(),
            *([self.revisions] if self.revisions else ()),  # what a file decodes to
        ]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _refitted(best: Cell, embedded: _Embedded, options: _Options) -> ClipClassifier:
    data = embedded.table
    model = best.classifier(options.hop_s)
    model.set_params(cache=options.cache, n_jobs=options.n_jobs)
    # With a cache, the clips are passed again: the model's training digest is then that of their sound.
    clips = embedded.windows[best.embedder.name] if options.cache is None else data.clips
    return model.fit(clips, data.labels)


def _to_store(
    model: ClipClassifier, ordered: Sequence[Cell], embedded: _Embedded, options: _Options
) -> tuple[ClipClassifier | None, list[str]]:
    """Return the best model that a model file can hold, if any, and a note if it is not the best of all."""
    try:
        check_size(model.head_)
        return model, []
    except ModelFileError as error:
        why = f"{_named(ordered[0])}, the best row, does not become a model file: {error}"
    labels = embedded.table.labels
    for cell in ordered[1:]:
        rows = n_rows(cell, len(labels), embedded.windows)
        if cell.bytes_stored(rows, len(np.unique(labels))) > MAX_STORED_BYTES:  # perhaps not, but it takes minutes
            continue
        return _refitted(cell, embedded, options), [f"{why}. The model file holds {_named(cell)}."]
    return None, [f"{why}. No model file is written."]


def _named(cell: Cell) -> str:
    return f"{cell.embedder.name} / {cell.head_name} / {cell.pooling}"


def _pooled(windows: Sequence[WindowEmbeddings]) -> NDArray[np.float32]:
    return np.stack([pool_vectors(clip.vectors, "mean") for clip in windows])


def _duplicates(embedded: _Embedded, split: Split, options: _Options) -> list[Duplicate]:
    # MFCCs keep details of a recording that better embedders ignore, and thus tell two takes of a sound apart.
    windows = embedded.windows.get(FLOOR) or next(iter(embedded.windows.values()))
    clips = embedded.table.clips
    return find_duplicates(clips, content_ids(clips, options.cache), _pooled(windows), split)


def _curve(best: Cell, embedded: _Embedded, split: Split, options: _Options) -> list[dict[str, Any]]:
    data = embedded.table
    model, windows = _classifier(best, options), embedded.items(best)
    return learning_curve_points(model, windows, data.labels, split, data.groups, options.n_jobs)


def _left_out(best: Cell, embedded: _Embedded, split: Split, options: _Options) -> list[LeftOut]:
    options.tell("Leaving classes out, to see whether the best row tells that it never learned them ...")
    data = embedded.table
    model, windows = _classifier(best, options), embedded.items(best)
    return left_out_rows(model, windows, data.labels, split, data.groups, options.n_jobs)


def _notes(table: ClipTable, split: Split, duplicates: Sequence[Duplicate]) -> list[str]:
    notes = [f"Cross-validation: {split.note}.", *table.problems()]
    if split.kind == "stratified" and (guess := guess_groups(table.clips, table.labels)) is not None:
        notes.append(
            f"Perhaps {guess[0]} shows which clips belong together (a recording, a speaker). If so, add it as a "
            "column to a table and name that column as the group (--group), so that whole groups are left out."
        )
    if duplicates:
        notes.append(_duplicates_note(table, duplicates, split))
    return notes


def _duplicates_note(table: ClipTable, duplicates: Sequence[Duplicate], split: Split) -> str:
    # Near-identical clips may be different recordings: two presses of one button, a tone synthesised twice.
    is_sure = any(pair.kind != "near-identical" for pair in duplicates)
    clips = len({i for pair in duplicates for i in (pair.first, pair.second)})
    what = "a duplicate" if is_sure else "a near-identical clip"
    named = "; ".join(
        f"{table.clips[pair.first]} and {table.clips[pair.second]} ({pair.kind})"
        for pair in duplicates[:MAX_NAMED_PAIRS]
    )
    found = f"{counted(clips, 'clip has', 'clips have')} {what} in another fold"
    return (
        f"Leakage is {'likely' if is_sure else 'possible'}: {found}, so the scores may be too high. "
        f"The first pairs: {named}."
    )


def _name(table: ClipTable) -> str:
    common = os.path.commonpath([Path(clip.path).absolute() for clip in table.clips])
    return Path(common).name or "a data set"
