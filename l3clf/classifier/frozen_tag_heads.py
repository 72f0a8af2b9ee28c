"""Frozen heads of taggers: the probability of each tag on its own, from a few plain arrays.

Rule: as for the heads of classifiers (`frozen_heads`); the probabilities of different tags know nothing of each other.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from l3clf.classifier.frozen_heads import ForestHead, FrozenHead
from l3clf.errors import ModelFileError, ParameterError

__all__ = ["SigmoidHead", "TagForestHead"]

Array = npt.NDArray[Any]


class _TagHead(FrozenHead):
    """Base of the frozen heads of taggers."""

    def predict(self, X: Any) -> Array:
        """Return which tags are more probable than not.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            Finite numbers.

        Returns
        -------
        ndarray of shape (n_samples, n_tags), int64

        Raises
        ------
        ParameterError
            If X has another shape, or values that are not finite numbers.
        """
        return np.asarray(self.predict_proba(X) > 0.5, np.int64)


class SigmoidHead(_TagHead):
    """Multiply, sigmoid: a logistic regression for each tag, as two arrays.

    ``predict_proba`` is ``1 / (1 + exp(-(X @ coef.T + intercept)))``, in double precision.

    Attributes
    ----------
    coef : ndarray of shape (n_tags, n_features), float64
        One row for each tag; a standardisation before the regression is in it.
    intercept : ndarray of shape (n_tags,), float64
        Added to the products.
    """

    kind: ClassVar[str] = "sigmoid"
    members: ClassVar[Mapping[str, tuple[str, int]]] = {"coef": ("<f8", 2), "intercept": ("<f8", 1)}
    coef: Array
    intercept: Array

    @classmethod
    def _shapes(cls, arrays: Mapping[str, Any], n_classes: int, n_features: int) -> dict[str, tuple[int, ...]]:
        return {"coef": (n_classes, n_features), "intercept": (n_classes,)}

    def _check(self) -> None:
        for name in self.members:
            if not np.isfinite(getattr(self, name)).all():
                raise ModelFileError(f"{name}.npy holds NaN or infinite values; save or copy the model again")

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: D102 - documented in FrozenHead
        return np.asarray(expit(self._scores(self._checked(X))), np.float64)

    def _scores(self, X: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is refused below
            scores: Array = X.astype(np.float64, copy=False) @ self.coef.T + self.intercept
        if not np.isfinite(scores).all():
            raise ParameterError("X: values too large for this head; give embeddings like those it was fitted on")
        return scores


class TagForestHead(_TagHead, ForestHead):
    """Decision trees whose leaves hold the probability of each tag; see `ForestHead`.

    Attributes
    ----------
    value : ndarray of shape (n_nodes, n_tags), float64
        Probability of each tag in a leaf; zeros elsewhere.
    """

    kind: ClassVar[str] = "tag_forest"

    def _check_sums(self) -> None:
        """Nothing to check: the probabilities of tags need not sum to 1."""
