"""The baseline table: embedders x heads x poolings, cross-validated on identical folds.

Rule: each clip is embedded once per embedder, all cells (embedder, head, pooling) use the same folds, and a finished
cell is saved at once: repeating an interrupted call resumes it.
"""

import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import joblib
import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip_augmentation import Augmentation
from l3clf.baselines.available import FLOOR, check_ready, chosen, left_out, ready_embedders, with_filters
from l3clf.baselines.cell_store import CellStore, Embedded, Options, Say, model_of
from l3clf.baselines.cells import Cell, grid, manageable, may_be_too_large, n_rows
from l3clf.baselines.contenders import Contender, Training, check_contenders, contender_answers, refitted_contender
from l3clf.baselines.left_out_rows import LeftOut, left_out_rows
from l3clf.baselines.notes import notes_of
from l3clf.baselines.result import OUTPUTS, BaselineReport, Result, write_files
from l3clf.baselines.targets import ClassTarget, Model, TagTarget, Target
from l3clf.classifier.augmented import check_augment
from l3clf.classifier.decision import pool_vectors
from l3clf.classifier.heads import MAX_STORED_BYTES, check_size
from l3clf.classifier.inputs import as_cache
from l3clf.datasets import ClipTable
from l3clf.datasets.describe import some
from l3clf.datasets.recognise import as_table
from l3clf.embedders import Embedder, WindowEmbeddings
from l3clf.errors import (
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
    find_duplicates,
    learning_curve_points,
    leave_out,
)
from l3clf.pipeline import Tally, embed_sources, identities, n_threads
from l3clf.storage.atomic import check_folder, claim_folder
from l3clf.storage.embedding_cache import EmbeddingCache
from l3clf.storage.outputs import FolderRecord, check_not_input

__all__ = ["BaselineReport", "baseline", "ready_embedders"]

MARK = ".l3clf-baseline"  # file that marks a folder as one that a later baseline may overwrite
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
    tags: bool = False,
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
        No "vote" with `tags`.
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
    tags : bool, default=False
        Whether clips have several labels each: the labels are texts such as ``dog|rain``, and the models taggers
        (see `ClipTagger`), sorted by their mean average precision.
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
        memory; with `tags`, a tag that every clip has.
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
    table = as_table(table, tags)
    target: Target = TagTarget(table) if tags else ClassTarget(table)
    _check_tags(tags, learning_curve=learning_curve, open_set=open_set, contenders=contenders, augment=augment)
    options = Options(hop_s, as_cache(cache), n_jobs, say)
    check_augment(augment)
    if augment is not None and options.cache is None:
        raise ParameterError("cache=None: copies of clips would be made anew in each fold; give a cache with augment")
    if out is not None:  # before anything takes time
        _check_outputs(check_folder(out, MARK, force=force), table, options.cache, force)
    for text in (str(target.describe()), *target.problems()) if say else ():
        options.tell(text)
    missing = left_out(weights) if embedders is None else []
    found = ready_embedders(weights) if embedders is None else [chosen(each, weights) for each in embedders]
    embedders, unfit = with_filters(found, band_hz, denoise, asked_for=embedders is not None)
    missing += unfit
    wanted = grid(embedders, heads, poolings, tune, augment, tags)
    check_contenders(contenders)
    # Raises before hours are spent on embedding what would only fail later.
    for embedder in embedders:
        check_ready(embedder)
    manageable(wanted, table.labels)
    if len(table):
        target.split()
        if open_set:
            leave_out(table.labels)
    folder = None if out is None else claim_folder(out, MARK, force=force)
    embedded = _embed_all(target, embedders, options)
    data, target = embedded.table, embedded.target
    split = target.split()
    cells, too_large = manageable(wanted, data.labels, embedded.windows)
    for text in may_be_too_large(cells, data.labels, embedded.windows) if folder else ():
        options.tell(text)
    store = CellStore(folder, embedded, split, options)
    results = _results(cells, embedded, split, store, options)
    order = sorted(range(len(cells)), key=lambda i: -results[i].row[target.lead])
    best = cells[order[0]]
    training = Training(data, split, store.place, hop_s, n_jobs, say)
    trained = [_trained(contender, training, embedded) for contender in contenders]
    ranked = sorted([*(results[i] for i in order), *trained], key=lambda result: -result.row[target.lead])
    model: Model
    if ranked[0] in trained:
        model = refitted_contender(contenders[trained.index(ranked[0])], training)
    else:
        model = _refitted(best, embedded, split, options)
    stored, not_stored = (
        (None, []) if folder is None else _to_store(model, [cells[i] for i in order], embedded, split, options)
    )
    duplicates = _duplicates(embedded, split)
    report = BaselineReport(
        results=ranked,
        model=model,
        floors=target.floors(split),
        data=data,
        split=split,
        notes=[*notes_of(target, split, duplicates), *too_large, *missing, *not_stored],
        failures=embedded.failures,
        duplicates=duplicates,
        vectors=_pooled(embedded.windows[best.embedder.name]),
        curve=_curve(best, embedded, split, options) if learning_curve else [],
        open_set=_left_out(best, embedded, split, options) if open_set else [],
        name=_name(table),
        tags=target if isinstance(target, TagTarget) else None,
    )
    if folder is not None:
        report.unwritten.extend(write_files(report, stored, folder, commands, words))
        for error in report.unwritten:
            warnings.warn(str(error), L3clfWarning, stacklevel=2)
    return report


def _check_tags(tags: bool, **others: Any) -> None:
    for name, value in others.items() if tags else ():
        if value:
            found = ", ".join(each.name for each in value) if isinstance(value, list | tuple) else value
            raise ParameterError(
                f"{name}={found}: needs one class for each clip, and tags={tags} gives several; leave one of them out"
            )


def _check_outputs(folder: Path, table: ClipTable, cache: EmbeddingCache | None, force: bool) -> None:
    reads = [clip.path for clip in table.clips] + ([] if cache is None else [str(cache.path)])
    check_not_input((folder / name for name in OUTPUTS), reads)
    FolderRecord(folder).check(OUTPUTS, force)


def _embed_all(target: Target, embedders: Sequence[Embedder], options: Options) -> Embedded:
    table = target.table
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
    files = identities([table.clips[i] for i in good], options.cache)
    return Embedded(target.of(table.subset(good)), windows, rates, [failed[i] for i in sorted(failed)], files)


def _results(
    cells: Sequence[Cell], embedded: Embedded, split: Split, store: CellStore, options: Options
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
            options.tell(_line(found[i], embedded.target))
    return [found[i] for i in range(len(cells))]


def _trained(contender: Contender, training: Training, embedded: Embedded) -> Result:
    names = contender.name, contender.head, contender.pooling
    result = _result(names, *contender_answers(contender, training), embedded, training.split)
    training.tell(_line(result, embedded.target))
    return result


def _line(result: Result, target: Target) -> str:
    row = result.row
    score = f"{target.lead_name} {100 * row[target.lead]:.1f} %"
    return f"  {row['embedder']}, {row['head']}, {row['pooling']}: {score}"


def _result(
    names: tuple[str, str, str], predicted: CrossValidation, seconds: float, embedded: Embedded, split: Split
) -> Result:
    spread = embedded.target.scores(predicted, split)
    row = {**dict(zip(("embedder", "head", "pooling"), names, strict=True)), **spread}
    return Result(row | {"seconds": seconds, "clips_per_s": embedded.clips_per_s.get(names[0])}, predicted)


def _refitted(best: Cell, embedded: Embedded, split: Split, options: Options) -> Model:
    model = best.model(options.hop_s)
    model.set_params(cache=options.cache, n_jobs=options.n_jobs)
    # With a cache, the clips are passed again: the model's training digest is then that of their sound.
    clips = embedded.windows[best.embedder.name] if options.cache is None else embedded.table.clips
    # The trees of a forest are grown on threads, and are the same on any number of them. Not in a cross-validation,
    # whose folds use every core.
    n = n_threads(options.n_jobs)
    with joblib.parallel_config("threading", n_jobs=n) if best.head == "forest" else nullcontext():
        return cast(Model, embedded.target.fit(model, clips, split))


def _to_store(
    model: Model, ordered: Sequence[Cell], embedded: Embedded, split: Split, options: Options
) -> tuple[Model | None, list[str]]:
    """Return the best model that a model file can hold, if any, and a note if it is not the best of all."""
    try:
        check_size(model.head_)
        return model, []
    except ModelFileError as error:
        why = f"{_named(ordered[0])}, the best row, does not become a model file: {error}"
    for cell in ordered[1:]:
        size = cell.bytes_stored(n_rows(cell, len(embedded.table), embedded.windows), len(embedded.target.classes))
        if size > MAX_STORED_BYTES:  # perhaps not, but it takes minutes
            continue
        return _refitted(cell, embedded, split, options), [f"{why}. The model file holds {_named(cell)}."]
    return None, [f"{why}. No model file is written."]


def _named(cell: Cell) -> str:
    return f"{cell.embedder.name} / {cell.head_name} / {cell.pooling}"


def _pooled(windows: Sequence[WindowEmbeddings]) -> NDArray[np.float32]:
    return np.stack([pool_vectors(clip.vectors, "mean") for clip in windows])


def _duplicates(embedded: Embedded, split: Split) -> list[Duplicate]:
    # MFCCs keep details of a recording that better embedders ignore, and thus tell two takes of a sound apart.
    windows = embedded.windows.get(FLOOR) or next(iter(embedded.windows.values()))
    return find_duplicates(embedded.table.clips, embedded.contents, _pooled(windows), split)


def _curve(best: Cell, embedded: Embedded, split: Split, options: Options) -> list[dict[str, Any]]:
    data = embedded.table
    model, windows = model_of(best, options), embedded.items(best)
    return learning_curve_points(model, windows, data.labels, split, data.groups, options.n_jobs)


def _left_out(best: Cell, embedded: Embedded, split: Split, options: Options) -> list[LeftOut]:
    options.tell("Leaving classes out, to see whether the best row tells that it never learned them ...")
    data = embedded.table
    model, windows = model_of(best, options), embedded.items(best)
    return left_out_rows(model, windows, data.labels, split, data.groups, options.n_jobs)


def _name(table: ClipTable) -> str:
    common = os.path.commonpath([Path(clip.path).absolute() for clip in table.clips])
    return Path(common).name or "a data set"
