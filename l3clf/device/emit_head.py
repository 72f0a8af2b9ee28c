"""A fitted head as C text.

Rule: the thresholds of trees are rounded down to float32, so that ``x <= threshold`` has the same result for every
float32 x as in scikit-learn, which compares in double precision.
"""

from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.frozen_heads import LEAF, ForestHead, FrozenHead, LinearHead
from l3clf.classifier.frozen_tag_heads import SigmoidHead
from l3clf.device.ctext import WEIGHTS_SECTION, c_array
from l3clf.errors import DeviceError

__all__ = ["head_source", "rounded_down", "rounded_up"]

LEAF_FEATURE = 0xFFFF
MAX_STEP = 0xFFFF  # of `right` in l3clf_node, a uint16_t


@singledispatch
def head_source(head: FrozenHead) -> str:
    """Return the C text of a head: its constants, and ``void l3clf_head(const float *x, float *probabilities)``.

    Parameters
    ----------
    head : LinearHead, ForestHead or SigmoidHead

    Raises
    ------
    DeviceError
        If the head is of another type, or one of its trees is too large.
    """
    raise DeviceError(f"head {type(head).__name__}: not in the C runtime; use logistic regression or a random forest")


@head_source.register
def _(head: LinearHead) -> str:
    # The C code neither divides by the scale nor subtracts the mean.
    weights = head.coef / head.scale
    arrays = [
        c_array("head_weights", _floats(weights)),
        c_array("head_intercept", _floats(head.intercept - weights @ head.mean)),
    ]
    value = f"{{{len(head.classes_)}, {head.n_features_in_}, head_weights, head_intercept}}"
    return _function("linear", arrays, value)


@head_source.register
def _(head: SigmoidHead) -> str:
    arrays = [c_array("head_weights", _floats(head.coef)), c_array("head_intercept", _floats(head.intercept))]
    return _function(
        "sigmoid", arrays, f"{{{len(head.classes_)}, {head.n_features_in_}, head_weights, head_intercept}}"
    )


@head_source.register
def _(head: ForestHead) -> str:
    leaves, rows = np.unique(head.value.astype(np.float32), axis=0, return_inverse=True)
    if len(leaves) > MAX_STEP or head.n_features_in_ >= LEAF_FEATURE:
        raise DeviceError(
            f"forest: {len(leaves)} different leaves, more than the C runtime's {MAX_STEP}; limit max_depth"
        )
    order = _preorder(head)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    is_leaf = head.children_left == LEAF
    # `ravel` because the inverse of NumPy 2.0 has another shape. A leaf's step is its row among the leaves.
    steps = np.where(is_leaf, rows.ravel(), place[head.children_right] - place)
    if steps.max() > MAX_STEP:
        raise DeviceError(f"forest: a tree of more than {MAX_STEP} nodes; limit max_depth")
    nodes = [
        f"{{{float(threshold).hex()}F, {LEAF_FEATURE if leaf else feature}, {step}}}"
        for threshold, leaf, feature, step in zip(
            rounded_down(head.threshold[order]), is_leaf[order], head.feature[order], steps[order], strict=True
        )
    ]
    listed = ",\n    ".join(nodes)
    arrays = [
        c_array("head_roots", head.tree_offsets[:-1].astype(np.int32)),
        f"static const l3clf_node head_nodes[{len(nodes)}] {WEIGHTS_SECTION} = {{\n    {listed}\n}};\n",
        c_array("head_leaves", leaves),
    ]
    value = f"{{{len(head.classes_)}, {len(head.tree_offsets) - 1}, head_roots, head_nodes, head_leaves}}"
    return _function("forest", arrays, value)


def _floats(values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if not np.isfinite(found).all():
        raise DeviceError("head: coefficients beyond float32; fit it on embeddings of ordinary size")
    return found


def _function(kind: str, arrays: list[str], value: str) -> str:
    return (
        "\n".join(arrays)
        + f"\nstatic const l3clf_{kind} head = {value};\n\n"
        + "void l3clf_head(const float *x, float *probabilities)\n{\n"
        + f"    l3clf_{kind}_probabilities(&head, x, probabilities);\n}}\n"
    )


def rounded_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 numbers that do not exceed `values`."""
    nearest = values.astype(np.float32)
    return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def rounded_up(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the smallest float32 numbers that are not below `values`."""
    return -rounded_down(-values)


def _preorder(head: ForestHead) -> NDArray[np.int64]:
    """Return the nodes of all trees in an order in which every left child directly follows its parent."""
    order = []
    for root in head.tree_offsets[:-1].tolist():
        waiting = [root]
        while waiting:
            node = waiting.pop()
            order.append(node)
            if head.children_left[node] != LEAF:
                waiting += [int(head.children_right[node]), int(head.children_left[node])]
    return np.array(order, np.int64)
