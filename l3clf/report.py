"""The report: one HTML page that opens from disk, and the same table for a terminal and for machines.

Rule: whatever comes from data is escaped where it becomes HTML, in `_tag` and nowhere else, so that no
label or file name can be forgotten. The page holds everything it shows, runs no script and asks no
network for anything; a clip or picture that cannot be read costs its place in the page, never the page.
"""

import base64
import csv
import html
import io
import json
import math
import os
import re
import secrets
import struct
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, TypeAlias

import numpy as np
import soundfile

from l3clf.audio import Clip, duration_s, load
from l3clf.errors import AudioError, ParameterError

__all__ = ["Mistake", "Page", "table_text", "write_csv", "write_html", "write_json"]

Row: TypeAlias = Mapping[str, Any]
Floors: TypeAlias = Sequence[tuple[str, float]]

NAMES = ("embedder", "head", "pooling")
METRICS = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro F1"}
SPEEDS = {"seconds": "Seconds", "clips_per_s": "Clips/s"}
COLUMNS = (*NAMES, *(key + end for key in METRICS for end in ("", "_std", "_low", "_high")), *SPEEDS)
"""The keys of a row, in the order in which every file has them."""

MOST_PLAYERS = 20
LONGEST_PLAYER_S = 10.0
TERMINAL_COLUMNS = 100
_LONG_TABLE = 30  # rows, from which the table scrolls under its own header
_LONG_LIST = 10  # lines, from which a list is folded away
_PLAYER_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # what MP3 can have
_PICTURE_DPI = 150
_NOTHING = "–"

# Control characters, marks that turn the direction of text, halves of characters (bytes in file names
# that are no UTF-8): shown as escapes. Tabs and line ends stay.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Mistake:
    """A clip that the model took for another class.

    Attributes
    ----------
    clip : Clip
    truth, predicted : str
        The clip's class, and the one it was taken for.
    probability : float
        The model's probability of `predicted`, from 0 to 1.
    """

    clip: Clip
    truth: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Page:
    """What the report says.

    Attributes
    ----------
    title : str
    summary : str
        The best row in one or two sentences.
    rows : sequence of mappings
        The table, best first; keys are `COLUMNS`, scores are fractions from 0 to 1.
    floors : sequence of (name, accuracy)
        What is reached without listening, such as ``("always the largest class", 0.1)``.
    description : sequence of (name, value)
        Of the data set.
    notes : sequence of str
        How the data was split, and warnings.
    pictures : sequence of (path, caption)
        PNG files.
    mistakes : sequence of Mistake
        Worst first; the first twenty are shown.
    failures : sequence of str
        A sentence for each clip that could not be read.
    commands : sequence of str
        What to type to get this page again.
    versions : mapping of str to str
        Of the software.
    """

    title: str
    summary: str = ""
    rows: Sequence[Row] = ()
    floors: Floors = ()
    description: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    pictures: Sequence[tuple[str | os.PathLike[str], str]] = ()
    mistakes: Sequence[Mistake] = ()
    failures: Sequence[str] = ()
    commands: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------- what it writes


def write_html(page: Page, out: str | os.PathLike[str]) -> Path:
    """Write the page as one file that needs nothing else.

    Parameters
    ----------
    page : Page
    out : path
        The folder is made if need be; the file appears whole or not at all.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ParameterError
        If the file cannot be written.
    """
    files = resources.files("l3clf")
    skeleton = Template(files.joinpath("report_page.html").read_text("utf-8"))
    sections = [section for section in _sections(page) if section]
    filled = skeleton.substitute(
        title=_escaped(page.title),
        style=files.joinpath("report_page.css").read_text("utf-8"),
        summary=_escaped(page.summary.replace(" %", "\u00a0%")),
        links=_join(_tag("a", heading, href=f"#{key}") for key, heading, _ in sections),
        sections="\n".join(_section(*section) for section in sections),
    )
    return _write(out, filled)


def write_csv(rows: Sequence[Row], out: str | os.PathLike[str]) -> Path:
    """Write the table as CSV (UTF-8): fractions in full precision, empty where there is no number.

    The columns are `COLUMNS`, then other keys as they first appear.

    Raises
    ------
    ParameterError
        If the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _keys(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)
    return _write(out, text.getvalue())


def write_json(
    rows: Sequence[Row],
    out: str | os.PathLike[str],
    *,
    floors: Floors = (),
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write the table as JSON: fractions in full precision, null where there is no number.

    Parameters
    ----------
    rows : sequence of mappings
    out : path
    floors : sequence of (name, accuracy)
    more : mapping, optional
        Further entries of the outermost object, such as ``{"versions": {...}}``.

    Raises
    ------
    ParameterError
        If the file cannot be written, or `more` holds what JSON cannot.
    """
    keys = _keys(rows)
    content = {
        "rows": [{key: row.get(key) for key in keys} for row in rows],
        "floors": [{"name": name, "accuracy": value} for name, value in floors],
        **(more or {}),
    }
    try:
        text = json.dumps(_plain(content), indent=1, allow_nan=False)
    except TypeError as error:
        raise ParameterError(f"more={more!r}: {error}; expected numbers, text, lists and mappings") from None
    return _write(out, text + "\n")


def table_text(rows: Sequence[Row], floors: Floors = ()) -> str:
    """Lay the table out for a terminal of 100 columns; names that are too long lose their middle.

    Parameters
    ----------
    rows : sequence of mappings
    floors : sequence of (name, accuracy)

    Returns
    -------
    str
        Each row has two lines: the scores, and below them their intervals.

    Examples
    --------
    >>> row = dict(embedder="mfcc", head="forest", pooling="mean", accuracy=0.775, accuracy_std=0.021, seconds=8.25)
    >>> print(table_text([row]))
    embedder  head    pooling    accuracy  balanced  macro F1  seconds  clips/s
    mfcc      forest  mean     77.5 ± 2.1         –         –      8.2        –
    Percent ± standard deviation over folds; below it the [95 % interval].
    """
    head = ["embedder", "head", "pooling", "accuracy", "balanced", "macro F1", "seconds", "clips/s"]
    lines = [head, *(line for row in rows for line in _terminal_lines(row))]
    foot = [[_cell(name), _percent(value)] for name, value in floors]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    widths[3] = max([widths[3], *(_width(value) for _, value in foot)])
    _narrow(widths)
    laid = [_laid_out(line, widths) for line in lines]
    laid += [_laid_out(line, [sum(widths[:3]) + 4, widths[3]], n_left=1) for line in foot]
    return "\n".join([*filter(None, laid), "Percent ± standard deviation over folds; below it the [95 % interval]."])


# ---------------------------------------------------------------------------------------------- numbers and text


def _known(value: object) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def _percent(value: object) -> str:
    return f"{100 * float(value):.1f}" if _known(value) else _NOTHING  # type: ignore[arg-type]


def _score(row: Row, key: str) -> str:
    """Such as "77.5 ± 2.1"."""
    spread = row.get(f"{key}_std")
    return _percent(row.get(key)) + (f" ± {_percent(spread)}" if _known(spread) else "")


def _interval(row: Row, key: str) -> str:
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    return f"[{_percent(low)}, {_percent(high)}]" if _known(low) and _known(high) else ""


def _amount(value: Any) -> str:
    """Seconds or a speed: as many digits as one reads."""
    if not _known(value):
        return _NOTHING
    if abs(value) >= 1e7:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _plain(value: Any) -> Any:
    """What JSON and CSV can hold exactly: NumPy's numbers as Python's, and None for what is no number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _keys(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)]))


def _clean(text: object) -> str:
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def _cell(text: object) -> str:
    """Text for one place in a terminal."""
    return " ".join(_clean(_NOTHING if text is None else text).split())


def _width(text: str) -> int:
    """Columns that text takes in a terminal."""
    marks = sum(unicodedata.category(char) in ("Mn", "Me", "Cf") for char in text)
    return len(text) - marks + sum(unicodedata.east_asian_width(char) in "WF" for char in text)


def _fitted(text: str, width: int) -> str:
    """Take out the middle of a text that is too wide."""
    if _width(text) <= width:
        return text
    cuts = (text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :] for keep in range(width - 1, -1, -1))
    return next(cut for cut in cuts if _width(cut) <= width)


def _narrow(widths: list[int]) -> None:
    """Take from the widest of the three columns of names until all columns fit, two spaces apart."""
    room = max(3, TERMINAL_COLUMNS - 2 * (len(widths) - 1) - sum(widths[3:]))
    widths[:3] = [min(width, TERMINAL_COLUMNS) for width in widths[:3]]
    while sum(widths[:3]) > room:
        widths[widths.index(max(widths[:3]))] -= 1


def _terminal_lines(row: Row) -> list[list[str]]:
    names = [_cell(row.get(key)) for key in NAMES]
    speeds = [_amount(row.get(key)) for key in SPEEDS]
    scores, intervals = [_score(row, key) for key in METRICS], [_interval(row, key) for key in METRICS]
    return [[*names, *scores, *speeds], ["", "", "", *intervals, "", ""]]


def _laid_out(cells: Sequence[str], widths: Sequence[int], n_left: int = 3) -> str:
    """Put cells side by side, the first ones to the left of their columns and numbers to the right."""
    laid = []
    for place, (text, width) in enumerate(zip(cells, widths, strict=True)):
        shown = _fitted(text, width)
        space = " " * (width - _width(shown))
        laid.append(shown + space if place < n_left else space + shown)
    return "  ".join(laid).rstrip()


def _write(out: str | os.PathLike[str], text: str) -> Path:
    """Write beside the target and rename: no half files, and none lost."""
    path = Path(out)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
        part.replace(path)
    except OSError as error:
        with suppress(OSError):  # its folder may be what is wrong
            part.unlink()
        raise ParameterError(f"the file {path} cannot be written: {error.strerror}") from error
    return path


# ---------------------------------------------------------------------------------------------- HTML


class _Html(str):
    """Text that is HTML already; every other text is escaped on its way into the page."""

    __slots__ = ()


def _escaped(text: str) -> _Html:
    return text if isinstance(text, _Html) else _Html(html.escape(_clean(text)))


def _join(parts: Iterable[str]) -> _Html:
    return _Html("".join(map(_escaped, parts)))


def _tag(name: str, *children: str, **attributes: str) -> _Html:
    """Make an element; `class_` and `aria_label` are the attributes class and aria-label."""
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{_escaped(text)}"' for key, text in attributes.items())
    closing = "" if name == "img" else f"{_join(children)}</{name}>"
    return _Html(f"<{name}{pairs}>{closing}")


def _data(text: object) -> _Html:
    """A label, path or name: right-to-left letters in it turn nothing around it."""
    return _tag("bdi", _NOTHING if text is None else str(text))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _sections(page: Page) -> list[tuple[str, str, _Html]]:
    """Key, heading and content of each section; those without content are left out."""
    sections = [
        ("results", "Results", _results(page)),
        ("notes", "How it was measured", _list(page.notes)),
        ("pictures", "Pictures", _join(_picture(path, caption) for path, caption in page.pictures)),
        ("mistakes", "Worst mistakes", _mistakes(page.mistakes)),
        ("data", "Data set", _pairs(page.description)),
        ("failures", "Clips left out", _failures(page.failures)),
        ("reproduce", "Reproduce", _join(_tag("pre", _tag("code", command), dir="ltr") for command in page.commands)),
        ("versions", "Versions", _pairs(tuple(page.versions.items()))),
    ]
    return [section for section in sections if section[2]]


def _section(key: str, heading: str, content: _Html) -> _Html:
    return _tag("section", _tag("h2", heading, id=f"{key}-heading"), content, id=key, aria_labelledby=f"{key}-heading")


def _list(sentences: Sequence[str]) -> _Html:
    items = _join(_tag("li", sentence) for sentence in sentences)
    return _tag("ul", items) if items else items


def _pairs(pairs: Sequence[tuple[str, str]]) -> _Html:
    items = _join(_tag("div", _tag("dt", name), _tag("dd", _data(value))) for name, value in pairs)
    return _tag("dl", items) if items else items


def _failures(failures: Sequence[str]) -> _Html:
    if len(failures) <= _LONG_LIST:
        return _list(failures)
    return _tag("details", _tag("summary", f"{len(failures):,} clips could not be read"), _list(failures))


# ---------------------------------------------------------------------------------------------- the table


def _results(page: Page) -> _Html:
    if not page.rows:
        return _tag("p", "There is no result: nothing could be cross-validated.")
    heads = ["Embedder, head, pooling", *METRICS.values(), *SPEEDS.values()]
    head = _tag("tr", *(_tag("th", text, scope="col") for text in heads))
    body = _join(_row(row, "best" if number == 0 else "") for number, row in enumerate(page.rows))
    foot = _join(_floor(name, value) for name, value in page.floors)
    table = _tag("table", _tag("thead", head), _tag("tbody", body), _tag("tfoot", foot), style=_marks(page))
    frame = "frame long" if len(page.rows) > _LONG_TABLE else "frame"
    framed = _tag("div", table, class_=frame, tabindex="0", role="region", aria_label="Table of results")
    return _join([framed, _legend(page)])


def _row(row: Row, kind: str) -> _Html:
    embedder, head, pooling = (_data(row.get(key)) for key in NAMES)
    name = _tag("th", embedder, _tag("div", head, ", ", pooling, class_="quiet"), scope="row")
    scores = (_tag("td", *_score_parts(row, key)) for key in METRICS)
    speeds = (_tag("td", _amount(row.get(key))) for key in SPEEDS)
    return _tag("tr", name, *scores, *speeds, class_=kind)


def _score_parts(row: Row, key: str) -> list[_Html]:
    """The score, its interval, and for the accuracy, which the floors are of, a bar."""
    parts = [_tag("span", _score(row, key), class_="score"), _tag("span", _interval(row, key), class_="quiet")]
    return [*parts, _bar(row)] if key == "accuracy" else parts


def _bar(row: Row) -> _Html:
    """Where the interval lies between 0 and 100 %: for the eye alone, the numbers stand beside it."""
    at = row.get("accuracy")
    ends = {"low": row.get("accuracy_low"), "high": row.get("accuracy_high")}
    places = [("at", at), *((key, end if _known(end) else at) for key, end in ends.items())]
    return _tag("div", class_="bar", style=_places(places), aria_hidden="true") if _known(at) else _Html()


def _places(places: Iterable[tuple[str, object]]) -> str:
    return ";".join(f"--{key}:{_percent(value)}%" for key, value in places if _known(value))


def _marks(page: Page) -> str:
    """What every bar shows besides its own row: the highest floor, and the best row's interval."""
    best, floors = page.rows[0], [value for _, value in page.floors if _known(value)]
    band = [("best-low", best.get("accuracy_low")), ("best-high", best.get("accuracy_high"))]
    return _places([("floor-at", max(floors, default=None)), *band])


def _floor(name: str, value: float) -> _Html:
    score = _tag("td", _tag("span", _percent(value), class_="score"), _bar({"accuracy": value}))
    return _tag("tr", _tag("th", name, scope="row"), score, _tag("td", colspan="4"))


def _legend(page: Page) -> _Html:
    floor = " The orange line is what is reached without listening." if page.floors else ""
    return _tag(
        "p",
        "Scores in percent, ± their standard deviation over the folds; in brackets the 95 % interval. "
        "A bar runs from 0 to 100 %: a tick at the accuracy, on its interval. The pale band is the interval of "
        f"the best row: an interval that reaches into it may well belong to an equally good row.{floor}",
        class_="legend",
    )


# ---------------------------------------------------------------------------------------------- pictures, players


def _picture(path: str | os.PathLike[str], caption: str) -> _Html:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return _tag("p", f"The picture {path} cannot be read ({error.strerror}): {caption}")
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return _tag("p", f"The picture {path} is no PNG: {caption}")
    width, height = (str(round(side * 96 / _PICTURE_DPI)) for side in struct.unpack(">II", content[16:24]))
    image = _tag("img", src=_data_uri("image/png", content), alt=caption, width=width, height=height)
    return _tag("figure", _tag("div", image, class_="card", tabindex="0"), _tag("figcaption", caption))


def _mistakes(mistakes: Sequence[Mistake]) -> _Html:
    if not mistakes:
        return _Html()
    shown = mistakes[:MOST_PLAYERS]
    folder = _common_folder(mistake.clip.path for mistake in shown)
    which = f"The {len(shown)} worst of {len(mistakes):,} mistakes" if len(mistakes) > len(shown) else "Mistakes"
    parts: list[str] = [f"{which}, the surest first: in percent, the model's probability of the wrong class."]
    parts += [" Paths start at ", _tag("code", folder, dir="ltr"), "."] if folder else []
    cards = _join(_mistake(mistake, folder) for mistake in shown)
    return _join([_tag("p", *parts), _tag("ol", cards, class_="mistakes")])


def _common_folder(paths: Iterable[str]) -> str:
    """The folder that all paths share, as they were given; empty if that is none or the root."""
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120  # Path would tidy them
    except ValueError:  # some are absolute and some not, or they are on several drives
        return ""
    return folder if Path(folder).name else ""


def _mistake(mistake: Mistake, folder: str) -> _Html:
    name = str(mistake.clip).removeprefix(folder).lstrip("/\\") if folder else str(mistake.clip)
    truth, predicted = _tag("b", _data(mistake.truth)), _tag("b", _data(mistake.predicted))
    verdict = _tag("p", truth, " taken for ", predicted, f", {_percent(mistake.probability)}\u00a0%")
    return _tag("li", verdict, _player(mistake.clip, name), _tag("p", _data(name), class_="path"))


def _player(clip: Clip, name: str) -> _Html:
    try:
        heard, note = _piece(clip)
        source = _sound(heard)
    except AudioError as error:
        return _tag("p", f"No player: {error}", class_="path")
    return _join([_tag("audio", controls="", preload="none", src=source, aria_label=f"Clip {name}"), note])


def _piece(clip: Clip) -> tuple[Clip, _Html]:
    """As much of a clip as is played, and a line that says so where it is not all."""
    length_s = duration_s(clip)
    if length_s <= LONGEST_PLAYER_S:
        return clip, _Html()
    note = _tag("p", f"The first {LONGEST_PLAYER_S:g} s of {length_s:,.1f} s", class_="path")
    return Clip(clip.path, clip.start_s, clip.start_s + LONGEST_PLAYER_S), note


def _sound(clip: Clip) -> str:
    """A clip as a data URI, at a sample rate that MP3 has."""
    samples, rate = load(clip)
    if rate not in _PLAYER_RATES_HZ:
        samples, rate = load(clip, next((r for r in _PLAYER_RATES_HZ if r > rate), _PLAYER_RATES_HZ[-1]))
    encoding, kind = ("MP3", "audio/mpeg") if "MP3" in soundfile.available_formats() else ("WAV", "audio/wav")
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), rate, format=encoding)  # WAV is 16-bit unless told otherwise
    return _data_uri(kind, file.getvalue())
