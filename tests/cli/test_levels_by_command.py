"""Levels by command: silent files are named once, and floating-point files get their scale."""

import numpy as np
import pytest
from helpers.sound_files import noise, tone, write
from helpers.tones import rows

from l3clf.cli import main as cli

pytestmark = pytest.mark.filterwarnings("default::l3clf.errors.L3clfWarning")  # printed, as for a user


def test_predict_names_silent_files_and_calls_them_unknown(model, data, tmp_path, capsys):
    capsys.readouterr()
    silent = [write(tmp_path / f"silent_{k}.wav", np.zeros(16_000)) for k in range(3)]
    assert cli.main(["predict", str(model), str(data / "low" / "0.wav"), *silent]) == 0
    captured = capsys.readouterr()
    assert [row["label"] for row in rows(captured.out)] == ["low", "unknown", "unknown", "unknown"]
    assert captured.err.count("digital silence") == 1
    assert f"3 of 4 clips, the first {silent[0]}: digital silence, every window is below -100 dBFS" in captured.err
    assert "X[" not in captured.err


@pytest.mark.parametrize("scale", [None, "32768"])
def test_floating_point_files_get_the_scale_that_is_given(data, tmp_path, capsys, scale):
    loud = tmp_path / "loud"
    for name in ("low", "high"):
        (loud / name).mkdir(parents=True)
        for k in range(4):
            sound = tone((200 if name == "low" else 3000) + 10 * k, 1.0) + noise(16_000, k, 0.01)
            write(loud / name / f"{k}.wav", sound * 32_768, subtype="FLOAT")
    stated = [] if scale is None else ["--full-scale", scale]
    path = str(tmp_path / "m.l3clf")
    assert cli.main(["fit", str(loud), "--embedder", "mfcc", "--out", path, *stated]) == 0
    err = capsys.readouterr().err
    assert ("8 of 8 clips, the first" in err) == (scale is None)
    assert ("pass --full-scale 32768 if they are 16-bit" in err or "pass --full-scale 8388608" in err) == (
        scale is None
    )
    assert "full_scale" not in err
    assert cli.main(["predict", path, str(data / "low"), str(loud / "low"), *stated]) == 0
    captured = capsys.readouterr()
    if scale is not None:  # files of integers have the scale of their format
        assert {row["label"] for row in rows(captured.out)} == {"low"}
        assert captured.err == ""
    assert cli.main(["embed", str(loud), "--embedder", "mfcc", "--out", str(tmp_path / "x.npz"), *stated]) == 0
    with np.load(tmp_path / "x.npz") as file:
        assert (file["levels_dbfs"].max() < 0) == (scale is not None)


@pytest.mark.parametrize("wrong", ["0", "-1", "loud"])
def test_a_scale_that_is_none_is_wrong_usage(tmp_path, capsys, wrong):
    with pytest.raises(SystemExit) as caught:
        cli.main(["embed", str(tmp_path), "--full-scale", wrong, "--out", str(tmp_path / "x.npz")])
    assert caught.value.code == 2
    assert "--full-scale" in capsys.readouterr().err
