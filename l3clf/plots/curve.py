"""Learning curve: accuracy against clips per class, and the gain from the last doubling of the clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter

from l3clf.errors import ParameterError
from l3clf.plots.common import (
    COLOURS,
    MARKERS,
    SOFT_INK,
    WIDTH_IN,
    FloatArray,
    Lettering,
    StrPath,
    blank,
    draw_frame,
    draw_heading,
    draw_legend,
    write_png,
)

_KEYS = ("clips_per_class", "accuracy", "accuracy_low", "accuracy_high")
_HEIGHT_IN = 4.0
_TICK_GAP_IN = 0.42  # room for a number of four digits
_LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class _Series:
    """One line of the picture: `numbers` has a column for each of `_KEYS` and is sorted by clips."""

    label: str
    numbers: FloatArray

    def at(self, clips: float) -> FloatArray:
        """Return accuracy and its bounds at a number of clips, linear in log(clips) between the points."""
        x = np.log2(self.numbers[:, 0])
        return np.array([np.interp(np.log2(clips), x, column) for column in self.numbers[:, 1:].T])

    @property
    def step(self) -> tuple[float, float]:
        """The range in clips over which the slope is taken: the last doubling, or the whole curve if shorter."""
        first, last = float(self.numbers[0, 0]), float(self.numbers[-1, 0])
        return max(first, last / 2), last

    @property
    def slope(self) -> str:
        """The gain from the last doubling of the clips; empty if there is only one point."""
        if len(self.numbers) < 2:
            return ""
        first, last = self.step
        points = 100 * float(self.at(last)[0] - self.at(first)[0])
        what = "doubling the clips" if last == 2 * first else f"{last / first:.1f} times the clips"
        return f"{what} {'added' if round(points, 1) >= 0 else 'lost'} {abs(points):.1f} points"

    @property
    def detail(self) -> str:
        """The range of the slope, and whether the slope may be chance."""
        first, last = self.step
        (_, low, high), (_, last_low, last_high) = self.at(first), self.at(last)
        overlap = ", the intervals overlap" if last_low <= high and low <= last_high else ""
        return f"({_clips(first)} → {_clips(last)} per class{overlap})"


def _clips(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or float(number).is_integer() else f"{number:.1f}"


def _row(point: object) -> list[float]:
    if not isinstance(point, Mapping):
        raise ParameterError(f"points: found {type(point).__name__}; expected mappings with {', '.join(_KEYS)}")
    for key in _KEYS:
        if not isinstance(point.get(key), Real) or not isfinite(point[key]):
            raise ParameterError(f"points: {key}={point.get(key)!r}; expected a number")
    clips, accuracy, low, high = row = [float(point[key]) for key in _KEYS]
    if clips <= 0 or not 0 <= accuracy <= 1 or not 0 <= low <= high <= 1:
        raise ParameterError(f"points: {row}; expected clips above 0, then fractions from 0 to 1 with low <= high")
    return row


def _series(points: Sequence[Mapping[str, object]]) -> list[_Series]:
    """Sort the points into lines, in the order in which their labels first appear."""
    rows: dict[str, list[list[float]]] = {}
    for point in points:
        row = _row(point)  # checks that the point is a mapping
        rows.setdefault(str(point.get("label") or ""), []).append(row)
    if not rows:
        raise ParameterError("points: none; give at least one")
    for label, numbers in rows.items():
        if len({row[0] for row in numbers}) < len(numbers):
            raise ParameterError(f"points: two of curve {label!r} have the same clips_per_class; give each a label")
    return [_Series(label, np.array(sorted(numbers))) for label, numbers in rows.items()]


def learning_curve(
    points: Sequence[Mapping[str, object]], out: StrPath, *, title: str | None = None, floor: float | None = None
) -> Path:
    """Draw accuracy against clips per class, with intervals and the gain from doubling the clips, as a PNG.

    Parameters
    ----------
    points : sequence of mappings
        Each with `clips_per_class` (above 0), `accuracy`, `accuracy_low` and `accuracy_high` (fractions from
        0 to 1, low <= high), and optionally `label`, the name of the line it belongs to.
    out : path
        The PNG to write; its folder is created if necessary.
    title : str, optional
        A line above the heading.
    floor : float, optional
        Accuracy of always predicting the largest class, 0 to 1, drawn as a dashed line.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ParameterError
        If there are no points, a number is missing or out of range, or the file cannot be written.
    """
    if floor is not None and not (isinstance(floor, Real) and 0 <= floor <= 1):
        raise ParameterError(f"floor={floor!r}; expected a fraction from 0 to 1")
    return write_png(_curve_figure(_series(points), title, floor), Path(out))


def _curve_figure(lines: list[_Series], title: str | None, floor: float | None) -> Figure:
    figure, axes = blank(WIDTH_IN, _HEIGHT_IN)
    letters = Lettering()
    handles = [_draw_series(axes, series, index, letters) for index, series in enumerate(lines)]
    _draw_scales(axes, lines, floor, letters)
    if floor is not None:
        _draw_floor(axes, floor, letters)
    if len(lines) > 1:
        draw_legend(axes, handles, 0.65, letters)
    draw_heading(axes, _summary(lines), title, WIDTH_IN, letters)
    return figure


def _draw_series(axes: Any, series: _Series, index: int, letters: Lettering) -> Any:
    colour = COLOURS[index % len(COLOURS)]
    clips, accuracy, low, high = series.numbers.T
    if len(clips) > 1:
        axes.fill_between(clips, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)
    else:
        axes.plot([*clips, *clips], [*low, *high], color=colour, linewidth=5, alpha=0.3, zorder=1)
    style = {"marker": MARKERS[index % len(MARKERS)], "linestyle": _LINES[index % len(_LINES)]}
    label = ": ".join(filter(None, [letters.label(series.label), series.slope]))
    (line,) = axes.plot(clips, accuracy, color=colour, linewidth=2, markersize=7, label=label, zorder=3, **style)
    return line


def _draw_floor(axes: Any, floor: float, letters: Lettering) -> None:
    axes.axhline(floor, color=SOFT_INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    text = f"always the largest class: {100 * floor:.0f} %"
    place = {"xytext": (-4, 4), "textcoords": "offset points", "ha": "right", "va": "bottom"}
    axes.annotate(text, (1, floor), xycoords=("axes fraction", "data"), **place, **letters.style(10, SOFT_INK))


def _draw_scales(axes: Any, lines: list[_Series], floor: float | None, letters: Lettering) -> None:
    numbers = np.vstack([series.numbers for series in lines])
    axes.set_xscale("log", base=2)
    _limit(axes, numbers, floor)
    ticks = _ticks(numbers[:, 0])
    axes.set_xticks(ticks, [_clips(tick) for tick in ticks], **letters.style(10))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    draw_frame(axes, ["bottom", "left"], "both")
    axes.set_xlabel("clips per class in training", labelpad=6, **letters.style(10))
    axes.set_ylabel("accuracy", labelpad=6, **letters.style(10))


def _limit(axes: Any, numbers: FloatArray, floor: float | None) -> None:
    """Set limits with a margin, within 0 to 100 %."""
    # At least ten percentage points high, so that noise does not look like a trend.
    values = [*numbers[:, 1:].ravel(), *([] if floor is None else [floor])]
    low, high = min(values), max(values)
    pad = max(0.06 * (high - low), (0.1 - (high - low)) / 2, 0.005)
    axes.set_ylim(max(-0.01, low - pad), min(1.01, high + pad))
    clips = numbers[:, 0]
    # The axis is logarithmic, so its margin is a factor.
    margin = max(1.08, float(clips.max() / clips.min()) ** 0.04)
    axes.set_xlim(clips.min() / margin, clips.max() * margin)


def _ticks(clips: FloatArray) -> list[float]:
    """Return the numbers of clips as ticks, without those too close together; the largest is kept."""
    values = np.unique(clips)[::-1]
    per_octave = WIDTH_IN / max(1e-6, float(np.log2(values[0] / values[-1])))
    kept = [float(values[0])]
    for value in values[1:]:
        if np.log2(kept[-1] / value) * per_octave >= _TICK_GAP_IN:
            kept.append(float(value))
    return kept[::-1]


def _summary(lines: list[_Series]) -> list[str]:
    """Return the gain from more clips; several lines state it in the legend instead."""
    if not any(series.slope for series in lines):
        return ["a single training size: no trend"]
    if len(lines) > 1:
        return []
    name = f"{lines[0].label}: " if lines[0].label else ""
    return [f"{name}{lines[0].slope} {lines[0].detail}"]
