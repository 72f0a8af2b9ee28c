"""``l3clf embed``: write the window embeddings of sound files."""

import argparse
from typing import Any

from l3clf.cli import options
from l3clf.cli.files import check_out, expand, print_failures
from l3clf.cli.printing import say
from l3clf.errors import L3clfError, counted

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    embed = options.command(commands, "embed", _run, "write the window embeddings of sound files to an .npz file")
    embed.add_argument("files", metavar="FILES", nargs="+", help="sound files, or folders of them")
    embed.add_argument("--out", metavar="X.npz", required=True, help="file to write")
    options.add_embedding(embed)
    options.add_force(embed)


def _run(args: argparse.Namespace) -> int:
    from l3clf.classifier.estimators import ClipEmbedder
    from l3clf.pipeline import EMBEDDINGS, save_embeddings

    paths, failures = expand(args.files)
    check_out(args, EMBEDDINGS, args.files, paths)  # before hours are spent on embeddings
    embedder = ClipEmbedder(
        options.embedder_of(args),
        args.hop_s,
        args.center,
        cache=args.cache,
        n_jobs=args.jobs,
        verbose=not args.quiet,
        full_scale=args.full_scale,
    )
    outcomes = embedder.embed(paths)
    n_windows = save_embeddings(args.out, paths, outcomes, force=args.force)
    bad = [outcome for outcome in outcomes if isinstance(outcome, L3clfError)]
    print_failures(failures + bad, args)
    say(f"Embeddings of {counted(len(outcomes) - len(bad), 'file')}, {counted(n_windows, 'window')}: {args.out}")
    return 1 if failures or bad else 0
