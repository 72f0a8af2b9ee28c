"""What the commands read and write: files in, answers and failures out.

Rule: file names that are no UTF-8 come out as they went in, and a place that cannot be written is refused
before the work and not after.
"""

import codecs
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from l3clf.errors import L3clfError, ParameterError
from l3clf.storage.atomic import replacing

__all__ = ["expand", "output", "print_failures", "take_any_name"]


def take_any_name(stream: io.TextIOWrapper) -> None:
    """Let every file name come out: as it came in where the stream is UTF-8, and else with escapes."""
    if not stream.isatty():  # what a file or a pipe takes, whatever the console's code page is
        stream.reconfigure(encoding="utf-8")
    utf8 = codecs.lookup(stream.encoding).name == "utf-8"
    stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def expand(names: Sequence[str]) -> tuple[list[str], list[L3clfError]]:
    """Files as they are, folders as the sounds in them; an empty folder is a failure of its own."""
    from l3clf.datasets import find_sounds

    paths: list[str] = []
    failures: list[L3clfError] = []
    for name in names:
        # os.path: a name too long for the system is for it no folder, and for pathlib an exception
        found = find_sounds(name) if os.path.isdir(name) else [name]  # noqa: PTH112
        if not found:
            failures.append(ParameterError(f"{name}: the folder holds no sound files"))
        paths += found
    return paths, failures


@contextmanager
def output(out: str | None) -> Iterator[IO[str]]:
    """Open the file to write, or standard output where none is named; a file appears whole or not at all."""
    if out is None:
        yield sys.stdout
        return
    with replacing(Path(out), newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield file


def print_failures(failures: Sequence[L3clfError]) -> None:
    """Name each file that failed on standard error."""
    for failure in failures:
        print(f"l3clf: failed: {failure}", file=sys.stderr)
