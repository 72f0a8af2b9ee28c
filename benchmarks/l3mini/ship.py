"""Puts trained students into the package, with their model cards, credits and golden values.

    python -m benchmarks.l3mini.ship trained=DIR          # student files, as `gpu_students` writes them
    python -m benchmarks.l3mini.ship                      # the cards alone, after new measurements

Rule: a card says what the student file, the pools and `benchmarks/recorded/` say, and nothing about a network that was
measured before another took its place.
"""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import l3clf
from benchmarks.environment import say
from benchmarks.l3mini.pool_credits import credits_of, learned_from
from benchmarks.materials import shared_folder
from benchmarks.record import Cell, Result, Table, Timing, load_record, markdown
from benchmarks.results_page import RECORDED
from benchmarks.settings import apply_settings
from l3clf.embedders.student import Student, read_student
from tests.golden import make_shipped

__all__ = ["CREDITS", "STUDENTS", "Options", "card", "figures_of", "run", "with_rows"]

DATA = Path(l3clf.__file__).parent / "embedders" / "data"
CREDITS = "students_credits.md"
README = Path(l3clf.__file__).parents[1] / "README.md"
STUDENTS = {"l3mini": "L", "l3base": "B", "l3micro": "S"}  # file of the trained network
FOR = {
    "l3base": "for PCs",
    "l3mini": "for microcontrollers (`revision=2`; the first l3mini has [a card of its own](l3mini_1.md))",
    "l3micro": "for the smallest microcontrollers",
}


ESC10, FSDD, SPEED = "ESC-10, hop 0.5 s", "FSDD, hop 0.1 s", "windows per second"  # headings of l3mini_table
TEACHERS = {  # as student files name them
    "efficientat mn04": "EfficientAT mn04's embedding",
    "speech": "Google's speech embedding",
    "yamnet": "YAMNet's embedding",
    "efficientat mn04, scores": "EfficientAT mn04's AudioSet scores",
}
STARTED = {"l3mini": " It was started from revision 1, and is a blend of two trainings."}


@dataclass(frozen=True)
class Options:
    """What is shipped.

    Attributes
    ----------
    trained : str
        A folder with ``L.student``, ``B.student`` and ``S.student``; empty: those in the package stay.
    """

    trained: str = ""


def run(options: Options) -> Result:
    """Copy the students; write cards, credits, golden values and the README's rows about them."""
    data = shared_folder() / "data"
    rows = []
    for name, trained in STUDENTS.items():
        target = DATA / f"{name}.student"
        if options.trained:
            read_student(Path(options.trained) / f"{trained}.student")  # checked before it replaces another
            shutil.copyfile(Path(options.trained) / f"{trained}.student", target)
        (DATA / f"{name}.md").write_text(card(name, *learned_from(data)), encoding="utf-8")
        student = l3clf.load_embedder(name)
        rows.append((name, student.fingerprint, target.stat().st_size, "yes" if figures_of(name) else "no"))
    (DATA / CREDITS).write_text(credits_of(data), encoding="utf-8")
    README.write_text(with_rows(README.read_text(encoding="utf-8")), encoding="utf-8")
    make_shipped.main()
    columns = ("student", ""), ("fingerprint", ""), ("bytes", ",d"), ("measured (l3mini_table)", "")
    return Result((Table("In the package", columns, tuple(rows)),))


def figures_of(name: str) -> dict[str, dict[str, float]]:
    """Return what `l3mini_table` found for a student, by precision and heading; nothing if it measured another."""
    found = {}
    for precision in ("float32", "int8"):
        fingerprint = l3clf.load_embedder(name, precision=precision).fingerprint
        for row in _recorded():
            if (row.get("frozen embedder"), row.get("fingerprint")) == (f"{name}, {precision}", fingerprint):
                figures = {heading: cell.median if isinstance(cell, Timing) else cell for heading, cell in row.items()}
                found[precision] = {heading: cell for heading, cell in figures.items() if isinstance(cell, float)}
    return found if len(found) == 2 else {}


def _recorded() -> Iterator[dict[str, Cell]]:
    """What each record says about each embedder, by heading, from all its tables."""
    for path in sorted(RECORDED.glob("l3mini_table*.json")):
        found: dict[Cell, dict[str, Cell]] = {}
        for table in load_record(path).result.tables:
            headings = [heading for heading, _ in table.columns]
            for row in table.rows:
                found.setdefault(row[0], {}).update(zip(headings, row, strict=True))
        yield from found.values()


# --- the README's table ----------------------------------------------------------------------------


def with_rows(text: str) -> str:
    """Return a README with what its table says about these students; a speed that was not measured stays.

    Parameters
    ----------
    text : str
        Of the README of before.
    """
    lines = text.split("\n")
    for name in STUDENTS:
        for precision, first in (("float32", f"`{name}`"), ("int8", f'`{name}`, `precision="int8"`')):
            for i, line in enumerate(lines):
                if line.startswith(f"| {first} |"):
                    lines[i] = _row(name, precision, line)
    return "\n".join(lines)


def _row(name: str, precision: str, before: str) -> str:
    student = cast(Student, l3clf.load_embedder(name, precision=precision))
    cells = [cell.strip() for cell in before.strip("|").split("|")]
    figures = figures_of(name).get(precision, {})
    cells[1:3] = (f"{100 * figures[heading]:.2f} %" if figures else "" for heading in (ESC10, FSDD))
    if SPEED in figures:
        cells[5] = f"{figures[SPEED]:,.1f}"
    cells[4] = f"{student.embedding_size:,}"
    number = student.about["parameters"] if precision == "float32" else len(student.tflite)
    cells[6] = re.sub(r"[\d,]+(?= (parameters|bytes))", f"{number:,}", cells[6])
    return re.sub(" +", " ", f"| {' | '.join(cells)} |")


# --- the card --------------------------------------------------------------------------------------

CARD = """A student CNN {use}: {parameters:,} parameters, {macs:.2f} M multiply-accumulates per window, int8 file of
{int8_bytes:,} bytes. Its embedding has {size} values, half-whitened components of its teachers' embeddings: {parts}.
**Its teachers are these models, not OpenL3.**

**Training data**: {clips:,} openly licensed clips ({hours:.1f} h, none under share-alike licences; makers:
[{credits}]({credits})), words spoken by espeak-ng and flite, and synthetic sounds, mixed, filtered and stretched anew
for each of {windows:,} windows, of which none was heard twice. No recording of ESC-50 (and so of ESC-10) or of FSDD was
used for training or quantisation: the clips were compared with ESC-50 by id and by audio fingerprint, with UrbanSound8K
by id only. Ten clips are read speech from LibriSpeech's test-other.

**Training**: the commands are in `benchmarks/l3mini/README.md`, everything that was tried is in
`benchmarks/l3mini/labbook.md`. Learned as well, through layers
that were dropped afterwards: {others}.{started}

{accuracy} A linear layer on its embedding, fitted on training windows, gives the teachers' vectors of held-out
clips with mean cosines of {cosines}.

{tuned}

**Limits**: A window is 0.975 s at 16 kHz, and nothing above 7.6 kHz is used. The training sounds are game sounds, field
recordings, everyday objects, music, read and synthetic speech; {name} represents what is rare among them (industrial
machines, babies, coughs, far-field speech) less well. It has not been tested on children's voices, nor for any use that
safety depends on.

**Licence**: MIT, as the package; its teachers are under MIT and Apache-2.0 (see NOTICE)."""


def card(name: str, n_clips: int, hours: float) -> str:
    """Return the model card of a student in the package.

    Parameters
    ----------
    name : str
    n_clips, hours : int, float
        Of the pools, without what is under share-alike licences.
    """
    student = cast(Student, l3clf.load_embedder(name))
    about, taught = student.about, student.about["teachers"]
    others = [words for other, words in TEACHERS.items() if other not in taught]
    text = CARD.format(
        name=name,
        use=FOR[name],
        parameters=about["parameters"],
        macs=about["macs"] / 1e6,
        int8_bytes=len(student.tflite),
        size=student.embedding_size,
        parts=_listed(f"{size} of {TEACHERS[name]}" for name, size in zip(taught, about["parts"], strict=True)),
        clips=n_clips,
        hours=hours,
        credits=CREDITS,
        windows=about["windows"],
        started=STARTED.get(name, ""),
        others=_listed(others),
        accuracy=_accuracy(name),
        tuned=_fine_tuned(name),
        cosines=_listed(
            f"{value:.3f} ({words})" for value, words in zip(about["read_out_cosine"], TEACHERS.values(), strict=True)
        ),
    )
    head, *points = filter(str.strip, text.split("\n\n"))
    lines = [f"# {name}", "", *_wrapped(head, ""), "", *(line for point in points for line in _wrapped(point, "- "))]
    return "\n".join(lines) + "\n"


def _accuracy(name: str) -> str:
    found = figures_of(name)
    if not found:
        return "**Accuracy**: not measured yet (`python -m benchmarks run l3mini_table`)."
    sets = {"ESC-10": ESC10, "FSDD with speakers left out and a hop of 0.1 s": FSDD}
    texts = []
    for words, heading in sets.items():
        floats, integers = (100 * found[precision][heading] for precision in ("float32", "int8"))
        texts.append(f"{words} {floats:.2f} % (int8 {integers:.2f})")
    return (
        "**Accuracy** (`python -m benchmarks run l3mini_table`; frozen, mean pooling, logistic regression): "
        f"{', '.join(texts)}; one standard error of ESC-10 is 1.2 points."
    )


def _fine_tuned(name: str) -> str:
    """Return what `student_gains` found for a student, from all its records; nothing if none started from it."""
    fingerprint = l3clf.load_embedder(name).fingerprint
    tables = [table for path in RECORDED.glob("student_gains*.json") for table in load_record(path).result.tables]
    found = [
        f"{row['data']} {100 * mean:.2f} %"
        for table in tables
        for row in (dict(zip([heading for heading, _ in table.columns], row, strict=True)) for row in table.rows)
        if row.get("started from") == fingerprint and isinstance(mean := row["mean accuracy"], float)
    ]
    how = "(`python -m benchmarks run student_gains`, mean of the seeds, beside its teachers' embeddings)"
    return f"**Fine-tuned with the labels of a task** {how}: {_listed(found)}." if found else ""


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _wrapped(text: str, bullet: str) -> list[str]:
    """Lines of a paragraph, each at most 120 characters."""
    wrapper = textwrap.TextWrapper(120, bullet, " " * len(bullet), break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(" ".join(text.split()))


if __name__ == "__main__":
    say(markdown(run(apply_settings(Options, sys.argv[1:]))))
