"""Heads of taggers: classifiers that give the probability of each tag on its own.

Rule: what learns several labels at once is used as it is; of everything else there is one for each tag.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.classifier.frozen_heads import LinearHead
from l3clf.classifier.frozen_tag_heads import SigmoidHead, TagForestHead
from l3clf.classifier.heads import (
    as_members,
    check_fitted,
    freeze_head,
    freeze_logistic,
    make_head,
    sklearn_name,
    tree_members,
)
from l3clf.errors import ModelFileError, ParameterError

__all__ = ["FrozenTagHead", "fit_tag_head", "freeze_tag_head", "make_tag_head", "tag_probabilities"]

FrozenTagHead = SigmoidHead | TagForestHead

_CAN_SAVE = (
    "'logistic', 'forest', LogisticRegression, a Pipeline of StandardScaler and LogisticRegression, "
    "RandomForestClassifier, ExtraTreesClassifier and DecisionTreeClassifier"
)


def make_tag_head(head: Any, class_weight: Any = None, random_state: Any = 0) -> Any:
    """Return a new, unfitted classifier of several labels.

    Parameters
    ----------
    head : {"logistic", "forest"} or classifier
        "logistic" is ``StandardScaler`` followed by a ``LogisticRegression(C=0.1, max_iter=3000)`` for each tag;
        "forest" is one ``RandomForestClassifier`` of 300 trees for all tags. A classifier that learns several labels at
        once (forests, ``KNeighborsClassifier``, ``MLPClassifier``...) is cloned; of any other there is a clone for each
        tag.
    class_weight : None or "balanced", default=None
        Of the clips with a tag and without it, for a head given by name.
    random_state : int, RandomState instance or None, default=0
        Seed of the forest.

    Returns
    -------
    classifier
        For `fit_tag_head`.

    Raises
    ------
    ParameterError
        If the head cannot be used, or `class_weight` is neither None nor "balanced".
    """
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.utils import get_tags

    if class_weight not in (None, "balanced"):
        raise ParameterError(f"class_weight={class_weight!r}: expected None or 'balanced', which weighs each tag alone")
    made = make_head(head, class_weight, random_state)
    if isinstance(head, str) and head == "logistic":
        return make_pipeline(made[0], MultiOutputClassifier(made[-1]))  # one standardisation for all tags
    tags = get_tags(made)
    several = tags.target_tags.multi_output or (tags.classifier_tags is not None and tags.classifier_tags.multi_label)
    return made if several else MultiOutputClassifier(made)


def fit_tag_head(head: Any, rows: FloatArray, indicator: NDArray[np.int64]) -> Any:
    """Fit a head.

    Parameters
    ----------
    head : classifier
        Of `make_tag_head`.
    rows : array of shape (n, n_features)
    indicator : array of shape (n, n_tags), int64
        Every tag has rows with it and without.

    Returns
    -------
    classifier
        The head, fitted.
    """
    last = head[-1] if hasattr(head, "steps") else head
    single = indicator.shape[1] == 1 and not _is_one_for_each(last)  # one label is no list of labels for scikit-learn
    return head.fit(_exact(rows), indicator.ravel() if single else indicator)


def tag_probabilities(head: Any, rows: FloatArray, n_tags: int) -> NDArray[np.float64]:
    """Return the probability of each tag, whatever form the head gives it in.

    Parameters
    ----------
    head : classifier
        Fitted by `fit_tag_head`, or frozen.
    rows : array of shape (n, n_features)
    n_tags : int

    Returns
    -------
    array of shape (n, n_tags), float64
        From 0 to 1.

    Raises
    ------
    ParameterError
        If the head gives something else.
    """
    found = head.predict_proba(_exact(rows))
    if isinstance(found, list):  # of (n, 2) for each tag: without it and with it
        found = np.stack([each[:, 1] for each in found], axis=1)
    elif n_tags == 1 and found.shape[1] == 2:
        found = found[:, 1:]
    if found.shape != (len(rows), n_tags):
        raise ParameterError(
            f"head={type(head).__name__}: gives probabilities of shape {found.shape} for {len(rows)} rows and {n_tags} "
            "tags; give another classifier"
        )
    return np.asarray(found, np.float64)


def _exact(rows: FloatArray) -> NDArray[np.float64]:
    # A frozen head has its standardisation inside, so both are computed in double precision: they agree to 1e-12.
    return np.asarray(rows, np.float64)


def _is_one_for_each(head: Any) -> bool:
    return sklearn_name(head) in ("MultiOutputClassifier", "OneVsRestClassifier", "ClassifierChain")


def freeze_tag_head(fitted: Any, classes: NDArray[Any]) -> FrozenTagHead:
    """Turn a fitted head of a tagger into arrays that predict without it.

    Parameters
    ----------
    fitted : classifier
        Of `fit_tag_head`. A frozen head is returned unchanged.
    classes : array of shape (n_tags,)
        The tags.

    Returns
    -------
    SigmoidHead or TagForestHead
        With the same probabilities within 1e-6.

    Raises
    ------
    ModelFileError
        If the classifier is of another class, or not fitted.
    """
    if isinstance(fitted, FrozenTagHead):
        return fitted
    freeze = _FREEZERS.get(sklearn_name(fitted))
    if freeze is None:
        raise _cannot_be_saved(fitted)
    return freeze(fitted, classes)


def _cannot_be_saved(head: Any) -> ModelFileError:
    return ModelFileError(f"a {type(head).__name__} head of a tagger cannot be saved; use one of {_CAN_SAVE}")


def _freeze_pipeline(pipeline: Any, classes: NDArray[Any]) -> FrozenTagHead:
    steps = [step for _, step in pipeline.steps if step not in (None, "passthrough")]
    names = list(map(sklearn_name, steps))
    if len(steps) == 1:
        return freeze_tag_head(steps[0], classes)
    if names[0] != "StandardScaler" or len(steps) != 2 or not _is_one_for_each(steps[1]):
        raise _cannot_be_saved(pipeline)
    check_fitted(steps[1], "estimators_")
    if any(sklearn_name(each) != "LogisticRegression" for each in steps[1].estimators_):
        raise _cannot_be_saved(pipeline)
    return _sigmoid([freeze_logistic(each, steps[0]) for each in steps[1].estimators_], classes)


def _freeze_each(several: Any, classes: NDArray[Any]) -> SigmoidHead:
    check_fitted(several, "estimators_")
    heads = [freeze_head(each) for each in several.estimators_]
    if not all(isinstance(head, LinearHead) for head in heads):
        raise _cannot_be_saved(several.estimators_[0])
    return _sigmoid([head for head in heads if isinstance(head, LinearHead)], classes)


def _sigmoid(heads: Sequence[LinearHead], classes: NDArray[Any]) -> SigmoidHead:
    """Return one head of logistic regressions of two classes: the sigmoid of the difference of their scores."""
    coef = np.stack([(head.coef[1] - head.coef[0]) / head.scale for head in heads])
    means = np.stack([head.mean for head in heads])
    intercept = np.array([head.intercept[1] - head.intercept[0] for head in heads]) - (coef * means).sum(axis=1)
    arrays = as_members({"coef": coef, "intercept": intercept}, SigmoidHead.members)
    return SigmoidHead.from_arrays(arrays, classes.tolist(), coef.shape[1])


def _freeze_trees(fitted: Any, classes: NDArray[Any]) -> TagForestHead:
    check_fitted(getattr(fitted, "estimators_", [fitted])[0], "tree_")
    arrays = tree_members(fitted, lambda values: values[:, :, 1])  # of each output, the class 1: with the tag
    return TagForestHead.from_arrays(arrays, classes.tolist(), fitted.n_features_in_)


_FREEZERS: Mapping[str, Callable[[Any, NDArray[Any]], FrozenTagHead]] = {
    "GridSearchCV": lambda search, classes: freeze_tag_head(search.best_estimator_, classes),
    "Pipeline": _freeze_pipeline,
    "MultiOutputClassifier": _freeze_each,
    "OneVsRestClassifier": _freeze_each,
    "RandomForestClassifier": _freeze_trees,
    "ExtraTreesClassifier": _freeze_trees,
    "DecisionTreeClassifier": _freeze_trees,
}
