"""JSON from files that may come from anyone.

Rule: what JSON becomes in memory stays within a small multiple of its text. An empty list takes three bytes of text and
fifty-six in Python, so lists and objects are counted before they are made; whoever calls bounds the text.
"""

import json
import math
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

__all__ = ["MAX_CONTAINERS", "read_json"]

MAX_DIGITS = 1000  # of a whole number; ours have twenty at most
MAX_CONTAINERS = 10_000  # lists and objects; our own files have dozens
# Strings first, which may hold brackets; one without an end reaches to the end of the text, so that a search is linear.
_STRING_OR_CONTAINER = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)|([\[{])', re.DOTALL)


def read_json(content: bytes, *, finite: bool = True) -> Any:
    """Return what JSON text holds.

    Parameters
    ----------
    content : bytes
        UTF-8, whose length the caller has bounded.
    finite : bool, default=True
        Refuse NaN and infinite numbers, which JSON lacks, and Python writes all the same.

    Raises
    ------
    ValueError
        If it is not JSON, nests too deeply, names a field twice, has a whole number of more than `MAX_DIGITS` digits,
        or holds more than `MAX_CONTAINERS` lists and objects.
    """
    _check_containers(content)
    number = _finite_number if finite else float
    try:
        return json.loads(
            content,
            parse_constant=number,
            parse_float=number,
            parse_int=_whole_number,
            object_pairs_hook=_unique_names,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _check_containers(content: bytes) -> None:
    if content.count(b"[") + content.count(b"{") <= MAX_CONTAINERS:  # the usual case, and fast
        return
    containers = (match for match in _STRING_OR_CONTAINER.finditer(content) if match[1])
    if next(islice(containers, MAX_CONTAINERS, None), None):
        raise ValueError(f"more than {MAX_CONTAINERS} lists and objects")


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits")  # Python's own sentence is about its settings
    return int(text)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:80]} is not a JSON number")
    return number


def _unique_names(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name[:80]!r} occurs twice")  # programs differ in which of the two they use
        found[name] = value
    return found
