"""``l3clf cache``: inspect and clean up the embedding cache."""

import argparse
from typing import Any

from l3clf.cli import options
from l3clf.errors import ParameterError

__all__ = ["add"]

S_PER_DAY = 86_400
MAX_BYTES = 2**62  # SQLite's integers end at 2**63


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    cache = commands.add_parser("cache", help="inspect and clean up the embedding cache").add_subparsers(required=True)
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
    print(f"{info['path']}: {info['entries']} clips, {info['bytes'] / 1e6:.1f} MB, {info['files']} sound files known")
    for fingerprint, row in info["embedders"].items():
        print(f"  {row['embedder']:10} {fingerprint}  {row['entries']} clips, {row['bytes'] / 1e6:.1f} MB")
    return 0


def _verify(args: argparse.Namespace) -> int:
    result = _open_cache(args).verify()
    print(f"{result.checked} entries checked, {result.damaged} damaged entries dropped")
    if result.moved_to is not None:
        print(f"the cache file itself was damaged; it was moved to {result.moved_to}")
    return 1 if result.damaged or result.moved_to else 0


def _prune(args: argparse.Namespace) -> int:
    removed = _open_cache(args).prune(
        fingerprint=args.fingerprint,
        max_bytes=None if args.max_mb is None else int(min(args.max_mb * 1e6, MAX_BYTES)),
        older_than_s=None if args.unused_days is None else args.unused_days * S_PER_DAY,
    )
    print(f"{removed} entries removed")
    return 0


def _open_cache(args: argparse.Namespace) -> Any:
    from l3clf.storage.embedding_cache import EmbeddingCache, default_cache_path

    if args.cache is None:
        raise ParameterError("--cache none: there is no cache to work on; name a cache file")
    return EmbeddingCache(default_cache_path() if args.cache == "auto" else args.cache)
