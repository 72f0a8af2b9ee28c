"""Which embedders are ready on this machine, and why the others are not.

Rule: nothing is downloaded, and an embedder that is left out is named with the true reason.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from l3clf.classifier.inputs import as_embedder
from l3clf.embedders import Embedder, described_embedder, embedder_names, load_embedder
from l3clf.embedders.filtered import Filtered
from l3clf.errors import L3clfError, MissingDependencyError, ParameterError

__all__ = ["FLOOR", "check_ready", "chosen", "left_out", "ready_embedders", "with_filters"]

FLOOR = "mfcc"  # listed first: every other embedder should beat it
BEST_IN_PACKAGE = "l3base"  # listed next, before those whose weights happen to be here
_NEEDS_A_PATH = "student"  # any student file; there is no such embedder to leave out


def ready_embedders(weights: str | os.PathLike[str] | None = None) -> list[Embedder]:
    """Return every embedder whose weights are on this machine; nothing is downloaded.

    Parameters
    ----------
    weights : path, optional
        A folder of weight files to search besides the usual places.

    Returns
    -------
    list of Embedder
    """
    names = sorted(embedder_names(), key=lambda name: (name != FLOOR, name != BEST_IN_PACKAGE))
    found = [load_embedder(name) for name in names]
    return [ready for embedder in found if (ready := _ready(embedder, weights)) is not None]


def left_out(weights: str | os.PathLike[str] | None = None) -> list[str]:
    """Return one sentence for each embedder that `ready_embedders` leaves out: its name and why.

    Parameters
    ----------
    weights : path, optional
        As for `ready_embedders`.

    Returns
    -------
    list of str
    """
    others = [load_embedder(name) for name in embedder_names() if name != _NEEDS_A_PATH]
    return [f"Not tried: {e.name}: {e.missing()}." for e in others if _ready(e, weights) is None]


def chosen(embedder: str | Embedder, weights: str | os.PathLike[str] | None = None) -> Embedder:
    """Return an embedder that was asked for, with its weights from the folder `weights` where that holds them.

    Parameters
    ----------
    embedder : str or Embedder
    weights : path, optional
        As for `ready_embedders`.
    """
    usual = as_embedder(embedder)
    if isinstance(usual, Filtered):
        return replace(usual, embedder=chosen(usual.embedder, weights))
    if weights is None or getattr(usual, "weights", "") is not None:  # it has no weights, or names them
        return usual
    there = described_embedder(usual.name, usual.options, weights=weights)
    try:
        there.is_ready()  # or not, if a package is missing: what matters is that the folder holds the weights
    except L3clfError:
        return usual
    return there


def with_filters(
    embedders: Sequence[Embedder], band_hz: Any, denoise: str | None, *, asked_for: bool
) -> tuple[list[Embedder], list[str]]:
    """Return embedders, and after each the same with filtered sound, and a sentence for each that hears no such band.

    Parameters
    ----------
    embedders : sequence of Embedder
    band_hz, denoise
        See `Filtered`; where both are None, nothing is added.
    asked_for : bool
        Whether the embedders were named: one that hears no such band is then an error.

    Raises
    ------
    ParameterError
        If the band or `denoise` is not possible, or one of the embedders is filtered already.
    """
    if band_hz is None and denoise is None:
        return [*embedders], []
    found: list[Embedder] = []
    missing: list[str] = []
    problem: ParameterError | None = None
    for embedder in embedders:
        found.append(embedder)
        try:
            found.append(Filtered(embedder, band_hz, denoise))
        except ParameterError as error:
            problem = problem or error
            missing.append(f"Not tried with filters: {embedder.name}: {error}.")
    if problem is not None and (asked_for or len(missing) == len(embedders)):
        raise problem
    return found, missing


def check_ready(embedder: Embedder) -> None:
    """Check that an embedder can embed; weights that can be downloaded are downloaded.

    Raises
    ------
    WeightsError
        If its weights cannot be had.
    MissingDependencyError
        If a package is missing.
    """
    _ = embedder.fingerprint  # finds the weights, or downloads them
    if not embedder.is_ready():
        raise MissingDependencyError(f"embedder {embedder.name!r}: {embedder.missing()}")


def _ready(embedder: Embedder, weights: str | os.PathLike[str] | None) -> Embedder | None:
    if weights is not None and hasattr(embedder, "weights"):
        there = described_embedder(embedder.name, embedder.options, weights=weights)
        try:
            if there.is_ready():
                return there
        except L3clfError:  # the folder does not have this embedder's weights
            pass
    return embedder if embedder.is_ready() else None
