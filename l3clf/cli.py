"""The command line: parses arguments, calls the library, prints.

Rule: nothing is computed here. Every command finishes what it can, names each file that failed, and
exits with 0 (all is well), 1 (something failed), 2 (the command was wrong) or 130 (interrupted).
"""

import argparse
import io
import os
import shlex
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from l3clf import __version__
from l3clf.answers import check_target, expand, output, print_failures, take_any_name, write_csv, write_json_lines
from l3clf.errors import ClipWarning, L3clfError, L3clfWarning, ParameterError

__all__ = ["main"]

Args = argparse.Namespace
SECONDS_A_DAY = 86_400
MOST_BYTES = 2**62
# Written out: their modules take a second to import, and `l3clf --help` should not.
HEADS = ("logistic", "forest")
POOLINGS = ("mean", "mean+std", "max", "probability", "vote")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``l3clf`` command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process when left out.

    Returns
    -------
    int
        The exit status; see the module's docstring.
    """
    args = _parser().parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else list(argv)
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            take_any_name(stream)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except L3clfError as error:
        print(f"l3clf: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "l3clf: interrupted; what was embedded is kept in the cache, and the same command goes on", file=sys.stderr
        )
        if argv is None and _threads_are_busy():
            os._exit(130)  # a head that is being fitted cannot be stopped, and the interpreter would wait for it
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _threads_are_busy() -> bool:
    return any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Print our own warnings as sentences, without the place in the source."""
    where = "" if issubclass(category, L3clfWarning) else f"{filename}:{lineno}: {category.__name__}: "
    print(f"l3clf: {where}{message}", file=sys.stderr)


# --- commands ---------------------------------------------------------------------------------------


def _fit(args: Args) -> int:
    from l3clf.datasets import load
    from l3clf.estimators import ClipClassifier
    from l3clf.modelfile import save_model

    check_target(args.out)
    table = load(args.data, args.group)
    model = ClipClassifier(
        _embedder(args),
        head=args.head,
        hop_s=args.hop_s,
        center=args.center,
        pooling=args.pooling,
        class_weight=args.class_weight,
        unknown_threshold=args.unknown_threshold,
        gate_dbfs=args.gate_dbfs,
        cache=args.cache,
        n_jobs=args.jobs,
        on_error="nan",
        verbose=True,
    )
    start = time.perf_counter()
    try:
        with _failures_listed_by_us():
            model.fit(table.clips, table.labels)
    finally:
        print_failures(getattr(model, "failures_", []))
    save_model(model, args.out)
    print(
        f"Fitted {model.head!r} on {len(table) - len(model.failures_)} clips of {len(model.classes_)} classes "
        f"({model.embedder_.name} embeddings, {model.pooling} pooling) in {time.perf_counter() - start:.1f} s."
    )
    print(f"Model: {args.out} ({Path(args.out).stat().st_size / 1000:.1f} kB)")
    return 1 if model.failures_ else 0


def _predict(args: Args) -> int:
    from l3clf.inputs import check_limits
    from l3clf.modelfile import load_model

    check_limits(args.unknown_threshold, args.gate_dbfs)
    if args.out is not None:
        check_target(args.out)
    model = load_model(args.model, weights=args.weights)
    model.set_params(cache=args.cache, n_jobs=args.jobs, verbose=True)
    for name in ("unknown_threshold", "gate_dbfs"):
        if getattr(args, name) is not None:
            model.set_params(**{name: getattr(args, name)})
    paths, failures = expand(args.files)
    outcomes = model.embed(paths)
    good = [i for i, outcome in enumerate(outcomes) if not isinstance(outcome, L3clfError)]
    windows = [outcomes[i] for i in good]
    probabilities = model.predict_proba(windows)
    labels = model.predict(windows)
    with output(args.out) as file:
        write = write_csv if args.format == "csv" else write_json_lines
        write(file, [paths[i] for i in good], labels, probabilities, model.classes_)
    failures += [outcome for outcome in outcomes if isinstance(outcome, L3clfError)]
    print_failures(failures)
    return 1 if failures else 0


def _embed(args: Args) -> int:
    from l3clf.estimators import ClipEmbedder
    from l3clf.pipeline import save_embeddings

    check_target(args.out)
    paths, failures = expand(args.files)
    embedder = ClipEmbedder(_embedder(args), args.hop_s, args.center, cache=args.cache, n_jobs=args.jobs, verbose=True)
    outcomes = embedder.embed(paths)
    n_windows = save_embeddings(args.out, paths, outcomes)
    bad = [outcome for outcome in outcomes if isinstance(outcome, L3clfError)]
    failures += bad
    print_failures(failures)
    print(f"Embeddings of {len(outcomes) - len(bad)} files, {n_windows} windows: {args.out}")
    return 1 if failures else 0


def _baseline(args: Args) -> int:
    from l3clf.baselines import baseline, ready_embedders
    from l3clf.datasets import load
    from l3clf.embedders import load_embedder

    embedders = ready_embedders(args.weights)
    if args.embedders:
        ready = {embedder.name: embedder for embedder in embedders}
        embedders = [ready.get(name) or load_embedder(name) for name in args.embedders]
    report = baseline(
        load(args.data, args.group),
        embedders,
        args.heads,
        args.pooling,
        args.out,
        hop_s=args.hop_s,
        cache=args.cache,
        n_jobs=args.jobs,
        tune=args.tune,
        learning_curve=args.learning_curve,
        commands=[shlex.join(["l3clf", *args.argv])],
        say=lambda text: print(text, file=sys.stderr),
    )
    print(report)
    for note in report.notes:
        print(f"\n{note}")
    print(f"\nReport: {Path(args.out) / 'report.html'}\nModel:  {Path(args.out) / 'model.l3clf'}")
    print_failures(report.failures)
    return 1 if report.failures else 0


def _distill(args: Args) -> int:
    from l3clf.distill import command

    paths, failures = expand(args.files)
    print_failures(failures)
    if failures and not paths:  # all is said
        return 1
    return command.run(args, paths) or (1 if failures else 0)


def _verify(args: Args) -> int:
    from l3clf.device import command

    paths, failures = expand(args.audio)
    print_failures(failures)
    found = command.run_verify(args, paths)
    print_failures(found.failures)
    return 0 if found.passed and not failures and not found.failures else 1


def _demo(args: Args) -> int:
    from l3clf import demo

    demo.run(args.out)
    return 0


def _weights_list(args: Args) -> int:
    from l3clf.embedders.weights import KNOWN, find

    for file in KNOWN:
        place = find(file)
        found = str(place) if place else ("can be fetched" if file.url else "not here")
        print(f"{file.model:8} {file.filename:44} {file.licence:12} {found}")
    return 0


def _weights_fetch(args: Args) -> int:
    from l3clf.embedders.weights import fetch

    for file in _weight_files(args.names, "openl3_audio_mel256_env-v0_4_0.h5.gz"):
        print(fetch(file, args.folder))
    return 0


def _weights_check(args: Args) -> int:
    from l3clf.embedders.weights import KNOWN, check, find

    files = _weight_files(args.names) if args.names else _files_at(args.weights) if args.weights else list(KNOWN)
    found = [(file, find(file, args.weights)) for file in files]
    failures: list[L3clfError] = []
    for file, path in found:
        try:
            if path is not None:
                print(f"{path}: {check(file, path)}")
            elif args.names:
                raise ParameterError(f"{file.filename}: not on this machine")
        except L3clfError as error:
            failures.append(error)
    print_failures(failures)
    if not any(path for _, path in found):
        print("no weight files on this machine")
    return 1 if failures else 0


def _files_at(place: str) -> list[Any]:
    """Those of the known weight files that are in a folder, or the one that a file's name says it is."""
    from l3clf.embedders.weights import KNOWN

    path = Path(place).expanduser()
    if not path.exists():
        raise ParameterError(f"--weights {place}: does not exist; give a weight file or a folder of them")
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else {path.name}
    files = [file for file in KNOWN if names & {*file.names}]
    if not files:
        raise ParameterError(
            f"--weights {place}: found no weight file by a known name; name what it is of, as in "
            "`l3clf weights check yamnet --weights FILE`"
        )
    return files


def _weight_files(names: Sequence[str], default: str | None = None) -> list[Any]:
    """Files by file name, embedder, or the part of OpenL3's that tells its files apart ("mel256_env")."""
    from l3clf.embedders.weights import KNOWN

    files = []
    for name in names or ([default] if default else []):
        matching = [f for f in KNOWN if name in (*f.names, f.model) or f"_{name}-" in f.filename]
        if not matching:
            known = ", ".join(sorted({f.model for f in KNOWN}))
            raise ParameterError(f"{name}: no such weights; expected {known}, or a file name of `l3clf weights list`")
        files += matching
    return files


def _cache_info(args: Args) -> int:
    info = _open_cache(args).info()
    print(f"{info['path']}: {info['entries']} clips, {info['bytes'] / 1e6:.1f} MB, {info['files']} files remembered")
    for fingerprint, row in info["embedders"].items():
        print(f"  {row['embedder']:10} {fingerprint}  {row['entries']} clips, {row['bytes'] / 1e6:.1f} MB")
    return 0


def _cache_verify(args: Args) -> int:
    result = _open_cache(args).verify()
    print(f"{result.checked} entries checked, {result.damaged} damaged ones dropped")
    if result.moved_to is not None:
        print(f"the file itself was damaged and is kept as {result.moved_to}")
    return 1 if result.damaged or result.moved_to else 0


def _cache_prune(args: Args) -> int:
    removed = _open_cache(args).prune(
        fingerprint=args.fingerprint,
        max_bytes=None if args.max_mb is None else int(min(args.max_mb * 1e6, MOST_BYTES)),
        older_than_s=None if args.unused_days is None else args.unused_days * SECONDS_A_DAY,
    )
    print(f"{removed} entries removed")
    return 0


def _open_cache(args: Args) -> Any:
    from l3clf.cache import EmbeddingCache, default_cache_path

    if args.cache is None:
        raise ParameterError("--cache none: there is no cache to look at; name its file")
    return EmbeddingCache(default_cache_path() if args.cache == "auto" else args.cache)


# --- what they share --------------------------------------------------------------------------------


def _embedder(args: Args) -> Any:
    from l3clf.embedders import load_embedder

    options = dict(_option(text) for text in args.option)
    if args.weights is not None:
        options["weights"] = args.weights
    return load_embedder(args.embedder, **options)


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ParameterError(f"--option {text}: expected NAME=VALUE, such as input_repr=mel128")
    return name, int(value) if value.isdecimal() else value


@contextmanager
def _failures_listed_by_us() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\d+ of \d+ clips could not be embedded", category=ClipWarning)
        yield


# --- arguments --------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="l3clf", description="Sound clips to classes with frozen audio embeddings.")
    parser.add_argument("--version", action="version", version=f"l3clf {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_fit(commands)
    _add_predict(commands)
    _add_baseline(commands)
    _add_embed(commands)
    _add_distill(commands)
    _add_device(commands)
    _add_weights(commands)
    _add_cache(commands)
    demo = _command(commands, "demo", _demo, "make ten classes of sounds and do with them what a user would")
    demo.add_argument("--out", metavar="DIR", default="l3clf-demo", help="folder to write to (default: ./l3clf-demo)")
    return parser


def _command(commands: Any, name: str, run: Callable[[Args], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{name}: {text}.")
    parser.set_defaults(run=run)
    return parser


def _add_fit(commands: Any) -> None:
    fit = _command(commands, "fit", _fit, "fit a classifier on labelled clips and save it")
    fit.add_argument("data", metavar="DATA", help="folder with a subfolder for each class, or a CSV (path,label)")
    fit.add_argument("--out", metavar="MODEL", required=True, help="model file to write")
    fit.add_argument("--head", choices=HEADS, default="logistic")
    fit.add_argument("--pooling", choices=POOLINGS, default="mean")
    fit.add_argument("--class-weight", choices=("balanced",), help="weigh rare classes more")
    fit.add_argument("--group", metavar="COLUMN", help="the CSV's column to take as the group")
    _add_decision(fit)
    _add_embedding(fit)


def _add_predict(commands: Any) -> None:
    predict = _command(commands, "predict", _predict, "classify files with a saved model")
    predict.add_argument("model", metavar="MODEL", help="model file that `l3clf fit` wrote")
    predict.add_argument("files", metavar="FILES", nargs="+", help="sound files, or folders of them")
    predict.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="default: csv")
    predict.add_argument("--out", metavar="FILE", help="file to write (default: standard output)")
    predict.add_argument("--weights", metavar="PATH", help="the embedder's weight file, or the folder that holds it")
    _add_decision(predict)
    _add_work(predict)


def _add_baseline(commands: Any) -> None:
    text = "cross-validate embedders and heads on a data set: a table, a report, the best model"
    baseline = _command(commands, "baseline", _baseline, text)
    baseline.add_argument("data", metavar="DATA", help="folder with a subfolder for each class, or a CSV (path,label)")
    baseline.add_argument("--embedders", metavar="E", nargs="+", help="default: all that are ready on this machine")
    baseline.add_argument("--heads", nargs="+", choices=HEADS, default=["logistic", "forest"], metavar="H")
    baseline.add_argument(
        "--pooling", nargs="+", choices=POOLINGS, default=["mean"], metavar="P", help=", ".join(POOLINGS)
    )
    baseline.add_argument("--group", metavar="COLUMN", help="the CSV's column that says what belongs together")
    baseline.add_argument("--out", metavar="DIR", default="l3clf-baseline", help="default: ./l3clf-baseline")
    baseline.add_argument("--tune", action="store_true", help="choose the logistic head's C inside each training fold")
    baseline.add_argument("--learning-curve", action="store_true", help="would more clips help?")
    baseline.add_argument("--weights", metavar="DIR", help="a folder of weight files")
    baseline.add_argument(
        "--hop", dest="hop_s", type=_positive, default=0.5, metavar="S", help="seconds (default: 0.5)"
    )
    _add_work(baseline)


def _add_embed(commands: Any) -> None:
    embed = _command(commands, "embed", _embed, "write the embeddings of files to an .npz")
    embed.add_argument("files", metavar="FILES", nargs="+", help="sound files, or folders of them")
    embed.add_argument("--out", metavar="X.npz", required=True, help="file to write")
    _add_embedding(embed)


def _add_distill(commands: Any) -> None:
    from l3clf.distill.command import add_arguments

    add_arguments(_command(commands, "distill", _distill, "train a small student to answer as frozen teachers do"))


def _add_device(commands: Any) -> None:
    from l3clf.device.command import add_export_arguments, add_verify_arguments, run_export

    add_export_arguments(_command(commands, "export", run_export, "write a fitted model as a C library for a chip"))
    add_verify_arguments(_command(commands, "verify", _verify, "prove that an export answers as Python does"))


def _add_weights(commands: Any) -> None:
    weights = commands.add_parser("weights", help="list, fetch and check weight files").add_subparsers(required=True)
    _command(weights, "list", _weights_list, "say which weight files are known and where they are")
    fetch = _command(weights, "fetch", _weights_fetch, "download weight files and verify them")
    fetch.add_argument(
        "names", metavar="NAME", nargs="*", help="such as mel256_env (the default), or openl3 for all six"
    )
    fetch.add_argument("--folder", metavar="DIR", type=Path, help="where to (default: the user's cache folder)")
    check = _command(weights, "check", _weights_check, "verify the weight files on this machine")
    check.add_argument("names", metavar="NAME", nargs="*", help="an embedder or a file name (default: all)")
    check.add_argument("--weights", metavar="PATH", help="a weight file, or a folder of them")


def _add_cache(commands: Any) -> None:
    cache = commands.add_parser("cache", help="look after the cache of embeddings").add_subparsers(required=True)
    info = _command(cache, "info", _cache_info, "say what the cache holds")
    verify = _command(cache, "verify", _cache_verify, "check every entry and drop damaged ones")
    prune = _command(cache, "prune", _cache_prune, "remove entries and give their space back")
    prune.add_argument(
        "--max-mb", type=_positive, metavar="MB", help="keep at most so much, the longest unused go first"
    )
    prune.add_argument("--unused-days", type=_positive, metavar="DAYS", help="remove what was not used for so long")
    prune.add_argument("--fingerprint", metavar="HEX", help="remove what one embedder made (see `l3clf cache info`)")
    for parser in (info, verify, prune):
        parser.add_argument(
            "--cache", type=_cache_choice, metavar="FILE", default="auto", help="default: the user's cache"
        )


def _add_embedding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embedder",
        metavar="E",
        default="openl3",
        help="openl3 (default), l3mini, mfcc, yamnet, edgel3, speech, or a .student file",
    )
    parser.add_argument("--weights", metavar="PATH", help="the embedder's weight file, or the folder that holds it")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an embedder's option, e.g. input_repr=mel128",
    )
    parser.add_argument("--hop", dest="hop_s", type=_positive, default=0.5, metavar="S", help="seconds (default: 0.5)")
    parser.add_argument(
        "--no-center", dest="center", action="store_false", help="first window starts at the clip's start"
    )
    _add_work(parser)


def _add_decision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--unknown-threshold", type=float, metavar="P", help='below it the answer is "unknown"')
    parser.add_argument("--gate-dbfs", type=float, metavar="DB", help="windows below this level are not heard")


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", type=_cache_choice, default="auto", metavar="FILE", help='"none" for no cache')
    parser.add_argument("--jobs", type=int, metavar="N", help="threads (default: one for each core)")


def _cache_choice(text: str) -> str | None:
    return None if text == "none" else text


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number greater than 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
