"""Exports: complete, the same bytes each time, read back, and refused where they cannot be written."""

import shutil
import subprocess

import pytest
from helpers.device_models import RATE, fitted, held_out
from helpers.sound_files import noise

import l3clf
from l3clf.device.exporter import read_export, write_export
from l3clf.device.model import device_model
from l3clf.device.verification import verify
from l3clf.errors import DeviceError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


def test_the_export_is_whole_and_tests_itself(export, tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None or shutil.which("make") is None:
        pytest.skip("no gcc or make")
    out = tmp_path / "c"
    shutil.copytree(export, out)
    done = subprocess.run(["make", "-s", "all", "test"], cwd=out, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == "all checks pass"
    pcm = (noise(2 * RATE, 3, 0.2) * 32767).astype("<i2").tobytes()
    done = subprocess.run([out / "l3clf_example"], input=pcm, capture_output=True, check=True)
    first, *lines = done.stdout.decode().splitlines()
    assert first.startswith(f"l3clf {l3clf.__version__}: l3mini ")
    assert [line.split(": ")[0] for line in lines] == [f"window {k}" for k in range(1, len(lines) + 1)]
    assert all(": noise (" in line for line in lines)


def test_the_same_model_gives_the_same_bytes(model, export, tmp_path):
    again = write_export(device_model(model, pool_windows=3), tmp_path / "again")
    names = sorted(path.relative_to(export) for path in export.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert [(export / name).read_bytes() for name in names] == [(again / name).read_bytes() for name in names]


def test_exporting_changes_nothing_about_the_model(model, tmp_path):
    before = model.get_params()
    out = write_export(device_model(model, unknown_threshold=0.9, gate_dbfs=-50.0), tmp_path / "c")
    assert model.get_params() == before
    assert (read_export(out).unknown_threshold, read_export(out).gate_dbfs) == (0.9, -50.0)


def test_what_was_exported_is_read_back(export):
    d = read_export(export)
    assert (d.pool_windows, d.class_names, d.pooling) == (3, ('buzz "ü"', "noise", "tone"), "mean")


def test_a_head_that_float32_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    model = fitted()
    model.head_[0].scale_[0] = 1e-300
    with pytest.raises(DeviceError, match="coefficients beyond float32"):
        l3clf.device.export(model, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_folders_that_are_not_exports_are_refused(export, tmp_path):
    with pytest.raises(DeviceError, match="not an export, or a damaged one; write it with l3clf export"):
        verify(tmp_path, held_out(tmp_path))
    with pytest.raises(DeviceError, match="clips: found none; name at least one sound file"):
        verify(export, [])
    damaged = tmp_path / "damaged"
    shutil.copytree(export, damaged)
    (damaged / "export.json").write_text("[" * 200_000)
    with pytest.raises(DeviceError, match="not an export, or a damaged one"):
        read_export(damaged)
    (tmp_path / "file").write_text("")
    d = read_export(export)
    with pytest.raises(DeviceError, match="is not a folder; name a new folder"):
        write_export(d, tmp_path / "file")
    with pytest.raises(DeviceError, match=r"cannot be written .*; choose another place"):
        write_export(d, tmp_path / ("x" * 300))


def test_a_folder_of_the_user_is_left_alone(export, tmp_path):
    d = read_export(export)
    (tmp_path / "main.c").write_text("int main(void);")
    for settings in (None, "{}", '{"name": "firmware"}'):
        if settings is not None:
            (tmp_path / "export.json").write_text(settings)  # another program may use this name
        with pytest.raises(DeviceError, match="holds other files; name a new or an empty folder"):
            write_export(d, tmp_path)
    assert (tmp_path / "main.c").read_text() == "int main(void);"
    assert len(list(tmp_path.iterdir())) == 2
