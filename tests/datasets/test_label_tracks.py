"""Label tracks and selection tables, written and read back exactly; and the files that cannot be read."""

import math

import pytest
from helpers.sound_files import tone, write
from hypothesis import example, given, settings
from hypothesis import strategies as st

from l3clf.datasets import load, load_raven_tables
from l3clf.datasets.label_tracks import Label, decimal, is_track, label_lines, read_labels
from l3clf.datasets.raven import is_selection_table, read_selections, selection_lines
from l3clf.errors import DatasetError, DatasetWarning

SECONDS = st.floats(0, 1e6, allow_subnormal=False)  # any, not only those of six decimals
TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t"), min_size=1, max_size=20)
    .map(str.strip)
    .filter(bool)
)


def track(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@st.composite
def label_lists(draw):
    labels = []
    for _ in range(draw(st.integers(0, 6))):  # in any order, overlapping or not
        start, end = sorted(draw(st.tuples(SECONDS, SECONDS)))
        low, high = draw(st.none() | SECONDS), draw(st.none() | SECONDS)
        if low is not None and high is not None:
            low, high = sorted((low, high))
        labels.append(Label(start, draw(st.sampled_from([start, end])), draw(TEXTS), 0, low, high))
    return labels


def without_lines(labels):
    return [Label(each.start_s, each.end_s, each.text, 0, each.low_hz, each.high_hz) for each in labels]


@settings(max_examples=150, deadline=None)
@given(labels=label_lists())
@example([Label(1 / 3, 1e-300, "x")][:0])
@example(
    [Label(0.1 + 0.2, 2.0, "\\ \u2029x", 0, None, 5.0), Label(0.0, 9.0, "over", 0, 0.0, 0.0), Label(2.0, 2.0, "·")]
)
def test_labels_come_back_exactly(tmp_path_factory, labels):
    path = track(tmp_path_factory.getbasetemp() / "labels.txt", label_lines(labels))
    found = read_labels(path)
    assert without_lines(found) == labels
    assert label_lines(found) == path.read_bytes().decode()


@settings(max_examples=100, deadline=None)
@given(labels=label_lists())
def test_selections_come_back_exactly(tmp_path_factory, labels):
    path = track(tmp_path_factory.getbasetemp() / "table.txt", selection_lines(labels, 8000.0))
    expected = [
        Label(
            each.start_s,
            each.end_s,
            each.text,
            0,
            each.low_hz or 0.0,
            max(8000.0, each.low_hz or 0.0) if each.high_hz is None else each.high_hz,
        )
        for each in labels
    ]
    assert without_lines(read_selections(path)) == expected
    assert is_selection_table(path)
    assert not is_track(path)


AUDACITY = (
    "0.500000\t1.250000\tñandú 雨\n\\\t200.000000\t4000.250000\n2.000000\t2.000000\tpoint\n\\\t-1.000000\t300.000000\n"
)


def test_what_audacity_wrote_is_written_again_byte_for_byte(tmp_path):
    labels = read_labels(track(tmp_path / "a.txt", AUDACITY))
    assert labels == [Label(0.5, 1.25, "ñandú 雨", 1, 200.0, 4000.25), Label(2.0, 2.0, "point", 3, None, 300.0)]
    assert label_lines(labels) == AUDACITY


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("0\t1\tx\n\\\t4000\t200\n", 200.0, 4000.0),  # as Audacity takes them
        ("0\t1\tx\n\\\t0,5\t-1,0\n", 0.5, None),
        ("0\t1\tx\n\\\t-5\t-1\n", None, None),
        ("0\t1\tx\n\n\\\t1\t2\n", 1.0, 2.0),
        ("0\t1\tx\n\\\t1\t2\n\\\twhat a later version may add\n", 1.0, 2.0),
        ("0\t1\tx\n\\\t1\t2\tmore\n", 1.0, 2.0),
    ],
)
def test_frequency_ranges(tmp_path, text, low, high):
    (label,) = read_labels(track(tmp_path / "a.txt", text))
    assert (label.low_hz, label.high_hz) == (low, high)


@pytest.mark.parametrize(
    ("text", "number", "words"),
    [
        ("start\tend\tlabel\n0\t1\tx\n", 1, "found 'start"),
        ("0 1 dog\n", 1, "separated by tabs"),
        ("0\t1\tdog\n1\t2\n", 2, "the label at 1 s is empty"),
        ("0\t1\tdog\n1\t2\t \n", 2, "the label at 1 s is empty"),
        ("0\t1\tdog\n5\n", 2, "found '5'"),
        ("0\t1\tdog\ndog\t1\t2\n", 2, "found 'dog"),
        ("0\t1\tdog\n2\tend\tdog\n", 2, "found '2"),
        ("2\t1\tdog\n", 1, "from 2 s to 1 s"),
        ("-1\t1\tdog\n", 1, "from -1 s"),
        ("0\tinf\tdog\n", 1, "found"),
        ("nan\t1\tdog\n", 1, "found"),
        ("0\t1e400\tdog\n", 1, "to inf s"),
        ("0:01\t0:02\tdog\n", 1, "found '0:01"),
        ("1.000,5\t2\tdog\n", 1, "found"),
        ("0x1\t2\tdog\n", 1, "found"),
        ("\u0661\t\u0662\tdog\n", 1, "found"),  # digits, but not Audacity's
        ("1_0\t20\tdog\n", 1, "found"),
        ("\\\t100\t200\n0\t1\tdog\n", 1, "a frequency range without a label above it"),
        ("0\t1\tdog\n\\\t100\n", 2, "expected a backslash, the low and the high"),
        ("0\t1\tdog\n\\\tlow\thigh\n", 2, "expected a backslash"),
        ("0\t1\tdog\n\\100\t200\t300\n", 2, "expected a backslash"),
        ("0\t1\tdog\n\\\n", 2, "expected a backslash"),
        ("0\t1\tdog\n\\\t100\t1e10\n", 2, "frequencies up to 1e"),
        ("0\t1\tdog\n\\\tnan\t200\n", 2, "expected a backslash"),
        ("\x00\x00\x00\x00\n", 1, "found"),
        ("WEBVTT\n\n00:00.000 --> 00:01.000\ndog\n", 1, "found 'WEBVTT'"),
        ('{"labels": []}', 1, "found"),
        ("0\t1\tdog\r1\t0\tdog\r", 2, "from 1 s to 0 s"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_sentence_with_its_number(tmp_path, text, number, words):
    path = track(tmp_path / "a.txt", text)
    with pytest.raises(DatasetError) as caught:
        read_labels(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {number}: ")
    assert words in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (Label(0.0, 1.0, "a\tb"), "a tab"),
        (Label(0.0, 1.0, "a\nb"), "a line break"),
        (Label(0.0, 1.0, "a\rb"), "a line break"),
        (Label(0.0, 1.0, " a"), "a space at its ends"),
        (Label(0.0, 1.0, ""), "the text is empty"),
        (Label(0.0, 1.0, "\ud800"), "half a character"),
        (Label(-1.0, 1.0, "a"), "from -1 s"),
        (Label(2.0, 1.0, "a"), "from 2 s to 1 s"),
        (Label(0.0, math.inf, "a"), "to inf s"),
        (Label(math.nan, 1.0, "a"), "from nan s"),
        (Label(0.0, 1.0, "a", 0, 5.0, 1.0), "from 5.0 Hz to 1.0 Hz"),
        (Label(0.0, 1.0, "a", 0, math.nan, None), "from nan Hz"),
        (Label(0.0, 1.0, "a", 0, None, math.inf), "to inf Hz"),
    ],
)
@pytest.mark.parametrize("written", [label_lines, lambda labels: selection_lines(labels, 8000.0)])
def test_what_would_not_come_back_is_not_written(label, words, written):
    with pytest.raises(DatasetError, match=f"^label 2: .*{words}"):
        written([Label(0.0, 1.0, "good"), label])


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e-7, 123456.654321, 1e6 + 1e-6, 36000.123456, 1e-300])
def test_numbers_come_back_and_have_no_exponent(value):
    assert float(decimal(value)) == value
    assert "e" not in decimal(value)


HEAD = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"


def test_a_sound_that_raven_lists_in_two_views_is_read_once(tmp_path):
    rows = "1\tWaveform 1\t1\t0.5\t1.5\t0\t8000\twren\n1\tSpectrogram 1\t1\t0.5\t1.5\t200\t4000\twren\n"
    path = track(tmp_path / "a.txt", f"{HEAD}\tSpecies\n{rows}2\tSpectrogram 1\t1\t3\t4\t\t\trobin\n\n")
    assert [(each.start_s, each.text, each.high_hz) for each in read_selections(path)] == [
        (0.5, "wren", 8000.0),
        (3.0, "robin", None),
    ]
    with pytest.raises(DatasetError, match=r"a\.txt: found the columns 'Selection'.* and not 'song'; export"):
        read_selections(path, "song")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found the columns nothing, and not 'Begin Time (s)'"),
        ("0\t1\tdog\n", "and not 'Begin Time (s)', 'End Time (s)'"),
        (f"{HEAD}\n", "and not 'Annotation'"),
        (f"{HEAD}\tSpecies\n1\tS\t1\t0.5\n", "line 2: from '0.5' to ''"),
        (f"{HEAD}\tSpecies\n1\tS\t1\t2\t1\t0\t1\twren\n", "line 2: from '2' to '1'"),
        (f"{HEAD}\tSpecies\n1\tS\t1\t0\t1\t0\t1\t\n", "line 2: no 'Species' at 0 s"),
        (f"{HEAD}\tSpecies\n1\tS\t1\t0\t1\tlow\t1\twren\n", "line 2: a frequency of 'low'"),
        (f"{HEAD}\tSpecies\n1\tS\t1\t0\t1\t-5\t1\twren\n", "line 2: a frequency of '-5'"),
    ],
)
def test_selection_tables_that_cannot_be_read(tmp_path, text, words):
    path = track(tmp_path / "a.txt", text)
    with pytest.raises(DatasetError) as caught:
        read_selections(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_of_further_columns_are_written(tmp_path):
    text = selection_lines([Label(0.0, 1.0, "wren"), Label(2.0, 3.0, "robin")], 8000.0, {"Score": [0.5, 1.0]})
    assert [line.split("\t")[-2:] for line in text.splitlines()] == [
        ["Annotation", "Score"],
        ["wren", "0.500000"],
        ["robin", "1.000000"],
    ]


# Folders of recordings with selection tables


def recording(path, seconds=8.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, tone(seconds=seconds, rate=8000), rate=8000)


@pytest.mark.parametrize("name", ["a.Table.1.selections.txt", "a.selections.txt", "a.txt"])
def test_recordings_with_selection_tables_are_a_data_set(tmp_path, name):
    recording(tmp_path / "site" / "a.wav")
    recording(tmp_path / "b.wav")
    text = selection_lines([Label(1.0, 2.0, "wren"), Label(4.0, 4.0, "robin")], 4000.0)
    track(tmp_path / "site" / name, text)
    track(tmp_path / "site" / "a.transcript.txt", "what was said")
    with pytest.warns(DatasetWarning, match=r"recordings without labels were left out \(1\): b\.wav"):
        table = load(tmp_path)
    assert table.labels.tolist() == ["wren", "robin"]
    assert table.groups.tolist() == ["site/a.wav"] * 2
    assert [(clip.start_s, clip.end_s) for clip in table.clips] == [(1.0, 2.0), (3.5, 4.5)]
    assert "Raven" in table.origin
    with pytest.warns(DatasetWarning, match="recordings without labels"):
        found = load_raven_tables(tmp_path, background_s=2.0)
    assert found.labels.tolist() == ["wren", "robin", "background"]
    assert (found.clips[2].start_s, found.clips[2].end_s) == (5.5, 7.5)


def test_a_recording_with_two_selection_tables_is_refused(tmp_path):
    recording(tmp_path / "a.wav")
    for number in (1, 2):
        track(tmp_path / f"a.Table.{number}.selections.txt", selection_lines([Label(1.0, 2.0, "wren")], 4000.0))
    with pytest.raises(DatasetError, match=r"a\.wav: has 2 selection tables \(a\.Table\.1.*\); keep the one"):
        load(tmp_path)


def test_a_folder_without_selections_is_refused(tmp_path):
    recording(tmp_path / "a.wav")
    with pytest.raises(DatasetError, match=r"no labels found \(sounds: 1, .*: 0\); put the selection"):
        load_raven_tables(tmp_path)


def test_unlabelled_time_needs_labels(tmp_path):
    for label in ("x", "y"):
        recording(tmp_path / label / "a.wav")
    with pytest.raises(DatasetError, match=r"background_s=2\.0 cuts the unlabelled time .*; omit it"):
        load(tmp_path, background_s=2.0)
    track(tmp_path / "meta.csv", "path,label\nx/a.wav,x\n")
    with pytest.raises(DatasetError, match="omit it"):
        load(tmp_path, background_s=2.0)


def test_what_is_wrong_with_labels_is_said_where_unlabelled_time_is_asked_for(tmp_path):
    recording(tmp_path / "a.wav")
    track(tmp_path / "a.txt", "one\ttwo\towl\n")
    with pytest.raises(DatasetError, match=r"a\.txt, line 1: "):
        load(tmp_path, background_s=2.0)
