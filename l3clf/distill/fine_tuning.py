"""Fine-tuning: a student trained further on the labels of a task, and the same network trained from scratch beside it.

Rule: only the clips that are given are heard, so that a cross-validation fine-tunes anew in every fold. The student as
it was before is the teacher unless another is named: no other weights are needed, and what it knows is not forgotten.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.augmentation import Augmentation
from l3clf.audio.clip import Clip, Samples, Source
from l3clf.audio.decode import duration_s
from l3clf.classifier.estimators import ClipClassifier
from l3clf.distill.architectures import architecture, build_student, macs_of
from l3clf.distill.corpus import SAMPLES
from l3clf.distill.distiller import check_tensorflow, distil, student_named
from l3clf.distill.training import Schedule, train
from l3clf.embedders import Embedder
from l3clf.embedders.frontend import student_spec
from l3clf.embedders.student import Student
from l3clf.errors import AudioError, DatasetError

__all__ = ["FineTuned", "expected_s", "fine_tune"]

EPOCHS, BATCH = 8, 64
EXAMPLES = 2000  # at least, so that few clips are heard in many variations
MIN_PER_WINDOW, MAX_PER_WINDOW = 4, 40
# Chosen on other sounds than those of the benchmarks: the guide says what they gave.
LABEL_WEIGHT = 0.2
LEARNING_RATE, RATE_FROM_SCRATCH = 1e-3, 3e-3
ONE_CLIP = 1e-9  # share held out: one clip, since the last weights are kept and nothing is chosen by it
NEXT_TO_NOTHING = 1e-6  # weight of a teacher that a network from scratch does not listen to
LARGE_FILES = (SAMPLES, "features.i8", "labels.i32", "shares.f4", "targets-*.f2")
# Measured on two cores: TensorFlow's start and compilation; making an example; a step of training for each example.
START_S, S_PER_EXAMPLE, S_PER_STEP_AND_MMAC = 45.0, 6e-3, 2e-4


def fine_tune(
    clips: Sequence[str | os.PathLike[str] | Source],
    labels: Sequence[object] | NDArray[Any],
    student: str | os.PathLike[str] | Student = "l3mini",
    out: str | os.PathLike[str] = "l3clf-fine-tuned",
    *,
    teacher: str | Embedder | None = None,
    label_weight: float = LABEL_WEIGHT,
    from_scratch: bool = False,
    epochs: int = EPOCHS,
    per_window: int | None = None,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = False,
    force: bool = False,
) -> Student:
    """Train a student further on labelled clips.

    Parameters
    ----------
    clips : sequence of path, Clip or Samples
        The training clips, and no others: a student that has heard the test clips makes any score meaningless.
    labels : sequence of length n_clips
        The class of each clip; two classes or more.
    student : {"l3mini", "l3base", "l3micro"}, path or Student
        What training starts from.
    out : path, default="l3clf-fine-tuned"
        A new or empty folder, or that of an earlier identical call, which is resumed.
    teacher : str or Embedder, optional
        Whose embedding is learned together with the labels; by default the student's own from before.
    label_weight : float, default=0.2
        How much the labels count beside the teacher: 1 and more for sounds that the student knows little of, as words.
    from_scratch : bool, default=False
        Whether to begin with random weights and learn the labels alone: the small CNN that transfer is compared with.
    epochs : int, default=8
    per_window : int, optional
        Augmented examples made of each window's length of a clip. By default as many as give 2,000 in all, 4 to 40.
    augmentation : Augmentation, optional
    seed : int, default=0
    n_jobs : int or None
        Threads that make examples; None means one per core.
    progress : bool, default=False
    force : bool, default=False
        As for `distil`.

    Returns
    -------
    Student
        An embedder, for `ClipClassifier`; saved as ``student.student`` in `out`, beside ``log.csv`` and ``curve.png``.

    Raises
    ------
    DatasetError
        If there is only one class, or as for `distil`.
    ParameterError
        If a parameter is out of range, `out` belongs to a different call, or another process is using it.
    MissingDependencyError
        If Keras or TensorFlow is not installed.

    Examples
    --------
    >>> import l3clf
    >>> student = l3clf.distill.fine_tune(paths, classes, "l3mini", "tuned")     # doctest: +SKIP
    >>> l3clf.ClipClassifier(student).fit(paths, classes)                        # doctest: +SKIP
    """
    start = student_named(student)
    labels = list(labels)
    if len({str(label) for label in labels}) < 2:
        raise DatasetError(f"labels: only the class {labels[0] if labels else 'none'!r}; expected two or more")
    schedule = Schedule(
        epochs=epochs,
        batch=BATCH,
        learning_rate=RATE_FROM_SCRATCH if from_scratch else LEARNING_RATE,
        patience=epochs,
        teacher_weights=(NEXT_TO_NOTHING,) if from_scratch else (),
        label_weight=1.0 if from_scratch else label_weight,
        seed=seed,
    )
    made = distil(
        [start if teacher is None else teacher],
        clips,
        labels,
        student=start.about["architecture"] if from_scratch else None,
        init=None if from_scratch else start,
        out=out,
        sizes=[start.embedding_size],
        per_window=_examples_per_window(clips, start.window_s) if per_window is None else per_window,
        held_out=ONE_CLIP,
        augmentation=augmentation,
        schedule=schedule,
        trainer=partial(train, keep="last"),
        n_jobs=n_jobs,
        progress=progress,
        force=force,
    )
    for large in (path for pattern in LARGE_FILES for path in Path(out).glob(pattern)):
        large.unlink()
    return replace(made, precision=start.precision, frontend=start.frontend)


def expected_s(clips: Sequence[str | os.PathLike[str] | Source], student: Student, epochs: int = EPOCHS) -> float:
    """Return how many seconds fine-tuning takes on two cores, roughly."""
    n = _examples_per_window(clips, student.window_s) * _windows(clips, student.window_s)
    spec = student_spec(student.window_s)
    network = build_student(architecture(student.about["architecture"]), spec.n_frames, spec.n_bands, 1)
    return START_S + n * (S_PER_EXAMPLE + epochs * S_PER_STEP_AND_MMAC * macs_of(network) / 1e6)


@dataclass(frozen=True)
class FineTuned:
    """A row of `baseline`: a student that is trained on the training clips of each fold, with a logistic head.

    Parameters
    ----------
    student, from_scratch, epochs, per_window, seed, label_weight
        See `fine_tune`.

    Examples
    --------
    >>> import l3clf
    >>> rows = [l3clf.distill.FineTuned(from_scratch=scratch) for scratch in (False, True)]     # doctest: +SKIP
    >>> report = l3clf.baseline("sounds", contenders=rows)                                      # doctest: +SKIP
    """

    student: str | Student = "l3mini"
    from_scratch: bool = False
    epochs: int = EPOCHS
    per_window: int | None = None
    seed: int = 0
    label_weight: float = LABEL_WEIGHT

    head: ClassVar[str] = "logistic"
    pooling: ClassVar[str] = "mean"

    def __post_init__(self) -> None:
        check_tensorflow()
        student_named(self.student)

    @property
    def name(self) -> str:
        """Of its row; a longer one would be cut in a terminal."""
        return f"{student_named(self.student).name} {'scratch' if self.from_scratch else 'tuned'}"

    @property
    def key(self) -> str:
        """Everything that its answers depend on, but for the clips, their labels and the hop."""
        settings = [self.from_scratch, self.epochs, self.per_window, self.seed, self.label_weight]
        return f"fine-tuned {student_named(self.student).fingerprint} {settings}"

    def expected_s(self, clips: Sequence[Clip]) -> float:
        """Return how many seconds `fit` takes on two cores, roughly."""
        return expected_s(clips, student_named(self.student), self.epochs)

    def fit(
        self,
        clips: Sequence[Clip],
        labels: NDArray[Any],
        folder: Path,
        *,
        hop_s: float = 0.5,
        n_jobs: int | None = None,
        progress: bool = False,
    ) -> ClipClassifier:
        """Train on clips; return the fitted classifier, which holds its student in memory.

        Parameters
        ----------
        clips : sequence of Clip
        labels : array of shape (n_clips,)
        folder : Path
            As `out` of `fine_tune`.
        hop_s, n_jobs
            See `ClipClassifier`.
        progress : bool
        """
        made = fine_tune(
            clips,
            labels,
            self.student,
            folder,
            label_weight=self.label_weight,
            from_scratch=self.from_scratch,
            epochs=self.epochs,
            per_window=self.per_window,
            seed=self.seed,
            n_jobs=n_jobs,
            progress=progress,
        )
        embedder = Student(made.content, precision=made.precision, frontend=made.frontend)
        # No other run will ask for these vectors.
        return ClipClassifier(embedder, hop_s=hop_s, cache=None, n_jobs=n_jobs).fit(clips, labels)


def _examples_per_window(clips: Sequence[str | os.PathLike[str] | Source], window_s: float) -> int:
    wanted = math.ceil(EXAMPLES / max(1, _windows(clips, window_s)))
    return int(np.clip(wanted, MIN_PER_WINDOW, MAX_PER_WINDOW))


def _windows(clips: Sequence[str | os.PathLike[str] | Source], window_s: float) -> int:
    return sum(max(1, round(_length_s(clip) / window_s)) for clip in clips)


def _length_s(clip: str | os.PathLike[str] | Source) -> float:
    if isinstance(clip, Samples):
        return float(len(np.atleast_1d(clip.samples)) / clip.sample_rate)
    try:
        return duration_s(clip if isinstance(clip, Clip) else Clip(clip))
    except AudioError:  # training leaves it out, and says so
        return 0.0
