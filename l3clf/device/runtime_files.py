"""The files of the C runtime as an export holds them.

Rule: lines between ``#ifdef L3CLF_TAGS`` or ``#ifndef L3CLF_TAGS``, ``#else`` and ``#endif`` are chosen when an export
is written. An export of a classifier has no line for taggers, and the reverse. Names that begin with l3clf get the
prefix of the export, in all its files alike. Every C file names its licence, and every function of the files that take
the time can be put into a section of its own.
"""

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from l3clf.device.credits import spdx
from l3clf.errors import DeviceError, ParameterError

__all__ = [
    "PREFIX",
    "RUNTIME",
    "SETTINGS_FILE",
    "check_prefix",
    "chosen_lines",
    "is_library",
    "prefix_of",
    "prefixed",
    "prefixed_files",
    "runtime_files",
    "unprefixed",
]

RUNTIME = Path(str(files("l3clf.device") / "runtime"))
SETTINGS_FILE = "export.json"
PREFIX = "l3clf"
MAX_PREFIX = 32  # characters
_PREFIX = re.compile("[a-z](?:_?[a-z0-9])*")
_OPENING = re.compile(r"#if(n?)def L3CLF_TAGS\n")
_C_PARTS = re.compile(r'/\*.*?\*/|//[^\n]*|#\s*include[^\n]*|("(?:\\.|[^"\\\n])*")', re.DOTALL)
_C_FILES, _SKETCH = (".c", ".h"), ".ino"
_HOT_FILES = ("l3clf_kernels.c", "l3clf_frontend.c", "l3clf_float_frontend.c")
# Before a definition; functions that are inline or a macro's are part of others, or of none.
_FUNCTION = re.compile(r"^(?=(?!static inline|INLINE|L3CLF_INLINE|typedef|#)\w[^;{}()#]*\([^;{}]*\)\n\{)", re.MULTILINE)
_STANDARD = (  # headers of C libraries and of Arduino, which a file of the export must not hide, also from each other
    " alloca arduino endian fcntl features malloc newlib pdm pthread sched semaphore strings unistd "
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic "
    "stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype "
)


def runtime_files(tags: bool) -> dict[str, bytes]:
    """Return the content of the runtime's files, by path in an export, for taggers or for classifiers."""
    sources = sorted(path for path in RUNTIME.rglob("*") if path.is_file())
    texts = {path.relative_to(RUNTIME).as_posix(): chosen_lines(path.read_bytes().decode(), tags) for path in sources}
    return {name: _marked(name, text).encode() for name, text in texts.items()}


def is_library(name: str) -> bool:
    """Return whether a file of an export is part of the library: not of an example, the self-test or a build system."""
    return name.endswith(_C_FILES) and "/" not in name


def _marked(name: str, text: str) -> str:
    """Return a C file with its licence and, if it takes the time, its functions marked; other files as they are."""
    if not name.endswith((*_C_FILES, _SKETCH)):
        return text
    return spdx() + (_FUNCTION.sub("L3CLF_CODE_SECTION ", text) if name in _HOT_FILES else text)


# --- prefix ---------------------------------------------------------------------------------------


def check_prefix(prefix: str) -> str:
    """Return a prefix of names, or raise ParameterError if C cannot have it."""
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix) or len(prefix) > MAX_PREFIX:
        raise ParameterError(
            f"prefix={prefix!r}: not a name such as bird or bird_2; give lower-case letters, digits and underscores, "
            f"none doubled or at an end, a letter first, at most {MAX_PREFIX}"
        )
    if f" {prefix} " in _STANDARD:
        raise ParameterError(f"prefix={prefix!r}: {prefix}.h is a header of C or Arduino; choose another")
    return prefix


def prefix_of(folder: Path) -> str:
    """Return the prefix of an export; l3clf if its settings name none that could be one."""
    try:
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        return check_prefix(settings["prefix"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ParameterError):
        return PREFIX


def prefixed(text: str, prefix: str, code: bool = True) -> str:
    r"""Return a text in which names that begin with l3clf or L3CLF begin with a prefix.

    Parameters
    ----------
    text : str
    prefix : str
    code : bool, default=True
        Whether the text is C, whose texts in quotation marks stay as they are: they may be names of classes.

    Examples
    --------
    >>> prefixed('#include "l3clf.h"\nL3CLF_N_MELS, l3clf_push, "l3clf_push", model.l3clf; // l3clf export', "bird")
    '#include "bird.h"\nBIRD_N_MELS, bird_push, "l3clf_push", model.l3clf; // l3clf export'
    """
    return text if prefix == PREFIX else _renamed(text, PREFIX, prefix, code)


def unprefixed(text: str, prefix: str) -> str:
    """Return the C text from which `prefixed` made this one."""
    return text if prefix == PREFIX else _renamed(text, prefix, PREFIX, code=True)


def _renamed(text: str, old: str, new: str, code: bool) -> str:
    # Names of functions, macros and files. Not `l3clf` alone, which is a command, and not model.l3clf.
    names = re.compile(rf"(?:(?<![\w.])|(?<=-D))(?:({old})(?=_|\*?\.[ch]\b|\*)|{old.upper()}(?=_))")
    out, place = [], 0
    quoted = [found for found in _C_PARTS.finditer(text) if found[1]] if code else []
    for start, end in [*(found.span() for found in quoted), (len(text), len(text))]:
        out += [names.sub(lambda found: new if found[1] else new.upper(), text[place:start]), text[start:end]]
        place = end
    return "".join(out)


def prefixed_files(contents: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the text of files, by path, with a prefix in names and texts.

    Raises
    ------
    DeviceError
        If names in the C code begin with the prefix already.
    """
    if prefix == PREFIX:
        return dict(contents)
    taken = re.compile(rf"\b(?:{prefix}|{prefix.upper()})_\w*")
    for name, text in contents.items():
        if name.endswith(_C_FILES) and (found := taken.search(_C_PARTS.sub(" ", text))):
            raise DeviceError(f"prefix={prefix!r}: a name in the C code begins so ({found[0]}); choose another")
    return {
        prefixed(name, prefix, code=False): prefixed(text, prefix, name.endswith(_C_FILES))
        for name, text in contents.items()
    }


# --- lines for taggers ----------------------------------------------------------------------------


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
