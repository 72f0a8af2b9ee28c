"""The table of results in the page.

Rule: colours and bars are visual only; every number that they show is also printed as text.
"""

from collections.abc import Iterable, Sequence

from l3clf.report.contents import NAMES, SPEEDS, Floors, Row, amount, interval, known, metrics_of, percent, score
from l3clf.report.markup import Html, data, join, tag

__all__ = ["results"]

_LONG_TABLE = 30  # rows; a longer table scrolls under its own header


def results(rows: Sequence[Row], floors: Floors) -> Html:
    """Return the table, best row first, and its legend."""
    if not rows:
        return tag("p", "There are no results: nothing could be cross-validated.")
    metrics = metrics_of(rows)
    lead = next(iter(metrics))
    heads = ["Embedder, head, pooling", *metrics.values(), *SPEEDS.values()]
    head = tag("tr", *(tag("th", text, scope="col") for text in heads))
    body = join(_row(row, metrics, "best" if number == 0 else "") for number, row in enumerate(rows))
    foot = join(_floor(name, lead, value) for name, value in floors)
    table = tag("table", tag("thead", head), tag("tbody", body), tag("tfoot", foot), style=_marks(rows, lead, floors))
    frame = "frame long" if len(rows) > _LONG_TABLE else "frame"
    framed = tag("div", table, class_=frame, tabindex="0", role="region", aria_label="Table of results")
    return join([framed, _legend(metrics[lead].lower(), floors)])


def _row(row: Row, metrics: Iterable[str], kind: str) -> Html:
    embedder, head, pooling = (data(row.get(key)) for key in NAMES)
    name = tag("th", embedder, tag("div", head, ", ", pooling, class_="quiet"), scope="row")
    lead, *others = metrics
    # The floors are of the first score only, and so is the bar.
    scores = [tag("td", *_score_parts(row, lead), _bar(row, lead)), *(tag("td", *_score_parts(row, k)) for k in others)]
    speeds = (tag("td", amount(row.get(key))) for key in SPEEDS)
    return tag("tr", name, *scores, *speeds, class_=kind)


def _score_parts(row: Row, key: str) -> list[Html]:
    """Return the score and its interval."""
    return [tag("span", score(row, key), class_="score"), tag("span", interval(row, key), class_="quiet")]


def _bar(row: Row, key: str) -> Html:
    # Hidden from screen readers: the numbers are beside it.
    at = row.get(key)
    ends = {end: row.get(f"{key}_{end}") for end in ("low", "high")}
    places = [("at", at), *((name, end if known(end) else at) for name, end in ends.items())]
    return tag("div", class_="bar", style=_places(places), aria_hidden="true") if known(at) else Html()


def _places(places: Iterable[tuple[str, object]]) -> str:
    # Custom properties, which page.css turns into the bar's gradients.
    return ";".join(f"--{key}:{percent(value)}%" for key, value in places if known(value))


def _marks(rows: Sequence[Row], lead: str, floors: Floors) -> str:
    """Return what every bar shows besides its own row: the highest floor and the best row's interval."""
    best, reached = rows[0], [value for _, value in floors if known(value)]
    band = [(f"best-{end}", best.get(f"{lead}_{end}")) for end in ("low", "high")]
    return _places([("floor-at", max(reached, default=None)), *band])


def _floor(name: str, lead: str, value: float) -> Html:
    reached = tag("td", tag("span", percent(value), class_="score"), _bar({lead: value}, lead))
    return tag("tr", tag("th", name, scope="row"), reached, tag("td", colspan="4"))


def _legend(lead: str, floors: Floors) -> Html:
    floor = " The orange line marks the best trivial baseline (last rows)." if floors else ""
    text = (
        "Scores in percent ± standard deviation over the folds; the 95 % interval is in brackets. "
        f"Each bar runs from 0 to 100 % and shows the {lead} as a tick and its interval in blue. The pale band is "
        f"the interval of the best row: a row whose interval overlaps it may be equally good.{floor}"
    )
    return tag("p", text, class_="legend")
