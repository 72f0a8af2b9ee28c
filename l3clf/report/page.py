"""The HTML page: its sections and its file.

Rule: a section without content is left out; a picture that cannot be read is replaced by a sentence.
"""

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template

from l3clf.errors import counted
from l3clf.report.contents import Floors, Row
from l3clf.report.html_table import results
from l3clf.report.markup import Html, data, data_uri, escaped, join, tag
from l3clf.report.players import Mistake, mistakes_list
from l3clf.report.unlearned import unlearned_section
from l3clf.report.writers import write_text

__all__ = ["Page", "write_html"]

_LONG_LIST = 10  # lines; a longer list is collapsed
_PHONE = "(max-width: 40rem)"  # as in page.css
_PICTURE_DPI = 150  # of our plots; CSS counts 96 pixels an inch


@dataclass(frozen=True)
class Page:
    """Contents of the report.

    Attributes
    ----------
    title : str
    summary : str
        One or two sentences about the best row.
    rows : sequence of mappings
        The table, best first; keys are `COLUMNS`, scores are fractions from 0 to 1.
    floors : sequence of (name, accuracy)
        Trivial baselines, such as ``("always the largest class", 0.1)``.
    description : sequence of (name, value)
        Properties of the data set.
    notes : sequence of str
        How the data was split, and warnings.
    unlearned : sequence of mappings
        Rows of the table about classes that were left out; see `unlearned_section`.
    pictures : sequence of (path, caption) or (path, caption, narrow)
        PNG files; narrow is the content of another one, which screens of the width of a phone's show instead.
    mistakes : sequence of Mistake
        The most confident first; the first twenty are shown.
    failures : sequence of str
        One sentence for each clip that could not be read.
    commands : sequence of str
        Commands that reproduce the page.
    versions : mapping of str to str
        Versions of the software.
    """

    title: str
    summary: str = ""
    rows: Sequence[Row] = ()
    floors: Floors = ()
    description: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    unlearned: Sequence[Row] = ()
    pictures: Sequence[tuple[str | os.PathLike[str], str] | tuple[str | os.PathLike[str], str, bytes | None]] = ()
    mistakes: Sequence[Mistake] = ()
    failures: Sequence[str] = ()
    commands: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def write_html(page: Page, out: str | os.PathLike[str]) -> Path:
    """Write the page as one self-contained file.

    Parameters
    ----------
    page : Page
    out : path
        The file to write; its folder is created if necessary.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ParameterError
        If the file cannot be written.
    """
    files = resources.files("l3clf.report")
    # string.Template, because str.format would take the braces of CSS for fields.
    skeleton = Template(files.joinpath("page.html").read_text("utf-8"))
    sections = [section for section in _sections(page) if section]
    filled = skeleton.substitute(
        title=escaped(page.title),
        style=files.joinpath("page.css").read_text("utf-8"),
        summary=escaped(page.summary.replace(" %", "\u00a0%")),
        links=join(tag("a", heading, href=f"#{key}") for key, heading, _ in sections),
        sections="\n".join(_section(*section) for section in sections),
    )
    return write_text(out, filled)


def _sections(page: Page) -> list[tuple[str, str, Html]]:
    """Return key, heading and content of each section that has content."""
    sections = [
        ("results", "Results", results(page.rows, page.floors)),
        ("notes", "How it was measured", _list(page.notes)),
        ("unlearned", "Sounds that were never learned", unlearned_section(page.unlearned)),
        ("pictures", "Pictures", join(_picture(*picture) for picture in page.pictures)),
        ("mistakes", "Worst mistakes", mistakes_list(page.mistakes)),
        ("data", "Data set", _pairs(page.description)),
        ("failures", "Clips left out", _failures(page.failures)),
        ("reproduce", "Reproduce", join(tag("pre", tag("code", command), dir="ltr") for command in page.commands)),
        ("versions", "Versions", _pairs(tuple(page.versions.items()))),
    ]
    return [section for section in sections if section[2]]


def _section(key: str, heading: str, content: Html) -> Html:
    return tag("section", tag("h2", heading, id=f"{key}-heading"), content, id=key, aria_labelledby=f"{key}-heading")


def _list(sentences: Sequence[str]) -> Html:
    items = join(tag("li", sentence) for sentence in sentences)
    return tag("ul", items) if items else items


def _pairs(pairs: Sequence[tuple[str, str]]) -> Html:
    items = join(tag("div", tag("dt", name), tag("dd", data(value))) for name, value in pairs)
    return tag("dl", items) if items else items


def _failures(failures: Sequence[str]) -> Html:
    if len(failures) <= _LONG_LIST:
        return _list(failures)
    return tag("details", tag("summary", f"{counted(len(failures), 'clip')} could not be read"), _list(failures))


def _picture(path: str | os.PathLike[str], caption: str, narrow: bytes | None = None) -> Html:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return tag("p", f"The picture {path} cannot be read ({error.strerror}): {caption}")
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return tag("p", f"The picture {path} is not a PNG: {caption}")
    # A PNG states its size in bytes 16 to 24; with it, the page does not move while pictures are decoded.
    width, height = (str(round(side * 96 / _PICTURE_DPI)) for side in _size(content))
    image = tag("img", src=data_uri("image/png", content), alt=caption, width=width, height=height)
    if narrow is not None:
        width, height = map(str, _size(narrow))
        source = data_uri("image/png", narrow)
        image = tag("picture", tag("source", media=_PHONE, srcset=source, width=width, height=height), image)
    return tag("figure", tag("div", image, class_="card", tabindex="0"), tag("figcaption", caption))


def _size(png: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", png[16:24])
    return width, height
