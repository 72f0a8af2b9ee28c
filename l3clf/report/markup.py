"""HTML elements as text.

Rule: text that is not HTML yet is escaped when it enters an element.
"""

import base64
import html
from collections.abc import Iterable

from l3clf.report.contents import NOTHING, clean

__all__ = ["Html", "data", "data_uri", "escaped", "join", "tag"]


class Html(str):
    """Text that is HTML already; any other text is escaped when it enters an element."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Return text as HTML; HTML is returned unchanged."""
    return text if isinstance(text, Html) else Html(html.escape(clean(text)))


def join(parts: Iterable[str]) -> Html:
    """Concatenate parts."""
    return Html("".join(map(escaped, parts)))


def tag(name: str, *children: str, **attributes: str) -> Html:
    """Make an element; `class_` and `aria_label` are the attributes class and aria-label."""
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(text)}"' for key, text in attributes.items())
    closing = "" if name in ("img", "source") else f"{join(children)}</{name}>"
    return Html(f"<{name}{pairs}>{closing}")


def data(text: object) -> Html:
    """Return a label, path or name, isolated so that right-to-left letters in it do not reorder its surroundings."""
    return tag("bdi", NOTHING if text is None else str(text))


def data_uri(kind: str, content: bytes) -> str:
    """Return content as a data URI of the given MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
