"""l3clf cache: info, verify and prune."""

from l3clf.cli import main as cli


def test_cache_commands(data, tmp_path, capsys):
    cache = str(tmp_path / "c.sqlite")
    cli.main(["fit", str(data), "--embedder", "mfcc", "--out", str(tmp_path / "m"), "--cache", cache])
    capsys.readouterr()
    assert cli.main(["cache", "info", "--cache", cache]) == 0
    assert "10 entries" in capsys.readouterr().out
    assert cli.main(["cache", "verify", "--cache", cache]) == 0
    assert "10 entries checked, 0 damaged" in capsys.readouterr().out
    assert cli.main(["cache", "prune", "--max-mb", "1e303", "--cache", cache]) == 0
    assert "0 entries removed" in capsys.readouterr().out
    assert cli.main(["cache", "prune", "--max-mb", "0.000001", "--cache", cache]) == 0
    assert "10 entries removed" in capsys.readouterr().out
