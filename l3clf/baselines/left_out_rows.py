"""The open-set part of a baseline: the best row, asked about classes that it did not learn.

Rule: the head alone and ``unknown="auto"`` are compared on the same folds and the same classes left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from l3clf.classifier.estimators import ClipClassifier
from l3clf.evaluate import Split, leave_out
from l3clf.evaluate.open_set import open_set
from l3clf.evaluate.splits import Labels

__all__ = ["LeftOut", "left_out_rows"]

ACCEPT = 0.95
WAYS = {"the head alone": None, 'unknown="auto"': "auto"}


@dataclass(frozen=True, eq=False)
class LeftOut:
    """How well unknown sounds are told in one way.

    Attributes
    ----------
    row : dict
        how (in words), left_out (in words), accept, and the scores of `OpenSet.scores`.
    curve : list of dict
        See `OpenSet.curve`.
    """

    row: dict[str, Any]
    curve: list[dict[str, float]]


def left_out_rows(
    model: ClipClassifier,
    windows: Sequence[Any],
    labels: Labels,
    split: Split,
    groups: Labels | None = None,
    n_jobs: int | None = None,
) -> list[LeftOut]:
    """Leave classes out, with the head alone and with ``unknown="auto"``.

    Parameters
    ----------
    model : ClipClassifier
        Unfitted.
    windows, labels, split, groups, n_jobs
        See `open_set`.
    """
    chosen = leave_out(labels)
    words = "each class" if len(chosen) == len(set(labels.tolist())) else f"{len(chosen)} of the classes"
    found = []
    for how, unknown in WAYS.items():
        asked = clone(model).set_params(unknown=unknown)
        result = open_set(asked, windows, labels, split, chosen, accept=ACCEPT, groups=groups, n_jobs=n_jobs)
        row = {"how": how, "left_out": words, "accept": ACCEPT, **result.scores()}
        found.append(LeftOut(row, result.curve()))
    return found
