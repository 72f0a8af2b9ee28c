"""What the pictures share: labels as text, fonts, colours, the heading, and the file.

Rule: no label can break a picture. Long ones lose their middle, letters without a font become numbers,
and nothing a user wrote is read as mathematics.
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
WIDTH_IN = 6.0  # of the pictures that are not square: 10 points are then eight pixels on a phone
LABEL_CHARS = 28
INK, SOFT_INK, FAINT_INK, PAPER = "#1a1a1a", "#555555", "#8a8a8a", "#ffffff"
# Okabe and Ito's colours, which colour-blind eyes tell apart; their yellow is lost on white, so grey instead.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#5b5b5b")
MARKERS = ("o", "s", "^", "D", "v")  # five markers and seven colours: 35 pairs, neighbours differ in both
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


def listed(labels: Iterable[object], name: str) -> list[object]:
    """Return labels as a list; ParameterError if they are one text, or not one label for each clip."""
    values = [] if isinstance(labels, str | bytes) or not isinstance(labels, Iterable) else list(labels)
    is_flat = isinstance(labels, Iterable) and not isinstance(labels, str | bytes)
    if not is_flat or any(isinstance(value, list | tuple | np.ndarray) for value in values):
        raise ParameterError(f"{name} must be one-dimensional, a label for each clip")
    return values


def paired(y_true: Iterable[object], y_pred: Iterable[object]) -> tuple[list[object], list[object]]:
    """Return both as lists of one length; ParameterError if they do not fit or are empty."""
    true, predicted = listed(y_true, "y_true"), listed(y_pred, "y_pred")
    if len(true) != len(predicted) or not true:
        raise ParameterError(
            f"y_true has {len(true)} labels and y_pred {len(predicted)}: need equally many, at least one"
        )
    return true, predicted


def ordered(labels: Iterable[object]) -> tuple[str, ...]:
    """Sort labels: numbers by value, all else as text."""
    values = {str(label): label for label in labels}
    numbers = {text: float(label) for text, label in values.items() if isinstance(label, Real)}
    return tuple(sorted(values, key=numbers.__getitem__ if len(numbers) == len(values) else None))


def shortened(text: str, limit: int = LABEL_CHARS) -> str:
    """Cut the middle out of a long label: names of classes differ at their start or their end."""
    text = re.sub(r"\s+", " ", text).strip() or "(empty)"
    if len(text) <= limit:
        return text
    tail = limit // 2 - 2
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


class Lettering:
    """The fonts of one picture, opened for it alone: an FT2Font is not for two threads."""

    @cached_property
    def families(self) -> list[str]:
        """Names of the installed families, in the order in which letters are looked for."""
        installed = set(font_manager.get_font_names())
        return ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)]

    @cached_property
    def _fonts(self) -> list[FT2Font]:
        return [FT2Font(font_manager.findfont(family)) for family in self.families]

    def text(self, text: str) -> str:
        r"""Write letters that no font here has as \uXXXX: two boxes look alike, two numbers do not."""
        return "".join(c if c == "\n" or self._has(c) else c.encode("unicode_escape").decode() for c in text)

    def _has(self, letter: str) -> bool:
        return any(font.get_char_index(ord(letter)) for font in self._fonts)

    def label(self, text: str, limit: int = LABEL_CHARS) -> str:
        """Return a class's name as it is drawn: one line of bounded length."""
        return self.text(shortened(text, limit))

    def style(self, size: float, colour: str = INK) -> dict[str, Any]:
        """Return what a text needs to be drawn as it is written."""
        return {"fontsize": size, "fontfamily": self.families, "color": colour, "parse_math": False}


def blank(width_in: float, height_in: float) -> tuple[Figure, Any]:
    """Make a figure whose axes fill it, so that these have their size whatever the labels need.

    Saving with bbox_inches="tight" widens the picture by what lies outside.
    """
    figure = Figure(figsize=(width_in, height_in), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure, figure.add_axes((0, 0, 1, 1))


def draw_heading(axes: Any, lines: Sequence[str], title: str | None, width_in: float, letters: Lettering) -> None:
    """Write the title, if any, and the lines below it, wrapped to the picture's width."""
    width = max(40, int(width_in * 11))
    text = "\n".join(fill(letters.text(line), width) for line in [*([title] if title else []), *lines])
    axes.set_title(text, loc="left", pad=10, **letters.style(12))


def draw_legend(axes: Any, handles: Sequence[Any], below_in: float, letters: Lettering) -> None:
    """Put a legend `below_in` under the axes, in as many columns as the longest name allows."""
    longest = max(len(handle.get_label()) for handle in handles)
    width, height = axes.figure.get_size_inches()
    columns = max(1, min(4, len(handles), int(width * 72 / (longest * 6.2 + 30))))
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
    """Draw a figure and write it as PNG, the whole file or nothing."""
    picture = io.BytesIO()
    # No "Software" entry: the same figure gives the same bytes whatever matplotlib calls itself.
    figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.15, metadata={"Software": None})
    return write_file(out, picture.getvalue())
