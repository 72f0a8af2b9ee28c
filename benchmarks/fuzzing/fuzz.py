"""Damaged files and failing disks: every format that l3clf reads, damaged in ways that keep most of its structure.

Each damaged file follows from its target and a seed, and is read in a process with little memory and time. It must
give the right answer, a sound one where the damage changes what the file means, or an error of one printable sentence:
anything else (a wrong answer, another exception, a crash, a hang, too much memory) is a finding. A run goes on where
the last one stopped and adds to its totals; `fresh=yes` begins again. With `seed=N`, the files of `count` seeds are
read again and kept in the folder `found`, what came of each is shown, and nothing is recorded.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks.environment import say
from benchmarks.fuzzing.fuzz_target import CHANGED, FINDING, OUTCOMES, REFUSED, RIGHT
from benchmarks.fuzzing.fuzz_worker import NEEDS, NOTE_BYTES, TARGETS, make_target, mutation
from benchmarks.record import Cell, Result, Table, load_record
from benchmarks.results_page import record_path
from l3clf.errors import L3clfError, ParameterError

HANG_S = 60.0  # without a new seed, on a busy machine
START_S = 600.0  # before the first: TensorFlow alone takes a minute to import where others use the cores
PER_PROCESS_S, PER_PROCESS = 120.0, 50_000  # then another process takes over
WORKER = (sys.executable, "-m", "benchmarks.fuzzing.fuzz_worker")
SHOWN_FINDINGS = 30
TITLE = "Damaged files, by target"


@dataclass(frozen=True)
class Options:
    """What is fuzzed, and for how long.

    Attributes
    ----------
    minutes : float
        Of the whole run, in equal parts for the targets.
    targets : tuple of str
        Names; none means all.
    jobs : int
        Processes at a time.
    seed : int or None
        Read the files of this seed and the following again.
    count : int
        How many seeds are read again.
    fresh : bool
        Begin the totals and the seeds at zero.
    found : path
        Where files of seeds that are read again are kept.
    """

    minutes: float = 10.0
    targets: tuple[str, ...] = ()
    jobs: int = os.cpu_count() or 1
    seed: int | None = None
    count: int = 1
    fresh: bool = False
    found: Path = Path("fuzz-found")


@dataclass
class _Tally:
    """What became of the files of a target, in all runs."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def run(options: Options) -> Result:
    """Fuzz the targets; return the totals of this run and of those before."""
    names = options.targets or tuple(name for name in TARGETS if find_spec(NEEDS.get(name, "l3clf")))
    if unknown := [name for name in names if name not in TARGETS]:
        raise ParameterError(f"targets={','.join(unknown)}; expected some of {','.join(TARGETS)}")
    if options.seed is not None:
        return _replayed(names, options.seed, options)
    before = {} if options.fresh else _earlier()
    seconds = 60 * options.minutes * min(1.0, options.jobs / len(names))  # a target has one process at a time
    with ThreadPoolExecutor(options.jobs) as pool:
        tallies = list(pool.map(lambda name: _campaign(name, before.get(name, Counter()).total(), seconds), names))
    return _result(before, dict(zip(names, tallies, strict=True)))


def _earlier() -> dict[str, Counter[str]]:
    """Return the totals on record, by target."""
    path = record_path("fuzz")
    rows = load_record(path).result.tables[0].rows if path.exists() else ()
    return {
        str(row[0]): Counter({o: int(str(n)) for o, n in zip(OUTCOMES, row[2:6], strict=True)}) for row in rows[:-1]
    }


def _result(before: Mapping[str, Counter[str]], tallies: Mapping[str, _Tally]) -> Result:
    rows: list[tuple[Cell, ...]] = []
    for name in TARGETS:
        tally = tallies.get(name, _Tally())
        counts = before.get(name, Counter()) + tally.counts
        if counts:
            rate = tally.total / tally.seconds if tally.seconds else None
            rows.append((name, counts.total(), *(counts[outcome] for outcome in OUTCOMES), rate))
    totals = [sum(int(str(row[i])) for row in rows) for i in range(1, 6)]
    rows.append(("all", *totals, None))
    columns = [("", "")] + [(name, ",d") for name in ("files", REFUSED, RIGHT, CHANGED, FINDING)]
    table = Table(TITLE, (*columns, ("files per second", ",.0f")), tuple(rows))
    findings = [f"- {name}, {text}" for name, tally in tallies.items() for text in tally.findings]
    return Result((table,), ("\n".join(findings[:SHOWN_FINDINGS]),) if findings else ())


# --- processes ------------------------------------------------------------------------------------


def _campaign(name: str, first: int, seconds: float) -> _Tally:
    """Fuzz one target in one process after another."""
    tally, start = _Tally(), time.monotonic()
    while (left := start + seconds - time.monotonic()) > 0:
        first = _one_process(name, first, PER_PROCESS, min(left, PER_PROCESS_S), tally)
    say(f"{name}: {tally.total:,} files, findings: {tally.counts[FINDING]}")
    return tally


def _one_process(name: str, first: int, count: int, seconds: float, tally: _Tally) -> int:
    """Let a process read the files of some seeds; return the first seed that is left."""
    following = first
    with _note(first) as note, _started(name, first, count, seconds, note) as process:
        begun = time.monotonic()
        for line in process.stdout or ():
            told = json.loads(line)
            if "seed" in told:
                tally.findings.append(f"seed {told['seed']}: {told['detail']}")
            else:
                tally.counts.update(told["counts"])
                following = told["next"]
        tally.seconds += time.monotonic() - begun
        process.wait()
        error = note.with_name("errors").read_text(errors="replace")
        last = int.from_bytes(note.read_bytes(), "little")
    if process.returncode == 0:
        return following
    if last == (1 << 64) - 1:
        raise L3clfError(f"{name}: the process that fuzzes it cannot start ({error.strip().splitlines()[-1:]})")
    tally.findings.append(f"seed {last}: the process ended with {process.returncode}")
    tally.counts[REFUSED] += last - following  # read since the last word of the process, without a finding
    tally.counts[FINDING] += 1
    return last + 1


@contextmanager
def _note(first: int) -> Iterator[Path]:
    """Yield a file in which a process notes the seed that it is about to read."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder, "seed")
        note.write_bytes(b"\xff" * NOTE_BYTES)
        yield note


@contextmanager
def _started(name: str, first: int, count: int, seconds: float, note: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a process; end it when it has noted no new seed for a while."""
    arguments = [name, str(first), str(count), str(seconds), str(note)]
    command = [*WORKER, *arguments]
    pipe, environment = subprocess.PIPE, {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        note.with_name("errors").open("w") as errors,
        subprocess.Popen(command, stdout=pipe, stderr=errors, text=True, env=environment) as process,  # noqa: S603
    ):
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(process, note, ended))
        watch.start()
        try:
            yield process
        finally:
            ended.set()
            watch.join()
            process.kill()


def _watch(process: "subprocess.Popen[str]", note: Path, ended: threading.Event) -> None:
    noted, since = b"", time.monotonic()
    while not ended.wait(0.5):
        now = note.read_bytes()
        if now != noted:
            noted, since = now, time.monotonic()
        elif time.monotonic() - since > (START_S if noted == b"\xff" * NOTE_BYTES else HANG_S):
            process.kill()
            return


# --- again ----------------------------------------------------------------------------------------


def _replayed(names: tuple[str, ...], seed: int, options: Options) -> Result:
    """Read the files of some seeds again, each in a process of its own; keep them."""
    notes = []
    for name in names:
        folder = options.found / name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as place:
            target = make_target(name, Path(place))
            for one in range(seed, seed + options.count):
                (folder / str(one)).write_bytes(mutation(target, name, one).content)
                notes.append(f"- {name}, seed {one}: {_outcome_of(name, one)} ({folder / str(one)})")
    return Result(notes=("\n".join(notes),))


def _outcome_of(name: str, seed: int) -> str:
    with _note(seed) as note, _started(name, seed, 1, HANG_S, note) as process:
        lines = [json.loads(line) for line in process.stdout or ()]
        process.wait()
    if process.returncode:
        return f"the process ended with {process.returncode}"
    return f"{lines[0]['outcome']}: {lines[0]['detail']}"
