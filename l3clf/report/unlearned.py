"""What the report says about sounds of classes that were left out: a table for the page and for a terminal.

Rule: both show the same numbers, and each says what its numbers are.
"""

from collections.abc import Sequence

from l3clf.report.contents import Row, clean, interval, percent
from l3clf.report.markup import Html, join, tag

__all__ = ["unlearned_section", "unlearned_text"]

_HEADS = {
    "auroc": "AUROC",
    "unknown_accepted": "unknown accepted",
    "accuracy_accepted": "accepted are right",
    "accuracy": "accuracy",
}


def _legend(rows: Sequence[Row]) -> str:
    first = rows[0]
    classes, accept = first.get("left_out", "a class"), percent(first.get("accept"))
    return (
        f"Percent, with 95 % intervals; {classes} left out of the training in turn. AUROC: how often a clip of a class "
        f"that was left out has a higher unknown score than one of a known class. At the threshold that keeps {accept} "
        "% of known clips: the unknown ones that are accepted, and the known ones among those accepted that are right. "
        "Accuracy: of all known clips, without a threshold."
    )


def unlearned_section(rows: Sequence[Row]) -> Html:
    """Return the table for the page; nothing without rows.

    Parameters
    ----------
    rows : sequence of mappings
        Each with ``how``, ``left_out``, ``accept``, and the scores of `OpenSet.scores`.
    """
    if not rows:
        return Html()
    head = tag("tr", *(tag("th", text, scope="col") for text in ("unknown sounds are told by", *_HEADS.values())))
    body = join(
        tag(
            "tr",
            tag("th", clean(row.get("how")), scope="row"),
            *(
                tag(
                    "td",
                    tag("span", percent(row.get(key)), class_="score"),
                    tag("span", interval(row, key), class_="quiet"),
                )
                for key in _HEADS
            ),
        )
        for row in rows
    )
    table = tag("table", tag("thead", head), tag("tbody", body))
    framed = tag("div", table, class_="frame", tabindex="0", role="region", aria_label="Table of unknown sounds")
    return join([framed, tag("p", _legend(rows), class_="legend")])


def unlearned_text(rows: Sequence[Row]) -> str:
    """Return the table for a terminal; empty without rows.

    Examples
    --------
    >>> row = {"how": "the head alone", "left_out": "each class", "accept": 0.95, "auroc": 0.765, "accuracy": 0.94}
    >>> print(unlearned_text([row]).splitlines()[1])
    the head alone               76.5                 –                   –      94.0
    """
    if not rows:
        return ""
    names = ["unknown told by", *(clean(row.get("how")) for row in rows)]
    width = max(map(len, names))
    lines = []
    for name, cells in zip(
        names, [[*_HEADS.values()], *([percent(row.get(key)) for key in _HEADS] for row in rows)], strict=True
    ):
        shown = (text.rjust(max(len(head), 8)) for text, head in zip(cells, _HEADS.values(), strict=True))
        lines.append("  ".join([name.ljust(width), *shown]).rstrip())
    first = rows[0]
    lines.append(
        f"Percent, {first.get('left_out')} left out in turn; accepted: where {percent(first.get('accept'))} % of known "
        "clips are."
    )
    return "\n".join(lines)
