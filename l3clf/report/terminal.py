"""The table for a terminal.

Rule: it is never wider than 100 columns, in any script.
"""

import unicodedata
from collections.abc import Sequence

from l3clf.report.contents import (
    NAMES,
    NOTHING,
    SPEEDS,
    Floors,
    Row,
    amount,
    clean,
    interval,
    metrics_of,
    percent,
    score,
)

__all__ = ["table_text"]

TERMINAL_COLUMNS = 100
_SHORT = {"balanced_accuracy": "balanced", "map": "mAP", "micro_f1": "micro F1", "macro_f1": "macro F1"}


def table_text(rows: Sequence[Row], floors: Floors = ()) -> str:
    """Format the table for a terminal of 100 columns; names that are too long lose their middle.

    Parameters
    ----------
    rows : sequence of mappings
    floors : sequence of (name, score)
        Of the first score of the rows.

    Returns
    -------
    str
        Each row has two lines: the scores, and below them their intervals.

    Examples
    --------
    >>> row = dict(embedder="mfcc", head="forest", pooling="mean", accuracy=0.775, accuracy_std=0.021, seconds=8.25)
    >>> print(table_text([row]))
    embedder  head    pooling    accuracy  balanced  macro F1  seconds  clips/s
    mfcc      forest  mean     77.5 ± 2.1         –         –      8.2        –
    Percent ± standard deviation over folds; below it the [95 % interval].
    """
    metrics = list(metrics_of(rows))
    head = [*NAMES, *(_SHORT.get(key, key) for key in metrics), "seconds", "clips/s"]
    lines = [head, *(line for row in rows for line in _terminal_lines(row, metrics))]
    foot = [[_cell(name), percent(value)] for name, value in floors]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    # Floors have a name and one score only; the name may use the three columns of names.
    widths[3] = max([widths[3], *(_width(value) for _, value in foot)])
    _narrow(widths)
    laid = [_laid_out(line, widths) for line in lines]
    laid += [_laid_out(line, [sum(widths[:3]) + 4, widths[3]], n_left=1) for line in foot]
    return "\n".join([*filter(None, laid), "Percent ± standard deviation over folds; below it the [95 % interval]."])


def _cell(text: object) -> str:
    return " ".join(clean(NOTHING if text is None else text).split())


def _width(text: str) -> int:
    """Return the number of columns that text takes in a terminal: none for marks, two for wide characters."""
    marks = sum(unicodedata.category(char) in ("Mn", "Me", "Cf") for char in text)
    return len(text) - marks + sum(unicodedata.east_asian_width(char) in "WF" for char in text)


def _fitted(text: str, width: int) -> str:
    """Cut the middle out of a text that is too wide."""
    if _width(text) <= width:
        return text
    cuts = (text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :] for keep in range(width - 1, -1, -1))
    return next(cut for cut in cuts if _width(cut) <= width)


def _narrow(widths: list[int]) -> None:
    """Narrow the widest of the three columns of names until all columns fit, two spaces apart."""
    room = max(3, TERMINAL_COLUMNS - 2 * (len(widths) - 1) - sum(widths[3:]))
    widths[:3] = [min(width, TERMINAL_COLUMNS) for width in widths[:3]]
    while sum(widths[:3]) > room:
        widths[widths.index(max(widths[:3]))] -= 1


def _terminal_lines(row: Row, metrics: Sequence[str]) -> list[list[str]]:
    names = [_cell(row.get(key)) for key in NAMES]
    speeds = [amount(row.get(key)) for key in SPEEDS]
    scores, intervals = [score(row, key) for key in metrics], [interval(row, key) for key in metrics]
    return [[*names, *scores, *speeds], ["", "", "", *intervals, "", ""]]


def _laid_out(cells: Sequence[str], widths: Sequence[int], n_left: int = 3) -> str:
    """Put cells side by side: the first `n_left` left-aligned, the numbers right-aligned."""
    laid = []
    for place, (text, width) in enumerate(zip(cells, widths, strict=True)):
        shown = _fitted(text, width)
        space = " " * (width - _width(shown))  # str.ljust counts characters, not columns
        laid.append(shown + space if place < n_left else space + shown)
    return "  ".join(laid).rstrip()
