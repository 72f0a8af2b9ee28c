"""``l3clf weights check EMBEDDER --precision P --audio FILES``: what a faster precision costs on one's own sounds."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l3clf.cli.files import expand, print_failures
from l3clf.cli.printing import say
from l3clf.errors import L3clfError, ParameterError

__all__ = ["add", "check_precision"]

HAVE_IT = ("openl3", "efficientat")


def add(check: argparse.ArgumentParser) -> None:
    """Add the options to the parser of `l3clf weights check`."""
    check.add_argument("--precision", metavar="P", help="int8, fast or bfloat16: compare it with float32 on --audio")
    check.add_argument(
        "--audio",
        metavar="FILES",
        nargs="+",
        default=[],
        help="sound files, or folders of them, for --precision; in folders per class, accuracy is compared as well",
    )


def check_precision(args: argparse.Namespace) -> int:
    """Embed the files in both precisions, and print what differs."""
    from l3clf.audio.clip import Clip
    from l3clf.embedders import load_embedder
    from l3clf.evaluate.precision_loss import precision_loss
    from l3clf.pipeline import embed_sources

    if args.precision is None or not args.audio:
        raise ParameterError("--precision and --audio belong together; give both")
    if len(args.names) != 1 or args.names[0] not in HAVE_IT:
        raise ParameterError(f"--precision {args.precision}: name one embedder that has it, {' or '.join(HAVE_IT)}")
    paths, failures = expand(args.audio)
    try:
        pair = [load_embedder(args.names[0], weights=args.weights, precision=p) for p in ("float32", args.precision)]
    except ParameterError as error:
        raise ParameterError(
            str(error).replace(f"precision={args.precision!r}", f"--precision {args.precision}")
        ) from None
    found: list[list[Any]] = [embed_sources(embedder, [Clip(path) for path in paths]) for embedder in pair]
    failed = {i: clip for clips in found for i, clip in enumerate(clips) if isinstance(clip, L3clfError)}
    good = [i for i in range(len(paths)) if i not in failed]
    print_failures(failures + list(failed.values()), args)
    exact, other = ([clips[i] for i in good] for clips in found)
    for line in precision_loss(exact, other, pair[0], _labels([paths[i] for i in good])).lines():
        say(line)
    return 1 if failures or failed else 0


def _labels(paths: Sequence[str]) -> Any:
    """Return the folder of each file, if these are classes: two or more, each with two files or more."""
    import numpy as np

    names = [Path(path).absolute().parent.name for path in paths]
    counts = Counter(names)
    return np.asarray(names) if len(counts) > 1 and min(counts.values()) > 1 else None
