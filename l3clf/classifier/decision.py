"""From the windows of a clip to one decision: pooling, gate, threshold.

Rule: this module is the only place where windows become a decision; clips, streams and the generated C all
follow it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.audio.levels import all_silent
from l3clf.errors import ParameterError, did_you_mean

__all__ = [
    "BACKGROUND",
    "DEFAULT_WINDOWS",
    "FAILED",
    "POOLINGS",
    "PROBABILITY_POOLINGS",
    "TAG_POOLINGS",
    "UNKNOWN",
    "VECTOR_POOLINGS",
    "Answers",
    "MixedDecisions",
    "WindowPredictions",
    "above_gate",
    "accepted",
    "check_pooling",
    "counted",
    "decide",
    "pool_probabilities",
    "pool_vectors",
    "pool_windows",
    "tagged",
]

VECTOR_POOLINGS = ("mean", "mean+std", "max")
"""Poolings of the windows' embeddings, before the head."""
PROBABILITY_POOLINGS = ("probability", "vote")
"""Poolings of the head's probabilities for each window, after the head."""
POOLINGS = VECTOR_POOLINGS + PROBABILITY_POOLINGS
TAG_POOLINGS = (*VECTOR_POOLINGS, "probability")
"""Poolings for several labels: the windows of a clip do not vote for one."""
DEFAULT_WINDOWS = 10
"""How many windows, the last ones, a decision about a stream is made from, where no number is named."""
UNKNOWN = "unknown"
BACKGROUND = "background"
"""The label of training clips that are of no class, for a classifier that learns sounds to be unknown."""
FAILED = ""
"""Answer for a clip that could not be read, where the labels are strings; None where they are not."""

Probabilities: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WindowPredictions:
    """Predictions for each window of one clip.

    Attributes
    ----------
    labels : array of shape (n_windows,)
        The most probable class, or "unknown" for windows below the gate or the threshold, and for all windows of a
        clip that is digital silence, unless silence was learned.
    probabilities : array of shape (n_windows, n_classes), float64
        Columns in the order of the classifier's ``classes_``; zeros for windows that do not count.
    times_s : array of shape (n_windows, 2), float64
        Start and end of each window in seconds, clip start = 0.
    """

    labels: NDArray[Any]
    probabilities: Probabilities
    times_s: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier says of pools of windows, before the threshold.

    Attributes
    ----------
    probabilities : array of shape (n, n_classes), float64
        Of the classes, given that the sound is of one of them; zeros for a pool without a window that counts, NaN for a
        clip that failed.
    known_shares : array of shape (n,), float64
        Probability that the sound is of any class that was learned, 0 to 1; ones where no background was.
    """

    probabilities: Probabilities
    known_shares: NDArray[np.float64]

    @property
    def unknown_scores(self) -> NDArray[np.float64]:
        """How far each pool is from every class: 1 less the probability of the best one, with the background in it."""
        return np.asarray(1 - self.known_shares * self.probabilities.max(axis=1, initial=0.0))


class MixedDecisions(np.ndarray[Any, np.dtype[Any]]):
    """Decisions of which some are "unknown" or None beside labels that are no strings: an array of objects.

    It can be indexed, compared and converted like any other, but its values cannot be sorted. Most of scikit-learn's
    scorers begin with that, and would give a TypeError from the depths, or NaN. (Those that begin with a confusion
    matrix copy the array first; they refuse it in words of their own.)
    """

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if (
            func is np.unique
            and self.dtype == object
            and any(value is None or isinstance(value, str) for value in self.flat)
        ):
            raise ParameterError(
                'predictions: "unknown" or None beside labels that are not strings, which cannot be sorted or scored '
                "by scikit-learn's own scorers; fit with strings as labels, or use the classifier's own score"
            )
        return super().__array_function__(func, types, args, kwargs)


def check_pooling(pooling: object, allowed: tuple[str, ...] = POOLINGS) -> None:
    """Check the name of a pooling.

    Raises
    ------
    ParameterError
        If it is not one of those allowed.
    """
    if not isinstance(pooling, str) or pooling not in allowed:
        hint = did_you_mean(pooling, allowed)
        raise ParameterError(f"pooling={pooling!r}{hint}; expected one of {', '.join(map(repr, allowed))}")


def above_gate(
    levels_dbfs: FloatArray, gate_dbfs: float | None, hysteresis_db: float = 0.0, *, is_open: bool = False
) -> NDArray[np.bool_]:
    """Return which windows of a whole clip or stream are loud enough to count.

    A window at or above the gate opens it, and one more than the hysteresis below the gate closes it. Windows count
    while it is open. So a sound counts from where it is loud until it has faded.

    Parameters
    ----------
    levels_dbfs : array of shape (n_windows,)
        RMS level of each window in dB relative to full scale, in the order of time.
    gate_dbfs : float or None
        The level that opens the gate; None lets every window through.
    hysteresis_db : float, default=0.0
        How far below it the gate stays open. With 0 each window is judged on its own.
    is_open : bool, default=False
        Whether the gate is open before the first window: for the next part of a stream, the last value returned.

    Returns
    -------
    array of shape (n_windows,), bool

    Examples
    --------
    >>> above_gate(np.array([-35, -20, -35, -50, -35]), -30, hysteresis_db=10).tolist()
    [False, True, True, False, False]
    """
    if gate_dbfs is None:
        return np.ones(len(levels_dbfs), np.bool_)
    opens = np.asarray(levels_dbfs >= gate_dbfs)
    if hysteresis_db == 0:
        return opens
    moves = opens | ~np.asarray(levels_dbfs >= gate_dbfs - hysteresis_db)  # the others leave the gate as it is
    last_move = np.maximum.accumulate(np.where(moves, np.arange(len(opens)), -1))
    return np.where(last_move < 0, is_open, opens[last_move])


def counted(levels_dbfs: FloatArray, above: NDArray[np.bool_], silence_learned: bool | None) -> NDArray[np.bool_]:
    """Return which windows of a clip, or of a stream's pool, its decision is made from.

    They are those above the gate. If every window is digital silence (below -100 dBFS), none counts unless silence was
    learned: a head that never met it would name a class with confidence. Silent windows of other clips count.

    Parameters
    ----------
    levels_dbfs : array of shape (n_windows,)
        RMS level of each window of the pool in dB relative to full scale.
    above : array of shape (n_windows,), bool
        What `above_gate` says of these windows, within the whole clip or stream.
    silence_learned : bool or None
        Whether a training clip was digital silence; None, where that is not known, counts as True.

    Returns
    -------
    array of shape (n_windows,), bool
    """
    return above & False if silence_learned is False and all_silent(levels_dbfs) else above


def pool_windows(
    vectors: FloatArray,
    levels_dbfs: FloatArray,
    above: NDArray[np.bool_],
    windows: int,
    silence_learned: bool | None,
    n_last: int | None = None,
) -> list[FloatArray]:
    """Return the embeddings that each decision about a stream, or about the course of a clip, is made from.

    Decision k is about windows k - `windows` + 1 to k, fewer at the start, and is made from those of them that count.

    Parameters
    ----------
    vectors : array of shape (n_windows, embedding_size)
        Of consecutive windows.
    levels_dbfs : array of shape (n_windows,)
    above : array of shape (n_windows,), bool
        What `above_gate` says of these windows, within the whole clip or stream.
    windows : int
        How many windows a decision is about.
    silence_learned : bool or None
        See `counted`.
    n_last : int or None, default=None
        For how many of the last windows decisions are wanted; None means for all. A stream needs to keep no more than
        `windows` - 1 windows for those that come.

    Returns
    -------
    list of arrays of shape (n_counted, embedding_size)
        One for each decision.

    Examples
    --------
    >>> vectors = np.array([[1.0], [2.0], [3.0]], np.float32)
    >>> pools = pool_windows(vectors, np.array([-20, -60, -20]), np.array([True, False, True]), 2, None)
    >>> [pool.ravel().tolist() for pool in pools]
    [[1.0], [1.0], [3.0]]
    """
    first = 0 if n_last is None else len(vectors) - n_last
    pools = [slice(max(0, k + 1 - windows), k + 1) for k in range(first, len(vectors))]
    return [vectors[pool][counted(levels_dbfs[pool], above[pool], silence_learned)] for pool in pools]


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
    mean = vectors.mean(axis=0, dtype=np.float64)  # float32 sums of a long recording lose digits
    if pooling == "mean":
        return np.asarray(mean, np.float32)
    return np.concatenate([mean, vectors.std(axis=0, dtype=np.float64)]).astype(np.float32)


def pool_probabilities(probabilities: Probabilities, pooling: str) -> Probabilities:
    """Pool the head's probabilities for a clip's windows into one row.

    Parameters
    ----------
    probabilities : array of shape (n_windows, n_classes)
    pooling : {"probability", "vote"}
        Their mean, or the share of windows for which each class is the most probable.

    Returns
    -------
    array of shape (n_classes,), float64
        Sums to 1.
    """
    check_pooling(pooling, PROBABILITY_POOLINGS)
    if pooling == "probability":
        return np.asarray(probabilities.mean(axis=0))
    votes = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return votes / len(probabilities)


def accepted(answers: Answers, unknown_threshold: float | NDArray[np.float64] | None) -> NDArray[np.bool_]:
    """Return for which pools the most probable class, the first among equals, is probable enough.

    Parameters
    ----------
    answers : Answers
    unknown_threshold : float, array of shape (n_classes,) or None
        See `decide`.

    Returns
    -------
    array of shape (n,), bool
        False for a pool without a window that counts and for a clip that failed.
    """
    # The C runtime repeats this, so ties go to the first class and the threshold itself is still a class.
    probabilities = np.nan_to_num(answers.probabilities)
    best = probabilities.max(axis=1, initial=0.0)
    limits = np.broadcast_to(0.0 if unknown_threshold is None else unknown_threshold, probabilities.shape[1])
    return np.asarray((best > 0) & (best * answers.known_shares >= limits[probabilities.argmax(axis=1)]))


def tagged(
    probabilities: Probabilities, thresholds: float | NDArray[np.float64] | Sequence[float]
) -> NDArray[np.bool_]:
    """Return which tags each pool has: those whose probability reaches their threshold.

    Parameters
    ----------
    probabilities : array of shape (n, n_tags)
        Each on its own, 0 to 1. A row of NaN is a clip that failed, a row of zeros a pool without a window that counts.
    thresholds : float or array of shape (n_tags,)
        0 to 1.

    Returns
    -------
    array of shape (n, n_tags), bool
        False in rows of NaN and of zeros, whatever the thresholds.

    Examples
    --------
    >>> tagged(np.array([[0.9, 0.2], [0.3, 0.1], [0.0, 0.0]]), [0.3, 0.15]).tolist()
    [[True, True], [True, False], [False, False]]
    """
    # The C runtime repeats this: the threshold itself is enough. No head gives a probability of 0 to all tags but for
    # a forest, whose trees then agree that there is none.
    counts = (probabilities > 0).any(axis=1, keepdims=True)
    return np.asarray((probabilities >= np.asarray(thresholds, np.float64)) & counts)


def decide(
    probabilities: Probabilities,
    classes: NDArray[Any],
    unknown_threshold: float | NDArray[np.float64] | None,
    known_shares: NDArray[np.float64] | None = None,
) -> NDArray[Any]:
    """Return the most probable class of each clip, or "unknown" where that is not probable enough.

    Parameters
    ----------
    probabilities : array of shape (n_clips, n_classes)
        A row of NaN (a clip that failed) gives "" where classes are strings and None where they are not; a row of
        zeros (a clip without a window that counts) gives "unknown".
    classes : array of shape (n_classes,)
    unknown_threshold : float, array of shape (n_classes,) or None
        Lowest probability, 0 to 1, for which a class is predicted; an array has one for each class.
    known_shares : array of shape (n_clips,) or None
        What the probabilities are multiplied by before they are compared; see `Answers`.

    Returns
    -------
    array of shape (n_clips,)
        Of the classes' type where these are strings or every decision is a class, of objects otherwise.

    Examples
    --------
    >>> decide(np.array([[0.9, 0.1], [0.5, 0.5]]), np.array(["cat", "dog"]), 0.6).tolist()
    ['cat', 'unknown']
    """
    failed = np.isnan(probabilities).any(axis=1)
    unsure = ~failed & ~accepted(
        Answers(probabilities, np.ones(1) if known_shares is None else known_shares), unknown_threshold
    )
    decisions: NDArray[Any] = classes[np.where(failed, 0, probabilities.argmax(axis=1))]
    if not (failed.any() or unsure.any()):
        return decisions
    strings = all(isinstance(label, str) for label in classes.tolist())
    mixed: NDArray[Any] = decisions.astype(object)
    mixed[failed] = FAILED if strings else None
    mixed[unsure] = UNKNOWN
    return mixed.astype(np.str_) if strings else mixed.view(MixedDecisions)
