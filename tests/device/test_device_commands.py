"""l3clf export and l3clf verify."""

import re
import shutil

import pytest
from helpers.device_models import RATE, held_out
from helpers.sound_files import noise, write

import l3clf
from l3clf.cli import main as cli
from l3clf.device.exporter import read_export

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


def test_an_export_can_be_made_again_from_its_own_files(export, tmp_path, capsys):
    out = tmp_path / "c"
    shutil.copytree(export, out)
    arguments = ["export", str(out / "model.l3clf"), "--weights", str(out / "network.student"), "--out", str(out)]
    assert cli.main([*arguments, "--unknown-threshold", "0.5"]) == 0
    assert read_export(out).unknown_threshold == 0.5
    assert (out / "network.student").read_bytes() == (export / "network.student").read_bytes()


# --- the command ---------------------------------------------------------------------------------------


def test_a_model_is_exported_and_verified_by_command(model, tmp_path, capsys):
    path = l3clf.save_model(model, tmp_path / "m.l3clf")
    out = tmp_path / "c"
    assert cli.main(["export", str(path), "--out", str(out), "--windows", "4"]) == 0
    text = capsys.readouterr().out
    for words in (
        "Flash:",
        "RAM:",
        "multiply-accumulates",
        "l3clf_step:",
        "STM32L476  fits: at most ",
        "STM32F207  ",
        "RP2040     ",
        "ESP32-S3   fits in memory; speed not",
    ):
        assert words in text
    flash = re.search(r"Flash: +([\d,]+) bytes", text)[1]
    assert f"| Flash | {flash} bytes |" in (out / "README.md").read_text()
    clips = held_out(tmp_path)
    assert cli.main(["verify", str(out), "--audio", str(clips[0].path), str(clips[1].path)]) == 0
    text = capsys.readouterr().out
    assert "| Cortex-M4F, DSP | " in text
    assert text.strip().endswith("Verified.")


def test_a_file_that_cannot_be_read_does_not_keep_others_from_being_verified(export, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("l3clf.device.verification.measure_costs", lambda *_: [])
    (tmp_path / "bad.wav").write_text("no sound")
    write(tmp_path / "long.wav", noise(130 * RATE, 1, 0.1))
    good = str(held_out(tmp_path)[1].path)
    files = [str(tmp_path / "bad.wav"), good, str(tmp_path / "long.wav"), str(tmp_path / "gone.wav")]
    assert cli.main(["verify", str(export), "--audio", *files]) == 1
    out, err = capsys.readouterr()
    assert out.count("| 1 of 1 agree | within") >= 3
    assert "Verified." in out
    assert "bad.wav: is not a sound file" in err
    assert re.search(r"long\.wav: more than 250 windows", err)
    assert "gone.wav: no such file" in err
    assert cli.main(["verify", str(export), "--audio", files[0]]) == 1
    assert "bad.wav: is not a sound file" in capsys.readouterr().err


def test_an_arena_that_is_too_small_is_refused(model, tmp_path, capsys):
    path = l3clf.save_model(model, tmp_path / "m.l3clf")
    assert cli.main(["export", str(path), "--out", str(tmp_path / "c"), "--arena", "10000"]) == 1
    assert "--arena 10000: the network needs" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
