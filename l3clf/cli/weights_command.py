"""``l3clf weights``: list, fetch and check weight files."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l3clf.cli import options, precision_check
from l3clf.cli.files import print_failures
from l3clf.cli.printing import say
from l3clf.errors import L3clfError, ParameterError, WeightsError, did_you_mean

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    weights = options.command_group(commands, "weights", "list, fetch and check weight files")
    options.command(weights, "list", _list, "list the known weight files and where they are")
    fetch = options.command(weights, "fetch", _fetch, "download weight files and verify them")
    fetch.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="such as mel256_env (the default), efficientat, or openl3 for its six files",
    )
    fetch.add_argument("--folder", metavar="DIR", type=Path, help="default: the user's cache folder")
    options.add_quiet(fetch)
    fetch.set_defaults(resumes=True)
    check = options.command(weights, "check", _check, "verify the weight files on this machine")
    check.add_argument("names", metavar="NAME", nargs="*", help="embedder or file name (default: all)")
    check.add_argument("--weights", metavar="PATH", help="weight file, or folder of them")
    precision_check.add(check)


def _list(args: argparse.Namespace) -> int:
    from l3clf.weights.registry import KNOWN, find

    for file in KNOWN:
        place = find(file)
        source = "can be downloaded" if file.url else f"not on this machine; from {file.origin}"
        found = str(place) if place else source
        say(f"{file.model:11} {file.filename:44} {file.licence:12} {found}")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from l3clf.weights.registry import fetch

    fetched = []
    for file in _weight_files(args.names or ["mel256_env"]):
        fetched.append((file, fetch(file, args.folder, progress=not args.quiet)))
        say(fetched[-1][1])
    return _exit_status(_unlike_published(fetched), args)


def _check(args: argparse.Namespace) -> int:
    from l3clf.weights.registry import KNOWN, check, find

    if args.precision is not None or args.audio:
        return precision_check.check_precision(args)
    files = _weight_files(args.names) if args.names else _files_at(args.weights) if args.weights else list(KNOWN)
    if args.weights:  # of OpenL3's six files, the one that its name says
        files = [file for file in files if Path(args.weights).name in file.names] or files
    here = [(file, path) for file in files if (path := find(file, args.weights))]
    failures: list[L3clfError] = _missing(args.names, [file for file, _ in here])
    readable = []
    for file, path in here:
        try:
            say(f"{path}: {check(file, path)}")
            readable.append((file, path))
        except L3clfError as error:
            failures.append(error)
    failures += _unlike_published(readable)
    if not here:
        say("no weight files on this machine")
    return _exit_status(failures, args)


def _exit_status(failures: Sequence[L3clfError], args: argparse.Namespace) -> int:
    print_failures(failures, args)
    return 1 if failures else 0


def _missing(names: Sequence[str], here: Sequence[Any]) -> list[L3clfError]:
    """Return an error for each file that was named and is not here; one of OpenL3's is enough for all its six."""
    absent = {name: [file for file in _weight_files([name]) if file not in here] for name in names}
    if any(file.model == "openl3" for file in here):
        absent.pop("openl3", None)
    return [
        ParameterError(f"{file.filename}: not on this machine; name its place with --weights")
        for files in absent.values()
        for file in files
    ]


def _unlike_published(files: Sequence[tuple[Any, Path]]) -> list[L3clfError]:
    """Compare embeddings with those that OpenL3's authors published; return an error for each file that differs."""
    failures: list[L3clfError] = []
    for file, path in files:
        if path.name not in file.names and len(files) > 1:
            continue  # --weights has one file under a name of its own, and which of several it is was not said
        try:
            if (found := _published_check(file, path)) and found.agrees:
                say(f"{path}: {found}")
            elif found:
                raise WeightsError(f"{path}: {found}; fetch the file again, and report it if this stays so")
        except L3clfError as error:
            failures.append(error)
    return failures


def _published_check(file: Any, path: Path) -> Any:
    """Return how our embeddings compare with the published ones; None where none were published."""
    if file.model != "openl3":  # ONNX Runtime takes longer to import than all else here
        return None
    from l3clf.embedders.openl3_published import check_published, is_published

    return check_published(file, path) if is_published(file) else None


def _files_at(place: str) -> list[Any]:
    """Return the known weight files in a folder, or the one that has the name of the file `place`."""
    from l3clf.weights.registry import KNOWN

    path = Path(place).expanduser()
    if not path.exists():
        raise ParameterError(f"--weights {place}: does not exist; give a weight file or a folder of them")
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else {path.name}
    files = [file for file in KNOWN if names & {*file.names}]
    if not files:
        raise ParameterError(
            f"--weights {place}: no file here has the name of a known weight file; name the embedder, as in "
            "`l3clf weights check yamnet --weights FILE`"
        )
    return files


def _weight_files(names: Sequence[str]) -> list[Any]:
    """Return files by file name, embedder, or the variant in the file name of OpenL3, such as "mel256_env"."""
    from l3clf.weights.registry import KNOWN

    files = []
    for name in names:
        matching = [f for f in KNOWN if name in (*f.names, f.model) or f"_{name}-" in f.filename]
        if not matching:
            models = sorted({f.model for f in KNOWN})
            hint = did_you_mean(name, [*models, *(f.filename for f in KNOWN)])
            known = ", ".join(models)
            raise ParameterError(
                f"{name}: no such weights{hint}; expected {known}, or a file name of `l3clf weights list`"
            )
        files += matching
    return files
