"""How far a sound is from everything that was learned, for embedders without a background bank.

Each class is a Gaussian around its mean; all share one covariance, shrunk towards a sphere (Ledoit and Wolf, A
well-conditioned estimator for large-dimensional covariance matrices, Journal of Multivariate Analysis 88, 2004), since
there are seldom more clips than dimensions. The squared Mahalanobis distance to the nearest class mean becomes a share
between 0 and 1, whose middle and slope come from training clips that a fit of the other folds did not see. Windows
scatter more than the mean of many, so they have a middle and a slope of their own; pools of some windows are between
these, in proportion to the inverse of their number, as the variance of a mean is.

Rule: shares multiply probabilities, so a clip is known only if the head is sure of a class and the clip is as near to
some class as held-out training clips are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.special import expit
from sklearn.model_selection import StratifiedKFold

from l3clf.classifier.frozen_heads import ArrayFacts
from l3clf.errors import ModelFileError

__all__ = ["PREFIX", "Typicality", "fit_typicality"]

Array = npt.NDArray[Any]

PREFIX = "typicality_"
"""Of the names that its arrays have in a model file."""
MAX_COMPONENTS = 256
"""Directions in which the covariance is kept; in all others it is the sphere."""
N_FOLDS = 5
MAX_WINDOWS = 10  # of a clip: more say little
SHARE_INSIDE = 0.95  # of held-out training clips: their distances are below the one where the share is a half
SLOPE = 2.0  # spreads of the held-out distances to the next natural logarithm of the odds
_SPREADS = 3.29  # standard deviations of a normal distribution from its 5 % to its 95 % point
_MIN_VARIANCE = 1e-12
_ROWS = 4096  # at once, so that memory stays small


@dataclass(frozen=True, eq=False)
class Typicality:
    """Distances of sounds to what was learned, as shares.

    Attributes
    ----------
    mean, scale : array of shape (size,), float64
        Standardisation: ``(vectors - mean) / scale``.
    components : array of shape (n_components, size), float64
        Orthonormal directions in which the covariance differs from a sphere.
    spreads : array of shape (n_components + 1,), float64
        Standard deviation along each, and in all other directions.
    centres : array of shape (n_classes, size), float64
        Means of the classes, standardised.
    limits : array of shape (2, 2), float64
        The distance at which the share is a half, and that by which the odds change by a factor of e; first of clips,
        then of single windows.
    length : array of shape (1,), float64
        Number of windows of the clips, 1 or more.
    """

    mean: Array
    scale: Array
    components: Array
    spreads: Array
    centres: Array
    limits: Array
    length: Array

    members: ClassVar[Mapping[str, int]] = {
        "mean": 1,
        "scale": 1,
        "components": 2,
        "spreads": 1,
        "centres": 2,
        "limits": 2,
        "length": 1,
    }

    def distances(self, vectors: Array) -> npt.NDArray[np.float64]:
        """Return the squared Mahalanobis distance to the nearest class, divided by the number of dimensions.

        Parameters
        ----------
        vectors : array of shape (n, size)

        Returns
        -------
        array of shape (n,), float64
        """
        centres = self._whitened(self.centres)
        found = np.empty(len(vectors))
        for first in range(0, len(vectors), _ROWS):
            rows = self._whitened((np.asarray(vectors[first : first + _ROWS], np.float64) - self.mean) / self.scale)
            # |a - b|^2 = |a|^2 - 2ab + |b|^2, which rounding may put below 0.
            squares = (rows**2).sum(axis=1)[:, None] - 2 * rows @ centres.T + (centres**2).sum(axis=1)
            found[first : first + _ROWS] = np.maximum(squares.min(axis=1), 0) / len(self.mean)
        return found

    def shares(self, vectors: Array, n_windows: npt.ArrayLike | None = None) -> npt.NDArray[np.float64]:
        """Return how typical vectors are of what was learned.

        Parameters
        ----------
        vectors : array of shape (n, size)
            Means of windows' embeddings.
        n_windows : array of shape (n,) or int, optional
            Of how many windows each is the mean; None: as many as the clips of the fit.

        Returns
        -------
        array of shape (n,), float64
            From 0 to 1: a half for a vector that is as far away as one in twenty held-out training clips.
        """
        inverse, shortest = 1 / np.asarray(self.length if n_windows is None else n_windows), 1 / self.length[0]
        of_window = np.clip((inverse - shortest) / max(1 - shortest, 1e-9), 0, 1)
        middle, slope = self.limits[0][:, None] + (self.limits[1] - self.limits[0])[:, None] * of_window
        return np.asarray(expit((middle - self.distances(vectors)) / slope), np.float64)

    def _whitened(self, rows: Array) -> Array:
        along = rows @ self.components.T
        outside = (rows - along @ self.components) / self.spreads[-1]
        return np.asarray(outside + (along / self.spreads[:-1]) @ self.components)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that make it up, by name, for a model file."""
        return {name: getattr(self, name) for name in self.members}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], n_classes: int, size: int) -> Self:
        """Return it from the arrays of a model file.

        Parameters
        ----------
        arrays : mapping
            As `arrays` returns them.
        n_classes, size : int
            Of the model.

        Raises
        ------
        ModelFileError
            If an array is missing, of another type or shape, or holds what cannot be.
        """
        cls.check_facts({name: ArrayFacts(one.dtype, one.shape) for name, one in arrays.items()}, n_classes, size)
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise _bad(name, "holds NaN or infinite values")
        for name in ("scale", "spreads"):
            if not (arrays[name] > 0).all():
                raise _bad(name, "holds values that are not above 0")
        if not (arrays["limits"][:, 1] > 0).all():
            raise _bad("limits", "has a slope that is not above 0")
        if not arrays["length"][0] >= 1:
            raise _bad("length", "is below 1")
        return cls(**arrays)

    @classmethod
    def check_facts(cls, facts: Mapping[str, ArrayFacts], n_classes: int, size: int) -> None:
        """Check the types and shapes of arrays, before they are read.

        Parameters
        ----------
        facts : mapping
            By the name of the array.
        n_classes, size : int
            Of the model.

        Raises
        ------
        ModelFileError
            If an array is missing, or of another type or shape.
        """
        for name in sorted(cls.members.keys() ^ facts.keys()):
            raise _bad(name, "is missing" if name in cls.members else "does not belong to distances")
        for name, n_dimensions in cls.members.items():
            if facts[name].dtype != np.dtype("<f8") or len(facts[name].shape) != n_dimensions:
                raise _bad(name, f"is {facts[name].dtype} {facts[name].shape}, expected float64 in {n_dimensions}-D")
        n = facts["components"].shape[0]
        shapes = {
            "mean": (size,),
            "scale": (size,),
            "components": (min(n, MAX_COMPONENTS, size), size),
            "spreads": (n + 1,),
            "centres": (n_classes, size),
            "limits": (2, 2),
            "length": (1,),
        }
        for name, shape in shapes.items():
            if facts[name].shape != shape:
                raise _bad(name, f"has shape {facts[name].shape}, expected {shape}")


def fit_typicality(vectors: Array, labels: Array, windows: Sequence[Array] | None = None) -> Typicality:
    """Learn how far from its class a clip usually is, and a single window of it.

    Parameters
    ----------
    vectors : array of shape (n, size)
        Means of the embeddings of training clips' windows.
    labels : array of shape (n,)
        Their classes; two or more.
    windows : sequence of arrays of shape (n_windows, size), optional
        The windows of each clip; None: each clip is one window.

    Returns
    -------
    Typicality
    """
    rows = np.asarray(vectors, np.float64)
    _, classes = np.unique(labels, return_inverse=True)
    parts = [rows[i : i + 1] for i in range(len(rows))] if windows is None else [_some(each) for each in windows]
    of_clips, of_windows = _held_out_distances(rows, classes, parts)
    length = 1.0 if windows is None else float(np.median([len(each) for each in windows]))
    limits = np.stack([_limits(of_clips), _limits(of_windows)])
    return replace(_gaussians(rows, classes), limits=limits, length=np.array([length]))


def _some(windows: Array) -> Array:
    """Return some windows of a clip, evenly spaced."""
    return windows[np.linspace(0, len(windows) - 1, min(len(windows), MAX_WINDOWS)).astype(np.intp)]


def _gaussians(rows: Array, classes: Array) -> Typicality:
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    z = (rows - mean) / scale
    present = np.unique(classes)
    centres = np.stack([z[classes == one].mean(axis=0) for one in present])
    components, spreads = _covariance(z - centres[np.searchsorted(present, classes)])
    return Typicality(mean, scale, components, spreads, centres, np.ones((2, 2)), np.ones(1))


def _covariance(residuals: Array) -> tuple[Array, Array]:
    """Return directions, and the standard deviation along each and elsewhere, of a shrunk covariance."""
    n, size = residuals.shape
    is_tall = n > size
    product = (residuals.T @ residuals if is_tall else residuals @ residuals.T) / n  # their eigenvalues are the same
    total, squares = product.trace(), (product**2).sum()  # of the variances, also those that are not computed
    last = len(product) - 1
    variances, vectors = eigh(product, subset_by_index=[max(0, last + 1 - MAX_COMPONENTS), last])
    kept = variances > 1e-9 * variances[-1]
    kept[-1] = True  # zero where all clips of a class are alike
    variances, directions = variances[kept][::-1], vectors.T[kept][::-1]
    if not is_tall:
        directions = directions @ residuals
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), _MIN_VARIANCE)
    sphere = total / size
    distance = squares - size * sphere**2  # to the sphere, of the sample covariance; squared
    noise = ((residuals**2).sum(axis=1) ** 2).sum() / n**2 - squares / n  # of that covariance
    shrinkage = float(np.clip(noise / distance, 0, 1)) if distance > 0 else 1.0
    along = (1 - shrinkage) * variances + shrinkage * sphere
    rest = max(0.0, float(total - variances.sum())) / max(1, size - len(variances))
    elsewhere = shrinkage * sphere + (1 - shrinkage) * rest
    return directions, np.sqrt(np.maximum([*along, elsewhere], _MIN_VARIANCE))


def _held_out_distances(rows: Array, classes: Array, windows: Sequence[Array]) -> tuple[Array, Array]:
    """Distances of clips, and of their windows, to what the other folds hold; to all clips, where there are few."""
    n_folds = min(N_FOLDS, int(np.bincount(classes).min()))
    if n_folds < 2:
        fitted = _gaussians(rows, classes)
        return fitted.distances(rows), fitted.distances(np.concatenate(windows))
    of_clips, of_windows = np.empty(len(rows)), []
    for train, test in StratifiedKFold(n_folds, shuffle=True, random_state=0).split(rows, classes):
        fitted = _gaussians(rows[train], classes[train])
        of_clips[test] = fitted.distances(rows[test])
        of_windows.append(fitted.distances(np.concatenate([windows[i] for i in test.tolist()])))
    return of_clips, np.concatenate(of_windows)


def _limits(held_out: Array) -> Array:
    low, high = np.quantile(held_out, [1 - SHARE_INSIDE, SHARE_INSIDE])
    return np.array([high, max(SLOPE * (high - low) / _SPREADS, 1e-9)])


def _bad(member: str, found: str) -> ModelFileError:
    return ModelFileError(f"{PREFIX}{member}.npy {found}; save or copy the model again")
