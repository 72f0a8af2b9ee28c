"""Rows of a baseline whose network is trained on the task itself: once in every fold, on that fold's training clips.

Rule: a contender is given the training clips of a fold and nothing else; the test clips are asked of what it returns.
The answers of a fold are saved at once: repeating an interrupted call trains the other folds only.
"""

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import Clip
from l3clf.baselines.cell_files import read_cell, write_cell
from l3clf.classifier.decision import decide
from l3clf.classifier.estimators import ClipClassifier
from l3clf.datasets import ClipTable
from l3clf.errors import CacheError, CacheWarning, ParameterError
from l3clf.evaluate import CrossValidation, Split

__all__ = ["Contender", "Training", "check_contenders", "contender_answers", "refitted_contender"]


class Contender(Protocol):
    """A classifier with a network of its own to train, such as `l3clf.distill.FineTuned`.

    Attributes
    ----------
    name : str
        Of its row, in place of an embedder's.
    head, pooling : str
        Of its row.
    key : str
        Everything that its answers depend on, but for the clips, their labels and the hop.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def head(self) -> str: ...  # noqa: D102
    @property
    def pooling(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> str: ...  # noqa: D102

    def expected_s(self, clips: Sequence[Clip]) -> float:
        """Return how many seconds `fit` takes, roughly."""
        ...

    def fit(
        self,
        clips: Sequence[Clip],
        labels: NDArray[Any],
        folder: Path,
        *,
        hop_s: float,
        n_jobs: int | None,
        progress: bool,
    ) -> ClipClassifier:
        """Train on clips and return the fitted classifier, which needs nothing that is in `folder`.

        Parameters
        ----------
        clips : sequence of Clip
        labels : array of shape (n_clips,)
        folder : Path
            For what is kept until it is done: new, or of an earlier identical call, which is resumed.
        hop_s, n_jobs
            See `ClipClassifier`.
        progress : bool
        """
        ...


@dataclass(frozen=True, eq=False)
class Training:
    """What training all contenders needs.

    Attributes
    ----------
    data : ClipTable
    split : Split
    place : callable
        Returns where the answers that depend on such things are kept: a path without suffix, or None.
    hop_s, n_jobs
        See `ClipClassifier`.
    say : callable, optional
        Receives lines about the progress.
    """

    data: ClipTable
    split: Split
    place: Callable[[Sequence[Any]], Path | None]
    hop_s: float
    n_jobs: int | None
    say: Callable[[str], object] | None

    def tell(self, text: str) -> None:
        """Report progress if it was requested."""
        if self.say is not None:
            self.say(text)

    def fit(self, contender: Contender, rows: NDArray[np.intp], place: Path | None) -> ClipClassifier:
        """Train a contender on some clips."""
        with ExitStack() as stack:
            if place is None:
                place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="l3clf-"))) / "training"
            return contender.fit(
                [self.data.clips[i] for i in rows],
                self.data.labels[rows],
                place,
                hop_s=self.hop_s,
                n_jobs=self.n_jobs,
                progress=self.say is not None,
            )


def check_contenders(contenders: Sequence[Contender]) -> None:
    """Refuse two contenders that would have the same row."""
    names = [contender.name for contender in contenders]
    if len(set(names)) < len(names):
        raise ParameterError(f"contenders: {', '.join(names)}; give each only once")


def contender_answers(contender: Contender, training: Training) -> tuple[CrossValidation, float]:
    """Train a contender in every fold; return its answers and the seconds that it took.

    Parameters
    ----------
    contender : Contender
    training : Training
    """
    data, folds = training.data, [(train, test) for train, test in training.split if len(test)]
    places = [training.place([contender.key, "fold", test.tolist()]) for _, test in folds]
    found = [None if place is None else read_cell(place.with_suffix(".npz"), data.labels) for place in places]
    left = [i for i, one in enumerate(found) if one is None]
    if left:
        expected_s = sum(contender.expected_s([data.clips[i] for i in folds[k][0]]) for k in left)
        training.tell(f"{contender.name}: {len(left)} of {len(folds)} folds to train, {in_words(expected_s)} or more")
    for done, k in enumerate(left, 1):
        found[k] = _fold(contender, training, *folds[k], places[k])
        seconds = [one[1] for i in left[:done] if (one := found[i])]
        more = f"; {in_words((len(left) - done) * float(np.mean(seconds)))} left" if done < len(left) else ""
        training.tell(f"{contender.name}: fold {k + 1} of {len(folds)} in {seconds[-1]:.0f} s{more}")
    whole = [one for one in found if one is not None]
    probabilities = np.sum([answers.probabilities for answers, _ in whole], axis=0)
    classes = np.unique(data.labels)
    return CrossValidation(decide(probabilities, classes, None), probabilities, classes), sum(s for _, s in whole)


def refitted_contender(contender: Contender, training: Training) -> ClipClassifier:
    """Train a contender on all clips."""
    training.tell(f"{contender.name}: the best row, now trained on all clips")
    place = training.place([contender.key, "all"])
    model = training.fit(contender, np.arange(len(training.data)), place)
    _forget(place)
    return model


def in_words(seconds: float) -> str:
    """Return a time that is known roughly.

    Examples
    --------
    >>> in_words(40), in_words(610)
    ('about 1 minute', 'about 10 minutes')
    """
    minutes = max(1, round(seconds / 60))
    return f"about {minutes} minute{'s' if minutes > 1 else ''}"


def _fold(
    contender: Contender, training: Training, train: NDArray[np.intp], test: NDArray[np.intp], place: Path | None
) -> tuple[CrossValidation, float]:
    data, start = training.data, time.perf_counter()
    model = training.fit(contender, train, place)
    found = model.clip_answers([data.clips[i] for i in test]).probabilities
    classes = np.unique(data.labels)
    probabilities = np.zeros((len(data), len(classes)))  # of the clips of this fold only
    probabilities[np.ix_(test, np.searchsorted(classes, model.classes_))] = found
    answers = CrossValidation(decide(probabilities, classes, None), probabilities, classes)
    seconds = time.perf_counter() - start
    if place is not None:
        try:
            write_cell(place.with_suffix(".npz"), answers, seconds)
        except CacheError as error:
            warnings.warn(f"{error}; the run goes on, but this fold would be trained again", CacheWarning, stacklevel=2)
    _forget(place)
    return answers, seconds


def _forget(place: Path | None) -> None:
    """Remove what a finished training kept."""
    if place is not None:
        shutil.rmtree(place, ignore_errors=True)
