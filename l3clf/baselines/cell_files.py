"""Finished cells of a baseline as files, so that an interrupted call is resumed.

Rule: a cell is used only if it is whole and fits the data. Any other is dropped and computed again, with a warning.
"""

import io
import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.decision import decide
from l3clf.errors import CacheError, CacheWarning
from l3clf.evaluate import CrossValidation
from l3clf.storage.atomic import replacing
from l3clf.storage.safezip import read_zip

__all__ = ["read_cell", "write_cell"]

_MAX_HEADER = 10 + 0xFFFF  # bytes of a .npy before its data
_MAX_CLASSES = 64 << 20  # bytes; earlier versions stored the classes too, which are known from the labels
_ROUNDING = 1e-6  # of a probability


def write_cell(path: Path, predicted: CrossValidation, seconds: float) -> None:
    """Write a cell.

    Raises
    ------
    CacheError
        If it cannot be written.
    """
    arrays = {
        "probabilities": np.ascontiguousarray(predicted.probabilities, "<f8"),
        "seconds": np.asarray(seconds, "<f8"),
    }
    if predicted.predictions.ndim == 2:  # of a tagger, decided by the thresholds of each fold
        arrays["predictions"] = np.ascontiguousarray(predicted.predictions, "<f8")
    with replacing(path, CacheError) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_cell(
    path: Path, labels: NDArray[Any], tags: NDArray[Any] | None = None
) -> tuple[CrossValidation, float] | None:
    """Return a finished cell and the seconds that it took.

    Parameters
    ----------
    path : Path
    labels : array of shape (n_clips,)
        Those that the cell predicts.
    tags : array of shape (n_tags,), optional
        If the cell is a tagger's: its tags.

    Returns
    -------
    CrossValidation and float, or None
        None if there is no such cell, or it was damaged: it is removed then, with a `CacheWarning`.
    """
    try:
        if not path.exists():
            return None
        return _read(path, len(labels), np.unique(labels) if tags is None else tags, tags is not None)
    except (CacheError, OSError) as error:
        warnings.warn(f"{error}; this cell of the baseline is computed again", CacheWarning, stacklevel=2)
        with suppress(OSError):
            path.unlink()
        return None


def _read(path: Path, n_clips: int, classes: NDArray[Any], of_tags: bool) -> tuple[CrossValidation, float]:
    shape = (n_clips, len(classes))
    limits = {"probabilities.npy": 8 * math.prod(shape) + _MAX_HEADER, "seconds.npy": 8 + _MAX_HEADER}
    if of_tags:
        limits["predictions.npy"] = limits["probabilities.npy"]
    else:
        limits["classes.npy"] = _MAX_CLASSES
    members = read_zip(path, limits, sum(limits.values()) + _MAX_HEADER, writer="", error=CacheError)
    probabilities, seconds = _numbers(path, members, "probabilities", shape), _numbers(path, members, "seconds", ())
    if not ((probabilities >= 0) & (probabilities <= 1 + _ROUNDING)).all() or not 0 <= seconds < math.inf:
        raise CacheError(f"{path}: holds values that are no probabilities")
    if not of_tags:
        return CrossValidation(decide(probabilities, classes, None), probabilities, classes), float(seconds)
    predictions = _numbers(path, members, "predictions", shape)
    if not np.isin(predictions, (0, 1)).all():
        raise CacheError(f"{path}: holds values that are no predictions")
    return CrossValidation(predictions.astype(np.int64), probabilities, classes), float(seconds)


def _numbers(path: Path, members: Mapping[str, bytes], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an array, whose header must be the one that this shape has: it is compared and never parsed."""
    content, header = members.get(f"{name}.npy", b""), _header(shape)
    if not content.startswith(header) or len(content) - len(header) != 8 * math.prod(shape):
        raise CacheError(f"{path}: is no cell of this baseline ({name}.npy is not an array of shape {shape})")
    return np.frombuffer(content, "<f8", offset=len(header)).reshape(shape)


def _header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()
