"""Every picture that l3clf draws; the only module that imports matplotlib.

Rule: figures are plain objects with an Agg canvas. There is no pyplot, no window and no setting that
outlives a call, so a picture looks the same in a script, a notebook, a thread and a server. A picture
reaches its file whole or not at all.
"""

import io
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from textwrap import fill
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from l3clf.errors import ParameterError

__all__ = ["confusion_matrix"]

IntArray: TypeAlias = npt.NDArray[np.int64]

UNKNOWN = "unknown"
OTHER = "(other)"
_DPI = 150
_LABEL_CHARS = 28
_ANNOTATED_CLASSES = 30
_SHARE_CELL_IN = 0.5  # smaller cells have no room for a second line
_COLOURS = "Blues"  # one hue, lightness falling steadily: reads the same to colour-blind eyes and in grey
_INK, _FAINT_INK, _PAPER = "#1a1a1a", "#8a8a8a", "#ffffff"
_NO_CLIPS = "#eeeeee"
# Tried in this order for letters that DejaVu Sans, which comes with matplotlib, does not have.
_FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Hiragino Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
    "Noto Sans",
    "Noto Emoji",
)


# ---------------------------------------------------------------------------------------- what is counted


@dataclass(frozen=True)
class _Confusions:
    """Counts of true class (rows) against predicted class (columns, which may have extra ones last)."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: IntArray

    @property
    def recalls(self) -> npt.NDArray[np.float64]:
        """Each row divided by its sum; NaN where a class has no clips."""
        totals = self.counts.sum(axis=1, keepdims=True)
        shares = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, totals, out=shares, where=totals > 0)
        return shares

    @property
    def summary(self) -> str:
        right, total = int(np.trace(self.counts)), int(self.counts.sum())
        return f"accuracy {100 * right / total:.1f} % ({right:,} of {total:,} clips)"


def _listed(labels: Iterable[object], name: str) -> list[object]:
    if isinstance(labels, str | bytes) or np.ndim(labels) > 1:  # type: ignore[arg-type]
        raise ParameterError(f"{name} must be one-dimensional, a label for each clip")
    return list(labels)


def _ordered(labels: Iterable[object]) -> tuple[str, ...]:
    """Sort labels: numbers by value, all else as text."""
    values = {str(label): label for label in labels}
    numbers = {text: float(label) for text, label in values.items() if isinstance(label, Real)}
    return tuple(sorted(values, key=numbers.__getitem__ if len(numbers) == len(values) else None))


def _row_order(true: list[object], classes: Sequence[object] | None) -> tuple[str, ...]:
    """Decide which class stands where: here is the place for other orders than "given" and "sorted"."""
    if classes is None:
        return _ordered(true)
    order = tuple(dict.fromkeys(str(label) for label in _listed(classes, "classes")))
    strange = set(_ordered(true)) - set(order)
    if strange:
        raise ParameterError(f"y_true has labels that are not among classes: {', '.join(sorted(strange)[:5])}")
    return order


def _tally(true: list[object], predicted: list[object], rows: tuple[str, ...]) -> _Confusions:
    """Count, with a column each for answers "unknown" and for any other label that is no class."""
    if len(true) != len(predicted) or not true:
        raise ParameterError(
            f"y_true has {len(true)} labels and y_pred {len(predicted)}: need equally many, at least one"
        )
    strange = {str(label) for label in predicted} - set(rows)
    columns = (*rows, *[UNKNOWN] * (UNKNOWN in strange), *[OTHER] * bool(strange - {UNKNOWN}))
    place = {label: index for index, label in enumerate(columns)}
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    for t, p in zip(true, predicted, strict=True):
        counts[place[str(t)], place.get(str(p), len(columns) - 1)] += 1
    return _Confusions(rows, columns, counts)


# ---------------------------------------------------------------------------------------- labels and fonts


def _families() -> list[str]:
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)]


def _drawable(text: str, fonts: Sequence[FT2Font]) -> str:
    r"""Write letters that no font here has as \uXXXX: two boxes look alike, two numbers do not."""
    return "".join(
        c if any(font.get_char_index(ord(c)) for font in fonts) else c.encode("unicode_escape").decode() for c in text
    )


def _shortened(text: str) -> str:
    """Cut the middle out of a long label: names of classes differ at their start or their end."""
    text = re.sub(r"\s+", " ", text).strip() or "(empty)"
    if len(text) <= _LABEL_CHARS:
        return text
    tail = _LABEL_CHARS // 2 - 2
    return f"{text[: _LABEL_CHARS - tail - 1]}…{text[-tail:]}"


def _ink_on(colour: Sequence[float]) -> str:
    """Dark or white, whichever has more contrast with `colour` (relative luminance, as in WCAG)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return _INK if luminance > 0.2 else _PAPER


# ---------------------------------------------------------------------------------------- the picture


def confusion_matrix(
    y_true: Iterable[object],
    y_pred: Iterable[object],
    out: str | os.PathLike[str],
    *,
    classes: Sequence[object] | None = None,
    title: str | None = None,
) -> Path:
    """Draw which class was taken for which, as a PNG.

    A row is a true class, a column what was predicted. Colour is the share of the row, so the diagonal
    shows each class's recall; the number in a cell is its count of clips. Up to 30 classes have numbers,
    and up to 16 percentages too. Rows without clips are grey.

    Parameters
    ----------
    y_true, y_pred : iterable of labels, shape (n_clips,)
        True and predicted labels; they are compared as text.
    out : path
        The PNG to write; its folder is made when it is missing.
    classes : sequence of labels, optional
        The classes in the order to draw them, among them every true label. Default: the labels of
        `y_true`, sorted. A prediction that is no class counts in a last column, `unknown` or `(other)`.
    title : str, optional
        A line above the accuracy.

    Returns
    -------
    pathlib.Path
        The file that was written.

    Raises
    ------
    ParameterError
        The labels do not fit together, or the file cannot be written.
    """
    true, predicted = _listed(y_true, "y_true"), _listed(y_pred, "y_pred")
    confusions = _tally(true, predicted, _row_order(true, classes))
    return _write_png(_confusion_figure(confusions, title), Path(out))


def _confusion_figure(confusions: _Confusions, title: str | None) -> Figure:
    n_rows, n_columns = confusions.counts.shape
    cell_in = _cell_inches(n_rows)
    families = _families()
    figure = Figure(figsize=(n_columns * cell_in, n_rows * cell_in), dpi=_DPI)
    FigureCanvasAgg(figure)
    # The axes fill the figure, so that cells have their size whatever the labels need: saving with
    # bbox_inches="tight" widens the picture by what lies outside.
    axes = figure.add_axes((0, 0, 1, 1))
    _draw_cells(axes, confusions, cell_in)
    _draw_colour_bar(figure, axes, n_columns * cell_in, families)
    _draw_labels(axes, confusions, cell_in, families)
    _draw_heading(axes, confusions, title, max(40, int(n_columns * cell_in * 11)), families)
    return figure


def _cell_inches(n: int) -> float:
    """Give cells room for numbers up to 30 classes, for their labels up to 120; a picture has an end then."""
    if n <= _ANNOTATED_CLASSES:
        return max(0.3, min(0.95, 0.45 + 2.2 / n, 8 / n))
    return max(min(0.13, 16 / n), 8 / n)


def _draw_cells(axes: Any, confusions: _Confusions, cell_in: float) -> None:
    n_rows, n_columns = confusions.counts.shape
    annotated = n_rows <= _ANNOTATED_CLASSES
    colours = colormaps[_COLOURS].with_extremes(bad=_NO_CLIPS)
    axes.pcolormesh(
        np.ma.masked_invalid(confusions.recalls),
        cmap=colours,
        vmin=0,
        vmax=1,
        edgecolors=_PAPER if annotated else "none",
        linewidth=0.6 if annotated else 0,
    )
    axes.set_ylim(n_rows, 0)
    if n_columns > n_rows:  # answers that are no class stand apart
        axes.axvline(n_rows, color=_INK, linewidth=1)
    if annotated:
        _annotate(axes, confusions, cell_in, colours)


def _annotate(axes: Any, confusions: _Confusions, cell_in: float, colours: Colormap) -> None:
    """Write each cell's count, and where there is room its share of the row."""
    digits = len(f"{confusions.counts.max():,}")
    size = min(11.0, 72 * cell_in * 0.42, 72 * cell_in * 0.85 / (0.64 * digits))
    recalls = confusions.recalls
    for (row, column), count in np.ndenumerate(confusions.counts):
        recall = recalls[row, column]
        ink = _ink_on(tuple(colours(recall))) if count else _FAINT_INK
        with_share = count > 0 and cell_in >= _SHARE_CELL_IN
        middle = (column + 0.5, row + 0.5)
        offset = (0, 0.45 * size) if with_share else (0, 0)
        style = {"textcoords": "offset points", "ha": "center", "va": "center", "color": ink}
        axes.annotate(f"{count:,}", middle, xytext=offset, fontsize=size, **style)
        if with_share:
            axes.annotate(f"{100 * recall:.0f} %", middle, xytext=(0, -0.75 * size), fontsize=min(size, 7.5), **style)


def _draw_labels(axes: Any, confusions: _Confusions, cell_in: float, families: list[str]) -> None:
    size = max(5.0, min(10.0, 72 * cell_in * 0.75))
    step = max(1, int(np.ceil(1.2 * size / (72 * cell_in))))  # more classes than lines fit: label every other
    fonts = [FT2Font(font_manager.findfont(family)) for family in families]
    columns = [_drawable(_shortened(label), fonts) for label in confusions.columns]
    rows = [_drawable(_shortened(label), fonts) for label in confusions.rows]
    style = {"fontsize": size, "fontfamily": families, "color": _INK, "parse_math": False}
    axes.set_xticks(np.arange(len(columns))[::step] + 0.5, columns[::step], **style, **_turn(columns, size, cell_in))
    axes.set_yticks(np.arange(len(rows))[::step] + 0.5, rows[::step], **style)
    axes.tick_params(length=0, pad=3)
    axes.set_xlabel("predicted class", fontsize=11, color=_INK, labelpad=8, fontfamily=families)
    axes.set_ylabel("true class", fontsize=11, color=_INK, labelpad=8, fontfamily=families)
    axes.spines[:].set_color(_FAINT_INK)


def _turn(labels: list[str], size: float, cell_in: float) -> dict[str, object]:
    """Turn the labels of columns only as far as their length asks for."""
    if max(map(len, labels)) * 0.62 * size <= 72 * cell_in:
        return {"rotation": 0}
    if 72 * cell_in >= 1.7 * size:  # lines at 45 degrees lie closer together than the columns do
        return {"rotation": 45, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    return {"rotation": 90}


def _draw_colour_bar(figure: Figure, axes: Any, width_in: float, families: list[str]) -> None:
    bar = figure.add_axes((1 + 0.2 / width_in, 0, 0.16 / width_in, 1))
    figure.colorbar(axes.collections[0], cax=bar, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.set_yticklabels(["0 %", "25 %", "50 %", "75 %", "100 %"], fontsize=8.5, color=_INK, fontfamily=families)
    if len(axes.get_yticks()) > 1:  # a single row is lower than this text
        bar.set_ylabel("share of the true class", fontsize=9, color=_INK, fontfamily=families)
    bar.tick_params(length=2, color=_FAINT_INK)
    bar.spines[:].set_visible(False)


def _draw_heading(axes: Any, confusions: _Confusions, title: str | None, width: int, families: list[str]) -> None:
    fonts = [FT2Font(font_manager.findfont(family)) for family in families]
    lines = [fill(_drawable(title, fonts), width)] if title else []
    text = "\n".join([*lines, confusions.summary])
    axes.set_title(text, fontsize=12, color=_INK, loc="left", pad=10, fontfamily=families, parse_math=False)


# ---------------------------------------------------------------------------------------- the file


def _write_png(figure: Figure, out: Path) -> Path:
    """Draw into memory, then write beside the target and rename: no half pictures, no picture lost."""
    picture = io.BytesIO()
    # No "Software" entry: the same figure gives the same bytes whatever matplotlib calls itself.
    figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.15, metadata={"Software": None})
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(picture.getvalue())
        part.replace(out)
    except OSError as err:
        part.unlink(missing_ok=True)
        raise ParameterError(f"the picture {out} cannot be written: {err.strerror}") from err
    return out
