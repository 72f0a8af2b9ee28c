"""What the commands print.

Rule: text for people goes through `say` and `tell`: it holds the words of the command line instead of Python's, and
nothing in it (a file's name, a label, another library's message) can control the terminal. Data goes to files and pipes
unchanged, and to a terminal with escapes.
"""

import argparse
import codecs
import io
import re
import shlex
import sys
import unicodedata
from typing import IO

__all__ = ["Terminal", "command_words", "note", "printable", "say", "take_any_name", "tell"]

# Parameters of the library that have another name, or several, on the command line.
_FLAGS = {
    "band_hz": ("--band",),
    "end_s": ("--end",),
    "embedder": ("--embedder", "--embedders"),
    "gate_hysteresis_db": ("--gate-hysteresis",),
    "head": ("--head", "--heads"),
    "hop_s": ("--hop",),
    "n": ("-n",),
    "n_jobs": ("--jobs",),
    "pool_windows": ("--windows",),
    "poolings": ("--pooling",),
    "start_s": ("--start",),
    "teachers": ("--teacher",),
}
_PARAMETER = re.compile(r"""(?<![\w./\\=-])([a-z_]+)=('[^']*'|"[^"]*"|\([^()]*\)|[^\s;,()]+)""")
_NONE = re.compile(r"\bNone or |,? or None\b")  # to be left out is no value that can be typed
_TURNS_TEXT = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def take_any_name(stream: io.TextIOWrapper) -> None:
    """Let a stream print every file name: unchanged where its encoding is UTF-8, with escapes elsewhere."""
    if not stream.isatty():  # files and pipes get UTF-8 even where a Windows console has another code page
        stream.reconfigure(encoding="utf-8")
    utf8 = codecs.lookup(stream.encoding).name == "utf-8"
    stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def printable(text: str, keep: str = "\n\t") -> str:
    r"""Return text with escapes in place of what would control a terminal or cannot be encoded.

    Examples
    --------
    >>> printable("a\x1b[31mb\rc\n")
    'a\\x1b[31mb\\rc\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _controls(c) else c.encode("unicode_escape").decode() for c in text)


def _controls(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNS_TEXT


def say(text: object = "", end: str = "\n") -> None:
    """Print text for people to standard output."""
    sys.stdout.write(printable(str(text)) + end)


def tell(text: object, parser: argparse.ArgumentParser | None = None) -> None:
    """Print a sentence to standard error, in the words of a command's options if its parser is given.

    A line break is kept only where a list is indented below the sentence; that of a file's name is not.
    """
    lines = re.sub(r"\n(?!  )", r"\\n", str(text).rstrip("\n"))
    print(f"l3clf: {printable(command_words(lines, parser))}", file=sys.stderr)


def note(text: object) -> None:
    """Print a line about the progress to standard error."""
    print(printable(str(text)), file=sys.stderr)


def command_words(text: str, parser: argparse.ArgumentParser | None) -> str:
    """Return a message with a command's options instead of parameters: ``--hop 0`` for ``hop_s=0``."""
    known = {} if parser is None else parser._option_string_actions

    def as_option(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        flags = _FLAGS.get(name, (f"--{name.replace('_', '-')}",))
        flag = next((flag for flag in flags if flag in known), None)
        if flag is None:
            return found[0]
        if known[flag].nargs == 0:  # a switch, such as --force
            return flag
        if value[0] == "(":  # several values, each a word
            return f"{flag} {value[1:-1].replace(',', '')}"
        quoted = value[0] in "'\""
        return f"{flag} {shlex.quote(value[1:-1]) if quoted else value}"

    if parser is not None:
        text = text.replace("l3clf.save_model", "`l3clf fit`")
        what, expected, rest = text.partition("; expected ")
        text = what + expected + _NONE.sub("", rest)
    return _PARAMETER.sub(as_option, text)


class Terminal:
    """A stream to a terminal that prints escapes in place of what would control it.

    Parameters
    ----------
    stream : text stream
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text."""
        return self._stream.write(printable(text))
