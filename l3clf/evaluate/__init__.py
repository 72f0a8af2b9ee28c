"""Cross-validation that cannot leak, and scores with intervals.

Rule: each clip is predicted once, by a model fitted without its fold. Folds are those given, or whole groups; if
neither is known, the report says that leakage was not excluded. A score is computed on all predictions together
and reported with its standard deviation over folds and its interval.
"""

from l3clf.classifier.event_matching import Collars
from l3clf.evaluate.crossval import CrossValidation, cross_validate, cross_validate_poolings, learning_curve_points
from l3clf.evaluate.event_scores import EventScores, Scores, collar_scores, segment_scores
from l3clf.evaluate.leakage import Duplicate, find_duplicates, guess_groups
from l3clf.evaluate.open_set import OPEN_SET_METRICS, OpenSet, OpenSetDraw, leave_out
from l3clf.evaluate.psd_score import PsdScore, PsdsCriteria, psds
from l3clf.evaluate.scoring import METRICS, majority_floor, score, scores
from l3clf.evaluate.splits import Split, make_split, make_tag_split
from l3clf.evaluate.tag_crossval import cross_validate_tags
from l3clf.evaluate.tag_scores import (
    TAG_METRICS,
    average_precisions,
    every_tag_floor,
    f1_by_tag,
    precision_intervals,
    score_of_tags,
    scores_of_tags,
)

__all__ = [
    "METRICS",
    "OPEN_SET_METRICS",
    "TAG_METRICS",
    "Collars",
    "CrossValidation",
    "Duplicate",
    "EventScores",
    "OpenSet",
    "OpenSetDraw",
    "PsdScore",
    "PsdsCriteria",
    "Scores",
    "Split",
    "average_precisions",
    "collar_scores",
    "cross_validate",
    "cross_validate_poolings",
    "cross_validate_tags",
    "every_tag_floor",
    "f1_by_tag",
    "find_duplicates",
    "guess_groups",
    "learning_curve_points",
    "leave_out",
    "majority_floor",
    "make_split",
    "make_tag_split",
    "precision_intervals",
    "psds",
    "score",
    "score_of_tags",
    "scores",
    "scores_of_tags",
    "segment_scores",
]
