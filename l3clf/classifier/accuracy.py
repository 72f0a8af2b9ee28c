"""The classifier's own score: accuracy, for labels of every type.

Rule: a clip that is answered "unknown", or that failed, is wrong, unless that answer is its label; "unknown" is right
for a clip of the background that the classifier learned.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin

from l3clf.classifier.decision import BACKGROUND, UNKNOWN
from l3clf.classifier.inputs import as_targets
from l3clf.errors import ParameterError

__all__ = ["AccuracyMixin", "weighted_share"]


class AccuracyMixin(ClassifierMixin):
    """Scikit-learn's mixin for classifiers, with a `score` that takes "unknown" and failed clips."""

    classes_: NDArray[Any]
    has_background_: bool

    def score(self, X: Iterable[Any], y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy: the share of clips whose predicted class is their label.

        A clip that is predicted as "unknown", or that failed (``on_error="nan"``), counts as wrong, for labels of
        every type. Scikit-learn's own scorers (``scoring="accuracy"``, ``"f1_macro"``...) count alike if the labels
        are strings, and refuse such predictions for other labels. With a background in the head, "unknown" is right for
        clips labelled "background".

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
        y : array of shape (n_clips,)
            The true labels.
        sample_weight : array of shape (n_clips,), optional
            How much each clip counts.

        Returns
        -------
        float
            From 0 to 1.

        Raises
        ------
        ParameterError
            If there are no clips, X and y differ in length, labels are of another type than those of the fit, or the
            weights cannot be used.
        """
        predicted = self.predict(X)
        labels = as_targets(y, len(predicted))
        _check_comparable(labels, self.classes_)
        answers = {BACKGROUND: UNKNOWN} if self.has_background_ and BACKGROUND not in self.classes_.tolist() else {}
        wanted = [answers.get(label, label) for label in labels.tolist()]
        right = np.array([a == b for a, b in zip(predicted.tolist(), wanted, strict=True)], np.bool_)
        return weighted_share(right, sample_weight)


def weighted_share(right: NDArray[np.bool_], sample_weight: ArrayLike | None = None) -> float:
    """Return the share of clips that are right, each counted by its weight.

    Parameters
    ----------
    right : array of shape (n_clips,), bool
    sample_weight : array of shape (n_clips,), optional

    Raises
    ------
    ParameterError
        If there are no clips, or the weights cannot be used.
    """
    if not len(right):
        raise ParameterError("X: no clips; give at least one to score")
    return float(np.average(right.astype(np.float64), weights=_weights(sample_weight, len(right))))


def _check_comparable(labels: NDArray[Any], classes: NDArray[Any]) -> None:
    if not len(labels):
        raise ParameterError("X: no clips; give at least one to score")
    strings = [all(isinstance(label, str) for label in each.tolist()) for each in (labels, classes)]
    if strings[0] != strings[1]:
        found, known = (repr(each.tolist()[0]) for each in (labels, classes))
        raise ParameterError(f"y: labels such as {found}, but the classifier was fitted with labels such as {known}")


def _weights(sample_weight: ArrayLike | None, n_clips: int) -> NDArray[np.float64]:
    try:
        weights = np.ones(n_clips) if sample_weight is None else np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError):
        raise ParameterError("sample_weight: not numbers; give one for each clip") from None
    if weights.shape != (n_clips,):
        raise ParameterError(f"sample_weight: shape {weights.shape}; expected one for each of {n_clips} clips")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ParameterError("sample_weight: negative, infinite, NaN or all zero; give numbers of 0 or more")
    return weights
