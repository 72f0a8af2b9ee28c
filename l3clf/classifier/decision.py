"""From the windows of a clip to one decision: pooling, gate, threshold.

Rule: these few lines are the only place where windows become an answer; clips, streams and the
generated C all follow them.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.errors import ParameterError

__all__ = [
    "ANSWER_POOLINGS",
    "POOLINGS",
    "UNKNOWN",
    "VECTOR_POOLINGS",
    "check_pooling",
    "decide",
    "heard",
    "pool_answers",
    "pool_vectors",
]

VECTOR_POOLINGS = ("mean", "mean+std", "max")
"""Poolings of the windows' embeddings, before the head."""
ANSWER_POOLINGS = ("probability", "vote")
"""Poolings of the head's answers to each window."""
POOLINGS = VECTOR_POOLINGS + ANSWER_POOLINGS
UNKNOWN = "unknown"

Probabilities: TypeAlias = NDArray[np.float64]


def check_pooling(pooling: object, allowed: tuple[str, ...] = POOLINGS) -> None:
    """Refuse a pooling that does not exist.

    Raises
    ------
    ParameterError
        If it is none of those allowed.
    """
    if not isinstance(pooling, str) or pooling not in allowed:
        raise ParameterError(f"pooling={pooling!r}; expected one of {', '.join(map(repr, allowed))}")


def heard(levels_dbfs: FloatArray, gate_dbfs: float | None) -> NDArray[np.bool_]:
    """Return which windows are loud enough to count.

    Parameters
    ----------
    levels_dbfs : array of shape (n_windows,)
        RMS level of each window.
    gate_dbfs : float or None
        Windows below it are not heard; None hears all.

    Returns
    -------
    array of shape (n_windows,), bool
    """
    if gate_dbfs is None:
        return np.ones(len(levels_dbfs), np.bool_)
    return np.asarray(levels_dbfs >= gate_dbfs)


def pool_vectors(vectors: FloatArray, pooling: str) -> FloatArray:
    """Pool the embeddings of a clip's windows into one vector.

    Parameters
    ----------
    vectors : array of shape (n_windows, embedding_size)
    pooling : {"mean", "mean+std", "max"}

    Returns
    -------
    array of shape (embedding_size,), or (2 * embedding_size,) for "mean+std", float32

    Examples
    --------
    >>> pool_vectors(np.array([[1, 2], [3, 6]], np.float32), "mean+std").tolist()
    [2.0, 4.0, 1.0, 2.0]
    """
    check_pooling(pooling, VECTOR_POOLINGS)
    if pooling == "max":
        return np.asarray(vectors.max(axis=0))
    mean = vectors.mean(axis=0, dtype=np.float64)
    if pooling == "mean":
        return np.asarray(mean, np.float32)
    return np.concatenate([mean, vectors.std(axis=0, dtype=np.float64)]).astype(np.float32)


def pool_answers(probabilities: Probabilities, pooling: str) -> Probabilities:
    """Pool the head's answers to a clip's windows into one.

    Parameters
    ----------
    probabilities : array of shape (n_windows, n_classes)
    pooling : {"probability", "vote"}
        Their mean, or the share of windows for which each class is the most probable.

    Returns
    -------
    array of shape (n_classes,)
    """
    check_pooling(pooling, ANSWER_POOLINGS)
    if pooling == "probability":
        return np.asarray(probabilities.mean(axis=0))
    votes = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return votes / len(probabilities)


def decide(probabilities: Probabilities, classes: NDArray[Any], unknown_threshold: float | None) -> NDArray[Any]:
    """Return the most probable class of each clip, or "unknown" where that is not probable enough.

    Parameters
    ----------
    probabilities : array of shape (n_clips, n_classes)
        A row of NaN (a clip that failed) is answered with None, a row of zeros (a clip of which nothing
        was heard) with "unknown".
    classes : array of shape (n_classes,)
    unknown_threshold : float or None
        The least probability for which a class is named.

    Returns
    -------
    array of shape (n_clips,)
        Of the classes' type where every answer is a class, of objects otherwise.

    Examples
    --------
    >>> decide(np.array([[0.9, 0.1], [0.5, 0.5]]), np.array(["cat", "dog"]), 0.6).tolist()
    ['cat', 'unknown']
    """
    failed = np.isnan(probabilities).any(axis=1)
    best = np.where(failed, 0.0, probabilities.max(axis=1, initial=0.0))
    unsure = ~failed & ((best <= 0) | (best < (unknown_threshold or 0.0)))
    answers: NDArray[Any] = classes[np.where(failed, 0, probabilities.argmax(axis=1))]
    if failed.any() or unsure.any():
        answers = answers.astype(object)
        answers[failed] = None
        answers[unsure] = UNKNOWN
    return answers
