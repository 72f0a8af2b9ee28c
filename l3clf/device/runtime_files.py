"""The files of the C runtime as an export holds them.

Rule: lines between ``#ifdef L3CLF_TAGS`` or ``#ifndef L3CLF_TAGS``, ``#else`` and ``#endif`` are chosen when an export
is written. An export of a classifier has no line for taggers, and the reverse.
"""

import re
from importlib.resources import files
from pathlib import Path

__all__ = ["RUNTIME", "chosen_lines", "runtime_files"]

RUNTIME = Path(str(files("l3clf.device") / "runtime"))
_OPENING = re.compile(r"#if(n?)def L3CLF_TAGS\n")


def runtime_files(tags: bool) -> dict[str, bytes]:
    """Return the content of the runtime's files, by name, for taggers or for classifiers."""
    sources = sorted(path for path in RUNTIME.iterdir() if path.is_file())
    return {path.name: chosen_lines(path.read_bytes().decode(), tags).encode() for path in sources}


def chosen_lines(text: str, tags: bool) -> str:
    r"""Return a text with the lines for taggers, or those for classifiers.

    Examples
    --------
    >>> chosen_lines("a\n#ifdef L3CLF_TAGS\nb\n#else\n#if X\nc\n#endif\n#endif\n", tags=False)
    'a\n#if X\nc\n#endif\n'
    """
    out: list[str] = []
    wanted: bool | None = None  # outside of such lines
    depth = 0  # of other conditions within them
    for line in text.splitlines(keepends=True):
        opening = _OPENING.fullmatch(line)
        if wanted is None and opening:
            wanted = tags != bool(opening[1])
        elif wanted is not None and depth == 0 and line == "#else\n":
            wanted = not wanted
        elif wanted is not None and depth == 0 and line == "#endif\n":
            wanted = None
        else:
            depth += 0 if wanted is None else line.startswith("#if") - line.startswith("#endif")
            out += [] if wanted is False else [line]
    return "".join(out)
