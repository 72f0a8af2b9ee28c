"""Files that the commands read and write, and how failures are printed.

Rule: in data, a file name that is not valid UTF-8 is written byte for byte as it was given, and an output file appears
whole or not at all. What may be written is checked before any work is done.
"""

import argparse
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from l3clf.cli.printing import Terminal, tell
from l3clf.errors import L3clfError, LabelWarning, ParameterError
from l3clf.storage.atomic import replacing
from l3clf.storage.outputs import Kind, check_output, text_begins

if TYPE_CHECKING:
    from l3clf.datasets import ClipTable

__all__ = ["PREDICTIONS", "check_out", "expand", "load_table", "output", "print_failures"]

PREDICTIONS = Kind("a table of predictions", text_begins("path,label,probability", "path,start_s,end_s,", '{"path": '))
_TABLES = frozenset({"meta.csv", "esc50.csv", "urbansound8k.csv"})  # read with the folder that holds them


def expand(names: Sequence[str]) -> tuple[list[str], list[L3clfError]]:
    """Return files as given and folders as the sound files in them; a folder without any is a failure."""
    from l3clf.datasets.folders import find_sounds, warn_of_unknown

    paths: list[str] = []
    failures: list[L3clfError] = []
    for name in names:
        # os.path.isdir returns False for a name that is too long for the system, where Path.is_dir raises.
        is_folder = os.path.isdir(name)  # noqa: PTH112
        found = find_sounds(name) if is_folder else [name]
        if is_folder:
            warn_of_unknown(name)
        if not found:
            failures.append(ParameterError(f"{name}: folder without sound files; name files or another folder"))
        paths += found
    return paths, failures


def check_out(args: argparse.Namespace, kind: Kind, given: Sequence[str | None], sounds: Iterable[Any] = ()) -> None:
    """Check that ``--out`` may be written: it is no input, is not read with a folder that is one, and is of its kind.

    Parameters
    ----------
    args : Namespace
        With ``out`` and ``force``.
    kind : Kind
        What will be written.
    given : sequence of str or None
        The files and folders that the command line names.
    sounds : iterable of path
        Other files that are read.

    Raises
    ------
    ParameterError
        If it may not be written.
    """
    from l3clf.storage.embedding_cache import default_cache_path

    cache = getattr(args, "cache", None)
    cache = str(default_cache_path()) if cache == "auto" else cache
    named = [name for name in (*given, cache, getattr(args, "weights", None)) if name]
    check_output(args.out, kind, [*named, *sounds], args.force)
    for folder in filter(os.path.isdir, named):
        if _is_read_with(Path(args.out), Path(folder)):
            raise ParameterError(
                f"{args.out}: the next command that reads the folder {folder} would read this file too; "
                "write it somewhere else"
            )


def _is_read_with(file: Path, folder: Path) -> bool:
    from l3clf.datasets.folders import SOUND_SUFFIXES

    inside = Path(os.path.realpath(folder)) in Path(os.path.realpath(file)).parents
    # A text file beside a sound can be its label track.
    return inside and (file.suffix.lower() in SOUND_SUFFIXES | {".txt"} or file.name.lower() in _TABLES)


def load_table(data: str, group: str | None, background_s: float | None = None, tags: bool = False) -> "ClipTable":
    """Load a data set; doubts about its labels are left to the caller, who prints all of the table's problems."""
    from l3clf.datasets import load

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelWarning)
        return load(data, group, background_s=background_s, tags=tags)


@contextmanager
def output(out: str | None) -> Iterator[IO[str]]:
    """Open the file to write, or standard output if `out` is None."""
    if out is None:
        yield cast(IO[str], Terminal(sys.stdout)) if sys.stdout.isatty() else sys.stdout
        return
    with replacing(Path(out), newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield file


def print_failures(failures: Sequence[L3clfError], args: argparse.Namespace | None = None) -> None:
    """Print each failure on a line of standard error; files that only lack ffmpeg are counted by suffix."""
    from l3clf.audio.ffmpeg import INSTALL, MissingFfmpegError

    parser = getattr(args, "parser", None)
    lacking = [failure for failure in failures if isinstance(failure, MissingFfmpegError)]
    for failure in failures:
        if len(lacking) < 2 or not isinstance(failure, MissingFfmpegError):
            tell(f"failed: {failure}", parser)
    if len(lacking) > 1:
        counts = Counter(failure.suffix for failure in lacking).most_common()
        listed = ", ".join(f"{n:,} {suffix}" for suffix, n in counts)
        first = f"{lacking[0].path} and {len(lacking) - 1:,} more ({listed})"
        tell(f"failed: {first}: need ffmpeg, which is not installed; {INSTALL}", parser)
