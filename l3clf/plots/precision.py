"""Average precision of each tag, with its interval, beside the share of clips that have the tag."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from l3clf.errors import ParameterError
from l3clf.plots.common import (
    COLOURS,
    FAINT_INK,
    INK,
    SOFT_INK,
    Lettering,
    StrPath,
    blank,
    draw_frame,
    draw_heading,
    listed,
    write_png,
)

_MAX_TAGS, _WORST, _BEST = 60, 40, 10  # the worst tags are those to work on
_ROW_IN = 0.27
_AXES_IN = 3.6


@dataclass(frozen=True)
class _Precision:
    """A tag, its average precision with its interval, and how many of all clips have it."""

    label: str
    precision: float
    low: float
    high: float
    clips: int
    base_rate: float


def per_tag_precision(
    tags: Iterable[object],
    precisions: npt.ArrayLike,
    intervals: npt.ArrayLike,
    n_true: npt.ArrayLike,
    n_clips: int,
    out: StrPath,
    *,
    title: str | None = None,
) -> Path:
    """Draw the average precision of each tag, the worst first, with its interval and its base rate, as a PNG.

    A dashed line marks the mean. Of more than 60 tags the 40 worst and the 10 best are shown, as the heading states.

    Parameters
    ----------
    tags : iterable of n labels
    precisions : array of shape (n,)
        From 0 to 1; tags for which it is NaN are left out.
    intervals : array of shape (n, 2)
    n_true : array of shape (n,)
        How many clips have each tag.
    n_clips : int
        How many clips there are.
    out : path
        The PNG to write; its folder is created if necessary.
    title : str, optional
        A line above the mean.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ParameterError
        If there is no tag with an average precision, or the file cannot be written.
    """
    names = [str(tag) for tag in listed(tags, "tags")]
    values = zip(
        names, *(np.asarray(each, np.float64) for each in (precisions, *np.transpose(intervals), n_true)), strict=True
    )
    rows = [
        _Precision(name, precision, low, high, int(clips), clips / n_clips)
        for name, precision, low, high, clips in values
        if np.isfinite(precision)
    ]
    if not rows:
        raise ParameterError(f"precisions: {len(names)} tags without an average precision; give one tag or more")
    return write_png(_figure(sorted(rows, key=lambda row: (row.precision, row.label)), title), Path(out))


def _figure(found: list[_Precision], title: str | None) -> Figure:
    many = len(found) > _MAX_TAGS
    rows: list[_Precision | None] = [*found[:_WORST], None, *found[-_BEST:]] if many else [*found]
    letters = Lettering()
    mean = float(np.mean([row.precision for row in found]))
    figure, axes = blank(_AXES_IN, max(2, len(rows)) * _ROW_IN)
    axes.axvline(mean, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for place, row in enumerate(rows):
        _draw_gap(axes, place, len(found), letters) if row is None else _draw_row(axes, place, row, letters)
    _draw_scales(axes, rows, letters)
    tags = "1 tag" if len(found) == 1 else f"{len(found):,} tags"
    lines = [f"dashed: mean {100 * mean:.1f} %, {tags}", "bars: 95 % intervals; ticks: base rates"]
    lines += [f"shown: the {_WORST} worst and the {_BEST} best"] if many else []
    draw_heading(axes, lines, title, _AXES_IN + 1.2, letters)
    return figure


def _draw_row(axes: Any, place: int, row: _Precision, letters: Lettering) -> None:
    axes.plot([row.base_rate] * 2, [place - 0.3, place + 0.3], color=FAINT_INK, linewidth=1.5, zorder=2)
    axes.plot([row.low, row.high], [place, place], color=COLOURS[4], linewidth=5, solid_capstyle="butt", zorder=2)
    # Not clipped, so that points at 0 and 100 % are drawn whole.
    axes.plot([row.precision], [place], "o", color=COLOURS[0], markersize=7, zorder=3, clip_on=False)
    text = (
        f"{100 * row.precision:.0f} %   {row.clips:,} clips"
        if row.clips != 1
        else f"{100 * row.precision:.0f} %   1 clip"
    )
    axes.text(1.04, place, text, ha="left", va="center", **letters.style(10, SOFT_INK))


def _draw_gap(axes: Any, place: int, n_tags: int, letters: Lettering) -> None:
    axes.axhspan(place - 0.5, place + 0.5, color="#eeeeee", linewidth=0, zorder=0)
    text = f"{n_tags - _WORST - _BEST:,} tags in between are not shown"
    axes.text(0.5, place, text, ha="center", va="center", zorder=4, **letters.style(9, SOFT_INK))


def _draw_scales(axes: Any, rows: list[_Precision | None], letters: Lettering) -> None:
    labels = ["" if row is None else letters.label(row.label) for row in rows]
    axes.set_yticks(range(len(rows)), labels, **letters.style(10))
    axes.set_ylim(max(2, len(rows)) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    draw_frame(axes, ["bottom"], "x")
    axes.set_xlabel("average precision, over all thresholds", labelpad=6, **letters.style(10))
