"""Training curve of a student: cosine to its teachers' embeddings on held-out clips, against epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from l3clf.errors import ParameterError
from l3clf.plots.common import (
    COLOURS,
    MARKERS,
    WIDTH_IN,
    Lettering,
    StrPath,
    blank,
    draw_heading,
    draw_legend,
    write_png,
)

_HEIGHT_IN = 3.6


def training_curve(log: Sequence[Mapping[str, float]], teachers: Sequence[str], out: StrPath) -> Path:
    """Draw the held-out cosine to each teacher's whitened embedding after every epoch, as a PNG.

    Parameters
    ----------
    log : sequence of mappings
        Each with `epoch`, `cosine` (the mean over teachers), and `cosine_0`, `cosine_1`, ... in the order of
        `teachers`.
    teachers : sequence of str
    out : path
        The PNG to write; its folder is created if necessary.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ParameterError
        If the log is empty, or the file cannot be written.
    """
    if not log:
        raise ParameterError("log: empty; give at least one epoch")
    letters = Lettering()
    figure, axes = blank(WIDTH_IN, _HEIGHT_IN)
    epochs = [row["epoch"] for row in log]
    handles = []
    for i, teacher in enumerate(teachers):
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        style["markersize"] = 4
        axes.plot(epochs, [row[f"cosine_{i}"] for row in log], **style)
        handles.append(Line2D([], [], label=letters.text(teacher), **style))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("held-out cosine")
    axes.grid(alpha=0.3)
    best = max(log, key=lambda row: row["cosine"])
    heading = f"Best after epoch {best['epoch']:.0f}: mean cosine {best['cosine']:.3f}"
    draw_heading(axes, [heading], None, WIDTH_IN, letters)
    draw_legend(axes, handles, 0.5, letters)
    return write_png(figure, Path(out))
