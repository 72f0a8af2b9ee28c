"""The CSVs that we write: names of every kind come back, and formulas are escaped where that is asked for."""

import json
import shutil

import pytest
from helpers.csv_readers import by_csv, by_pandas
from helpers.tones import write_tone

import l3clf
from l3clf.cli import main as cli
from l3clf.report import write_csv

NAMES = [
    "a,b.wav",
    'say "x".wav',
    '"quoted".wav',
    "two\nlines.wav",
    "carriage\rreturn.wav",
    "both\r\n.wav",
    " blank before.wav",
    "blank after.wav ",
    "=cmd|' -C calc'!A0.wav",
    "+1.wav",
    "@x.wav",
    "tab\there.wav",
    "latin \udce9.wav",
    "雨.wav",
    "nothing.wav",
]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Files under odd names, and a model fitted on two of them."""
    folder = tmp_path_factory.mktemp("odd")
    write_tone(folder / "tone.wav", 300)
    (folder / "in").mkdir()
    for name in NAMES:
        shutil.copy(folder / "tone.wav", folder / "in" / name)
    clips = [folder / "in" / name for name in NAMES[:2]]
    model = l3clf.ClipClassifier("mfcc", cache=None).fit(clips * 2, ["=a,1", ' "b"'] * 2)
    l3clf.save_model(model, folder / "model.l3clf")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_predictions_of_files_with_odd_names_come_back(sounds, tmp_path, monkeypatch, name):
    monkeypatch.chdir(sounds / "in")
    out, lines = tmp_path / "out.csv", tmp_path / "out.jsonl"
    model = str(sounds / "model.l3clf")
    assert cli.main(["predict", model, "--cache", "none", "--out", str(out), "--", name]) == 0
    text = out.read_bytes().decode("utf-8", "surrogateescape")
    for found in (by_csv(text), by_pandas(text)):
        assert found[0] == ["path", "label", "probability"]
        assert found[1][:2] == [name, l3clf.load_model(model).set_params(cache=None).predict([name])[0]]
        assert len(found) == 2
    assert cli.main(["predict", model, "--cache", "none", "--format", "jsonl", "--out", str(lines), "--", name]) == 0
    assert json.loads(lines.read_text(encoding="utf-8"))["path"] == name


def test_predictions_can_be_protected_from_spreadsheets(sounds, tmp_path, monkeypatch):
    monkeypatch.chdir(sounds / "in")
    out = tmp_path / "out.csv"
    names = [name for name in NAMES if name[0] in "=+@"]
    command = ["predict", str(sounds / "model.l3clf"), "--cache", "none", "--escape-formulas", "--out", str(out)]
    assert cli.main([*command, *names]) == 0
    rows = by_csv(out.read_bytes().decode())[1:]
    assert [path for path, _, _ in rows] == [f"./{name}" for name in names]
    assert {label for _, label, _ in rows} <= {"'=a,1", ' "b"'}


@pytest.mark.parametrize("name", ["a\rb", " a", '"a"', "a,b\n"])
def test_the_table_of_a_baseline_comes_back(tmp_path, name):
    path = write_csv(
        [{"embedder": name, "head": "logistic", "accuracy": 1 / 3, "clips_per_s": None}], tmp_path / "t.csv"
    )
    header, row = by_csv(path.read_bytes().decode())
    found = dict(zip(header, row, strict=True))
    assert (found["embedder"], float(found["accuracy"]), found["clips_per_s"]) == (name, 1 / 3, "")


# Tables of clips


@pytest.mark.parametrize("name", [name for name in NAMES if name == name.strip() and name.isprintable()])
def test_tables_of_clips_come_back_escaped_or_not(tmp_path, name):
    table = l3clf.ClipTable([tmp_path / name], ["=1+1"], groups=["-x"])
    table.to_csv(tmp_path / "plain.csv")
    table.to_csv(tmp_path / "safe.csv", escape_formulas=True)
    plain, safe = (l3clf.ClipTable.from_csv(tmp_path / file) for file in ("plain.csv", "safe.csv"))
    assert plain.clips == safe.clips == table.clips
    assert (plain.labels.tolist(), plain.groups.tolist()) == (["=1+1"], ["-x"])
    assert (safe.labels.tolist(), safe.groups.tolist()) == (["'=1+1"], ["'-x"])
    cells = by_csv((tmp_path / "safe.csv").read_text(encoding="utf-8"))[1]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@"))]


@pytest.mark.parametrize("name", ["two\nlines.wav", "carriage\rreturn.wav", " a.wav/", "x" * 1001])
def test_paths_that_would_not_come_back_are_refused(tmp_path, name):
    table = l3clf.ClipTable([f"{tmp_path}/{name.strip('/')}"], ["x"])
    if name.startswith(" "):
        table = l3clf.ClipTable([f"{tmp_path}/a.wav "], ["x"])
    with pytest.raises(l3clf.L3clfError, match="path "):
        table.to_csv(tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()
