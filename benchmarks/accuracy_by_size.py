"""Accuracy on ESC-10 against size: embedders as `l3mini_table` measured them, beside published networks; a picture.

Nothing is measured here: the figures are those that `l3mini_table` recorded, and those of the sources in `PUBLISHED`. A
figure that is missing there is missing here. The picture is written into `out`.

What can be compared: embedders are frozen and have a linear head, as our users would have it; networks that were
trained end to end on the data set itself have an advantage, and other marks. Parameters are counted up to the
embedding, published ones as their makers count.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import Cell, Record, Result, Table, load_record
from benchmarks.results_page import RECORDED, record_path
from benchmarks.size_picture import END_TO_END, OTHERS, OURS, Mark, draw_sizes
from benchmarks.size_picture import PUBLISHED as PUBLISHED_KIND

__all__ = ["PUBLISHED", "Network", "Options", "measured", "run"]

ESC10_CLIPS = 400
FROZEN, TRAINED = "frozen, linear head", "trained end to end on the set"
PICTURE = "accuracy_by_size.png"
MEASURED = "measured (l3mini_table)"


@dataclass(frozen=True)
class Options:
    """Where figures come from and go to.

    Attributes
    ----------
    records : Path
        The folder with the record of `l3mini_table`.
    out : Path
        The picture's folder.
    """

    records: Path = Path("benchmarks/recorded")
    out: Path = Path(".github")


@dataclass(frozen=True)
class Network:
    """A network with its figures, as far as they are known; accuracies are shares of 1."""

    name: str
    parameters: int | None
    esc10: float | None
    esc50: float | None
    how: str
    source: str


PUBLISHED = (
    Network(
        "Micro-ACDNet",
        131_000,
        0.9625,
        0.8365,
        TRAINED,
        "Mohaimenuzzaman et al., Pattern Recognition 133 (2023), arXiv 2103.03483",
    ),
    # "tl": only the last layer was trained; their accuracy is that of one split, of which 94.9 % are 75 of 79 clips.
    Network(
        "YAMNet-256, int8",
        130_000,
        0.949,
        None,
        "frozen, linear head; one split",
        "STMicroelectronics, stm32ai-modelzoo, audio_event_detection/yamnet",
    ),
    Network("S-SONDO, ERes2Net", 1_400_000, None, 0.898, FROZEN, "El Adlouni et al., ICASSP 2026, arXiv 2604.24933"),
    # With their classifiers of 527 AudioSet classes; up to the embedding, mn04 is `efficientat` above.
    Network("EfficientAT mn04", 983_000, None, None, "AudioSet's classes: mAP 0.432", "fschmid56/EfficientAT"),
    Network("EfficientAT mn10", 4_880_000, None, None, "AudioSet's classes: mAP 0.471", "fschmid56/EfficientAT"),
)


def run(options: Options) -> Result:
    """Make the table, and draw the picture."""
    networks = (*measured(options.records), *PUBLISHED)
    path = draw(networks, options.out / PICTURE)
    columns = ("network", ""), ("parameters", ",d"), ("ESC-10", ".2%"), ("one standard error", ".2%"), ("ESC-50", ".2%")
    rows = sorted(map(_row, networks), key=lambda row: (row[6] != MEASURED, row[1] is None, row[1]))
    title = "Accuracy and size, of embedders measured here and of published networks"
    return Result(
        (Table(title, (*columns, ("how", ""), ("source", "")), tuple(rows)),),
        (f"Drawn in `{path.name}`: what has both parameters and an accuracy on ESC-10; students in floating point.",),
    )


def measured(folder: Path = RECORDED) -> list[Network]:
    """Return the embedders of the record of `l3mini_table` in a folder; none without it."""
    path = record_path("l3mini_table", folder)
    if not path.is_file():
        return []
    record = load_record(path)
    parameters = {_network(row): row["parameters"] for row in _rows(record, "parameters")}
    column = "ESC-10, hop 0.5 s"
    return [
        Network(_name(row), parameters.get(_network(row)), row[column], None, FROZEN, MEASURED)
        for row in _rows(record, column)
    ]


def _rows(record: Record, column: str) -> Iterator[dict[str, Any]]:
    """Yield, by heading, the rows of the tables that have a column and say whose their rows are."""
    for table in record.result.tables:
        headings = [heading for heading, _ in table.columns]
        if column in headings[1:]:
            yield from (dict(zip(headings, row, strict=True)) for row in table.rows)


def _network(row: dict[str, Any]) -> str:
    """The name without the precision: a network has as many parameters in integers."""
    return _name(row).partition(", ")[0]


def _name(row: dict[str, Any]) -> str:
    return str(next(iter(row.values())))


def _error(network: Network) -> float | None:
    """One standard error of the accuracy on all clips, if it is ours: published ones are of other numbers of clips."""
    if network.esc10 is None or network.source != MEASURED:
        return None
    return math.sqrt(network.esc10 * (1 - network.esc10) / ESC10_CLIPS)


def _row(network: Network) -> tuple[Cell, ...]:
    n = network
    return (n.name, n.parameters, n.esc10, _error(n), n.esc50, n.how, n.source)


def draw(networks: Iterable[Network], path: Path) -> Path:
    """Draw accuracy against parameters."""
    marks, floors = [], []
    for network in networks:
        if network.esc10 is None or _is_twin(network):
            continue
        percent, name = 100 * network.esc10, network.name.removesuffix(", float32")
        if network.parameters is not None:
            marks.append(Mark(name, network.parameters, percent, 100 * (_error(network) or 0), _kind(network)))
        elif name == "mfcc":
            floors.append(("mfcc: no network", percent))
    return draw_sizes(marks, floors, path)


def _is_twin(network: Network) -> bool:
    """Whether it is one of ours in integers, whose twin in floating point is drawn."""
    return network.source == MEASURED and network.name.endswith(", int8")


def _kind(network: Network) -> str:
    if network.source == MEASURED:
        return OURS if network.name.endswith(", float32") else OTHERS
    return END_TO_END if network.how == TRAINED else PUBLISHED_KIND
