"""Reading the rows of a CSV and checking their columns.

Rule: a file that could have been read in another way is an error that names the line, and an error names all missing
columns or all lines with a missing value, so that they are fixed in one go.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from l3clf.audio.clip import printable_path
from l3clf.datasets.describe import some
from l3clf.errors import DatasetError

__all__ = [
    "LINE_BREAK",
    "MAX_CHARACTERS",
    "SURROGATE",
    "Row",
    "Sheet",
    "check_text",
    "check_unique",
    "check_utf8",
    "column",
    "is_file",
    "read_sheet",
    "require_columns",
    "require_values",
]

MAX_CHARACTERS = 1000  # of a path, label, fold or group; NumPy stores every label at the length of the longest
SEPARATORS = ";\t"  # beside the comma: what Excel writes where the comma is the decimal point, and what it copies
SHOWN_CHARACTERS = 40
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")
LINE_BREAK = re.compile("[\r\n]")
SURROGATE = re.compile("[\ud800-\udfff]")
UNUSABLE_IN_LABELS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
REASONS = {
    "unexpected end of data": "a quote is opened here and never closed",
    "field larger than": f"a value has more than {csv.field_size_limit():,} characters, as when a quote is not closed",
    "expected after": "a quoted value goes on after its closing quote",
}


@dataclass(frozen=True)
class Row:
    """A row that is not empty.

    Attributes
    ----------
    line : int
        Where it begins in the file, from 1.
    values : dict
        The value of each column, without spaces at its ends.
    stray : tuple of str
        Columns whose value holds a quote although it was not put in quotes.
    """

    line: int
    values: dict[str, str]
    stray: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """The content of a CSV.

    Attributes
    ----------
    columns : list of str
        In their order.
    rows : list of Row
    separator : str
        The character between values.
    not_utf8 : str
        What is wrong if it is not UTF-8; its values have surrogates for such bytes, as file names have in Python.
    """

    columns: list[str]
    rows: list[Row]
    separator: str = ","
    not_utf8: str = ""


def read_sheet(table: Path) -> Sheet:
    """Read a CSV strictly, but for names of files, which may be any bytes: see `check_utf8`.

    Raises
    ------
    DatasetError
        If it cannot be read, has quotes that are not closed or end within a value, or rows with more
        values than columns.
    """
    try:
        try:
            return _read(table)
        except UnicodeDecodeError as error:
            byte, at = error.object[error.start], error.start
            found = f"is not UTF-8 text (byte {byte:#04x} at {at}); save it again as UTF-8"
            with suppress(DatasetError):  # of text that is nothing of the kind
                return _read(table, errors="surrogateescape", not_utf8=found)
            raise DatasetError(f"{table}: {found}") from None
    except OSError as error:
        raise DatasetError(f"{table}: cannot be read ({error.strerror}); give a CSV file") from None
    except DatasetError:
        raise
    except ValueError as error:  # a NUL byte in the name
        raise DatasetError(f"{str(table)!r}: cannot be read ({error}); give a CSV file") from None


def _read(table: Path, errors: str = "strict", not_utf8: str = "") -> Sheet:
    with table.open(newline="", encoding="utf-8-sig", errors=errors) as file:  # Excel writes a byte order mark
        separator = _separator(file)
        records = _records(table, file, separator)
        _, first, _ = next(records, (0, [], ""))
        columns = [name.strip() for name in first]  # a header may have spaces after commas
        return Sheet(columns, list(_filled(table, columns, records, separator)), separator, not_utf8)


def check_utf8(table: Path, sheet: Sheet, path_column: str) -> None:
    """Raise DatasetError if a table is not UTF-8, unless only the names of files that exist are not."""
    if sheet.not_utf8:
        other = (value for row in sheet.rows for name, value in row.values.items() if name != path_column)
        names = (row.values.get(path_column, "") for row in sheet.rows)
        odd = [name for name in names if SURROGATE.search(name)]
        if (
            any(map(SURROGATE.search, (*sheet.columns, *other)))
            or not odd
            or not all(is_file(table, name) for name in odd)
        ):
            raise DatasetError(f"{table}: {sheet.not_utf8}")


def is_file(table: Path, name: str) -> bool:
    """Return whether a file exists whose name is relative to a table's folder."""
    try:
        return (table.parent / name).is_file()
    except (OSError, ValueError):  # also a name that is too long, or that no file can have
        return False


def _separator(file: IO[str]) -> str:
    """Return what separates the names in the header: the comma, unless there is none and another character is there."""
    header = file.readline(csv.field_size_limit())
    file.seek(0)
    best = max(SEPARATORS, key=header.count)
    return best if "," not in header and best in header else ","


def _records(table: Path, file: IO[str], separator: str) -> Iterator[tuple[int, list[str], str]]:
    """Yield for each record the line where it begins, its values, and its text as it stands in the file."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in file:
            taken.append(line)
            yield line

    # With skipinitialspace, quotes after ", " are quotes instead of part of the value.
    reader = csv.reader(lines(), delimiter=separator, strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        taken.clear()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            why = next((reason for words, reason in REASONS.items() if words in str(error)), str(error))
            raise DatasetError(f"{table}, line {line}: {why}; close the quote, remove it, or write it twice") from None
        yield line, values, "".join(taken)


def _filled(
    table: Path, columns: Sequence[str], records: Iterable[tuple[int, list[str], str]], separator: str
) -> Iterator[Row]:
    for line, found, text in records:
        # Trailing commas without values are harmless.
        extra = [value for value in found[len(columns) :] if value.strip()]
        if extra:
            raise DatasetError(
                f"{table}, line {line}: more values than columns ({extra[0][:SHOWN_CHARACTERS]!r}); "
                "put quotes around values that contain commas"
            )
        if _swallows_rows(found, len(columns), separator):
            raise DatasetError(
                f"{table}, line {line}: a quote is opened here, and the value goes on over lines that look like rows; "
                "close or remove the quote"
            )
        padded = [*(value.strip() for value in found), *[""] * len(columns)]
        values = dict(zip(columns, padded, strict=False))
        if any(padded):
            quoted = [name for name, value in values.items() if '"' in value]
            yield Row(line, values, tuple(quoted) if quoted and not _well_quoted(text, separator) else ())


def _swallows_rows(values: Sequence[str], n_columns: int, separator: str) -> bool:
    """Return whether a line within some value is a row itself: as many values, and a file name of the same type."""
    several = [value for value in values if "\n" in value or "\r" in value]
    suffixes = [Path(value).suffix for value in values] if several else []
    for value in several:
        for line in re.split("\r\n|\n|\r", value):
            parts = line.split(separator)
            alike = zip(parts, suffixes, strict=False)
            if len(parts) == n_columns and any(
                SUFFIX.fullmatch(suffix) and part.strip().endswith(suffix) for part, suffix in alike
            ):
                return True
    return False


def _well_quoted(text: str, separator: str) -> bool:
    """Return whether every quote in a record is around a value, or doubled within such quotes."""
    value = rf' *"(?:[^"]|"")*"|[^"{separator}\r\n]*'
    return re.fullmatch(rf"(?:{value})(?:{separator}(?:{value}))*[\r\n]*", text) is not None


def check_unique(table: object, columns: Sequence[str], used: Iterable[str]) -> None:
    """Raise DatasetError if a column that is used is there twice; any other may be."""
    twice = [name for name in sorted(set(used)) if columns.count(name) > 1]
    if twice:
        raise DatasetError(f"{table}: more than one column {', '.join(map(repr, twice))}; rename or delete one")


def require_columns(table: object, columns: Sequence[str], needed: Sequence[str]) -> None:
    """Raise DatasetError if a column is missing."""
    missing = [name for name in needed if name not in columns]
    if missing:
        names, found = (some([repr(name[:SHOWN_CHARACTERS]) for name in each], 20) for each in (missing, columns))
        raise DatasetError(f"{table}: no column {names} (found {found or 'no header'}); add or rename columns")


def require_values(table: Path, rows: Sequence[Row], names: Sequence[str], path: str | None = None) -> None:
    """Raise DatasetError if one of these columns is empty in some row, or holds what cannot be a name.

    The column `path` may hold the names of existing files that have line breaks: no stray quote makes up such a file.
    """
    for name in names:
        lines = [row.line for row in rows if not row.values[name]]
        if lines:
            tags = ", or give tags=True if a clip may have none" if name == "label" else ""
            raise DatasetError(
                f"{table}: no {printable_path(name)} in line {some(lines, 10)}; fill it in or delete the line{tags}"
            )
        for row in rows:
            value = row.values[name]
            broken = name == path and LINE_BREAK.search(value) is not None and is_file(table, value)
            check_text(f"{table}, line {row.line}", name, LINE_BREAK.sub("", value) if broken else value)
            if name in row.stray:
                raise DatasetError(
                    f"{table}, line {row.line}: {printable_path(name)} "
                    f"{row.values[name][:SHOWN_CHARACTERS]!r} has a quote that opens "
                    "or closes nothing; remove it, or put the value in quotes and write its own quotes twice"
                )


def check_text(where: str, name: str, value: str) -> None:
    """Raise DatasetError for a path, label, fold or group that is too long or has line breaks, as by a stray quote.

    A label may have no control characters and surrogates either: a model file would not take it.
    """
    found = (
        f"has {len(value):,} characters; expected at most {MAX_CHARACTERS:,} (is a quote not closed?)"
        if len(value) > MAX_CHARACTERS
        else "has a line break; remove it (is a quote not closed?)"
        if "\n" in value or "\r" in value
        else "has a NUL character; remove it"
        if "\0" in value
        else "has a control character or half of a surrogate pair; remove it"
        if name == "label" and UNUSABLE_IN_LABELS.search(value)
        else ""
    )
    if found:
        raise DatasetError(f"{where}: {printable_path(name)} {value[:SHOWN_CHARACTERS]!r} {found}")


def column(table: Path, rows: Sequence[Row], name: str | None) -> list[str] | None:
    """Return a column of folds or groups; None if every value is empty."""
    if name is None or not any(row.values[name] for row in rows):
        return None
    require_values(table, rows, [name])
    return [row.values[name] for row in rows]
