"""The report page holds together, needs nothing from outside, and nothing that data says becomes HTML."""

import base64
import csv
import io
import json
import os
import re
import sys
import unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from helpers.sound_files import tone, write

from l3clf import report
from l3clf.audio.clip import Clip
from l3clf.errors import ParameterError
from l3clf.report import Mistake, Page, table_text, write_csv, write_html, write_json
from l3clf.report.players import PLAYER_RATES_HZ

VOID = {"meta", "link", "img"}
HOSTILE = "<script>alert(1)</script> \"q\" 'a' & </style> חתול \u202eexe.gnp\x07 \udcff"
LONG_PATH = "/home/" + "long/" * 30 + "bird.l3student"
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


def heard(audio):
    return soundfile.read(io.BytesIO(decoded(audio["src"])[1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "picture.png").write_bytes(ONE_PIXEL)
    write(folder / "tone.wav", tone(seconds=1.5))
    return folder


@pytest.fixture(scope="module")
def page(folder):
    clip = Clip(folder / "tone.wav")
    return Page(
        title="Baseline of tones",
        summary="mfcc reaches 90.0 %.",
        rows=[a_row(), a_row(0.7, "other")],
        floors=[("always the largest class", 0.5), ("guessing", 0.25)],
        description=[("Clips", "40")],
        notes=["Five folds, as given."],
        pictures=[(folder / "picture.png", "A pixel")],
        mistakes=[Mistake(clip, "low", "high", 0.9)] * 3,
        failures=["gone.wav: no such file"],
        commands=["l3clf baseline tones"],
        versions={"l3clf": "0.1"},
    )


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
    assert len(sources) == 4
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


def test_everything_given_is_said(parsed):
    for part in (
        "Baseline of tones", "mfcc reaches 90.0 %.", "90.0 ± 2.0", "[85.0, 95.0]", "always the largest class 50.0",
        "Five folds, as given.", "A pixel", "low taken for high, 90.0 %", "tone.wav", "gone.wav: no such file",
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
    (image,) = parsed.all("img")
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
    assert found.torn == found.open == found.all("script") == found.all("img") == []
    assert not [key for _, attributes in found.elements for key in attributes if key.startswith("on")]
    shown = "<script>alert(1)</script> \"q\" 'a' & </style> חתול \\u202eexe.gnp\\x07 \\udcff"
    assert found.text.count(shown) >= 15
    assert sys.platform == "win32" or "onerror=alert(1)>\"'&.wav" in found.all("audio")[0]["aria-label"]


def test_a_page_of_nothing_says_so(tmp_path):
    found = written(tmp_path)
    assert found.torn == found.open == []
    assert "There is no result" in found.text
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


# ------------------------------------------------------------------------------------------ players


def with_clips(tmp_path, *clips):
    return written(tmp_path, mistakes=[Mistake(clip, "a", "b", 0.9) for clip in clips])


@pytest.mark.parametrize("rate", [1000, 8000, 16000, 44100, 50000, 96000])
def test_a_player_plays_the_clip(tmp_path, rate):
    clip = Clip(write(tmp_path / "x.wav", tone(hz=200, seconds=1.5, rate=rate), rate))
    (audio,) = with_clips(tmp_path, clip).all("audio")
    samples, played_rate = heard(audio)
    assert {"controls", "preload"} < set(audio)
    assert audio["preload"] == "none"
    assert len(samples) / played_rate == pytest.approx(1.5, abs=0.1)
    assert played_rate == min((r for r in PLAYER_RATES_HZ if r >= rate), default=48000)
    middle = samples[played_rate // 2 : played_rate]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * played_rate / len(middle) == pytest.approx(200, abs=4)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_without_mp3_a_player_has_16_bit_wav(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "WAV"})
    (audio,) = with_clips(tmp_path, Clip(folder / "tone.wav")).all("audio")
    kind, content = decoded(audio["src"])
    info = soundfile.info(io.BytesIO(content))
    assert (kind, info.format, info.subtype, info.channels, info.frames) == ("audio/wav", "WAV", "PCM_16", 1, 24000)


def test_a_piece_of_a_file_is_what_is_played(tmp_path):
    silence_then_tone = np.concatenate([np.zeros(16000, np.float32), tone(seconds=1)])
    path = write(tmp_path / "x.wav", silence_then_tone)
    found = with_clips(tmp_path, Clip(path, 1.0, 1.5), Clip(path, 0.0, 0.9))
    tone_part, silent_part = (heard(audio)[0] for audio in found.all("audio"))
    assert len(tone_part) / 16000 == pytest.approx(0.5, abs=0.1)
    assert np.abs(tone_part).max() > 0.4
    assert np.abs(silent_part).max() < 0.01
    assert "x.wav [1 s to 1.5 s]" in found.text


def test_a_long_clip_plays_its_first_ten_seconds(tmp_path):
    path = write(tmp_path / "x.wav", np.zeros((16 * 8000, 2)), 8000)
    found = with_clips(tmp_path, Clip(path), Clip(path, 3.0))
    assert [len(heard(audio)[0]) / 8000 for audio in found.all("audio")] == pytest.approx([10, 10], abs=0.2)
    assert "first 10 s of 16.0 s" in found.text
    assert "first 10 s of 13.0 s" in found.text


def test_samples_beyond_full_scale_are_no_trouble(tmp_path):
    path = write(tmp_path / "x.wav", 8 * tone(), subtype="FLOAT")
    samples, _ = heard(with_clips(tmp_path, Clip(path)).all("audio")[0])
    assert 0.9 < np.abs(samples).max() < 1.5


def test_unreadable_clips_get_a_sentence_and_the_others_their_player(tmp_path, folder):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.ogg").write_text("no sound")
    clips = [Clip(tmp_path / name) for name in ("gone.wav", "empty.wav", "text.ogg")]
    found = with_clips(tmp_path, *clips, Clip(folder / "tone.wav", 99), Clip(folder / "tone.wav"))
    assert found.torn == found.open == []
    assert len(found.all("audio")) == 1
    assert found.text.count("No player:") == 4


def test_at_most_twenty_mistakes_are_shown(tmp_path):
    found = with_clips(tmp_path, *[Clip(f"{n}.wav") for n in range(1234)])
    assert found.text.count(" taken for ") == 20
    assert "The 20 worst of 1,234 mistakes" in found.text


@pytest.mark.parametrize(
    ("paths", "folder", "shown"),
    [
        (["/d/e/a/1.wav", "/d/e/b/2.wav"], "/d/e", ["a/1.wav", "b/2.wav"]),
        (["/d/ab/1.wav", "/d/a/2.wav"], "/d", ["ab/1.wav", "a/2.wav"]),
        (["/d/1.wav", "/e/2.wav"], "", ["/d/1.wav", "/e/2.wav"]),
        (["/d/1.wav", "e/2.wav"], "", ["/d/1.wav", "e/2.wav"]),
        (["1.wav"], "", ["1.wav"]),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="paths as other systems write them")
def test_the_folder_of_all_mistakes_is_said_once(tmp_path, paths, folder, shown):
    found = with_clips(tmp_path, *map(Clip, paths))
    assert found.text.count("Paths start at") == bool(folder)
    assert f"Paths start at {folder}." in found.text or not folder
    assert all(f"expected a readable sound file{name}" in found.text for name in shown)


# ------------------------------------------------------------------------------------------ files


def test_the_same_page_gives_the_same_bytes(page, tmp_path):
    assert write_html(page, tmp_path / "a.html").read_bytes() == write_html(page, tmp_path / "b.html").read_bytes()


WRITERS = {
    "html": lambda out: write_html(Page("new"), out),
    "csv": lambda out: write_csv([a_row()], out),
    "json": lambda out: write_json([a_row()], out),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_files_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch, writer):
    out = tmp_path / "file"
    out.write_text("old")

    def full(path, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", full)
        with pytest.raises(ParameterError, match=r"cannot be written \(No space left"):
            writer(out)
    assert out.read_text() == "old"
    assert writer(str(out)) == out
    assert out.read_text("utf-8") != "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match=r"report\.html: cannot be written"):
        write_html(Page("x"), tmp_path / "file" / "report.html")


ODD_ROWS = [
    a_row(1 / 3, HOSTILE, extra=1) | {"seconds": np.float32(0.1)},
    {"embedder": '鳥, "b"\nc', "accuracy": np.float64(2 / 3), "macro_f1": float("nan"), "clips_per_s": np.int64(7)},
]


def test_csv_comes_back_in_full_precision(tmp_path):
    out = write_csv(ODD_ROWS, tmp_path / "t.csv")
    with out.open(encoding="utf-8", newline="") as file:
        back = list(csv.DictReader(file))
    assert list(back[0]) == [*report.COLUMNS, "extra"]
    assert float(back[0]["accuracy"]) == 1 / 3
    assert float(back[1]["accuracy"]) == 2 / 3
    assert float(back[0]["seconds"]) == float(np.float32(0.1))
    assert (back[1]["embedder"], back[1]["macro_f1"], back[1]["clips_per_s"]) == ('鳥, "b"\nc', "", "7")


def test_json_comes_back_in_full_precision(tmp_path):
    more = {"versions": {"l3clf": "0.1"}, "classes": np.array(["a", "b"]), "folder": tmp_path}
    out = write_json(ODD_ROWS, tmp_path / "t.json", floors=[("largest", np.float64(0.1))], more=more)
    back = json.loads(out.read_text("utf-8"))
    assert list(back) == ["rows", "floors", "versions", "classes", "folder"]
    assert list(back["rows"][0]) == list(back["rows"][1]) == [*report.COLUMNS, "extra"]
    assert back["rows"][0]["embedder"] == HOSTILE
    assert [row["accuracy"] for row in back["rows"]] == [1 / 3, 2 / 3]
    assert (back["rows"][1]["macro_f1"], back["rows"][1]["extra"]) == (None, None)
    assert back["floors"] == [{"name": "largest", "accuracy": 0.1}]
    assert (back["classes"], back["folder"]) == (["a", "b"], str(tmp_path))


def test_what_json_cannot_hold_is_named(tmp_path):
    with pytest.raises(ParameterError, match="not JSON serializable"):
        write_json([], tmp_path / "t.json", more={"x": object()})
    assert not list(tmp_path.iterdir())


def test_tables_without_rows_still_have_their_columns(tmp_path):
    assert write_csv([], tmp_path / "t.csv").read_text() == ",".join(report.COLUMNS) + "\n"
    assert json.loads(write_json([], tmp_path / "t.json").read_text()) == {"rows": [], "floors": []}


# ------------------------------------------------------------------------------------------ the terminal


def columns(line):
    """The terminal's columns of a line, counted another way: one by one."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Cf") else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1
        for c in line
    )


def test_the_terminal_shows_scores_intervals_and_floors():
    lines = table_text([a_row(), a_row(0.5, "yamnet", "forest", "mean+std")], [("always the largest", 0.1)]).split("\n")
    assert " ".join(lines[0].split()) == "embedder head pooling accuracy balanced macro F1 seconds clips/s"
    assert re.split(r"  +", lines[1]) == ["mfcc", "logistic", "mean", *["90.0 ± 2.0"] * 3, "12.3", "45.6"]
    assert lines[2].split("  ")[-3:] == ["[85.0, 95.0]"] * 3
    assert re.split(r"  +", lines[5]) == ["always the largest", "10.0"]
    assert len({lines[n].index("]") for n in (2, 4)} | {lines[1].index("2.0") + 2, lines[5].index("10.0") + 3}) == 1
    assert "95 % interval" in lines[6]


@pytest.mark.parametrize("name", ["x" * 400, "鳥" * 90, "a\u0301" * 120, HOSTILE, LONG_PATH])
def test_the_terminal_table_is_never_wider_than_100_columns(name):
    row = a_row(1.0, name, name, name, seconds=1e12, clips_per_s=123456.7)
    text = table_text([row, a_row()], [(name, 1.0)])
    assert max(columns(line) for line in text.split("\n")) <= 100
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in text.replace("\n", ""))
    assert "\u202e" not in text
    assert len(text.split("\n")) == 7


@pytest.mark.parametrize("name", ["鳥鳥鳥", "e\u0301te\u0301 du chat"])
def test_wide_letters_and_accents_do_not_shift_the_columns(name):
    lines = table_text([a_row(embedder=name), a_row(embedder="birds")]).split("\n")
    assert columns(lines[1]) == columns(lines[3])
    assert columns(lines[1].split("logistic")[0]) == columns(lines[3].split("logistic")[0])


def test_a_long_name_keeps_its_start_and_end():
    line = table_text([a_row(embedder=LONG_PATH)]).split("\n")[1]
    assert re.match(r"/home/\S*…\S*student ", line)


def test_missing_numbers_are_dashes_and_no_table_is_still_a_table():
    assert table_text([{"embedder": "m", "accuracy": None}]).split("\n")[1].split() == ["m", *["–"] * 7]
    assert len(table_text([]).split("\n")) == 2
