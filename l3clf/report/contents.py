"""The rows of the table: their keys, and their numbers and names as text.

Rule: a missing number is shown as a dash, an unprintable character as an escape.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "COLUMNS",
    "METRICS",
    "NAMES",
    "NOTHING",
    "SPEEDS",
    "TAG_METRICS",
    "Floors",
    "Row",
    "amount",
    "clean",
    "columns_of",
    "interval",
    "known",
    "metrics_of",
    "percent",
    "score",
]

Row: TypeAlias = Mapping[str, Any]
Floors: TypeAlias = Sequence[tuple[str, float]]

NAMES = ("embedder", "head", "pooling")
METRICS = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro F1"}
TAG_METRICS = {"map": "Mean average precision", "micro_f1": "Micro F1", "macro_f1": "Macro F1"}
"""Those of rows about clips with several labels; the first of either is the one that rows are sorted by."""
SPEEDS = {"seconds": "Seconds", "clips_per_s": "Clips/s"}


def metrics_of(rows: Sequence[Row]) -> Mapping[str, str]:
    """Return the scores that these rows have, by their keys, with their names."""
    return TAG_METRICS if any("map" in row for row in rows) else METRICS


def columns_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the keys of these rows, in the order of every file."""
    return (*NAMES, *(key + end for key in metrics_of(rows) for end in ("", "_std", "_low", "_high")), *SPEEDS)


COLUMNS = columns_of(())
"""The keys of a row about clips of one class each."""

NOTHING = "–"

# Control characters, marks that change the direction of text, and surrogates (bytes of a file name that is not
# valid UTF-8). Tabs and line feeds stay.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def known(value: object) -> bool:
    """Return whether this is a finite number."""
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def percent(value: object) -> str:
    """Return a fraction in percent, such as "77.5"."""
    return f"{100 * float(value):.1f}" if known(value) else NOTHING  # type: ignore[arg-type]


def score(row: Row, key: str) -> str:
    """Return a score with its spread, such as "77.5 ± 2.1"."""
    spread = row.get(f"{key}_std")
    return percent(row.get(key)) + (f" ± {percent(spread)}" if known(spread) else "")


def interval(row: Row, key: str) -> str:
    """Return a score's interval, such as "[74.1, 80.2]"; empty where it is not known."""
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    return f"[{percent(low)}, {percent(high)}]" if known(low) and known(high) else ""


def amount(value: Any) -> str:
    """Return seconds or a speed with about three digits."""
    if not known(value):
        return NOTHING
    if abs(value) >= 1e7:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def clean(text: object) -> str:
    """Return text with unprintable characters as escapes."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))
