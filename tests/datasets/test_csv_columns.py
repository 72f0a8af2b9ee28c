"""Columns of a CSV under the names people use: taken where they mean one thing, refused where they do not."""

import warnings

import pandas
import pytest
from helpers.data_folders import csv_file, touch, urbansound8k

from l3clf.audio.clip import Clip
from l3clf.datasets import load, load_csv
from l3clf.errors import DatasetError, DatasetWarning

# Times


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("start", "end"),
        ("start_time", "end_time"),
        ("start_time_s", "end_time_s"),
        ("onset", "offset"),
        ("onset_s", "offset_s"),
        ("begin", "end"),
        ("begin_s", "end_sec"),
        ("start", "stop"),
        ("Start", "End"),
        ("startTime", "endTime"),
        ("starttime", "endtime"),
        ("start_seconds", "end_seconds"),
        ("segment_start", "segment_end"),
        ("t_start", "t_end"),
        ("Begin Time (s)", "End Time (s)"),
        ("Start (s)", "End (s)"),
        ("t_min", "t_max"),
        ("tmin", "tmax"),
        ("tMin", "tMax"),
        ("t0", "t1"),
        ("t0_s", "t1_s"),
        ("from", "to"),
        ("From (s)", "To (s)"),
        ("time_in", "time_out"),
    ],
)
def test_pairs_of_times_are_taken_and_that_is_said(tmp_path, start, end):
    path = csv_file(tmp_path, f"path,label,{start},{end}\na.wav,x,0.5,1.5\na.wav,y,1.5,\n")
    with pytest.warns(DatasetWarning) as caught:
        table = load_csv(path)
    assert table.clips == [Clip(tmp_path / "a.wav", 0.5, 1.5), Clip(tmp_path / "a.wav", 1.5)]
    said = f"read {start!r} as start_s, {end!r} as end_s"
    assert [str(warning.message) for warning in caught] == [f"{path}: {said}; rename the columns if that is wrong"]
    assert said in table.origin


@pytest.mark.parametrize(
    "columns",
    [
        "start_ms,end_ms",
        "startMs,endMs",
        "start_sample,end_sample",
        "start_frame,end_frame",
        "start_idx,end_idx",
        "start_min,end_min",
        "start,end_ms",
        "start",
        "end",
        "onset",
        "offset",
        "start_time",
        "end_s,start",
        "start_s,end_time",
        "onset,end",
        "start,offset",
        "start,duration",
        "offset,duration",
        "start_s,duration",
        "start,end,onset,offset",
        "start,end,start_time,end_time",
        "start,end,start_ms,end_ms",
        "start_time,end_time,onset",
    ],
)
def test_columns_that_look_like_times_but_are_not_clear_are_refused(tmp_path, columns):
    numbers = ",".join("12" for _ in columns.split(","))
    path = csv_file(tmp_path, f"path,label,{columns}\na.wav,x,{numbers}\n")
    words = (
        r"table\.csv: columns look like times \('.*'\), but .*; give each clip's start and end in seconds as 'start_s'"
    )
    with pytest.raises(DatasetError, match=words) as caught:
        load_csv(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "clip"),
    [
        ("start_s", ("a.wav", 1.0)),
        ("end_s", ("a.wav", 0.0, 1.0)),
        ("start_s,end_s,duration", ("a.wav", 1.0, 2.0)),
        ("start_s,end_s,start_ms,end_ms", ("a.wav", 1.0, 2.0)),
        ("start_s,end_s,onset,offset", ("a.wav", 1.0, 2.0)),
        ("start_date,end_date", ("a.wav",)),
        ("starts_with,weekend,stopwords,offset_x", ("a.wav",)),
    ],
)
def test_our_own_names_come_first_and_what_is_no_time_is_left_alone(tmp_path, columns, clip):
    numbers = ",".join(str(k + 1) for k in range(len(columns.split(","))))
    path = csv_file(tmp_path, f"path,label,{columns}\na.wav,x,{numbers}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_csv(path).clips == [Clip(tmp_path / clip[0], *clip[1:])]


def test_pairs_in_seconds_are_told_from_those_in_samples(tmp_path):
    path = csv_file(tmp_path, "path,label,start_sample,end_sample,start_sec,end_sec\na.wav,x,8000,16000,0.5,1\n")
    with pytest.warns(DatasetWarning, match="read 'start_sec' as start_s, 'end_sec' as end_s"):
        assert load_csv(path).clips == [Clip(tmp_path / "a.wav", 0.5, 1.0)]


def test_a_duration_is_not_used_for_whole_files_and_refused_for_pieces(tmp_path):
    path = csv_file(tmp_path, "path,label,duration,speaker\na.wav,x,2.5,1\nb.wav,y,3.5,2\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_csv(path).clips == [Clip(tmp_path / "a.wav"), Clip(tmp_path / "b.wav")]
    path = csv_file(tmp_path, "path,label,duration\na.wav,x,2.5\na.wav,y,3.5\n")
    with pytest.raises(DatasetError, match=r"column 'duration' and files that are listed more than once, but no start"):
        load_csv(path)


UNCLEAR = "xmin,xmax in,out first_s,last_s left,right timestamp position,len a,b t_min,xmax from,stop_x t0,t2 t1,t0x"


@pytest.mark.parametrize("columns", UNCLEAR.split())
def test_numbers_that_may_be_times_are_refused_where_files_are_listed_again(tmp_path, columns):
    n = columns.count(",") + 1
    rows = "".join(f"a.wav,{label}{f',{value}' * n}\n" for label, value in (("x", "0.5"), ("y", "1.5")))
    path = csv_file(tmp_path, f"path,label,{columns}\n{rows}")
    names = ", ".join(map(repr, columns.split(",")))
    with pytest.raises(
        DatasetError, match=rf"columns of numbers that are not used \({names}\); if they are times, name"
    ):
        load_csv(path)


@pytest.mark.parametrize("columns", ["xmin,xmax", "first_s,last_s", "left,right", "timestamp", "in,out"])
def test_numbers_that_may_be_times_of_files_that_are_listed_once_are_a_warning(tmp_path, columns):
    numbers = ",".join("12" for _ in columns.split(","))
    path = csv_file(tmp_path, f"path,label,{columns}\na.wav,x,{numbers}\nb.wav,y,{numbers}\n")
    with pytest.warns(DatasetWarning, match=f"not used: {', '.join(map(repr, columns.split(',')))}; rename"):
        assert all(clip.is_whole for clip in load_csv(path).clips)


@pytest.mark.parametrize(
    "text",
    [
        "path,label,from,to\na.wav,x,home,work\nb.wav,y,work,home\n",
        "path,label,confidence,snr_db\na.wav,x,0.5,12\nb.wav,y,0.7,-3\n",
        "id,path,label\n0,a.wav,x\n1,a.wav,x\n",
        ",path,label\n0,a.wav,x\n1,a.wav,x\n",
        "Unnamed: 0,path,label\n0,a.wav,x\n1,a.wav,x\n",
        "path,label,class_id\na.wav,x,0\na.wav,x,0\n",
        "path,label,latitude\na.wav,x,52.5\na.wav,x,52.5\n",
        "path,label,start_s,confidence\na.wav,x,0,0.5\na.wav,y,1,0.7\n",
    ],
)
def test_numbers_that_are_no_times_are_left_alone(tmp_path, text):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "(?!.*'class_id')(?!.*listed twice)(?!.*more than once).*", DatasetWarning)
        assert len(load_csv(csv_file(tmp_path, text))) == 2


def test_numbers_of_a_data_frame_are_treated_alike():
    frame = pandas.DataFrame({"path": ["a.wav"] * 2, "label": ["x", "y"], "tmin": [0.0, 1.5], "tmax": [1.5, None]})
    with pytest.warns(DatasetWarning, match="read 'tmin' as start_s, 'tmax' as end_s"):
        assert load(frame).clips == [Clip("a.wav", 0.0, 1.5), Clip("a.wav", 1.5)]
    with pytest.raises(DatasetError, match=r"data frame: files .* of numbers that are not used \('xmin', 'tmax'\)"):
        load(frame.rename(columns={"tmin": "xmin"}))


@pytest.mark.parametrize("value", ["00:00", "1:02:03", "soon", "1,5"])
def test_what_is_no_number_of_seconds_is_told_in_our_words(tmp_path, value):
    path = csv_file(tmp_path, f'path,label,start_s\na.wav,x,1\nb.wav,y,"{value}"\n')
    with pytest.raises(DatasetError, match=rf"line 3: '{value}'; expected times in seconds, such as 12\.5$"):
        load_csv(path)


def test_times_of_a_published_table_are_those_of_its_sources(tmp_path):
    urbansound8k(tmp_path)
    table = load_csv(tmp_path / "metadata" / "UrbanSound8K.csv", path_column="slice_file_name", label_column="class")
    assert all(clip.is_whole for clip in table.clips)


def test_clock_times_are_refused_with_their_line(tmp_path):
    path = csv_file(tmp_path, "path,label,start_time,end_time\na.wav,x,06:00:00,06:10:00\n")
    with (
        pytest.warns(DatasetWarning),
        pytest.raises(DatasetError, match=r"line 2: .*'06:00:00'; expected times in seconds"),
    ):
        load_csv(path)


# Paths, labels, folds and groups


@pytest.mark.parametrize(
    ("path_name", "label_name"),
    [
        ("filename", "label"),
        ("file", "category"),
        ("filepath", "class"),
        ("File Name", "Class"),
        ("fname", "class_name"),
        ("audio", "target"),
        ("Path", "Label"),
        ("audio_path", "classID"),
        ("path", "event_label"),
    ],
)
def test_other_names_of_paths_and_labels_are_taken_and_that_is_said(tmp_path, path_name, label_name):
    path = csv_file(tmp_path, f"id,{label_name},{path_name}\n1,x,a.wav\n2,y,b.wav\n")
    with pytest.warns(DatasetWarning) as caught:
        table = load_csv(path)
    assert table.clips == [Clip(tmp_path / "a.wav"), Clip(tmp_path / "b.wav")]
    assert table.labels.tolist() == ["x", "y"]
    (said,) = [str(warning.message) for warning in caught]
    for name, ours in ((path_name, "path"), (label_name, "label")):
        assert (f"{name!r} as {ours}" in said) == (name != ours)


def test_the_name_of_a_class_is_preferred_to_its_number_and_that_is_said(tmp_path):
    path = csv_file(tmp_path, "filename,target,category\na.wav,0,dog\nb.wav,14,bird\n")
    with pytest.warns(DatasetWarning, match=r"'filename' as path, 'category' as label, not used: 'target'; rename"):
        assert load_csv(path).labels.tolist() == ["dog", "bird"]


def test_folds_and_groups_are_found_by_their_name_in_any_case(tmp_path):
    path = csv_file(tmp_path, "path,label,Fold,Group\na.wav,x,1,g\nb.wav,y,2,h\n")
    with pytest.warns(DatasetWarning, match="'Fold' as fold, 'Group' as group"):
        table = load_csv(path)
    assert (table.folds.tolist(), table.groups.tolist()) == (["1", "2"], ["g", "h"])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("file,filename,label", r"columns 'file', 'filename' could each be the path; rename the right one to 'path'"),
        (
            "path,class,category",
            r"columns 'class', 'category' could each be the label; rename the right one to 'label'",
        ),
        ("path,target,class_id", r"columns 'target', 'class_id' could each be the label"),
        ("path,label,Fold,FOLD", r"columns 'Fold', 'FOLD' could each be the fold"),
        ("filename,filename,label", r"more than one column 'filename'"),
    ],
)
def test_two_columns_for_one_thing_are_refused(tmp_path, columns, words):
    row = ",".join("abcd"[: columns.count(",") + 1])
    with pytest.raises(DatasetError, match=words):
        load_csv(csv_file(tmp_path, f"{columns}\n{row}\n"))


def test_columns_that_the_caller_names_are_taken_without_a_word(tmp_path):
    path = csv_file(tmp_path, "file,filename,class,category\na.wav,b.wav,x,y\n")
    table = load_csv(path, path_column="filename", label_column="class")
    assert (table.clips, table.labels.tolist()) == ([Clip(tmp_path / "b.wav")], ["x"])


# Separators


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_and_tabs_separate_too_and_then_decimals_may_have_commas(tmp_path, separator):
    text = 'path,label,start_s,end_s\na_1.wav,"x; y",0.5,1.25\n'.replace(",", separator).replace(".25", ",25")
    table = load_csv(csv_file(tmp_path, text.replace("0.5", "0,5")))
    assert table.clips == [Clip(tmp_path / "a_1.wav", 0.5, 1.25)]
    assert table.labels.tolist() == ["x; y"]


def test_a_header_with_commas_is_separated_by_commas(tmp_path):
    touch(tmp_path, "a;b.wav")
    assert load_csv(csv_file(tmp_path, "path,label,a;b;c;d\na;b.wav,x;y,\n")).labels.tolist() == ["x;y"]
