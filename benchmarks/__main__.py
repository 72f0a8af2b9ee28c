"""``python -m benchmarks list | run NAME... | results``: see what there is, measure it, write RESULTS.md."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmarks.catalogue import BENCHMARKS
from benchmarks.environment import describe, say
from benchmarks.record import Record, markdown
from benchmarks.results_page import RECORDED, record_path, write_page
from benchmarks.settings import apply_settings, shown
from l3clf.errors import L3clfError, ParameterError

COMMAND = ("python", "-m", "benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _parsed(arguments)
    try:
        if args.command == "list":
            _list(args.names)
        elif args.command == "run":
            _run(args.names, args.settings, args.json)
        else:
            print(write_page())
    except L3clfError as error:
        say(f"benchmarks: {error}")
        return 1
    except ModuleNotFoundError as error:
        say(f"benchmarks: {error.name} is not installed; see `python -m benchmarks list`")
        return 1
    return 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; ``--NAME VALUE`` of an option of a benchmark is short for ``--set NAME=VALUE``."""
    parser = _parser()
    args, rest = parser.parse_known_args(arguments)
    words = iter(rest)
    for word in words:
        name, is_whole, value = word.removeprefix("--").partition("=")
        given = value if is_whole else next(words, None)
        if args.command != "run" or not word.startswith("--") or given is None:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        args.settings.append(f"{name.replace('-', '_')}={given}")
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=" ".join(COMMAND), description="Measure l3clf.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="show the benchmarks, or all about some of them")
    listing.add_argument("names", nargs="*", metavar="NAME")
    running = commands.add_parser("run", help="run benchmarks, print their tables and record them")
    running.add_argument("names", nargs="+", metavar="NAME")
    running.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="OPTION=VALUE",
        help="see `list NAME`; `--OPTION VALUE` is the same",
    )
    running.add_argument("--json", type=Path, metavar="FILE", help=f"record here instead of in {RECORDED.name}/")
    commands.add_parser("results", help="write RESULTS.md from what was recorded")
    return parser


def _list(names: Sequence[str]) -> None:
    _check_names(names)
    for name in names:
        module = BENCHMARKS[name].load()
        print(f"{name}\n\n{module.__doc__.rstrip()}\n\nOptions: {'  '.join(shown(module.Options))}\n")
    if not names:
        width = max(map(len, BENCHMARKS))
        for name, benchmark in BENCHMARKS.items():
            print(f"{name:{width}}  {benchmark.measures}\n{'':{width}}  needs: {benchmark.needs}")


def _run(names: Sequence[str], settings: Sequence[str], file: Path | None) -> None:
    _check_names(names)
    modules = {name: BENCHMARKS[name].load() for name in names}
    for setting in settings:
        if not any(_has(module, setting) for module in modules.values()):
            raise ParameterError(f"--set {setting}: is not an option of {', '.join(names)}; see `list NAME`")
    records = []
    for name, module in modules.items():
        own = [setting for setting in settings if _has(module, setting)]
        records.append(_measured(name, module, own))
        print(f"{records[-1].command}\n\n{markdown(records[-1].result)}\n", flush=True)
        if file is None and records[-1].result.tables:  # without a table, nothing was measured
            RECORDED.mkdir(exist_ok=True)
            _write(record_path(name), records[-1].to_json())
    if file is not None:
        _write(file, [record.to_json() for record in records])


def _has(module: Any, setting: str) -> bool:
    return setting.partition("=")[0] in {field.name for field in fields(module.Options)}


def _measured(name: str, module: Any, settings: Sequence[str]) -> Record:
    options = apply_settings(module.Options, settings)
    command = shlex.join([*COMMAND, "run", name, *(part for setting in settings for part in ("--set", setting))])
    say(f"{name}: running")
    recorded, start = describe(), time.perf_counter()  # the commit and the load are those of the start
    result = module.run(options)
    recorded["seconds"] = round(time.perf_counter() - start, 1)
    return Record(name, command, asdict(options), recorded, result)


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name not in BENCHMARKS:
            raise ParameterError(f"{name}: is not a benchmark; expected one of {', '.join(BENCHMARKS)}")


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    say(f"recorded: {path}")


if __name__ == "__main__":
    sys.exit(main())
