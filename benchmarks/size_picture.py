"""Draws accuracies against numbers of parameters, each mark with a label that covers nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator
from matplotlib.transforms import Bbox

from l3clf.plots.common import (
    COLOURS,
    FAINT_INK,
    INK,
    PAPER,
    SOFT_INK,
    WIDTH_IN,
    Lettering,
    blank,
    draw_frame,
    draw_heading,
    draw_legend,
    write_png,
)

__all__ = ["END_TO_END", "OTHERS", "OURS", "PUBLISHED", "Mark", "draw_sizes"]

HEIGHT_IN = 4.0
OURS, OTHERS = "l3clf's students, frozen", "other embedders, frozen"
PUBLISHED, END_TO_END = "published: frozen", "published: trained end to end"
STYLES: dict[str, dict[str, Any]] = {
    OURS: {"color": COLOURS[0], "marker": "o"},
    OTHERS: {"color": SOFT_INK, "marker": "s"},
    PUBLISHED: {"color": SOFT_INK, "marker": "s", "markerfacecolor": PAPER},
    END_TO_END: {"color": COLOURS[5], "marker": "D", "markerfacecolor": PAPER},
}
# Where a label is tried, in points from its mark and by the text's own corner: nearest first, the sides before others.
_PLACES = [
    (dx, dy, side, height)
    for distance in (7, 12, 18)
    for dx, dy, side, height in (
        (distance, 0, "left", "center"),
        (-distance, 0, "right", "center"),
        (0, distance, "center", "bottom"),
        (0, -distance, "center", "top"),
        *((x * distance, y * distance, "left" if x > 0 else "right", "center") for x, y in product((1, -1), repeat=2)),
    )
]


@dataclass(frozen=True)
class Mark:
    """A network: its size, its accuracy in per cent and one standard error of that (0: not known), and its kind."""

    label: str
    parameters: int
    percent: float
    error: float
    kind: str


def draw_sizes(marks: Sequence[Mark], floors: Sequence[tuple[str, float]], path: Path) -> Path:
    """Draw the marks, and accuracies that need no network as dashed lines; return the PNG that was written."""
    letters = Lettering()
    figure, axes = blank(WIDTH_IN, HEIGHT_IN)
    draw_frame(axes, ["left", "bottom"], "both")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(_count))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    for mark in marks:
        style = {"markersize": 6, "capsize": 3, "elinewidth": 1, "linestyle": "none", **STYLES[mark.kind]}
        axes.errorbar([mark.parameters], [mark.percent], [mark.error] if mark.error else None, **style)
    axes.margins(0.12, 0.08)
    for label, percent in floors:
        axes.axhline(percent, color=FAINT_INK, linewidth=1, linestyle="--", zorder=1)
        style = {"ha": "right", "va": "top", **letters.style(9, SOFT_INK)}
        axes.annotate(letters.text(label), (1, percent), (0, -3), ("axes fraction", "data"), "offset points", **style)
    axes.set_xlabel("parameters", **letters.style(10))
    axes.set_xlim(*axes.get_xlim())
    axes.set_ylim(*axes.get_ylim())
    _label(axes, marks, letters)
    draw_heading(axes, ["Accuracy on ESC-10 against size; bars are one standard error"], None, WIDTH_IN, letters)
    used = [kind for kind in STYLES if any(mark.kind == kind for mark in marks)]
    handles = [Line2D([], [], label=kind, linestyle="none", markersize=6, **STYLES[kind]) for kind in used]
    draw_legend(axes, handles, 0.55, letters)
    return write_png(figure, path)


def _count(value: float, _: Any) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k"


def _label(axes: Any, marks: Sequence[Mark], letters: Lettering) -> None:
    """Write each label at the first place beside its mark where it covers nothing, or least."""
    axes.figure.canvas.draw()
    inside = axes.get_window_extent()
    taken = [_box(axes, mark) for mark in marks] + [text.get_window_extent() for text in axes.texts]
    for mark in sorted(marks, key=lambda mark: -mark.percent):
        tried: list[tuple[float, int, Any, Bbox]] = []
        for dx, dy, side, height in _PLACES:
            text = axes.annotate(
                letters.text(mark.label),
                (mark.parameters, mark.percent),
                (dx, dy),
                textcoords="offset points",
                ha=side,
                va=height,
                **letters.style(9, INK),
            )
            box = text.get_window_extent()
            outside = box.width * box.height - _common(box, inside)
            tried.append((outside + sum(_common(box, other) for other in taken), len(tried), text, box))
        _, _, chosen, box = min(tried)
        for _, _, text, _ in tried:
            if text is not chosen:
                text.remove()
        taken.append(box)


def _box(axes: Any, mark: Mark) -> Bbox:
    """What a mark and its bar cover, in pixels."""
    (x, low), (_, high) = axes.transData.transform(
        [(mark.parameters, mark.percent - mark.error), (mark.parameters, mark.percent + mark.error)]
    )
    half = 8  # pixels
    return Bbox([[x - half, low - half], [x + half, high + half]])


def _common(a: Bbox, b: Bbox) -> float:
    """The area that two boxes have in common."""
    common = Bbox.intersection(a, b)
    return 0.0 if common is None else float(common.width * common.height)
