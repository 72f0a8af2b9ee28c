"""Heads: classifiers that turn an embedding into class probabilities.

`make_head` returns an unfitted scikit-learn classifier; `freeze_head` turns a fitted one into a frozen head,
which a model file stores.

Rule: scikit-learn is imported only when a head is made, and a head that cannot be frozen exactly is refused.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from l3clf.classifier.frozen_heads import LEAF, ForestHead, FrozenHead, LinearHead
from l3clf.errors import ModelFileError, ParameterError, did_you_mean

__all__ = [
    "FOREST_TREES",
    "HEAD_NAMES",
    "LARGE_BYTES",
    "MAX_STORED_BYTES",
    "NODES_PER_ROW",
    "ForestHead",
    "LinearHead",
    "as_members",
    "check_fitted",
    "check_size",
    "forest_bytes",
    "forest_memory",
    "freeze_head",
    "freeze_logistic",
    "make_head",
    "sklearn_name",
    "tree_members",
    "tuned_logistic",
]

Array = npt.NDArray[Any]

HEAD_NAMES = ("logistic", "forest")
"""Names that `make_head` accepts."""
FOREST_TREES = 300
MAX_STORED_BYTES = 512 << 20
"""Of a model file, unpacked: a hostile one could expand to any size."""

_N_INNER = 3  # each fold multiplies the time of a fit; three are enough to choose between five values of C
_ROOM = 0.99  # of a model file for a forest; the rest is for what describes it
NODES_PER_ROW = 1.27  # at most: a bootstrap sample has 63.2 % of the rows, and n leaves have n - 1 inner nodes
LARGE_BYTES = 6e9  # of a head while it is fitted: leaves room on a machine with 8 GB
_NODE_BYTES = 20  # of a node besides the probabilities of the classes: two children, a feature, a threshold
_CAN_SAVE = (
    "LogisticRegression, a Pipeline of StandardScaler and LogisticRegression, RandomForestClassifier, "
    "ExtraTreesClassifier and DecisionTreeClassifier"
)


def make_head(head: Any, class_weight: Any = None, random_state: Any = 0) -> Any:
    """Return a new, unfitted scikit-learn classifier.

    Parameters
    ----------
    head : {"logistic", "forest"} or classifier
        "logistic" is ``StandardScaler`` followed by ``LogisticRegression(C=0.1, max_iter=3000)``, "forest" a
        ``RandomForestClassifier`` of 300 trees. Any scikit-learn classifier that has ``fit`` and
        ``predict_proba`` is cloned.
    class_weight : None, "balanced" or dict, default=None
        For a head given by name; a classifier carries its own.
    random_state : int, RandomState instance or None, default=0
        Seed of the forest.

    Returns
    -------
    classifier
        Unfitted; no state is shared with `head`.

    Raises
    ------
    ParameterError
        If the name is unknown, the object is not a classifier with probabilities, or `class_weight` is
        given together with a classifier.

    Examples
    --------
    >>> make_head("forest").n_estimators
    300
    """
    if isinstance(head, str):
        return _named_head(head, class_weight, random_state)
    _check_classifier(head)
    if class_weight is not None:
        raise ParameterError(
            f"class_weight={class_weight!r}: cannot be combined with head={type(head).__name__}; "
            "set class_weight on the classifier itself"
        )
    from sklearn.base import clone

    return clone(head)


def _named_head(name: str, class_weight: Any, random_state: Any) -> Any:
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000, class_weight=class_weight))
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=FOREST_TREES, class_weight=class_weight, random_state=random_state)
    names = ", ".join(map(repr, HEAD_NAMES))
    hint = did_you_mean(name, HEAD_NAMES)
    raise ParameterError(f"head={name!r}: unknown{hint}; give one of {names}, or a scikit-learn classifier")


def tuned_logistic() -> Any:
    """Return a standardised logistic regression that chooses its C by cross-validation on the training data.

    Returns
    -------
    GridSearchCV
        Over C from 0.001 to 10 in steps of ten, with three stratified folds, by accuracy. Folds that leave only
        one class to train on are skipped; if all are, C is chosen by the accuracy on the training data.
    """
    from sklearn.model_selection import GridSearchCV

    steps = {"logisticregression__C": [0.001, 0.01, 0.1, 1.0, 10.0]}
    return GridSearchCV(_named_head("logistic", None, 0), steps, cv=_InnerFolds())


class _InnerFolds:
    """Three stratified folds that allow classes of one or two rows, for which scikit-learn's fail or score NaN."""

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return len(self.split(X, y))

    def split(self, X: Any, y: Any, groups: Any = None) -> list[tuple[Array, Array]]:
        y = np.asarray(y)
        fold = _inner_folds(y)
        splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(_N_INNER)]
        usable = [(train, test) for train, test in splits if len(test) and len(np.unique(y[train])) > 1]
        everything = np.arange(len(fold))
        return usable or [(everything, everything)]


def _inner_folds(y: Array) -> Array:
    from sklearn.model_selection import StratifiedKFold

    _, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    fold = np.zeros(len(y), np.intp)
    if counts.min() >= _N_INNER:
        for k, (_, test) in enumerate(StratifiedKFold(_N_INNER).split(y, y)):
            fold[test] = k
        return fold
    # In runs, because windows of one clip are neighbours. Classes start at different folds, or those of one row
    # would all be in the first.
    for k, n in enumerate(counts):
        fold[index == k] = (np.arange(n) * _N_INNER // n + k) % _N_INNER
    return fold


def _check_classifier(head: Any) -> None:
    if isinstance(head, FrozenHead):
        raise ParameterError(
            f"head={type(head).__name__}: comes from a model file and cannot be fitted again; "
            "give 'logistic', 'forest' or a scikit-learn classifier"
        )
    from sklearn.base import is_classifier

    if isinstance(head, type) or not hasattr(head, "get_params") or not is_classifier(head):
        raise ParameterError(
            f"head={head!r}: not a classifier; give 'logistic', 'forest' or an instance of a scikit-learn classifier"
        )
    for method in ("fit", "predict_proba"):
        if not hasattr(head, method):
            raise ParameterError(
                f"head={type(head).__name__}: has no {method}; give a classifier that estimates probabilities "
                "(wrap SVC in CalibratedClassifierCV)"
            )


def freeze_head(fitted: Any) -> LinearHead | ForestHead:
    """Turn a fitted scikit-learn classifier into arrays that predict without it.

    Parameters
    ----------
    fitted : classifier
        A fitted ``LogisticRegression``, alone or in a ``Pipeline`` behind a ``StandardScaler``, a
        ``RandomForestClassifier``, ``ExtraTreesClassifier`` or ``DecisionTreeClassifier``, or a
        ``GridSearchCV`` over one of these. A frozen head is returned unchanged.

    Returns
    -------
    LinearHead or ForestHead
        With the same probabilities within 1e-6.

    Raises
    ------
    ModelFileError
        If the classifier is of another class, is not fitted, has several outputs, or is a one-vs-rest logistic
        regression.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> head = freeze_head(DecisionTreeClassifier().fit([[0.0], [1.0]], ["off", "on"]))
    >>> head.predict([[0.9]]).tolist()
    ['on']
    """
    if isinstance(fitted, LinearHead | ForestHead):
        return fitted
    freeze = _FREEZERS.get(sklearn_name(fitted))
    if freeze is None:
        raise ModelFileError(f"a {type(fitted).__name__} head cannot be saved; use one of {_CAN_SAVE}")
    return freeze(fitted)


def sklearn_name(estimator: Any) -> str:
    """Return the name of the class of an estimator of scikit-learn's own; nothing for others."""
    kind = type(estimator)  # exactly, since a subclass may predict differently
    return kind.__name__ if kind.__module__.startswith("sklearn.") else ""


def check_fitted(estimator: Any, attribute: str) -> None:
    """Raise ModelFileError for an estimator without an attribute that it has once it is fitted."""
    if not hasattr(estimator, attribute):
        raise ModelFileError(f"the {type(estimator).__name__} head is not fitted; fit it before saving")


def _freeze_pipeline(pipeline: Any) -> LinearHead | ForestHead:
    steps = [step for _, step in pipeline.steps if step not in (None, "passthrough")]
    names = [sklearn_name(step) for step in steps]
    if names == ["StandardScaler", "LogisticRegression"]:
        return freeze_logistic(steps[1], steps[0])
    if len(names) == 1 and names != ["Pipeline"]:
        return freeze_head(steps[0])
    found = " and ".join(type(step).__name__ for step in steps) or "nothing"
    raise ModelFileError(f"a Pipeline head of {found} cannot be saved; use one of {_CAN_SAVE}")


def freeze_logistic(logistic: Any, scaler: Any = None) -> LinearHead:
    """Return the frozen head of a fitted logistic regression behind a fitted scaler, or none."""
    check_fitted(logistic, "coef_")
    n_classes, n_features = len(logistic.classes_), logistic.coef_.shape[1]
    mean, scale = getattr(scaler, "mean_", None), getattr(scaler, "scale_", None)
    if not getattr(scaler, "with_mean", False):
        mean = None  # a scaler with with_mean=False has a mean_ all the same
    coef, intercept = _rows_per_class(logistic, n_classes)
    arrays = {
        "mean": np.zeros(n_features) if mean is None else mean,
        "scale": np.ones(n_features) if scale is None else scale,
        "coef": coef,
        "intercept": intercept,
    }
    return LinearHead.from_arrays(as_members(arrays, LinearHead.members), logistic.classes_, n_features)


def _rows_per_class(logistic: Any, n_classes: int) -> tuple[Array, Array]:
    """Return coefficients and intercepts whose softmax over the classes equals scikit-learn's probabilities."""
    coef, intercept = logistic.coef_, np.broadcast_to(logistic.intercept_, len(logistic.coef_))
    multi_class = getattr(logistic, "multi_class", None)  # gone since scikit-learn 1.8
    if n_classes > 2:
        if multi_class == "ovr" or logistic.solver == "liblinear":
            raise ModelFileError(
                "a one-vs-rest LogisticRegression head cannot be saved; fit it without multi_class='ovr' and with "
                "another solver than 'liblinear'"
            )
        return coef, intercept
    # Two classes have one row: sigmoid(s) is the softmax of (0, s), and multinomial's is that of (-s, s).
    first = -1.0 if multi_class == "multinomial" else 0.0
    return np.vstack((first * coef, coef)), np.concatenate((first * intercept, intercept))


def _freeze_trees(fitted: Any) -> ForestHead:
    estimators = getattr(fitted, "estimators_", [fitted])  # a single tree is a forest of one
    check_fitted(estimators[0], "tree_")
    if fitted.n_outputs_ != 1:
        raise ModelFileError(
            f"a {type(fitted).__name__} head with {fitted.n_outputs_} outputs cannot be saved; fit one output"
        )
    return ForestHead.from_arrays(
        tree_members(fitted, lambda values: values[:, 0, :]), fitted.classes_, fitted.n_features_in_
    )


def tree_members(fitted: Any, chosen: Callable[[Array], Array]) -> dict[str, Array]:
    """Return the arrays of a `ForestHead`, from a fitted forest or tree that is small enough for a model file.

    Parameters
    ----------
    fitted : forest or tree of scikit-learn
    chosen : callable
        Returns the values to store (n_nodes, n_columns) of those of a tree (n_nodes, n_outputs, n_classes).

    Raises
    ------
    ModelFileError
        If it is too large for a model file.
    """
    check_size(fitted)
    trees = [estimator.tree_ for estimator in getattr(fitted, "estimators_", [fitted])]
    offsets = np.cumsum([0, *(tree.node_count for tree in trees)])
    parts = [_tree_arrays(tree, offset, chosen(tree.value)) for tree, offset in zip(trees, offsets, strict=False)]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return as_members({"tree_offsets": offsets, **arrays}, ForestHead.members)


def forest_bytes(n_nodes: float, n_classes: int) -> float:
    """Return the size in bytes of a forest in a model file, unpacked."""
    return n_nodes * (_NODE_BYTES + 8.0 * n_classes)


def forest_memory(n_rows: int, n_classes: int) -> float:
    """Return how many bytes a forest takes at most while it is fitted on so many rows."""
    return 8.0 * FOREST_TREES * NODES_PER_ROW * n_rows * n_classes  # the probabilities of each node, in float64


def check_size(fitted: Any) -> None:
    """Raise ModelFileError for a forest that is too large for a model file, before it is copied for one."""
    estimators = getattr(fitted, "estimators_", [fitted])
    nodes = sum(estimator.tree_.node_count for estimator in estimators if hasattr(estimator, "tree_"))
    n_classes = len(getattr(fitted, "classes_", ()))
    if (size := forest_bytes(nodes, n_classes)) > _ROOM * MAX_STORED_BYTES:
        raise ModelFileError(
            f"a forest of {nodes:,} nodes for {n_classes:,} classes takes {size / 2**20:,.0f} MB, more than the "
            f"{MAX_STORED_BYTES / 2**20:,.0f} MB of a model file; use the head 'logistic', or limit the forest with "
            "max_depth"
        )


def _tree_arrays(tree: Any, offset: int, values: Array) -> dict[str, Array]:
    """Return one tree's arrays with nodes numbered from `offset`."""
    # The format has zeros where a leaf or an inner node uses no value.
    leaf = tree.children_left == LEAF
    return {
        "children_left": np.where(leaf, LEAF, tree.children_left + offset),
        "children_right": np.where(leaf, LEAF, tree.children_right + offset),
        "feature": np.where(leaf, 0, tree.feature),
        "threshold": np.where(leaf, 0.0, tree.threshold),
        "value": np.where(leaf[:, None], values, 0.0),
    }


def as_members(arrays: Mapping[str, Array], members: Mapping[str, tuple[str, int]]) -> dict[str, Array]:
    """Return arrays in the types that a frozen head has its members in."""
    return {name: np.ascontiguousarray(arrays[name], dtype=dtype) for name, (dtype, _) in members.items()}


_FREEZERS: Mapping[str, Callable[[Any], LinearHead | ForestHead]] = {
    "GridSearchCV": lambda search: freeze_head(search.best_estimator_),
    "Pipeline": _freeze_pipeline,
    "LogisticRegression": freeze_logistic,
    "RandomForestClassifier": _freeze_trees,
    "ExtraTreesClassifier": _freeze_trees,
    "DecisionTreeClassifier": _freeze_trees,
}
