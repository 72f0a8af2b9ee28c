"""Which embedders are ready on this machine, and why the others are not.

Rule: nothing is downloaded, and an embedder that is left out is named with the true reason.
"""

import os

from l3clf.classifier.inputs import as_embedder
from l3clf.embedders import Embedder, described_embedder, embedder_names, load_embedder
from l3clf.errors import L3clfError, MissingDependencyError

__all__ = ["FLOOR", "check_ready", "chosen", "left_out", "ready_embedders"]

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
    if weights is None or getattr(usual, "weights", "") is not None:  # it has no weights, or names them
        return usual
    there = described_embedder(usual.name, usual.options, weights=weights)
    try:
        there.is_ready()  # or not, if a package is missing: what matters is that the folder holds the weights
    except L3clfError:
        return usual
    return there


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
