"""Reading the rows of a CSV and checking their columns.

Rule: an error names all missing columns or all lines with a missing value, so that they are fixed in one go.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from l3clf.datasets.describe import some
from l3clf.errors import DatasetError

__all__ = ["Row", "column", "read_rows", "require_columns", "require_values"]

KNOWN_COLUMNS = ("path", "label", "fold", "group", "start_s", "end_s")
Row = tuple[int, dict[str, str]]


def read_rows(table: Path, named: Sequence[str] = ()) -> tuple[list[str], list[Row]]:
    """Return the columns, and the line number and values of each row that is not empty."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # Excel writes a byte order mark
            reader = csv.DictReader(file)
            columns = [
                (name or "").strip() for name in reader.fieldnames or []
            ]  # a header may have spaces after commas
            reader.fieldnames = columns
            _check_unique(table, columns, {*KNOWN_COLUMNS, *named})
            return columns, list(_filled(table, reader))
    except OSError as error:
        raise DatasetError(f"{table}: cannot be read ({error.strerror}); give a CSV file") from None
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{table}: is not UTF-8 text (byte {error.object[error.start]:#04x} at {error.start}); "
            "save it again as UTF-8"
        ) from None
    except DatasetError:
        raise
    except ValueError as error:  # a NUL byte in the name
        raise DatasetError(f"{str(table)!r}: cannot be read ({error}); give a CSV file") from None
    except csv.Error as error:
        raise DatasetError(f"{table}: is not a CSV file ({error}); save it again as CSV") from None


def _check_unique(table: Path, columns: Sequence[str], known: Iterable[str]) -> None:
    # Only columns that are read: any other may be there twice.
    twice = [name for name in sorted(known) if columns.count(name) > 1]
    if twice:
        raise DatasetError(f"{table}: more than one column {', '.join(map(repr, twice))}; rename or delete one")


def _filled(table: Path, reader: "csv.DictReader[str]") -> Iterator[Row]:
    for row in reader:
        # DictReader collects surplus values under None; trailing commas without values are harmless.
        extra = [value for value in row.get(None, []) if value.strip()]
        if extra:
            raise DatasetError(
                f"{table}, line {reader.line_num}: more values than columns ({extra[0]!r}); "
                "put quotes around values that contain commas"
            )
        values = {
            name: (value or "").strip()
            for name, value in row.items()
            if isinstance(name, str) and not isinstance(value, list)
        }
        if any(values.values()):
            yield reader.line_num, values


def require_columns(table: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    """Raise DatasetError if a column is missing."""
    missing = [name for name in needed if name not in columns]
    if missing:
        names, found = (", ".join(map(repr, each)) for each in (missing, columns))
        raise DatasetError(f"{table}: no column {names} (found {found or 'no header'}); add or rename columns")


def require_values(table: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Raise DatasetError if one of these columns is empty in some row."""
    for name in names:
        lines = [line for line, row in rows if not row[name]]
        if lines:
            raise DatasetError(f"{table}: no {name} in line {some(lines, 10)}; fill it in or delete the line")


def column(table: Path, rows: Sequence[Row], name: str | None) -> list[str] | None:
    """Return a column of folds or groups; None if every value is empty."""
    if name is None or not any(row[name] for _, row in rows):
        return None
    require_values(table, rows, [name])
    return [row[name] for _, row in rows]
