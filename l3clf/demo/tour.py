"""The tour: what a user would do with a folder of sounds, on sounds that it makes itself.

Rule: nothing is faked and nothing is fetched. Every step calls what a user would call, and every number
that is printed was measured in this run. It writes in its own folder only: one that is new, empty, or
carries the mark of an earlier tour.
"""

import os
import shlex
from collections.abc import Callable, Sequence
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
from l3clf.storage.atomic import claim_folder
from l3clf.storage.embedding_cache import EmbeddingCache

__all__ = ["DemoResult", "Prediction", "run"]

Say: TypeAlias = Callable[[str], object]

EMBEDDER = "l3mini"
DURATION_S = 4.0
SAMPLE_RATE = 22050
N_FOLDS = 5
NEW_PER_CLASS = 2
_MARK = ".l3clf-demo"
_KNOWN, _NEW = 0, 1  # streams of random numbers: the new clips are none of those learned from


@dataclass(frozen=True)
class Prediction:
    """What the model says of one new clip.

    Attributes
    ----------
    path : Path
        The clip.
    truth : str
        The class it was made as.
    label : str
        The class the model takes it for.
    probability : float
        How sure the model is of `label`, from 0 to 1.
    """

    path: Path
    truth: str
    label: str
    probability: float


@dataclass(frozen=True)
class DemoResult:
    """What a tour made and measured.

    Attributes
    ----------
    out, sounds, new_sounds : Path
        The tour's folder, and in it the labelled sounds (a folder per class) and the new ones.
    model, cache, confusion, report : Path
        The saved model, the embeddings, the picture of the confusion matrix (PNG), and the page of the baseline.
    n_clips : int
        How many labelled clips there are.
    n_cached : int
        For how many of them the embeddings were known from an earlier tour.
    accuracy : float
        In cross-validation on the labelled clips, from 0 to 1.
    predictions : tuple of Prediction
        For the new clips.
    seconds : float
        What the whole tour took.
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
) -> DemoResult:
    """Make sounds of ten classes, learn them, and show what came of it.

    Parameters
    ----------
    out : path, default "l3clf-demo"
        The folder to write to: a new or empty one, or one of an earlier tour, whose sounds are replaced.
    clips_per_class : int, default 20
        How many labelled clips to make of each class, at least 5.
    seed : int, default 0
        The same seed makes the same sounds.
    say : callable, default print
        Is given the account of each step, line by line.

    Returns
    -------
    DemoResult

    Raises
    ------
    ParameterError
        The folder holds other things or cannot be written to, or a number is too small.
    """
    start = perf_counter()
    folder = Path(out)
    _check(clips_per_class, seed)
    claim_folder(folder, _MARK)
    sounds, new, cache = folder / "sounds", folder / "new", folder / "embeddings.sqlite"
    new_table = _make_sounds(sounds, new, clips_per_class, seed, say)
    table = datasets.load(sounds)
    n_cached = _embed(table, cache, say)
    predicted = _cross_validate(table, cache, say)
    model = _fit_and_save(table, cache, folder / "model.l3clf", say)
    predictions = _predict_new(model, cache, new_table, say)
    result = DemoResult(
        out=folder,
        sounds=sounds,
        new_sounds=new,
        model=model,
        cache=cache,
        confusion=_draw(table, predicted, folder / "confusion.png", say),
        report=_compare(table, cache, folder / "baseline", say),
        n_clips=len(table),
        n_cached=n_cached,
        accuracy=float(accuracy_score(table.labels, predicted)),
        predictions=predictions,
        seconds=perf_counter() - start,
    )
    _say_what_next(result, say)
    return result


# --- folder ---------------------------------------------------------------------------------------


def _check(clips_per_class: int, seed: int) -> None:
    if not isinstance(clips_per_class, Integral) or clips_per_class < N_FOLDS:
        raise ParameterError(f"clips_per_class={clips_per_class!r}: {N_FOLDS} folds need at least {N_FOLDS}")
    if not isinstance(seed, Integral) or seed < 0:
        raise ParameterError(f"seed={seed!r}: need a whole number, at least 0")


def _numbered(folder: Path, stem: str = "") -> list[Path]:
    return [path for path in folder.glob(f"{stem}*.wav") if path.stem.removeprefix(stem).isdecimal()]


# --- steps ----------------------------------------------------------------------------------------


def _make_sounds(sounds: Path, new: Path, clips_per_class: int, seed: int, say: Say) -> ClipTable:
    """Write the labelled and the new sounds; return the new ones, with what they are."""
    start = perf_counter()
    new_paths = []
    try:
        for name in CLASSES:
            _write_clips(sounds / name, "", name, clips_per_class, (seed, _KNOWN))
            new_paths += _write_clips(new, f"{name}_", name, NEW_PER_CLASS, (seed, _NEW))
    except (OSError, soundfile.SoundFileError) as err:
        raise ParameterError(f"sounds cannot be written below {sounds.parent}: {err}") from err
    say(f"Made {clips_per_class * len(CLASSES)} sounds of {DURATION_S:g} s, {clips_per_class} in each class, and")
    say(f"{len(new_paths)} new ones for later, in {perf_counter() - start:.1f} s. The classes:")
    say(f"  {', '.join(CLASSES)}")
    return ClipTable(new_paths, np.repeat(CLASSES, NEW_PER_CLASS))


def _write_clips(folder: Path, stem: str, name: str, count: int, stream: tuple[int, int]) -> list[Path]:
    """Write clips of a class, in place of those that an earlier tour left; other files stay."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}{number:0{1 if stem else 2}d}.wav" for number in range(1, count + 1)]
    for left_over in set(_numbered(folder, stem)) - set(paths):
        left_over.unlink()
    for number, path in enumerate(paths):
        # A stream of its own for each clip: more clips per class leave the first ones as they are.
        rng = np.random.default_rng((*stream, CLASSES.index(name), number))
        soundfile.write(path, synthesise(name, rng, DURATION_S, SAMPLE_RATE), SAMPLE_RATE, subtype="PCM_16")
    return paths


def _embed(table: ClipTable, cache: Path, say: Say) -> int:
    """Embed all clips once; say how, and return how many had been embedded before."""
    start = perf_counter()
    before = _n_cached(cache)
    vectors = ClipEmbedder(embedder=EMBEDDER, cache=cache).fit_transform(table.clips)
    n_cached = len(table) - (_n_cached(cache) - before)
    source = f"; {n_cached} came from the cache" if n_cached else ""
    say("")
    say(f"Embedded them with {EMBEDDER!r} in {perf_counter() - start:.1f} s{source}.")
    say(f"  A clip is now {vectors.shape[1]} numbers: the mean over its one-second windows.")
    return n_cached


def _n_cached(cache: Path) -> int:
    if not cache.exists():
        return 0
    return int(EmbeddingCache(cache).info()["entries"])


def _cross_validate(table: ClipTable, cache: Path, say: Say) -> npt.NDArray[np.str_]:
    """Predict each clip with a model that has not seen it."""
    start = perf_counter()
    # The clips are drawn independently, so random folds leak nothing; recordings would need groups.
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    model = ClipClassifier(embedder=EMBEDDER, cache=cache)
    predicted = np.asarray(cross_val_predict(model, table.clips, table.labels, cv=folds))
    accuracy = accuracy_score(table.labels, predicted)
    say("")
    say(f"Cross-validated a logistic regression on them in {perf_counter() - start:.1f} s.")
    say(f"  {100 * accuracy:.1f} % of {len(table)} clips are right; guessing gives {_guessing(table):.0f} %.")
    return predicted


def _guessing(table: ClipTable) -> float:
    """Percentage that is right when every clip is taken for the commonest class."""
    return 100 * float(np.unique(table.labels, return_counts=True)[1].max() / len(table))


def _fit_and_save(table: ClipTable, cache: Path, path: Path, say: Say) -> Path:
    start = perf_counter()
    save_model(ClipClassifier(embedder=EMBEDDER, cache=cache).fit(table.clips, table.labels), path)
    say("")
    say(f"Fitted a model on all of them in {perf_counter() - start:.1f} s.")
    say(f"  Its file has {path.stat().st_size / 1000:.0f} kB, and loading it executes nothing.")
    return path


def _predict_new(model: Path, cache: Path, new: ClipTable, say: Say) -> tuple[Prediction, ...]:
    """Load the model back and let it hear clips that are in no fold."""
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
    say(f"  {right} of {len(predictions)} are right:")
    _say_table(predictions, say)
    return predictions


def _say_table(predictions: Sequence[Prediction], say: Say) -> None:
    say("")
    say(f"  {'clip':<18}{'prediction':<12}probability")
    for p in predictions:
        wrong = "" if p.label == p.truth else "   wrong"
        say(f"  {p.path.name:<18}{p.label:<12}{100 * p.probability:>9.0f} %{wrong}")


def _draw(table: ClipTable, predicted: npt.NDArray[np.str_], path: Path, say: Say) -> Path:
    start = perf_counter()
    title = f"Synthetic sounds, {EMBEDDER}, {N_FOLDS}-fold cross-validation"
    plots.confusion_matrix(table.labels, predicted, path, title=title)
    say("")
    say(f"Drew the confusion matrix of the cross-validation in {perf_counter() - start:.1f} s.")
    return path


def _compare(table: ClipTable, cache: Path, folder: Path, say: Say) -> Path:
    start = perf_counter()
    report = baseline(table, [EMBEDDER], out=folder, cache=cache, commands=["l3clf demo"])
    say("")
    say(f"Compared both heads and wrote a page with tables and pictures in {perf_counter() - start:.1f} s:")
    for line in str(report).splitlines():
        say(f"  {line}")
    return folder / "report.html"


def _say_what_next(result: DemoResult, say: Say) -> None:
    sample = result.predictions[0].path
    shell = shlex.quote(str(result.model)), shlex.quote(str(result.new_sounds))
    for line in (
        "",
        f"All done in {result.seconds:.1f} s. In {result.out} there are now",
        f"  {result.sounds.name:<20}the sounds, a folder for each class",
        f"  {result.new_sounds.name:<20}the new sounds",
        f"  {result.cache.name:<20}their embeddings: the next run need not compute them",
        f"  {result.model.name:<20}the model",
        f"  {result.confusion.name:<20}a picture of which class was taken for which",
        f"  {'baseline':<20}{result.report.name}: open it in a browser; its tables, pictures and best model",
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
