"""The one way to write a file: whole or not at all, and never through another run's temporary file."""

import pytest

from l3clf.errors import ParameterError
from l3clf.storage import atomic


def test_two_runs_never_share_a_temporary_file(tmp_path, monkeypatch):
    """Where two draw the same name, the second is refused, and the first is not disturbed."""
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda n: "0" * (2 * n))
    target = tmp_path / "report.csv"
    with atomic.replacing(target) as first:
        first.write(b"the first ")
        with pytest.raises(ParameterError, match="cannot be written"), atomic.replacing(target) as second:
            second.write(b"the second")
        first.write(b"is whole")
    assert target.read_bytes() == b"the first is whole"
    assert [path.name for path in tmp_path.iterdir()] == ["report.csv"]
