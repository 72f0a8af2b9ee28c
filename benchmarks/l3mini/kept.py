"""Results of hours, kept in files: a run that was stopped is resumed by the same command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["kept"]


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Return what is written in `path`; if it is not there, make it and write it.

    Parameters
    ----------
    path : Path
    make : callable
        Returns something that JSON can hold.
    """
    if not path.exists():
        found = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_text(json.dumps(found), encoding="utf-8")
        path.with_suffix(".part").replace(path)
    return json.loads(path.read_text(encoding="utf-8"))
