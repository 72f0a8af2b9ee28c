"""Options of benchmarks from the command line: `NAME=VALUE`, by the types of the fields of `Options`."""

import types
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from l3clf.errors import ParameterError

__all__ = ["apply_settings", "shown"]

YES_OR_NO = {"yes": True, "no": False}


def apply_settings(options: type[Any], settings: Sequence[str]) -> Any:
    """Return an `Options` with the fields that `settings` name.

    Parameters
    ----------
    options : type
        A dataclass whose fields are texts, numbers, yes/no (bool), paths, or tuples of these (``a,b,c``).
    settings : sequence of str
        Each ``NAME=VALUE``; names that `options` lacks are left out.

    Raises
    ------
    ParameterError
        If a value is not of its field's type.
    """
    kinds = get_type_hints(options)
    known = {field.name for field in fields(options)}
    pairs = (setting.partition("=") for setting in settings)
    return options(**{name: _converted(name, text, kinds[name]) for name, _, text in pairs if name in known})


def shown(options: type[Any]) -> list[str]:
    """Return each option with its default, as ``NAME=VALUE``."""
    default = options()
    return [f"{field.name}={_text(getattr(default, field.name))}" for field in fields(options)]


def _converted(name: str, text: str, kind: Any) -> Any:
    origin = get_origin(kind)
    if origin is tuple:
        return tuple(_converted(name, part, get_args(kind)[0]) for part in text.split(",") if part)
    if origin in (Union, types.UnionType):
        (kind,) = (one for one in get_args(kind) if one is not type(None))
        return _converted(name, text, kind)
    try:
        return YES_OR_NO[text] if kind is bool else kind(text)
    except (KeyError, ValueError):
        expected = "yes or no" if kind is bool else f"a value of type {kind.__name__}"
        raise ParameterError(f"{name}={text!r}; expected {expected}") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else Path(value).as_posix() if isinstance(value, Path) else str(value)
