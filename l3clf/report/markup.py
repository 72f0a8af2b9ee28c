"""HTML elements as text.

Rule: every text that is not HTML already is escaped on its way into an element.
"""

import base64
import html
from collections.abc import Iterable

from l3clf.report.contents import NOTHING, clean

__all__ = ["Html", "data", "data_uri", "escaped", "join", "tag"]


class Html(str):
    """Text that is HTML already; every other text is escaped on its way into the page."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Return text as HTML; what is HTML already stays as it is."""
    return text if isinstance(text, Html) else Html(html.escape(clean(text)))


def join(parts: Iterable[str]) -> Html:
    """Put parts side by side."""
    return Html("".join(map(escaped, parts)))


def tag(name: str, *children: str, **attributes: str) -> Html:
    """Make an element; `class_` and `aria_label` are the attributes class and aria-label."""
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(text)}"' for key, text in attributes.items())
    closing = "" if name == "img" else f"{join(children)}</{name}>"
    return Html(f"<{name}{pairs}>{closing}")


def data(text: object) -> Html:
    """A label, path or name: right-to-left letters in it turn nothing around it."""
    return tag("bdi", NOTHING if text is None else str(text))


def data_uri(kind: str, content: bytes) -> str:
    """Return content as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
