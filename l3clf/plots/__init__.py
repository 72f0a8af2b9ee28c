"""All pictures that l3clf draws; the only package that imports matplotlib.

Rule: files are drawn on plain figures with an Agg canvas. There is no pyplot, no window and no global setting, so a
picture looks the same in a script, a notebook, a thread and a server. A file is written completely or not at all,
and the same arguments give the same bytes. The `draw_` functions draw into axes of the caller's; only without them
they ask pyplot for a figure.
"""

from l3clf.plots.clipmap import draw_map, embedding_map
from l3clf.plots.confusion import confusion_matrix, draw_confusion, similar_classes
from l3clf.plots.coverage import coverage_curve
from l3clf.plots.curve import learning_curve
from l3clf.plots.epochs import training_curve
from l3clf.plots.precision import per_tag_precision
from l3clf.plots.recall import draw_recall, per_class_recall

__all__ = [
    "confusion_matrix",
    "coverage_curve",
    "draw_confusion",
    "draw_map",
    "draw_recall",
    "embedding_map",
    "learning_curve",
    "per_class_recall",
    "per_tag_precision",
    "similar_classes",
    "training_curve",
]
