"""The report page holds together, needs nothing from outside, and nothing that data says becomes HTML."""

import re
import sys

import pytest
from helpers.report_pages import HOSTILE, ONE_PIXEL, Parsed, a_row, decoded, written
from helpers.sound_files import write

from l3clf.audio.clip import Clip
from l3clf.report import Mistake, write_html


@pytest.fixture(scope="module")
def parsed(page, folder):
    return Parsed(write_html(page, folder / "out" / "report.html").read_text("utf-8"))


# ------------------------------------------------------------------------------------------ the page


def test_every_element_is_closed_where_it_should_be(parsed):
    assert parsed.torn == []
    assert parsed.open == []


def test_headings_and_landmarks(parsed):
    assert [len(parsed.all(tag)) for tag in ("h1", "title", "main", "header", "nav", "footer")] == [1] * 6
    assert len(parsed.all("h2")) == len(parsed.all("section")) == 8
    assert parsed.all("html")[0]["lang"] == "en"


def test_every_id_is_there_once_and_every_reference_leads_to_one(parsed):
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = [link["href"].removeprefix("#") for link in parsed.all("a")]
    references += [section["aria-labelledby"] for section in parsed.all("section")]
    assert len(references) == 16
    assert set(references) == set(ids)


def test_nothing_is_loaded_and_nothing_runs(parsed, folder):
    sources = [attributes["src"] for _, attributes in parsed.elements if "src" in attributes]
    assert len(sources) == 7
    assert all(source.startswith("data:") for source in sources)
    assert [link["href"] for link in parsed.all("link")] == ["data:,"]
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in parsed.elements}
    assert not [key for _, attributes in parsed.elements for key in attributes if key.startswith("on")]
    text = (folder / "out" / "report.html").read_text("utf-8")
    assert not re.search(r"https?:|@import|url\(", text)


def test_the_policy_forbids_all_but_what_is_embedded(parsed):
    (policy,) = [meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta]
    for rule in ("default-src 'none'", "img-src data:", "media-src data:", "style-src 'unsafe-inline'"):
        assert rule in policy.split("; ")


def test_no_place_for_a_word_is_left_empty(folder, parsed):
    text = (folder / "out" / "report.html").read_text("utf-8").partition("</style>")[2]
    assert not re.search(r"\{[a-z_]+\}", text)


def test_everything_given_is_shown(parsed):
    for part in (
        "Baseline of tones", "mfcc reaches 90.0 %.", "90.0 ± 2.0", "[85.0, 95.0]", "always the largest class 50.0",
        "Five folds, as given.", "A pixel", "low predicted as high, 90.0 %", "tone.wav", "gone.wav: no such file",
        "l3clf baseline tones", "Clips 40", "l3clf 0.1", "12.3", "45.6",
    ):  # fmt: skip
        assert part.replace(" ", "") in parsed.text.replace(" ", ""), part


def test_the_bars_stand_where_the_numbers_say(parsed):
    bars = [attributes["style"] for _, attributes in parsed.elements if attributes.get("class") == "bar"]
    assert bars[:2] == ["--at:90.0%;--low:85.0%;--high:95.0%", "--at:70.0%;--low:65.0%;--high:75.0%"]
    assert parsed.all("table")[0]["style"] == "--floor-at:50.0%;--best-low:85.0%;--best-high:95.0%"


def test_only_the_first_row_is_marked_as_best(parsed):
    body = [row["class"] for row in parsed.all("tr") if "class" in row]
    assert body == ["best", ""]


def test_a_picture_is_embedded_unchanged_with_its_caption(parsed):
    (image,) = [image for image in parsed.all("img") if not image["alt"].startswith("Spectrogram")]
    assert decoded(image["src"]) == ("image/png", ONE_PIXEL)
    assert image["alt"] == "A pixel"


def test_hostile_text_stays_text_everywhere(tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>\"'&.wav"
    if sys.platform != "win32":
        write(path)
    found = written(
        tmp_path,
        title=HOSTILE,
        summary=HOSTILE,
        rows=[a_row(embedder=HOSTILE, head=HOSTILE, pooling=HOSTILE, seconds=HOSTILE, accuracy_low=HOSTILE)],
        floors=[(HOSTILE, 0.1)],
        description=[(HOSTILE, HOSTILE)],
        notes=[HOSTILE],
        pictures=[(tmp_path / "none.png", HOSTILE)],
        mistakes=[Mistake(Clip(path), HOSTILE, HOSTILE, 0.5), Mistake(Clip(f"{HOSTILE}.wav"), "a", "b", 0.4)],
        failures=[HOSTILE],
        commands=[HOSTILE],
        versions={HOSTILE: HOSTILE},
    )
    assert found.torn == found.open == found.all("script") == []
    assert all(image["src"].startswith("data:image/png;base64,") for image in found.all("img"))
    assert len(found.all("img")) == (sys.platform != "win32")
    assert not [key for _, attributes in found.elements for key in attributes if key.startswith("on")]
    shown = "<script>alert(1)</script> \"q\" 'a' & </style> חתול \\u202eexe.gnp\\x07 \\udcff"
    assert found.text.count(shown) >= 15
    assert sys.platform == "win32" or "onerror=alert(1)>\"'&.wav" in found.all("audio")[0]["aria-label"]


def test_a_page_of_nothing_says_so(tmp_path):
    found = written(tmp_path)
    assert found.torn == found.open == []
    assert "There are no results" in found.text
    assert len(found.all("section")) == 1


def test_a_row_without_numbers_has_dashes(tmp_path):
    found = written(tmp_path, rows=[{"embedder": "mfcc", "accuracy": float("nan"), "macro_f1": None}])
    assert "nan" not in found.text.lower()
    assert found.text.count("–") == 7


def test_two_hundred_rows_and_many_failures_fold_away(tmp_path):
    found = written(tmp_path, rows=[a_row(n / 300) for n in range(200, 0, -1)], failures=["x.wav: empty"] * 5000)
    assert len(found.all("tr")) == 201
    assert [frame["class"] for frame in found.all("div") if "tabindex" in frame] == ["frame long"]
    assert "5,000 clips could not be read" in found.text
    assert len(found.all("details")) == 1


@pytest.mark.parametrize("content", [None, b"", b"GIF89a", ONE_PIXEL[:12]])
def test_a_picture_that_cannot_be_shown_gets_a_sentence(tmp_path, content):
    path = tmp_path / "p.png"
    if content is not None:
        path.write_bytes(content)
    found = written(tmp_path, pictures=[(path, "The caption")])
    assert found.all("img") == []
    assert "p.png" in found.text
    assert "The caption" in found.text
