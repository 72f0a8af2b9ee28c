"""Lines of CSV that every reader gives back as they were.

Rule: whatever a value holds (quotes, commas, line breaks, spaces at its ends), it comes back unchanged, unless formulas
were to be escaped.
"""

import re
from collections.abc import Iterable

__all__ = ["csv_line", "escaped_path"]

SPECIAL = re.compile(r'[,"\r\n]|^\s|\s$')  # csv.writer leaves some carriage returns and all spaces unquoted
FORMULA = tuple("=+-@\t\r\n")  # how a value begins that a spreadsheet computes instead of showing it
NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that do not stand for a byte of a file name


def csv_line(values: Iterable[object], *, end: str = "\n", escape_formulas: bool = False) -> str:
    """Return a line of CSV.

    Parameters
    ----------
    values : iterable
        Written as by `str`; None is an empty value.
    end : str
        The end of the line.
    escape_formulas : bool, default=False
        Whether text that a spreadsheet would take for a formula gets an apostrophe in front, which then comes back as
        part of it.

    Examples
    --------
    >>> print(csv_line(["a,b", 'a "b" c', 1, None, "=A1"], end="", escape_formulas=True))
    "a,b","a ""b"" c",1,,'=A1
    """
    return ",".join(_field(value, escape_formulas) for value in values) + end


def _field(value: object, escape_formulas: bool) -> str:
    text = "" if value is None else NO_BYTE.sub(lambda found: f"\\u{ord(found[0]):04x}", str(value))
    if escape_formulas and isinstance(value, str) and text.startswith(FORMULA):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if SPECIAL.search(text) else text


def escaped_path(path: str) -> str:
    """Return a path that no spreadsheet takes for a formula, and that leads to the same file: "./=a.wav"."""
    return f"./{path}" if path.startswith(FORMULA) else path
