"""Report pages parsed, and rows, pictures and hostile text to fill them with."""

import base64
from html.parser import HTMLParser

from l3clf.report import Page, write_html

VOID = {"meta", "link", "img", "source"}
HOSTILE = "<script>alert(1)</script> \"q\" 'a' & </style> חתול \u202eexe.gnp\x07 \udcff"
ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Parsed(HTMLParser):
    """What a page holds: elements in order, and whether each is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.torn, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.torn.append(tag)

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def a_row(accuracy=0.9, embedder="mfcc", head="logistic", pooling="mean", **others):
    row = {"embedder": embedder, "head": head, "pooling": pooling}
    for key in ("accuracy", "balanced_accuracy", "macro_f1"):
        row |= {key: accuracy, f"{key}_std": 0.02, f"{key}_low": accuracy - 0.05, f"{key}_high": accuracy + 0.05}
    return row | {"seconds": 12.3, "clips_per_s": 45.6} | others


def written(tmp_path, **parts):
    return Parsed(write_html(Page(**{"title": "T"} | parts), tmp_path / "report.html").read_text("utf-8"))


def decoded(uri):
    kind, content = uri.removeprefix("data:").split(";base64,")
    return kind, base64.b64decode(content)
