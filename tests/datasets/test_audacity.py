"""Audacity label tracks: every way in which they are written, and the lines that cannot be used."""

import unicodedata

import pytest
from helpers.sound_files import tone, write
from hypothesis import example, given, settings
from hypothesis import strategies as st

from l3clf.audio.clip import Clip
from l3clf.datasets import load, load_audacity_labels
from l3clf.datasets.audacity import background_clips, find_tracks, pieces
from l3clf.datasets.label_tracks import Label, is_track, read_labels
from l3clf.errors import DatasetError, DatasetWarning, ParameterError


def track(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def recording(path, seconds=3.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, tone(seconds=seconds, rate=8000), rate=8000)


def values(labels):
    return [(label.start_s, label.end_s, label.text) for label in labels]


# One track


TWO = "0.500000\t1.250000\tdog bark\n2.000000\t2.000000\tñandú 雨\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_track_is_read_whatever_wrote_it(tmp_path, encoding, newline):
    path = track(tmp_path / "a.txt", TWO.replace("\n", newline), encoding)
    assert is_track(path)
    assert read_labels(path) == [Label(0.5, 1.25, "dog bark", 1), Label(2.0, 2.0, "ñandú 雨", 2)]
    assert [label.is_point for label in read_labels(path)] == [False, True]


def test_big_endian_utf_16_with_a_byte_order_mark(tmp_path):
    assert values(read_labels(track(tmp_path / "a.txt", "\ufeff" + TWO, "utf-16-be")))[1] == (2.0, 2.0, "ñandú 雨")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,5\t1,25\tdog\n", [(0.5, 1.25, "dog")]),
        ("0\t1\tdog", [(0.0, 1.0, "dog")]),
        ("0.\t1e1\t dog \n", [(0.0, 10.0, "dog")]),
        ("\n0\t1\tdog\n  \n1\t2\tcat\n\n", [(0.0, 1.0, "dog"), (1.0, 2.0, "cat")]),
        ("0\t1\tdog\n\\\t200.5\t4000.25\n1\t2\tcat\n\\\t-1\t-1\n", [(0.0, 1.0, "dog"), (1.0, 2.0, "cat")]),
        ("0\t1\tdog\n\\\t200,5\t4000,25\n", [(0.0, 1.0, "dog")]),
        ("0\t1\tdog\tand more\n", [(0.0, 1.0, "dog\tand more")]),
        ("0\t1\tone\u2028label\x0b\x85\n", [(0.0, 1.0, "one\u2028label")]),
        ("2\t3\tlater\n0\t1\tsooner\n", [(2.0, 3.0, "later"), (0.0, 1.0, "sooner")]),
        ("", []),
    ],
)
def test_lines_and_their_labels(tmp_path, text, expected):
    assert values(read_labels(track(tmp_path / "a.txt", text))) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0\t1\tdog\n\n1\t2\t\n", r"line 3: the label at 1 s is empty"),
        ("0\t1\t  \n", r"line 1: the label at 0 s is empty"),
        ("0\t1\n", r"line 1: the label at 0 s is empty"),
        ("0.5\n", r"line 1: found '0\.5'; expected start, end"),
        ("0 1 dog\n", r"line 1: found '0 1 dog'; expected .* separated by tabs"),
        ("0\t1\tdog\nstart\tend\tlabel\n", r"line 2: found 'start"),
        ("0\t1.000,5\tdog\n", r"line 1: found"),
        ("0\tnan\tdog\n", r"line 1: found"),
        ("2\t1\tdog\n", r"line 1: from 2 s to 1 s; expected times of 0 or more"),
        ("-0.5\t1\tdog\n", r"line 1: from -0\.5 s"),
        ("0\t1e999\tdog\n", r"line 1: from 0 s to inf s"),
    ],
)
def test_lines_that_cannot_be_used_are_refused_with_file_and_number(tmp_path, text, words):
    with pytest.raises(DatasetError, match=words) as caught:
        read_labels(track(tmp_path / "ä.txt", text))
    assert str(caught.value).startswith(f"{tmp_path / 'ä.txt'}, line ")
    assert "\n" not in str(caught.value)


def test_other_encodings_and_missing_files_are_reported(tmp_path):
    path = track(tmp_path / "a.txt", "0\t1\tcafé\n", "latin-1")
    with pytest.raises(DatasetError, match=r"a\.txt: is not UTF-8 text \(byte 0xe9 at 7\)"):
        read_labels(path)
    path.write_bytes("0\t1\tdog".encode("utf-16")[:-1])
    with pytest.raises(DatasetError, match=r"a\.txt: is not UTF-16 text"):
        read_labels(path)
    with pytest.raises(DatasetError, match=r"b\.txt: cannot be read \(No such file"):
        read_labels(tmp_path / "b.txt")


@pytest.mark.parametrize("text", ["", "\n", "a transcript of what is said", "one\ttwo\tthree", "0.5 1.5 x"])
def test_other_text_is_not_a_track(tmp_path, text):
    assert not is_track(track(tmp_path / "a.txt", text))
    assert not is_track(tmp_path / "missing.txt")


TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), min_size=1, max_size=20)
    .map(str.strip)
    .filter(bool)
)
MICROSECONDS = st.integers(0, 10**11)  # Audacity writes six decimals


@st.composite
def label_lists(draw):
    times = st.tuples(MICROSECONDS, MICROSECONDS).map(sorted)
    return draw(st.lists(st.tuples(times, TEXTS, st.none() | st.tuples(MICROSECONDS, MICROSECONDS)), max_size=6))


def written(labels, comma, newline):
    """Labels as Audacity exports them."""
    number = lambda us: f"{us // 10**6}{',' if comma else '.'}{us % 10**6:06}"  # noqa: E731
    lines = []
    for (start, end), text, band in labels:
        lines.append(f"{number(start)}\t{number(end)}\t{text}")
        lines += [f"\\\t{number(band[0])}\t{number(band[1])}"] if band else []
    return "".join(line + newline for line in lines)


@settings(max_examples=120, deadline=None)
@given(
    labels=label_lists(),
    comma=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@example(labels=[([1, 1], "\\ \u2029x", (0, 5))], comma=True, newline="\r\n", encoding="utf-16")
def test_what_was_written_is_read_back(tmp_path_factory, labels, comma, newline, encoding):
    path = track(tmp_path_factory.getbasetemp() / "roundtrip.txt", written(labels, comma, newline), encoding)
    assert values(read_labels(path)) == [(start / 1e6, end / 1e6, text) for (start, end), text, _ in labels]


# Pieces of a recording


def test_point_labels_become_windows_within_the_recording(tmp_path):
    sound = recording(tmp_path / "a.wav")
    path = track(tmp_path / "a.txt", "".join(f"{t}\t{t}\tx\n" for t in (0, 0.2, 1.5, 2.9, 3.0)) + "0\t2\tlong\n")
    assert [(clip.start_s, clip.end_s) for clip, _ in pieces(path, sound)] == [
        (0.0, 0.5), (0.0, 0.7), (1.0, 2.0), (pytest.approx(2.4), 3.0), (2.5, 3.0), (0.0, 2.0)
    ]  # fmt: skip
    assert pieces(path, sound, point_s=0.5)[2] == (Clip(sound, 1.25, 1.75), "x")


def test_a_point_after_the_recording_is_refused(tmp_path):
    sound = recording(tmp_path / "a.wav")
    path = track(tmp_path / "a.txt", "1\t1\tx\n3.2\t3.2\tx\n")
    with pytest.raises(DatasetError, match=r"a\.txt, line 2: the label at 3\.2 s is after the end of .* at 3 s"):
        pieces(path, sound)


def test_a_recording_that_cannot_be_read_is_not_cut_at_its_end(tmp_path):
    path = track(tmp_path / "a.txt", "1\t1\tx\n")
    assert pieces(path, str(tmp_path / "gone.wav")) == [(Clip(tmp_path / "gone.wav", 0.5, 1.5), "x")]


@pytest.mark.parametrize("point_s", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_impossible_lengths_are_refused(tmp_path, point_s):
    with pytest.raises(ParameterError, match=r"point_s=.*expected a positive number of seconds"):
        load_audacity_labels(tmp_path, point_s=point_s)


# Folders


def test_tracks_are_found_beside_their_sounds(tmp_path):
    sounds = [str(tmp_path / name) for name in ("a.wav", "b.ogg", "sub/a.wav", "c.d.wav", "none.wav", "Ä.wav")]
    texts = ["a.txt", "b.TXT", "sub/a.txt", "c.d.txt", unicodedata.normalize("NFD", "Ä") + ".txt", "other.txt"]
    for name in texts:
        track(tmp_path / name, "")
    (tmp_path / "none.txt").mkdir()
    expected = {sounds[i]: str(tmp_path / texts[j]) for i, j in ((0, 0), (1, 1), (2, 2), (3, 3), (5, 4))}
    assert find_tracks(sounds) == expected


def test_a_folder_of_recordings_becomes_a_table(tmp_path):
    recording(tmp_path / "été.wav")
    track(tmp_path / "été.txt", "0\t1\tcoucou\n1,5\t1,5\tmerle noir\n", "utf-8-sig")
    (tmp_path / "site 2").mkdir()
    (tmp_path / "site 2" / "b.flac").write_bytes(b"")  # no point labels: not even its header is read
    track(tmp_path / "site 2" / "b.txt", "10\t12\tcoucou\n\\\t100\t200\n", "utf-16")
    for table in (load(tmp_path), load_audacity_labels(tmp_path)):
        assert table.labels.tolist() == ["coucou", "coucou", "merle noir"]
        assert table.groups.tolist() == ["site 2/b.flac", "été.wav", "été.wav"]
        assert table.folds is None
        assert table.clips == [
            Clip(tmp_path / "site 2" / "b.flac", 10, 12),
            Clip(tmp_path / "été.wav", 0, 1),
            Clip(tmp_path / "été.wav", 1.0, 2.0),
        ]
        assert "Audacity" in table.origin
        assert table.describe().split == "2 groups"


def test_recordings_without_labels_are_left_out_with_one_warning(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        recording(tmp_path / name)
    track(tmp_path / "a.txt", "0\t1\tx\n")
    track(tmp_path / "c.txt", "\n")
    with pytest.warns(
        DatasetWarning, match=r"recordings without labels were left out \(2\): b\.wav, c\.wav$"
    ) as warned:
        assert len(load(tmp_path)) == 1
    assert len(warned) == 1


@pytest.mark.parametrize("texts", [{}, {"a.txt": ""}, {"other.txt": "0\t1\tx\n"}])
def test_a_folder_without_labels_is_refused(tmp_path, texts):
    recording(tmp_path / "a.wav")
    for name, text in texts.items():
        track(tmp_path / name, text)
    with pytest.raises(DatasetError, match=r"no labels found \(sounds: 1, text files beside them: [01]\); put the"):
        load_audacity_labels(tmp_path)


def test_two_recordings_of_one_track_are_refused(tmp_path):
    recording(tmp_path / "a.wav")
    (tmp_path / "a.mp3").write_bytes(b"")
    track(tmp_path / "a.txt", "0\t1\tx\n")
    with pytest.raises(DatasetError, match=r"a\.txt: belongs to both 'a\.mp3' and 'a\.wav'; remove or rename one"):
        load(tmp_path)


# Unlabelled time


def cut(clips):
    return [(round(clip.start_s, 9), round(clip.end_s, 9)) for clip in clips]


@pytest.mark.parametrize(
    ("labelled", "seconds", "expected"),
    [
        ([], 2.0, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]),
        ([(4.0, 5.0)], 1.5, [(0, 1.5), (1.5, 3), (6, 7.5), (7.5, 9)]),
        ([(4.0, 5.0)], 3.0, [(0, 3), (6, 9)]),
        ([(6.0, 6.5), (0.5, 5.0), (2.0, 3.0)], 1.0, [(7.5, 8.5), (8.5, 9.5)]),  # overlapping, in any order
        ([(0.0, 10.0)], 1.0, []),
        ([(9.5, 30.0)], 8.0, [(0, 8)]),
        ([(2.0, None)], 1.0, [(0, 1)]),
        ([], 11.0, []),
    ],
)
def test_unlabelled_time_is_cut_into_pieces_away_from_labels(tmp_path, labelled, seconds, expected):
    sound = recording(tmp_path / "a.wav", 10.0)
    assert cut(background_clips(sound, [Clip(sound, *times) for times in labelled], seconds)) == expected


def test_background_is_a_label_of_its_own_in_the_group_of_its_recording(tmp_path):
    recording(tmp_path / "a.wav", 8.0)
    track(tmp_path / "a.txt", "1\t2\tdog\n5\t5\tcat\n")
    recording(tmp_path / "empty track.wav", 4.0)
    track(tmp_path / "empty track.txt", "")
    table = load_audacity_labels(tmp_path, background_s=1.5)
    assert table.labels.tolist() == ["dog", "cat", "background", "background", "background"]
    assert table.groups.tolist() == ["a.wav"] * 3 + ["empty track.wav"] * 2
    assert cut(table.clips)[2:] == [(6.5, 8.0), (0, 1.5), (1.5, 3.0)]
    with pytest.warns(DatasetWarning, match=r"recordings without labels were left out \(1\): empty track"):
        assert load_audacity_labels(tmp_path).labels.tolist() == ["dog", "cat"]


def test_a_recording_that_cannot_be_read_has_no_background(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound")
    track(tmp_path / "a.txt", "1\t2\tdog\n")
    assert load_audacity_labels(tmp_path, background_s=1.0).labels.tolist() == ["dog"]


@pytest.mark.parametrize("seconds", [0, -1, 0.01, 1e9, float("nan"), "5", True])
def test_impossible_lengths_of_background_are_refused(tmp_path, seconds):
    with pytest.raises(ParameterError, match=r"background_s=.*expected None or a number of seconds"):
        load_audacity_labels(tmp_path, background_s=seconds)
