"""``python -m l3clf`` is the ``l3clf`` command."""

import sys

from l3clf.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
