"""``l3clf similar``: find what sounds like a file, or like a piece of it."""

import argparse
import json
import re
import warnings
from typing import Any

from l3clf.cli import options
from l3clf.cli.files import check_out, expand, output, print_failures
from l3clf.cli.printing import tell
from l3clf.errors import AudioError, ClipWarning, ParameterError
from l3clf.storage.csv_text import csv_line, escaped_path
from l3clf.storage.outputs import Kind, text_begins

__all__ = ["add"]

COLUMNS = ("path", "start_s", "end_s", "similarity")
MATCHES = Kind("a table of matches", text_begins("path,start_s,end_s,similarity", '{"path": '))


def add(commands: Any) -> None:
    """Add the command to the parser."""
    similar = options.command(commands, "similar", _run, "find what sounds most like a file, or like a piece of it")
    similar.add_argument("query", metavar="QUERY", help="sound file")
    similar.add_argument("files", metavar="FILES", nargs="+", help="sound files, or folders of them")
    similar.add_argument("-n", type=int, default=10, metavar="N", help="how many to list (default: 10)")
    piece = "of the piece of QUERY that is meant, in seconds (default: the whole file)"
    similar.add_argument("--start", type=float, default=0.0, metavar="S", help=f"start {piece}")
    similar.add_argument("--end", type=float, metavar="S", help=f"end {piece}")
    text = "list a file as often as parts of it are among the best, which may overlap; else once, with its best part"
    similar.add_argument("--all-parts", action="store_true", help=text)
    similar.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="of the output (default: csv)")
    similar.add_argument("--out", metavar="FILE", help="file to write (default: standard output)")
    formulas = "in the CSV, write a path that a spreadsheet would compute (=cmd) with ./ in front"
    similar.add_argument("--escape-formulas", action="store_true", help=formulas)
    options.add_embedding(similar)
    options.add_force(similar)


def _run(args: argparse.Namespace) -> int:
    from l3clf.audio.clip import Clip
    from l3clf.audio.decode import duration_s
    from l3clf.classifier.inputs import check_whole
    from l3clf.search import EmbeddingIndex

    check_whole("n", args.n, 1)
    query = Clip(args.query, args.start, args.end)
    paths, failures = expand(args.files)
    if args.out is not None:
        check_out(args, MATCHES, [args.query, *args.files], paths)  # before hours are spent on embeddings
    how = {"hop_s": args.hop_s, "center": args.center, "cache": args.cache, "n_jobs": args.jobs}
    how |= {"on_error": "nan", "verbose": not args.quiet, "full_scale": args.full_scale}
    embedder = options.embedder_of(args)
    try:
        duration_s(query)  # raises before weights are fetched
        index = EmbeddingIndex.for_query(query, embedder, **how)
    except AudioError as error:
        what, correct, names = str(error).partition("; correct ")
        raise AudioError(what + correct + re.sub(r"(start|end)_s", r"--\1", names)) from None
    with warnings.catch_warnings():
        # `print_failures` names these clips, one a line.
        warnings.filterwarnings("ignore", message=r"\d+ of \d+ clips could not be embedded", category=ClipWarning)
        index.add(paths)
    (matches,) = index.search([query], args.n, once=not args.all_parts)
    with output(args.out) as file:
        if args.format == "csv":
            file.write(csv_line(COLUMNS))
        for match in matches:
            file.write(_text(match, args))
    print_failures(failures + index.failures, args)
    if not matches and not failures and not index.failures:
        tell(ParameterError(f"{args.query}: nothing to compare it with; name files with other sounds"))
    return 1 if failures or index.failures else 0


def _text(match: Any, args: argparse.Namespace) -> str:
    path = match.clip.path
    if args.format == "jsonl":
        values = (path, match.start_s, match.end_s, match.similarity)
        # JSON has to be valid UTF-8, so file names that are not are escaped.
        return json.dumps(dict(zip(COLUMNS, values, strict=True)), ensure_ascii=not path.isprintable()) + "\n"
    shown = escaped_path(path) if args.escape_formulas else path
    return csv_line([shown, f"{match.start_s:.3f}", f"{match.end_s:.3f}", f"{match.similarity:.6f}"])
