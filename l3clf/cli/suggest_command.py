"""``l3clf suggest``: which clips to label next, as a table to fill in."""

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from l3clf.cli import options
from l3clf.cli.files import check_out, expand, load_table, output, print_failures
from l3clf.cli.printing import note, tell
from l3clf.errors import ClipWarning, ParameterError, counted

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    suggest = options.command(commands, "suggest", _run, "choose the clips whose labels would teach a model most")
    suggest.add_argument("model", metavar="MODEL", help="model file that `l3clf fit` wrote")
    suggest.add_argument("files", metavar="FILES", nargs="+", help="sound files, or folders of them")
    suggest.add_argument("-n", type=int, default=20, metavar="N", help="how many to choose (default: 20)")
    labelled = "leave out the files of these data sets, which are labelled already"
    suggest.add_argument("--labelled", action=options.Listed, default=[], metavar="DATA", help=labelled)
    suggest.add_argument("--out", metavar="CSV", help="table to write (default: standard output)")
    formulas = "write what a spreadsheet would compute (=cmd) with an apostrophe, or a path with ./, in front"
    suggest.add_argument("--escape-formulas", action="store_true", help=formulas)
    suggest.add_argument("--weights", metavar="PATH", help="the embedder's weight file, or the folder that holds it")
    options.add_full_scale(suggest)
    options.add_work(suggest)
    options.add_force(suggest)


def _run(args: argparse.Namespace) -> int:
    from l3clf.classifier.inputs import check_whole
    from l3clf.classifier.model_file import load_model
    from l3clf.classifier.tagger import ClipTagger
    from l3clf.search.suggestions import SUGGESTIONS, suggest

    check_whole("n", args.n, 1)
    paths, failures = expand(args.files)
    model = load_model(args.model, weights=args.weights)
    tables = [load_table(data, None, tags=isinstance(model, ClipTagger)) for data in args.labelled]
    known = {os.path.realpath(clip.path) for table in tables for clip in table.clips}
    left = [path for path in paths if os.path.realpath(path) not in known]
    if args.out is not None:
        given = [args.model, *args.files, *args.labelled]
        check_out(args, SUGGESTIONS, given, [*paths, *known])  # before hours are spent on embeddings
    if paths and not left:
        raise ParameterError(f"{args.files[0]}: every file is labelled already; name files without a label")
    model.set_params(cache=args.cache, n_jobs=args.jobs, verbose=not args.quiet, on_error="nan")
    if args.full_scale is not None:
        model.set_params(full_scale=args.full_scale)
    with warnings.catch_warnings():
        # `print_failures` names these clips, one a line.
        warnings.filterwarnings("ignore", message=r"\d+ of \d+ clips could not be embedded", category=ClipWarning)
        found = suggest(model, left, args.n)
    folder = Path.cwd() if args.out is None else Path(args.out).parent
    with output(args.out) as file:
        for line in found.csv_lines(folder, escape_formulas=args.escape_formulas):
            file.write(line)
    print_failures(failures + found.failures, args)
    if found.n_silent:
        tell(f"{counted(found.n_silent, 'file')} without a sound (digital silence, or below the gate): left out")
    if len(found) and (args.out is not None or not sys.stdout.isatty()):
        what = counted(len(found), "clip")
        note(f"Suggested {what}. Replace each ? in the column label, and load the table as a data set.")
    return 1 if failures or found.failures else 0
