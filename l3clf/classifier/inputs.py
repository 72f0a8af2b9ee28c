"""Checks and conversion of what users pass to the estimators.

Rule: bad input is refused here, before any file is read, with the name of the parameter or item.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import column_or_1d

from l3clf.audio.clip import Clip, Samples, ScaledClip, Source, full_scale_of
from l3clf.datasets.csv_rows import MAX_CHARACTERS
from l3clf.datasets.describe import some
from l3clf.datasets.frames import frame_clips, is_frame
from l3clf.embedders import Embedder, WindowEmbeddings, load_embedder
from l3clf.errors import L3clfError, ParameterError
from l3clf.pipeline import Outcome, content_ids
from l3clf.storage.atomic import FileState, file_state
from l3clf.storage.embedding_cache import EmbeddingCache, default_cache_path

__all__ = [
    "Item",
    "as_cache",
    "as_embedder",
    "as_groups",
    "as_labels",
    "as_sources",
    "as_targets",
    "check_classes",
    "check_limits",
    "check_number",
    "check_sizes",
    "check_whole",
    "digest_of",
]

MAX_HYSTERESIS_DB = 100.0

Item: TypeAlias = Source | WindowEmbeddings
"""One clip of X."""


def as_sources(X: Iterable[Any], sample_rate: int | None = None, full_scale: float | None = None) -> list[Item]:
    """Turn what a user passes as X into clips.

    Parameters
    ----------
    X : iterable
        Paths, `Clip` objects, 1-D arrays at `sample_rate`, or `WindowEmbeddings` from an earlier call. A data frame
        stands for the paths in its only column, or for those in its column "path" with the times in "start_s" and
        "end_s"; one of numbers for samples, a clip in each row.
    sample_rate : int or None
        Rate of the arrays in Hz.
    full_scale : float or None
        Full scale of the arrays and of files of floating-point samples, if it is another than that of their type.

    Returns
    -------
    list of Clip, Samples or WindowEmbeddings

    Raises
    ------
    ParameterError
        If X is a single clip, an item is none of these, or X has arrays and `sample_rate` is None.
    """
    if isinstance(X, str | os.PathLike | Clip | WindowEmbeddings):
        raise ParameterError(f"X: a single clip; give a list of clips: [{str(X)!r}]")
    if getattr(X, "ndim", 1) == 0 or not (hasattr(X, "__iter__") or hasattr(X, "__array__")):
        raise ParameterError(f"X: type {type(X).__name__}; expected a list of paths, Clips or 1-D arrays")
    items = [_as_source(item, i, sample_rate) for i, item in enumerate(_rows(X))]
    return items if full_scale is None else [_with_full_scale(item, full_scale) for item in items]


def _with_full_scale(item: Item, full_scale: float) -> Item:
    if isinstance(item, WindowEmbeddings) or full_scale_of(item) is not None:
        return item
    return ScaledClip(item, full_scale) if isinstance(item, Clip) else replace(item, full_scale=full_scale)


def _rows(X: Any) -> Iterable[Any]:
    if issparse(X):
        # scikit-learn's estimator checks look for the word "sparse".
        raise ParameterError("X: sparse data is not supported; expected a list of paths, Clips or 1-D arrays")
    if is_frame(X) and np.asarray(X).dtype.kind not in "biufc":
        return _frame_rows(X)
    # A data frame iterates over its column names, so its rows are taken from its array.
    if getattr(X, "ndim", 1) == 2 or (hasattr(X, "__array__") and not hasattr(X, "__iter__")):
        array = np.asarray(X)
        is_column = array.ndim == 2 and array.shape[1] == 1 and array.dtype.kind in "OU"
        return array[:, 0] if is_column else array
    rows: Iterable[Any] = X
    return rows


def _frame_rows(X: Any) -> Sequence[Clip]:
    try:
        clips = frame_clips(X)
    except L3clfError as error:
        raise ParameterError(f"X: {error}") from None
    if clips is None:
        names = some(map(repr, X.columns))
        raise ParameterError(
            f"X: a data frame with the columns {names}; pass the one with the paths, as in X[['path']]"
        )
    return clips


def _as_source(item: Any, i: int, sample_rate: int | None) -> Item:
    if isinstance(item, Clip | Samples | WindowEmbeddings):
        return item
    if isinstance(item, str | os.PathLike):
        return Clip(item)
    array = _as_array(item)
    if array is None or array.ndim != 1 or array.dtype.kind not in "fiu":
        found = type(item).__name__ if array is None else f"an array of shape {array.shape} and type {array.dtype}"
        if array is not None and array.dtype.kind == "c":
            found = f"{found}: Complex data not supported"  # the words that scikit-learn's estimator checks expect
        raise ParameterError(f"X[{i}]: {found}; expected a path, a Clip or a 1-D array of samples")
    if sample_rate is None:
        raise ParameterError(f"X[{i}]: an array without a sample rate; pass the rate in Hz as sample_rate")
    return Samples(array, sample_rate, f"X[{i}]")


def _as_array(item: Any) -> NDArray[Any] | None:
    if not isinstance(item, np.ndarray | list | tuple):
        return None
    try:
        return np.asarray(item)
    except ValueError:  # of uneven parts, such as the pair of samples and rate that readers of sound return
        return None


@lru_cache(maxsize=8)
def _named_embedder(name: str, state: FileState | None) -> Embedder:
    # Clones of an estimator share one embedder and its open session; `state` tells versions of a file apart.
    return load_embedder(name)


def as_embedder(embedder: Any) -> Embedder:
    """Return the embedder of this name, or the embedder itself."""
    if isinstance(embedder, Embedder):
        return embedder
    if isinstance(embedder, str):
        try:
            return _named_embedder(embedder, file_state(embedder))
        except (OSError, ValueError):  # not a file: a name
            return _named_embedder(embedder, None)
    raise ParameterError(f"embedder={embedder!r}; expected a name such as 'openl3', or an embedder")


def as_cache(cache: Any) -> EmbeddingCache | None:
    """Return the cache that "auto", a path, an EmbeddingCache or None stands for."""
    if cache is None or isinstance(cache, EmbeddingCache):
        return cache
    if isinstance(cache, str | os.PathLike):
        return EmbeddingCache(default_cache_path() if cache == "auto" else cache)
    raise ParameterError(f"cache={cache!r}; expected 'auto', a path, an EmbeddingCache or None")


def check_sizes(outcomes: Iterable[Outcome], embedder: Embedder) -> None:
    """Raise ParameterError for embeddings that come from another embedder."""
    for outcome in outcomes:
        if isinstance(outcome, WindowEmbeddings) and outcome.vectors.shape[1] != embedder.embedding_size:
            raise ParameterError(
                f"X: embeddings of size {outcome.vectors.shape[1]}; expected size {embedder.embedding_size}, made by "
                f"embedder {embedder.name!r}"
            )


def as_labels(y: ArrayLike | None, n_clips: int) -> NDArray[Any]:
    """Return labels to learn: an array of strings, integers, booleans or whole floats, at least two different."""
    labels = as_targets(y, n_clips)
    check_classes(labels)
    if "" in labels.tolist():
        raise ParameterError(
            f"y: label {labels.tolist().index('')} is empty, which is the answer for a clip that failed; name the class"
        )
    return labels


def check_classes(labels: NDArray[Any]) -> None:
    """Raise ParameterError for labels of fewer than two classes."""
    found = set(labels.tolist())
    if len(found) < 2:
        raise ParameterError(f"y: 1 class ({', '.join(map(repr, found)) or 'none'}); expected two or more")


def as_targets(y: ArrayLike | None, n_clips: int) -> NDArray[Any]:
    """Return labels as an array of strings, integers, booleans or whole floats, one for each clip."""
    if y is None:  # this sentence is the one that scikit-learn's estimator checks expect
        raise ParameterError("ClipClassifier requires y to be passed, but the target y is None")
    # As objects first: NumPy would turn ["dog", 1] and ["dog", nan] into strings.
    given: NDArray[Any] = np.asarray(y, dtype=object) if isinstance(y, list | tuple) else np.asarray(y)
    labels: NDArray[Any] = column_or_1d(given, warn=True)
    if len(labels) != n_clips:
        raise ParameterError(f"y: {len(labels)} labels; expected one for each of {n_clips} clips")
    if labels.dtype.kind == "O":
        labels = _plain_labels(labels)
    if labels.dtype.kind == "f" and (not np.isfinite(labels).all() or (labels % 1).any()):
        raise ParameterError("y: Unknown label type: continuous (NaN, infinite or fractional numbers); give classes")
    return labels


def as_groups(groups: ArrayLike | None, n_clips: int) -> NDArray[Any] | None:
    """Return the groups of clips, as an array with one for each."""
    if groups is None:
        return None
    found: NDArray[Any] = np.asarray(groups)
    if found.shape != (n_clips,):
        raise ParameterError(f"groups: shape {found.shape}; expected one for each of {n_clips} clips")
    if found.dtype.kind == "O":  # of several types, which cannot be sorted
        found = np.array([str(group) for group in found.tolist()])
    return found


def _plain_labels(labels: NDArray[Any]) -> NDArray[Any]:
    values = [label.item() if isinstance(label, np.generic) else label for label in labels]
    kinds = {type(value) for value in values}
    if kinds == {str} and (long := [i for i, value in enumerate(values) if len(value) > MAX_CHARACTERS]):
        raise ParameterError(
            f"y: label {long[0]} has {len(values[long[0]]):,} characters; give at most {MAX_CHARACTERS:,}"
        )
    if kinds in ({str}, {int}, {bool}, {float}, set()):
        return np.asarray(values)
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ParameterError(f"y: labels of type {names}; expected only strings or only integers, and none missing")


def digest_of(
    items: Sequence[Item],
    labels: NDArray[Any],
    cache: EmbeddingCache | None,
    *,
    ordered: bool = False,
    ids: Sequence[bytes | L3clfError] | None = None,
) -> str:
    """Return a digest of the clips' content (not their paths) and labels; the order counts only if `ordered`.

    `ids` are those of the clips from `content_ids`, where they are known.
    """
    clips = [item for item in items if not isinstance(item, WindowEmbeddings)]
    each_id = iter(content_ids(clips, cache) if ids is None else ids)
    contents = [
        hashlib.sha256(item.vectors.tobytes()).hexdigest()
        if isinstance(item, WindowEmbeddings)
        else _content(item, next(each_id))
        for item in items
    ]
    # A table and its shuffled copy have the same digest, unless the order matters to the caller.
    lines = [f"{content}\t{label}" for content, label in zip(contents, labels, strict=True)]
    return hashlib.sha256("\n".join(lines if ordered else sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()


def check_number(name: str, value: object, low: float, high: float, expected: str) -> None:
    """Raise ParameterError for a value that is no number from `low` to `high`; `expected` has a place for that."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (number and low <= value <= high):  # type: ignore[operator]
        raise ParameterError(f"{name}={value!r}; expected {expected.format(f'a number from {low:g} to {high:g}')}")


def check_limits(unknown_threshold: object, gate_dbfs: object, gate_hysteresis_db: object = 0.0) -> None:
    """Raise ParameterError for a threshold, gate or hysteresis that is out of its range."""
    if unknown_threshold is not None:
        check_number("unknown_threshold", unknown_threshold, 0.0, 1.0, "None or {}")
    if gate_dbfs is not None and not (isinstance(gate_dbfs, str) and gate_dbfs == "auto"):
        check_number("gate_dbfs", gate_dbfs, -200.0, 0.0, "None or {}, or auto")
    check_number("gate_hysteresis_db", gate_hysteresis_db, 0.0, MAX_HYSTERESIS_DB, "{}")


def check_whole(name: str, value: object, minimum: int) -> None:
    """Raise ParameterError for a parameter that is not a whole number of `minimum` or more."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < minimum:
        raise ParameterError(f"{name}={value!r}; expected a whole number of at least {minimum}")


def _content(source: Source, content: bytes | L3clfError) -> str:
    digest = str(content) if isinstance(content, L3clfError) else content.hex()
    scale = full_scale_of(source)
    if scale is not None:
        digest = f"{digest} full scale {float(scale)!r}"
    return f"{digest} {source.start_s:.6f} {source.end_s}" if isinstance(source, Clip) else digest
