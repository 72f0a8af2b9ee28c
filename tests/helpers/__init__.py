"""What several tests use; each module is named by what it holds."""

from pathlib import Path

TESTS = Path(__file__).parent.parent
GOLDEN = TESTS / "golden"
