"""Sounds that were never learned: a background that the head learns beside the classes, and a learned threshold.

Rule: the background is the last row of the head and none of the classes; what keeps a sound out is one number, the
threshold, which is learned from clips that a head had not heard.
"""

import os

import numpy as np
from sklearn.base import BaseEstimator

from l3clf.audio.clip import Clip, FloatArray
from l3clf.datasets.folders import find_sounds, warn_of_unknown
from l3clf.embedders import Embedder
from l3clf.embedders.filtered import Filtered, unfiltered
from l3clf.errors import ParameterError

__all__ = [
    "BANK",
    "FOLDER_OF_THE_FIT",
    "Unknown",
    "automatic",
    "background_clips",
    "bank_rows",
    "check_unknown",
    "is_filtered",
    "is_student",
    "resolved",
]

BANK = "bank"
FOLDER_OF_THE_FIT = ""
"""What a loaded model says where its background was a folder of recordings, which a model file does not name."""
MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1000.0


class Unknown(BaseEstimator):
    """How a classifier tells sounds that it never learned: the parameter ``unknown`` of `ClipClassifier`.

    Parameters
    ----------
    background : "bank", path or None, default="bank"
        What the classes are told from, as one more class that is never predicted. "bank" is the bank of embeddings
        that ships with l3mini and l3base: sounds of all kinds, for the pooling "mean". A path is a folder of recordings
        of your own, which join the bank where the embedder has one and are used alone where it has none. A `Filtered`
        embedder has none: the bank's sounds were embedded as they are. None is no
        background: the probabilities of the classes decide, and, for embedders other than students, the pooling "mean"
        and classes of five clips or more, the distance to what was learned.
    weight : float, default=1.0
        What the whole background weighs in the training: at 1 as much as seven average classes, which told sounds of
        other collections best; a lighter one lets more unknown sounds pass.
    accept : float, default=0.95
        The share of clips of the known classes to keep: the threshold is learned for it.
    per_class : bool, default=False
        Whether each class has a threshold of its own. A class for which fewer than 20 training clips were taken has the
        common one.

    Examples
    --------
    >>> Unknown(background=None, accept=0.9)
    Unknown(accept=0.9, background=None)
    """

    def __init__(
        self,
        background: str | os.PathLike[str] | None = BANK,
        weight: float = 1.0,
        accept: float = 0.95,
        per_class: bool = False,
    ) -> None:
        self.background = background
        self.weight = weight
        self.accept = accept
        self.per_class = per_class


def check_unknown(unknown: object) -> None:
    """Check the parameter `unknown` of a classifier.

    Raises
    ------
    ParameterError
        If it is neither None, "auto" nor an `Unknown`, or a parameter of this is out of range.
    """
    if unknown is None or (isinstance(unknown, str) and unknown == "auto"):
        return
    if not isinstance(unknown, Unknown):
        raise ParameterError(f"unknown={unknown!r}; expected None, 'auto' or an l3clf.Unknown")
    if unknown.background is not None and not isinstance(unknown.background, str | os.PathLike):
        raise ParameterError(f"background={unknown.background!r}; expected 'bank', the path of a folder, or None")
    if not _is_number(unknown.weight) or not MIN_WEIGHT <= unknown.weight <= MAX_WEIGHT:
        raise ParameterError(
            f"weight={unknown.weight!r}; expected a number above 0, at most {MAX_WEIGHT:g}; for no background give "
            "background=None"
        )
    if not _is_number(unknown.accept) or not 0 < unknown.accept < 1:
        raise ParameterError(f"accept={unknown.accept!r}; expected a number between 0 and 1, such as 0.95")
    if not isinstance(unknown.per_class, bool | np.bool_):
        raise ParameterError(f"per_class={unknown.per_class!r}; expected True or False")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _bank(embedder: Embedder) -> FloatArray | None:
    from l3clf.classifier.background_bank import bank_for  # here, because students import ONNX Runtime

    return bank_for(embedder)


def resolved(unknown: object, embedder: Embedder, pooling: str) -> Unknown | None:
    """Return what `unknown` stands for, after `check_unknown`; "auto" is the bank where there is one for the pooling.

    Raises
    ------
    ParameterError
        If the bank is asked for where there is none.
    """
    if isinstance(unknown, Unknown):
        if unknown.background == BANK and pooling != "mean":
            raise ParameterError(
                f"background='bank': its embeddings are pooled by 'mean', not {pooling!r}; give pooling='mean', or "
                "Unknown(background=None)"
            )
        if unknown.background == BANK and _bank(embedder) is None:
            why = ", whose band or denoising its sounds never went through" if is_filtered(embedder) else ""
            raise ParameterError(
                f"background='bank': there is none for embedder {embedder.name!r}{why}; give unknown='auto', or the "
                "folder of recordings of your own"
            )
        return unknown
    return None if unknown is None else automatic(embedder, pooling)


def automatic(embedder: Embedder, pooling: str) -> Unknown:
    """Return what "auto" stands for."""
    return Unknown() if pooling == "mean" and _bank(embedder) is not None else Unknown(background=None)


def is_filtered(embedder: Embedder) -> bool:
    """Return whether an embedder is given filtered sound."""
    return isinstance(embedder, Filtered) and not embedder.is_plain


def is_student(embedder: Embedder) -> bool:
    """Return whether an embedder is a student, which may go to a chip: not if it is given filtered sound."""
    from l3clf.embedders.student import Student  # here, because students import ONNX Runtime

    return isinstance(unfiltered(embedder), Student) and not is_filtered(embedder)


def bank_rows(unknown: Unknown, embedder: Embedder, pooling: str) -> FloatArray:
    """Return the rows of the bank to learn from, (n, embedding_size); none without a bank."""
    bank = _bank(embedder) if unknown.background is not None and pooling == "mean" else None
    return np.zeros((0, embedder.embedding_size), np.float32) if bank is None else bank


def background_clips(unknown: object) -> list[Clip]:
    """Return the clips of the folder that the parameter `unknown` names as its background, if it names one.

    Raises
    ------
    ParameterError
        If there is no such folder, or no sound in it.
    """
    folder = unknown.background if isinstance(unknown, Unknown) else None
    if folder is None or folder == BANK:
        return []
    if folder == FOLDER_OF_THE_FIT:
        raise ParameterError(
            "background='': a model file does not hold the recordings of its background; name their folder, or give "
            "'bank' or None"
        )
    if not os.path.isdir(folder):  # noqa: PTH112 - False for a name that is too long, where Path.is_dir raises
        raise ParameterError(f"background={str(folder)!r}: no such folder; name a folder of sounds")
    found = find_sounds(folder)
    warn_of_unknown(folder)
    if not found:
        raise ParameterError(f"background={str(folder)!r}: folder without sound files; name another folder")
    return [Clip(path) for path in found]
