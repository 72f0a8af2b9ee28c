"""What a benchmark found, as tables of numbers: printed as Markdown, kept as JSON.

Rule: JSON holds numbers, and Markdown is made of them; a timing is a median with its spread and never a single value.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["Cell", "Record", "Result", "Table", "Timing", "load_record", "markdown"]

FOLDED_FROM = 15  # rows: longer tables are folded in RESULTS.md


@dataclass(frozen=True)
class Timing:
    """A figure that was measured several times.

    Attributes
    ----------
    median, low, high : float
        Of all repeats.
    repeats : int
    """

    median: float
    low: float
    high: float
    repeats: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Timing":
        """Return the median and the range of repeated measurements."""
        return cls(statistics.median(values), min(values), max(values), len(values))


Cell: TypeAlias = str | int | float | Timing | None


@dataclass(frozen=True)
class Table:
    """A table of a result.

    Attributes
    ----------
    title : str
    columns : tuple of (heading, format)
        The format, such as ``.1%``, is of the numbers below the heading; texts stay as they are.
    rows : tuple of tuple of cell
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Result:
    """What a benchmark found: tables, and sentences that belong to them."""

    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """A result, with how and where it was measured.

    Attributes
    ----------
    benchmark : str
    command : str
        What measures it again.
    options : dict
        All options of the run.
    recorded : dict
        Date, commit, machine, system and versions; see `environment.describe`. Records that were written by hand
        say so under ``by_hand``.
    result : Result
    """

    benchmark: str
    command: str
    options: dict[str, Any] = field(default_factory=dict)
    recorded: dict[str, Any] = field(default_factory=dict)
    result: Result = field(default_factory=Result)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return found


def load_record(path: Path) -> Record:
    """Return a record that was kept as JSON."""
    found = json.loads(path.read_text(encoding="utf-8"))
    tables = [
        Table(
            table["title"], tuple(map(tuple, table["columns"])), tuple(tuple(map(_cell, row)) for row in table["rows"])
        )
        for table in found["result"]["tables"]
    ]
    return Record(**{**found, "result": Result(tuple(tables), tuple(found["result"]["notes"]))})


def _cell(value: Any) -> Cell:
    return Timing(**value) if isinstance(value, dict) else value


def markdown(result: Result, fold: bool = False) -> str:
    """Return a result as Markdown; with `fold`, long tables are folded."""
    parts = []
    for table in result.tables:
        lines = [_row([name for name, _ in table.columns]), "|---" * len(table.columns) + "|"]
        lines += [
            _row([_text(cell, spec) for cell, (_, spec) in zip(row, table.columns, strict=True)]) for row in table.rows
        ]
        text = "\n".join(lines)
        if fold and len(table.rows) >= FOLDED_FROM:
            parts.append(f"<details><summary>{table.title}</summary>\n\n{text}\n\n</details>")
        else:
            parts.append(f"{table.title}\n\n{text}" if table.title else text)
    return "\n\n".join([*parts, *result.notes])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: Cell, spec: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Timing):
        spread = "" if cell.repeats == 1 else f" ({cell.low:{spec}} to {cell.high:{spec}})"
        return f"{cell.median:{spec}}{spread}"
    return cell if isinstance(cell, str) else format(cell, spec)
