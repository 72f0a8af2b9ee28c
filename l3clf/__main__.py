"""``python -m l3clf`` and the command ``l3clf``: the same.

Rule: importing is part of the command; Ctrl-C ends it without a traceback too.
"""

import sys

__all__ = ["run"]


def run() -> int:
    """Run the command line of this process, and return its exit status."""
    try:
        from l3clf.cli.main import main
    except KeyboardInterrupt:
        print("l3clf: interrupted", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
