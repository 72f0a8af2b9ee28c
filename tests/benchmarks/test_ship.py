"""What is said about the students in the package follows from their files and from what was recorded."""

import json
import os
from pathlib import Path

import pytest

import l3clf
from benchmarks.l3mini import ship
from benchmarks.l3mini.pool_credits import credits_of, learned_from
from benchmarks.l3mini.ship import CREDITS, DATA, README, STUDENTS, card, figures_of, with_rows

AGAIN = "run `python -m benchmarks.l3mini.ship` again"
SHARED = os.environ.get("L3CLF_SHARED")
needs_pools = pytest.mark.skipif(not SHARED, reason="L3CLF_SHARED names no folder of shared data")


def data():
    return Path(SHARED, "data")


def test_the_rows_of_the_readme_are_those_of_the_records():
    text = README.read_text(encoding="utf-8")
    assert with_rows(text) == text, AGAIN


@needs_pools
@pytest.mark.parametrize("name", STUDENTS)
def test_a_card_is_what_files_and_records_say(name):
    assert card(name, *learned_from(data())) == (DATA / f"{name}.md").read_text(encoding="utf-8"), AGAIN


@needs_pools
def test_the_credits_are_those_of_the_pools():
    text = credits_of(data())
    assert text == (DATA / CREDITS).read_text(encoding="utf-8"), AGAIN
    assert "-SA" not in text


def write_record(folder, fingerprint, accuracy):
    columns = [["frozen embedder", ""], ["ESC-10, hop 0.5 s", ".2%"], ["FSDD, hop 0.1 s", ".2%"], ["fingerprint", ""]]
    rows = [[f"l3micro, {p}", accuracy, 0.5, fingerprint(p)] for p in ("float32", "int8")]
    speed = {"median": 1234.56, "low": 1.0, "high": 2.0, "repeats": 3}
    tables = [
        {"title": "Accuracy", "columns": columns, "rows": rows},
        {
            "title": "Speed",
            "columns": [["frozen embedder", ""], ["windows per second", ",.1f"]],
            "rows": [[f"l3micro, {p}", speed] for p in ("float32", "int8")],
        },
    ]
    record = {"benchmark": "l3mini_table", "command": "", "options": {}, "recorded": {}}
    (folder / "l3mini_table.json").write_text(json.dumps({**record, "result": {"tables": tables, "notes": []}}))


def test_figures_of_another_network_are_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(ship, "RECORDED", tmp_path)
    before = "| `l3micro` | 1.00 % | 2.00 % | 0.975 s, 16 kHz | 7 | 3.0 | for the smallest chips: 8 parameters |"
    write_record(tmp_path, lambda precision: "of another", 0.75)
    assert figures_of("l3micro") == {}
    assert "not measured yet" in " ".join(card("l3micro", 1, 1.0).split())
    size = l3clf.load_embedder("l3micro").embedding_size
    assert with_rows(before).startswith(f"| `l3micro` | | | 0.975 s, 16 kHz | {size} | 3.0 |")
    write_record(tmp_path, lambda precision: l3clf.load_embedder("l3micro", precision=precision).fingerprint, 0.75)
    assert figures_of("l3micro")["int8"]["ESC-10, hop 0.5 s"] == 0.75
    assert "ESC-10 75.00 % (int8 75.00)" in " ".join(card("l3micro", 1, 1.0).split())
    number = l3clf.load_embedder("l3micro").about["parameters"]
    cells = f"75.00 % | 50.00 % | 0.975 s, 16 kHz | {size} | 1,234.6 | for the smallest chips: {number:,} parameters"
    assert with_rows(before) == f"| `l3micro` | {cells} |"
