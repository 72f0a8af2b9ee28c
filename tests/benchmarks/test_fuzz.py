"""Fuzzing: past failures stay mended, seeds come back, and crashes and hangs are put down to their seed."""

import gzip
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.fuzzing import fuzz
from benchmarks.fuzzing.fuzz_target import FINDING, REFUSED, RIGHT, FindingError, Mutation, Target, judged
from benchmarks.fuzzing.fuzz_worker import NEEDS, TARGETS, make_target, mutation, quick_folder
from benchmarks.record import Record, Result, Table
from l3clf.errors import ModelFileError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fuzzing limits memory as Linux does")
CORPUS = Path(__file__).parent.parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*.gz"))


@pytest.fixture(scope="module")
def targets():
    """Each target, made when it is asked for."""
    made = {}
    with quick_folder() as folder:

        def get(name):
            if name not in made:
                (folder / name).mkdir()
                made[name] = make_target(name, folder / name)
            return made[name]

        yield get


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_past_failure_stays_mended(path, targets):
    strict = path.stem.endswith("-strict")
    outcome, detail = judged(targets(path.parent.name), Mutation(gzip.decompress(path.read_bytes()), strict))
    assert outcome != FINDING, detail


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in TARGETS if name not in NEEDS])
def test_a_target_reads_its_good_files_and_repeats_its_damage(name, targets):
    target = targets(name)
    for content in target.good():
        assert judged(target, Mutation(content, strict=True)) == (RIGHT, "")
    damaged = [mutation(target, name, seed).content for seed in range(8)]
    assert damaged == [mutation(target, name, seed).content for seed in range(8)]
    assert len({*damaged, *target.good()}) > 6


@pytest.mark.slow  # four exports are compiled under sanitizers
@pytest.mark.filterwarnings("ignore")
def test_calls_of_the_c_library_are_right(targets):
    pytest.importorskip("ziglang")
    target = targets("chip")
    for content in [*target.good(), *(mutation(target, "chip", seed).content for seed in range(8))]:
        assert judged(target, Mutation(content, strict=True)) == (RIGHT, "")


def test_a_program_that_ends_is_a_finding_with_its_report_and_is_started_again(tmp_path):
    from benchmarks.fuzzing.fuzz_chip import _Program

    program = tmp_path / "calls"
    program.write_text("#!/bin/sh\nread x\necho 'l3clf.c:7: runtime error: overflow' >&2\nexit 3\n")
    program.chmod(0o755)
    running = _Program(program)
    for _ in range(2):
        assert running.answer(b"\n") == "ended with 3: l3clf.c:7: runtime error: overflow"


class Broken(Target):
    """A reader that does whatever its content says."""

    def good(self):
        return []

    def mutated(self, rng):
        return Mutation(b"")

    def outcome(self, content):
        names = {"ModelFileError": ModelFileError, "FindingError": FindingError, "answer": RIGHT}
        exec(content.decode(), names)  # noqa: S102
        return names["answer"]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("answer = 'right'", RIGHT),
        ("raise ModelFileError('x: damaged; save it again')", REFUSED),
        ("raise ModelFileError('')", FINDING),
        ("raise ModelFileError('x: two\\nlines')", FINDING),
        ("raise ModelFileError('x: \\x1b[31m')", FINDING),
        ("raise ModelFileError('x' * 2000)", FINDING),
        ("raise ValueError('from the depths')", FINDING),
        ("raise MemoryError", FINDING),
        ("raise FindingError('a wrong vector')", FINDING),
        ("answer = 'changed'", FINDING),
    ],
)
def test_outcomes(tmp_path, code, outcome):
    assert judged(Broken(tmp_path), Mutation(code.encode(), strict=True))[0] == outcome


WORKER = """
import json, os, signal, sys, time
name, first, count, seconds, note = sys.argv[1:]
for seed in range(int(first), int(first) + 4):
    with open(note, "wb") as file:
        file.write(seed.to_bytes(8, "little"))
    if seed == 5:
        {does}
print(json.dumps({{"counts": {{"refused": 4}}, "next": int(first) + 4}}))
"""


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "seed 5: the process ended with -11"),
        ("time.sleep(60)", "seed 5: the process ended with -9"),
    ],
)
def test_a_crash_and_a_hang_have_their_seed(tmp_path, monkeypatch, does, told):
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(does=does))
    monkeypatch.setattr(fuzz, "WORKER", (sys.executable, str(script)))
    monkeypatch.setattr(fuzz, "HANG_S", 1.0)
    tally = fuzz._Tally()
    following = fuzz._one_process("labels", 3, 100, 1.0, tally)
    assert (following, tally.findings) == (6, [told])
    assert tally.counts == Counter({REFUSED: 2, FINDING: 1})
    assert fuzz._one_process("labels", following, 100, 1.0, tally) == 10  # it goes on behind that seed


def test_totals_go_on_from_the_record(tmp_path, monkeypatch):
    table = Table("", (("", ""),) * 7, (("labels", 10, 4, 3, 2, 1, 9.0), ("all", 10, 4, 3, 2, 1, None)))
    path = tmp_path / "fuzz.json"
    path.write_text(json.dumps(Record("fuzz", "", result=Result((table,))).to_json()))
    monkeypatch.setattr(fuzz, "record_path", lambda name: path)
    seen = []
    monkeypatch.setattr(fuzz, "_campaign", lambda name, first, seconds: seen.append((name, first)) or fuzz._Tally())
    found = fuzz.run(fuzz.Options(targets=("labels",), jobs=1))
    assert seen == [("labels", 10)]
    assert found.tables[0].rows[0][:6] == ("labels", 10, 4, 3, 2, 1)


def test_a_seed_is_read_again_and_not_recorded(tmp_path, capsys):
    record = tmp_path / "record.json"
    found = tmp_path / "found"
    assert (
        main(["run", "fuzz", "--targets", "labels", "--seed=7", "--set", f"found={found}", "--json", str(record)]) == 0
    )
    assert "labels, seed 7: " in capsys.readouterr().out
    assert (found / "labels" / "7").stat().st_size


def test_an_unknown_option_is_refused(capsys):
    assert main(["run", "fuzz", "--hours", "1"]) == 1
    assert "hours=1: is not an option of fuzz" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["results", "--minutes", "1"])
