"""``l3clf embed``: write the window embeddings of sound files."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from l3clf.cli import options
from l3clf.cli.files import check_out, expand, print_failures
from l3clf.cli.printing import say
from l3clf.errors import L3clfError, counted

if TYPE_CHECKING:
    from l3clf.pipeline import Outcome

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
    from l3clf.pipeline import EMBEDDINGS, save_each

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
    failed: dict[int, L3clfError] = {}

    def finished() -> Iterator[tuple[int, "Outcome"]]:
        for i, outcome in embedder.embed_each(paths):
            if isinstance(outcome, L3clfError):
                failed[i] = outcome
            yield i, outcome

    n_windows = save_each(args.out, paths, finished(), force=args.force)
    bad = [failed[i] for i in sorted(failed)]
    print_failures(failures + bad, args)
    say(f"Embeddings of {counted(len(paths) - len(bad), 'file')}, {counted(n_windows, 'window')}: {args.out}")
    return 1 if failures or bad else 0
