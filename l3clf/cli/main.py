"""The command line: parses arguments, calls the library, prints.

Rule: nothing is computed here. Every command finishes what it can, names each file that failed, and
exits with 0 (success), 1 (something failed), 2 (wrong usage) or 130 (interrupted).
"""

import argparse
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from l3clf._version import __version__
from l3clf.cli import (
    baseline_command,
    cache_command,
    demo_command,
    distill_command,
    embed_command,
    export_command,
    fit_command,
    guide_command,
    info_command,
    listen_command,
    options,
    predict_command,
    similar_command,
    suggest_command,
    verify_command,
    weights_command,
)
from l3clf.cli.parser import Parser
from l3clf.cli.printing import take_any_name, tell
from l3clf.errors import L3clfError, L3clfWarning

__all__ = ["main"]

# In the order in which --help lists them. Each module imports the library in its `_run`, so that --help is quick.
COMMANDS = (
    fit_command,
    predict_command,
    listen_command,
    similar_command,
    suggest_command,
    baseline_command,
    embed_command,
    distill_command,
    export_command,
    verify_command,
    info_command,
    weights_command,
    cache_command,
    demo_command,
    guide_command,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``l3clf`` command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit status; see the module's docstring.
    """
    args = argparse.Namespace()
    try:
        args = _parsed(argv)
        warnings.showwarning = (
            partial(_show_warning, args.parser)  # here and not on import: a library must leave others' warnings alone
        )
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                take_any_name(stream)
        status: int = args.run(args)
        sys.stdout.flush()
    except L3clfError as error:
        tell(error, args.parser)
        return 1
    except KeyboardInterrupt:
        if argv is None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not end in a traceback
        tell(f"interrupted{_what_is_kept(args)}")
        threads = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
        if argv is None and not all(thread.daemon for thread in threads):
            os._exit(130)  # a running fit cannot be stopped, and the interpreter would wait for its thread
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        _close_stdout()
        return 1
    except OSError as error:  # not from the library, which raises its own: standard output, as on a full disk
        if error.filename is None:
            tell(f"standard output: {error.strerror or error}; free some space or choose another place")
        else:
            tell(f"{os.fsdecode(error.filename)}: {error.strerror}; check the name and its permissions")
        _close_stdout()
        return 1
    return status


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="l3clf", description="Sound clips to classes with frozen audio embeddings.")
    parser.add_argument("--version", action="version", version=f"l3clf {__version__}")
    parser.set_defaults(**options.help_of(parser))
    commands = parser.add_subparsers(metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    args = parser.parse_everything(argv)
    args.argv = sys.argv[1:] if argv is None else list(argv)
    return args


def _what_is_kept(args: argparse.Namespace) -> str:
    """Return what to expect of the same command after Ctrl-C."""
    if getattr(args, "resumes", False):
        return ": run the same command again to resume"
    if not hasattr(args, "cache"):
        return ""
    if args.cache is None:
        return ": with --cache none no embeddings are kept"
    return ": the cache keeps its embeddings; run the same command again to resume"


def _close_stdout() -> None:
    """Let nothing more be written: the interpreter flushes standard output once more as it exits; it must not fail."""
    with suppress(OSError, ValueError):  # a stream without a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(
    parser: argparse.ArgumentParser,
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    """Print our own warnings without the line of source that gave them, which means nothing to a user."""
    where = "" if issubclass(category, L3clfWarning) else f"{filename}:{lineno}: {category.__name__}: "
    tell(f"{where}{message}", parser)
