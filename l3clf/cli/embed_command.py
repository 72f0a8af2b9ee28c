"""``l3clf embed``: write the window embeddings of sound files."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from l3clf.cli import options
from l3clf.cli.files import check_out, expand, print_failures
from l3clf.cli.printing import say
from l3clf.errors import CacheError, L3clfError, counted

if TYPE_CHECKING:
    from l3clf.pipeline import Outcome

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    embed = options.command(commands, "embed", _run, "write the window embeddings of sound files to a file")
    embed.add_argument("files", metavar="FILES", nargs="+", help="sound files, or folders of them")
    text = "file to write: NumPy's .npz, or .parquet with a row for each window"
    embed.add_argument("--out", metavar="X.npz|X.parquet", required=True, help=text)
    text = "embed the I-th of N parts of the files, which are the same on every machine: 1/4, 2/4, 3/4, 4/4"
    embed.add_argument("--shard", type=shard, metavar="I/N", help=text)
    options.add_embedding(embed)
    options.add_force(embed)


def shard(text: str) -> tuple[int, int]:
    """Parse the value of --shard."""
    number, slash, of = text.partition("/")
    if slash and all(part.isascii() and part.isdecimal() and len(part) <= options.MAX_DIGITS for part in (number, of)):
        found = int(number), int(of)
        if 1 <= found[0] <= found[1]:
            return found
    raise argparse.ArgumentTypeError(f"{text}: expected which part of how many, such as 1/4, from 1 on")


def part_of(paths: Sequence[str], shard: tuple[int, int] | None) -> list[str]:
    """Return the paths of a shard: each N-th of all in the order of their names; without one, all as they are.

    Examples
    --------
    >>> part_of(["c", "a", "b"], (1, 2)), part_of(["c", "a", "b"], (2, 2))
    (['a', 'c'], ['b'])
    """
    return list(paths) if shard is None else sorted(paths)[shard[0] - 1 :: shard[1]]


def _run(args: argparse.Namespace) -> int:
    from l3clf.classifier.estimators import ClipEmbedder
    from l3clf.pipeline import EMBEDDINGS, save_each
    from l3clf.storage.parquet_windows import PARQUET, check_parquet

    paths, failures = expand(args.files)
    paths = part_of(paths, args.shard)
    as_parquet = args.out.lower().endswith(".parquet")
    check_out(args, PARQUET if as_parquet else EMBEDDINGS, args.files, paths)  # before hours are spent on embeddings
    if as_parquet:
        check_parquet(paths)
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

    if as_parquet:
        n_windows = _save_parquet(args, paths, finished(), embedder)
    else:
        n_windows = save_each(args.out, paths, finished(), force=args.force)
    bad = [failed[i] for i in sorted(failed)]
    print_failures(failures + bad, args)
    say(f"Embeddings of {counted(len(paths) - len(bad), 'file')}, {counted(n_windows, 'window')}: {args.out}")
    return 1 if failures or bad else 0


def _save_parquet(
    args: argparse.Namespace, paths: list[str], finished: Iterator[tuple[int, "Outcome"]], embedder: Any
) -> int:
    """Write a Parquet file, with the content of each file that stays as it was while it is embedded."""
    from l3clf.audio.clip import Clip
    from l3clf.classifier.inputs import as_cache, as_embedder
    from l3clf.pipeline import content_ids, save_parquet

    before = [_state(path) for path in paths]
    clips = [Clip(path) for path in paths]
    try:
        contents: list[Any] = list(content_ids(clips, as_cache(args.cache)))
    except CacheError:  # told when the clips are embedded
        contents = list(content_ids(clips))

    def watched() -> Iterator[tuple[int, "Outcome"]]:
        for i, outcome in finished:
            if _state(paths[i]) != before[i]:
                contents[i] = None
            yield i, outcome

    return save_parquet(args.out, paths, watched(), as_embedder(embedder.embedder), contents, force=args.force)


def _state(path: str) -> object:
    from l3clf.storage.atomic import file_state

    try:
        return file_state(path)
    except (OSError, ValueError):
        return None
