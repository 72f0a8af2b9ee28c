"""``l3clf predict``: classify sound files with a saved model, or find the events in them."""

import argparse
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

from l3clf.cli import options
from l3clf.cli.files import PREDICTIONS, check_out, expand, output, print_failures
from l3clf.cli.predict_outputs import SUFFIXES, Answer, InOrder, LabelFolder, Rows, check_class_names, places
from l3clf.errors import L3clfError, LevelWarning, ParameterError

__all__ = ["add"]

CLIPS_AT_ONCE = 256  # answered together, because a forest takes as long for one clip as for many
BYTES_AT_ONCE = 32_000_000  # of embeddings
ANSWER_EVERY_S = 1.0


def add(commands: Any) -> None:
    """Add the command to the parser."""
    predict = options.command(commands, "predict", _run, "classify sound files with a saved model")
    predict.add_argument("model", metavar="MODEL", help="model file that `l3clf fit` wrote")
    predict.add_argument("files", metavar="FILES", nargs="+", help="sound files, or folders of them")
    text = "write the events in each recording (start, end, class, score) instead of one class for each file"
    predict.add_argument("--events", action="store_true", help=text)
    formats = "of the output (default: csv); audacity and raven write a file of events for each recording to --out DIR"
    predict.add_argument("--format", choices=("csv", "jsonl", *SUFFIXES), default="csv", help=formats)
    predict.add_argument("--out", metavar="FILE|DIR", help="file or folder to write (default: standard output)")
    windows = "also write the answer for each window: a CSV, or JSON lines if the name ends in .jsonl"
    predict.add_argument("--windows-out", metavar="FILE", help=windows)
    formulas = (
        "in the CSV, write what a spreadsheet would compute (=cmd) with an apostrophe, or a path with ./, in front"
    )
    predict.add_argument("--escape-formulas", action="store_true", help=formulas)
    predict.add_argument("--weights", metavar="PATH", help="the embedder's weight file, or the folder that holds it")
    options.add_decision(predict)
    options.add_full_scale(predict)
    options.add_work(predict)
    options.add_force(predict)


def _run(args: argparse.Namespace) -> int:
    from l3clf.classifier.inputs import check_limits
    from l3clf.classifier.model_file import load_model

    # Like the checks below, before hours are spent on embeddings.
    check_limits(args.unknown_threshold, args.gate_dbfs, args.gate_hysteresis_db or 0.0)
    _check_options(args)
    paths, failures = expand(args.files)
    folder = _check_outputs(args, paths)
    model = load_model(args.model, weights=args.weights)
    _check_windows(args, model.pooling)
    model.set_params(cache=args.cache, n_jobs=args.jobs, verbose=not args.quiet)
    if args.full_scale is not None:
        model.set_params(full_scale=args.full_scale)
    if _has_tags(model) and args.unknown_threshold is not None:
        raise ParameterError(f"--unknown-threshold: {args.model} has several labels a clip and no unknown; omit it")
    options.set_decision(model, args)
    if folder is not None:
        check_class_names(model.classes_, args.format)
        folder.high_hz = model.embedder_.sample_rate / 2
    failures += _predict(args, model, paths, folder)
    print_failures(failures, args)
    return 1 if failures else 0


def _check_options(args: argparse.Namespace) -> None:
    if args.format in SUFFIXES and not args.events:
        raise ParameterError(f"--format {args.format}: writes events; add --events")
    if args.format in SUFFIXES and args.out is None:
        raise ParameterError(f"--format {args.format}: writes a file for each recording; name a folder with --out")
    if args.out is not None and args.windows_out is not None and _is_same_file(args.out, args.windows_out):
        raise ParameterError(f"--windows-out {args.windows_out}: is the file of --out, too; name another file")


def _is_same_file(name: str, other: str) -> bool:
    try:
        return os.path.realpath(name) == os.path.realpath(other)
    except (OSError, ValueError):  # no file names, which the check of each says
        return False


def _check_windows(args: argparse.Namespace, pooling: str) -> None:
    if pooling == "mean+std" and (args.events or args.windows_out is not None):
        option = "--events" if args.events else "--windows-out"
        raise ParameterError(
            f"{option}: {args.model} pools windows by mean+std, and a single window has no standard deviation; fit a "
            "model with another --pooling"
        )


def _check_outputs(args: argparse.Namespace, paths: Sequence[str]) -> LabelFolder | None:
    """Check what may be written, and return the folder of labels, if one is asked for."""
    given = [args.model, *args.files]
    if args.windows_out is not None:
        check_out(argparse.Namespace(**{**vars(args), "out": args.windows_out}), PREDICTIONS, given, paths)
    if args.format in SUFFIXES:
        folder = LabelFolder(args.out, args.format, places(paths, args.files, args.format), force=args.force)
        folder.check()
        return folder
    if args.out is not None:
        check_out(args, PREDICTIONS, given, paths)
    return None


def _predict(
    args: argparse.Namespace, model: Any, paths: Sequence[str], folder: LabelFolder | None
) -> list[L3clfError]:
    """Embed the files, write the answer of each as soon as those before it are known, and return the failures."""
    from l3clf.audio.clip import Clip
    from l3clf.classifier.clip_warnings import warn_of_silence

    failures: dict[int, L3clfError] = {}
    silent: dict[int, Any] = {}
    with ExitStack() as stack:
        tables = []
        if folder is None:
            file = stack.enter_context(output(args.out))
            learned = model.unknown_threshold_ is not None
            rows = Rows(model.classes_, args.format == "jsonl", args.escape_formulas, learned, _has_tags(model))
            file.write(rows.event_head() if args.events else rows.clip_head())
            tables.append(InOrder(file, rows.events if args.events else rows.clip))
        if args.windows_out is not None:
            file = stack.enter_context(output(args.windows_out))
            rows = Rows(model.classes_, args.windows_out.lower().endswith(".jsonl"), args.escape_formulas)
            rows.tags = _has_tags(model)
            file.write(rows.window_head())
            tables.append(InOrder(file, rows.windows))
        finished = stack.enter_context(closing(model.embed_each(paths)))
        for batch in _batches(finished):
            failures |= {i: outcome for i, outcome in batch.items() if isinstance(outcome, L3clfError)}
            good = {i: outcome for i, outcome in batch.items() if i not in failures}
            silent |= {i: _levels(outcome) for i, outcome in good.items()}
            answers = dict(zip(good, _answers(args, model, [paths[i] for i in good], list(good.values())), strict=True))
            for i in sorted(batch):
                for table in tables:
                    table.add(i, answers.get(i))
                if folder is not None and i in answers:
                    folder.add(answers[i])
            for table in tables:
                table.flush()
            if folder is not None:
                folder.flush()
    kept = sorted(silent)
    warn_of_silence(model, [Clip(paths[i]) for i in kept], [silent[i] for i in kept])
    return [failures[i] for i in sorted(failures)]


def _has_tags(model: Any) -> bool:
    from l3clf.classifier.tagger import ClipTagger

    return isinstance(model, ClipTagger)


def _batches(finished: Iterator[tuple[int, Any]]) -> Iterator[dict[int, Any]]:
    """Collect outcomes until there are enough of them, or a second has passed."""
    batch: dict[int, Any] = {}
    n_bytes, last_s = 0, time.monotonic()
    for i, outcome in finished:
        batch[i] = outcome
        n_bytes += 0 if isinstance(outcome, L3clfError) else outcome.vectors.nbytes
        if len(batch) >= CLIPS_AT_ONCE or n_bytes > BYTES_AT_ONCE or time.monotonic() - last_s > ANSWER_EVERY_S:
            yield batch
            batch, n_bytes, last_s = {}, 0, time.monotonic()
    if batch:
        yield batch


def _answers(args: argparse.Namespace, model: Any, paths: Sequence[str], windows: Sequence[Any]) -> list[Answer]:
    """Return what the model says of files, of which the windows are known."""
    if not paths:
        return []
    found = [Answer(path) for path in paths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LevelWarning)  # about X[0]; the one that follows all answers names the file
        if not args.events:
            all_of = model.clip_answers(windows)
            labels = model.labels_of(all_of)
            found = [
                replace(one, label=label, probabilities=row, unknown_score=float(score))
                for one, label, row, score in zip(
                    found, labels, all_of.probabilities, all_of.unknown_scores, strict=True
                )
            ]
        if args.events or args.windows_out is not None:
            each = model.window_answers(windows)
            found = [replace(one, windows=answered) for one, answered in zip(found, each, strict=True)]
    if args.events:
        found = [replace(one, events=_events(model, one)) for one in found]
    if args.windows_out is not None:
        found = [replace(one, window_labels=model.labels_of(one.windows.answers)) for one in found]
    return found


def _events(model: Any, answer: Answer) -> list[Any]:
    """Return the events in a file, of which none ends after it."""
    from l3clf.audio.clip import Clip
    from l3clf.audio.decode import duration_s

    events: list[Any] = model.events_of(answer.windows)
    # Only where the last window counts: the length of some files is found by reading them once more.
    if all(event.end_s <= answer.windows.times_s[-1, 0] for event in events):
        return events
    try:
        length_s = duration_s(Clip(answer.path))
    except L3clfError:  # it was good when it was embedded
        return events
    return list(model.events_of(replace(answer.windows, duration_s=length_s)))


def _levels(outcome: Any) -> Any:
    """Return what the warning of silent files needs of one: its loudest window."""
    loudest = outcome.levels_dbfs.argmax()
    return replace(
        outcome,
        vectors=outcome.vectors[:0].copy(),
        times_s=outcome.times_s[:0].copy(),
        levels_dbfs=outcome.levels_dbfs[loudest : loudest + 1].copy(),
    )
