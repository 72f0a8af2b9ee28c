"""Summary and problems of a table whose clips have several labels.

Rule: what is said about labels is said about each tag on its own; what is said about clips is said about clips.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.describe import CLIP_PROBLEMS, FEW_CLIPS, TAG_PROBLEMS, Description, describe, rare_classes

__all__ = ["describe_tags", "tag_problems"]


def describe_tags(table: ClipTable, tags: Sequence[Collection[str]]) -> Description:
    """Count and measure the contents of a table, with its tags in place of classes; see `ClipTable.describe`.

    Parameters
    ----------
    table : ClipTable
    tags : sequence of n collections of str
        The tags of each clip.

    Returns
    -------
    Description
    """
    counts = Counter(tag for each in tags for tag in sorted(each))  # sets have another order in each process
    return replace(describe(table), classes=dict(counts.most_common()), without_tag=sum(not each for each in tags))


def tag_problems(table: ClipTable, tags: Sequence[Collection[str]], fewest: int = FEW_CLIPS) -> list[str]:
    """List the problems of a table, each tag on its own; see `ClipTable.problems`.

    Parameters
    ----------
    table : ClipTable
    tags : sequence of n collections of str
        The tags of each clip.
    fewest : int, default=5
        Tags with fewer clips are reported.

    Returns
    -------
    list of str
    """
    rows = [i for i, each in enumerate(tags) for _ in each]
    single = table.subset(np.array(rows, np.intp))  # a row for each tag of each clip
    single = ClipTable(single.clips, [tag for each in tags for tag in sorted(each)], single.folds, single.groups)
    found = [*(check(table) for check in CLIP_PROBLEMS), *(check(single) for check in TAG_PROBLEMS)]
    return [_of_tags(problem) for problem in (*found, rare_classes(single, fewest)) if problem]


def _of_tags(problem: str) -> str:
    what, colon, names = problem.partition(": ")
    return what.replace("classes", "tags") + colon + names
