"""What users pass as the labels of a tagger: from sets, text or an indicator matrix to one indicator matrix.

Rule: a form that could be read in two ways is refused: lists of numbers are rows of an indicator matrix, never labels.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from l3clf.datasets.describe import some
from l3clf.datasets.frames import is_frame
from l3clf.datasets.tag_text import SEPARATOR, joined_tags, split_tags
from l3clf.errors import ParameterError

__all__ = [
    "TagTargets",
    "as_tag_targets",
    "as_tags",
    "check_both_ways",
    "check_label",
    "exact_matches",
    "indicator_for",
    "tag_texts",
    "tags_of",
]

Indicator = NDArray[np.int64]

_FORMS = 'an indicator matrix of 0 and 1, sets of labels, or texts such as "dog|rain"'


@dataclass(frozen=True, eq=False)
class TagTargets:
    """The labels of clips, as an indicator matrix.

    Attributes
    ----------
    indicator : array of shape (n_clips, n_tags), int64
        1 where a clip has a tag.
    classes : array of shape (n_tags,)
        The tags: sorted labels, or the columns of an indicator matrix in their order.
    """

    indicator: Indicator
    classes: NDArray[Any]


def as_tags(labels: Iterable[str]) -> list[frozenset[str]]:
    """Split labels in text form.

    Parameters
    ----------
    labels : iterable of str
        Such as ``dog|rain``, or the empty string for no tag.

    Returns
    -------
    list of frozenset of str
        One for each text.

    Raises
    ------
    ParameterError
        If one is no text.

    Examples
    --------
    >>> [sorted(tags) for tags in as_tags(["rain|dog", "", "dog"])]
    [['dog', 'rain'], [], ['dog']]
    """
    texts = list(labels)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ParameterError(f'y: label {i} is {text!r}; give text such as "dog|rain", or "" for no tag')
    return list(map(split_tags, texts))


def tags_of(indicator: NDArray[Any], classes: NDArray[Any]) -> list[tuple[Any, ...]]:
    """Return the tags of each row of an indicator matrix.

    Parameters
    ----------
    indicator : array of shape (n, n_tags), bool or int
    classes : array of shape (n_tags,)

    Returns
    -------
    list of tuple
        In the order of `classes`.

    Examples
    --------
    >>> tags_of(np.array([[1, 1], [0, 0]]), np.array(["dog", "rain"]))
    [('dog', 'rain'), ()]
    """
    names = classes.tolist()
    return [tuple(names[k] for k in np.flatnonzero(row)) for row in np.asarray(indicator)]


def tag_texts(indicator: NDArray[Any], classes: NDArray[Any]) -> list[str]:
    """Return the tags of each row of an indicator matrix as text; see `l3clf.datasets.tag_text`.

    Examples
    --------
    >>> tag_texts(np.array([[1, 1], [0, 0]]), np.array(["dog", "rain"]))
    ['dog|rain', '']
    """
    return list(map(joined_tags, tags_of(indicator, classes)))


def as_tag_targets(y: Any, n_clips: int) -> TagTargets:
    """Return labels to learn.

    Parameters
    ----------
    y : indicator matrix, data frame, list of sets, lists or tuples of labels, or texts
        See `ClipTagger.fit`.
    n_clips : int

    Returns
    -------
    TagTargets

    Raises
    ------
    ParameterError
        If y is of another form or length, a label cannot be used, or no clip has a tag.
    """
    indicator, sets = _parsed(y, n_clips)
    if sets is None:
        found = TagTargets(*indicator)
    else:
        names = _sorted_labels(sets)
        found = TagTargets(_filled(sets, names), np.array(names))
    if not found.indicator.any():
        raise ParameterError("y: no clip has a tag; give some clips with tags, and some without each of them")
    return found


def indicator_for(y: Any, n_clips: int, classes: NDArray[Any]) -> tuple[Indicator, NDArray[np.bool_]]:
    """Return the true labels of clips for a fitted tagger.

    Parameters
    ----------
    y : as for `as_tag_targets`
    n_clips : int
    classes : array of shape (n_tags,)
        The tags of the tagger.

    Returns
    -------
    indicator : array of shape (n_clips, n_tags), int64
    has_others : array of shape (n_clips,), bool
        Which clips have a tag, too, that the tagger does not know.

    Raises
    ------
    ParameterError
        If y is of another form or length, or an indicator matrix of other columns.
    """
    (indicator, columns), sets = _parsed(y, n_clips)
    if sets is not None:
        known = set(classes.tolist())
        return _filled(sets, classes.tolist()), np.array([not tags <= known for tags in sets], np.bool_)
    if indicator.shape[1] != len(classes) or (is_frame(y) and columns.tolist() != classes.tolist()):
        found = some(list(map(repr, columns.tolist())))
        raise ParameterError(
            f"y: an indicator matrix of the columns {found}; expected one for each of the {len(classes)} tags, in the "
            "order of classes_"
        )
    return indicator, np.zeros(n_clips, np.bool_)


def exact_matches(indicator: NDArray[Any], y: Any, classes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for which clips the tags of an indicator matrix (n_clips, n_tags) are all of those of y, and no others.

    Raises
    ------
    ParameterError
        As `indicator_for`.
    """
    truth, has_others = indicator_for(y, len(indicator), classes)
    return np.asarray((truth == indicator).all(axis=1) & ~has_others)


def check_both_ways(targets: TagTargets) -> None:
    """Refuse tags that all clips have, or none: there is nothing to tell them by.

    Raises
    ------
    ParameterError
        If there are such tags, by their names.
    """
    counts, n_clips = targets.indicator.sum(axis=0), len(targets.indicator)
    for which, words in ((counts == n_clips, "every clip has the tag"), (counts == 0, "no clip has the tag")):
        if which.any():
            names = some([repr(name) for name in targets.classes[which].tolist()])
            raise ParameterError(f"y: {words} {names}; give clips with it and without, or leave the tag out")


def _parsed(y: Any, n_clips: int) -> tuple[tuple[Indicator, NDArray[Any]], list[frozenset[Any]] | None]:
    """Return an indicator matrix and its columns, or else the set of labels of each clip."""
    if y is None:  # this sentence is the one that scikit-learn's estimator checks expect
        raise ParameterError("ClipTagger requires y to be passed, but the target y is None")
    nothing = np.zeros((0, 0), np.int64), np.zeros(0, np.int64)
    if issparse(y):
        y = y.toarray()
    if is_frame(y) and not _is_text_column(y):
        return _as_indicator(np.asarray(y), n_clips, np.array([str(name) for name in y.columns])), None
    if getattr(y, "ndim", 1) == 2 and not is_frame(y):
        y = np.asarray(y)
        if y.dtype.kind not in "UO" or y.shape[1] != 1:
            return _as_indicator(y, n_clips, np.arange(y.shape[1])), None
    items = _items(y)
    _check_length(len(items), n_clips)
    rows = [isinstance(item, Sequence | np.ndarray) and not isinstance(item, str) for item in items]
    if all(rows) and any(_is_number(value) for item in items for value in item):
        return _as_indicator(_table(items), n_clips, np.arange(len(items[0]))), None
    return nothing, [_label_set(item, i) for i, item in enumerate(items)]


def _is_text_column(frame: Any) -> bool:
    return len(frame.columns) == 1 and np.asarray(frame).dtype.kind in "UO"


def _items(y: Any) -> list[Any]:
    if isinstance(y, str | bytes) or not (hasattr(y, "__iter__") or hasattr(y, "__array__")):
        raise ParameterError(f"y: {y!r}; expected {_FORMS}")
    if isinstance(y, list | tuple):
        return list(y)
    return np.asarray(y, object).ravel().tolist() if hasattr(y, "__array__") else list(y)


def _check_length(n: int, n_clips: int) -> None:
    if n != n_clips:
        raise ParameterError(f"y: the labels of {n} clips; expected those of {n_clips}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number | np.bool_)


def _table(rows: Sequence[Any]) -> NDArray[Any]:
    if len({len(row) for row in rows}) != 1:
        raise ParameterError("y: rows of numbers of different lengths; give labels that are numbers as sets")
    return np.array([list(row) for row in rows])


def _as_indicator(table: NDArray[Any], n_clips: int, columns: NDArray[Any]) -> tuple[Indicator, NDArray[Any]]:
    _check_length(len(table), n_clips)
    if not table.shape[1]:
        raise ParameterError("y: an indicator matrix without columns; expected one for each tag")
    try:
        numbers = table.astype(np.float64)
    except (TypeError, ValueError):
        raise ParameterError(f"y: a matrix of {table.dtype}; expected {_FORMS}") from None
    # scikit-learn's estimator checks look for the words "NaN" and "infinity".
    if not np.isfinite(numbers).all():
        raise ParameterError("y: an indicator matrix with NaN or infinity; expected 0 and 1 only")
    if wrong := sorted(set(numbers.ravel().tolist()) - {0.0, 1.0}):
        raise ParameterError(f"y: an indicator matrix with the value {wrong[0]:g}; expected 0 and 1 only")
    if len(set(columns.tolist())) < len(columns):
        raise ParameterError("y: two columns of the same name; give every tag a name of its own")
    for name in columns.tolist():
        check_label(name, "a column")
    return numbers.astype(np.int64), columns


def _label_set(item: Any, i: int) -> frozenset[Any]:
    if not isinstance(item, str | AbstractSet | list | tuple | np.ndarray):
        raise ParameterError(f"y: label {i} is {item!r}; expected {_FORMS}")
    found: Iterable[Any] = split_tags(item) if isinstance(item, str) else item
    labels = [label.item() if isinstance(label, np.generic) else label for label in found]
    for label in labels:  # before they are a set, because a list cannot be in one
        check_label(label, f"label {i}")
    return frozenset(labels)


def check_label(label: Any, where: str) -> None:
    """Raise ParameterError for what cannot be a tag; `where` says where it is."""
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise ParameterError(f"y: {where} holds {label!r}; expected strings or integers as tags")
    if isinstance(label, str) and (not label or SEPARATOR in label or label != label.strip()):
        raise ParameterError(
            f'y: {where} holds the tag {label!r}; rename it: "{SEPARATOR}" and spaces at its ends stand between tags, '
            "and an empty text is no tag"
        )
    if isinstance(label, str) and "\0" in label:  # NumPy drops it at the end: two tags would have one name
        raise ParameterError(f"y: {where} holds the tag {label!r}; rename it, without NUL characters")


def _sorted_labels(sets: Sequence[frozenset[Any]]) -> list[Any]:
    labels = frozenset().union(*sets)
    if len(kinds := sorted({type(label).__name__ for label in labels})) > 1:
        raise ParameterError(f"y: tags of type {', '.join(kinds)}; expected only strings or only integers")
    return sorted(labels)


def _filled(sets: Sequence[frozenset[Any]], names: Sequence[Any]) -> Indicator:
    column = {name: k for k, name in enumerate(names)}
    indicator = np.zeros((len(sets), len(names)), np.int64)
    for row, tags in zip(indicator, sets, strict=True):
        row[[column[tag] for tag in tags if tag in column]] = 1
    return indicator
