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
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from l3clf.errors import ParameterError
from l3clf.storage.atomic import write_file

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
StrPath: TypeAlias = str | os.PathLike[str]

DPI = 150
WIDTH_IN = 6.0  # at this width, 10-point text is still eight pixels high on a phone
LABEL_CHARS = 28
INK, SOFT_INK, FAINT_INK, PAPER = "#1a1a1a", "#555555", "#8a8a8a", "#ffffff"
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
    """The fonts of one picture, opened for it alone because an FT2Font is not thread-safe."""

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
        return {"fontsize": size, "fontfamily": self.families, "color": colour, "parse_math": False}


def blank(width_in: float, height_in: float) -> tuple[Figure, Any]:
    """Make a figure that its axes fill, so that the size of the axes does not depend on the labels."""
    # Labels lie outside the figure; saving with bbox_inches="tight" includes them.
    figure = Figure(figsize=(width_in, height_in), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure, figure.add_axes((0, 0, 1, 1))


def draw_frame(axes: Any, sides: list[str], grid: str) -> None:
    """Draw only some sides of the frame, a pale grid behind the data, and no tick marks."""
    axes.spines[:].set_visible(False)
    axes.spines[sides].set_visible(True)
    axes.spines[sides].set_color(FAINT_INK)
    axes.tick_params(length=0, pad=6, labelsize=10, labelcolor=INK)
    axes.grid(axis=grid, color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)


def draw_heading(axes: Any, lines: Sequence[str], title: str | None, width_in: float, letters: Lettering) -> None:
    """Write the title, if any, and the lines below it, wrapped to the picture's width."""
    width = max(40, int(width_in * 11))  # characters: about 11 per inch at 12 points
    text = "\n".join(fill(letters.text(line), width) for line in [*([title] if title else []), *lines])
    axes.set_title(text, loc="left", pad=10, **letters.style(12))


def draw_legend(axes: Any, handles: Sequence[Any], below_in: float, letters: Lettering) -> None:
    """Put a legend `below_in` inches under the axes, in as many columns as the longest name allows."""
    longest = max(len(handle.get_label()) for handle in handles)
    width, height = axes.figure.get_size_inches()
    columns = max(1, min(4, len(handles), int(width * 72 / (longest * 6.2 + 30))))  # points a letter, and per marker
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
        labelcolor=INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def write_png(figure: Figure, out: Path) -> Path:
    """Draw a figure and write it as PNG."""
    picture = io.BytesIO()
    # Without the "Software" entry, the same figure gives the same bytes with every version of matplotlib.
    figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.15, metadata={"Software": None})
    return write_file(out, picture.getvalue())
