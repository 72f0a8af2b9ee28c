"""Average precision of each tag, with its interval, beside the share of clips that have the tag."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from l3clf.errors import ParameterError
from l3clf.plots.common import (
    COLOURS,
    FAINT_INK,
    INK,
    LABEL_CHARS,
    SOFT_INK,
    Lettering,
    StrPath,
    blank,
    draw_frame,
    draw_heading,
    draw_small_heading,
    drawn_png,
    listed,
    phone_axes,
    settled_inches,
    write_png,
)

_MAX_TAGS, _WORST, _BEST = 60, 40, 10  # the worst tags are those to work on
_ROW_IN = 0.27
_AXES_IN = 3.6
_NARROW_CHARS = 16  # of a tag beside narrow axes


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
    narrow: BinaryIO | None = None,
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
    narrow : binary file, optional
        What a second PNG, drawn for the width of a phone, is written to.

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
    found = sorted(rows, key=lambda row: (row.precision, row.label))
    shown: list[_Precision | None] = [*found]
    if len(found) > _MAX_TAGS:
        shown = [*found[:_WORST], None, *found[-_BEST:]]
    if narrow is not None:
        narrow.write(_phone_picture(found, shown, title))
    return write_png(_figure(found, shown, title), Path(out))


def _figure(found: list[_Precision], rows: list[_Precision | None], title: str | None) -> Figure:
    letters = Lettering()
    figure, axes = blank(_AXES_IN, max(2, len(rows)) * _ROW_IN)
    lines = _draw_rows(axes, found, rows, letters)
    _draw_scales(axes, rows, letters)
    draw_heading(axes, lines, title, _AXES_IN + 1.2, letters)
    return figure


def _phone_picture(found: list[_Precision], rows: list[_Precision | None], title: str | None) -> bytes:
    letters = Lettering()
    axes = phone_axes(1.3 + max(2, len(rows)) * 0.2)
    lines = _draw_rows(axes, found, rows, letters)
    _draw_scales(axes, rows, letters, narrow=True)
    settled_inches(axes)
    draw_small_heading(axes, lines, title, letters)
    return drawn_png(axes)


def _draw_rows(axes: Any, found: list[_Precision], rows: list[_Precision | None], letters: Lettering) -> list[str]:
    """Draw the mean, and a bar and a point for each tag; return the lines of the heading."""
    mean = float(np.mean([row.precision for row in found]))
    axes.axvline(mean, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for place, row in enumerate(rows):
        _draw_gap(axes, place, len(found), letters) if row is None else _draw_row(axes, place, row)
    tags = "1 tag" if len(found) == 1 else f"{len(found):,} tags"
    lines = [f"dashed: mean {100 * mean:.1f} %, {tags}", "bars: 95 % intervals; ticks: base rates"]
    return [*lines, f"shown: the {_WORST} worst and the {_BEST} best"] if None in rows else lines


def _draw_row(axes: Any, place: int, row: _Precision) -> None:
    axes.plot([row.base_rate] * 2, [place - 0.3, place + 0.3], color=FAINT_INK, linewidth=1.5, zorder=2)
    axes.plot([row.low, row.high], [place, place], color=COLOURS[4], linewidth=5, solid_capstyle="butt", zorder=2)
    # Not clipped, so that points at 0 and 100 % are drawn whole.
    axes.plot([row.precision], [place], "o", color=COLOURS[0], markersize=7, zorder=3, clip_on=False)


def _draw_gap(axes: Any, place: int, n_tags: int, letters: Lettering) -> None:
    axes.axhspan(place - 0.5, place + 0.5, color="#eeeeee", linewidth=0, zorder=0)
    text = f"{n_tags - _WORST - _BEST:,} tags in between are not shown"
    axes.text(0.5, place, text, ha="center", va="center", zorder=4, **letters.style(9, SOFT_INK))


def _draw_scales(axes: Any, rows: list[_Precision | None], letters: Lettering, *, narrow: bool = False) -> None:
    limit = _NARROW_CHARS if narrow else LABEL_CHARS
    labels = ["" if row is None else letters.label(row.label, limit) for row in rows]
    axes.set_ylim(max(2, len(rows)) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 3 if narrow else 5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    draw_frame(axes, ["bottom"], "x")
    axes.set_yticks(range(len(rows)), labels, **letters.style(10))
    axes.set_xlabel("average precision, over all thresholds", labelpad=6, **letters.style(10))
    for place, row in enumerate(rows):
        if row is not None:
            share, clips = f"{100 * row.precision:.0f} %", f"{row.clips:,} clip{'' if row.clips == 1 else 's'}"
            text = share if narrow else f"{share}   {clips}"
            axes.text(1.04, place, text, ha="left", va="center", **letters.style(10, SOFT_INK))
