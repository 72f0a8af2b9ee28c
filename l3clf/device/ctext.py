"""Python values as C source text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.device.lower import Field, Layer

__all__ = ["WEIGHTS_SECTION", "c_array", "c_layer", "c_string"]

WEIGHTS_SECTION = "L3CLF_WEIGHTS_SECTION"
_TYPES = {"i1": "int8_t", "i2": "int16_t", "i4": "int32_t", "u1": "uint8_t", "u2": "uint16_t", "f4": "float"}
_WIDTH = 116


def c_array(
    name: str, values: NDArray[Any], kind: str | None = None, *, public: bool = False, section: str = WEIGHTS_SECTION
) -> str:
    """Return the definition of a constant array.

    Parameters
    ----------
    name : str
    values : array
        int8, int16, int32, uint8, uint16 or float32. Floats are written in hexadecimal, which is exact. With a `kind`
        that is a structure, each row becomes one structure.
    public : bool, default=False
        Whether other files can use it.
    section : str, default=WEIGHTS_SECTION
        A macro of ``l3clf_sections.h``, or an empty string.
    kind : str, optional
        The C type of the elements; by default that of the array.
    """
    kind = kind or _TYPES[values.dtype.str[1:]]
    if values.ndim > 1 and kind not in _TYPES.values():
        items = ["{" + ", ".join(map(_number, row)) + "}" for row in values]
    else:
        items = [_number(value) for value in values.ravel()]
    where = f" {section}" if section else ""
    return f"{'' if public else 'static '}const {kind} {name}[{len(items)}]{where} = {{\n{_lines(items)}\n}};\n"


def _number(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{float(value).hex()}F"
    # In C, -2147483648 is the negative of a constant that does not fit int32_t.
    return "INT32_MIN" if int(value) == -(1 << 31) else str(int(value))


def _lines(items: list[str]) -> str:
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join([*lines, line])


def c_string(text: str) -> str:
    r"""Return a C string literal: printable ASCII unchanged, everything else as the octal bytes of its UTF-8.

    Examples
    --------
    >>> print(c_string('a "b" ü'))
    "a \"b\" \303\274"
    """
    out = []
    for byte in text.encode("utf-8", "surrogateescape"):
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'  # two question marks can begin a trigraph
        out.append(chr(byte) if plain else f"\\{chr(byte)}" if byte in b'"\\?' else f"\\{byte:03o}")
    return '"' + "".join(out) + '"'


def c_layer(name: str, layer: Layer) -> str:
    """Return the definitions of a layer's arrays and of its structure, which is named `name`."""
    arrays: list[str] = []
    value = _structure(name, layer.fields, arrays)
    return "".join(arrays) + f"static const l3clf_{layer.kernel}_layer {name} = {value};\n"


def _structure(name: str, fields: Mapping[str, Field], arrays: list[str]) -> str:
    members = []
    for member, value in fields.items():
        if isinstance(value, Mapping):
            text = _structure(name, value, arrays)
        elif isinstance(value, np.ndarray):
            text = f"{name}_{member}"
            arrays.append(c_array(text, value, "l3clf_factor" if member == "factors" else None))
        elif isinstance(value, tuple):
            text = "{" + ", ".join(map(_number, value)) + "}"
        else:
            text = str(value)
        members.append(f".{member} = {text}")
    return "{" + ", ".join(members) + "}"
