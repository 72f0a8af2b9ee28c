"""Recall of each class, with an interval that shows how much its number of clips can tell."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from l3clf.plots.common import (
    COLOURS,
    INK,
    LABEL_CHARS,
    PHONE_IN,
    SOFT_INK,
    Lettering,
    StrPath,
    blank,
    draw_frame,
    draw_heading,
    draw_small_heading,
    drawn_png,
    given_or_new,
    ordered,
    paired,
    phone_axes,
    settled_inches,
    write_png,
)

_Z = 1.959963984540054  # the normal distribution's 97.5 % point
_MAX_CLASSES, _WORST, _BEST = 60, 40, 10  # the worst classes are those to work on
_ROW_IN = 0.27
_AXES_IN = 3.6
_NARROW_CHARS = 16  # of a class's name beside narrow axes


@dataclass(frozen=True)
class _Recall:
    """A class, the number of its clips, and how many of them were found."""

    label: str
    found: int
    clips: int

    @property
    def share(self) -> float:
        return self.found / self.clips

    @property
    def text(self) -> str:
        return f"{100 * self.share:.0f} %   {self.found:,} of {self.clips:,}"

    @property
    def short_text(self) -> str:
        return f"{self.found:,}/{self.clips:,}"


def wilson_interval(found: int, clips: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, JASA 22, 1927; without continuity correction).

    Parameters
    ----------
    found, clips : int
        Successes among trials; 0 <= found <= clips, clips at least 1.

    Returns
    -------
    low, high : float
        0 <= low <= found / clips <= high <= 1.

    Examples
    --------
    >>> [round(bound, 4) for bound in wilson_interval(81, 263)]
    [0.2553, 0.3662]
    """
    share, z2 = found / clips, _Z * _Z
    middle = (share + z2 / (2 * clips)) / (1 + z2 / clips)
    half = _Z * sqrt(share * (1 - share) / clips + z2 / (4 * clips * clips)) / (1 + z2 / clips)
    # Rounding may put a bound just outside 0 to 1, or on the wrong side of a share of 0 or 1.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def _recalls(true: list[object], predicted: list[object]) -> list[_Recall]:
    """Return the recall of each class of `true`, the worst first; equal ones are sorted by label."""
    order = ordered(true)
    found, clips = dict.fromkeys(order, 0), dict.fromkeys(order, 0)
    for t, p in zip(true, predicted, strict=True):
        clips[str(t)] += 1
        found[str(t)] += str(t) == str(p)
    return sorted((_Recall(label, found[label], clips[label]) for label in order), key=lambda recall: recall.share)


def _shown(recalls: list[_Recall]) -> list[_Recall | None]:
    """Return the rows of the picture from the top; None is the gap in a list that is too long to show."""
    if len(recalls) <= _MAX_CLASSES:
        return [*recalls]
    return [*recalls[:_WORST], None, *recalls[-_BEST:]]


def per_class_recall(
    y_true: Iterable[object],
    y_pred: Iterable[object],
    out: StrPath,
    *,
    title: str | None = None,
    narrow: BinaryIO | None = None,
) -> Path:
    """Draw each class's recall with its 95 % Wilson interval and its clips, the worst class first, as a PNG.

    A dashed line marks the mean over all classes, which is the balanced accuracy. Of more than 60 classes
    the 40 worst and the 10 best are shown, as the heading states.

    Parameters
    ----------
    y_true, y_pred : iterable of labels, shape (n_clips,)
        True and predicted labels; they are compared as text. The classes are those of `y_true`.
    out : path
        The PNG to write; its folder is created if necessary.
    title : str, optional
        A line above the balanced accuracy.
    narrow : binary file, optional
        What a second PNG, drawn for the width of a phone, is written to.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ParameterError
        If the numbers of labels differ or are 0, or the file cannot be written.
    """
    recalls = _recalls(*paired(y_true, y_pred))
    if narrow is not None:
        axes = phone_axes(1.3 + max(2, len(_shown(recalls))) * 0.2)
        narrow.write(drawn_png(_draw_into(axes, recalls, title, Lettering())))
    return write_png(_recall_figure(recalls, title), Path(out))


def draw_recall(y_true: Iterable[object], y_pred: Iterable[object], ax: Any = None, *, title: str | None = None) -> Any:
    """Draw what `per_class_recall` draws into Matplotlib axes.

    Parameters
    ----------
    y_true, y_pred : iterable of labels, shape (n_clips,)
    ax : matplotlib.axes.Axes, optional
        The axes to draw into; pyplot makes a figure if there are none.
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ParameterError
        If the numbers of labels differ or are 0, or `ax` is not axes.
    """
    recalls = _recalls(*paired(y_true, y_pred))
    axes, letters = given_or_new(ax, _AXES_IN + 3.4, max(2, len(_shown(recalls))) * _ROW_IN + 1.2)
    return _draw_into(axes, recalls, title, letters)


def _draw_into(axes: Any, recalls: list[_Recall], title: str | None, letters: Lettering) -> Any:
    """Draw into axes of any size: text as large as a row has room for."""
    rows = _shown(recalls)
    mean = _draw_rows(axes, recalls, rows, letters)
    width, height = settled_inches(axes)
    size = max(5.0, min(10.0, 0.75 * 72 * height / max(2, len(rows))))
    # Without a layout engine, nothing makes room for the longer texts.
    narrow = width <= PHONE_IN or axes.figure.get_layout_engine() is None
    _draw_scales(axes, rows, letters, size, narrow=narrow)
    settled_inches(axes)
    draw_small_heading(axes, _summary(recalls, rows, mean), title, letters)
    return axes


def _recall_figure(recalls: list[_Recall], title: str | None) -> Figure:
    rows, letters = _shown(recalls), Lettering()
    figure, axes = blank(_AXES_IN, max(2, len(rows)) * _ROW_IN)
    mean = _draw_rows(axes, recalls, rows, letters)
    _draw_scales(axes, rows, letters)
    draw_heading(axes, _summary(recalls, rows, mean), title, _AXES_IN + 1.2, letters)
    return figure


def _draw_rows(axes: Any, recalls: list[_Recall], rows: list[_Recall | None], letters: Lettering) -> float:
    """Draw the mean, which is returned, and a bar and a point for each class."""
    mean = float(np.mean([recall.share for recall in recalls]))
    axes.axvline(mean, color=letters.ink(INK), linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for row, recall in enumerate(rows):
        _draw_gap(axes, row, len(recalls), letters) if recall is None else _draw_row(axes, row, recall)
    return mean


def _draw_row(axes: Any, row: int, recall: _Recall) -> None:
    low, high = wilson_interval(recall.found, recall.clips)
    axes.plot([low, high], [row, row], color=COLOURS[4], linewidth=5, solid_capstyle="butt", zorder=2)
    # Not clipped, so that points at 0 and 100 % are drawn whole.
    axes.plot([recall.share], [row], "o", color=COLOURS[0], markersize=7, zorder=3, clip_on=False)


def _draw_gap(axes: Any, row: int, n_classes: int, letters: Lettering) -> None:
    axes.axhspan(row - 0.5, row + 0.5, color="#333333" if letters.dark else "#eeeeee", linewidth=0, zorder=0)
    text = f"{n_classes - _WORST - _BEST:,} classes in between are not shown"
    axes.text(0.5, row, text, ha="center", va="center", zorder=4, **letters.style(9, SOFT_INK))


def _draw_scales(
    axes: Any, rows: list[_Recall | None], letters: Lettering, size: float = 10, *, narrow: bool = False
) -> None:
    limit = _NARROW_CHARS if narrow else LABEL_CHARS
    labels = ["" if recall is None else letters.label(recall.label, limit) for recall in rows]
    axes.set_ylim(max(2, len(rows)) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 3 if narrow else 5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    draw_frame(axes, ["bottom"], "x", letters)
    axes.set_yticks(range(len(rows)), labels, **letters.style(size))
    what = "recall" if narrow else "recall: share of the class's clips predicted correctly"
    axes.set_xlabel(what, labelpad=6, **letters.style(10))
    for row, recall in enumerate(rows):
        text = "" if recall is None else recall.short_text if narrow else recall.text
        axes.text(1.04, row, text, ha="left", va="center", **letters.style(size, SOFT_INK))


def _summary(recalls: list[_Recall], rows: list[_Recall | None], mean: float) -> list[str]:
    classes = "1 class" if len(recalls) == 1 else f"{len(recalls):,} classes"
    lines = [f"dashed: balanced accuracy {100 * mean:.1f} %, {classes}", "bars: 95 % Wilson intervals"]
    if len(rows) < len(recalls):
        lines.append(f"shown: the {_WORST} worst and the {_BEST} best")
    return lines
