"""Frozen heads: classifiers as a few plain arrays, which predict with NumPy alone.

Rule: a frozen head predicts as its scikit-learn classifier did (within 1e-6 in every probability, with the same
tie-breaking), and its arrays are checked before any of them is used as an index.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from l3clf.errors import ModelFileError, ParameterError

__all__ = ["LEAF", "ArrayFacts", "ForestHead", "FrozenHead", "LinearHead", "checked_classes"]

Array = npt.NDArray[Any]

LEAF = -1
"""Child number that marks a leaf."""

_CELLS = 1 << 19  # rows x trees walked at once: keeps the working arrays at a few megabytes
_SUM_TOLERANCE = 1e-6  # of a leaf's probabilities; rounding leaves about 1e-16

# Beyond what anyone fits, and low enough that a hostile file costs neither time nor memory.
MAX_TREES, MAX_DEPTH = 10_000, 4096
MAX_LABEL = 1000  # characters
MAX_LABEL_BYTES = 64 << 20  # of all labels as an array
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class ArrayFacts(NamedTuple):
    """Type and shape of an array that is not read yet."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class FrozenHead:
    """Base of frozen heads: classes, the check of X, and prediction of labels.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns of `predict_proba`.
    n_features_in_ : int
        Number of values that each row of X must have.
    """

    kind: ClassVar[str]
    members: ClassVar[Mapping[str, tuple[str, int]]]
    """Name of each array -> its dtype and number of dimensions."""

    classes_: Array
    n_features_in_: int

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], classes: Any, n_features: int) -> Self:
        """Build a head from arrays such as those of `arrays`, checking everything.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            Exactly the arrays that `members` names.
        classes : sequence of str, int, float or bool
            Labels, one for each class, all different.
        n_features : int
            Number of values in a row of X.

        Raises
        ------
        ModelFileError
            If an array is missing, has the wrong shape or dtype, or holds invalid values, or if the classes are
            not valid labels.
        """
        head, labels = cls(), list(classes)
        cls.check_shapes(arrays, len(labels), n_features)
        head.classes_ = checked_classes(labels)
        head.n_features_in_ = int(n_features)
        for name in cls.members:
            setattr(head, name, arrays[name])
        head._check()
        return head

    @classmethod
    def check_shapes(cls, arrays: Mapping[str, Any], n_classes: int, n_features: int) -> None:
        """Check types and shapes against each other and the number of classes, before an array or a label is used.

        Parameters
        ----------
        arrays : mapping of str to ndarray or ArrayFacts
            Anything with `dtype` and `shape`.
        n_classes, n_features : int

        Raises
        ------
        ModelFileError
            If an array is missing or has another dtype or shape.
        """
        if not n_classes:
            raise ModelFileError("classes: of type nothing, expected at least one label; fit with labels")
        _check_members(arrays, cls.members)
        for name, shape in cls._shapes(arrays, n_classes, n_features).items():
            if arrays[name].shape != shape:
                raise _bad(name, f"has shape {arrays[name].shape}, expected {shape}")

    @classmethod
    def _shapes(cls, arrays: Mapping[str, Any], n_classes: int, n_features: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that follow from the number of classes and features, and from other arrays."""
        raise NotImplementedError

    def _check(self) -> None:
        raise NotImplementedError

    def _scores(self, X: Array) -> Array:
        """Return scores (n_samples, n_classes), of which the largest marks the prediction."""
        raise NotImplementedError

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that make up the head, by name."""
        return {name: getattr(self, name) for name in self.members}

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            Finite numbers.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Columns in the order of `classes_`; rows sum to 1.

        Raises
        ------
        ParameterError
            If X has another shape, or values that are not finite numbers.
        """
        raise NotImplementedError

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row; among equals the first in `classes_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            Finite numbers.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.

        Raises
        ------
        ParameterError
            If X has another shape, or values that are not finite numbers.
        """
        return np.asarray(self.classes_[np.argmax(self._scores(self._checked(X)), axis=1)])

    def _checked(self, X: Any) -> Array:
        """Return X as finite float32 or float64 of the right shape."""
        try:
            table = np.asarray(X)
        except ValueError as error:  # rows of different lengths
            raise ParameterError(f"X: not a table of numbers ({error}); give one row for each sample") from error
        if table.ndim != 2 or table.shape[1] != self.n_features_in_:
            raise ParameterError(
                f"X: shape {table.shape}, expected (n_samples, {self.n_features_in_}); "
                "embed with the embedder and pooling that the head was fitted on"
            )
        if table.dtype.kind not in "fiub":
            raise ParameterError(f"X: dtype {table.dtype}; give float32 embeddings")
        return _finite(table if table.dtype == np.float32 else table.astype(np.float64, copy=False))


class LinearHead(FrozenHead):
    """Standardise, multiply, softmax: a logistic regression as four arrays.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_features,), float64
        Standardisation: ``(X - mean) / scale``; every scale is above 0.
    coef : ndarray of shape (n_classes, n_features), float64
        One row for each class, also with two classes, where scikit-learn has a single row.
    intercept : ndarray of shape (n_classes,), float64
        Added to the products; the probabilities are the softmax over the classes.
    """

    kind: ClassVar[str] = "linear"
    members: ClassVar[Mapping[str, tuple[str, int]]] = {
        "mean": ("<f8", 1),
        "scale": ("<f8", 1),
        "coef": ("<f8", 2),
        "intercept": ("<f8", 1),
    }
    mean: Array
    scale: Array
    coef: Array
    intercept: Array

    @classmethod
    def _shapes(cls, arrays: Mapping[str, Any], n_classes: int, n_features: int) -> dict[str, tuple[int, ...]]:
        rows, columns = (n_classes,), (n_features,)
        return {"mean": columns, "scale": columns, "coef": rows + columns, "intercept": rows}

    def _check(self) -> None:
        for name in self.members:
            _check_finite(name, getattr(self, name))
        if not (self.scale > 0).all():
            raise _bad("scale", "holds values that are not above 0")

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: D102 - documented in FrozenHead
        scores = self._scores(self._checked(X))
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))  # the largest becomes 1: nothing overflows
        probabilities: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def _scores(self, X: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is refused below
            # In the precision of X, as StandardScaler computes it: its rounding affects the probabilities.
            rows = (X - self.mean.astype(X.dtype)) / self.scale.astype(X.dtype)
            scores: Array = rows @ self.coef.T + self.intercept
        if not np.isfinite(scores).all():
            raise ParameterError("X: values too large for this head; give embeddings like those it was fitted on")
        return scores


class ForestHead(FrozenHead):
    """Decision trees, one after another in flat arrays.

    Node numbers count through the whole forest. A leaf's children are -1; any other node's children have higher
    numbers and are in the same tree, and every node except a tree's first is the child of exactly one node.
    Hence no walk can leave its tree or run in a circle.

    Attributes
    ----------
    tree_offsets : ndarray of shape (n_trees + 1,), int64
        Tree t owns the nodes from ``tree_offsets[t]`` up to ``tree_offsets[t + 1]``.
    children_left, children_right : ndarray of shape (n_nodes,), int32
        The next node if ``x[feature] <= threshold``, and otherwise.
    feature : ndarray of shape (n_nodes,), int32
        Column of X that the node compares; 0 in leaves.
    threshold : ndarray of shape (n_nodes,), float64
        The value to compare it with; 0 in leaves.
    value : ndarray of shape (n_nodes, n_classes), float64
        Class probabilities of a leaf; zeros elsewhere.
    """

    kind: ClassVar[str] = "forest"
    members: ClassVar[Mapping[str, tuple[str, int]]] = {
        "tree_offsets": ("<i8", 1),
        "children_left": ("<i4", 1),
        "children_right": ("<i4", 1),
        "feature": ("<i4", 1),
        "threshold": ("<f8", 1),
        "value": ("<f8", 2),
    }
    tree_offsets: Array
    children_left: Array
    children_right: Array
    feature: Array
    threshold: Array
    value: Array

    @classmethod
    def _shapes(cls, arrays: Mapping[str, Any], n_classes: int, n_features: int) -> dict[str, tuple[int, ...]]:
        (n_nodes,) = arrays["children_left"].shape
        return dict.fromkeys(("children_right", "feature", "threshold"), (n_nodes,)) | {"value": (n_nodes, n_classes)}

    def _check(self) -> None:
        _check_offsets(self.tree_offsets, len(self.children_left))
        if self.feature.min() < 0 or self.feature.max() >= self.n_features_in_:
            raise _bad("feature", f"holds indices outside 0..{self.n_features_in_ - 1}")
        _check_finite("threshold", self.threshold)
        self._check_children()
        self._check_depth()
        self._check_values()

    def _check_children(self) -> None:
        """Check that the children form trees: each behind its parent, in the same tree, with one parent."""
        left, right = self.children_left, self.children_right
        own = np.arange(len(left))
        end = np.repeat(self.tree_offsets[1:], np.diff(self.tree_offsets))
        inner = left != LEAF
        if (inner != (right != LEAF)).any():
            raise _bad("children_left", "and children_right.npy disagree on which nodes are leaves")
        for name, child in (("children_left", left), ("children_right", right)):
            if (inner & ((child <= own) | (child >= end))).any():
                raise _bad(name, "points backwards or out of its tree")
        parents = np.bincount(np.concatenate((left[inner], right[inner])), minlength=len(left))
        parents[self.tree_offsets[:-1]] += 1  # a root counts as having one
        if (parents != 1).any():
            raise _bad("children_left", "and children_right.npy give a node no parent or several")

    def _check_depth(self) -> None:
        """Check that no row takes long, after `_check_children`: every level of a tree costs a step of `_leaves`."""
        nodes, depth = self.tree_offsets[:-1], 0
        while len(nodes := nodes[self.children_left[nodes] != LEAF]):
            nodes, depth = np.concatenate((self.children_left[nodes], self.children_right[nodes])), depth + 1
            if depth > MAX_DEPTH:
                raise ModelFileError(f"forest: a tree has more than {MAX_DEPTH} levels; fit it again with max_depth")

    def _check_values(self) -> None:
        _check_finite("value", self.value)
        if self.value.min() < 0 or self.value.max() > 1 + _SUM_TOLERANCE:
            raise _bad("value", "holds probabilities outside 0..1")
        self._check_sums()

    def _check_sums(self) -> None:
        sums = self.value[self.children_left == LEAF].sum(axis=1)
        if (np.abs(sums - 1) > _SUM_TOLERANCE).any():
            raise _bad("value", "holds a leaf whose probabilities do not sum to 1")

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: D102 - documented in FrozenHead
        return self._scores(self._checked(X))

    def _scores(self, X: Array) -> Array:
        with np.errstate(over="ignore"):
            rows = _finite(np.ascontiguousarray(X, dtype=np.float32))  # scikit-learn's trees see float32
        n_trees = len(self.tree_offsets) - 1
        step = max(1, _CELLS // n_trees)
        total = np.zeros((len(rows), len(self.classes_)))
        for start in range(0, len(rows), step):
            leaves = self._leaves(rows[start : start + step])
            for tree in range(n_trees):  # in scikit-learn's order of summation, so that rounding is the same
                total[start : start + step] += self.value[leaves[:, tree]]
        total /= n_trees
        return total

    def _leaves(self, rows: Array) -> Array:
        """Return the leaf (n_rows, n_trees) that each row reaches in each tree, walking all trees level by level."""
        n_trees = len(self.tree_offsets) - 1
        flat = rows.ravel()
        node = np.tile(self.tree_offsets[:-1], len(rows))
        walking = np.flatnonzero(self.children_left[node] != LEAF)
        while walking.size:
            at = node[walking]
            seen = flat[walking // n_trees * self.n_features_in_ + self.feature[at]]
            at = np.where(seen <= self.threshold[at], self.children_left[at], self.children_right[at])
            node[walking] = at
            walking = walking[self.children_left[at] != LEAF]
        return node.reshape(len(rows), n_trees)


def _bad(member: str, found: str) -> ModelFileError:
    return ModelFileError(f"{member}.npy {found}; save or copy the model again")


def _finite(table: Array) -> Array:
    if not np.isfinite(table).all():
        raise ParameterError("X: NaN, infinite or too large values; leave out the clips that failed")
    return table


def _check_members(arrays: Mapping[str, Any], members: Mapping[str, tuple[str, int]]) -> None:
    for name in sorted(members.keys() ^ arrays.keys()):
        raise _bad(name, "is missing" if name in members else "does not belong to this kind of head")
    for name, (dtype, ndim) in members.items():
        array = arrays[name]
        if array.dtype != np.dtype(dtype) or len(array.shape) != ndim or 0 in array.shape:
            expected = f"expected {np.dtype(dtype)} in {ndim} dimensions, not empty"
            raise _bad(name, f"is {array.dtype} {array.shape}, {expected}")


def _check_finite(name: str, array: Array) -> None:
    if not np.isfinite(array).all():
        raise _bad(name, "holds NaN or infinite values")


def _check_offsets(offsets: Array, n_nodes: int) -> None:
    if len(offsets) > MAX_TREES + 1:
        raise ModelFileError(f"forest: {len(offsets) - 1} trees, more than {MAX_TREES}; fit it again with fewer")
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != n_nodes or (offsets[1:] <= offsets[:-1]).any():
        raise _bad("tree_offsets", f"does not rise from 0 to the number of nodes, {n_nodes}")


def checked_classes(labels: Sequence[Any]) -> Array:
    """Return labels as an array of strings, integers, finite floats or booleans, all different.

    Raises
    ------
    ModelFileError
        If they are anything else, or cannot be shown.
    """
    types = {type(label.item() if isinstance(label, np.generic) else label) for label in labels}
    if len(types) != 1 or not types <= {str, int, float, bool}:
        found = ", ".join(sorted(kind.__name__ for kind in types))
        raise ModelFileError(
            f"classes: of type {found}, expected only str, int, float or bool; convert the labels before fit"
        )
    if types == {str}:
        _check_texts(labels)
    # A NumPy string loses NULs at its end, which would turn two classes into one.
    if len({str(label) for label in labels}) != len(labels):
        raise ModelFileError("classes: the same label twice; save or copy the model again")
    array = np.asarray(labels)
    if array.dtype.kind not in "Uibf" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise ModelFileError("classes: NaN, or numbers beyond 64 bits; convert the labels before fit")
    return array


def _check_texts(labels: Sequence[str]) -> None:
    """Refuse what no terminal or table can show, and labels whose array would be far larger than their text."""
    if "" in labels:
        raise ModelFileError("classes: an empty label, which is the answer for a clip that failed; name it before fit")
    longest = max(labels, key=len)
    if len(longest) > MAX_LABEL:
        raise ModelFileError(
            f"classes: a label of {len(longest)} characters ({longest[:20]!r}...), more than {MAX_LABEL}; "
            "shorten the labels before fit"
        )
    for label in labels:
        if _UNUSABLE.search(label):
            raise ModelFileError(
                f"classes: {label[:80]!r} holds a control character or half of a surrogate pair; "
                "rename the class before fit"
            )
    size = len(labels) * len(longest) * np.dtype("U1").itemsize  # NumPy gives every label the room of the longest
    if size > MAX_LABEL_BYTES:
        raise ModelFileError(
            f"classes: {len(labels)} labels of up to {len(longest)} characters take {size >> 20} MB; "
            "shorten the labels before fit"
        )
