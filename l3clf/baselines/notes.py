"""The notes of a baseline: how the clips were split, and what makes its scores doubtful.

Rule: a note says what was found and what to do; nothing is measured here.
"""

from collections.abc import Sequence

from l3clf.baselines.targets import Target
from l3clf.datasets import ClipTable
from l3clf.errors import counted
from l3clf.evaluate import Duplicate, Split, guess_groups

__all__ = ["notes_of"]

MAX_NAMED_PAIRS = 5


def notes_of(target: Target, split: Split, duplicates: Sequence[Duplicate]) -> list[str]:
    """Return how the clips were split, and what is doubtful about them."""
    table = target.table
    notes = [f"Cross-validation: {split.note}.", *target.problems()]
    if split.kind == "stratified" and (guess := guess_groups(table.clips, table.labels)) is not None:
        notes.append(
            f"Perhaps {guess[0]} shows which clips belong together (a recording, a speaker). If so, add it as a "
            "column to a table and name that column as the group (--group), so that whole groups are left out."
        )
    if duplicates:
        notes.append(_duplicates_note(table, duplicates, split))
    return notes


def _duplicates_note(table: ClipTable, duplicates: Sequence[Duplicate], split: Split) -> str:
    # Near-identical clips may be different recordings: two presses of one button, a tone synthesised twice.
    is_sure = any(pair.kind != "near-identical" for pair in duplicates)
    clips = len({i for pair in duplicates for i in (pair.first, pair.second)})
    what = "a duplicate" if is_sure else "a near-identical clip"
    named = "; ".join(
        f"{table.clips[pair.first]} and {table.clips[pair.second]} ({pair.kind})"
        for pair in duplicates[:MAX_NAMED_PAIRS]
    )
    found = f"{counted(clips, 'clip has', 'clips have')} {what} in another fold"
    return (
        f"Leakage is {'likely' if is_sure else 'possible'}: {found}, so the scores may be too high. "
        f"The first pairs: {named}."
    )
