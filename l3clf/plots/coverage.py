"""Coverage against accuracy: what accepting fewer sounds gains, and how many unknown ones it keeps out."""

from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from l3clf.errors import ParameterError
from l3clf.plots.common import (
    COLOURS,
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

__all__ = ["coverage_curve"]

_KEYS = ("coverage", "accuracy_accepted", "unknown_accepted")
_HEIGHT_IN = 4.0


def coverage_curve(
    lines: Mapping[str, Sequence[Mapping[str, float]]], out: StrPath, *, title: str | None = None, accept: float = 0.95
) -> Path:
    """Draw the accuracy of the accepted known clips, and the unknown clips rejected, against coverage, as a PNG.

    Parameters
    ----------
    lines : mapping of str to sequence of mappings
        For each way of telling unknown sounds, by its name, the points of `OpenSet.curve`: coverage (the share of known
        clips that are accepted), accuracy_accepted and unknown_accepted, fractions from 0 to 1.
    out : path
        The PNG to write; its folder is created if necessary.
    title : str, optional
        A line above the heading.
    accept : float, default=0.95
        The coverage that is marked.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ParameterError
        If there are no points, a number is missing or out of range, or the file cannot be written.
    """
    series = {str(name): _numbers(points) for name, points in lines.items()}
    if not series:
        raise ParameterError("lines: none; give at least one")
    return write_png(_coverage_figure(series, title, accept), Path(out))


def _numbers(points: Sequence[Mapping[str, float]]) -> FloatArray:
    """Return coverage, accuracy and the share of unknown clips rejected, (3, n_points), by rising coverage."""
    if not points:
        raise ParameterError("lines: one without points; give at least one point")
    for point in points:
        for key in _KEYS:
            value = point.get(key)
            if not isinstance(value, Real) or not isfinite(value) or not 0 <= value <= 1:
                raise ParameterError(f"lines: {key}={value!r}; expected a fraction from 0 to 1")
    coverage, accuracy, accepted = np.array(sorted([point[key] for key in _KEYS] for point in points)).T
    return np.stack([coverage, accuracy, 1 - accepted])


def _coverage_figure(series: dict[str, FloatArray], title: str | None, accept: float) -> Figure:
    figure, axes = blank(WIDTH_IN, _HEIGHT_IN)
    letters = Lettering()
    handles = []
    for i, (name, (coverage, accuracy, rejected)) in enumerate(series.items()):
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "linewidth": 2, "zorder": 3}
        for what, values, line in (("right", accuracy, "-"), ("rejected", rejected, "--")):
            label = f"{letters.label(name)}: {'accepted known clips right' if what == 'right' else 'unknown rejected'}"
            handles += axes.plot(coverage, values, line, label=label, **style)
    axes.axvline(accept, color=SOFT_INK, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    draw_frame(axes, ["bottom", "left"], "both")
    axes.set_xlabel("known clips accepted (coverage)", labelpad=6, **letters.style(10))
    axes.set_ylabel("share of clips", labelpad=6, **letters.style(10))
    draw_legend(axes, handles, 0.65, letters)
    draw_heading(axes, _summary(series, accept), title, WIDTH_IN, letters)
    return figure


def _summary(series: dict[str, FloatArray], accept: float) -> list[str]:
    """Return what each line says at the coverage that is marked."""
    lines = []
    for name, (coverage, accuracy, rejected) in series.items():
        out, right = (100 * np.interp(accept, coverage, each) for each in (rejected, accuracy))
        lines.append(
            f"{name}: at {100 * accept:.0f} % coverage {out:.0f} % of unknown clips are rejected, and {right:.0f} % of "
            "the accepted are right"
        )
    return lines
