"""Two classes of tones, and a model fitted on them by command."""

import pytest
from helpers.tones import write_tone

from l3clf.cli import main as cli


@pytest.fixture
def data(tmp_path):
    """A folder with two classes of five clips."""
    for k in range(5):
        write_tone(tmp_path / "data" / "low" / f"{k}.wav", 200 + 20 * k, k)
        write_tone(tmp_path / "data" / "high" / f"{k}.wav", 2000 + 200 * k, k)
    return tmp_path / "data"


@pytest.fixture
def model(data, tmp_path):
    path = tmp_path / "model.l3clf"
    assert cli.main(["fit", str(data), "--embedder", "mfcc", "--out", str(path)]) == 0
    return path


@pytest.fixture
def run(capsys):
    """Run a command; return its status, output and messages. No traceback ever."""

    def run_command(*arguments):
        capsys.readouterr()
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse's
            status = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run_command
