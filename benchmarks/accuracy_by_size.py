"""Accuracy on ESC-10 against size: the package's students, their teachers, and what others have published.

Ours are read from the records of `l3mini_table`, if these are of the networks in the package; the others' figures are
their authors', some of them of networks that were trained end to end on the task. With ``picture=FILE`` it draws them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.l3mini.ship import figures_of
from benchmarks.materials import students
from benchmarks.record import Result, Table

ESC10 = "ESC-10, hop 0.5 s"
HUMAN = 95.7  # K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", 2015
OURS, INT8 = "l3mini_table", ", int8"
FROZEN, TRAINED = "frozen, logistic regression", "trained on the task"


@dataclass(frozen=True)
class Network:
    """A network and what it reaches, in per cent; None where nothing is published."""

    name: str
    parameters: int
    esc10: float | None
    esc50: float | None
    how: str
    source: str


PUBLISHED = (
    Network("EfficientAT mn04", 980_000, 97.5, None, FROZEN, "Schmid et al. 2023; measured here, windows of 1 s"),
    Network("YAMNet-256, int8", 130_000, 94.9, None, TRAINED, "STMicroelectronics, stm32ai-modelzoo"),
    Network("Micro-ACDNet", 131_000, 96.25, 83.65, TRAINED, "Mohaimenuzzaman et al. 2023"),
    Network("S-SONDO student", 1_400_000, None, 89.8, FROZEN, "the authors of S-SONDO"),
)


@dataclass(frozen=True)
class Options:
    """What is made.

    Attributes
    ----------
    picture : Path, optional
        A PNG to draw.
    """

    picture: Path | None = None


def run(options: Options) -> Result:
    """Collect the figures."""
    networks = sorted((*_ours(), *PUBLISHED), key=lambda one: one.parameters)
    if options.picture is not None:
        _draw([(one, one.esc10) for one in networks if one.esc10 is not None], options.picture)
    columns = (
        ("network", ""),
        ("parameters", ",d"),
        ("ESC-10 (%)", ".2f"),
        ("ESC-50 (%)", ".2f"),
        ("how", ""),
        ("from", ""),
    )
    rows = [(one.name, one.parameters, one.esc10, one.esc50, one.how, one.source) for one in networks]
    return Result((Table("Smallest first", columns, tuple(rows)),), (f"Human listeners: {HUMAN} % on ESC-10.",))


def _ours() -> list[Network]:
    found = []
    for student in students():
        figures = figures_of(student.name)
        for precision, of in figures.items():
            name = student.name if precision == "float32" else f"{student.name}{INT8}"
            found.append(Network(name, student.about["parameters"], 100 * of[ESC10], None, FROZEN, OURS))
    return found


def _draw(networks: Sequence[tuple[Network, float]], path: Path) -> None:
    """Draw accuracy over parameters; ours are filled."""
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for one, accuracy in networks:
        ours, integers = one.source == OURS, one.source == OURS and one.name.endswith(INT8)
        mark = "x" if integers else "o" if one.how == FROZEN else "s"
        axes.plot(one.parameters, accuracy, mark, ms=7, color="C1" if integers else "C0", mfc="C0" if ours else "w")
        if not integers:
            axes.annotate(
                one.name, (one.parameters, accuracy), (9, -3), textcoords="offset points", ha="left", fontsize=8
            )
    axes.axhline(HUMAN, color="0.6", lw=0.8, ls="--")
    axes.text(0.01, HUMAN + 0.1, "human listeners", color="0.4", fontsize=8, transform=axes.get_yaxis_transform())
    axes.set(xscale="log", xlim=(1.5e4, 3e6), ylim=(88, 99), xlabel="parameters", ylabel="ESC-10, accuracy (%)")
    axes.set_title(
        "Filled: in the package, x: in integers. Circles: frozen; squares: trained on it", fontsize=9, loc="left"
    )
    figure.savefig(path, metadata={"Software": None})
