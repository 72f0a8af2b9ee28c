"""From teachers and sounds to a student file: the whole way, in steps that are kept on disk.

Rule: one folder holds everything (decoded sounds, examples, checkpoint, log, curve, student), so that the
same call goes on where it was stopped, and repeats nothing that is done.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf import __version__, plots
from l3clf.audio import Clip, FloatArray, Samples, Source
from l3clf.distill.augment import Augmentation
from l3clf.distill.corpus import Corpus, decode
from l3clf.distill.examples import Examples, Recipe, make_examples
from l3clf.distill.lower import start_from, student_onnx
from l3clf.distill.quantise import student_tflite
from l3clf.distill.students import ARCHITECTURES, architecture, build_student, macs_of
from l3clf.distill.training import Schedule, Whitening, held_out_cosines, one_hot, train, whiten
from l3clf.embedders import Embedder, load_embedder
from l3clf.embedders.frontend import SAMPLE_RATE, student_spec
from l3clf.embedders.student import Student, write_student
from l3clf.errors import DatasetError, ParameterError
from l3clf.inputs import as_embedder

__all__ = ["distil"]

FIRST_SIZE, OTHER_SIZE = 128, 64  # of a teacher's part of the embedding
FILENAME = "student.student"


def distil(
    teachers: str | Embedder | Sequence[str | Embedder],
    clips: Sequence[str | os.PathLike[str] | Source],
    labels: Sequence[object] | None = None,
    student: str | None = None,
    init: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "l3clf-student",
    *,
    sizes: Sequence[int] | None = None,
    per_window: int = 8,
    augmentation: Augmentation | None = None,
    schedule: Schedule | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> Student:
    """Train a small student to answer as frozen teachers do.

    Parameters
    ----------
    teachers : embedder or sequence of embedders
        Names or embedders. The student takes its window from the first; a teacher with a shorter window answers
        with the mean over its windows inside, one with a longer window hears zeros on both sides.
    clips : sequence of path, Clip or Samples
        What to learn from; no labels are needed. A twentieth of the clips is held out to measure on.
    labels : sequence, optional
        The class of each clip: it is learned beside the teachers' embeddings.
    student : {"S", "M", "L"}, optional
        Size of the student: 29, 64 or 114 thousand parameters. "M" when left out, or that of `init`.
    init : "l3mini" or path, optional
        A student to start from, instead of random weights.
    out : path
        A folder, new or of an earlier call: the same call goes on where that was stopped.
    sizes : sequence of int, optional
        How many whitened components of each teacher the student learns; the embedding is all of them. 128 of the
        first teacher and 64 of each other when left out.
    per_window : int, default=8
        Examples made of each window's length of a clip, the first as it is, the others augmented.
    augmentation : Augmentation, optional
    schedule : Schedule, optional
    n_jobs : int or None
        Threads that make examples; None means one for each core.
    progress : bool, default=False

    Returns
    -------
    Student
        Saved as ``student.student`` in `out`, beside ``log.csv`` and ``curve.png``.

    Raises
    ------
    DatasetError
        If fewer than two clips can be learned from, or the disk is full.
    ParameterError
        If a parameter cannot work, or `out` holds the checkpoint of another student.
    MissingDependencyError
        If Keras or TensorFlow is not installed.

    Examples
    --------
    >>> import l3clf
    >>> student = l3clf.distill.distil("openl3", ["a.wav", "b.wav"], out="student")  # doctest: +SKIP
    >>> l3clf.ClipClassifier(student).fit(paths, classes)                            # doctest: +SKIP
    """
    schools = [as_embedder(t) for t in ([teachers] if isinstance(teachers, str | Embedder) else teachers)]
    if not schools:
        raise ParameterError("teachers: found none; expected one or more embedders")
    sources = [clip if isinstance(clip, Clip | Samples) else Clip(clip) for clip in clips]
    if not sources:
        raise DatasetError("found no clips to learn from; give sound files")
    parts = _sizes(schools, sizes)
    start = None if init is None else _student_to_start_from(init)
    name = student or (start.about.get("architecture", "M") if start else "M")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = decode(sources, max(SAMPLE_RATE, *(t.sample_rate for t in schools)), folder, progress)
    recipe = Recipe(schools[0].window_s, per_window, seed=(schedule or Schedule()).seed)
    recipe = recipe if augmentation is None else Recipe(**{**vars(recipe), "augmentation": augmentation})
    classes, numbers = _numbered(labels, corpus, len(sources))
    examples = make_examples(corpus, schools, recipe, folder, numbers, n_jobs, progress)
    targets, whitenings = _targets(examples, parts)
    spec = student_spec(recipe.window_s)
    model = build_student(architecture(name), spec.n_frames, spec.n_bands, targets.shape[1])
    if start is not None:
        start_from(model, start.onnx, examples.features)
    shares = None if numbers is None else one_hot(examples.labels, examples.shares, len(classes))
    sizes_kept = [w.projection.shape[1] for w in whitenings]
    log = train(model, examples, targets, sizes_kept, schedule or Schedule(), folder, shares, progress)
    plots.training_curve(log, [t.name for t in schools], folder / "curve.png")
    about = {
        "window_s": recipe.window_s,
        "embedding_size": int(targets.shape[1]),
        "architecture": name,
        "parts": sizes_kept,
        "teachers": [t.name for t in schools],
        "teacher_fingerprints": [t.fingerprint for t in schools],
        "clips": len(corpus),
        "hours": round(len(corpus.samples) / corpus.sample_rate / 3600, 3),
        "examples": len(examples),
        "schedule": asdict(schedule or Schedule()),
        "held_out_cosine": _final(model, examples, targets, sizes_kept),
        "constant_cosine": _constant(examples, targets, sizes_kept),
        "macs": macs_of(model),
        "made_by": f"l3clf {__version__}",
    }
    learned = np.flatnonzero(~examples.held_out)
    drawn = np.sort(np.random.default_rng(0).permutation(learned)[:2000])
    content = student_tflite(ARCHITECTURES[name], model, np.asarray(examples.features[drawn]))
    write_student(folder / FILENAME, about, student_onnx(ARCHITECTURES[name], model).SerializeToString(), content)
    return Student(str(folder / FILENAME))


def _sizes(teachers: Sequence[Embedder], sizes: Sequence[int] | None) -> list[int]:
    if sizes is None:
        wanted = [FIRST_SIZE] + [OTHER_SIZE] * (len(teachers) - 1)
        return [min(size, teacher.embedding_size) for size, teacher in zip(wanted, teachers, strict=True)]
    if len(sizes) != len(teachers) or min(sizes) < 1:
        raise ParameterError(
            f"sizes={list(sizes)}; expected a number of at least 1 for each of {len(teachers)} teachers"
        )
    return list(sizes)


def _student_to_start_from(init: str | os.PathLike[str]) -> Student:
    name = os.fspath(init)
    found = load_embedder(name) if name == "l3mini" else Student(name)
    if not isinstance(found, Student) or found.about.get("architecture") not in ARCHITECTURES:
        raise ParameterError(f"init={name!r}: is of no architecture known here ({', '.join(ARCHITECTURES)})")
    return found


def _numbered(
    labels: Sequence[object] | None, corpus: Corpus, n_clips: int
) -> tuple[list[str], NDArray[np.int32] | None]:
    """The classes, and the number of its class for each clip that was kept."""
    if labels is None:
        return [], None
    if len(labels) != n_clips:
        raise ParameterError(f"labels: found {len(labels)}; expected one for each of {n_clips} clips")
    classes, numbers = np.unique([str(label) for label in labels], return_inverse=True)
    return classes.tolist(), numbers.reshape(-1)[corpus.kept].astype(np.int32)


def _targets(examples: Examples, sizes: Sequence[int]) -> tuple[FloatArray, list[Whitening]]:
    """Whitened embeddings of all teachers side by side; the whitening is fitted without what is held out."""
    learned = np.flatnonzero(~examples.held_out)
    whitenings = [whiten(np.asarray(t)[learned], size) for t, size in zip(examples.targets, sizes, strict=True)]
    parts = [w.apply(np.asarray(t)) for w, t in zip(whitenings, examples.targets, strict=True)]
    return np.hstack(parts), whitenings


def _final(model: Any, examples: Examples, targets: FloatArray, sizes: Sequence[int]) -> list[float]:
    return held_out_cosines(model, examples.features, targets, sizes, np.flatnonzero(examples.held_out))


def _constant(examples: Examples, targets: FloatArray, sizes: Sequence[int]) -> list[float]:
    """The held-out cosine of the best answer that hears nothing: the mean direction of what is learned from."""
    out, ends = [], np.cumsum([0, *sizes])
    for first, last in pairwise(ends):
        part = targets[:, first:last] / np.linalg.norm(targets[:, first:last], axis=1, keepdims=True)
        mean = part[~examples.held_out].mean(axis=0)
        out.append(float((part[examples.held_out] @ (mean / np.linalg.norm(mean))).mean()))
    return out
