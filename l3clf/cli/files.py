"""Files that the commands read and write, and how failures are printed.

Rule: a file name that is not valid UTF-8 is printed byte for byte as it was given, and an output file appears whole
or not at all.
"""

import codecs
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from l3clf.errors import L3clfError, LabelWarning, ParameterError
from l3clf.storage.atomic import replacing

if TYPE_CHECKING:
    from l3clf.datasets import ClipTable

__all__ = ["expand", "load_table", "output", "print_failures", "take_any_name"]


def take_any_name(stream: io.TextIOWrapper) -> None:
    """Let a stream print every file name: unchanged where its encoding is UTF-8, with escapes elsewhere."""
    if not stream.isatty():  # files and pipes get UTF-8 even where a Windows console has another code page
        stream.reconfigure(encoding="utf-8")
    utf8 = codecs.lookup(stream.encoding).name == "utf-8"
    stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def expand(names: Sequence[str]) -> tuple[list[str], list[L3clfError]]:
    """Return files as given and folders as the sound files in them; a folder without any is a failure."""
    from l3clf.datasets import find_sounds

    paths: list[str] = []
    failures: list[L3clfError] = []
    for name in names:
        # os.path.isdir returns False for a name that is too long for the system, where Path.is_dir raises.
        found = find_sounds(name) if os.path.isdir(name) else [name]  # noqa: PTH112
        if not found:
            failures.append(ParameterError(f"{name}: folder without sound files; name files or another folder"))
        paths += found
    return paths, failures


def load_table(data: str, group: str | None) -> "ClipTable":
    """Load a data set; doubts about its labels are left to the caller, who prints all of the table's problems."""
    from l3clf.datasets import load

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelWarning)
        return load(data, group)


@contextmanager
def output(out: str | None) -> Iterator[IO[str]]:
    """Open the file to write, or standard output if `out` is None."""
    if out is None:
        yield sys.stdout
        return
    with replacing(Path(out), newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield file


def print_failures(failures: Sequence[L3clfError]) -> None:
    """Print each failure on a line of standard error."""
    for failure in failures:
        print(f"l3clf: failed: {failure}", file=sys.stderr)
