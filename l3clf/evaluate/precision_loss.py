"""What a faster precision of an embedder costs: its vectors, and the classes found by them, beside those of float32.

Rule: both precisions see the same windows and the same folds. Vectors of one network point much the same way whatever
the sound, so their cosine is near 1 in any case; with the mean vector subtracted it says what a head can see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.classifier.estimators import ClipClassifier
from l3clf.embedders import Embedder, WindowEmbeddings
from l3clf.errors import ParameterError
from l3clf.evaluate.crossval import cross_validate
from l3clf.evaluate.splits import Labels, make_split

__all__ = ["PrecisionLoss", "precision_loss"]

MIN_WINDOWS = 3  # of fewer, what is left of the mean says nothing
MAX_FOLDS = 5


@dataclass(frozen=True, eq=False)
class PrecisionLoss:
    """What became of the vectors and of the accuracy.

    Attributes
    ----------
    cosines : array of shape (n_windows,)
        Between the vectors of both precisions.
    centred : array of shape (n_windows,)
        The same, with the mean vector of float32 subtracted from both.
    accuracies : (float, float) or None
        Of float32 and of the other, cross-validated; None without labels.
    """

    cosines: NDArray[np.float64]
    centred: NDArray[np.float64]
    accuracies: tuple[float, float] | None = None

    def lines(self) -> list[str]:
        """Return what a user reads."""
        said = [
            f"{what}: least {values.min():.4f}, median {np.median(values):.4f} of {len(values):,} windows"
            for what, values in (("cosine", self.cosines), ("with the mean vector subtracted", self.centred))
        ]
        if self.accuracies is None:
            return said
        before, after = self.accuracies
        return [
            *said,
            f"cross-validated accuracy: {before:.1%} in float32, {after:.1%} ({100 * (after - before):+.1f})",
        ]


def precision_loss(
    exact: Sequence[WindowEmbeddings],
    other: Sequence[WindowEmbeddings],
    embedder: Embedder,
    labels: Labels | None = None,
) -> PrecisionLoss:
    """Compare the windows of clips in two precisions.

    Parameters
    ----------
    exact, other : sequence of WindowEmbeddings
        Of the same clips: in float32, and in the other precision.
    embedder : Embedder
        Whose they are.
    labels : array of shape (n_clips,), optional
        Classes, for the accuracy of a logistic regression on mean-pooled vectors, in five stratified folds, or as many
        as the smallest class has clips.

    Returns
    -------
    PrecisionLoss

    Raises
    ------
    ParameterError
        If there are fewer than three windows.
    """
    n_windows = sum(map(len, exact))
    if n_windows < MIN_WINDOWS:
        raise ParameterError(f"{n_windows} windows: too few to compare precisions; give {MIN_WINDOWS} or more")
    a, b = (np.concatenate([clip.vectors for clip in clips]).astype(np.float64) for clips in (exact, other))
    mean = a.mean(axis=0)
    accuracies = None
    if labels is not None:
        folds = min(MAX_FOLDS, int(np.unique(labels, return_counts=True)[1].min()))
        split = make_split(labels, n_splits=folds)
        model = ClipClassifier(embedder, cache=None)
        found = [cross_validate(model, clips, labels, split).predictions for clips in (exact, other)]
        accuracies = float((found[0] == labels).mean()), float((found[1] == labels).mean())
    return PrecisionLoss(_cosines(a, b), _cosines(a - mean, b - mean), accuracies)


def _cosines(a: FloatArray | NDArray[np.float64], b: FloatArray | NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, np.finfo(float).tiny))
