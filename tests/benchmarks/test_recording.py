"""How benchmarks are listed, configured and recorded, and RESULTS.md."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import __main__ as command_line
from benchmarks.catalogue import BENCHMARKS
from benchmarks.record import Record, Result, Table, Timing, load_record, markdown
from benchmarks.results_page import PAGE, RECORDED, results_page
from benchmarks.settings import apply_settings, shown
from l3clf.errors import ParameterError

RESULT = Result(
    (
        Table("Rates", (("what", ""), ("per second", ".1f"), ("share", ".0%")), (("ours", Timing.of([3, 1, 2]), 0.5),)),
        Table("", (("n", ",d"), ("missing", ".1f")), ((1234, None),)),
    ),
    ("All is well.",),
)


@dataclass(frozen=True)
class Options:
    count: int = 3
    rate: float = 0.5
    fast: bool = False
    place: Path = Path("work")
    names: tuple[str, ...] = ("a", "b")
    sizes: tuple[int, ...] = ()
    limit: int | None = None


def test_options_are_read_by_the_types_of_their_fields():
    settings = ["count=4", "rate=2", "fast=yes", "place=out/x", "names=c,d", "sizes=1,2", "limit=7", "of_another=1"]
    assert apply_settings(Options, settings) == Options(4, 2.0, True, Path("out/x"), ("c", "d"), (1, 2), 7)
    assert apply_settings(Options, ["names="]) == Options(names=())


@pytest.mark.parametrize(
    ("setting", "message"),
    [("count=x", "count='x'; expected a value of type int"), ("fast=true", "fast='true'; expected yes or no")],
)
def test_values_of_another_type_are_refused(setting, message):
    with pytest.raises(ParameterError, match=message):
        apply_settings(Options, [setting])


def test_options_are_shown_as_they_are_given():
    assert shown(Options) == ["count=3", "rate=0.5", "fast=no", "place=work", "names=a,b", "sizes=", "limit="]


def test_a_result_is_printed_as_markdown_with_the_spread_of_repeats():
    assert markdown(RESULT) == (
        "Rates\n\n| what | per second | share |\n|---|---|---|\n| ours | 2.0 (1.0 to 3.0) | 50% |\n\n"
        "| n | missing |\n|---|---|\n| 1,234 |  |\n\nAll is well."
    )


def test_long_tables_are_folded_where_asked():
    long = Result((Table("Many", (("n", "d"),), tuple((i,) for i in range(20))),))
    assert markdown(long, fold=True).startswith("<details><summary>Many</summary>")
    assert "details" not in markdown(long)


def test_a_record_survives_json(tmp_path):
    record = Record("openl3_speed", "python -m benchmarks run openl3_speed", {"clips": 8}, {"date": "today"}, RESULT)
    (tmp_path / "record.json").write_text(json.dumps(record.to_json()))
    assert load_record(tmp_path / "record.json") == record


def test_the_list_names_every_benchmark_and_shows_the_options_of_one(capsys):
    assert command_line.main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out and one.measures in out and one.needs in out for name, one in BENCHMARKS.items())
    assert command_line.main(["list", "openl3_speed"]) == 0
    assert "Options: clips=8" in capsys.readouterr().out


def test_a_run_is_printed_and_recorded(tmp_path, capsys):
    file = tmp_path / "record.json"
    settings = ["shared=no", "inputs=mel128", "sounds=short48"]
    arguments = ["run", "openl3_parity", *(part for setting in settings for part in ("--set", setting))]
    assert command_line.main([*arguments, "--json", str(file)]) == 0
    command = "python -m benchmarks run openl3_parity --set shared=no --set inputs=mel128 --set sounds=short48"
    assert capsys.readouterr().out.startswith(f"{command}\n\nThe worst of each rate and input")
    (record,) = json.loads(file.read_text())
    assert (record["benchmark"], record["command"]) == ("openl3_parity", command)
    assert record["options"] == {"shared": False, "inputs": ["mel128"], "sounds": ["short48"]}
    assert {"date", "commit", "machine", "system", "versions", "seconds"} <= set(record["recorded"])
    assert {"processor", "cores"} <= set(record["recorded"]["machine"])
    assert {"Python", "l3clf", "numpy", "scikit-learn", "onnxruntime"} <= set(record["recorded"]["versions"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "nothing: is not a benchmark; expected one of openl3_parity"),
        (["list", "nothing"], "nothing: is not a benchmark"),
        (["run", "openl3_speed", "--set", "clip=1"], "--set clip=1: is not an option of openl3_speed; see `list NAME`"),
        (["run", "device_table"], "L3CLF_SHARED='': is not a folder; set it to the folder"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(arguments, message, capsys, monkeypatch):
    monkeypatch.delenv("L3CLF_SHARED", raising=False)
    assert command_line.main(arguments) == 1
    assert f"benchmarks: {message}" in capsys.readouterr().err


def test_the_results_page_is_that_of_the_records():
    assert PAGE.read_text(encoding="utf-8") == results_page()
    assert {path.name.split(".")[0] for path in RECORDED.glob("*.json")} <= set(BENCHMARKS)


def test_a_results_page_says_where_a_result_comes_from(tmp_path):
    where = {"processor": "A chip", "extensions": ["avx2"], "cores": 2, "memory_gib": 8.0, "gpu": "A card"}
    recorded = {"date": "2026-11-26", "commit": "abc", "machine": where, "versions": {"numpy": "2"}}
    record = Record("footprint", "python -m benchmarks run footprint", {}, recorded, RESULT)
    (tmp_path / "footprint.json").write_text(json.dumps(record.to_json()))
    page = results_page(tmp_path)
    assert "## footprint\n\nSize of an installation, time of an import, memory for a long file.\n\n" in page
    assert "    python -m benchmarks run footprint\n" in page
    assert "*2026-11-26; commit abc; A chip (avx2), 2 cores, 8 GiB, A card; numpy 2.*" in page
