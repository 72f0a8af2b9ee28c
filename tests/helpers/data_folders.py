"""Data sets as folders of empty files, laid out as they are published."""

import os
from pathlib import Path

ESC_HEADER = "filename,fold,target,category,esc10,src_file,take\n"
URBAN_HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"


def touch(folder, *names):
    """Make empty files below a folder, and their folders."""
    create(*(folder / name for name in names))


def create(*paths):
    """Make empty files, and their folders."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def csv_file(folder, text, name="table.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def paths(table, folder):
    return [Path(os.path.relpath(clip.path, folder)).as_posix() for clip in table.clips]


def esc50(folder, with_source=True):
    header = ESC_HEADER if with_source else "filename,fold,target,category,esc10\n"
    rows = ["1-100032-A-0.wav,1,0,dog,True", "2-77-B-14.wav,2,14,chirping_birds,False", "1-100032-B-0.wav,1,0,dog,True"]
    source = [",100032,A", ",77,B", ",100032,B"] if with_source else [""] * 3
    put(folder / "meta" / "esc50.csv", header + "".join(f"{r}{s}\n" for r, s in zip(rows, source, strict=True)))
    touch(folder, *(f"audio/{row.split(',')[0]}" for row in rows))


def urbansound8k(folder, table="metadata/UrbanSound8K.csv", audio="audio"):
    rows = [f"{fold}00{i}-3-0-{i}.wav,{fold}00{i},0.5,4.5,1,{fold},3,dog_bark" for fold in range(1, 11) for i in (1, 2)]
    put(folder / table, URBAN_HEADER + "\n".join(rows) + "\n")
    touch(folder, *(f"{audio}/fold{row.split(',')[5]}/{row.split(',')[0]}" for row in rows))
