"""Shared by all pictures: labels as text, fonts, colours, the heading and the file.

Rule: no label can break a picture. Long labels lose their middle, characters without a font become code points,
and text of the user is never parsed as mathematics.
"""

import io
import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from numbers import Real
from pathlib import Path
from textwrap import fill
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from l3clf.errors import ParameterError
from l3clf.storage.atomic import write_file

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
StrPath: TypeAlias = str | os.PathLike[str]

DPI = 150
WIDTH_IN = 6.0  # at this width, 10-point text is still eight pixels high on a phone
PHONE_IN, PHONE_DPI = 3.5, 200  # as wide as a phone's screen shows it: 10-point text stays 10 points
LABEL_CHARS = 28
INK, SOFT_INK, FAINT_INK, PAPER = "#1a1a1a", "#555555", "#8a8a8a", "#ffffff"
_ON_DARK = {INK: "#f2f2f2", SOFT_INK: "#bbbbbb", PAPER: "#111111"}  # in a figure of the caller's dark style
# Okabe and Ito's palette, which colour-blind people can tell apart; grey replaces its yellow, which is lost on white.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#5b5b5b")
MARKERS = ("o", "s", "^", "D", "v")  # five markers and seven colours: 35 pairs, neighbours differ in both
# Tried in this order for characters that DejaVu Sans, which comes with matplotlib, does not have.
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


def listed(labels: Iterable[object], name: str) -> list[object]:
    """Return labels as a list; ParameterError if they are a string, or not one label for each clip."""
    is_flat = isinstance(labels, Iterable) and not isinstance(labels, str | bytes)
    values = list(labels) if is_flat else []
    if not is_flat or any(isinstance(value, list | tuple | np.ndarray) for value in values):
        raise ParameterError(f"{name}: not one-dimensional; give one label for each clip")
    return values


def paired(y_true: Iterable[object], y_pred: Iterable[object]) -> tuple[list[object], list[object]]:
    """Return both as lists of one length; ParameterError if their lengths differ or are 0."""
    true, predicted = listed(y_true, "y_true"), listed(y_pred, "y_pred")
    if len(true) != len(predicted) or not true:
        raise ParameterError(f"y_true, y_pred: {len(true)} and {len(predicted)} labels; give one of each for each clip")
    return true, predicted


def ordered(labels: Iterable[object]) -> tuple[str, ...]:
    """Sort labels: numbers by value, others as text."""
    values = {str(label): label for label in labels}
    numbers = {text: float(label) for text, label in values.items() if isinstance(label, Real)}
    return tuple(sorted(values, key=numbers.__getitem__ if len(numbers) == len(values) else None))


def shortened(text: str, limit: int = LABEL_CHARS) -> str:
    """Cut the middle out of a long label: class names differ at their start or their end."""
    text = re.sub(r"\s+", " ", text).strip() or "(empty)"
    if len(text) <= limit:
        return text
    tail = limit // 2 - 2
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


class Lettering:
    """The fonts of one picture, opened for it alone because an FT2Font is not thread-safe, and its inks."""

    def __init__(self, *, dark: bool = False) -> None:
        self.dark = dark

    def ink(self, colour: str) -> str:
        """Return an ink, or what stands for it in a dark figure."""
        return _ON_DARK.get(colour, colour) if self.dark else colour

    @cached_property
    def families(self) -> list[str]:
        """Names of the installed font families, in the order in which they are searched for a character."""
        installed = set(font_manager.get_font_names())
        return ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)]

    @cached_property
    def _fonts(self) -> list[FT2Font]:
        return [FT2Font(font_manager.findfont(family)) for family in self.families]

    def text(self, text: str) -> str:
        r"""Replace characters that no font has by \uXXXX: two empty boxes would look alike."""

        def has(letter: str) -> bool:
            return letter == "\n" or any(font.get_char_index(ord(letter)) for font in self._fonts)

        return "".join(c if has(c) else c.encode("unicode_escape").decode() for c in text)

    def label(self, text: str, limit: int = LABEL_CHARS) -> str:
        """Return a class name as it is drawn: one line of limited length."""
        return self.text(shortened(text, limit))

    def style(self, size: float, colour: str = INK) -> dict[str, Any]:
        """Return the properties with which matplotlib draws text exactly as written."""
        return {"fontsize": size, "fontfamily": self.families, "color": self.ink(colour), "parse_math": False}


def blank(width_in: float, height_in: float) -> tuple[Figure, Any]:
    """Make a figure that its axes fill, so that the size of the axes does not depend on the labels."""
    # Labels lie outside the figure; saving with bbox_inches="tight" includes them.
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure, figure.add_axes((0, 0, 1, 1), facecolor=PAPER)


class PhoneFigure(Figure):
    """A figure as wide as a phone's screen: its heading starts at its left edge, over the labels."""


def phone_axes(height_in: float) -> Any:
    """Make axes in a figure as wide as the screen of a phone; `drawn_png` takes them."""
    figure = PhoneFigure(figsize=(PHONE_IN, height_in), dpi=PHONE_DPI, layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure.add_subplot(facecolor=PAPER, anchor="N")


def given_or_new(ax: Any, width_in: float, height_in: float) -> tuple[Any, Lettering]:
    """Return the axes to draw into, and the letters that can be read in their figure.

    Without axes of the caller's, pyplot makes a figure, as in scikit-learn: notebooks and ``pyplot.show()`` show
    what pyplot knows. With them, pyplot is not even imported.
    """
    if ax is None:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(width_in, height_in), layout="constrained", facecolor=PAPER)
        return figure.add_subplot(facecolor=PAPER), Lettering()
    if not isinstance(ax, Axes):
        raise ParameterError(f"ax: found {type(ax).__name__}; give Matplotlib axes, such as one of plt.subplots()")
    red, green, blue, alpha = to_rgba(ax.figure.get_facecolor())
    letters = Lettering(dark=alpha > 0.5 and 0.3 * red + 0.6 * green + 0.1 * blue < 0.5)
    ax.set_facecolor(letters.ink(PAPER))
    return ax, letters


def settled_inches(axes: Any) -> tuple[float, float]:
    """Return width and height of axes, once the figure's layout engine, if there is one, has placed them."""
    if axes.figure.get_layout_engine() is not None:
        axes.figure.figure.draw_without_rendering()  # of a subfigure, `figure` is the whole
    axes.apply_aspect()
    width, height = axes.bbox.size / axes.figure.dpi
    return float(width), float(height)


def draw_frame(axes: Any, sides: list[str], grid: str, letters: Lettering | None = None) -> None:
    """Draw only some sides of the frame, a pale grid behind the data, and no tick marks."""
    axes.spines[:].set_visible(False)
    axes.spines[sides].set_visible(True)
    axes.spines[sides].set_color(FAINT_INK)
    dark = letters is not None and letters.dark
    axes.tick_params(length=0, pad=6, labelsize=10, labelcolor=_ON_DARK[INK] if dark else INK)
    axes.grid(axis=grid, color="#333333" if dark else "#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)


def draw_heading(
    axes: Any,
    lines: Sequence[str],
    title: str | None,
    width_in: float,
    letters: Lettering,
    *,
    size: float = 12,
    least: int = 40,
) -> None:
    """Write the title, if any, and the lines below it, wrapped to the picture's width (to `least` letters or more)."""
    width = max(least, int(width_in * 11 * 12 / size))  # characters: about 11 per inch at 12 points
    text = "\n".join(fill(letters.text(line), width) for line in [*([title] if title else []), *lines])
    axes.set_title(text, loc="left", pad=10, **letters.style(size))


def draw_small_heading(axes: Any, lines: Sequence[str], title: str | None, letters: Lettering) -> None:
    """Write a heading over axes of any size, whose labels have taken their room already."""
    if isinstance(axes.figure, PhoneFigure):
        text = "\n".join(fill(letters.text(line), 40) for line in [*([title] if title else []), *lines])
        axes.figure.suptitle(text, x=0.02, ha="left", **letters.style(9.5))
        return
    width = max(2.0, float(axes.bbox.width / axes.figure.dpi))
    draw_heading(axes, lines, title, 0.9 * width, letters, size=11 if width > 4 else 9.5, least=20)


def legend_columns(names: Sequence[str], width_in: float) -> int:
    """Return in how many columns a legend of such names is set."""
    longest = max(map(len, names))
    return max(1, min(4, len(names), int(width_in * 72 / (longest * 6.2 + 30))))  # points a letter, and per marker


def draw_legend(axes: Any, handles: Sequence[Any], below_in: float, letters: Lettering) -> None:
    """Put a legend `below_in` inches under the axes, in as many columns as the longest name allows."""
    width, height = axes.bbox.size / axes.figure.dpi
    columns = legend_columns([handle.get_label() for handle in handles], width)
    legend = axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, -below_in / height),
        borderaxespad=0,
        ncols=columns,
        frameon=False,
        columnspacing=1.2,
        handletextpad=0.5,
        borderpad=0,
        prop={"family": letters.families, "size": 10},
        labelcolor=letters.ink(INK),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw_inner_legend(axes: Any, handles: Sequence[Any], letters: Lettering) -> None:
    """Put a legend inside the axes: nothing keeps room for it outside where there is no layout engine."""
    prop = {"family": letters.families, "size": 8}
    legend = axes.legend(handles=handles, loc="best", prop=prop, labelcolor=letters.ink(INK), framealpha=0.8)
    legend.get_frame().set_facecolor(letters.ink(PAPER))
    for text in legend.get_texts():
        text.set_parse_math(False)


def drawn_png(axes: Any) -> bytes:
    """Return the figure of `phone_axes` as PNG."""
    picture = io.BytesIO()
    # Tight, so that a legend that is longer than expected is never cut off.
    axes.figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.05, metadata={"Software": None})
    return picture.getvalue()


def write_png(figure: Figure, out: Path) -> Path:
    """Draw a figure and write it as PNG."""
    picture = io.BytesIO()
    # Without the "Software" entry, the same figure gives the same bytes with every version of matplotlib.
    figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.15, metadata={"Software": None})
    return write_file(out, picture.getvalue())
