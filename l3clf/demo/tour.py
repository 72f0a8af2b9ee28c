"""The tour: what a user would do with a folder of sounds, shown on synthetic ones.

Rule: nothing is faked and nothing is downloaded. Each step makes the calls that a user would make, and every number
printed was measured in this run. The tour writes to its own folder only: a new or empty one, or one marked by an
earlier tour.
"""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from l3clf import datasets, plots
from l3clf.baselines.run import baseline
from l3clf.classifier.estimators import ClipClassifier, ClipEmbedder
from l3clf.classifier.model_file import load_model, save_model
from l3clf.datasets import ClipTable
from l3clf.demo.sounds import CLASSES, synthesise
from l3clf.errors import ParameterError
from l3clf.storage.atomic import claim_folder, replacing
from l3clf.storage.embedding_cache import EmbeddingCache
from l3clf.storage.outputs import FolderRecord

__all__ = ["DemoResult", "Prediction", "run"]

Say: TypeAlias = Callable[[str], object]

EMBEDDER = "l3base"  # its weights are part of the package, so the tour works offline
DURATION_S = 4.0
SAMPLE_RATE = 22050
N_FOLDS = 5
NEW_PER_CLASS = 2
_MARK = ".l3clf-demo"
_KNOWN, _NEW = 0, 1  # separate random streams: the new clips are not among those learned from


@dataclass(frozen=True)
class Prediction:
    """Prediction for one new clip.

    Attributes
    ----------
    path : Path
    truth, label : str
        The true and the predicted class.
    probability : float
        The model's probability of `label`, from 0 to 1.
    """

    path: Path
    truth: str
    label: str
    probability: float


@dataclass(frozen=True)
class DemoResult:
    """Files and measurements of a tour.

    Attributes
    ----------
    out, sounds, new_sounds : Path
        The tour's folder, and in it the folders of the labelled sounds (a subfolder per class) and the new ones.
    model, cache, confusion, report : Path
        The saved model, the embeddings, the confusion matrix (PNG), and the HTML page of the baseline.
    n_clips : int
        Number of labelled clips.
    n_cached : int
        How many of them had embeddings in the cache of an earlier tour.
    accuracy : float
        In cross-validation on the labelled clips, from 0 to 1.
    predictions : tuple of Prediction
        For the new clips.
    seconds : float
        Duration of the whole tour.
    """

    out: Path
    sounds: Path
    new_sounds: Path
    model: Path
    cache: Path
    confusion: Path
    report: Path
    n_clips: int
    n_cached: int
    accuracy: float
    predictions: tuple[Prediction, ...]
    seconds: float


def run(
    out: str | os.PathLike[str] = "l3clf-demo",
    *,
    clips_per_class: int = 20,
    seed: int = 0,
    say: Say = print,
    force: bool = False,
) -> DemoResult:
    """Make sounds of ten classes, learn them, and show the results.

    Parameters
    ----------
    out : path, default="l3clf-demo"
        The folder to write to: a new or empty one, or one of an earlier tour, whose sounds are replaced.
    clips_per_class : int, default=20
        Number of labelled clips of each class, at least 5.
    seed : int, default=0
        The same seed makes the same sounds.
    say : callable, default=print
        Receives the account of each step, line by line.
    force : bool, default=False
        Whether `out` may hold other files, and whether files are replaced that were changed or are not ours.

    Returns
    -------
    DemoResult

    Raises
    ------
    ParameterError
        If the folder has other content or cannot be written to, holds a file that would be replaced though no tour
        wrote it, or it was changed since, or if a number is too small.
    """
    start = perf_counter()
    folder = Path(out)
    _check(clips_per_class, seed)
    claim_folder(folder, _MARK, force=force)
    sounds, new, cache = folder / "sounds", folder / "new", folder / "embeddings.sqlite"
    record = FolderRecord(folder)
    record.check(_written(clips_per_class), force)
    new_table = _make_sounds(sounds, new, clips_per_class, seed, record, say)
    table = datasets.load(sounds)
    n_cached = _embed(table, cache, say)
    predicted = _cross_validate(table, cache, say)
    model = _fit_and_save(table, cache, folder / "model.l3clf", say)
    record.add(model)
    predictions = _predict_new(model, cache, new_table, say)
    result = DemoResult(
        out=folder,
        sounds=sounds,
        new_sounds=new,
        model=model,
        cache=cache,
        confusion=_draw(table, predicted, folder / "confusion.png", say),
        report=_compare(table, cache, folder / "baseline", force, say),
        n_clips=len(table),
        n_cached=n_cached,
        accuracy=float(accuracy_score(table.labels, predicted)),
        predictions=predictions,
        seconds=perf_counter() - start,
    )
    record.add(result.confusion)
    _say_what_next(result, say)
    return result


def _written(clips_per_class: int) -> list[str]:
    """Return the files that a tour writes, besides those of its baseline and its cache."""
    return [
        *("model.l3clf", "confusion.png"),
        *(f"sounds/{name}/{clip}" for name in CLASSES for clip in _clip_names("", clips_per_class)),
        *(f"new/{clip}" for name in CLASSES for clip in _clip_names(f"{name}_", NEW_PER_CLASS)),
    ]


def _clip_names(stem: str, count: int) -> list[str]:
    return [f"{stem}{number:0{1 if stem else 2}d}.wav" for number in range(1, count + 1)]


def _check(clips_per_class: int, seed: int) -> None:
    if not isinstance(clips_per_class, Integral) or clips_per_class < N_FOLDS:
        raise ParameterError(f"clips_per_class={clips_per_class!r}; expected a whole number of at least {N_FOLDS}")
    if not isinstance(seed, Integral) or seed < 0:
        raise ParameterError(f"seed={seed!r}; expected a whole number of at least 0")


# --- steps ----------------------------------------------------------------------------------------


def _make_sounds(sounds: Path, new: Path, clips_per_class: int, seed: int, record: FolderRecord, say: Say) -> ClipTable:
    """Write the labelled and the new sounds; return the new ones with their true classes."""
    start = perf_counter()
    new_paths = []
    try:
        for name in CLASSES:
            _write_clips(sounds / name, "", name, clips_per_class, (seed, _KNOWN), record)
            new_paths += _write_clips(new, f"{name}_", name, NEW_PER_CLASS, (seed, _NEW), record)
    except (OSError, soundfile.SoundFileError) as error:
        raise ParameterError(
            f"{sounds.parent}: sounds cannot be written ({error}); free space or choose --out"
        ) from error
    say(f"Made {clips_per_class * len(CLASSES)} sounds of {DURATION_S:g} s, {clips_per_class} in each class, and")
    say(f"{len(new_paths)} new ones for later, in {perf_counter() - start:.1f} s. The classes are")
    say(f"  {', '.join(CLASSES)}")
    return ClipTable(new_paths, np.repeat(CLASSES, NEW_PER_CLASS))


def _write_clips(
    folder: Path, stem: str, name: str, count: int, stream: tuple[int, int], record: FolderRecord
) -> list[Path]:
    """Write clips of a class; those of an earlier tour are replaced or deleted, other files stay."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / clip for clip in _clip_names(stem, count)]
    for old in set(folder.glob(f"{stem}*.wav")) - set(paths):
        if old.stem.removeprefix(stem).isdecimal() and record.has(old.relative_to(record.folder).as_posix()):
            old.unlink()
    written = []
    try:
        for number, path in enumerate(paths):
            # Each clip has its own random stream, so more clips per class do not change the first ones.
            rng = np.random.default_rng((*stream, CLASSES.index(name), number))
            clip = synthesise(name, rng, DURATION_S, SAMPLE_RATE)
            with replacing(path) as file:
                soundfile.write(file, clip, SAMPLE_RATE, format="WAV", subtype="PCM_16")
            written.append(path)
    finally:  # also after an interrupt, so that the next tour knows them
        record.add(*written)
    return paths


def _embed(table: ClipTable, cache: Path, say: Say) -> int:
    """Embed all clips; return how many were in the cache already."""
    start = perf_counter()
    before = _n_cached(cache)
    vectors = ClipEmbedder(embedder=EMBEDDER, cache=cache).fit_transform(table.clips)
    n_cached = len(table) - (_n_cached(cache) - before)
    source = f"; {n_cached} came from the cache" if n_cached else ""
    say("")
    say(f"Embedded them with {EMBEDDER!r} in {perf_counter() - start:.1f} s{source}.")
    say(f"  Each clip is now a vector of {vectors.shape[1]} numbers: the mean over its one-second windows.")
    return n_cached


def _n_cached(cache: Path) -> int:
    if not cache.exists():
        return 0
    return int(EmbeddingCache(cache).info()["entries"])


def _cross_validate(table: ClipTable, cache: Path, say: Say) -> npt.NDArray[np.str_]:
    """Predict each clip with a model that has not seen it."""
    start = perf_counter()
    # These clips are independent, so random folds do not leak; real recordings would need groups.
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    model = ClipClassifier(embedder=EMBEDDER, cache=cache)
    predicted = np.asarray(cross_val_predict(model, table.clips, table.labels, cv=folds))
    accuracy = accuracy_score(table.labels, predicted)
    say("")
    say(f"Cross-validated a logistic regression on them in {perf_counter() - start:.1f} s.")
    guessing = 100 / len(CLASSES)
    say(f"  {100 * accuracy:.1f} % of {len(table)} clips are predicted correctly; guessing gives {guessing:.0f} %.")
    return predicted


def _fit_and_save(table: ClipTable, cache: Path, path: Path, say: Say) -> Path:
    start = perf_counter()
    save_model(ClipClassifier(embedder=EMBEDDER, cache=cache).fit(table.clips, table.labels), path, force=True)
    say("")
    say(f"Fitted a model on all of them in {perf_counter() - start:.1f} s.")
    say(f"  Its file has {path.stat().st_size / 1000:.0f} kB; loading it executes no code.")
    return path


def _predict_new(model: Path, cache: Path, new: ClipTable, say: Say) -> tuple[Prediction, ...]:
    """Load the model and predict clips that it was not fitted on."""
    start = perf_counter()
    classifier = load_model(model).set_params(cache=cache)
    probabilities = classifier.predict_proba(new.clips)
    best = probabilities.argmax(axis=1)
    predictions = tuple(
        Prediction(Path(clip.path), str(truth), str(classifier.classes_[column]), float(row[column]))
        for clip, truth, row, column in zip(new.clips, new.labels, probabilities, best, strict=True)
    )
    right = sum(p.truth == p.label for p in predictions)
    say("")
    say(f"Loaded that file and predicted the new clips in {perf_counter() - start:.1f} s.")
    say(f"  {right} of {len(predictions)} are correct:")
    say("")
    say(f"  {'clip':<18}{'prediction':<12}probability")
    for p in predictions:
        wrong = "" if p.label == p.truth else "   wrong"
        say(f"  {p.path.name:<18}{p.label:<12}{100 * p.probability:>9.0f} %{wrong}")
    return predictions


def _draw(table: ClipTable, predicted: npt.NDArray[np.str_], path: Path, say: Say) -> Path:
    start = perf_counter()
    title = f"Synthetic sounds, {EMBEDDER}, {N_FOLDS}-fold cross-validation"
    plots.confusion_matrix(table.labels, predicted, path, title=title)
    say("")
    say(f"Drew the confusion matrix of the cross-validation in {perf_counter() - start:.1f} s.")
    return path


def _compare(table: ClipTable, cache: Path, folder: Path, force: bool, say: Say) -> Path:
    start = perf_counter()
    report = baseline(table, [EMBEDDER], out=folder, cache=cache, commands=["l3clf demo"], force=force)
    say("")
    say(f"Compared two heads and wrote a report with tables and pictures in {perf_counter() - start:.1f} s:")
    for line in str(report).splitlines():
        say(f"  {line}")
    return folder / "report.html"


def _say_what_next(result: DemoResult, say: Say) -> None:
    sample = result.predictions[0].path
    shell = shlex.quote(str(result.model)), shlex.quote(str(result.new_sounds))
    # Paths are quoted for the language they are printed in, so that the lines run as printed.
    for line in (
        "",
        f"Done in {result.seconds:.1f} s. {result.out} now contains",
        f"  {result.sounds.name:<20}the sounds, a folder for each class",
        f"  {result.new_sounds.name:<20}the new sounds",
        f"  {result.cache.name:<20}the embeddings, which the next run reuses",
        f"  {result.model.name:<20}the model",
        f"  {result.confusion.name:<20}the confusion matrix",
        f"  {'baseline':<20}the report ({result.report.name}: open it in a browser), tables, pictures and best model",
        "",
        "The same in Python:",
        "  import l3clf",
        f"  table = l3clf.datasets.load({str(result.sounds)!r})",
        f"  model = l3clf.ClipClassifier(embedder={EMBEDDER!r}).fit(table.clips, table.labels)",
        "  l3clf.save_model(model, 'sounds.l3clf')",
        f"  print(model.predict([{str(sample)!r}]))",
        "",
        "Now try:",
        f"  l3clf predict {shell[0]} {shell[1]}{os.sep}*.wav",
        "  l3clf baseline YOUR_FOLDER",
    ):
        say(line)
