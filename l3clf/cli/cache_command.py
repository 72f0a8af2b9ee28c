"""``l3clf cache``: look after the cache of embeddings."""

import argparse
from typing import Any

from l3clf.cli import options
from l3clf.errors import ParameterError

__all__ = ["add"]


S_PER_DAY = 86_400
MAX_BYTES = 2**62


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    cache = commands.add_parser("cache", help="look after the cache of embeddings").add_subparsers(required=True)
    info = options.command(cache, "info", _info, "say what the cache holds")
    verify = options.command(cache, "verify", _verify, "check every entry and drop damaged ones")
    prune = options.command(cache, "prune", _prune, "remove entries and give their space back")
    prune.add_argument(
        "--max-mb", type=options.positive, metavar="MB", help="keep at most so much, the longest unused go first"
    )
    prune.add_argument(
        "--unused-days", type=options.positive, metavar="DAYS", help="remove what was not used for so long"
    )
    prune.add_argument("--fingerprint", metavar="HEX", help="remove what one embedder made (see `l3clf cache info`)")
    for parser in (info, verify, prune):
        parser.add_argument(
            "--cache", type=options.cache_choice, metavar="FILE", default="auto", help="default: the user's cache"
        )


def _info(args: argparse.Namespace) -> int:
    info = _open_cache(args).info()
    print(f"{info['path']}: {info['entries']} clips, {info['bytes'] / 1e6:.1f} MB, {info['files']} files remembered")
    for fingerprint, row in info["embedders"].items():
        print(f"  {row['embedder']:10} {fingerprint}  {row['entries']} clips, {row['bytes'] / 1e6:.1f} MB")
    return 0


def _verify(args: argparse.Namespace) -> int:
    result = _open_cache(args).verify()
    print(f"{result.checked} entries checked, {result.damaged} damaged ones dropped")
    if result.moved_to is not None:
        print(f"the file itself was damaged and is kept as {result.moved_to}")
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
        raise ParameterError("--cache none: there is no cache to look at; name its file")
    return EmbeddingCache(default_cache_path() if args.cache == "auto" else args.cache)
