"""What a report says of taggers in its own way: its summary, its worst mistakes and its pictures.

Rule: a picture of tags counts each tag of each clip once; what has no meaning for several labels is left out.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.baselines.targets import TagTarget
from l3clf.classifier.tag_labels import tag_texts
from l3clf.evaluate import CrossValidation, average_precisions, precision_intervals
from l3clf.report import Mistake
from l3clf.report.contents import Row, percent

__all__ = ["mixed_up", "rarest_tags", "tag_mistakes", "tag_pictures", "tag_summary"]

NOTHING = "(nothing)"
NO_TAG = "(no tag)"
MAX_TAGS_DRAWN = 1000  # a larger picture shows nothing
Picture: TypeAlias = tuple[str, str, Callable[..., Path], tuple[Any, ...], Mapping[str, Any]]

MIXED_UP = (
    ("confusion.png", True, "Tags found (diagonal), missed, and predicted in their place, in shares of each tag."),
    ("confusion-counts.png", False, "Tags found, missed, and predicted in their place, in numbers of clips."),
)


def tag_summary(best: Row, floor: float, n_clips: int) -> str:
    """Return the summary of a report."""
    precision, low, high, f1 = (percent(best[key]) for key in ("map", "map_low", "map_high", "micro_f1"))
    return (
        f"{best['embedder']} with a {best['head']} head and {best['pooling']} pooling tags {n_clips:,} clips with a "
        f"mean average precision of {precision} % (95 % interval {low} to {high} %) and a micro F1 of {f1} %; every "
        f"tag for every clip gives a mean average precision of {percent(floor)} %, the base rate."
    )


def tag_mistakes(target: TagTarget, answers: CrossValidation) -> list[Mistake]:
    """Return the clips with a missed or a false tag, the most confident first.

    The probability of a mistake is that of its worst tag: of being there if it is false, of not being there if it is
    missed.
    """
    truth, found = target.targets.indicator, answers.predictions
    wrong = truth != found
    sure = np.where(wrong, np.where(truth == 1, 1 - answers.probabilities, answers.probabilities), 0.0).max(axis=1)
    texts = [[text or NO_TAG for text in tag_texts(each, target.classes)] for each in (truth, found)]
    order = [i for i in np.argsort(-sure, kind="stable") if wrong[i].any()]
    return [Mistake(target.table.clips[i], texts[0][i], texts[1][i], float(sure[i])) for i in order]


def mixed_up(truth: NDArray[np.int64], answers: CrossValidation, classes: NDArray[Any]) -> tuple[list[str], list[str]]:
    """Return true and predicted tags in pairs, for a confusion matrix of tags.

    Each tag of a clip is in one pair: with itself if it was found; if it was missed, with one of the false tags of
    its clip, the most probable first, or with nothing if there is none. False tags that are left are paired with
    nothing, too. So rows sum to the clips of a tag, and columns to those that it was predicted for.

    Parameters
    ----------
    truth : array of shape (n_clips, n_tags)
    answers : CrossValidation
    classes : array of shape (n_tags,)

    Returns
    -------
    true, predicted : lists of str
    """
    names = [*map(str, classes.tolist()), NOTHING]
    true: list[str] = []
    predicted: list[str] = []
    for i in range(len(truth)):
        has, found, probabilities = truth[i] == 1, answers.predictions[i] == 1, answers.probabilities[i]
        by_probability = np.argsort(-probabilities, kind="stable")
        # The least probable of the missed tags goes with the most probable of the false ones.
        missed = [int(k) for k in by_probability[::-1] if has[k] and not found[k]]
        false = [int(k) for k in by_probability if found[k] and not has[k]]
        n = max(len(missed), len(false))
        right = np.flatnonzero(has & found).tolist()
        true += [names[k] for k in (*right, *missed, *[-1] * (n - len(missed)))]
        predicted += [names[k] for k in (*right, *false, *[-1] * (n - len(false)))]
    return true, predicted


def rarest_tags(truth: NDArray[np.int64], classes: NDArray[Any]) -> list[str]:
    """Return the rarest tag of each clip, by which a map of clips is coloured."""
    by_size = np.argsort(truth.sum(axis=0), kind="stable")
    ranked = truth[:, by_size]
    return [str(classes[by_size[row.argmax()]]) if row.any() else NO_TAG for row in ranked]


def tag_pictures(target: TagTarget, answers: CrossValidation, vectors: NDArray[np.float32]) -> Iterator[Picture]:
    """Yield name, caption, drawing function, its arguments and options for each picture.

    There is no recall: it depends on a tag's threshold, where the average precision does not.
    """
    from l3clf import plots  # importing matplotlib takes half a second, and only pictures need it

    truth, classes = target.targets.indicator, target.classes
    if len(classes) <= MAX_TAGS_DRAWN:
        pairs = mixed_up(truth, answers, classes)
        names = [*map(str, classes.tolist()), NOTHING]
        ordered = plots.similar_classes(*pairs, names, NOTHING) if pairs[0] else []
        for name, shares, caption in MIXED_UP if pairs[0] else ():
            options = {"classes": ordered, "nothing": NOTHING, "normalise": shares}
            yield name, caption, plots.confusion_matrix, pairs, options
    precisions = average_precisions(truth, answers.probabilities)
    intervals = precision_intervals(truth, answers.probabilities, target.table.groups)
    counts = truth.sum(axis=0), len(truth)
    caption = "Average precision of each tag, with 95 % intervals; the base rate is what guessing gives."
    yield "precision.png", caption, plots.per_tag_precision, (classes, precisions, intervals, *counts), {}
    caption = "Map of all clips, coloured by their rarest tag; clips with a missed or a false tag are ringed."
    right = (truth == answers.predictions).all(axis=1)
    labels = rarest_tags(truth, classes)
    yield "map.png", caption, plots.embedding_map, (vectors, labels), {"correct": right, "kind": "rarest tag"}
