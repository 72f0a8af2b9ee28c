"""The confusion matrix, with its classes in a useful order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from l3clf.errors import ParameterError, counted
from l3clf.plots.common import (
    COLOURS,
    FAINT_INK,
    INK,
    LABEL_CHARS,
    PAPER,
    FloatArray,
    IntArray,
    Lettering,
    StrPath,
    blank,
    draw_heading,
    draw_small_heading,
    drawn_png,
    given_or_new,
    listed,
    ordered,
    paired,
    phone_axes,
    settled_inches,
    write_png,
)

UNKNOWN = "unknown"
OTHER = "(other)"
MAX_CLASSES = 1200  # one pixel each: a larger picture shows nothing, and its matrix takes gigabytes
_ANNOTATED_CLASSES = 30
_SHARE_CELL_IN = 0.5  # smaller cells have no room for a second line
_LEAST_DIGITS_PT = 5.0  # smaller numbers are left out
_PHONE_CLASSES = 16  # more names have no room on a phone: the commonest confusions are listed instead
_PHONE_PAIRS = 20
_SMALL_CHARS = 16
_COLOURS = "Blues"  # one hue of falling lightness: also readable in grey and for colour-blind people
_NO_CLIPS = "#eeeeee"

Order = Literal["given", "similarity"]


# --- what is counted ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Confusions:
    """Counts of true class (rows) against predicted class (columns; predictions that are not classes come last)."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: IntArray
    nothing: str | None = None

    @property
    def noun(self) -> str:
        """What a row is."""
        return "class" if self.nothing is None else "tag"

    @property
    def recalls(self) -> FloatArray:
        """Each row divided by its sum; NaN for classes without clips."""
        totals = self.counts.sum(axis=1, keepdims=True)
        shares = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, totals, out=shares, where=totals > 0)
        return shares

    @property
    def summary(self) -> str:
        right, total = int(np.trace(self.counts)), int(self.counts.sum())
        if self.nothing is not None:
            place = self.rows.index(self.nothing)
            n_true, n_missed = total - int(self.counts[place].sum()), int(self.counts[:, place].sum())
            found = f"{right:,} of {n_true:,} tags found ({100 * right / max(1, n_true):.1f} %)"
            return f"{found}, {total - right - n_missed:,} false"
        return f"accuracy {100 * right / total:.1f} % ({right:,} of {total:,} clips)"

    def reordered(self, order: IntArray) -> "_Confusions":
        """Return rows and columns in another order of the classes; extra columns stay last."""
        rows = tuple(self.rows[i] for i in order)
        columns = np.concatenate([order, np.arange(len(self.rows), len(self.columns))])
        return _Confusions(rows, rows + self.columns[len(rows) :], self.counts[np.ix_(order, columns)], self.nothing)


def _row_order(true: list[object], classes: Sequence[object] | None) -> tuple[str, ...]:
    order = ordered(true) if classes is None else tuple(dict.fromkeys(map(str, listed(classes, "classes"))))
    if missing := set(ordered(true)) - set(order):
        raise ParameterError(f"classes: no {', '.join(sorted(missing)[:5])}; list every label of y_true")
    if len(order) > MAX_CLASSES:
        raise ParameterError(f"y_true: {len(order):,} classes; a confusion matrix has room for {MAX_CLASSES:,}")
    return order


def _tally(
    true: list[object], predicted: list[object], rows: tuple[str, ...], nothing: str | None = None
) -> _Confusions:
    """Count, with a last column for "unknown" and one for all other predictions that are not classes."""
    strange = {str(label) for label in predicted} - set(rows)
    columns = (*rows, *[UNKNOWN] * (UNKNOWN in strange), *[OTHER] * bool(strange - {UNKNOWN}))
    place = {label: index for index, label in enumerate(columns)}
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    for t, p in zip(true, predicted, strict=True):
        counts[place[str(t)], place.get(str(p), len(columns) - 1)] += 1
    return _Confusions(rows, columns, counts, nothing)


def similarity_order(rates: FloatArray) -> IntArray:
    """Order classes so that those that are confused with each other are neighbours.

    Average linkage on 1 - (rates + rates.T) / 2, with the optimal leaf ordering (Bar-Joseph et al.,
    Bioinformatics 17, 2001), in the direction that keeps the first class before the last.

    Parameters
    ----------
    rates : ndarray of float, shape (n_classes, n_classes)
        Share of each true class (row) that was predicted as each class (column), 0 to 1; NaN counts as 0.

    Returns
    -------
    ndarray of int, shape (n_classes,)
        A permutation; the identity if nothing was confused.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    n = len(rates)
    alike = np.nan_to_num(rates)
    alike = (alike + alike.T) / 2
    np.fill_diagonal(alike, 0)
    if n < 3 or not alike.any():
        return np.arange(n)
    distances = squareform(1 - alike - np.eye(n), checks=False)
    order: IntArray = leaves_list(linkage(distances, method="average", optimal_ordering=True)).astype(np.int64)
    return order if order[0] < order[-1] else order[::-1]


# --- picture --------------------------------------------------------------------------------------


def confusion_matrix(
    y_true: Iterable[object],
    y_pred: Iterable[object],
    out: StrPath,
    *,
    classes: Sequence[object] | None = None,
    order: Order = "given",
    normalise: bool = True,
    title: str | None = None,
    narrow: BinaryIO | None = None,
    nothing: str | None = None,
) -> Path:
    """Draw the confusion matrix, as a PNG.

    Rows are true classes, columns are predicted classes. Colour is the share of the row, so the diagonal
    shows each class's recall; the number in a cell is its count of clips. Numbers are drawn for up to 30
    classes, and percentages for up to 16. Rows without clips are grey.

    Parameters
    ----------
    y_true, y_pred : iterable of labels, shape (n_clips,)
        True and predicted labels; they are compared as text.
    out : path
        The PNG to write; its folder is created if necessary.
    classes : sequence of labels, optional
        The classes to draw, at most 1,200, including every true label. Default: the labels of `y_true`,
        sorted. Other predictions count in a last column, `unknown` or `(other)`.
    order : {"given", "similarity"}
        "given" keeps the order of `classes`; "similarity" puts classes that are confused side by side.
    normalise : bool
        If False, colour is the count of clips, and percentages are left out.
    title : str, optional
        A line above the accuracy.
    narrow : binary file, optional
        What a second PNG, drawn for the width of a phone, is written to: of more than 16 classes it lists the
        commonest confusions.
    nothing : str, optional
        If labels are tags in pairs, several for a clip: the one of `classes` that stands for no tag.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ParameterError
        If the numbers of labels differ, a true label is not in `classes`, `order` is unknown, or the file
        cannot be written.
    """
    confusions = _counted(y_true, y_pred, classes, order, nothing)
    if narrow is not None:
        narrow.write(_phone_png(confusions, title, normalise))
    return write_png(_confusion_figure(confusions, title, normalise), Path(out))


def draw_confusion(
    y_true: Iterable[object],
    y_pred: Iterable[object],
    ax: Any = None,
    *,
    classes: Sequence[object] | None = None,
    order: Order = "given",
    normalise: bool = True,
    colour_bar: bool = True,
    title: str | None = None,
    nothing: str | None = None,
) -> Any:
    """Draw what `confusion_matrix` draws into Matplotlib axes.

    Parameters
    ----------
    y_true, y_pred : iterable of labels, shape (n_clips,)
    ax : matplotlib.axes.Axes, optional
        The axes to draw into; pyplot makes a figure if there are none.
    classes, order, normalise, title, nothing
        As for `confusion_matrix`.
    colour_bar : bool
        Whether a bar beside the axes explains the colours.

    Returns
    -------
    matplotlib.axes.Axes
        With the cells as its first collection.

    Raises
    ------
    ParameterError
        As for `confusion_matrix`, and if `ax` is not axes.
    """
    confusions = _counted(y_true, y_pred, classes, order, nothing)
    n_rows, n_columns = confusions.counts.shape
    cell_in = _cell_inches(n_rows)
    axes, letters = given_or_new(ax, n_columns * cell_in + 2.4, n_rows * cell_in + 1.9)
    return _draw_into(axes, confusions, title, letters, normalise=normalise, colour_bar=colour_bar)


def similar_classes(
    y_true: Iterable[object],
    y_pred: Iterable[object],
    classes: Sequence[object] | None = None,
    nothing: str | None = None,
) -> list[str]:
    """Return the classes as ``order="similarity"`` sorts them: for several pictures of the same labels.

    Sorting 1,000 classes takes seconds, most of them for the optimal order of the leaves.

    Parameters
    ----------
    y_true, y_pred, classes, nothing
        As for `confusion_matrix`.

    Returns
    -------
    list of str
    """
    return list(_counted(y_true, y_pred, classes, "similarity", nothing).rows)


def _counted(
    y_true: Iterable[object],
    y_pred: Iterable[object],
    classes: Sequence[object] | None,
    order: Order,
    nothing: str | None,
) -> _Confusions:
    if order not in ("given", "similarity"):
        raise ParameterError(f"order={order!r}; expected 'given' or 'similarity'")
    true, predicted = paired(y_true, y_pred)
    confusions = _tally(true, predicted, _row_order(true, classes), nothing)
    if order == "similarity":
        return confusions.reordered(similarity_order(confusions.recalls[:, : len(confusions.rows)]))
    return confusions


def _draw_into(
    axes: Any, confusions: _Confusions, title: str | None, letters: Lettering, *, normalise: bool, colour_bar: bool
) -> Any:
    """Draw into axes of any size: labels first, then numbers as large as the cells have room for."""
    levels, colours = _draw_squares(axes, confusions, normalise)
    axes.set_aspect("equal")
    if colour_bar:
        place = axes.inset_axes((1.04, 0, 0.04, 1))  # as high as the cells, which `ax=axes` would not be
        _explain(axes.figure.colorbar(axes.collections[0], cax=place), axes, confusions, normalise, letters)
    for _ in range(2):  # the labels take room from the cells, whose size decides about the labels
        cell_in = _settled_cell(axes, confusions)
        _draw_labels(axes, confusions, cell_in, letters, small=True)
    draw_small_heading(axes, [confusions.summary], title, letters)
    cell_in = _settled_cell(axes, confusions)
    if len(confusions.rows) <= _ANNOTATED_CLASSES and _digits_pt(confusions, cell_in) >= _LEAST_DIGITS_PT:
        _annotate(axes, confusions, cell_in, colours, levels, with_shares=normalise and cell_in >= _SHARE_CELL_IN)
    return axes


def _settled_cell(axes: Any, confusions: _Confusions) -> float:
    width, height = settled_inches(axes)
    return max(0.01, min(width / len(confusions.columns), height / len(confusions.rows)))


def _phone_png(confusions: _Confusions, title: str | None, normalise: bool) -> bytes:
    letters = Lettering()
    if len(confusions.rows) > _PHONE_CLASSES:
        return drawn_png(_draw_pairs(confusions, title, normalise, letters))
    axes = phone_axes(4.2)
    return drawn_png(_draw_into(axes, confusions, title, letters, normalise=normalise, colour_bar=False))


def _draw_pairs(confusions: _Confusions, title: str | None, normalise: bool, letters: Lettering) -> Any:
    """List the commonest confusions, with a bar for the share of the class (or the clips) that each takes."""
    wrong = confusions.counts.copy()
    np.fill_diagonal(wrong, 0)
    values = np.nan_to_num(confusions.recalls) * (wrong > 0) if normalise else wrong
    order = np.argsort(-values, axis=None, kind="stable")[: min(_PHONE_PAIRS, np.count_nonzero(wrong))]
    pairs = [divmod(int(place), len(confusions.columns)) for place in order]
    axes = phone_axes(1.2 + 0.36 * max(1, len(pairs)))
    for line, (row, column) in enumerate(pairs):
        axes.barh(line + 0.25, values[row, column], height=0.22, color=COLOURS[0])
        names = f"{letters.label(confusions.rows[row], 20)} → {letters.label(confusions.columns[column], 20)}"
        axes.text(0, line - 0.12, names, va="center", **letters.style(9))
        count = f"{wrong[row, column]:,} of {confusions.counts[row].sum():,}"
        axes.text(
            1, line + 0.25, count, va="center", ha="right", transform=axes.get_yaxis_transform(), **letters.style(8)
        )
    axes.set_xlim(0, 1.3 * max([float(values.max()), 1e-9]))
    axes.set_ylim(max(1, len(pairs)) - 0.4, -0.5)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    rows = counted(len(confusions.rows), confusions.noun, "classes" if confusions.nothing is None else "tags")
    lines = [confusions.summary, f"{rows}: the {len(pairs)} commonest confusions, true → predicted"]
    draw_small_heading(axes, lines, title, letters)
    return axes


def _confusion_figure(confusions: _Confusions, title: str | None, normalise: bool = True) -> Figure:
    n_rows, n_columns = confusions.counts.shape
    cell_in = _cell_inches(n_rows)
    letters = Lettering()
    figure, axes = blank(n_columns * cell_in, n_rows * cell_in)
    _draw_cells(axes, confusions, cell_in, normalise)
    place = figure.add_axes((1 + 0.2 / (n_columns * cell_in), 0, 0.16 / (n_columns * cell_in), 1))
    _explain(figure.colorbar(axes.collections[0], cax=place), axes, confusions, normalise, letters)
    _draw_labels(axes, confusions, cell_in, letters)
    draw_heading(axes, [confusions.summary], title, n_columns * cell_in, letters)
    return figure


def _cell_inches(n: int) -> float:
    """Return a size with room for numbers up to 30 classes and for labels up to 120; then the picture stops growing."""
    if n <= _ANNOTATED_CLASSES:
        return max(0.3, min(0.95, 0.45 + 2.2 / n, 8 / n))
    return max(min(0.13, 16 / n), 8 / n)


def _draw_cells(axes: Any, confusions: _Confusions, cell_in: float, normalise: bool) -> None:
    levels, colours = _draw_squares(axes, confusions, normalise)
    if len(confusions.rows) <= _ANNOTATED_CLASSES:
        _annotate(axes, confusions, cell_in, colours, levels, with_shares=normalise and cell_in >= _SHARE_CELL_IN)


def _draw_squares(axes: Any, confusions: _Confusions, normalise: bool) -> tuple[FloatArray, Colormap]:
    """Draw the cells without numbers; return their levels, 0 to 1, and the colours."""
    n_rows, n_columns = confusions.counts.shape
    annotated = n_rows <= _ANNOTATED_CLASSES
    colours = colormaps[_COLOURS].with_extremes(bad=_NO_CLIPS)
    levels = confusions.recalls
    if not normalise:
        levels = np.where(np.isnan(levels), np.nan, confusions.counts / confusions.counts.max())
    grid: dict[str, Any] = {"edgecolors": PAPER, "linewidth": 0.6} if annotated else {}  # lines would hide tiny cells
    axes.pcolormesh(np.ma.masked_invalid(levels), cmap=colours, vmin=0, vmax=1, **grid)
    axes.set_ylim(n_rows, 0)
    if n_columns > n_rows:  # a line sets off the predictions that are no class
        axes.axvline(n_rows, color=INK, linewidth=1)
    return levels, colours


def _digits_pt(confusions: _Confusions, cell_in: float) -> float:
    """Return the size of the numbers in points."""
    digits = len(f"{confusions.counts.max():,}")
    # At most two fifths of the cell's height, and all digits within its width (a digit is 0.64 em wide).
    return min(11.0, 72 * cell_in * 0.42, 72 * cell_in * 0.85 / (0.64 * digits))


def _annotate(
    axes: Any, confusions: _Confusions, cell_in: float, colours: Colormap, levels: FloatArray, *, with_shares: bool
) -> None:
    """Write each cell's count, and its share of the row if there is room."""
    size = _digits_pt(confusions, cell_in)
    recalls = confusions.recalls
    for (row, column), count in np.ndenumerate(confusions.counts):  # zeros are faint, so that mistakes stand out
        ink = _ink_on(tuple(colours(levels[row, column]))) if count else FAINT_INK
        with_share = count > 0 and with_shares
        middle = (column + 0.5, row + 0.5)
        offset = (0, 0.45 * size) if with_share else (0, 0)
        style = {"textcoords": "offset points", "ha": "center", "va": "center", "color": ink}
        axes.annotate(f"{count:,}", middle, xytext=offset, fontsize=size, **style)
        if with_share:
            share = f"{100 * recalls[row, column]:.0f} %"
            axes.annotate(share, middle, xytext=(0, -0.75 * size), fontsize=min(size, 7.5), **style)


def _ink_on(colour: Sequence[float]) -> str:
    """Return black or white, whichever has more contrast with `colour` (relative luminance as in WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return INK if luminance > 0.2 else PAPER


def _draw_labels(
    axes: Any, confusions: _Confusions, cell_in: float, letters: Lettering, *, small: bool = False
) -> None:
    small = small and cell_in < _SHARE_CELL_IN  # in small axes, names must leave room for the cells
    size = max(5.0, min(8.5 if small else 10.0, 72 * cell_in * 0.75))
    step = max(1, int(np.ceil(1.2 * size / (72 * cell_in))))  # label every n-th class if not all lines fit
    limit = _SMALL_CHARS if small else LABEL_CHARS
    columns = [letters.label(label, limit) for label in confusions.columns]
    rows = [letters.label(label, limit) for label in confusions.rows]
    style = letters.style(size)
    axes.set_xticks(np.arange(len(columns))[::step] + 0.5, columns[::step], **style, **_turn(columns, size, cell_in))
    axes.set_yticks(np.arange(len(rows))[::step] + 0.5, rows[::step], **style)
    axes.tick_params(length=0, pad=3)
    axes.set_xlabel(f"predicted {confusions.noun}", labelpad=8, **letters.style(11))
    axes.set_ylabel(f"true {confusions.noun}", labelpad=8, **letters.style(11))
    axes.spines[:].set_color(FAINT_INK)


def _turn(labels: list[str], size: float, cell_in: float) -> dict[str, object]:
    """Rotate the labels of columns no more than their length requires."""
    upright = {"ha": "center", "va": "top", "rotation_mode": "default"}
    if max(map(len, labels)) * 0.62 * size <= 72 * cell_in:
        return {"rotation": 0, **upright}
    if 72 * cell_in >= 1.7 * size:  # lines at 45 degrees are closer together than the columns
        return {"rotation": 45, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    return {"rotation": 90, **upright}


def _explain(colour_bar: Any, axes: Any, confusions: _Confusions, normalise: bool, letters: Lettering) -> None:
    """Explain the colours: shares of a row, or counts."""
    ticks = [0, 0.25, 0.5, 0.75, 1]
    texts = ["0 %", "25 %", "50 %", "75 %", "100 %"]
    if not normalise:
        largest = int(confusions.counts.max())
        counts = [tick for tick in MaxNLocator(4, integer=True).tick_values(0, largest) if 0 <= tick <= largest]
        ticks, texts = [count / largest for count in counts], [f"{count:,.0f}" for count in counts]
    bar = colour_bar.ax
    colour_bar.set_ticks(ticks)
    bar.set_yticklabels(texts, fontsize=8.5, color=letters.ink(INK), fontfamily=letters.families)
    if len(axes.get_yticks()) > 1:  # a single row is lower than this text
        text = f"share of the true {confusions.noun}" if normalise else "clips"
        bar.set_ylabel(text, fontsize=9, color=letters.ink(INK), fontfamily=letters.families)
    bar.tick_params(length=2, color=FAINT_INK)
    bar.spines[:].set_visible(False)
