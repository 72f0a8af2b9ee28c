"""RESULTS.md, made from what was recorded: each table below the command that made it, with machine and date."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.catalogue import BENCHMARKS
from benchmarks.record import Record, load_record, markdown

__all__ = ["PAGE", "RECORDED", "record_path", "results_page", "write_page"]

FOLDER = Path(__file__).parent
RECORDED, PAGE = FOLDER / "recorded", FOLDER / "RESULTS.md"
HEADING = """# Results

Written by `python -m benchmarks results` from `benchmarks/recorded/`, which also has all versions and options; do not
edit. Each section is what its command printed, with the date and the machine of that run; where it says so, the figures
were copied from an earlier run of the same measurement. A timing is a median, with the range of its repeats in
brackets."""
SHOWN = ("Python", "l3clf", "numpy", "scikit-learn", "onnxruntime")  # of the versions


def record_path(name: str, folder: Path = RECORDED) -> Path:
    """Return where a benchmark's record is kept."""
    return folder / f"{name}.json"


def results_page(folder: Path = RECORDED) -> str:
    """Return RESULTS.md as it follows from the records of a folder."""
    return "\n\n".join([HEADING, *_sections(folder)]) + "\n"


def write_page(folder: Path = RECORDED, page: Path = PAGE) -> Path:
    """Write RESULTS.md."""
    page.write_text(results_page(folder), encoding="utf-8")
    return page


def _sections(folder: Path) -> Iterator[str]:
    """Each benchmark's records; ``NAME.SOMETHING.json``, which no command writes, is of another machine."""
    for name, benchmark in BENCHMARKS.items():
        records = [load_record(path) for path in (*folder.glob(f"{name}.json"), *sorted(folder.glob(f"{name}.*.json")))]
        if records:
            yield f"## {name}\n\n{benchmark.measures[0].upper()}{benchmark.measures[1:]}."
        for record in records:
            yield f"    {record.command}\n\n{_provenance(record)}"
            yield markdown(record.result, fold=True)


def _provenance(record: Record) -> str:
    found = record.recorded
    parts = [found["date"], f"commit {found['commit']}" if found.get("commit") else "", _machine(found["machine"])]
    parts += [
        found.get("system", ""),
        ", ".join(f"{name} {v}" for name, v in found.get("versions", {}).items() if name in SHOWN),
    ]
    text = "; ".join(part for part in parts if part)
    return f"*{text}.*" + (f"\n\n*{found['by_hand']}*" if "by_hand" in found else "")


def _machine(machine: dict[str, Any]) -> str:
    extensions = f" ({', '.join(machine['extensions'])})" if machine.get("extensions") else ""
    memory = f", {machine['memory_gib']:g} GiB" if "memory_gib" in machine else ""
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    return f"{machine['processor']}{extensions}, {machine['cores']} cores{memory}{gpu}"
