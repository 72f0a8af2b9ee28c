"""l3clf weights: list, check and fetch."""

import pytest

from l3clf.cli import main as cli


def test_weights_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("L3CLF_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("l3clf.weights.registry.user_weights_dir", lambda: tmp_path / "none")
    assert cli.main(["weights", "list"]) == 0
    out = capsys.readouterr().out
    assert "openl3_audio_mel256_env-v0_4_0.h5.gz" in out
    assert "CC-BY-4.0" in out
    assert cli.main(["weights", "check", "edgel3"]) == 1
    assert "not on this machine" in capsys.readouterr().err
    (tmp_path / "edgel3_sea64.h5").write_bytes(b"nonsense")
    assert cli.main(["weights", "check", "edgel3"]) == 1
    assert "edgel3_sea64.h5" in capsys.readouterr().err
    assert cli.main(["weights", "fetch", "nonsense"]) == 1
    assert "no such weights" in capsys.readouterr().err


def test_weights_check_looks_at_what_a_folder_holds(tmp_path, capsys):
    assert cli.main(["weights", "check", "--weights", str(tmp_path / "none")]) == 1
    assert "none: does not exist; give a weight file or a folder of them" in capsys.readouterr().err
    assert cli.main(["weights", "check", "--weights", str(tmp_path)]) == 1
    assert "no file here has the name of a known weight file" in capsys.readouterr().err
    (tmp_path / "edgel3_sea64.h5").write_bytes(b"nonsense")
    for place in (tmp_path, tmp_path / "edgel3_sea64.h5"):
        assert cli.main(["weights", "check", "--weights", str(place)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"l3clf: failed: {tmp_path / 'edgel3_sea64.h5'}")


def test_weights_check_knows_all_real_files(shared, capsys):
    assert cli.main(["weights", "check", "--weights", str(shared / "weights")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_weights_check_knows_the_real_file(shared, capsys):
    assert cli.main(["weights", "check", "edgel3", "--weights", str(shared / "weights")]) == 0
    assert "edgel3_sea64.h5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["openl3", "--precision", "int8"], "--precision and --audio belong together; give both"),
        (["openl3", "--audio", "x.wav"], "--precision and --audio belong together; give both"),
        (["yamnet", "--precision", "int8", "--audio", "x.wav"], "name one embedder that has it, openl3 or efficientat"),
        (["--precision", "int8", "--audio", "x.wav"], "name one embedder that has it, openl3 or efficientat"),
        (["openl3", "--precision", "int4", "--audio", "x.wav"], "--precision int4; expected one of 'float32'"),
    ],
)
def test_weights_check_of_a_precision_says_what_is_wrong(words, message, capsys):
    assert cli.main(["weights", "check", *words]) == 1
    assert message in capsys.readouterr().err


def test_weights_check_compares_precisions(shared, sounds, tmp_path, capsys):
    """Two classes of three short clips, and a file that cannot be read."""
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    folders = sorted(path for path in sounds.iterdir() if path.is_dir())[:2]
    files = [str(path) for folder in folders for path in sorted(folder.iterdir())[:3]]
    words = ["weights", "check", "efficientat", "--weights", str(shared / "weights"), "--precision", "int8"]
    assert cli.main([*words, "--audio", *files, str(tmp_path / "bad.wav")]) == 1
    found = capsys.readouterr()
    assert "bad.wav" in found.err
    plain, centred, accuracy = found.out.splitlines()
    assert plain.startswith("cosine: least 0.")
    assert centred.startswith("with the mean vector subtracted: least 0.")
    assert accuracy.startswith("cross-validated accuracy: ")
    assert cli.main([*words, "--audio", str(tmp_path / "bad.wav")]) == 1  # nothing is left to compare
    assert "0 windows: too few to compare precisions" in capsys.readouterr().err


def test_weights_fetch_knows_efficientat(shared, tmp_path, capsys):
    """A file that is there already is verified, and not fetched again: no network is needed."""
    name = "mn04_as_mAP_432.pt"
    (tmp_path / name).write_bytes((shared / "weights" / name).read_bytes())
    assert cli.main(["weights", "fetch", "efficientat", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / name}\n"
