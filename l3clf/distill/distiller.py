"""From teachers and sounds to a student file, in steps that are kept on disk.

Rule: one folder holds everything (decoded sounds, examples, checkpoint, log, curve, student). The same call resumes
where it was stopped and repeats only an unfinished decoding. A different call is refused there, so that hours of work
are not overwritten.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf import plots
from l3clf._version import __version__
from l3clf.audio.augmentation import Augmentation
from l3clf.audio.clip import Clip, FloatArray, Samples, Source
from l3clf.classifier.inputs import as_embedder
from l3clf.distill.architectures import ARCHITECTURES, NEEDED, architecture, build_student, keras, macs_of
from l3clf.distill.corpus import Corpus, decode
from l3clf.distill.examples import Examples, Recipe, make_examples
from l3clf.distill.student_onnx import fit_embedding, start_from, student_onnx
from l3clf.distill.student_tflite import student_tflite
from l3clf.distill.training import Schedule, Trainer, held_out_cosines, one_hot, train, whiten
from l3clf.embedders import STUDENT_MEMBERS, Embedder, embedder_names, load_embedder
from l3clf.embedders.filtered import needs_whole_clips
from l3clf.embedders.frontend import SAMPLE_RATE, student_spec
from l3clf.embedders.student import (
    MAX_EMBEDDING_SIZE,
    MAX_WINDOW_S,
    MIN_WINDOW_S,
    Student,
    StudentFile,
    write_student,
)
from l3clf.errors import DatasetError, MissingDependencyError, ParameterError
from l3clf.pipeline import n_threads
from l3clf.storage.atomic import cannot_write, claim_folder
from l3clf.storage.locks import lock_now
from l3clf.storage.outputs import FolderRecord, Kind, check_not_input, check_output, text_begins

__all__ = ["check_tensorflow", "distil", "student_named"]

FIRST_SIZE, OTHER_SIZE = 128, 64  # of a teacher's part of the embedding
HELD_OUT = 0.05
TO_QUANTISE, TO_START_FROM = 2000, 5000  # examples that ranges and starting weights are measured on
WHITENING = 0.5  # the reason: benchmarks/l3mini/labbook.md, run 5
FILENAME = "student.student"
CURVE = "curve.png"
_LOG = Kind("the log of a training", text_begins("epoch,"))
LOCK = ".l3clf-distill"  # also marks the folder as ours


def distil(
    teachers: str | Embedder | Sequence[str | Embedder],
    clips: Sequence[str | os.PathLike[str] | Source],
    labels: Sequence[object] | None = None,
    student: str | None = None,
    init: str | os.PathLike[str] | Student | None = None,
    out: str | os.PathLike[str] = "l3clf-student",
    *,
    sizes: Sequence[int] | None = None,
    whitening: float = WHITENING,
    per_window: int = 8,
    held_out: float = HELD_OUT,
    augmentation: Augmentation | None = None,
    schedule: Schedule | None = None,
    trainer: Trainer = train,
    n_jobs: int | None = None,
    progress: bool = False,
    force: bool = False,
) -> Student:
    """Train a small student to imitate frozen teachers.

    Parameters
    ----------
    teachers : embedder or sequence of embedders
        Names or embedders; "efficientat" is the one to begin with. The first sets the length of the student's window.
        A teacher with a shorter window contributes the mean over its windows inside the student's; one with a longer
        window gets zeros on both sides.
    clips : sequence of path, Clip or Samples
        The training sounds, at least two; they need no labels.
    labels : sequence, optional
        The class of each clip, to be learned together with the teachers' embeddings.
    student : {"S", "M", "L", "B"}, optional
        Size of the student: 28, 61, 120 or 667 thousand parameters with an embedding of 192 numbers; "B" is for PCs. By
        default that of `init`, or "M".
    init : "l3mini", "l3base", "l3micro", path or Student, optional
        A student to start from instead of random weights, as a Student also ``load_embedder("l3mini", revision=1)``
        or that of a loaded model. Its window may have another length than the first teacher's.
    out : path, default="l3clf-student"
        A new or empty folder, or that of an earlier identical call, which is resumed.
    sizes : sequence of int, optional
        How many whitened components of each teacher the student learns; together they are its embedding. By default
        128 of the first teacher and 64 of each other.
    whitening : float, default=0.5
        From 0 to 1: how far the variances of a teacher's components are equalised. At 1 the student learns the
        small components, which are mostly noise, as hard as the large ones; 0 keeps the teacher's proportions.
    per_window : int, default=8
        Examples made per window's length of a clip. One example of each clip is unchanged, the others are augmented.
    held_out : float, default=0.05
        Share of the clips, at least one clip, that is kept out of training for early stopping and the final figures.
    augmentation : Augmentation, optional
    schedule : Schedule, optional
    trainer : callable, optional
        Trains the student in place and returns one dict for each epoch, at least one, with ``epoch``, ``loss``,
        ``cosine`` and ``cosine_0``, ``cosine_1``, ... (held out, one for each teacher). It has the parameters of
        `l3clf.distill.training.train`, which trains in Keras and is the default. Another trainer keeps its own
        checkpoint, or none.
    n_jobs : int or None
        Threads that make examples; None means one per core.
    progress : bool, default=False
    force : bool, default=False
        Whether `out` may hold other files, and whether a student, log or picture in it is replaced that was changed
        or is not ours.

    Returns
    -------
    Student
        Saved as ``student.student`` in `out`, beside ``log.csv`` and ``curve.png``.

    Raises
    ------
    DatasetError
        If fewer than two clips can be used, a teacher returns NaN or the same embedding throughout, or the disk is
        full.
    ParameterError
        If a parameter is out of range, `out` belongs to a different call, or another process is using it.
    MissingDependencyError
        If Keras or TensorFlow is not installed.

    Examples
    --------
    >>> import l3clf
    >>> student = l3clf.distill.distil("efficientat", ["a.wav", "b.wav"], out="student")  # doctest: +SKIP
    >>> l3clf.ClipClassifier(student).fit(paths, classes)                            # doctest: +SKIP
    """
    n_jobs = n_threads(n_jobs)
    check_tensorflow()
    embedders = _teachers(teachers)
    fingerprints = [teacher.fingerprint for teacher in embedders]  # finds their weights, or downloads them
    sources = _sources(clips)
    start = None if init is None else student_named(init, student)
    name = student or (start.about["architecture"] if start else "M")
    architecture(name)
    classes, numbers = _numbered(labels, len(sources))
    job = _Job(embedders, fingerprints, _sizes(embedders, sizes), sources, classes, numbers, name, start)
    schedule = schedule or Schedule()
    _check_weights(job, schedule, whitening)
    _check_size(job, embedders[0].window_s)
    recipe = Recipe(embedders[0].window_s, per_window, held_out, schedule.seed, augmentation or Augmentation())
    folder = claim_folder(out, LOCK, force=force)
    with _sole_use(folder):
        record = FolderRecord(folder)
        reads = [source.path for source in sources if isinstance(source, Clip)] + _file_of(start)
        check_not_input((folder / name for name in (FILENAME, CURVE, "log.csv")), reads)
        record.check((FILENAME, CURVE), force)
        check_output(folder / "log.csv", _LOG, force=force)
        made = _distilled(job, recipe, schedule, whitening, trainer, folder, n_jobs, progress)
        record.add(folder / FILENAME)
        return made


def _distilled(
    job: "_Job",
    recipe: Recipe,
    schedule: Schedule,
    whitening: float,
    trainer: Trainer,
    folder: Path,
    n_jobs: int | None,
    progress: bool,
) -> Student:
    # At the highest rate that anyone needs, so that resampling only goes down.
    corpus = decode(job.sources, max(SAMPLE_RATE, *(t.sample_rate for t in job.teachers)), folder, progress)
    numbers = None if job.numbers is None else job.numbers[corpus.kept]
    examples = make_examples(corpus, job.teachers, recipe, folder, numbers, n_jobs, progress)
    targets, parts = _targets(examples, job.sizes, whitening)
    model = _untrained(job, recipe, examples, targets, schedule.seed)
    shares = None if numbers is None else one_hot(examples.labels, examples.shares, len(job.classes))
    begun = {
        "examples": examples.digest,
        "whitening": whitening,
        "init": job.start.weights_digest() if job.start else "",
    }
    log = trainer(model, examples, targets, parts, schedule, folder, shares, progress, begun)
    plots.training_curve(log, [t.name for t in job.teachers], folder / CURVE)
    FolderRecord(folder).add(folder / CURVE)
    network = student_onnx(ARCHITECTURES[job.name], model)
    about = {
        **_about(job, recipe, schedule, corpus, examples),
        "parts": parts,
        "whitening": whitening,
        "embedding_size": int(targets.shape[1]),
        "held_out_cosine": held_out_cosines(
            model, examples.features, targets, parts, np.flatnonzero(examples.held_out)
        ),
        "constant_cosine": _constant_cosines(examples, targets, parts),
        "parameters": sum(math.prod(tensor.dims) for tensor in network.graph.initializer),
        "macs": macs_of(model),
    }
    content = student_tflite(
        ARCHITECTURES[job.name], model, np.asarray(examples.features[_some(examples, TO_QUANTISE)])
    )
    write_student(folder / FILENAME, about, network.SerializeToString(), content)
    return Student(str(folder / FILENAME))


@dataclass(frozen=True, eq=False)
class _Job:
    """What `distil` was asked for, checked before hours are spent on it."""

    teachers: list[Embedder]
    fingerprints: list[str]
    sizes: list[int]
    sources: list[Source]
    classes: list[str]
    numbers: NDArray[np.int32] | None
    name: str
    start: Student | None


def _check_weights(job: _Job, schedule: Schedule, whitening: float) -> None:
    if not (isinstance(whitening, int | float | np.number) and 0 <= whitening <= 1):
        raise ParameterError(f"whitening={whitening!r}; expected a number from 0 to 1")
    if len(schedule.teacher_weights) not in (0, len(job.teachers)):
        raise ParameterError(
            f"teacher_weights={schedule.teacher_weights!r}; expected one for each of {len(job.teachers)} teachers"
        )


def _check_size(job: _Job, window_s: float) -> None:
    """Refuse a student that no file would hold."""
    spec, size = student_spec(window_s), int(sum(job.sizes))  # Keras takes no number of NumPy
    parameters = build_student(architecture(job.name), spec.n_frames, spec.n_bands, size).count_params()
    limit = STUDENT_MEMBERS["network.onnx"]
    if parameters * 4 > limit:
        raise ParameterError(
            f"sizes={job.sizes}: a student of size {job.name!r} with {size} numbers takes {parameters * 4:,} bytes, "
            f"more than the {limit:,} of a student file; ask for fewer"
        )


def check_tensorflow() -> None:
    """Refuse other backends of Keras: they can train, but only TensorFlow can make the integer network at the end."""
    if find_spec("tensorflow") is None:
        raise MissingDependencyError(NEEDED)
    if keras.backend.backend() != "tensorflow":
        raise ParameterError(
            f"Keras: its backend is {keras.backend.backend()!r}, which cannot make the integer network; "
            "set KERAS_BACKEND=tensorflow"
        )


def _teachers(teachers: str | Embedder | Sequence[str | Embedder]) -> list[Embedder]:
    embedders = [as_embedder(t) for t in ([teachers] if isinstance(teachers, str | Embedder) else teachers)]
    if not embedders:
        raise ParameterError("teachers: found none; expected one or more embedders")
    if whole := [e.name for e in embedders if needs_whole_clips(e)]:
        raise ParameterError(
            f"teacher {whole[0]!r}: it denoises whole clips, but a student learns from windows; give it without denoise"
        )
    first = embedders[0]
    if not MIN_WINDOW_S <= first.window_s <= MAX_WINDOW_S:
        raise ParameterError(
            f"teacher {first.name!r}: window of {first.window_s:g} s; a student's window has {MIN_WINDOW_S} to "
            f"{MAX_WINDOW_S} s and is the first teacher's, so name another teacher first"
        )
    return embedders


def _sources(clips: Sequence[str | os.PathLike[str] | Source]) -> list[Source]:
    if isinstance(clips, str | os.PathLike | Clip | Samples):
        raise ParameterError("clips: found a single clip; expected a list of two or more")
    sources = [clip if isinstance(clip, Clip | Samples) else Clip(clip) for clip in clips]
    if not sources:
        raise DatasetError("clips: found none; give at least two sound files")
    return sources


@contextmanager
def _sole_use(folder: Path) -> Iterator[None]:
    """Lock a folder: two calls at once would overwrite each other's examples."""
    try:
        handle = (folder / LOCK).open("ab")
    except OSError as error:
        raise cannot_write(folder / LOCK, error, DatasetError) from None
    with handle:
        with suppress(OSError):  # a file system without locks
            if not lock_now(handle.fileno()):
                raise ParameterError(
                    f"out={str(folder)!r}: in use by another call; wait for it, or give another folder"
                )
        yield


def _untrained(job: _Job, recipe: Recipe, examples: Examples, targets: FloatArray, seed: int) -> Any:
    keras.utils.set_random_seed(int(seed))
    spec = student_spec(recipe.window_s)
    model = build_student(architecture(job.name), spec.n_frames, spec.n_bands, targets.shape[1])
    if job.start is not None:
        learned = _some(examples, TO_START_FROM)
        features = np.asarray(examples.features[learned])
        start_from(model, job.start.onnx, features)
        fit_embedding(model, features, targets[learned])
    return model


def _some(examples: Examples, n: int) -> NDArray[np.intp]:
    """Draw at most `n` rows that are not held out."""
    return np.sort(np.random.default_rng(0).permutation(np.flatnonzero(~examples.held_out))[:n])


def _about(job: _Job, recipe: Recipe, schedule: Schedule, corpus: Corpus, examples: Examples) -> dict[str, Any]:
    return {
        "window_s": recipe.window_s,
        "architecture": job.name,
        "teachers": [t.name for t in job.teachers],
        "teacher_fingerprints": job.fingerprints,
        "clips": len(corpus),
        "hours": round(len(corpus.samples) / corpus.sample_rate / 3600, 3),
        "examples": len(examples),
        "schedule": asdict(schedule),
        "made_by": f"l3clf {__version__}",
    }


def _sizes(teachers: Sequence[Embedder], sizes: Sequence[int] | None) -> list[int]:
    if sizes is None:
        sizes = [FIRST_SIZE] + [OTHER_SIZE] * (len(teachers) - 1)
    if not isinstance(sizes, Sequence) or not all(isinstance(size, int | np.integer) for size in sizes):
        raise ParameterError(f"sizes={sizes!r}; expected a list of whole numbers, one for each teacher")
    if len(sizes) != len(teachers) or min(sizes) < 1 or sum(sizes) > MAX_EMBEDDING_SIZE:
        raise ParameterError(
            f"sizes={list(sizes)}; expected a number of at least 1 for each of {len(teachers)} teachers, "
            f"at most {MAX_EMBEDDING_SIZE} together"
        )
    return [min(size, teacher.embedding_size) for size, teacher in zip(sizes, teachers, strict=True)]


def _file_of(start: Student | None) -> list[str]:
    return [] if start is None or isinstance(start.weights, StudentFile) else [str(start.path)]


def student_named(init: str | os.PathLike[str] | Embedder, student: str | None = None) -> Student:
    """Return the student to start from, of the size `student` if that is given.

    Raises
    ------
    ParameterError
        If it is not a student of an architecture known here, or has another size.
    """
    if not isinstance(init, str | os.PathLike | Embedder):
        raise ParameterError(f"init={init!r}; expected the name of a student, its file, or a Student")
    name = init.name if isinstance(init, Embedder) else os.fspath(init)
    found = init if isinstance(init, Embedder) else load_embedder(name) if name in embedder_names() else Student(name)
    if not isinstance(found, Student) or found.about.get("architecture") not in list(ARCHITECTURES):
        raise ParameterError(
            f"init={name!r}: not a student of an architecture known here; give one of {', '.join(ARCHITECTURES)}"
        )
    if student not in (None, found.about["architecture"]):
        raise ParameterError(
            f"init={name!r}: has the size {found.about['architecture']!r}, not {student!r}; leave out `student`"
        )
    return found


def _numbered(labels: Sequence[object] | None, n_clips: int) -> tuple[list[str], NDArray[np.int32] | None]:
    """Return the classes, and the index of each clip's class."""
    if labels is None:
        return [], None
    if not hasattr(labels, "__len__"):
        raise ParameterError(f"labels={labels!r}; expected a list of classes, one for each clip")
    if len(labels) != n_clips:
        raise ParameterError(f"labels: found {len(labels)}; expected one for each of {n_clips} clips")
    classes, numbers = np.unique([str(label) for label in labels], return_inverse=True)
    return classes.tolist(), numbers.reshape(-1).astype(np.int32)


def _targets(examples: Examples, sizes: Sequence[int], whitening: float) -> tuple[FloatArray, list[int]]:
    """Return the whitened embeddings of all teachers side by side, and the number of components of each.

    The whitening is fitted without the held-out examples.
    """
    learned = np.flatnonzero(~examples.held_out)
    parts = [
        whiten(t[learned], size, whitening).apply(np.asarray(t))
        for t, size in zip(examples.targets, sizes, strict=True)
    ]
    return np.hstack(parts), [part.shape[1] for part in parts]


def _constant_cosines(examples: Examples, targets: FloatArray, sizes: Sequence[int]) -> list[float]:
    """Return the held-out cosines of the best constant embedding: the mean direction of the training targets."""
    out, ends = [], np.cumsum([0, *sizes])
    for first, last in pairwise(ends):
        part = targets[:, first:last] / np.linalg.norm(targets[:, first:last], axis=1, keepdims=True)
        mean = part[~examples.held_out].mean(axis=0)
        out.append(float((part[examples.held_out] @ (mean / np.linalg.norm(mean))).mean()))
    return out
