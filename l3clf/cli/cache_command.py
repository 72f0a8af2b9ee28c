"""``l3clf cache``: inspect and clean up the embedding cache."""

import argparse
from typing import Any

from l3clf.cli import options
from l3clf.cli.printing import say
from l3clf.errors import ParameterError, counted

__all__ = ["add"]

S_PER_DAY = 86_400
MAX_BYTES = 2**62  # SQLite's integers end at 2**63


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    cache = options.command_group(commands, "cache", "inspect and clean up the embedding cache")
    info = options.command(cache, "info", _info, "show what the cache holds")
    verify = options.command(cache, "verify", _verify, "check every entry and drop the damaged ones")
    prune = options.command(cache, "prune", _prune, "remove entries and free their disk space")
    prune.add_argument(
        "--max-mb", type=options.positive, metavar="MB", help="keep the most recently used entries, up to this size"
    )
    prune.add_argument(
        "--unused-days", type=options.positive, metavar="DAYS", help="remove entries not used for this long"
    )
    prune.add_argument("--fingerprint", metavar="HEX", help="remove one embedder's entries (see `l3clf cache info`)")
    for parser in (info, verify, prune):
        parser.add_argument(
            "--cache", type=options.cache_choice, metavar="FILE", default="auto", help="default: the user's cache file"
        )


def _info(args: argparse.Namespace) -> int:
    info = _open_cache(args).info()
    entries, files = counted(info["entries"], "entry", "entries"), counted(info["files"], "sound file")
    say(f"{info['path']}: {entries}, {info['bytes'] / 1e6:.1f} MB, {files} known")
    width = max((len(row["embedder"]) for row in info["embedders"].values()), default=0)
    for fingerprint, row in info["embedders"].items():
        entries = counted(row["entries"], "entry", "entries")
        say(f"  {row['embedder']:{width}}  {fingerprint}  {entries}, {row['bytes'] / 1e6:.1f} MB")
    return 0


def _verify(args: argparse.Namespace) -> int:
    result = _open_cache(args).verify()
    checked, damaged = (
        counted(result.checked, "entry", "entries"),
        counted(result.damaged, "damaged entry", "damaged entries"),
    )
    say(f"{checked} checked, {damaged} dropped")
    if result.moved_to is not None:
        say(f"the cache file itself was damaged; it was moved to {result.moved_to}")
    return 1 if result.damaged or result.moved_to else 0


def _prune(args: argparse.Namespace) -> int:
    removed = _open_cache(args).prune(
        fingerprint=args.fingerprint,
        max_bytes=None if args.max_mb is None else int(min(args.max_mb * 1e6, MAX_BYTES)),
        older_than_s=None if args.unused_days is None else args.unused_days * S_PER_DAY,
    )
    named = any(value is not None for value in (args.fingerprint, args.max_mb, args.unused_days))
    hint = "" if named else "; to remove entries, give --max-mb, --unused-days or --fingerprint"
    say(f"{counted(removed, 'entry', 'entries')} removed{hint}")
    return 0


def _open_cache(args: argparse.Namespace) -> Any:
    from l3clf.storage.embedding_cache import EmbeddingCache, default_cache_path

    if args.cache is None:
        raise ParameterError("--cache none: there is no cache to work on; name a cache file")
    return EmbeddingCache(default_cache_path() if args.cache == "auto" else args.cache)
