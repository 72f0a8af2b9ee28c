"""The table of results in the page.

Rule: colours and bars are visual only; every number that they show is also printed as text.
"""

from collections.abc import Iterable, Sequence

from l3clf.report.contents import METRICS, NAMES, SPEEDS, Floors, Row, amount, interval, known, percent, score
from l3clf.report.markup import Html, data, join, tag

__all__ = ["results"]

_LONG_TABLE = 30  # rows; a longer table scrolls under its own header


def results(rows: Sequence[Row], floors: Floors) -> Html:
    """Return the table, best row first, and its legend."""
    if not rows:
        return tag("p", "There are no results: nothing could be cross-validated.")
    heads = ["Embedder, head, pooling", *METRICS.values(), *SPEEDS.values()]
    head = tag("tr", *(tag("th", text, scope="col") for text in heads))
    body = join(_row(row, "best" if number == 0 else "") for number, row in enumerate(rows))
    foot = join(_floor(name, value) for name, value in floors)
    table = tag("table", tag("thead", head), tag("tbody", body), tag("tfoot", foot), style=_marks(rows, floors))
    frame = "frame long" if len(rows) > _LONG_TABLE else "frame"
    framed = tag("div", table, class_=frame, tabindex="0", role="region", aria_label="Table of results")
    return join([framed, _legend(floors)])


def _row(row: Row, kind: str) -> Html:
    embedder, head, pooling = (data(row.get(key)) for key in NAMES)
    name = tag("th", embedder, tag("div", head, ", ", pooling, class_="quiet"), scope="row")
    scores = (tag("td", *_score_parts(row, key)) for key in METRICS)
    speeds = (tag("td", amount(row.get(key))) for key in SPEEDS)
    return tag("tr", name, *scores, *speeds, class_=kind)


def _score_parts(row: Row, key: str) -> list[Html]:
    """Return the score, its interval and, for the accuracy only (the floors are accuracies), a bar."""
    parts = [tag("span", score(row, key), class_="score"), tag("span", interval(row, key), class_="quiet")]
    return [*parts, _bar(row)] if key == "accuracy" else parts


def _bar(row: Row) -> Html:
    # Hidden from screen readers: the numbers are beside it.
    at = row.get("accuracy")
    ends = {"low": row.get("accuracy_low"), "high": row.get("accuracy_high")}
    places = [("at", at), *((key, end if known(end) else at) for key, end in ends.items())]
    return tag("div", class_="bar", style=_places(places), aria_hidden="true") if known(at) else Html()


def _places(places: Iterable[tuple[str, object]]) -> str:
    # Custom properties, which page.css turns into the bar's gradients.
    return ";".join(f"--{key}:{percent(value)}%" for key, value in places if known(value))


def _marks(rows: Sequence[Row], floors: Floors) -> str:
    """Return what every bar shows besides its own row: the highest floor and the best row's interval."""
    best, reached = rows[0], [value for _, value in floors if known(value)]
    band = [("best-low", best.get("accuracy_low")), ("best-high", best.get("accuracy_high"))]
    return _places([("floor-at", max(reached, default=None)), *band])


def _floor(name: str, value: float) -> Html:
    reached = tag("td", tag("span", percent(value), class_="score"), _bar({"accuracy": value}))
    return tag("tr", tag("th", name, scope="row"), reached, tag("td", colspan="4"))


def _legend(floors: Floors) -> Html:
    floor = " The orange line marks the best trivial baseline (last rows)." if floors else ""
    text = (
        "Scores in percent ± standard deviation over the folds; the 95 % interval is in brackets. "
        "Each bar runs from 0 to 100 % and shows the accuracy as a tick and its interval in blue. The pale band is "
        f"the interval of the best row: a row whose interval overlaps it may be equally good.{floor}"
    )
    return tag("p", text, class_="legend")
